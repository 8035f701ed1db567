//! Ten thousand ways to change an export afterwards, by somebody who knows its form and has every
//! other export and checkpoint of the log, and keys of his own, but not the log's: none is true.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use audit::{
    Durability, FolderLock, Log, LogConfig, Record, RefusedCount, SigningKey, VerifierKey, export,
};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;
use types::{Id, SystemClock, Timestamp};
use weirgate_verify::{Asked, check};

const ORIGIN: &str = "weirgate/inst_test";

/// xorshift64*: the same mutations on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % sides
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32], ORIGIN).unwrap()
}

fn record(count: usize) -> Record {
    let (at, key) = (Timestamp::from_micros(1), Id::from_u128(7));
    Record::RefusedCount(RefusedCount { at, key, count: count as u64 })
}

/// Appends to the log in this folder, and closes it.
fn go_on(home: &Path, counts: std::ops::Range<usize>) {
    let opened = Log::open(LogConfig {
        lock: FolderLock::take(home).unwrap().unwrap(),
        dir: home.join("audit"),
        hint_file: home.join("hint"),
        key: key(),
        clock: Arc::new(SystemClock),
        origin: ORIGIN.into(),
        kept: None,
        configuration: None,
        reserve: None,
    })
    .unwrap();
    for count in counts {
        drop(opened.log.handle().append(&record(count), Durability::NextGroup).unwrap());
    }
    opened.log.close().unwrap();
}

fn exported(home: &Path, range: std::ops::Range<u64>) -> Vec<String> {
    let mut out = Vec::new();
    export(&home.join("audit"), key().verifier(), range, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    text.split_inclusive('\n').map(ToOwned::to_owned).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Exports of a log that are true, of each state that it had, and of another that left it on the way.
struct World {
    home: TempDir,
    verifier: VerifierKey,
    right: Vec<Vec<String>>,
    older: Vec<Vec<String>>,
    forked: Vec<Vec<String>>,
}

impl World {
    fn new() -> Self {
        let (home, fork) = (folder(), folder());
        Log::create(&home.path().join("audit"), &key(), None).unwrap();
        let mut older = Vec::new();
        for step in 0..6 {
            go_on(home.path(), step * 60..step * 60 + 50);
            older.push(exported(home.path(), 0..u64::MAX));
            if step == 3 {
                copy(&home.path().join("audit"), &fork.path().join("audit"));
            }
        }
        for step in 4..7 {
            go_on(fork.path(), 9_000 + step * 60..9_000 + step * 60 + 50);
        }
        older.pop();
        let ranges = [0..u64::MAX, 100..160, 250..270, 3..4];
        let all = |home: &Path| ranges.clone().map(|range| exported(home, range)).to_vec();
        let (right, forked) = (all(home.path()), all(fork.path()));
        Self { verifier: key().verifier().clone(), home, right, older, forked }
    }

    fn is_true(&self, key: &VerifierKey, text: &str) -> bool {
        let file: PathBuf = self.home.path().join("export");
        fs::write(&file, text).unwrap();
        let key = key.to_string();
        check(OsStr::new(&key), file.as_os_str(), &Asked::default(), &mut std::io::sink()).is_ok()
    }
}

/// The line where the checkpoint begins.
fn note_at(lines: &[String]) -> usize {
    lines.iter().position(|line| line == "\n").unwrap() + 1
}

/// A note of the same text under a key of the same name.
fn signed_anew(lines: &[String], seed: [u8; 32]) -> Vec<String> {
    let verifier = SigningKey::from_seed(&seed, ORIGIN).unwrap().verifier().to_string();
    let id = hex::decode(verifier.split('+').nth(1).unwrap()).unwrap();
    let (text, _) = lines.split_at(lines.len() - 2);
    let signed = text[note_at(lines)..].concat();
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let blob = [&id[..], pair.sign(signed.as_bytes()).as_ref()].concat();
    let signature = format!("\u{2014} {ORIGIN} {}\n", STANDARD.encode(blob));
    [text, &["\n".to_owned(), signature]].concat()
}

/// Another entry in the place of one.
fn edited_entry(line: &str, random: &mut Random) -> Option<String> {
    let entry = STANDARD.decode(line.strip_prefix("entry ")?.trim_end()).unwrap();
    let edited = match Record::decode(&entry).unwrap() {
        Record::RefusedCount(mut count) => {
            count.count += 1 + random.below(1_000) as u64;
            Record::RefusedCount(count)
        }
        _ => record(random.below(100_000)),
    };
    Some(format!("entry {}\n", STANDARD.encode(edited.encode())))
}

fn edited_lines(
    right: &[String],
    others: &[Vec<String>],
    random: &mut Random,
) -> (&'static str, Vec<String>) {
    let mut lines = right.to_vec();
    let (at, other) = (random.below(lines.len()), random.below(lines.len()));
    let kind = match random.below(9) {
        0 => {
            drop(lines.remove(at));
            "deleted lines"
        }
        1 => {
            lines.insert(other, right[at].clone());
            "inserted lines"
        }
        2 => {
            lines.swap(at, other);
            "moved lines"
        }
        3 => {
            lines.truncate(at);
            "cut"
        }
        4 | 5 => {
            if let Some(edited) = edited_entry(&right[at], random) {
                lines[at] = edited;
            }
            "edited entries"
        }
        6 => {
            // A line that is true elsewhere.
            let theirs = &others[random.below(others.len())];
            lines[at] = theirs[random.below(theirs.len())].clone();
            "lines of other exports"
        }
        7 => {
            let theirs = &others[random.below(others.len())];
            lines.truncate(note_at(right));
            lines.extend_from_slice(&theirs[note_at(theirs)..]);
            "other checkpoints"
        }
        _ => {
            let [mut first, mut end, mut size] = [at, other, lines.len()];
            match random.below(3) {
                0 => first = random.below(400),
                1 => end = random.below(400),
                _ => size = random.below(400),
            }
            lines[1] = format!("range {first} {end} {size}\n");
            "other ranges"
        }
    };
    (kind, lines)
}

fn edited_bytes(right: &[String], random: &mut Random) -> Vec<String> {
    let mut bytes = right.concat().into_bytes();
    let at = random.below(bytes.len());
    match random.below(3) {
        0 => bytes[at] ^= 1 << random.below(7),
        1 => drop(bytes.remove(at)),
        _ => bytes.insert(at, b"AZaz09+/=\n -"[random.below(12)]),
    }
    vec![String::from_utf8(bytes).unwrap_or_default()]
}

#[test]
fn ten_thousand_mutations_of_an_export_are_not_true() {
    let world = World::new();
    let mut random = Random(0xE4F0);
    let mut seen = HashSet::new();
    let known = world.right.iter().chain(&world.older).chain(&world.forked);
    for lines in known {
        let text = lines.concat();
        assert!(world.is_true(&world.verifier, &text));
        seen.insert(text);
    }
    let others: Vec<Vec<String>> = [&world.older[..], &world.forked].concat();
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for number in 0..15_000_usize {
        let right = &world.right[random.below(world.right.len())];
        let (kind, lines) = match number % 9 {
            0..=1 => ("edited bytes", edited_bytes(right, &mut random)),
            2 => {
                let seed = std::array::from_fn(|_| u8::try_from(random.below(256)).unwrap());
                ("foreign keys", signed_anew(right, seed))
            }
            _ => edited_lines(right, &others, &mut random),
        };
        let text = lines.concat();
        // What is as it was, or true of another state, is no mutation.
        if !seen.insert(text.clone()) {
            continue;
        }
        assert!(!world.is_true(&world.verifier, &text), "{kind}: {text}");
        *found.entry(kind).or_default() += 1;
    }
    // Each true one under the key of another log.
    for lines in &world.right {
        let stranger = SigningKey::from_seed(&[9; 32], ORIGIN).unwrap();
        assert!(!world.is_true(stranger.verifier(), &lines.concat()));
    }
    let total: usize = found.values().sum();
    assert!(total >= 10_000, "{total}: {found:?}");
    assert_eq!(found.len(), 10, "{found:?}");
}
