//! The metrics: each is declared here with its labels and what they may say. What is not declared is
//! not counted, and no metric has more than [`MAX_SERIES`] series, so that nobody who calls can make
//! them many.

use gateway::{Gateway, ServerTls};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, counter, gauge,
};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use outbound::PoolFigures;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// Series of one metric; more are not counted.
const MAX_SERIES: usize = 400;
/// Providers that are counted by name; more share the label `other`.
pub(crate) const MAX_PROVIDERS: usize = 50;
/// Upper bounds of the histograms' buckets, in seconds.
const BUCKETS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric, as documented in `docs/reference/metrics.md`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    /// Each label with what its values are.
    pub labels: &'static [(&'static str, &'static str)],
    pub about: &'static str,
}

const CLASS: (&str, &str) = ("class", "`1xx` to `5xx`, `other`");

/// Every metric there is.
pub(crate) const METRICS: &[Metric] = &[
    count("weirgate_calls_total", &[CLASS], "Calls answered, by class of status."),
    Metric {
        name: "weirgate_call_duration_seconds",
        kind: Kind::Histogram,
        labels: &[],
        about: "From a call's head to its answer's head.",
    },
    Metric {
        name: "weirgate_call_phase_seconds",
        kind: Kind::Histogram,
        labels: &[("phase", "`admit`, `request`, `intent`, `connect`, `provider`, `answer`")],
        about: "What each phase of a call took, to the end of its answer.",
    },
    count(
        "weirgate_provider_calls_total",
        &[("provider", "slug of the first 50 providers called, `other`"), CLASS],
        "Calls that came to a provider's operation, by our answer's class.",
    ),
    count(
        "weirgate_failures_total",
        &[("code", "an error's code")],
        "Calls that were not answered as asked.",
    ),
    count(
        "weirgate_limit_refusals_total",
        &[(
            "limit",
            "`key`, `connection`, `provider`, `told_by_provider`, `connection_calls`, `provider_calls`, `key_bodies`, `bodies`, `calls`",
        )],
        "Calls that a limit held back.",
    ),
    count(
        "weirgate_events_lost_total",
        &[],
        "Calls that only the audit log knows of: their events came faster than they were taken.",
    ),
    value("weirgate_connections", "Open connections of callers."),
    value("weirgate_calls_under_way", "Calls that hold one of the `max_calls` places."),
    value("weirgate_request_body_bytes", "Request bodies that wait, of `max_held_write_bytes`."),
    count("weirgate_provider_connections_opened_total", &[], "Connections made to providers."),
    count(
        "weirgate_provider_connections_reused_total",
        &[],
        "Exchanges over a connection to a provider that had carried others.",
    ),
    count(
        "weirgate_provider_repeats_total",
        &[],
        "Requests that went once more over another connection: of which nothing was sent, or which \
         only ask and got no answer.",
    ),
    count(
        "weirgate_provider_answers_total",
        &[("protocol", "`1.1` (and `1.0`), `2`")],
        "Answers of providers whose head came, by version of HTTP.",
    ),
    value("weirgate_provider_connections_idle", "Idle connections to providers."),
    value("weirgate_snapshot_age_seconds", "Since the store last confirmed what is enforced."),
    value("weirgate_snapshot_generation", "Generation of the store that is enforced."),
    value("weirgate_audit_queue_entries", "Entries that wait for the audit log's writer."),
    count("weirgate_audit_syncs_total", &[], "Syncs of the audit log to the disk."),
    count(
        "weirgate_audit_sync_microseconds_total",
        &[],
        "The time that these syncs took together; by their number, the latency of one.",
    ),
    value(
        "weirgate_audit_free_bytes",
        "Free on the audit log's file system; below 10 % and 5 % of it (of 100 GiB, if it is larger) a log line warns.",
    ),
    value("weirgate_outbox_rows", "Changes that wait in the store to be moved into the audit log."),
    value(
        "weirgate_certificate_expires_timestamp_seconds",
        "When the listeners' certificate ends, in seconds since 1970; 0 without `tls_cert`.",
    ),
    count(
        "weirgate_policy_breaches_total",
        &[("directive", "a directive's name, `other`")],
        "Pages of the console that broke its content security policy, as browsers report it.",
    ),
    count("weirgate_clock_jumps_total", &[], "Jumps of this machine's clock by more than 10 s."),
    value(
        "weirgate_clock_skew_seconds",
        "By how much this machine's clock is ahead of the database's; 0 where that is a file.",
    ),
    Metric {
        name: "weirgate_checkpoint_age_seconds",
        kind: Kind::Gauge,
        labels: &[("place", "`file`, `webhook`, `nodes`: those that there are")],
        about: "Since a place outside had the audit log's newest checkpoint.",
    },
    count(
        "weirgate_checkpoint_contradictions_total",
        &[("place", "`file`, `webhook`, `nodes`, `witness`")],
        "How often a place held another history of this audit log; `witness`: how often another node showed two of its own.",
    ),
    count(
        "weirgate_log_fields_dropped_total",
        &[],
        "Fields of log lines that are not declared and were left out.",
    ),
    count(
        "weirgate_otlp_total",
        &[("signal", "`traces`, `metrics`"), ("result", "`sent`, `lost`")],
        "Traces of calls, and exports of metrics, to the collector.",
    ),
];

const fn count(
    name: &'static str,
    labels: &'static [(&'static str, &'static str)],
    about: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, about }
}

const fn value(name: &'static str, about: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels: &[], about }
}

/// What a status is counted as.
pub(crate) const fn class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "other",
    }
}

/// Names for the label `provider`: those that came first, then one for all others.
#[derive(Debug, Default)]
pub(crate) struct ProviderNames(HashSet<String>);

impl ProviderNames {
    pub(crate) fn name<'n>(&mut self, slug: &'n str) -> &'n str {
        if self.0.contains(slug) {
            return slug;
        }
        if self.0.len() >= MAX_PROVIDERS {
            return "other";
        }
        self.0.insert(slug.to_owned());
        slug
    }
}

/// The process's metrics, and what is looked up only when somebody reads them.
#[derive(Clone)]
pub(crate) struct Figures {
    handle: PrometheusHandle,
    gateway: Arc<Gateway>,
    pools: Arc<PoolFigures>,
    tls: Option<ServerTls>,
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

impl Figures {
    pub(crate) fn new(
        handle: PrometheusHandle,
        gateway: Arc<Gateway>,
        pools: Arc<PoolFigures>,
        tls: Option<ServerTls>,
    ) -> Self {
        Self { handle, gateway, pools, tls }
    }

    /// All of them, in Prometheus' text format.
    pub(crate) fn render(&self) -> String {
        let Self { handle, gateway, pools, tls } = self;
        gauge!("weirgate_request_body_bytes").set(number(gateway.held_write_bytes()));
        gauge!("weirgate_calls_under_way").set(number(gateway.calls_under_way()));
        gauge!("weirgate_provider_connections_idle").set(number(pools.idle()));
        counter!("weirgate_provider_connections_opened_total").absolute(pools.opened());
        counter!("weirgate_provider_connections_reused_total").absolute(pools.reused());
        counter!("weirgate_provider_repeats_total").absolute(pools.repeated());
        for (protocol, answers) in ["1.1", "2"].into_iter().zip(pools.answers()) {
            counter!("weirgate_provider_answers_total", "protocol" => protocol).absolute(answers);
        }
        gauge!("weirgate_snapshot_age_seconds").set(gateway.shared.age().as_secs_f64());
        let generation = usize::try_from(gateway.shared.generation()).unwrap_or(usize::MAX);
        gauge!("weirgate_snapshot_generation").set(number(generation));
        let pace = gateway.recorder.pace();
        gauge!("weirgate_audit_queue_entries").set(number(pace.queued));
        counter!("weirgate_audit_syncs_total").absolute(pace.syncs);
        let micros = u64::try_from(pace.syncing.as_micros()).unwrap_or(u64::MAX);
        counter!("weirgate_audit_sync_microseconds_total").absolute(micros);
        if let Some(tls) = tls {
            let seconds = tls.validity().1.as_micros() / 1_000_000;
            gauge!("weirgate_certificate_expires_timestamp_seconds")
                .set(number(usize::try_from(seconds).unwrap_or_default()));
        }
        counter!("weirgate_log_fields_dropped_total").absolute(crate::logging::dropped());
        handle.render()
    }

    /// Tidies the histograms' buckets; called every few seconds.
    pub(crate) fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures are shown, not counted with")]
pub(crate) const fn number(count: usize) -> f64 {
    count as f64
}

/// One recorder per process; a second server in one process shares it.
pub(crate) fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let histograms = Matcher::Suffix("_seconds".to_owned());
            let builder = PrometheusBuilder::new();
            // It refuses only an empty list.
            let builder = builder.set_buckets_for_metric(histograms, &BUCKETS);
            let recorder = builder.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(Declared::new(recorder)).is_err() {
                tracing::warn!("metrics were installed already");
            }
            describe();
            handle
        })
        .clone()
}

/// So that each shows a zero before it first happens, too.
fn describe() {
    for Metric { name, kind, labels, about } in METRICS {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *about),
            Kind::Gauge => metrics::describe_gauge!(*name, *about),
            Kind::Histogram => metrics::describe_histogram!(*name, Unit::Seconds, *about),
        }
        match kind {
            Kind::Counter if labels.is_empty() => drop(counter!(*name)),
            Kind::Gauge if labels.is_empty() => drop(gauge!(*name)),
            _ => {}
        }
    }
}

/// Lets through what [`METRICS`] declares.
struct Declared {
    inner: PrometheusRecorder,
    series: Mutex<HashMap<&'static str, HashSet<Key>>>,
}

impl Declared {
    fn new(inner: PrometheusRecorder) -> Self {
        Self { inner, series: Mutex::default() }
    }

    fn takes(&self, key: &Key, kind: Kind) -> bool {
        let declared = METRICS.iter().find(|metric| metric.name == key.name());
        let Some(metric) = declared.filter(|metric| metric.kind == kind) else { return false };
        let is_declared = |name: &str| metric.labels.iter().any(|(label, _)| *label == name);
        if !key.labels().all(|label| is_declared(label.key())) {
            return false;
        }
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let known = series.entry(metric.name).or_default();
        known.contains(key) || (known.len() < MAX_SERIES && known.insert(key.clone()))
    }
}

impl Recorder for Declared {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, about: SharedString) {
        self.inner.describe_counter(name, unit, about);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, about: SharedString) {
        self.inner.describe_gauge(name, unit, about);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, about: SharedString) {
        self.inner.describe_histogram(name, unit, about);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        if self.takes(key, Kind::Counter) {
            self.inner.register_counter(key, metadata)
        } else {
            Counter::noop()
        }
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        if self.takes(key, Kind::Gauge) {
            self.inner.register_gauge(key, metadata)
        } else {
            Gauge::noop()
        }
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        if self.takes(key, Kind::Histogram) {
            self.inner.register_histogram(key, metadata)
        } else {
            Histogram::noop()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(act: impl FnOnce()) -> String {
        let inner = PrometheusBuilder::new().build_recorder();
        let handle = inner.handle();
        metrics::with_local_recorder(&Declared::new(inner), act);
        handle.render()
    }

    #[test]
    fn only_what_is_declared_is_counted() {
        let text = recorded(|| {
            counter!("weirgate_calls_total", "class" => "2xx").increment(1);
            counter!("weirgate_calls_total", "path" => "/a").increment(1);
            counter!("weirgate_unknown_total").increment(1);
            gauge!("weirgate_calls_total").set(5.0);
            metrics::histogram!("weirgate_calls_total").record(5.0);
        });
        let series: Vec<&str> = text.lines().filter(|line| line.starts_with("weirgate")).collect();
        assert_eq!(series, ["weirgate_calls_total{class=\"2xx\"} 1"]);
    }

    #[test]
    fn the_series_of_a_metric_are_bounded_whatever_its_labels_say() {
        let text = recorded(|| {
            for number in 0..10_000 {
                counter!("weirgate_failures_total", "code" => format!("c{number}")).increment(1);
                counter!("weirgate_failures_total", "code" => "c0").increment(1);
            }
        });
        let series = text.lines().filter(|line| line.starts_with("weirgate")).count();
        assert_eq!(series, MAX_SERIES);
        assert!(text.contains("{code=\"c0\"} 10001"), "what is known goes on");
    }

    #[test]
    fn providers_beyond_the_first_share_a_name() {
        let mut names = ProviderNames::default();
        for number in 0..MAX_PROVIDERS {
            let slug = format!("p{number}");
            assert_eq!(names.name(&slug), slug);
        }
        assert_eq!(names.name("one-more"), "other");
        assert_eq!(names.name("p0"), "p0");
    }

    /// What is counted anywhere is declared, and what is declared is counted somewhere.
    #[test]
    fn what_is_counted_is_what_is_declared() {
        let mut named = std::collections::BTreeMap::<String, usize>::new();
        for text in crate::logging::product_sources() {
            for behind in text.split("\"weirgate_").skip(1) {
                let name = behind.split('"').next().unwrap();
                *named.entry(format!("weirgate_{name}")).or_default() += 1;
            }
        }
        let unknown: Vec<_> =
            named.keys().filter(|name| METRICS.iter().all(|it| it.name != *name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        // One place declares it.
        let uncounted: Vec<_> =
            METRICS.iter().filter(|it| named.get(it.name).is_none_or(|count| *count < 2)).collect();
        assert!(uncounted.is_empty(), "{uncounted:?}");
    }

    fn reference() -> String {
        let mut page = String::from(
            "# Metrics

<!-- Generated from crates/weirgate/src/figures.rs; a test compares. -->

Served as Prometheus text on `console_addr` at `/metrics`, and sent to `otlp_endpoint` under the same names where one is configured.
This is all there is: what is not declared here is not counted.
No label carries a path, a key, a connection or a customer; the number of series has a bound that no caller can reach (400 of one metric).
Histograms have buckets from 0.25 ms to 30 s.

| metric | kind | labels | what it says |
| --- | --- | --- | --- |
",
        );
        for Metric { name, kind, labels, about } in METRICS {
            let kind = format!("{kind:?}").to_lowercase();
            let labels: Vec<String> =
                labels.iter().map(|(label, values)| format!("`{label}`: {values}")).collect();
            let labels = if labels.is_empty() { "none".into() } else { labels.join("; ") };
            page.push_str(&format!("| `{name}` | {kind} | {labels} | {about} |\n"));
        }
        page
    }

    #[test]
    fn the_reference_page_is_fresh() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../docs/reference/metrics.md");
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        if page != reference() && std::env::var_os("WEIRGATE_UPDATE_DOCS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        } else {
            assert_eq!(page, reference(), "run this test with WEIRGATE_UPDATE_DOCS=1");
        }
    }
}
