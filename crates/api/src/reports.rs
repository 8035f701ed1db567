//! What browsers report of pages that broke the content security policy.
//!
//! Anybody can send such reports: they are few, small, and nothing of them is kept but the directive's
//! name, which is one of a list.

use crate::{
    console::{Console, Peer},
    pages::Home,
};
use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

const MAX_BODY_BYTES: usize = 8 * 1_024;
/// Requests within a minute, of one place and of all.
const OF_ONE: u32 = 20;
const OF_ALL: u32 = 200;
/// Reports in one request.
const AT_ONCE: usize = 20;
const MINUTE_US: i64 = 60_000_000;

/// Those of CSP 3, Trusted Types and Upgrade Insecure Requests that a page can break.
const DIRECTIVES: [&str; 26] = [
    "base-uri",
    "child-src",
    "connect-src",
    "default-src",
    "fenced-frame-src",
    "font-src",
    "form-action",
    "frame-ancestors",
    "frame-src",
    "img-src",
    "manifest-src",
    "media-src",
    "object-src",
    "prefetch-src",
    "require-trusted-types-for",
    "sandbox",
    "script-src",
    "script-src-attr",
    "script-src-elem",
    "style-src",
    "style-src-attr",
    "style-src-elem",
    "trusted-types",
    "upgrade-insecure-requests",
    "webrtc",
    "worker-src",
];

/// How many came within this minute.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    number: i64,
    all: u32,
    places: HashMap<Option<IpAddr>, u32>,
}

impl Counted {
    /// Whether one more is taken.
    fn takes(&self, number: i64, place: Option<IpAddr>) -> bool {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if minute.number != number {
            *minute = Minute { number, ..Minute::default() };
        }
        if minute.all >= OF_ALL {
            return false;
        }
        let of_place = minute.places.entry(place).or_default();
        if *of_place >= OF_ONE {
            return false;
        }
        *of_place += 1;
        minute.all += 1;
        true
    }
}

pub(crate) async fn take(State(console): Home, request: Request) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let is_known = ["application/csp-report", "application/reports+json"].contains(&essence);
    if !is_known {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let place = request.extensions().get::<Peer>().and_then(|peer| peer.0);
    let minute = console.instance.clock.now().as_micros() / MINUTE_US;
    if !console.reports.takes(minute, place) {
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "60")]).into_response();
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let Ok(report) = serde_json::from_slice::<Value>(&body.to_bytes()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    told(&console, &report);
    StatusCode::NO_CONTENT.into_response()
}

/// The URLs and samples beside the directive may hold what is nobody's business.
fn told(console: &Console, report: &Value) {
    let one = std::slice::from_ref(report);
    for report in report.as_array().map_or(one, Vec::as_slice).iter().take(AT_ONCE) {
        let of_old = report.get("csp-report");
        let body = of_old.or_else(|| report.get("body")).unwrap_or(&Value::Null);
        let names = ["effectiveDirective", "effective-directive", "violated-directive"];
        let given = names.iter().find_map(|name| body.get(name)?.as_str()).unwrap_or_default();
        let name = given.split(' ').next().unwrap_or_default();
        let directive = DIRECTIVES.into_iter().find(|one| *one == name).unwrap_or("other");
        console.vitals.breach(directive);
        tracing::warn!(directive, "a page broke the console's content security policy");
    }
}
