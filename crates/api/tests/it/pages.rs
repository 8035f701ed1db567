//! What pages show, and to whom; and pages that fail.

use crate::browser::{HERE, House};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, StreamBody};
use std::{convert::Infallible, time::Duration};
use types::SecretText;

pub async fn furnished() -> House {
    let house = House::open().await;
    let credential = SecretText::new("sandbox-credential".into());
    let (url, host) = ("http://127.0.0.1:1".to_owned(), "127.0.0.1:1".to_owned());
    app::demo::seed(&house.instance, &house.context(), url, host, &credential).await.unwrap();
    app::sequence::settle(&house.instance).await.unwrap();
    house
}

#[tokio::test]
async fn each_list_shows_what_there_is() {
    let house = furnished().await;
    let mut ada = house.administrator().await.browser;
    let connections = app::connections::list(&house.instance).await.unwrap();
    let clients = app::clients::list(&house.instance).await.unwrap();
    let provider = &app::providers::list(&house.instance).await.unwrap()[0];
    let connection = connections[0].id.to_string();
    for (path, wanted) in [
        ("/providers", provider.id.to_string()),
        ("/connections", connection.clone()),
        ("/connections", connections[0].customer.clone()),
        ("/clients", clients[0].keys[0].id.to_string()),
        ("/clients", clients[1].name.clone()),
        ("/", clients[0].keys[0].id.to_string()),
        ("/", "ada@example.com".to_owned()),
        ("/", "refuses calls: the log&#39;s disk is full".to_owned()),
        ("/audit", "connection.create".to_owned()),
        ("/users", "ada@example.com".to_owned()),
        ("/account", "phone".to_owned()),
    ] {
        let page = ada.get(path).await;
        assert!(page.text.contains(&wanted), "no {wanted} at {path}: {}", page.text);
        assert!(!page.text.contains("sandbox-credential"), "{path}");
    }
}

/// Who may end a connection has to know whose it is; nobody else does.
#[tokio::test]
async fn whose_a_connection_is_stays_with_those_who_may_end_it() {
    let house = furnished().await;
    house.administrator().await;
    let connections = app::connections::list(&house.instance).await.unwrap();
    let (id, customer) = (connections[0].id.to_string(), connections[0].customer.clone());
    for (role, is_shown) in [
        ("administrator", true),
        ("security", true),
        ("integrator", true),
        ("auditor", false),
        ("read-only", false),
    ] {
        let mut browser = house.invited(&format!("{role}@example.com"), &[role]).await.browser;
        let page = browser.get("/connections").await.text;
        assert!(page.contains(&id), "{role}");
        assert_eq!(page.contains(&customer), is_shown, "{role}: {page}");
    }
}

/// A page links to nothing that its reader may not see, and offers no act that would be denied.
#[tokio::test]
async fn only_what_is_permitted_is_offered() {
    let house = House::open().await;
    house.administrator().await;
    for (role, places, acts) in [
        (
            "administrator",
            "/providers /connections /clients /audit /users",
            "roles disable link remove",
        ),
        ("security", "/providers /connections /clients /audit /users", "disable"),
        ("integrator", "/providers /connections /clients", ""),
        ("auditor", "/providers /connections /clients /audit /users", ""),
        ("read-only", "/providers /connections /clients", ""),
    ] {
        let mut browser = house.invited(&format!("{role}@example.com"), &[role]).await.browser;
        let home = browser.get("/").await.text;
        for place in ["/providers", "/connections", "/clients", "/audit", "/users"] {
            let is_linked = home.contains(&format!("href=\"{place}\""));
            assert_eq!(is_linked, places.split(' ').any(|one| one == place), "{role} {place}");
        }
        let users = browser.get("/users").await.text;
        for act in ["roles", "disable", "link", "remove"] {
            let is_offered = users.contains(&format!("/{act}\""));
            assert_eq!(is_offered, acts.split(' ').any(|one| one == act), "{role} {act}");
        }
        assert_eq!(users.contains("/users/invite"), role == "administrator", "{role}");
    }
}

#[tokio::test]
async fn factors_are_added_and_removed_by_their_owner_and_the_last_one_stays() {
    let house = House::open().await;
    let mut ada = house.administrator().await;
    let factor = |text: &str| {
        let mut found =
            text.split("/account/factors/").filter_map(|rest| rest.split_once("/remove"));
        found.next().map(|(id, _)| id.to_owned())
    };
    let account = ada.browser.get("/account").await.text;
    assert!(factor(&account).is_none() && account.contains("the last one stays"), "{account}");
    let shown = ada.browser.post("/account/factors/begin", &[]).await;
    let seed = crate::browser::between(&shown.text, "Key: <span class=\"code\">", "<").to_owned();
    let code = house.code(&seed);
    let fields = [("code", code.as_str()), ("name", "tablet")];
    let before = ada.browser.session().to_owned();
    let done = ada.browser.post("/account/factors/confirm", &fields).await;
    assert_eq!(done.location(), "/account", "{}", done.text);
    assert_ne!(ada.browser.session(), before, "the session is exchanged");
    let account = ada.browser.get("/account").await.text;
    assert!(account.contains("tablet"), "{account}");
    let first = factor(&account).unwrap();
    let done = ada.browser.post(&format!("/account/factors/{first}/remove"), &[]).await;
    assert_eq!(done.location(), "/account", "{}", done.text);
    let account = ada.browser.get("/account").await.text;
    assert!(factor(&account).is_none());
    // Nor by a form that was kept.
    let listed = app::people::factors::list(
        &house.instance,
        app::people::users::find(&house.instance, crate::browser::ADA).await.unwrap(),
    );
    let last = listed.await.unwrap().0[0].id;
    let done = ada.browser.post(&format!("/account/factors/{last}/remove"), &[]).await;
    assert!((400..500).contains(&done.status), "{}", done.status);
    let codes = ada.browser.post("/account/recovery", &[]).await;
    assert!(codes.text.contains("Your recovery codes"), "{}", codes.text);
    let old = ada.recovery[0].clone();
    assert!(!codes.text.contains(&old), "new ones");
}

#[tokio::test]
async fn a_defect_ends_one_page_alone_and_tells_nothing() {
    let house = House::open().await;
    let mut ada = house.administrator().await.browser;
    house.break_it();
    let broken = ada.get("/").await;
    assert_eq!(broken.status, 500);
    assert!(broken.text.contains("Something is wrong") && !broken.text.contains("as told"));
    crate::assert_strict(&broken, false, "a defect");
    assert_eq!(ada.get("/account").await.status, 200);
}

/// A form that never ends is given up.
#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let house = House::open().await;
    let mut browser = house.browser();
    browser.get("/sign-in").await;
    let never = futures_util::stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>();
    let request = Request::post("/sign-in")
        .header("host", "localhost:8401")
        .header("origin", HERE)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("cookie", browser.cookie_line())
        .body(StreamBody::new(never))
        .unwrap();
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let answer = house.site.answer(None, request).await;
    assert_eq!(answer.status(), 503);
    assert!(began.elapsed() >= Duration::from_secs(30));
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("It took too long"));
}

/// Browsers have passkeys for names alone: elsewhere none are offered, and none are needed.
#[tokio::test]
async fn passkeys_are_offered_where_browsers_have_them() {
    let house = House::open().await;
    let offered = |host: &'static str| {
        let house = &house;
        async move {
            let headers = [("host", host)];
            let page = house.send("GET", "/sign-in", &headers, "").await;
            assert_eq!(page.status, 200, "{host}");
            page.text.contains("/sign-in/passkey/begin")
        }
    };
    assert!(offered("localhost:8401").await);
    assert!(!offered("127.0.0.1:8401").await);
    // There it is said where they are.
    let page = house.send("GET", "/sign-in", &[("host", "127.0.0.1:8401")], "").await;
    assert!(page.text.contains(&format!("href=\"{HERE}/sign-in\"")), "{}", page.text);
    assert!(!offered("console.example.com").await);
    // Asking needs no script, and tells the browser what it is asked.
    let mut browser = house.browser();
    browser.get("/sign-in").await;
    let page = browser.post("/sign-in/passkey/begin", &[]).await;
    assert!(page.text.contains("data-passkey=\"get\"") && page.text.contains("<noscript>"));
    for fields in [
        [("handle", ""), ("answer", "{}")],
        [("handle", "x"), ("answer", "")],
        [("handle", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), ("answer", "{}")],
    ] {
        browser.get("/sign-in").await;
        assert_eq!(browser.post("/sign-in/passkey", &fields).await.status, 403, "{fields:?}");
    }
}
