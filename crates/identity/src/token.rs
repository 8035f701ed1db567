//! Reference tokens: what they say lies in the store, found by their keyed digest. A token itself
//! is shown once, and kept nowhere.
//!
//! Texts that have not a token's form are refused before any look-up.

use aws_lc_rs::constant_time;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::fmt;
use types::{Random, RandomError, SecretText, TokenFlaw, TokenLayout};
use zeroize::Zeroizing;

/// Bytes of a session or link token.
const REFERENCE_BYTES: usize = 32;
/// Characters of a session or link token: base64url without padding.
const REFERENCE_CHARS: usize = 43;
const PERSONAL: TokenLayout = TokenLayout::new("wgp_");

/// What makes the digest that is stored: a MAC of a kind and a text under a key that the database
/// does not have (`vault::KeyPepper::lookup_digest`).
pub type Keyed<'a> = &'a dyn Fn(&str, &str) -> [u8; 32];

/// The only form in which a token or recovery code is stored.
///
/// ```compile_fail
/// fn compare(a: identity::Digest, b: identity::Digest) -> bool { a == b }
/// ```
pub struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn of(kind: &str, text: &str, keyed: Keyed<'_>) -> Self {
        Self(keyed(kind, text))
    }

    /// Reads what [`Digest::as_bytes`] gave.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in a time that does not depend on where the two differ.
    pub fn matches(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(hidden)")
    }
}

/// Why a text is no token of its kind. Says nothing about whether such a token exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("a {kind} is {chars} characters long: it was cut or mistyped, copy it whole")]
    Length { kind: &'static str, chars: usize },
    #[error("a {kind} consists of letters and digits, `-` and `_`: copy it again")]
    Alphabet { kind: &'static str },
    #[error("a {kind} begins with {prefix}: this is something else")]
    Prefix { kind: &'static str, prefix: &'static str },
    #[error("the checksum of the {kind} does not fit: it was mistyped, copy it again")]
    Checksum { kind: &'static str },
}

macro_rules! reference_token {
    ($(#[$doc:meta])* $name:ident = $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(SecretText);

        impl $name {
            const KIND: &'static str = $kind;

            /// A new token of 256 random bits.
            pub fn generate(random: &dyn Random) -> Result<Self, RandomError> {
                reference(random).map(Self)
            }

            /// Reads a token as it came.
            pub fn parse(text: &str) -> Result<Self, TokenError> {
                read_reference(Self::KIND, text).map(Self)
            }

            pub fn digest(&self, keyed: Keyed<'_>) -> Digest {
                Digest::of(Self::KIND, self.0.expose(), keyed)
            }

            /// The token itself, for the one place where it is shown or set.
            pub fn expose(&self) -> &str {
                self.0.expose()
            }
        }
    };
}

reference_token! {
    /// What the console's cookie holds.
    ///
    /// ```compile_fail
    /// fn print(token: identity::SessionToken) { println!("{token}"); }
    /// ```
    /// ```compile_fail
    /// fn copy(token: &identity::SessionToken) -> identity::SessionToken { token.clone() }
    /// ```
    /// ```compile_fail
    /// fn compare(a: identity::SessionToken, b: identity::SessionToken) -> bool { a == b }
    /// ```
    SessionToken = "session token"
}

reference_token! {
    /// What a link for setup, invitation or reset ends with; good for one use.
    ///
    /// ```compile_fail
    /// fn print(token: identity::LinkToken) { println!("{token}"); }
    /// ```
    /// ```compile_fail
    /// fn copy(token: &identity::LinkToken) -> identity::LinkToken { token.clone() }
    /// ```
    /// ```compile_fail
    /// fn compare(a: identity::LinkToken, b: identity::LinkToken) -> bool { a == b }
    /// ```
    LinkToken = "link token"
}

/// A person's token for the control API: `wgp_`, and what [`TokenLayout`] says.
///
/// ```compile_fail
/// fn print(token: identity::PersonalToken) { println!("{token}"); }
/// ```
/// ```compile_fail
/// fn copy(token: &identity::PersonalToken) -> identity::PersonalToken { token.clone() }
/// ```
/// ```compile_fail
/// fn compare(a: identity::PersonalToken, b: identity::PersonalToken) -> bool { a == b }
/// ```
#[derive(Debug)]
pub struct PersonalToken(SecretText);

impl PersonalToken {
    const KIND: &'static str = "personal token";

    /// A new token of 178 random bits.
    pub fn generate(random: &dyn Random) -> Result<Self, RandomError> {
        PERSONAL.generate(random).map(Self)
    }

    /// Reads a token as it came.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let kind = Self::KIND;
        PERSONAL.parse(text).map(Self).map_err(|flaw| match flaw {
            TokenFlaw::Prefix => TokenError::Prefix { kind, prefix: PERSONAL.prefix() },
            TokenFlaw::Length => TokenError::Length { kind, chars: PERSONAL.length() },
            TokenFlaw::Alphabet => TokenError::Alphabet { kind },
            TokenFlaw::Checksum => TokenError::Checksum { kind },
        })
    }

    /// Whether a text is meant to be a personal token, right or not.
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with(PERSONAL.prefix())
    }

    pub fn digest(&self, keyed: Keyed<'_>) -> Digest {
        Digest::of(Self::KIND, self.0.expose(), keyed)
    }

    /// The token itself, for the one place where it is shown.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

fn reference(random: &dyn Random) -> Result<SecretText, RandomError> {
    let mut bytes = Zeroizing::new([0_u8; REFERENCE_BYTES]);
    random.fill(bytes.as_mut_slice())?;
    Ok(SecretText::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

fn read_reference(kind: &'static str, text: &str) -> Result<SecretText, TokenError> {
    if text.len() != REFERENCE_CHARS {
        return Err(TokenError::Length { kind, chars: REFERENCE_CHARS });
    }
    // Bits that stand for nothing must be zero: one token has one spelling.
    let bytes = URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new);
    if bytes.is_err() {
        return Err(TokenError::Alphabet { kind });
    }
    Ok(SecretText::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use types::SeededRandom;

    /// A stand-in for the vault's keyed digest that keeps kind and text apart.
    fn keyed(kind: &str, text: &str) -> [u8; 32] {
        let digest = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            format!("{}:{kind}{text}", kind.len()).as_bytes(),
        );
        digest.as_ref().try_into().unwrap()
    }

    #[test]
    fn session_and_link_tokens_read_back_and_carry_256_bits() {
        let random = SeededRandom::new(4);
        let mut seen = HashSet::new();
        for _ in 0..200 {
            let token = SessionToken::generate(&random).unwrap();
            assert_eq!(URL_SAFE_NO_PAD.decode(token.expose()).unwrap().len(), 32);
            assert_eq!(SessionToken::parse(token.expose()).unwrap().expose(), token.expose());
            assert!(seen.insert(token.expose().to_owned()));
            let link = LinkToken::generate(&random).unwrap();
            assert_eq!(LinkToken::parse(link.expose()).unwrap().expose(), link.expose());
            assert!(seen.insert(link.expose().to_owned()));
        }
    }

    #[test]
    fn what_is_no_session_token_is_refused_before_any_look_up() {
        let token = SessionToken::generate(&SeededRandom::new(4)).unwrap();
        let text = token.expose();
        let flaw = |text: &str| SessionToken::parse(text).unwrap_err();
        let length = TokenError::Length { kind: "session token", chars: 43 };
        for cut in ["", &text[..42], &format!("{text}A"), &format!("{text} "), &format!("{text}=")]
        {
            assert_eq!(flaw(cut), length, "{cut:?}");
        }
        let alphabet = TokenError::Alphabet { kind: "session token" };
        for letter in [" ", "+", "/", "=", "\n", "\0", "."] {
            assert_eq!(flaw(&format!("{}{letter}", &text[..42])), alphabet, "{letter:?}");
        }
        // `B` differs from `A` in bits that stand for nothing.
        assert!(SessionToken::parse(&"A".repeat(43)).is_ok());
        assert_eq!(flaw(&format!("{}B", "A".repeat(42))), alphabet);
    }

    #[test]
    fn personal_tokens_have_a_prefix_and_a_checksum() {
        let token = PersonalToken::generate(&SeededRandom::new(4)).unwrap();
        let text = token.expose().to_owned();
        assert_eq!(text.len(), 40);
        assert!(PersonalToken::is_meant_by(&text) && !PersonalToken::is_meant_by("wg_live_"));
        assert_eq!(PersonalToken::parse(&text).unwrap().expose(), text);
        let kind = "personal token";
        let flaw = |text: &str| PersonalToken::parse(text).unwrap_err();
        assert_eq!(flaw(&text.to_uppercase()), TokenError::Prefix { kind, prefix: "wgp_" });
        assert_eq!(flaw(&text[..39]), TokenError::Length { kind, chars: 40 });
        assert_eq!(flaw(&format!("{} ", &text[..39])), TokenError::Alphabet { kind });
        let last = if text.ends_with('a') { 'b' } else { 'a' };
        assert_eq!(flaw(&format!("{}{last}", &text[..39])), TokenError::Checksum { kind });
        // A client's key is no personal token, whatever its checksum.
        let key = types::ApiKey::generate(types::Environment::Live, &SeededRandom::new(1)).unwrap();
        assert!(matches!(flaw(key.expose()), TokenError::Prefix { .. }));
    }

    #[test]
    fn digests_keep_kinds_apart_and_tell_equal_from_different() {
        let random = SeededRandom::new(4);
        let session = SessionToken::generate(&random).unwrap();
        let link = LinkToken::parse(session.expose()).unwrap();
        assert!(session.digest(&keyed).matches(&session.digest(&keyed)));
        assert!(!session.digest(&keyed).matches(&link.digest(&keyed)));
        let stored = Digest::from_bytes(*session.digest(&keyed).as_bytes());
        assert!(stored.matches(&session.digest(&keyed)));
        for place in 0..32 {
            let mut bytes = *stored.as_bytes();
            bytes[place] ^= 1;
            assert!(!stored.matches(&Digest::from_bytes(bytes)), "{place}");
        }
    }

    #[test]
    fn no_token_is_printed() {
        let random = SeededRandom::new(4);
        let session = SessionToken::generate(&random).unwrap();
        let link = LinkToken::generate(&random).unwrap();
        let personal = PersonalToken::generate(&random).unwrap();
        let printed = format!("{session:?} {link:?} {personal:?} {:?}", session.digest(&keyed));
        for secret in [session.expose(), link.expose(), personal.expose()] {
            assert!(!printed.contains(secret), "{printed}");
            let error = SessionToken::parse(&format!("{secret}~")).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(secret));
        }
        assert!(printed.ends_with("Digest(hidden)"));
    }
}
