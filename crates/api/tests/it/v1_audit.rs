//! The audit log by the control API: what each part of a filter finds, page by page, and what is none.

use crate::{
    audit::{Facts, Furnished, furnished},
    browser::House,
    v1::{ask, get, problem, token},
};
use serde_json::Value;
use std::collections::BTreeSet;

/// Items of all pages, of so many each.
async fn items(house: &House, token: &str, query: &str, limit: usize) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/audit/entries?limit={limit}&{query}{cursor}");
        let page = get(house, token, &path).await;
        let of_page = page["items"].as_array().unwrap();
        assert!(of_page.len() <= limit, "{path}: {page}");
        found.extend(of_page.iter().cloned());
        let Some(next) = page["next"].as_str() else { return found };
        cursor = format!("&cursor={next}");
    }
}

fn indices(items: &[Value]) -> Vec<u64> {
    items.iter().map(|one| one["index"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn each_part_of_the_filter_finds_what_it_does_on_the_page_whatever_the_limit() {
    let mut all = furnished().await;
    let token = token(&mut all.ada, "administrator").await;
    let Furnished { house, employee, group, limited, refused, stranger, .. } = &all;
    let Facts { keys, clients, provider, connection } = &all.facts;
    let user = app::people::users::find(&house.instance, "ada@example.com").await.unwrap();
    for (query, wanted) in [
        ("kind=call".to_owned(), vec![limited, group, employee]),
        ("kind=refused".to_owned(), vec![refused]),
        (format!("key={}", keys[0]), vec![refused, employee]),
        (format!("client={}", clients[1]), vec![limited, group]),
        (format!("provider={provider}"), vec![limited, group, employee]),
        (format!("connection={connection}&kind=refused"), vec![refused]),
        ("object=Employee.ssn".to_owned(), vec![limited, employee]),
        ("verb=update".to_owned(), vec![limited, group]),
        ("outcome=4xx".to_owned(), vec![limited, group]),
        ("outcome=key_unknown".to_owned(), vec![stranger]),
        ("text=RATE_limited".to_owned(), vec![limited]),
        ("kind=call&outcome=2xx".to_owned(), vec![employee]),
        (format!("key={}&verb=update", keys[0]), vec![]),
    ] {
        for limit in [1, 2, 200] {
            let found = indices(&items(house, &token, &query, limit).await);
            let wanted: Vec<u64> = wanted.iter().map(|one| **one).collect();
            let (newest_first, found): (Vec<u64>, BTreeSet<u64>) =
                (found.clone(), found.into_iter().collect());
            assert!(newest_first.windows(2).all(|two| two[0] > two[1]), "{query}");
            assert_eq!(found, wanted.into_iter().collect(), "{query} by {limit}");
        }
    }
    // A call is one item, with its end.
    let found = items(house, &token, "outcome=rate_limited", 50).await;
    assert_eq!(found[0]["kind"], "intent");
    assert_eq!(
        (&found[0]["end"]["kind"], &found[0]["end"]["fields"]["code"]),
        (&"outcome".into(), &"rate_limited".into())
    );
    // A person by address and by id.
    let by_id = items(house, &token, &format!("actor={user}"), 200).await;
    let by_address = items(house, &token, "actor=ada%40example.com", 200).await;
    assert!(!by_id.is_empty() && by_id == by_address);
    // A period; both sides of it are everything but the ends of calls.
    let now = types::Clock::now(&*house.clock).as_micros();
    let day_before = types::Timestamp::from_micros(now - 24 * 3_600 * 1_000_000);
    let minute: String = day_before.to_string().chars().take(16).collect();
    let minute = minute.replace(':', "%3A");
    let later = indices(&items(house, &token, &format!("from={minute}"), 200).await);
    let earlier = indices(&items(house, &token, &format!("to={minute}"), 200).await);
    assert!(later.contains(employee) && !earlier.is_empty() && !earlier.contains(employee));
    // Without a filter each entry stands by itself.
    let every = items(house, &token, "", 200).await;
    assert!(every.iter().all(|one| one["end"].is_null()));
    assert!(every.iter().any(|one| one["kind"] == "outcome"));
}

/// What is wrong is told by the name of its parameter, and not repeated.
#[tokio::test]
async fn a_filter_that_cannot_be_understood_is_told_by_its_parameters() {
    let mut all = furnished().await;
    let token = token(&mut all.ada, "administrator").await;
    let path = |query: &str| format!("/v1/audit/entries?{query}");
    for (query, names) in [
        ("kind=canary", vec!["kind"]),
        ("actor=canary%3A1", vec!["actor"]),
        ("key=canary", vec!["key"]),
        ("client=canary", vec!["client"]),
        ("provider=canary", vec!["provider"]),
        ("connection=canary", vec!["connection"]),
        ("outcome=canary%21", vec!["outcome"]),
        ("outcome=6xx", vec!["outcome"]),
        ("from=canary", vec!["from"]),
        ("to=2026-13-01", vec!["to"]),
        ("from=2026-11-27&to=2026-11-26", vec!["to"]),
        ("text=a%0Acanary", vec!["text"]),
        ("object=%00", vec!["object"]),
        ("verb=", vec!["verb"]),
        ("text=%20", vec!["text"]),
        ("kind=canary&outcome=6xx&verb=read", vec!["kind", "outcome"]),
        ("limit=canary", vec!["limit"]),
        ("limit=0&kind=call", vec!["limit"]),
        ("cursor=canary%21&kind=call", vec!["cursor"]),
    ] {
        let answer = ask(&all.house, &token, "GET", &path(query), None).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
        let problem = problem(&answer);
        assert_eq!(problem["code"], "malformed", "{query}");
        let detail = problem["detail"].as_str().unwrap();
        for name in &names {
            assert!(detail.contains(&format!("`{name}`")), "{query}: {detail}");
        }
        if !["limit", "cursor"].contains(&names[0]) {
            let told: Vec<&str> = problem["problems"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one.as_str().unwrap().split(':').next().unwrap())
                .collect();
            assert_eq!(told, names, "{query}");
        }
        assert!(!answer.text.contains("canary"), "{query}: {}", answer.text);
    }
    for query in ["kind=call&kind=refused", "canary=1&kind=call", "kind=call&limit=1&limit=2"] {
        let answer = ask(&all.house, &token, "GET", &path(query), None).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
    let long = path(&format!("text={}", "x".repeat(201)));
    assert_eq!(ask(&all.house, &token, "GET", &long, None).await.status, 400);
}

/// Somebody who may read the log and not see people finds nobody by an address.
#[tokio::test]
async fn names_that_a_token_may_not_see_find_nothing() {
    let all = furnished().await;
    let role = "[[role]]\nname = \"reader\"\nacts = [\"audit.read\"]\n";
    let files = [("roles.toml".to_owned(), role.as_bytes().to_vec())];
    let instance = &all.house.instance;
    let plan = app::apply::plan_files(instance, &files).await.unwrap();
    let removal = app::apply::Removal::SomeGrantsRemain;
    app::apply::commit(instance, &all.house.context(), plan, removal).await.unwrap();
    let mut rob = all.house.invited("rob@example.com", &["reader"]).await;
    let token = token(&mut rob, "reader").await;
    let user = app::people::users::find(instance, "ada@example.com").await.unwrap();
    assert!(!items(&all.house, &token, &format!("actor={user}"), 200).await.is_empty());
    let path = "/v1/audit/entries?actor=ada%40example.com";
    let known = ask(&all.house, &token, "GET", path, None).await;
    let unknown = path.replace("ada", "nobody");
    let unknown = ask(&all.house, &token, "GET", &unknown, None).await;
    assert_eq!((known.status, &known.text), (400, &unknown.text));
}
