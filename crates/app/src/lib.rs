//! The control plane: one module per use case, the compiler of the gateway's Snapshot, and the
//! sequencer of audit entries.
//!
//! It promises that a change and its audit entry commit together, that a secret is shown only after
//! its entry is durable, and that what the gateway knows follows the store within a second.
#![forbid(unsafe_code)]

mod error;
mod folder;
mod instance;

pub mod apply;
pub mod audit_log;
pub mod clients;
pub mod connections;
pub mod demo;
pub mod follow;
pub mod grants;
pub mod observe;
pub mod provider_diff;
pub mod providers;
pub mod sequence;
pub mod servers;

mod change;
mod compile;
mod customers;
mod placement;
mod rights;

pub use error::{Error, Kind};
pub use folder::{DataFolder, FolderLock};
pub use instance::{Init, Instance, Made, RootKeyPlace, SELF_CUSTOMER};

/// The user that this process runs as: who acts at the command line.
pub fn user_id() -> u32 {
    rustix::process::getuid().as_raw()
}
