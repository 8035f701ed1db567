//! A provider that repeats the credential it was sent: in an error's text, in a page that shows the
//! request, in a link. The spellings in which that happens are known while the call lasts, and are
//! looked for in what would leave.

use crate::injection::{OpenInjection, OpenPart};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use memchr::memmem;
use secrecy::zeroize::Zeroizing;
use std::fmt;

/// A secret that is shorter would be found in harmless text.
const MIN_BYTES: usize = 8;

/// The spellings of one call's credential; wiped on drop.
pub struct Echoes {
    needles: Vec<Zeroizing<Vec<u8>>>,
    longest: usize,
}

impl fmt::Debug for Echoes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Echoes(hidden)")
    }
}

impl Echoes {
    /// Of a call that sends no credential.
    pub const fn none() -> Self {
        Self { needles: Vec::new(), longest: 0 }
    }

    pub fn of(opened: &OpenInjection) -> Self {
        let mut echoes = Self::none();
        for part in opened.iter() {
            match part {
                OpenPart::Header { name: "authorization", value } => {
                    let at = value.iter().position(|byte| *byte == b' ');
                    let (scheme, sent) = at.map_or((&b""[..], value), |at| {
                        (value.get(..at).unwrap_or(b""), value.get(at + 1..).unwrap_or(b""))
                    });
                    if scheme == b"Basic" {
                        echoes.add_basic(sent);
                    } else {
                        echoes.add(sent);
                    }
                }
                OpenPart::Header { value, .. } => echoes.add(value),
                OpenPart::Query { value, .. } => {
                    let decoded = percent_encoding::percent_decode_str(value);
                    echoes.add(&Zeroizing::new(decoded.collect::<Vec<u8>>()));
                }
            }
        }
        echoes
    }

    /// The pair as it is sent, and what in it is secret: mostly the password, but where that is
    /// short (some providers take a key as the user, with any password), the user.
    fn add_basic(&mut self, sent: &[u8]) {
        let end = sent.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
        self.add(sent.get(..end).unwrap_or(sent));
        let Ok(pair) = STANDARD.decode(sent).map(Zeroizing::new) else { return };
        let Some(colon) = pair.iter().position(|byte| *byte == b':') else { return };
        let password = pair.get(colon + 1..).unwrap_or(b"");
        if password.len() >= MIN_BYTES {
            self.add(password);
        } else {
            self.add(pair.get(..colon).unwrap_or(b""));
        }
    }

    fn add(&mut self, secret: &[u8]) {
        if secret.len() < MIN_BYTES {
            return;
        }
        self.push(Zeroizing::new(secret.to_vec()));
        self.push(respelled(secret, |byte| !is_unreserved(byte), percent_upper));
        self.push(respelled(secret, |byte| !is_unreserved(byte), percent_lower));
        self.push(respelled(secret, |byte| !is_unreserved(byte), form));
        // JSON: what must be escaped, what PHP escapes besides, and what is escaped for HTML.
        self.push(respelled(secret, |byte| b"\"\\".contains(&byte), backslash));
        self.push(respelled(secret, |byte| b"\"\\/".contains(&byte), backslash));
        self.push(respelled(secret, |byte| b"<>&='\"\\".contains(&byte), unicode));
        self.push(respelled(secret, |byte| b"<>&\"\\".contains(&byte), html_safe));
    }

    fn push(&mut self, needle: Zeroizing<Vec<u8>>) {
        if !self.needles.contains(&needle) {
            self.longest = self.longest.max(needle.len());
            self.needles.push(needle);
        }
    }

    /// Whether `text` repeats the credential.
    pub fn are_in(&self, text: &[u8]) -> bool {
        self.needles.iter().any(|needle| memmem::find(text, needle).is_some())
    }

    /// How many bytes at the end of a text may be the beginning of an echo that goes on in what
    /// follows.
    pub const fn overlap(&self) -> usize {
        self.longest.saturating_sub(1)
    }
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn respelled(
    secret: &[u8],
    is_changed: impl Fn(u8) -> bool,
    write: impl Fn(u8, &mut Vec<u8>),
) -> Zeroizing<Vec<u8>> {
    // The longest spelling of a byte has six; a buffer that grows would leave copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(6 * secret.len()));
    for byte in secret.iter().copied() {
        if is_changed(byte) {
            write(byte, &mut out);
        } else {
            out.push(byte);
        }
    }
    out
}

/// As Go does by default: quotes by a backslash, and by their number what HTML gives a meaning.
fn html_safe(byte: u8, out: &mut Vec<u8>) {
    if b"\"\\".contains(&byte) { backslash(byte, out) } else { unicode(byte, out) }
}

fn hex(byte: u8, digits: &[u8; 16], out: &mut Vec<u8>) {
    for half in [byte >> 4, byte & 15] {
        out.push(digits.get(usize::from(half)).copied().unwrap_or(b'0'));
    }
}

fn percent_upper(byte: u8, out: &mut Vec<u8>) {
    out.push(b'%');
    hex(byte, b"0123456789ABCDEF", out);
}

fn percent_lower(byte: u8, out: &mut Vec<u8>) {
    out.push(b'%');
    hex(byte, b"0123456789abcdef", out);
}

fn form(byte: u8, out: &mut Vec<u8>) {
    if byte == b' ' {
        out.push(b'+');
    } else {
        percent_upper(byte, out);
    }
}

fn backslash(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'\\', byte]);
}

fn unicode(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\u00");
    hex(byte, b"0123456789abcdef", out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Injection, MemoryKey, SealedInjection, injection::Part};
    use types::SeededRandom;

    fn echoes(part: Part) -> Echoes {
        let key = MemoryKey::generate(&SeededRandom::new(1)).unwrap();
        let injection = Injection::new(vec![part]).unwrap();
        let sealed = SealedInjection::seal(&key, &injection).unwrap();
        Echoes::of(&sealed.open(&key).unwrap())
    }

    #[test]
    fn an_echo_is_found_in_every_spelling() {
        let key = "k/2 <a>&\"b\\c=é+z";
        let json = serde_json::to_string(key).unwrap();
        let spellings = [
            key.to_owned(),
            json.clone(),
            json.replace('/', "\\/"),
            json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"),
            url::form_urlencoded::byte_serialize(key.as_bytes()).collect(),
            percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC)
                .to_string(),
        ];
        for found in [
            echoes(Part::bearer(key)),
            echoes(Part::header("s", "x-key", key).unwrap()),
            echoes(Part::query("s", "key", key).unwrap()),
        ] {
            for spelling in &spellings {
                let text = format!("no such key: {spelling}, sorry");
                assert!(found.are_in(text.as_bytes()), "{spelling}");
                assert!(spelling.len() <= found.overlap() + 1 + 2, "{spelling}");
            }
            assert!(!found.are_in(b"k/2 <a>&b"));
        }
    }

    #[test]
    fn of_a_pair_the_secret_half_is_looked_for() {
        let found = echoes(Part::basic("ada@example.com", "correct horse"));
        assert!(found.are_in(b"YWRhQGV4YW1wbGUuY29tOmNvcnJlY3QgaG9yc2U="));
        assert!(found.are_in(b"user=ada&password=correct+horse"));
        assert!(!found.are_in(b"{\"email\":\"ada@example.com\"}"));
        let found = echoes(Part::basic("sk_live_51H8", "x"));
        assert!(found.are_in(b"Invalid API key: sk_live_51H8"));
    }

    #[test]
    fn short_secrets_are_not_looked_for() {
        assert!(!echoes(Part::bearer("12345")).are_in(b"{\"id\":12345}"));
        assert!(!Echoes::none().are_in(b"anything"));
    }
}
