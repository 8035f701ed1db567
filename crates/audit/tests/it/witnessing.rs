//! A witness cosigns what extends all that it saw, and nothing else, whoever signs it.

use crate::world::{ORIGIN, World, fill};
use audit::{
    AddCheckpoint, Checkpoint, CosigningKey, Log, Opened, Signed, SigningKey, WitnessRefusal,
    consistency, extends, notes, witness,
};
use std::{
    thread,
    time::{Duration, Instant},
};
use types::Timestamp;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn cosigner() -> CosigningKey {
    CosigningKey::from_seed(&[9; 32], "witness.example/w1").unwrap()
}

/// The next checkpoint of so many entries at least.
fn signed(opened: &Opened, least: u64) -> Signed {
    let begun = Instant::now();
    loop {
        let signed = opened.log.handle().checkpoint().unwrap();
        if signed.checkpoint.size >= least {
            return signed;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "no checkpoint");
        thread::sleep(Duration::from_millis(20));
    }
}

fn request(world: &World, old: u64, signed: &Signed) -> AddCheckpoint {
    let proof = consistency(&world.dir(), old, signed.checkpoint.size).unwrap();
    AddCheckpoint { old, proof, checkpoint: signed.note.clone() }
}

/// Checkpoints of a log under way, in tail and tiles, each an extension of all before.
#[test]
fn a_log_that_only_grows_is_cosigned() {
    let world = World::new();
    world.create();
    let opened = world.open();
    let mut seen: Vec<Checkpoint> = Vec::new();
    for round in 0..5_u128 {
        let calls = [1, 3, 200, 1_200, 7][usize::try_from(round).unwrap()];
        fill(&opened.log.handle(), round * 10_000..round * 10_000 + calls);
        let least = seen.last().map_or(0, |seen| seen.size) + 2 * u64::try_from(calls).unwrap();
        let signed = signed(&opened, least);
        for old in &seen {
            assert!(extends(&world.dir(), old, &signed.checkpoint).unwrap());
            assert!(!extends(&world.dir(), &signed.checkpoint, old).unwrap());
            let other = Checkpoint { root: [7; 32], ..*old };
            assert!(!extends(&world.dir(), &other, &signed.checkpoint).unwrap());
        }
        let old = seen.last();
        let asked = request(&world, old.map_or(0, |old| old.size), &signed);
        let read: AddCheckpoint = asked.to_string().parse().unwrap();
        assert_eq!(read, asked);
        let cosigned = witness(&World::verifier(), old, &read, &cosigner(), NOW).unwrap();
        assert_eq!((cosigned.checkpoint, &cosigned.seen), (signed.checkpoint, &signed.note));
        let note = format!("{}{}", cosigned.seen, cosigned.line);
        assert_eq!(cosigner().verifier().check(&note), Ok(NOW));
        assert_eq!(World::verifier().open(&note), Ok(signed.checkpoint));
        seen.push(signed.checkpoint);
    }
    opened.log.close().unwrap();
}

/// Two logs that the same key signed: of the one that was seen first, nothing of the other is cosigned.
#[test]
fn a_second_history_is_refused_whoever_signs_it() {
    let (first, other) = (World::new(), World::new());
    let mut logs = Vec::new();
    for (world, from) in [(&first, 0_u128), (&other, 500_000)] {
        world.create();
        let opened = world.open();
        fill(&opened.log.handle(), from..from + 20);
        logs.push((signed(&opened, 41), opened));
    }
    let [(seen, ours), (fork, theirs)] = <[_; 2]>::try_from(logs).unwrap();
    let (log, key) = (World::verifier(), cosigner());
    let ask = |old: &Checkpoint, asked: &AddCheckpoint| witness(&log, Some(old), asked, &key, NOW);
    let size = seen.checkpoint.size;
    // As long, and shorter.
    let asked = AddCheckpoint { old: size, ..request(&other, fork.checkpoint.size, &fork) };
    assert_eq!(ask(&seen.checkpoint, &asked).unwrap_err(), WitnessRefusal::Forked { size });
    fill(&ours.log.handle(), 20..40);
    let longer = signed(&ours, size + 40);
    let older = ask(&longer.checkpoint, &request(&other, 0, &fork)).unwrap_err();
    let signed_size = fork.checkpoint.size;
    let wanted = WitnessRefusal::Older { signed: signed_size, size: longer.checkpoint.size };
    assert_eq!(older, wanted);
    assert!(older.is_of_two_histories());
    // Longer, with a proof of its own.
    fill(&theirs.log.handle(), 500_020..500_100);
    let fork = signed(&theirs, longer.checkpoint.size + 1);
    let asked = request(&other, longer.checkpoint.size, &fork);
    let size = longer.checkpoint.size;
    let refused = ask(&longer.checkpoint, &asked).unwrap_err();
    assert_eq!(refused, WitnessRefusal::NoExtension { size });
    assert_eq!((refused.status(), refused.size()), (422, Some(size)));
    // Who does not know where the witness stands is told, and accused of nothing.
    let ahead = request(&first, 3, &longer);
    let elsewhere = ask(&seen.checkpoint, &ahead).unwrap_err();
    assert_eq!(elsewhere, WitnessRefusal::Elsewhere { size: seen.checkpoint.size });
    assert!(!elsewhere.is_of_two_histories());
    // Somebody else's key.
    let stranger = SigningKey::from_seed(&[8; 32], ORIGIN).unwrap();
    let unsigned = witness(stranger.verifier(), None, &request(&first, 0, &longer), &key, NOW);
    assert_eq!(unsigned.unwrap_err(), WitnessRefusal::Unsigned);
    for opened in [ours, theirs] {
        opened.log.close().unwrap();
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let world = World::filled(30);
    let note = std::fs::read_to_string(world.dir().join("checkpoint")).unwrap();
    let whole = AddCheckpoint { old: 3, proof: vec![[1; 32]; 63], checkpoint: note.clone() };
    whole.to_string().parse::<AddCheckpoint>().unwrap();
    let hash = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
    let many = format!("old 3\n{}\n{note}", hash.repeat(64));
    let long = format!("{}{}", whole, "x".repeat(audit::MAX_REQUEST_BYTES));
    for bad in
        ["", "old 3\n", "old 03\n\nx", "old -1\n\nx", "old 3\nx\n\nnote", "3\n\nx", &many, &long]
    {
        assert!(bad.parse::<AddCheckpoint>().is_err(), "{}", &bad[..bad.len().min(40)]);
    }
}

/// Checkpoints one after the other; what a crash tore is left out, and the next ones are not.
#[test]
fn a_file_of_checkpoints_is_read_around_what_was_torn() {
    let key = World::key();
    let note = Log::create(&World::new().dir(), &key, None).unwrap();
    let cosigned = format!("{note}\u{2014} witness.example/w1 AAAAAAEC\n");
    assert_eq!(notes(&note), std::slice::from_ref(&note));
    let three = [note.clone(), cosigned.clone(), note.clone()];
    assert_eq!(notes(&format!("{note}\n{cosigned}\n{note}")), three);
    for end in 0..note.len() {
        if !note.is_char_boundary(end) {
            continue;
        }
        let between = if end == 0 || note[..end].ends_with('\n') { "\n" } else { "\n\n" };
        let torn = format!("{note}\n{}{between}{note}", &note[..end]);
        let found = notes(&torn);
        assert!(found.iter().all(|found| *found == note), "cut at {end}: {found:?}");
        assert!((2..=3).contains(&found.len()), "cut at {end}: {found:?}");
    }
    assert!(notes("no checkpoints at all\n\nnor here").is_empty());
}
