//! The control plane: one module per use case, the compiler of the gateway's Snapshot, and the
//! sequencer of audit entries.
//!
//! It promises that a change and its audit entry commit together, that a secret is shown only after
//! its entry is durable, and that what the gateway knows follows the store within a second.
#![forbid(unsafe_code)]

mod error;
mod folder;
mod instance;

mod accounts;
pub mod advisor;
pub mod apply;
pub mod apps;
mod asking;
pub mod audit_check;
pub mod audit_log;
pub mod audit_search;
pub mod backup;
pub mod calls;
pub mod clients;
pub mod connect;
pub mod connection_check;
pub mod connections;
pub mod customers;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod fields_met;
pub mod follow;
pub mod generations;
pub mod grants;
pub mod lifetimes;
pub mod nodes;
pub mod observe;
pub mod people;
pub mod proposals;
pub mod provider_diff;
pub mod providers;
pub mod replacement;
pub mod restore;
pub mod reviews;
pub mod root_key;
pub mod rules;
pub mod saved_views;
pub mod secret_stores;
pub mod sequence;
pub mod servers;
pub mod tokens;
pub mod witness;

mod change;
mod compile;
pub mod configuration;
mod meters;
mod placement;
mod policies;
mod rights;
mod seals;
#[cfg(test)]
mod seals_tests;

pub use asking::Asker;
pub use audit::{FolderLock, Space};
pub use error::{Error, Kind};
pub use folder::DataFolder;
pub use instance::{
    Ask, ClockSkew, Custody, Given, Init, Instance, Made, RootKeyPlace, SELF_CUSTOMER, is_inside,
    read_passphrase,
};
pub use seals::Tampering;
pub use store::ServerUrl;

/// The user that this process runs as: who acts at the command line.
pub fn user_id() -> u32 {
    rustix::process::getuid().as_raw()
}
