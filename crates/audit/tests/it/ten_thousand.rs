//! Ten thousand ways to change a log's folder afterwards, by somebody who knows its format and has
//! every file, every checkpoint it ever had, and keys of his own, but not the log's: each is found.
//!
//! Only what changes the meaning counts: a mutation that leaves all files as they are is none, and
//! neither is one that was there before.

use crate::world::{ORIGIN, World, changed, fill, intent};
use audit::{Record, SigningKey, VerifyOptions, leaf_hash, verify};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    collections::{BTreeMap, HashSet},
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
};

const TILE: usize = 256;

/// A log's files by their paths below its folder.
type Files = BTreeMap<String, Vec<u8>>;

fn read(dir: &Path, below: &str, files: &mut Files) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let name = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        if path.is_dir() {
            read(&path, &name, files);
        } else {
            files.insert(name, fs::read(path).unwrap());
        }
    }
}

fn files_of(world: &World) -> Files {
    let mut files = Files::new();
    read(&world.dir(), "", &mut files);
    files
}

fn frame(entry: &[u8]) -> Vec<u8> {
    [&u16::try_from(entry.len()).unwrap().to_be_bytes()[..], entry].concat()
}

fn entries_of(world: &World) -> Vec<Vec<u8>> {
    world.records().iter().map(Record::encode).collect()
}

/// A folder in which all fits: tiles, their hashes, the tail.
fn folder(entries: &[Vec<u8>], checkpoint: &str) -> Files {
    let mut files = Files::from([("checkpoint".to_owned(), checkpoint.as_bytes().to_vec())]);
    let full = entries.len() / TILE;
    for (number, tile) in entries.chunks(TILE).take(full).enumerate() {
        let frames: Vec<Vec<u8>> = tile.iter().map(|entry| frame(entry)).collect();
        files.insert(format!("tile/entries/{number:03}"), frames.concat());
        let hashes: Vec<[u8; 32]> = tile.iter().map(|entry| leaf_hash(entry)).collect();
        files.insert(format!("tile/0/{number:03}"), hashes.concat());
    }
    let start = u64::try_from(full * TILE).unwrap();
    let rest = entries.iter().skip(full * TILE).map(|entry| frame(entry));
    let tail = [start.to_be_bytes().to_vec()].into_iter().chain(rest);
    files.insert("tail".to_owned(), tail.collect::<Vec<_>>().concat());
    files
}

/// A note of this text as its signer writes it, under any key and name (c2sp.org/signed-note).
fn note(text: &str, seed: [u8; 32], name: &str) -> String {
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let verifier = SigningKey::from_seed(&seed, name).unwrap().verifier().to_string();
    let id = verifier.split('+').nth(1).unwrap();
    assert_eq!(pair.public_key().as_ref().len(), 32);
    let blob = [&hex::decode(id).unwrap()[..], pair.sign(text.as_bytes()).as_ref()].concat();
    format!("{text}\n\u{2014} {name} {}\n", STANDARD.encode(blob))
}

fn text_of(note: &str) -> &str {
    &note[..=note.rfind("\n\n").unwrap()]
}

/// xorshift64*: the same mutations on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % sides
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| u8::try_from(self.below(256)).unwrap())
    }
}

/// Puts folders in the place of one that is right, and looks whether that is found.
struct Court {
    world: World,
    right: Files,
    /// What lies there now.
    there: Files,
    seen: HashSet<u64>,
    found: BTreeMap<&'static str, usize>,
}

impl Court {
    fn new(right: Files) -> Self {
        let world = World::new();
        fs::create_dir_all(world.dir()).unwrap();
        let mut court = Self {
            world,
            right: right.clone(),
            there: Files::new(),
            seen: HashSet::new(),
            found: BTreeMap::new(),
        };
        court.put(right);
        court.world.verify().unwrap();
        court
    }

    fn put(&mut self, files: Files) {
        for name in self.there.keys().filter(|name| !files.contains_key(*name)) {
            let path = self.world.dir().join(name);
            fs::remove_file(&path).unwrap();
            // An empty folder that is none of the log's would be found in place of what comes next.
            let _ = fs::remove_dir(path.parent().unwrap());
        }
        for (name, bytes) in &files {
            if self.there.get(name) != Some(bytes) {
                let path = self.world.dir().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
        }
        self.there = files;
    }

    /// Whether it is new and different; then it must be found, with what was kept.
    fn judge(&mut self, kind: &'static str, files: Files, kept: Option<&str>) {
        let mut hasher = DefaultHasher::new();
        (&files, kept).hash(&mut hasher);
        if files == self.right || !self.seen.insert(hasher.finish()) {
            return;
        }
        let shown = format!("{kind}: {:?}", files.keys());
        self.put(files);
        let kept_checkpoints = kept.map(ToOwned::to_owned).into_iter().collect();
        let options = VerifyOptions { kept_checkpoints, is_live: false };
        let verdict = verify::verify(&self.world.dir(), &World::verifier(), &options);
        assert!(verdict.is_err(), "{shown}: {verdict:?}");
        *self.found.entry(kind).or_default() += 1;
    }
}

/// Bytes of any file: changed, put in, taken out.
fn edited_bytes(right: &Files, random: &mut Random) -> Files {
    let mut files = right.clone();
    let names: Vec<&String> = right.keys().collect();
    let bytes = files.get_mut(names[random.below(names.len())]).unwrap();
    let at = random.below(bytes.len());
    let end = at + 1 + random.below((bytes.len() - at).min(64));
    match random.below(4) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.bytes::<1>()[0],
        2 => drop(bytes.drain(at..end)),
        _ => drop(bytes.splice(at..at, random.bytes::<8>())),
    }
    files
}

/// Another entry in place of one: the same with another value, or one that somebody thought of.
fn edited_entry(entry: &[u8], random: &mut Random) -> Vec<u8> {
    match Record::decode(entry).unwrap() {
        Record::Outcome(mut outcome) => {
            match random.below(4) {
                0 => outcome.status += 1,
                1 => outcome.dropped += 1 + random.below(9) as u64,
                2 => outcome.withheld.clear(),
                _ => outcome.code = Some(format!("code_{}", random.below(99))),
            }
            Record::Outcome(outcome).encode()
        }
        Record::Intent(mut intent) => {
            match random.below(3) {
                0 => intent.operation.push('s'),
                1 => intent.generation += 1,
                _ => intent.object = None,
            }
            Record::Intent(intent).encode()
        }
        _ => changed(1_000 + random.below(10_000) as u64).encode(),
    }
}

fn edited_entries(right: &[Vec<u8>], random: &mut Random) -> Vec<Vec<u8>> {
    let mut entries = right.to_vec();
    let at = random.below(entries.len());
    let other = random.below(entries.len());
    match random.below(9) {
        0 | 1 => entries[at] = edited_entry(&entries[at], random),
        2 => drop(entries.remove(at)),
        3 => entries.insert(at, changed(2_000 + random.below(10_000) as u64).encode()),
        4 => entries.insert(at, entries[other].clone()),
        5 => entries.swap(at, other),
        6 => {
            let moved = entries.remove(at);
            entries.insert(other.min(entries.len()), moved);
        }
        7 => entries.truncate(at),
        _ => drop(entries.drain(at.min(other)..at.max(other))),
    }
    entries
}

fn moved_files(right: &Files, random: &mut Random) -> Files {
    let mut files = right.clone();
    let names: Vec<&String> = right.keys().collect();
    let one = names[random.below(names.len())];
    let other = names[random.below(names.len())];
    // After a crash the hash tile of the last bundle may be missing: it is made anew.
    let last = right.keys().rfind(|name| name.starts_with("tile/0/")).unwrap();
    match random.below(5) {
        0 => drop(files.insert(one.clone(), right[other].clone())),
        1 => {
            files.insert(one.clone(), right[other].clone());
            files.insert(other.clone(), right[one].clone());
        }
        2 if one != last => drop(files.remove(one)),
        3 => {
            let folder = ["tile/entries", "tile/0", "tile/1", "tile", "note"][random.below(5)];
            let name = format!("{folder}/{:03}", random.below(1_000));
            files.insert(name, right[one].clone());
        }
        _ => {
            let bytes = files.get_mut(one).unwrap();
            let whole = bytes.len();
            bytes.truncate(random.below(whole / 32 + 1) * 32);
        }
    }
    files
}

/// Checkpoints that are not the log's newest, each with its kind.
fn other_checkpoint(
    newest: &str,
    history: &[String],
    forks: &[String],
    random: &mut Random,
) -> (&'static str, String) {
    let old = &history[random.below(history.len() - 1)];
    match random.below(6) {
        0 => ("foreign key", note(text_of(newest), random.bytes(), ORIGIN)),
        1 => ("foreign key", note(text_of(old), random.bytes(), ORIGIN)),
        2 => ("replayed checkpoint", old.clone()),
        3 => ("checkpoint of a fork", forks[random.below(forks.len())].clone()),
        4 => {
            // The newest one's signature under another text.
            let (_, signature) = newest.rsplit_once("\n\n").unwrap();
            let mut lines: Vec<String> = text_of(old).lines().map(ToOwned::to_owned).collect();
            lines[1] = random.below(2_000).to_string();
            ("edited checkpoint", format!("{}\n\n{signature}", lines.join("\n")))
        }
        _ => {
            let root = STANDARD.encode(random.bytes::<32>());
            let text = format!("{ORIGIN}\n{}\n{root}\n", random.below(2_000));
            let (_, signature) = newest.rsplit_once("\n\n").unwrap();
            ("edited checkpoint", format!("{text}\n{signature}"))
        }
    }
}

/// Adds to a log and closes it; its new checkpoint.
fn go_on(world: &World, calls: std::ops::Range<u128>) -> String {
    let opened = world.open();
    fill(&opened.log.handle(), calls);
    opened.log.close().unwrap();
    fs::read_to_string(world.dir().join("checkpoint")).unwrap()
}

fn size_of(note: &str) -> usize {
    note.lines().nth(1).unwrap().parse().unwrap()
}

#[test]
fn ten_thousand_mutations_of_a_log_are_found() {
    const STEPS: usize = 24;
    const FORKS: usize = 3;
    let mut random = Random(0xA0D1);
    // A log that was opened and closed many times, with each state of its folder, and others that
    // left it on the way: same key, another history.
    let world = World::new();
    world.create();
    let mut states = Vec::new();
    let mut forks = Vec::new();
    for step in 0..STEPS {
        let calls = u128::try_from(step * 100).unwrap();
        let checkpoint = go_on(&world, calls..calls + 5);
        states.push((entries_of(&world), checkpoint));
        if step % (STEPS / FORKS) == 0 {
            let fork = World::new();
            crate::crash::copy(&world.dir(), &fork.dir());
            forks.push((step, fork));
        }
    }
    let (entries, newest) = states.last().unwrap().clone();
    assert!(entries.len() > TILE, "more than a tile");
    assert!(Record::decode(&entries[1]).unwrap() == intent(0));
    let history: Vec<String> = states.iter().map(|(_, checkpoint)| checkpoint.clone()).collect();
    let mut court = Court::new(folder(&entries, &newest));
    assert_eq!(court.right.keys().collect::<Vec<_>>(), files_of(&world).keys().collect::<Vec<_>>());

    // Each state put back, against each later checkpoint that somebody kept: cut off together with
    // its checkpoint, or only the checkpoint replayed.
    for (place, (old, checkpoint)) in states.iter().enumerate() {
        for kept in &history[place + 1..] {
            court.judge("cut back", folder(old, checkpoint), Some(kept));
            court.judge("replayed checkpoint", folder(&entries, checkpoint), Some(kept));
        }
        for cut in 1..10 {
            let shorter = &old[..old.len() - cut];
            court.judge("cut behind its checkpoint", folder(shorter, checkpoint), None);
            court.judge("cut behind its checkpoint", folder(shorter, checkpoint), Some(&newest));
        }
    }
    let mut of_forks = Vec::new();
    for (step, fork) in &forks {
        for more in 0..(STEPS - step).min(9) {
            let calls = u128::try_from(50_000 + more * 100).unwrap();
            let checkpoint = go_on(fork, calls..calls + 5);
            let forked = entries_of(fork);
            verify::verify(&fork.dir(), &World::verifier(), &VerifyOptions::default()).unwrap();
            for kept in &history[step + 1..] {
                court.judge("fork", folder(&forked, &checkpoint), Some(kept));
            }
            of_forks.push(checkpoint);
        }
    }
    assert!(of_forks.iter().any(|fork| size_of(fork) == size_of(&newest)), "one is as long");

    // Somebody who changes files as he likes.
    let right = court.right.clone();
    for _ in 0..3_600 {
        court.judge("edited bytes", edited_bytes(&right, &mut random), None);
    }
    for _ in 0..4_600 {
        let entries = edited_entries(&entries, &mut random);
        // All else is made to fit them.
        court.judge("edited entries", folder(&entries, &newest), None);
    }
    for _ in 0..1_600 {
        court.judge("moved files", moved_files(&right, &mut random), None);
    }
    for _ in 0..1_400 {
        let (kind, other) = other_checkpoint(&newest, &history, &of_forks, &mut random);
        // That an older one is not the newest shows only against what was kept, as the database does.
        let kept = (kind == "replayed checkpoint").then_some(newest.as_str());
        court.judge(kind, folder(&entries, &other), kept);
    }
    court.put(right);
    court.world.verify().unwrap();
    let total: usize = court.found.values().sum();
    assert!(total >= 10_000, "{total}: {:?}", court.found);
    for (kind, count) in &court.found {
        assert!(*count >= 20, "{kind}: {count}");
    }
    assert_eq!(court.found.len(), 10, "{:?}", court.found);
}
