//! A described sandbox on a real socket: what a client sees of faults, and of bad starts.

use sandbox::{DescribedError, DescribedOptions, RunningDescribed, serve_description};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};
use testkit::client::{self, BodyEnd, Connection, Response};
use types::SystemClock;

const THINGS: &str = r#"
openapi: 3.0.3
info: { title: Things, version: "1" }
paths:
  /things:
    get:
      responses:
        "200":
          description: Things
          content:
            application/json:
              schema:
                type: array
                items:
                  type: object
                  required: [id]
                  properties: { id: { type: integer }, name: { type: string } }
  /things/{id}:
    get:
      parameters: [{ name: id, in: path, required: true, schema: { type: integer } }]
      responses:
        "200":
          description: A thing
          content:
            application/json:
              schema:
                type: object
                required: [id]
                properties: { id: { type: integer }, name: { type: string } }
    delete:
      parameters: [{ name: id, in: path, required: true, schema: { type: integer } }]
      responses: { "204": { description: Gone } }
"#;

fn options(description: &str) -> DescribedOptions {
    DescribedOptions {
        description: description.as_bytes().to_vec(),
        addr: "127.0.0.1:0".parse().unwrap(),
        seed: 1,
        records: 5,
        credential: None,
        token_lifetime: Duration::from_mins(1),
        faults: Vec::new(),
        clock: Arc::new(SystemClock),
    }
}

/// A sandbox on a runtime of its own, so that the tests can block.
struct Served {
    _runtime: tokio::runtime::Runtime,
    _running: RunningDescribed,
    addr: SocketAddr,
}

fn start(options: DescribedOptions) -> Result<Served, DescribedError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let running = runtime.block_on(serve_description(options))?;
    let addr = running.addr();
    Ok(Served { _runtime: runtime, _running: running, addr })
}

fn with_fault(served: &Served, fault: &str) -> Response {
    client::get(served.addr, "/things", &[("X-Sandbox-Fault", fault)]).unwrap()
}

#[test]
fn faults_reach_the_wire() {
    let served = start(options(THINGS)).unwrap();
    let whole = client::get(served.addr, "/things", &[]).unwrap();
    assert_eq!((whole.status, whole.end), (200, BodyEnd::Complete));
    let limited = with_fault(&served, "429 retry-after=2");
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("2")));
    let truncated = with_fault(&served, "truncated");
    assert_eq!((truncated.status, truncated.end), (200, BodyEnd::Complete));
    assert!(truncated.json().is_err());
    let cut = with_fault(&served, "cut");
    assert_eq!((cut.status, cut.end), (200, BodyEnd::Aborted));
    assert!(cut.body.len() < whole.body.len());
    let slow = with_fault(&served, "slow ms=1");
    assert_eq!(slow.body, whole.body);
    assert!(with_fault(&served, "drift").json().unwrap()[0]["sandbox_undeclared"].is_string());
    // The next call is right again.
    assert_eq!(client::get(served.addr, "/things", &[]).unwrap().body, whole.body);
}

#[test]
fn a_reset_is_one_and_what_was_asked_for_is_done() {
    let served = start(options(THINGS)).unwrap();
    let things = client::get(served.addr, "/things", &[]).unwrap().json().unwrap();
    let id = things[0]["id"].to_string();
    let mut stream = TcpStream::connect(served.addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request =
        format!("DELETE /things/{id} HTTP/1.1\r\nHost: x\r\nX-Sandbox-Fault: reset\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let error = stream.read(&mut [0; 100]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let again = client::get(served.addr, &format!("/things/{id}"), &[]).unwrap();
    assert_eq!(again.status, 404, "a lost answer is no lost call");
}

#[test]
fn slow_bodies_and_large_ones_are_bounded() {
    let served = start(options(THINGS)).unwrap();
    let mut connection = Connection::open(served.addr).unwrap();
    let large = vec![b' '; (1 << 20) + 1];
    let json = [("Content-Type", "application/json")];
    let answer = connection.request("POST", "/things", &json, &large).unwrap();
    assert_eq!(answer.status, 413);
}

#[test]
fn bad_starts_are_told_with_their_remedy() {
    let start = |options| start(options).map(|_| ()).unwrap_err();
    let error = start(options("<html>"));
    assert!(matches!(error, DescribedError::Description(_)), "{error:?}");
    let error = start(DescribedOptions { records: 10_001, ..options(THINGS) });
    assert!(matches!(error, DescribedError::TooManyRecords { given: 10_001, .. }));
    let error = start(DescribedOptions { faults: vec!["explode".to_owned()], ..options(THINGS) });
    assert!(matches!(error, DescribedError::Fault(_)) && !error.remedy().is_empty());
    let credential = Some(types::SecretText::new(String::new()));
    let error = start(DescribedOptions { credential, ..options(THINGS) });
    assert!(matches!(error, DescribedError::EmptyCredential));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let error = start(DescribedOptions { addr, ..options(THINGS) });
    assert!(matches!(error, DescribedError::Listen { .. }));
}

/// Descriptions that lead nowhere, in circles, or ask for too much: each is served, each call is
/// answered soon.
#[test]
fn hostile_descriptions_are_served_within_bounds() {
    let wrap = |schemas: &str| {
        format!(
            r##"{{"openapi":"3.1.0","info":{{"title":"x","version":"1"}},"paths":{{"/x":{{"get":{{"responses":{{"200":{{"description":"","content":{{"application/json":{{"schema":{{"$ref":"#/components/schemas/A"}}}}}}}}}}}}}}}},"components":{{"schemas":{{{schemas}}}}}}}"##
        )
    };
    let wide: Vec<String> =
        (0..40).map(|_| r##"{"$ref":"#/components/schemas/A"}"##.to_owned()).collect();
    let wide = wide.join(",");
    for (name, schemas) in [
        ("itself", r##""A":{"$ref":"#/components/schemas/A"}"##.to_owned()),
        ("dangling", r##""A":{"$ref":"#/nowhere"}"##.to_owned()),
        ("requires itself", r##""A":{"type":"object","required":["a"],"properties":{"a":{"$ref":"#/components/schemas/A"}}}"##.to_owned()),
        ("all of itself", format!(r#""A":{{"allOf":[{wide}]}}"#)),
        ("one of itself", format!(r#""A":{{"oneOf":[{wide}]}}"#)),
        ("one of itself, deeper", format!(r#""A":{{"oneOf":[{wide}],"type":"object","required":["a","b"],"properties":{{"a":{{"anyOf":[{wide}]}},"b":{{"oneOf":[{wide}]}}}}}}"#)),
        ("not itself", r##""A":{"not":{"$ref":"#/components/schemas/A"}}"##.to_owned()),
        ("many elements", r#""A":{"type":"array","minItems":4000000000,"items":{"type":"array","minItems":4000000000,"items":{"type":"string","minLength":4000000000}}}"#.to_owned()),
        ("many members", r#""A":{"type":"object","minProperties":4000000000}"#.to_owned()),
        ("a large expression", r#""A":{"type":"string","pattern":"((((a{99}){99}){99}){99}){99}"}"#.to_owned()),
        ("no number", r#""A":{"type":"number","exclusiveMinimum":5,"exclusiveMaximum":5,"multipleOf":1e-300}"#.to_owned()),
        ("no kind", r#""A":{"type":[],"enum":[]}"#.to_owned()),
    ] {
        let served = start(options(&wrap(&schemas))).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut connection = Connection::open(served.addr).unwrap();
        let answer = connection.request("GET", "/x", &[], &[]);
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(answer.status, 200, "{name}");
        assert!(answer.body.len() < 20_000_000, "{name}: {} bytes", answer.body.len());
        assert!(answer.json().is_ok(), "{name}");
    }
}
