//! Zstandard (RFC 8878), with windows of at most 8 MiB (RFC 9659), without dictionaries.
//!
//! Frames and blocks are told apart here, so that the decoder gets one block at a time: one block
//! decodes to at most 128 KiB, however small it is.

use crate::{
    coding::{Damaged, STEP_BYTES, Step},
    windows::Window,
};
use bytes::{Buf as _, Bytes, BytesMut};
use ruzstd::decoding::FrameDecoder;
use std::{fmt, rc::Rc};

const MAGIC: u32 = 0xfd2f_b528;
/// The last four bits are free (RFC 8878 §3.1.2).
const MAGIC_SKIPPABLE: u32 = 0x184d_2a50;
const MAX_WINDOW_BYTES: u64 = 8 << 20;
/// RFC 8878 §3.1.1.2.4.
const MAX_BLOCK_BYTES: usize = 128 * 1_024;

pub(crate) struct Unzstd {
    decoder: FrameDecoder,
    window: Rc<Window>,
    /// Of `window`: what the largest frame so far has needed.
    held_bytes: usize,
    /// What has come and was not decoded: less than one block and what was fed last.
    held: BytesMut,
    at: At,
    frame: Frame,
    has_frame: bool,
    consumed: u64,
    /// Nothing more comes.
    is_ended: bool,
    scratch: Box<[u8]>,
}

/// What stands at the front.
#[derive(Debug, Clone, Copy)]
enum At {
    Frame,
    Skippable {
        left: u64,
    },
    Block,
    /// Nothing, before what the last block gave has been handed out.
    Draining {
        is_last: bool,
    },
}

/// What a frame's header says.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    has_checksum: bool,
    length: Option<u64>,
    /// Bytes handed out.
    given: u64,
}

impl fmt::Debug for Unzstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unzstd").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Unzstd {
    pub(crate) fn new(window: Rc<Window>) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW_BYTES);
        Self {
            decoder,
            window,
            held_bytes: 0,
            held: BytesMut::new(),
            at: At::Frame,
            frame: Frame::default(),
            has_frame: false,
            consumed: 0,
            is_ended: false,
            scratch: vec![0; STEP_BYTES].into_boxed_slice(),
        }
    }

    pub(crate) fn feed(&mut self, bytes: Bytes) {
        self.held.extend_from_slice(&bytes);
    }

    pub(crate) fn end(&mut self) {
        self.is_ended = true;
    }

    pub(crate) fn consumed(&self) -> u64 {
        self.consumed
    }

    pub(crate) fn step(&mut self) -> Result<Step, Damaged> {
        loop {
            if let Some(step) = self.advance()? {
                return Ok(step);
            }
        }
    }

    /// More is needed.
    fn hungry(&self) -> Result<Option<Step>, Damaged> {
        if self.is_ended { Err(Damaged) } else { Ok(Some(Step::Hungry)) }
    }

    fn take(&mut self, count: usize) {
        self.held.advance(count);
        self.consumed += count as u64;
    }

    fn advance(&mut self) -> Result<Option<Step>, Damaged> {
        match self.at {
            At::Frame if self.held.is_empty() && self.is_ended && self.has_frame => {
                return Ok(Some(Step::Ended));
            }
            At::Frame => {
                let Some(magic) = self.held.first_chunk() else { return self.hungry() };
                let magic = u32::from_le_bytes(*magic);
                if magic & !0xf == MAGIC_SKIPPABLE {
                    let Some(head) = self.held.first_chunk::<8>() else { return self.hungry() };
                    let [_, _, _, _, length @ ..] = *head;
                    self.at = At::Skippable { left: u32::from_le_bytes(length).into() };
                    self.take(8);
                } else if magic == MAGIC {
                    return self.begin_frame();
                } else {
                    return Err(Damaged);
                }
            }
            At::Skippable { left: 0 } => self.at = At::Frame,
            At::Skippable { left } => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.held.len());
                if count == 0 {
                    return self.hungry();
                }
                self.take(count);
                self.at = At::Skippable { left: left - count as u64 };
            }
            At::Block => return self.decode_block(),
            At::Draining { is_last } => {
                let (_, made) =
                    self.decoder.decode_from_to(&[], &mut self.scratch).map_err(|_| Damaged)?;
                if made > 0 {
                    return self.give(made).map(Some);
                }
                if is_last {
                    self.end_frame()?;
                } else {
                    self.at = At::Block;
                }
            }
        }
        Ok(None)
    }

    /// RFC 8878 §3.1.1.1.
    fn begin_frame(&mut self) -> Result<Option<Step>, Damaged> {
        let Some(descriptor) = self.held.get(4).copied() else { return self.hungry() };
        let is_single = descriptor & 0x20 != 0;
        let has_checksum = descriptor & 0x04 != 0;
        if descriptor & 0x08 != 0 {
            return Err(Damaged);
        }
        let dictionary = match descriptor & 0x03 {
            3 => 4,
            other => usize::from(other),
        };
        let length = match descriptor >> 6 {
            0 => usize::from(is_single),
            power => 1 << power,
        };
        let header = 5 + usize::from(!is_single) + dictionary + length;
        let Some(bytes) = self.held.get(..header) else { return self.hungry() };
        let window = if is_single { None } else { bytes.get(5).copied() };
        let bytes = bytes.to_vec();
        self.make_room(window)?;
        self.decoder.reset(&*bytes).map_err(|_| Damaged)?;
        let length = (length > 0).then(|| self.decoder.content_size());
        self.frame = Frame { has_checksum, length, given: 0 };
        self.take(header);
        self.at = At::Block;
        Ok(None)
    }

    /// For the frame's window (RFC 8878 §3.1.1.1.2), or the largest where its length decides, and a block.
    fn make_room(&mut self, descriptor: Option<u8>) -> Result<(), Damaged> {
        let window = descriptor.map_or(MAX_WINDOW_BYTES, |descriptor| {
            let base = 1_u64 << (10 + u32::from(descriptor >> 3));
            base + base / 8 * u64::from(descriptor & 7)
        });
        let bytes = usize::try_from(window.min(MAX_WINDOW_BYTES)).unwrap_or(usize::MAX);
        let more = bytes.saturating_add(MAX_BLOCK_BYTES).saturating_sub(self.held_bytes);
        if more > 0 && !self.window.grow(more) {
            return Err(Damaged);
        }
        self.held_bytes += more;
        Ok(())
    }

    /// RFC 8878 §3.1.1.2.
    fn decode_block(&mut self) -> Result<Option<Step>, Damaged> {
        let Some([low, middle, high]) = self.held.first_chunk().copied() else {
            return self.hungry();
        };
        let header = u32::from_le_bytes([low, middle, high, 0]);
        let is_last = header & 1 != 0;
        let size = usize::try_from(header >> 3).unwrap_or(usize::MAX);
        if size > MAX_BLOCK_BYTES {
            return Err(Damaged);
        }
        let content = match header >> 1 & 3 {
            // One byte, repeated.
            1 => 1,
            _ => size,
        };
        let checksum = if is_last && self.frame.has_checksum { 4 } else { 0 };
        let whole = 3 + content + checksum;
        let Some(bytes) = self.held.get(..whole) else { return self.hungry() };
        let (taken, made) =
            self.decoder.decode_from_to(bytes, &mut self.scratch).map_err(|_| Damaged)?;
        if taken != whole {
            return Err(Damaged);
        }
        self.take(whole);
        self.at = At::Draining { is_last };
        if made > 0 { self.give(made).map(Some) } else { Ok(None) }
    }

    fn give(&mut self, made: usize) -> Result<Step, Damaged> {
        self.frame.given += made as u64;
        if self.frame.length.is_some_and(|length| self.frame.given > length) {
            return Err(Damaged);
        }
        let decoded = self.scratch.get(..made).unwrap_or_default();
        Ok(Step::Data(Bytes::copy_from_slice(decoded)))
    }

    fn end_frame(&mut self) -> Result<(), Damaged> {
        let Frame { has_checksum, length, given } = self.frame;
        let told = self.decoder.get_checksum_from_data();
        if has_checksum && told != self.decoder.get_calculated_checksum() {
            return Err(Damaged);
        }
        if length.is_some_and(|length| length != given) {
            return Err(Damaged);
        }
        self.has_frame = true;
        self.at = At::Frame;
        Ok(())
    }
}
