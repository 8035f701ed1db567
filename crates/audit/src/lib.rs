//! A tamper-evident log: entries in an RFC 6962 Merkle tree, kept as C2SP tlog-tiles, under
//! Ed25519-signed checkpoints.
//!
//! It promises: what was acknowledged as durable survives a crash; any edited, deleted, inserted or
//! reordered entry below a signed checkpoint is found by [`verify::verify`] with the public key
//! alone; when the disk fails, every later append is refused. It cannot show that the end was cut
//! back to an older checkpoint, unless a later one is kept elsewhere.
#![forbid(unsafe_code)]

mod cbor;
mod commitment;
mod display;
mod export;
mod files;
mod hint;
mod lock;
mod log;
mod note;
mod proof;
mod record;
mod recover;
mod tiler;
mod tree;
mod writer;

pub mod verify;

#[cfg(test)]
mod disk_tests;

pub use commitment::Commitment;
pub use display::FieldValue;
pub use export::{ExportError, Exported, each_entry, export, verify_export};
pub use hint::{RECENT_EVENTS, Started};
pub use lock::FolderLock;
pub use log::{Log, LogConfig, OpenError, Opened, Signed};
pub use note::{Checkpoint, NoteError, SigningKey, VerifierKey};
pub use proof::{Proof, ProofError};
pub use record::{
    Changed, Configuration, DecodeError, Intent, MAX_RECORD_BYTES, Outcome, Record, Refused,
    RefusedCount, Unauthenticated, VaultHead,
};
pub use tree::{Hash, leaf_hash};
pub use verify::{Report, VerifyError, VerifyOptions};
pub use writer::{AppendError, Durability, Handle, Pace, Ticket};
