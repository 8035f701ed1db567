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
