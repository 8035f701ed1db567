//! Calls on the console, over a log as a gateway writes it.

use crate::{
    browser::{House, between},
    pages::furnished,
};
use app::sequence::OpenLog;
use audit::{Commitment, Durability, Intent, Outcome, Record, Refused};
use std::time::Duration;
use types::{Action, Client, Clock as _, Connection, Environment, Id, Key, Provider, SystemRandom};

/// A furnished house whose log is written to, as calls would.
pub struct Book {
    pub house: House,
    pub log: OpenLog,
    pub client: Id<Client>,
    key: Id<Key>,
    pub connection: Id<Connection>,
    pub customer: String,
    provider: Id<Provider>,
}

impl Book {
    pub async fn open() -> Self {
        let house = furnished().await;
        let instance = &house.instance;
        let lock = instance.folder.lock_soon().await.unwrap();
        let log = OpenLog::open(instance, lock, None, None).await.unwrap();
        let clients = app::clients::list(instance).await.unwrap();
        let payroll = clients.iter().find(|one| one.name == "payroll").unwrap();
        let connection = app::connections::list(instance).await.unwrap().remove(0);
        let provider = app::providers::list(instance).await.unwrap().remove(0).id;
        let (client, key) = (payroll.id, payroll.keys[0].id);
        Self {
            log,
            client,
            key,
            connection: connection.id,
            customer: connection.customer,
            provider,
            house,
        }
    }

    async fn write(&self, record: &Record) {
        self.log.handle.append(record, Durability::Synced).unwrap().await.unwrap();
    }

    /// A call that begins.
    pub async fn begin(&self) -> Intent {
        let at = self.house.clock.now();
        let intent = Intent {
            request: Id::generate(at, &SystemRandom).unwrap(),
            at,
            environment: Environment::Live,
            key: self.key,
            client: self.client,
            connection: self.connection,
            customer: Commitment::from_bytes([5; 32]),
            provider: self.provider,
            operation: "listEmployees".into(),
            action: Action::Read,
            object: Some("Employee".into()),
            generation: 7,
            is_safe_method: true,
            network: None,
        };
        self.write(&Record::Intent(intent.clone())).await;
        intent
    }

    /// How it ends: well, or with this code.
    pub async fn end(&self, of: &Intent, code: Option<&str>) {
        self.write(&Record::Outcome(Outcome {
            request: of.request,
            at: of.at + Duration::from_millis(20),
            status: if code.is_some() { 502 } else { 200 },
            provider_status: Some(200),
            code: code.map(ToOwned::to_owned),
            bytes_in: 1_000,
            bytes_out: 300,
            dropped: 2,
            mismatched: 0,
            withheld: vec!["Employee.ssn".into()],
            withheld_more: 0,
            duration_us: 20_000,
            attempts: None,
        }))
        .await;
    }

    pub async fn call(&self, code: Option<&str>) -> Intent {
        let begun = self.begin().await;
        self.end(&begun, code).await;
        begun
    }

    pub async fn refuse(&self, code: &str) {
        let at = self.house.clock.now();
        self.write(&Record::Refused(Refused {
            request: Id::generate(at, &SystemRandom).unwrap(),
            at,
            key: self.key,
            client: self.client,
            connection: Some(self.connection),
            operation: None,
            code: code.into(),
        }))
        .await;
    }
}

fn rows(text: &str) -> usize {
    // One more is within a line, to be filled.
    text.matches("\n<tr id=\"call-").count()
}

#[tokio::test]
async fn calls_are_listed_filtered_and_paged_by_plain_addresses() {
    let book = Book::open().await;
    let mut ada = book.house.administrator().await.browser;
    let empty = ada.get("/calls").await;
    assert!(empty.text.contains("There is no call here") && rows(&empty.text) == 0);
    for n in 0..60 {
        book.call((n % 20 == 0).then_some("provider_timeout")).await;
    }
    book.refuse("grant_expired").await;
    let waiting = book.begin().await;
    let page = ada.get("/calls").await.text;
    assert_eq!(rows(&page), 50);
    assert!(page.contains("under way") && page.contains("grant_expired"));
    assert!(page.contains("payroll") && page.contains("read Employee") && page.contains("20 ms"));
    assert!(page.contains("1 not granted, 2 not declared"), "{page}");
    let older = between(&page, "<a href=\"/calls?before=", "\"").to_owned();
    let page = ada.get(&format!("/calls?before={older}")).await.text;
    assert_eq!(rows(&page), 12);
    assert!(!page.contains("before=") && !page.contains("<script"), "nothing older; it rests");

    let connection = book.connection.to_string();
    let other = Id::<Connection>::from_u128(9).to_string();
    for (query, count) in [
        ("end=failed".to_owned(), 3),
        ("end=refused".to_owned(), 1),
        ("end=under-way".to_owned(), 1),
        ("code=provider_timeout".to_owned(), 3),
        ("code=502&end=answered".to_owned(), 0),
        ("client=payroll&end=failed".to_owned(), 3),
        ("client=newsletter".to_owned(), 0),
        ("provider=hr&end=failed".to_owned(), 3),
        (format!("connection={connection}&end=refused"), 1),
        (format!("connection={other}"), 0),
    ] {
        let page = ada.get(&format!("/calls?{query}")).await;
        assert_eq!((page.status, rows(&page.text)), (200, count), "{query}");
    }
    let page = ada.get(&format!("/calls?request={}", waiting.request)).await;
    assert_eq!(page.location(), format!("/calls/{}", waiting.request));
    for bad in ["client=nobody", "provider=none", "end=well", "connection=x", "request=x"] {
        let page = ada.get(&format!("/calls?{bad}")).await;
        assert_eq!((page.status, rows(&page.text)), (422, 0), "{bad}");
        assert!(page.text.contains("role=\"alert\""), "{bad}");
    }
    // What is typed is shown as text, and leads nowhere else.
    let page = ada.get("/calls?code=%22%3E%3Cscript%3E&before=%22x").await.text;
    assert!(!page.contains("\"><script>"), "{page}");
}

/// By its request as by its entries; with what the code means and what would allow it now.
#[tokio::test]
async fn a_call_tells_what_the_log_has_and_whose_it_was_only_to_some() {
    let book = Book::open().await;
    let mut ada = book.house.administrator().await.browser;
    let call = book.call(Some("provider_timeout")).await;
    book.refuse("not_granted").await;
    let page = ada.get(&format!("/calls/{}", call.request)).await.text;
    for wanted in [
        "payroll",
        "Employee.ssn",
        "What provider_timeout means",
        "What to do",
        "20 ms",
        "1000 bytes",
        "as of change 7",
        "/audit/entries/",
        "/grants/grnt_",
        &book.customer,
    ] {
        assert!(page.contains(wanted), "no {wanted}: {page}");
    }
    let entry: u64 = between(&page, "Entry ", " of the audit log").parse().unwrap();
    for index in [entry, entry + 1] {
        let same = ada.get(&format!("/calls/{index}")).await.text;
        assert!(same.contains(&call.request.to_string()), "{index}");
    }
    let refused = ada.get(&format!("/calls/{}", entry + 2)).await.text;
    assert!(refused.contains("What not_granted means") && !refused.contains("Why it was let"));
    for none in ["0", "999999", "x", &format!("{}x", call.request), &call.key.to_string()] {
        assert_eq!(ada.get(&format!("/calls/{none}")).await.status, 404, "{none}");
    }
    let mut auditor = book.house.invited("aud@example.com", &["auditor"]).await.browser;
    let page = auditor.get(&format!("/calls/{entry}")).await.text;
    assert!(page.contains("Employee.ssn") && !page.contains(&book.customer), "{page}");
}

/// What the pages say is what was written, also after a restart: it is read from the log.
#[tokio::test]
async fn home_counts_the_calls_that_were_made() {
    let book = Book::open().await;
    let mut ada = book.house.administrator().await.browser;
    let figures = |text: &str| -> Vec<String> {
        let list = between(text, "<dl class=\"figures\">", "</dl>");
        let cells = list.split("<dd>").skip(1).map(|rest| rest.split("</dd>").next().unwrap());
        let bare = |cell: &str| cell.split(['<', '>']).step_by(2).collect::<String>();
        cells.map(bare).collect()
    };
    let empty = ada.get("/").await.text;
    assert_eq!(figures(&empty), ["0", "0", "0", "no call"]);
    assert!(!empty.contains("<script") && empty.contains("No program called in these hours"));
    for code in [None, None, Some("provider_error"), None] {
        book.call(code).await;
    }
    book.refuse("not_granted").await;
    let page = ada.get("/").await.text;
    assert_eq!(figures(&page), ["4", "1", "1", "20 ms"]);
    let hours = between(&page, "<table id=\"hours\">", "</table>");
    assert_eq!(hours.matches("<tr data-at=").count(), 24);
    assert!(hours.contains("data-calls=\"4\" data-failed=\"1\" data-refused=\"1\""), "{hours}");
    assert!(page.contains("role=\"img\"") && page.contains("Unused for 90 days"), "{page}");
    // A day later they are of another day.
    book.house.wait(Duration::from_hours(25));
    let mut auditor = book.house.invited("aud@example.com", &["auditor"]).await.browser;
    assert_eq!(figures(&auditor.get("/").await.text), ["0", "0", "0", "no call"]);
    // Who may not read the log is not told of it here either.
    let mut reader = book.house.invited("rea@example.com", &["read-only"]).await.browser;
    let page = reader.get("/").await.text;
    assert!(!page.contains("class=\"figures\"") && !page.contains("href=\"/calls"), "{page}");
}
