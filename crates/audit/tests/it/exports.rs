//! An export holds without the log, whatever stretch it is of.

use crate::world::World;
use audit::{ExportError, SigningKey, export, verify_export};
use proptest::prelude::*;
use std::{ops::Range, sync::OnceLock};

fn exported(world: &World, range: Range<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    export(&world.dir(), &World::verifier(), range, &mut out).unwrap();
    out
}

fn checked(bytes: &[u8]) -> Result<(Range<u64>, Vec<u64>), ExportError> {
    let mut seen = Vec::new();
    let mut input = bytes;
    let found = verify_export(&mut input, &World::verifier(), &[], |index, _| seen.push(index))?;
    Ok((found.range, seen))
}

#[test]
fn every_stretch_verifies() {
    for calls in [0, 3, 128, 300] {
        let world = World::filled(calls);
        let size = world.verify().unwrap().entries;
        let places =
            [0, 1, 2, 255, 256, 257, 511, 512, 600, size.saturating_sub(1), size, size + 9];
        for first in places {
            for end in places {
                if first >= end.min(size) {
                    let refused =
                        export(&world.dir(), &World::verifier(), first..end, &mut Vec::new());
                    assert!(
                        matches!(refused, Err(ExportError::NoEntries { .. })),
                        "{first}..{end}"
                    );
                    continue;
                }
                let (range, seen) = checked(&exported(&world, first..end)).unwrap();
                assert_eq!(range, first..end.min(size), "{first}..{end} of {size}");
                assert_eq!(seen, range.collect::<Vec<_>>());
            }
        }
        let whole = exported(&world, 0..u64::MAX);
        let found =
            verify_export(&mut whole.as_slice(), &World::verifier(), &[], |_, _| {}).unwrap();
        assert_eq!((found.checkpoint.size, found.open_intents), (size, Some(0)));
        let stranger = SigningKey::from_seed(&[9; 32], crate::world::ORIGIN).unwrap();
        assert!(verify_export(&mut whole.as_slice(), stranger.verifier(), &[], |_, _| {}).is_err());
    }
}

/// Left out, doubled, moved: what is no change of a byte.
#[test]
fn edited_exports_are_found() {
    let world = World::filled(150);
    for range in [0..u64::MAX, 100..200] {
        let whole = String::from_utf8(exported(&world, range)).unwrap();
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        for at in 0..lines.len() - 1 {
            let mut without = lines.clone();
            without.remove(at);
            assert!(checked(without.concat().as_bytes()).is_err(), "without {at}");
            let mut twice = lines.clone();
            twice.insert(at, lines[at]);
            assert!(checked(twice.concat().as_bytes()).is_err(), "twice {at}");
            if lines[at] != lines[at + 1] {
                let mut moved = lines.clone();
                moved.swap(at, at + 1);
                assert!(checked(moved.concat().as_bytes()).is_err(), "moved {at}");
            }
            assert!(checked(lines[..at].concat().as_bytes()).is_err(), "cut at {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn every_changed_byte_is_found(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
        let whole = WHOLE.get_or_init(|| exported(&World::filled(60), 30..90));
        let mut changed = whole.clone();
        let place = place.index(changed.len());
        changed[place] = byte;
        prop_assert!(byte == whole[place] || checked(&changed).is_err());
    }
}
