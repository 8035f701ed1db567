//! Every route as nobody, and what never passes.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use api::{Console, ROUTES, router};
use app::{Init, Instance, RootKeyPlace};
use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode},
};
use std::sync::Arc;
use tempfile::TempDir;
use tower::ServiceExt as _;
use types::{Actor, Clock as _, Id, OpContext, SystemClock, SystemRandom};

async fn console() -> (TempDir, Router) {
    let home = tempfile::tempdir().unwrap();
    let now = SystemClock.now();
    let request = Id::generate(now, &SystemRandom).unwrap();
    let init = Init {
        dir: &home.path().join("data"),
        server: None,
        config: "",
        root_key: RootKeyPlace::File(&home.path().join("root.key")),
        actor: OpContext { actor: Actor::System, request, now },
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    };
    let instance = Arc::new(Instance::init(init).await.unwrap().instance);
    let health = Arc::new(|| (StatusCode::OK, "ready"));
    let hosts = vec!["console.example.com".to_owned()];
    let console = Console::new(instance, health, hosts, false).unwrap();
    (home, router(Arc::new(console)))
}

async fn ask(
    router: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost:8401");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const HERE: (&str, &str) = ("origin", "http://localhost:8401");

fn concrete(path: &str) -> String {
    path.replace("{name}", "nothing").replace("{token}", "nothing").replace("{id}", "nothing")
}

fn is_public(path: &str) -> bool {
    ["/assets/", "/setup/", "/invite/"].iter().any(|one| path.starts_with(one))
        || path == "/sign-in"
}

#[tokio::test]
async fn nobody_reaches_more_than_the_way_in() {
    let (_home, router) = console().await;
    for (method, path, _) in ROUTES {
        let path = concrete(path);
        let answer = ask(&router, method, &path, &[FORM, HERE], "").await;
        let status = answer.status();
        if *method == "POST" {
            // Without a page of ours before it there is no form.
            assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}");
        } else if is_public(&path) {
            let is_known = path == "/sign-in";
            let wanted = if is_known { StatusCode::OK } else { StatusCode::NOT_FOUND };
            assert_eq!(status, wanted, "{method} {path}");
        } else {
            assert_eq!(status, StatusCode::SEE_OTHER, "{method} {path}");
            assert_eq!(answer.headers()["location"], "/sign-in", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_answer_has_the_same_strict_headers() {
    let (_home, router) = console().await;
    let mut asked: Vec<(String, String)> =
        ROUTES.iter().map(|(method, path, _)| ((*method).into(), concrete(path))).collect();
    asked.extend([("GET".into(), "/nowhere".into()), ("PUT".into(), "/sign-in".into())]);
    for (method, path) in asked {
        let answer = ask(&router, &method, &path, &[], "").await;
        let headers = answer.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-embedder-policy", "require-corp"),
        ] {
            assert_eq!(headers[name], value, "{method} {path}");
        }
        assert!(
            headers.contains_key("permissions-policy") && headers.contains_key("cache-control")
        );
    }
}

#[tokio::test]
async fn other_names_of_this_machine_are_not_answered() {
    let (_home, router) = console().await;
    for good in ["localhost", "LOCALHOST:1", "127.0.0.1:8401", "[::1]:8401", "console.example.com"]
    {
        let answer = ask(&router, "GET", "/sign-in", &[("host", good)], "").await;
        assert_eq!(answer.status(), StatusCode::OK, "{good}");
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
        let answer = ask(&router, "GET", "/sign-in", &[("host", bad)], "").await;
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn only_our_own_forms_are_taken() {
    let (_home, router) = console().await;
    let page = ask(&router, "GET", "/sign-in", &[], "").await;
    let cookie = page.headers()["set-cookie"].to_str().unwrap().to_owned();
    for part in ["__Host-weirgate-form=", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let bytes = axum::body::to_bytes(page.into_body(), 1 << 20).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let (_, rest) = text.split_once("name=\"form\" value=\"").unwrap();
    let form = rest.split('"').next().unwrap();
    let fields = "&address=ada%40example.com&password=seven+herons";
    let body = format!("form={form}{fields}");
    let cookie_header = ("cookie", cookie.as_str());
    let right = ask(&router, "POST", "/sign-in", &[FORM, HERE, cookie_header], &body).await;
    // It is looked at: there is no such person.
    assert!(right.headers().get("set-cookie").is_none());
    let bytes = axum::body::to_bytes(right.into_body(), 1 << 20).await.unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("the address or the password is not right"));
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
        let answer = ask(&router, "POST", "/sign-in", &headers, body).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{what}");
    }
    let json = ("content-type", "application/json");
    let answer = ask(&router, "POST", "/sign-in", &[json, HERE, cookie_header], &body).await;
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let long = format!("{body}&more={}", "x".repeat(70_000));
    let answer = ask(&router, "POST", "/sign-in", &[FORM, HERE, cookie_header], &long).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// Nothing in a page acts but what the policy allows anyway.
#[test]
fn templates_hold_no_script_and_no_style() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for bad in ["<script", "style=", "<style", " on", "javascript:"] {
            let is_found = text.lines().any(|line| {
                line.contains(bad)
                    && (bad != " on" || line.contains("onclick") || line.contains("onload"))
            });
            assert!(!is_found, "{bad}");
        }
        // What is not escaped is our own drawing alone.
        assert_eq!(text.matches("|safe").count(), text.matches("{{ new.qr|safe }}").count());
        seen += 1;
    }
    assert!(seen > 8);
}
