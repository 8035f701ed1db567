//! What verbs are given: names, spans, pairs and files, each refused with its remedy.
//!
//! What is refused is told by its flag or place, and not repeated: it may be a secret that was pasted
//! behind the wrong flag.

use super::is_missing;
use crate::output::{FAILED, Failure, NOT_FOUND, USAGE};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
    time::Duration,
};
use types::{Environment, Id, Slug};

/// Bytes that are read of any input file: descriptions are the largest.
const MAX_INPUT_BYTES: u64 = 64 * 1_024 * 1_024;

/// `place` is the flag, or the name that `--help` gives to the place.
pub(super) fn parse_slug(place: &str, text: &str) -> Result<Slug, Failure> {
    text.parse().map_err(|error: types::SlugError| {
        let what = format!("what {place} gives is {error}");
        Failure::new(USAGE, what, "Choose another name, like payroll-sync.")
    })
}

pub(super) fn parse_environment(text: &str) -> Result<Environment, Failure> {
    text.parse().map_err(|_| {
        Failure::new(USAGE, "what --environment gives is no environment", "Give live or test.")
    })
}

pub(super) fn parse_id<K: types::IdKind>(kind: &str, text: &str) -> Result<Id<K>, Failure> {
    text.parse().map_err(|error: types::ParseIdError| {
        let list = if kind == "key" { "client" } else { kind };
        let what = if text.trim_start().starts_with("wg_") {
            format!("what ID gives is a key itself, and no {kind}'s id: {error}")
        } else {
            format!("what ID gives is no {kind}'s id: {error}")
        };
        Failure::new(USAGE, what, format!("Copy it from `weirgate {list} list`."))
    })
}

/// A span like `90d`, `12h`, `30m`.
pub(super) fn parse_span(flag: &str, text: &str) -> Result<Duration, Failure> {
    /// A key that outlives this was forgotten.
    const MAX_DAYS: u64 = 3_650;
    let wrong = || {
        Failure::new(
            USAGE,
            format!("what {flag} gives is no span of time"),
            "Write it like 90d, 12h or 30m, up to 3650d.",
        )
    };
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => return Err(wrong()),
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let total = number.checked_mul(seconds).filter(|total| *total <= MAX_DAYS * 86_400);
    total.filter(|total| *total > 0).map(Duration::from_secs).ok_or_else(wrong)
}

/// A span, or none at all: `0`.
pub(super) fn parse_overlap(flag: &str, text: &str) -> Result<Duration, Failure> {
    if text == "0" { Ok(Duration::ZERO) } else { parse_span(flag, text) }
}

pub(super) fn pairs(flag: &str, given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut pairs = BTreeMap::new();
    for text in given {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Failure::new(
                USAGE,
                format!("{flag} is malformed"),
                format!("Write it like {flag} NAME=VALUE."),
            ));
        };
        if pairs.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::new(
                USAGE,
                format!("a name of {flag} is given twice"),
                "Give each name once.",
            ));
        }
    }
    Ok(pairs)
}

/// A file's bytes, or standard input's for `-`. What was given as a file's name is shown only where
/// it is one.
pub(super) fn read_input(place: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    if is_missing(path) && !is_stdin(path) {
        let what = format!("there is no file of the name that {place} gives");
        return Err(Failure::new(NOT_FOUND, what, "Check its name."));
    }
    read(path, &format!("{}", path.display()))
}

/// The same for a secret.
pub(crate) fn read_secret(place: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    if is_missing(path) && !is_stdin(path) {
        return Err(Failure::new(
            NOT_FOUND,
            format!("there is no file of the name that {place} gives"),
            "Give a file's name, or - and the secret on standard input, never the secret itself: \
             what stands on a command line is seen by others. The name is not repeated here.",
        ));
    }
    read(path, &format!("{}", path.display()))
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn read(path: &Path, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let (name, read) = if is_stdin(path) {
        ("standard input", io::stdin().lock().take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes))
    } else {
        let file = File::open(path);
        (name, file.and_then(|file| file.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes)))
    };
    match read {
        Ok(_) if bytes.len() as u64 <= MAX_INPUT_BYTES => Ok(bytes),
        Ok(_) => Err(Failure::new(
            USAGE,
            format!("{name} is larger than {MAX_INPUT_BYTES} bytes"),
            "Name the right file, or a smaller one.",
        )),
        Err(error) => Err(Failure::new(
            FAILED,
            format!("cannot read {name}: {error}"),
            "Name a file that this user may read.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit_and_a_bound() {
        assert_eq!(parse_span("--expires", "90d").unwrap(), Duration::from_hours(2160));
        assert_eq!(parse_span("--expires", "30m").unwrap(), Duration::from_mins(30));
        for bad in
            ["", "d", "90", "-1d", "1.5h", "0d", "4000d", "99999999999999999999d", "1w", "９d"]
        {
            assert!(parse_span("--expires", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pairs_need_a_name_and_come_once() {
        assert!(pairs("--var", &["a=b=c".to_owned()]).unwrap()["a"] == "b=c");
        for bad in
            [vec!["a".to_owned()], vec!["=b".to_owned()], vec!["a=1".to_owned(), "a=2".to_owned()]]
        {
            assert!(pairs("--var", &bad).is_err(), "{bad:?}");
        }
    }
}
