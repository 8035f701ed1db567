//! One call, put together from its entries.

use audit::{Intent, Outcome, Record, Refused};
use std::time::Duration;
use types::{
    Action, Client, Connection, Environment, Id, Key, Provider, Request as RequestKind, Timestamp,
};

/// What the log says of a call. Of what passed there are counts alone.
#[derive(Debug, Clone)]
pub struct Call {
    /// The entry that it began with.
    pub index: u64,
    pub request: Id<RequestKind>,
    pub at: Timestamp,
    pub key: Id<Key>,
    pub client: Id<Client>,
    /// Unknown where it was refused before.
    pub connection: Option<Id<Connection>>,
    pub operation: Option<String>,
    /// What else was known of a call that was not refused.
    pub granted: Option<Granted>,
    pub end: End,
}

/// What a call was to do, once it was allowed to.
#[derive(Debug, Clone)]
pub struct Granted {
    pub provider: Id<Provider>,
    pub action: Action,
    pub object: Option<String>,
    pub environment: Environment,
    /// The store's generation that the decision was compiled from.
    pub generation: u64,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub enum End {
    UnderWay,
    /// Not among the entries that were looked at.
    Unseen,
    Answered(Answered),
    /// The process ended before the call did.
    Interrupted {
        index: u64,
        at: Timestamp,
    },
    Refused {
        code: String,
    },
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answered {
    /// Its entry.
    pub index: u64,
    pub at: Timestamp,
    pub status: u16,
    pub provider_status: Option<u16>,
    /// Set if the call was not answered as asked.
    pub code: Option<String>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Members and elements that were not declared.
    pub dropped: u64,
    /// Values whose kind did not fit.
    pub mismatched: u64,
    /// Declared fields that were withheld.
    pub withheld: u64,
    pub duration: Duration,
    /// How often the provider was tried.
    pub attempts: u64,
}

impl Call {
    pub(super) fn begun(index: u64, intent: Intent) -> Self {
        Self {
            index,
            request: intent.request,
            at: intent.at,
            key: intent.key,
            client: intent.client,
            connection: Some(intent.connection),
            operation: Some(intent.operation),
            granted: Some(Granted {
                provider: intent.provider,
                action: intent.action,
                object: intent.object,
                environment: intent.environment,
                generation: intent.generation,
            }),
            end: End::UnderWay,
        }
    }

    pub(super) fn refused(index: u64, refused: Refused) -> Self {
        Self {
            index,
            request: refused.request,
            at: refused.at,
            key: refused.key,
            client: refused.client,
            connection: refused.connection,
            operation: refused.operation,
            granted: None,
            end: End::Refused { code: refused.code },
        }
    }

    /// The entry that it ended with.
    pub fn end_index(&self) -> Option<u64> {
        match &self.end {
            End::Answered(answered) => Some(answered.index),
            End::Interrupted { index, .. } => Some(*index),
            End::Refused { .. } => Some(self.index),
            End::UnderWay | End::Unseen => None,
        }
    }
}

impl End {
    /// Which request an entry ends, and how.
    pub(super) fn of(index: u64, record: &Record) -> Option<(Id<RequestKind>, Self)> {
        match record {
            Record::Outcome(outcome) => {
                Some((outcome.request, Self::Answered(Answered::of(index, outcome))))
            }
            Record::Interrupted { at, request } => {
                Some((*request, Self::Interrupted { index, at: *at }))
            }
            _ => None,
        }
    }
}

impl Answered {
    fn of(index: u64, outcome: &Outcome) -> Self {
        let named = u64::try_from(outcome.withheld.len()).unwrap_or(u64::MAX);
        Self {
            index,
            at: outcome.at,
            status: outcome.status,
            provider_status: outcome.provider_status,
            code: outcome.code.clone(),
            bytes_in: outcome.bytes_in,
            bytes_out: outcome.bytes_out,
            dropped: outcome.dropped,
            mismatched: outcome.mismatched,
            withheld: named.saturating_add(outcome.withheld_more),
            duration: Duration::from_micros(outcome.duration_us),
            attempts: outcome.attempts.unwrap_or(1),
        }
    }
}
