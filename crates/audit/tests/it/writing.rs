//! Appending in order.

use crate::world::{World, changed, fill, intent, outcome};
use audit::{AppendError, Durability, MAX_RECORD_BYTES, Record, VaultHead, VerifyOptions, verify};
use std::{collections::HashSet, sync::Arc, thread};

#[test]
fn a_log_over_several_tiles_verifies_and_reopens() {
    let world = World::filled(700);
    let report = world.verify().unwrap();
    // started, 1,400 of calls, changed, closed
    assert_eq!((report.entries, report.open_intents, report.after_checkpoint), (1_403, 0, 0));
    assert!(world.dir().join("tile/entries/004").is_file());
    assert!(!world.dir().join("tile/entries/005").exists());
    let opened = world.open();
    assert_eq!(opened.recent_events, [1_u128.to_be_bytes()]);
    assert_eq!(opened.vault_head, Some(VaultHead { count: 1, root: [1; 32], sequence: 1 }));
    fill(&opened.log.handle(), 1_000..1_100);
    opened.log.close().unwrap();
    assert_eq!(world.verify().unwrap().entries, 1_403 + 202);
}

#[test]
fn a_log_is_walked_back_in_pages_over_tiles_and_tail() {
    let world = World::filled(700);
    let all = verify::list(&world.dir(), usize::MAX).unwrap();
    assert_eq!(all.len(), 1_403);
    assert_eq!(verify::list(&world.dir(), 0).unwrap(), []);
    let page = |before: Option<u64>, limit: usize| {
        let mut page = Vec::new();
        verify::walk_back(&world.dir(), before, |index, record| {
            page.push((index, record));
            page.len() < limit
        })
        .unwrap();
        page
    };
    // 97 has no common measure with a tile: pages begin and end within tiles, and on their edges.
    for limit in [1, 97, 256, 2_000] {
        let mut before = None;
        let mut walked = Vec::new();
        loop {
            let page = page(before, limit);
            assert!(page.len() <= limit);
            let Some((last, _)) = page.last() else { break };
            before = Some(*last);
            walked.extend(page);
            assert!(walked.len() <= all.len(), "pages of {limit} do not end");
        }
        assert_eq!(walked, all, "pages of {limit}");
    }
    assert_eq!(page(Some(0), 10), []);
    assert_eq!(page(Some(u64::MAX), 10), all[..10]);
}

#[test]
fn a_log_is_walked_on_from_anywhere_over_tiles_and_tail() {
    let world = World::filled(700);
    let mut all = verify::list(&world.dir(), usize::MAX).unwrap();
    all.reverse();
    let walked = |from: u64, limit: usize| {
        let mut walked = Vec::new();
        verify::walk_on(&world.dir(), from, |index, record| {
            walked.push((index, record));
            walked.len() < limit
        })
        .unwrap();
        walked
    };
    for from in [0, 1, 255, 256, 257, 1_023, 1_024, 1_279, 1_280, 1_402, 1_403, 9_999] {
        let rest = all.get(usize::try_from(from).unwrap()..).unwrap_or_default();
        assert_eq!(walked(from, usize::MAX), rest, "from {from}");
        assert_eq!(walked(from, 3), rest[..rest.len().min(3)], "three from {from}");
    }
    // A tail that begins before the last tile ends, as its writer leaves it for a moment.
    let tail = std::fs::read(world.dir().join("tail")).unwrap();
    let opened = world.open();
    fill(&opened.log.handle(), 1_000..1_300);
    opened.log.close().unwrap();
    std::fs::write(world.dir().join("tail"), tail).unwrap();
    let indices: Vec<u64> = walked(1_200, usize::MAX).iter().map(|(index, _)| *index).collect();
    assert_eq!(indices, (1_200..1_792).collect::<Vec<u64>>());
}

/// Whoever reads the tail right before the writer makes tiles of it finds those entries in both.
#[test]
fn an_entry_in_tail_and_tile_is_walked_once() {
    let world = World::filled(100);
    let tail = std::fs::read(world.dir().join("tail")).unwrap();
    let opened = world.open();
    fill(&opened.log.handle(), 1_000..1_300);
    opened.log.close().unwrap();
    std::fs::write(world.dir().join("tail"), tail).unwrap();
    let listed = verify::list(&world.dir(), usize::MAX).unwrap();
    let walked: Vec<u64> = listed.into_iter().map(|(index, _)| index).collect();
    assert_eq!(walked, (0..768).rev().collect::<Vec<u64>>());
}

#[test]
fn entries_stand_in_the_order_of_their_acknowledgement() {
    let world = World::new();
    world.create();
    let opened = world.open();
    let handle = opened.log.handle();
    let workers: Vec<_> = (0..8_u128)
        .map(|worker| {
            let handle = handle.clone();
            thread::spawn(move || {
                let mut last = 0;
                for number in 0..50 {
                    let id = worker * 1_000 + number;
                    let index =
                        handle.append(&intent(id), Durability::Synced).unwrap().wait().unwrap();
                    let end =
                        handle.append(&outcome(id), Durability::NextGroup).unwrap().wait().unwrap();
                    assert!(index > last && end > index);
                    last = end;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    opened.log.close().unwrap();
    assert_eq!(world.verify().unwrap().entries, 802);
}

#[test]
fn a_log_that_is_being_written_verifies() {
    let world = Arc::new(World::new());
    world.create();
    let opened = world.open();
    let handle = opened.log.handle();
    let writer = thread::spawn(move || fill(&handle, 0..3_000));
    let options = VerifyOptions { is_live: true, ..VerifyOptions::default() };
    while !writer.is_finished() {
        verify::verify(&world.dir(), &World::verifier(), &options).unwrap();
        verify::list(&world.dir(), 300).unwrap();
    }
    writer.join().unwrap();
    opened.log.close().unwrap();
    assert_eq!(world.verify().unwrap().entries, 6_002);
}

#[test]
fn checkpoints_are_signed_each_second_with_news() {
    let world = World::new();
    world.create();
    let opened = world.open();
    fill(&opened.log.handle(), 0..10);
    let options = VerifyOptions { is_live: true, ..VerifyOptions::default() };
    for _ in 0..300 {
        let report = verify::verify(&world.dir(), &World::verifier(), &options).unwrap();
        if report.after_checkpoint == 0 {
            opened.log.close().unwrap();
            return;
        }
        thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("no checkpoint within three seconds");
}

#[test]
fn what_is_too_long_or_too_late_is_refused() {
    let world = World::new();
    world.create();
    let opened = world.open();
    let handle = opened.log.handle();
    let Record::Changed(mut long) = changed(1) else { unreachable!() };
    long.what = "x".repeat(MAX_RECORD_BYTES);
    let refused = handle.append(&Record::Changed(long), Durability::Synced);
    assert!(matches!(refused, Err(AppendError::TooLong { .. })));
    opened.log.close().unwrap();
    let late = handle.append(&changed(1), Durability::Synced);
    assert!(matches!(late, Err(AppendError::Closed)));
    assert!(!handle.is_healthy());
}

#[test]
fn a_log_whose_files_cannot_be_written_refuses_everything() {
    let world = World::new();
    world.create();
    let opened = world.open();
    let handle = opened.log.handle();
    fill(&handle, 0..100);
    // The next full tile finds no place for its bundle.
    std::fs::create_dir_all(world.dir().join("tile")).unwrap();
    std::fs::write(world.dir().join("tile/entries"), b"in the way").unwrap();
    let mut refused = 0;
    for number in 1_000.. {
        if refused > 100 {
            break;
        }
        assert!(number < 20_000, "the failure goes unnoticed");
        match handle.append(&intent(number), Durability::Synced) {
            Ok(ticket) => {
                refused += u32::from(matches!(ticket.wait(), Err(AppendError::Failed { .. })));
            }
            Err(error) => {
                assert!(matches!(error, AppendError::Failed { .. }), "{error}");
                refused += 1;
            }
        }
    }
    assert!(!handle.is_healthy());
    assert!(matches!(opened.log.close(), Err(AppendError::Failed { .. })));
    // When the obstacle is gone, opening completes what is there.
    std::fs::remove_file(world.dir().join("tile/entries")).unwrap();
    let opened = world.open();
    opened.log.close().unwrap();
    let report = world.verify().unwrap();
    assert_eq!(report.open_intents, 0);
    let ended: HashSet<_> = world
        .records()
        .into_iter()
        .filter_map(|record| match record {
            Record::Interrupted { request, .. } => Some(request),
            _ => None,
        })
        .collect();
    assert!(!ended.is_empty());
}
