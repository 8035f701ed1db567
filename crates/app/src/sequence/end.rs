//! How far a log has come, and which event may come next: one that Weirgate wrote, later than all
//! before it, and of a state that the store has.

use crate::{
    change,
    error::Error,
    instance::Instance,
    seals::{self, OUTBOX, Tampering},
};
use audit::{Changed, MAX_RECORD_BYTES, Record, VaultHead, verify};
use store::OutboxRow;

/// So far back the log is read for a change that was whole.
const MAX_LOOKED_BACK: usize = 65_536;

/// How far the log has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// The newest state that the log binds.
    pub last: Option<VaultHead>,
    /// The number of the last event in it; `None` where the log does not tell.
    pub number: Option<u64>,
    links: Links,
}

/// Whether the log holds a change that binds a state. If not, `last` is the state that it was made
/// with, and changes from before that may wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Links {
    None,
    /// It holds events, by a crash perhaps only the first ones of a change.
    Unknown,
    Some,
}

impl End {
    pub(super) fn of(last: Option<VaultHead>, is_new: bool) -> Self {
        let numbered = last.filter(|last| last.sequence > 0 && !is_new);
        let number = numbered.map(|last| last.sequence);
        let links = if is_new { Links::None } else { Links::Unknown };
        Self { last, number, links }
    }

    /// Looks whether there is none, where that is not known.
    pub(super) fn look_for_links(&mut self, instance: &Instance) -> Result<(), Error> {
        if self.links != Links::Unknown {
            return Ok(());
        }
        let newest = verify::list(&instance.folder.audit(), MAX_LOOKED_BACK)?;
        let is_link = |(_, record): &(u64, Record)| matches!(record, Record::Changed(changed) if changed.vault_head.is_some());
        if newest.len() < MAX_LOOKED_BACK && !newest.iter().any(is_link) {
            (self.links, self.number) = (Links::None, None);
        } else {
            self.links = Links::Some;
        }
        Ok(())
    }
}

/// Takes the next link of the chain: later than all before it, and one that the store has. The first
/// of a log may be the one that the log was made with, or one that waited before that; events that lead
/// to it are none.
pub(super) async fn link(
    instance: &Instance,
    changed: &Changed,
    end: &mut End,
) -> Result<(), Error> {
    let Some(head) = changed.vault_head else { return Ok(()) };
    let is_later = |last: VaultHead| last.sequence == 0 || last.sequence < head.sequence;
    if !end.last.is_none_or(is_later) {
        end.look_for_links(instance)?;
        if end.links != Links::None {
            return Err(Error::VaultRolledBack);
        }
    }
    remembers(instance, head).await?;
    if let Some(previous) = changed.previous_head {
        remembers(instance, previous).await?;
    }
    (end.last, end.links) = (Some(head), Links::Some);
    Ok(())
}

/// An event that a retired node had claimed comes later than its number: it is no link of this log, and
/// says whose it was and which state it left.
pub(super) async fn taken_over(
    instance: &Instance,
    mut changed: Changed,
    log: &str,
) -> Result<Changed, Error> {
    let states =
        [("state_before", changed.previous_head.take()), ("state", changed.vault_head.take())];
    for (name, head) in states {
        let Some(head) = head else { continue };
        remembers(instance, head).await?;
        let VaultHead { count, root, sequence } = head;
        let state = format!("{sequence} {count} {}", change::hex(&root));
        changed.details.push((name.to_owned(), state));
    }
    changed.details.push(("taken_over_from".to_owned(), log.to_owned()));
    Ok(changed)
}

/// Nothing goes into the log that Weirgate did not write. Only a log of the first layout takes rows
/// without a seal: there were none.
pub(crate) fn authenticate(
    instance: &Instance,
    row: &OutboxRow,
    is_first_layout: bool,
) -> Result<(), Error> {
    let OutboxRow { sequence, event, record, seal } = row;
    let wanted = seals::of_event(&instance.secrets.pepper, *sequence, event, record);
    let how = match seal {
        Some(seal) if vault::digests_match(seal, &wanted) => return Ok(()),
        Some(_) => Tampering::Changed,
        None if is_first_layout => return Ok(()),
        None => Tampering::Added,
    };
    Err(tampered(*sequence, how))
}

pub(super) fn tampered(sequence: u64, how: Tampering) -> Error {
    Error::RowTampered { kind: OUTBOX.to_owned(), id: sequence.to_string(), how }
}

pub(super) async fn remembers(instance: &Instance, known: VaultHead) -> Result<(), Error> {
    let found = instance.store.head_at(known.sequence).await?;
    seals::remembers(&instance.secrets.pepper, known, found)
}

/// A record that a release before this one let grow too long is cut: its digest says what it was.
pub(super) fn fitting(mut changed: Changed, record: &[u8]) -> Changed {
    const KEPT_CHARS: usize = 200;
    if record.len() > MAX_RECORD_BYTES {
        let digest = change::hex(&seals::sha256(record));
        changed.details =
            vec![("cut".to_owned(), format!("{} bytes, SHA-256 {digest}", record.len()))];
        changed.what = changed.what.chars().take(KEPT_CHARS).collect();
    }
    changed
}
