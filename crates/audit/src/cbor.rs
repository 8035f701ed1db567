//! The part of CBOR (RFC 8949) that entries are made of, in its deterministic form (§4.2.1): shortest
//! heads, definite lengths, map keys ascending. What is not in that form does not decode.

/// Unsigned integers, byte and text strings, arrays, booleans, and maps with unsigned keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Uint(u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Value>),
    Map(Vec<(u64, Value)>),
    Bool(bool),
}

/// Entries are flat: a list of texts or pairs within the entry's map.
const MAX_DEPTH: usize = 4;

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const FALSE: u8 = 0xF4;
const TRUE: u8 = 0xF5;

impl Value {
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

    /// `None` for anything that [`Value::encode`] would not have written.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { rest: bytes };
        let value = reader.value(0)?;
        reader.rest.is_empty().then_some(value)
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

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
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

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        match *self.rest.first()? {
            FALSE => {
                self.byte()?;
                return Some(Value::Bool(false));
            }
            TRUE => {
                self.byte()?;
                return Some(Value::Bool(true));
            }
            _ => {}
        }
        let (major, number) = self.head()?;
        // Each item takes a byte at least: a length beyond what is left is a lie.
        let length = usize::try_from(number).ok();
        let length_within = || length.filter(|length| *length <= self.rest.len());
        Some(match major {
            UINT => Value::Uint(number),
            BYTES => Value::Bytes(self.take(length?)?.to_vec()),
            TEXT => Value::Text(std::str::from_utf8(self.take(length?)?).ok()?.to_owned()),
            ARRAY => {
                let length = length_within()?;
                let mut items = Vec::with_capacity(length);
                for _ in 0..length {
                    items.push(self.value(depth + 1)?);
                }
                Value::Array(items)
            }
            MAP => {
                let length = length_within()?;
                let mut members: Vec<(u64, Value)> = Vec::with_capacity(length);
                for _ in 0..length {
                    let (UINT, key) = self.head()? else { return None };
                    if members.last().is_some_and(|(last, _)| *last >= key) {
                        return None;
                    }
                    members.push((key, self.value(depth + 1)?));
                }
                Value::Map(members)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex_of(value: &Value) -> String {
        let mut out = Vec::new();
        value.encode(&mut out);
        hex::encode(out)
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
            (Value::Bytes(vec![1, 2, 3, 4]), "4401020304"),
            (Value::Text("IETF".into()), "6449455446"),
            (Value::Array(vec![Value::Uint(1), Value::Uint(2)]), "820102"),
            (Value::Map(vec![(1, Value::Uint(2)), (3, Value::Uint(4))]), "a201020304"),
            (Value::Bool(true), "f5"),
        ] {
            assert_eq!(hex_of(&value), wanted);
            assert_eq!(Value::decode(&hex::decode(wanted).unwrap()), Some(value));
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
            "a203040102",
            "a201020102",
            "9fff",
            "0000",
            "62c328",
            "9a00ffffff",
            "a1616101",
            "818181818181",
        ] {
            assert_eq!(Value::decode(&hex::decode(bad).unwrap()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_decodes_is_what_was_encoded(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(value) = Value::decode(&bytes) {
                let mut again = Vec::new();
                value.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
