//! The inside of a JSON string, byte by byte or in runs: escapes, UTF-8, and what it stands for.

use crate::refusal::RefusalKind;

/// Where in a string the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Plain,
    Escape,
    /// Digits that are still to come, and the value so far.
    Hex {
        left: u8,
        value: u16,
    },
    /// Bytes that are still to come, the range of the next one, and where the sequence began.
    Utf8 {
        left: u8,
        low: u8,
        high: u8,
        start: u64,
    },
}

/// A string that is being read.
#[derive(Debug, Clone)]
pub(crate) struct StringReader {
    inside: Inside,
    /// The first half of a surrogate pair.
    high: Option<u16>,
    /// A surrogate escape without its other half: such a string stands for no text.
    pub(crate) is_lone: bool,
}

/// What it stands for, up to a limit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) limit: usize,
    pub(crate) is_too_long: bool,
}

impl Decoded {
    pub(crate) fn restart(&mut self, limit: usize) {
        self.bytes.clear();
        self.limit = limit;
        self.is_too_long = false;
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > self.limit {
            self.is_too_long = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }
}

/// How far a part of a string was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All of the part.
    More,
    /// Up to this place, behind the closing quote.
    Ended(usize),
}

/// Bytes that end a run: the quote, the backslash, control characters, and all beyond ASCII.
#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, within 256 entries")]
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte < 0x20 || byte >= 0x80;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

/// A whole number of bytes that is looked at together, so that the compiler can use wide registers.
const LANES: usize = 16;

/// The first special byte at or after `from`.
#[expect(clippy::indexing_slicing, reason = "a table of 256 entries indexed by a byte")]
fn run_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(lane) = bytes.get(at..).and_then(|rest| rest.first_chunk::<LANES>()) {
        let mut is_special = false;
        for byte in lane {
            is_special |= *byte < 0x20 || *byte >= 0x80 || *byte == b'"' || *byte == b'\\';
        }
        if is_special {
            break;
        }
        at += LANES;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().position(|byte| SPECIAL[usize::from(*byte)]).map_or(bytes.len(), |more| at + more)
}

impl StringReader {
    pub(crate) const fn new() -> Self {
        Self { inside: Inside::Plain, high: None, is_lone: false }
    }

    /// Reads on from `from`. `offset` is the part's own place in the input.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        from: usize,
        offset: u64,
        mut decoded: Option<&mut Decoded>,
    ) -> Result<Progress, (u64, RefusalKind)> {
        let mut at = from;
        while let Some(&byte) = bytes.get(at) {
            let place = offset + at as u64;
            match self.inside {
                Inside::Plain => {
                    let end = run_end(bytes, at);
                    if end > at {
                        self.text(bytes.get(at..end).unwrap_or_default(), &mut decoded);
                        at = end;
                        continue;
                    }
                    match byte {
                        b'"' => {
                            self.settle_pair();
                            return Ok(Progress::Ended(at + 1));
                        }
                        b'\\' => self.inside = Inside::Escape,
                        0..0x20 => return Err((place, RefusalKind::Malformed)),
                        _ => {
                            self.lead(byte, place)?;
                            self.text(&[byte], &mut decoded);
                        }
                    }
                }
                Inside::Escape => {
                    let plain = match byte {
                        b'"' | b'\\' | b'/' => Some(byte),
                        b'b' => Some(8),
                        b'f' => Some(12),
                        b'n' => Some(b'\n'),
                        b'r' => Some(b'\r'),
                        b't' => Some(b'\t'),
                        b'u' => None,
                        _ => return Err((place, RefusalKind::Malformed)),
                    };
                    if let Some(plain) = plain {
                        self.inside = Inside::Plain;
                        self.text(&[plain], &mut decoded);
                    } else {
                        self.inside = Inside::Hex { left: 4, value: 0 };
                    }
                }
                Inside::Hex { left, value } => {
                    let Some(digit) = char::from(byte).to_digit(16) else {
                        return Err((place, RefusalKind::Malformed));
                    };
                    let value = (value << 4) | u16::try_from(digit).unwrap_or(0);
                    if left == 1 {
                        self.inside = Inside::Plain;
                        self.unit(value, &mut decoded);
                    } else {
                        self.inside = Inside::Hex { left: left - 1, value };
                    }
                }
                Inside::Utf8 { left, low, high, start } => {
                    if !(low..=high).contains(&byte) {
                        return Err((start, RefusalKind::InvalidUtf8));
                    }
                    self.inside = if left == 1 {
                        Inside::Plain
                    } else {
                        Inside::Utf8 { left: left - 1, low: 0x80, high: 0xBF, start }
                    };
                    self.text(&[byte], &mut decoded);
                }
            }
            at += 1;
        }
        Ok(Progress::More)
    }

    /// The first byte of a sequence (RFC 3629 §4).
    fn lead(&mut self, byte: u8, start: u64) -> Result<(), (u64, RefusalKind)> {
        let (left, low, high) = match byte {
            0xC2..=0xDF => (1, 0x80, 0xBF),
            0xE0 => (2, 0xA0, 0xBF),
            0xE1..=0xEC | 0xEE..=0xEF => (2, 0x80, 0xBF),
            0xED => (2, 0x80, 0x9F),
            0xF0 => (3, 0x90, 0xBF),
            0xF1..=0xF3 => (3, 0x80, 0xBF),
            0xF4 => (3, 0x80, 0x8F),
            _ => return Err((start, RefusalKind::InvalidUtf8)),
        };
        self.inside = Inside::Utf8 { left, low, high, start };
        Ok(())
    }

    fn settle_pair(&mut self) {
        if self.high.take().is_some() {
            self.is_lone = true;
        }
    }

    fn text(&mut self, bytes: &[u8], decoded: &mut Option<&mut Decoded>) {
        self.settle_pair();
        if let Some(decoded) = decoded {
            decoded.push(bytes);
        }
    }

    /// A UTF-16 code unit of a `\u` escape.
    fn unit(&mut self, unit: u16, decoded: &mut Option<&mut Decoded>) {
        let high = self.high.take();
        let pair = high.map(|high| char::decode_utf16([high, unit]).next());
        let c = match (pair, unit) {
            (Some(Some(Ok(c))), _) => Some(c),
            (before, 0xD800..=0xDBFF) => {
                self.is_lone |= before.is_some();
                self.high = Some(unit);
                return;
            }
            (before, _) => {
                self.is_lone |= before.is_some();
                char::from_u32(u32::from(unit))
            }
        };
        match c {
            Some(c) => {
                if let Some(decoded) = decoded {
                    decoded.push(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            None => self.is_lone = true,
        }
    }
}
