//! Regular expressions: matching, and inventing a text that matches.
//!
//! Descriptions write ECMA-262 expressions; what Rust's engine does not read (look-ahead, back
//! references) is not enforced, but for a look-ahead that begins the expression, which is cut.

use super::draw::Key;
use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind};
use std::sync::OnceLock;

/// Memory for one compiled expression; larger ones are not enforced.
const MAX_COMPILED_BYTES: usize = 4 << 20;
/// Longest text that is invented for an expression.
const MAX_INVENTED_CHARS: usize = 512;
/// How often an expression that may repeat without end does so.
const REPEATS: u32 = 6;

#[derive(Debug)]
pub(crate) struct Pattern {
    text: Box<str>,
    compiled: OnceLock<Option<Regex>>,
    meant: OnceLock<Option<Regex>>,
    tree: OnceLock<Option<Hir>>,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            compiled: OnceLock::new(),
            meant: OnceLock::new(),
            tree: OnceLock::new(),
        }
    }

    /// Whether the expression occurs in the text; yes, if it cannot be read.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| {
            RegexBuilder::new(&readable(&self.text)).size_limit(MAX_COMPILED_BYTES).build().ok()
        });
        compiled.as_ref().is_none_or(|regex| regex.is_match(text))
    }

    /// Whether the text matches what stands between slashes: `/^[a-z]+$/i` is no expression of JSON
    /// Schema and matches nothing, but everybody knows what its writer meant.
    pub(crate) fn is_meant_by(&self, text: &str) -> bool {
        let meant = self.meant.get_or_init(|| {
            let (inner, flags) = self.text.strip_prefix('/')?.rsplit_once('/')?;
            RegexBuilder::new(&readable(inner))
                .case_insensitive(flags.contains('i'))
                .size_limit(MAX_COMPILED_BYTES)
                .build()
                .ok()
        });
        meant.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    /// A text that matches, at least `min` and at most `max` characters long if that can be.
    /// Without a key each class gives its first letter, so that nobody takes a secret for a real one.
    pub(crate) fn invent(&self, key: Option<Key>, min: usize, max: usize) -> Option<String> {
        let tree = self.tree.get_or_init(|| regex_syntax::parse(&readable(&self.text)).ok());
        let tree = tree.as_ref()?;
        // Few repetitions first; more where the text has to be longer.
        let exact = |count: usize| u32::try_from(count.min(MAX_INVENTED_CHARS)).unwrap_or(REPEATS);
        let tries = [REPEATS, exact(min), exact(max), 1, 0, 12, 24, 40, 64, 128];
        let fits = |text: &String| (min..=max).contains(&text.chars().count()) && self.is_in(text);
        tries.into_iter().find_map(|repeats| {
            let mut writer = Writer { out: String::new(), left: MAX_INVENTED_CHARS, repeats };
            writer.write(tree, key);
            Some(writer.out).filter(fits)
        })
    }
}

/// ECMA's `\d` and `\w` are ASCII, a negative look-ahead at the beginning is cut, and `\/` and its
/// like are plain letters.
fn readable(text: &str) -> String {
    let mut text = text;
    let start = if text.starts_with('^') { "^" } else { "" };
    if let Some(rest) = text.trim_start_matches('^').strip_prefix("(?!")
        && let Some(end) = closing(rest)
    {
        text = rest.get(end + 1..).unwrap_or_default();
        return format!("{start}{}", ascii(text));
    }
    ascii(text)
}

fn ascii(text: &str) -> String {
    text.replace("\\d", "[0-9]").replace("\\w", "[0-9A-Za-z_]").replace("\\/", "/")
}

/// Where the group that is open at the beginning closes.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    let mut is_escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '(' => open += 1,
            ')' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

struct Writer {
    out: String,
    left: usize,
    repeats: u32,
}

impl Writer {
    fn push(&mut self, letter: char) {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            self.out.push(letter);
        }
    }

    /// The tree's depth is bounded by the reader's nesting limit (250).
    fn write(&mut self, tree: &Hir, key: Option<Key>) {
        if self.left == 0 {
            return;
        }
        match tree.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => {
                let text = String::from_utf8_lossy(&literal.0).into_owned();
                text.chars().for_each(|letter| self.push(letter));
            }
            HirKind::Class(class) => {
                if let Some(letter) = letter_of(class, key) {
                    self.push(letter);
                }
            }
            HirKind::Repetition(repetition) => {
                let most = repetition.max.unwrap_or(u32::MAX);
                let count = repetition.min.max(self.repeats).min(most);
                for index in 0..count {
                    if self.left == 0 {
                        return;
                    }
                    self.write(&repetition.sub, key.map(|key| key.index(u64::from(index))));
                }
            }
            HirKind::Capture(capture) => self.write(&capture.sub, key.map(|key| key.at("group"))),
            HirKind::Concat(parts) => {
                for (index, part) in (0..).zip(parts) {
                    self.write(part, key.map(|key| key.at("part").index(index)));
                }
            }
            HirKind::Alternation(parts) => {
                let count = u64::try_from(parts.len()).unwrap_or(1);
                let chosen = key.map_or(0, |key| key.at("either").below(count));
                if let Some(part) = parts.get(usize::try_from(chosen).unwrap_or(0)) {
                    self.write(part, key.map(|key| key.at("part")));
                }
            }
        }
    }
}

/// A letter of a class: letters and digits before other signs, ASCII before the rest.
fn letter_of(class: &Class, key: Option<Key>) -> Option<char> {
    let choose = |letters: &[char]| match key {
        Some(key) => key.one_of(letters),
        None => letters.first().copied(),
    };
    let ranges: Vec<(u32, u32)> = match class {
        Class::Unicode(class) => {
            class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect()
        }
        Class::Bytes(class) => {
            class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect()
        }
    };
    let within = |from: char, to: char| -> Vec<char> {
        let (from, to) = (u32::from(from), u32::from(to));
        let inside = |range: &(u32, u32)| range.0.max(from)..=range.1.min(to);
        ranges.iter().flat_map(inside).filter_map(char::from_u32).collect()
    };
    let liked: [Vec<char>; 3] = [within('a', 'z'), within('0', '9'), within('A', 'Z')];
    let liked: Vec<char> = liked.concat();
    if !liked.is_empty() {
        return choose(&liked);
    }
    let plain = within('!', '~');
    if !plain.is_empty() {
        return choose(&plain);
    }
    ranges.iter().find_map(|range| char::from_u32(range.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_texts_match() {
        for (text, min, max) in [
            ("^[A-Z]{3}$", 0, 10),
            (r"^\d{4}-\d{2}$", 0, 10),
            ("^(foo|bar)-[a-z0-9]+$", 0, 50),
            (r"^(https:\/\/)?[\w-]+\.com$", 0, 80),
            ("^psc_[a-zA-Z0-9]+$", 20, 30),
            ("^(?!https://)[a-z.]{1,256}.(html?|pdf)$", 1, 100),
            ("[^@]", 1, 5),
            ("^.*$", 5, 5),
            (r"^\+[1-9]\d{1,14}$", 0, 16),
        ] {
            let pattern = Pattern::new(text);
            for index in 0..50 {
                let made = pattern.invent(Some(Key::new(3).index(index)), min, max);
                let made = made.unwrap_or_else(|| panic!("{text}"));
                assert!(pattern.is_in(&made), "{text}: {made}");
                assert!((min..=max).contains(&made.chars().count()), "{text}: {made}");
            }
        }
    }

    #[test]
    fn unreadable_and_greedy_expressions_do_no_harm() {
        let pattern = Pattern::new("(a)\\1(?<=b)");
        assert!(pattern.is_in("anything"));
        assert_eq!(pattern.invent(Some(Key::new(1)), 0, 10), None);
        let greedy = Pattern::new("((((a{99}){99}){99}){99}){99}");
        assert!(greedy.is_in("x"), "too large to be enforced");
        let _ = greedy.invent(Some(Key::new(1)), 0, 10);
    }
}
