//! Traces and metrics at a collector, read with OpenTelemetry's own schema.

use crate::world::{World, code, text};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::ExportMetricsServiceRequest,
        trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        },
    },
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, metric::Data},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use testkit::{Answer, End, FaultyProvider, Received, client, wait_until};

pub const HEADER: &str = "canary-collector-91c6d0";

/// A collector that takes everything.
pub fn collector() -> FaultyProvider {
    let collector = FaultyProvider::start().unwrap();
    for path in ["POST /base/v1/traces", "POST /base/v1/metrics"] {
        collector.on(path, Answer::body(200, "application/x-protobuf", ""));
    }
    collector
}

/// Sends the world's telemetry there when it serves next.
pub fn export_to(world: &mut World, collector: &FaultyProvider) {
    let headers = format!("# of the vendor\nAuthorization: Bearer {HEADER}\n");
    let file = world.weirgate.file("otlp-headers", headers).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    world.weirgate.set("WEIRGATE_OTLP_ENDPOINT", &format!("{}/base", collector.url()));
    world.weirgate.set("WEIRGATE_OTLP_HEADERS_FILE", &file);
}

fn posts(collector: &FaultyProvider, path: &str) -> Vec<Received> {
    let all = collector.requests().into_iter();
    let posts: Vec<_> = all.filter(|request| request.path == format!("/base/v1/{path}")).collect();
    for post in &posts {
        assert_eq!(post.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(post.header("authorization"), Some(format!("Bearer {HEADER}").as_str()));
    }
    posts
}

fn spans(collector: &FaultyProvider) -> Vec<Span> {
    let mut all = Vec::new();
    for post in posts(collector, "traces") {
        let request = ExportTraceServiceRequest::decode(post.body.as_slice()).unwrap();
        for resource in request.resource_spans {
            let about = attributes(&resource.resource.unwrap().attributes);
            assert_eq!(about["service.name"], "weirgate");
            all.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    all
}

fn metrics(collector: &FaultyProvider) -> Vec<Metric> {
    let last = posts(collector, "metrics").pop().unwrap();
    let request = ExportMetricsServiceRequest::decode(last.body.as_slice()).unwrap();
    let resources = request.resource_metrics.into_iter();
    resources.flat_map(|all| all.scope_metrics).flat_map(|scope| scope.metrics).collect()
}

fn attributes(all: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |attribute: &KeyValue| match attribute.value.as_ref().unwrap().value.as_ref() {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    all.iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect()
}

/// The span of a whole call, by the request's id.
fn root<'s>(spans: &'s [Span], answer: &client::Response) -> &'s Span {
    let id = answer.header("weirgate-request-id").unwrap();
    let of = |span: &&Span| {
        attributes(&span.attributes).get("weirgate.request_id").is_some_and(|found| found == id)
    };
    let mut found = spans.iter().filter(of);
    let root = found.next().unwrap_or_else(|| panic!("no trace of {id}"));
    assert!(found.next().is_none(), "one trace of {id}");
    root
}

fn phases<'s>(spans: &'s [Span], root: &Span) -> Vec<&'s Span> {
    let of = |span: &&Span| span.trace_id == root.trace_id && span.parent_span_id == root.span_id;
    spans.iter().filter(of).collect()
}

fn names<'s>(spans: &[&'s Span]) -> Vec<&'s str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

/// The first column of a table in the reference.
pub fn documented(page: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(page);
    let page = std::fs::read_to_string(path).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn each_call_is_one_trace_of_declared_attributes() {
    const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let collector = collector();
    let mut world = World::prepared();
    export_to(&mut world, &collector);
    world.serve();
    let read = world.send("GET", "/things/17", &[("traceparent", TRACEPARENT)], b"");
    assert_eq!(read.status, 200);
    assert!(world.provider.last_request().unwrap().header("traceparent").is_none());
    let written = world.post("/things", &json!({"name": "n"}));
    assert_eq!(written.status, 201);
    let broken = world.get("/fault/error");
    assert_eq!(world.get("/things?limit=5").status, 200);
    let refused = world.get("/things?sort=a");
    assert_eq!(code(&refused), "parameter_not_granted");
    let nowhere = world.get("/nowhere/secret-path");
    let stranger = client::get(world.addr, &world.path("/things/17"), &[]).unwrap();
    let unread = client::send(
        world.addr,
        "GET",
        &world.path("/things/17"),
        &[("traceparent", TRACEPARENT), ("Authorization", "Bearer wg_live_no")],
        b"",
    )
    .unwrap();
    assert_eq!((stranger.status, unread.status), (401, 401));
    let odd = world.send("BREW-secret-path", "/things/17", &[], b"");
    assert_eq!(odd.status, 404);
    let begun = Instant::now();
    world.stop();
    assert!(begun.elapsed() < Duration::from_secs(5));

    let spans = spans(&collector);
    let whole = root(&spans, &read);
    assert_eq!(whole.name, "GET /proxy/{connection}/things/{id}");
    assert_eq!(whole.kind, i32::from(SpanKind::Server));
    let about = attributes(&whole.attributes);
    assert_eq!(about["http.route"], "/proxy/{connection}/things/{id}");
    assert_eq!(about["http.response.status_code"], "200");
    assert_eq!(about["weirgate.operation"], "get_thing");
    assert_eq!(about["weirgate.provider"], "things");
    let [link] = whole.links.as_slice() else { panic!("{whole:?}") };
    assert_eq!(link.trace_id[..2], [0x0a, 0xf7]);
    assert_ne!(whole.trace_id, link.trace_id, "a caller does not choose our trace");
    assert!(whole.parent_span_id.is_empty());
    let of_read = phases(&spans, whole);
    let all = ["admit", "request", "intent", "connect", "provider", "answer"];
    assert_eq!(names(&of_read), all);
    let mut at = whole.start_time_unix_nano;
    for phase in &of_read {
        assert_eq!(phase.start_time_unix_nano, at, "{}", phase.name);
        at = phase.end_time_unix_nano;
        assert_eq!((phase.trace_id.len(), phase.span_id.len()), (16, 8));
    }
    assert_eq!(at, whole.end_time_unix_nano);
    assert_eq!(of_read[4].kind, i32::from(SpanKind::Client));
    assert_eq!(attributes(&of_read[4].attributes)["http.response.status_code"], "200");

    assert_eq!(names(&phases(&spans, root(&spans, &written))), all);
    let failed = attributes(&root(&spans, &broken).attributes);
    assert_eq!(failed["error.type"], "provider_error");
    assert_eq!(failed["weirgate.error.origin"], "provider");
    assert_eq!(names(&phases(&spans, root(&spans, &refused))), ["admit", "request"]);
    assert_eq!(attributes(&root(&spans, &nowhere).attributes)["error.type"], "path_unknown");
    assert!(root(&spans, &unread).links.is_empty(), "a link of nobody's");
    let of_nobody = root(&spans, &stranger);
    assert_eq!(attributes(&of_nobody.attributes)["http.request.method"], "GET");
    assert_eq!(attributes(&root(&spans, &odd).attributes)["http.request.method"], "_OTHER");
    let ids: BTreeSet<_> = spans.iter().map(|span| (&span.trace_id, &span.span_id)).collect();
    assert_eq!(ids.len(), spans.len());

    let declared = documented("telemetry.md");
    let seen: BTreeSet<String> =
        spans.iter().flat_map(|span| attributes(&span.attributes).into_keys()).collect();
    assert!(seen.is_subset(&declared), "{seen:?}");
    let told = format!("{spans:?}");
    for secret in ["limit=5", "things/17", "secret-path", &world.connection, &world.key] {
        assert!(!told.contains(secret), "{secret}");
    }
}

#[test]
fn metrics_at_the_collector_are_those_of_the_port() {
    let collector = collector();
    let mut world = World::prepared();
    export_to(&mut world, &collector);
    world.weirgate.set("WEIRGATE_OTLP_INTERVAL_MS", "100");
    world.serve();
    for _ in 0..3 {
        world.get("/things/1");
    }
    world.get("/things/1?sort=a");
    let calls = |metrics: &[Metric]| {
        let calls = metrics.iter().find(|metric| metric.name == "weirgate_calls_total")?;
        let Some(Data::Sum(sum)) = &calls.data else { panic!("{calls:?}") };
        let points = sum.data_points.iter();
        let counts: BTreeMap<String, String> = points
            .map(|point| (attributes(&point.attributes)["class"].clone(), format!("{point:?}")))
            .collect();
        Some(counts)
    };
    let counts = wait_until(Duration::from_secs(10), || {
        posts(&collector, "metrics").first()?;
        calls(&metrics(&collector)).filter(|counts| counts["2xx"].contains("AsDouble(3.0)"))
    });
    assert!(counts["4xx"].contains("AsDouble(1.0)"), "{counts:?}");
    let port = client::get(world.console, "/metrics", &[]).unwrap().text();
    world.stop();
    let at_port: BTreeSet<String> = port
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, _)| name.to_owned())
        .collect();
    let at_collector: BTreeSet<String> =
        metrics(&collector).into_iter().map(|metric| metric.name).collect();
    assert!(at_port.is_subset(&at_collector), "{at_port:?} {at_collector:?}");
    assert!(at_collector.is_subset(&documented("metrics.md")), "{at_collector:?}");
    let durations = metrics(&collector);
    let durations = durations.iter().find(|it| it.name == "weirgate_call_duration_seconds");
    let Some(Data::Histogram(histogram)) = &durations.unwrap().data else { panic!() };
    let point = &histogram.data_points[0];
    assert_eq!(point.count, 4);
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), 4);
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
}

/// As a reader sees it that shares no code with the writer.
#[test]
fn exports_are_read_by_opentelemetrys_own_classes() {
    let Some(programs) = std::env::var_os("WEIRGATE_TEST_OTLP") else {
        eprintln!("skipped: WEIRGATE_TEST_OTLP does not name the folder with Python's programs");
        return;
    };
    let collector = collector();
    let mut world = World::prepared();
    export_to(&mut world, &collector);
    world.serve();
    let answer = world.get("/things/1");
    assert_eq!(answer.status, 200);
    world.stop();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/otlp/decode.py");
    let read = |kind: &str, bytes: &[u8]| {
        let file = world.weirgate.file("export", bytes).unwrap();
        Command::new(Path::new(&programs).join("python3")).args([script, kind, &file]).output()
    };
    let decoded = |kind: &str| -> serde_json::Value {
        let last = posts(&collector, kind).pop().unwrap();
        let output = read(kind, &last.body).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let traces = decoded("traces");
    let spans = &traces["resource_spans"][0]["scope_spans"][0]["spans"];
    let request_id = answer.header("weirgate-request-id").unwrap();
    let root = spans.as_array().unwrap().iter().find(|span| span.to_string().contains(request_id));
    let root = root.unwrap_or_else(|| panic!("no trace of {request_id} in {traces}"));
    assert_eq!(root["name"], "GET /proxy/{connection}/things/{id}");
    assert_eq!(root["kind"], "SPAN_KIND_SERVER");
    let nanos = |name: &str| root[name].as_str().unwrap().parse::<u64>().unwrap();
    assert!(nanos("start_time_unix_nano") < nanos("end_time_unix_nano"));

    let metrics = decoded("metrics");
    let all = metrics["resource_metrics"][0]["scope_metrics"][0]["metrics"].as_array().unwrap();
    let calls = all.iter().find(|metric| metric["name"] == "weirgate_calls_total").unwrap();
    assert_eq!(calls["sum"]["is_monotonic"], true, "{calls}");
    assert_eq!(calls["sum"]["aggregation_temporality"], "AGGREGATION_TEMPORALITY_CUMULATIVE");
    let served = |point: &&serde_json::Value| point["attributes"].to_string().contains("\"2xx\"");
    let points = calls["sum"]["data_points"].as_array().unwrap();
    let point = points.iter().find(served).unwrap();
    assert!(point["as_double"] == 1.0 || point["as_int"] == "1", "{point}");
    // It would say so: a field that the schema does not know, and bytes that are none of it.
    for wrong in [&[0xfa, 0x7f, 0x00][..], b"\x0a\xff"] {
        assert!(!read("traces", wrong).unwrap().status.success(), "{wrong:?}");
    }
}

/// The collector is nobody's, silent, or refuses: calls are served as ever, and the end comes soon.
#[test]
fn no_call_waits_for_a_collector() {
    let silent = collector();
    let busy = collector();
    let refusing = collector();
    let mut away = collector();
    for path in ["POST /base/v1/traces", "POST /base/v1/metrics"] {
        silent.on(path, Answer::verbatim("").end(End::Silence));
        busy.on(path, Answer::status(503));
        refusing.on(path, Answer::status(401));
    }
    away.stop();
    for (what, collector, warning) in [
        ("silent", &silent, "the last telemetry was not taken in time"),
        ("busy", &busy, "collector_busy"),
        ("refusing", &refusing, "collector_credential_refused"),
        ("away", &away, "provider_unreachable"),
    ] {
        let mut world = World::prepared();
        export_to(&mut world, collector);
        world.weirgate.set("WEIRGATE_OTLP_INTERVAL_MS", "50");
        world.serve();
        let begun = Instant::now();
        for _ in 0..30 {
            assert_eq!(world.get("/things/1").status, 200, "{what}");
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{what}");
        if what == "refusing" {
            wait_until(Duration::from_secs(10), || {
                let text = client::get(world.console, "/metrics", &[]).unwrap().text();
                let mut lost = text.lines().filter_map(|line| {
                    line.strip_prefix("weirgate_otlp_total{signal=\"traces\",result=\"lost\"} ")
                });
                (lost.next()? == "30").then_some(())
            });
        }
        let begun = Instant::now();
        let output = world.stop();
        assert!(begun.elapsed() < Duration::from_secs(8), "{what}");
        let lines = output.err();
        assert!(lines.matches("telemetry is not taken").count() <= 1, "{what}: {lines}");
        assert!(lines.contains(warning), "{what}: {lines}");
        assert!(!lines.contains(HEADER), "{what}");
    }
}

#[test]
fn a_collector_is_known_by_its_certificate() {
    let collector = FaultyProvider::start_tls().unwrap();
    for path in ["POST /base/v1/traces", "POST /base/v1/metrics"] {
        collector.on(path, Answer::body(200, "application/x-protobuf", ""));
    }
    let mut world = World::prepared();
    export_to(&mut world, &collector);
    world.serve();
    world.get("/things/1");
    assert!(world.stop().err().contains("provider_tls_failed"));
    assert!(collector.requests().is_empty());
    let roots = world.weirgate.file("roots.pem", collector.root_pem().unwrap()).unwrap();
    world.weirgate.set("WEIRGATE_EXTRA_ROOTS_FILE", &roots);
    world.serve();
    let answer = world.get("/things/1");
    world.stop();
    root(&spans(&collector), &answer);
}

#[test]
fn what_a_collector_rejects_is_told_without_its_words() {
    let collector = collector();
    let error_message = "canary-words".to_owned();
    let partial_success = Some(ExportTracePartialSuccess { rejected_spans: 3, error_message });
    let answer = ExportTraceServiceResponse { partial_success }.encode_to_vec();
    let taken = Answer::body(200, "application/x-protobuf", answer);
    collector.on("POST /base/v1/traces", taken);
    let mut world = World::prepared();
    export_to(&mut world, &collector);
    world.serve();
    world.get("/things/1");
    let lines = world.stop().err();
    assert!(lines.contains("rejected a part of the telemetry\",\"count\":3"), "{lines}");
    assert!(!lines.contains("canary-words"));
}

/// What the port says of the parts that no caller sees.
#[test]
fn the_port_shows_how_each_part_fares() {
    let mut world = World::prepared();
    world.weirgate.set("WEIRGATE_LIMIT_PER_KEY", "8/h");
    world.serve();
    for _ in 0..8 {
        assert_eq!(world.get("/things/1").status, 200);
    }
    for _ in 0..3 {
        assert_eq!(world.get("/things/1").status, 429);
    }
    let figures = || {
        let text = client::get(world.console, "/metrics", &[]).unwrap().text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.rsplit_once(' '));
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.parse::<f64>().unwrap()));
        pairs.collect::<BTreeMap<_, _>>()
    };
    let refusals = "weirgate_limit_refusals_total{limit=\"key\"}";
    let all = wait_until(Duration::from_secs(5), || {
        Some(figures()).filter(|all| {
            all.get(refusals) == Some(&3.0) && all["weirgate_audit_queue_entries"] < 0.5
        })
    });
    for (name, wanted) in [
        ("weirgate_calls_total{class=\"2xx\"}", 8.0),
        ("weirgate_calls_total{class=\"4xx\"}", 3.0),
        ("weirgate_provider_calls_total{provider=\"things\",class=\"2xx\"}", 8.0),
        ("weirgate_provider_calls_total{provider=\"things\",class=\"4xx\"}", 3.0),
        ("weirgate_failures_total{code=\"rate_limited\"}", 3.0),
        ("weirgate_call_phase_seconds_count{phase=\"provider\"}", 8.0),
        ("weirgate_call_phase_seconds_count{phase=\"admit\"}", 11.0),
        ("weirgate_call_duration_seconds_count", 11.0),
        ("weirgate_events_lost_total", 0.0),
        ("weirgate_log_fields_dropped_total", 0.0),
        ("weirgate_calls_under_way", 0.0),
        ("weirgate_outbox_rows", 0.0),
    ] {
        assert_eq!(all.get(name), Some(&wanted), "{name}: {all:#?}");
    }
    let (opened, reused, idle) = (
        all["weirgate_provider_connections_opened_total"],
        all["weirgate_provider_connections_reused_total"],
        all["weirgate_provider_connections_idle"],
    );
    assert!(opened >= 1.0 && idle >= 1.0 && idle <= opened, "{opened} {reused} {idle}");
    assert!(opened + reused >= 8.0, "{opened} {reused}");
    assert!(all["weirgate_audit_syncs_total"] >= 1.0);
    assert!(all["weirgate_audit_sync_microseconds_total"] >= 1.0);
    assert!(all["weirgate_snapshot_age_seconds"] < 5.0);
    assert!(all["weirgate_snapshot_generation"] >= 1.0);
}

/// Ten thousand paths, keys and connections make not one series more.
#[test]
fn metrics_stay_few_whatever_is_called() {
    let world = World::serving();
    let bearer = format!("Bearer {}", world.key);
    let series = || {
        let text = client::get(world.console, "/metrics", &[]).unwrap().text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect::<BTreeSet<_>>()
    };
    let call = |connection: &mut client::Connection, method: &str, path: &str, key: &str| {
        connection.request(method, path, &[("Authorization", key)], b"").unwrap();
    };
    let some = |from: u32, to: u32| {
        let mut connection = client::Connection::open(world.addr).unwrap();
        for number in from..to {
            let path = world.path(&format!("/things/{number}?p{number}={number}"));
            call(&mut connection, "GET", &path, &bearer);
            let path = world.path(&format!("/no{number}/{number}"));
            call(&mut connection, "GET", &path, &bearer);
            let key = format!("Bearer wg_live_{number:036}");
            call(&mut connection, "GET", &world.path("/things/1"), &key);
            let path = format!("/proxy/conn_{number:026}/things");
            call(&mut connection, &format!("M{number}"), &path, &bearer);
        }
    };
    some(0, 3);
    let before = wait_until(Duration::from_secs(5), || {
        Some(series()).filter(|all| all.iter().any(|one| one.contains("connection_unknown")))
    });
    some(3, 2_500);
    let after = wait_until(Duration::from_secs(10), || {
        let text = client::get(world.console, "/metrics", &[]).unwrap().text();
        let count = "weirgate_failures_total{code=\"connection_unknown\"} 2500";
        text.lines().any(|line| line == count).then(series)
    });
    assert_eq!(before, after);
    assert!(after.len() < 300, "{}", after.len());
}

#[test]
fn what_a_busy_collector_does_not_take_is_sent_again() {
    let collector = collector();
    let taken = Answer::body(200, "application/x-protobuf", "");
    let answers = [Answer::status(503), Answer::status(429), taken];
    collector.on_sequence("POST /base/v1/traces", answers);
    let mut world = World::prepared();
    export_to(&mut world, &collector);
    world.serve();
    let answer = world.get("/things/1");
    let bodies = wait_until(Duration::from_secs(20), || {
        let posts = posts(&collector, "traces");
        (posts.len() == 3).then(|| posts.into_iter().map(|post| post.body).collect::<Vec<_>>())
    });
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    let sent = "weirgate_otlp_total{signal=\"traces\",result=\"sent\"} 1";
    wait_until(Duration::from_secs(5), || {
        let text = client::get(world.console, "/metrics", &[]).unwrap().text();
        text.lines().any(|line| line == sent).then_some(())
    });
    let lines = world.stop().err();
    assert_eq!(lines.matches("telemetry is not taken").count(), 1, "{lines}");
    assert_eq!(lines.matches("telemetry is taken again").count(), 1, "{lines}");
    assert_eq!(posts(&collector, "traces").len(), 3);
    root(&spans(&collector)[..7], &answer);
}

#[test]
fn telemetry_that_would_travel_in_clear_is_refused() {
    let mut world = World::prepared();
    let refused = |world: &World| {
        let output = world.weirgate.run(&["serve", "--json"], b"").unwrap();
        assert_ne!(output.status, Some(0));
        output.err()
    };
    world.weirgate.set("WEIRGATE_OTLP_ENDPOINT", "http://collector.example.com:4318");
    assert!(refused(&world).contains("without TLS"));
    world.weirgate.set("WEIRGATE_OTLP_ENDPOINT", "https://u:canary-word@collector.example.com");
    assert!(!refused(&world).contains("canary-word"));
    let file = world.weirgate.file("open", "Authorization: Bearer canary-word").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    world.weirgate.set("WEIRGATE_OTLP_ENDPOINT", "http://127.0.0.1:9");
    world.weirgate.set("WEIRGATE_OTLP_HEADERS_FILE", &file);
    let said = refused(&world);
    assert!(said.contains("may read it") && !said.contains("canary-word"), "{said}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&file, "canary-word").unwrap();
    let said = refused(&world);
    assert!(said.contains("line 1") && !said.contains("canary-word"), "{said}");
    let shown = world.weirgate.run(&["config", "show", "--json"], b"").unwrap();
    assert_eq!(text(&shown.json().unwrap()["otlp_headers_file"], "value"), file);
}
