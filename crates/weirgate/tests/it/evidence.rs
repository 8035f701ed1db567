//! What leaves the log for somebody who has nothing but its public key.

use crate::world::{World, fails};
use serde_json::Value;
use std::fs;

#[test]
fn proofs_and_exports_hold_without_the_installation() {
    let mut world = World::serving();
    for _ in 0..3 {
        assert_eq!(world.get("/things/1").status, 200);
    }
    let key: audit::VerifierKey = {
        let file = world.weirgate.data_dir().join("audit.pub");
        fs::read_to_string(file).unwrap().trim().parse().unwrap()
    };
    // Beside the server, of what is signed already.
    testkit::wait_until(std::time::Duration::from_secs(5), || {
        world.weirgate.run(&["audit", "proof", "10"], b"").unwrap().status == Some(0)
    });
    world.stop();
    let out = |args: &[&str]| {
        let output = world.weirgate.run(args, b"").unwrap();
        assert_eq!(output.status, Some(0), "{args:?}: {}", output.err());
        output.out()
    };
    let proof: audit::Proof = out(&["audit", "proof", "10"]).parse().unwrap();
    let (record, checkpoint) = proof.verify(&key).unwrap();
    let listed = world.entries();
    assert_eq!(listed[10]["kind"], record.kind());
    assert_eq!(usize::try_from(checkpoint.size).unwrap(), listed.len());

    let whole = out(&["audit", "export"]);
    let found = audit::verify_export(&mut whole.as_bytes(), &key, &[], |_, _| {}).unwrap();
    assert_eq!((found.range.end, found.open_intents), (checkpoint.size, Some(0)));
    let file = world.weirgate.home().join("part").display().to_string();
    out(&["audit", "export", "--from", "3", "--to", "7", "--out", &file]);
    let part = fs::read(&file).unwrap();
    assert_eq!(
        audit::verify_export(&mut part.as_slice(), &key, &[], |_, _| {}).unwrap().range,
        3..7
    );

    let lines = out(&["audit", "export", "--jsonl", "--from", "3", "--to", "7"]);
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows, listed[3..7]);

    let nothing = world.weirgate.home().join("nothing");
    for (from, to) in [("7", "3"), ("3", "3"), ("100000", "200000")] {
        for form in [&["--jsonl"][..], &["--out", nothing.to_str().unwrap()]] {
            let args = [&["audit", "export", "--from", from, "--to", to], form].concat();
            let said = fails(&world.weirgate, 2, &args, b"");
            assert!(said.contains("no entry is in this range"), "{said}");
        }
    }
    assert!(!nothing.exists());

    let said = fails(&world.weirgate, 2, &["audit", "proof", "100000"], b"");
    assert!(said.contains("covers") && said.contains("remedy"), "{said}");
    let said = fails(&world.weirgate, 1, &["audit", "export", "--out", &file], b"");
    assert!(said.contains("remedy"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), part);
}
