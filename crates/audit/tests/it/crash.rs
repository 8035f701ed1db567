//! A crash leaves any prefix of the writes: every one of them opens, and loses nothing that was
//! acknowledged.

use crate::world::{World, changed, fill, intent, outcome};
use audit::{Durability, OpenError, Record, VerifyError};
use std::{fs, path::Path};

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A log whose process vanished: nothing was closed.
pub fn killed(calls: u128, open_calls: u128) -> World {
    let world = World::new();
    world.create();
    let opened = world.open();
    let handle = opened.log.handle();
    fill(&handle, 0..calls);
    for number in 0..open_calls {
        let open = intent(10_000 + number);
        handle.append(&open, Durability::Synced).unwrap().wait().unwrap();
    }
    let after = World::new();
    copy(&world.dir(), &after.dir());
    after
}

#[test]
fn open_intents_are_interrupted() {
    let world = killed(5, 3);
    assert_eq!(world.verify().unwrap().open_intents, 3);
    world.open().log.close().unwrap();
    let report = world.verify().unwrap();
    assert_eq!(report.open_intents, 0);
    let records = world.records();
    let interrupted =
        records.iter().filter(|one| matches!(one, Record::Interrupted { .. })).count();
    assert_eq!(interrupted, 3);
}

#[test]
fn a_torn_end_is_cut_wherever_it_tore() {
    let world = killed(3, 2);
    let tail = world.dir().join("tail");
    let whole = fs::read(&tail).unwrap();
    // The first checkpoint covers the first entry: what was signed must stay.
    let signed = {
        let length = usize::from(u16::from_be_bytes([whole[8], whole[9]]));
        8 + 2 + length
    };
    for end in signed..whole.len() {
        let torn = World::new();
        copy(&world.dir(), &torn.dir());
        fs::write(torn.dir().join("tail"), &whole[..end]).unwrap();
        let before = torn.verify().unwrap();
        torn.open().log.close().unwrap();
        let report = torn.verify().unwrap();
        assert_eq!((report.open_intents, report.torn_bytes), (0, 0));
        let cut: u64 = torn
            .records()
            .iter()
            .filter_map(|one| match one {
                Record::Recovered { cut_bytes, .. } => Some(*cut_bytes),
                _ => None,
            })
            .sum();
        assert_eq!(cut, before.torn_bytes, "at {end}");
    }
    // Less than what was signed is no torn end.
    for end in [0, 7, 8, signed - 1] {
        let cut = World::new();
        copy(&world.dir(), &cut.dir());
        fs::write(cut.dir().join("tail"), &whole[..end]).unwrap();
        assert!(matches!(cut.try_open(), Err(OpenError::Corrupt { .. })), "at {end}");
    }
}

/// The steps of completing a tile, each of which may be the last one.
#[test]
fn a_tile_that_was_not_completed_is_completed() {
    let world = World::new();
    world.create();
    let opened = world.open();
    let handle = opened.log.handle();
    // started, 254 of calls, one more: 256
    fill(&handle, 0..127);
    let before = World::new();
    copy(&world.dir(), &before.dir());
    handle.append(&changed(1), Durability::Synced).unwrap().wait().unwrap();
    let full = fs::read(world.dir().join("tail")).unwrap();
    let after = World::new();
    opened.log.close().unwrap();
    copy(&world.dir(), &after.dir());
    // As if the writer had not come to its end.
    let checkpoint = before.dir().join("checkpoint");
    fs::copy(checkpoint, after.dir().join("checkpoint")).unwrap();
    fs::write(after.dir().join("tail"), 256_u64.to_be_bytes()).unwrap();
    for steps in 0..4 {
        let crashed = World::new();
        copy(&after.dir(), &crashed.dir());
        // Undo from the end: the fresh tail, the hash tile, the bundle.
        if steps < 3 {
            fs::write(crashed.dir().join("tail"), &full).unwrap();
        }
        if steps < 2 {
            fs::remove_file(crashed.dir().join("tile/0/000")).unwrap();
        }
        if steps < 1 {
            fs::remove_file(crashed.dir().join("tile/entries/000")).unwrap();
        }
        // A crash by itself is no tampering.
        let found = crashed.verify().unwrap();
        assert_eq!(found.entries, 256, "{steps}");
        crashed.open().log.close().unwrap();
        let report = crashed.verify().unwrap();
        assert_eq!(report.open_intents, 0);
        assert_eq!(report.entries, found.entries + 2);
        let has_change = crashed.records().iter().any(|one| matches!(one, Record::Changed(_)));
        assert!(has_change, "{steps}");
    }
    // No tile comes to the disk before the tail that holds its entries.
    let forged = World::new();
    copy(&after.dir(), &forged.dir());
    fs::copy(before.dir().join("tail"), forged.dir().join("tail")).unwrap();
    assert!(matches!(forged.verify(), Err(VerifyError::Tail { .. })));
    assert!(matches!(forged.try_open(), Err(OpenError::Corrupt { .. })));
}

#[test]
fn what_was_signed_and_changed_is_not_written_over() {
    for place in [20, 3_000, 20_000] {
        let world = World::filled(300);
        let bundle = world.dir().join("tile/entries/000");
        let mut bytes = fs::read(&bundle).unwrap();
        bytes[place] ^= 1;
        fs::write(&bundle, &bytes).unwrap();
        fs::remove_file(world.dir().join("tile/0/000")).unwrap();
        assert!(world.try_open().is_err());
        assert_eq!(fs::read(&bundle).unwrap(), bytes);
    }
    let world = World::filled(300);
    fs::remove_file(world.dir().join("checkpoint")).unwrap();
    assert!(matches!(world.try_open(), Err(OpenError::Missing)));
    let world = World::filled(300);
    fs::remove_file(world.dir().join("tail")).unwrap();
    assert!(matches!(world.try_open(), Err(OpenError::Corrupt { .. })));
}

/// A lost or a lying hint costs time, nothing else.
#[test]
fn recovery_needs_no_hint() {
    for hint in [None, Some("0 0\n"), Some("weirgate audit hint\n"), Some("")] {
        let world = World::filled(300);
        match hint {
            None => fs::remove_file(world.hint()).unwrap(),
            Some(text) => fs::write(world.hint(), text).unwrap(),
        }
        let opened = world.open();
        assert_eq!(opened.recent_events, [1_u128.to_be_bytes()], "{hint:?}");
        let handle = opened.log.handle();
        handle.append(&intent(77_777), Durability::Synced).unwrap().wait().unwrap();
        handle.append(&outcome(77_777), Durability::Synced).unwrap().wait().unwrap();
        opened.log.close().unwrap();
        world.verify().unwrap();
    }
}
