//! Who writes to the folder without the key can take away from the log, but not add to it, and not
//! put back an older one where its last checkpoint is known.

use crate::{
    crash::{copy, killed},
    world::{World, changed, fill, intent},
};
use audit::{Durability, Log, OpenError, Record, VerifyError};
use std::{fs, io::Write};

/// Entries as they stand in `tail`.
fn framed(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        let entry = record.encode();
        out.extend_from_slice(&u16::try_from(entry.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&entry);
    }
    out
}

fn append(world: &World, bytes: &[u8]) {
    let mut tail = fs::OpenOptions::new().append(true).open(world.dir().join("tail")).unwrap();
    tail.write_all(bytes).unwrap();
}

/// As long as a seal, and as likely as any other guess.
const GUESSED: [u8; 34] = {
    let mut seal = [0x5A; 34];
    seal[0] = 0;
    seal[1] = 0;
    seal
};

fn has_forged(world: &World) -> bool {
    world.records().contains(&changed(666))
}

#[test]
fn entries_that_somebody_else_appended_are_not_adopted() {
    let forged = framed(&[changed(666)]);
    let with_seal = [&forged[..], &GUESSED].concat();
    for bytes in [forged.clone(), with_seal.clone(), [&with_seal[..], &with_seal].concat()] {
        let world = killed(5, 1);
        let before = world.verify().unwrap();
        append(&world, &bytes);
        world.open().log.close().unwrap();
        assert!(!has_forged(&world));
        let report = world.verify().unwrap();
        // recovered, interrupted, started, closed: nothing that the log had is lost.
        assert_eq!((report.entries, report.open_intents), (before.entries + 4, 0));
        let cut = world.records().into_iter().find_map(|record| match record {
            Record::Recovered { cut_bytes, .. } => Some(cut_bytes),
            _ => None,
        });
        assert_eq!(cut, Some(bytes.len() as u64));
    }
    // Without a seal it is seen without the key, too.
    let world = killed(5, 1);
    let before = world.verify().unwrap();
    append(&world, &forged);
    let report = world.verify().unwrap();
    assert_eq!((report.entries, report.torn_bytes), (before.entries, forged.len() as u64));
    assert!(!has_forged(&world));
}

/// A seal of the same log does not fit in another place.
#[test]
fn seals_bind_what_stands_before_them() {
    let world = World::new();
    world.create();
    let opened = world.open();
    let handle = opened.log.handle();
    let tail = world.dir().join("tail");
    let mut ends = vec![fs::read(&tail).unwrap().len()];
    for number in 0..4 {
        handle.append(&intent(number), Durability::Synced).unwrap().wait().unwrap();
        ends.push(fs::read(&tail).unwrap().len());
    }
    let whole = fs::read(&tail).unwrap();
    let left = World::new();
    copy(&world.dir(), &left.dir());
    let group = |number: usize| &whole[ends[number]..ends[number + 1]];
    for order in [&[1, 0, 2, 3][..], &[0, 2], &[0, 0], &[3]] {
        let world = World::new();
        copy(&left.dir(), &world.dir());
        let mut bytes = whole[..ends[0]].to_vec();
        let kept = order.iter().zip(0..).take_while(|(one, place)| **one == *place).count();
        for number in order {
            bytes.extend_from_slice(group(*number));
        }
        fs::write(world.dir().join("tail"), &bytes).unwrap();
        world.open().log.close().unwrap();
        let records = world.records();
        let begun = records.iter().filter(|record| matches!(record, Record::Intent(_))).count();
        assert_eq!(begun, kept, "{order:?}");
        world.verify().unwrap();
    }
    // Nor behind another entry, or another history, of the same length.
    let changed = framed(&[intent(9)]);
    let mut bytes = whole[..ends[1]].to_vec();
    bytes.extend_from_slice(&changed);
    bytes.extend_from_slice(&group(1)[changed.len()..]);
    assert_eq!(bytes.len(), ends[2]);
    bytes.extend_from_slice(&whole[ends[2]..]);
    fs::write(left.dir().join("tail"), &bytes).unwrap();
    left.open().log.close().unwrap();
    let records = left.records();
    assert!(records.contains(&intent(0)) && !records.contains(&intent(9)));
    let begun = records.iter().filter(|record| matches!(record, Record::Intent(_))).count();
    assert_eq!(begun, 1);
}

#[test]
fn nothing_is_written_behind_a_closed_log() {
    let forged = framed(&[changed(666)]);
    for bytes in [&forged[..], &GUESSED, &[&forged[..], &GUESSED].concat(), b"x"] {
        let world = World::filled(5);
        append(&world, bytes);
        assert!(matches!(world.try_open(), Err(OpenError::Corrupt { .. })), "{}", bytes.len());
    }
    let world = World::filled(5);
    append(&world, &forged);
    assert!(matches!(world.verify(), Err(VerifyError::AfterClose { index: 13 })));
}

/// Tiles count for no more than the tail that held their entries.
#[test]
fn a_forged_tile_is_refused() {
    let world = killed(100, 0);
    let entries: Vec<Record> = world.records();
    let mut forged = entries.clone();
    forged.extend((entries.len()..256).map(|number| changed(1_000 + number as u64)));
    fs::create_dir_all(world.dir().join("tile/entries")).unwrap();
    fs::write(world.dir().join("tile/entries/000"), framed(&forged)).unwrap();
    assert!(matches!(world.try_open(), Err(OpenError::Corrupt { .. })));
    assert!(matches!(world.verify(), Err(VerifyError::Tail { .. })));
    // Nor is one taken where the tail holds nothing.
    let world = World::new();
    world.create();
    let all: Vec<Record> = (0..256).map(changed).collect();
    fs::create_dir_all(world.dir().join("tile/entries")).unwrap();
    fs::write(world.dir().join("tile/entries/000"), framed(&all)).unwrap();
    fs::write(world.dir().join("tail"), [0; 8]).unwrap();
    assert!(matches!(world.try_open(), Err(OpenError::Corrupt { .. })));
    assert!(matches!(world.verify(), Err(VerifyError::Tail { .. })));
}

#[test]
fn a_log_that_was_taken_away_is_not_begun_anew() {
    let world = World::filled(5);
    fs::remove_dir_all(world.dir()).unwrap();
    assert!(matches!(world.try_open(), Err(OpenError::Missing)));
    fs::create_dir(world.dir()).unwrap();
    assert!(matches!(world.try_open(), Err(OpenError::Missing)));
    world.create();
    assert!(matches!(Log::create(&world.dir(), &World::key(), None), Err(OpenError::Exists)));
}

#[test]
fn an_older_or_another_log_is_not_opened_where_a_checkpoint_is_known() {
    let world = World::filled(100);
    let older = World::new();
    copy(&world.dir(), &older.dir());
    let kept_before = fs::read_to_string(world.dir().join("checkpoint")).unwrap();
    let opened = world.open();
    fill(&opened.log.handle(), 1_000..1_100);
    opened.log.close().unwrap();
    let kept = fs::read_to_string(world.dir().join("checkpoint")).unwrap();
    let with = |world: &World, kept: &str| {
        let config = audit::LogConfig { kept: Some(kept.to_owned()), ..world.config() };
        let is_fit = Log::check(&config).is_ok();
        let opened = Log::open(config);
        assert_eq!(opened.is_ok(), is_fit, "what the check says is what opening does");
        opened
    };
    let found = with(&older, &kept);
    assert!(matches!(found, Err(OpenError::Older { signed: 203, kept: 405 })), "{found:?}");
    // The log may be ahead of what was kept, however far.
    with(&world, &kept_before).unwrap().log.close().unwrap();
    with(&world, &kept).unwrap().log.close().unwrap();
    // A log that went another way since.
    let opened = older.open();
    fill(&opened.log.handle(), 2_000..2_200);
    opened.log.close().unwrap();
    let found = with(&older, &kept);
    assert!(matches!(found, Err(OpenError::Other { kept: 405 })), "{found:?}");
    let found = with(&world, "weirgate/inst_test\n1\n");
    assert!(matches!(found, Err(OpenError::Kept(_))), "{found:?}");
}

/// The writer is right in form and key, and says the same change twice.
#[test]
fn a_change_that_is_there_twice_is_found() {
    let world = World::new();
    world.create();
    let opened = world.open();
    for number in [1, 2, 1] {
        opened.log.handle().append(&changed(number), Durability::Synced).unwrap().wait().unwrap();
    }
    opened.log.close().unwrap();
    let refused = world.verify();
    assert!(matches!(refused, Err(VerifyError::Order { index: 3 })), "{refused:?}");
}
