//! The console: every route as everybody, every page's headers, and what never passes.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules are seen by nobody else"
)]

mod assets;
mod audit;
mod browser;
mod calls;
mod expiring;
mod grants;
mod ids;
mod keys;
mod live;
mod pages;
mod passkeys;
mod refusals;
mod reports;
mod reviews;
mod rules;
mod v1;
mod v1_audit;
mod walk;

use api::{API_ROUTES, ROUTES};
use browser::{Answer, House};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const HERE: (&str, &str) = ("origin", browser::HERE);

fn concrete(path: &str) -> String {
    path.replace("{name}", "nothing")
        .replace("{token}", "nothing")
        .replace("{id}", "nothing")
        .replace("{field}", "nothing")
}

#[tokio::test]
async fn without_a_page_of_ours_before_it_there_is_no_form() {
    let house = House::open().await;
    for (method, path, _) in ROUTES.iter().filter(|(method, ..)| *method == "POST") {
        let answer = house.send(method, &concrete(path), &[FORM, HERE], "").await;
        assert_eq!(answer.status, 403, "{method} {path}");
    }
}

/// What stands on every answer, whatever it says, and what on none.
fn assert_strict(answer: &Answer, is_tls: bool, what: &str) {
    let headers = &answer.headers;
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{what}");
    for part in [
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
        "report-uri /csp-report",
        "report-to csp",
    ] {
        assert!(policy.split("; ").any(|one| one == part), "{what}: {part}");
    }
    // Back from a provider not even a path of ours is told.
    let referrer = headers["referrer-policy"].to_str().unwrap();
    let is_back = what.starts_with("GET /connect/");
    assert!(referrer == "same-origin" || (is_back && referrer == "no-referrer"), "{what}");
    for (name, value) in [
        ("reporting-endpoints", "csp=\"/csp-report\""),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-embedder-policy", "require-corp"),
    ] {
        assert_eq!(headers[name], value, "{what}");
    }
    assert!(headers.contains_key("permissions-policy"), "{what}");
    let is_kept = headers["cache-control"] != "no-store";
    let is_asset = what.contains("/assets/") && answer.status == 200;
    assert_eq!(is_kept, is_asset, "{what}");
    let mut names = headers.keys().map(http::HeaderName::as_str);
    assert!(names.all(|name| !name.starts_with("access-control-")), "{what}");
    let transport = headers.get("strict-transport-security").map(|value| value.to_str().unwrap());
    assert_eq!(transport, is_tls.then_some("max-age=63072000; includeSubDomains"), "{what}");
    // JSON is UTF-8 by its definition.
    if let Some(kind) = headers.get("content-type").map(|kind| kind.to_str().unwrap()) {
        let is_json = ["application/json", "application/problem+json"].contains(&kind);
        assert!(is_json || kind.ends_with("; charset=utf-8"), "{what}: {kind}");
    }
}

#[tokio::test]
async fn every_answer_has_the_same_strict_headers() {
    let mut asked: Vec<(&str, String)> = ROUTES
        .iter()
        .map(|(method, path, _)| (*method, concrete(path)))
        .chain(API_ROUTES.iter().map(|(method, path, _)| (*method, concrete(path))))
        .collect();
    let others = [
        "/nowhere",
        "/healthz",
        "/readyz",
        "/metrics",
        "/assets/",
        "/openapi.json",
        "/v1/nowhere",
        "/csp-report",
        "/.well-known/security.txt",
    ];
    asked.extend(others.map(|path| ("GET", path.to_owned())));
    for is_tls in [false, true] {
        let house = House::built(is_tls).await;
        let page = house.send("GET", "/sign-in", &[], "").await.text;
        let style = browser::between(&page, "rel=\"stylesheet\" href=\"", "\"").to_owned();
        asked.push(("GET", style));
        for (method, path) in &asked {
            // As asked, as another site's script would ask, and what a browser asks before that.
            for (method, headers) in [
                (*method, [].as_slice()),
                (*method, &[("origin", "https://evil.example"), ("host", "evil.example")]),
                (*method, &[("origin", "https://evil.example")]),
                ("PUT", &[("origin", "null")]),
                (
                    "OPTIONS",
                    &[
                        ("origin", "https://evil.example"),
                        ("access-control-request-method", method),
                        ("access-control-request-headers", "authorization"),
                    ],
                ),
            ] {
                let answer = house.send(method, path, headers, "").await;
                assert_strict(&answer, is_tls, &format!("{method} {path} {headers:?}"));
                assert!(method != "OPTIONS" || answer.status >= 400, "{path}: {}", answer.status);
            }
        }
    }
}

/// What Mozilla's HTTP Observatory would say of a page, by its table of scores of 2026.
#[tokio::test]
async fn the_headers_are_worth_130_points_of_mozillas_observatory() {
    let house = House::built(true).await;
    let answer = house.send("GET", "/sign-in", &[], "").await;
    let header = |name: &str| {
        answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let policy = header("content-security-policy");
    let is_tight = policy.contains("default-src 'none'")
        && policy.contains("form-action 'self'")
        && !policy.contains("unsafe");
    let cookies: Vec<&str> = answer
        .headers
        .get_all("set-cookie")
        .iter()
        .filter_map(|cookie| cookie.to_str().ok())
        .collect();
    let is_kept = |cookie: &&str| {
        ["; Secure", "; HttpOnly", "; SameSite=Strict"].iter().all(|part| cookie.contains(part))
    };
    let age = header("strict-transport-security").split(';').next().unwrap_or_default();
    let age: u64 = age.trim_start_matches("max-age=").parse().unwrap();
    // What costs points if it is missing.
    assert!(age >= 15_768_000 && header("x-content-type-options") == "nosniff");
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    assert!(!answer.text.contains("src=\"http"), "a script of elsewhere would want integrity");
    let extra = [
        (10, is_tight),
        (5, !cookies.is_empty() && cookies.iter().all(is_kept)),
        (10, header("cross-origin-resource-policy") == "same-origin"),
        (5, header("referrer-policy") == "same-origin"),
        (5, policy.contains("frame-ancestors 'none'")),
    ];
    let points: u32 =
        100 + extra.iter().filter(|(_, has)| *has).map(|(score, _)| score).sum::<u32>();
    assert!(points >= 130, "{points}: {extra:?}");
}

/// Programs ask for them by whatever name they know this machine by.
#[tokio::test]
async fn health_and_metrics_are_told_under_any_name_and_nothing_else_is() {
    let house = House::open().await;
    for (path, status, text) in [
        ("/healthz", 200, "ok\n"),
        ("/readyz", 503, "the log's disk is full\n"),
        ("/metrics", 200, "figures 1\n"),
    ] {
        let answer = house.send("GET", path, &[("host", "weirgate.monitoring.svc")], "").await;
        assert_eq!((answer.status, answer.text.as_str()), (status, text), "{path}");
        assert!(!answer.headers.contains_key("set-cookie"));
        assert_eq!(house.send("POST", path, &[], "").await.status, 405, "{path}");
    }
    let other = [("host", "weirgate.monitoring.svc")];
    assert_eq!(house.send("GET", "/sign-in", &other, "").await.status, 421);
}

#[tokio::test]
async fn other_names_of_this_machine_are_not_answered() {
    let house = House::open().await;
    for good in [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1:8401",
        "[::1]:8401",
        "console.example.com",
        "192.0.2.7:8401",
    ] {
        let answer = house.send("GET", "/sign-in", &[("host", good)], "").await;
        assert_eq!(answer.status, 200, "{good}");
    }
    for bad in [
        "evil.example",
        "localhost.evil.example",
        "evil.example:8401",
        "192.0.2.1",
        "localhost@evil.example",
        "evil.example#localhost",
        "",
        "localhost/evil",
        "a.console.example.com",
    ] {
        let answer = house.send("GET", "/sign-in", &[("host", bad)], "").await;
        assert_eq!(answer.status, 421, "{bad}");
    }
}

#[tokio::test]
async fn only_our_own_forms_are_taken() {
    let house = House::open().await;
    let page = house.send("GET", "/sign-in", &[], "").await;
    let cookie = page.headers["set-cookie"].to_str().unwrap().to_owned();
    for part in ["__Host-weirgate-form=", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let (_, rest) = page.text.split_once("name=\"form\" value=\"").unwrap();
    let form = rest.split('"').next().unwrap();
    let fields = "&address=ada%40example.com&password=seven+herons";
    let body = format!("form={form}{fields}");
    let cookie_header = ("cookie", cookie.as_str());
    let right = house.send("POST", "/sign-in", &[FORM, HERE, cookie_header], &body).await;
    // It is looked at: there is no such person.
    assert!(right.headers.get("set-cookie").is_none());
    assert!(right.text.contains("The address or the password is not right"));
    let site = |value| ("sec-fetch-site", value);
    let foreign = ("origin", "https://evil.example");
    let other_port = ("origin", "http://localhost:9999");
    let null = ("origin", "null");
    let bent = body.replace("form=", "form=0");
    let without = fields.trim_start_matches('&').to_owned();
    let twice = format!("{body}&form={form}");
    let stranger = format!("__Host-weirgate-form={}", "A".repeat(43));
    for (what, headers, body) in [
        ("no origin", vec![FORM, cookie_header], &body),
        ("a foreign origin", vec![FORM, foreign, cookie_header], &body),
        ("another port", vec![FORM, other_port, cookie_header], &body),
        ("an opaque origin", vec![FORM, null, cookie_header], &body),
        ("another site", vec![FORM, HERE, site("cross-site"), cookie_header], &body),
        ("the same site", vec![FORM, HERE, site("same-site"), cookie_header], &body),
        ("typed", vec![FORM, HERE, site("none"), cookie_header], &body),
        ("two origins", vec![FORM, HERE, HERE, cookie_header], &body),
        ("no cookie", vec![FORM, HERE], &body),
        ("another's cookie", vec![FORM, HERE, ("cookie", &stranger)], &body),
        ("two cookies", vec![FORM, HERE, cookie_header, ("cookie", &stranger)], &body),
        ("a bent token", vec![FORM, HERE, cookie_header], &bent),
        ("no token", vec![FORM, HERE, cookie_header], &without),
        ("two tokens", vec![FORM, HERE, cookie_header], &twice),
    ] {
        let answer = house.send("POST", "/sign-in", &headers, body).await;
        assert_eq!(answer.status, 403, "{what}");
        // Not because there is no such person.
        assert!(answer.text.contains("Not from here"), "{what}: {}", answer.text);
    }
    let json = ("content-type", "application/json");
    let answer = house.send("POST", "/sign-in", &[json, HERE, cookie_header], &body).await;
    assert_eq!(answer.status, 415);
    let long = format!("{body}&more={}", "x".repeat(70_000));
    let answer = house.send("POST", "/sign-in", &[FORM, HERE, cookie_header], &long).await;
    assert_eq!(answer.status, 413);
}

/// Nothing in a page acts but what the policy allows anyway.
#[test]
fn templates_hold_no_script_and_no_style() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        // Some pages have a script, and that is a file of ours.
        let text = text.replace(r#"<script src="{{ script }}" defer></script>"#, "");
        let text = text.replace(r#"<script src="{{ tail.script }}" defer></script>"#, "");
        for bad in ["<script", "style=", "<style", "javascript:", "hx-on", "srcdoc", "<iframe"] {
            assert!(!text.contains(bad), "{bad}");
        }
        // Handlers: any attribute whose name begins with `on`.
        let tags = text.split('<').filter_map(|rest| rest.split('>').next());
        for word in tags.flat_map(str::split_whitespace) {
            let is_handler = word.starts_with("on") && word.contains('=');
            assert!(!is_handler, "{word}");
        }
        // What is not escaped is our own drawing alone.
        assert_eq!(text.matches("|safe").count(), text.matches("{{ new.qr|safe }}").count());
        seen += 1;
    }
    assert!(seen > 8);
}

/// Ten kilobytes are what a slow line loads in a blink.
#[tokio::test]
async fn the_style_sheet_is_small_and_named_by_its_content() {
    let house = House::open().await;
    let page = house.send("GET", "/sign-in", &[], "").await;
    let path = browser::between(&page.text, "rel=\"stylesheet\" href=\"", "\"").to_owned();
    let style = house.send("GET", &path, &[], "").await;
    assert_eq!(style.status, 200);
    assert!(style.headers["cache-control"].to_str().unwrap().contains("immutable"));
    assert!(style.text.len() < 10_000 && style.text.contains("light-dark("));
    for bad in ["url(", "@import", "http"] {
        assert!(!style.text.contains(bad), "{bad}");
    }
    for other in
        ["/assets/style.css", "/assets/..%2fsrc%2flib.rs", "/assets/../sign-in", "/assets/"]
    {
        assert_eq!(house.send("GET", other, &[], "").await.status, 404, "{other}");
    }
}
