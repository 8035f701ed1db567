//! The control API: who may do what by a token, and what is told.

use crate::browser::{Answer, House, Person, between};
use api::API_ROUTES;
use app::apply::{self, Removal};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};
use types::SecretText;

/// An installation with a provider, a connection, a client with a key, and grants.
async fn furnished() -> House {
    let house = House::open().await;
    let credential = SecretText::new("sandbox-credential".into());
    let (url, host) = ("http://127.0.0.1:1".to_owned(), "127.0.0.1:1".to_owned());
    app::demo::seed(&house.instance, &house.context(), url, host, &credential).await.unwrap();
    app::sequence::settle(&house.instance).await.unwrap();
    house
}

/// A token of a person's, with these roles of theirs.
pub async fn token(person: &mut Person, roles: &str) -> String {
    person.browser.get("/account").await;
    let fields = [("name", "report"), ("roles", roles), ("days", "7")];
    let made = person.browser.post("/account/tokens", &fields).await;
    assert_eq!(made.status, 200, "{}", made.text);
    between(&made.text, "<p class=\"code\">", "<").to_owned()
}

pub async fn ask(
    house: &House,
    token: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(body.map(|_| ("content-type", "application/json")));
    let body = body.map(Value::to_string).unwrap_or_default();
    house.send(method, path, &headers, &body).await
}

pub async fn get(house: &House, token: &str, path: &str) -> Value {
    let answer = ask(house, token, "GET", path, None).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    serde_json::from_str(&answer.text).unwrap()
}

pub fn problem(answer: &Answer) -> Value {
    let kind = answer.headers["content-type"].to_str().unwrap();
    assert_eq!(kind, "application/problem+json", "{}", answer.text);
    let problem: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(problem["status"], answer.status);
    for name in ["title", "code", "detail", "remedy"] {
        assert!(!problem[name].as_str().unwrap().is_empty(), "{name}: {problem}");
    }
    problem
}

const ROLES: [&str; 5] = ["read-only", "integrator", "auditor", "security", "administrator"];

/// By route: which of [`ROLES`] get further than the guard.
#[rustfmt::skip]
const TABLE: &[(&str, &str, [bool; 5])] = &[
    ("GET", "/v1/installation", [true, true, true, true, true]),
    ("GET", "/v1/nodes", [false, false, true, true, true]),
    ("GET", "/v1/settings", [false, false, true, true, true]),
    ("GET", "/v1/doctor", [false, false, false, true, true]),
    ("GET", "/v1/providers", [true, true, true, true, true]),
    ("GET", "/v1/providers/{name}", [true, true, true, true, true]),
    ("PUT", "/v1/providers/{name}", [false, true, false, false, false]),
    ("POST", "/v1/providers/{name}/diff", [true, true, true, true, true]),
    ("GET", "/v1/providers/{name}/fields/{field}", [true, true, true, true, true]),
    ("GET", "/v1/connections", [true, true, true, true, true]),
    ("GET", "/v1/connections/{id}", [true, true, true, true, true]),
    ("DELETE", "/v1/connections/{id}", [false, true, false, true, true]),
    ("POST", "/v1/connect-sessions", [false, true, false, false, true]),
    ("GET", "/v1/connect-sessions/{id}", [false, true, false, false, true]),
    ("GET", "/v1/clients", [true, true, true, true, true]),
    ("GET", "/v1/clients/{name}", [true, true, true, true, true]),
    ("PUT", "/v1/clients/{name}", [false, true, false, false, false]),
    ("DELETE", "/v1/keys/{id}", [false, true, false, true, true]),
    ("GET", "/v1/grants", [true, true, true, true, true]),
    ("POST", "/v1/grants/plan", [true, true, true, true, true]),
    ("GET", "/v1/proposals", [true, true, true, true, true]),
    ("GET", "/v1/advice", [true, true, true, true, true]),
    ("GET", "/v1/reviews", [false, false, true, true, true]),
    ("POST", "/v1/reviews", [false, false, false, true, true]),
    ("GET", "/v1/reviews/{id}", [false, false, true, true, true]),
    ("GET", "/v1/users", [false, false, true, true, true]),
    ("GET", "/v1/users/{id}", [false, false, true, true, true]),
    ("GET", "/v1/users/{id}/acts", [false, false, true, true, true]),
    ("GET", "/v1/sessions", [false, false, true, true, true]),
    ("DELETE", "/v1/sessions/{id}", [false, false, false, true, true]),
    ("GET", "/v1/tokens", [true, true, true, true, true]),
    ("DELETE", "/v1/tokens/{id}", [true, true, true, true, true]),
    ("GET", "/v1/roles", [false, false, true, true, true]),
    ("GET", "/v1/policies", [false, false, true, true, true]),
    ("GET", "/v1/audit/entries", [false, false, true, true, true]),
    ("GET", "/v1/audit/checkpoint", [false, false, true, true, true]),
];

/// Where credentials go is decided by people who show a factor.
#[tokio::test]
async fn no_token_moves_where_credentials_go() {
    let house = furnished().await;
    house.administrator().await;
    let mut ines = house.invited("ines@example.com", &["integrator"]).await;
    let token = token(&mut ines, "integrator").await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let tag = async || {
        let answer = house.send("GET", "/v1/providers/hr", &headers, "").await;
        answer.headers["etag"].to_str().unwrap().to_owned()
    };
    let before = tag().await;
    let description = json!({
        "openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {},
        "servers": [{"url": "https://elsewhere.example"}],
    })
    .to_string();
    let elsewhere = "https://elsewhere.example";
    for (path, more, status) in [
        ("hr", json!({"server": elsewhere, "accept_servers": true}), 403),
        ("hr", json!({"allow_private_network": ["10.0.0.1:443"]}), 403),
        (
            "hr",
            json!({"server": "https://10.0.0.1", "accept_servers": true,
            "allow_private_network": ["10.0.0.1:443"]}),
            403,
        ),
        ("new", json!({"allow_private_network": ["127.0.0.1:80"]}), 403),
        ("new", json!({"server": "https://10.0.0.1"}), 422),
        ("hr", json!({"server": elsewhere}), 409),
    ] {
        let mut body = more;
        body["description"] = json!(description);
        let mut all = headers.to_vec();
        all.extend([("content-type", "application/json")]);
        if path == "hr" {
            all.push(("if-match", &before));
        }
        let uri = format!("/v1/providers/{path}");
        let answer = house.send("PUT", &uri, &all, &body.to_string()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
    }
    assert_eq!(tag().await, before);
    assert_eq!(app::providers::list(&house.instance).await.unwrap().len(), 1);
}

#[tokio::test]
async fn every_operation_does_for_everybody_what_the_table_says() {
    let mut declared: Vec<_> =
        API_ROUTES.iter().map(|(method, path, _)| (*method, *path)).collect();
    let mut walked: Vec<_> = TABLE.iter().map(|(method, path, _)| (*method, *path)).collect();
    declared.sort_unstable();
    walked.sort_unstable();
    assert_eq!(declared, walked);
    let description: Value = serde_json::from_str(&api::DESCRIPTION).unwrap();
    let described: BTreeSet<(String, String)> = description["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
            methods.map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let walked: BTreeSet<_> =
        walked.into_iter().map(|(method, path)| (method.to_owned(), path.to_owned())).collect();
    assert_eq!(described, walked, "the description says what is served");

    let house = furnished().await;
    let mut ada = house.administrator().await;
    let widest = token(&mut ada, "administrator").await;
    let mut tokens = Vec::new();
    for role in ROLES.iter().take(4) {
        let mut person = house.invited(&format!("{role}@example.com"), &[role]).await;
        tokens.push(token(&mut person, role).await);
    }
    tokens.push(widest);
    let session = ada.browser.cookie_line();
    let right = format!("Bearer {}", tokens[4]);
    let (basic, wrong) = (right.replace("Bearer", "Basic"), right.replace("wgp_", "wgq_"));
    for (method, path, wanted) in TABLE {
        let path = path.replace(['{', '}'], "");
        // Nobody, a session, and what is no token.
        for headers in [
            vec![],
            vec![("cookie", session.as_str())],
            vec![("authorization", "Bearer")],
            vec![("authorization", "Bearer nothing")],
            vec![("authorization", basic.as_str())],
            vec![("authorization", wrong.as_str())],
            vec![("authorization", right.as_str()), ("authorization", right.as_str())],
        ] {
            let answer = house.send(method, &path, &headers, "").await;
            assert_eq!(answer.status, 401, "{method} {path} {headers:?}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            problem(&answer);
        }
        for ((token, wanted), role) in tokens.iter().zip(wanted).zip(ROLES) {
            let answer = ask(&house, token, method, &path, None).await;
            assert_eq!(answer.status != 403, *wanted, "{method} {path} {role}: {}", answer.text);
            assert!(
                ![401, 500].contains(&answer.status),
                "{method} {path} {role}: {}",
                answer.text
            );
            assert_eq!(answer.headers["cache-control"], "no-store");
            if answer.status >= 400 {
                problem(&answer);
            }
        }
        let other = ask(&house, &tokens[4], "PATCH", &path, None).await;
        assert_eq!(other.status, 405, "{path}");
        assert!(other.headers["allow"].to_str().unwrap().contains(method), "{path}");
    }
}

#[tokio::test]
async fn a_token_ends_with_its_owners_rights() {
    let house = furnished().await;
    let mut ada = house.administrator().await;
    let mut bob = house.invited("bob@example.com", &["auditor", "integrator"]).await;
    let narrow = token(&mut bob, "auditor").await;
    let wide = token(&mut bob, "auditor, integrator").await;
    assert_eq!(ask(&house, &narrow, "PUT", "/v1/clients/new", None).await.status, 403);
    assert_eq!(ask(&house, &wide, "PUT", "/v1/clients/new", None).await.status, 201);
    assert_eq!(ask(&house, &wide, "PUT", "/v1/clients/new", None).await.status, 200, "again");
    let users = get(&house, &narrow, "/v1/users").await;
    let id =
        users["items"].as_array().unwrap().iter().find(|one| one["address"] == "bob@example.com");
    let id = id.unwrap()["id"].as_str().unwrap().to_owned();
    // Its owner's tokens, and nobody else's.
    let own = token(&mut ada, "administrator").await;
    let listed = get(&house, &narrow, "/v1/tokens").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let of_ada =
        get(&house, &own, "/v1/tokens").await["items"][0]["id"].as_str().unwrap().to_owned();
    let end = format!("/v1/tokens/{of_ada}");
    assert_eq!(ask(&house, &narrow, "DELETE", &end, None).await.status, 404, "a foreign one");
    assert_eq!(get(&house, &own, "/v1/tokens").await["items"][0]["in_force"], true);
    // A role that is taken from its owner is the token's no more.
    ada.browser.get("/users").await;
    let auditor = [("roles", "auditor")];
    let changed = ada.browser.post(&format!("/users/{id}/roles"), &auditor).await;
    assert_eq!((changed.status, changed.location()), (303, "/users"));
    assert_eq!(ask(&house, &wide, "PUT", "/v1/clients/more", None).await.status, 403);
    assert_eq!(ask(&house, &wide, "GET", "/v1/users", None).await.status, 200);
    // A policy counts from the next request on.
    let policy = "forbid (principal, action == Action::\"user.read\", resource) when \
                  { principal.is_token };";
    let files = [("no-programs.cedar".to_owned(), policy.as_bytes().to_vec())];
    let plan = apply::plan_files(&house.instance, &files).await.unwrap();
    apply::commit(&house.instance, &house.context(), plan, Removal::SomeGrantsRemain)
        .await
        .unwrap();
    assert_eq!(ask(&house, &wide, "GET", "/v1/users", None).await.status, 403);
    assert_eq!(ask(&house, &wide, "GET", "/v1/roles", None).await.status, 200);
    // Its own end, somebody's disabling, and its last day.
    let own_id = listed["items"].as_array().unwrap().iter().find(|one| one["is_own"] == true);
    let path = format!("/v1/tokens/{}", own_id.unwrap()["id"].as_str().unwrap());
    assert_eq!(ask(&house, &narrow, "DELETE", &path, None).await.status, 204);
    assert_eq!(ask(&house, &narrow, "GET", "/v1/roles", None).await.status, 401);
    ada.browser.get("/users").await;
    ada.browser.post(&format!("/users/{id}/disable"), &[]).await;
    assert_eq!(ask(&house, &wide, "GET", "/v1/roles", None).await.status, 401);
    house.wait(Duration::from_hours(8 * 24));
    assert_eq!(ask(&house, &own, "GET", "/v1/roles", None).await.status, 401);
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let house = furnished().await;
    let mut ines = house.invited("ines@example.com", &["integrator", "auditor"]).await;
    let token = token(&mut ines, "integrator, auditor").await;
    for number in 0..5 {
        let path = format!("/v1/clients/client-{number}");
        assert_eq!(ask(&house, &token, "PUT", &path, None).await.status, 201);
    }
    let mut seen = Vec::new();
    let mut path = "/v1/clients?limit=2".to_owned();
    loop {
        let page = get(&house, &token, &path).await;
        let names = page["items"].as_array().unwrap().iter().map(|one| one["name"].clone());
        seen.extend(names);
        let Some(next) = page["next"].as_str() else { break };
        // What comes before the page moves nothing.
        let before = format!("/v1/clients/a{}", seen.len());
        assert_eq!(ask(&house, &token, "PUT", &before, None).await.status, 201);
        path = format!("/v1/clients?limit=2&cursor={next}");
    }
    let all = seen.iter().map(|one| one.as_str().unwrap()).collect::<Vec<_>>();
    let wanted = ["client-0", "client-1", "client-2", "client-3", "client-4"];
    assert!(wanted.iter().all(|one| all.contains(one)), "{all:?}");
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
    let mut indices = Vec::new();
    let mut path = "/v1/audit/entries?limit=3".to_owned();
    loop {
        let page = get(&house, &token, &path).await;
        let of_page = page["items"].as_array().unwrap().iter();
        indices.extend(of_page.map(|one| one["index"].as_u64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/audit/entries?limit=3&cursor={next}");
    }
    assert_eq!(indices.last(), Some(&0));
    assert!(indices.windows(2).all(|two| two[0] == two[1] + 1), "{indices:?}");
    for query in
        ["limit=0", "limit=201", "limit=x", "cursor=!", "cursor=%F0", "colour=red", "limit=-1"]
    {
        for path in ["/v1/clients", "/v1/audit/entries"] {
            let answer = ask(&house, &token, "GET", &format!("{path}?{query}"), None).await;
            assert_eq!(answer.status, 400, "{path}?{query}: {}", answer.text);
            assert_eq!(problem(&answer)["code"], "malformed");
        }
    }
}

#[tokio::test]
async fn a_provider_is_replaced_only_as_it_was_read() {
    const DESCRIPTION: &str = r##"{"openapi":"3.0.3","info":{"title":"T","version":"1"},
        "servers":[{"url":"https://api.example.com"}],"paths":{"/things":{"get":{"responses":{"200":
        {"description":"","content":{"application/json":{"schema":{"$ref":"#/components/schemas/Thing"}}}}}}}},
        "components":{"schemas":{"Thing":{"type":"object","properties":{"id":{"type":"string"}}}}}}"##;
    let house = furnished().await;
    let mut ines = house.invited("ines@example.com", &["integrator"]).await;
    let token = token(&mut ines, "integrator").await;
    let bearer = format!("Bearer {token}");
    let put = async |path: &str, tags: &[(&str, &str)], body: &Value| {
        let mut headers =
            vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        headers.extend_from_slice(tags);
        house.send("PUT", path, &headers, &body.to_string()).await
    };
    let path = "/v1/providers/things";
    let body = json!({"description": DESCRIPTION});
    assert_eq!(put(path, &[("if-match", "\"x\"")], &body).await.status, 412, "there is none");
    let made = put(path, &[("if-none-match", "*")], &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(problem(&put(path, &[], &body).await)["code"], "match_missing");
    assert_eq!(put(path, &[("if-none-match", "*")], &body).await.status, 412);
    let read = ask(&house, &token, "GET", path, None).await;
    let tag = read.headers["etag"].to_str().unwrap().to_owned();
    let later = json!({"description": DESCRIPTION.replace("\"id\"", "\"name\"")});
    let replaced = put(path, &[("if-match", &tag)], &later).await;
    assert_eq!(replaced.status, 200, "{}", replaced.text);
    assert_eq!(put(path, &[("if-match", &tag)], &body).await.status, 412, "it is another now");
    let read = get(&house, &token, path).await;
    assert_eq!(read["declared"]["objects"][0]["fields"][0]["path"], "name");
    let compared = ask(&house, &token, "POST", "/v1/providers/things/diff", Some(&body)).await;
    assert_eq!(compared.status, 200);
    assert!(compared.text.contains("field_gone"), "{}", compared.text);
    // What is wrong is said, and nothing of what was sent is repeated.
    for (body, status) in [
        (json!({"description": "canary: ["}), 422),
        (json!({"description": 7}), 422),
        (json!({"description": DESCRIPTION, "canary": 1}), 422),
        (json!({"description": DESCRIPTION, "server": "http://canary.internal"}), 422),
    ] {
        let answer = put("/v1/providers/other", &[], &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        assert!(!answer.text.contains("canary"), "{}", answer.text);
        problem(&answer);
    }
    let headers = [("authorization", bearer.as_str()), ("content-type", "text/plain")];
    assert_eq!(house.send("PUT", path, &headers, "{}").await.status, 415);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    assert_eq!(house.send("PUT", path, &headers, "{").await.status, 400);
    let long = format!("{{\"files\":[{{\"name\":\"a\",\"text\":\"{}\"}}]}}", "x".repeat(1 << 20));
    assert_eq!(house.send("POST", "/v1/grants/plan", &headers, &long).await.status, 413);
    assert_eq!(put("/v1/providers/Big%20One", &[], &body).await.status, 422);
}

#[tokio::test]
async fn what_is_read_and_ended_is_what_there_is() {
    let house = furnished().await;
    let mut ada = house.administrator().await;
    let token_of_ada = token(&mut ada, "administrator").await;
    let mut rea = house.invited("rea@example.com", &["read-only"]).await;
    let narrow = token(&mut rea, "read-only").await;
    let all = get(&house, &token_of_ada, "/v1/connections").await;
    let connection = all["items"][0].clone();
    assert!(connection["customer"].is_string());
    let id = connection["id"].as_str().unwrap();
    let path = format!("/v1/connections/{id}");
    assert!(get(&house, &narrow, &path).await["customer"].is_null(), "not for everybody");
    assert!(!all.to_string().contains("sandbox-credential"));
    let grants = get(&house, &narrow, "/v1/grants").await;
    let grant = &grants["items"][0];
    let object = grant["allow"][0]["object"].as_str().unwrap();
    let field = grant["allow"][0]["fields"][0].as_str().unwrap();
    let provider = grant["provider"].as_str().unwrap();
    let seen =
        get(&house, &narrow, &format!("/v1/providers/{provider}/fields/{object}.{field}")).await;
    assert_eq!(seen["ways"][0]["client"], grant["client"]);
    let plan = json!({"files": [{"name": "a.toml", "text": "[[grant]]\nclient = 7\n"}]});
    let answer = ask(&house, &narrow, "POST", "/v1/grants/plan", Some(&plan)).await;
    assert_eq!(answer.status, 422);
    assert!(
        problem(&answer)["problems"][0].as_str().unwrap().starts_with("a.toml:"),
        "{}",
        answer.text
    );
    let plan = json!({"files": [{"name": "a.cedar", "text": "forbid (principal is Person, action, resource);"}]});
    let answer = ask(&house, &narrow, "POST", "/v1/grants/plan", Some(&plan)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(
        get(&house, &token_of_ada, "/v1/policies").await["items"].as_array().unwrap().is_empty()
    );

    // Ended, twice, and what is not there.
    let clients = get(&house, &narrow, "/v1/clients").await;
    let key = clients["items"][0]["keys"][0]["id"].as_str().unwrap();
    for path in [path.clone(), format!("/v1/keys/{key}")] {
        for _ in 0..2 {
            assert_eq!(
                ask(&house, &token_of_ada, "DELETE", &path, None).await.status,
                204,
                "{path}"
            );
        }
    }
    assert!(get(&house, &narrow, &path).await["revoked_at"].is_string());
    let sessions = get(&house, &token_of_ada, "/v1/sessions").await;
    let first = sessions["items"][0]["id"].as_str().unwrap();
    let end = format!("/v1/sessions/{first}");
    assert_eq!(ask(&house, &token_of_ada, "DELETE", &end, None).await.status, 204);
    let guessed = "06ewk4g000e0g0000000000001";
    for (method, path) in [
        ("DELETE", "/v1/connections/none".to_owned()),
        ("DELETE", format!("/v1/connections/conn_{guessed}")),
        ("DELETE", format!("/v1/keys/key_{guessed}")),
        ("DELETE", format!("/v1/keys/{id}")),
        ("DELETE", format!("/v1/sessions/sess_{guessed}")),
        ("DELETE", end),
        ("DELETE", format!("/v1/tokens/pat_{guessed}")),
        ("GET", "/v1/users/none".to_owned()),
        ("GET", format!("/v1/users/user_{guessed}/acts")),
        ("GET", "/v1/providers/none".to_owned()),
        ("GET", "/v1/providers/..".to_owned()),
        ("GET", format!("/v1/providers/{provider}/fields/None.none")),
        ("GET", "/v1/clients/none".to_owned()),
        ("GET", "/v1/nothing".to_owned()),
        ("GET", "/v1/".to_owned()),
    ] {
        let answer = ask(&house, &token_of_ada, method, &path, None).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
        problem(&answer);
    }
    // Who did it, in the log: the token, and nothing of its text.
    app::sequence::settle(&house.instance).await.unwrap();
    let entries = get(&house, &token_of_ada, "/v1/audit/entries").await.to_string();
    assert!(entries.contains("key.revoke") && entries.contains("token:"), "{entries}");
    assert!(!entries.contains(&token_of_ada) && !entries.contains("rea@example.com"));
    let note = get(&house, &token_of_ada, "/v1/audit/checkpoint").await;
    assert!(note["checkpoint"].as_str().unwrap().contains("\u{2014}"), "{note}");
}

/// Whatever an answer is, it has the headers of the console's pages.
#[tokio::test]
async fn every_answer_of_the_api_has_the_strict_headers() {
    let house = furnished().await;
    let mut ines = house.invited("ines@example.com", &["integrator"]).await;
    let token = token(&mut ines, "integrator").await;
    let bearer = format!("Bearer {token}");
    let with =
        |kind: &'static str| vec![("authorization", bearer.as_str()), ("content-type", kind)];
    let json = || with("application/json");
    let long = "x".repeat((1 << 20) + 1);
    for (status, method, path, headers, body) in [
        (200, "GET", "/v1/providers", json(), ""),
        (200, "PUT", "/v1/clients/payroll", json(), ""),
        (201, "PUT", "/v1/clients/another", json(), ""),
        (204, "DELETE", "/v1/keys/KEY", json(), ""),
        (400, "POST", "/v1/grants/plan", json(), "{"),
        (401, "GET", "/v1/providers", vec![], ""),
        (403, "GET", "/v1/users", json(), ""),
        (404, "GET", "/v1/clients/nobody", json(), ""),
        (404, "GET", "/v1/nowhere", json(), ""),
        (405, "PATCH", "/v1/clients", json(), ""),
        (405, "OPTIONS", "/v1/clients", json(), ""),
        (413, "POST", "/v1/grants/plan", json(), &long),
        (415, "POST", "/v1/grants/plan", with("text/plain"), "{}"),
        (422, "POST", "/v1/grants/plan", json(), "{}"),
        (428, "PUT", "/v1/providers/hr", json(), "{\"description\": \"{}\"}"),
    ] {
        let clients = app::clients::list(&house.instance).await.unwrap();
        let path = path.replace("KEY", &clients[0].keys[0].id.to_string());
        let mut headers = headers;
        headers.push(("origin", "https://evil.example"));
        let answer = house.send(method, &path, &headers, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        crate::assert_strict(&answer, false, &format!("{status} {method} {path}"));
    }
    house.break_it();
    let answer = house.send("GET", "/v1/installation", &json(), "").await;
    assert_eq!(answer.status, 500);
    crate::assert_strict(&answer, false, "a defect");
}

/// Deep, wide, long and ambiguous documents are refused at every body, and by the next moment the rest
/// goes on.
#[tokio::test]
async fn no_document_is_too_deep_or_too_wide() {
    let house = furnished().await;
    let mut ines = house.invited("ines@example.com", &["integrator"]).await;
    let token = token(&mut ines, "integrator").await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let members: Vec<String> = (0..100_000).map(|n| format!("\"m{n}\":0")).collect();
    let open_close = |open: &str, close: &str| open.repeat(100_000) + "0" + &close.repeat(100_000);
    let documents = [
        open_close("[", "]"),
        open_close("{\"a\":", "}"),
        format!("{{\"description\":{}}}", open_close("[", "]")),
        format!("{{\"files\":{}}}", open_close("[", "]")),
        format!("{{{}}}", members.join(",")),
        format!("{{\"description\":\"{}\"}}", "x".repeat(1_000_000)),
        format!("{{\"description\":{}}}", "9".repeat(1_000_000)),
        "{\"description\":\"{}\",\"description\":\"{}\"}".to_owned(),
        "{\"files\":[],\"files\":[]}".to_owned(),
        "{\"description\":\"{}\",\"more\":1}".to_owned(),
        "{\"files\":[{\"name\":\"a.toml\",\"text\":\"\",\"more\":1}]}".to_owned(),
        "\u{FEFF}{}".to_owned(),
        "{\"description\":\"\\ud800\"}".to_owned(),
        "NaN".to_owned(),
    ];
    let generation = house.instance.store.generation().await.unwrap();
    let bodies = [
        ("PUT", "/v1/providers/another"),
        ("POST", "/v1/providers/hr/diff"),
        ("POST", "/v1/grants/plan"),
    ];
    for (method, path) in bodies {
        for document in &documents {
            let began = std::time::Instant::now();
            let answer = house.send(method, path, &headers, document).await;
            let what = format!("{method} {path} {document:.40}");
            assert!((400..500).contains(&answer.status), "{what}: {}", answer.text);
            problem(&answer);
            // The build is a debug one, on a machine that does other things too.
            assert!(began.elapsed() < Duration::from_secs(5), "{what}: {:?}", began.elapsed());
        }
    }
    assert_eq!(house.instance.store.generation().await.unwrap(), generation);
}

/// What an answer says is what the description declares, and no member more.
#[tokio::test]
async fn answers_have_declared_members_alone() {
    let house = furnished().await;
    let mut ada = house.administrator().await;
    let token = token(&mut ada, "administrator").await;
    let ctx = house.context();
    app::reviews::begin(&house.instance, &ctx, "autumn", 30).await.unwrap();
    let description: Value = serde_json::from_str(&api::DESCRIPTION).unwrap();
    let id = |page: &Value| page["items"][0]["id"].as_str().unwrap().to_owned();
    let begun = begun(&house, &token).await;
    let mut looked_at = 0;
    for (method, route, _) in API_ROUTES.iter().filter(|(method, ..)| *method == "GET") {
        let mut path = route.replace("{field}", "Employee.id").replace("{name}", "hr");
        if route.contains("/clients/") {
            path = path.replace("/hr", "/payroll");
        }
        if route.contains("/connect-sessions/") {
            path = path.replace("{id}", begun["id"].as_str().unwrap());
        } else if let Some((list, _)) = route.split_once("/{id}") {
            path = path.replace("{id}", &id(&get(&house, &token, list).await));
        }
        let answer = get(&house, &token, &path).await;
        let operation = &description["paths"][*route][method.to_lowercase()];
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{route}");
        declared(&description, schema, &answer, route);
        looked_at += 1;
    }
    assert!(looked_at > 20, "{looked_at}");
}

/// A connect session, begun by a program; repeated it is the same, and nobody else's program sees it.
async fn begun(house: &House, token: &str) -> Value {
    let description = json!({"openapi": "3.1.0", "info": {"title": "t", "version": "1"},
        "servers": [{"url": "https://api.example.com"}], "paths": {},
        "components": {"securitySchemes": {"oauth": {"type": "oauth2", "flows": {
            "authorizationCode": {"authorizationUrl": "https://id.example.com/a",
                "tokenUrl": "https://id.example.com/t", "scopes": {}}}}}}});
    let import = app::providers::Import {
        slug: "cloud".parse().unwrap(),
        description: description.to_string().into_bytes(),
        overlay: None,
        is_without_overlay: false,
        server: None,
        is_server_described: false,
        allow_private: Vec::new(),
        accepts_servers: true,
        expects: None,
    };
    app::providers::import(&house.instance, &house.context(), import).await.unwrap();
    let app = types::SecretBytes::new(br#"{"client_id":"weirgate","client_secret":"s"}"#.to_vec());
    let slug = "cloud".parse().unwrap();
    app::apps::set(&house.instance, &house.context(), &slug, &app).await.unwrap();
    let bearer = format!("Bearer {token}");
    let begin = async |key: &str, body: Value| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        house.send("POST", "/v1/connect-sessions", &headers, &body.to_string()).await
    };
    let wanted = json!({"provider": "cloud", "customer": "Acme"});
    let made = begin("k-1", wanted.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(begin("k-1", wanted.clone()).await.text, made.text);
    assert_ne!(begin("k-2", wanted).await.text, made.text);
    for (key, wrong) in [
        ("k-1", json!({"provider": "cloud", "customer": "Globex"})),
        ("k 3", json!({"provider": "cloud", "customer": "Acme"})),
        ("k-3", json!({"provider": "cloud"})),
        ("k-3", json!({"provider": "cloud", "customer": "Acme", "environment": "prod"})),
        ("k-3", json!({"provider": "cloud", "customer": "Acme", "connection": "conn_x"})),
        (
            "k-3",
            json!({"provider": "cloud", "customer": "Acme", "redirect_uri": "https://evil.example"}),
        ),
        ("k-3", json!({"provider": "hr", "customer": "Acme"})),
    ] {
        let refused = begin(key, wrong.clone()).await;
        assert_eq!(refused.status, 422, "{wrong}: {}", refused.text);
    }
    let made: Value = serde_json::from_str(&made.text).unwrap();
    let (url, opens) = (made["url"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert!(url.ends_with(&format!("/link/{opens}")), "{url}");
    made
}

/// Panics at a member that the schema does not name.
fn declared(description: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = description.pointer(reference.trim_start_matches('#')).unwrap();
        return declared(description, schema, value, place);
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(all) = schema[several].as_array() {
            let own: Vec<&Value> = all.iter().filter(|one| one["type"] != "null").collect();
            let [one] = own[..] else { panic!("{place}: {several} of many") };
            if !value.is_null() {
                declared(description, one, value, place);
            }
            return;
        }
    }
    match value {
        Value::Object(members) => {
            let Some(known) = schema["properties"].as_object() else {
                // An object that is told to be any.
                assert_eq!(schema["type"], "object", "{place}");
                return;
            };
            for (name, value) in members {
                let schema = known.get(name);
                let schema = schema.unwrap_or_else(|| panic!("{place}.{name} is not declared"));
                declared(description, schema, value, &format!("{place}.{name}"));
            }
        }
        Value::Array(items) => {
            for item in items {
                declared(description, &schema["items"], item, &format!("{place}[]"));
            }
        }
        _ => {}
    }
}

/// The description that is committed is the one that is served.
#[tokio::test]
async fn the_committed_description_is_the_one_that_is_served() {
    let house = House::open().await;
    let served = house.send("GET", "/openapi.json", &[], "").await;
    assert_eq!((served.status, served.text.as_str()), (200, api::DESCRIPTION.as_str()));
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("../../docs/reference/openapi.json");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    if committed != served.text && std::env::var_os("WEIRGATE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &served.text).unwrap();
    } else {
        assert!(committed == served.text, "run this test with WEIRGATE_UPDATE_DOCS=1");
    }
    let read = provider::load(served.text.as_bytes(), None, &provider::LoadLimits::default());
    let read = read.unwrap();
    assert_eq!(read.operations.len(), API_ROUTES.len());
    assert_eq!(read.diagnostics, [], "our own reader has nothing to say");
}

/// The reference says of each act that no token does where it is done.
#[test]
fn what_no_token_does_is_told() {
    let told = include_str!("../../../../docs/reference/api.md");
    let table = between(told, "## What no token does", "\n## ");
    for act in policy::Act::ALL {
        let is_told = table.contains(&format!("`{act}`"));
        assert_eq!(is_told, act.needs_step_up(), "{act}");
    }
}

#[tokio::test]
async fn a_review_is_begun_once_and_what_the_server_was_told_is_read() {
    let house = furnished().await;
    let mut ada = house.administrator().await;
    let token = token(&mut ada, "administrator").await;
    for (body, status) in [
        (json!({"name": "Autumn"}), 422),
        (json!({"name": "", "days": 9}), 422),
        (json!({"name": "Autumn", "days": 0}), 422),
        (json!({"name": "Autumn", "days": 367}), 422),
        (json!({"name": "Autumn", "days": 9, "canary": 1}), 422),
        (json!({"name": "Autumn", "days": 9}), 201),
        (json!({"name": "Autumn", "days": 9}), 409),
    ] {
        let answer = ask(&house, &token, "POST", "/v1/reviews", Some(&body)).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
    let listed = get(&house, &token, "/v1/reviews").await;
    let [begun] = listed["items"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!((&begun["name"], begun["closed_at"].is_null()), (&json!("Autumn"), true));
    assert!(begun["begun_by"].as_str().unwrap().starts_with("token:"), "{begun}");
    house.set_certificate(Duration::from_hours(24));
    let settings = get(&house, &token, "/v1/settings").await;
    assert_eq!(settings["settings"][0]["key"], "max_calls");
    assert!(settings["certificate"]["ends_at"].is_string(), "{settings}");
    let found = get(&house, &token, "/v1/doctor").await;
    assert!(found["findings"].as_array().unwrap().iter().any(|one| one["check"] == "folder"));
}
