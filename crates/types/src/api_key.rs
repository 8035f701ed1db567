//! Weirgate's own API keys: `wg_live_` or `wg_test_`, 30 random base62 characters (178 bits), and
//! a 6-character checksum, so that a mistyped key is refused before any look-up and a scanner can
//! tell a real key from text that looks like one.

use crate::{Environment, Random, RandomError, SecretText};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Random characters in a key.
pub const KEY_RANDOM_CHARS: usize = 30;
const CHECKSUM_CHARS: usize = 6;
const PREFIX_LEN: usize = "wg_live_".len();
const KEY_LEN: usize = PREFIX_LEN + KEY_RANDOM_CHARS + CHECKSUM_CHARS;

/// An API key in clear, with a checksum that was verified.
#[derive(Debug)]
pub struct ApiKey {
    text: SecretText,
    environment: Environment,
}

/// Why a text is no API key. Says nothing about whether such a key exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    #[error("an API key begins with wg_live_ or wg_test_")]
    Prefix,
    #[error("an API key has {KEY_LEN} characters")]
    Length,
    #[error("an API key consists of letters and digits after its prefix")]
    Alphabet,
    #[error("the API key's checksum does not fit: it was mistyped or cut")]
    Checksum,
}

impl ApiKey {
    /// A new key.
    pub fn generate(environment: Environment, random: &dyn Random) -> Result<Self, RandomError> {
        let mut text = String::with_capacity(KEY_LEN);
        text.push_str("wg_");
        text.push_str(environment.as_str());
        text.push('_');
        let mut buffer = [0_u8; 1];
        while text.len() < PREFIX_LEN + KEY_RANDOM_CHARS {
            random.fill(&mut buffer)?;
            // 248 = 4 × 62: larger bytes are thrown away so that every letter is as likely.
            let [byte] = buffer;
            if byte < 248
                && let Some(letter) = BASE62.get(usize::from(byte % 62))
            {
                text.push(char::from(*letter));
            }
        }
        let checksum = checksum(text.as_bytes());
        text.push_str(&checksum);
        Ok(Self { text: SecretText::new(text), environment })
    }

    /// Reads a key as a caller gave it.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let environment = if text.starts_with("wg_live_") {
            Environment::Live
        } else if text.starts_with("wg_test_") {
            Environment::Test
        } else {
            return Err(ApiKeyError::Prefix);
        };
        if text.len() != KEY_LEN {
            return Err(ApiKeyError::Length);
        }
        if !text.bytes().skip(PREFIX_LEN).all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(ApiKeyError::Alphabet);
        }
        let (body, given) = text.split_at(KEY_LEN - CHECKSUM_CHARS);
        if checksum(body.as_bytes()) != given {
            return Err(ApiKeyError::Checksum);
        }
        Ok(Self { text: SecretText::new(text.to_owned()), environment })
    }

    pub const fn environment(&self) -> Environment {
        self.environment
    }

    pub fn expose(&self) -> &str {
        self.text.expose()
    }
}

/// CRC-32/ISO-HDLC as six base62 digits, zero-padded, most significant first.
fn checksum(body: &[u8]) -> String {
    let mut rest = crc32fast::hash(body);
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for place in digits.iter_mut().rev() {
        *place = BASE62.get((rest % 62) as usize).copied().unwrap_or(b'0');
        rest /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededRandom;

    #[test]
    fn a_generated_key_reads_back_and_every_typo_is_found() {
        let random = SeededRandom::new(7);
        for environment in [Environment::Live, Environment::Test] {
            let key = ApiKey::generate(environment, &random).unwrap();
            let text = key.expose().to_owned();
            assert_eq!(ApiKey::parse(&text).unwrap().environment(), environment);
            for place in PREFIX_LEN..KEY_LEN {
                for letter in BASE62 {
                    let mut typo = text.clone().into_bytes();
                    if typo[place] == *letter {
                        continue;
                    }
                    typo[place] = *letter;
                    let typo = String::from_utf8(typo).unwrap();
                    assert_eq!(ApiKey::parse(&typo).unwrap_err(), ApiKeyError::Checksum);
                }
            }
            assert_eq!(ApiKey::parse(&text[..43]).unwrap_err(), ApiKeyError::Length);
        }
    }

    #[test]
    fn checksum_is_iso_hdlc_in_base62() {
        // 0xCBF43926 = 3421780262 is the published check value for "123456789".
        assert_eq!(checksum(b"123456789"), "3jZRME");
    }
}
