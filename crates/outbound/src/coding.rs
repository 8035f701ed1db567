//! Content codings (RFC 9110 §8.4.1): bytes pushed in and pulled out, in memory that depends on the
//! coding's window and not on the content's length.

use crate::{brotli::Unbrotli, deflate::Inflate, gzip::Gunzip, windows::Window, zstd::Unzstd};
use bytes::Bytes;
use std::rc::Rc;

/// The most decoded bytes of one step.
pub(crate) const STEP_BYTES: usize = 64 * 1_024;

/// Not what its coding says, cut off, or with a wrong checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

/// What a step gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Decoded bytes, at least one and at most [`STEP_BYTES`].
    Data(Bytes),
    /// Everything that was fed is used up.
    Hungry,
    /// The content was whole and nothing stands behind it.
    Ended,
}

/// A decoder of one coding.
#[derive(Debug)]
pub(crate) enum Decoder {
    Gzip(Gunzip),
    Deflate(Inflate),
    Brotli(Unbrotli),
    Zstd(Box<Unzstd>),
}

impl Decoder {
    /// By the name of the coding, in lower case. Where `window` has no room for what the content needs,
    /// it counts as damaged.
    pub(crate) fn of(name: &str, window: &Rc<Window>) -> Option<Self> {
        Some(match name {
            "gzip" | "x-gzip" => Self::Gzip(Gunzip::new()),
            "deflate" => Self::Deflate(Inflate::new()),
            "br" => Self::Brotli(Unbrotli::new(Rc::clone(window))),
            "zstd" => Self::Zstd(Box::new(Unzstd::new(Rc::clone(window)))),
            _ => return None,
        })
    }

    /// Gives it bytes after it was hungry.
    pub(crate) fn feed(&mut self, bytes: Bytes) {
        match self {
            Self::Gzip(decoder) => decoder.feed(bytes),
            Self::Deflate(decoder) => decoder.feed(bytes),
            Self::Brotli(decoder) => decoder.feed(bytes),
            Self::Zstd(decoder) => decoder.feed(bytes),
        }
    }

    /// Tells it that no more will come.
    pub(crate) fn end(&mut self) {
        match self {
            Self::Gzip(decoder) => decoder.end(),
            Self::Deflate(decoder) => decoder.end(),
            Self::Brotli(decoder) => decoder.end(),
            Self::Zstd(decoder) => decoder.end(),
        }
    }

    /// Bytes that were decoded so far, as they came.
    pub(crate) fn consumed(&self) -> u64 {
        match self {
            Self::Gzip(decoder) => decoder.consumed(),
            Self::Deflate(decoder) => decoder.consumed(),
            Self::Brotli(decoder) => decoder.consumed(),
            Self::Zstd(decoder) => decoder.consumed(),
        }
    }

    pub(crate) fn step(&mut self) -> Result<Step, Damaged> {
        match self {
            Self::Gzip(decoder) => decoder.step(),
            Self::Deflate(decoder) => decoder.step(),
            Self::Brotli(decoder) => decoder.step(),
            Self::Zstd(decoder) => decoder.step(),
        }
    }
}

#[cfg(test)]
#[path = "coding_tests.rs"]
mod tests;
