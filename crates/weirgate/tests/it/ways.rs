//! Ways to authenticate to a provider, end to end.

use crate::world::{World, code, fails, ok, text};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
};
use testkit::{
    Answer, FaultyProvider, Received, THING_DESCRIPTION, TlsOptions, find_canary,
    listener::Certificate,
};

/// In each secret here.
const CANARY: &str = "canary-ways-3f90b1";

/// The schemes that the overlay of these tests adds; `{url}` is the provider's.
const SCHEMES: &str = r#"
  hmac:
    type: apiKey
    in: header
    name: X-Signature
    x-weirgate-auth:
      inputs: { key_id: {}, secret: {} }
      let:
        at: "${now('unix_ms')}"
        nonce: "${hex(random(16))}"
        digest: "${hex(sha256(request.body))}"
      headers:
        X-Key-Id: "${key_id}"
        X-At: "${at}"
        X-Nonce: "${nonce}"
        X-Signature: "${base64(hmac_sha512(secret, request.method, '\n', request.target, '\n', at, '\n', nonce, '\n', digest))}"
  hmac_query:
    type: apiKey
    in: query
    name: signature
    x-weirgate-auth:
      inputs: { secret: {} }
      query:
        signature: "${hex(hmac_sha256(secret, request.query))}"
        timestamp: "${now('unix_ms')}"
  aws:
    type: http
    scheme: bearer
    x-weirgate-auth:
      inputs: { region: { secret: false }, service: { secret: false } }
      aws_sigv4: { service: "${service}", region: "${region}" }
  key_in_query:
    type: apiKey
    in: query
    name: k
    x-weirgate-auth:
      inputs: { api_key: {}, account: { secret: false } }
      query: { "k[]": "v1 ${api_key}", account: "${account}" }
  basic_key:
    type: http
    scheme: basic
    x-weirgate-auth:
      inputs: { api_key: {} }
      headers: { Authorization: "Basic ${base64(api_key, ':x')}" }
  two_steps:
    type: apiKey
    in: header
    name: X-Session
    x-weirgate-auth:
      inputs: { username: {}, password: {} }
      steps:
        - method: POST
          url: "{url}/login"
          json: { user: "${username}", password: "${password}" }
          take: { ticket: { from: /data/ticket } }
        - method: POST
          url: "{url}/session"
          form: { ticket: "${ticket}" }
          take: { access_token: "header:X-Session-Token" }
      expires: { after: 3600 }
  three_steps:
    type: http
    scheme: bearer
    x-weirgate-auth:
      inputs: { password: {} }
      steps:
        - { method: GET, url: "{url}/challenge", take: { challenge: /challenge } }
        - method: PUT
          url: "{url}/answer/${challenge}"
          headers: { X-Proof: "${hex(hmac_sha256(password, challenge))}" }
          take: { ticket: /ticket }
        - { method: GET, url: "{url}/token", query: { t: "${ticket}" }, take: { access_token: /token } }
  bound:
    type: oauth2
    flows: { clientCredentials: { tokenUrl: "{url}/bound-token", scopes: {} } }
    x-weirgate-auth:
      oauth2: { dpop: true }
"#;

fn overlay(url: &str, schemes: &str, top: &str) -> String {
    let schemes = schemes.replace("{url}", url);
    let indented: String = schemes.lines().map(|line| format!("        {line}\n")).collect();
    format!(
        "overlay: 1.0.0\ninfo: {{ title: ways, version: '1' }}\nactions:\n  - target: $\n    update:\n{top}      components:\n        securitySchemes:\n{indented}"
    )
}

/// An installation whose provider has more schemes.
fn prepared() -> World {
    let world = World::prepared();
    let check = "      x-weirgate-check: get_me\n      paths: { /me: { get: { operationId: get_me, responses: {} } } }\n";
    import(&world, world.provider.url(), &overlay(world.provider.url(), SCHEMES, check));
    world
}

fn import(world: &World, url: &str, overlay: &str) {
    let description = world.weirgate.file("things.yaml", THING_DESCRIPTION).unwrap();
    let overlay = world.weirgate.file("overlay.yaml", overlay).unwrap();
    let host_port = url.split_once("://").unwrap().1;
    let args = ["provider", "import", &description, "--name", "things", "--server", url];
    let rest = ["--allow-private-network", host_port, "--accept-servers", "--overlay", &overlay];
    ok(&world.weirgate, &[&args[..], &rest, &["--json"]].concat());
    let shown = ok(&world.weirgate, &["provider", "show", "things", "--json"]);
    let diagnostics = shown["diagnostics"].to_string();
    assert!(!diagnostics.contains("bad_auth"), "{diagnostics}");
}

fn connect(world: &mut World, scheme: &str, secret: &Value) -> String {
    let id = crate::echo::connect(world, scheme, &secret.to_string());
    world.connection.clone_from(&id);
    id
}

/// What a recording verifier is told of the calls that came.
fn judged(kind: &str, secret: &Value, calls: &[Received]) -> Option<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/ways");
    let python = match kind {
        "sigv4" => PathBuf::from(std::env::var_os("WEIRGATE_TEST_WAYS")?).join("python3"),
        _ => "python3".into(),
    };
    let calls: Vec<Value> = calls
        .iter()
        .map(|call| {
            let headers: serde_json::Map<String, Value> =
                call.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            let body = base64(&call.body);
            json!({"method": call.method, "target": call.target, "headers": headers, "body": body})
        })
        .collect();
    let mut child = Command::new(python)
        .arg(folder.join("verify.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let given = json!({"kind": kind, "secret": secret, "calls": calls}).to_string();
    child.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = (at(0) << 16) | (at(1) << 8) | at(2);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS[((bits >> shift) & 63) as usize];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Calls of every kind: paths and queries that are encoded anew, bodies, and none.
fn call(world: &World) -> Vec<Received> {
    world.provider.forget();
    for path in [
        "/things",
        "/things/1",
        "/things?name=a%20b%2Bc&limit=3&name=%C3%A4",
        "/things/a%20b%3Ac%40~%C3%A4",
        "/things?name=",
    ] {
        let answer = world.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    let written = world.post("/things", &json!({"name": "é", "nested": {"a": "b"}}));
    assert_eq!(written.status, 201, "{}", written.text());
    assert_eq!(world.send("DELETE", "/things/1", &[], b"").status, 204);
    world.provider.requests()
}

fn all_good(kind: &str, secret: &Value, calls: &[Received]) {
    let Some(said) = judged(kind, secret, calls) else {
        eprintln!("skipped: WEIRGATE_TEST_WAYS does not name the folder with botocore's Python");
        return;
    };
    assert_eq!(said, "good\n".repeat(calls.len()));
    assert_eq!(calls.len(), 7);
}

#[test]
fn calls_are_signed_by_hmac_as_they_are_sent() {
    let mut world = prepared();
    let secret = json!({"key_id": "key-of-many", "secret": format!("{CANARY}-hmac")});
    connect(&mut world, "hmac", &secret);
    let by_header = world.connection.clone();
    let in_query = json!({"secret": format!("{CANARY}-query")});
    connect(&mut world, "hmac_query", &in_query);
    let by_query = world.connection.clone();
    world.serve();
    world.connection.clone_from(&by_header);
    let calls = call(&world);
    all_good("hmac_headers", &secret, &calls);
    let nonces: std::collections::BTreeSet<_> =
        calls.iter().map(|call| call.header("x-nonce").unwrap().to_owned()).collect();
    assert_eq!(nonces.len(), calls.len());
    // What a signature is made of and a caller could choose is the plan's alone.
    world.send("GET", "/things/1", &[("X-At", "1"), ("X-Signature", "forged")], b"");
    let last = world.provider.last_request().unwrap();
    assert_eq!(last.headers.iter().filter(|(name, _)| name == "x-at").count(), 1);
    assert_ne!(last.header("x-signature"), Some("forged"));
    // A time and a known name in an answer are no echo; the secret that was never sent is one.
    let thing = |name: &str| json!({"id": "1", "name": name, "secret": "", "nested": {"a": "a", "b": ""}, "list": []});
    world.provider.on_each("GET /things/1", move |received| {
        Answer::json(
            200,
            &thing(&format!(
                "{} {}",
                received.header("x-at").unwrap(),
                received.header("x-key-id").unwrap()
            )),
        )
    });
    assert_eq!(world.get("/things/1").status, 200);
    world
        .provider
        .on("GET /things/1", Answer::json(200, &thing(&format!("made with {CANARY}-hmac"))));
    assert_eq!(code(&world.get("/things/1")), "credential_echoed");
    world.provider.on_each("GET /things/1", move |received| {
        Answer::json(200, &thing(received.header("x-signature").unwrap()))
    });
    assert_eq!(code(&world.get("/things/1")), "credential_echoed");
    world.provider.on("GET /things/1", Answer::json(200, &thing("plain")));

    world.connection = by_query;
    let calls = call(&world);
    all_good("hmac_query", &in_query, &calls);
    assert!(calls.iter().all(|call| call.query.contains("timestamp=1")));
}

#[test]
fn calls_are_signed_for_aws() {
    let mut world = prepared();
    world.serve();
    for (service, session) in
        [("execute-api", None), ("s3", Some(format!("{CANARY}/session+token==")))]
    {
        let mut secret = json!({"access_key_id": "AKIDEXAMPLE", "secret_access_key": format!("{CANARY}/aws+key"), "region": "eu-central-1", "service": service});
        if let Some(session) = session {
            secret["session_token"] = json!(session);
        }
        connect(&mut world, "aws", &secret);
        testkit::wait_until(std::time::Duration::from_secs(10), || {
            world.get("/things/1").status == 200
        });
        all_good("sigv4", &secret, &call(&world));
    }
}

#[test]
fn keys_go_where_templates_say() {
    let mut world = prepared();
    connect(
        &mut world,
        "key_in_query",
        &json!({"api_key": format!("{CANARY}/&"), "account": "acme-gmbh-berlin"}),
    );
    let query = world.connection.clone();
    connect(&mut world, "basic_key", &json!({"api_key": format!("{CANARY}-basic")}));
    let basic = world.connection.clone();
    world.serve();
    world.connection = query;
    assert_eq!(world.get("/things?name=x").status, 200);
    let sent = world.provider.last_request().unwrap();
    assert_eq!(sent.query, format!("name=x&k%5B%5D=v1%20{CANARY}%2F%26&account=acme-gmbh-berlin"));
    // It is no secret, so an answer may have it.
    world.provider.on("GET /things/1", Answer::json(200, &json!({"id": "1", "name": "acme-gmbh-berlin", "secret": "", "nested": {"a": "a", "b": ""}, "list": []})));
    assert_eq!(world.get("/things/1").status, 200);
    world.connection = basic;
    assert_eq!(world.get("/things").status, 200);
    let sent = world.provider.last_request().unwrap();
    let expected = format!("Basic {}", base64(format!("{CANARY}-basic:x").as_bytes()));
    assert_eq!(sent.header("authorization"), Some(expected.as_str()));
}

/// Answers of a provider that has sessions; each place says what it was asked.
fn sessions(provider: &FaultyProvider) {
    provider.on(
        "POST /login",
        Answer::json(200, &json!({"data": {"ticket": format!("{CANARY}/ticket")}})),
    );
    provider.on(
        "POST /session",
        Answer::json(200, &json!({})).header("X-Session-Token", &format!("{CANARY}-session")),
    );
    provider.on("GET /challenge", Answer::json(200, &json!({"challenge": "c-1"})));
    provider.on("PUT /answer/c-1", Answer::json(200, &json!({"ticket": format!("{CANARY}&t")})));
    provider.on("GET /token", Answer::json(200, &json!({"token": format!("{CANARY}-token")})));
}

#[test]
fn tokens_come_by_two_steps_and_by_three() {
    let mut world = prepared();
    sessions(&world.provider);
    connect(
        &mut world,
        "two_steps",
        &json!({"username": "ada", "password": format!("{CANARY}-pw")}),
    );
    let two = world.connection.clone();
    connect(&mut world, "three_steps", &json!({"password": "Jefe"}));
    let three = world.connection.clone();
    world.serve();
    world.connection.clone_from(&two);
    world.provider.forget();
    assert_eq!(world.get("/things/1").status, 200);
    assert_eq!(world.get("/things/1").status, 200);
    let sent = world.provider.requests();
    let places: Vec<String> =
        sent.iter().map(|one| format!("{} {}", one.method, one.path)).collect();
    assert_eq!(places, ["POST /login", "POST /session", "GET /things/1", "GET /things/1"]);
    assert_eq!(sent[0].json().unwrap(), json!({"user": "ada", "password": format!("{CANARY}-pw")}));
    assert_eq!(String::from_utf8_lossy(&sent[1].body), format!("ticket={CANARY}%2Fticket"));
    assert_eq!(sent[3].header("x-session"), Some(format!("{CANARY}-session").as_str()));
    let shown = ok(&world.weirgate, &["connection", "show", &two, "--json"]);
    assert_eq!(
        (text(&shown, "state"), shown["token_version"].as_u64()),
        ("active".into(), Some(1))
    );

    world.connection.clone_from(&three);
    world.provider.forget();
    assert_eq!(world.get("/things/1").status, 200);
    let sent = world.provider.requests();
    let targets: Vec<&str> = sent.iter().map(|one| one.target.as_str()).collect();
    assert_eq!(
        targets,
        ["/challenge", "/answer/c-1", &format!("/token?t={CANARY}%26t"), "/things/1"]
    );
    assert_eq!(sent[1].header("x-proof").map(str::len), Some(64));
    assert_eq!(sent[3].header("authorization"), Some(format!("Bearer {CANARY}-token").as_str()));
}

/// RFC 9449 §9: a call that may be repeated is, with the nonce, which later calls have at once; one that
/// may not is told to come again.
#[test]
fn a_proof_has_the_nonce_that_the_provider_wants() {
    let mut world = prepared();
    let token =
        json!({"access_token": format!("{CANARY}-bound"), "token_type": "DPoP", "expires_in": 600});
    world.provider.on("POST /bound-token", Answer::json(200, &token));
    let id = connect(
        &mut world,
        "bound",
        &json!({"client_id": "c", "client_secret": format!("{CANARY}-client")}),
    );
    let wants = |nonce: &'static str, good: Answer| {
        move |received: &Received| {
            let proof = claims(received.header("dpop").unwrap());
            if proof["nonce"] == nonce {
                return good.clone();
            }
            Answer::status(401)
                .header("WWW-Authenticate", r#"DPoP error="use_dpop_nonce", error_description="x""#)
                .header("DPoP-Nonce", nonce)
        }
    };
    let thing =
        json!({"id": "1", "name": "n", "secret": "", "nested": {"a": "a", "b": ""}, "list": []});
    world.provider.on_each("GET /things/1", wants("n-1", Answer::json(200, &thing)));
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    let sent: Vec<Received> =
        world.provider.requests().into_iter().filter(|one| one.path == "/things/1").collect();
    assert_eq!(sent.len(), 2);
    let proof = claims(sent[1].header("dpop").unwrap());
    assert_eq!(proof["htm"], "GET");
    assert_eq!(proof["htu"], format!("{}/things/1", world.provider.url()));
    assert!(proof["ath"].as_str().unwrap().len() == 43);
    assert_ne!(proof["jti"], claims(sent[0].header("dpop").unwrap())["jti"]);
    assert_eq!(sent[1].header("authorization"), Some(format!("DPoP {CANARY}-bound").as_str()));
    world.provider.forget();
    assert_eq!(world.get("/things/1").status, 200);
    assert_eq!(world.provider.requests().len(), 1, "the nonce is known");

    world.provider.on_each("POST /things", wants("n-2", Answer::json(201, &thing)));
    let body = json!({"name": "n"});
    let refused = world.post("/things", &body);
    assert_eq!((refused.status, code(&refused).as_str()), (503, "credential_renewing"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(world.post("/things", &body).status, 201);
    // One that is never satisfied is asked twice, and the token is then taken for refused.
    world.provider.on_each("GET /things/1", |_| {
        Answer::status(401)
            .header("WWW-Authenticate", r#"DPoP error="use_dpop_nonce""#)
            .header("DPoP-Nonce", "n-3")
    });
    assert!(world.get("/things/1").status >= 500);
    drop(id);
}

fn claims(token: &str) -> Value {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut have, mut bytes) = (0_u32, 0_u32, Vec::new());
    for digit in token.split('.').nth(1).unwrap().bytes() {
        let value = DIGITS.iter().position(|known| *known == digit).unwrap();
        bits = ((bits << 6) | u32::try_from(value).unwrap()) & 0xffff;
        have += 6;
        if have >= 8 {
            have -= 8;
            bytes.push(u8::try_from((bits >> have) & 0xff).unwrap());
        }
    }
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_declared_call_tells_whether_a_credential_works() {
    let mut world = prepared();
    sessions(&world.provider);
    let id = connect(
        &mut world,
        "two_steps",
        &json!({"username": "ada", "password": format!("{CANARY}-pw")}),
    );
    world.provider.on("GET /me", Answer::json(200, &json!({"mail": "ada@example.com"})));
    let checked = ok(&world.weirgate, &["connection", "check", &id, "--json"]);
    assert_eq!((checked["status"].as_u64(), checked["works"].as_bool()), (Some(200), Some(true)));
    assert!(!checked.to_string().contains("ada@"), "no body is shown");
    let places: Vec<String> =
        world.provider.requests().iter().map(|one| one.path.clone()).collect();
    assert_eq!(places, ["/login", "/session", "/me"]);
    assert_eq!(
        world.provider.last_request().unwrap().header("x-session"),
        Some(format!("{CANARY}-session").as_str())
    );
    // The token was kept: it is used again.
    world.provider.forget();
    ok(&world.weirgate, &["connection", "check", &id, "--json"]);
    assert_eq!(world.provider.requests().len(), 1);
    for (status, exit) in [(401, 4), (403, 4), (404, 1), (429, 1), (500, 1)] {
        world.provider.on("GET /me", Answer::status(status));
        let said = fails(&world.weirgate, exit, &["connection", "check", &id], b"");
        assert!(said.contains(&status.to_string()), "{said}");
    }
    let of_signer =
        connect(&mut world, "hmac", &json!({"key_id": "k", "secret": format!("{CANARY}-hmac")}));
    world.provider.on("GET /me", Answer::json(200, &json!({})));
    ok(&world.weirgate, &["connection", "check", &of_signer, "--json"]);
    all_one(
        "hmac_headers",
        &json!({"secret": format!("{CANARY}-hmac")}),
        &world.provider.last_request().unwrap(),
    );
    let checks = world.entries().iter().filter(|entry| entry["verb"] == "connection.check").count();
    assert_eq!(checks, 8);
    world.provider.stop();
    fails(&world.weirgate, 7, &["connection", "check", &of_signer], b"");
}

fn all_one(kind: &str, secret: &Value, call: &Received) {
    assert_eq!(judged(kind, secret, std::slice::from_ref(call)).as_deref(), Some("good\n"));
}

/// Nothing of any way stands in an answer, an output or a file.
#[test]
fn secrets_of_every_way_appear_nowhere() {
    let mut world = prepared();
    world.weirgate.set("WEIRGATE_LOG_LEVEL", "trace");
    sessions(&world.provider);
    let token = json!({"access_token": format!("{CANARY}-bound"), "token_type": "DPoP"});
    world.provider.on("POST /bound-token", Answer::json(200, &token));
    let secrets = [
        ("hmac", json!({"key_id": "k", "secret": format!("{CANARY}-hmac")})),
        ("hmac_query", json!({"secret": format!("{CANARY}-query")})),
        (
            "aws",
            json!({"access_key_id": "AKID", "secret_access_key": format!("{CANARY}-aws"), "session_token": format!("{CANARY}-st"), "region": "eu", "service": "s3"}),
        ),
        ("key_in_query", json!({"api_key": format!("{CANARY}-kq"), "account": "a"})),
        ("basic_key", json!({"api_key": format!("{CANARY}-bk")})),
        ("two_steps", json!({"username": "ada", "password": format!("{CANARY}-pw")})),
        ("three_steps", json!({"password": format!("{CANARY}-p3")})),
        ("bound", json!({"client_id": "c", "client_secret": format!("{CANARY}-cs")})),
    ];
    let ids: Vec<String> =
        secrets.iter().map(|(scheme, secret)| connect(&mut world, scheme, secret)).collect();
    world.serve();
    let mut answers = Vec::new();
    for (id, (scheme, _)) in ids.iter().zip(&secrets) {
        world.connection.clone_from(id);
        for path in
            ["/things", "/things/1", "/fault/error", "/fault/redirect", "/nowhere", "/fault/reset"]
        {
            answers.push((format!("{scheme} {path}"), world.get(path).everything()));
        }
    }
    // Token endpoints that fail, and repeat what they were asked with.
    for place in ["POST /login", "POST /bound-token"] {
        world.provider.on_each(place, |received| {
            let asked = String::from_utf8_lossy(&received.everything()).into_owned();
            Answer::json(400, &json!({"error": asked.clone(), "error_description": asked}))
        });
    }
    let failing = ["two_steps", "bound"].map(|scheme| {
        let secret =
            secrets.iter().find(|(known, _)| *known == scheme).map(|(_, secret)| secret.clone());
        connect(&mut world, scheme, &secret.unwrap())
    });
    for id in failing {
        world.connection.clone_from(&id);
        testkit::wait_until(std::time::Duration::from_secs(10), || {
            world.get("/things/1").status != 404
        });
        answers.push(("failing".into(), world.get("/things/1").everything()));
        let output = world.weirgate.run(&["connection", "check", &id], b"").unwrap();
        answers.push(("check".into(), [output.stdout, output.stderr].concat()));
    }
    for args in [
        &["audit", "list", "--limit", "100000"][..],
        &["connection", "list"],
        &["connection", "show", &ids[5]],
        &["provider", "show", "things"],
    ] {
        let output = world.weirgate.run(args, b"").unwrap();
        answers.push((args.join(" "), [output.stdout, output.stderr].concat()));
    }
    let metrics = testkit::client::get(world.console, "/metrics", &[]).unwrap();
    answers.push(("metrics".to_owned(), metrics.everything()));
    let output = world.stop();
    answers.push(("output".to_owned(), [output.stdout, output.stderr].concat()));
    let texts: Vec<(&str, &[u8])> =
        answers.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let found = find_canary(&world.weirgate.data_dir(), &texts, &[CANARY]).unwrap();
    assert!(found.is_empty(), "{found:#?}");
}

/// A server of `tests/ways/mtls.mjs`.
struct Demanding(Child, String);

impl Drop for Demanding {
    fn drop(&mut self) {
        // It has ended where this fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Certificates by openssl: an authority, the server's, and clients' by name, of the given days.
fn certificates(folder: &std::path::Path, clients: &[(&str, &str, &str)]) {
    let run = |args: &[&str]| {
        let output = Command::new("openssl").current_dir(folder).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=clients",
        "-days",
        "30",
    ]);
    for (name, usage, days) in clients {
        std::fs::write(folder.join("ext"), format!("extendedKeyUsage={usage}\n")).unwrap();
        run(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &format!("{name}.key"),
            "-out",
            "csr",
            "-subj",
            &format!("/CN={name}"),
        ]);
        run(&[
            "x509",
            "-req",
            "-in",
            "csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            &format!("{name}.pem"),
            "-days",
            days,
            "-extfile",
            "ext",
        ]);
    }
}

const SHOWING: &str = r#"
  cert: { type: mutualTLS }
  cert_token:
    type: oauth2
    flows: { clientCredentials: { tokenUrl: "{url}/token", scopes: {} } }
    x-weirgate-auth:
      oauth2: { client_auth: tls }
"#;

/// RFC 8705: each connection shows its own certificate to the provider and at the token endpoint, and no
/// call rides on another's connection.
#[test]
fn each_connection_shows_its_own_certificate() {
    for is_http1_only in [false, true] {
        let mut world = World::prepared();
        let folder = world.weirgate.home().to_owned();
        certificates(
            &folder,
            &[
                ("ada", "clientAuth", "20"),
                ("grace", "clientAuth", "20"),
                ("server", "serverAuth", "20"),
                ("old", "clientAuth", "-1"),
            ],
        );
        let own = Certificate::make(&TlsOptions::default()).unwrap();
        let cert = world.weirgate.file("own.pem", &own.chain_pem).unwrap();
        let key = world.weirgate.file("own.key", &own.key_pem).unwrap();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/ways/mtls.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .args([&cert, &key])
            .arg(folder.join("ca.pem"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let server = Demanding(child, format!("https://127.0.0.1:{}", port.trim()));
        let roots = world.weirgate.file("roots.pem", &own.root_pem).unwrap();
        world.weirgate.set("WEIRGATE_EXTRA_ROOTS_FILE", &roots);
        let top = format!(
            "      x-weirgate-http1-only: {is_http1_only}\n      x-weirgate-check: GET /calls\n"
        );
        import(&world, &server.1, &overlay(&server.1, SHOWING, &top));
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let secret = |name: &str| json!({"certificate": read(&format!("{name}.pem")), "private_key": read(&format!("{name}.key"))});
        let refused = |secret: &Value, words: &str| {
            let args = [
                "connection",
                "create",
                "--provider",
                "things",
                "--customer",
                "c",
                "--scheme",
                "cert",
                "--secret-file",
                "-",
            ];
            let said = fails(&world.weirgate, 2, &args, secret.to_string().as_bytes());
            assert!(said.contains(words), "{said}");
        };
        refused(
            &json!({"certificate": read("ada.pem"), "private_key": read("grace.key")}),
            "does not belong",
        );
        refused(
            &json!({"certificate": "no", "private_key": read("ada.key")}),
            "no certificate in PEM",
        );
        refused(&json!({"certificate": read("ada.pem"), "private_key": "no"}), "no key in PEM");
        refused(&json!({"certificate": read("ada.pem")}), "private_key");
        refused(&secret("server"), "not for clients");
        refused(&secret("old"), "has expired");
        let ada = connect(&mut world, "cert", &secret("ada"));
        let grace = connect(&mut world, "cert", &secret("grace"));
        let with_id = |name: &str| {
            let mut secret = secret(name);
            secret["client_id"] = json!("c");
            secret
        };
        let token_ada = connect(&mut world, "cert_token", &with_id("ada"));
        let token_grace = connect(&mut world, "cert_token", &with_id("grace"));
        let shown = ok(&world.weirgate, &["connection", "show", &ada, "--json"]);
        assert!(shown["certificate_expires_at"].as_str().unwrap().starts_with("20"), "{shown}");
        world.serve();
        for _ in 0..3 {
            for id in [&ada, &grace, &token_ada, &token_grace] {
                world.connection.clone_from(id);
                let answer = world.get("/things/1");
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        }
        // The server tells a token of one certificate from another's: RFC 8705 §3.
        let stolen = json!({"token": "bound-to-another"});
        connect(&mut world, "cert_token", &stolen);
        let status = || world.get("/things/1").status;
        testkit::wait_until(std::time::Duration::from_secs(10), || status() != 404);
        assert_eq!(world.get("/things/1").status, 502);
        let checked = ok(&world.weirgate, &["connection", "check", &ada, "--json"]);
        assert_eq!(checked["works"], true);
        world.stop();
        let calls = calls(&folder, &server.1, &own.root_pem);
        let things: Vec<&Value> = calls.iter().filter(|call| call["path"] == "/things/1").collect();
        assert!(things.len() >= 12);
        let protocol = if is_http1_only { "http/1.1" } else { "h2" };
        assert!(things.iter().all(|call| call["protocol"] == protocol), "{things:?}");
        let mut by_connection =
            std::collections::BTreeMap::<u64, std::collections::BTreeSet<String>>::new();
        let mut shown = std::collections::BTreeSet::new();
        for call in &calls {
            let one = call["shown"].as_str().unwrap().to_owned();
            shown.insert(one.clone());
            // A call with a token goes over a connection that shows what the token is bound to.
            let key = format!("{one} {}", call["authorization"]);
            by_connection.entry(call["number"].as_u64().unwrap()).or_default().insert(key);
        }
        assert_eq!(shown.len(), 2);
        for (number, seen) in by_connection {
            assert!(
                seen.iter()
                    .map(|one| one.split(' ').next())
                    .collect::<std::collections::BTreeSet<_>>()
                    .len()
                    == 1,
                "{number}: {seen:?}"
            );
        }
        assert_eq!(calls.iter().filter(|call| call["path"] == "/token").count(), 2);
    }
}

/// What the server saw, asked by curl with a client's certificate.
fn calls(folder: &std::path::Path, url: &str, root: &str) -> Vec<Value> {
    std::fs::write(folder.join("root.pem"), root).unwrap();
    let output = Command::new("curl")
        .current_dir(folder)
        .args([
            "-fsS",
            "--cacert",
            "root.pem",
            "--cert",
            "ada.pem",
            "--key",
            "ada.key",
            &format!("{url}/calls"),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// RFC 9449 with oidc-provider, which demands nonces at its token endpoint, and a resource that verifies
/// each proof by jose.
#[test]
fn oidc_provider_takes_proofs_of_possession() {
    if std::env::var_os("WEIRGATE_TEST_OIDC").is_none() {
        eprintln!("skipped: WEIRGATE_TEST_OIDC does not name the folder with oidc-provider");
        return;
    }
    let mut world = World::prepared();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/ways/dpop.mjs");
    let mut child = Command::new("node").arg(script).stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let server = Demanding(child, format!("http://127.0.0.1:{}", port.trim()));
    let schemes = SCHEMES.replace("{url}/bound-token", &format!("{}/token", server.1));
    import(&world, &server.1, &overlay(&server.1, &schemes, ""));
    connect(
        &mut world,
        "bound",
        &json!({"client_id": "weirgate", "client_secret": "canary-dpop-client"}),
    );
    world.serve();
    for _ in 0..3 {
        let answer = world.get("/things/1");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let addr = server.1.strip_prefix("http://").unwrap().parse().unwrap();
    let said = testkit::client::get(addr, "/said", &[]).unwrap().json().unwrap();
    // One conversation of two requests, one challenge at the resource, and each call once besides.
    assert_eq!(
        (said["tokens"].as_u64(), said["challenged"].as_u64()),
        (Some(2), Some(1)),
        "{said}"
    );
    assert!(said["good"].as_u64() >= Some(3), "{said}");
}
