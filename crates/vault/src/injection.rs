//! A credential in the form in which it enters a request, and how it waits in memory for that:
//! sealed under a key that lives as long as the process, opened for one use, wiped after it.

use crate::{
    CredentialError, CredentialKind, VaultError,
    key::{Key, Purpose},
    secret_json::shown,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::zeroize::Zeroizing;
use std::fmt;
use types::{Random, SecretBytes};

/// Where a security scheme puts a credential. Cookies are not among them: what a provider sets in
/// a cookie never reaches a caller, so nothing could tell a session from a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// `Authorization: Basic` (RFC 7617), UTF-8.
    Basic,
    /// `Authorization: Bearer` (RFC 6750 §2.1).
    Bearer,
    /// The key as it was given, as this header's value.
    Header { name: String },
    /// The key as this parameter's value, percent-encoded.
    Query { name: String },
}

impl Placement {
    pub(crate) const fn needs(&self) -> CredentialKind {
        match self {
            Self::Basic => CredentialKind::UsernamePassword,
            Self::Bearer => CredentialKind::Token,
            Self::Header { .. } | Self::Query { .. } => CredentialKind::ApiKey,
        }
    }
}

/// What a credential adds to a request, in clear. Made by [`crate::Credential::inject`].
pub struct Injection(Vec<Part>);

impl fmt::Debug for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Injection(hidden)")
    }
}

pub(crate) struct Part {
    place: Place,
    /// A header's name in lower case, or a parameter's name percent-encoded.
    name: String,
    value: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Header = 1,
    Query = 2,
}

/// Headers that frame a message, choose its target, or hold what never comes from a description:
/// a scheme that names one of them is a mistake or an attack.
const NEVER: [&str; 16] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

impl Part {
    pub(crate) fn basic(username: &str, password: &str) -> Self {
        let mut pair = Zeroizing::new(Vec::with_capacity(username.len() + 1 + password.len()));
        pair.extend_from_slice(username.as_bytes());
        pair.push(b':');
        pair.extend_from_slice(password.as_bytes());
        Self::authorization("Basic ", |value| STANDARD.encode_string(&*pair, value), pair.len())
    }

    pub(crate) fn bearer(token: &str) -> Self {
        Self::authorization("Bearer ", |value| value.push_str(token), token.len())
    }

    fn authorization(word: &str, write: impl FnOnce(&mut String), bytes: usize) -> Self {
        // Base64 makes four of three; a buffer that grows would leave copies behind.
        let mut value = Zeroizing::new(String::with_capacity(word.len() + (bytes + 3) * 2));
        value.push_str(word);
        write(&mut value);
        let value = Zeroizing::new(std::mem::take(&mut *value).into_bytes());
        Self { place: Place::Header, name: "authorization".into(), value }
    }

    pub(crate) fn header(scheme: &str, name: &str, key: &str) -> Result<Self, CredentialError> {
        let bad = |why| CredentialError::BadPlace { scheme: shown(scheme), name: shown(name), why };
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(bad("is no header name"));
        }
        let name = name.to_ascii_lowercase();
        if NEVER.contains(&name.as_str()) {
            return Err(bad("is a header that no credential may be in"));
        }
        Ok(Self { place: Place::Header, name, value: Zeroizing::new(key.as_bytes().to_vec()) })
    }

    pub(crate) fn query(scheme: &str, name: &str, key: &str) -> Result<Self, CredentialError> {
        if name.is_empty() || name.chars().any(char::is_control) {
            let why = "is no name of a parameter";
            return Err(CredentialError::BadPlace {
                scheme: shown(scheme),
                name: shown(name),
                why,
            });
        }
        let name = String::from_utf8_lossy(&percent_encode(name)).into_owned();
        Ok(Self { place: Place::Query, name, value: percent_encode(key) })
    }
}

/// RFC 9110 §5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Everything but the unreserved characters of RFC 3986 §2.3.
fn percent_encode(text: &str) -> Zeroizing<Vec<u8>> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = Zeroizing::new(Vec::with_capacity(3 * text.len()));
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(byte);
        } else {
            encoded.push(b'%');
            for half in [byte >> 4, byte & 15] {
                encoded.push(DIGITS.get(usize::from(half)).copied().unwrap_or(b'0'));
            }
        }
    }
    encoded
}

impl Injection {
    pub(crate) fn new(parts: Vec<Part>) -> Result<Self, CredentialError> {
        for (place, part) in parts.iter().enumerate() {
            let is_same = |other: &Part| other.place == part.place && other.name == part.name;
            if parts.iter().skip(place + 1).any(is_same) {
                return Err(CredentialError::SamePlace { name: shown(&part.name) });
            }
        }
        Ok(Self(parts))
    }

    /// Place, lengths of name and value (4 bytes each), name, value; for each part.
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let bytes = self.0.iter().map(|part| 9 + part.name.len() + part.value.len()).sum();
        let mut encoded = Zeroizing::new(Vec::with_capacity(bytes));
        for part in &self.0 {
            encoded.push(part.place as u8);
            for bytes in [part.name.as_bytes(), &part.value] {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                encoded.extend_from_slice(&length.to_be_bytes());
            }
            encoded.extend_from_slice(part.name.as_bytes());
            encoded.extend_from_slice(&part.value);
        }
        encoded
    }
}

/// A key of this process alone: what is sealed under it is lost when the process ends.
pub struct MemoryKey(Key);

impl fmt::Debug for MemoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryKey(hidden)")
    }
}

impl MemoryKey {
    pub fn generate(random: &dyn Random) -> Result<Self, VaultError> {
        Key::generate(random).map(Self)
    }
}

/// An [`Injection`] as it waits in memory: a core dump without the [`MemoryKey`]'s page shows
/// nothing of it.
pub struct SealedInjection(Vec<u8>);

impl fmt::Debug for SealedInjection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedInjection(hidden)")
    }
}

impl SealedInjection {
    pub fn seal(key: &MemoryKey, injection: &Injection) -> Result<Self, VaultError> {
        key.0.seal(Purpose::Injection, &[], &injection.encode()).map(Self)
    }

    /// Opens it for one use. Drop what this yields as soon as the request is written.
    pub fn open(&self, key: &MemoryKey) -> Result<OpenInjection, VaultError> {
        let open = OpenInjection(key.0.open(Purpose::Injection, &[], &self.0)?);
        // Sealed by this process in this format; a part that does not read would be left out of
        // the request silently.
        let mut rest = open.0.expose();
        while !rest.is_empty() {
            rest = next_part(rest).ok_or(VaultError::NotAuthentic)?.1;
        }
        Ok(open)
    }
}

/// What a credential adds to a request, in clear; wiped on drop.
#[derive(Debug)]
pub struct OpenInjection(SecretBytes);

/// One addition to a request.
#[derive(Clone, Copy)]
pub enum OpenPart<'a> {
    Header {
        /// In lower case, a token of RFC 9110.
        name: &'a str,
        /// Visible ASCII, and spaces inside.
        value: &'a [u8],
    },
    /// Name and value are percent-encoded already.
    Query { name: &'a str, value: &'a str },
}

impl fmt::Debug for OpenPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name, .. } => write!(f, "Header({name}, hidden)"),
            Self::Query { name, .. } => write!(f, "Query({name}, hidden)"),
        }
    }
}

impl OpenInjection {
    pub fn iter(&self) -> impl Iterator<Item = OpenPart<'_>> {
        let mut rest = self.0.expose();
        std::iter::from_fn(move || {
            let (part, after) = next_part(rest)?;
            rest = after;
            Some(part)
        })
    }
}

fn next_part(bytes: &[u8]) -> Option<(OpenPart<'_>, &[u8])> {
    let (place, rest) = bytes.split_first()?;
    let (name_len, rest) = length(rest)?;
    let (value_len, rest) = length(rest)?;
    let (name, rest) = rest.split_at_checked(name_len)?;
    let (value, rest) = rest.split_at_checked(value_len)?;
    let name = std::str::from_utf8(name).ok()?;
    let part = if *place == Place::Header as u8 {
        OpenPart::Header { name, value }
    } else if *place == Place::Query as u8 {
        OpenPart::Query { name, value: std::str::from_utf8(value).ok()? }
    } else {
        return None;
    };
    Some((part, rest))
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_be_bytes(*length)).ok()?, rest))
}
