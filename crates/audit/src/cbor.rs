//! The part of CBOR (RFC 8949) that entries are made of, in its deterministic form (§4.2.1): shortest
//! heads, definite lengths, map keys ascending. What is not in that form does not decode.

use std::borrow::Cow;

/// Unsigned integers, byte and text strings, arrays, booleans, and maps with unsigned keys, as they are
/// written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Uint(u64),
    Bytes(Cow<'a, [u8]>),
    Text(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Map(Vec<(u64, Value<'a>)>),
    Bool(bool),
}

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const FALSE: u8 = 0xF4;
const TRUE: u8 = 0xF5;

impl Value<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Uint(number) => head(out, UINT, *number),
            Self::Bytes(bytes) => {
                head(out, BYTES, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Self::Text(text) => {
                head(out, TEXT, text.len() as u64);
                out.extend_from_slice(text.as_bytes());
            }
            Self::Array(items) => {
                head(out, ARRAY, items.len() as u64);
                for item in items {
                    item.encode(out);
                }
            }
            Self::Map(members) => {
                head(out, MAP, members.len() as u64);
                for (key, value) in members {
                    head(out, UINT, *key);
                    value.encode(out);
                }
            }
            Self::Bool(false) => out.push(FALSE),
            Self::Bool(true) => out.push(TRUE),
        }
    }
}

fn head(out: &mut Vec<u8>, major: u8, number: u64) {
    let major = major << 5;
    let bytes = number.to_be_bytes();
    let [.., b4, b5, b6, b7] = bytes;
    match number {
        0..=23 => out.push(major | b7),
        24..=0xFF => out.extend_from_slice(&[major | 24, b7]),
        0x100..=0xFFFF => out.extend_from_slice(&[major | 25, b6, b7]),
        0x1_0000..=0xFFFF_FFFF => out.extend_from_slice(&[major | 26, b4, b5, b6, b7]),
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Reads values that are known to stand there: `None` for any other, and for any form of them that
/// [`Value::encode`] would not have written. What was read lies where it was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// Major type and number, in the shortest form only.
    fn head(&mut self) -> Option<(u8, u64)> {
        let first = self.byte()?;
        let (major, info) = (first >> 5, first & 0x1F);
        let (width, least) = match info {
            0..=23 => return Some((major, u64::from(info))),
            24 => (1, 24),
            25 => (2, 0x100),
            26 => (4, 0x1_0000),
            27 => (8, 0x1_0000_0000),
            _ => return None,
        };
        let number =
            self.take(width)?.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        (number >= least).then_some((major, number))
    }

    fn number(&mut self, wanted: u8) -> Option<u64> {
        let (major, number) = self.head()?;
        (major == wanted).then_some(number)
    }

    fn string(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number(wanted)?).ok()?;
        self.take(length)
    }

    /// Each item takes a byte at least: a length beyond what is left is a lie.
    fn length(&mut self, wanted: u8) -> Option<usize> {
        let length = usize::try_from(self.number(wanted)?).ok()?;
        (length <= self.rest.len()).then_some(length)
    }

    pub(crate) fn uint(&mut self) -> Option<u64> {
        self.number(UINT)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        self.string(BYTES)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.string(TEXT)?).ok()
    }

    pub(crate) fn bool(&mut self) -> Option<bool> {
        match self.byte()? {
            FALSE => Some(false),
            TRUE => Some(true),
            _ => None,
        }
    }

    /// How many items follow.
    pub(crate) fn array(&mut self) -> Option<usize> {
        self.length(ARRAY)
    }

    /// How many pairs of a key and a value follow.
    pub(crate) fn map(&mut self) -> Option<usize> {
        self.length(MAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex_of(value: &Value<'_>) -> String {
        let mut out = Vec::new();
        value.encode(&mut out);
        hex::encode(out)
    }

    /// Reads whatever stands there.
    fn whatever<'a>(reader: &mut Reader<'a>) -> Option<Value<'a>> {
        let first = reader.rest.first()?;
        Some(match first >> 5 {
            UINT => Value::Uint(reader.uint()?),
            BYTES => Value::Bytes(reader.bytes()?.into()),
            TEXT => Value::Text(reader.text()?.into()),
            ARRAY => {
                Value::Array((0..reader.array()?).map(|_| whatever(reader)).collect::<Option<_>>()?)
            }
            MAP => {
                let count = reader.map()?;
                let pairs = (0..count).map(|_| Some((reader.uint()?, whatever(reader)?)));
                Value::Map(pairs.collect::<Option<_>>()?)
            }
            _ => Value::Bool(reader.bool()?),
        })
    }

    fn decoded(bytes: &[u8]) -> Option<Value<'_>> {
        let mut reader = Reader::new(bytes);
        let value = whatever(&mut reader)?;
        reader.is_at_end().then_some(value)
    }

    /// RFC 8949, appendix A.
    #[test]
    fn known_answers() {
        for (value, wanted) in [
            (Value::Uint(0), "00"),
            (Value::Uint(23), "17"),
            (Value::Uint(24), "1818"),
            (Value::Uint(1_000), "1903e8"),
            (Value::Uint(1_000_000), "1a000f4240"),
            (Value::Uint(u64::MAX), "1bffffffffffffffff"),
            (Value::Bytes([1, 2, 3, 4].as_slice().into()), "4401020304"),
            (Value::Text("IETF".into()), "6449455446"),
            (Value::Array(vec![Value::Uint(1), Value::Uint(2)]), "820102"),
            (Value::Map(vec![(1, Value::Uint(2)), (3, Value::Uint(4))]), "a201020304"),
            (Value::Bool(true), "f5"),
        ] {
            assert_eq!(hex_of(&value), wanted);
            assert_eq!(decoded(&hex::decode(wanted).unwrap()), Some(value));
        }
    }

    #[test]
    fn other_forms_do_not_decode() {
        for bad in [
            "",
            "1800",
            "1817",
            "190000",
            "1a00000000",
            "1b0000000000000000",
            "5f4101ff",
            "f6",
            "f7",
            "20",
            "c000",
            "9fff",
            "0000",
            "62c328",
            "9a00ffffff",
            "a1616101",
        ] {
            assert_eq!(decoded(&hex::decode(bad).unwrap()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_decodes_is_what_was_encoded(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(value) = decoded(&bytes) {
                let mut again = Vec::new();
                value.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
