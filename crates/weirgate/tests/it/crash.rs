//! kill -9 under load: every answered call is in the log, and the log verifies.

use crate::world::World;
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use testkit::client;

#[test]
fn kill_minus_nine_loses_no_answered_call() {
    let mut world = World::prepared();
    let answered: Arc<Mutex<Vec<String>>> = Arc::default();
    for round in 0..3_u64 {
        world.serve();
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for worker in 0..4 {
            let (addr, key) = (world.addr, world.key.clone());
            let target = world.path(&format!("/things/{worker}"));
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            threads.push(thread::spawn(move || {
                let bearer = format!("Bearer {key}");
                let headers = [("Authorization", bearer.as_str())];
                let json =
                    [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
                let Ok(mut connection) = client::Connection::open(addr) else { return };
                let mut count = 0_u32;
                while !stop.load(Ordering::SeqCst) {
                    count += 1;
                    let answer = if count.is_multiple_of(3) {
                        connection.request("PUT", &target, &json, br#"{"name":"n"}"#)
                    } else {
                        connection.request("GET", &target, &headers, b"")
                    };
                    let Ok(answer) = answer else { return };
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let id = answer.header("weirgate-request-id").unwrap().to_owned();
                    answered.lock().unwrap().push(id);
                }
            }));
        }
        let before = answered.lock().unwrap().len();
        let wanted = before + 100 + usize::try_from(round).unwrap() * 70;
        testkit::wait_until(Duration::from_secs(20), || answered.lock().unwrap().len() > wanted);
        world.server.take().unwrap().kill9().unwrap();
        stop.store(true, Ordering::SeqCst);
        for thread in threads {
            thread.join().unwrap();
        }
    }
    // As it was left, then after recovery.
    world.serve();
    world.stop();
    let verified = world.verify();
    assert_eq!(verified["open_intents"], 0, "{verified}");
    let entries = world.entries();
    let of = |kind: &str| -> HashSet<String> {
        let of_kind = entries.iter().filter(|entry| entry["kind"] == kind);
        of_kind.map(|entry| entry["request"].as_str().unwrap().to_owned()).collect()
    };
    let (intents, outcomes, interrupted) = (of("intent"), of("outcome"), of("interrupted"));
    let answered = answered.lock().unwrap();
    for id in answered.iter() {
        assert!(intents.contains(id), "{id} was answered and has no intent");
        assert!(outcomes.contains(id) || interrupted.contains(id), "{id} has no end");
    }
    assert!(answered.len() > 300);
}

#[test]
fn a_stopped_server_lets_calls_under_way_end() {
    let mut world = World::prepared();
    world.serve();
    let (addr, key, target) = (world.addr, world.key.clone(), world.path("/things/1"));
    world.provider.on(
        "GET /things/1",
        testkit::Answer::json(200, &testkit::thing("1"))
            .pause_before_head(Duration::from_millis(800)),
    );
    let call = thread::spawn(move || {
        client::get(addr, &target, &[("Authorization", &format!("Bearer {key}"))]).unwrap()
    });
    testkit::wait_until(Duration::from_secs(5), || !world.provider.requests().is_empty());
    world.stop();
    assert_eq!(call.join().unwrap().status, 200);
    assert_eq!(world.verify()["after_checkpoint"], 0);
}

#[test]
fn changes_of_a_killed_server_are_sequenced_by_the_next() {
    let mut world = World::prepared();
    let before = world.verify()["entries"].as_u64().unwrap();
    world.serve();
    // The server holds the folder: the verb leaves its entry in the outbox.
    crate::world::ok(&world.weirgate, &["client", "create", "late", "--json"]);
    world.server.take().unwrap().kill9().unwrap();
    crate::world::ok(&world.weirgate, &["client", "create", "later", "--json"]);
    let verified = world.verify();
    assert_eq!(verified["outbox_rows"], 0);
    assert!(verified["entries"].as_u64().unwrap() >= before + 3);
    let entries = world.entries();
    let created = entries.iter().filter(|entry| entry["verb"] == "client.create").count();
    assert_eq!(created, 4, "each change once");
}
