//! Weirgate's own API keys: `wg_live_` or `wg_test_`, and what [`TokenLayout`] says.

use crate::{Environment, Random, RandomError, SecretText, TokenFlaw, TokenLayout};

const LIVE: TokenLayout = TokenLayout::new("wg_live_");
const TEST: TokenLayout = TokenLayout::new("wg_test_");
const KEY_LEN: usize = LIVE.length();

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
        let layout = match environment {
            Environment::Live => LIVE,
            Environment::Test => TEST,
        };
        Ok(Self { text: layout.generate(random)?, environment })
    }

    /// Reads a key as a caller gave it.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let (layout, environment) = if text.starts_with(TEST.prefix()) {
            (TEST, Environment::Test)
        } else {
            (LIVE, Environment::Live)
        };
        match layout.parse(text) {
            Ok(text) => Ok(Self { text, environment }),
            Err(TokenFlaw::Prefix) => Err(ApiKeyError::Prefix),
            Err(TokenFlaw::Length) => Err(ApiKeyError::Length),
            Err(TokenFlaw::Alphabet) => Err(ApiKeyError::Alphabet),
            Err(TokenFlaw::Checksum) => Err(ApiKeyError::Checksum),
        }
    }

    pub const fn environment(&self) -> Environment {
        self.environment
    }

    pub fn expose(&self) -> &str {
        self.text.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededRandom;

    #[test]
    fn a_generated_key_reads_back_in_its_environment_alone() {
        let random = SeededRandom::new(7);
        for environment in [Environment::Live, Environment::Test] {
            let key = ApiKey::generate(environment, &random).unwrap();
            let text = key.expose().to_owned();
            assert_eq!(ApiKey::parse(&text).unwrap().environment(), environment);
            assert_eq!(ApiKey::parse(&text[..43]).unwrap_err(), ApiKeyError::Length);
            let typo = text.replace(environment.as_str(), "prod");
            assert_eq!(ApiKey::parse(&typo).unwrap_err(), ApiKeyError::Prefix);
            // A key of one environment is none of the other.
            let (a, b) = ("wg_live_", "wg_test_");
            let moved = if text.starts_with(a) { text.replace(a, b) } else { text.replace(b, a) };
            assert_eq!(ApiKey::parse(&moved).unwrap_err(), ApiKeyError::Checksum);
        }
    }
}
