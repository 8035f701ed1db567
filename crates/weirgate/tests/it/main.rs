//! The built binary, driven as a user drives it: real files, real sockets, real signals.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules are seen by nobody else"
)]

mod api;
mod arguments;
mod attacks;
mod backup;
mod browser;
mod calls;
mod canaries;
mod configured;
mod connect;
mod console;
mod consoles;
mod crash;
mod crowd;
mod defects;
mod demo;
mod doctor;
mod echo;
mod evidence;
mod followed;
mod hostile;
mod http2;
mod http2_provider;
mod keys;
mod kinto;
mod lifetimes;
mod limits;
mod manual;
mod nodes;
mod observe;
mod outside;
mod people;
mod provider_diff;
mod record;
mod reimport;
mod replace;
mod restore;
mod rules;
mod sandbox;
mod secrets;
mod setup;
mod smuggling;
mod sso;
mod stores;
mod tamper;
mod telemetry;
mod texts;
mod tls;
mod tokens;
mod vault;
mod ways;
mod ways_docs;
mod world;
