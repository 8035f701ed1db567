//! A tamper-evident log: entries in an RFC 6962 Merkle tree, kept as C2SP tlog-tiles, under
//! Ed25519-signed checkpoints.
//!
//! It promises: what was acknowledged as durable survives a crash; any edited, deleted, inserted or
//! reordered entry below a signed checkpoint is found by [`verify::verify`] with the public key
//! alone; while the disk fails, every append is refused at once, and none is lost that was taken. It
//! cannot show that the end was cut back to an older checkpoint, unless a later one is kept elsewhere: by
//! a file, or by a witness that cosigns only what extends all that it saw before.
#![forbid(unsafe_code)]

mod cbor;
pub mod certificate;
mod commitment;
mod consistency;
mod cosign;
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
mod reserve;
mod tiler;
mod tree;
mod witness;
mod writer;

pub mod verify;

#[cfg(test)]
mod disk_tests;

pub use commitment::Commitment;
pub use consistency::{consistency, extends};
pub use cosign::{CosigningKey, WitnessKey};
pub use display::{FieldValue, Said};
pub use export::{ExportError, Exported, each_entry, export, verify_export};
pub use hint::{RECENT_EVENTS, Started};
pub use lock::FolderLock;
pub use log::{Log, LogConfig, OpenError, Opened, Signed};
pub use note::{Checkpoint, NoteError, SigningKey, VerifierKey, notes};
pub use proof::{Proof, ProofError};
pub use record::{
    Changed, Configuration, DecodeError, Intent, MAX_RECORD_BYTES, Outcome, Record, Refused,
    RefusedCount, Unauthenticated, VaultHead,
};
pub use reserve::{Reserve, Space};
pub use tree::{Hash, leaf_hash};
pub use verify::{Report, VerifyError, VerifyOptions};
pub use witness::{AddCheckpoint, Cosigned, MAX_REQUEST_BYTES, NoRequest, WitnessRefusal, witness};
pub use writer::{AppendError, Durability, Handle, Pace, Reopened, Ticket};
