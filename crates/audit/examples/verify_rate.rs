//! Entries per second that one thread verifies: `verify_rate DIR`, where `append_rate DIR` has
//! filled a log. The folder first, then a whole export of it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for measuring")]

use audit::{SigningKey, VerifyOptions, export, verify, verify_export};
use std::{fs, io::BufReader, path::PathBuf, time::Instant};

fn main() {
    let dir = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "audit-rate".into()));
    let signing = SigningKey::from_seed(&[1; 32], "example").unwrap();
    let (key, log, file) = (signing.verifier(), dir.join("audit"), dir.join("export"));

    let started = Instant::now();
    let entries = verify::verify(&log, key, &VerifyOptions::default()).unwrap().entries;
    say("verify", entries, started);

    let started = Instant::now();
    let mut out = std::io::BufWriter::new(fs::File::create(&file).unwrap());
    export(&log, key, 0..u64::MAX, &mut out).unwrap();
    say("export", entries, started);

    let started = Instant::now();
    let mut input = BufReader::new(fs::File::open(&file).unwrap());
    let found = verify_export(&mut input, key, &[], |_, _| {}).unwrap();
    assert_eq!(found.range.end, entries);
    say("verify the export", entries, started);
}

fn say(what: &str, entries: u64, started: Instant) {
    let millis = started.elapsed().as_millis().max(1);
    let rate = u128::from(entries) * 1_000 / millis;
    println!("{what}: {entries} entries in {millis} ms, {rate} a second");
}
