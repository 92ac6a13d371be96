//! Where the installed components are.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::Unavailable;

/// Folder of the components: `FOREBAY_COMPONENTS`, else `forebay/components` in the user's cache folder.
pub fn directory() -> PathBuf {
    if let Some(directory) = env::var_os("FOREBAY_COMPONENTS") {
        return directory.into();
    }
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache"));
    cache.join("forebay/components")
}

/// A file or folder among the components.
pub fn part(path: &str) -> Result<PathBuf, Unavailable> {
    let directory = directory();
    let part = directory.join(path);
    if part.exists() {
        Ok(part)
    } else {
        Err(Unavailable::Missing(format!("{path} is not in {}", directory.display())))
    }
}

/// The Python that has the packages of `tests/components/requirements.txt`: `FOREBAY_TEST_PYTHON`, else the one in
/// `.venv` of the workspace.
///
/// # Errors
/// There is none, or it lacks the packages.
pub fn python() -> Result<PathBuf, Unavailable> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
    let python = env::var_os("FOREBAY_TEST_PYTHON").map(PathBuf::from);
    let python = python.unwrap_or_else(|| workspace.join(".venv/bin/python"));
    if python.with_file_name("moto_server").exists() {
        Ok(python)
    } else {
        Err(Unavailable::Missing(format!("{} with the test packages is not there", python.display())))
    }
}
