//! The provider against the client, over real sockets.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a failed test should stop where it fails"
)]

mod dns;
mod faulty;
mod proxy;
mod tls;
