//! The rules of ARCHITECTURE.md, held by the build: who may name which crate, and what no source may do.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(vec!["--locked".into()])
        .exec()
        .unwrap()
}

/// Folder of each workspace package -> names of its direct normal and build dependencies.
fn direct_dependencies(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let folder = |path: &Path| path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    metadata
        .workspace_packages()
        .iter()
        .map(|package| {
            let names = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
            (folder(package.manifest_path.as_std_path()), names.map(|d| d.name.to_string()).collect())
        })
        .collect()
}

/// Folders that measure and check: they may name more crates, as what they name never ships.
const NEVER_SHIPPED: &[&str] = &["bench", "tests", "components"];

/// A crate outside the workspace may be named only by these folders.
const ONLY: &[(&str, &[&str])] = &[
    ("apache-avro", &["avro"]),
    ("arrow-avro", &["avro"]),
    ("arrow", &["avro", "sink"]),
    ("parquet", &["sink"]),
    ("fjall", &["broker"]),
    ("rdkafka", &["broker"]),
    ("axum", &["api"]),
    ("utoipa", &["api"]),
    ("hyper", &["api"]),
    ("hyper-util", &["api"]),
    ("pyo3", &["py"]),
    ("aws-config", &["sink"]),
    ("aws-sdk-s3", &["sink"]),
    ("aws-smithy-http-client", &["sink"]),
    ("object_store", &["sink"]),
    ("snowflake-connector-rs", &["sink"]),
    ("snowflake-api", &["sink"]),
    ("clap", &["cli"]),
    ("serde-saphyr", &["cli"]),
    ("anyhow", &["cli"]),
];

/// Which workspace crates a folder may build on: `avro <- broker <- {api, sink} <- cli`.
const ARROWS: &[(&str, &[&str])] = &[
    ("avro", &[]),
    ("broker", &["forebay-avro"]),
    ("api", &["forebay-avro", "forebay-broker"]),
    ("sink", &["forebay-avro", "forebay-broker"]),
    ("cli", &["forebay-api", "forebay-avro", "forebay-broker", "forebay-sink"]),
    ("components", &[]),
];

#[test]
fn crates_are_named_only_where_they_belong() {
    for (folder, names) in direct_dependencies(&metadata()) {
        if NEVER_SHIPPED.contains(&folder.as_str()) {
            continue;
        }
        for (name, allowed) in ONLY {
            assert!(!names.contains(*name) || allowed.contains(&folder.as_str()), "{folder} may not depend on {name}");
        }
    }
}

#[test]
fn arrows_point_one_way() {
    let dependencies = direct_dependencies(&metadata());
    for (folder, allowed) in ARROWS {
        let inside: Vec<_> = dependencies[*folder].iter().filter(|name| name.starts_with("forebay-")).collect();
        assert!(inside.iter().all(|name| allowed.contains(&name.as_str())), "{folder} depends on {inside:?}");
    }
}

#[test]
fn heavy_families_stand_once_in_the_lock() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in metadata().packages {
        versions.entry(package.name.to_string()).or_default().insert(package.version.to_string());
    }
    for family in
        ["arrow", "arrow-schema", "parquet", "reqwest", "rustls", "axum", "hyper", "rdkafka", "apache-avro", "zstd"]
    {
        if let Some(found) = versions.get(family) {
            assert_eq!(found.len(), 1, "{family} stands in the lock as {found:?}");
        }
    }
}

#[test]
fn unsafe_code_stands_in_one_place() {
    let found = offenders(LIBRARIES, &["unsafe"], &[]);
    let found: Vec<_> = found.iter().filter(|place| !place.starts_with("broker/src/kafka/native/")).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_crate_inherits_the_lints() {
    for package in metadata().workspace_packages() {
        let text = fs::read_to_string(&package.manifest_path).unwrap();
        assert!(text.contains("[lints]\nworkspace = true"), "{} does not inherit the lints", package.name);
    }
}

/// Library and binary sources of a folder (never its tests), as path below the root and code lines.
fn sources(folders: &[&str]) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for folder in folders {
        collect(&root().join(folder).join("src"), &mut found);
    }
    assert!(!found.is_empty());
    found
}

fn collect(dir: &Path, found: &mut Vec<(String, Vec<String>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            if !name.ends_with("/tests.rs") && !name.contains("/tests/") {
                found.push((name, code_lines(&fs::read_to_string(&path).unwrap())));
            }
        }
    }
}

/// Lines before the unit tests, without comments.
fn code_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        if line == "#[cfg(test)]" {
            break;
        }
        lines.push(line.split("//").next().unwrap_or_default().to_owned());
    }
    lines
}

/// Places where one of `words` stands, except in the files allowed.
fn offenders(folders: &[&str], words: &[&str], allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, lines) in sources(folders) {
        if allowed.contains(&file.as_str()) {
            continue;
        }
        for (index, line) in lines.iter().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{file}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    found
}

const LIBRARIES: &[&str] = &["avro", "broker", "api", "sink", "cli"];

#[test]
fn the_environment_is_read_in_one_place() {
    let found = offenders(LIBRARIES, &["env::var", "env::vars", "env::set_var", "clap(env"], &["cli/src/config.rs"]);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_channel_is_unbounded() {
    let words = ["unbounded", "UnboundedSender", "std::sync::mpsc::channel", "mpsc::channel()"];
    let found = offenders(LIBRARIES, &words, &[]);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn only_the_task_commits() {
    let found = offenders(&["api", "sink", "cli"], &[".commit(", "set_committed("], &["sink/src/task.rs"]);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn avro_does_no_io() {
    let words = ["std::fs", "std::net", "std::process", "tokio::fs", "tokio::net", "tokio::spawn"];
    let found: Vec<_> = offenders(&["avro"], &words, &[]);
    assert!(found.iter().all(|place| place.starts_with("avro/src/registry/")), "{found:#?}");
}

#[test]
fn metrics_never_go_to_a_global_registry() {
    let found = offenders(LIBRARIES, &["default_registry", "prometheus::register_", "prometheus::gather"], &[]);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn stores_are_named_only_below_sinks() {
    let words = ["aws_sdk_s3", "aws_config", "aws_smithy", "object_store::", "snowflake_"];
    let found = offenders(LIBRARIES, &words, &[]);
    assert!(found.iter().all(|place| place.starts_with("sink/src/sinks/")), "{found:#?}");
}

#[test]
fn routes_and_publish_keep_to_their_side() {
    let found = offenders(&["api"], &["axum::", "hyper::"], &[]);
    let found: Vec<_> =
        found.into_iter().filter(|p| p.starts_with("api/src/publish") || p.starts_with("api/src/address")).collect();
    assert!(found.is_empty(), "publish and address know no HTTP: {found:#?}");
}

/// 400 lines at most, unit tests not counted: a file is one idea.
#[test]
fn files_stay_short() {
    let long: Vec<_> = sources(LIBRARIES)
        .into_iter()
        .filter(|(_, lines)| lines.len() > 400)
        .map(|(file, lines)| format!("{file}: {}", lines.len()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn the_architecture_names_files_that_exist() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let quoted = page.split('`').skip(1).step_by(2);
    let missing: Vec<_> = quoted.filter(|text| text.contains("/src/") && !root().join(text).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
