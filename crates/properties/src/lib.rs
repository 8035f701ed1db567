//! What must hold of any bytes that a stranger chooses: one function for each reader of such bytes.
//! The fuzz targets in `fuzz/` call them, and so does a test with seeds and some thousand inputs made
//! from these, so that what is fuzzed builds and holds on each change.
//!
//! A function panics where its property is broken. It yields whether the input got past the first
//! refusals, so that the test sees that its seeds reach what they are meant for. Inputs of several
//! parts have a line `%%` between them.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a property fails by panicking"
)]

mod addresses;
mod answers;
mod api_keys;
mod auth;
mod backups;
mod codings;
mod config;
mod descriptions;
mod echoes;
mod entries;
mod exports;
mod grants;
mod input;
mod limits;
mod notes;
mod paths;
mod projections;
mod proofs;
mod requests;
mod signed;
mod urls;

/// A property, by the name of its fuzz target.
pub type Target = (&'static str, fn(&[u8]) -> bool);

pub const TARGETS: [Target; 19] = [
    ("address", addresses::holds),
    ("answer_head", answers::hold),
    ("api_key", api_keys::hold),
    ("audit_entry", entries::hold),
    ("audit_export", exports::hold),
    ("audit_proof", proofs::hold),
    ("auth", auth::hold),
    ("backup", backups::hold),
    ("checkpoint", notes::hold),
    ("coding", codings::hold),
    ("config", config::holds),
    ("description", descriptions::hold),
    ("echo", echoes::hold),
    ("grants", grants::hold),
    ("limits", limits::hold),
    ("paths", paths::hold),
    ("projection", projections::hold),
    ("request_head", requests::hold),
    ("url", urls::hold),
];

/// Tries an input of the target of that name.
pub fn holds(name: &str, data: &[u8]) -> bool {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    (target.unwrap_or_else(|| panic!("there is no target {name}")).1)(data)
}
