//! Traces and metrics to a collector, by OTLP over HTTP (OpenTelemetry Protocol 1, binary form).
//!
//! An export has its own thread and client. What it cannot send in time is dropped and counted: no
//! call ever waits for it.

mod headers;
mod series;
mod spans;

pub(crate) use headers::Headers;

use crate::figures::Figures;
use bytes::Bytes;
use gateway::Event;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use metrics::{Counter, counter};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse},
        trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    },
    common::v1::InstrumentationScope,
    metrics::v1::{ResourceMetrics, ScopeMetrics},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans},
};
use outbound::{Deadlines, Endpoint, Pool, PoolConfig, Resolve, TlsConfig};
use prost::Message;
use series::Times;
use std::{fmt, io, sync::Arc, thread::JoinHandle, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use types::{Clock, Fault as _, Id, Instance, Random};

/// Calls that may wait to be sent.
const QUEUE: usize = 8_192;
/// Calls in one request: about seven spans each.
const BATCH: usize = 512;
/// How long a batch gathers.
const LINGER: Duration = Duration::from_millis(500);
/// Before a batch that was not taken is sent again; after the last it is dropped.
const AGAIN_AFTER: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// How long the last exports may take at shutdown.
const END_PATIENCE: Duration = Duration::from_secs(3);
/// The longest answer of a collector.
const MAX_ANSWER_BYTES: u64 = 64 * 1_024;

/// What an export is made with.
#[derive(Debug)]
pub(crate) struct Export {
    pub endpoint: Endpoint,
    pub headers: Headers,
    /// Between two exports of metrics.
    pub every: Duration,
    pub resolver: Arc<dyn Resolve>,
    pub tls: Arc<TlsConfig>,
    pub figures: Figures,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

/// Takes calls to be told of, without ever waiting.
#[derive(Clone)]
pub(crate) struct Traces {
    sender: mpsc::Sender<Event>,
    lost: Counter,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("room", &self.sender.capacity()).finish_non_exhaustive()
    }
}

impl Traces {
    pub(crate) fn offer(&self, event: Event) {
        if self.sender.try_send(event).is_err() {
            self.lost.increment(1);
        }
    }
}

/// An export under way.
#[derive(Debug)]
pub(crate) struct Exporter {
    hurry: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Exporter {
    pub(crate) fn start(export: Export) -> io::Result<(Self, Traces)> {
        let (sender, received) = mpsc::channel(QUEUE);
        let (hurry, hurried) = watch::channel(false);
        let thread = std::thread::Builder::new().name("otlp".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    let local = tokio::task::LocalSet::new();
                    local.block_on(&runtime, run(export, received, hurried));
                }
                Err(error) => tracing::error!(%error, "telemetry cannot be exported"),
            }
        })?;
        Ok((Self { hurry, thread }, Traces { sender, lost: result("traces", "lost") }))
    }

    /// Sends what waits, as far as that takes no more than seconds. Blocks; all [`Traces`] must be
    /// gone.
    pub(crate) fn stop(self) {
        // Nobody listens if the thread has ended.
        let _ = self.hurry.send(true);
        if self.thread.join().is_err() {
            tracing::error!("the export of telemetry has panicked");
        }
    }
}

fn result(signal: &'static str, result: &'static str) -> Counter {
    counter!("weirgate_otlp_total", "signal" => signal, "result" => result)
}

async fn run(export: Export, received: mpsc::Receiver<Event>, mut hurried: watch::Receiver<bool>) {
    let mut worker = Worker::new(export, hurried.clone());
    let patience = async move {
        // Whoever could hurry us is gone: that is a hurry, too.
        let _ = hurried.wait_for(|hurry| *hurry).await;
        sleep(END_PATIENCE).await;
    };
    // Both may be dropped at any await: what was under way then is lost, at the very end.
    tokio::select! {
        () = worker.work(received) => {}
        () = patience => tracing::warn!("the last telemetry was not taken in time"),
    }
}

/// Why nothing, or not all, was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// May be sent again.
    ForNow(&'static str),
    ForGood(&'static str),
}

struct Worker {
    export: Export,
    pool: Pool,
    deadlines: Deadlines,
    resource: Resource,
    started: u64,
    hurried: watch::Receiver<bool>,
    /// Whether the last export failed: its first failure and its recovery are told, not each.
    is_failing: bool,
    sent: [Counter; 2],
    lost: [Counter; 2],
}

impl Worker {
    fn new(export: Export, hurried: watch::Receiver<bool>) -> Self {
        let pool = Pool::new(PoolConfig {
            max_idle: 1,
            max_answer_bytes: MAX_ANSWER_BYTES,
            ..PoolConfig::new(Arc::clone(&export.resolver), Arc::clone(&export.tls))
        });
        let seconds = Duration::from_secs;
        let deadlines = Deadlines {
            head: seconds(10),
            idle: seconds(5),
            total: seconds(15),
            ..Deadlines::default()
        };
        let now = export.clock.now();
        // Of this run: without randomness all runs look like one.
        let run: Id<Instance> =
            Id::generate(now, export.random.as_ref()).unwrap_or_else(|_| Id::from_u128(0));
        let attributes = vec![
            spans::text("service.name", "weirgate"),
            spans::text("service.version", env!("CARGO_PKG_VERSION")),
            spans::text("service.instance.id", &run.to_string()),
        ];
        Self {
            pool,
            deadlines,
            resource: Resource { attributes, ..Resource::default() },
            started: spans::nanos(now),
            hurried,
            is_failing: false,
            sent: [result("traces", "sent"), result("metrics", "sent")],
            lost: [result("traces", "lost"), result("metrics", "lost")],
            export,
        }
    }

    /// Until nobody can offer calls any more, and all that were offered are sent.
    async fn work(&mut self, mut received: mpsc::Receiver<Event>) {
        let mut ticks = interval(self.export.every);
        // The first one would come at once.
        ticks.reset();
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut batch = Vec::new();
            // Both are cancel-safe.
            tokio::select! {
                _ = ticks.tick() => self.send_metrics().await,
                count = received.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    gather(&mut received, &mut batch).await;
                    self.send_traces(&batch).await;
                }
            }
        }
        self.send_metrics().await;
    }

    async fn send_traces(&mut self, batch: &[Event]) {
        let spans: Vec<_> = batch.iter().flat_map(spans::spans).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() }];
        let resource = Some(self.resource.clone());
        let resource_spans =
            vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let sent = self.deliver("/v1/traces", body, |answer| {
            let answer = ExportTraceServiceResponse::decode(answer).ok()?;
            Some(answer.partial_success?.rejected_spans)
        });
        let is_sent = sent.await;
        let [traces, _] = if is_sent { &self.sent } else { &self.lost };
        traces.increment(u64::try_from(batch.len()).unwrap_or(u64::MAX));
    }

    async fn send_metrics(&mut self) {
        let text = self.export.figures.render();
        let times = Times { start: self.started, now: spans::nanos(self.export.clock.now()) };
        let metrics = series::metrics(&text, times);
        let scope_metrics =
            vec![ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() }];
        let resource = Some(self.resource.clone());
        let resource_metrics =
            vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
        let body = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
        let sent = self.deliver("/v1/metrics", body, |answer| {
            let answer = ExportMetricsServiceResponse::decode(answer).ok()?;
            Some(answer.partial_success?.rejected_data_points)
        });
        let is_sent = sent.await;
        let [_, metrics] = if is_sent { &self.sent } else { &self.lost };
        metrics.increment(1);
    }

    /// Posts until it is taken or must be given up; says whether it was taken.
    async fn deliver(
        &mut self,
        path: &'static str,
        body: Vec<u8>,
        rejected: impl Fn(&[u8]) -> Option<i64>,
    ) -> bool {
        let body = Bytes::from(body);
        let mut waits = AGAIN_AFTER.into_iter();
        loop {
            let code = match self.post(path, body.clone()).await {
                Ok(answer) => {
                    if let Some(count) = rejected(&answer).filter(|count| *count > 0) {
                        tracing::warn!(count, "the collector has rejected a part of the telemetry");
                    }
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!("telemetry is taken again");
                    }
                    return true;
                }
                Err(failed) => failed,
            };
            let (Failed::ForNow(reason) | Failed::ForGood(reason)) = code;
            if !std::mem::replace(&mut self.is_failing, true) {
                tracing::warn!(code = reason, "telemetry is not taken");
            }
            let wait = waits.next().filter(|_| matches!(code, Failed::ForNow(_)));
            let Some(wait) = wait.filter(|_| !*self.hurried.borrow()) else { return false };
            // A hurry ends the wait, and makes the next try the last.
            let _ = timeout(wait, self.hurried.wait_for(|hurry| *hurry)).await;
        }
    }

    async fn post(&self, path: &str, body: Bytes) -> Result<Vec<u8>, Failed> {
        let Endpoint { target, policy } = &self.export.endpoint;
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        let mut request = Request::post(format!("{}{path}", target.base_path()))
            .header(header::CONTENT_TYPE, protobuf)
            .body(Full::new(body))
            .map_err(|_| Failed::ForGood("request_unsendable"))?;
        request.headers_mut().extend(self.export.headers.0.clone());
        let failed = |error: outbound::OutboundError| Failed::ForNow(error.code());
        let lease = self.pool.checkout(target, policy, &self.deadlines).await.map_err(failed)?;
        let answered = lease.send(request).await.map_err(failed)?;
        let status = answered.status();
        let mut wire = answered.into_body();
        let mut answer = Vec::new();
        while let Some(chunk) = wire.next_chunk().await.map_err(failed)? {
            answer.extend_from_slice(&chunk);
        }
        match status {
            status if status.is_success() => Ok(answer),
            // OTLP §"OTLP/HTTP Response": these may be tried again.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(Failed::ForNow("collector_busy")),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(Failed::ForGood("collector_credential_refused"))
            }
            _ => Err(Failed::ForGood("collector_refused")),
        }
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "weirgate".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// Waits a moment for more, so that few requests carry many calls.
async fn gather(received: &mut mpsc::Receiver<Event>, batch: &mut Vec<Event>) {
    let mut over = std::pin::pin!(sleep(LINGER));
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        // Both are cancel-safe.
        tokio::select! {
            count = received.recv_many(batch, room) => if count == 0 { return },
            () = over.as_mut() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use types::Timestamp;

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let (sender, mut received) = mpsc::channel(2);
            let traces = Traces { sender, lost: result("traces", "lost") };
            for number in 0..5 {
                traces.offer(Event::new(Id::from_u128(number), Timestamp::EPOCH));
            }
            assert_eq!(received.try_recv().unwrap().request, Id::from_u128(0));
            traces.offer(Event::new(Id::from_u128(9), Timestamp::EPOCH));
        });
        let line = "weirgate_otlp_total{signal=\"traces\",result=\"lost\"} 3";
        assert!(handle.render().lines().any(|found| found == line), "{}", handle.render());
    }
}
