//! Every route as everybody.

use crate::browser::{Answer, Browser, House};
use api::ROUTES;

/// What becomes of each route, as nobody, after a password alone, before a second factor is enrolled,
/// as somebody who may only read, and as an administrator who has just shown a factor. `in` is its own
/// page; else where it leads, or `denied`.
const TABLE: &[(&str, &str, [&str; 5])] = &[
    ("GET", "/assets/{name}", ["in", "in", "in", "in", "in"]),
    ("GET", "/setup/{token}", ["in", "in", "in", "in", "in"]),
    ("POST", "/setup/{token}", ["in", "in", "in", "in", "in"]),
    ("GET", "/invite/{token}", ["in", "in", "in", "in", "in"]),
    ("POST", "/invite/{token}", ["in", "in", "in", "in", "in"]),
    ("GET", "/sign-in", ["in", "in", "in", "/", "/"]),
    ("POST", "/sign-in", ["in", "in", "in", "in", "in"]),
    ("GET", "/sso/{name}", ["in", "in", "in", "in", "in"]),
    ("GET", "/sso/{name}/callback", ["in", "in", "in", "in", "in"]),
    ("GET", "/sso/{name}/step-up", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("GET", "/sso/{name}/link", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("GET", "/sso-done", ["in", "in", "in", "in", "in"]),
    (
        "POST",
        "/account/identities/{id}/unlink",
        ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"],
    ),
    ("POST", "/sign-in/passkey/begin", ["in", "in", "in", "in", "in"]),
    ("POST", "/sign-in/passkey", ["in", "in", "in", "in", "in"]),
    ("POST", "/sign-in/factor/passkey/begin", ["/sign-in", "in", "/enrol", "/", "/"]),
    ("POST", "/sign-in/factor/passkey", ["/sign-in", "in", "/enrol", "/", "/"]),
    ("GET", "/sign-in/factor", ["/sign-in", "in", "/enrol", "/", "/"]),
    ("POST", "/sign-in/factor", ["/sign-in", "in", "/enrol", "/", "/"]),
    ("GET", "/enrol", ["/sign-in", "/sign-in/factor", "in", "/", "/"]),
    ("POST", "/enrol/begin", ["/sign-in", "/sign-in/factor", "in", "/", "/"]),
    ("POST", "/enrol/confirm", ["/sign-in", "/sign-in/factor", "in", "/", "/"]),
    ("POST", "/enrol/passkey/begin", ["/sign-in", "/sign-in/factor", "in", "/", "/"]),
    ("POST", "/enrol/passkey/confirm", ["/sign-in", "/sign-in/factor", "in", "/", "/"]),
    ("POST", "/step-up/passkey/begin", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("POST", "/step-up/passkey", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("GET", "/step-up", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("POST", "/step-up", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("GET", "/", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("GET", "/account", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("POST", "/account/notices/seen", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("POST", "/account/recovery", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("POST", "/account/factors/begin", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("POST", "/account/factors/confirm", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    (
        "POST",
        "/account/factors/passkey/begin",
        ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"],
    ),
    (
        "POST",
        "/account/factors/passkey/confirm",
        ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"],
    ),
    ("POST", "/account/factors/{id}/remove", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("POST", "/account/password", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("POST", "/account/sessions/{id}/end", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("POST", "/account/tokens", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("POST", "/account/tokens/{id}/revoke", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("GET", "/providers", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("GET", "/connections", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("GET", "/clients", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("GET", "/calls", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("GET", "/calls/stream", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("GET", "/calls/{id}", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("GET", "/audit", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("GET", "/audit/entries/{id}", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("GET", "/audit/activity", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("POST", "/audit/verify", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    // An administrator takes no log along: an auditor does.
    ("POST", "/audit/export", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "denied"]),
    ("POST", "/audit/views", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("GET", "/audit/views/{id}", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("POST", "/audit/views/{id}/remove", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("GET", "/settings", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("GET", "/users", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("GET", "/advice", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("POST", "/keys/{id}/rotate", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "denied"]),
    ("POST", "/keys/{id}/revoke", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("GET", "/grants", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("GET", "/grants/new", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "denied"]),
    ("GET", "/grants/proposals/{id}", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("GET", "/grants/{id}", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("POST", "/grants/{id}/effect", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("POST", "/grants/{id}/save", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "denied"]),
    (
        "POST",
        "/grants/proposals/{id}/approve",
        ["/sign-in", "/sign-in/factor", "/enrol", "denied", "denied"],
    ),
    (
        "POST",
        "/grants/proposals/{id}/reject",
        ["/sign-in", "/sign-in/factor", "/enrol", "denied", "denied"],
    ),
    (
        "POST",
        "/grants/proposals/{id}/withdraw",
        ["/sign-in", "/sign-in/factor", "/enrol", "denied", "denied"],
    ),
    ("GET", "/reviews", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("POST", "/reviews", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("GET", "/reviews/{id}", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("GET", "/reviews/{id}/evidence", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("POST", "/reviews/{id}/decide", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("POST", "/reviews/{id}/close", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("GET", "/connections/new", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("POST", "/connections/new", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("GET", "/connections/connect/{id}", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    (
        "GET",
        "/connections/connect/{id}/go",
        ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"],
    ),
    (
        "POST",
        "/connections/connect/{id}/confirm",
        ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"],
    ),
    (
        "POST",
        "/connections/connect/{id}/cancel",
        ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"],
    ),
    ("GET", "/connections/{id}", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    (
        "POST",
        "/connections/{id}/reconnect",
        ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"],
    ),
    (
        "POST",
        "/connections/{id}/consent/renew",
        ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"],
    ),
    (
        "POST",
        "/connections/{id}/consent/withdraw",
        ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"],
    ),
    ("GET", "/connect/{name}/callback", ["in", "in", "in", "in", "in"]),
    ("GET", "/connect-done", ["in", "in", "in", "in", "in"]),
    ("GET", "/rules", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("POST", "/users/invite", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("POST", "/users/{id}/link", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("POST", "/users/{id}/disable", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("POST", "/users/{id}/enable", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("POST", "/users/{id}/remove", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    ("POST", "/users/{id}/roles", ["/sign-in", "/sign-in/factor", "/enrol", "denied", "in"]),
    // They end what it walks with: last.
    ("POST", "/account/sessions/end-others", ["/sign-in", "/sign-in/factor", "/enrol", "in", "in"]),
    ("POST", "/sign-out", ["/sign-in", "/sign-in", "/sign-in", "/sign-in", "/sign-in"]),
];

/// Enough for every form, and right in none.
const FIELDS: &[(&str, &str)] = &[
    ("address", "nobody@example.com"),
    ("password", "not the right one at all"),
    ("code", "none"),
    ("name", "x"),
    ("roles", "no-such-role"),
    ("days", "0"),
];

fn became(answer: &Answer) -> &str {
    assert!(!answer.text.contains("Not from here"), "{}", answer.text);
    assert!(answer.status < 500, "{}", answer.text);
    match answer.status {
        303 if ["/account", "/audit"].contains(&answer.location()) => "in",
        303 => answer.location(),
        403 if answer.text.contains("Not permitted") => "denied",
        _ => "in",
    }
}

async fn ask(browser: &mut Browser, method: &str, path: &str) -> Answer {
    let path = path.replace("{name}", "x").replace("{token}", "x").replace("{id}", "x");
    if method == "GET" { browser.get(&path).await } else { browser.post(&path, FIELDS).await }
}

#[tokio::test]
async fn every_route_leads_everybody_where_the_table_says() {
    let house = House::open().await;
    let mut routes: Vec<_> = ROUTES.iter().map(|(method, path, _)| (*method, *path)).collect();
    let mut walked: Vec<_> = TABLE.iter().map(|(method, path, _)| (*method, *path)).collect();
    routes.sort_unstable();
    walked.sort_unstable();
    assert_eq!(routes, walked);

    let mut administrator = house.administrator().await.browser;
    let mut reader = house.invited("rea@example.com", &["read-only"]).await.browser;
    let mut enrolling = house.browser();
    let link = house.invite("eve@example.com", &["administrator"]).await;
    enrolling.accepts(&link, None).await;
    let mut half = house.browser();
    house.invited("hal@example.com", &["administrator"]).await;
    let answer = half.gives_password("hal@example.com", crate::browser::PASSWORD).await;
    assert_eq!(answer.location(), "/sign-in/factor", "{}", answer.text);
    let mut nobody = house.browser();
    nobody.get("/sign-in").await;
    for (method, path, wanted) in TABLE {
        let everybody = [&mut nobody, &mut half, &mut enrolling, &mut reader, &mut administrator];
        for (browser, wanted) in everybody.into_iter().zip(wanted) {
            let answer = ask(browser, method, path).await;
            assert_eq!(became(&answer), *wanted, "{method} {path}: {}", answer.text);
        }
    }
}

/// Somebody whose step-up has ended is asked again, wherever rights are changed.
#[tokio::test]
async fn acts_on_people_need_a_step_up() {
    let house = House::open().await;
    let mut ada = house.administrator().await;
    house.wait(std::time::Duration::from_mins(6));
    ada.browser.get("/users").await;
    for (method, path, _) in TABLE.iter().filter(|(_, path, _)| path.starts_with("/users/")) {
        let answer = ask(&mut ada.browser, method, path).await;
        assert_eq!(answer.location(), "/step-up?to=/users", "{path}");
        ada.browser.get("/users").await;
    }
    for path in [
        "/account/recovery",
        "/account/tokens",
        "/account/factors/begin",
        "/account/factors/confirm",
        "/account/factors/passkey/begin",
    ] {
        let answer = ask(&mut ada.browser, "POST", path).await;
        assert_eq!(answer.location(), "/step-up?to=/account", "{path}");
        ada.browser.get("/users").await;
    }
    ada.browser.get("/step-up?to=/users").await;
    let code = house.code(&ada.seed);
    let before = ada.browser.session().to_owned();
    let answer = ada.browser.post("/step-up", &[("code", &code), ("to", "/users")]).await;
    assert_eq!(answer.location(), "/users");
    assert_ne!(ada.browser.session(), before);
    let fields = [("address", "bob@example.com"), ("roles", "auditor")];
    let answer = ada.browser.post("/users/invite", &fields).await;
    assert!(answer.text.contains("http://localhost:8401/invite/"), "{}", answer.text);
}
