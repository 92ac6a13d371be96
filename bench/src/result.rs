//! Result files: raw data of a run under `bench/results/`, from which `bench/RESULTS.md` is generated.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{cpu, stats::Interval};

/// One run of one bench.
#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    /// Which bench.
    pub bench: String,
    /// How to run it again.
    pub command: String,
    /// Commit of the tree, with `-dirty` if it was changed.
    pub commit: String,
    /// Processor and number of cores.
    pub machine: String,
    /// Options that are not in the command.
    pub setting: String,
    /// Every round's figure, by variant: CPU microseconds an event.
    pub rounds: BTreeMap<String, Vec<f64>>,
    /// Medians with their intervals, by variant.
    pub summary: BTreeMap<String, Interval>,
    /// Ratios of paired rounds, by `a / b`.
    pub ratios: BTreeMap<String, Interval>,
    /// Resident memory at the end and at its peak, MiB, by variant.
    #[serde(default)]
    pub memory_mib: BTreeMap<String, (u64, u64)>,
    /// Why the run must not be quoted, if so.
    pub void: Option<String>,
}

impl Run {
    /// An empty run on this machine and tree.
    pub fn new(bench: &str, command: &str, setting: &str) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Self {
            bench: bench.into(),
            command: command.into(),
            commit: commit(),
            machine: format!("{}, {cores} cores", cpu::model()),
            setting: setting.into(),
            rounds: BTreeMap::new(),
            summary: BTreeMap::new(),
            ratios: BTreeMap::new(),
            memory_mib: BTreeMap::new(),
            void: None,
        }
    }

    /// Computes medians, and the ratios of the pairs named.
    pub fn finish(&mut self, pairs: &[(&str, &str)]) {
        self.summary = self.rounds.iter().map(|(name, r)| (name.clone(), crate::stats::bootstrap(r))).collect();
        for (a, b) in pairs {
            let ratios: Vec<f64> = self.rounds[*a].iter().zip(&self.rounds[*b]).map(|(a, b)| a / b).collect();
            self.ratios.insert(format!("{a} / {b}"), crate::stats::bootstrap(&ratios));
        }
    }

    /// The null test of a pair of equal variants: its ratio must be 1.00 within 0.05, else the run is void.
    pub fn null_test(&mut self, pair: &str) {
        let ratio = self.ratios[pair].median;
        if (ratio - 1.0).abs() > 0.05 {
            self.void = Some(format!("the null test {pair} gave {ratio:.3}"));
        }
    }

    /// Writes the raw file and says where.
    pub fn save(&self) -> Result<PathBuf> {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results");
        fs::create_dir_all(&dir)?;
        let path = dir.join(format!("{}.json", self.bench));
        fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(path)
    }
}

fn commit() -> String {
    let git = |args: &[&str]| {
        Command::new("git").args(args).output().map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
    };
    let id = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let dirty =
        git(&["status", "--porcelain", "--", ":!bench/results", ":!bench/RESULTS.md"]).is_ok_and(|s| !s.is_empty());
    if dirty { format!("{id}-dirty") } else { id }
}
