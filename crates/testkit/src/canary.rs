//! Searches files and texts for planted secrets, also where they were encoded on the way.

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// Shortest secret that is searched for, in bytes: shorter ones are found by accident.
pub const MIN_BYTES: usize = 8;

/// In which form a secret was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As it is, in any mix of upper and lower ASCII letters.
    Plain,
    /// Inside base64 (standard or URL-safe alphabet), at any of the three alignments.
    Base64,
    /// As hexadecimal digits of either case.
    Hex,
    /// Percent-encoded in any part, `+` for a space included.
    UrlEncoded,
    /// With JSON escapes in any part.
    JsonEscaped,
}

/// One secret in one place.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// The secret's number in the list that was given.
    pub needle: usize,
    pub form: Form,
    /// The file, or the name of the text.
    pub place: String,
    /// Where it begins in the file or text; for URL-encoded and JSON-escaped forms in its decoded
    /// form.
    pub offset: usize,
}

// Never the secret itself: a failed test is printed into logs.
impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needle, form, place, offset } = self;
        write!(f, "secret {needle} as {form:?} in {place} at {offset}")
    }
}

/// Searches all files under `dir` (file names included) and the named texts; tells the first
/// place of each secret and form in each file and text. A `dir` that does not exist holds nothing.
/// Symbolic links are not followed. Compressed files are searched as they are.
///
/// # Errors
/// Where a file cannot be read (one that vanishes meanwhile is skipped), or a secret is shorter
/// than [`MIN_BYTES`].
pub fn find_canary(
    dir: &Path,
    texts: &[(&str, &[u8])],
    needles: &[&str],
) -> io::Result<Vec<Found>> {
    if needles.iter().any(|needle| needle.len() < MIN_BYTES) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a secret that is too short"));
    }
    let patterns: Vec<Patterns> = needles.iter().map(|needle| Patterns::of(needle)).collect();
    let mut found = Vec::new();
    for file in files(dir)? {
        let place = file.display().to_string();
        search(&format!("name of {place}"), place.as_bytes(), &patterns, &mut found);
        match fs::read(&file) {
            Ok(bytes) => search(&place, &bytes, &patterns, &mut found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    for (name, text) in texts {
        search(name, text, &patterns, &mut found);
    }
    Ok(found)
}

/// What one secret looks like. Plain and hexadecimal forms in lower case.
struct Patterns {
    plain: Vec<u8>,
    hex: Vec<u8>,
    base64: Vec<Vec<u8>>,
}

impl Patterns {
    fn of(needle: &str) -> Self {
        let mut base64 = Vec::new();
        for skipped in 0..3 {
            base64.push(aligned(&STANDARD_NO_PAD, needle, skipped));
            base64.push(aligned(&URL_SAFE_NO_PAD, needle, skipped));
        }
        base64.sort();
        base64.dedup();
        Self {
            plain: needle.to_ascii_lowercase().into_bytes(),
            hex: needle.bytes().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect(),
            base64,
        }
    }
}

/// The letters that the secret alone decides where it begins `skipped` bytes after a group of
/// three.
fn aligned(engine: &impl base64::Engine, needle: &str, skipped: usize) -> Vec<u8> {
    let mut bytes = vec![0; skipped];
    bytes.extend_from_slice(needle.as_bytes());
    let text = engine.encode(&bytes);
    // Six bits a letter: those that the skipped bytes or the bytes behind the secret touch are cut.
    let first = (skipped * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    text.as_bytes().get(first..end).unwrap_or_default().to_vec()
}

fn search(place: &str, text: &[u8], patterns: &[Patterns], found: &mut Vec<Found>) {
    let lower = text.to_ascii_lowercase();
    let url_decoded = url_decoded(&lower);
    let json_decoded = json_decoded(&lower);
    for (needle, pattern) in patterns.iter().enumerate() {
        let mut note = |form, offset: Option<usize>| {
            if let Some(offset) = offset {
                found.push(Found { needle, form, place: place.to_owned(), offset });
            }
        };
        let plain = position(&lower, &pattern.plain);
        note(Form::Plain, plain);
        note(Form::Hex, position(&lower, &pattern.hex));
        let base64 = pattern.base64.iter().find_map(|letters| position(text, letters));
        note(Form::Base64, base64);
        // Decoding changes nothing in a plain one, which has been told already.
        if plain.is_none() {
            note(Form::UrlEncoded, position(&url_decoded, &pattern.plain));
            note(Form::JsonEscaped, position(&json_decoded, &pattern.plain));
        }
    }
}

fn position(text: &[u8], pattern: &[u8]) -> Option<usize> {
    let first = *pattern.first()?;
    let mut from = 0;
    loop {
        let rest = text.get(from..)?;
        let start = from + rest.iter().position(|byte| *byte == first)?;
        if text.get(start..)?.starts_with(pattern) {
            return Some(start);
        }
        from = start + 1;
    }
}

/// Percent-decoding (RFC 3986 §2.1) and `+` for a space, wherever it fits; in lower case.
fn url_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        let value = (*byte == b'%').then(|| hex_number(behind.get(..2))).flatten();
        if let Some(value) = value.and_then(|value| u8::try_from(value).ok()) {
            decoded.push(value.to_ascii_lowercase());
            rest = behind.get(2..).unwrap_or_default();
        } else {
            decoded.push(if *byte == b'+' { b' ' } else { *byte });
            rest = behind;
        }
    }
    decoded
}

/// JSON escapes (RFC 8259 §7) replaced wherever they stand, of texts in lower case.
fn json_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != b'\\' {
            decoded.push(*byte);
            continue;
        }
        let Some((escape, behind)) = rest.split_first() else { break };
        rest = behind;
        match escape {
            b'n' => decoded.push(b'\n'),
            b't' => decoded.push(b'\t'),
            b'r' => decoded.push(b'\r'),
            b'b' => decoded.push(8),
            b'f' => decoded.push(12),
            b'u' => {
                if let Some((character, length)) = unicode_escape(rest) {
                    let mut buffer = [0; 4];
                    let character = character.to_ascii_lowercase();
                    decoded.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
                    rest = rest.get(length..).unwrap_or_default();
                }
            }
            other => decoded.push(*other),
        }
    }
    decoded
}

/// The character whose digits (behind `\u`) begin here, and how many bytes it takes; two escapes
/// for a surrogate pair.
fn unicode_escape(digits: &[u8]) -> Option<(char, usize)> {
    let first = hex_number(digits.get(..4))?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 4));
    }
    let second = hex_number(digits.get(4..)?.strip_prefix(b"\\u")?.get(..4))?;
    let pair = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
    let character = char::decode_utf16(pair).next()?.ok()?;
    Some((character, 10))
}

fn hex_number(digits: Option<&[u8]>) -> Option<u32> {
    let text = std::str::from_utf8(digits?).ok()?;
    // from_str_radix takes a sign.
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

/// All files under a folder, sorted.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, URL_SAFE},
    };

    const NEEDLE: &str = "wéir/secret \"7?>~\" end";

    fn joined(parts: impl Iterator<Item = String>) -> String {
        parts.collect::<Vec<_>>().concat()
    }

    fn forms(text: &[u8]) -> Vec<Form> {
        let dir = tempfile::tempdir().unwrap();
        let found = find_canary(dir.path(), &[("text", text)], &["not here 123", NEEDLE]).unwrap();
        assert!(found.iter().all(|found| found.needle == 1 && found.place == "text"));
        found.into_iter().map(|found| found.form).collect()
    }

    #[test]
    fn plain_text_is_found_whatever_its_case() {
        assert_eq!(forms(format!("x{NEEDLE}y").as_bytes()), [Form::Plain]);
        assert_eq!(forms(NEEDLE.to_ascii_uppercase().as_bytes()), [Form::Plain]);
        // A false start directly before.
        assert_eq!(forms(format!("wéwwéir/{NEEDLE}").as_bytes()), [Form::Plain]);
        assert_eq!(forms(b"w\xC3\xA9ir/secret \"7?>~\" en"), []);
        assert_eq!(forms(b""), []);
    }

    #[test]
    fn base64_is_found_at_every_alignment_and_in_both_alphabets() {
        for before in 0..7 {
            for behind in 0..4 {
                let text = format!("{}{NEEDLE}{}", "k".repeat(before), "z".repeat(behind));
                assert_eq!(forms(STANDARD.encode(&text).as_bytes()), [Form::Base64], "{before}");
                assert_eq!(forms(URL_SAFE.encode(&text).as_bytes()), [Form::Base64], "{before}");
            }
        }
    }

    #[test]
    fn hexadecimal_digits_of_either_case_are_found() {
        let hex = joined(NEEDLE.bytes().map(|byte| format!("{byte:02x}")));
        assert_eq!(forms(format!("0{hex}").as_bytes()), [Form::Hex]);
        assert_eq!(forms(hex.to_uppercase().as_bytes()), [Form::Hex]);
    }

    #[test]
    fn url_encoding_is_found_in_any_mix() {
        let all = joined(NEEDLE.bytes().map(|byte| format!("%{byte:02X}")));
        assert_eq!(forms(all.as_bytes()), [Form::UrlEncoded]);
        assert_eq!(forms(all.to_lowercase().as_bytes()), [Form::UrlEncoded]);
        assert_eq!(forms(b"?q=w%C3%A9ir/secret+%227?%3E~%22%20end&"), [Form::UrlEncoded]);
        assert_eq!(forms(b"%%zz%"), []);
    }

    #[test]
    fn json_escapes_are_found_in_any_mix() {
        let text = serde_json::to_string(NEEDLE).unwrap();
        assert_eq!(forms(text.as_bytes()), [Form::JsonEscaped]);
        let all = joined(NEEDLE.chars().map(|c| format!("\\u{:04X}", u32::from(c))));
        assert_eq!(forms(all.as_bytes()), [Form::JsonEscaped]);
        assert_eq!(forms(br#""w\u00e9ir\/secret \"7?>~\" \u0065nd""#), [Form::JsonEscaped]);
        assert_eq!(forms(br"\u00\ud83d\"), []);
        assert_eq!(json_decoded(br"a\ud83d\ude00b"), "a\u{1F600}b".as_bytes());
    }

    #[test]
    fn all_files_and_their_names_are_searched() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("log"), "xxplanted-secret").unwrap();
        fs::write(dir.path().join("planted-secret.txt"), "nothing").unwrap();
        let found = find_canary(dir.path(), &[], &["planted-secret"]).unwrap();
        let places: Vec<&str> = found.iter().map(|found| found.place.as_str()).collect();
        let prefix = dir.path().display();
        assert_eq!(
            places,
            [format!("{prefix}/a/b/log"), format!("name of {prefix}/planted-secret.txt")]
        );
        assert_eq!(found[0].offset, 2);
        assert!(!format!("{found:?}").replace("planted-secret.txt", "").contains("planted"));
        assert!(
            find_canary(&dir.path().join("none"), &[], &["planted-secret"]).unwrap().is_empty()
        );
    }

    #[test]
    fn a_secret_that_would_be_found_by_accident_is_refused() {
        assert!(find_canary(Path::new("."), &[], &["short"]).is_err());
    }
}
