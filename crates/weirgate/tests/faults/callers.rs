//! Callers that are many, slow or too large, and what they cost others.

use crate::world::{World, code, ok, text};
use serde_json::json;
use std::time::Duration;
use testkit::{
    client::{self, Connection},
    wait_until,
};

/// Each waits for the last byte of its body: of one key so many as its share has room for.
#[test]
fn one_key_makes_only_its_share_of_bodies_wait() {
    let mut world = World::prepared();
    let create = ["client", "key", "create", "reader", "--expires", "1d", "--json"];
    let other = text(&ok(&world.weirgate, &create), "key");
    world.serve();
    assert_eq!(world.post("/things", &json!({"name": "n"})).status, 201);
    let before = world.memory("VmHWM");
    let body = json!({"name": "n".repeat((1 << 20) - 11)}).to_string();
    assert_eq!(body.len(), 1 << 20);
    let (most, last) = body.split_at(body.len() - 1);
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        world.path("/things"),
        world.key,
        body.len()
    );
    let (mut waiting, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let mut one = Connection::open(world.addr).unwrap();
        one.write(head.as_bytes()).unwrap();
        one.set_read_timeout(Duration::from_millis(60)).unwrap();
        if let Ok(answer) = one.read_response(false) {
            refused.push(answer);
        } else {
            one.write(most.as_bytes()).unwrap();
            one.set_read_timeout(client::TIMEOUT).unwrap();
            waiting.push(one);
        }
    }
    assert_eq!((waiting.len(), refused.len()), (32, 168));
    for answer in &refused {
        assert_eq!((answer.status, code(answer).as_str()), (429, "too_many_bodies"));
        assert_eq!(answer.json().unwrap()["limit"], "key_bodies");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    let held = |wanted: usize| {
        let metrics = client::get(world.console, "/metrics", &[]).unwrap().text();
        metrics.contains(&format!("\nweirgate_request_body_bytes {wanted}\n"))
    };
    assert!(held(32 << 20));
    // Others find room, and so do calls without a body.
    let bearer = format!("Bearer {other}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let path = world.path("/things");
    for _ in 0..3 {
        let answer = client::send(world.addr, "POST", &path, &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(world.get("/things/1").status, 200);
    }
    for one in &mut waiting {
        one.write(last.as_bytes()).unwrap();
    }
    for one in &mut waiting {
        assert_eq!(one.read_response(false).unwrap().status, 201);
    }
    wait_until(Duration::from_secs(5), || held(0));
    assert_eq!(world.post("/things", &json!({"name": "n"})).status, 201);
    let more = world.memory("VmHWM") - before;
    assert!(more <= 64 << 20, "{more} bytes more");
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}
