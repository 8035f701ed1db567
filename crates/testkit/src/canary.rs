//! Searches files and texts for planted secrets, also where they were encoded on the way.

use aho_corasick::AhoCorasick;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use flate2::read::GzDecoder;
use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// Shortest secret that is searched for, in bytes: shorter ones are found by accident.
pub const MIN_BYTES: usize = 8;

/// Most bytes that are decompressed of one place where gzip begins, and how often over.
const MAX_GZIP_BYTES: u64 = 64 << 20;
const MAX_GZIP_DEPTH: usize = 2;

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
    /// Compressed by gzip, in any of the other forms.
    Gzip,
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
    /// form, for gzip where the compressed bytes begin.
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
/// Symbolic links are not followed.
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
    let patterns = Patterns::of(needles).map_err(io::Error::other)?;
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

/// What the secrets look like. Plain and hexadecimal forms in lower case.
struct Patterns {
    plain: AhoCorasick,
    hex: AhoCorasick,
    base64: AhoCorasick,
    /// Which secret each pattern of `base64` is of.
    base64_of: Vec<usize>,
}

impl Patterns {
    fn of(needles: &[&str]) -> Result<Self, aho_corasick::BuildError> {
        let plain = needles.iter().map(|needle| needle.to_ascii_lowercase());
        let digits = |needle: &&str| -> String {
            needle.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
        };
        let mut base64 = Vec::new();
        let mut base64_of = Vec::new();
        for (number, needle) in needles.iter().enumerate() {
            for skipped in 0..3 {
                for letters in [
                    aligned(&STANDARD_NO_PAD, needle, skipped),
                    aligned(&URL_SAFE_NO_PAD, needle, skipped),
                ] {
                    base64.push(letters);
                    base64_of.push(number);
                }
            }
        }
        Ok(Self {
            plain: AhoCorasick::new(plain)?,
            hex: AhoCorasick::new(needles.iter().map(digits))?,
            base64: AhoCorasick::new(base64)?,
            base64_of,
        })
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

fn search(place: &str, text: &[u8], patterns: &Patterns, found: &mut Vec<Found>) {
    for ((needle, form), offset) in forms(text, patterns, MAX_GZIP_DEPTH) {
        found.push(Found { needle, form, place: place.to_owned(), offset });
    }
}

/// The first offset of each secret in each form.
fn forms(text: &[u8], patterns: &Patterns, depth: usize) -> BTreeMap<(usize, Form), usize> {
    let lower = text.to_ascii_lowercase();
    let mut all = BTreeMap::new();
    let mut note = |form, automaton: &AhoCorasick, of: Option<&[usize]>, text: &[u8]| {
        for hit in automaton.find_overlapping_iter(text) {
            let index = hit.pattern().as_usize();
            let needle = of.map_or(Some(index), |of| of.get(index).copied());
            if let Some(needle) = needle {
                let offset = all.entry((needle, form)).or_insert(hit.start());
                *offset = hit.start().min(*offset);
            }
        }
    };
    note(Form::Plain, &patterns.plain, None, &lower);
    note(Form::Hex, &patterns.hex, None, &lower);
    note(Form::Base64, &patterns.base64, Some(&patterns.base64_of), text);
    note(Form::UrlEncoded, &patterns.plain, None, &url_decoded(&lower));
    note(Form::JsonEscaped, &patterns.plain, None, &json_decoded(&lower));
    // Decoding changes nothing in a plain one, which has been told already.
    let plain: Vec<usize> =
        all.keys().filter(|(_, form)| *form == Form::Plain).map(|k| k.0).collect();
    all.retain(|(needle, form), _| {
        !(matches!(form, Form::UrlEncoded | Form::JsonEscaped) && plain.contains(needle))
    });
    if depth > 0 {
        for offset in gzip_begins(text) {
            let inside = gunzipped(text.get(offset..).unwrap_or_default());
            for (needle, _) in forms(&inside, patterns, depth - 1).into_keys() {
                all.entry((needle, Form::Gzip)).or_insert(offset);
            }
        }
    }
    all
}

/// Where a gzip member may begin (RFC 1952 §2.3.1).
fn gzip_begins(text: &[u8]) -> impl Iterator<Item = usize> {
    text.windows(3).enumerate().filter(|(_, head)| *head == [0x1f, 0x8b, 8]).map(|(at, _)| at)
}

/// What comes out, up to the end or the first damage.
fn gunzipped(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut decoder = GzDecoder::new(bytes).take(MAX_GZIP_BYTES);
    // What came before an error is kept: it may be all of it, or mere chance.
    let _ = decoder.read_to_end(&mut text);
    text
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
    fn gzip_is_found_wherever_it_begins_and_however_it_ends() {
        use std::io::Write as _;
        let gzip = |text: &[u8]| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        // Enough of one kind that compressing leaves nothing as it was.
        let inner = format!("{}{}", STANDARD.encode(NEEDLE), "before and behind ".repeat(50));
        let once = gzip(inner.as_bytes());
        let placed = [b"\x1f\x8b\x08 xx".as_slice(), &once, b"behind"].concat();
        assert_eq!(forms(&placed), [Form::Gzip]);
        assert!(forms(&gzip(&placed)).contains(&Form::Gzip));
        let long = gzip(&[NEEDLE.as_bytes(), &b"0123456789".repeat(5_000)].concat());
        assert_eq!(forms(&long[..long.len() - 20]), [Form::Gzip]);
        assert_eq!(forms(&gzip(b"nothing")), []);
    }

    #[test]
    fn secrets_inside_each_other_are_all_found() {
        let dir = tempfile::tempdir().unwrap();
        let needles = ["secret-one", "my-secret-one-and", "one-and-more"];
        let text = b"my-secret-one-and-more".as_slice();
        let found = find_canary(dir.path(), &[("text", text)], &needles).unwrap();
        let numbers: Vec<usize> = found.iter().map(|found| found.needle).collect();
        assert_eq!(numbers, [0, 1, 2]);
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
