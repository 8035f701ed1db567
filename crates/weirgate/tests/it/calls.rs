//! What passes, what is refused, and by which code.

use crate::world::{GRANTS, World, code, fails, ok};
use serde_json::json;
use std::time::Duration;
use testkit::{SECRET, client, wait_until};

#[test]
fn only_granted_fields_pass_and_the_others_are_named() {
    let world = World::serving();
    let answer = world.get("/things/7");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.json().unwrap(),
        json!({
            "id": "7",
            "name": "Thing 7",
            "nested": {"a": "open"},
            "list": [{"label": "first"}, {"label": "second"}],
        })
    );
    let withheld = answer.header("weirgate-fields-withheld").unwrap();
    for name in ["secret", "nested.b", "list[].code"] {
        assert!(withheld.contains(name), "{withheld}");
    }
    assert!(answer.header("weirgate-request-id").unwrap().starts_with("req_"));
    let received = world.provider.last_request().unwrap();
    assert_eq!(
        received.header("authorization"),
        Some(format!("Bearer {}", crate::world::CREDENTIAL).as_str())
    );
}

#[test]
fn a_list_passes_by_element_and_paging_urls_lead_back_through_the_gate() {
    let world = World::serving();
    let answer = world.get("/things?cursor=1&limit=2");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json().unwrap();
    assert_eq!(body["results"].as_array().unwrap().len(), 2);
    assert_eq!(body["total"], 4);
    assert!(!answer.text().contains(SECRET));
    let next = body["next"].as_str().unwrap();
    assert_eq!(next, format!("http://{}{}", world.addr, world.path("/things?cursor=2")));
    let target = next.split_once(&world.addr.to_string()).unwrap().1;
    let bearer = format!("Bearer {}", world.key);
    let again = client::get(world.addr, target, &[("Authorization", &bearer)]).unwrap();
    assert_eq!(again.status, 200);
}

#[test]
fn paging_urls_lead_elsewhere_or_carry_the_credential_never() {
    let world = World::serving();
    for url in [
        "http://169.254.169.254/things?cursor=2",
        "https://example.com/things",
        "//example.com/things",
        "http://127.0.0.1:1/things",
    ] {
        let body = json!({"results": [], "next": url, "total": 0});
        world.provider.on("GET /things", testkit::Answer::json(200, &body));
        let answer = world.get("/things");
        assert_eq!(answer.json().unwrap(), json!({"results": [], "total": 0}), "{url}");
    }
}

#[test]
fn a_key_in_the_query_is_neither_shown_nor_taken_from_callers() {
    let mut world = World::prepared();
    world.connection = crate::echo::connect(&world, "query", r#"{"api_key":"k-123456789"}"#);
    world.serve();
    let base = world.provider.url().to_owned();
    for pair in ["api_key=k-123456789", "API_KEY=k-123456789", "u=api_key%3Dk-123456789"] {
        let url = format!("{base}/things?cursor=2&{pair}");
        let body = json!({"results": [], "next": url, "total": 0});
        world.provider.on("GET /things", testkit::Answer::json(200, &body));
        let answer = world.get("/things");
        let next = answer.json().unwrap()["next"].as_str().unwrap_or_default().to_owned();
        assert!(!answer.text().contains("k-1234"), "{pair}: {}", answer.text());
        assert!(next.is_empty() || next.ends_with("/things?cursor=2"), "{pair}: {next}");
    }
    for given in ["api_key=mine", "API_KEY=mine", "api%5Fkey=mine"] {
        world.provider.forget();
        let answer = world.get(&format!("/things?{given}"));
        assert_eq!(answer.status, 403, "{given}: {}", answer.text());
        assert!(world.provider.requests().is_empty(), "{given}");
    }
}

/// Not even one whose name promises nothing, though it is declared and granted; nor a place of
/// another scheme of the provider's.
#[test]
fn a_place_of_the_connections_credential_never_comes_from_a_caller() {
    let mut world = World::prepared();
    let description = testkit::THING_DESCRIPTION
        .replace("name: X-Api-Key", "name: X-Tenant")
        .replace("name: api_key", "name: name");
    let file = world.weirgate.file("others.yaml", &description).unwrap();
    let (url, host) = (world.provider.url().to_owned(), world.provider.host_port().to_owned());
    let import = ["provider", "import", &file, "--name", "others", "--server", &url];
    let private = ["--allow-private-network", &host, "--json"];
    ok(&world.weirgate, &[&import[..], &private[..]].concat());
    let more = GRANTS
        .replace("provider = \"things\"", "provider = \"others\"")
        .replace("params = [\"name\"]", "params = [\"name\"], headers = [\"X-Tenant\"]");
    world.apply(&format!("{GRANTS}{more}"));
    let connect = |scheme: &str| {
        let args = ["connection", "create", "--provider", "others", "--customer", "c"];
        let rest = ["--scheme", scheme, "--secret-file", "-", "--json"];
        let secret = br#"{"api_key":"own-123456"}"#;
        crate::world::text(
            &crate::world::ok_with(&world.weirgate, &[&args[..], &rest[..]].concat(), secret),
            "id",
        )
    };
    let (query, header) = (connect("query"), connect("header"));
    world.serve();
    for (connection, sent) in [(header, Some("own-123456")), (query, None)] {
        world.connection = connection;
        world.provider.forget();
        let answer = world.send("GET", "/things", &[("X-Tenant", "mine")], b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(world.provider.last_request().unwrap().header("x-tenant"), sent);
        world.provider.forget();
        for name in ["name", "name[]", "name%5B%5D"] {
            let answer = world.get(&format!("/things?{name}=mine"));
            let told = (answer.status, code(&answer));
            assert_eq!(told, (403, "parameter_not_granted".to_owned()), "{name}");
            assert!(world.provider.requests().is_empty(), "{name}");
        }
        // Many servers read a form as they read the query.
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        for body in ["name=mine", "name[]=mine"] {
            let answer = world.send("POST", "/things", &form, body.as_bytes());
            assert_eq!(
                (answer.status, code(&answer).as_str()),
                (403, "field_not_granted"),
                "{body}"
            );
            assert!(world.provider.requests().is_empty(), "{body}");
        }
        assert_eq!(world.send("POST", "/things", &form, b"nested[a]=1").status, 201);
        assert_eq!(world.post("/things", &json!({"name": "mine"})).status, 201);
    }
}

/// A list is replaced as a whole: what a caller leaves out of it is erased.
#[test]
fn a_list_granted_in_part_is_written_only_into_what_is_new() {
    let world = World::serving();
    let grants = |fields: &str| {
        GRANTS.replace(r#"fields = ["name", "nested.a"] }"#, &format!("fields = [{fields}] }}"))
    };
    world.apply(&grants(r#""name", "list[].label""#));
    let put = |body: &serde_json::Value| {
        let headers = [("Content-Type", "application/json")];
        world.send("PUT", "/things/1", &headers, body.to_string().as_bytes())
    };
    let body = json!({"name": "n", "list": [{"label": "one"}]});
    wait_until(Duration::from_secs(5), || world.post("/things", &body).status == 201);
    world.provider.forget();
    for list in [json!([{"label": "one"}]), json!([])] {
        let answer = put(&json!({"name": "n", "list": list}));
        assert_eq!((answer.status, code(&answer).as_str()), (403, "list_granted_in_part"));
        assert_eq!(answer.json().unwrap()["field"], "list");
    }
    assert_eq!(world.provider.requests(), []);
    assert_eq!(put(&json!({"name": "n"})).status, 200);
    world.apply(&grants(r#""name", "list[].label", "list[].code""#));
    wait_until(Duration::from_secs(5), || put(&body).status == 200);
}

/// A key that is revoked while a write's body is on its way must not write.
#[test]
fn a_right_that_is_withdrawn_while_a_body_arrives_sends_nothing() {
    let world = World::serving();
    let listed = ok(&world.weirgate, &["client", "list", "--json"]);
    let clients = listed["clients"].as_array().unwrap();
    let reader = clients.iter().find(|one| one["name"] == "reader").unwrap();
    let id = reader["keys"][0]["id"].as_str().unwrap().to_owned();
    let body = json!({"name": "late"}).to_string();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        world.path("/things"),
        world.key,
        body.len()
    );
    let mut connection = client::Connection::open(world.addr).unwrap();
    connection.write(head.as_bytes()).unwrap();
    connection.write(&body.as_bytes()[..4]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    ok(&world.weirgate, &["client", "key", "revoke", &id, "--json"]);
    wait_until(Duration::from_secs(2), || world.get("/things/1").status == 401);
    world.provider.forget();
    connection.write(&body.as_bytes()[4..]).unwrap();
    let answer = connection.read_response(false).unwrap();
    assert_eq!((answer.status, code(&answer).as_str()), (403, "access_withdrawn"));
    assert!(world.provider.requests().is_empty());
}

#[test]
fn undeclared_media_types_of_a_write_are_refused() {
    let world = World::serving();
    let body = json!({"name": "a"}).to_string();
    for media in ["application/merge-patch+json", "application/json-patch+json", "text/json"] {
        let answer = world.send("POST", "/things", &[("Content-Type", media)], body.as_bytes());
        assert_eq!(
            (answer.status, code(&answer).as_str()),
            (415, "body_media_unsupported"),
            "{media}"
        );
    }
    assert!(world.provider.requests().is_empty());
}

#[test]
fn keys_are_told_apart_by_what_is_wrong_with_them() {
    let world = World::serving();
    let path = world.path("/things/1");
    let mut mistyped = world.key.clone();
    let last = mistyped.pop().unwrap();
    mistyped.push(if last == 'a' { 'b' } else { 'a' });
    let unknown = types::ApiKey::generate(types::Environment::Live, &types::SystemRandom).unwrap();
    let test_key = types::ApiKey::generate(types::Environment::Test, &types::SystemRandom).unwrap();
    for (key, wanted) in [
        (mistyped.as_str(), "key_malformed"),
        ("wg_live_short", "key_malformed"),
        ("Basic", "key_malformed"),
        (unknown.expose(), "key_unknown"),
        (test_key.expose(), "key_unknown"),
    ] {
        let answer =
            client::get(world.addr, &path, &[("Authorization", &format!("Bearer {key}"))]).unwrap();
        assert_eq!((answer.status, code(&answer).as_str()), (401, wanted));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let none = client::get(world.addr, &path, &[]).unwrap();
    assert_eq!((none.status, code(&none).as_str()), (401, "key_missing"));
    let bearer = format!("Bearer {}", world.key);
    let both = [("Authorization", bearer.as_str()), ("X-Weirgate-Key", world.key.as_str())];
    let both = client::get(world.addr, &path, &both).unwrap();
    assert_eq!((both.status, code(&both).as_str()), (400, "both_key_headers"));
    let own = client::get(world.addr, &path, &[("X-Weirgate-Key", &world.key)]).unwrap();
    assert_eq!(own.status, 200);
    assert_eq!(world.provider.requests().len(), 1);
}

#[test]
fn a_client_without_a_grant_learns_nothing() {
    let world = World::serving();
    let bearer = format!("Bearer {}", world.stranger_key);
    for path in ["/things/1", "/no/such/path"] {
        let answer =
            client::get(world.addr, &world.path(path), &[("Authorization", &bearer)]).unwrap();
        assert_eq!((answer.status, code(&answer).as_str()), (403, "not_granted"));
    }
    assert!(world.provider.requests().is_empty());
}

#[test]
fn unknown_places_are_not_found() {
    let world = World::serving();
    for (method, path, wanted) in [
        ("GET", "/nowhere", "path_unknown"),
        ("GET", "", "path_unknown"),
        ("PATCH", "/things", "method_unknown"),
        ("BREW", "/things", "method_unknown"),
    ] {
        let answer = world.send(method, path, &[], b"");
        assert_eq!((answer.status, code(&answer).as_str()), (404, wanted), "{method} {path}");
    }
    let bearer = format!("Bearer {}", world.key);
    let other = "conn_00000000000000000000000000";
    for connection in [other, "nonsense", "conn_", "..", "%2e%2e"] {
        let target = format!("/proxy/{connection}/things");
        let answer = client::get(world.addr, &target, &[("Authorization", &bearer)]).unwrap();
        assert_eq!(
            (answer.status, code(&answer).as_str()),
            (404, "connection_unknown"),
            "{target}"
        );
    }
}

#[test]
fn encoded_slashes_and_dots_are_refused() {
    let world = World::serving();
    for segment in [
        "%2e%2e",
        "%2E%2e",
        "..",
        ".",
        "%2e",
        "a%2fb",
        "a%5cb",
        "a%00b",
        "%252e%252e",
        "a%0d%0ab",
        "%c0%ae",
        "%ff",
        "%",
    ] {
        let answer = world.get(&format!("/things/{segment}"));
        assert!(
            matches!(code(&answer).as_str(), "path_refused" | "request_malformed"),
            "{segment}: {}",
            answer.text()
        );
    }
    assert!(world.provider.requests().is_empty());
    // What is allowed is encoded anew, canonically.
    assert_eq!(world.get("/things/a%20b%3f%c3%a4").status, 200);
    assert_eq!(world.provider.last_request().unwrap().path, "/things/a%20b%3F%C3%A4");
}

#[test]
fn undeclared_parameter_is_refused() {
    let world = World::serving();
    for (query, wanted) in [
        ("sort=secret", "parameter_not_granted"),
        ("expand=secret", "parameter_undeclared"),
        ("api_key=x", "parameter_undeclared"),
        ("name=a&sort=b", "parameter_not_granted"),
        ("na%6De=a&s%6Frt=b", "parameter_not_granted"),
    ] {
        let answer = world.get(&format!("/things?{query}"));
        assert_eq!((answer.status, code(&answer).as_str()), (403, wanted), "{query}");
    }
    assert!(world.provider.requests().is_empty());
    assert_eq!(world.get("/things?name=a").status, 200);
}

#[test]
fn ungranted_field_is_refused_by_name() {
    let world = World::serving();
    let good = world.post("/things", &json!({"name": "n", "nested": {"a": "x"}}));
    assert_eq!(good.status, 201, "{}", good.text());
    assert!(!good.text().contains(SECRET));
    assert_eq!(
        world.provider.last_request().unwrap().json().unwrap(),
        json!({"name": "n", "nested": {"a": "x"}})
    );
    for (body, name) in [
        (json!({"name": "n", "secret": "s"}), "secret"),
        (json!({"name": "n", "nested": {"b": "x"}}), "nested.b"),
        (json!({"name": "n", "undeclared": 1}), "undeclared"),
    ] {
        let answer = world.post("/things", &body);
        assert_eq!((answer.status, code(&answer).as_str()), (403, "field_not_granted"));
        assert!(answer.text().contains(name), "{}", answer.text());
    }
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = world.send("POST", "/things", &form, b"name=n&nested%5Ba%5D=x");
    assert_eq!(answer.status, 201, "{}", answer.text());
    let answer = world.send("POST", "/things", &form, b"name=n&secret=x");
    assert_eq!(code(&answer), "field_not_granted");
    assert_eq!(world.provider.requests().len(), 2);
}

#[test]
fn bodies_are_checked_whole_before_anything_is_sent() {
    let world = World::serving();
    let json = [("Content-Type", "application/json")];
    let deep = format!("{}1{}", "[".repeat(129), "]".repeat(129));
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(1 << 20));
    for (body, status, wanted) in [
        (&b"{\"name\":"[..], 400, "body_malformed"),
        (b"{\"name\":1,\"n\\u0061me\":2}", 400, "body_malformed"),
        (b"\xEF\xBB\xBF{}", 400, "body_malformed"),
        (b"{\"name\":\"\xC3\x28\"}", 400, "body_malformed"),
        (b"{} {}", 400, "body_malformed"),
        (deep.as_bytes(), 400, "body_malformed"),
        (b"", 400, "body_missing"),
        (large.as_bytes(), 413, "body_too_large"),
    ] {
        let answer = world.send("POST", "/things", &json, body);
        assert_eq!((answer.status, code(&answer).as_str()), (status, wanted));
    }
    let answer = world.send("POST", "/things", &[("Content-Type", "text/plain")], b"{}");
    assert_eq!((answer.status, code(&answer).as_str()), (415, "body_media_unsupported"));
    let zipped = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    let answer = world.send("POST", "/things", &zipped, b"{}");
    assert_eq!((answer.status, code(&answer).as_str()), (415, "body_media_unsupported"));
    let answer = world.send("DELETE", "/things/1", &json, b"{}");
    assert_eq!((answer.status, code(&answer).as_str()), (403, "body_not_declared"));
    assert!(world.provider.requests().is_empty());
}

#[test]
fn callers_headers_do_not_reach_the_provider() {
    let world = World::serving();
    let headers = [
        ("Cookie", "session=1"),
        ("X-Forwarded-For", "1.2.3.4"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Original-URL", "/things/2"),
        ("X-Tenant", "other"),
        ("X-Api-Key", "mine"),
        ("Range", "bytes=0-1"),
        ("If-None-Match", "\"1\""),
        ("Accept-Language", "de"),
    ];
    assert_eq!(world.send("GET", "/things/1", &headers, b"").status, 200);
    let received = world.provider.last_request().unwrap();
    for (name, _) in headers.iter().filter(|(name, _)| *name != "Accept-Language") {
        assert_eq!(received.header(name), None, "{name}");
    }
    assert_eq!(received.header("accept-language"), Some("de"));
    assert_eq!(received.header("accept-encoding"), Some("gzip, br, zstd, deflate"));
}

#[test]
fn revocation_takes_effect_within_a_second() {
    let world = World::serving();
    assert_eq!(world.get("/things/1").status, 200);
    let listed = ok(&world.weirgate, &["client", "list", "--json"]);
    let clients = listed["clients"].as_array().unwrap();
    let reader = clients.iter().find(|one| one["name"] == "reader").unwrap();
    let id = reader["keys"][0]["id"].as_str().unwrap().to_owned();
    ok(&world.weirgate, &["client", "key", "revoke", &id, "--json"]);
    wait_until(Duration::from_secs(1), || world.get("/things/1").status != 200);
    // One that was under way at that moment was cut with a code of its own.
    let answer = world.get("/things/1");
    assert_eq!((answer.status, code(&answer).as_str()), (401, "key_revoked"));
}

#[test]
fn narrowed_and_revoked_grants_follow() {
    let world = World::serving();
    assert_eq!(world.get("/things/1").status, 200);
    world.apply(
        &GRANTS.replace(r#""name", "nested.a", "list[].label"], params"#, r#""name"], params"#),
    );
    wait_until(Duration::from_secs(1), || {
        world.get("/things/1").json().unwrap() == json!({"id": "1", "name": "Thing 1"})
    });
    world.apply("");
    wait_until(Duration::from_secs(1), || world.get("/things/1").status != 200);
    // One that was under way at that moment was cut with a code of its own.
    let answer = world.get("/things/1");
    assert_eq!((answer.status, code(&answer).as_str()), (403, "not_granted"));
}

#[test]
fn a_revoked_connection_is_gone() {
    let world = World::serving();
    assert_eq!(world.get("/things/1").status, 200);
    ok(&world.weirgate, &["connection", "revoke", &world.connection, "--json"]);
    wait_until(Duration::from_secs(1), || world.get("/things/1").status != 200);
    // One that was under way at that moment was cut with a code of its own.
    let answer = world.get("/things/1");
    assert_eq!((answer.status, code(&answer).as_str()), (404, "connection_unknown"));
}

#[test]
fn an_expired_key_is_refused() {
    let mut world = World::prepared();
    let made =
        ok(&world.weirgate, &["client", "key", "create", "reader", "--expires", "1s", "--json"]);
    world.key = crate::world::text(&made, "key");
    world.serve();
    wait_until(Duration::from_secs(3), || world.get("/things/1").status != 200);
    // One that was under way at that moment was cut with a code of its own.
    let answer = world.get("/things/1");
    assert_eq!((answer.status, code(&answer).as_str()), (401, "key_expired"));
}

#[test]
fn every_call_is_recorded_with_intent_and_outcome() {
    let mut world = World::serving();
    let good = world.get("/things/1");
    let refused = world.get("/things?sort=secret");
    let failed = world.get("/fault/html");
    let _ = client::get(world.addr, &world.path("/things"), &[]).unwrap();
    world.stop();
    let entries = world.entries();
    let of = |answer: &client::Response, kind: &str| {
        let id = answer.header("weirgate-request-id").unwrap();
        entries.iter().find(|entry| entry["request"] == id && entry["kind"] == kind).cloned()
    };
    let intent = of(&good, "intent").unwrap();
    assert_eq!(intent["operation"], "get_thing");
    assert_eq!(intent["object"], "Thing");
    let outcome = of(&good, "outcome").unwrap();
    assert_eq!(outcome["status"], 200);
    assert!(outcome["withheld"].as_str().unwrap().contains("secret"), "{outcome}");
    assert_eq!(of(&refused, "refused").unwrap()["code"], "parameter_not_granted");
    assert!(of(&refused, "intent").is_none());
    assert_eq!(of(&failed, "outcome").unwrap()["code"], "answer_media");
    assert!(entries.iter().any(|entry| entry["kind"] == "unauthenticated"));
    let verified = world.verify();
    assert_eq!(verified["open_intents"], 0);
    assert_eq!(verified["outbox_rows"], 0);
    assert!(verified["entries"].as_u64().unwrap() >= 10);
}

#[test]
fn downloads_pass_only_by_name() {
    let world = World::serving();
    let answer = world.get("/things/1/photo");
    assert_eq!((answer.status, code(&answer).as_str()), (403, "not_granted"));
    let more = r#"
[[grant]]
client = "reader"
provider = "things"
purpose = "photos"
expires = "2999-12-31"
allow = [ { actions = ["download"], operations = ["get_photo"] } ]
"#;
    world.apply(&format!("{GRANTS}{more}"));
    let answer = wait_until(Duration::from_secs(2), || {
        let answer = world.get("/things/1/photo");
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(answer.body, b"\x89PNG\r\n\x1a\n");
    assert_eq!(answer.header("content-type"), Some("image/png"));
}

#[test]
fn live_and_test_never_meet() {
    let mut world = World::prepared();
    let made = ok(
        &world.weirgate,
        &[
            "client",
            "key",
            "create",
            "reader",
            "--expires",
            "1d",
            "--environment",
            "test",
            "--json",
        ],
    );
    world.key = crate::world::text(&made, "key");
    world.serve();
    let answer = world.get("/things/1");
    assert_eq!((answer.status, code(&answer).as_str()), (404, "connection_unknown"));
}

#[test]
fn a_second_server_on_the_folder_is_refused() {
    let world = World::serving();
    let said = fails(
        &world.weirgate,
        1,
        &["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"],
        b"",
    );
    assert!(said.contains("another process serves or changes the data folder"), "{said}");
}

/// A verb that moves its entry into the log holds the folder for a moment.
#[test]
fn a_server_waits_for_a_verb_on_the_folder() {
    let mut world = World::prepared();
    let folder = std::fs::File::open(world.weirgate.data_dir()).unwrap();
    folder.try_lock().unwrap();
    let verb = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(2));
        drop(folder);
    });
    world.serve();
    assert!(verb.is_finished(), "nobody serves beside a verb");
    assert_eq!(world.get("/things/1").status, 200);
    world.stop();
    verb.join().unwrap();
}

#[test]
fn error_pages_and_health_are_served() {
    let world = World::serving();
    for addr in [world.addr, world.console] {
        assert_eq!(client::get(addr, "/healthz", &[]).unwrap().text(), "ok\n");
        assert_eq!(client::get(addr, "/readyz", &[]).unwrap().text(), "ready\n");
    }
    let refused = world.get("/things?sort=a");
    let page = refused.json().unwrap()["type"].as_str().unwrap().to_owned();
    let page = client::get(world.addr, &page, &[]).unwrap();
    assert!(page.text().contains("# parameter_not_granted"), "{}", page.text());
    assert_eq!(world.get("/things/1").status, 200);
    let metrics = client::get(world.console, "/metrics", &[]).unwrap().text();
    assert!(metrics.contains(r#"weirgate_calls_total{class="2xx"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"weirgate_calls_total{class="4xx"} 1"#), "{metrics}");
}

#[test]
fn cursors_that_are_no_urls_pass_as_they_are() {
    let world = World::serving();
    let body = json!({"results": [], "next": "YWZ0ZXI6MA==", "total": 0});
    world.provider.on("GET /things", testkit::Answer::json(200, &body));
    assert_eq!(world.get("/things").json().unwrap(), body);
}

#[test]
fn head_is_judged_as_the_get_and_has_its_head() {
    let world = World::serving();
    world.provider.on(
        "HEAD /things/1",
        testkit::Answer::verbatim(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: \"v1\"\r\nX-Debug: 1\r\nContent-Length: 321\r\n\r\n",
        ),
    );
    for _ in 0..3 {
        let mut connection = client::Connection::open(world.addr).unwrap();
        let bearer = format!("Bearer {}", world.key);
        let headers = [("Authorization", bearer.as_str())];
        let answer = connection.request("HEAD", &world.path("/things/1"), &headers, b"").unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("content-length"), None, "{answer:?}");
        assert_eq!(
            answer.header("weirgate-fields-withheld"),
            Some("secret, nested.b, list[].code")
        );
        assert!(answer.header("etag").is_some_and(|tag| tag != "\"v1\"" && tag.len() > 20));
        assert_eq!(answer.header("x-debug"), None);
        // The connection is still in step.
        let after = connection.request("GET", &world.path("/things/2"), &headers, b"").unwrap();
        assert_eq!(after.status, 200, "{}", after.text());
    }
    assert!(world.provider.requests().iter().any(|one| one.method == "HEAD"));
    world.provider.forget();
    let bearer = format!("Bearer {}", world.stranger_key);
    let headers = [("Authorization", bearer.as_str())];
    let mut connection = client::Connection::open(world.addr).unwrap();
    let answer = connection.request("HEAD", &world.path("/things/1"), &headers, b"").unwrap();
    assert_eq!(answer.status, 403);
    assert!(world.provider.requests().is_empty());
}

#[test]
fn methods_for_peers_are_not_served() {
    let world = World::serving();
    for method in ["OPTIONS", "TRACE"] {
        let answer = world.send(method, "/things/1", &[], b"");
        assert_eq!(
            (answer.status, code(&answer).as_str()),
            (405, "method_unsupported"),
            "{method}"
        );
        assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE"));
    }
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let answer = world.send("GET", "/things/1", &upgrade, b"");
    assert_eq!(answer.status, 200);
    assert_eq!(world.provider.last_request().unwrap().header("upgrade"), None);
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    world.provider.on("GET /things/1", testkit::Answer::verbatim(switching));
    let answer = world.get("/things/1");
    assert_eq!(answer.status, 502, "{}", answer.text());
}

/// A 304 confirms what this caller may see now, and nothing else.
#[test]
fn a_tag_saves_an_answer_until_the_grant_changes() {
    let world = World::serving();
    world.provider.on_each("GET /things/1", |received| {
        if received.header("if-none-match") == Some("\"v1\"") {
            testkit::Answer::status(304).header("ETag", "\"v1\"")
        } else {
            testkit::Answer::json(200, &testkit::thing("1")).header("ETag", "\"v1\"")
        }
    });
    let tag = world.get("/things/1").header("etag").unwrap().to_owned();
    assert_eq!(world.get("/things/1").header("etag"), Some(tag.as_str()));
    let ask = |tag: &str| world.send("GET", "/things/1", &[("If-None-Match", tag)], b"");
    for given in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
        let answer = ask(&given);
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{given}");
        assert_eq!(answer.header("etag"), Some(tag.as_str()));
    }
    for given in ["\"v1\"", "*", "\"other\"", "v1"] {
        assert_eq!(ask(given).status, 200, "{given}");
    }
    let range = [("Range", "bytes=0-3"), ("If-Modified-Since", "Wed, 25 Nov 2026 21:00:00 GMT")];
    assert_eq!(world.send("GET", "/things/1", &range, b"").status, 200);
    let last = world.provider.last_request().unwrap();
    assert_eq!((last.header("range"), last.header("if-modified-since")), (None, None));
    // With another grant it is another document.
    world.apply(&GRANTS.replace("\"nested.a\", \"list[].label\"", "\"nested.a\""));
    let answer = wait_until(Duration::from_secs(2), || {
        let answer = ask(&tag);
        (answer.status == 200).then_some(answer)
    });
    assert!(answer.json().unwrap().get("list").is_none(), "{}", answer.text());
}
