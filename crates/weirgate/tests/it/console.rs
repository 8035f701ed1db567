//! The console of the built binary, from the first administrator to somebody who is kept out.

use crate::world::{addr, binary, ok, text};
use testkit::{
    authenticator,
    browser::{Browser, Led},
    client,
};
use types::{Clock as _, SystemClock};

const SERVE: [&str; 6] =
    ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--json"];
pub const PASSWORD: &str = "seven herons wade upstream";
const ADA: &str = "ada.lovelace@example.com";
const BOB: &str = "bob.marlowe@example.com";

/// Uses a link.
pub fn accept(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) {
    assert_eq!(browser.get(path).unwrap().status, 200, "{path}");
    let led = browser.post(path, fields).unwrap();
    assert_eq!(led.to, "/enrol", "{}", led.page.text());
}

/// Enrols an app; its key.
pub fn enrol(browser: &mut Browser) -> String {
    let shown = browser.post("/enrol/begin", &[]).unwrap().page.text();
    assert!(shown.contains("<svg"), "{shown}");
    let seed = between(&shown, "Key: <span class=\"code\">");
    let fields = |code| [("code", code), ("name", "phone")];
    assert_eq!(browser.post("/enrol/confirm", &fields("00000x")).unwrap().page.status, 403);
    // The key that the app has goes on to count.
    let done = browser.post("/enrol/confirm", &fields(&code(&seed, 0))).unwrap().page.text();
    assert!(done.contains("Your recovery codes"), "{done}");
    assert_eq!(browser.get("/").unwrap().status, 200);
    seed
}

fn sign_in(browser: &mut Browser, address: &str) -> Led {
    browser.get("/sign-in").unwrap();
    browser.post("/sign-in", &[("address", address), ("password", PASSWORD)]).unwrap()
}

pub fn between(text: &str, from: &str) -> String {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from} in {text}"));
    rest.split('<').next().unwrap().to_owned()
}

/// A code that counts from now on; each step's counts once.
pub fn code(seed: &str, steps_ahead: u64) -> String {
    let now = SystemClock.now().as_micros() / 1_000_000;
    authenticator::code(seed, u64::try_from(now).unwrap() + 30 * steps_ahead).unwrap()
}

fn path_of(url: &str) -> String {
    let (_, rest) = url.split_once("://").unwrap();
    format!("/{}", rest.split_once('/').unwrap().1)
}

#[test]
fn from_the_first_administrator_to_somebody_who_is_kept_out() {
    let weirgate = binary();
    ok(&weirgate, &["init", "--json"]);
    let (server, line) = weirgate.spawn_until_json(&SERVE).unwrap();
    let stale = path_of(&text(&line, "setup_url"));
    server.terminate().unwrap();
    let (server, line) = weirgate.spawn_until_json(&SERVE).unwrap();
    let console = addr(&line, "console");
    let setup = path_of(&text(&line, "setup_url"));
    assert!(text(&line, "setup_url").starts_with(&format!("http://{console}/setup/")));

    let mut ada = Browser::new(console);
    assert_eq!(ada.get(&stale).unwrap().status, 404, "a later start's link is the one that counts");
    assert_eq!(ada.get("/").unwrap().header("location"), Some("/sign-in"));
    accept(&mut ada, &setup, &[("address", ADA), ("name", "Ada"), ("password", PASSWORD)]);
    assert_eq!(
        ada.get("/users").unwrap().header("location"),
        Some("/enrol"),
        "nothing before a factor"
    );
    let seed = enrol(&mut ada);
    assert_eq!(Browser::new(console).get(&setup).unwrap().status, 404, "once");
    let Led { to: at, .. } = ada.post("/sign-out", &[]).unwrap();
    assert_eq!(at, "/sign-in");
    assert_eq!(ada.get("/").unwrap().header("location"), Some("/sign-in"));
    let Led { to: at, .. } = sign_in(&mut ada, ADA);
    assert_eq!(at, "/sign-in/factor");
    assert_eq!(ada.get("/users").unwrap().header("location"), Some("/sign-in/factor"));
    let Led { to: at, page: home } =
        ada.post("/sign-in/factor", &[("code", &code(&seed, 1))]).unwrap();
    assert_eq!(at, "/", "{}", home.text());
    assert!(home.text().contains(ADA) && home.text().contains("serves calls"), "{}", home.text());

    assert_eq!(ada.get("/users").unwrap().status, 200);
    let Led { page: invited, .. } =
        ada.post("/users/invite", &[("address", BOB), ("roles", "auditor")]).unwrap();
    let link = between(&invited.text(), "<p class=\"code\">");
    assert!(link.starts_with(&format!("http://{console}/invite/")), "{link}");
    let mut bob = Browser::new(console);
    accept(&mut bob, &path_of(&link), &[("name", "Bob"), ("password", PASSWORD)]);
    let bobs_seed = enrol(&mut bob);
    assert_eq!(bob.get("/audit").unwrap().status, 200);
    assert_eq!(bob.get("/users").unwrap().status, 200, "an auditor sees who there is");
    let fields = [("address", "x@example.com"), ("roles", "auditor")];
    let Led { page: refused, .. } = bob.post("/users/invite", &fields).unwrap();
    assert_eq!(refused.status, 403);

    let listed = ok(&weirgate, &["user", "list", "--json"]);
    let people = listed["users"].as_array().unwrap();
    let id = people.iter().find(|one| one["address"] == BOB).map(|one| text(one, "id")).unwrap();
    ada.get("/users").unwrap();
    let Led { to: at, page } = ada.post(&format!("/users/{id}/disable"), &[]).unwrap();
    assert_eq!(at, "/users", "{}", page.text());
    assert_eq!(bob.get("/audit").unwrap().header("location"), Some("/sign-in"), "at once");
    let Led { page, .. } = sign_in(&mut bob, BOB);
    assert_eq!(page.status, 403, "{}", page.text());
    assert!(page.text().contains("The address or the password is not right"));

    let session = ada.cookies["__Host-weirgate"].clone();
    let output = server.terminate().unwrap();
    let said = format!("{}{}", output.out(), output.err());
    // Of an installation that has an administrator nobody is told how to become one.
    let (server, line) = weirgate.spawn_until_json(&SERVE).unwrap();
    assert!(line["setup_url"].is_null());
    let mut ada = Browser::new(addr(&line, "console"));
    ada.cookies.insert("__Host-weirgate".into(), session.clone());
    assert_eq!(ada.get("/").unwrap().status, 200, "a session outlives the server's restart");
    server.terminate().unwrap();

    let entries = ok(&weirgate, &["audit", "list", "--limit", "10000", "--json"]).to_string();
    for verb in ["user.setup", "user.accept", "factor.enrol", "user.sign_in", "user.disable"] {
        assert!(entries.contains(verb), "{verb}");
    }
    let tokens = [path_of(&link).replace("/invite/", ""), session, seed, bobs_seed];
    for secret in tokens.iter().map(String::as_str).chain([ADA, BOB, PASSWORD]) {
        assert!(!entries.contains(secret) && !said.contains(secret), "{secret} was told");
    }
    assert_eq!(ok(&weirgate, &["audit", "verify", "--json"])["open_intents"], 0);
}

/// Under names that somebody else may make lead here it is not served, whatever they are.
#[test]
fn the_console_is_known_by_its_own_names_alone() {
    let mut weirgate = binary();
    weirgate.set("WEIRGATE_CONSOLE_URL", "https://Console.example.com:8443");
    ok(&weirgate, &["init", "--json"]);
    let (server, line) = weirgate.spawn_until_json(&SERVE).unwrap();
    let setup = text(&line, "setup_url");
    assert!(setup.starts_with("https://Console.example.com:8443/setup/"), "{setup}");
    let console = addr(&line, "console");
    for (host, status) in [
        ("console.example.com", 200),
        ("console.example.com:8443", 200),
        ("localhost", 200),
        ("127.0.0.1:1", 200),
        ("evil.example", 421),
        ("192.0.2.1", 421),
    ] {
        let answer = client::get(console, "/sign-in", &[("Host", host)]).unwrap();
        assert_eq!(answer.status, status, "{host}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{host}");
        let health = client::get(console, "/healthz", &[("Host", host)]).unwrap();
        assert_eq!(health.status, 200, "{host}");
    }
    server.terminate().unwrap();
}
