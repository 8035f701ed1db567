//! The client against real sockets, and its judgement over many spellings.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules are seen by nobody else"
)]

mod addresses;
mod connecting;
mod exchanges;
mod framing;
mod hellos;
mod http2;
mod http2_hostile;
mod reuse;
mod sending;
mod world;
