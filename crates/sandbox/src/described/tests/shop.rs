//! One small description with every kind of paging and scheme: state, authentication, refusals.

use super::{mock, open_mock};
use crate::described::{
    mock::{Call, Delivery, Mock, Reply},
    table::Table,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use proptest::prelude::*;
use provider::LoadLimits;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};

const SHOP: &str = include_str!("shop.yaml");

fn table() -> Table {
    Table::read(SHOP.as_bytes(), &LoadLimits::default()).unwrap()
}

fn shop() -> Mock {
    open_mock(table())
}

fn call(mock: &Mock, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::try_from(*name).unwrap();
        map.append(name, HeaderValue::try_from(*value).unwrap());
    }
    mock.handle(Call {
        method: &Method::try_from(method).unwrap(),
        path,
        query,
        headers: &map,
        body: body.as_bytes(),
    })
}

fn get(mock: &Mock, target: &str) -> Value {
    let reply = call(mock, "GET", target, &[], "");
    assert_eq!(reply.status, 200, "{target}: {}", String::from_utf8_lossy(&reply.body));
    body(&reply)
}

fn body(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

fn status(mock: &Mock, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> u16 {
    call(mock, method, target, headers, body).status.as_u16()
}

const JSON: (&str, &str) = ("content-type", "application/json");
const PATCH: (&str, &str) = ("content-type", "application/merge-patch+json");

/// Ids of all products, page by page.
fn walk_products(mock: &Mock) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(mock, &format!("/products?limit=7&cursor={cursor}"));
        for product in page["data"].as_array().unwrap() {
            ids.push(product["id"].as_str().unwrap().to_owned());
        }
        if page["has_more"] == false {
            assert!(page["next_cursor"].is_null());
            return ids;
        }
        page["next_cursor"].as_str().unwrap().clone_into(&mut cursor);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let (one, two) = (shop(), shop());
    for target in ["/products", "/orders?offset=3", "/settings", "/customers"] {
        let first = call(&one, "GET", target, &[], "");
        // The other order: nothing depends on what was asked before.
        let _ = call(&two, "GET", "/orders", &[], "");
        assert_eq!(first.body, call(&two, "GET", target, &[], "").body, "{target}");
        // From the cache.
        assert_eq!(first.body, call(&one, "GET", target, &[], "").body, "{target}");
    }
    let product = &get(&one, "/products")["data"][0];
    assert!(product["maker"]["email"].as_str().unwrap().ends_with("@example.com"), "{product}");
    assert!(product.get("secretNote").is_none(), "what is only written is not shown");
}

#[test]
fn cursors_walk_every_record_once_while_others_come_and_go() {
    let mock = shop();
    let all = walk_products(&mock);
    assert_eq!(all.len(), 25);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 25);
    let first = get(&mock, "/products?limit=7");
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(status(&mock, "DELETE", &format!("/products/{}", all[2]), &[], ""), 204);
    let new = r#"{"name":"New","price":1}"#;
    assert_eq!(status(&mock, "POST", "/products", &[JSON], new), 201);
    let second = get(&mock, &format!("/products?limit=7&cursor={cursor}"));
    assert_eq!(second["data"][0]["id"], all[7].as_str());
    let again = walk_products(&mock);
    assert_eq!(again.len(), 25);
    assert_eq!(again[..2], all[..2]);
}

#[test]
fn offsets_pages_links_and_last_ids_walk_all() {
    let mock = shop();
    let mut ids = Vec::new();
    loop {
        let page = get(&mock, &format!("/orders?limit=10&offset={}", ids.len()));
        assert_eq!((page["total"].as_u64(), page["limit"].as_u64()), (Some(25), Some(10)));
        assert_eq!(page["offset"].as_u64(), Some(ids.len() as u64));
        let orders = page["orders"].as_array().unwrap();
        if orders.is_empty() {
            break;
        }
        ids.extend(orders.iter().map(|order| order["id"].as_u64().unwrap()));
    }
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 25);

    let mut target = format!("/orders/{}/lines?per_page=10", ids[0]);
    let mut lines = Vec::new();
    for page_number in 1.. {
        let page = get(&mock, &target);
        assert_eq!(page["meta"], json!({ "page": page_number, "total_pages": 3 }));
        assert_eq!(page["links"]["prev"].is_null(), page_number == 1);
        for line in page["data"].as_array().unwrap() {
            assert_eq!(line["order_id"].as_u64(), Some(ids[0]), "a line tells its order");
            lines.push(line["id"].as_u64().unwrap());
        }
        let Some(next) = page["links"]["next"].as_str() else { break };
        let base = "http://127.0.0.1:1/v2";
        next.strip_prefix(base).unwrap().clone_into(&mut target);
    }
    assert_eq!(lines.iter().collect::<HashSet<_>>().len(), 25);
    let others = get(&mock, &format!("/orders/{}/lines?per_page=20", ids[1]));
    assert_ne!(others["data"][0]["id"].as_u64(), Some(lines[0]), "another order, other lines");

    let mut last = String::new();
    let mut customers = Vec::new();
    loop {
        let page = get(&mock, &format!("/customers?limit=9{last}"));
        for customer in page["data"].as_array().unwrap() {
            customers.push(customer["id"].as_str().unwrap().to_owned());
        }
        if page["has_more"] == false {
            break;
        }
        last = format!("&starting_after={}", customers.last().unwrap());
    }
    assert_eq!(customers.iter().collect::<HashSet<_>>().len(), 25);
    assert_eq!(status(&mock, "GET", "/customers?starting_after=cus_nobody", &[], ""), 400);

    let mut target = "/events".to_owned();
    let mut events = 0;
    loop {
        let reply = call(&mock, "GET", &target, &[], "");
        events += body(&reply).as_array().unwrap().len();
        let link = reply.headers.iter().find(|(name, _)| name == header::LINK);
        let next = link.and_then(|(_, value)| {
            let text = value.to_str().unwrap();
            let (url, _) = text.split_once(">; rel=\"next\"")?;
            Some(url.trim_start_matches("<http://127.0.0.1:1/v2").to_owned())
        });
        let Some(next) = next else { break };
        target = next;
    }
    assert_eq!(events, 25);
}

#[test]
fn filters_by_declared_parameters_hold() {
    let mock = shop();
    let all: Vec<Value> = {
        let page = get(&mock, "/products?limit=50");
        page["data"].as_array().unwrap().clone()
    };
    let mut found = 0;
    for color in ["red", "green", "blue"] {
        let page = get(&mock, &format!("/products?limit=50&color={color}"));
        let products = page["data"].as_array().unwrap();
        assert!(products.iter().all(|product| product["color"] == color));
        found += products.len();
    }
    assert_eq!(found, all.len());
    assert_eq!(status(&mock, "GET", "/products?color=pink", &[], ""), 400);
}

#[test]
fn what_is_written_is_read_back_and_what_was_deleted_is_gone() {
    let mock = shop();
    let new = r#"{"name":"Anvil","price":12.50,"maker":{"name":"Acme"},"id":"ignored"}"#;
    let reply = call(&mock, "POST", "/products", &[JSON], new);
    assert_eq!(reply.status, 201);
    let created = body(&reply);
    let id = created["id"].as_str().unwrap();
    assert_eq!(created["price"].to_string(), "12.5");
    assert_eq!(created["maker"], json!({ "name": "Acme" }));
    assert!(created.get("color").is_none(), "nothing is invented into what a caller wrote");
    assert!(created["createdAt"].is_string(), "the provider's own members are");
    let item = format!("/products/{id}");
    let location = reply.headers.iter().find(|(name, _)| name == header::LOCATION).unwrap();
    assert_eq!(location.1, format!("http://127.0.0.1:1/v2{item}"));
    assert_eq!(get(&mock, &item), created);
    assert_eq!(get(&mock, &format!("/v2{item}")), created, "below the server's path too");

    let patch = r#"{"price":3,"color":"red","maker":{"email":"a@example.com"}}"#;
    assert_eq!(status(&mock, "PATCH", &item, &[PATCH], patch), 200);
    let changed = get(&mock, &item);
    assert_eq!(changed["maker"], json!({ "name": "Acme", "email": "a@example.com" }));
    assert_eq!((&changed["name"], &changed["color"]), (&json!("Anvil"), &json!("red")));
    assert_eq!(status(&mock, "PATCH", &item, &[PATCH], r#"{"color":null}"#), 200);
    assert!(get(&mock, &item).get("color").is_none(), "cleared");

    assert_eq!(status(&mock, "PUT", &item, &[JSON], r#"{"name":"Hammer","price":1}"#), 200);
    assert!(get(&mock, &item).get("maker").is_none(), "replaced as a whole");
    assert!(walk_products(&mock).contains(&id.to_owned()));
    assert_eq!(status(&mock, "DELETE", &item, &[], ""), 204);
    for method in ["GET", "DELETE"] {
        assert_eq!(status(&mock, method, &item, &[], ""), 404);
    }
    assert_eq!(status(&mock, "PATCH", &item, &[PATCH], "{}"), 404);
    assert!(!walk_products(&mock).contains(&id.to_owned()));
    mock.reset();
    assert_eq!(walk_products(&mock).len(), 25);

    assert_eq!(status(&mock, "PATCH", "/settings", &[JSON], r#"{"theme":"dark"}"#), 200);
    assert_eq!(get(&mock, "/settings")["theme"], "dark");
    assert!(get(&mock, "/settings")["size"].is_i64());

    let order = get(&mock, "/orders")["orders"][0]["id"].to_string();
    let paid = body(&call(&mock, "POST", &format!("/orders/{order}/pay"), &[], ""));
    assert_eq!(paid["id"].to_string(), order, "an action answers with its record");
    assert_eq!(status(&mock, "GET", "/orders/1/lines", &[], ""), 404, "no such order");
    let customers = get(&mock, "/customers");
    assert_eq!(get(&mock, "/customers/me"), customers["data"][0], "the caller's own is the first");
}

#[test]
fn wrong_requests_are_refused_by_name_and_never_repeat_a_value() {
    let mock = shop();
    let canary = "canary-7f3a";
    for (method, target, headers, sent, status, wanted) in [
        ("GET", "/nowhere", &[][..], "", 404, ""),
        ("PUT", "/products", &[], "", 405, ""),
        ("GET", "/products?limit=0", &[], "", 400, "limit"),
        ("GET", "/products?limit=x", &[], "", 400, "limit"),
        ("GET", "/products?cursor=canary-7f3a", &[], "", 400, "cursor"),
        ("GET", "/products/canary-7f3a", &[], "", 404, ""),
        ("GET", "/a%2Fb", &[], "", 400, ""),
        ("POST", "/products", &[JSON], "", 400, "body"),
        ("POST", "/products", &[JSON], "{", 400, "JSON"),
        ("POST", "/products", &[JSON], r#"{"name":"x"}"#, 422, "price"),
        ("POST", "/products", &[JSON], r#"{"name":"","price":1}"#, 422, "name"),
        ("POST", "/products", &[JSON], r#"{"name":"x","price":"canary-7f3a"}"#, 422, "price"),
        (
            "POST",
            "/products",
            &[JSON],
            r#"{"name":"x","price":1,"maker":{"email":"canary-7f3a"}}"#,
            422,
            "maker.email",
        ),
        (
            "POST",
            "/products",
            &[JSON],
            r#"{"name":"x","price":1,"color":"canary-7f3a"}"#,
            422,
            "color",
        ),
        ("POST", "/products", &[("content-type", "text/csv")], "a,b", 415, ""),
        ("PATCH", "/settings", &[JSON], r#"{"unknown":1}"#, 422, "unknown"),
    ] {
        let reply = call(&mock, method, target, headers, sent);
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(reply.status, status, "{method} {target} {sent}: {text}");
        assert!(text.contains(wanted), "{method} {target} {sent}: {text}");
        assert!(!text.contains(canary), "{text}");
        assert!(reply.headers.iter().any(|(name, _)| name == "x-sandbox-code"));
        // As declared, or else a problem document.
        let body = body(&reply);
        assert!(body["error"]["message"].is_string() || body["detail"].is_string(), "{text}");
    }
}

const SECRET: &str = "s3cr3t";

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn declared_authentication_is_enforced() {
    let mock = mock(table(), Some(SECRET));
    let right = basic("sandbox", SECRET);
    let as_user = basic(SECRET, "");
    let wrong = basic("sandbox", "wrong");
    let bearer = format!("Bearer {SECRET}");
    let check = |target: &str, headers: &[(&str, &str)], wanted: u16| {
        let reply = call(&mock, "GET", target, headers, "");
        assert_eq!(reply.status, wanted, "{target} {headers:?}");
        let challenged = reply.headers.iter().any(|(name, _)| name == header::WWW_AUTHENTICATE);
        assert_eq!(challenged, matches!(wanted, 401 | 403), "{target} {headers:?}");
        assert!(!String::from_utf8_lossy(&reply.body).contains(SECRET));
    };
    check("/open", &[], 204);
    for (target, headers, wanted) in [
        ("/products", &[][..], 401),
        ("/products", &[("x-api-key", "wrong")], 401),
        ("/products", &[("x-api-key", SECRET), ("x-api-key", "wrong")], 401),
        ("/products", &[("x-api-key", SECRET)], 200),
        // From the cache, without the credential.
        ("/products", &[], 401),
        ("/by-query", &[], 401),
        ("/by-query?api_key=wrong", &[], 401),
        ("/by-query?api_key=s3cr3t", &[], 204),
        ("/by-basic", &[("authorization", &bearer)], 401),
        ("/by-basic", &[("authorization", &wrong)], 401),
        ("/by-basic", &[("authorization", &right)], 204),
        ("/by-basic", &[("authorization", &as_user)], 204),
        ("/by-bearer", &[("authorization", "Bearer wrong")], 401),
        ("/by-bearer", &[("authorization", &bearer)], 204),
        ("/by-both", &[("x-api-key", SECRET)], 401),
        ("/by-both", &[("x-api-key", SECRET), ("authorization", &right)], 204),
        ("/by-either", &[("authorization", &right)], 204),
        ("/by-either", &[("x-api-key", SECRET)], 204),
        ("/by-either", &[], 401),
    ] {
        check(target, headers, wanted);
    }
    // A path that does not exist tells nothing of its authentication.
    check("/nowhere", &[], 404);
}

#[test]
fn tokens_are_issued_with_scopes_and_end() {
    let mock = mock(table(), Some(SECRET));
    let ask = |path: &str, form: &str| {
        let basic = basic("sandbox", SECRET);
        call(&mock, "POST", path, &[("authorization", &basic)], form)
    };
    let token = |form: &str| {
        let reply = ask("/__sandbox/oauth/token", form);
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        format!("Bearer {}", body(&reply)["access_token"].as_str().unwrap())
    };
    let with = |token: &str| status(&mock, "GET", "/by-token", &[("authorization", token)], "");
    let all = token("grant_type=client_credentials");
    assert_eq!(with(&all), 204);
    assert_eq!(with(&token("grant_type=client_credentials&scope=read")), 403);
    assert_eq!(with("Bearer sandbox-access-0000000000000000"), 401);
    let bare = all.strip_prefix("Bearer ").unwrap();
    assert_eq!(ask("/__sandbox/oauth/revoke", &format!("token={bare}")).status, 200);
    assert_eq!(with(&all), 401);
    // At the declared path too, which is no operation.
    assert_eq!(ask("/v2/oauth/token", "grant_type=client_credentials").status, 200);
    assert_eq!(ask("/v2/oauth/token", "grant_type=password").status, 400, "not declared");
    let nobody = call(&mock, "POST", "/v2/oauth/token", &[], "grant_type=client_credentials");
    assert_eq!(
        (nobody.status.as_u16(), body(&nobody)["error"].as_str()),
        (401, Some("invalid_client"))
    );
}

#[test]
fn faults_come_when_they_are_asked_for() {
    let mock = shop();
    let ask = |fault: &str| call(&mock, "GET", "/products", &[("x-sandbox-fault", fault)], "");
    let limited = ask("429 retry-after=3");
    assert_eq!(limited.status, 429);
    assert!(
        limited.headers.iter().any(|(name, value)| name == header::RETRY_AFTER && value == "3")
    );
    assert!(body(&limited)["error"]["message"].is_string(), "as declared");
    assert_eq!(ask("503").status, 503);
    assert_eq!(ask("reset").delivery, Delivery::Reset);
    assert_eq!(ask("cut").delivery, Delivery::Cut);
    assert_eq!(ask("truncated").delivery, Delivery::Truncated);
    assert!(matches!(ask("slow ms=5").delivery, Delivery::Slow(pause) if pause.as_millis() == 5));
    assert!(matches!(ask("delay ms=5").delivery, Delivery::Delayed(_)));
    assert!(body(&ask("drift"))["data"][0]["id"].is_number());
    assert_eq!(ask("explode").status, 400);
    assert!(get(&mock, "/products")["data"][0]["id"].is_string(), "drift was not kept");

    let rules = "503 every=2 path=/orders\n429 first=1 method=POST\n";
    assert_eq!(status(&mock, "PUT", "/__sandbox/faults", &[], rules), 204);
    let seen: Vec<u16> = (0..4).map(|_| status(&mock, "GET", "/orders", &[], "")).collect();
    assert_eq!(seen, [200, 503, 200, 503]);
    assert_eq!(status(&mock, "GET", "/products", &[], ""), 200);
    let new = r#"{"name":"x","price":1}"#;
    let seen: Vec<u16> = (0..2).map(|_| status(&mock, "POST", "/products", &[JSON], new)).collect();
    assert_eq!(seen, [429, 201]);
    assert_eq!(walk_products(&mock).len(), 26, "what was refused was not done");
    assert_eq!(status(&mock, "PUT", "/__sandbox/faults", &[], "nonsense"), 400);
    let kept = call(&mock, "GET", "/__sandbox/faults", &[], "");
    assert_eq!(kept.body, rules, "a wrong rule changes nothing");
    assert_eq!(status(&mock, "DELETE", "/__sandbox/faults", &[], ""), 204);
    assert_eq!(status(&mock, "GET", "/orders", &[], ""), 200);
}

/// A step of a random sequence. Records are named by their place in the model.
#[derive(Debug, Clone)]
enum Step {
    Create {
        name: String,
        price: u16,
    },
    Replace {
        at: usize,
        name: String,
    },
    /// A color of null clears.
    Patch {
        at: usize,
        price: Option<u16>,
        color: Option<Value>,
    },
    Delete {
        at: usize,
    },
    Read {
        at: usize,
    },
    List {
        limit: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = "[a-zA-Z]{1,12}";
    let at = 0..60_usize;
    let color = prop_oneof![Just(Value::Null), Just(json!("red")), Just(json!("blue"))];
    let step = prop_oneof![
        (name, any::<u16>()).prop_map(|(name, price)| Step::Create { name, price }),
        (at.clone(), name).prop_map(|(at, name)| Step::Replace { at, name }),
        (at.clone(), any::<Option<u16>>(), proptest::option::of(color))
            .prop_map(|(at, price, color)| Step::Patch { at, price, color }),
        at.clone().prop_map(|at| Step::Delete { at }),
        at.prop_map(|at| Step::Read { at }),
        (1..50_u8).prop_map(|limit| Step::List { limit }),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What a model knows of a record: the members that were seen or written.
type Model = BTreeMap<usize, (String, Map<String, Value>)>;

fn agrees(shown: &Value, known: &Map<String, Value>) {
    for (name, value) in known {
        if value.is_null() {
            assert!(shown.get(name).is_none(), "{name} was cleared: {shown}");
        } else {
            assert_eq!(&shown[name], value, "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_sequence_agrees_with_a_model(steps in steps()) {
        let mock = shop();
        let mut model = Model::new();
        for product in get(&mock, "/products?limit=50")["data"].as_array().unwrap() {
            let id = product["id"].as_str().unwrap().to_owned();
            model.insert(model.len(), (id, product.as_object().unwrap().clone()));
        }
        let mut next = model.len();
        for step in steps {
            match step {
                Step::Create { name, price } => {
                    let new = json!({ "name": name, "price": price });
                    let reply = call(&mock, "POST", "/products", &[JSON], &new.to_string());
                    prop_assert_eq!(reply.status.as_u16(), 201);
                    let id = body(&reply)["id"].as_str().unwrap().to_owned();
                    prop_assert!(model.values().all(|(one, _)| *one != id));
                    let mut known = new.as_object().unwrap().clone();
                    known.insert("id".into(), id.clone().into());
                    model.insert(next, (id, known));
                    next += 1;
                }
                Step::List { limit } => {
                    let page = get(&mock, &format!("/products?limit={limit}"));
                    let shown = page["data"].as_array().unwrap();
                    let wanted = model.len().min(limit.into());
                    prop_assert_eq!(shown.len(), wanted);
                    prop_assert_eq!(page["has_more"].as_bool(), Some(wanted < model.len()));
                    for (product, (id, known)) in shown.iter().zip(model.values()) {
                        prop_assert_eq!(product["id"].as_str(), Some(id.as_str()));
                        agrees(product, known);
                    }
                }
                Step::Replace { at, .. } | Step::Patch { at, .. } | Step::Delete { at } | Step::Read { at } => {
                    let path = match model.get(&at) {
                        Some((id, _)) => format!("/products/{id}"),
                        None => "/products/00000000-0000-4000-8000-000000000000".to_owned(),
                    };
                    let (method, headers, sent) = match &step {
                        Step::Replace { name, .. } => {
                            ("PUT", vec![JSON], json!({ "name": name, "price": 1 }).to_string())
                        }
                        Step::Patch { price, color, .. } => {
                            let mut patch = Map::new();
                            if let Some(price) = price {
                                patch.insert("price".into(), (*price).into());
                            }
                            if let Some(color) = color {
                                patch.insert("color".into(), color.clone());
                            }
                            ("PATCH", vec![PATCH], Value::Object(patch).to_string())
                        }
                        Step::Delete { .. } => ("DELETE", vec![], String::new()),
                        _ => ("GET", vec![], String::new()),
                    };
                    let reply = call(&mock, method, &path, &headers, &sent);
                    let Some((id, known)) = model.get_mut(&at) else {
                        prop_assert_eq!(reply.status.as_u16(), 404);
                        continue;
                    };
                    if matches!(step, Step::Delete { .. }) {
                        prop_assert_eq!(reply.status.as_u16(), 204);
                        model.remove(&at);
                        continue;
                    }
                    prop_assert_eq!(reply.status.as_u16(), 200);
                    if method != "GET" {
                        let written: Value = serde_json::from_str(&sent).unwrap();
                        if method == "PUT" {
                            known.clear();
                            known.insert("id".into(), id.clone().into());
                        }
                        known.extend(written.as_object().unwrap().clone());
                    }
                    agrees(&body(&reply), known);
                    agrees(&get(&mock, &path), known);
                }
            }
        }
        prop_assert_eq!(walk_products(&mock).len(), model.len());
    }
}
