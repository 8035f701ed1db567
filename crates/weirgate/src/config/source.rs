//! Where values come from: flags, the environment, the file, else the defaults.

use super::{Origin, Problem, Setting, keys::KEYS};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    path::Path,
};

/// Variables that say where things lie; they are flags of their own.
const PLACES: [&str; 4] =
    ["WEIRGATE_DATA_DIR", "WEIRGATE_CONFIG", "WEIRGATE_ROOT_KEY_FILE", "WEIRGATE_PASSPHRASE_FILE"];
const PREFIX: &str = "WEIRGATE_";

/// What the environment says.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// What cannot be read keeps its default, which is nothing to complain of.
pub(super) fn gather(
    file: Option<&Path>,
    environment: &Environment,
    flags: &BTreeMap<&'static str, String>,
    problems: &mut Vec<Problem>,
) -> Vec<Setting> {
    let mut from_file = BTreeMap::new();
    if let Some(path) = file {
        read_file(path, &mut from_file, problems);
    }
    let mut from_environment = read_environment(environment, problems);
    KEYS.iter()
        .map(|key| {
            let from_environment = from_environment.remove(key.name);
            let from_file = from_file.remove(key.name);
            if let Some(value) = flags.get(key.name) {
                Setting { key, value: value.clone(), origin: Origin::Flag }
            } else if let Some(value) = from_environment {
                let origin = Origin::Environment { variable: variable(key.name) };
                Setting { key, value, origin }
            } else if let Some((value, line)) = from_file {
                let path = file.unwrap_or(Path::new("")).to_owned();
                Setting { key, value, origin: Origin::File { path, line } }
            } else {
                Setting { key, value: key.default.to_owned(), origin: Origin::Default }
            }
        })
        .collect()
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

/// The keys that the environment sets. A variable that looks like one and is none is a problem: its
/// value would be believed to be in force.
fn read_environment(
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'static str, String> {
    let mut values = BTreeMap::new();
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|name| is_meant(name, value)) else { continue };
        let place = format!("environment {name}");
        let Some(key) = KEYS.iter().find(|key| variable(key.name) == name) else {
            let known = KEYS.iter().map(|key| variable(key.name));
            let known: Vec<String> = known.chain(PLACES.map(ToOwned::to_owned)).collect();
            let remedy = match types::nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("Did you mean `{near}`? Else unset it."),
                None => "Unset it; docs/reference/configuration.md lists the keys.".to_owned(),
            };
            let what = "the variable sets no key".into();
            problems.push(Problem { place, line: None, is_about_a_key: true, what, remedy });
            continue;
        };
        match value.to_str() {
            Some(value) => {
                values.insert(key.name, value.to_owned());
            }
            None => problems.push(Problem {
                place,
                line: None,
                is_about_a_key: name != "WEIRGATE_DATABASE_URL",
                what: "the value is not UTF-8".into(),
                remedy: format!("Give a value of the form: {}.", key.unit),
            }),
        }
    }
    values
}

/// Whether a variable is meant for the configuration. Kubernetes gives every container variables
/// named after the services around it: `WEIRGATE_CONSOLE_SERVICE_HOST`, `..._PORT_8401_TCP` and
/// their like are not.
fn is_meant(name: &str, value: &OsStr) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let is_service = ["SERVICE_HOST", "SERVICE_PORT"].iter().any(|part| {
        rest.split_once(part).is_some_and(|(before, after)| {
            (before.is_empty() || before.ends_with('_'))
                && (after.is_empty() || after.starts_with('_'))
        })
    });
    let is_url = value.to_str().is_some_and(|value| value.contains("://"));
    let is_port = rest.rsplit('_').next() == Some("PORT") && is_url;
    let is_port_part = rest
        .split_once("PORT_")
        .is_some_and(|(_, after)| after.starts_with(|first: char| first.is_ascii_digit()));
    !is_service && !is_port && !is_port_part && !PLACES.contains(&name)
}

pub(super) fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        kind => format!("the file cannot be read ({kind})"),
    }
}

/// How to come to read a file that cannot be read.
fn remedy_of(error: &io::Error, path: &Path) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "Check the name, or leave --config out.",
        io::ErrorKind::PermissionDenied => "Let this user read it, and enter its folders.",
        io::ErrorKind::InvalidData => "Save it as UTF-8.",
        _ if path.is_dir() => "Name a file, not a folder.",
        _ => "Check that it is a file that this user may read.",
    }
}

const CORRECT_TOML: &str = "Correct the TOML.";

fn read_file(
    path: &Path,
    values: &mut BTreeMap<String, (String, usize)>,
    problems: &mut Vec<Problem>,
) {
    let place = |line: usize| format!("{}:{line}", path.display());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            // Only one that was named can be missing, and its name may be anything.
            let place = match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::InvalidFilename
                | io::ErrorKind::InvalidInput => "--config or WEIRGATE_CONFIG".to_owned(),
                _ => path.display().to_string(),
            };
            problems.push(Problem {
                place,
                line: Some(0),
                is_about_a_key: false,
                what: unreadable(&error),
                remedy: remedy_of(&error, path).into(),
            });
            return;
        }
    };
    let line_at = |offset: usize| 1 + text.bytes().take(offset).filter(|b| *b == b'\n').count();
    let (table, errors) = toml::de::DeTable::parse_recoverable(&text);
    let mut found = Vec::new();
    // What the parser makes of the rest of a broken line is no news.
    let mut broken = BTreeSet::new();
    for error in &errors {
        let line = error.span().map_or(1, |span| line_at(span.start));
        if broken.insert(line) {
            found.push((line, error.message().to_owned(), CORRECT_TOML.to_owned()));
        }
    }
    for (name, value) in table.get_ref() {
        let line = line_at(name.span().start);
        let name = name.get_ref().as_ref();
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            if !broken.contains(&line) {
                found.push((line, format!("`{name}` is no key"), nearest(name)));
            }
            continue;
        };
        match text_of(value.get_ref()) {
            Some(text) => {
                values.insert(name.to_owned(), (text, line));
            }
            None if broken.contains(&line) => {}
            None => {
                let what = format!("`{name}` has the wrong kind of value");
                found.push((line, what, format!("Give a value of the form: {}.", key.unit)));
            }
        }
    }
    problems.extend(found.into_iter().map(|(line, what, remedy)| Problem {
        place: place(line),
        line: Some(line),
        is_about_a_key: remedy != CORRECT_TOML,
        what,
        remedy,
    }));
}

fn text_of(value: &toml::de::DeValue<'_>) -> Option<String> {
    match value {
        toml::de::DeValue::String(text) => Some(text.to_string()),
        toml::de::DeValue::Boolean(value) => Some(value.to_string()),
        // Also as 0x100000; what does not fit is left to the check.
        toml::de::DeValue::Integer(value) => Some(
            i128::from_str_radix(value.as_str(), value.radix())
                .map_or_else(|_| value.to_string(), |value| value.to_string()),
        ),
        _ => None,
    }
}

fn nearest(name: &str) -> String {
    match types::nearest(name, KEYS.iter().map(|key| key.name)) {
        Some(key) => format!("Did you mean `{key}`?"),
        None => "docs/reference/configuration.md lists the keys.".into(),
    }
}
