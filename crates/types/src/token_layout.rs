//! How the tokens look that Weirgate makes for programs: a prefix that says what they are, 30 random
//! base62 characters (178 bits), and a 6-character checksum, so that a mistyped token is refused
//! before any look-up and a scanner can tell a real one from text that looks like one.

use crate::{Random, RandomError, SecretText};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Random characters in a token.
pub const KEY_RANDOM_CHARS: usize = 30;
const CHECKSUM_CHARS: usize = 6;

/// One kind of token, by its prefix.
#[derive(Debug, Clone, Copy)]
pub struct TokenLayout {
    prefix: &'static str,
}

/// Why a text is no token of a layout. Says nothing about whether such a token exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFlaw {
    Prefix,
    Length,
    Alphabet,
    Checksum,
}

impl TokenLayout {
    pub const fn new(prefix: &'static str) -> Self {
        Self { prefix }
    }

    pub const fn prefix(self) -> &'static str {
        self.prefix
    }

    /// Characters of a whole token.
    pub const fn length(self) -> usize {
        self.prefix.len() + KEY_RANDOM_CHARS + CHECKSUM_CHARS
    }

    /// A new token.
    pub fn generate(self, random: &dyn Random) -> Result<SecretText, RandomError> {
        let mut text = String::with_capacity(self.length());
        text.push_str(self.prefix);
        let mut buffer = [0_u8; 1];
        while text.len() < self.prefix.len() + KEY_RANDOM_CHARS {
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
        Ok(SecretText::new(text))
    }

    /// Reads a token as a caller gave it.
    pub fn parse(self, text: &str) -> Result<SecretText, TokenFlaw> {
        if !text.starts_with(self.prefix) {
            return Err(TokenFlaw::Prefix);
        }
        if text.len() != self.length() {
            return Err(TokenFlaw::Length);
        }
        if !text.bytes().skip(self.prefix.len()).all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(TokenFlaw::Alphabet);
        }
        let (body, given) = text.split_at(self.length() - CHECKSUM_CHARS);
        if checksum(body.as_bytes()) != given {
            return Err(TokenFlaw::Checksum);
        }
        Ok(SecretText::new(text.to_owned()))
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
    fn a_generated_token_reads_back_and_every_typo_is_found() {
        let layout = TokenLayout::new("some_");
        let text = layout.generate(&SeededRandom::new(7)).unwrap().expose().to_owned();
        assert_eq!(layout.parse(&text).unwrap().expose(), text);
        let flaw = |text: &str| layout.parse(text).unwrap_err();
        for place in "some_".len()..layout.length() {
            for letter in BASE62 {
                let mut typo = text.clone().into_bytes();
                if typo[place] == *letter {
                    continue;
                }
                typo[place] = *letter;
                assert_eq!(flaw(&String::from_utf8(typo).unwrap()), TokenFlaw::Checksum);
            }
        }
        assert_eq!(flaw(&text[..layout.length() - 1]), TokenFlaw::Length);
        assert_eq!(flaw(&format!("{text}0")), TokenFlaw::Length);
        assert_eq!(flaw(&text.replace("some_", "Some_")), TokenFlaw::Prefix);
        assert_eq!(flaw(&format!("{}-", &text[..layout.length() - 1])), TokenFlaw::Alphabet);
    }

    #[test]
    fn checksum_is_iso_hdlc_in_base62() {
        // 0xCBF43926 = 3421780262 is the published check value for "123456789".
        assert_eq!(checksum(b"123456789"), "3jZRME");
    }
}
