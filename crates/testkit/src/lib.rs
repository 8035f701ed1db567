//! Test support, a dev-dependency only: an HTTP client with the gloves off, a provider that
//! misbehaves on demand, a runner for the built binary, a search for planted secrets.
//!
//! Everything blocks and everything has a time-out, so that a broken test ends instead of hanging.
//! Async tests call it from `spawn_blocking`, or run it beside a runtime of their own.
#![forbid(unsafe_code)]

pub mod answer;
pub mod authenticator;
pub mod browser;
pub mod canary;
pub mod client;
pub mod device;
pub mod disk;
pub mod dns;
pub mod faulty;
pub mod frames;
pub mod hosts;
pub mod http2;
pub mod listener;
pub mod namespace;
pub mod oidc;
pub mod packets;
pub mod postgres;
pub mod proxy;
pub mod runner;
pub mod sqlite;
pub mod things;
pub mod tls;
pub mod tokens;
mod wait;

pub use answer::{Answer, End, Framing};
pub use canary::{Form, Found, find_canary};
pub use disk::{Injection, SmallDisk};
pub use dns::{DnsReply, DnsServer};
pub use faulty::{FaultyProvider, Greeting, Received};
pub use frames::{Frame, RawConnection, RawPeer};
pub use hosts::{Refusal, honest_hosts, hostile_hosts};
pub use http2::Http2Provider;
pub use oidc::IdentityProvider;
pub use packets::{Packet, PacketRecorder, Transport};
pub use postgres::{POSTGRES_PASSWORD, Postgres};
pub use proxy::{Cut, FaultProxy, ProxyFault};
pub use runner::{Output, Server, Weirgate};
pub use sqlite::sqlite;
pub use things::{FAULTS, SECRET, THING_DESCRIPTION, fault, thing};
pub use tls::{Authority, Flaw, Identity, TlsOptions};
pub use tokens::TokenServer;
pub use wait::{Until, poll, wait_until};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock that a panicking test thread does not spoil for the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
