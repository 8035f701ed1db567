//! The log and the rows of a release that sealed no rows: taken over once.

use super::OpenLog;
use crate::{
    change::{self, Change, Changing},
    error::Error,
    instance::Instance,
};
use audit::{VaultHead, VerifyError, VerifyOptions, verify};
use std::fs;
use types::{Actor, Id, OpContext};

/// Seals the rows of a store that an earlier release wrote. They are taken as they are, once: but
/// only while the log still says that they have no seals, so that nobody gets rows sealed by
/// removing all seals.
///
/// # Errors
/// [`Error::SealsTampered`] if the log knows of seals, or of nothing; [`Error::AuditVerify`] and
/// [`Error::FirstLayoutUnsigned`] if the log cannot be taken over; [`Error::VaultRolledBack`] if the
/// vault is not in the state that the log last bound; [`Error::FolderInUse`] while a server runs.
pub(crate) async fn seal_first_layout(instance: &Instance) -> Result<(), Error> {
    let lock = instance.folder.lock_soon().await?;
    take_over_log(instance).await?;
    let mut log = OpenLog::open_unjudged(instance, lock, None, None).await?;
    let sealed = seal_rows(instance, &mut log).await;
    let closed = log.close().await;
    sealed.and(closed)
}

/// Tells the store of a log whose release told it nothing: of one that its checkpoint signs whole,
/// because entries behind it had no seals then.
async fn take_over_log(instance: &Instance) -> Result<(), Error> {
    if instance.store.audit_checkpoint(&instance.origin).await?.is_some() {
        return Ok(());
    }
    let dir = instance.folder.audit();
    let key = instance.signing_key()?;
    let report = verify::verify(&dir, key.verifier(), &VerifyOptions::default())?;
    if !is_first_layout(report.vault_head) {
        return Err(Error::SealsTampered);
    }
    if report.after_checkpoint > 0 || report.torn_bytes > 0 {
        return Err(Error::FirstLayoutUnsigned);
    }
    let note = fs::read_to_string(dir.join("checkpoint")).map_err(VerifyError::Io)?;
    let size = report.checkpoint_size;
    Ok(instance.store.keep_audit_checkpoint(&instance.origin, size, &note).await?)
}

pub(super) fn is_first_layout(head: Option<VaultHead>) -> bool {
    head.is_some_and(|head| head.sequence == 0)
}

async fn seal_rows(instance: &Instance, log: &mut OpenLog) -> Result<(), Error> {
    if !log.is_first_layout() {
        return Err(Error::SealsTampered);
    }
    log.drain(instance).await?;
    let now = instance.clock.now();
    let request = Id::generate(now, instance.random.as_ref())?;
    let ctx = OpContext { actor: Actor::System, request, now };
    let mut changing = Changing::first(instance, &ctx, log.end.last).await?;
    if changing.tx.everything().await?.head.is_some() || !log.is_first_layout() {
        return Err(Error::SealsTampered);
    }
    if Some(change::first_layout_head(&changing.tx.sealed_heads().await?)) != log.end.last {
        return Err(Error::VaultRolledBack);
    }
    for row in changing.tx.providers().await? {
        changing.describe(&row);
    }
    changing.record(Change {
        verb: "instance.seal",
        what: format!("instance {}", instance.id),
        ..Change::default()
    });
    changing.commit().await?;
    log.drain(instance).await
}
