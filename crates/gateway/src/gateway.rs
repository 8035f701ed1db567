//! What all cores share, and what each core has of its own.

use crate::{
    accept::Places,
    body_room::BodyRoom,
    crowd::Crowd,
    error::CallError,
    event::EventSink,
    failpoint::Failpoint,
    observations::Observations,
    recorder::Recorder,
    renewals::Renewals,
    snapshot::{SharedSnapshot, Snapshot},
};
use http::StatusCode;
use metrics::{Counter, Gauge, Histogram};
use outbound::{Deadlines, Pool};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use types::{Clock, Random};

/// Sizes and time-outs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The largest request body, in bytes.
    pub max_write_bytes: usize,
    /// Request bodies held at once, over all cores, in bytes.
    pub max_held_write_bytes: usize,
    /// How long a request body may take to arrive.
    pub body_patience: Duration,
    /// How long a caller may take nothing of what it is sent.
    pub write_patience: Duration,
    /// How long the store may stay silent before calls are refused.
    pub max_snapshot_age: Duration,
    /// Calls under way at once, over all cores.
    pub max_calls: usize,
    pub deadlines: Deadlines,
    pub failpoint: Failpoint,
    /// Callers' addresses are a proxy's, and say nothing.
    pub is_behind_proxy: bool,
}

/// Shared by all cores.
#[derive(Debug)]
pub struct Gateway {
    pub shared: Arc<SharedSnapshot>,
    pub recorder: Arc<Recorder>,
    pub events: EventSink,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub settings: Settings,
    /// Scheme and authority by which callers reach the gateway.
    pub public_url: Arc<str>,
    pub metrics: Metrics,
    pub(crate) bodies: Arc<BodyRoom>,
    pub observations: Observations,
    pub renewals: Arc<Renewals>,
    under_way: Arc<AtomicUsize>,
    is_draining: AtomicBool,
}

/// A core's own part: nothing in it is shared.
#[derive(Debug)]
pub struct Core {
    pub gateway: Arc<Gateway>,
    pub pool: Pool,
    /// Calls of this core at once, each of which may take a connection to a provider: as many as it
    /// may have callers' connections, though one of those may carry many calls.
    pub calls: Places,
    /// Who gives way when places run out.
    pub crowd: Crowd,
}

/// A place among all calls under way, given back on drop.
#[derive(Debug)]
pub struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gateway {
    pub fn new(
        (shared, renewals): (Arc<SharedSnapshot>, Arc<Renewals>),
        recorder: Arc<Recorder>,
        events: EventSink,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        settings: Settings,
        public_url: Arc<str>,
    ) -> Self {
        Self {
            shared,
            recorder,
            events,
            clock,
            random,
            bodies: BodyRoom::new(settings.max_held_write_bytes),
            settings,
            public_url,
            metrics: Metrics::new(),
            observations: Observations::default(),
            renewals,
            under_way: Arc::default(),
            is_draining: AtomicBool::new(false),
        }
    }

    /// The Snapshot, if the store has confirmed it lately.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, CallError> {
        if let Some(age) = self.shared.stale(self.settings.max_snapshot_age) {
            return Err(CallError::SnapshotStale { seconds: age.as_secs() });
        }
        Ok(self.shared.load())
    }

    /// From now on it is not ready, though calls under way go on: who balances load stops sending.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Why calls would not be served, if they would not.
    fn hindrance(&self) -> Option<&'static str> {
        if self.is_draining.load(Ordering::Relaxed) {
            Some("not ready: it is stopping\n")
        } else if !self.recorder.is_healthy() {
            Some(
                "not ready: the audit log takes no entries; see to its disk, and it goes on by itself\n",
            )
        } else if self.snapshot().is_err() {
            Some("not ready: the database does not confirm the configuration\n")
        } else {
            None
        }
    }

    /// What both ports say of the server's health, if that is what is asked for.
    pub fn health(&self, path: &str) -> Option<(StatusCode, &'static str)> {
        match path {
            "/healthz" => Some((StatusCode::OK, "ok\n")),
            "/readyz" => Some(match self.hindrance() {
                None => (StatusCode::OK, "ready\n"),
                Some(what) => (StatusCode::SERVICE_UNAVAILABLE, what),
            }),
            _ => None,
        }
    }

    /// Calls that hold a place.
    pub fn calls_under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Bytes of request bodies that are held.
    pub fn held_write_bytes(&self) -> usize {
        self.bodies.held()
    }

    pub fn enter(&self) -> Option<Slot> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let slot = Slot(Arc::clone(&self.under_way));
        (before < self.settings.max_calls).then_some(slot)
    }
}

/// Handles to the figures of the data plane, looked up once.
#[derive(Debug)]
pub struct Metrics {
    by_class: [Counter; 6],
    duration: Histogram,
    pub connections: Gauge,
}

impl Metrics {
    fn new() -> Self {
        let class = |name: &'static str| metrics::counter!("weirgate_calls_total", "class" => name);
        Self {
            by_class: [
                class("other"),
                class("1xx"),
                class("2xx"),
                class("3xx"),
                class("4xx"),
                class("5xx"),
            ],
            duration: metrics::histogram!("weirgate_call_duration_seconds"),
            connections: metrics::gauge!("weirgate_connections"),
        }
    }

    pub fn answered(&self, status: StatusCode, duration: Duration) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(counter) = self.by_class.get(class).or_else(|| self.by_class.first()) {
            counter.increment(1);
        }
        self.duration.record(duration.as_secs_f64());
    }
}
