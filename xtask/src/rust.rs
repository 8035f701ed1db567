//! As much of Rust's grammar as it takes to tell code from comments, literals and tests.
//!
//! The views keep every byte's place: what does not belong to a view is blanked with spaces.

/// A source file in two views of the same length.
#[derive(Debug)]
pub(crate) struct Views {
    /// Without comments and without the content of string and character literals.
    pub(crate) code: String,
    /// Comments alone.
    pub(crate) comments: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Literal,
    Comment,
}

/// Splits a source into its views.
pub(crate) fn views(source: &str) -> Views {
    let bytes = source.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut comments = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let (kind, length) = token(bytes, at);
        for byte in bytes.iter().skip(at).take(length) {
            let blank = if *byte == b'\n' { b'\n' } else { b' ' };
            code.push(if kind == Kind::Code { *byte } else { blank });
            comments.push(if kind == Kind::Comment { *byte } else { blank });
        }
        at += length;
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Views { code: text(code), comments: text(comments) }
}

/// What begins at `at`, and how long it is (at least one byte).
fn token(bytes: &[u8], at: usize) -> (Kind, usize) {
    let rest = bytes.get(at..).unwrap_or_default();
    if rest.starts_with(b"//") {
        return (Kind::Comment, rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if rest.starts_with(b"\"") {
        return (Kind::Literal, quoted(rest, b'"'));
    }
    let before = at.checked_sub(1).and_then(|at| bytes.get(at));
    let is_in_word = before.is_some_and(|byte| is_word(*byte));
    if !is_in_word && let Some(length) = raw_string(rest) {
        return (Kind::Literal, length);
    }
    if rest.starts_with(b"'") {
        // A character ends with a quote; a lifetime does not.
        let is_character = match rest.get(1) {
            Some(b'\\') => true,
            Some(first) => rest.get(1 + character_length(*first)) == Some(&b'\''),
            None => false,
        };
        if is_character {
            return (Kind::Literal, quoted(rest, b'\''));
        }
    }
    (Kind::Code, 1)
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(next) = rest.get(at..) {
        if next.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if next.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else if next.is_empty() {
            break;
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of a literal with escapes, both quotes included.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        at += if *byte == b'\\' { 2 } else { 1 };
        if *byte == quote {
            break;
        }
    }
    at.min(rest.len())
}

/// `r"..."`, `r#"..."#`, also with `b` or `c` before the `r`.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let letters = rest.iter().take_while(|byte| matches!(byte, b'b' | b'c' | b'r')).count();
    if !matches!(rest.get(..letters)?, b"r" | b"br" | b"cr") {
        return None;
    }
    let hashes = rest.get(letters..)?.iter().take_while(|byte| **byte == b'#').count();
    if rest.get(letters + hashes) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(hashes + 1, b'#');
    let from = letters + hashes + 1;
    let body = rest.get(from..)?;
    let length = body.windows(end.len()).position(|window| window == end);
    Some(length.map_or(rest.len(), |length| from + length + end.len()))
}

const fn character_length(first: u8) -> usize {
    match first {
        0..=0x7F => 1,
        0x80..=0xDF => 2,
        0xE0..=0xEF => 3,
        _ => 4,
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Blanks every item under `#[cfg(test)]`, given code without comments and literals.
pub(crate) fn without_tests(code: &str) -> String {
    let mut kept = code.as_bytes().to_vec();
    let mut from = 0;
    while let Some(start) = code.get(from..).and_then(|rest| rest.find("#[cfg(test)]")) {
        let start = from + start;
        let end = start + item_length(code.get(start..).unwrap_or_default());
        for byte in kept.iter_mut().skip(start).take(end - start) {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        from = end;
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Up to the `;` or the closing brace that ends the item.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Offset and length of the block of each `fn` with this name, braces included.
pub(crate) fn bodies_of(code: &str, name: &str) -> Vec<(usize, usize)> {
    let head = format!("fn {name}(");
    let starts = code.match_indices(&head).map(|(start, _)| start);
    let bodies = starts.filter_map(|start| {
        let rest = code.get(start..)?;
        let brace = rest.find('{')?;
        // A declaration without a body ends before any brace.
        if rest.find(';').is_some_and(|end| end < brace) {
            return None;
        }
        let begin = start + brace;
        Some((begin, item_length(code.get(begin..)?)))
    });
    bodies.collect()
}

/// Offsets of a path such as `SystemTime::now` as whole words.
pub(crate) fn mentions<'a>(code: &'a str, path: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    let is_open =
        move |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_none_or(|byte| !is_word(*byte));
    code.match_indices(path)
        .map(|(start, _)| start)
        .filter(move |start| is_open(start.checked_sub(1)) && is_open(Some(start + path.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_told_from_code() {
        let source = r##"a /* b /* c */ "d */ e // f "g
"h // \" i" j 'k' '\'' l: &'m str r#"n "o" // "# br"p" rest 'é' q"##;
        let views = views(source);
        let code: Vec<&str> = views.code.split_whitespace().collect();
        assert_eq!(code, ["a", "e", "j", "l:", "&'m", "str", "rest", "q"]);
        assert_eq!(views.comments.split_whitespace().last(), Some("\"g"));
        assert_eq!(views.code.len(), source.len());
        assert_eq!(views.code.find('j'), source.find('j'));
        for cut in ["\"a", "/* a", "r#\"a", "'\\", "b\"\\"] {
            assert_eq!(super::views(cut).code.len(), cut.len());
        }
    }

    #[test]
    fn test_items_are_left_out() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { } }\nfn c() {}\n\
                    #[cfg(test)]\nuse d;\nfn e() {}";
        let kept = without_tests(code);
        let words: Vec<&str> = kept.split_whitespace().collect();
        assert_eq!(words, ["fn", "a()", "{}", "fn", "c()", "{}", "fn", "e()", "{}"]);
        assert_eq!(kept.len(), code.len());
    }

    #[test]
    fn bodies_are_found_and_declarations_are_not() {
        let code = "fn code(&self) -> T; fn code(&self) -> U { match x { a => 1 } } fn codes() {}";
        let bodies = bodies_of(code, "code");
        assert_eq!(bodies.len(), 1);
        let (start, length) = bodies[0];
        assert_eq!(&code[start..start + length], "{ match x { a => 1 } }");
    }

    #[test]
    fn only_whole_words_are_mentions() {
        assert_eq!(mentions("sqlx::a; sqlxx; xsqlx; (sqlx)", "sqlx").count(), 2);
    }
}
