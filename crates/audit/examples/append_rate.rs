//! Calls per second that the log carries: `append_rate DIR [WAITERS] [SECONDS]`. Each call is an
//! intent that waits for the disk and an outcome that waits for the file.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for measuring")]

use audit::{
    Commitment, Durability, FolderLock, Intent, Log, LogConfig, Outcome, Record, SigningKey,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use types::{Action, Clock, Environment, Id, SystemClock};

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = std::path::PathBuf::from(args.next().unwrap_or_else(|| "audit-rate".into()));
    let waiters: u128 = args.next().map_or(64, |text| text.parse().unwrap());
    let seconds: u64 = args.next().map_or(3, |text| text.parse().unwrap());
    std::fs::create_dir_all(&dir).unwrap();
    let key = SigningKey::from_seed(&[1; 32], "example").unwrap();
    if !dir.join("audit").exists() {
        Log::create(&dir.join("audit"), &key, None).unwrap();
    }
    let opened = Log::open(LogConfig {
        lock: FolderLock::take(&dir).unwrap().unwrap(),
        dir: dir.join("audit"),
        hint_file: dir.join("hint"),
        key,
        clock: Arc::new(SystemClock),
        origin: "example".into(),
        kept: None,
        configuration: None,
        reserve: None,
    })
    .unwrap();
    let handle = opened.log.handle();
    let stop = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..waiters)
        .map(|worker| {
            let (handle, stop, calls) = (handle.clone(), Arc::clone(&stop), Arc::clone(&calls));
            thread::spawn(move || {
                let mut number = worker << 64;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let (intent, outcome) = call(number);
                    handle.append(&intent, Durability::Synced).unwrap().wait().unwrap();
                    handle.append(&outcome, Durability::NextGroup).unwrap().wait().unwrap();
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    thread::sleep(Duration::from_secs(seconds));
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    opened.log.close().unwrap();
    println!("{} calls/s with {waiters} waiters", calls.load(Ordering::Relaxed) / seconds);
}

fn call(number: u128) -> (Record, Record) {
    let at = SystemClock.now();
    let request = Id::from_u128(number);
    let intent = Intent {
        request,
        at,
        environment: Environment::Live,
        key: Id::from_u128(2),
        client: Id::from_u128(3),
        connection: Id::from_u128(4),
        customer: Commitment::from_bytes([5; 32]),
        provider: Id::from_u128(6),
        operation: "list_employees".into(),
        action: Action::Read,
        object: Some("Employee".into()),
        generation: 7,
        is_safe_method: true,
        network: None,
    };
    let outcome = Outcome {
        request,
        at,
        status: 200,
        provider_status: Some(200),
        code: None,
        bytes_in: 1_000,
        bytes_out: 300,
        dropped: 1,
        mismatched: 0,
        withheld: vec!["ssn".into()],
        withheld_more: 0,
        attempts: None,
        duration_us: 900,
    };
    (Record::Intent(intent), Record::Outcome(outcome))
}
