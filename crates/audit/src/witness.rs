//! How a log asks a witness for a cosignature, and how a witness decides: `add-checkpoint` of
//! c2sp.org/tlog-witness without its transport.

use crate::{
    consistency::{MAX_CONSISTENCY, is_extension},
    cosign::CosigningKey,
    note::{Checkpoint, NoteError, VerifierKey, decode_hash, parts},
    tree::Hash,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fmt, str::FromStr};
use types::Timestamp;

/// The longest request: a proof, and a checkpoint with signatures of many.
pub const MAX_REQUEST_BYTES: usize = 64 * 1_024;

/// What a log asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// What the witness saw last, as the log believes.
    pub old: u64,
    /// That the log has only grown since.
    pub proof: Vec<Hash>,
    /// The signed note.
    pub checkpoint: String,
}

/// Text that is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no request to add a checkpoint")]
pub struct NoRequest;

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for AddCheckpoint {
    type Err = NoRequest;
    fn from_str(text: &str) -> Result<Self, NoRequest> {
        if text.len() > MAX_REQUEST_BYTES {
            return Err(NoRequest);
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(NoRequest)?;
        let mut lines = head.split('\n');
        let digits = lines.next().and_then(|line| line.strip_prefix("old ")).ok_or(NoRequest)?;
        let old: u64 = digits.parse().map_err(|_| NoRequest)?;
        let proof: Vec<Hash> = lines.map(decode_hash).collect::<Option<_>>().ok_or(NoRequest)?;
        if proof.len() > MAX_CONSISTENCY || old.to_string() != digits {
            return Err(NoRequest);
        }
        Ok(Self { old, proof, checkpoint: checkpoint.to_owned() })
    }
}

/// Why a witness cosigns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WitnessRefusal {
    #[error("the request is malformed")]
    Malformed,
    #[error("the checkpoint is not signed by the log's key")]
    Unsigned,
    #[error("the log's key is another one than when its checkpoint was seen: there are two logs")]
    OtherKey,
    /// No accusation: who asks again from there may be right.
    #[error("the request begins at another size than {size}, which was seen last")]
    Elsewhere { size: u64 },
    #[error("the checkpoint signs {signed} entries, and {size} were seen: the log was cut back")]
    Older { signed: u64, size: u64 },
    #[error(
        "the checkpoint signs {size} other entries than those that were seen: there are two logs"
    )]
    Forked { size: u64 },
    #[error(
        "the checkpoint is not shown to hold the {size} entries that were seen: there are two logs"
    )]
    NoExtension { size: u64 },
}

impl WitnessRefusal {
    /// As c2sp.org/tlog-witness has it.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unsigned | Self::OtherKey => 403,
            Self::Elsewhere { .. } | Self::Older { .. } | Self::Forked { .. } => 409,
            Self::NoExtension { .. } => 422,
        }
    }

    /// What the witness has seen.
    pub const fn size(&self) -> Option<u64> {
        match *self {
            Self::Malformed | Self::Unsigned | Self::OtherKey => None,
            Self::Elsewhere { size }
            | Self::Older { size, .. }
            | Self::Forked { size }
            | Self::NoExtension { size } => Some(size),
        }
    }

    /// Whether somebody signed two histories.
    pub const fn is_of_two_histories(&self) -> bool {
        matches!(
            self,
            Self::OtherKey | Self::Older { .. } | Self::Forked { .. } | Self::NoExtension { .. }
        )
    }
}

/// What a witness agrees to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    pub checkpoint: Checkpoint,
    /// The log's note alone: what the witness must have on disk before it says anything.
    pub seen: String,
    /// The witness's line, with its end.
    pub line: String,
}

/// Decides on a request of the log of this key, of which `seen` was cosigned last, if anything was.
/// Whoever asks must not hand out the answer before [`Cosigned::seen`] is durable, and decides one
/// request at a time.
pub fn witness(
    log: &VerifierKey,
    seen: Option<&Checkpoint>,
    request: &AddCheckpoint,
    key: &CosigningKey,
    now: Timestamp,
) -> Result<Cosigned, WitnessRefusal> {
    let checkpoint = log.open(&request.checkpoint).map_err(|error| match error {
        NoteError::Signature | NoteError::OtherOrigin => WitnessRefusal::Unsigned,
        _ => WitnessRefusal::Malformed,
    })?;
    let signed = checkpoint.size;
    let size = seen.map_or(0, |seen| seen.size);
    if signed < size {
        return Err(WitnessRefusal::Older { signed, size });
    }
    if request.old > signed {
        return Err(WitnessRefusal::Malformed);
    }
    if seen.is_some_and(|seen| signed == size && seen.root != checkpoint.root) {
        return Err(WitnessRefusal::Forked { size });
    }
    if request.old != size {
        return Err(WitnessRefusal::Elsewhere { size });
    }
    let old_root = seen.map_or(checkpoint.root, |seen| seen.root);
    if !is_extension((size, &old_root), (signed, &checkpoint.root), &request.proof) {
        return Err(WitnessRefusal::NoExtension { size });
    }
    let seen = log.alone(&request.checkpoint).map_err(|_| WitnessRefusal::Malformed)?;
    let (text, _) = parts(&seen).map_err(|_| WitnessRefusal::Malformed)?;
    let line = key.cosign(text, now);
    Ok(Cosigned { checkpoint, seen, line })
}
