//! A key that follows another, by the console.

use crate::{browser::between, pages::furnished};
use app::clients::{self, KeyState};
use std::time::Duration;

#[tokio::test]
async fn an_integrator_rotates_a_key_after_a_step_up() {
    let house = furnished().await;
    house.administrator().await;
    let mut person = house.invited("ines@example.com", &["integrator"]).await;
    let before = clients::list(&house.instance).await.unwrap();
    let former = &before[0].keys[0];
    let path = format!("/keys/{}/rotate", former.id);
    let fields = [("overlap", "1"), ("days", "30")];
    let page = person.browser.get("/clients").await;
    assert!(page.text.contains(&path), "{}", page.text);
    // Whoever came long ago shows a factor again first, and nothing is made before.
    house.wait(Duration::from_mins(20));
    let led = person.browser.post(&path, &fields).await;
    assert!(led.location().starts_with("/step-up"), "{}", led.text);
    assert_eq!(clients::list(&house.instance).await.unwrap()[0].keys.len(), 1);
    let code = person.recovery.pop().unwrap();
    person.browser.post("/step-up", &[("code", &code), ("to", "/clients")]).await;
    for (wrong, status) in [
        ([("overlap", "x"), ("days", "30")], 422),
        ([("overlap", "1"), ("days", "0")], 422),
        ([("overlap", "1"), ("days", "3651")], 422),
    ] {
        let told = person.browser.post(&path, &wrong).await;
        assert_eq!(told.status, status, "{}", told.text);
        assert!(told.text.contains("number of days"), "{}", told.text);
    }
    let made = person.browser.post(&path, &fields).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let key = between(&made.text, "<p class=\"code\">", "<").to_owned();
    assert!(key.starts_with("wg_"), "{}", made.text);
    // Once.
    assert!(!person.browser.get("/clients").await.text.contains(&key));
    let after = clients::list(&house.instance).await.unwrap();
    let keys = &after[0].keys;
    assert_eq!(keys.len(), 2);
    let old = keys.iter().find(|key| key.id == former.id).unwrap();
    let new = keys.iter().find(|key| key.id != former.id).unwrap();
    assert!(old.state == KeyState::InForce && new.state == KeyState::InForce);
    assert_eq!(new.environment, former.environment);
    let now = house.instance.clock.now();
    assert_eq!(old.expires_at, former.expires_at.min(now + Duration::from_hours(24)));
    assert_eq!(new.expires_at, now + Duration::from_hours(30 * 24));
}

#[tokio::test]
async fn who_may_not_make_keys_rotates_none() {
    let house = furnished().await;
    let mut ada = house.administrator().await.browser;
    let page = ada.get("/clients").await;
    assert!(!page.text.contains("/rotate"), "{}", page.text);
}
