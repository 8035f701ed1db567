//! The demo's built-in provider: an HR system with invented people, served on loopback.
//!
//! It promises: the answers are what [`HR_DESCRIPTION`] declares (the operations under `/reports`
//! are broken on purpose and say so there); the same seed gives the same bytes; what was written is
//! read back until the sandbox stops; no request without the credential is answered.
//!
//! It does not promise to be a safe place: everything lies in memory, the credential goes over
//! plain HTTP, and one operation repeats it in an error message. It listens where it is told to;
//! that should be loopback.
#![forbid(unsafe_code)]

mod answer;
mod described;
mod directory;
mod form;
mod page;
mod people;
mod routes;
mod server;
mod wire;

pub use described::{
    DescribedError, DescribedOptions, FaultError, MAX_SEEDED_RECORDS, RunningDescribed,
    serve_description,
};
pub use server::{MAX_SEEDED_EMPLOYEES, RunningSandbox, Sandbox, SandboxOptions, StartError};

/// The provider's OpenAPI 3.1 description (YAML). Its server is a placeholder: import it with
/// [`RunningSandbox::base_url`] as the server.
pub const HR_DESCRIPTION: &str = include_str!("../hr.yaml");
