//! Whatever is changed below a checkpoint is found.

use crate::world::{World, fill};
use audit::{OpenError, Record, SigningKey, VerifyError, VerifyOptions, leaf_hash, verify};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_flipped_bit_is_found() {
    let world = World::filled(300);
    let mut count = 0;
    for file in files(&world.dir()) {
        let whole = fs::read(&file).unwrap();
        let step = (whole.len() / 400).max(1);
        for place in (0..whole.len()).step_by(step) {
            let mut changed = whole.clone();
            changed[place] ^= 1 << (place % 8);
            fs::write(&file, &changed).unwrap();
            assert!(world.verify().is_err(), "{} byte {place}", file.display());
            count += 1;
        }
        fs::write(&file, &whole).unwrap();
    }
    world.verify().unwrap();
    assert!(count > 1_500, "{count}");
}

#[test]
fn files_that_were_cut_lengthened_or_exchanged_are_found() {
    let world = World::filled(300);
    let all = files(&world.dir());
    for file in &all {
        let whole = fs::read(file).unwrap();
        let is_tail = file.ends_with("tail");
        for end in (0..whole.len()).step_by((whole.len() / 40).max(1)) {
            fs::write(file, &whole[..end]).unwrap();
            assert!(world.verify().is_err(), "{} cut at {end}", file.display());
        }
        for more in [&[0][..], &[0; 40], b"\n", &whole] {
            // Less than an entry at the very end is what a crash leaves: it is reported.
            if is_tail && more.len() < 2 {
                continue;
            }
            let mut longer = whole.clone();
            longer.extend_from_slice(more);
            fs::write(file, &longer).unwrap();
            let found = world.verify();
            let is_found = found.as_ref().map_or(true, |report| report.torn_bytes > 0);
            assert!(is_found, "{} and {}", file.display(), more.len());
            assert!(is_tail || found.is_err(), "{} and {}", file.display(), more.len());
        }
        fs::write(file, &whole).unwrap();
    }
    for (one, other) in all.iter().zip(all.iter().skip(1)) {
        let (first, second) = (fs::read(one).unwrap(), fs::read(other).unwrap());
        fs::write(one, &second).unwrap();
        assert!(world.verify().is_err(), "{} copied", other.display());
        fs::write(other, &first).unwrap();
        assert!(world.verify().is_err(), "{} exchanged", other.display());
        fs::write(one, first).unwrap();
        fs::write(other, second).unwrap();
    }
    world.verify().unwrap();
}

/// Who changes an entry can make the hash tiles fit, but not the signature.
#[test]
fn an_entry_changed_with_its_hashes_is_found() {
    let world = World::filled(300);
    let bundle = world.dir().join("tile/entries/001");
    let hashes = world.dir().join("tile/0/001");
    let mut framed = entries(&fs::read(&bundle).unwrap());
    let Record::Outcome(mut outcome) = Record::decode(&framed[6][2..]).unwrap() else {
        panic!("not an outcome")
    };
    outcome.dropped += 1;
    let changed = Record::Outcome(outcome).encode();
    framed[6] = [&u16::try_from(changed.len()).unwrap().to_be_bytes()[..], &changed].concat();
    fs::write(&bundle, framed.concat()).unwrap();
    let found = world.verify().unwrap_err();
    assert!(matches!(found, VerifyError::HashTile { level: 0, index: 262 }), "{found}");
    assert_eq!(found.first_bad_entry(), Some(262));
    let mut tile = fs::read(&hashes).unwrap();
    tile[6 * 32..7 * 32].copy_from_slice(&leaf_hash(&changed));
    fs::write(&hashes, tile).unwrap();
    let found = world.verify().unwrap_err();
    assert!(matches!(found, VerifyError::RootMismatch { signed: 603 }), "{found}");
    assert!(matches!(world.try_open(), Err(OpenError::Corrupt { .. })));
}

/// Changes are found beside a writer too.
#[test]
fn a_changed_log_is_found_while_it_is_written() {
    let world = World::filled(300);
    let opened = world.open();
    let options = VerifyOptions { is_live: true, ..VerifyOptions::default() };
    let verify = || verify::verify(&world.dir(), &World::verifier(), &options);
    verify().unwrap();
    let bundle = world.dir().join("tile/entries/001");
    let whole = fs::read(&bundle).unwrap();
    let mut changed = whole.clone();
    changed[100] ^= 1;
    fs::write(&bundle, changed).unwrap();
    assert!(verify().is_err());
    fs::write(&bundle, whole).unwrap();
    let stranger = world.dir().join("tile/0/007");
    fs::write(&stranger, b"x").unwrap();
    assert!(matches!(verify(), Err(VerifyError::Stranger { .. })));
    fs::remove_file(stranger).unwrap();
    verify().unwrap();
    opened.log.close().unwrap();
}

/// Splits a bundle into framed entries.
fn entries(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let length = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        entries.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    entries
}

#[test]
fn deleted_inserted_and_reordered_entries_are_found() {
    let world = World::filled(300);
    let bundle = world.dir().join("tile/entries/001");
    let tail = world.dir().join("tail");
    for (file, head) in [(bundle, 0), (tail, 8)] {
        let whole = fs::read(&file).unwrap();
        let good = entries(&whole[head..]);
        let mut tried = 0;
        for place in (0..good.len() - 1).step_by(5) {
            let mut deleted = good.clone();
            deleted.remove(place);
            let mut inserted = good.clone();
            inserted.insert(place, good[place + 1].clone());
            let mut swapped = good.clone();
            swapped.swap(place, place + 1);
            let mut replaced = good.clone();
            replaced[place] = good[place + 1].clone();
            for changed in [deleted, inserted, swapped, replaced] {
                let mut bytes = whole[..head].to_vec();
                bytes.extend(changed.concat());
                fs::write(&file, bytes).unwrap();
                assert!(world.verify().is_err(), "{} entry {place}", file.display());
                tried += 1;
            }
        }
        fs::write(&file, whole).unwrap();
        assert!(tried > 50);
    }
    world.verify().unwrap();
}

#[test]
fn missing_and_strange_files_are_found() {
    let world = World::filled(300);
    for file in files(&world.dir()) {
        // The last bundle's hash tile may be missing after a crash, and is made anew.
        if file.ends_with("tile/0/001") {
            continue;
        }
        let whole = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert!(world.verify().is_err(), "{}", file.display());
        fs::write(&file, whole).unwrap();
    }
    for name in ["note.txt", "tile/entries/009", "tile/3/000", "tile/1/000", ".hidden", "tail/x"] {
        if name == "tail/x" {
            // A folder that only looks like a file of the log.
            let tail = fs::read(world.dir().join("tail")).unwrap();
            fs::remove_file(world.dir().join("tail")).unwrap();
            fs::create_dir(world.dir().join("tail")).unwrap();
            assert!(world.verify().is_err());
            fs::remove_dir(world.dir().join("tail")).unwrap();
            fs::write(world.dir().join("tail"), tail).unwrap();
            continue;
        }
        let file = world.dir().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, b"x").unwrap();
        assert!(matches!(world.verify(), Err(VerifyError::Stranger { .. })), "{name}");
        fs::remove_file(file).unwrap();
    }
    world.verify().unwrap();
}

#[test]
fn a_log_that_was_written_anew_is_found() {
    let world = World::filled(300);
    // Under another key of the same name.
    let other = SigningKey::from_seed(&[9; 32], crate::world::ORIGIN).unwrap();
    let found = verify::verify(&world.dir(), other.verifier(), &VerifyOptions::default());
    assert!(matches!(found, Err(VerifyError::Checkpoint(_))));
}

/// The entries are all there, but the log claims to have signed less than it did.
#[test]
fn an_older_checkpoint_put_back_is_found_against_a_kept_one() {
    let world = World::filled(10);
    let file = world.dir().join("checkpoint");
    let old = fs::read(&file).unwrap();
    world.open().log.close().unwrap();
    let kept = fs::read_to_string(&file).unwrap();
    fs::write(&file, &old).unwrap();
    // What was written after it has no seal any more: it cannot be taken for a crash.
    assert!(matches!(world.verify(), Err(VerifyError::AfterClose { index: 23 })));
    assert!(matches!(world.try_open(), Err(OpenError::Corrupt { .. })));
    // Only who has the key sees that this is none.
    let mut tail = fs::read(world.dir().join("tail")).unwrap();
    tail.extend_from_slice(&[0, 0]);
    tail.extend_from_slice(&[0x5A; 32]);
    fs::write(world.dir().join("tail"), tail).unwrap();
    assert!(matches!(world.try_open(), Err(OpenError::Corrupt { .. })));
    assert_eq!(world.verify().unwrap().after_checkpoint, 2);
    let options =
        VerifyOptions { kept_checkpoints: vec![kept.clone()], ..VerifyOptions::default() };
    let found = verify::verify(&world.dir(), &World::verifier(), &options);
    assert!(matches!(found, Err(VerifyError::OlderCheckpoint { size: 23, kept: 25 })), "{found:?}");
    // A kept checkpoint that somebody else signed says nothing.
    let forged = kept.replace("25\n", "24\n");
    let options = VerifyOptions { kept_checkpoints: vec![forged], ..VerifyOptions::default() };
    let found = verify::verify(&world.dir(), &World::verifier(), &options);
    assert!(matches!(found, Err(VerifyError::KeptCheckpoint(_))), "{found:?}");
}

#[test]
fn a_cut_end_is_found_against_a_kept_checkpoint_and_only_there() {
    let world = World::filled(100);
    let old: Vec<_> = files(&world.dir())
        .into_iter()
        .map(|file| (file.clone(), fs::read(file).unwrap()))
        .collect();
    let opened = world.open();
    fill(&opened.log.handle(), 1_000..1_100);
    opened.log.close().unwrap();
    let kept = fs::read_to_string(world.dir().join("checkpoint")).unwrap();
    let options = VerifyOptions { kept_checkpoints: vec![kept], ..VerifyOptions::default() };
    verify::verify(&world.dir(), &World::verifier(), &options).unwrap();
    fs::remove_dir_all(world.dir()).unwrap();
    for (file, bytes) in old {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    // What the documentation says: nothing inside the folder shows it.
    world.verify().unwrap();
    let found = verify::verify(&world.dir(), &World::verifier(), &options);
    assert!(matches!(found, Err(VerifyError::Truncated { .. })), "{found:?}");
    // Another history under the same key is found too.
    let opened = world.open();
    fill(&opened.log.handle(), 2_000..2_200);
    opened.log.close().unwrap();
    world.verify().unwrap();
    let found = verify::verify(&world.dir(), &World::verifier(), &options);
    assert!(matches!(found, Err(VerifyError::KeptMismatch { .. })), "{found:?}");
}
