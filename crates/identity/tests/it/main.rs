//! What `identity` promises of passkeys, with a device of the tests' own.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod device;
mod passkey;
