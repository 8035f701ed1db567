//! Reading descriptions: real vendors', small ones for each rule, and hostile ones.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::needless_pass_by_value,
    dead_code,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules are seen by an example at most"
)]

mod corpus;
mod diff;
mod labelled;
mod labels;
mod reading;
mod rules;
mod selection;
