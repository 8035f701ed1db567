//! Texts with the escapes of JSON, HTML and URLs undone, whatever stands in what and however often: a
//! text that was escaped for a page and then for JSON, or twice for either.

use memchr::{memchr3, memrchr};

/// A backslash that an escape stood for, in a byte that no UTF-8 has. It is kept apart from those that
/// only escape: `\u005c\u0075` is the beginning of an escape, `\\u0075` a letter.
const MEANT: u8 = 0xFF;
/// The longest that an escape may be: `&#x0000041;`, with room to spare.
const LONGEST: usize = 12;

/// A text with its `\uXXXX`, its character references (HTML §13.5) and its `%XX` decoded and all other
/// backslashes left out. It does not depend on where in a run of backslashes the text was cut.
///
/// What an escape yields may complete another one, so that the innermost text is reached in one pass:
/// each byte is written once, and each step back makes the output shorter.
pub(crate) fn undone(text: &[u8]) -> Vec<u8> {
    let mut out = Undone { out: Vec::with_capacity(text.len()), until: 0 };
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        if out.out.len() < out.until {
            out.push(*byte);
            rest = after;
            continue;
        }
        let at = memchr3(b'\\', b'&', b'%', rest).unwrap_or(rest.len());
        let (plain, escape) = rest.split_at_checked(at).unwrap_or((rest, b""));
        out.out.extend_from_slice(plain);
        rest = escape;
        out.until = out.out.len() + 1;
    }
    out.end();
    let mut out = out.out;
    out.retain(|byte| !matches!(*byte, b'\\' | MEANT));
    out
}

struct Undone {
    out: Vec<u8>,
    /// Up to this length the output may hold an escape that is not complete.
    until: usize,
}

impl Undone {
    fn push(&mut self, byte: u8) {
        // A run of backslashes stands for one, however often it was escaped.
        if byte == b'\\' && self.out.last() == Some(&b'\\') {
            return;
        }
        self.out.push(byte);
        if matches!(byte, b'\\' | b'&' | b'%') {
            self.until = self.out.len() + LONGEST;
        }
        while self.step_back() {}
    }

    /// Puts what it stands for in the place of an escape that ends here.
    fn step_back(&mut self) -> bool {
        if let Some(byte) = self.percent() {
            self.out.truncate(self.out.len() - 3);
            self.out.push(if byte == b'\\' { MEANT } else { byte });
            self.until = self.out.len() + LONGEST;
            return true;
        }
        if let Some((at, code, next)) = self.unended() {
            self.out.truncate(at);
            self.put(code);
            while self.step_back() {}
            self.push(next);
            return true;
        }
        let found = match self.out.last() {
            Some(b';') => self.reference(),
            Some(digit) if digit.is_ascii_hexdigit() => self.unit(),
            _ => None,
        };
        let Some((at, code)) = found else { return false };
        self.out.truncate(at);
        self.put(code);
        true
    }

    /// What is complete because nothing follows.
    fn end(&mut self) {
        self.push(b' ');
        self.out.pop();
    }

    fn put(&mut self, code: u32) {
        match self.joined(code) {
            Char::Is('\\') if self.out.last() == Some(&MEANT) => {}
            Char::Is('\\') => self.out.push(MEANT),
            Char::Is(c) => self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Char::Half(bytes) => self.out.extend_from_slice(&bytes),
        }
        self.until = self.out.len() + LONGEST;
    }

    /// `&#65` or `&#x41` before the byte at the end, which is none of its digits and no semicolon:
    /// where it begins, and that byte. Browsers read such a reference too.
    fn unended(&self) -> Option<(usize, u32, u8)> {
        let (next, before) = self.out.split_last()?;
        let begin = before.len().saturating_sub(LONGEST);
        let end = before.get(begin..)?;
        let ampersand = memrchr(b'&', end)?;
        let (digits, radix) = match end.get(ampersand + 1..)? {
            [b'#', b'x' | b'X', digits @ ..] => (digits, 16),
            [b'#', digits @ ..] => (digits, 10),
            _ => return None,
        };
        // An escape that begins here may be one more digit.
        let may_go_on = matches!(*next, b';' | b'\\' | b'&' | b'%' | MEANT);
        if may_go_on || char::from(*next).is_digit(radix) {
            return None;
        }
        let code = number(digits, radix)?;
        char::from_u32(code).map(|_| (begin + ampersand, code, *next))
    }

    /// The byte that `%XX` at the end stands for; none that has a meaning here.
    fn percent(&self) -> Option<u8> {
        let [b'%', digits @ ..] = self.out.last_chunk::<3>()? else { return None };
        u8::try_from(number(digits, 16)?).ok().filter(|byte| *byte != MEANT)
    }

    /// `\uXXXX` at the end, and where it begins.
    fn unit(&self) -> Option<(usize, u32)> {
        let at = self.out.len().checked_sub(6)?;
        let [b'\\' | MEANT, b'u', digits @ ..] = self.out.get(at..)? else { return None };
        Some((at, number(digits, 16)?))
    }

    /// `&name;`, `&#65;` or `&#x41;` at the end, and where it begins.
    fn reference(&self) -> Option<(usize, u32)> {
        let begin = self.out.len().saturating_sub(LONGEST);
        let end = self.out.get(begin..)?;
        let ampersand = memrchr(b'&', end)?;
        let name = end.get(ampersand + 1..end.len() - 1)?;
        let code = match name {
            [b'#', b'x' | b'X', digits @ ..] => number(digits, 16)?,
            [b'#', digits @ ..] => number(digits, 10)?,
            name => u32::from(named(name)?),
        };
        // Halves of pairs are no references.
        char::from_u32(code).map(|_| (begin + ampersand, code))
    }

    /// A character by its code. The first half of a pair waits, in three bytes that no UTF-8 has, for
    /// the second.
    fn joined(&mut self, code: u32) -> Char {
        if let Some(c) = char::from_u32(code) {
            return Char::Is(c);
        }
        let low = code.checked_sub(0xDC00);
        if let (Some(low), Some([0xED, second @ 0xA0..=0xAF, third])) = (low, self.out.last_chunk())
        {
            let high = (u32::from(*second) & 0x0F) << 6 | u32::from(*third) & 0x3F;
            self.out.truncate(self.out.len() - 3);
            let c = char::from_u32(0x1_0000 + (high << 10 | low));
            return Char::Is(c.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let [_, _, high, low] = (code & 0xFFFF).to_be_bytes();
        Char::Half([0xE0 | high >> 4, 0x80 | (high & 0x0F) << 2 | low >> 6, 0x80 | low & 0x3F])
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Char {
    Is(char),
    Half([u8; 3]),
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    digits.iter().try_fold(0_u32, |number, digit| {
        number.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?)
    })
}

/// The named references (HTML §13.5) of ASCII and Latin-1: what is ordinary in a credential needs none,
/// and libraries that name more name these.
fn named(name: &[u8]) -> Option<char> {
    let c = match name {
        b"excl" => '!',
        b"quot" | b"QUOT" => '"',
        b"num" => '#',
        b"dollar" => '$',
        b"percnt" => '%',
        b"amp" | b"AMP" => '&',
        b"apos" => '\'',
        b"lpar" => '(',
        b"rpar" => ')',
        b"ast" | b"midast" => '*',
        b"plus" => '+',
        b"comma" => ',',
        b"period" => '.',
        b"sol" => '/',
        b"colon" => ':',
        b"semi" => ';',
        b"lt" | b"LT" => '<',
        b"equals" => '=',
        b"gt" | b"GT" => '>',
        b"quest" => '?',
        b"commat" => '@',
        b"lsqb" | b"lbrack" => '[',
        b"bsol" => '\\',
        b"rsqb" | b"rbrack" => ']',
        b"Hat" => '^',
        b"lowbar" | b"UnderBar" => '_',
        b"grave" => '`',
        b"lcub" | b"lbrace" => '{',
        b"vert" | b"verbar" => '|',
        b"rcub" | b"rbrace" => '}',
        _ => {
            let at = LATIN_1.iter().position(|one| one.as_bytes() == name)?;
            char::from_u32(0xA0 + u32::try_from(at).ok()?)?
        }
    };
    Some(c)
}

/// From U+00A0 to U+00FF.
#[rustfmt::skip]
const LATIN_1: [&str; 96] = [
    "nbsp", "iexcl", "cent", "pound", "curren", "yen", "brvbar", "sect", "uml", "copy", "ordf", "laquo",
    "not", "shy", "reg", "macr", "deg", "plusmn", "sup2", "sup3", "acute", "micro", "para", "middot",
    "cedil", "sup1", "ordm", "raquo", "frac14", "frac12", "frac34", "iquest", "Agrave", "Aacute", "Acirc",
    "Atilde", "Auml", "Aring", "AElig", "Ccedil", "Egrave", "Eacute", "Ecirc", "Euml", "Igrave", "Iacute",
    "Icirc", "Iuml", "ETH", "Ntilde", "Ograve", "Oacute", "Ocirc", "Otilde", "Ouml", "times", "Oslash",
    "Ugrave", "Uacute", "Ucirc", "Uuml", "Yacute", "THORN", "szlig", "agrave", "aacute", "acirc", "atilde",
    "auml", "aring", "aelig", "ccedil", "egrave", "eacute", "ecirc", "euml", "igrave", "iacute", "icirc",
    "iuml", "eth", "ntilde", "ograve", "oacute", "ocirc", "otilde", "ouml", "divide", "oslash", "ugrave",
    "uacute", "ucirc", "uuml", "yacute", "thorn", "yuml",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_wherever_a_text_was_cut() {
        for (text, plain) in [
            (r#"a\u0062c\/d\"e\\f"#, r#"abc/d"ef"#),
            (r"\ud83d\ude00\uD83D\uDE00\\ud83d\\ude00", "😀😀😀"),
            (r"\\\u0041\u005c\u00", "Au00"),
            (r"\u12", "u12"),
            (
                "a&b&&c;&;&#;&#x;&nope;&#xD800;&#x110000;",
                "a&b&&c;&;&#;&#x;&nope;&#xD800;&#x110000;",
            ),
            ("&#65;&#x42;&#X0043;&#00068;&amp;&lt;&eacute;&yuml;&nbsp;&sol;", "ABCD&<éÿ\u{A0}/"),
        ] {
            assert_eq!(String::from_utf8_lossy(&undone(text.as_bytes())), plain, "{text}");
        }
        for (text, plain) in [
            ("a&#45b", "a-b"),
            ("&#45&#45", "--"),
            ("&#x2Dg&#X2d", "-g-"),
            ("&#38#45;x", "-x"),
            ("&#x26#x2D;", "-"),
            ("&#4\\u0035c", "-c"),
            ("&#45\\u0063", "-c"),
            ("&#4x5", "\u{4}x5"),
            ("&#;&#x;&#g&#", "&#;&#x;&#g&#"),
        ] {
            assert_eq!(String::from_utf8_lossy(&undone(text.as_bytes())), plain, "{text}");
        }
        // Halves that stand alone are no character, and join nothing.
        let halves = undone(br"\ud83dx\ude00\ud83d\ud83d\ude00");
        assert_eq!(halves, b"\xED\xA0\xBDx\xED\xB8\x80\xED\xA0\xBD\xF0\x9F\x98\x80");
    }

    #[test]
    fn escapes_within_escapes_are_undone() {
        for text in [
            r"\u005cu0041",
            r"\u005c\u0075\u0030\u0030\u0034\u0031",
            r"\\u005c\\u0075\\u0030\\u0030\\u0034\\u0031",
            r"\u005c\u005cu0041",
            r"\u005cu005c\u0075\u0030\u0030\u0034\u0031",
            r"\\u005c\\u005cu0041",
            "&amp;#x41;",
            "&amp;amp;#65;",
            r"\u0026#x41;",
            r"\u0026amp;\u0023x4\u0031;",
            r"\u0026\u0023\u0078\u0034\u0031\u003b",
            "&#92;u0041",
            "&bsol;&bsol;u004&#49;",
            "&#x26;#65&semi;",
        ] {
            let around = format!("..{text}..");
            assert_eq!(String::from_utf8_lossy(&undone(around.as_bytes())), "..A..", "{text}");
        }
    }
}
