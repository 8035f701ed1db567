//! Whatever is changed below a checkpoint is found.

use crate::world::{World, fill};
use audit::{SigningKey, VerifyError, VerifyOptions, verify};
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
        let step = (whole.len() / 150).max(1);
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
    assert!(count > 600, "{count}");
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
    for name in ["note.txt", "tile/entries/009", "tile/3/000", ".hidden"] {
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
    // The same entries under another key.
    let other = SigningKey::from_seed(&[9; 32], crate::world::ORIGIN).unwrap();
    let found = verify::verify(&world.dir(), other.verifier(), &VerifyOptions::default());
    assert!(matches!(found, Err(VerifyError::Checkpoint(_))));
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
    let options = VerifyOptions { kept_checkpoint: Some(kept), ..VerifyOptions::default() };
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
