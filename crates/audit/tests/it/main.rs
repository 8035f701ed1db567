//! The log as its users have it: appended to, killed, edited, verified.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules are seen by nobody else"
)]

mod crash;
mod exports;
mod mutations;
mod proofs;
mod tampering;
mod ten_thousand;
mod witnessing;
mod world;
mod writing;
