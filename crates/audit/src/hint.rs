//! Where the next opening may begin to read. The hint lies outside of the log, so it is signed: a
//! lost or forged one costs time, and an old one stays true, because a log only grows.

use crate::{
    note::{SigningKey, VerifierKey, decode_hash},
    tree::Hash,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{collections::VecDeque, fs, io, path::Path};

/// Changes whose events are known at opening.
pub const RECENT_EVENTS: usize = 256;

/// First line of the note, which no checkpoint has: origins hold no space.
const KIND: &str = "weirgate audit hint";

/// What was known of the first `size` entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hint {
    /// No call that began before this entry was open.
    pub(crate) begin: u64,
    pub(crate) size: u64,
    pub(crate) root: Hash,
    /// Of the last changes, oldest first.
    pub(crate) events: RecentEvents,
}

/// The events of the last [`RECENT_EVENTS`] changes, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RecentEvents(VecDeque<[u8; 16]>);

impl RecentEvents {
    pub(crate) fn push(&mut self, event: [u8; 16]) {
        if self.0.len() >= RECENT_EVENTS {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }

    pub(crate) fn to_vec(&self) -> Vec<[u8; 16]> {
        self.0.iter().copied().collect()
    }
}

impl Hint {
    /// Not synced: what a crash tears has no valid signature.
    pub(crate) fn write(&self, path: &Path, key: &SigningKey) -> io::Result<()> {
        let Self { begin, size, root, events } = self;
        let root = STANDARD.encode(root);
        let mut text = format!("{KIND}\n{}\n{begin}\n{size}\n{root}\n", key.origin());
        for event in &events.0 {
            text.push_str(&hex::encode(event));
            text.push('\n');
        }
        let draft = path.with_extension("draft");
        fs::write(&draft, key.sign_text(&text))?;
        fs::rename(&draft, path)
    }

    /// `None` if there is no hint that this key signed.
    pub(crate) fn read(path: &Path, key: &VerifierKey) -> Option<Self> {
        let text = key.open_text(&fs::read_to_string(path).ok()?).ok()?;
        let mut lines = text.lines();
        if lines.next() != Some(KIND) || lines.next() != Some(key.origin()) {
            return None;
        }
        let begin = lines.next()?.parse().ok()?;
        let size = lines.next()?.parse().ok()?;
        let root = decode_hash(lines.next()?)?;
        let mut events = RecentEvents::default();
        for line in lines {
            let mut event = [0; 16];
            hex::decode_to_slice(line, &mut event).ok()?;
            events.push(event);
        }
        Some(Self { begin, size, root, events })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_reads_back_and_a_forged_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hint");
        let key = SigningKey::from_seed(&[7; 32], "weirgate/inst_test").unwrap();
        assert_eq!(Hint::read(&path, key.verifier()), None);
        let mut events = RecentEvents::default();
        for number in 0..300_u128 {
            events.push(number.to_be_bytes());
        }
        assert_eq!(events.to_vec().len(), RECENT_EVENTS);
        assert_eq!(events.to_vec()[0], 44_u128.to_be_bytes());
        let hint = Hint { begin: 5, size: 9, root: [3; 32], events };
        hint.write(&path, &key).unwrap();
        assert_eq!(Hint::read(&path, key.verifier()), Some(hint.clone()));
        let whole = fs::read(&path).unwrap();
        for place in (0..whole.len()).step_by(7) {
            let mut forged = whole.clone();
            forged[place] ^= 1;
            fs::write(&path, &forged).unwrap();
            assert_eq!(Hint::read(&path, key.verifier()), None, "byte {place}");
        }
        let other = SigningKey::from_seed(&[7; 32], "weirgate/inst_other").unwrap();
        hint.write(&path, &other).unwrap();
        assert_eq!(Hint::read(&path, key.verifier()), None);
    }
}
