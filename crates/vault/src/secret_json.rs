//! Reads the little JSON that a secret file may hold: an object of texts, or of such objects.
//!
//! A reader of its own because a general one copies values into buffers that are not wiped, and
//! quotes them in its messages. It takes RFC 8259 whole for what it reads; whatever else stands
//! there is refused by place or by name, never by value.

use crate::{CredentialError, credential::told};
use secrecy::zeroize::Zeroizing;

/// What stands behind a name.
pub(crate) enum Value {
    Text(Zeroizing<String>),
    Object(Vec<Member>),
    /// A number, a list, `true`, `false`, `null`, or an object too deep: not read further.
    Other,
}

pub(crate) struct Member {
    pub name: String,
    pub value: Value,
}

/// Names are repeated in messages; a longer one is cut there.
const SHOWN_NAME_CHARS: usize = 40;
/// The outer object and those of single schemes.
const MAX_DEPTH: usize = 2;

/// Reads the members of the object that `bytes` are.
///
/// # Errors
/// [`CredentialError::NotJson`] with the offset of the first byte that does not fit,
/// [`CredentialError::Twice`] and [`CredentialError::NotText`] with the member's name if it is one of ours.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Member>, CredentialError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| CredentialError::NotJson { offset: error.valid_up_to() })?;
    let mut reader = Reader { text, at: 0 };
    // Some editors begin a file with a byte-order mark.
    if text.starts_with('\u{feff}') {
        reader.at = '\u{feff}'.len_utf8();
    }
    reader.skip_space();
    let members = reader.object(1)?;
    reader.skip_space();
    if reader.at == text.len() { Ok(members) } else { Err(reader.error()) }
}

pub(crate) fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(SHOWN_NAME_CHARS).collect()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn error(&self) -> CredentialError {
        CredentialError::NotJson { offset: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), CredentialError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.error())
        }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Member>, CredentialError> {
        self.expect(b'{')?;
        let mut members: Vec<Member> = Vec::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(members);
        }
        loop {
            self.skip_space();
            let name = String::clone(&*self.text()?);
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            let value = self.value(depth)?;
            if members.iter().any(|member| member.name == name) {
                return Err(CredentialError::Twice { member: told(&name) });
            }
            if matches!(value, Value::Other) {
                return Err(CredentialError::NotText { member: told(&name) });
            }
            members.push(Member { name, value });
            self.skip_space();
            if self.peek() == Some(b'}') {
                self.at += 1;
                return Ok(members);
            }
            self.expect(b',')?;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, CredentialError> {
        match self.peek() {
            Some(b'"') => self.text().map(Value::Text),
            Some(b'{') if depth < MAX_DEPTH => self.object(depth + 1).map(Value::Object),
            Some(b'{' | b'[' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => Ok(Value::Other),
            _ => Err(self.error()),
        }
    }

    fn text(&mut self) -> Result<Zeroizing<String>, CredentialError> {
        self.expect(b'"')?;
        // A text is never longer than its spelling: the buffer does not grow, so it leaves no
        // copies behind.
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut text = Zeroizing::new(String::with_capacity(spelled_len(rest)));
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(letter) = rest.chars().next() else { return Err(self.error()) };
            match letter {
                '"' => {
                    self.at += 1;
                    return Ok(text);
                }
                '\\' => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                '\0'..='\x1f' => return Err(self.error()),
                _ => {
                    text.push(letter);
                    self.at += letter.len_utf8();
                }
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, CredentialError> {
        let letter = self.peek().ok_or_else(|| self.error())?;
        let plain = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(self.error()),
        };
        self.at += 1;
        Ok(plain)
    }

    /// `u` and four digits, twice for what lies above U+FFFF (RFC 8259 §7).
    fn unicode(&mut self) -> Result<char, CredentialError> {
        let start = self.at;
        let high = self.four_digits()?;
        let code = if (0xd800..0xdc00).contains(&high) {
            self.expect(b'\\')?;
            let low = self.four_digits()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(CredentialError::NotJson { offset: start });
            }
            0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)
        } else {
            high
        };
        char::from_u32(code).ok_or(CredentialError::NotJson { offset: start })
    }

    fn four_digits(&mut self) -> Result<u32, CredentialError> {
        self.expect(b'u')?;
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            code = code << 4 | digit.ok_or_else(|| self.error())?;
            self.at += 1;
        }
        Ok(code)
    }
}

/// Bytes up to the quote that ends the text at the beginning of `rest`.
fn spelled_len(rest: &str) -> usize {
    let mut is_escaped = false;
    rest.bytes()
        .position(|byte| {
            let ends = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            ends
        })
        .unwrap_or(rest.len())
}

/// Writes a text as JSON; the counterpart of [`Reader::text`].
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                for half in [byte >> 4, byte & 15] {
                    out.push(DIGITS.get(usize::from(half)).copied().unwrap_or(b'0'));
                }
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(json: &str) -> Result<Vec<(String, String)>, CredentialError> {
        let members = parse(json.as_bytes())?;
        Ok(members
            .into_iter()
            .map(|member| match member.value {
                Value::Text(text) => (member.name, text.to_string()),
                _ => panic!("no text"),
            })
            .collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// Whatever a general reader takes for an object of texts, this one reads alike.
        #[test]
        fn texts_read_as_serde_json_reads_them(
            members in proptest::collection::btree_map("\\PC{0,6}", any::<String>(), 0..4),
            is_pretty: bool,
        ) {
            let json = if is_pretty {
                serde_json::to_string_pretty(&members).unwrap()
            } else {
                serde_json::to_string(&members).unwrap()
            };
            let expected: Vec<_> = members.clone().into_iter().collect();
            prop_assert_eq!(texts(&json).unwrap(), expected);
            for (name, value) in &members {
                let mut written = Vec::new();
                write_text(&mut written, value);
                let json = [b"{\"a\":".as_slice(), &written, b"}"].concat();
                let read = texts(std::str::from_utf8(&json).unwrap()).unwrap();
                prop_assert_eq!(&read[0].1, value, "{}", name);
            }
        }

        /// And what it does not take, this one does not take either.
        #[test]
        fn what_is_no_json_is_refused(text in "[{}\":,a\\\\u0dD \n1\\[\\]]{0,14}") {
            let general = serde_json::from_str::<std::collections::BTreeMap<String, String>>(&text);
            if general.is_err() {
                prop_assert!(texts(&text).is_err() || text.contains(":{"), "{}", text);
            }
        }
    }

    #[test]
    fn errors_name_places_and_members() {
        use CredentialError as E;
        let check = |json: &str, expected: E| {
            assert_eq!(parse(json.as_bytes()).err(), Some(expected), "{json}");
        };
        check("", E::NotJson { offset: 0 });
        check("[]", E::NotJson { offset: 0 });
        check(r#"{"a":"b"} x"#, E::NotJson { offset: 10 });
        check(r#"{"a":"b""#, E::NotJson { offset: 8 });
        check("{\"a\":\"b\n\"}", E::NotJson { offset: 7 });
        check(r#"{"a":"\ud800\u0041"}"#, E::NotJson { offset: 7 });
        check(r#"{"a":"\x"}"#, E::NotJson { offset: 7 });
        check(r#"{"a":"1","\u0061":"2"}"#, E::Twice { member: "?".into() });
        check(r#"{"a":1}"#, E::NotText { member: "?".into() });
        check(r#"{"a":{"b":{"c":"d"}}}"#, E::NotText { member: "?".into() });
        let mut bad = br#"{"a":"x"}"#.to_vec();
        bad[6] = 0xff;
        assert_eq!(parse(&bad).err(), Some(E::NotJson { offset: 6 }));
        assert!(parse("\u{feff} {\"a\":\"b\"}\r\n".as_bytes()).is_ok());
    }
}
