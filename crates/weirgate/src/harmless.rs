//! Text from outside, made harmless for a terminal.
//!
//! Descriptions, names and errors of others may hold characters that move the cursor, change colours
//! or titles, or turn the order of what is read. Everything that this program prints passes here.

use std::io::{self, Write};

/// Characters shown of a text whose length is not ours.
const MAX_CHARS: usize = 200;

/// Whether a terminal acts on it, shows nothing, or shows what follows in another order: control
/// characters, line separators, marks of direction (Unicode UAX #9), and invisible characters that
/// no script needs. The joiners U+200C and U+200D stay: scripts and emoji are written with them.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// One line for people: what is harmful is spelled out, like `\u{1b}`. A line break too, so that
/// nothing from outside can begin a line of its own.
pub(crate) fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            _ if is_harmful(c) => shown.extend(c.escape_unicode()),
            _ => shown.push(c),
        }
    }
    shown
}

/// JSON with what is harmful escaped: the same value, spelled otherwise. Within valid JSON such
/// characters stand in strings only, for what is left of the control characters is space.
pub(crate) fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if !c.is_ascii_whitespace() && is_harmful(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The beginning of a text whose length is not ours.
pub(crate) fn short(text: &str) -> String {
    let mut shown = line(&text.chars().take(MAX_CHARS).collect::<String>());
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Writes log lines: each write is one whole line, and stays one.
#[derive(Debug)]
pub(crate) struct Lines<W> {
    inner: W,
    escape: fn(&str) -> String,
}

impl<W: Write> Lines<W> {
    pub(crate) fn new(inner: W, is_json: bool) -> Self {
        Self { inner, escape: if is_json { json } else { line } }
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let shown = (self.escape)(text.strip_suffix('\n').unwrap_or(&text));
        // In one piece, so that lines of several threads do not mix.
        self.inner.write_all(format!("{shown}\n").as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str =
        "a\u{1b}[2J\u{9b}31m\u{7}b\r\n\u{202e}gpj\u{2066}\u{200b}\u{e0041}\u{7f}c\t";

    #[test]
    fn a_line_spells_out_what_a_terminal_would_act_on() {
        let shown = line(NASTY);
        assert!(!shown.chars().any(is_harmful), "{shown}");
        assert_eq!(
            shown,
            r"a\u{1b}[2J\u{9b}31m\u{7}b\r\n\u{202e}gpj\u{2066}\u{200b}\u{e0041}\u{7f}c\t"
        );
        let fine = "Müller \u{5d0}\u{5d1} 日本 👩\u{200d}💻 \\ \"";
        assert_eq!(line(fine), fine);
    }

    #[test]
    fn json_keeps_its_value() {
        for value in [serde_json::json!({"a": NASTY, NASTY: [1, "é"]}), serde_json::json!(null)] {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let shown = json(&text);
                assert!(!shown.replace('\n', "").chars().any(is_harmful), "{shown}");
                assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
            }
        }
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(short("abc"), "abc");
        assert_eq!(short(&"x".repeat(201)), format!("{}...", "x".repeat(200)));
    }

    #[test]
    fn a_log_line_stays_one_line() {
        for (is_json, wanted) in [(false, "a\\nb\\u{1b}\n"), (true, "a\nb\\u001b\n")] {
            let mut out = Vec::new();
            Lines::new(&mut out, is_json).write_all(b"a\nb\x1b\n").unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }
}
