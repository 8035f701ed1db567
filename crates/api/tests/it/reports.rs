//! What is told to and by people of security: reports of browsers, and whom to tell of a weakness.

use crate::browser::House;
use serde_json::json;
use std::time::Duration;

const OLD: (&str, &str) = ("content-type", "application/csp-report");
const NEW: (&str, &str) = ("content-type", "application/reports+json");

#[tokio::test]
async fn a_breach_is_counted_by_its_directive_alone() {
    let house = House::open().await;
    let old = json!({"csp-report": {
        "document-uri": "https://canary.example/", "blocked-uri": "https://canary.example/",
        "violated-directive": "script-src-elem 'self'", "script-sample": "canary",
    }});
    let new = |directive: &str| {
        json!({"type": "csp-violation", "url": "https://canary.example/",
            "body": {"effectiveDirective": directive, "sample": "canary"}})
    };
    let several = json!([new("require-trusted-types-for"), new("canary"), new("img-src")]);
    for (kind, body, wanted) in [
        (OLD, old.to_string(), vec!["script-src-elem"]),
        (NEW, several.to_string(), vec!["require-trusted-types-for", "other", "img-src"]),
        (NEW, json!(vec![new("img-src"); 50]).to_string(), vec!["img-src"; 20]),
        (NEW, "[]".to_owned(), vec![]),
        (OLD, "7".to_owned(), vec!["other"]),
    ] {
        let answer = house.send("POST", "/csp-report", &[kind], &body).await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{body}");
        assert!(!answer.headers.contains_key("set-cookie"));
        assert_eq!(house.breaches(), wanted, "{body}");
    }
}

#[tokio::test]
async fn reports_are_small_and_few() {
    let house = House::open().await;
    let long = "x".repeat(8 * 1_024 + 1);
    let deep = "[".repeat(8_000);
    for (status, kind, body) in [
        (415, ("content-type", "application/json"), "[]"),
        (415, ("content-type", "application/x-www-form-urlencoded"), "form=x"),
        (415, ("accept", "*/*"), "[]"),
        (413, NEW, long.as_str()),
        (400, NEW, deep.as_str()),
        (400, OLD, "{"),
    ] {
        let answer = house.send("POST", "/csp-report", &[kind], body).await;
        assert_eq!(answer.status, status, "{body:.20}");
    }
    assert_eq!(house.send("GET", "/csp-report", &[], "").await.status, 405);
    let elsewhere = [NEW, ("host", "evil.example")];
    assert_eq!(house.send("POST", "/csp-report", &elsewhere, "[]").await.status, 421);
    house.wait(Duration::from_mins(1));
    for number in 0..40 {
        let answer = house.send("POST", "/csp-report", &[OLD], "{}").await;
        assert_eq!(answer.status, if number < 20 { 204 } else { 429 }, "{number}");
        assert_eq!(answer.headers.contains_key("retry-after"), number >= 20);
    }
    assert_eq!(house.breaches().len(), 20);
    house.wait(Duration::from_mins(1));
    assert_eq!(house.send("POST", "/csp-report", &[OLD], "{}").await.status, 204);
}

#[tokio::test]
async fn whom_to_tell_is_told_under_any_name_and_never_lapses() {
    const PATH: &str = "/.well-known/security.txt";
    let house = House::open().await;
    assert_eq!(house.send("GET", PATH, &[], "").await.status, 404);
    house.set_security_contact("mailto:security@example.com");
    for _ in 0..3 {
        let answer = house.send("GET", PATH, &[("host", "weirgate.monitoring.svc")], "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        let lines: Vec<&str> = answer.text.lines().collect();
        let [contact, expires] = lines[..] else { panic!("{}", answer.text) };
        assert_eq!(contact, "Contact: mailto:security@example.com");
        let expires = expires.strip_prefix("Expires: ").and_then(types::Timestamp::parse).unwrap();
        let days = expires.since(house.context().now).as_secs() / 86_400;
        assert!((179..=180).contains(&days), "{expires}: {days}");
        house.wait(Duration::from_hours(200 * 24));
    }
}
