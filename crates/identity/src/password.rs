//! Passwords, by NIST SP 800-63B-4 §3.1.1 and ASVS 5.0 V6.2.
//!
//! - Length, not composition: at least [`MIN_CHARS`] characters, any that can be typed, spaces
//!   too. NIST asks for 15 where a password stands alone and 8 beside a second factor; nobody signs
//!   in here without a second factor, and a password alone reaches its enrolment and nothing else
//!   (decision 135).
//! - Up to [`MAX_CHARS`] characters are accepted, and all of them count: a longer one is refused,
//!   never cut.
//! - Characters are code points, counted before and after normalisation; the smaller count decides.
//! - Normalised by NFKC before hashing, so that one password typed on two keyboards is one.
//! - Common passwords, patterns and words of the place it is for are refused; nothing expires.
//!
//! Hashes are Argon2id (RFC 9106) as PHC strings. Hashing is heavy on purpose: callers run it where
//! it blocks nobody, and bound how many run at once ([`HASH_BYTES`] each).

use crate::blocklist;
use argon2::{
    Algorithm, Argon2, Params, PasswordHash as Phc, Version, password_hash::PasswordHasher,
};
use aws_lc_rs::constant_time;
use std::fmt;
use types::{Random, RandomError, SecretText};
use unicode_normalization::{UnicodeNormalization as _, char::is_public_assigned};
use zeroize::Zeroizing;

pub const MIN_CHARS: usize = 12;
pub const MAX_CHARS: usize = 256;
/// Without the words of its place a password must still be as long as NIST asks at least.
const MIN_OWN_CHARS: usize = 8;
/// Shorter words of the place stand in any text.
const MIN_WORD_CHARS: usize = 3;

/// RFC 9106 §4, the second recommended choice (its first takes 2 GiB): 64 MiB and three passes.
/// OWASP's least is 19 MiB and two.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;
const SALT_BYTES: usize = 16;
const HASH_LENGTH: usize = 32;
/// Memory that one hash takes while it is computed.
pub const HASH_BYTES: usize = 64 << 20;
/// A stored hash that asks for more was not made by this product.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;

/// A password as somebody typed it.
///
/// ```compile_fail
/// fn print(password: identity::Password) { println!("{password}"); }
/// ```
/// ```compile_fail
/// fn copy(password: &identity::Password) -> identity::Password { password.clone() }
/// ```
/// ```compile_fail
/// fn compare(a: identity::Password, b: identity::Password) -> bool { a == b }
/// ```
#[derive(Debug)]
pub struct Password(SecretText);

/// A password that may be hashed: it met the rules, or was just found to be right.
#[derive(Debug)]
pub struct Accepted(Password);

/// What is wrong with a new password. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordProblem {
    #[error(
        "a password has at least {MIN_CHARS} characters, this one {is}: add words; which kinds of \
         characters it has does not matter"
    )]
    TooShort { is: usize },
    #[error("a password has at most {MAX_CHARS} characters, this one {is}: take a part of it")]
    TooLong { is: usize },
    #[error(
        "a character cannot be typed again on every keyboard (a control character, or one that \
         Unicode has not assigned): leave it out"
    )]
    Character,
    #[error(
        "it is among the passwords that are tried first, maybe with digits or signs around it: \
         take several words that nobody else would put together"
    )]
    Common,
    #[error("it repeats a shorter text, and is guessed as fast as that: add different words")]
    Repeated,
    #[error("it follows the alphabet, the digits or the keyboard: take words instead")]
    Pattern,
    #[error(
        "without the names of this product, this place and yourself fewer than {MIN_OWN_CHARS} \
         characters are left: add words that have to do with neither"
    )]
    Context,
}

/// What is wrong with a new password: all of it at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the password was not accepted")]
pub struct PasswordProblems {
    pub problems: Vec<PasswordProblem>,
}

/// Why a password has no hash, or a stored hash no meaning.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error("a password could not be hashed: there may be too little memory")]
    Hashing,
    #[error("a stored password hash is damaged, or not one of Weirgate's: reset the password")]
    Unreadable,
}

/// A password as it is stored: `$argon2id$v=19$m=...`.
pub struct PasswordHash {
    text: SecretText,
    work: Work,
    output: Vec<u8>,
}

/// What a hash is computed with.
struct Work {
    params: Params,
    salt: Vec<u8>,
}

/// Whether a password was right.
#[derive(Debug)]
pub enum Verdict {
    Wrong,
    Right,
    /// Right, and hashed with less than is asked today: hash it anew.
    Outdated(Accepted),
}

impl Password {
    pub fn new(text: String) -> Self {
        Self(SecretText::new(text))
    }

    /// Judges a new password. `context` is what it is for: the product's name, the host, the
    /// person's name and e-mail address; their words alone make no password.
    pub fn accept(self, context: &[&str]) -> Result<Accepted, PasswordProblems> {
        let problems = self.problems(context);
        if problems.is_empty() { Ok(Accepted(self)) } else { Err(PasswordProblems { problems }) }
    }

    fn problems(&self, context: &[&str]) -> Vec<PasswordProblem> {
        let typed = self.0.expose();
        let typed_chars = typed.chars().count();
        if typed_chars > MAX_CHARS {
            return vec![PasswordProblem::TooLong { is: typed_chars }];
        }
        let normal = self.normalised();
        let chars = normal.chars().count().min(typed_chars);
        let folded = Zeroizing::new(normal.to_lowercase());
        let mut problems = Vec::new();
        if chars < MIN_CHARS {
            problems.push(PasswordProblem::TooShort { is: chars });
        }
        // Unassigned characters may be normalised otherwise one day (UAX #15 §12.1).
        if typed.chars().any(|c| c.is_control() || !is_public_assigned(c)) {
            problems.push(PasswordProblem::Character);
        }
        let period = blocklist::period(&folded);
        let unit: Zeroizing<String> = Zeroizing::new(folded.chars().take(period).collect());
        if blocklist::is_common(&unit) {
            problems.push(PasswordProblem::Common);
        }
        if period < folded.chars().count() && period < MIN_CHARS {
            problems.push(PasswordProblem::Repeated);
        } else if blocklist::is_runs(&folded) {
            problems.push(PasswordProblem::Pattern);
        }
        // A password without any of these words is judged by its length alone.
        let own = own_chars(&folded, context);
        if own < folded.chars().count() && own < MIN_OWN_CHARS {
            problems.push(PasswordProblem::Context);
        }
        problems
    }

    /// Compares with the stored hash. For a person who does not exist, or who has no password,
    /// there is none, and as much work is done (CVE class 3).
    pub fn verify(self, stored: Option<&PasswordHash>) -> Result<Verdict, HashError> {
        // Longer ones were never accepted; what is read of them would only cost.
        if self.0.expose().chars().count() > MAX_CHARS {
            return Ok(Verdict::Wrong);
        }
        let unknown;
        let work = if let Some(stored) = stored {
            &stored.work
        } else {
            unknown = Work::of_nobody()?;
            &unknown
        };
        let output = work.run(&self.normalised())?;
        let Some(stored) = stored else { return Ok(Verdict::Wrong) };
        if constant_time::verify_slices_are_equal(&output, &stored.output).is_err() {
            return Ok(Verdict::Wrong);
        }
        if stored.is_outdated() {
            return Ok(Verdict::Outdated(Accepted(self)));
        }
        Ok(Verdict::Right)
    }

    /// NFKC, without leaving copies behind.
    fn normalised(&self) -> Zeroizing<String> {
        let bytes = self.0.expose().nfkc().map(char::len_utf8).sum();
        let mut text = Zeroizing::new(String::with_capacity(bytes));
        text.extend(self.0.expose().nfkc());
        text
    }
}

impl Accepted {
    /// Hashes with today's parameters and a salt of its own.
    pub fn hash(&self, random: &dyn Random) -> Result<PasswordHash, HashError> {
        let mut salt = [0; SALT_BYTES];
        random.fill(&mut salt)?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params()?);
        let hash = argon
            .hash_password_with_salt(self.0.normalised().as_bytes(), &salt)
            .map_err(|_| HashError::Hashing)?;
        PasswordHash::parse(hash.to_string())
    }
}

impl PasswordHash {
    /// Reads what [`PasswordHash::expose`] gave.
    pub fn parse(text: String) -> Result<Self, HashError> {
        let text = SecretText::new(text);
        let phc = Phc::new(text.expose()).map_err(|_| HashError::Unreadable)?;
        let params = Params::try_from(&phc).map_err(|_| HashError::Unreadable)?;
        let is_ours = phc.algorithm.as_str() == "argon2id"
            && phc.version == Some(Version::V0x13.into())
            && params.m_cost() <= MAX_MEMORY_KIB
            && params.t_cost() <= MAX_PASSES
            && params.p_cost() <= MAX_LANES;
        let (Some(salt), Some(output), true) = (phc.salt, phc.hash, is_ours) else {
            return Err(HashError::Unreadable);
        };
        let (salt, output) = (salt.as_ref().to_vec(), output.as_bytes().to_vec());
        Ok(Self { text, work: Work { params, salt }, output })
    }

    /// The PHC string, to be stored.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    fn is_outdated(&self) -> bool {
        let Work { params, salt } = &self.work;
        params.m_cost() != MEMORY_KIB
            || params.t_cost() != PASSES
            || params.p_cost() != LANES
            || salt.len() != SALT_BYTES
            || self.output.len() != HASH_LENGTH
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(hidden)")
    }
}

impl Work {
    /// What a hash of today takes.
    fn of_nobody() -> Result<Self, HashError> {
        Ok(Self { params: params()?, salt: vec![0; SALT_BYTES] })
    }

    fn run(&self, password: &str) -> Result<Zeroizing<Vec<u8>>, HashError> {
        #[cfg(test)]
        tests::RUNS.with_borrow_mut(|runs| {
            runs.push((self.params.m_cost(), self.params.t_cost(), self.params.p_cost()));
        });
        let length = self.params.output_len().unwrap_or(HASH_LENGTH);
        let mut output = Zeroizing::new(vec![0; length]);
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        argon
            .hash_password_into(password.as_bytes(), &self.salt, &mut output)
            .map_err(|_| HashError::Hashing)?;
        Ok(output)
    }
}

fn params() -> Result<Params, HashError> {
    Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_LENGTH)).map_err(|_| HashError::Hashing)
}

/// How many characters are left without the words of the place, the longest taken out first.
fn own_chars(folded: &str, context: &[&str]) -> usize {
    let lower: Vec<String> = context.iter().map(|text| text.nfkc().collect::<String>()).collect();
    let lower: Vec<String> = lower.iter().map(|text| text.to_lowercase()).collect();
    let split = |text: &'_ String| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect()
    };
    let mut words: Vec<String> = lower.iter().flat_map(split).chain(lower.clone()).collect();
    words.retain(|word| word.chars().count() >= MIN_WORD_CHARS);
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let mut rest = Zeroizing::new(folded.to_owned());
    for word in &words {
        // What stood around a word does not grow together to another one.
        rest = Zeroizing::new(rest.replace(word.as_str(), "\0"));
    }
    rest.chars().filter(|c| *c != '\0').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use types::SeededRandom;

    thread_local! {
        /// Memory, passes and lanes of every hash that was computed for a comparison.
        pub(super) static RUNS: RefCell<Vec<(u32, u32, u32)>> = const { RefCell::new(Vec::new()) };
    }

    const GOOD: &str = "seven herons wade upstream";

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    fn problems(text: &str) -> Vec<PasswordProblem> {
        let context = ["Weirgate", "gate.example.com", "Ada Lovelace", "ada.lovelace@corp.example"];
        password(text).accept(&context).err().map(|error| error.problems).unwrap_or_default()
    }

    fn hash(text: &str) -> PasswordHash {
        Accepted(password(text)).hash(&SeededRandom::new(5)).unwrap()
    }

    /// A hash with little work, as an earlier release might have made it.
    fn cheap(text: &str) -> PasswordHash {
        let params = Params::new(64, 1, 1, Some(32)).unwrap();
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = argon.hash_password_with_salt(text.as_bytes(), &[9; 16]).unwrap();
        PasswordHash::parse(hash.to_string()).unwrap()
    }

    fn is_right(text: &str, stored: &PasswordHash) -> bool {
        !matches!(password(text).verify(Some(stored)).unwrap(), Verdict::Wrong)
    }

    #[test]
    fn length_counts_and_composition_does_not() {
        for text in [
            GOOD,
            "lowercaseonlyherons",
            "HERONS WADE UPSTREAM",
            "482910573624",
            "!?-;:_$%&/()=",
            "äöü ßéè ñçå øæ",
            "河の鷺が七羽上流へ渡って行く",
            "🐟🐠🌊🦆🪨🌉🌲🍂🪵🦦🚣🪷",
            "   herons   wade   ",
        ] {
            assert_eq!(problems(text), [], "{text}");
        }
        assert_eq!(problems("hgtrpwnmvkq"), [PasswordProblem::TooShort { is: 11 }]);
        assert_eq!(problems("hgtrpwnmvkqx"), []);
        let words: String = (0..52).map(|i| format!("h{i:03}x")).collect();
        let full: String = words.chars().take(256).collect();
        assert_eq!(full.chars().count(), 256);
        assert_eq!(problems(&full), []);
        assert_eq!(problems(&format!("{full}x")), [PasswordProblem::TooLong { is: 257 }]);
        assert_eq!(problems(""), [PasswordProblem::TooShort { is: 0 }]);
    }

    #[test]
    fn characters_are_code_points_and_the_smaller_count_decides() {
        // Eleven of four bytes each are eleven; a ligature of 18 letters is one.
        let fish = "🐟🐠🌊🦆🪨🌉🌲🍂🪵🦦🚣";
        assert_eq!(problems(fish), [PasswordProblem::TooShort { is: 11 }]);
        assert_eq!(problems("\u{fdfa}"), [PasswordProblem::TooShort { is: 1 }]);
        // Six letters, each with an accent of its own.
        let accents = "h\u{301}e\u{301}r\u{301}o\u{301}n\u{301}s\u{301}";
        assert!(matches!(problems(accents)[..], [PasswordProblem::TooShort { is: 6..=11 }]));
    }

    #[test]
    fn what_cannot_be_typed_again_is_refused() {
        for c in ['\0', '\n', '\u{7f}', '\u{85}', '\u{e000}', '\u{378}', '\u{ffff}'] {
            assert_eq!(problems(&format!("{GOOD}{c}")), [PasswordProblem::Character], "{c:?}");
        }
    }

    #[test]
    fn common_passwords_are_refused_in_any_case_and_with_what_is_put_around_them() {
        for text in [
            "sonyericsson",
            "SonyEricsson",
            "1q2w3e4r5t6y",
            "finalfantasy",
            "motherfucker",
            "password123456",
            "PASSWORD!2026!!",
            "2026-Password-2026",
            "((dragon)) 123",
            "P@ssw0rd12345",
            "\u{ff50}assword12345",
            "letmein!!!!!!",
            "000000sunshine",
            "SonyEricssonSonyEricsson",
            "PASSWORD-2026-PASSWORD-2026-",
        ] {
            assert!(problems(text).contains(&PasswordProblem::Common), "{text}");
        }
        for text in ["dragon flies upstream", "password of the herons"] {
            assert_eq!(problems(text), [], "{text}");
        }
    }

    #[test]
    fn repetitions_and_patterns_are_refused() {
        for text in
            ["aaaaaaaaaaaa", "hgt7hgt7hgt7", "riverriverriver", "hgtrphgtrphg", "é1é1é1é1é1é1"]
        {
            assert!(problems(text).contains(&PasswordProblem::Repeated), "{text}");
        }
        for text in
            ["abcdefghijklm", "zyxwvutsrqpo", "qwertzuiop123", "abc123def456", "aaabbbcccddd"]
        {
            assert!(problems(text).contains(&PasswordProblem::Pattern), "{text}");
        }
        // A text that is long enough may stand there twice.
        assert_eq!(problems("seven herons seven herons "), []);
    }

    #[test]
    fn words_of_the_place_make_no_password() {
        for text in [
            "weirgate-2026!",
            "WeirgateWeirgat",
            "ada.lovelace@corp.example",
            "AdaLovelace1815",
            "gate.example.com",
            "lovelace-corp-1",
            "x1-weirgate-ada",
        ] {
            assert!(problems(text).contains(&PasswordProblem::Context), "{text}");
        }
        assert_eq!(problems("weirgate keeps herons dry"), []);
        // Nothing grows together over a hole.
        assert_eq!(own_chars("weirweirgategate!", &["weirgate"]), 9);
    }

    #[test]
    fn a_password_is_right_in_all_its_characters_and_in_every_normal_form() {
        let stored = hash(GOOD);
        assert!(is_right(GOOD, &stored));
        for wrong in [
            "",
            "seven herons wade upstrea",
            "Seven herons wade upstream",
            "seven herons wade upstream ",
        ] {
            assert!(!is_right(wrong, &stored), "{wrong:?}");
        }
        // NFC, NFD and full width are one password.
        let stored = cheap("h\u{e9}rons wade upstream");
        assert!(is_right("h\u{e9}rons wade upstream", &stored));
        assert!(is_right("he\u{301}rons wade upstream", &stored));
        assert!(is_right("h\u{e9}rons wade \u{ff55}pstream", &stored));
        assert!(!is_right("herons wade upstream", &stored));
        // Nothing is cut: the last of 256 characters counts.
        let long = "x".repeat(255);
        let stored = cheap(&format!("{long}a"));
        assert!(is_right(&format!("{long}a"), &stored));
        assert!(!is_right(&format!("{long}b"), &stored));
        assert!(!is_right(&format!("{long}aa"), &stored));
        // Nor does a zero byte end it.
        assert!(!is_right("ab\0cd", &cheap("ab\0ce")));
    }

    #[test]
    fn hashes_are_argon2id_with_the_stated_parameters_and_a_salt_each() {
        let random = SeededRandom::new(5);
        let accepted = password(GOOD).accept(&[]).unwrap();
        let (one, other) = (accepted.hash(&random).unwrap(), accepted.hash(&random).unwrap());
        assert!(one.expose().starts_with("$argon2id$v=19$m=65536,t=3,p=4$"), "{}", one.expose());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(one.work.params.m_cost() as usize * 1024, HASH_BYTES);
        let read = PasswordHash::parse(one.expose().to_owned()).unwrap();
        assert!(matches!(password(GOOD).verify(Some(&read)).unwrap(), Verdict::Right));
    }

    #[test]
    fn an_outdated_hash_is_told_only_to_who_knows_the_password() {
        let stored = cheap(GOOD);
        let Verdict::Outdated(accepted) = password(GOOD).verify(Some(&stored)).unwrap() else {
            panic!("the hash is outdated")
        };
        let anew = accepted.hash(&SeededRandom::new(6)).unwrap();
        assert!(matches!(password(GOOD).verify(Some(&anew)).unwrap(), Verdict::Right));
        assert!(matches!(password("no").verify(Some(&stored)).unwrap(), Verdict::Wrong));
    }

    /// CVE class 3: who does not exist is not told by the time that it takes.
    #[test]
    fn nobodys_password_costs_as_much_work_as_somebodys() {
        let stored = hash(GOOD);
        let work = |stored: Option<&PasswordHash>| {
            RUNS.take();
            let verdict = password("another long password").verify(stored).unwrap();
            assert!(matches!(verdict, Verdict::Wrong));
            RUNS.take()
        };
        assert_eq!(work(None), [(65_536, 3, 4)]);
        assert_eq!(work(None), work(Some(&stored)));
        assert_eq!(Work::of_nobody().unwrap().salt.len(), stored.work.salt.len());
        // Not even the password of which nobody's hash would be made is right.
        assert!(matches!(password("").verify(None).unwrap(), Verdict::Wrong));
    }

    #[test]
    fn other_hashes_are_refused_rather_than_computed() {
        let ours = hash(GOOD).expose().to_owned();
        for text in [
            String::new(),
            "password".to_owned(),
            ours.replace("argon2id", "argon2i"),
            ours.replace("argon2id", "scrypt"),
            ours.replace("v=19", "v=16"),
            ours.replace("v=19$", ""),
            ours.replace("m=65536", "m=4000000"),
            ours.replace("t=3", "t=4000000"),
            ours.replace("p=4", "p=17"),
            ours.rsplit_once('$').unwrap().0.to_owned(),
            format!("{ours}\n"),
        ] {
            let error = PasswordHash::parse(text.clone()).unwrap_err();
            assert!(matches!(error, HashError::Unreadable), "{text}");
        }
    }

    #[test]
    fn nothing_of_a_password_is_printed() {
        let typed = password("hunter2");
        let error = password("hunter2").accept(&["hunter"]).unwrap_err();
        let stored = cheap("hunter2");
        let accepted = Accepted(password("hunter2"));
        let printed = format!("{typed:?} {error:?} {error} {stored:?} {accepted:?}");
        let all: String = error.problems.iter().map(ToString::to_string).collect();
        assert!(!format!("{printed}{all}").contains("hunter"), "{printed}{all}");
        assert!(!printed.contains("argon2"));
    }
}
