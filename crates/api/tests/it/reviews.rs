//! Reviews of rights on the console.

use crate::browser::{Answer, Browser, House, Person};
use app::{demo, grants};
use serde_json::Value;
use types::SecretText;

async fn furnished() -> (House, Person) {
    let house = House::open().await;
    let ada = house.administrator().await;
    let (server, place) = ("http://127.0.0.1:1".to_owned(), "127.0.0.1:1".to_owned());
    let secret = SecretText::new("secret".to_owned());
    demo::seed(&house.instance, &house.context(), server, place, &secret).await.unwrap();
    (house, ada)
}

async fn begin(browser: &mut Browser) -> String {
    browser.get("/reviews").await;
    let begun = browser.post("/reviews", &[("name", "Autumn"), ("days", "30")]).await;
    assert_eq!(begun.status, 303, "{}", begun.text);
    begun.location().to_owned()
}

/// The number of the item that says this.
fn number(page: &Answer, what: &str) -> String {
    let before = page.text.split(what).next().unwrap();
    let cell = before.rsplit("data-label=\"Item\">").next().unwrap();
    cell.split('<').next().unwrap().to_owned()
}

#[tokio::test]
async fn rights_are_confirmed_dropped_and_exported() {
    let (house, mut ada) = furnished().await;
    let mut sam = house.invited("sam@example.com", &["security"]).await.browser;
    let path = begin(&mut sam).await;
    assert!(sam.get("/").await.text.contains("Rights to be reviewed"));
    let page = sam.get(&path).await;
    assert!(page.text.contains("administrator, of ada@example.com"), "{}", page.text);
    // A role of one's own is for somebody else.
    let own = number(&page, "security, of sam@example.com");
    assert!(!page.text.contains(&format!("name=\"{own}\" value=\"confirm\"")), "{}", page.text);
    let refused = sam.post(&format!("{path}/decide"), &[(&own, "confirm")]).await;
    assert_eq!(refused.status, 403, "{}", refused.text);

    let administrator = number(&page, "administrator, of ada@example.com");
    let last = sam.post(&format!("{path}/decide"), &[(&administrator, "drop")]).await;
    assert_eq!(last.status, 403, "{}", last.text);
    assert!(last.text.contains("administrator"), "{}", last.text);
    let grant = number(&page, "payroll");
    let done =
        sam.post(&format!("{path}/decide"), &[(&administrator, "confirm"), (&grant, "drop")]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert!(grants::list(&house.instance).await.unwrap().is_empty());
    let page = sam.get(&path).await;
    assert!(page.text.contains("dropped by sam@example.com"), "{}", page.text);
    assert!(page.text.contains("confirmed by sam@example.com"), "{}", page.text);

    let open = sam.post(&format!("{path}/close"), &[]).await;
    assert_eq!(open.status, 403, "{}", open.text);
    // It is Sam's own role that is left, and whoever drops it drops their own.
    ada.browser.get(&path).await;
    let done = ada.browser.post(&format!("{path}/decide"), &[(&own, "confirm")]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    let closed = sam.post(&format!("{path}/close"), &[]).await;
    assert_eq!(closed.status, 303, "{}", closed.text);
    assert!(!sam.get("/").await.text.contains("Rights to be reviewed"));
    let evidence = sam.get(&format!("{path}/evidence")).await;
    let id = path.trim_start_matches("/reviews/");
    let file = format!("attachment; filename=\"{id}.json\"");
    assert_eq!(evidence.headers["content-disposition"].to_str().unwrap(), file);
    let json: Value = serde_json::from_str(&evidence.text).unwrap();
    assert_eq!(json["review"]["undecided"], 0);
    assert!(!evidence.text.contains("example.com"), "people are told by their ids");
}

#[tokio::test]
async fn a_review_that_is_overdue_is_told() {
    let (house, _) = furnished().await;
    let mut sam = house.invited("sam@example.com", &["security"]).await.browser;
    begin(&mut sam).await;
    house.wait(std::time::Duration::from_hours(31 * 24));
    let mut sue = house.invited("sue@example.com", &["auditor"]).await.browser;
    assert!(sue.get("/").await.text.contains("Rights whose review is overdue"));
    let page = sue.get("/reviews").await;
    assert!(page.text.contains("overdue since"), "{}", page.text);
    // Who may only look finds nothing to press.
    assert!(!page.text.contains("<button>Begin"), "{}", page.text);
}

/// What somebody ticked while their step-up ended is there again afterwards: for them alone, of that
/// review alone, and as nothing more than ticks.
#[tokio::test]
async fn what_was_ticked_outlasts_a_step_up_and_decides_nothing() {
    const TICKED: &str = "__Host-weirgate-ticked";
    let (house, _) = furnished().await;
    let mut sam = house.invited("sam@example.com", &["security"]).await;
    let mut kim = house.invited("kim@example.com", &["security"]).await;
    let path = begin(&mut sam.browser).await;
    let page = sam.browser.get(&path).await;
    let grant = number(&page, "payroll");
    let role = number(&page, "administrator, of ada@example.com");
    let own = number(&page, "security, of sam@example.com");
    let decide = format!("{path}/decide");
    let fields = [(&*grant, "drop"), (&*role, "confirm"), (&*own, "confirm"), ("from", "1")];
    let is_ticked = |page: &Answer, number: &str, verdict: &str| {
        page.text.contains(&format!("name=\"{number}\" value=\"{verdict}\" checked"))
    };

    house.wait(std::time::Duration::from_mins(6));
    sam.browser.get(&path).await;
    // A form that is not of this session keeps nothing either.
    let mut other = sam.browser.clone();
    other.form = "0".repeat(64);
    let foreign = other.post(&decide, &fields).await;
    assert_eq!(foreign.status, 403);
    assert!(!other.cookies.contains_key(TICKED));

    let led = sam.browser.post(&decide, &fields).await;
    assert_eq!((led.status, led.location()), (303, "/step-up?to=/reviews"));
    let kept = sam.browser.cookies[TICKED].clone();
    assert!(grants::list(&house.instance).await.unwrap().iter().any(|one| one.client == "payroll"));
    let code = house.code(&sam.seed);
    sam.browser.get("/step-up?to=/reviews").await;
    let back = sam.browser.post("/step-up", &[("code", &code), ("to", "/reviews")]).await;
    assert_eq!(back.location(), "/reviews", "{}", back.text);
    let list = sam.browser.get("/reviews").await;
    assert!(list.text.contains(&format!("href=\"{path}?from=1\"")), "{}", list.text);
    let page = sam.browser.get(&format!("{path}?from=1")).await;
    assert!(is_ticked(&page, &grant, "drop") && is_ticked(&page, &role, "confirm"));
    // What the page does not offer is not ticked, and nothing is decided.
    assert!(!is_ticked(&page, &own, "confirm") && !page.text.contains("ed by sam@example.com"));
    assert!(grants::list(&house.instance).await.unwrap().iter().any(|one| one.client == "payroll"));

    // Another person, and what somebody made up or changed, fill in nothing.
    let changed = kept.replacen(&format!("{grant}d"), &format!("{grant}c"), 1);
    assert_ne!(changed, kept);
    for (is_kim, text) in [
        (true, kept.clone()),
        (false, changed),
        (false, kept[..kept.len() - 1].to_owned()),
        (false, "x".repeat(3_000)),
    ] {
        let who = if is_kim { &mut kim.browser } else { &mut sam.browser };
        who.cookies.insert(TICKED.to_owned(), text);
        let page = who.get(&path).await;
        assert!(!is_ticked(&page, &grant, "drop") && !is_ticked(&page, &grant, "confirm"));
        assert!(is_ticked(&page, &grant, ""), "{}", page.text);
        assert!(!who.get("/reviews").await.text.contains("not recorded yet"));
    }
    sam.browser.cookies.insert(TICKED.to_owned(), kept.clone());

    // Sent by the person it counts, and is not ticked again.
    sam.browser.get(&path).await;
    let fields = [(&*grant, "drop"), (&*role, "confirm")];
    let done = sam.browser.post(&decide, &fields).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert!(!sam.browser.cookies.contains_key(TICKED));
    assert!(grants::list(&house.instance).await.unwrap().iter().all(|one| one.client != "payroll"));
    sam.browser.cookies.insert(TICKED.to_owned(), kept.clone());
    let page = sam.browser.get(&path).await;
    assert!(page.text.contains("dropped by sam@example.com"), "{}", page.text);
    assert!(!page.text.contains("filled in again"), "what is decided is not ticked");

    // What is refused is ticked still.
    let own = [(&*own, "confirm")];
    let refused = sam.browser.post(&decide, &own).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
}

/// After a quarter of an hour nothing is filled in.
#[tokio::test]
async fn what_was_ticked_is_kept_for_a_quarter_of_an_hour() {
    let (house, _) = furnished().await;
    let mut sam = house.invited("sam@example.com", &["security"]).await;
    let path = begin(&mut sam.browser).await;
    let page = sam.browser.get(&path).await;
    let grant = number(&page, "payroll");
    house.wait(std::time::Duration::from_mins(6));
    sam.browser.post(&format!("{path}/decide"), &[(&grant, "drop")]).await;
    let ticked = format!("name=\"{grant}\" value=\"drop\" checked");
    house.wait(std::time::Duration::from_mins(14));
    assert!(sam.browser.get(&path).await.text.contains(&ticked));
    house.wait(std::time::Duration::from_mins(2));
    assert!(!sam.browser.get(&path).await.text.contains(&ticked));
}
