//! deflate: the zlib format (RFC 1950) by its name's definition, or bare (RFC 1951), which some
//! servers send under it (RFC 9110 §8.4.1.2).

use crate::coding::{Damaged, STEP_BYTES, Step};
use bytes::{Buf as _, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use std::fmt;

pub(crate) struct Inflate {
    /// `None` until the first two bytes tell which of the two it is.
    decoder: Option<Decompress>,
    waiting: Bytes,
    consumed: u64,
    /// Nothing more comes.
    is_ended: bool,
    /// The last block was whole, and so was its checksum.
    is_whole: bool,
    scratch: Box<[u8]>,
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflate").finish_non_exhaustive()
    }
}

/// RFC 1950 §2.2: deflate with a window of at most 32 KiB, a check over both bytes, no dictionary.
fn is_zlib(first: u8, second: u8) -> bool {
    let both = u16::from_be_bytes([first, second]);
    first & 0x0f == 8 && first >> 4 <= 7 && both.is_multiple_of(31) && second & 0x20 == 0
}

impl Inflate {
    pub(crate) fn new() -> Self {
        Self {
            decoder: None,
            waiting: Bytes::new(),
            consumed: 0,
            is_ended: false,
            is_whole: false,
            scratch: vec![0; STEP_BYTES].into_boxed_slice(),
        }
    }

    pub(crate) fn feed(&mut self, bytes: Bytes) {
        // A lone first byte may wait for the second one.
        self.waiting =
            if self.waiting.is_empty() { bytes } else { [&*self.waiting, &*bytes].concat().into() };
    }

    pub(crate) fn end(&mut self) {
        self.is_ended = true;
    }

    pub(crate) fn consumed(&self) -> u64 {
        self.consumed
    }

    pub(crate) fn step(&mut self) -> Result<Step, Damaged> {
        loop {
            if self.is_whole {
                return match (self.waiting.is_empty(), self.is_ended) {
                    (false, _) => Err(Damaged),
                    (true, false) => Ok(Step::Hungry),
                    (true, true) => Ok(Step::Ended),
                };
            }
            let Some(decoder) = &mut self.decoder else {
                let [first, second, ..] = *self.waiting else {
                    return if self.is_ended { Err(Damaged) } else { Ok(Step::Hungry) };
                };
                self.decoder = Some(Decompress::new(is_zlib(first, second)));
                continue;
            };
            let (before_in, before_out) = (decoder.total_in(), decoder.total_out());
            let status = decoder
                .decompress(&self.waiting, &mut self.scratch, FlushDecompress::None)
                .map_err(|_| Damaged)?;
            let taken = usize::try_from(decoder.total_in() - before_in).map_err(|_| Damaged)?;
            let made = usize::try_from(decoder.total_out() - before_out).map_err(|_| Damaged)?;
            self.waiting.advance(taken.min(self.waiting.len()));
            self.consumed += taken as u64;
            self.is_whole = status == Status::StreamEnd;
            if made > 0 {
                let decoded = self.scratch.get(..made).unwrap_or_default();
                return Ok(Step::Data(Bytes::copy_from_slice(decoded)));
            }
            if !self.is_whole && taken == 0 {
                return match (self.waiting.is_empty(), self.is_ended) {
                    (true, false) => Ok(Step::Hungry),
                    _ => Err(Damaged),
                };
            }
        }
    }
}
