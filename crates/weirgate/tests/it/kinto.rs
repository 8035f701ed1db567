//! A real server that nobody here wrote: kinto, imported by its own description.
//!
//! `WEIRGATE_TEST_KINTO` names the folder with kinto's program (`tests/kinto/kinto.sh install VENV`
//! makes VENV/bin); without it these tests say that they were skipped.

use crate::world::{addr, binary, code, ok, ok_with, text};
use serde_json::{Value, json};
use std::{cell::RefCell, net::SocketAddr, path::Path, time::Duration};
use testkit::{Server, Weirgate, client, find_canary, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);
/// What the account `alice` authenticates with: it may reach kinto and nothing else.
const PASSWORD: &str = "canary-kinto-password-41c0b7e2";
/// `alice` and the password as RFC 7617 §2 sends them.
const BASIC: &str = "Basic YWxpY2U6Y2FuYXJ5LWtpbnRvLXBhc3N3b3JkLTQxYzBiN2Uy";
/// Stands in every record, in members that are not granted.
const PRIVATE: &str = "canary-kinto-record-9d03e6f1";
/// Kinto's path of the records, below its base.
const PEOPLE: &str = "/buckets/hr/collections/people/records";
/// The path of kinto's base URL.
const BASE: &str = "/v1";

/// A kinto of this test's own, with three records.
struct Kinto {
    server: Server,
    addr: SocketAddr,
    /// Looks into the log of requests so far, and how many of its lines they have seen.
    looks: usize,
    seen: usize,
    /// The runner's home must live as long as the server.
    _runner: Weirgate,
}

impl Kinto {
    fn start() -> Option<Self> {
        let Some(programs) = std::env::var_os("WEIRGATE_TEST_KINTO") else {
            eprintln!("skipped: WEIRGATE_TEST_KINTO does not name the folder with kinto's program");
            return None;
        };
        let ini = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kinto/kinto.ini");
        let runner = Weirgate::binary(Path::new(&programs).join("kinto")).unwrap();
        let ini = ini.display().to_string();
        let mut server = runner.spawn(&["start", "--ini", &ini, "--port", "0"]).unwrap();
        let serving = "Serving on http://";
        let line = server.wait_for_line(|line| line.starts_with(serving)).unwrap();
        let addr = line.trim_start_matches(serving).parse().unwrap();
        let kinto = Self { server, addr, looks: 0, seen: 0, _runner: runner };
        let account = json!({"data": {"password": PASSWORD}});
        let made = client::send(
            addr,
            "PUT",
            &format!("{BASE}/accounts/alice"),
            &[("Content-Type", "application/json")],
            account.to_string().as_bytes(),
        );
        assert_eq!(made.unwrap().status, 201);
        kinto.put("/buckets/hr", &json!({}));
        kinto.put("/buckets/hr/collections/people", &json!({}));
        for number in 1..=3 {
            kinto.put(&format!("{PEOPLE}/p{number}"), &json!({"data": person(number)}));
        }
        Some(kinto)
    }

    /// A request past the gateway, by the account itself.
    fn send(&self, method: &str, path: &str, body: &[u8]) -> client::Response {
        let headers = [("Authorization", BASIC), ("Content-Type", "application/json")];
        client::send(self.addr, method, &format!("{BASE}{path}"), &headers, body).unwrap()
    }

    fn put(&self, path: &str, body: &Value) {
        let answer = self.send("PUT", path, body.to_string().as_bytes());
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    }

    fn record(&self, id: &str) -> Value {
        let answer = self.send("GET", &format!("{PEOPLE}/{id}"), b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json().unwrap()["data"].clone()
    }

    /// Requests that arrived since the last look, as `METHOD PATH STATUS`.
    fn arrived(&mut self) -> Vec<String> {
        self.looks += 1;
        // Its line comes after those of all requests that were answered before.
        let marker = format!("/buckets/look-{}", self.looks);
        self.send("GET", &marker, b"");
        let lines = wait_until(PATIENCE, || {
            let log = self.server.err();
            let lines: Vec<String> = log
                .lines()
                .filter_map(|line| line.strip_prefix("request "))
                .map(str::to_owned)
                .collect();
            lines.iter().any(|line| line.contains(&format!("{marker} "))).then_some(lines)
        });
        let new = lines[self.seen..].iter().filter(|line| !line.contains(&marker));
        let new = new.cloned().collect();
        self.seen = lines.len();
        new
    }
}

fn person(number: usize) -> Value {
    json!({
        "name": format!("Person {number}"),
        "email": format!("person{number}@example.com"),
        "salary": 50_000 + number,
        "address": {"city": "Weirtown", "street": PRIVATE},
        "phones": [{"kind": "home", "number": PRIVATE}],
        "undeclared": {"note": PRIVATE},
    })
}

/// What may be seen of it.
fn visible(number: usize) -> Value {
    json!({"name": format!("Person {number}"), "email": format!("person{number}@example.com")})
}

/// A Weirgate in front of a kinto.
struct Gate {
    weirgate: Weirgate,
    server: Option<Server>,
    addr: SocketAddr,
    connection: String,
    key: String,
    /// Everything that was answered so far, for the search at the end.
    answers: RefCell<Vec<u8>>,
}

impl Gate {
    /// Init and import by kinto's own description.
    fn import(kinto: &Kinto, overlay: Option<&str>) -> Self {
        let weirgate = binary();
        ok(&weirgate, &["init", "--json"]);
        let description = client::get(kinto.addr, &format!("{BASE}/__api__"), &[]).unwrap();
        assert_eq!(description.json().unwrap()["swagger"], "2.0");
        let file = weirgate.file("kinto.json", &description.body).unwrap();
        let (url, address) = (format!("http://{}{BASE}", kinto.addr), kinto.addr.to_string());
        let mut args = vec![
            "provider",
            "import",
            &file,
            "--name",
            "kinto",
            "--server",
            &url,
            "--allow-private-network",
            &address,
            "--json",
        ];
        let overlay = overlay.map(|text| weirgate.file("overlay.yaml", text).unwrap());
        if let Some(path) = &overlay {
            args.extend(["--overlay", path]);
        }
        ok(&weirgate, &args);
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        let (connection, key) = (String::new(), String::new());
        Self { weirgate, server: None, addr: none, connection, key, answers: Vec::new().into() }
    }

    fn connect(&self, password: &str, scheme: Option<&str>) -> String {
        let secret = json!({"username": "alice", "password": password}).to_string();
        let mut args = vec![
            "connection",
            "create",
            "--provider",
            "kinto",
            "--customer",
            "self",
            "--secret-file",
            "-",
            "--json",
        ];
        if let Some(scheme) = scheme {
            args.extend(["--scheme", scheme]);
        }
        text(&ok_with(&self.weirgate, &args, secret.as_bytes()), "id")
    }

    /// A client with its key, and its grants after a dry run that changes nothing.
    fn grant(&mut self, grants: &str) {
        ok(&self.weirgate, &["client", "create", "directory", "--json"]);
        let args = ["client", "key", "create", "directory", "--expires", "1d", "--json"];
        self.key = text(&ok(&self.weirgate, &args), "key");
        self.weirgate.file("grants/kinto.toml", grants).unwrap();
        let dir = self.weirgate.home().join("grants").display().to_string();
        let changes = |args: &[&str]| ok(&self.weirgate, args)["changes"].clone();
        let planned = changes(&["apply", &dir, "--dry-run", "--json"]);
        assert!(planned.as_array().is_some_and(|changes| !changes.is_empty()), "{planned}");
        assert_eq!(changes(&["apply", &dir, "--dry-run", "--json"]), planned);
        assert_eq!(changes(&["apply", &dir, "--json"]), planned);
        assert_eq!(changes(&["apply", &dir, "--dry-run", "--json"]), json!([]));
    }

    fn serve(&mut self) {
        let args =
            ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--json"];
        let (server, line) = self.weirgate.spawn_until_json(&args).unwrap();
        self.addr = addr(&line, "gateway");
        self.server = Some(server);
    }

    fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> client::Response {
        let bearer = format!("Bearer {}", self.key);
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        if body.is_some() {
            all.push(("Content-Type", "application/json"));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let target = format!("/proxy/{}{path}", self.connection);
        let answer = client::send(self.addr, method, &target, &all, body.as_bytes()).unwrap();
        self.answers.borrow_mut().extend(answer.everything());
        answer
    }

    fn get(&self, path: &str) -> client::Response {
        self.call("GET", path, &[], None)
    }

    /// Ends the server; the log is whole, and no secret went anywhere.
    fn end(mut self, kinto: &Kinto) -> Vec<Value> {
        let output = self.server.take().unwrap().terminate().unwrap();
        assert_eq!(output.status, Some(0), "{}", output.err());
        let verified = ok(&self.weirgate, &["audit", "verify", "--json"]);
        assert_eq!((&verified["open_intents"], &verified["outbox_rows"]), (&json!(0), &json!(0)));
        let listed = ok(&self.weirgate, &["audit", "list", "--limit", "1000000", "--json"]);
        let kinto_address = kinto.addr.to_string();
        let answers = self.answers.borrow();
        let outputs = [
            ("the answers", answers.as_slice()),
            ("standard output", output.stdout.as_slice()),
            ("standard error", output.stderr.as_slice()),
        ];
        let found = find_canary(self.weirgate.home(), &outputs, &[PASSWORD, PRIVATE]).unwrap();
        assert!(found.is_empty(), "{found:?}");
        let shown = String::from_utf8_lossy(&answers);
        assert!(!shown.contains(&kinto_address), "kinto's own address in an answer: {shown}");
        listed["entries"].as_array().unwrap().clone()
    }
}

/// The elements of `data`, which must stand alone, by name.
fn data(answer: &client::Response) -> Vec<Value> {
    let body = answer.json().unwrap();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["data"], "{body}");
    let mut elements = body["data"].as_array().unwrap().clone();
    elements.sort_by_key(|element| element["name"].to_string());
    elements
}

fn guarded(kinto: &Kinto) -> Gate {
    let mut gate = Gate::import(kinto, Some(include_str!("../kinto/overlay.yaml")));
    let shown = ok(&gate.weirgate, &["provider", "show", "kinto", "--json"]);
    let record = shown["objects"].as_array().unwrap().iter().find(|one| one["name"] == "Record");
    let fields: Vec<&str> = record.unwrap()["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["path"].as_str().unwrap())
        .collect();
    for wanted in ["id", "name", "email", "salary", "address.city", "phones[].number"] {
        assert!(fields.contains(&wanted), "no {wanted} in {fields:?}");
    }
    // The overlay leaves one scheme that the secret fits.
    gate.connection = gate.connect(PASSWORD, None);
    gate.grant(include_str!("../kinto/grants.toml"));
    gate.serve();
    gate
}

#[test]
fn kinto_gives_out_two_granted_fields_and_nothing_else() {
    let Some(mut kinto) = Kinto::start() else { return };
    let gate = guarded(&kinto);

    let list = gate.get(PEOPLE);
    assert_eq!(list.status, 200, "{}", list.text());
    assert_eq!(data(&list), [1, 2, 3].map(visible));
    let withheld = list.header("weirgate-fields-withheld").unwrap();
    for name in ["id", "salary", "address.street", "phones[].number"] {
        assert!(withheld.contains(name), "no {name} in {withheld}");
    }
    let one = gate.get(&format!("{PEOPLE}/p2"));
    assert_eq!((one.status, one.json().unwrap()), (200, json!({"data": visible(2)})));

    // Recognised paging passes; the header with kinto's own URL does not come back.
    let page = gate.get(&format!("{PEOPLE}?_limit=2"));
    assert_eq!((page.status, data(&page).len()), (200, 2), "{}", page.text());
    assert!(kinto.send("GET", &format!("{PEOPLE}?_limit=2"), b"").header("next-page").is_some());
    assert_eq!(page.header("next-page"), None);

    // Each of these would tell something of a withheld field.
    kinto.arrived();
    for (query, wanted) in [
        ("_sort=salary", "parameter_not_granted"),
        ("_fields=salary", "parameter_not_granted"),
        ("id=p1", "parameter_not_granted"),
        ("salary=50001", "parameter_undeclared"),
        ("min_salary=50002", "parameter_undeclared"),
        ("like_address.street=canary", "parameter_undeclared"),
    ] {
        let answer = gate.get(&format!("{PEOPLE}?{query}"));
        assert_eq!((answer.status, code(&answer).as_str()), (403, wanted), "{query}");
    }
    // Other objects, and the operation that would carry all others.
    let batch = json!({"requests": [{"path": format!("{BASE}{PEOPLE}")}]});
    for (method, path, body) in [
        ("GET", "/accounts/alice", None),
        ("GET", "/buckets/hr", None),
        ("GET", "/", None),
        ("POST", "/batch", Some(&batch)),
        ("DELETE", PEOPLE, None),
    ] {
        let answer = gate.call(method, path, &[], body);
        assert_eq!((answer.status, code(&answer).as_str()), (403, "not_granted"), "{path}");
    }
    assert_eq!(kinto.arrived(), Vec::<String>::new());

    let missing = gate.get(&format!("{PEOPLE}/nobody"));
    assert_eq!((missing.status, code(&missing).as_str()), (404, "provider_error"));

    let entries = gate.end(&kinto);
    let of = |kind: &str| entries.iter().filter(|entry| entry["kind"] == kind).count();
    // Four calls reached kinto, eleven were refused before.
    assert_eq!((of("intent"), of("outcome"), of("refused")), (4, 4, 11));
}

#[test]
fn kinto_gets_writes_with_granted_fields_only() {
    let Some(mut kinto) = Kinto::start() else { return };
    let gate = guarded(&kinto);
    kinto.arrived();

    let new = json!({"data": {"name": "New", "email": "new@example.com"}});
    let made = gate.call("POST", PEOPLE, &[], Some(&new));
    assert_eq!((made.status, made.json().unwrap()), (201, new.clone()), "{}", made.text());
    assert_eq!(kinto.arrived(), [format!("POST {BASE}{PEOPLE} 201")]);

    let item = format!("{PEOPLE}/p1");
    for (method, path, body, name) in [
        ("POST", PEOPLE, json!({"data": {"name": "n", "salary": 1}}), "salary"),
        ("POST", PEOPLE, json!({"data": {"id": "chosen", "name": "n"}}), "id"),
        ("PUT", &item, json!({"data": {"name": "n", "address": {"city": "c"}}}), "address"),
        ("PATCH", &item, json!({"data": {"undeclared": 1}}), "undeclared"),
        (
            "PATCH",
            &item,
            json!({"data": {"name": "n"}, "permissions": {"read": ["system.Everyone"]}}),
            "permissions",
        ),
    ] {
        let answer = gate.call(method, path, &[], Some(&body));
        assert_eq!((answer.status, code(&answer).as_str()), (403, "field_not_granted"), "{body}");
        assert!(answer.text().contains(name), "no {name} in {}", answer.text());
    }
    assert_eq!(kinto.arrived(), Vec::<String>::new());

    let renamed = gate.call("PATCH", &item, &[], Some(&json!({"data": {"name": "Renamed"}})));
    assert_eq!(
        (renamed.status, renamed.json().unwrap()),
        (200, json!({"data": {"name": "Renamed", "email": "person1@example.com"}}))
    );
    let stored = kinto.record("p1");
    assert_eq!((&stored["name"], &stored["salary"]), (&json!("Renamed"), &json!(50_001)));

    let deleted = gate.call("DELETE", &format!("{PEOPLE}/p3"), &[], None);
    assert_eq!((deleted.status, deleted.json().unwrap()), (200, json!({"data": {}})));
    assert_eq!(kinto.send("GET", &format!("{PEOPLE}/p3"), b"").status, 404);
    gate.end(&kinto);
}

#[test]
fn kintos_entity_tags_leave_sealed() {
    let Some(mut kinto) = Kinto::start() else { return };
    let gate = guarded(&kinto);
    let item = format!("{PEOPLE}/p1");
    let patch = |tag: &str, name: &str| {
        gate.call("PATCH", &item, &[("If-Match", tag)], Some(&json!({"data": {"name": name}})))
    };
    let own_tag = kinto.send("GET", &item, b"").header("etag").unwrap().to_owned();
    kinto.arrived();
    // Kinto's own tag opens nothing here, though kinto would take it.
    let refused = patch(&own_tag, "guessed");
    assert_eq!((refused.status, code(&refused).as_str()), (412, "precondition_failed"));
    assert_eq!(kinto.arrived(), Vec::<String>::new());

    let first = gate.call("PATCH", &item, &[], Some(&json!({"data": {"name": "first"}})));
    let sealed = first.header("etag").unwrap().to_owned();
    let stored = kinto.send("GET", &item, b"").header("etag").unwrap().to_owned();
    assert!(!sealed.contains(stored.trim_matches('"')), "{sealed}");
    let second = patch(&sealed, "second");
    assert_eq!(second.status, 200, "{}", second.text());
    assert_eq!(kinto.record("p1")["name"], "second");

    // By now the tag is old. Kinto's refusal repeats the whole record, withheld fields included.
    let conflict = patch(&sealed, "third");
    assert_eq!((conflict.status, code(&conflict).as_str()), (412, "provider_error"));
    assert_eq!(kinto.record("p1")["name"], "second");
    gate.end(&kinto);
}

#[test]
fn kintos_refusal_of_a_credential_is_no_refusal_of_the_caller() {
    let Some(mut kinto) = Kinto::start() else { return };
    let mut gate = guarded(&kinto);
    gate.connection = gate.connect("not-the-password", None);
    kinto.arrived();
    let answer = wait_until(PATIENCE, || {
        // The server follows the data folder within a second.
        let answer = gate.get(PEOPLE);
        (answer.status != 404).then_some(answer)
    });
    assert_eq!((answer.status, code(&answer).as_str()), (502, "provider_credential_refused"));
    assert_eq!(kinto.arrived(), [format!("GET {BASE}{PEOPLE} 401")]);
    gate.end(&kinto);
}

/// Without an overlay: the objects are named from the path, their fields by the grant, and the
/// scheme by the connection, because the description declares none.
#[test]
fn kintos_description_alone_is_enough() {
    let Some(mut kinto) = Kinto::start() else { return };
    let mut gate = Gate::import(&kinto, None);
    gate.connection = gate.connect(PASSWORD, Some("basic"));
    gate.grant(
        r#"
[[grant]]
client = "directory"
provider = "kinto"
purpose = "keep the staff directory"
expires = "2999-12-31"
allow = [
  { object = "Record", actions = ["read"], fields = ["name", "email", "data.name"], operations = ["get_records", "get_record"] },
  { object = "Record", actions = ["create"], fields = ["data.name", "data.email"], operations = ["create_record"] },
]
"#,
    );
    gate.serve();
    let list = gate.get(PEOPLE);
    assert_eq!(list.status, 200, "{}", list.text());
    assert_eq!(data(&list), [1, 2, 3].map(visible));
    // Here the answer has two payloads, so that the whole answer is the object.
    let one = gate.get(&format!("{PEOPLE}/p2"));
    assert_eq!(one.json().unwrap(), json!({"data": {"name": "Person 2"}}), "{}", one.text());

    kinto.arrived();
    let new = json!({"data": {"name": "New", "email": "new@example.com"}});
    let made = gate.call("POST", PEOPLE, &[], Some(&new));
    // The read grant names its operations, and this is none of them.
    assert_eq!((made.status, made.json().unwrap()), (201, json!({})));
    assert_eq!(kinto.arrived(), [format!("POST {BASE}{PEOPLE} 201")]);
    for (body, name) in [
        (json!({"data": {"name": "n", "salary": 1}}), "salary"),
        (
            json!({"data": {"name": "n"}, "permissions": {"read": ["system.Everyone"]}}),
            "permissions",
        ),
    ] {
        let answer = gate.call("POST", PEOPLE, &[], Some(&body));
        assert_eq!((answer.status, code(&answer).as_str()), (403, "field_not_granted"), "{body}");
        assert!(answer.text().contains(name), "no {name} in {}", answer.text());
    }
    assert_eq!(kinto.arrived(), Vec::<String>::new());
    gate.end(&kinto);
}
