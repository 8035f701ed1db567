//! A credential in the form in which it enters a request, and how it waits in memory for that:
//! sealed under a key that lives as long as the process, opened for one use, wiped after it.

use crate::{
    CredentialError, CredentialKind, VaultError,
    auth::{self, CallFacts, Moment, Variables},
    key::{Key, Purpose},
    secret_json::shown,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use provider::auth::AuthPlan;
use secrecy::zeroize::Zeroizing;
use std::{fmt, sync::Arc};
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

/// How a scheme's credential gets into a call.
#[derive(Debug, Clone)]
pub enum Way {
    /// A value in one place.
    Place(Placement),
    Plan(Arc<AuthPlan>),
}

/// What a credential adds to a request, in clear. Made by [`crate::Credential::inject`].
pub struct Injection {
    parts: Vec<Part>,
    /// What is made anew for each call.
    live: Option<(Arc<AuthPlan>, Variables)>,
}

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
    /// Nowhere: it is only looked for in answers.
    Unsent = 3,
    /// Sent, and no secret: it is not looked for.
    ShownHeader = 4,
    ShownQuery = 5,
}

impl Place {
    const fn kind(self) -> u8 {
        match self {
            Self::Header | Self::ShownHeader => 1,
            Self::Query | Self::ShownQuery => 2,
            Self::Unsent => 3,
        }
    }
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

    /// A header whose name a plan gives, with a value that was checked.
    pub(crate) fn written_header(name: &str, value: Vec<u8>) -> Self {
        Self { place: Place::Header, name: name.to_owned(), value: Zeroizing::new(value) }
    }

    /// A parameter of which name and value are percent-encoded.
    pub(crate) fn written_query(name: &str, value: Zeroizing<Vec<u8>>) -> Self {
        Self { place: Place::Query, name: name.to_owned(), value }
    }

    /// The same, of which an answer may repeat the value.
    pub(crate) fn shown(mut self) -> Self {
        self.place = match self.place {
            Place::Header => Place::ShownHeader,
            Place::Query => Place::ShownQuery,
            other => other,
        };
        self
    }

    pub(crate) fn unsent(value: &str) -> Self {
        let value = Zeroizing::new(value.as_bytes().to_vec());
        Self { place: Place::Unsent, name: String::new(), value }
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
        let name = String::from_utf8_lossy(&auth::percent(name.as_bytes())).into_owned();
        Ok(Self { place: Place::Query, name, value: auth::percent(key.as_bytes()) })
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

/// Whether a plan may put something into this header: told when a connection is made.
pub(crate) fn check_header(scheme: &str, name: &str) -> Result<(), CredentialError> {
    Part::header(scheme, name, "").map(drop)
}

impl Injection {
    pub(crate) fn new(
        parts: Vec<Part>,
        live: Option<(Arc<AuthPlan>, Variables)>,
    ) -> Result<Self, CredentialError> {
        for (place, part) in parts.iter().enumerate() {
            let is_same = |other: &Part| {
                other.place.kind() == part.place.kind()
                    && other.name == part.name
                    && part.place != Place::Unsent
            };
            if parts.iter().skip(place + 1).any(is_same) {
                return Err(CredentialError::SamePlace { name: shown(&part.name) });
            }
        }
        Ok(Self { parts, live })
    }
}

/// Place, lengths of name and value (4 bytes each), name, value; for each part.
fn encode(parts: &[Part]) -> Zeroizing<Vec<u8>> {
    let bytes = parts.iter().map(|part| 9 + part.name.len() + part.value.len()).sum();
    let mut encoded = Zeroizing::new(Vec::with_capacity(bytes));
    for part in parts {
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
pub struct SealedInjection {
    parts: Vec<u8>,
    live: Option<(Arc<AuthPlan>, Vec<u8>)>,
}

impl fmt::Debug for SealedInjection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedInjection(hidden)")
    }
}

/// Why an injection is not there for a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Auth(#[from] auth::AuthError),
}

impl SealedInjection {
    pub fn seal(key: &MemoryKey, injection: &Injection) -> Result<Self, VaultError> {
        let seal = |plain: &[u8]| key.0.seal(Purpose::Injection, &[], plain);
        let live = match &injection.live {
            Some((plan, variables)) => Some((Arc::clone(plan), seal(&variables.encode())?)),
            None => None,
        };
        Ok(Self { parts: seal(&encode(&injection.parts))?, live })
    }

    /// Opens what is the same for all calls.
    ///
    /// # Errors
    /// [`VaultError::NotAuthentic`] if it was not sealed under this key.
    pub fn open(&self, key: &MemoryKey) -> Result<OpenInjection, VaultError> {
        checked(key.0.open(Purpose::Injection, &[], &self.parts)?)
    }

    /// Opens it for one call. Drop what this yields as soon as the request is written.
    ///
    /// # Errors
    /// [`OpenError`] if it was not sealed under this key, or if the call has what cannot be signed.
    pub fn open_for(
        &self,
        key: &MemoryKey,
        call: &CallFacts<'_>,
        moment: Moment<'_>,
    ) -> Result<OpenInjection, OpenError> {
        let open = self.open(key)?;
        let Some((plan, sealed)) = &self.live else { return Ok(open) };
        let opened = key.0.open(Purpose::Injection, &[], sealed)?;
        let variables = Variables::decode(&opened).ok_or(VaultError::NotAuthentic)?;
        // What other schemes add is signed with the rest.
        let mut query = Zeroizing::new(call.query.to_owned());
        for part in open.iter() {
            if let OpenPart::Query { name, value, .. } = part {
                if !query.is_empty() {
                    query.push('&');
                }
                for text in [name, "=", value] {
                    query.push_str(text);
                }
            }
        }
        let call = CallFacts { query: &query, ..*call };
        let made = encode(&auth::parts(plan, &variables, Some(&call), moment)?);
        let mut whole = Vec::with_capacity(open.0.expose().len() + made.len());
        whole.extend_from_slice(open.0.expose());
        whole.extend_from_slice(&made);
        Ok(checked(SecretBytes::new(whole))?)
    }
}

/// Sealed by this process in this format; a part that does not read would be left out of the request
/// silently.
fn checked(opened: SecretBytes) -> Result<OpenInjection, VaultError> {
    let mut rest = opened.expose();
    while !rest.is_empty() {
        rest = next_part(rest).ok_or(VaultError::NotAuthentic)?.1;
    }
    Ok(OpenInjection(opened))
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
        /// Whether an answer must not repeat it.
        is_secret: bool,
    },
    /// Name and value are percent-encoded already.
    Query { name: &'a str, value: &'a str, is_secret: bool },
    /// Not sent: what the others were made of, which an answer must not repeat either.
    Unsent { value: &'a [u8] },
}

impl fmt::Debug for OpenPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name, .. } => write!(f, "Header({name}, hidden)"),
            Self::Query { name, .. } => write!(f, "Query({name}, hidden)"),
            Self::Unsent { .. } => f.write_str("Unsent(hidden)"),
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
    let is_secret = *place == Place::Header as u8 || *place == Place::Query as u8;
    let part = if *place == Place::Header as u8 || *place == Place::ShownHeader as u8 {
        OpenPart::Header { name, value, is_secret }
    } else if *place == Place::Query as u8 || *place == Place::ShownQuery as u8 {
        OpenPart::Query { name, value: std::str::from_utf8(value).ok()?, is_secret }
    } else if *place == Place::Unsent as u8 {
        OpenPart::Unsent { value }
    } else {
        return None;
    };
    Some((part, rest))
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_be_bytes(*length)).ok()?, rest))
}
