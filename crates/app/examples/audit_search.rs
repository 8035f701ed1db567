//! How long a page of the log takes without its page: `audit_search DATA_DIR [ROUNDS]`. Counts what the log
//! of the folder holds, and looks for a text that is nowhere in it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for measuring")]

use app::{
    DataFolder,
    audit_search::{Filter, Names, activity, search},
};
use std::{path::PathBuf, time::Instant};
use types::{Clock, SystemClock};

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().unwrap_or_else(|| "weirgate-data".into()));
    let rounds: usize = args.next().map_or(50, |text| text.parse().unwrap());
    let folder = DataFolder::open(&dir).unwrap();
    let nowhere = Filter::parse([("text", "nowhere-to-be-found")], &Names::default()).unwrap();
    let now = SystemClock.now();
    measure("activity", rounds, || activity(&folder, &Filter::default(), now).unwrap().looked_at);
    measure("text", rounds, || search(&folder, &nowhere, None, 50).unwrap().looked_at);
}

fn measure(what: &str, rounds: usize, mut each: impl FnMut() -> u64) {
    let mut entries = 0;
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let begun = Instant::now();
            entries = each();
            begun.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times.get(rounds * part / 100).copied().unwrap_or_default();
    println!("{what}: {entries} entries, median {:.1} ms, p95 {:.1} ms", at(50), at(95));
}
