//! Defects of our own that one call meets: failpoints, which only debug builds have.

use crate::world::{World, code};
use serde_json::json;
use std::time::Duration;
use testkit::{
    Answer,
    client::{self, BodyEnd, Connection},
    thing, wait_until,
};

fn served(failpoint: &str) -> World {
    let mut world = World::prepared();
    world.weirgate.set("FAILPOINT", failpoint);
    world.serve();
    world
}

/// Others are served, everything is recorded, and nothing is told but the place.
fn ends_well(world: &mut World, status: u16) {
    assert_eq!(world.get("/things/1").status, 200);
    wait_until(Duration::from_secs(5), || {
        let metrics = client::get(world.console, "/metrics", &[]).unwrap().text();
        ["calls_under_way", "request_body_bytes", "connections"]
            .iter()
            .all(|name| metrics.contains(&format!("\nweirgate_{name} 0\n")))
    });
    let output = world.stop();
    assert_eq!(output.err().matches("a defect of Weirgate has shown").count(), 1);
    assert!(!output.err().contains("canary"), "{}", output.err());
    let entries = world.entries();
    let told: Vec<_> = entries.iter().filter(|entry| entry["code"] == "internal").collect();
    assert_eq!(told.len(), 1, "{entries:#?}");
    assert!(told[0].get("status").is_none_or(|told| *told == status), "{}", told[0]);
    assert_eq!(world.verify()["open_intents"], 0);
}

#[test]
fn a_defect_in_one_call_ends_that_call_alone() {
    // Before the call has an intent, and after.
    for (failpoint, is_sent) in [("request /things/13", false), ("provider /things/13", true)] {
        let mut world = served(failpoint);
        let bearer = format!("Bearer {}", world.key);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let mut kept = Connection::open(world.addr).unwrap();
        let body = json!({"name": "n"}).to_string();
        let path = world.path("/things/13");
        let answer = kept.request("PUT", &path, &headers, body.as_bytes()).unwrap();
        assert_eq!((answer.status, code(&answer).as_str()), (500, "internal"), "{failpoint}");
        assert!(!answer.text().contains("canary"), "{}", answer.text());
        assert_eq!(world.provider.requests(), []);
        let other = kept.request("GET", &world.path("/things/1"), &headers[..1], b"").unwrap();
        assert_eq!(other.status, 200, "{failpoint}");
        drop(kept);
        ends_well(&mut world, 500);
        let intents = world.entries().iter().filter(|entry| entry["kind"] == "intent").count();
        assert_eq!(intents, 2 + usize::from(is_sent), "{failpoint}");
    }
}

#[test]
fn a_defect_within_an_answer_cuts_it() {
    let mut world = served("answer");
    let list = json!({"results": vec![thing("1"); 20_000], "next": null, "total": 1});
    world.provider.on("GET /things", Answer::json(200, &list).in_pieces_of(16_384));
    let answer = world.get("/things");
    assert_eq!((answer.status, answer.end), (200, BodyEnd::Aborted));
    assert!(answer.json().is_err());
    ends_well(&mut world, 200);
}
