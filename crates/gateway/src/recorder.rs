//! No audit, no effect: what the pipeline tells the log, and the guard that makes sure that every
//! intent gets its outcome even when the caller goes away.

use crate::{
    error::CallError,
    event::{Event, EventSink, Failure, Phase},
};
use audit::{
    AppendError, Durability, Handle, Intent, Outcome, Record, Refused, RefusedCount, Ticket,
    Unauthenticated,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use types::{Client, Clock, Connection, Fault, Id, Key, Request, Timestamp};

/// How long a call waits for the log, all in all, before it is refused.
pub(crate) const AUDIT_PATIENCE: Duration = Duration::from_secs(2);
/// Refusals of one key that get an entry of their own, per second; more are counted.
const REFUSALS_PER_SECOND: u64 = 100;
/// Keys and codes that are counted apart within a second; more share one count.
const MAX_COUNTED: usize = 10_000;

/// The gateway's side of the audit log.
#[derive(Debug)]
pub struct Recorder {
    log: Handle,
    clock: Arc<dyn Clock>,
    counts: Mutex<Counts>,
}

/// What happened since the last flush.
#[derive(Debug, Default)]
struct Counts {
    refused: HashMap<Id<Key>, u64>,
    unauthenticated: HashMap<&'static str, u64>,
}

/// Who was refused what.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    pub request: Id<Request>,
    pub key: Id<Key>,
    pub client: Id<Client>,
    pub connection: Option<Id<Connection>>,
    pub operation: Option<&'a str>,
    pub code: &'static str,
}

impl Recorder {
    pub fn new(log: Handle, clock: Arc<dyn Clock>) -> Self {
        Self { log, clock, counts: Mutex::default() }
    }

    /// Whether the log takes entries.
    pub fn is_healthy(&self) -> bool {
        self.log.is_healthy()
    }

    /// How the log keeps up.
    pub fn pace(&self) -> audit::Pace {
        self.log.pace()
    }

    /// Hands the intent to the log. The call may go on while the log writes, but must not have an
    /// effect before [`OpenIntent::durable`] said so.
    pub fn intend(
        self: &Arc<Self>,
        intent: Intent,
        events: EventSink,
        event: Event,
    ) -> Result<OpenIntent, CallError> {
        let request = intent.request;
        let started = intent.at;
        let ticket = self
            .log
            .append(&Record::Intent(intent), Durability::Synced)
            .map_err(|error| unavailable(&error))?;
        Ok(OpenIntent {
            recorder: Arc::clone(self),
            request,
            started,
            ticket: Some(ticket),
            patience: Patience(AUDIT_PATIENCE),
            is_closed: false,
            facts: Facts::default(),
            events,
            event,
        })
    }

    /// Records that an authenticated call was refused before it had an intent.
    pub fn refuse(&self, refusal: Refusal<'_>) {
        {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            if counts.refused.len() < MAX_COUNTED || counts.refused.contains_key(&refusal.key) {
                let count = counts.refused.entry(refusal.key).or_default();
                *count += 1;
                if *count > REFUSALS_PER_SECOND {
                    return;
                }
            }
        }
        let record = Record::Refused(Refused {
            request: refusal.request,
            at: self.clock.now(),
            key: refusal.key,
            client: refusal.client,
            connection: refusal.connection,
            operation: refusal.operation.map(ToOwned::to_owned),
            code: refusal.code.to_owned(),
        });
        self.log.append_and_forget(&record);
    }

    /// Counts a call that nobody could be held to account for.
    pub fn count_unauthenticated(&self, code: &'static str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.unauthenticated.entry(code).or_default() += 1;
    }

    /// Writes the counts of the last second, or since the log took entries last. Called each second,
    /// and before the log is closed.
    pub fn flush(&self) {
        if !self.log.is_healthy() {
            return;
        }
        let counts =
            std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        let at = self.clock.now();
        for (key, count) in counts.refused {
            if let Some(count) = count.checked_sub(REFUSALS_PER_SECOND).filter(|n| *n > 0) {
                self.log.append_and_forget(&Record::RefusedCount(RefusedCount { at, key, count }));
            }
        }
        for (code, count) in counts.unauthenticated {
            let code = code.to_owned();
            self.log.append_and_forget(&Record::Unauthenticated(Unauthenticated {
                at,
                code,
                count,
            }));
        }
    }
}

/// What diagnosis is built on, of an error.
pub(crate) fn failure_of(error: &CallError) -> Failure {
    let limit = match error {
        CallError::Held(held) => Some(held.limit.as_str()),
        CallError::Overloaded => Some("calls"),
        _ => None,
    };
    Failure {
        code: error.code(),
        origin: error.origin(),
        is_retryable: error.is_retryable(),
        limit,
    }
}

fn unavailable(error: &AppendError) -> CallError {
    // One that failed has said so itself, once and not for each call.
    if !matches!(error, AppendError::Failed { .. }) {
        tracing::error!(audit.error = %error, "audit log does not take an entry");
    }
    CallError::AuditUnavailable
}

/// What an outcome says of the answer.
#[derive(Debug, Default, Clone)]
pub struct Facts {
    pub status: u16,
    pub provider_status: Option<u16>,
    /// Of the provider's answer.
    pub provider_version: Option<http::Version>,
    pub code: Option<&'static str>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub dropped: u64,
    pub mismatched: u64,
    pub withheld: Vec<String>,
    /// More of these, whose names were not kept.
    pub withheld_more: u64,
    /// How often the request was tried on a connection to the provider.
    pub attempts: u64,
}

/// How long a call still waits for the log: one that stalls refuses it once, not at its intent and
/// again at its outcome.
#[derive(Debug)]
struct Patience(Duration);

impl Patience {
    /// `None` if it ran out.
    async fn wait<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let begun = Instant::now();
        let waited = tokio::time::timeout(self.0, future).await.ok();
        self.0 = self.0.saturating_sub(begun.elapsed());
        waited
    }
}

/// An intent that waits for its outcome. Dropped without one, it records that the caller went away, or
/// that the call met a defect of ours: no path out of the pipeline leaves an intent open.
#[derive(Debug)]
#[must_use]
pub struct OpenIntent {
    recorder: Arc<Recorder>,
    request: Id<Request>,
    started: Timestamp,
    ticket: Option<Ticket>,
    patience: Patience,
    is_closed: bool,
    /// Filled as the call goes on.
    pub facts: Facts,
    events: EventSink,
    event: Event,
}

impl OpenIntent {
    pub const fn request(&self) -> Id<Request> {
        self.request
    }

    /// The call has come to this phase.
    pub fn begin(&mut self, phase: Phase) {
        let after = self.recorder.clock.now().since(self.started);
        self.event.phases.begin(phase, after);
    }

    /// Waits until the intent is on disk.
    pub async fn durable(&mut self) -> Result<(), CallError> {
        let Some(ticket) = self.ticket.take() else { return Ok(()) };
        self.wait(ticket).await
    }

    async fn wait(&mut self, ticket: Ticket) -> Result<(), CallError> {
        match self.patience.wait(ticket).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(unavailable(&error)),
            None => {
                tracing::error!("audit log did not answer in time");
                Err(CallError::AuditUnavailable)
            }
        }
    }

    /// Appends the outcome; the answer must not end before this returned.
    pub async fn close(mut self, failure: Option<Failure>) -> Result<(), CallError> {
        self.is_closed = true;
        self.facts.code = failure.map(|failure| failure.code);
        self.emit(failure);
        let outcome = self.outcome();
        let ticket = self
            .recorder
            .log
            .append(&outcome, Durability::NextGroup)
            .map_err(|error| unavailable(&error))?;
        self.wait(ticket).await
    }

    fn emit(&mut self, failure: Option<Failure>) {
        self.event.status = self.facts.status;
        self.event.provider_status = self.facts.provider_status;
        self.event.provider_version = self.facts.provider_version;
        self.event.failure = failure;
        self.event.duration = self.recorder.clock.now().since(self.started);
        self.events.emit(self.event.clone());
    }

    fn outcome(&mut self) -> Record {
        let at = self.recorder.clock.now();
        let facts = std::mem::take(&mut self.facts);
        let duration = at.since(self.started).as_micros();
        Record::Outcome(Outcome {
            request: self.request,
            at,
            status: facts.status,
            provider_status: facts.provider_status,
            code: facts.code.map(ToOwned::to_owned),
            bytes_in: facts.bytes_in,
            bytes_out: facts.bytes_out,
            dropped: facts.dropped,
            mismatched: facts.mismatched,
            withheld: facts.withheld,
            withheld_more: facts.withheld_more,
            duration_us: u64::try_from(duration).unwrap_or(u64::MAX),
            attempts: Some(facts.attempts).filter(|tries| *tries > 1),
        })
    }
}

impl Drop for OpenIntent {
    fn drop(&mut self) {
        if !self.is_closed {
            let failure = if std::thread::panicking() {
                // What is answered, unless something has left already.
                if self.facts.bytes_out == 0 {
                    self.facts.status = CallError::PANICKED.status().as_u16();
                }
                failure_of(&CallError::PANICKED)
            } else {
                failure_of(&CallError::CallerGone)
            };
            self.facts.code = Some(failure.code);
            self.emit(Some(failure));
            let outcome = self.outcome();
            self.recorder.log.append_and_forget(&outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stalled_log_is_waited_for_once() {
        let mut patience = Patience(Duration::from_millis(100));
        assert_eq!(patience.wait(async { 1 }).await, Some(1));
        let begun = Instant::now();
        assert_eq!(patience.wait(std::future::pending::<()>()).await, None);
        assert!(begun.elapsed() >= Duration::from_millis(50));
        let begun = Instant::now();
        assert_eq!(patience.wait(std::future::pending::<()>()).await, None);
        assert!(begun.elapsed() < Duration::from_millis(50));
        // What is there already is taken all the same.
        assert_eq!(patience.wait(async { 1 }).await, Some(1));
    }
}
