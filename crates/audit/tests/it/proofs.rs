//! An entry's proof holds without the log, and no other entry's does in its place.

use crate::world::{World, fill};
use audit::{Proof, ProofError, SigningKey, leaf_hash};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use std::{
    fs, thread,
    time::{Duration, Instant},
};

#[test]
fn every_entry_has_a_proof_at_every_size() {
    let mut world = World::new();
    for calls in [0, 1, 2, 5, 120, 128, 129, 400] {
        world = World::filled(calls);
        let entries = world.verify().unwrap().entries;
        let records = world.records();
        let step = usize::try_from((entries / 60).max(1)).unwrap();
        for index in (0..entries).step_by(step).chain([entries - 1]) {
            let proof = Proof::of(&world.dir(), &World::verifier(), index).unwrap();
            let read: Proof = proof.to_string().parse().unwrap();
            assert_eq!(read, proof);
            let (record, checkpoint) = read.verify(&World::verifier()).unwrap();
            assert_eq!(record, records[usize::try_from(index).unwrap()], "{index} of {entries}");
            assert_eq!(checkpoint.size, entries);
            assert!(proof.to_string().len() < 2_048 + 2 * proof.entry.len());
        }
    }
    let size = world.verify().unwrap().entries;
    let beyond = Proof::of(&world.dir(), &World::verifier(), size).unwrap_err();
    assert!(matches!(beyond, ProofError::NotCovered { .. }), "{beyond}");
}

/// Tiles of the second level, of which only the entries' own level is full.
#[test]
fn a_tree_over_many_tiles_agrees_with_another_implementation() {
    let world = World::new();
    world.create();
    let opened = world.open();
    let handle = opened.log.handle();
    for round in 0..70_u128 {
        fill(&handle, round * 500..(round + 1) * 500);
    }
    opened.log.close().unwrap();
    let mut entries = Vec::new();
    for index in [0_u64, 255, 256, 65_535, 65_536, 69_999] {
        let proof = Proof::of(&world.dir(), &World::verifier(), index).unwrap();
        proof.verify(&World::verifier()).unwrap();
        entries.push((index, proof));
    }
    // The first tile's root by the other implementation stands in the last entry's path.
    let mut first_tile: MemoryBackedTree<Sha256, Vec<u8>> = MemoryBackedTree::new();
    for index in 0..256 {
        first_tile.push(Proof::of(&world.dir(), &World::verifier(), index).unwrap().entry);
    }
    let (_, second_tile) = entries.iter().find(|(index, _)| *index == 256).unwrap();
    let root = base64_of(first_tile.root().as_bytes().as_slice());
    assert!(second_tile.to_string().contains(&root));
}

/// The tail of a log under way holds seals between its entries.
#[test]
fn proofs_and_exports_are_had_beside_the_writer() {
    let world = World::new();
    world.create();
    let opened = world.open();
    let handle = opened.log.handle();
    for call in 0..20 {
        fill(&handle, call..call + 1);
    }
    let begun = Instant::now();
    let size = loop {
        let size = handle.checkpoint().map_or(0, |signed| signed.checkpoint.size);
        if size > 40 {
            break size;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "no checkpoint");
        thread::sleep(Duration::from_millis(20));
    };
    for index in 0..size {
        let proof = Proof::of(&world.dir(), &World::verifier(), index).unwrap();
        proof.verify(&World::verifier()).unwrap();
    }
    let mut out = Vec::new();
    audit::export(&world.dir(), &World::verifier(), 7..size, &mut out).unwrap();
    audit::verify_export(&mut out.as_slice(), &World::verifier(), &[], |_, _| {}).unwrap();
    opened.log.close().unwrap();
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

#[test]
fn a_proof_holds_for_its_entry_index_log_and_checkpoint_only() {
    let world = World::filled(200);
    let key = World::verifier();
    let proof = Proof::of(&world.dir(), &key, 77).unwrap();
    let other = Proof::of(&world.dir(), &key, 78).unwrap();
    let text = proof.to_string();
    let exchanged = text.replace(&base64_of(&proof.entry), &base64_of(&other.entry));
    let moved = text.replace("index 77", "index 76");
    let beyond = text.replace("index 77", "index 100000");
    for forged in [exchanged, moved, beyond] {
        let read: Proof = forged.parse().unwrap();
        assert!(read.verify(&key).is_err(), "{forged}");
    }
    let stranger = SigningKey::from_seed(&[8; 32], crate::world::ORIGIN).unwrap();
    assert!(proof.verify(stranger.verifier()).is_err());
    assert_ne!(leaf_hash(&proof.entry), leaf_hash(&other.entry));
    for bad in ["", "c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v2\nindex 1\n\nx"] {
        assert!(bad.parse::<Proof>().is_err(), "{bad}");
    }
    let leading_zero = text.replace("index 77", "index 077");
    assert!(leading_zero.parse::<Proof>().is_err());
}

#[test]
fn a_damaged_log_gives_out_no_proof() {
    let world = World::filled(300);
    let bundle = world.dir().join("tile/entries/000");
    let mut bytes = fs::read(&bundle).unwrap();
    bytes[4] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    assert!(Proof::of(&world.dir(), &World::verifier(), 0).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    /// Any change of the text is refused, or leaves the statement the same.
    #[test]
    fn no_changed_proof_proves_another_entry(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        static PROOF: std::sync::OnceLock<(String, Vec<u8>)> = std::sync::OnceLock::new();
        let (text, entry) = PROOF.get_or_init(|| {
            let world = World::filled(40);
            let proof = Proof::of(&world.dir(), &World::verifier(), 11).unwrap();
            (proof.to_string(), proof.entry)
        });
        let mut bytes = text.clone().into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(text) = String::from_utf8(bytes)
            && let Ok(proof) = text.parse::<Proof>()
            && proof.verify(&World::verifier()).is_ok()
        {
            prop_assert_eq!((proof.index, &proof.entry), (11, entry));
        }
    }
}
