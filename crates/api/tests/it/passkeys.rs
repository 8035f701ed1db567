//! Passkeys by the console's pages, with a software device: made and shown wherever there is a way to,
//! and refused for whatever is not right.

use crate::browser::{ADA, Answer, Browser, HERE, House, PASSWORD, between};
use serde_json::Value;
use std::time::Duration;
use testkit::device::{Device, Manner};

/// What a page asks of a device.
struct Asked {
    options: String,
    handle: String,
}

fn right() -> Manner {
    Manner::at(HERE, "localhost")
}

fn asked(page: &Answer) -> Asked {
    assert_eq!(page.status, 200, "{}", page.text);
    let options = between(&page.text, "data-options=\"", "\"");
    let options = options.replace("&#34;", "\"").replace("&#39;", "'").replace("&#38;", "&");
    let handle = between(&page.text, "name=\"handle\" value=\"", "\"").to_owned();
    Asked { options, handle }
}

/// Somebody with one passkey and nothing else.
struct Holder {
    browser: Browser,
    device: Device,
}

impl Holder {
    async fn makes(&mut self, at: &str) -> Answer {
        let page = self.browser.post(&format!("{at}/passkey/begin"), &[]).await;
        assert!(page.text.contains("data-passkey=\"create\""), "{}", page.text);
        let Asked { options, handle } = asked(&page);
        let answer = self.device.create(&options, &right()).unwrap();
        let fields = [("handle", &*handle), ("answer", &*answer), ("name", "laptop")];
        self.browser.post(&format!("{at}/passkey/confirm"), &fields).await
    }

    fn answers(&mut self, asked: &Asked, manner: &Manner) -> String {
        self.device.counter += 1;
        self.device.get(&asked.options, manner).unwrap()
    }

    async fn shows(&mut self, at: &str, more: &[(&str, &str)]) -> Answer {
        let asked = asked(&self.browser.post(&format!("{at}/passkey/begin"), more).await);
        let answer = self.answers(&asked, &right());
        let mut fields = vec![("handle", &*asked.handle), ("answer", &*answer)];
        fields.extend(more);
        self.browser.post(&format!("{at}/passkey"), &fields).await
    }
}

async fn by_link(house: &House, path: &str, address: Option<&str>, id: u8) -> Holder {
    let mut browser = house.browser();
    browser.accepts(path, address).await;
    let mut holder = Holder { browser, device: Device::new(id).unwrap() };
    let page = holder.browser.get("/enrol").await;
    assert!(page.text.contains("action=\"/enrol/passkey/begin\""), "{}", page.text);
    let before = holder.browser.session().to_owned();
    let done = holder.makes("/enrol").await;
    assert_eq!(done.text.matches("<li class=\"code\">").count(), 10, "{}", done.text);
    assert_ne!(holder.browser.session(), before, "the session is exchanged");
    assert_eq!(holder.browser.get("/").await.status, 200);
    holder
}

async fn administrator(house: &House) -> Holder {
    let link = house.setup_link().await;
    by_link(house, &format!("/setup/{}", link.token.expose()), Some(ADA), 1).await
}

/// Nobody came in by this answer.
async fn is_refused(browser: &mut Browser, answer: &Answer, what: &str) {
    assert_eq!(answer.status, 403, "{what}: {}", answer.text);
    assert!(answer.text.contains("The passkey was not taken"), "{what}: {}", answer.text);
    assert!(!answer.headers.contains_key("set-cookie"), "{what}");
    assert_ne!(browser.get("/users").await.status, 200, "{what}");
}

#[tokio::test]
async fn a_passkey_is_enough_from_the_first_link_on() {
    let house = House::open().await;
    let mut ada = administrator(&house).await;
    // A step-up is open after enrolment, and after a sign-in by a passkey alone.
    let invite = [("address", "bob@example.com"), ("roles", "auditor")];
    ada.browser.get("/users").await;
    assert_eq!(ada.browser.post("/users/invite", &invite).await.status, 200);
    ada.browser.post("/sign-out", &[]).await;
    ada.browser.get("/sign-in").await;
    let done = ada.shows("/sign-in", &[]).await;
    assert_eq!(done.location(), "/", "{}", done.text);
    ada.browser.get("/users").await;
    let invite = [("address", "eve@example.com"), ("roles", "auditor")];
    assert_eq!(ada.browser.post("/users/invite", &invite).await.status, 200);
    // Later it has to be shown again, and leads back.
    house.wait(Duration::from_mins(6));
    ada.browser.get("/users").await;
    let led = ada.browser.post("/users/invite", &invite).await;
    assert_eq!(led.location(), "/step-up?to=/users");
    ada.browser.get(led.location()).await;
    let before = ada.browser.session().to_owned();
    let done = ada.shows("/step-up", &[("to", "/users")]).await;
    assert_eq!(done.location(), "/users", "{}", done.text);
    assert_ne!(ada.browser.session(), before, "the session is exchanged");
    // After a password.
    ada.browser.get("/").await;
    ada.browser.post("/sign-out", &[]).await;
    ada.browser.gives_password(ADA, PASSWORD).await;
    ada.browser.get("/sign-in/factor").await;
    assert_eq!(ada.shows("/sign-in/factor", &[]).await.location(), "/");
    assert_eq!(ada.browser.get("/users").await.status, 200);
}

/// Nobody is led to a page where only a refusal waits.
#[tokio::test]
async fn passkeys_are_asked_of_those_who_have_one() {
    let house = House::open().await;
    let mut ada = house.administrator().await.browser;
    assert!(!ada.get("/step-up?to=/users").await.text.contains("Use a passkey"));
    let path = house.invite("bob@example.com", &["auditor"]).await;
    let mut bob = by_link(&house, &path, None, 2).await.browser;
    let page = bob.get("/step-up?to=/users").await.text;
    assert!(page.contains("Use a passkey"), "{page}");
    let asking = bob.post("/step-up/passkey/begin", &[("to", "/users")]).await.text;
    assert!(asking.contains("href=\"/step-up?to=/users\""), "{asking}");
}

#[tokio::test]
async fn one_more_passkey_needs_a_step_up_and_is_another_device() {
    let house = House::open().await;
    let mut ada = administrator(&house).await;
    // The same device is told that it has one, and its answer is not taken.
    ada.browser.get("/account").await;
    let asking = ada.browser.post("/account/factors/passkey/begin", &[]).await;
    let options: Value = serde_json::from_str(&asked(&asking).options).unwrap();
    assert_eq!(options["publicKey"]["excludeCredentials"].as_array().unwrap().len(), 1);
    assert_eq!(options["publicKey"]["authenticatorSelection"]["userVerification"], "required");
    let again = ada.makes("/account/factors").await;
    assert_eq!(again.status, 403, "{}", again.text);
    let first = std::mem::replace(&mut ada.device, Device::new(2).unwrap());
    // They are listed by when they were made.
    house.wait(Duration::from_secs(1));
    ada.browser.get("/account").await;
    assert_eq!(ada.makes("/account/factors").await.location(), "/account");
    let account = ada.browser.get("/account").await;
    assert_eq!(account.text.matches(">laptop<").count(), 2, "{}", account.text);
    house.wait(Duration::from_mins(6));
    ada.browser.get("/account").await;
    let late = ada.browser.post("/account/factors/passkey/begin", &[]).await;
    assert_eq!(late.location(), "/step-up?to=/account");
    // A passkey that was given up lets nobody in; the other does.
    ada.browser.get("/step-up?to=/account").await;
    assert_eq!(ada.shows("/step-up", &[("to", "/account")]).await.location(), "/account");
    let account = ada.browser.get("/account").await;
    let id = between(&account.text, "/account/factors/", "/remove").to_owned();
    let removed = ada.browser.post(&format!("/account/factors/{id}/remove"), &[]).await;
    assert_eq!(removed.location(), "/account");
    let mut gone = Holder { browser: house.browser(), device: first };
    gone.browser.get("/sign-in").await;
    let answer = gone.shows("/sign-in", &[]).await;
    is_refused(&mut gone.browser, &answer, "given up").await;
    ada.browser.get("/").await;
    ada.browser.post("/sign-out", &[]).await;
    ada.browser.get("/sign-in").await;
    assert_eq!(ada.shows("/sign-in", &[]).await.location(), "/");
}

/// An answer that a page's form could send, and what is wrong with it.
type Fault = (&'static str, fn(&mut Manner));

const FAULTS: &[Fault] = &[
    ("another site", |one| one.origin = "https://evil.example".into()),
    ("another port", |one| one.origin = "http://localhost:9999".into()),
    ("another scheme", |one| one.origin = "https://localhost:8401".into()),
    ("a domain below", |one| one.origin = "http://evil.localhost:8401".into()),
    ("signed for another host", |one| one.host = "evil.example".into()),
    ("signed for the whole origin", |one| one.host = HERE.into()),
    ("a frame of another site", |one| one.cross_origin = Some(true)),
    ("below another site's page", |one| one.top_origin = Some("https://evil.example")),
    ("another kind", |one| one.kind = Some("webauthn.create")),
    ("another challenge", |one| one.challenge = Some("A".repeat(43))),
    ("nobody there", |one| one.is_present = false),
    ("nobody verified", |one| one.is_verified = false),
    ("a broken signature", |one| one.breaks_signature = true),
    ("another type", |one| one.credential_type = "password"),
];

/// Alone, after a password, and for a step-up.
#[tokio::test]
async fn a_faulty_answer_opens_no_page() {
    let house = House::open().await;
    let mut ada = administrator(&house).await;
    ada.browser.post("/sign-out", &[]).await;
    let mut refused = 0;
    for (what, break_it) in FAULTS {
        for way in ["/sign-in", "/sign-in/factor"] {
            house.wait(Duration::from_hours(1));
            if way == "/sign-in" {
                ada.browser.get("/sign-in").await;
            } else {
                assert_eq!(ada.browser.gives_password(ADA, PASSWORD).await.location(), way);
                ada.browser.get(way).await;
            }
            let page = ada.browser.post(&format!("{way}/passkey/begin"), &[]).await;
            let asked = asked(&page);
            let mut manner = right();
            break_it(&mut manner);
            let answer = ada.answers(&asked, &manner);
            let fields = [("handle", &*asked.handle), ("answer", &*answer)];
            let done = ada.browser.post(&format!("{way}/passkey"), &fields).await;
            is_refused(&mut ada.browser, &done, what).await;
            // What was asked is spent, even for an answer that is right.
            let answer = ada.answers(&asked, &right());
            ada.browser.get(way).await;
            let fields = [("handle", &*asked.handle), ("answer", &*answer)];
            let done = ada.browser.post(&format!("{way}/passkey"), &fields).await;
            is_refused(&mut ada.browser, &done, what).await;
            refused += 2;
        }
    }
    assert_eq!(refused, FAULTS.len() * 4);
    // It was the faults: all else being the same, she comes in.
    house.wait(Duration::from_hours(1));
    ada.browser.get("/sign-in").await;
    assert_eq!(ada.shows("/sign-in", &[]).await.location(), "/");
    house.wait(Duration::from_mins(6));
    for (what, break_it) in FAULTS.iter().filter(|(what, _)| what.starts_with("nobody")) {
        ada.browser.get("/step-up?to=/users").await;
        let asked = asked(&ada.browser.post("/step-up/passkey/begin", &[]).await);
        let mut manner = right();
        break_it(&mut manner);
        let answer = ada.answers(&asked, &manner);
        let fields = [("handle", &*asked.handle), ("answer", &*answer), ("to", "/users")];
        let done = ada.browser.post("/step-up/passkey", &fields).await;
        assert_eq!(done.status, 403, "{what}: {}", done.text);
        ada.browser.get("/users").await;
        let invite = [("address", "bob@example.com"), ("roles", "auditor")];
        let led = ada.browser.post("/users/invite", &invite).await;
        assert_eq!(led.location(), "/step-up?to=/users", "{what}");
    }
}

#[tokio::test]
async fn an_answer_counts_once_in_time_and_where_it_was_asked_for() {
    let house = House::open().await;
    let mut ada = administrator(&house).await;
    ada.browser.post("/sign-out", &[]).await;
    ada.browser.get("/sign-in").await;
    let begin = "/sign-in/passkey/begin";
    let first = asked(&ada.browser.post(begin, &[]).await);
    let answer = ada.answers(&first, &right());
    let send = |mut browser: Browser, handle: String, answer: String| async move {
        browser.get("/sign-in").await;
        let fields = [("handle", &*handle), ("answer", &*answer)];
        let done = browser.post("/sign-in/passkey", &fields).await;
        (done, browser)
    };
    let (done, mut inside) = send(ada.browser.clone(), first.handle.clone(), answer.clone()).await;
    assert_eq!(done.location(), "/", "{}", done.text);
    assert_eq!(inside.get("/users").await.status, 200);
    // The same again, by the same browser and by another one.
    for browser in [ada.browser.clone(), house.browser()] {
        let (done, mut after) = send(browser, first.handle.clone(), answer.clone()).await;
        is_refused(&mut after, &done, "replayed").await;
    }
    // What was recorded, as the answer to what is asked now.
    ada.browser.get("/sign-in").await;
    let second = asked(&ada.browser.post(begin, &[]).await);
    assert_ne!(second.options, first.options, "a challenge of its own");
    let (done, mut after) = send(ada.browser.clone(), second.handle, answer).await;
    is_refused(&mut after, &done, "recorded").await;
    // Asked for in one browser, and answered, rightly, in another.
    house.wait(Duration::from_hours(1));
    ada.browser.get("/sign-in").await;
    let third = asked(&ada.browser.post(begin, &[]).await);
    let answer = ada.answers(&third, &right());
    let (done, mut after) = send(house.browser(), third.handle.clone(), answer.clone()).await;
    is_refused(&mut after, &done, "another browser").await;
    // Too late, by nothing and by an hour.
    for wait in [Duration::from_mins(5), Duration::from_hours(1)] {
        ada.browser.get("/sign-in").await;
        let asked = asked(&ada.browser.post(begin, &[]).await);
        let answer = ada.answers(&asked, &right());
        house.wait(wait);
        let (done, mut after) = send(ada.browser.clone(), asked.handle, answer).await;
        is_refused(&mut after, &done, "late").await;
    }
    ada.browser.get("/sign-in").await;
    let last = asked(&ada.browser.post(begin, &[]).await);
    let answer = ada.answers(&last, &right());
    house.wait(Duration::from_mins(5).saturating_sub(Duration::from_micros(1)));
    let (done, _) = send(ada.browser.clone(), last.handle, answer).await;
    assert_eq!(done.location(), "/", "{}", done.text);
}

#[tokio::test]
async fn a_passkey_is_its_holders_alone() {
    let house = House::open().await;
    let mut ada = administrator(&house).await;
    let path = house.invite("bob@example.com", &["auditor"]).await;
    let mut bob = by_link(&house, &path, None, 2).await;
    for holder in [&mut ada, &mut bob] {
        holder.browser.post("/sign-out", &[]).await;
    }
    // Whoever asks for any passkey is told of none.
    ada.browser.get("/sign-in").await;
    let any = asked(&ada.browser.post("/sign-in/passkey/begin", &[]).await);
    let options: Value = serde_json::from_str(&any.options).unwrap();
    assert_eq!(options["publicKey"]["allowCredentials"], Value::Array(Vec::new()));
    assert_eq!(options["publicKey"]["userVerification"], "required");
    // Bob's passkey that says it is Ada's; and one that nobody enrolled.
    let own = std::mem::replace(&mut bob.device.user, ada.device.user.clone());
    bob.browser.get("/sign-in").await;
    let done = bob.shows("/sign-in", &[]).await;
    is_refused(&mut bob.browser, &done, "claimed for another").await;
    bob.device.user = own;
    let mut nobody = Holder { browser: house.browser(), device: Device::new(3).unwrap() };
    nobody.device.user = ada.device.user.clone();
    nobody.device.id = ada.device.id.clone();
    nobody.browser.get("/sign-in").await;
    let done = nobody.shows("/sign-in", &[]).await;
    is_refused(&mut nobody.browser, &done, "another key of that id").await;
    // One that says nothing of whose it is.
    ada.browser.get("/sign-in").await;
    let any = asked(&ada.browser.post("/sign-in/passkey/begin", &[]).await);
    let answer = ada.answers(&any, &Manner { names_user: false, ..right() });
    let fields = [("handle", &*any.handle), ("answer", &*answer)];
    let done = ada.browser.post("/sign-in/passkey", &fields).await;
    is_refused(&mut ada.browser, &done, "nobody's").await;
    // Ada's password with Bob's passkey.
    let mut thief = Holder { browser: house.browser(), device: bob.device };
    thief.browser.gives_password(ADA, PASSWORD).await;
    thief.browser.get("/sign-in/factor").await;
    let done = thief.shows("/sign-in/factor", &[]).await;
    is_refused(&mut thief.browser, &done, "after another's password").await;
    // A copy, whose counter is behind; the device itself goes on.
    ada.browser.get("/sign-in").await;
    assert_eq!(ada.shows("/sign-in", &[]).await.location(), "/");
    ada.browser.get("/").await;
    ada.browser.post("/sign-out", &[]).await;
    let ahead = std::mem::replace(&mut ada.device.counter, 0);
    ada.browser.get("/sign-in").await;
    let done = ada.shows("/sign-in", &[]).await;
    is_refused(&mut ada.browser, &done, "a copy").await;
    ada.device.counter = ahead;
    ada.browser.get("/sign-in").await;
    assert_eq!(ada.shows("/sign-in", &[]).await.location(), "/");
    // Somebody who was disabled.
    let users = app::people::users::list(&house.instance).await.unwrap();
    let id = users.iter().find(|one| one.address.as_deref() == Some("bob@example.com")).unwrap().id;
    app::people::users::set_disabled(&house.instance, &house.context(), id, true).await.unwrap();
    let mut bob = Holder { browser: house.browser(), device: thief.device };
    bob.browser.get("/sign-in").await;
    let done = bob.shows("/sign-in", &[]).await;
    is_refused(&mut bob.browser, &done, "disabled").await;
}

/// The one script is a file of ours, and browsers let no other site's page ask.
#[tokio::test]
async fn the_script_is_small_and_named_by_its_content() {
    let house = House::open().await;
    let mut browser = house.browser();
    browser.get("/sign-in").await;
    let page = browser.post("/sign-in/passkey/begin", &[]).await;
    let allowed = page.headers["permissions-policy"].to_str().unwrap();
    for feature in ["publickey-credentials-create=(self)", "publickey-credentials-get=(self)"] {
        assert!(allowed.contains(feature), "{allowed}");
    }
    assert_eq!(page.text.matches("<script").count(), 1);
    let path = between(&page.text, "<script src=\"", "\"").to_owned();
    let script = house.send("GET", &path, &[], "").await;
    assert_eq!(script.status, 200);
    assert_eq!(script.headers["content-type"], "text/javascript; charset=utf-8");
    assert!(script.headers["cache-control"].to_str().unwrap().contains("immutable"));
    assert!(script.text.len() < 2_000, "{}", script.text.len());
    for bad in ["eval", "innerHTML", "http:", "https:", "localStorage", "import"] {
        assert!(!script.text.contains(bad), "{bad}");
    }
}
