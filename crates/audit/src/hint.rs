//! Where the next opening may begin to read. The hint lies outside of the log, so it is signed: a
//! lost or forged one costs time, and an old one stays true, because a log only grows.

use crate::{
    note::{SigningKey, VerifierKey, decode_hash},
    record::{Configuration, Record},
    tree::Hash,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{collections::VecDeque, fs, io, path::Path};
use types::Timestamp;

/// Changes whose events are known at opening.
pub const RECENT_EVENTS: usize = 256;

/// First line of the note, which no checkpoint has: origins hold no space.
const KIND: &str = "weirgate audit hint";
/// Where no server began yet.
const NONE: &str = "-";

/// What was known of the first `size` entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hint {
    /// No call that began before this entry was open.
    pub(crate) begin: u64,
    pub(crate) size: u64,
    pub(crate) root: Hash,
    /// The last `started` entry of a server.
    pub(crate) started: Option<Started>,
    /// Of the last changes, oldest first.
    pub(crate) events: RecentEvents,
}

/// How a server began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub at: Timestamp,
    pub version: String,
    pub configuration: Configuration,
}

impl Started {
    pub(crate) fn of(record: &Record) -> Option<Self> {
        let Record::Started { at, version, configuration } = record else { return None };
        let configuration = configuration.clone()?;
        Some(Self { at: *at, version: version.clone(), configuration })
    }

    fn entry(&self) -> Vec<u8> {
        let Self { at, version, configuration } = self.clone();
        Record::Started { at, version, configuration: Some(configuration) }.encode()
    }
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
        let Self { begin, size, root, started, events } = self;
        let root = STANDARD.encode(root);
        let started = started.as_ref().map_or(NONE.to_owned(), |one| hex::encode(one.entry()));
        let mut text = format!("{KIND}\n{}\n{begin}\n{size}\n{root}\n{started}\n", key.origin());
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
        let started = match lines.next()? {
            NONE => None,
            entry => Some(Started::of(&Record::decode(&hex::decode(entry).ok()?).ok()?)?),
        };
        let mut events = RecentEvents::default();
        for line in lines {
            let mut event = [0; 16];
            hex::decode_to_slice(line, &mut event).ok()?;
            events.push(event);
        }
        Some(Self { begin, size, root, started, events })
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
        let configuration = Configuration {
            digest: [4; 32],
            keys: vec!["cores".into()],
            extra_roots: Vec::new(),
            changed_since: None,
        };
        let started =
            Started { at: Timestamp::from_micros(7), version: "0.1.0".into(), configuration };
        let hint = Hint { begin: 5, size: 9, root: [3; 32], started: None, events };
        hint.write(&path, &key).unwrap();
        assert_eq!(Hint::read(&path, key.verifier()), Some(hint.clone()));
        let hint = Hint { started: Some(started), ..hint };
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
