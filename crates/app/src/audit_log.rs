//! Reading and verifying the audit log. Neither needs the root key.

use crate::{error::Error, folder::DataFolder};
use audit::{Record, VerifierKey, VerifyOptions, verify};

/// What `audit verify` counts.
#[derive(Debug)]
pub struct Verified {
    pub entries: u64,
    pub open_intents: u64,
    /// Entries of committed changes that wait to be moved into the log.
    pub outbox_rows: u64,
    /// Entries that no checkpoint covers yet.
    pub after_checkpoint: u64,
}

/// Recomputes every hash, checks the signature, and reads every entry.
pub async fn verify_folder(folder: &DataFolder, kept: Option<&str>) -> Result<Verified, Error> {
    let path = folder.audit_key();
    let text = std::fs::read_to_string(&path).map_err(|source| Error::Io {
        what: "read",
        path: path.clone(),
        source,
    })?;
    let key: VerifierKey = text.trim().parse().map_err(|_| Error::AuditKey { path })?;
    // While somebody holds the lock, the end of the log moves.
    let is_live = folder.try_lock()?.is_none();
    let options = VerifyOptions { kept_checkpoint: kept.map(ToOwned::to_owned), is_live };
    let report = verify::verify(&folder.audit(), &key, &options)?;
    let store = store::Store::open(&folder.database().as_path().into()).await?;
    let outbox_rows = store.outbox_len().await?;
    store.close().await;
    Ok(Verified {
        entries: report.entries,
        open_intents: report.open_intents,
        outbox_rows,
        after_checkpoint: report.after_checkpoint,
    })
}

/// The newest `limit` entries, newest first.
pub fn list(folder: &DataFolder, limit: usize) -> Result<Vec<(u64, Record)>, Error> {
    Ok(verify::list(&folder.audit(), limit)?)
}
