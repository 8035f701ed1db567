//! What nobody achieves at the console.

use crate::browser::{ADA, HERE, House, PASSWORD};
use app::people::users;
use std::time::Duration;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn other_methods_are_refused_on_every_route() {
    let house = House::open().await;
    for (known, path, _) in api::ROUTES {
        let path = path.replace("{name}", "x").replace("{token}", "x").replace("{id}", "x");
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE"] {
            let answer = house.send(method, &path, &[("origin", HERE), FORM], "form=x").await;
            assert_eq!(answer.status, 405, "{method} {path}");
            let allowed = answer.headers["allow"].to_str().unwrap();
            assert!(allowed.contains(known), "{path}: {allowed}");
        }
    }
}

#[tokio::test]
async fn a_target_that_names_another_host_is_not_answered() {
    let house = House::open().await;
    for target in ["http://evil.example/sign-in", "http://localhost:8401/sign-in"] {
        assert_eq!(house.send("GET", target, &[], "").await.status, 421, "{target}");
    }
    assert_eq!(house.send("GET", "/sign-in", &[("host", "none")], "").await.status, 421);
    let twice = [("host", "localhost"), ("host", "localhost")];
    assert_eq!(house.send("GET", "/sign-in", &twice, "").await.status, 421);
}

#[tokio::test]
async fn looking_at_a_link_changes_nothing_and_using_it_ends_it() {
    let house = House::open().await;
    let link = house.setup_link().await;
    let path = format!("/setup/{}", link.token.expose());
    let mut browser = house.browser();
    for method in ["GET", "HEAD", "GET"] {
        assert_eq!(house.send(method, &path, &[], "").await.status, 200, "{method}");
    }
    browser.get(&path).await;
    for (what, status, address, password) in [
        ("a common password", 422, ADA, "password1234"),
        ("a short one", 422, ADA, "short"),
        ("one made of the address", 422, ADA, "ada@example.com"),
        ("no address", 422, "", PASSWORD),
        ("what is no address", 422, "ada", PASSWORD),
    ] {
        let fields = [("address", address), ("name", "Ada"), ("password", password)];
        let answer = browser.post(&path, &fields).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
        assert!(answer.text.contains("id=\"problem\""), "{what}");
        assert!(!answer.text.contains(password) || address == password, "{what}: repeated");
        assert!(browser.session().is_empty(), "{what}");
    }
    browser.accepts(&path, Some(ADA)).await;
    let mut second = house.browser();
    assert_eq!(second.get(&path).await.status, 404);
    second.get("/sign-in").await;
    let fields = [("address", "eve@example.com"), ("password", PASSWORD)];
    assert_eq!(second.post(&path, &fields).await.status, 404);
    assert!(second.session().is_empty());
}

#[tokio::test]
async fn links_end_by_themselves() {
    let house = House::open().await;
    let link = house.setup_link().await;
    let path = format!("/setup/{}", link.token.expose());
    house.wait(Duration::from_mins(16));
    assert_eq!(house.send("GET", &path, &[], "").await.status, 404);
    house.administrator().await;
    let path = house.invite("bob@example.com", &["auditor"]).await;
    house.wait(Duration::from_hours(7 * 24 + 1));
    assert_eq!(house.send("GET", &path, &[], "").await.status, 404);
    for bad in ["/setup/", "/invite/x", "/invite/%00", "/invite/x/y"] {
        assert_eq!(house.send("GET", bad, &[], "").await.status, 404, "{bad}");
    }
}

/// Whoever plants a cookie before somebody signs in has nothing of what comes after.
#[tokio::test]
async fn a_cookie_of_before_is_never_adopted() {
    let house = House::open().await;
    let mut ada = house.administrator().await;
    let mut victim = house.browser();
    let planted = "A".repeat(43);
    victim.cookies.insert("__Host-weirgate".into(), planted.clone());
    victim.gives_password(ADA, PASSWORD).await;
    let half = victim.session().to_owned();
    assert!(half != planted && !half.is_empty());
    let code = house.code(&ada.seed);
    let form_before = victim.form.clone();
    let answer = victim.post("/sign-in/factor", &[("code", &code)]).await;
    assert_eq!(answer.location(), "/", "{}", answer.text);
    assert_ne!(victim.session(), half);
    for (what, old) in [("what was planted", &planted), ("the half session", &half)] {
        let mut thief = house.browser();
        thief.cookies.insert("__Host-weirgate".into(), old.clone());
        assert_eq!(thief.get("/").await.location(), "/sign-in", "{what}");
    }
    // Nor is a form of before of use within the session, nor that of somebody else's.
    let of_ada = ada.browser.form.clone();
    for form in [form_before, of_ada, String::new(), "0".repeat(64)] {
        let mut sender = victim.clone();
        sender.form = form;
        assert_eq!(sender.post("/sign-out", &[]).await.status, 403);
    }
    // The cookie that forms are bound to is no session.
    let mut thief = house.browser();
    thief.get("/sign-in").await;
    let form_cookie = thief.cookies["__Host-weirgate-form"].clone();
    thief.cookies.insert("__Host-weirgate".into(), form_cookie);
    assert_eq!(thief.get("/").await.location(), "/sign-in");
    // Given twice, a cookie is none.
    let twice = format!("{0}; {0}", victim.cookie_line());
    let answer = house.send("GET", "/", &[("cookie", &twice)], "").await;
    assert_eq!(answer.location(), "/sign-in");
    // A form's token counts in the form alone.
    let uri = format!("/sign-out?form={}", victim.form);
    let cookies = victim.cookie_line();
    let headers = [("cookie", cookies.as_str()), ("origin", HERE), FORM];
    assert_eq!(house.send("POST", &uri, &headers, "x=y").await.status, 403);
    assert_eq!(ada.browser.get("/").await.status, 200);
}

#[tokio::test]
async fn a_session_ends_for_good() {
    let house = House::open().await;
    let mut ada = house.administrator().await;
    let kept = ada.browser.clone();
    let answer = ada.browser.post("/sign-out", &[]).await;
    assert_eq!(answer.location(), "/sign-in");
    assert!(ada.browser.session().is_empty(), "the cookie is taken back");
    let mut thief = kept.clone();
    assert_eq!(thief.get("/").await.location(), "/sign-in", "after a sign-out");

    let mut bob = house.invited("bob@example.com", &["auditor"]).await;
    assert_eq!(bob.browser.get("/audit").await.status, 200);
    let id = users::find(&house.instance, "bob@example.com").await.unwrap();
    let roles = ["read-only".to_owned()];
    users::set_roles(&house.instance, &house.context(), id, &roles).await.unwrap();
    assert_eq!(bob.browser.get("/audit").await.status, 403, "after a change of roles");
    users::set_disabled(&house.instance, &house.context(), id, true).await.unwrap();
    assert_eq!(bob.browser.get("/").await.location(), "/sign-in", "disabled");
    let refused = bob.browser.gives_password("bob@example.com", PASSWORD).await;
    assert_eq!(refused.status, 403, "disabled");

    let mut cy = house.invited("cy@example.com", &["auditor"]).await;
    house.wait(Duration::from_mins(31));
    assert_eq!(cy.browser.get("/").await.location(), "/sign-in", "after half an hour's silence");
    let answer = cy.browser.gives_password("cy@example.com", PASSWORD).await;
    assert_eq!(answer.location(), "/sign-in/factor");
    house.wait(Duration::from_mins(6));
    let code = house.code(&cy.seed);
    let answer = cy.browser.post("/sign-in/factor", &[("code", &code)]).await;
    assert_ne!(answer.location(), "/", "half a session of six minutes");
    assert!(answer.status == 303 || answer.status == 403);
}

#[tokio::test]
async fn only_the_right_code_is_right_and_only_once() {
    let house = House::open().await;
    let ada = house.administrator().await;
    let mut browser = house.browser();
    browser.gives_password(ADA, PASSWORD).await;
    let code = house.code(&ada.seed);
    let wide: String =
        code.chars().map(|digit| char::from_u32(u32::from(digit) + 0xFEE0).unwrap()).collect();
    for bad in [format!(" {code}"), format!("{code} "), format!("{code}\n"), wide] {
        let answer = browser.post("/sign-in/factor", &[("code", &bad)]).await;
        assert_eq!(answer.status, 403, "{bad:?}");
        assert!(answer.text.contains("aria-invalid"), "{bad:?}");
    }
    let answer = browser.post("/sign-in/factor", &[("code", &code)]).await;
    assert_eq!(answer.location(), "/", "{}", answer.text);
    let mut again = house.browser();
    again.gives_password(ADA, PASSWORD).await;
    assert_eq!(again.post("/sign-in/factor", &[("code", &code)]).await.status, 403, "used");
    let recovery = ada.recovery[0].as_str();
    let answer = again.post("/sign-in/factor", &[("code", recovery)]).await;
    assert_eq!(answer.location(), "/", "{}", answer.text);
    let mut again = house.browser();
    again.gives_password(ADA, PASSWORD).await;
    let answer = again.post("/sign-in/factor", &[("code", recovery)]).await;
    assert_eq!(answer.status, 403, "a recovery code that was used");
}

#[tokio::test]
async fn guessing_is_slowed_and_tells_nothing() {
    let house = House::open().await;
    house.administrator().await;
    let mut browser = house.browser();
    let wrong = browser.gives_password(ADA, "not the password").await;
    let nobody = browser.gives_password("eve@example.com", "not the password").await;
    assert_eq!((wrong.status, nobody.status), (403, 403));
    let blank = |text: &str| text.replace(ADA, "").replace("eve@example.com", "");
    assert_eq!(blank(&wrong.text), blank(&nobody.text));
    for _ in 0..4 {
        browser.gives_password(ADA, "not the password").await;
    }
    let slowed = browser.gives_password(ADA, PASSWORD).await;
    assert_eq!(slowed.status, 429, "{}", slowed.text);
    let wait: u64 = slowed.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(wait >= 1);
    assert!(browser.session().is_empty());
}

#[tokio::test]
async fn nobody_acts_on_what_is_somebody_elses_or_without_a_right() {
    let house = House::open().await;
    let mut ada = house.administrator().await;
    let mut bob = house.invited("bob@example.com", &["read-only"]).await;
    let text = ada.browser.get("/users").await.text;
    let ada_id = users::find(&house.instance, ADA).await.unwrap();
    assert!(text.contains(&ada_id.to_string()));
    // Another's session, another's token.
    let fields = [("name", "deploy"), ("roles", "administrator"), ("days", "30")];
    let made = ada.browser.post("/account/tokens", &fields).await;
    assert!(made.text.contains("is shown this once"), "{}", made.text);
    assert_eq!(made.headers["cache-control"], "no-store");
    let token = crate::browser::between(&made.text, "/account/tokens/", "/revoke").to_owned();
    let sessions = app::people::sessions::list(&house.instance, Some(ada_id)).await.unwrap();
    let session = sessions[0].signed_in.session;
    for path in
        [format!("/account/sessions/{session}/end"), format!("/account/tokens/{token}/revoke")]
    {
        bob.browser.get("/account").await;
        assert_eq!(bob.browser.post(&path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(ada.browser.get("/").await.status, 200);
    // A token wider than its owner, for longer than a year, or for no time.
    for (roles, days) in [
        ("administrator", "30"),
        ("read-only", "366"),
        ("read-only", "0"),
        ("", "30"),
        ("read-only", "x"),
    ] {
        bob.browser.get("/account").await;
        let fields = [("name", "wide"), ("roles", roles), ("days", days)];
        let answer = bob.browser.post("/account/tokens", &fields).await;
        assert!((400..500).contains(&answer.status), "{roles} {days}: {}", answer.status);
        assert!(!answer.text.contains("is shown this once"), "{roles} {days}");
    }
    // The last administrator stays.
    for act in ["disable", "remove"] {
        ada.browser.get("/users").await;
        let answer = ada.browser.post(&format!("/users/{ada_id}/{act}"), &[]).await;
        assert!((400..500).contains(&answer.status), "{act}: {}", answer.status);
    }
    ada.browser.get("/users").await;
    let roles = [("roles", "auditor")];
    let answer = ada.browser.post(&format!("/users/{ada_id}/roles"), &roles).await;
    assert!((400..500).contains(&answer.status));
    // An end of one's own.
    ada.browser.get("/account").await;
    let answer = ada.browser.post(&format!("/account/tokens/{token}/revoke"), &[]).await;
    assert_eq!(answer.location(), "/account");
    assert!(!ada.browser.get("/account").await.text.contains(&token));
}

/// A step-up leads to pages of ours, whatever it is told.
#[tokio::test]
async fn a_step_up_leads_nowhere_else() {
    let house = House::open().await;
    let mut ada = house.administrator().await;
    for to in
        ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x", "/sign-out"]
    {
        let page = ada.browser.get(&format!("/step-up?to={to}")).await;
        assert!(!page.text.contains("evil"), "{to}");
        let code = house.code(&ada.seed);
        let answer = ada.browser.post("/step-up", &[("code", &code), ("to", to)]).await;
        assert_eq!(answer.location(), "/", "{to}");
        house.wait(Duration::from_mins(1));
    }
}

#[tokio::test]
async fn what_people_type_is_text() {
    let house = House::open().await;
    let mut ada = house.administrator().await;
    let evil = "<script>alert(1)</script>\"'>";
    let fields = [("address", evil), ("roles", evil)];
    let answer = ada.browser.post("/users/invite", &fields).await;
    assert_eq!(answer.status, 422);
    let encoded: String = url::form_urlencoded::byte_serialize(evil.as_bytes()).collect();
    let searched = ada.browser.get(&format!("/audit?text={encoded}")).await;
    assert_eq!(searched.status, 200);
    let fields = [("name", evil), ("roles", "administrator"), ("days", "1")];
    ada.browser.get("/account").await;
    let made = ada.browser.post("/account/tokens", &fields).await;
    for page in [answer.text, searched.text, made.text] {
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("script"), "it is shown as text: {page}");
    }
}

#[tokio::test]
async fn the_log_is_filtered_and_names_nobody() {
    let house = House::open().await;
    let mut ada = house.administrator().await;
    app::sequence::settle(&house.instance).await.unwrap();
    let all = ada.browser.get("/audit").await.text;
    assert!(all.contains("user.setup") && all.contains("user.sign_in"), "{all}");
    assert!(!all.contains(ADA), "the log knows nobody by address");
    let some = ada.browser.get("/audit?text=USER.SETUP").await.text;
    assert!(some.contains("user.setup") && !some.contains("user.sign_in"), "{some}");
    let none = ada.browser.get("/audit?text=no+such+text").await.text;
    assert!(none.contains("No entry has this text"), "{none}");
}

/// A page holds a hundred entries; the next one goes on where it ended, with the same text.
#[tokio::test]
async fn older_entries_are_reached_page_by_page() {
    let house = House::open().await;
    let mut ada = house.administrator().await;
    for number in 0..130 {
        let name = format!("client-{number}").parse().unwrap();
        app::clients::create(&house.instance, &house.context(), &name).await.unwrap();
    }
    app::sequence::settle(&house.instance).await.unwrap();
    let mut seen = Vec::new();
    let mut next = "/audit?text=client.create".to_owned();
    for count in [100, 30] {
        let page = ada.browser.get(&next).await.text;
        let rows = page.matches("<summary>All of entry ").count();
        assert_eq!(rows, count, "{next}");
        for row in page.split("<summary>All of entry ").skip(1) {
            seen.push(row.split('<').next().unwrap().parse::<u64>().unwrap());
        }
        let Some((_, rest)) = page.split_once("<a href=\"/audit?") else { break };
        let query = rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
        next = format!("/audit?{query}");
        assert!(next.starts_with("/audit?text=client.create&before="), "{next}");
    }
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]) && seen.len() == 130, "{seen:?}");
    let page = ada.browser.get("/audit?before=0").await.text;
    assert!(page.contains("No entries are before this"), "{page}");
}

#[tokio::test]
async fn all_other_sessions_end_and_nobody_elses() {
    let house = House::open().await;
    let mut ada = house.administrator().await;
    let mut bob = house.invited("bob@example.com", &["auditor"]).await;
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut other = house.browser();
        other.gives_password(ADA, PASSWORD).await;
        let code = ada.recovery.pop().unwrap();
        assert_eq!(other.post("/sign-in/factor", &[("code", &code)]).await.location(), "/");
        others.push(other);
    }
    let mut half = house.browser();
    half.gives_password(ADA, PASSWORD).await;
    ada.browser.get("/account").await;
    let ended = ada.browser.post("/account/sessions/end-others", &[]).await;
    assert_eq!(ended.location(), "/account");
    for other in others.iter_mut().chain([&mut half]) {
        assert_eq!(other.get("/account").await.location(), "/sign-in");
    }
    assert_eq!(ada.browser.get("/account").await.status, 200);
    assert_eq!(bob.browser.get("/account").await.status, 200);
    let listed = app::people::sessions::list(&house.instance, None).await.unwrap();
    assert_eq!(listed.len(), 2);
}

/// Other spellings of a path, and other ways to say a method, lead no further than the route itself.
#[tokio::test]
async fn no_spelling_of_a_route_leads_further() {
    let house = House::open().await;
    house.administrator().await;
    let mut reader = house.invited("rea@example.com", &["read-only"]).await.browser;
    let mut nobody = house.browser();
    nobody.get("/sign-in").await;
    let console = api::ROUTES.iter().map(|(method, path, _)| (*method, *path));
    let routes = console.chain(api::API_ROUTES.iter().map(|(method, path, _)| (*method, *path)));
    let mut tried = 0;
    for (method, path) in routes.filter(|(_, path)| !["/sign-out", "/"].contains(path)) {
        let path = path.replace(['{', '}'], "");
        let (first, rest) = path.split_at(2);
        let encoded = format!("/%{:02x}{rest}", first.as_bytes()[1]);
        let spelled = [
            path.to_uppercase(),
            format!("{path}/"),
            format!("/{path}"),
            path.replacen('/', "//", 2),
            format!("/account/..{path}"),
            format!("/account/%2e%2e{path}"),
            format!("/.{path}"),
            format!("{path};x"),
            format!("{path}%00"),
            format!("{path}%20"),
            path.replace('/', "%2f").replacen("%2f", "/", 1),
            encoded,
        ];
        for (who, browser) in [("nobody", &mut nobody), ("a reader", &mut reader)] {
            let itself = asked(browser, method, &path, &[]).await;
            let generation = house.instance.store.generation().await.unwrap();
            for other in spelled.iter().filter(|other| **other != path) {
                let answer = asked(browser, method, other, &[]).await;
                let is_refused = [400, 401, 403, 404, 405].contains(&answer.0);
                assert!(is_refused || answer == itself, "{method} {other} as {who}: {answer:?}");
                tried += 1;
            }
            let after = house.instance.store.generation().await.unwrap();
            assert_eq!(after, generation, "{method} {path} as {who}");
            let cookies = browser.cookie_line();
            let ways = ["x-http-method-override", "x-http-method", "x-method-override"];
            for (method, way, says) in ways
                .iter()
                .flat_map(|way| [("GET", *way, "POST"), ("GET", *way, "DELETE")])
                .chain([("HEAD", "accept", "*/*")])
            {
                let plain = house.send("GET", &path, &[("cookie", &cookies)], "").await;
                let headers = [("cookie", cookies.as_str()), (way, says)];
                let answer = house.send(method, &path, &headers, "").await;
                let statuses = (answer.status, plain.status);
                assert_eq!(statuses.0, statuses.1, "{method} {path} with {way} as {who}");
            }
            if method == "GET" {
                let answer = asked(browser, "POST", &path, &[("_method", "GET")]).await;
                let as_form = asked(browser, "POST", &path, &[]).await;
                assert_eq!(answer, as_form, "{path} as {who}");
            }
        }
    }
    assert!(tried > 2_000, "{tried}");
}

/// Fields that no form has count for nothing.
#[tokio::test]
async fn forms_take_their_own_fields_alone() {
    let house = House::open().await;
    let mut ada = house.administrator().await;
    let instance = &house.instance;
    let own = users::find(instance, ADA).await.unwrap();
    ada.browser.get("/users").await;
    let more = [
        ("address", "bob@example.com"),
        ("roles", "auditor"),
        ("state", "active"),
        ("id", "user_00000000000000000000000009"),
        ("password", PASSWORD),
        ("user", "user_00000000000000000000000009"),
        ("valid_from", "0"),
        ("has_second_factor", "true"),
    ];
    let invited = ada.browser.post("/users/invite", &more).await;
    assert_eq!(invited.status, 200, "{}", invited.text);
    let bob = users::find(instance, "bob@example.com").await.unwrap();
    let listed = users::list(instance).await.unwrap();
    let row = listed.iter().find(|one| one.id == bob).unwrap();
    assert_eq!((row.state.as_str(), row.has_second_factor), ("invited", false));
    ada.browser.post(&format!("/users/{bob}/roles"), &more).await;
    let listed = users::list(instance).await.unwrap();
    let row = listed.iter().find(|one| one.id == bob).unwrap();
    assert_eq!(
        (row.state.as_str(), row.roles.as_slice()),
        ("invited", &["auditor".to_owned()][..])
    );
    let user = bob.to_string();
    let token = [
        ("name", "t"),
        ("roles", "administrator"),
        ("days", "1"),
        ("user", user.as_str()),
        ("expires_at", "9999-01-01T00:00:00Z"),
    ];
    ada.browser.get("/account").await;
    assert_eq!(ada.browser.post("/account/tokens", &token).await.status, 200);
    assert!(app::people::tokens::list(instance, Some(bob)).await.unwrap().is_empty());
    let made = app::people::tokens::list(instance, Some(own)).await.unwrap();
    assert!(made[0].expires_at.since(house.context().now) <= Duration::from_hours(24));
}

/// Its status, and where it leads.
async fn asked(
    browser: &mut crate::browser::Browser,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
) -> (u16, String) {
    let answer =
        if method == "GET" { browser.get(path).await } else { browser.post(path, fields).await };
    (answer.status, answer.location().to_owned())
}
