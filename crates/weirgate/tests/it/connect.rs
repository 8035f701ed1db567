//! Connecting by somebody's consent: at the command line, beside a running server, and what becomes of the
//! consent.

use crate::world::{GRANTS, World, fails, ok, text};
use serde_json::{Value, json};
use std::{collections::HashMap, net::SocketAddr, time::Duration};
use testkit::{Answer, Server, THING_DESCRIPTION, client, find_canary, wait_until};

const ACCESS: &str = "canary-connect-access-17c2";
const REFRESH: &str = "canary-connect-refresh-88d1";
const CODE: &str = "canary-connect-code-4be9";
const APP: &str = r#"{"client_id":"weirgate","client_secret":"canary-connect-app-90a3"}"#;

pub fn query_of(url: &str) -> HashMap<String, String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// The provider of things, to which somebody consents.
pub fn world() -> World {
    let world = World::prepared();
    let url = world.provider.url();
    let oauth2 = json!({"flow": "authorization_code", "authorization_url": format!("{url}/authorize"),
        "token_url": format!("{url}/token"), "revocation_url": format!("{url}/revoke"),
        "scopes": ["things.read"]});
    let overlay = json!({"overlay": "1.0.0", "info": {"title": "t", "version": "1"}, "actions": [
        {"target": "$", "update": {"components": {"securitySchemes": {"oauth": {
            "type": "oauth2", "flows": {}, "x-weirgate-auth": {"oauth2": oauth2}}}}}}]});
    let description = world.weirgate.file("things.yaml", THING_DESCRIPTION).unwrap();
    let overlay = world.weirgate.file("overlay.json", overlay.to_string()).unwrap();
    let import = ["provider", "import", &description, "--name", "things", "--server", url];
    let more = ["--allow-private-network", world.provider.host_port(), "--overlay", &overlay];
    ok(&world.weirgate, &[&import[..], &more[..], &["--json"]].concat());
    let set = ["provider", "app", "set", "things", "--secret-file", "-", "--json"];
    crate::world::ok_with(&world.weirgate, &set, APP.as_bytes());
    let tokens = json!({"access_token": ACCESS, "refresh_token": REFRESH, "token_type": "Bearer",
        "expires_in": 3600, "scope": "things.read things.admin"});
    world.provider.on("/token", Answer::json(200, &tokens));
    world.provider.on("/revoke", Answer::status(200));
    world
}

/// A provider whose customers consent at this authorization server, which knows Weirgate as for sign-in.
pub fn import(world: &World, name: &str, issuer: &str) {
    let oauth2 = json!({"flow": "authorization_code", "authorization_url": format!("{issuer}/auth"),
        "token_url": format!("{issuer}/token"), "revocation_url": format!("{issuer}/token/revocation"),
        "issuer": issuer, "scopes": ["openid", "profile"]});
    let overlay = json!({"overlay": "1.0.0", "info": {"title": "t", "version": "1"}, "actions": [
        {"target": "$", "update": {"components": {"securitySchemes": {"oauth": {
            "type": "oauth2", "flows": {}, "x-weirgate-auth": {"oauth2": oauth2}}}}}}]});
    let description = world.weirgate.file("cloud.yaml", THING_DESCRIPTION).unwrap();
    let overlay = world.weirgate.file("cloud.json", overlay.to_string()).unwrap();
    let url = world.provider.url();
    let import = ["provider", "import", &description, "--name", name, "--server", url];
    let asked = issuer.trim_start_matches("http://");
    let more = ["--allow-private-network", world.provider.host_port(), "--allow-private-network"];
    ok(
        &world.weirgate,
        &[&import[..], &more[..], &[asked, "--overlay", &overlay, "--json"]].concat(),
    );
    let app = json!({"client_id": "weirgate", "client_secret": crate::sso::SECRET}).to_string();
    let set = ["provider", "app", "set", name, "--secret-file", "-", "--json"];
    crate::world::ok_with(&world.weirgate, &set, app.as_bytes());
}

const CREATE: [&str; 10] = [
    "connection",
    "create",
    "--oauth",
    "--provider",
    "things",
    "--customer",
    "Globex",
    "--yes",
    "--no-browser",
    "--json",
];

/// A way that was begun at the command line.
fn begun(world: &World, args: &[&str]) -> (Server, String, SocketAddr) {
    let (server, line) = world.weirgate.spawn_until_json(args).unwrap();
    let url = text(&line, "authorization_url");
    let back = query_of(&url)["redirect_uri"].clone();
    let addr = back.strip_prefix("http://").unwrap().split('/').next().unwrap().parse().unwrap();
    (server, url, addr)
}

fn returns(addr: SocketAddr, query: &str) -> client::Response {
    client::get(addr, &format!("/connect/things/callback?{query}"), &[]).unwrap()
}

fn connects(world: &World, args: &[&str]) -> Value {
    let (mut server, url, addr) = begun(world, args);
    let asked = query_of(&url);
    assert_eq!(asked["code_challenge_method"], "S256");
    let answer = returns(addr, &format!("code={CODE}&state={}", asked["state"]));
    assert_eq!((answer.status, answer.header("location")), (303, Some("/done")));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    let output = server.wait(Duration::from_secs(20)).unwrap();
    assert_eq!(output.status, Some(0), "{}", output.err());
    serde_json::from_str(output.out().lines().last().unwrap()).unwrap()
}

#[test]
fn somebody_consents_at_the_command_line_and_calls_pass() {
    let mut world = world();
    world.serve();
    let done = connects(&world, &CREATE);
    assert_eq!(done["scopes_beyond"], json!(["things.admin"]));
    let id = text(&done, "id");
    world.connection.clone_from(&id);
    // What the grants let through was agreed to; the token is the provider's.
    wait_until(Duration::from_secs(5), || (world.get("/things/1").status == 200).then_some(()));
    let asked = world.provider.last_request().unwrap();
    assert_eq!(asked.header("authorization"), Some(format!("Bearer {ACCESS}").as_str()));
    assert!(world.get("/things/1").text().contains("\"name\""));

    // A grant that is widened lets no more through before the consent is renewed.
    let wider = GRANTS
        .replace("\"nested.a\", \"list[].label\"", "\"nested.a\", \"nested.b\", \"list[].label\"");
    assert_ne!(wider, GRANTS);
    world.apply(&wider);
    let shown = ok(&world.weirgate, &["connection", "show", &id, "--json"]);
    assert_eq!(shown["beyond_consent"], json!(["read Thing.nested.b"]), "{shown}");
    let withheld = |world: &World| !world.get("/things/1").text().contains("\"b\"");
    std::thread::sleep(Duration::from_millis(700));
    assert!(withheld(&world));
    ok(&world.weirgate, &["connection", "consent", "renew", &id, "--yes", "--json"]);
    wait_until(Duration::from_secs(5), || (!withheld(&world)).then_some(()));

    // Withdrawn: calls end, and the provider is told.
    let told = ok(&world.weirgate, &["connection", "consent", "revoke", &id, "--json"]);
    assert_eq!(told["provider"], "told");
    let revoked = world.provider.last_request().unwrap();
    assert!(revoked.path == "/revoke" && String::from_utf8_lossy(&revoked.body).contains(REFRESH));
    // One that is under way at that moment ends as withdrawn; any later one says why.
    let ended = wait_until(Duration::from_secs(5), || {
        let answer = world.get("/things/1");
        (answer.status != 200 && !answer.text().contains("access_withdrawn")).then_some(answer)
    });
    assert!(ended.text().contains("consent_ended"), "{}", ended.text());

    // And anew, under the same id.
    let again = ["connection", "reconnect", &id, "--yes", "--no-browser", "--json"];
    let done = connects(&world, &again);
    assert_eq!((text(&done, "id"), done["token_version"].as_u64()), (id.clone(), Some(3)));
    wait_until(Duration::from_secs(5), || (world.get("/things/1").status == 200).then_some(()));
    let listed =
        ok(&world.weirgate, &["connection", "consent", "list", "--connection", &id, "--json"]);
    let ends: Vec<&Value> =
        listed["consents"].as_array().unwrap().iter().map(|one| &one["ended_as"]).collect();
    assert_eq!(ends, [&json!("renewed"), &json!("withdrawn"), &Value::Null]);

    // Nothing of it lies anywhere in clear, and the log verifies.
    let output = world.stop();
    world.verify();
    let texts = [("out", output.stdout.as_slice()), ("err", output.stderr.as_slice())];
    let canaries = [ACCESS, REFRESH, CODE, "canary-connect-app-90a3"];
    let found = find_canary(&world.weirgate.data_dir(), &texts, &canaries).unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_nobody_asked_for_is_not_taken_and_ctrl_c_ends_it() {
    let world = world();
    let (mut server, url, addr) = begun(&world, &CREATE);
    let state = query_of(&url)["state"].clone();
    for query in ["code=x", "code=x&state=y", "", &format!("code=x&state={state}&state={state}")] {
        assert_eq!(returns(addr, query).status, 303, "{query}");
    }
    let elsewhere = client::get(addr, &format!("/callback?code=x&state={state}"), &[]).unwrap();
    assert_eq!(elsewhere.status, 404);
    assert!(world.provider.requests().iter().all(|request| request.path != "/token"));
    server.signal(rustix::process::Signal::INT).unwrap();
    let ended = server.wait(Duration::from_secs(20)).unwrap();
    assert_eq!(ended.status, Some(130), "{}", ended.err());
    let listed = ok(&world.weirgate, &["connection", "list", "--json"]);
    assert_eq!(listed["connections"].as_array().unwrap().len(), 1);
    // Its answer is late now.
    let entries = world.entries();
    assert!(entries.iter().any(|entry| entry.to_string().contains("cancelled")));
    world.verify();

    // Somebody says no at the provider.
    let (mut server, url, addr) = begun(&world, &CREATE);
    let state = query_of(&url)["state"].clone();
    let no = format!("error=access_denied&error_description=canary-said&state={state}");
    assert_eq!(returns(addr, &no).status, 303);
    let ended = server.wait(Duration::from_secs(20)).unwrap();
    assert_eq!(ended.status, Some(5), "{}", ended.err());
    assert!(ended.err().contains("access_denied") && !ended.err().contains("canary-said"));

    // Without a terminal there is nobody to confirm.
    let unasked: Vec<&str> = CREATE.into_iter().filter(|word| *word != "--yes").collect();
    assert!(fails(&world.weirgate, 2, &unasked, b"").contains("--yes"));
    let again = ["connection", "reconnect", &world.connection, "--yes", "--json"];
    fails(&world.weirgate, 2, &again, b"");
}
