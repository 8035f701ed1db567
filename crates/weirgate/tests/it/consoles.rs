//! Two nodes' consoles on one database: what ends at one counts at the other with the next request.

use crate::{
    console::{PASSWORD, accept, between, code, enrol},
    nodes::{another, postgres, world},
    world::{addr, ok, text},
};
use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt as _};
use testkit::{
    IdentityProvider, Server, Weirgate,
    browser::Browser,
    client,
    oidc::{CLIENT_ID, CLIENT_SECRET},
};
use types::{Clock as _, SystemClock};

const ADA: &str = "ada.lovelace@example.com";
const BOB: &str = "bob.marlowe@example.com";

fn serve(weirgate: &Weirgate) -> (Server, SocketAddr, String) {
    let args =
        ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--json"];
    let (server, line) = weirgate.spawn_until_json(&args).unwrap();
    (server, addr(&line, "console"), line["setup_url"].as_str().unwrap_or_default().to_owned())
}

fn path_of(url: &str) -> String {
    let (_, rest) = url.split_once("://").unwrap();
    format!("/{}", rest.split_once('/').unwrap().1)
}

/// The same browser's cookies, shown to the other node.
fn also_at(browser: &Browser, console: SocketAddr) -> Browser {
    let mut other = Browser::new(console);
    other.cookies = browser.cookies.clone();
    other
}

fn half(console: SocketAddr, address: &str) -> Browser {
    let mut browser = Browser::new(console);
    browser.get("/sign-in").unwrap();
    let led = browser.post("/sign-in", &[("address", address), ("password", PASSWORD)]).unwrap();
    assert_eq!(led.to, "/sign-in/factor", "{}", led.page.text());
    browser
}

fn is_out(browser: &mut Browser) -> bool {
    browser.get("/account").unwrap().header("location") == Some("/sign-in")
}

fn reads(console: SocketAddr, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    client::get(console, "/v1/connections", &[("Authorization", &bearer)]).unwrap().status
}

#[test]
fn what_ends_at_one_node_ends_at_the_other() {
    let Some(postgres) = postgres() else { return };
    let (world, url) = world(postgres);
    let first = &world.weirgate;
    let second = another(&world, &url);
    ok(&second, &["init", "--json"]);
    let (_one, a, _) = serve(first);
    // The link of the node that began last counts, at both.
    let (_two, b, setup) = serve(&second);

    // In at one is in at both; out at one is out at both.
    let mut ada = Browser::new(a);
    accept(
        &mut ada,
        &path_of(&setup),
        &[("address", ADA), ("name", "Ada"), ("password", PASSWORD)],
    );
    let seed = enrol(&mut ada);
    let mut there = also_at(&ada, b);
    assert_eq!(there.get("/users").unwrap().status, 200);
    assert_eq!(there.post("/sign-out", &[]).unwrap().to, "/sign-in");
    assert!(is_out(&mut ada) && is_out(&mut there));

    // A code counts once, wherever.
    let (mut ada, mut other) = (half(a, ADA), half(b, ADA));
    let now = code(&seed, 1);
    assert_eq!(ada.post("/sign-in/factor", &[("code", &now)]).unwrap().to, "/");
    let again = other.post("/sign-in/factor", &[("code", &now)]).unwrap();
    assert_eq!(again.page.status, 403, "{}", again.page.text());
    assert!(!is_out(&mut ada) && other.get("/").unwrap().header("location") != Some("/"));

    // Somebody who was invited at one and comes in at the other, with a token.
    ada.get("/users").unwrap();
    let invited = ada.post("/users/invite", &[("address", BOB), ("roles", "auditor")]).unwrap();
    let link = between(&invited.page.text(), "<p class=\"code\">");
    let mut bob = Browser::new(b);
    accept(&mut bob, &path_of(&link), &[("name", "Bob"), ("password", PASSWORD)]);
    let bobs_seed = enrol(&mut bob);
    let mut bob_here = also_at(&bob, a);
    bob.get("/account").unwrap();
    let make = [("name", "t"), ("roles", "auditor"), ("days", "1")];
    let made = bob.post("/account/tokens", &make).unwrap().page.text();
    let (_, rest) = made.split_once("wgp_").unwrap();
    let token: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    let token = format!("wgp_{token}");
    assert_eq!((reads(a, &token), reads(b, &token)), (200, 200));
    let page = bob.get("/account").unwrap().text();
    let (_, rest) = page.split_once("/account/tokens/").unwrap();
    let revoke = format!("/account/tokens/{}/revoke", rest.split('/').next().unwrap());
    assert_eq!(bob.post(&revoke, &[]).unwrap().to, "/account");
    assert_eq!((reads(a, &token), reads(b, &token)), (401, 401));

    // Others of one's own are ended.
    let mut more = half(a, BOB);
    assert_eq!(more.post("/sign-in/factor", &[("code", &code(&bobs_seed, 1))]).unwrap().to, "/");
    more.get("/account").unwrap();
    more.post("/account/sessions/end-others", &[]).unwrap();
    assert!(is_out(&mut bob) && is_out(&mut bob_here) && !is_out(&mut more));

    // A role that is taken.
    let mut more_there = also_at(&more, b);
    assert_eq!(more_there.get("/audit").unwrap().status, 200);
    let listed = ok(first, &["user", "list", "--json"]);
    let people = listed["users"].as_array().unwrap();
    let id = people.iter().find(|one| one["address"] == BOB).map(|one| text(one, "id")).unwrap();
    ok(first, &["user", "roles", &id, "--role", "integrator", "--json"]);
    assert_eq!(more_there.get("/audit").unwrap().status, 403);

    // A new start by a link ends what was before, wherever it is used.
    let renewed = ok(&second, &["user", "link", &id, "--json"]).to_string();
    let (_, rest) = renewed.split_once("/invite/").unwrap();
    let path = format!("/invite/{}", rest.split('"').next().unwrap());
    let mut anew = Browser::new(a);
    accept(&mut anew, &path, &[("name", "Bob"), ("password", PASSWORD)]);
    assert!(is_out(&mut more) && is_out(&mut more_there));
    enrol(&mut anew);
    let mut anew_there = also_at(&anew, b);
    assert!(!is_out(&mut anew_there));
    ok(&second, &["user", "disable", &id, "--json"]);
    assert!(is_out(&mut anew) && is_out(&mut anew_there));

    // Failures at both are one count: with the code that was used, these are five, and no more are judged.
    let (mut here, mut there) = (half(a, ADA), half(b, ADA));
    for _ in 0..2 {
        for browser in [&mut here, &mut there] {
            let wrong = browser.post("/sign-in/factor", &[("code", "000000")]).unwrap();
            assert_eq!(wrong.page.status, 403, "{}", wrong.page.text());
        }
    }
    for browser in [&mut here, &mut there] {
        let slowed = browser.post("/sign-in/factor", &[("code", "000000")]).unwrap();
        assert_eq!(slowed.page.status, 429, "{}", slowed.page.text());
    }
}

/// Though the provider would take its code again.
#[test]
fn a_providers_answer_that_was_used_at_one_node_is_used_at_the_other() {
    let Some(postgres) = postgres() else { return };
    let (world, url) = world(postgres);
    let second = another(&world, &url);
    ok(&second, &["init", "--json"]);
    let (_one, a, _) = serve(&world.weirgate);
    let (_two, b, _) = serve(&second);
    let idp = IdentityProvider::start(SystemClock.now().as_micros() / 1_000_000).unwrap();
    idp.take_codes_again();
    let secret = second.file("client-secret", CLIENT_SECRET).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let mut add = vec!["sso", "add", "corp", "--issuer", idp.issuer(), "--client-id", CLIENT_ID];
    add.extend(["--client-secret-file", &secret, "--group", "staff=auditor", "--json"]);
    ok(&second, &add);
    let mut grace = Browser::new(a);
    let begun = grace.get("/sso/corp").unwrap();
    let back = path_of(&idp.pass(begun.header("location").unwrap()));
    let (mut here, mut there) = (also_at(&grace, a), also_at(&grace, b));
    assert_eq!(grace.get(&back).unwrap().header("location"), Some("/sso-done"));
    for thief in [&mut there, &mut here] {
        let refused = thief.get(&back).unwrap();
        assert_eq!(refused.status, 403);
        assert!(refused.text().contains("does not belong to a sign-in"), "{}", refused.text());
        assert!(!thief.cookies.contains_key("__Host-weirgate"));
    }
    assert_eq!(idp.exchanges(), 1);
}
