//! Test support, a dev-dependency only: an HTTP client with the gloves off, a provider that
//! misbehaves on demand, a runner for the built binary, a search for planted secrets.
//!
//! Everything blocks and everything has a time-out, so that a broken test ends instead of hanging.
#![forbid(unsafe_code)]

pub mod client;
