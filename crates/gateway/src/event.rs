//! What the gateway tells the rest of the product about each call.

use crate::{snapshot::ConnectionEntry, trace_link::TraceLink};
use metrics::Counter;
use provider::{Method, Operation};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use types::{Client, Connection, Id, Origin, Request, Timestamp};

/// One finished call.
#[derive(Debug, Clone)]
pub struct Event {
    pub request: Id<Request>,
    pub started: Timestamp,
    pub client: Option<Id<Client>>,
    pub connection: Option<Id<Connection>>,
    /// One that a description can declare; `None` for any other.
    pub method: Option<Method>,
    pub called: Option<Called>,
    pub status: u16,
    /// What the provider answered, if it did.
    pub provider_status: Option<u16>,
    /// The version of HTTP that it answered by.
    pub provider_version: Option<http::Version>,
    /// Set for calls that were not answered as asked.
    pub failure: Option<Failure>,
    pub phases: Phases,
    /// The trace that an authenticated caller said its call belongs to.
    pub linked: Option<TraceLink>,
    pub duration: Duration,
}

impl Event {
    /// Of a call of which nothing more is known yet.
    pub fn new(request: Id<Request>, started: Timestamp) -> Self {
        Self {
            request,
            started,
            client: None,
            connection: None,
            method: None,
            called: None,
            status: 0,
            provider_status: None,
            provider_version: None,
            failure: None,
            phases: Phases::default(),
            linked: None,
            duration: Duration::ZERO,
        }
    }
}

/// What was called, as the Snapshot described it then. Only names from the provider's description
/// are told of it: a call's own path, query and values never are.
#[derive(Clone)]
pub struct Called {
    connection: Arc<ConnectionEntry>,
    operation: usize,
}

impl fmt::Debug for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Called").field(&self.operation()).finish()
    }
}

impl Called {
    pub(crate) const fn new(connection: Arc<ConnectionEntry>, operation: usize) -> Self {
        Self { connection, operation }
    }

    /// The provider's slug.
    pub fn provider(&self) -> &str {
        &self.connection.provider.slug
    }

    /// The operation's id in the description.
    pub fn operation(&self) -> Option<&str> {
        Some(self.described()?.id.as_str())
    }

    /// The path as it is declared, with names where a call has values.
    pub fn path(&self) -> Option<&str> {
        Some(self.described()?.path.text())
    }

    fn described(&self) -> Option<&Operation> {
        self.connection.provider.model.operations.get(self.operation)
    }
}

/// What diagnosis is built on.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    pub code: &'static str,
    pub origin: Origin,
    pub is_retryable: bool,
    /// The limit that held the call back.
    pub limit: Option<&'static str>,
}

/// A stretch of a call; see `pipeline`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Who calls what, and whether that is let through.
    Admit,
    /// The request arrives and is reduced to what may be sent.
    Request,
    /// The intent goes to the log; an unsafe call waits for it here.
    Intent,
    /// A connection to the provider.
    Connect,
    /// From sending the request to the head of the provider's answer.
    Provider,
    /// From there to the end of ours.
    Answer,
}

impl Phase {
    pub const ALL: [Self; 6] =
        [Self::Admit, Self::Request, Self::Intent, Self::Connect, Self::Provider, Self::Answer];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Request => "request",
            Self::Intent => "intent",
            Self::Connect => "connect",
            Self::Provider => "provider",
            Self::Answer => "answer",
        }
    }
}

/// How far a call came: when each phase began. One ends where the next begins, the last with the
/// call.
#[derive(Debug, Clone, Copy)]
pub struct Phases {
    /// In microseconds from the call's start; [`NEVER`] for those that it did not come to.
    begun: [u32; Phase::ALL.len()],
}

const NEVER: u32 = u32::MAX;

impl Default for Phases {
    fn default() -> Self {
        let mut begun = [NEVER; Phase::ALL.len()];
        if let Some(first) = begun.first_mut() {
            *first = 0;
        }
        Self { begun }
    }
}

impl Phases {
    pub fn begin(&mut self, phase: Phase, after: Duration) {
        if let Some(begun) = self.begun.get_mut(phase as usize) {
            *begun = u32::try_from(after.as_micros()).unwrap_or(NEVER - 1).min(NEVER - 1);
        }
    }

    /// The phases that a call of this duration came to, each with its begin and end.
    pub fn spans(
        &self,
        duration: Duration,
    ) -> impl Iterator<Item = (Phase, Duration, Duration)> + use<> {
        let begun = self.begun;
        let at = move |index: usize| {
            let micros = begun.get(index).copied().filter(|micros| *micros != NEVER)?;
            Some(Duration::from_micros(micros.into()).min(duration))
        };
        Phase::ALL.into_iter().enumerate().filter_map(move |(index, phase)| {
            let begin = at(index)?;
            let next = (index + 1..Phase::ALL.len()).find_map(at);
            // A clock that was set back meanwhile.
            Some((phase, begin, next.unwrap_or(duration).max(begin)))
        })
    }
}

/// Sends events without ever waiting: when the receiver lags, they are counted and dropped, because
/// the audit log already holds the call.
#[derive(Clone)]
pub struct EventSink {
    sender: mpsc::Sender<Event>,
    lost: Counter,
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSink").field("room", &self.sender.capacity()).finish_non_exhaustive()
    }
}

/// Events that may wait for the receiver.
const CAPACITY: usize = 8_192;

impl EventSink {
    pub fn channel() -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self { sender, lost: metrics::counter!("weirgate_events_lost_total") }, receiver)
    }

    pub fn emit(&self, event: Event) {
        if self.sender.try_send(event).is_err() {
            self.lost.increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_ends_where_the_next_begins_and_the_last_with_the_call() {
        let ms = Duration::from_millis;
        let mut phases = Phases::default();
        phases.begin(Phase::Intent, ms(2));
        phases.begin(Phase::Provider, ms(5));
        let spans: Vec<_> = phases.spans(ms(9)).collect();
        let wanted = [
            (Phase::Admit, ms(0), ms(2)),
            (Phase::Intent, ms(2), ms(5)),
            (Phase::Provider, ms(5), ms(9)),
        ];
        assert_eq!(spans, wanted);
        // A clock that went backwards makes no negative stretch.
        assert!(phases.spans(ms(1)).all(|(_, begin, end)| begin <= end && end <= ms(1)));
    }
}
