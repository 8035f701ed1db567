//! The data plane: one guarded call from caller to provider and back.
//!
//! It promises that nothing leaves that was not declared and granted, that nothing happens that the
//! audit log does not hold, and that no credential appears in any answer. It reads an immutable
//! [`Snapshot`] and emits [`Event`]s; it knows neither the store nor the control plane.
#![forbid(unsafe_code)]

mod pipeline;

mod snapshot;

mod accept;
mod answer;
mod body;
mod body_room;
mod crowd;
mod error;
mod error_pages;
mod etag;
mod event;
mod failpoint;
mod frames;
mod framing;
mod gateway;
mod headers;
mod http2;
mod ingress;
mod limits;
mod observations;
mod patient;
mod provider_error;
mod query;
mod recorder;
mod renewals;
mod rewrite;
mod server;
mod tls;
mod trace_link;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

pub use accept::{Place, Places, accept, keep_thin};
pub use crowd::{Crowd, Visitor};
pub use error::CallError;
pub use error_pages::error_page;
pub use etag::TagKey;
pub use event::{Called, Event, EventSink, Failure, Phase, Phases};
pub use failpoint::Failpoint;
pub use gateway::{Core, Gateway, Metrics, Settings};
pub use headers::{is_credential_name, is_same_name};
pub use limits::{Held, Limit, LimitSettings, Meter};
pub use observations::Observation;
pub use patient::Patient;
pub use provider_error::{error_terms, is_error_term};
pub use recorder::Recorder;
pub use renewals::{
    CredentialEntry, ProofNonce, ReadyCredential, RenewalFailure, Renewals, TokenFacts, Wanted,
};
pub use server::{Bounds, Listeners, MakePool, Running, StartError, start};
pub use snapshot::{
    AnswerRule, AtMoment, Closing, ConnectionEntry, Decision, KeyEntry, Met, Policies, Projected,
    ProviderEntry, RequestRule, Rights, SharedSnapshot, Snapshot, SnapshotSecrets, withheld_header,
};
pub use tls::{ServerTls, ServerTlsError};
pub use trace_link::TraceLink;
