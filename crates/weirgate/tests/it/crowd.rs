//! Callers in crowds, callers that do not read, and a server that runs out of open files.

use crate::world::{World, code, fails};
use serde_json::json;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use testkit::{
    Answer,
    client::{self, Connection},
    namespace::Place,
    wait_until,
};

/// Connections that say nothing, held open.
fn idle(addr: SocketAddr, count: usize) -> Vec<Connection> {
    (0..count).map(|_| Connection::open(addr).unwrap()).collect()
}

/// Open files of a process.
fn open_files(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
}

#[test]
fn idle_callers_never_take_the_files_of_the_log() {
    // Only root sees the files of the process, or who is root in a namespace.
    let name = "crowd::idle_callers_never_take_the_files_of_the_log";
    if let Place::Outside { said } = testkit::namespace::enter(name) {
        eprint!("{said}");
        return;
    }
    let mut world = World::prepared();
    world.weirgate.limit_files(256);
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    let crowd = idle(world.addr, 400);
    let id = world.server.as_ref().unwrap().id();
    // Whom it takes in is bounded, with room to spare.
    wait_until(Duration::from_secs(5), || open_files(id) > 80);
    let console = idle(world.console, 100);
    // Longer than the log takes to open its next file: a checkpoint each second.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2_500) {
        let open = open_files(id);
        assert!(open < 200, "{open} files are open");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(console);
    drop(crowd);
    wait_until(Duration::from_secs(10), || world.get("/things/1").status == 200);
    assert_eq!(client::get(world.console, "/readyz", &[]).unwrap().text(), "ready\n");
    let output = world.stop();
    // That the machine's disk is nearly full may be told.
    let is_trouble = |line: &&str| line.contains("audit log") && !line.contains("little room");
    assert_eq!(output.err().lines().find(is_trouble), None);
    assert_eq!(world.verify()["open_intents"], 0);
}

/// Silent, or asking for what needs no key, or calling with a key that is none.
#[test]
fn callers_without_a_key_do_not_shut_out_those_who_have_one() {
    let mut world = World::prepared();
    world.weirgate.limit_files(256);
    world.serve();
    let bearer = format!("Bearer {}", world.key);
    let path = world.path("/things/1");
    let headers = [("Authorization", bearer.as_str())];
    let mut kept = Connection::open(world.addr).unwrap();
    assert_eq!(kept.request("GET", &path, &headers, b"").unwrap().status, 200);
    let mut crowd = idle(world.addr, 400);
    for one in crowd.iter_mut().take(50) {
        let _ = one.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for one in crowd.iter_mut().skip(50).take(50) {
        let _ =
            one.write(b"GET /proxy/x/y HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer no\r\n\r\n");
    }
    for _ in 0..5 {
        crowd.extend(idle(world.addr, 20));
        let begun = Instant::now();
        assert_eq!(world.get("/things/1").status, 200);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        // Who has shown one stays, idle or not.
        assert_eq!(kept.request("GET", &path, &headers, b"").unwrap().status, 200);
    }
    // Nor do they hold their places for long while those are scarce.
    let mut silent = Connection::open(world.addr).unwrap();
    assert!(silent.is_closed_within(Duration::from_secs(10)));
    assert_eq!(kept.request("GET", &path, &headers, b"").unwrap().status, 200);
    drop(crowd);
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}

/// Silent, or such as have asked for something once.
#[test]
fn idle_connections_on_the_console_shut_out_nobody() {
    let mut world = World::prepared();
    world.weirgate.limit_files(256);
    world.serve();
    // A sixteenth of all files.
    let mut crowd = idle(world.console, 60);
    for one in crowd.iter_mut().skip(30) {
        let _ = one.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for _ in 0..5 {
        crowd.extend(idle(world.console, 10));
        let begun = Instant::now();
        assert_eq!(client::get(world.console, "/readyz", &[]).unwrap().text(), "ready\n");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    // Nor do they hold their places for long while those are scarce.
    let mut silent = Connection::open(world.console).unwrap();
    assert!(silent.is_closed_within(Duration::from_secs(8)));
    drop(crowd);
    world.stop();
}

#[test]
fn a_lack_of_files_ends_with_its_cause() {
    let mut world = World::serving();
    let bearer = format!("Bearer {}", world.key);
    let path = world.path("/things/1");
    let mut kept = Connection::open(world.addr).unwrap();
    let mut call = || kept.request("GET", &path, &[("Authorization", &bearer)], b"").unwrap();
    assert_eq!(call().status, 200);
    let server = world.server.as_ref().unwrap();
    server.set_max_files(3).unwrap();
    // The next checkpoint needs a file: until there is one, calls are refused, not held.
    let refused = wait_until(Duration::from_secs(15), || {
        let answer = call();
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((refused.status, code(&refused).as_str()), (503, "audit_unavailable"));
    let lines = |server: &testkit::Server| server.err().matches("cannot accept").count();
    // Somebody who knocks meanwhile makes it neither spin nor fill its log.
    let waiting = idle(world.addr, 3);
    std::thread::sleep(Duration::from_secs(2));
    let told = lines(world.server.as_ref().unwrap());
    assert!((1..=30).contains(&told), "{told} lines");
    drop(waiting);
    world.server.as_ref().unwrap().set_max_files(1_024).unwrap();
    wait_until(Duration::from_secs(10), || call().status == 200);
    wait_until(Duration::from_secs(10), || world.get("/things/1").status == 200);
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}

#[test]
fn a_limit_that_is_too_low_is_told_at_the_start() {
    let mut world = World::prepared();
    world.weirgate.limit_files(70);
    let said = fails(
        &world.weirgate,
        1,
        &["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"],
        b"",
    );
    assert!(said.contains("70 open files are too few"), "{said}");
    assert!(said.contains("ulimit"), "{said}");
}

/// More than what the kernel holds for a peer that does not read.
fn long_answer(world: &World) {
    let element = r#"{"label":"first","code":"x"}"#;
    let elements = vec![element; 1_000_000].join(",");
    let long = format!(r#"{{"id":"1","list":[{elements}]}}"#);
    world.provider.on("GET /things/1", Answer::json_text(200, long));
}

#[test]
fn a_caller_that_does_not_read_is_given_up_and_recorded() {
    let mut world = World::prepared();
    world.weirgate.set("WEIRGATE_WRITE_TIMEOUT_MS", "2000");
    // Its place among the calls under way is what others need.
    world.weirgate.set("WEIRGATE_MAX_CALLS", "1");
    world.serve();
    long_answer(&world);
    let message = format!(
        "GET {} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        world.path("/things/1"),
        world.key
    );
    let mut deaf = Connection::open(world.addr).unwrap();
    deaf.write(message.as_bytes()).unwrap();
    wait_until(Duration::from_secs(5), || !world.provider.requests().is_empty());
    wait_until(Duration::from_secs(5), || world.get("/things/2").status == 503);
    let begun = Instant::now();
    wait_until(Duration::from_secs(20), || world.get("/things/2").status == 200);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_ne!(deaf.read_end(), client::BodyEnd::Complete);
    world.stop();
    let entries = world.entries();
    assert!(entries.iter().any(|entry| entry["code"] == "caller_gone"));
    assert_eq!(world.verify()["open_intents"], 0);
}

#[test]
fn the_console_gives_up_who_does_not_read() {
    let mut world = World::prepared();
    world.weirgate.set("WEIRGATE_WRITE_TIMEOUT_MS", "500");
    world.serve();
    let mut deaf = Connection::open(world.console).unwrap();
    deaf.set_read_timeout(Duration::from_secs(1)).unwrap();
    let many = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(64);
    // Until it takes no more, and then closes.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        if deaf.write(many.as_bytes()).is_err() {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(18), "{:?}", begun.elapsed());
    assert_eq!(client::get(world.console, "/healthz", &[]).unwrap().text(), "ok\n");
}

/// The end of what it sends is all that is seen of a caller that has gone: one that only says so is
/// taken for one, so that nobody's provider is kept busy for nothing.
#[test]
fn a_caller_that_stops_writing_has_gone() {
    let mut world = World::prepared();
    world.weirgate.set("WEIRGATE_MAX_CALLS", "1");
    world.serve();
    let pause = Duration::from_secs(5);
    let slow = Answer::json(200, &json!({"id": "1"})).pause_before_head(pause);
    world.provider.on("GET /things/1", slow);
    let message = format!(
        "GET {} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        world.path("/things/1"),
        world.key
    );
    for gone in [false, true] {
        world.provider.forget();
        let begun = Instant::now();
        let mut caller = Connection::open(world.addr).unwrap();
        caller.write(message.as_bytes()).unwrap();
        wait_until(Duration::from_secs(3), || !world.provider.requests().is_empty());
        assert_eq!(world.get("/things/2").status, 503);
        if gone {
            drop(caller);
        } else {
            caller.end_writing().unwrap();
            assert!(caller.is_closed_within(Duration::from_secs(3)));
        }
        // Its place is free before the provider answers.
        wait_until(Duration::from_secs(3), || world.get("/things/2").status == 200);
        assert!(begun.elapsed() < pause, "{:?}", begun.elapsed());
    }
    world.stop();
    let gone = |entry: &&serde_json::Value| entry["code"] == "caller_gone";
    assert_eq!(world.entries().iter().filter(gone).count(), 2);
    assert_eq!(world.verify()["open_intents"], 0);
}

#[test]
fn a_server_that_drains_is_not_ready() {
    let mut world = World::serving();
    world.provider.on(
        "GET /things/1",
        Answer::json(200, &json!({"id": "1"})).pause_before_head(Duration::from_secs(2)),
    );
    let message = format!(
        "GET {} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        world.path("/things/1"),
        world.key
    );
    let mut under_way = Connection::open(world.addr).unwrap();
    under_way.write(message.as_bytes()).unwrap();
    wait_until(Duration::from_secs(5), || !world.provider.requests().is_empty());
    assert_eq!(client::get(world.console, "/readyz", &[]).unwrap().status, 200);
    let mut server = world.server.take().unwrap();
    server.signal(rustix::process::Signal::TERM).unwrap();
    wait_until(Duration::from_secs(1), || {
        client::get(world.console, "/readyz", &[]).unwrap().status == 503
    });
    assert_eq!(client::get(world.console, "/healthz", &[]).unwrap().status, 200);
    // Calls under way end well all the same.
    assert_eq!(under_way.read_response(false).unwrap().status, 200);
    assert_eq!(server.wait(Duration::from_secs(20)).unwrap().status, Some(0));
}

#[test]
fn a_flood_of_refusals_does_not_fill_the_log() {
    let mut world = World::serving();
    let path = world.path("/things/1");
    for _ in 0..500 {
        assert_eq!(client::get(world.addr, &path, &[]).unwrap().status, 401);
    }
    let server = world.server.as_mut().unwrap();
    server.wait_for_line(|line| line.contains("\"suppressed\":")).unwrap();
    wait_until(Duration::from_secs(5), || {
        let metrics = client::get(world.console, "/metrics", &[]).unwrap().text();
        metrics.contains(r#"weirgate_failures_total{code="key_missing"} 500"#)
    });
    let err = world.stop().err();
    let lines: Vec<&str> = err.lines().filter(|line| line.contains("key_missing")).collect();
    let suppressed: u64 = lines
        .iter()
        .filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["suppressed"].as_u64()
        })
        .sum();
    let told = lines.iter().filter(|line| line.contains("call failed")).count();
    assert_eq!(suppressed + told as u64, 500);
    assert!(told <= 150, "{told} lines");
}

#[test]
fn a_hangup_stops_nothing() {
    let mut world = World::serving();
    let server = world.server.as_mut().unwrap();
    server.signal(rustix::process::Signal::HUP).unwrap();
    server.wait_for_line(|line| line.contains("SIGHUP is ignored")).unwrap();
    assert_eq!(world.get("/things/1").status, 200);
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}
