//! The sandbox as its callers see it, and its answers against its own description.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod described;
mod description;

use description::Description;
use sandbox::{RunningSandbox, Sandbox, SandboxOptions, StartError};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::SocketAddr};
use testkit::client::{self, BodyEnd, Connection, Response};
use types::SecretText;

const CREDENTIAL: &str = "sandbox-credential-7Qx";
const BEARER: (&str, &str) = ("Authorization", "Bearer sandbox-credential-7Qx");
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn options(seed: u64, records: usize) -> SandboxOptions {
    SandboxOptions {
        addr: "127.0.0.1:0".parse().unwrap(),
        seed,
        credential: SecretText::new(CREDENTIAL.to_owned()),
        records,
    }
}

/// A sandbox on a runtime of its own, so that the tests can block.
struct Served {
    runtime: tokio::runtime::Runtime,
    sandbox: Option<RunningSandbox>,
    addr: SocketAddr,
}

impl Served {
    fn start(seed: u64, records: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let sandbox = runtime.block_on(Sandbox::start(options(seed, records))).unwrap();
        let addr = sandbox.addr;
        Self { runtime, sandbox: Some(sandbox), addr }
    }

    fn get(&self, path: &str) -> Response {
        client::get(self.addr, path, &[BEARER]).unwrap()
    }

    fn read(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!((response.status, response.end), (200, BodyEnd::Complete), "{path}");
        response.json().unwrap()
    }

    fn write(&self, method: &str, path: &str, body: &Value) -> Response {
        let body = body.to_string();
        client::send(self.addr, method, path, &[BEARER, JSON], body.as_bytes()).unwrap()
    }

    /// All records of a list, by following `next`.
    fn walk(&self, path: &str) -> Vec<Value> {
        let base = self.sandbox.as_ref().unwrap().base_url();
        let (mut records, mut page) = (Vec::new(), self.read(path));
        for _ in 0..1_000 {
            records.extend(page["results"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else {
                assert_eq!(page["total"], records.len());
                return records;
            };
            page = self.read(&format!("/v1{}", next.strip_prefix(&base).unwrap()));
        }
        panic!("the pages of {path} have no end");
    }

    fn stop(&mut self) {
        self.runtime.block_on(self.sandbox.take().unwrap().shutdown());
    }
}

fn new_employee() -> Value {
    json!({
        "firstName": "Zora", "lastName": "Ashgrove", "workEmail": "zora@hr-sandbox.example",
        "jobTitle": "Archivist", "departmentId": "dep-2", "managerId": "emp-1002",
        "hireDate": "2026-02-01",
        "address": { "street": "1 Weir Street", "city": "Lyon", "postalCode": "69001", "country": "FR" },
        "ssn": "900-01-0001",
        "salary": { "amount": 61000, "currency": "EUR", "period": "year" },
        "bankAccount": { "iban": "DE00000000000000000001", "bic": "TESTDEF0XXX" },
        "dateOfBirth": "1990-05-05",
        "emergencyContact": { "name": "Ada", "relationship": "friend", "phone": "+1-202-555-0100" },
    })
}

#[test]
fn same_seed_gives_same_bytes_and_another_seed_other_people() {
    let (one, two, other) = (Served::start(5, 25), Served::start(5, 25), Served::start(6, 25));
    for path in ["/v1/employees/emp-1001", "/v1/departments/dep-1", "/v1/time-off/off-5050"] {
        assert_eq!(one.get(path).body, two.get(path).body, "{path}");
    }
    assert_eq!(one.walk("/v1/employees"), two.walk("/v1/employees"));
    assert_ne!(one.walk("/v1/employees"), other.walk("/v1/employees"));
}

#[test]
fn only_the_credential_opens_and_each_one_presented_must_be_right() {
    let served = Served::start(1, 3);
    let wrong_key = ("X-Api-Key", "sandbox-credential-7Qy");
    let key = ("X-Api-Key", CREDENTIAL);
    let basic = ("Authorization", "Basic c2FuZGJveDp4");
    for (headers, status) in [
        (vec![BEARER], 200),
        (vec![key], 200),
        (vec![("authorization", "bearer sandbox-credential-7Qx")], 200),
        (vec![BEARER, key], 200),
        (vec![], 401),
        (vec![basic], 401),
        (vec![wrong_key], 401),
        (vec![("X-Api-Key", "")], 401),
        (vec![("Authorization", "Bearer ")], 401),
        (vec![("Authorization", "Bearer sandbox-credential-7Qx ghost")], 401),
        (vec![BEARER, wrong_key], 401),
        (vec![basic, key], 401),
    ] {
        for path in ["/v1/employees", "/v1/reports/headcount", "/v1/nowhere", "/"] {
            let response = client::get(served.addr, path, &headers).unwrap();
            let expected = match (status, path) {
                (200, "/v1/reports/headcount") => 503,
                (200, "/v1/nowhere" | "/") => 404,
                (status, _) => status,
            };
            assert_eq!(response.status, expected, "{path} {headers:?}");
            if status == 401 {
                assert!(!response.text().contains(CREDENTIAL));
            }
        }
    }
}

#[test]
fn pages_show_every_record_once_in_both_directions() {
    let served = Served::start(2, 25);
    let all = served.walk("/v1/employees?limit=100");
    assert_eq!(all.len(), 25);
    let ids: BTreeSet<&str> = all.iter().map(|record| record["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 25);
    for limit in [1, 7, 24, 25, 26] {
        assert_eq!(served.walk(&format!("/v1/employees?limit={limit}")), all);
    }
    // Absences: two for everybody; the default page is ten.
    assert_eq!(served.read("/v1/time-off")["results"].as_array().unwrap().len(), 10);
    assert_eq!(served.walk("/v1/time-off").len(), 50);

    let second = served.read("/v1/employees?limit=7");
    let next = second["next"].as_str().unwrap().split_once("/v1").unwrap().1.to_owned();
    let previous = served.read(&format!("/v1{next}"))["previous"].as_str().unwrap().to_owned();
    let first = served.read(&format!("/v1{}", previous.split_once("/v1").unwrap().1));
    assert_eq!(first["results"], second["results"]);
    assert_eq!(first["previous"], Value::Null);
}

#[test]
fn a_filter_holds_over_all_pages() {
    let served = Served::start(2, 25);
    let mut seen = 0;
    for department in 1..=5 {
        let id = format!("dep-{department}");
        let members = served.walk(&format!("/v1/employees?departmentId={id}&limit=2"));
        assert!(members.iter().all(|member| member["department"]["id"] == id.as_str()));
        seen += members.len();
    }
    assert_eq!(seen, 25);
    assert_eq!(served.walk("/v1/employees?departmentId=nobody").len(), 0);
    let absences = served.walk("/v1/time-off?employeeId=emp-1004");
    assert_eq!(absences.len(), 2);
    assert!(absences.iter().all(|absence| absence["employeeId"] == "emp-1004"));
}

#[test]
fn what_was_written_is_read_back() {
    let served = Served::start(3, 25);
    let created = served.write("POST", "/v1/employees", &new_employee());
    assert_eq!(created.status, 201, "{}", created.text());
    let created = created.json().unwrap();
    assert_eq!(created["id"], "emp-1026");
    assert_eq!(created["department"]["id"], "dep-2");
    assert_eq!(created["manager"]["id"], "emp-1002");
    assert_eq!(created["status"], "active");
    assert_eq!(created["jobs"][0]["title"], "Archivist");
    assert_eq!(served.read("/v1/employees/emp-1026"), created);
    assert_eq!(served.walk("/v1/employees").last(), Some(&created));
    assert!(served.walk("/v1/employees?departmentId=dep-2").contains(&created));

    let patch = json!({
        "address": { "city": "Turku" }, "managerId": null, "departmentId": "dep-3",
        "jobs": [{ "title": "Curator", "startDate": "2026-02-01" }],
    });
    let changed = served.write("PATCH", "/v1/employees/emp-1026", &patch);
    assert_eq!(changed.status, 200, "{}", changed.text());
    let changed = changed.json().unwrap();
    assert_eq!(served.read("/v1/employees/emp-1026"), changed);
    let mut expected = created.clone();
    expected["address"]["city"] = "Turku".into();
    expected["manager"] = Value::Null;
    expected["department"] = served.read("/v1/departments/dep-3");
    expected["jobs"] = json!([{ "title": "Curator", "startDate": "2026-02-01", "endDate": null }]);
    assert_eq!(changed, expected);
    assert!(!served.walk("/v1/employees?departmentId=dep-2").contains(&changed));

    let absence = json!({ "employeeId": "emp-1026", "from": "2026-03-02", "to": "2026-03-02", "kind": "sick" });
    let absence = served.write("POST", "/v1/time-off", &absence);
    assert_eq!(absence.status, 201, "{}", absence.text());
    let absence = absence.json().unwrap();
    assert_eq!((&absence["status"], &absence["note"]), (&"requested".into(), &Value::Null));
    assert_eq!(served.walk("/v1/time-off?employeeId=emp-1026"), [absence]);
}

#[test]
fn a_wrong_body_is_refused_by_the_name_of_its_member_and_changes_nothing() {
    let served = Served::start(4, 6);
    let before = served.walk("/v1/employees");
    let with = |member: &str, value: Value| {
        let mut body = new_employee();
        body[member] = value;
        body
    };
    for (body, named) in [
        (with("nickname", "Z".into()), "nickname"),
        (with("id", "emp-1".into()), "id"),
        (with("department", json!({ "id": "dep-1" })), "department"),
        (with("firstName", "".into()), "firstName"),
        (with("firstName", Value::Null), "firstName"),
        (with("workEmail", "nobody".into()), "workEmail"),
        (with("departmentId", "dep-9".into()), "departmentId"),
        (with("departmentId", "dep-01".into()), "departmentId"),
        (with("managerId", "emp-9999".into()), "managerId"),
        (with("hireDate", "2026-02-30".into()), "hireDate"),
        (with("status", "retired".into()), "status"),
        (with("ssn", "900010001".into()), "ssn"),
        (
            with("salary", json!({ "amount": -1, "currency": "EUR", "period": "year" })),
            "salary.amount",
        ),
        (with("salary", json!({ "currency": "EUR", "period": "year" })), "salary.amount"),
        (with("address", "Lyon".into()), "address"),
        (with("jobs", json!([{ "title": "x" }])), "jobs[].startDate"),
        (with("jobs", json!([1])), "jobs[]"),
        (json!({}), "firstName"),
        (json!([]), "body"),
    ] {
        let response = served.write("POST", "/v1/employees", &body);
        assert_eq!(response.status, 422, "{named}: {}", response.text());
        let message = response.json().unwrap()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("{named}: ")), "{named}: {message}");
    }
    for (patch, status) in [
        (json!({}), 422),
        (json!({ "id": "emp-7" }), 422),
        (json!({ "address": { "planet": "Mars" } }), 422),
        (json!({ "address": null }), 422),
    ] {
        assert_eq!(served.write("PATCH", "/v1/employees/emp-1001", &patch).status, status);
    }
    let backwards = json!({ "employeeId": "emp-1001", "from": "2026-03-02", "to": "2026-03-01", "kind": "sick" });
    assert_eq!(served.write("POST", "/v1/time-off", &backwards).status, 422);

    let send = |headers: &[(&str, &str)], body: &[u8]| {
        client::send(served.addr, "POST", "/v1/employees", headers, body).unwrap().status
    };
    assert_eq!(send(&[BEARER, JSON], b"{"), 400);
    assert_eq!(send(&[BEARER, JSON], b""), 400);
    assert_eq!(send(&[BEARER, ("Content-Type", "text/plain")], b"{}"), 415);
    assert_eq!(send(&[BEARER, JSON], &vec![b' '; 65_537]), 413);
    assert_eq!(served.walk("/v1/employees"), before);
}

#[test]
fn strange_paths_methods_and_parameters_are_refused() {
    let served = Served::start(4, 6);
    for path in [
        "/v1/employees/emp-1007",
        "/v1/employees/emp-01001",
        "/v1/employees/emp-1001/ssn",
        "/v1/employees/",
        "/v1/employees/emp--1",
        "/v1/employees/emp-99999999999999999999999",
        "/employees",
        "/v1",
        "/v1//employees",
        "/v1/reports/other",
    ] {
        assert_eq!(served.get(path).status, 404, "{path}");
    }
    for (method, path, allow) in [
        ("DELETE", "/v1/employees/emp-1001", "GET, PATCH"),
        ("PUT", "/v1/employees", "GET, POST"),
        ("POST", "/v1/departments", "GET"),
        ("HEAD", "/v1/employees", "GET, POST"),
    ] {
        let response = client::send(served.addr, method, path, &[BEARER], b"").unwrap();
        assert_eq!((response.status, response.header("allow")), (405, Some(allow)), "{method}");
    }
    for query in [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=ten",
        "cursor=zzz",
        "cursor=",
        "sort=ssn",
        "employeeId=emp-1001",
        "limit=1&limit=2",
    ] {
        assert_eq!(served.get(&format!("/v1/employees?{query}")).status, 400, "{query}");
    }
    assert_eq!(served.get("/v1/employees/emp-1001?limit=1").status, 400);
}

#[test]
fn every_answer_has_exactly_the_declared_members() {
    let served = Served::start(8, 25);
    let description = Description::read(sandbox::HR_DESCRIPTION);
    let check = |path: &str, template: &str, method: &str, response: &Response| {
        let status = response.status.to_string();
        let problems = description.check(template, method, &status, &response.json().unwrap());
        assert!(problems.is_empty(), "{path}: {problems:#?}");
    };
    for (path, template) in [
        ("/v1/employees?limit=100", "/employees"),
        ("/v1/employees?limit=0", "/employees"),
        ("/v1/employees/emp-1001", "/employees/{employeeId}"),
        ("/v1/employees/emp-1", "/employees/{employeeId}"),
        ("/v1/departments", "/departments"),
        ("/v1/departments/dep-5", "/departments/{departmentId}"),
        ("/v1/time-off?limit=100", "/time-off"),
        ("/v1/time-off/off-5001", "/time-off/{timeOffId}"),
    ] {
        check(path, template, "get", &served.get(path));
    }
    check("create", "/employees", "post", &served.write("POST", "/v1/employees", &new_employee()));
    check("refused", "/employees", "post", &served.write("POST", "/v1/employees", &json!({})));
    let unauthorized = client::get(served.addr, "/v1/employees", &[]).unwrap();
    check("unauthorized", "/employees", "get", &unauthorized);
}

#[test]
fn every_refusal_has_a_declared_status_and_the_declared_error() {
    let served = Served::start(8, 3);
    let description = Description::read(sandbox::HR_DESCRIPTION);
    let json = vec![BEARER, JSON];
    let text = vec![BEARER, ("Content-Type", "text/plain")];
    let big = vec![b' '; 65_537];
    for (method, template) in [
        ("get", "/employees"),
        ("post", "/employees"),
        ("get", "/employees/{employeeId}"),
        ("patch", "/employees/{employeeId}"),
        ("get", "/departments"),
        ("get", "/departments/{departmentId}"),
        ("get", "/time-off"),
        ("post", "/time-off"),
        ("get", "/time-off/{timeOffId}"),
        ("get", "/reports/headcount"),
        ("get", "/reports/html"),
        ("get", "/reports/truncated"),
        ("get", "/reports/slow"),
    ] {
        let known = template.replace("{employeeId}", "emp-1001");
        let unknown: String = template
            .split('/')
            .map(|segment| if segment.starts_with('{') { "none" } else { segment })
            .collect::<Vec<_>>()
            .join("/");
        let mut calls = vec![
            (401, known.clone(), vec![], &b""[..]),
            (400, format!("{known}?undeclared=1"), vec![BEARER], b""),
        ];
        if method == "get" && unknown != template {
            calls.push((404, unknown, vec![BEARER], b""));
        } else if method != "get" {
            calls.push((400, known.clone(), json.clone(), b"{"));
            calls.push((413, known.clone(), json.clone(), &big));
            calls.push((415, known.clone(), text.clone(), b"{}"));
            calls.push((422, known, json.clone(), b"{\"id\":1}"));
        }
        for (status, path, headers, body) in calls {
            let target = format!("/v1{path}");
            let method = method.to_uppercase();
            let answer = client::send(served.addr, &method, &target, &headers, body).unwrap();
            assert_eq!(answer.status, status, "{method} {path}");
            let body = answer.json().unwrap();
            let method = method.to_lowercase();
            let problems = description.check(template, &method, &status.to_string(), &body);
            assert!(problems.is_empty(), "{method} {path}: {problems:#?}");
        }
    }
}

#[test]
fn departments_without_people_have_no_head() {
    let served = Served::start(8, 2);
    let description = Description::read(sandbox::HR_DESCRIPTION);
    let page = served.read("/v1/departments");
    assert!(description.check("/departments", "get", "200", &page).is_empty());
    assert_eq!(page["results"][4]["head"], Value::Null);
}

#[test]
fn the_broken_reports_are_broken_as_documented() {
    let served = Served::start(9, 25);
    let careless = served.get("/v1/reports/headcount");
    assert_eq!(careless.status, 503);
    let ssn = served.read("/v1/employees/emp-1001")["ssn"].as_str().unwrap().to_owned();
    let message = careless.json().unwrap()["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&ssn), "{message}");
    assert!(message.contains("Authorization: Bearer sandbox-credential-7Qx"), "{message}");
    let description = Description::read(sandbox::HR_DESCRIPTION);
    let problems = description.check("/reports/headcount", "get", "503", &careless.json().unwrap());
    assert_eq!(problems, ["debug: not declared"]);

    let html = served.get("/v1/reports/html");
    assert_eq!(html.status, 200);
    assert!(html.header("content-type").unwrap().starts_with("text/html"));

    let cut = served.get("/v1/reports/truncated");
    assert_eq!((cut.status, cut.end), (200, BodyEnd::Complete));
    assert!(cut.json().unwrap_err().is_eof());

    let mut slow = Connection::open(served.addr).unwrap();
    slow.set_read_timeout(std::time::Duration::from_millis(1_500)).unwrap();
    slow.write(
        b"GET /v1/reports/slow HTTP/1.1\r\nHost: x\r\nX-Api-Key: sandbox-credential-7Qx\r\n\r\n",
    )
    .unwrap();
    // The length is declared, so that a client waits for all of it.
    let head = std::iter::repeat_with(|| slow.read_byte().unwrap());
    let head: Vec<u8> = head
        .scan(Vec::new(), |seen, byte| {
            seen.push(byte);
            (!seen.ends_with(b"\r\n\r\n")).then_some(byte)
        })
        .collect();
    assert!(String::from_utf8(head).unwrap().to_lowercase().contains("content-length: "));
    let started = std::time::Instant::now();
    assert_eq!(slow.read_byte().unwrap(), b'{');
    assert_eq!(slow.read_byte().unwrap(), b'"');
    assert!(started.elapsed() >= std::time::Duration::from_secs(1));
}

#[test]
fn kept_alive_connections_serve_many_requests_at_once() {
    let served = Served::start(1, 25);
    let addr = served.addr;
    let workers: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                let mut connection = Connection::open(addr).unwrap();
                for _ in 0..50 {
                    let response = connection
                        .request("GET", "/v1/employees/emp-1003", &[BEARER], b"")
                        .unwrap();
                    assert_eq!(response.status, 200);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
}

#[test]
fn shutdown_closes_the_port_and_idle_connections() {
    let mut served = Served::start(1, 3);
    let mut idle = Connection::open(served.addr).unwrap();
    assert_eq!(idle.request("GET", "/v1/departments", &[BEARER], b"").unwrap().status, 200);
    let mut slow = Connection::open(served.addr).unwrap();
    slow.write(
        b"GET /v1/reports/slow HTTP/1.1\r\nHost: x\r\nX-Api-Key: sandbox-credential-7Qx\r\n\r\n",
    )
    .unwrap();
    let started = std::time::Instant::now();
    served.stop();
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
    assert!(idle.is_closed_within(std::time::Duration::from_secs(5)));
    assert_eq!(slow.read_end(), BodyEnd::Aborted);
    assert!(Connection::open(served.addr).is_err());
}

#[test]
fn options_that_cannot_be_served_are_refused() {
    let served = Served::start(1, 3);
    let start = |options| served.runtime.block_on(Sandbox::start(options)).unwrap_err();
    let empty = SandboxOptions { credential: SecretText::new(String::new()), ..options(1, 1) };
    assert!(matches!(start(empty), StartError::EmptyCredential));
    assert!(matches!(
        start(options(1, sandbox::MAX_SEEDED_EMPLOYEES + 1)),
        StartError::TooManyRecords { .. }
    ));
    let taken = SandboxOptions { addr: served.addr, ..options(1, 1) };
    assert!(matches!(start(taken), StartError::Listen { .. }));
}
