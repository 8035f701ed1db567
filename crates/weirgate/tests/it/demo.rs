//! The first minute.

use crate::world::{addr, binary, ok, text};
use std::time::Duration;
use testkit::client;

#[test]
fn demo_prints_one_line_of_json_and_serves() {
    let weirgate = binary();
    let args = ["demo", "--json", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"];
    let (server, line) = weirgate.spawn_until_json(&args).unwrap();
    let console = addr(&line, "console");
    let setup = text(&line, "setup_url");
    let path = setup.strip_prefix(&format!("http://{console}")).unwrap();
    assert_eq!(client::get(console, path, &[]).unwrap().status, 200);
    let tried = &line["try"][0];
    assert_eq!(tried["object"], "Employee");
    let url = text(tried, "url");
    let gateway = addr(&line, "gateway");
    let target = url.split_once(&gateway.to_string()).unwrap().1;
    let bearer = format!("Bearer {}", text(&line, "api_key"));
    assert!(target.contains(&text(&line, "connection")));
    let answer = client::get(gateway, target, &[("Authorization", &bearer)]).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let withheld = answer.header("weirgate-fields-withheld").unwrap().to_owned();
    let body = answer.json().unwrap();
    let first = &body["results"][0];
    for name in ["id", "firstName", "workEmail"] {
        assert!(first[name].is_string(), "{first}");
    }
    for name in tried["withheld"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        assert!(withheld.contains(name), "{name} is not in {withheld}");
        let top = name.split(['.', '[']).next().unwrap();
        if !["address", "jobs"].contains(&top) {
            assert!(first.get(top).is_none(), "{name} came through");
        }
    }
    assert!(first.get("ssn").is_none() && first.get("salary").is_none());
    let dir = text(&line, "data_dir");
    // While it serves, and after it was told to end.
    ok(&weirgate, &["audit", "verify", "--data-dir", &dir, "--json"]);
    let output = server.terminate().unwrap();
    assert_eq!(output.status, Some(0), "{}", output.err());
    assert_eq!(output.out().lines().count(), 1);
    let verified = ok(&weirgate, &["audit", "verify", "--data-dir", &dir, "--json"]);
    assert_eq!(verified["open_intents"], 0);
}

#[test]
fn guided_demo_shows_all_five_steps() {
    let weirgate = binary();
    let args = ["demo", "--once", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"];
    let output = weirgate.run_within(Duration::from_secs(30), &args, b"").unwrap();
    assert_eq!(output.status, Some(0), "{}", output.err());
    let said = output.out();
    for wanted in [
        "200 OK",
        "weirgate-fields-withheld:",
        "403 Forbidden",
        "not_granted",
        "401 Unauthorized",
        "key_malformed",
        "502 Bad Gateway",
        "provider_error",
        "The log is whole",
    ] {
        assert!(said.contains(wanted), "no {wanted} in\n{said}");
    }
    assert!(!said.contains("sandbox-"), "the sandbox's credential was shown");
}

/// It lives as long as its terminal, unlike a server.
#[test]
fn a_demo_ends_well_with_its_terminal() {
    let weirgate = binary();
    let args = ["demo", "--json", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"];
    let (mut server, _) = weirgate.spawn_until_json(&args).unwrap();
    server.signal(rustix::process::Signal::HUP).unwrap();
    let output = server.wait(Duration::from_secs(20)).unwrap();
    assert_eq!(output.status, Some(0), "{}", output.err());
}
