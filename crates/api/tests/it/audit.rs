//! The page of the audit log: its filter, its badge, what leaves by it, and what somebody keeps.

use crate::browser::{Answer, Browser, House, Person};
use app::{audit_log, saved_views, sequence::OpenLog};
use audit::{
    Commitment, Durability, Intent, Outcome, Record, Refused, Unauthenticated, verify_export,
};
use http_body_util::BodyExt as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use types::{
    Action, Client, Clock as _, Connection, Environment, Id, IdKind, Key, Provider, SystemRandom,
    Timestamp,
};

fn id<K: IdKind>(at: Timestamp) -> Id<K> {
    Id::generate(at, &SystemRandom).unwrap()
}

/// What calls are made of.
pub struct Facts {
    pub keys: [Id<Key>; 2],
    pub clients: [Id<Client>; 2],
    pub provider: Id<Provider>,
    pub connection: Id<Connection>,
}

impl Facts {
    fn new(house: &House) -> Self {
        let now = house.clock.now();
        Self {
            keys: [id(now), id(now)],
            clients: [id(now), id(now)],
            provider: id(now),
            connection: id(now),
        }
    }

    /// A call as it stands in the log.
    fn call(
        &self,
        at: Timestamp,
        whose: usize,
        object: &str,
        (status, code): Ended,
    ) -> [Record; 2] {
        let request = id(at);
        let intent = Intent {
            request,
            at,
            environment: Environment::Live,
            key: self.keys[whose],
            client: self.clients[whose],
            connection: self.connection,
            customer: Commitment::new(&[1; 32], b"acme"),
            provider: self.provider,
            operation: format!("list{object}s"),
            action: if whose == 0 { Action::Read } else { Action::Update },
            object: Some(object.to_owned()),
            generation: 1,
            is_safe_method: true,
            network: None,
        };
        let outcome = Outcome {
            request,
            at,
            status,
            provider_status: None,
            code: code.map(ToOwned::to_owned),
            bytes_in: 1,
            bytes_out: 1,
            dropped: 0,
            mismatched: 0,
            withheld: if object == "Employee" { vec!["Employee.ssn".into()] } else { Vec::new() },
            withheld_more: 0,
            duration_us: 7,
            attempts: None,
        };
        [Record::Intent(intent), Record::Outcome(outcome)]
    }
}

type Ended = (u16, Option<&'static str>);
const DONE: Ended = (200, None);

/// Writes into the log as a server does; what waits for the log comes first.
async fn log(house: &House, records: impl IntoIterator<Item = Record>) {
    let lock = house.instance.folder.lock_soon().await.unwrap();
    let log = OpenLog::open(&house.instance, lock, None, None).await.unwrap();
    let mut last = None;
    for record in records {
        last = Some(log.handle.append(&record, Durability::NextGroup).unwrap());
    }
    if let Some(last) = last {
        last.await.unwrap();
    }
    log.close().await.unwrap();
}

/// Indices and kinds of the rows that a page shows.
fn rows(page: &Answer) -> BTreeMap<u64, String> {
    assert_eq!(page.status, 200, "{}", page.text);
    let rows = page.text.split("<tr><td data-label=\"Entry\">").skip(1);
    rows.map(|row| {
        let index = crate::browser::between(row, "/audit/entries/", "\"").parse().unwrap();
        let kind = crate::browser::between(row, "data-label=\"Kind\">", "<").to_owned();
        (index, kind)
    })
    .collect()
}

async fn found(browser: &mut Browser, query: &str) -> BTreeSet<u64> {
    rows(&browser.get(&format!("/audit?{query}")).await).into_keys().collect()
}

/// A log with something of each kind, its reader, and where the calls are.
pub struct Furnished {
    pub house: House,
    pub ada: Person,
    pub facts: Facts,
    pub employee: u64,
    pub group: u64,
    pub limited: u64,
    pub refused: u64,
    pub stranger: u64,
}

pub async fn furnished() -> Furnished {
    let house = House::open().await;
    log(&house, []).await;
    house.wait(Duration::from_hours(48));
    let ada = house.administrator().await;
    let facts = Facts::new(&house);
    let now = house.clock.now();
    let refused = Record::Refused(Refused {
        request: id(now),
        at: now,
        key: facts.keys[0],
        client: facts.clients[0],
        connection: Some(facts.connection),
        operation: None,
        code: "not_granted".into(),
    });
    let stranger =
        Record::Unauthenticated(Unauthenticated { at: now, code: "key_unknown".into(), count: 3 });
    // Calls that are under way at once end in another order than they began in.
    let [first, first_end] = facts.call(now, 0, "Employee", DONE);
    let [second, second_end] = facts.call(now, 1, "Group", (404, None));
    let limited = facts.call(now, 1, "Employee", (429, Some("rate_limited")));
    let mut written = vec![first, second, second_end, first_end];
    written.extend(limited);
    written.extend([refused, stranger]);
    log(&house, written).await;
    let newest = audit_log::list(&house.instance.folder, 12).unwrap();
    let place = |kind: &str, nth: usize| {
        let mut of_kind = newest.iter().filter(|(_, record)| record.kind() == kind);
        of_kind.nth(nth).unwrap().0
    };
    let (employee, group, limited) = (place("intent", 2), place("intent", 1), place("intent", 0));
    let (refused, stranger) = (place("refused", 0), place("unauthenticated", 0));
    Furnished { house, ada, facts, employee, group, limited, refused, stranger }
}

#[tokio::test]
async fn each_part_of_the_filter_finds_what_it_names_and_two_find_what_both_name() {
    let mut all = furnished().await;
    let ada = &mut all.ada.browser;
    let (employee, group, limited) = (all.employee, all.group, all.limited);
    let Facts { keys, clients, provider, connection } = &all.facts;
    let calls = BTreeSet::from([employee, group, limited]);
    let of_first = BTreeSet::from([employee, all.refused]);
    let of_second = BTreeSet::from([group, limited]);
    for (query, wanted) in [
        ("kind=call".to_owned(), calls.clone()),
        ("kind=refused".to_owned(), BTreeSet::from([all.refused])),
        ("kind=unauthenticated".to_owned(), BTreeSet::from([all.stranger])),
        (format!("key={}", keys[0]), of_first.clone()),
        (format!("client={}", clients[1]), of_second.clone()),
        (format!("provider={provider}"), calls.clone()),
        (format!("connection={connection}"), &calls | &of_first),
        ("object=Employee".to_owned(), BTreeSet::from([employee, limited])),
        ("object=ssn".to_owned(), BTreeSet::from([employee, limited])),
        ("object=Employee.ssn".to_owned(), BTreeSet::from([employee, limited])),
        ("object=Emp".to_owned(), BTreeSet::new()),
        ("verb=update".to_owned(), of_second.clone()),
        ("outcome=404".to_owned(), BTreeSet::from([group])),
        ("outcome=4xx".to_owned(), of_second.clone()),
        ("outcome=rate_limited".to_owned(), BTreeSet::from([limited])),
        ("outcome=not_granted".to_owned(), BTreeSet::from([all.refused])),
        ("outcome=key_unknown".to_owned(), BTreeSet::from([all.stranger])),
        ("text=listGroups".to_owned(), BTreeSet::from([group])),
        // What is said of the end of a call is said of the call.
        ("text=RATE_limited".to_owned(), BTreeSet::from([limited])),
        (format!("client={}&object=Employee", clients[1]), BTreeSet::from([limited])),
        ("kind=call&outcome=2xx".to_owned(), BTreeSet::from([employee])),
        (format!("key={}&verb=update", keys[0]), BTreeSet::new()),
    ] {
        assert_eq!(found(ada, &query).await, wanted, "{query}");
    }
}

#[tokio::test]
async fn changes_are_found_by_who_made_them_and_what_they_did() {
    let mut all = furnished().await;
    let users = app::people::users::list(&all.house.instance).await.unwrap();
    let user = users[0].id;
    let ada = &mut all.ada.browser;
    // Ada's own factor was her own act; the link was the system's.
    let own = found(ada, &format!("actor=user%3A{user}")).await;
    let systems = found(ada, "actor=system").await;
    assert!(!own.is_empty() && !systems.is_empty() && own.is_disjoint(&systems));
    let by_verb = found(ada, "verb=factor").await;
    assert!(!by_verb.is_empty());
    let both = found(ada, &format!("actor=user%3A{user}&verb=factor")).await;
    assert_eq!(both, &by_verb & &own);
    assert!(found(ada, "actor=local%3A").await.is_empty());
    assert!(found(ada, "verb=fact").await.is_empty(), "half a word is no verb");
    // Also by the address, which the address of the page does not keep.
    let led = ada.get("/audit?actor=ada%40example.com&kind=").await;
    assert_eq!((led.status, led.location()), (303, &*format!("/audit?actor=user%3A{user}")));
    let page = ada.get(&format!("/audit?actor=user%3A{user}")).await;
    assert!(page.text.contains(&format!("value=\"user:{user}\"")), "{}", page.text);
    // Only where one entry is looked at, and for those who may see people.
    let page = ada.get(&format!("/audit/entries/{}", own.first().unwrap())).await;
    assert!(page.text.contains("by ada@example.com"), "{}", page.text);
}

#[tokio::test]
async fn a_period_begins_with_its_first_moment_and_ends_before_its_last() {
    let mut all = furnished().await;
    let ada = &mut all.ada.browser;
    let everything: BTreeSet<u64> = found(ada, "").await;
    let minute = |at: Timestamp| at.to_string().chars().take(16).collect::<String>();
    let day_before =
        minute(Timestamp::from_micros(all.house.clock.now().as_micros() - 24 * 3_600 * 1_000_000));
    let later = found(ada, &format!("from={}", day_before.replace(':', "%3A"))).await;
    let earlier = found(ada, &format!("to={}", day_before.replace(':', "%3A"))).await;
    assert!(later.contains(&all.employee) && !earlier.contains(&all.employee));
    assert!(!earlier.is_empty() && later.is_disjoint(&earlier));
    assert_eq!(&later | &earlier, everything);
    // A day alone is all of that day, on either side.
    let day = &day_before[..10];
    let led = ada.get(&format!("/audit?from={day}&to={day}")).await;
    assert!(led.location().contains(&format!("from={day}T00%3A00&to=")), "{}", led.location());
    assert!(!led.location().contains(&format!("to={day}")), "{}", led.location());
}

/// Nothing of what was given acts, or is kept, and what is wrong is said.
#[tokio::test]
async fn what_cannot_be_meant_is_said_and_nothing_is_found_by_it() {
    let house = House::open().await;
    let mut ada = house.administrator().await.browser;
    let bad = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    let long = "x".repeat(201);
    for (query, said) in [
        (format!("kind={bad}"), "Kind: There is no such kind"),
        (format!("actor={bad}"), "Who: Give a person"),
        (format!("key={bad}"), "Key: Give the id of a key"),
        (format!("client={bad}"), "Client: There is no client"),
        (format!("provider={bad}"), "Provider: There is no provider"),
        (format!("connection={bad}"), "Connection: Give the id"),
        (format!("object={long}"), "Object or field: Give at most 200"),
        (format!("verb={long}"), "Act: Give at most 200"),
        (format!("outcome={bad}"), "Outcome: Give a status"),
        ("outcome=999".to_owned(), "Outcome: Give a status"),
        (format!("from={bad}"), "From (UTC): Give a day"),
        ("from=2026-13-45".to_owned(), "From (UTC): Give a day"),
        ("from=2026-11-27&to=2026-11-01".to_owned(), "Before (UTC): The end lies before"),
        (format!("text={long}"), "Only entries with: Give at most 200"),
        ("text=a%0Ab".to_owned(), "Only entries with: Give at most 200"),
        (format!("before={bad}"), "The place to go on from"),
    ] {
        for path in ["/audit", "/audit/activity"] {
            if path != "/audit" && query.starts_with("before") {
                continue;
            }
            let page = ada.get(&format!("{path}?{query}")).await;
            assert_eq!(page.status, 422, "{path} {query}");
            assert!(page.text.contains(said), "{query}: {}", page.text);
            assert!(!page.text.contains("<script>alert"), "{query}");
            assert!(!page.text.contains("data-label=\"Entry\""), "{query}");
            assert!(!page.text.contains(&long), "{query}");
        }
    }
    // All that is wrong is said at once.
    let page = ada.get("/audit?kind=x&outcome=X").await;
    assert!(page.text.contains("Kind:") && page.text.contains("Outcome:"), "{}", page.text);
}

#[tokio::test]
async fn pages_follow_one_another_and_a_call_stands_on_one_of_them() {
    let house = House::open().await;
    let mut ada = house.administrator().await.browser;
    let facts = Facts::new(&house);
    let now = house.clock.now();
    let calls = (0..150).flat_map(|_| facts.call(now, 0, "Employee", DONE));
    // Their ends lie far behind: the last call ends on a page before its own.
    let (begun, ended): (Vec<_>, Vec<_>) = calls.partition(|one| one.kind() == "intent");
    log(&house, begun.into_iter().chain(ended)).await;
    let (mut path, mut seen, mut pages) = ("/audit?kind=call".to_owned(), BTreeSet::new(), 0);
    loop {
        let page = ada.get(&path).await;
        let rows = rows(&page);
        pages += 1;
        assert!(!page.text.contains("not seen"), "a call has an end: {}", page.text);
        for index in rows.into_keys() {
            assert!(seen.insert(index), "{index} twice");
        }
        let Some((_, rest)) = page.text.split_once("Go on with older entries") else { break };
        assert!(rest.contains("</a>"));
        let before = crate::browser::between(&page.text, "kind=call&#38;before=", "\"").to_owned();
        path = format!("/audit?kind=call&before={before}");
    }
    assert_eq!((seen.len(), pages), (150, 2));
}

#[tokio::test]
async fn an_entry_says_what_was_before_and_after() {
    let house = House::open().await;
    let mut ada = house.administrator().await.browser;
    let bob = house.invited("bob@example.com", &["read-only"]).await;
    drop(bob);
    let users = app::people::users::list(&house.instance).await.unwrap();
    let bob =
        users.iter().find(|one| one.address.as_deref() == Some("bob@example.com")).unwrap().id;
    let changed = ada.post(&format!("/users/{bob}/roles"), &[("roles", "auditor")]).await;
    assert_eq!(changed.status, 303, "{}", changed.text);
    log(&house, []).await;
    let at = found(&mut ada, "verb=user.roles").await;
    let index = *at.first().unwrap();
    let page = ada.get(&format!("/audit/entries/{index}")).await.text;
    let row = crate::browser::between(&page, "<td data-label=\"Of\">roles</td>", "</tr>");
    assert!(row.contains("data-label=\"Before\" class=\"what\">read-only<"), "{row}");
    assert!(row.contains("data-label=\"After\" class=\"what\">auditor<"), "{row}");
    assert!(page.contains("state of the store"), "{page}");
    assert_eq!(ada.get("/audit/entries/99999999").await.status, 404);
    assert_eq!(ada.get("/audit/entries/-1").await.status, 404);
}

/// Looks until the verification that is under way has ended.
async fn verified(browser: &mut Browser) -> String {
    for _ in 0..600 {
        let page = browser.get("/audit").await.text;
        if !page.contains("It is being verified") && !page.contains("Not verified yet") {
            return page;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the verification never ends");
}

#[tokio::test]
async fn the_badge_tells_a_whole_log_from_one_that_was_changed() {
    let mut all = furnished().await;
    let ada = &mut all.ada.browser;
    // The first look finds nothing out by itself.
    let first = ada.get("/audit").await.text;
    assert!(!first.contains("good-seal"), "{first}");
    let page = verified(ada).await;
    let seal = crate::browser::between(&page, "<section class=\"seal", "</section>");
    assert!(seal.starts_with(" good-seal"), "{seal}");
    let key = audit_log::public_key(&all.house.instance.folder).unwrap().to_string();
    let shown = key.replace('+', "&#43;");
    assert!(seal.contains(&key) || seal.contains(&shown), "{key}: {seal}");
    let size = audit_log::signed_size(&all.house.instance.folder).unwrap();
    assert!(seal.contains(&format!("Signed up to entry {}", size - 1)), "{seal}");

    // Somebody changes a byte of an entry. What was found before goes on to be shown with its time,
    // until somebody looks again.
    let tail = all.house.instance.folder.audit().join("tail");
    let mut bytes = std::fs::read(&tail).unwrap();
    let place = bytes.windows(9).position(|some| some == b"Employee.").unwrap();
    bytes[place] ^= 1;
    std::fs::write(&tail, bytes).unwrap();
    let again = ada.post("/audit/verify", &[]).await;
    assert_eq!(again.location(), "/audit");
    let page = ada.get("/audit").await.text;
    assert!(page.contains("good-seal") && !page.contains("It is being verified"), "too soon");
    all.house.wait(Duration::from_mins(2));
    let ada = &mut all.ada.browser;
    ada.get("/audit").await;
    ada.post("/audit/verify", &[]).await;
    let page = verified(ada).await;
    let seal = crate::browser::between(&page, "<section class=\"seal", "</section>");
    assert!(seal.starts_with(" bad-seal"), "{seal}");
    assert!(seal.contains("role=\"alert\"") && seal.contains("stop the server"), "{seal}");
    assert!(!page.contains("good-seal"));
}

/// A log that cannot be read at all is no reason to say nothing of it.
#[tokio::test]
async fn a_log_without_its_end_is_told_by_the_badge_all_the_same() {
    let mut all = furnished().await;
    let folder = all.house.instance.folder.audit();
    std::fs::write(folder.join("tail"), b"nothing").unwrap();
    all.ada.browser.get("/audit").await;
    let page = verified(&mut all.ada.browser).await;
    assert!(page.contains("bad-seal") && page.contains("The entries cannot be shown"), "{page}");
}

#[tokio::test]
async fn an_export_is_what_the_verifier_takes_and_the_log_says_who_took_it() {
    let all = furnished().await;
    let mut bob = all.house.invited("bob@example.com", &["auditor"]).await;
    log(&all.house, []).await;
    bob.browser.get("/audit").await;
    let folder = &all.house.instance.folder;
    let size = audit_log::signed_size(folder).unwrap();
    let bundle = bob.browser.post("/audit/export", &[("as", "bundle")]).await;
    assert_eq!(bundle.status, 200, "{}", bundle.text);
    let disposition = bundle.headers["content-disposition"].to_str().unwrap();
    assert!(disposition.starts_with("attachment; filename=\"weirgate-audit-0."), "{disposition}");
    assert_eq!(bundle.headers["cache-control"], "no-store");
    let key = audit_log::public_key(folder).unwrap();
    let exported = verify_export(&mut bundle.text.as_bytes(), &key, &[], |_, _| {}).unwrap();
    assert_eq!(exported.range, 0..size);
    let bent = bundle.text.replacen("entry o", "entry p", 1);
    assert!(verify_export(&mut bent.as_bytes(), &key, &[], |_, _| {}).is_err());

    let some = [("as", "jsonl"), ("first", "2"), ("end", "5")];
    let lines = bob.browser.post("/audit/export", &some).await.text;
    let indices: Vec<u64> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["index"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(indices, [2, 3, 4]);
    let whole = bob.browser.post("/audit/export", &[("as", "jsonl")]).await.text;
    assert_eq!(whole.lines().count() as u64, size);
    // What the page hides of customers and people is not in the log.
    assert!(whole.contains("\"customer\":\"") && !whole.contains("acme"), "{whole}");
    assert!(!whole.contains("@example.com"), "{whole}");

    log(&all.house, []).await;
    let listed = audit_log::list(folder, 12).unwrap();
    let said: Vec<String> = listed
        .iter()
        .map(|(_, record)| format!("{:?}", record.fields()))
        .filter(|said| said.contains("audit.export"))
        .collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said.iter().any(|one| one.contains("form: jsonl; from: 2; to: 5")), "{said:?}");
}

/// What waits to be read is all that leaves after that.
#[tokio::test]
async fn an_export_ends_with_the_session_the_person_and_the_right() {
    let all = furnished().await;
    let house = &all.house;
    let facts = Facts::new(house);
    let now = house.clock.now();
    log(house, (0..4_000).flat_map(|_| facts.call(now, 0, "Employee", (200, None)))).await;
    let (instance, ctx) = (&house.instance, house.context());
    let size = audit_log::list(&instance.folder, 1).unwrap()[0].0;
    for end in ["a step-up", "session", "person", "right"] {
        let address = format!("{}@example.com", end.replace(' ', "-"));
        let mut taker = house.invited(&address, &["auditor"]).await;
        taker.browser.get("/audit").await;
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs([("form", taker.browser.form.as_str()), ("as", "jsonl")]);
        let request = http::Request::post("/audit/export")
            .header("host", "localhost:8401")
            .header("cookie", taker.browser.cookie_line())
            .header("origin", "http://localhost:8401")
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(http_body_util::Full::new(bytes::Bytes::from(body.finish())))
            .unwrap();
        let answer = house.site.answer(None, request).await;
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body();
        let mut taken = body.frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
        let user = app::people::users::find(instance, &address).await.unwrap();
        match end {
            // It exchanges the session, and ends nothing.
            "a step-up" => {
                let code = house.code(&taker.seed);
                let done = taker.browser.post("/step-up", &[("code", &code)]).await;
                assert_eq!(done.status, 303, "{}", done.text);
            }
            "session" => {
                taker.browser.post("/sign-out", &[]).await;
            }
            "person" => app::people::users::set_disabled(instance, &ctx, user, true).await.unwrap(),
            _ => {
                let roles = ["read-only".to_owned()];
                app::people::users::set_roles(instance, &ctx, user, &roles).await.unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        let mut is_cut = false;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => taken.extend_from_slice(&frame.into_data().unwrap()),
                Err(_) => is_cut = true,
            }
        }
        let lines = taken.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(is_cut, end != "a step-up", "{end}: {lines}");
        assert_eq!(lines > size, end == "a step-up", "{end}: {lines} of {size}");
    }
}

#[tokio::test]
async fn an_export_of_a_period_holds_it_and_little_more() {
    let all = furnished().await;
    let mut bob = all.house.invited("bob@example.com", &["auditor"]).await;
    log(&all.house, []).await;
    bob.browser.get("/audit").await;
    let day: String = all.house.clock.now().to_string().chars().take(10).collect();
    let fields = [("as", "jsonl"), ("from", day.as_str())];
    let lines = bob.browser.post("/audit/export", &fields).await.text;
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let first = first["index"].as_u64().unwrap();
    assert!(first > 0 && first <= all.employee, "{first} and {}", all.employee);
}

#[tokio::test]
async fn an_export_that_cannot_be_is_a_page_and_needs_a_step_up() {
    let house = House::open().await;
    house.administrator().await;
    let mut bob = house.invited("bob@example.com", &["auditor"]).await;
    log(&house, []).await;
    bob.browser.get("/audit").await;
    for fields in [
        vec![("as", "csv")],
        vec![],
        vec![("as", "bundle"), ("first", "x")],
        vec![("as", "bundle"), ("first", "-1")],
        vec![("as", "bundle"), ("first", "5"), ("end", "5")],
        vec![("as", "bundle"), ("first", "99999999")],
        vec![("as", "jsonl"), ("first", "99999999")],
        vec![("as", "jsonl"), ("from", "yesterday")],
    ] {
        let answer = bob.browser.post("/audit/export", &fields).await;
        assert_eq!(answer.status, 422, "{fields:?}: {}", answer.text);
        assert!(!answer.headers.contains_key("content-disposition"), "{fields:?}");
        bob.browser.get("/audit").await;
    }
    house.wait(Duration::from_mins(6));
    bob.browser.get("/audit").await;
    let answer = bob.browser.post("/audit/export", &[("as", "bundle")]).await;
    assert_eq!(answer.location(), "/step-up?to=/audit");
}

#[tokio::test]
async fn a_view_is_its_owners_alone() {
    let house = House::open().await;
    let mut ada = house.administrator().await.browser;
    let mut bob = house.invited("bob@example.com", &["auditor"]).await.browser;
    ada.get("/audit").await;
    let fields = [("name", " Refusals <b> "), ("kind", "refused"), ("outcome", "4xx"), ("x", "y")];
    let kept = ada.post("/audit/views", &fields).await;
    assert_eq!(kept.location(), "/audit?kind=refused&outcome=4xx", "{}", kept.text);
    let page = ada.get("/audit").await.text;
    assert!(page.contains("Refusals &#60;b&#62;</a>"), "{page}");
    let view = crate::browser::between(&page, "/audit/views/", "\"").to_owned();
    let opened = ada.get(&format!("/audit/views/{view}")).await;
    assert_eq!(opened.location(), "/audit?kind=refused&outcome=4xx");

    let page = bob.get("/audit").await.text;
    assert!(!page.contains("Refusals") && !page.contains(&view), "{page}");
    assert_eq!(bob.get(&format!("/audit/views/{view}")).await.status, 404);
    bob.get("/audit").await;
    assert_eq!(bob.post(&format!("/audit/views/{view}/remove"), &[]).await.status, 404);
    assert!(ada.get("/audit").await.text.contains("Refusals"));

    // Under a name that is taken, the filter is the new one.
    ada.post("/audit/views", &[("name", "Refusals <b>"), ("kind", "call")]).await;
    let page = ada.get("/audit").await.text;
    assert_eq!(page.matches("Refusals").count(), 2, "a link and its button: {page}");
    let view = crate::browser::between(&page, "/audit/views/", "\"").to_owned();
    assert_eq!(ada.get(&format!("/audit/views/{view}")).await.location(), "/audit?kind=call");
    ada.get("/audit").await;
    assert_eq!(ada.post(&format!("/audit/views/{view}/remove"), &[]).await.status, 303);
    assert!(!ada.get("/audit").await.text.contains("Refusals"));
    assert_eq!(ada.get(&format!("/audit/views/{view}")).await.status, 404);
}

#[tokio::test]
async fn a_view_has_a_short_name_and_a_filter_that_was_understood() {
    let house = House::open().await;
    let mut ada = house.administrator().await.browser;
    ada.get("/audit").await;
    let (long, right) = ("n".repeat(61), "ä".repeat(60));
    for name in ["", "  ", &long, "a\u{7}b"] {
        let answer = ada.post("/audit/views", &[("name", name), ("kind", "call")]).await;
        assert_eq!(answer.status, 422, "{name:?}: {}", answer.text);
        assert!(answer.text.contains("at most 60 characters"), "{}", answer.text);
        assert!(answer.text.contains("name=\"kind\" value=\"call\""), "what was set stays set");
    }
    let answer = ada.post("/audit/views", &[("name", "x"), ("kind", "no-such")]).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!(ada.post("/audit/views", &[("name", &right), ("kind", "call")]).await.status, 303);

    // So many, and no more.
    let user = app::people::users::find(&house.instance, crate::browser::ADA).await.unwrap();
    let filter = saved_views::list(&house.instance, user).await.unwrap()[0].filter.clone();
    for number in 1..saved_views::MAX_VIEWS {
        let name = format!("view {number}");
        saved_views::save(&house.instance, &house.context(), user, &name, &filter).await.unwrap();
    }
    ada.get("/audit").await;
    let answer = ada.post("/audit/views", &[("name", "one more"), ("kind", "call")]).await;
    assert_eq!(answer.status, 403, "{}", answer.text);
    assert!(answer.text.contains("keeps at most 50 views"), "{}", answer.text);
    assert_eq!(ada.post("/audit/views", &[("name", &right), ("kind", "closed")]).await.status, 303);
}

#[tokio::test]
async fn views_go_with_their_owner_and_the_log_does_not_say_what_they_look_for() {
    let house = House::open().await;
    let mut ada = house.administrator().await.browser;
    let mut bob = house.invited("bob@example.com", &["auditor"]).await.browser;
    bob.get("/audit").await;
    bob.post("/audit/views", &[("name", "what bob wonders"), ("text", "of eve")]).await;
    let user = app::people::users::find(&house.instance, "bob@example.com").await.unwrap();
    assert_eq!(saved_views::list(&house.instance, user).await.unwrap().len(), 1);
    ada.get("/users").await;
    let removed = ada.post(&format!("/users/{user}/remove"), &[]).await;
    assert_eq!(removed.status, 303, "{}", removed.text);
    assert!(saved_views::list(&house.instance, user).await.unwrap().is_empty());
    log(&house, []).await;
    let all = audit_log::list(&house.instance.folder, 100).unwrap();
    let said: String = all.iter().map(|(_, record)| format!("{:?}", record.fields())).collect();
    assert!(said.contains("view.save") && !said.contains("wonders") && !said.contains("of eve"));
}

#[tokio::test]
async fn activity_is_counted_and_what_is_unusual_says_its_rule() {
    let house = House::open().await;
    let mut ada = house.administrator().await.browser;
    let facts = Facts::new(&house);
    let now = house.clock.now();
    let hours_ago =
        |hours: i64| Timestamp::from_micros(now.as_micros() - hours * 3_600 * 1_000_000);
    let mut written = Vec::new();
    // Ten a day at one hour for ten days; and then a hundred at another one.
    for day in (1..=10).rev() {
        for _ in 0..10 {
            written.extend(facts.call(hours_ago(24 * day + 12), 0, "Employee", DONE));
        }
    }
    for _ in 0..100 {
        written.extend(facts.call(hours_ago(2), 0, "Employee", (429, Some("rate_limited"))));
    }
    for _ in 0..10 {
        written.extend(facts.call(hours_ago(1), 1, "Group", DONE));
    }
    log(&house, written).await;
    let page = ada.get("/audit/activity?kind=call").await;
    assert_eq!(page.status, 200, "{}", page.text);
    let text = page.text;
    assert!(text.contains("210 rows"), "{text}");
    for (what, count) in [
        (facts.clients[0].to_string(), 200),
        (facts.clients[1].to_string(), 10),
        ("Employee".to_owned(), 200),
        ("Employee.ssn".to_owned(), 200),
        ("rate_limited".to_owned(), 100),
    ] {
        let wanted = format!("{what}</a></td><td data-label=\"Count\">{count}<");
        assert!(text.contains(&wanted), "no {wanted} in {text}");
    }
    let unusual = crate::browser::between(&text, "<h2>Unusual</h2>", "<h2>");
    assert!(unusual.contains("100 in the last 24 hours; the median of the"), "{unusual}");
    assert!(unusual.contains("is 10 a day"), "{unusual}");
    assert!(unusual.contains("More than three times the median"), "{unusual}");
    assert!(unusual.contains("none then among 100 on 10 days before"), "{unusual}");
    assert!(!unusual.contains(&facts.keys[1].to_string()), "ten are nothing: {unusual}");
    // A line leads to its entries.
    let link = format!("/audit?kind=call&#38;client={}", facts.clients[1]);
    assert!(text.contains(&link), "{text}");
    assert_eq!(found(&mut ada, &format!("kind=call&client={}", facts.clients[1])).await.len(), 10);
}

#[tokio::test]
async fn settings_say_where_each_value_comes_from_to_those_who_may_see_them() {
    let house = House::open().await;
    let mut ada = house.administrator().await.browser;
    let page = ada.get("/settings").await.text;
    for wanted in [
        "max_calls",
        "environment WEIRGATE_MAX_CALLS",
        "0.0.1",
        "http://127.0.0.1:8400",
        &house.instance.id.to_string(),
        "Audit log",
        "disk",
    ] {
        assert!(page.contains(wanted), "no {wanted} in {page}");
    }
    for (role, is_open, may_examine) in [
        ("security", true, true),
        ("auditor", true, false),
        ("integrator", false, false),
        ("read-only", false, false),
    ] {
        let mut browser = house.invited(&format!("{role}@example.com"), &[role]).await.browser;
        let page = browser.get("/settings").await;
        assert_eq!(page.status == 200, is_open, "{role}");
        assert_eq!(page.text.contains("data-label=\"Check\""), may_examine, "{role}");
        assert_eq!(browser.get("/").await.text.contains("href=\"/settings\""), is_open, "{role}");
    }
}
