//! Ids that name their kind: mixing kinds does not compile, and a printed id says what it is.

use crate::{Random, RandomError, Timestamp};
use std::{cmp::Ordering, fmt, hash::Hash, hash::Hasher, marker::PhantomData, str::FromStr};

/// A kind of thing that has ids, with the prefix its ids are printed with.
pub trait IdKind {
    const PREFIX: &'static str;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $prefix:literal),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $kind {}
        impl IdKind for $kind {
            const PREFIX: &'static str = $prefix;
        }
    )+};
}

kinds! {
    /// A third-party or internal API.
    Provider = "prov",
    /// One customer's authorized link to one provider.
    Connection = "conn",
    /// What the provider accepts; lives in the vault.
    Credential = "cred",
    /// Whose data a connection reaches.
    Customer = "cust",
    /// A program of the company that calls Weirgate.
    Client = "clnt",
    /// An API key of a client.
    Key = "key",
    /// A permission for a client on a provider or connection.
    Grant = "grnt",
    /// A person who administers.
    User = "user",
    /// A person's stay on the console.
    Session = "sess",
    /// What a person shows beside a password, or in place of it.
    Factor = "fact",
    /// What lets a person's own program use the control API.
    Token = "tokn",
    /// What lets a person in once, to set up an account.
    Link = "link",
    /// Who vouches for people that sign in by it.
    IdentityProvider = "idp",
    /// Whom an identity provider knows a person as.
    Identity = "iden",
    /// A change that waits for a second person.
    Proposal = "prop",
    /// Grants and roles that are confirmed or dropped by a date.
    Review = "revw",
    /// A filter of the audit page that a person keeps.
    View = "view",
    /// A connection that somebody is about to consent to.
    ConnectSession = "csn",
    /// What a customer agreed to.
    Consent = "cons",
    /// One call through the gateway, or one act on the command line.
    Request = "req",
    /// One installation with its own data folder.
    Instance = "inst",
    /// One of several data folders on an installation's database.
    Node = "node",
}

/// An id of one kind: a UUIDv7 (RFC 9562 §5.7), printed as `conn_` and 26 characters of
/// Crockford base32 in lower case.
pub struct Id<K> {
    value: u128,
    kind: PhantomData<fn() -> K>,
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ENCODED_LEN: usize = 26;

impl<K> Id<K> {
    /// A new id from the injected clock and randomness.
    pub fn generate(now: Timestamp, random: &dyn Random) -> Result<Self, RandomError> {
        let mut tail = [0_u8; 10];
        random.fill(&mut tail)?;
        let millis = u64::try_from(now.as_micros() / 1_000).unwrap_or(0);
        let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid();
        Ok(Self::from_u128(uuid.as_u128()))
    }

    pub const fn from_u128(value: u128) -> Self {
        Self { value, kind: PhantomData }
    }

    pub const fn as_u128(self) -> u128 {
        self.value
    }

    /// The id as 16 bytes, big-endian: how it stands in binary records.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.value.to_be_bytes()
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self::from_u128(u128::from_be_bytes(bytes))
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value.cmp(&other.value)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

impl<K: IdKind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(K::PREFIX)?;
        f.write_str("_")?;
        let mut letters = [b'0'; ENCODED_LEN];
        for (place, letter) in letters.iter_mut().rev().enumerate() {
            let digit = (self.value >> (5 * place)) & 31;
            let index = usize::try_from(digit).unwrap_or(0);
            *letter = ALPHABET.get(index).copied().unwrap_or(b'0');
        }
        f.write_str(std::str::from_utf8(&letters).unwrap_or_default())
    }
}

impl<K: IdKind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}_ and 26 characters")]
pub struct ParseIdError {
    pub prefix: &'static str,
}

impl<K: IdKind> FromStr for Id<K> {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = ParseIdError { prefix: K::PREFIX };
        let digits = text
            .strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .filter(|rest| rest.len() == ENCODED_LEN)
            .ok_or_else(|| error.clone())?;
        let mut value: u128 = 0;
        for (place, byte) in digits.bytes().enumerate() {
            let digit =
                ALPHABET.iter().position(|letter| *letter == byte).ok_or_else(|| error.clone())?;
            // 26 × 5 = 130 bits: the first character carries only three.
            if place == 0 && digit > 7 {
                return Err(error);
            }
            value = (value << 5) | digit as u128;
        }
        Ok(Self::from_u128(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn printed_ids_read_back(value: u128) {
            let id: Id<Connection> = Id::from_u128(value);
            prop_assert_eq!(id.to_string().parse::<Id<Connection>>().unwrap(), id);
            prop_assert!(id.to_string().parse::<Id<Client>>().is_err());
            prop_assert_eq!(Id::<Connection>::from_bytes(id.to_bytes()), id);
        }
    }

    #[test]
    fn malformed_ids_are_refused() {
        let good = Id::<Connection>::from_u128(u128::MAX).to_string();
        assert_eq!(good, "conn_7zzzzzzzzzzzzzzzzzzzzzzzzz");
        for bad in [
            "",
            "conn_",
            "conn_8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "conn_7zzzzzzzzzzzzzzzzzzzzzzzzu",
            "conn_7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        ] {
            assert!(bad.parse::<Id<Connection>>().is_err(), "{bad}");
        }
    }
}
