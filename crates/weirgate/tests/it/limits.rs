//! Limits of calls: per key, connection and provider, in time and at once.

use crate::world::{GRANTS, World, code, ok};
use serde_json::json;
use std::time::Duration;
use testkit::{Answer, End, client, wait_until};

fn retry_after(answer: &client::Response) -> u64 {
    answer.header("retry-after").unwrap().parse().unwrap()
}

#[test]
fn each_window_refuses_by_name_and_sends_nothing() {
    for (variable, limit) in [
        ("WEIRGATE_LIMIT_PER_KEY", "key"),
        ("WEIRGATE_LIMIT_PER_CONNECTION", "connection"),
        ("WEIRGATE_LIMIT_PER_PROVIDER", "provider"),
    ] {
        let mut world = World::prepared();
        world.weirgate.set(variable, "100/s, 3/h");
        world.serve();
        for _ in 0..3 {
            assert_eq!(world.get("/things/1").status, 200, "{limit}");
        }
        world.provider.forget();
        let answer = world.get("/things/1");
        assert_eq!((answer.status, code(&answer).as_str()), (429, "rate_limited"), "{limit}");
        assert_eq!(answer.json().unwrap()["limit"], limit);
        assert!((1..=1_200).contains(&retry_after(&answer)), "{}", retry_after(&answer));
        assert!(world.provider.requests().is_empty());
        world.stop();
        let refused = |entry: &&serde_json::Value| entry["code"] == "rate_limited";
        assert_eq!(world.entries().iter().filter(refused).count(), 1, "{limit}");
    }
}

#[test]
fn an_overlays_limits_hold() {
    let mut world = World::prepared();
    let overlay = json!({
        "overlay": "1.0.0", "info": {"title": "limits", "version": "1"},
        "actions": [{"target": "$", "update": {"x-weirgate-limits": ["2/h"]}}],
    });
    let overlay = world.weirgate.file("limits.json", overlay.to_string()).unwrap();
    let description = world.weirgate.file("things.yaml", testkit::THING_DESCRIPTION).unwrap();
    let (url, host) = (world.provider.url().to_owned(), world.provider.host_port().to_owned());
    let import = ["provider", "import", &description, "--name", "things", "--server", &url];
    let rest = ["--overlay", &overlay, "--allow-private-network", &host, "--json"];
    let imported = ok(&world.weirgate, &[&import[..], &rest[..]].concat());
    assert_eq!(imported["diagnostics"], 0, "{imported}");
    world.serve();
    let statuses: Vec<u16> = (0..3).map(|_| world.get("/things/1").status).collect();
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn a_provider_that_tells_its_limits_is_not_asked_beyond_them() {
    let world = World::serving();
    let told = Answer::json(200, &json!({"id": "1"}))
        .header("X-RateLimit-Remaining", "2")
        .header("X-RateLimit-Reset", "3");
    world.provider.on("GET /things/1", told);
    world.provider.on("GET /things/2", Answer::json(200, &json!({"id": "2"})));
    assert_eq!(world.get("/things/1").status, 200);
    world.provider.forget();
    let answers: Vec<_> = (0..4).map(|_| world.get("/things/2")).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!(answers[3].json().unwrap()["limit"], "told_by_provider");
    assert!(retry_after(&answers[3]) <= 3);
    assert_eq!(world.provider.requests().len(), 2);
    let again = wait_until(Duration::from_secs(5), || {
        let answer = world.get("/things/2");
        (answer.status == 200).then_some(answer.status)
    });
    assert_eq!(again, 200);
    let busy = Answer::json(429, &json!({"code": "slow_down"})).header("Retry-After", "60");
    world.provider.on("GET /things/1", busy);
    let first = world.get("/things/1");
    assert_eq!((first.status, code(&first).as_str()), (429, "provider_error"));
    let second = world.get("/things/2");
    assert_eq!((second.status, code(&second).as_str()), (429, "rate_limited"));
    assert!((55..=60).contains(&retry_after(&second)), "{}", retry_after(&second));
}

/// The stuck calls of one provider take none of the places that another's calls need.
#[test]
fn a_stuck_provider_leaves_room_for_the_others() {
    let mut world = World::prepared();
    let other = testkit::FaultyProvider::start().unwrap();
    let description = world.weirgate.file("others.yaml", testkit::THING_DESCRIPTION).unwrap();
    let import = ["provider", "import", &description, "--name", "others", "--server", other.url()];
    let rest = ["--allow-private-network", other.host_port(), "--json"];
    ok(&world.weirgate, &[&import[..], &rest[..]].concat());
    let more = GRANTS.replace("provider = \"things\"", "provider = \"others\"");
    world.apply(&format!("{GRANTS}{more}"));
    let args = ["connection", "create", "--provider", "others", "--customer", "c"];
    let rest = ["--scheme", "bearer", "--secret-file", "-", "--json"];
    let secret = br#"{"token":"another-token"}"#;
    let made = crate::world::ok_with(&world.weirgate, &[&args[..], &rest[..]].concat(), secret);
    let others = crate::world::text(&made, "id");
    world.weirgate.set("WEIRGATE_MAX_CALLS", "40");
    world.serve();
    world.provider.on("GET /things/1", Answer::verbatim("").end(End::Silence));
    let bearer = format!("Bearer {}", world.key);
    let open = || {
        let mut connection = client::Connection::open(world.addr).unwrap();
        let path = world.path("/things/1");
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\n\r\n");
        connection.write(head.as_bytes()).unwrap();
        connection
    };
    // A quarter of all places for one connection.
    let _stuck: Vec<_> = (0..10).map(|_| open()).collect();
    // All of them: one that comes later would be refused instead of those below.
    wait_until(Duration::from_secs(10), || world.provider.requests().len() >= 10);
    let refused = wait_until(Duration::from_secs(5), || {
        let mut one = open();
        one.set_read_timeout(Duration::from_millis(200)).unwrap();
        one.read_response(false).ok()
    });
    assert_eq!((refused.status, code(&refused).as_str()), (429, "too_many_calls"));
    assert_eq!(refused.json().unwrap()["limit"], "connection_calls");
    world.connection = others;
    for _ in 0..20 {
        assert_eq!(world.get("/things/1").status, 200);
    }
}
