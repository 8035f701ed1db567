//! What of a server's configuration is recorded: no value of a key, but a digest over all that
//! counts. Who can write to the data folder can change it for the next start; then the log says so.

use crate::{change::hex, error::Error, folder::DataFolder, seals::sha256};
use audit::{Configuration, Started};
use std::{collections::BTreeSet, fs};

/// Authorities that an entry lists; the digest is over all of them.
const MAX_ROOTS: usize = 256;

/// What a server was told.
#[derive(Debug, Clone, Copy)]
pub struct Told<'t> {
    /// Keys with another value than by default, and these; without what flags of `serve` say.
    pub keys: &'t [(&'static str, String)],
    /// Certificates of authorities that are trusted beside the public ones, in DER.
    pub extra_roots: &'t [Vec<u8>],
}

/// What is recorded of it, with what the folder and the files that it names add.
///
/// # Errors
/// [`Error::RootKeyPlace`] and [`Error::Io`] for files that cannot be read.
pub fn recorded(folder: &DataFolder, told: Told<'_>) -> Result<Configuration, Error> {
    let mut text = String::from("weirgate configuration 1\n");
    let mut put = |name: &str, value: &str| {
        text.push_str(&format!("{name} {}\n", serde_json::Value::from(value)));
    };
    for (name, value) in told.keys {
        put(name, value);
    }
    put("root key", &folder.recorded_root_key()?.display().to_string());
    let mut extra_roots: Vec<[u8; 32]> = told.extra_roots.iter().map(|one| sha256(one)).collect();
    for root in &extra_roots {
        put("extra root", &hex(root));
    }
    if let Some(path) = folder.server().and_then(store::ServerUrl::root_cert) {
        let failed = |source| Error::Io { what: "read", path: path.to_owned(), source };
        put("database root", &hex(&sha256(&fs::read(path).map_err(failed)?)));
    }
    extra_roots.truncate(MAX_ROOTS);
    Ok(Configuration {
        digest: sha256(text.as_bytes()),
        keys: told.keys.iter().map(|(name, _)| (*name).to_owned()).collect(),
        extra_roots,
        changed_since: None,
    })
}

/// What became different since a server last began; `None` where nothing did.
pub fn changed(before: &Started, now: &Configuration) -> Option<String> {
    let Started { at, configuration: before, .. } = before;
    if before.digest == now.digest {
        return None;
    }
    let mut words = Vec::new();
    let [old, new] = [before, now].map(|one| one.keys.iter().collect::<BTreeSet<_>>());
    words.extend(new.difference(&old).map(|key| format!("{key} is set now")));
    words.extend(old.difference(&new).map(|key| format!("{key} is not set any more")));
    let [old, new] = [before, now].map(|one| one.extra_roots.iter().collect::<BTreeSet<_>>());
    words.extend(new.difference(&old).map(|root| format!("the authority {} is new", hex(*root))));
    words.extend(old.difference(&new).map(|root| format!("the authority {} is gone", hex(*root))));
    if words.is_empty() {
        words.push("the value of a key, or what a file holds that one names, is another".into());
    }
    Some(format!("the configuration changed since {at}: {}", words.join("; ")))
}

/// The warning of authorities that may vouch for any provider.
pub fn extra_roots(now: &Configuration) -> Option<String> {
    let roots: Vec<String> = now.extra_roots.iter().map(|root| hex(root)).collect();
    if roots.is_empty() {
        return None;
    }
    let which = if roots.len() == 1 {
        "1 authority is"
    } else {
        &format!("{} authorities are", roots.len())
    };
    Some(format!(
        "{which} trusted for every provider beside the public ones (extra_roots_file), by SHA-256: {}",
        roots.join(", ")
    ))
}
