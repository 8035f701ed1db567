//! Passwords that are guessed first: the common ones that ship with the crate (`data/README.md`),
//! and those that follow a pattern.

use flate2::read::GzDecoder;
use std::{io::Read as _, sync::OnceLock};

const PACKED: &[u8] = include_bytes!("../data/common-passwords.txt.gz");
/// A shorter core is no word, and the list has every short text.
const MIN_CORE_CHARS: usize = 4;
/// A shorter run is found in any text.
const MIN_RUN_CHARS: usize = 3;
/// Rows of keys that lie beside each other, on the three most frequent layouts.
const ROWS: &[&str] = &[
    "1234567890",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "qsdfghjklm",
    "zxcvbnm",
    "yxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "qazwsxedcrfvtgbyhnujmikolp",
];

/// Common passwords in lower case, sorted by bytes.
#[derive(Debug)]
struct List {
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl List {
    fn shipped() -> &'static Self {
        static LIST: OnceLock<List> = OnceLock::new();
        LIST.get_or_init(|| {
            let mut text = String::new();
            // The bytes are part of the program; a test reads all of them.
            let _ = GzDecoder::new(PACKED).read_to_string(&mut text);
            let ends = text.match_indices('\n').map(|(at, _)| at + 1);
            let starts = std::iter::once(0).chain(ends).filter(|at| *at < text.len()).collect();
            Self { text, starts }
        })
    }

    fn has(&self, word: &str) -> bool {
        let line = |start: usize| {
            let rest = self.text.get(start..).unwrap_or_default();
            rest.split_once('\n').map_or(rest, |(line, _)| line)
        };
        self.starts.binary_search_by(|start| line(*start).cmp(word)).is_ok()
    }
}

/// Whether a text in lower case is common, also with digits and signs before and behind it.
pub(crate) fn is_common(folded: &str) -> bool {
    let list = List::shipped();
    let core = folded.trim_matches(|c: char| !c.is_alphabetic());
    let is_word = core.chars().count() >= MIN_CORE_CHARS && list.has(core);
    is_word || list.has(folded)
}

/// Characters of the shortest text of which this one is repetitions, the last maybe cut; all of
/// them if there are not two.
pub(crate) fn period(folded: &str) -> usize {
    let letters: Vec<char> = folded.chars().collect();
    let repeats = |period: &usize| {
        letters.iter().zip(letters.iter().skip(*period)).all(|(one, other)| one == other)
    };
    (1..=letters.len() / 2).find(repeats).unwrap_or(letters.len())
}

/// Whether all of a text is runs: of one character, of neighbours in the alphabet or among digits,
/// or of neighbours on the keyboard, forwards or backwards.
pub(crate) fn is_runs(folded: &str) -> bool {
    let letters: Vec<char> = folded.chars().collect();
    let mut rest = letters.as_slice();
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let run = longest_run(rest);
        if run < MIN_RUN_CHARS {
            return false;
        }
        rest = rest.get(run..).unwrap_or_default();
    }
    true
}

fn longest_run(letters: &[char]) -> usize {
    let by_code = [-1, 0, 1].into_iter().map(|step| {
        let pairs = letters.iter().zip(letters.iter().skip(1));
        pairs.take_while(|(one, next)| **next as i64 - **one as i64 == step).count() + 1
    });
    let in_rows = ROWS.iter().flat_map(|row| {
        let forwards = shared(letters, row.chars());
        [forwards, shared(letters, row.chars().rev())]
    });
    by_code.chain(in_rows).max().unwrap_or(0)
}

/// How many of the first letters lie beside each other in a row.
fn shared(letters: &[char], row: impl Iterator<Item = char> + Clone) -> usize {
    let Some(first) = letters.first() else { return 0 };
    let from = row.skip_while(|key| key != first);
    letters.iter().zip(from).take_while(|(letter, key)| *letter == key).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_has_enough_of_those_that_would_be_long_enough() {
        let list = List::shipped();
        let lines: Vec<&str> = list.text.lines().collect();
        assert_eq!(lines.len(), list.starts.len());
        assert!(lines.is_sorted() && lines.windows(2).all(|two| two[0] != two[1]));
        assert!(lines.iter().all(|line| !line.is_empty() && *line == line.to_lowercase()));
        // ASVS 5.0, 6.2.4: at least 3,000 that meet the other rules.
        let long = lines.iter().filter(|line| line.chars().count() >= 12).count();
        assert!(lines.len() > 60_000 && long > 7_000, "{} {long}", lines.len());
        for line in &lines {
            assert!(list.has(line), "{line}");
        }
        assert!(!list.has("") && !list.has("correct horse battery staple"));
    }

    #[test]
    fn periods_are_found() {
        for (text, expected) in [
            ("", 0),
            ("a", 1),
            ("ab", 2),
            ("aa", 1),
            ("abab", 2),
            ("ababa", 2),
            ("abcab", 5),
            ("abcabc", 3),
            ("ééé", 1),
        ] {
            assert_eq!(period(text), expected, "{text}");
        }
    }

    #[test]
    fn runs_are_found() {
        for text in [
            "abcdefghijkl",
            "fedcba987654",
            "aaaabbbbcccc",
            "qwertyuiop123",
            "1qaz2wsx3edc",
            "lkjhgfdsa321",
            "asdfghqwerty",
        ] {
            assert!(is_runs(text), "{text}");
        }
        for text in ["", "abcdefghijk!", "river-7-stone", "qwertyriver", "acegikmoqsuw"] {
            assert!(!is_runs(text), "{text}");
        }
    }
}
