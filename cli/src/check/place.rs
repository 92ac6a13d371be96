//! This machine: the data directory, who works on it, the addresses to listen on.

use std::path::Path;

use super::Findings;
use crate::{
    config::Config,
    exit::Failure,
    lock::{Attempt, Holder, Lock},
    parts,
};

/// The data directory, as it was found.
pub(super) enum Place {
    /// It does not exist yet: there is no state in it, and none is made.
    Fresh,
    /// It can't be used.
    Unusable,
    /// Nobody works on it; nobody can as long as this lives.
    Ours {
        /// Held while it is looked at.
        _lock: Lock,
    },
    /// A process works on it, and its API can be asked.
    Theirs(Holder),
}

/// Looks at the data directory and the listeners.
pub(super) async fn look(config: &Config, findings: &mut Findings) -> Result<Place, Failure> {
    let dir = &config.data_dir;
    let place = match (findings.add("data_dir", writable(dir)), dir.exists()) {
        (false, _) => Place::Unusable,
        (true, false) => Place::Fresh,
        (true, true) => held(dir, findings)?,
    };
    if !matches!(place, Place::Theirs(_)) {
        listeners(config, findings).await;
    }
    Ok(place)
}

/// Whether the directory, or the nearest one above it that exists, can be written. Leaves nothing behind.
pub fn writable(dir: &Path) -> Result<String, String> {
    let there = dir.ancestors().find(|d| d.exists()).unwrap_or(Path::new("/"));
    let probe = there.join(format!(".forebay-check-{}", std::process::id()));
    let tried = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
    match tried {
        Err(error) => {
            Err(format!("{} can't be written: {error}; choose another place or fix its rights", there.display()))
        }
        Ok(()) if there == dir => Ok(format!("{} can be written", dir.display())),
        Ok(()) => Ok(format!("{} will be made", dir.display())),
    }
}

fn held(dir: &Path, findings: &mut Findings) -> Result<Place, Failure> {
    match Lock::attempt(dir)? {
        Attempt::Ours(lock) => Ok(Place::Ours { _lock: lock }),
        Attempt::Held(Some(holder @ Holder { api: Some(_), .. })) => {
            let api = holder.api.as_deref().unwrap_or_default();
            findings.add("running", Ok(format!("process {} runs on this data_dir, its API is {api}", holder.pid)));
            Ok(Place::Theirs(holder))
        }
        Attempt::Held(holder) => {
            let who = holder.map_or_else(|| "another process".to_owned(), |h| format!("process {}", h.pid));
            findings.add("running", Err(format!("{who} has the data_dir to itself: wait for it, or stop it")));
            Ok(Place::Unusable)
        }
    }
}

async fn listeners(config: &Config, findings: &mut Findings) {
    let bound = forebay_api::Listeners::bind(&config.api).await.map_err(|error| parts::not_served(error).text);
    let others = [config.api.registry_listen, config.api.management_listen];
    let others: String = others.into_iter().flatten().map(|address| format!(", {address}")).collect();
    findings.add("listeners", bound.map(|_| format!("{}{others}: free", config.api.listen)));
}
