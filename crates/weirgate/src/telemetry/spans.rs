//! Calls as spans: what may be told of a call, and nothing else.
//!
//! A call's trace has the request's id as its own, so that whoever has one finds the other. Names
//! come from the provider's description; a call's path, query, headers and body are not in an
//! [`Event`], and so cannot come here.

use gateway::{Event, Phase};
use http::Version;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{
        Span, Status,
        span::{Link, SpanKind},
        status::StatusCode,
    },
};
use std::time::Duration;
use types::Timestamp;

/// Every attribute that a span may have, as documented in `docs/reference/telemetry.md`. Those with
/// `http.`, `network.` and `error.` are OpenTelemetry's semantic conventions.
#[cfg(test)]
const ATTRIBUTES: &[(&str, &str)] = &[
    ("http.request.method", "the method; `_OTHER` for one that no description can declare"),
    ("http.route", "`/proxy/{connection}` and the path as the description writes it"),
    (
        "http.response.status_code",
        "our answer's status; on the span `provider`, the provider's own",
    ),
    (
        "network.protocol.version",
        "on the span `provider`: the version of HTTP that it answered by, `1.0`, `1.1` or `2`",
    ),
    ("error.type", "the error's code"),
    ("weirgate.error.origin", "who has to act: `caller`, `provider` or `internal`"),
    ("weirgate.limit", "the limit that held the call back"),
    ("weirgate.operation", "the operation's id in the description"),
    ("weirgate.provider", "the provider's slug"),
    ("weirgate.request_id", "as in the answer's header and the audit log"),
];

const SAMPLED: u32 = 1;

/// A call's spans: the call itself, and one for each phase it came to.
pub(crate) fn spans(event: &Event) -> Vec<Span> {
    let trace = event.request.to_bytes();
    let root = u64::try_from(event.request.as_u128() & u128::from(u64::MAX)).unwrap_or(1);
    let id = |number: u64| root.wrapping_add(number).max(1).to_be_bytes().to_vec();
    let at = |after: Duration| nanos(event.started + after);
    let called = event.called.as_ref();
    let method = event.method.map_or("_OTHER", |method| method.as_str());
    let path = called.and_then(gateway::Called::path);
    let route = path.map(|path| format!("/proxy/{{connection}}{path}"));
    let name = match &route {
        Some(route) => format!("{method} {route}"),
        None => method.to_owned(),
    };
    let mut attributes = vec![
        text("http.request.method", method),
        number("http.response.status_code", event.status),
        text("weirgate.request_id", &event.request.to_string()),
    ];
    attributes.extend(route.map(|route| text("http.route", &route)));
    if let Some(called) = called {
        attributes.push(text("weirgate.provider", called.provider()));
        attributes.extend(called.operation().map(|id| text("weirgate.operation", id)));
    }
    if let Some(failure) = event.failure {
        attributes.push(text("error.type", failure.code));
        attributes.push(text("weirgate.error.origin", failure.origin.as_str()));
        attributes.extend(failure.limit.map(|limit| text("weirgate.limit", limit)));
    }
    let link = event.linked.map(|link| Link {
        trace_id: link.trace.to_vec(),
        span_id: link.span.to_vec(),
        ..Link::default()
    });
    let whole = Span {
        trace_id: trace.to_vec(),
        span_id: id(0),
        flags: SAMPLED,
        name,
        kind: SpanKind::Server.into(),
        start_time_unix_nano: at(Duration::ZERO),
        end_time_unix_nano: at(event.duration),
        attributes,
        links: link.into_iter().collect(),
        // A caller's mistake is no error of the server's span.
        status: Some(status(event.status >= 500)),
        ..Span::default()
    };
    let phases = event.phases.spans(event.duration).map(|(phase, begin, end)| {
        let mut span = Span {
            trace_id: trace.to_vec(),
            span_id: id(1 + phase as u64),
            parent_span_id: id(0),
            flags: SAMPLED,
            name: phase.as_str().to_owned(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: at(begin),
            end_time_unix_nano: at(end),
            ..Span::default()
        };
        if phase == Phase::Provider {
            span.kind = SpanKind::Client.into();
            span.attributes.push(text("http.request.method", method));
            let answered = event.provider_status;
            span.attributes.extend(answered.map(|it| number("http.response.status_code", it)));
            let version = event.provider_version.and_then(version);
            span.attributes.extend(version.map(|it| text("network.protocol.version", it)));
            span.status = Some(status(answered.is_none_or(|status| status >= 400)));
        }
        span
    });
    std::iter::once(whole).chain(phases).collect()
}

fn status(is_error: bool) -> Status {
    let code = if is_error { StatusCode::Error } else { StatusCode::Unset };
    Status { code: code.into(), message: String::new() }
}

/// As OpenTelemetry spells it.
fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}

/// Nanoseconds since 1970; zero before.
pub(super) fn nanos(time: Timestamp) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(0).saturating_mul(1_000)
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: u16) -> KeyValue {
    attribute(key, Value::IntValue(value.into()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn reference() -> String {
        let mut page = String::from(HEAD);
        for (name, about) in ATTRIBUTES {
            page.push_str(&format!("| `{name}` | {about} |\n"));
        }
        page
    }

    const HEAD: &str = "# Traces and metrics by OTLP

<!-- Generated from crates/weirgate/src/telemetry/spans.rs; a test compares. -->

Where `otlp_endpoint` names a collector, calls and metrics are sent there by OTLP over HTTP in its binary form: to `/v1/traces` and `/v1/metrics` below that URL.
It is https, or http to a loopback address; the certificate is checked against the public authorities and `extra_roots_file`; redirects are not followed.
Headers that authenticate to it stand in the file of `otlp_headers_file`, one `Name: value` a line, which others may not read.
By default nothing is sent.

## What is sent

**Metrics** every `otlp_interval_ms`: those of [metrics.md](metrics.md) under the same names, cumulative.

**Traces**: one for each call, sent within a second.
The trace's id is the request's id (`weirgate-request-id`) in hexadecimal, so that an entry of the audit log leads to its trace and back.
Its root is a span of kind *server*; below it is one for each phase that the call came to:
`admit` (authenticate, route, authorize, limit), `request` (the body arrives and is checked), `intent` (the audit log; an unsafe call waits for it), `connect` (resolve, judge, connect, TLS; short where a connection was kept), `provider` (kind *client*: from sending to the head of the answer), `answer` (project, to the end).
The resource says `service.name`, `service.version`, and `service.instance.id`, which is new at each start.

An authenticated caller's `traceparent` becomes a *link* of the root, never its parent: a caller decides neither what is recorded nor under which id.
Nothing of it is sent to a provider.

## What is never sent

A call's path, query, headers, bodies and addresses, keys, connections, customers and the provider's host: no attribute but those below exists.
What they name comes from the provider's description and from Weirgate, so that a call cannot make up new ones.

## When the collector is slow or away

No call waits for it.
Up to 8,192 calls wait to be sent; more are dropped and counted in `weirgate_otlp_total{signal=\"traces\",result=\"lost\"}`.
What is answered with 429, 502, 503 or 504, or not at all, is sent again after 1, 2 and 4 s, then dropped and counted; any other refusal drops at once.
The first failure is logged, and the recovery.
At shutdown the last calls and metrics are sent, for at most 3 s.

## Attributes

| attribute | value |
| --- | --- |
";

    #[test]
    fn the_reference_page_is_fresh() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/telemetry.md");
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        if page != reference() && std::env::var_os("WEIRGATE_UPDATE_DOCS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        } else {
            assert_eq!(page, reference(), "run this test with WEIRGATE_UPDATE_DOCS=1");
        }
    }
}
