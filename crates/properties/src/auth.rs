//! A plan of authentication is read or refused, and what its templates make leads to a host that it
//! names, whatever the values and the answers are; no error has a value.

use crate::input::{parts, text};
use provider::{
    LoadLimits,
    auth::{AuthPlan, HostPiece, Template, UrlTemplate},
};
use secrecy::zeroize::Zeroizing;
use serde_json::{Value, json};
use types::{SeededRandom, Timestamp};
use url::Url;
use vault::auth::{Acquisition, Goal, Moment, Progress, TokenAnswer, Variables};

const DESCRIPTION: &[u8] = br#"{"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {},
    "servers": [{"url": "https://{tenant}.example.com", "variables": {"tenant": {"default": "a"}}}]}"#;
/// In values: what errors must not have.
const CANARY: &str = "canary";

fn plan(given: &Value) -> Option<AuthPlan> {
    let scheme = json!({"type": "http", "scheme": "bearer", "x-weirgate-auth": given});
    let update = json!({"components": {"securitySchemes": {"auth": scheme}}});
    let overlay = json!({"overlay": "1.0.0", "info": {"title": "t", "version": "1"},
        "actions": [{"target": "$", "update": update}]});
    let overlay = overlay.to_string();
    let model = provider::load(DESCRIPTION, Some(overlay.as_bytes()), &LoadLimits::default());
    model.ok()?.auth.remove("auth")
}

/// Whether a host is one that this URL may have.
fn is_host_of(host: &str, template: &UrlTemplate) -> bool {
    match template.host() {
        [HostPiece::Text(only)] => host == only,
        [.., HostPiece::Text(suffix)] => {
            // At least one label of a value, and a name of two labels behind it.
            host.ends_with(suffix.as_str())
                && host.len() > suffix.len()
                && suffix.matches('.').count() >= 2
        }
        _ => panic!("a host without an anchor was read"),
    }
}

pub(crate) fn hold(data: &[u8]) -> bool {
    let [given, values, body] = parts(data);
    if let Some(given) = text(given) {
        if let Ok(template) = Template::parse(given) {
            assert!(template.pieces().len() <= given.len());
        }
        if let Ok(read) = UrlTemplate::parse(given) {
            assert_eq!(UrlTemplate::parse(read.text()).as_ref(), Ok(&read));
        }
    }
    let Ok(given) = serde_json::from_slice::<Value>(given) else { return false };
    let Some(plan) = plan(&given) else { return false };
    let mut variables = Variables::default();
    for line in text(values).unwrap_or_default().lines() {
        if let Some((name, value)) = line.split_once('=') {
            variables.set(name, value);
        }
    }
    let random = SeededRandom::new(1);
    let moment = Moment { now: Timestamp::from_micros(1_767_323_045_000_000), random: &random };
    let shown = |error: &dyn std::fmt::Debug, text: &str| {
        let told = format!("{error:?} {text}");
        assert!(!told.contains(CANARY) || given.to_string().contains(CANARY), "{told}");
    };
    let scopes = vec!["read".to_owned()];
    let mut asks = match Acquisition::new(&plan, Goal::Renew, variables, None, scopes) {
        Ok(asks) => asks,
        Err(error) => {
            shown(&error, &error.to_string());
            return true;
        }
    };
    let mut next = asks.begin(moment);
    for _ in 0..40 {
        let request = match next {
            Ok(request) => request,
            Err(error) => {
                shown(&error, &error.to_string());
                return true;
            }
        };
        // What is no URL is refused where it is asked.
        if let Ok(url) = Url::parse(&request.url) {
            let host = url.host_str().expect("a host");
            assert!(
                plan.urls().into_iter().any(|one| is_host_of(host, one) || is_literal(host, one)),
                "{host}"
            );
            assert_eq!((url.username(), url.password()), ("", None));
            assert!(url.fragment().is_none());
        }
        let framing = ["host", "content-length", "transfer-encoding", "connection"];
        assert!(request.headers.iter().all(|(name, _)| !framing.contains(&name.as_str())));
        assert!(request.headers.iter().all(|(_, value)| !value.contains(&b'\n')));
        let headers = [("x-session".to_owned(), Zeroizing::new("s".to_owned()))];
        let answer = TokenAnswer { status: 200, headers: &headers, body };
        next = match asks.answered(&answer, moment) {
            Ok(Progress::Ask(request)) => Ok(request),
            Ok(Progress::Done(_)) => return true,
            Ok(Progress::Kept(_, error)) | Err(error) => Err(error),
        };
    }
    panic!("it never ends")
}

/// Hosts that a URL parser writes in another way: addresses, and names it reads as such.
fn is_literal(host: &str, template: &UrlTemplate) -> bool {
    let [HostPiece::Text(only)] = template.host() else { return false };
    Url::parse(&format!("https://{only}/")).is_ok_and(|url| url.host_str() == Some(host))
}
