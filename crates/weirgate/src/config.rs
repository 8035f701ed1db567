//! The configuration: `weirgate.toml`, each key overridable by `WEIRGATE_...`, then by a flag.
//!
//! Two stages: texts with their origin, then checked types. All problems are reported together, each
//! with its place and remedy.

use crate::{
    listener_tls,
    output::chain,
    outside::{Pace, Token},
    provider_tls::LISTS_REMEDY,
    telemetry::Endpoint,
};
use audit::WitnessKey;
use gateway::LimitSettings;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fmt,
    io::{self, Read as _},
    net::SocketAddr,
    num::NonZeroU64,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};
use store::ServerUrl;
use types::Rate;

/// A key of the configuration, as documented in `docs/reference/configuration.md`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub name: &'static str,
    /// As it would stand in the file; empty for none.
    pub default: &'static str,
    pub unit: &'static str,
    pub about: &'static str,
}

impl Key {
    /// The value of a text that was checked, with its type. An empty one is none.
    pub(crate) fn typed(&self, text: &str) -> Value {
        match self.unit {
            "count" | "bytes" | "milliseconds" => {
                text.parse::<u64>().map_or_else(|_| text.into(), Value::from)
            }
            "true or false" => text.parse::<bool>().map_or_else(|_| text.into(), Value::from),
            _ if text.is_empty() => Value::Null,
            _ => text.into(),
        }
    }
}

/// Every key there is.
pub(crate) const KEYS: &[Key] = &[
    key("gateway_addr", "127.0.0.1:8400", "address", "Where callers reach the data plane."),
    key(
        "console_addr",
        "127.0.0.1:8401",
        "address",
        "Where health, readiness and metrics are served.",
    ),
    key(
        "behind_proxy",
        "false",
        "true or false",
        "A TLS-terminating proxy stands in front: then, or with `tls_cert`, an address may be other than loopback.",
    ),
    key(
        "tls_cert",
        "",
        "path",
        "PEM file of the certificate that both ports show, followed by those that lead to its authority. With it both speak TLS 1.3 and nothing else. A change is followed within seconds.",
    ),
    key(
        "tls_key",
        "",
        "path",
        "PEM file of the certificate's private key, unencrypted, mode 0400 or 0600.",
    ),
    key(
        "public_url",
        "",
        "URL",
        "Scheme and authority by which callers reach the gateway, for rewritten URLs; needed where gateway_addr is other than loopback.",
    ),
    key(
        "database_url",
        "",
        "URL",
        "The database's server, like postgres://USER@HOST:PORT/DATABASE without a password; without it the database is a file in the data folder.",
    ),
    key(
        "database_password_file",
        "",
        "path",
        "File with the password of `database_url`, which only its owner may read.",
    ),
    key("cores", "0", "count", "Threads of the data plane; 0 means one per core."),
    key("max_write_bytes", "1048576", "bytes", "The largest request body."),
    key(
        "max_held_write_bytes",
        "0",
        "bytes",
        "Request bodies that wait at once, over all calls: one key's take at most as much as they leave free (429), all of them no more (503). 0 means 64 times `max_write_bytes`.",
    ),
    key("max_answer_bytes", "1073741824", "bytes", "The largest answer, as it comes and decoded."),
    key(
        "max_window_bytes",
        "268435456",
        "bytes",
        "The windows of decoders for compressed answers (br, zstd) at once, shared out to the cores; at least 32 MiB for each. One provider's take at most as much as they leave free.",
    ),
    key("max_calls", "10000", "count", "Calls under way at once; more get 503."),
    key(
        "max_calls_per_provider",
        "0",
        "count",
        "Calls under way to one provider; more get 429. 0 means half of `max_calls`.",
    ),
    key(
        "max_calls_per_connection",
        "0",
        "count",
        "Calls under way on one connection; more get 429. 0 means a quarter of `max_calls`.",
    ),
    key("limit_per_key", "", "rates", "Calls of one API key: windows such as `100/s, 3000/min`."),
    key("limit_per_connection", "", "rates", "Calls on one connection, by all its clients."),
    key("limit_per_provider", "", "rates", "Calls to one provider, over all its connections."),
    key(
        "max_snapshot_age_ms",
        "60000",
        "milliseconds",
        "How long the database may stay silent before calls are refused; at least 1000.",
    ),
    key(
        "audit_reserve_bytes",
        "16777216",
        "bytes",
        "Room on the audit log's disk, given back to record calls under way when it is full; calls are taken only while the server has it. 0 for none, else at least 65536.",
    ),
    key("connect_timeout_ms", "5000", "milliseconds", "Resolving and connecting to a provider."),
    key("tls_timeout_ms", "5000", "milliseconds", "The TLS handshake with a provider."),
    key(
        "first_byte_timeout_ms",
        "30000",
        "milliseconds",
        "From sending a request to the head of the provider's answer.",
    ),
    key(
        "between_bytes_timeout_ms",
        "15000",
        "milliseconds",
        "The longest silence within a provider's answer.",
    ),
    key("total_timeout_ms", "300000", "milliseconds", "A provider's whole answer."),
    key("body_timeout_ms", "30000", "milliseconds", "The arrival of a caller's request body."),
    key(
        "write_timeout_ms",
        "30000",
        "milliseconds",
        "How long a caller may read nothing of its answer.",
    ),
    key("drain_timeout_ms", "20000", "milliseconds", "Calls under way at shutdown."),
    key(
        "extra_roots_file",
        "",
        "path",
        "PEM file of certificate authorities trusted beside the public ones.",
    ),
    key(
        "crl_file",
        "",
        "path",
        "File of certificate revocation lists (RFC 5280), several in PEM or one in DER: a provider whose certificate is on one is refused, as is one whose issuer's list has expired. Followed without a restart.",
    ),
    key(
        "otlp_endpoint",
        "",
        "URL",
        "Where traces and metrics are sent by OTLP/HTTP: https, or http to a loopback address. Empty: nowhere.",
    ),
    key(
        "otlp_headers_file",
        "",
        "path",
        "Headers for the collector, one `Name: value` a line; others may not read the file.",
    ),
    key("otlp_interval_ms", "15000", "milliseconds", "Between two exports of metrics."),
    key(
        "checkpoint_file",
        "",
        "path",
        "File outside the data folder at whose end checkpoints of the audit log are put; best on a disk that others keep, where it can only grow.",
    ),
    key(
        "checkpoint_webhook",
        "",
        "URL",
        "Witness (C2SP tlog-witness) that is sent checkpoints, at `/add-checkpoint` below this: https, or http to a loopback address.",
    ),
    key(
        "checkpoint_webhook_token_file",
        "",
        "path",
        "File with a bearer token for `checkpoint_webhook`, which only its owner may read.",
    ),
    key(
        "checkpoint_webhook_key",
        "",
        "key",
        "Public key of that witness, NAME+ID+KEY: then only what it cosigns is taken. Without it every success counts.",
    ),
    key(
        "checkpoint_interval_ms",
        "60000",
        "milliseconds",
        "Between two checkpoints that are put outside, or cosigned by other nodes.",
    ),
    key(
        "checkpoint_max_age_ms",
        "900000",
        "milliseconds",
        "When a log line at `error` says that what is outside is too old.",
    ),
    key("log_level", "info", "error, warn, info, debug or trace", "How much is logged."),
    key("log_format", "json", "json or text", "The form of log lines on standard error."),
];

const fn key(
    name: &'static str,
    default: &'static str,
    unit: &'static str,
    about: &'static str,
) -> Key {
    Key { name, default, unit, about }
}

/// The reference page of all keys, in Markdown.
#[cfg(test)]
fn reference() -> String {
    let mut page = String::from(REFERENCE_HEAD);
    for Key { name, default, unit, about } in KEYS {
        let default = if default.is_empty() { "none".into() } else { format!("`{default}`") };
        page.push_str(&format!("| `{name}` | {default} | {unit} | {about} |\n"));
    }
    page
}

#[cfg(test)]
const REFERENCE_HEAD: &str = "# Configuration

<!-- Generated from crates/weirgate/src/config.rs; a test compares. -->

Each key stands in `weirgate.toml` in the data folder (or the file that `--config` names).
The environment variable `WEIRGATE_` and the key in upper case overrides the file; a flag overrides both.
`weirgate config show --origin` prints each value and where it came from.
All problems are reported together, each with its place and remedy; a `WEIRGATE_` variable that is no key is one of them.
(Those that Kubernetes makes for a service are not looked at, like `WEIRGATE_SERVICE_HOST` and `WEIRGATE_PORT_8400_TCP`.)

The data folder comes from `--data-dir`, else `WEIRGATE_DATA_DIR`, else it is `./weirgate-data`.
The root key's file comes from `--root-key-file`, else `WEIRGATE_ROOT_KEY_FILE`, else the place that `init` recorded.
Secrets never stand in the configuration: the password of `database_url` lies in a file that only its owner may read.

| key | default | unit | what it does |
| --- | --- | --- | --- |
";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Environment { variable: String },
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { variable } => write!(f, "environment {variable}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A value with its origin.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub key: &'static Key,
    pub value: String,
    pub origin: Origin,
}

/// One thing that is wrong, with its place and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub place: String,
    /// In the file; 0 for all of it.
    pub line: Option<usize>,
    /// Else about the file as a whole.
    is_about_a_key: bool,
    pub what: String,
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.place, self.what, self.remedy)
    }
}

/// All that is wrong, at once.
#[derive(Debug)]
pub(crate) struct Problems(pub Vec<Problem>);

/// The configuration, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// What file and environment set to another value than by default.
    pub set: Vec<(&'static str, String)>,
    pub gateway_addr: SocketAddr,
    pub console_addr: SocketAddr,
    /// The listeners' certificate, which could be loaded.
    pub tls: Option<TlsFiles>,
    pub public_url: Option<String>,
    pub cores: usize,
    pub max_write_bytes: usize,
    pub max_held_write_bytes: usize,
    pub max_answer_bytes: u64,
    /// Of one core.
    pub max_window_bytes: usize,
    pub max_calls: usize,
    pub limits: LimitSettings,
    pub database: Option<ServerUrl>,
    pub max_snapshot_age: Duration,
    pub audit_reserve: Option<NonZeroU64>,
    pub connect_timeout: Duration,
    pub tls_timeout: Duration,
    pub first_byte_timeout: Duration,
    pub between_bytes_timeout: Duration,
    pub total_timeout: Duration,
    pub body_timeout: Duration,
    pub write_timeout: Duration,
    pub drain_timeout: Duration,
    pub extra_roots_file: Option<PathBuf>,
    pub crl_file: Option<PathBuf>,
    pub otlp_endpoint: Option<Endpoint>,
    pub otlp_headers_file: Option<PathBuf>,
    pub otlp_interval: Duration,
    pub outside: OutsideConfig,
    pub log_level: String,
    pub is_log_json: bool,
}

/// Where checkpoints are kept.
#[derive(Debug, Clone)]
pub(crate) struct OutsideConfig {
    pub file: Option<PathBuf>,
    pub webhook: Option<Endpoint>,
    pub token: Option<Token>,
    pub witness: Option<WitnessKey>,
    pub pace: Pace,
}

/// Where the listeners' certificate and its key lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Config {
    /// How an address of ours is reached.
    pub(crate) fn url_of(&self, addr: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{addr}")
    }
}

/// Variables that say where things lie; they are flags of their own.
const PLACES: [&str; 3] = ["WEIRGATE_DATA_DIR", "WEIRGATE_CONFIG", "WEIRGATE_ROOT_KEY_FILE"];
const PREFIX: &str = "WEIRGATE_";

/// What the environment says.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// Gathers every value with its origin and checks it. `flags` win over `environment`, that over the
/// file. Everything that is wrong anywhere is reported together.
pub(crate) fn load(
    file: Option<&Path>,
    environment: &Environment,
    flags: &BTreeMap<&'static str, String>,
) -> Result<(Vec<Setting>, Config), Problems> {
    let mut problems = Vec::new();
    let settings = gather(file, environment, flags, &mut problems);
    let mut reader = Reader { settings: &settings, problems };
    let mut config = check(&mut reader);
    let is_set = |one: &&Setting| {
        one.value != one.key.default && !matches!(one.origin, Origin::Flag | Origin::Default)
    };
    let set = settings.iter().filter(is_set);
    config.set = set.map(|one| (one.key.name, one.value.clone())).collect();
    let mut problems = reader.problems;
    // As one reads: the file from its top, then the rest.
    problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
    if problems.is_empty() { Ok((settings, config)) } else { Err(Problems(problems)) }
}

/// Where the database lies, and the lines of a configuration that say so.
#[derive(Debug)]
pub(crate) struct Database {
    pub url: ServerUrl,
    pub lines: String,
}

/// What verbs need of the configuration. What is wrong with other keys keeps none of them from its
/// work; a file that cannot be read might name a database.
pub(crate) fn database(
    file: Option<&Path>,
    environment: &Environment,
    flags: &BTreeMap<&'static str, String>,
) -> Result<Option<Database>, Problems> {
    let mut problems = Vec::new();
    let settings = gather(file, environment, flags, &mut problems);
    problems.retain(|problem| {
        let said = format!("{}{}", problem.what, problem.remedy).to_lowercase();
        !problem.is_about_a_key || said.contains("database_")
    });
    let mut reader = Reader { settings: &settings, problems };
    let url = reader.database();
    if !reader.problems.is_empty() {
        return Err(Problems(reader.problems));
    }
    Ok(url.map(|url| {
        let named = settings.iter().filter(|one| one.key.name.starts_with("database_"));
        let given = named.filter(|one| !one.value.is_empty());
        let line = |one: &Setting| {
            // From wherever a verb is run.
            let whole = Some(one.key.unit)
                .filter(|unit| *unit == "path")
                .and_then(|_| Some(std::path::absolute(&one.value).ok()?.display().to_string()));
            let value = whole.as_ref().unwrap_or(&one.value);
            format!("{} = {}\n", one.key.name, one.key.typed(value))
        };
        Database { url, lines: given.map(line).collect() }
    }))
}

/// What cannot be read keeps its default, which is nothing to complain of.
fn gather(
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

fn unreadable(error: &io::Error) -> String {
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

const NO_KEY: Key = key("", "", "", "");

/// Reads texts as types.
struct Reader<'a> {
    settings: &'a [Setting],
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> &Setting {
        static NONE: Setting =
            Setting { key: &NO_KEY, value: String::new(), origin: Origin::Default };
        self.settings.iter().find(|setting| setting.key.name == name).unwrap_or(&NONE)
    }

    fn fail(&mut self, name: &str, what: &str, remedy: String) {
        let setting = self.text(name);
        let place = match &setting.origin {
            Origin::Flag => format!("--{}", name.replace('_', "-")),
            origin => origin.to_string(),
        };
        let line = match setting.origin {
            Origin::File { line, .. } => Some(line),
            _ => None,
        };
        let what = format!("`{name}` {what}");
        self.problems.push(Problem { place, line, is_about_a_key: true, what, remedy });
    }

    fn parse<T: FromStr>(&mut self, name: &str, fallback: T) -> T {
        if let Ok(value) = self.text(name).value.parse() {
            return value;
        }
        let unit = self.text(name).key.unit;
        self.fail(name, "is malformed", format!("Give a value of the form: {unit}."));
        fallback
    }

    fn positive(&mut self, name: &str) -> u64 {
        let value = self.parse(name, 1_u64);
        if value == 0 {
            self.fail(name, "is zero", "Give a positive number.".into());
        }
        value
    }

    fn rates(&mut self, name: &str) -> Vec<Rate> {
        match Rate::parse_list(&self.text(name).value) {
            Ok(rates) => rates,
            Err(error) => {
                let remedy = "Separate several by commas; leave it empty for no limit.";
                self.fail(name, &format!("is malformed: {error}"), remedy.into());
                Vec::new()
            }
        }
    }

    fn limits(&mut self, max_calls: usize) -> LimitSettings {
        let share = |given: usize, part: usize| match given {
            0 => (max_calls / part).max(1),
            given => given,
        };
        LimitSettings {
            per_key: self.rates("limit_per_key"),
            per_connection: self.rates("limit_per_connection"),
            per_provider: self.rates("limit_per_provider"),
            connection_calls: share(self.parse("max_calls_per_connection", 0), 4),
            provider_calls: share(self.parse("max_calls_per_provider", 0), 2),
        }
    }

    /// Of one core: two of the largest windows at least.
    fn max_window_bytes(&mut self, cores: usize) -> usize {
        const LEAST: usize = 32 << 20;
        let all = usize::try_from(self.positive("max_window_bytes")).unwrap_or(usize::MAX);
        (all / cores.max(1)).max(LEAST)
    }

    fn max_held_write_bytes(&mut self, max_write_bytes: usize) -> usize {
        let given = match self.parse("max_held_write_bytes", 0) {
            0 => max_write_bytes.saturating_mul(64),
            given => given,
        };
        if given < max_write_bytes {
            let remedy = "Give several times as much, or 0 for 64 times.";
            self.fail("max_held_write_bytes", "is less than `max_write_bytes`", remedy.into());
        }
        given
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let value = &self.text(name).value;
        (!value.is_empty()).then(|| PathBuf::from(value))
    }

    /// The listeners' certificate. It is loaded once to see that it can be.
    fn tls(&mut self) -> Option<TlsFiles> {
        let (cert, key) = match (self.path("tls_cert"), self.path("tls_key")) {
            (Some(cert), Some(key)) => (cert, key),
            (None, None) => return None,
            (Some(_), None) => {
                let remedy = "Name the file of the certificate's private key.";
                self.fail("tls_key", "is missing beside `tls_cert`", remedy.into());
                return None;
            }
            (None, Some(_)) => {
                let remedy = "Name the file of the key's certificate.";
                self.fail("tls_cert", "is missing beside `tls_key`", remedy.into());
                return None;
            }
        };
        let files = TlsFiles { cert, key };
        if let Err(error) = listener_tls::load(&files) {
            let name = if error.is_of_the_key(&files) { "tls_key" } else { "tls_cert" };
            self.fail(name, &format!("cannot be used: {}", chain(&error)), error.remedy());
        }
        Some(files)
    }

    fn endpoint(&mut self, name: &str) -> Option<Endpoint> {
        let text = &self.text(name).value;
        if text.is_empty() {
            return None;
        }
        match Endpoint::parse(text) {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                let secrets = match name {
                    "otlp_endpoint" => "otlp_headers_file",
                    _ => "checkpoint_webhook_token_file",
                };
                let remedy = format!(
                    "Write it like https://collector.example.com:4318, or http://127.0.0.1:4318; secrets go into {secrets}."
                );
                self.fail(name, &error.to_string(), remedy);
                None
            }
        }
    }

    /// The database's server. Neither the URL nor the password is ever repeated.
    fn database(&mut self) -> Option<ServerUrl> {
        let url = self.text("database_url").value.clone();
        let file = self.text("database_password_file").value.clone();
        if url.is_empty() {
            if !file.is_empty() {
                let remedy = "Name the database with database_url, or leave it out.";
                self.fail(
                    "database_password_file",
                    "is of no use without a database",
                    remedy.into(),
                );
            }
            return None;
        }
        let password = match read_private(&file, "a password") {
            Ok(password) => password,
            Err((what, remedy)) => {
                self.fail("database_password_file", &what, remedy);
                None
            }
        };
        match ServerUrl::parse_open(&url, password.as_ref().map(SecretString::expose_secret)) {
            Ok(url) => Some(url),
            Err(error) => {
                let remedy = "Write it like postgres://weirgate@db.example.com:5432/weirgate";
                self.fail("database_url", &format!("is of no use: {error}"), remedy.into());
                None
            }
        }
    }

    fn outside(&mut self) -> OutsideConfig {
        let webhook = self.endpoint("checkpoint_webhook");
        for name in ["checkpoint_webhook_token_file", "checkpoint_webhook_key"] {
            let is_alone = self.text("checkpoint_webhook").value.is_empty();
            if is_alone && !self.text(name).value.is_empty() {
                let remedy = "Name the witness with checkpoint_webhook, or leave it out.";
                self.fail(name, "is of no use without a webhook", remedy.into());
            }
        }
        let token_file = self.text("checkpoint_webhook_token_file").value.clone();
        let token = match read_private(&token_file, "a token") {
            Ok(token) => token.and_then(|token| {
                let token = Token::new(&token);
                if token.is_none() {
                    let remedy = "Write the token alone into it, in one line.";
                    self.fail("checkpoint_webhook_token_file", "is of no use", remedy.into());
                }
                token
            }),
            Err((what, remedy)) => {
                self.fail("checkpoint_webhook_token_file", &what, remedy);
                None
            }
        };
        let key = self.text("checkpoint_webhook_key").value.clone();
        let witness = Some(key).filter(|key| !key.is_empty()).and_then(|key| {
            let read = key.parse().ok();
            if read.is_none() {
                let remedy =
                    "Give the witness's key of the form NAME+ID+KEY, for cosignatures of Ed25519.";
                self.fail("checkpoint_webhook_key", "is no key of a witness", remedy.into());
            }
            read
        });
        let every = self.millis("checkpoint_interval_ms");
        let max_age = self.millis("checkpoint_max_age_ms");
        if max_age <= every && !max_age.is_zero() {
            let remedy = "Give more than checkpoint_interval_ms.";
            self.fail("checkpoint_max_age_ms", "is shorter than the interval", remedy.into());
        }
        let pace = Pace { every, max_age };
        OutsideConfig { file: self.path("checkpoint_file"), webhook, token, witness, pace }
    }

    fn millis(&mut self, name: &str) -> Duration {
        Duration::from_millis(self.positive(name))
    }
}

const MAX_CORES: usize = 256;
const MAX_PASSWORD_BYTES: u64 = 4_096;

/// The secret in a file that only its owner may read; `None` where no file is named. `what` it is, as
/// in "a password".
fn read_private(path: &str, what: &str) -> Result<Option<SecretString>, (String, String)> {
    if path.is_empty() {
        return Ok(None);
    }
    let unusable = |error: io::Error| {
        let remedy = format!("Name a file with {what} that this user may read.");
        (format!("is of no use: {}", unreadable(&error)), remedy)
    };
    let file = std::fs::File::open(path).map_err(unusable)?;
    let about = file.metadata().map_err(unusable)?;
    if !about.is_file() || about.len() > MAX_PASSWORD_BYTES {
        let remedy = format!("Name a file with {what} alone.");
        return Err((format!("is no file with {what}"), remedy));
    }
    if about.permissions().mode() & 0o077 != 0 {
        return Err(("may be read by others".into(), "Make it private: chmod 600.".into()));
    }
    let mut text = String::new();
    file.take(MAX_PASSWORD_BYTES).read_to_string(&mut text).map_err(unusable)?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(("is empty".into(), format!("Write {what} into it."))),
        secret => Ok(Some(SecretString::from(secret))),
    }
}
/// A smaller reserve would not hold what a tail of the log takes anew.
const MIN_RESERVE: u64 = 65_536;
/// The configuration is confirmed every 250 ms at best: with much less, a sound gateway refuses calls.
const MIN_SNAPSHOT_AGE: Duration = Duration::from_secs(1);

/// What is wrong with the file of additional certificate authorities, if one is named.
fn unusable_roots(path: &str) -> Option<String> {
    if path.is_empty() {
        return None;
    }
    match std::fs::read(path) {
        Err(error) => Some(unreadable(&error)),
        Ok(bytes) => outbound::TlsConfig::new(Some(&bytes)).err().map(|error| chain(&error)),
    }
}

/// What is wrong with the file of revocation lists, if one is named.
fn unusable_lists(path: &str) -> Option<String> {
    if path.is_empty() {
        return None;
    }
    match std::fs::read(path) {
        Err(error) => Some(unreadable(&error)),
        Ok(bytes) => outbound::TlsConfig::new(None)
            .and_then(|tls| tls.replace_revocation_lists(&bytes))
            .err()
            .map(|error| chain(&error)),
    }
}

/// Reads everything, and tells the reader all that is wrong.
fn check(reader: &mut Reader<'_>) -> Config {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let behind_proxy = reader.parse("behind_proxy", false);
    let gateway_addr = reader.parse("gateway_addr", loopback);
    let console_addr = reader.parse("console_addr", loopback);
    let tls = reader.tls();
    for (name, addr) in [("gateway_addr", gateway_addr), ("console_addr", console_addr)] {
        if !addr.ip().is_loopback() && !behind_proxy && tls.is_none() {
            reader.fail(
                name,
                "is not a loopback address, and calls would travel without TLS",
                "Bind to 127.0.0.1 or [::1], give tls_cert and tls_key, or set behind_proxy = true where a TLS-terminating proxy stands in front."
                    .into(),
            );
        }
    }
    if gateway_addr == console_addr && gateway_addr.port() != 0 {
        reader.fail(
            "console_addr",
            "is the gateway's address too",
            "Give the two different ports, or port 0 for a free one.".into(),
        );
    }
    let public_url = Some(reader.text("public_url").value.clone()).filter(|url| !url.is_empty());
    if let Some(url) = &public_url {
        let is_plain = ["http://", "https://"].iter().any(|scheme| {
            url.strip_prefix(scheme).is_some_and(|rest| {
                !rest.is_empty()
                    && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
            })
        });
        if !is_plain {
            reader.fail(
                "public_url",
                "is not scheme and authority alone",
                "Write it like https://gate.example.com".into(),
            );
        }
    }
    let max_calls = usize::try_from(reader.positive("max_calls")).unwrap_or(usize::MAX);
    let limits = reader.limits(max_calls);
    let max_write_bytes = usize::try_from(reader.positive("max_write_bytes")).unwrap_or(usize::MAX);
    if public_url.is_none() && !gateway_addr.ip().is_loopback() {
        reader.fail(
            "public_url",
            "is missing, and callers do not reach the gateway by the address that it is bound to",
            "Give the scheme and authority that callers use, like https://gate.example.com: paging URLs are rewritten to it."
                .into(),
        );
    }
    let log_level = reader.text("log_level").value.clone();
    if !["error", "warn", "info", "debug", "trace"].contains(&log_level.as_str()) {
        reader.fail("log_level", "is unknown", "Give error, warn, info, debug or trace.".into());
    }
    let log_format = reader.text("log_format").value.clone();
    if !["json", "text"].contains(&log_format.as_str()) {
        reader.fail("log_format", "is unknown", "Give json or text.".into());
    }
    let roots = reader.text("extra_roots_file").value.clone();
    if let Some(what) = unusable_roots(&roots) {
        let remedy = "Name a PEM file with certificates that this user may read.";
        reader.fail("extra_roots_file", &format!("is of no use: {what}"), remedy.into());
    }
    let lists = reader.text("crl_file").value.clone();
    if let Some(what) = unusable_lists(&lists) {
        reader.fail("crl_file", &format!("is of no use: {what}"), LISTS_REMEDY.into());
    }
    let cores = match reader.parse("cores", 0_usize) {
        0 => std::thread::available_parallelism().map_or(1, usize::from).min(MAX_CORES),
        cores => cores,
    };
    let max_snapshot_age = reader.millis("max_snapshot_age_ms");
    if !max_snapshot_age.is_zero() && max_snapshot_age < MIN_SNAPSHOT_AGE {
        let remedy = format!("Give at least {}.", MIN_SNAPSHOT_AGE.as_millis());
        reader.fail("max_snapshot_age_ms", "is too short", remedy);
    }
    let audit_reserve = reader.parse("audit_reserve_bytes", 0_u64);
    if (1..MIN_RESERVE).contains(&audit_reserve) {
        let remedy = format!("Give at least {MIN_RESERVE}, or 0 for none.");
        reader.fail("audit_reserve_bytes", "is too small", remedy);
    }
    if cores > MAX_CORES {
        reader.fail("cores", "is too many", format!("Give at most {MAX_CORES}."));
    }
    Config {
        set: Vec::new(),
        gateway_addr,
        console_addr,
        tls,
        public_url,
        cores,
        max_write_bytes,
        max_held_write_bytes: reader.max_held_write_bytes(max_write_bytes),
        max_answer_bytes: reader.positive("max_answer_bytes"),
        max_window_bytes: reader.max_window_bytes(cores),
        max_calls,
        limits,
        database: reader.database(),
        max_snapshot_age,
        audit_reserve: NonZeroU64::new(audit_reserve),
        connect_timeout: reader.millis("connect_timeout_ms"),
        tls_timeout: reader.millis("tls_timeout_ms"),
        first_byte_timeout: reader.millis("first_byte_timeout_ms"),
        between_bytes_timeout: reader.millis("between_bytes_timeout_ms"),
        total_timeout: reader.millis("total_timeout_ms"),
        body_timeout: reader.millis("body_timeout_ms"),
        write_timeout: reader.millis("write_timeout_ms"),
        drain_timeout: reader.millis("drain_timeout_ms"),
        extra_roots_file: reader.path("extra_roots_file"),
        crl_file: reader.path("crl_file"),
        otlp_endpoint: reader.endpoint("otlp_endpoint"),
        otlp_headers_file: reader.path("otlp_headers_file"),
        otlp_interval: reader.millis("otlp_interval_ms"),
        outside: reader.outside(),
        log_level,
        is_log_json: log_format == "json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weirgate.toml");
        std::fs::write(&path, text).unwrap();
        load(Some(&path), &environment_of(environment), &BTreeMap::new())
            .map(|(_, config)| config)
            .map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
    }

    fn environment_of(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn defaults_are_a_valid_configuration_on_loopback() {
        let config = loaded("", &[]).unwrap();
        assert!(config.gateway_addr.ip().is_loopback());
        assert_eq!(config.max_write_bytes, 1 << 20);
    }

    #[test]
    fn a_snapshot_may_age_for_longer_than_it_takes_to_confirm_it() {
        let problems = loaded("max_snapshot_age_ms = 999\n", &[]).unwrap_err();
        assert!(problems[0].contains("is too short"), "{problems:?}");
        let config = loaded("max_snapshot_age_ms = 1000\n", &[]).unwrap();
        assert_eq!(config.max_snapshot_age, MIN_SNAPSHOT_AGE);
    }

    #[test]
    fn all_problems_of_all_kinds_are_reported_at_once() {
        let text = "# comment\nmax_calls = [1]\ngateway_adr = \"127.0.0.1:1\"\nlog_level = \"loud\"\n\
                    b = = 1\nconsole_addr = \"0.0.0.0:80\"\nextra_roots_file = \"/no/such.pem\"\n";
        let environment = [
            ("WEIRGATE_CORES", "-1"),
            ("WEIRGATE_MAX_CALS", "5"),
            ("WEIRGATE_LOG_FORMAT", "xml"),
            // Not for us.
            ("WEIRGATE_DATA_DIR", "x"),
            ("WEIRGATE_SERVICE_HOST", "10.0.0.1"),
            ("WEIRGATE_PORT", "tcp://10.0.0.1:8400"),
            ("WEIRGATE_PORT_8400_TCP", "tcp://10.0.0.1:8400"),
            ("WEIRGATE_PORT_8400_TCP_PORT", "8400"),
            ("WEIRGATE_GATEWAY_SERVICE_PORT", "8400"),
            ("WEIRGATE_GATEWAY_SERVICE_PORT_HTTP", "8400"),
            ("WEIRGATE_GATEWAY_PORT", "tcp://10.0.0.1:8400"),
            ("HOME", "x"),
        ];
        let problems = loaded(text, &environment).unwrap_err();
        let wanted = [
            ":2: `max_calls` has the wrong kind of value. Give a value of the form: count.",
            ":3: `gateway_adr` is no key. Did you mean `gateway_addr`?",
            ":4: `log_level` is unknown. Give error, warn, info, debug or trace.",
            ":5: ",
            ":6: `console_addr` is not a loopback address",
            ":7: `extra_roots_file` is of no use: there is no such file. Name a PEM file",
            "environment WEIRGATE_MAX_CALS: the variable sets no key. Did you mean `WEIRGATE_MAX_CALLS`?",
            "environment WEIRGATE_LOG_FORMAT: `log_format` is unknown.",
            "environment WEIRGATE_CORES: `cores` is malformed. Give a value of the form: count.",
        ];
        assert_eq!(problems.len(), wanted.len(), "{problems:#?}");
        for (problem, wanted) in problems.iter().zip(wanted) {
            assert!(problem.contains(wanted), "no {wanted} in {problem}");
        }
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        for name in ["WEIRGATE_GATEWAY_PORT", "WEIRGATE_PORT", "WEIRGATE_", "WEIRGATE_gateway_addr"]
        {
            assert_eq!(loaded("", &[(name, "8400")]).unwrap_err().len(), 1, "{name}");
        }
        for text in [
            "max_calls = 0",
            "max_held_write_bytes = 1000",
            "max_calls = 99999999999999999999",
            "cores = 257",
            "gateway_addr = \"localhost:8400\"",
            "behind_proxy = \"yes\"",
            "gateway_addr = \"127.0.0.1:9\"\nconsole_addr = \"127.0.0.1:9\"",
            "public_url = \"https://gate.example/path\"",
            "max_calls = 1\nmax_calls = 2",
            "[gateway]\naddr = \"127.0.0.1:1\"",
            "extra_roots_file = \"Cargo.toml\"",
            "extra_roots_file = \"src\"",
            "crl_file = \"Cargo.toml\"",
            "crl_file = \"src\"",
            "crl_file = \"no/such.pem\"",
        ] {
            assert_eq!(loaded(text, &[]).unwrap_err().len(), 1, "{text}");
        }
        assert_eq!(loaded("max_write_bytes = 0x10_00", &[]).unwrap().max_write_bytes, 4096);
        let mut environment = Environment::new();
        let bad = std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]);
        environment.insert("WEIRGATE_MAX_CALLS".into(), bad);
        let Problems(problems) = load(None, &environment, &BTreeMap::new()).unwrap_err();
        assert!(problems[0].what.contains("UTF-8"), "{problems:?}");
        let Problems(problems) =
            load(Some(Path::new("/")), &environment, &BTreeMap::new()).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].remedy.contains("not a folder"), "{problems:?}");
    }

    #[test]
    fn values_have_types() {
        let typed =
            |name: &str, text: &str| KEYS.iter().find(|key| key.name == name).unwrap().typed(text);
        assert_eq!(typed("max_calls", "7"), 7);
        assert_eq!(typed("behind_proxy", "true"), true);
        assert_eq!(typed("log_level", "info"), "info");
        assert_eq!(typed("public_url", ""), Value::Null);
        for key in KEYS {
            let is_text = matches!(key.typed(key.default), Value::String(_) | Value::Null);
            assert_eq!(
                is_text,
                !["count", "bytes", "milliseconds", "true or false"].contains(&key.unit)
            );
        }
    }

    #[test]
    fn a_gateway_for_others_must_know_its_own_url() {
        let open = "behind_proxy = true\ngateway_addr = \"0.0.0.0:8400\"\n";
        let problems = loaded(open, &[]).unwrap_err();
        assert!(problems[0].contains("`public_url` is missing"), "{problems:?}");
        assert_eq!(problems.len(), 1);
        let named = format!("{open}public_url = \"https://gate.example.com\"");
        loaded(&named, &[]).unwrap();
        // The console rewrites nothing.
        loaded("behind_proxy = true\nconsole_addr = \"0.0.0.0:8401\"\n", &[]).unwrap();
    }

    #[test]
    fn the_reference_page_is_fresh() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/configuration.md");
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        if page != reference() && std::env::var_os("WEIRGATE_UPDATE_DOCS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        } else {
            assert_eq!(page, reference(), "run this test with WEIRGATE_UPDATE_DOCS=1");
        }
    }

    #[test]
    fn flag_beats_environment_beats_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weirgate.toml");
        std::fs::write(&path, "max_calls = 1\ncores = 1\nlog_level = \"warn\"").unwrap();
        let environment = environment_of(&[("WEIRGATE_MAX_CALLS", "2"), ("WEIRGATE_CORES", "2")]);
        let flags = BTreeMap::from([("max_calls", "3".to_owned())]);
        let (settings, config) = load(Some(&path), &environment, &flags).unwrap();
        assert_eq!((config.max_calls, config.cores), (3, 2));
        let find = |name| settings.iter().find(|s| s.key.name == name).unwrap();
        assert_eq!(
            (find("max_calls").value.as_str(), &find("max_calls").origin),
            ("3", &Origin::Flag)
        );
        assert_eq!(find("cores").value, "2");
        assert_eq!(find("log_level").origin, Origin::File { path, line: 3 });
        assert_eq!(find("max_write_bytes").origin, Origin::Default);
    }
}
