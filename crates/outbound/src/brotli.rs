//! Brotli (RFC 7932). Its window is at most 16 MiB; larger ones, which are no part of the coding, are
//! damage. It has no checksum.

use crate::{
    coding::{Damaged, STEP_BYTES, Step},
    windows::Window,
};
use brotli_decompressor::{
    Allocator, BrotliDecompressStream, BrotliResult, BrotliState, SliceWrapper as _, StandardAlloc,
};
use bytes::{Buf as _, Bytes};
use std::{fmt, rc::Rc};

/// What the window, and little else, is made by.
struct Counted {
    alloc: StandardAlloc,
    window: Rc<Window>,
}

impl Allocator<u8> for Counted {
    type AllocatedMemory = <StandardAlloc as Allocator<u8>>::AllocatedMemory;

    /// Nothing, where there is no room: the decoder then gives up.
    fn alloc_cell(&mut self, bytes: usize) -> Self::AllocatedMemory {
        if self.window.grow(bytes) {
            self.alloc.alloc_cell(bytes)
        } else {
            Self::AllocatedMemory::default()
        }
    }

    fn free_cell(&mut self, cell: Self::AllocatedMemory) {
        self.window.shrink(cell.slice().len());
        <StandardAlloc as Allocator<u8>>::free_cell(&mut self.alloc, cell);
    }
}

pub(crate) struct Unbrotli {
    state: Box<BrotliState<Counted, StandardAlloc, StandardAlloc>>,
    waiting: Bytes,
    consumed: u64,
    /// Nothing more comes.
    is_ended: bool,
    is_whole: bool,
    scratch: Box<[u8]>,
}

impl fmt::Debug for Unbrotli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unbrotli").finish_non_exhaustive()
    }
}

impl Unbrotli {
    pub(crate) fn new(window: Rc<Window>) -> Self {
        let alloc = StandardAlloc::default;
        let counted = Counted { alloc: alloc(), window };
        Self {
            state: Box::new(BrotliState::new_strict(counted, alloc(), alloc())),
            waiting: Bytes::new(),
            consumed: 0,
            is_ended: false,
            is_whole: false,
            scratch: vec![0; STEP_BYTES].into_boxed_slice(),
        }
    }

    pub(crate) fn feed(&mut self, bytes: Bytes) {
        self.waiting = bytes;
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
            let (mut left_in, mut taken) = (self.waiting.len(), 0);
            let (mut left_out, mut made, mut total) = (self.scratch.len(), 0, 0);
            let result = BrotliDecompressStream(
                &mut left_in,
                &mut taken,
                &self.waiting,
                &mut left_out,
                &mut made,
                &mut self.scratch,
                &mut total,
                &mut *self.state,
            );
            self.waiting.advance(taken.min(self.waiting.len()));
            self.consumed += taken as u64;
            match result {
                BrotliResult::ResultFailure => return Err(Damaged),
                BrotliResult::ResultSuccess => self.is_whole = true,
                BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
            }
            if made > 0 {
                let decoded = self.scratch.get(..made).unwrap_or_default();
                return Ok(Step::Data(Bytes::copy_from_slice(decoded)));
            }
            if matches!(result, BrotliResult::NeedsMoreInput) {
                return if self.is_ended { Err(Damaged) } else { Ok(Step::Hungry) };
            }
            if matches!(result, BrotliResult::NeedsMoreOutput) {
                // With room for output there is always some.
                return Err(Damaged);
            }
        }
    }
}
