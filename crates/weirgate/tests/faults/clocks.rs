//! Clocks that jump, or differ, under a server that goes on. The binary runs with libfaketime, whose
//! file says what its clock shows; the time that passes is left as it is.

use crate::{
    database::on_postgres,
    world::{World, ok},
};
use std::{
    fs,
    time::{Duration, Instant},
};
use testkit::{client, wait_until};

const LIBRARY: &str = "faketime/libfaketime.so.1";
const PATIENCE: Duration = Duration::from_secs(20);

/// Where Debian keeps the library.
fn library() -> Option<String> {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let found = folders.map(|folder| folder.join(LIBRARY)).find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: libfaketime is not installed");
    }
    found.map(|path| path.display().to_string())
}

/// Moves the clock of what this world runs from now on.
fn set_clock(world: &mut World, library: &str, to: &str) {
    let file = world.weirgate.file("clock", format!("{to}\n")).unwrap();
    for (name, value) in [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", &file),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ] {
        world.weirgate.set(name, value);
    }
}

fn metric(world: &World, name: &str) -> f64 {
    let page = client::get(world.console, "/metrics", &[]).unwrap().text();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).trim().parse().unwrap()
}

fn times(world: &World) -> Vec<String> {
    let at = |entry: &serde_json::Value| entry["at"].as_str().unwrap().to_owned();
    world.entries().iter().map(at).collect()
}

/// +2 h and back, then 2 h into the past: limits and the Snapshot's age follow the time that passes,
/// expiries the clock, the log its own order; each jump is an alarm.
#[test]
fn a_clock_that_jumps_moves_expiries_and_nothing_else() {
    let Some(library) = library() else { return };
    let mut world = World::prepared();
    set_clock(&mut world, &library, "+0");
    world.weirgate.set("WEIRGATE_LIMIT_PER_KEY", "20/min");
    world.weirgate.set("WEIRGATE_MAX_SNAPSHOT_AGE_MS", "3000");
    // Its key ends in an hour.
    let made =
        ok(&world.weirgate, &["client", "key", "create", "reader", "--expires", "1h", "--json"]);
    let short = made["key"].as_str().unwrap().to_owned();
    world.serve();
    let long = world.key.clone();
    let status = |world: &World, key: &str| {
        let bearer = format!("Bearer {key}");
        client::get(world.addr, &world.path("/things/1"), &[("Authorization", &bearer)])
            .unwrap()
            .status
    };
    assert_eq!((status(&world, &long), status(&world, &short)), (200, 200));
    let used_up = |world: &World| {
        let begun = Instant::now();
        while status(world, &long) == 200 {
            assert!(begun.elapsed() < PATIENCE, "no limit");
        }
        assert_eq!(status(world, &long), 429);
    };
    used_up(&world);
    for (jumps, (to, is_expired)) in (1_u8..).zip([("+2h", true), ("+0", false), ("-2h", false)]) {
        let jumped = Instant::now();
        world.weirgate.file("clock", format!("{to}\n")).unwrap();
        // The window is not a new one, and not for ever: one call each three seconds.
        let passed = status(&world, &long);
        assert!(passed == 429 || jumped.elapsed() > Duration::from_millis(500), "{to}: {passed}");
        let wanted = if is_expired { 401 } else { 200 };
        wait_until(PATIENCE, || status(&world, &short) == wanted);
        let told = || metric(&world, "weirgate_clock_jumps_total") > f64::from(jumps) - 0.5;
        wait_until(PATIENCE, told);
        assert!(metric(&world, "weirgate_snapshot_age_seconds") < 3.0, "{to}");
        wait_until(PATIENCE, || status(&world, &long) == 200);
        used_up(&world);
    }
    let output = world.stop();
    assert_eq!(output.err().matches("the clock jumped").count(), 3, "{}", output.err());
    assert!(!output.err().contains("snapshot_stale"), "{}", output.err());
    assert!(!output.err().contains("panicked"), "{}", output.err());
    // Its order is that of the entries; their times are what the clock said.
    let report = world.verify();
    assert_eq!(report["open_intents"], 0, "{report}");
    let times = times(&world);
    assert!(!times.is_sorted(), "the clock went back");
    // A start an hour before what was logged says so, and goes on.
    let doctor = world.weirgate.run(&["doctor"], b"").unwrap();
    assert!(doctor.out().contains("the log's newest entry"), "{}", doctor.out());
    world.serve();
    wait_until(PATIENCE, || status(&world, &long) == 200);
    world.stop();
    world.verify();
}

/// Five minutes ahead of the database that all nodes share.
#[test]
fn a_node_whose_clock_differs_is_told() {
    let Some(library) = library() else { return };
    let Some((mut world, _postgres)) = on_postgres() else { return };
    set_clock(&mut world, &library, "+0");
    let finding = |world: &World| {
        let output = world.weirgate.run(&["doctor", "--json"], b"").unwrap();
        let said: serde_json::Value = output.json().unwrap();
        let all = said["findings"].as_array().unwrap().clone();
        let of = |one: &serde_json::Value| {
            one["check"] == "clock" && one["what"].as_str().unwrap().contains("the database's")
        };
        all.into_iter().find(of).unwrap()
    };
    assert_eq!(finding(&world)["level"], "good");
    world.serve();
    let name = "weirgate_clock_skew_seconds";
    wait_until(PATIENCE, || metric(&world, name).abs() < 5.0);
    assert!(!world.server.as_ref().unwrap().err().contains("differs from the database's"));
    world.weirgate.file("clock", "+5m\n").unwrap();
    wait_until(PATIENCE, || (295.0..305.0).contains(&metric(&world, name)));
    let said = "the clock of this node differs from the database's";
    wait_until(PATIENCE, || world.server.as_ref().unwrap().err().contains(said));
    let bad = finding(&world);
    assert_eq!(bad["level"], "bad", "{bad}");
    assert!(bad["what"].as_str().unwrap().contains("ahead of"), "{bad}");
    world.weirgate.file("clock", "-5m\n").unwrap();
    wait_until(PATIENCE, || (-305.0..-295.0).contains(&metric(&world, name)));
    assert!(finding(&world)["what"].as_str().unwrap().contains("behind"));
    world.stop();
}
