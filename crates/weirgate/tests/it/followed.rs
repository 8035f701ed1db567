//! Calls as the console shows them, of the built binary with a provider behind it.

use crate::{
    console::{accept, between, enrol},
    world::{CREDENTIAL, World, addr, text},
};
use std::time::{Duration, Instant};
use testkit::{
    SECRET,
    browser::Browser,
    client::{Connection, Response},
};

/// Reads what is sent until it holds this.
fn read_until(stream: &mut Connection, wanted: &str) -> String {
    let mut seen = Vec::new();
    let began = Instant::now();
    loop {
        seen.push(stream.read_byte().unwrap());
        let text = String::from_utf8_lossy(&seen);
        if text.contains(wanted) {
            return text.into_owned();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "no {wanted} in {text}");
    }
}

fn figures(home: &Response) -> String {
    let page = home.text();
    let (_, rest) = page.split_once("<dl class=\"figures\">").unwrap();
    let (figures, _) = rest.split_once("95 of 100").unwrap();
    let texts = figures.split(['<', '>']).skip(2).step_by(2);
    texts.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_call_is_seen_as_it_ends_and_later_without_anything_that_passed() {
    let mut world = World::prepared();
    let args =
        ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--json"];
    let (server, line) = world.weirgate.spawn_until_json(&args).unwrap();
    (world.addr, world.console) = (addr(&line, "gateway"), addr(&line, "console"));
    world.server = Some(server);
    let setup = text(&line, "setup_url");
    let setup = setup.strip_prefix(&format!("http://{}", world.console)).unwrap();
    let mut ada = Browser::new(world.console);
    let fields =
        [("address", "ada@example.com"), ("name", "Ada"), ("password", crate::console::PASSWORD)];
    accept(&mut ada, setup, &fields);
    enrol(&mut ada);

    let cookies = format!("__Host-weirgate={}", ada.cookies["__Host-weirgate"]);
    let mut stream = Connection::open(world.console).unwrap();
    let head = format!(
        "GET /calls/stream HTTP/1.1\r\nHost: {}\r\nCookie: {cookies}\r\n\r\n",
        world.console
    );
    stream.write(head.as_bytes()).unwrap();
    let head = read_until(&mut stream, "retry: 3000");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");

    let answer = world.get("/things/1");
    assert_eq!(answer.status, 200);
    let request = answer.header("weirgate-request-id").unwrap().to_owned();
    let told = read_until(&mut stream, "read Thing");
    assert!(told.contains("event: call") && told.contains("read Thing"), "{told}");
    let stranger = format!("Bearer {}", world.stranger_key);
    let path = world.path("/things/1");
    let refused = testkit::client::get(world.addr, &path, &[("Authorization", &stranger)]).unwrap();
    assert_eq!(refused.status, 403);
    let more = read_until(&mut stream, "not_granted");
    assert!(more.contains("stranger"), "{more}");
    assert_eq!(world.post("/things", &serde_json::json!({"name": "Ada Lovelace"})).status, 201);
    let last = read_until(&mut stream, "create Thing");

    let call = ada.get(&format!("/calls/{request}")).unwrap();
    assert_eq!(call.status, 200, "{}", call.text());
    assert!(call.text().contains("secret") && call.text().contains("Acme GmbH"), "{}", call.text());
    let entry = between(&call.text(), "of the audit log\">");
    let home = ada.get("/").unwrap();
    let made = figures(&home);
    assert_eq!(made, "Calls let through 2 Of these failed 0 Calls refused 1");
    let list = ada.get("/calls").unwrap();
    assert_eq!(list.text().matches("\n<tr id=\"call-").count(), 3);
    let pages = [&call, &home, &list].map(Response::text);
    let all = pages.iter().map(String::as_str).chain([told.as_str(), &more, &last]);
    for seen in all {
        for never in [CREDENTIAL, SECRET, &world.key, &world.stranger_key, "Ada Lovelace"] {
            assert!(!seen.contains(never), "{never} in {seen}");
        }
    }

    // A page that follows calls keeps no server from stopping; and what was counted is there again.
    let began = Instant::now();
    world.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    world.serve();
    let mut again = Browser::new(world.console);
    again.cookies.clone_from(&ada.cookies);
    assert_eq!(figures(&again.get("/").unwrap()), made);
    let same = again.get(&format!("/calls/{entry}")).unwrap().text();
    assert!(same.contains(&request), "{same}");
    world.stop();
}
