//! What fuzz targets look at: the reading of a configuration, which lies in the binary. Without the
//! feature `fuzzing` this library is empty.
#![cfg(feature = "fuzzing")]
#![forbid(unsafe_code)]
#![allow(
    dead_code,
    unused_imports,
    reason = "these modules are the binary's, which uses all of them"
)]

mod config;
mod following;
mod harmless;
mod listener_tls;
mod output;
mod outside;
mod provider_tls;

use std::{collections::BTreeMap, path::Path};

/// One thing that is wrong: the file's line, where it is about one, and what is said of it.
pub type Problem = (Option<usize>, String);

/// Every key there is, and whether it names a file.
pub fn keys() -> impl Iterator<Item = (&'static str, bool)> {
    config::keys::KEYS.iter().map(|key| (key.name, key.unit == "path"))
}

/// Reads a configuration file alone: each key with its value, or all that is wrong.
///
/// # Errors
/// As for any start.
pub fn load(file: &Path) -> Result<Vec<(&'static str, String)>, Vec<Problem>> {
    let loaded = config::load(Some(file), &config::Environment::new(), &BTreeMap::new());
    let (settings, _) = loaded.map_err(|config::Problems(problems)| {
        problems.into_iter().map(|one| (one.line, one.to_string())).collect::<Vec<_>>()
    })?;
    Ok(settings.into_iter().map(|one| (one.key.name, one.value)).collect())
}
