//! The promise that everything rests on, against an independent reference.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules are seen by nobody else"
)]

mod graph;
mod properties;
mod reference;
mod rules;
