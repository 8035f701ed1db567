//! Recovery codes: look-up secrets (NIST SP 800-63B-4 §3.1.2) for when no other factor is at hand.
//! Each counts once, and only its keyed digest is stored.

use crate::token::{Digest, Keyed};
use std::fmt;
use types::{Random, RandomError, SecretText};
use zeroize::Zeroizing;

/// Codes that a person gets at once.
pub const RECOVERY_CODES: usize = 10;
/// Characters of a code, 5 bits each: 120 bits, where 112 are demanded.
const CHARS: usize = 24;
const GROUP: usize = 4;
/// Crockford's base32: no letter is taken for another.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const KIND: &str = "recovery code";

/// One code, in its only spelling.
///
/// ```compile_fail
/// fn print(code: identity::RecoveryCode) { println!("{code}"); }
/// ```
/// ```compile_fail
/// fn copy(code: &identity::RecoveryCode) -> identity::RecoveryCode { code.clone() }
/// ```
/// ```compile_fail
/// fn compare(a: identity::RecoveryCode, b: identity::RecoveryCode) -> bool { a == b }
/// ```
pub struct RecoveryCode(SecretText);

/// Why a text is no recovery code. Says nothing about whether such a code exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryCodeError {
    #[error("a recovery code has {CHARS} letters and digits: type all of its groups")]
    Length,
    #[error("a recovery code has digits and letters other than `u`: compare it with the list")]
    Alphabet,
}

impl RecoveryCode {
    /// As many new codes as a person gets.
    pub fn generate_set(random: &dyn Random) -> Result<Vec<Self>, RandomError> {
        (0..RECOVERY_CODES).map(|_| Self::generate(random)).collect()
    }

    fn generate(random: &dyn Random) -> Result<Self, RandomError> {
        let mut bytes = Zeroizing::new([0_u8; CHARS]);
        random.fill(bytes.as_mut_slice())?;
        // 256 is a multiple of 32: every letter is as likely.
        let letters = bytes.iter().map(|byte| ALPHABET.get(usize::from(byte % 32)));
        Ok(Self(collected(letters.flatten().map(|letter| char::from(*letter)))))
    }

    /// Reads a code as a person typed it: groups, case, and letters that look like digits do not
    /// matter.
    pub fn parse(text: &str) -> Result<Self, RecoveryCodeError> {
        let typed = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
        // One more than there may be tells that there are too many.
        let code = collected(typed.take(CHARS + 1).map(|c| match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        }));
        if code.expose().chars().count() != CHARS {
            return Err(RecoveryCodeError::Length);
        }
        if !code.expose().bytes().all(|byte| ALPHABET.contains(&byte)) {
            return Err(RecoveryCodeError::Alphabet);
        }
        Ok(Self(code))
    }

    /// The code in groups, as it is shown once.
    pub fn grouped(&self) -> SecretText {
        let mut text = String::with_capacity(CHARS + CHARS / GROUP);
        for (place, letter) in self.0.expose().chars().enumerate() {
            if place > 0 && place % GROUP == 0 {
                text.push('-');
            }
            text.push(letter);
        }
        SecretText::new(text)
    }

    pub fn digest(&self, keyed: Keyed<'_>) -> Digest {
        Digest::of(KIND, self.0.expose(), keyed)
    }

    /// The place of this code among stored digests. All are compared, whichever fits.
    pub fn find<'a>(
        &self,
        keyed: Keyed<'_>,
        stored: impl IntoIterator<Item = &'a Digest>,
    ) -> Option<usize> {
        let digest = self.digest(keyed);
        let mut found = None;
        for (place, other) in stored.into_iter().enumerate() {
            if digest.matches(other) {
                found = Some(place);
            }
        }
        found
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(hidden)")
    }
}

fn collected(letters: impl Iterator<Item = char>) -> SecretText {
    // Room for all, so that growing leaves no copy behind.
    let mut text = String::with_capacity((CHARS + 1) * char::MAX.len_utf8());
    text.extend(letters);
    SecretText::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use types::SeededRandom;

    fn keyed(kind: &str, text: &str) -> [u8; 32] {
        let text = format!("{kind}|{text}");
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        digest.as_ref().try_into().unwrap()
    }

    #[test]
    fn a_set_has_ten_different_codes_of_120_bits() {
        let codes = RecoveryCode::generate_set(&SeededRandom::new(3)).unwrap();
        let shown: HashSet<String> =
            codes.iter().map(|code| code.grouped().expose().to_owned()).collect();
        assert_eq!((codes.len(), shown.len()), (10, 10));
        for code in shown {
            let groups: Vec<&str> = code.split('-').collect();
            assert_eq!(groups.len(), 6, "{code}");
            assert!(groups.iter().all(|group| group.len() == 4), "{code}");
        }
        // Every letter comes up, each as often as the others.
        let random = SeededRandom::new(3);
        let mut counts = [0_u32; 256];
        for _ in 0..400 {
            for byte in RecoveryCode::generate(&random).unwrap().0.expose().bytes() {
                counts[usize::from(byte)] += 1;
            }
        }
        for letter in ALPHABET {
            let count = counts[usize::from(*letter)];
            assert!((200..400).contains(&count), "{}: {count}", char::from(*letter));
        }
    }

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let codes = RecoveryCode::generate_set(&SeededRandom::new(3)).unwrap();
        let stored: Vec<Digest> = codes.iter().map(|code| code.digest(&keyed)).collect();
        for (place, code) in codes.iter().enumerate() {
            let shown = code.grouped();
            let shown = shown.expose();
            for typed in [
                shown.to_owned(),
                shown.to_uppercase(),
                shown.replace('-', ""),
                shown.replace('-', " "),
                format!("  {shown}\n"),
                shown.replace('0', "O").replace('1', "l"),
                shown.replace('0', "o").replace('1', "I"),
            ] {
                let code = RecoveryCode::parse(&typed).unwrap();
                assert_eq!(code.find(&keyed, &stored), Some(place), "{typed}");
            }
        }
    }

    #[test]
    fn other_codes_are_not_found_and_other_texts_are_none() {
        let codes = RecoveryCode::generate_set(&SeededRandom::new(3)).unwrap();
        let stored: Vec<Digest> = codes.iter().skip(1).map(|code| code.digest(&keyed)).collect();
        assert_eq!(codes[0].find(&keyed, &stored), None);
        let shown = codes[0].grouped();
        let shown = shown.expose();
        for (text, error) in [
            ("", RecoveryCodeError::Length),
            (&shown[..28], RecoveryCodeError::Length),
            (&format!("{shown}0"), RecoveryCodeError::Length),
            (&"0".repeat(1 << 20), RecoveryCodeError::Length),
            (&format!("{}u", &shown[..28]), RecoveryCodeError::Alphabet),
            (&format!("{}é", &shown[..28]), RecoveryCodeError::Alphabet),
            (&format!("{}\u{661}", &shown[..28]), RecoveryCodeError::Alphabet),
        ] {
            assert_eq!(RecoveryCode::parse(text).unwrap_err(), error);
        }
    }

    #[test]
    fn no_code_is_printed() {
        let codes = RecoveryCode::generate_set(&SeededRandom::new(3)).unwrap();
        assert_eq!(format!("{:?}", codes[0]), "RecoveryCode(hidden)");
        assert_eq!(format!("{:?}", codes[0].grouped()), "SecretText(hidden)");
    }
}
