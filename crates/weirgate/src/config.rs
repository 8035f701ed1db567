//! The configuration: `weirgate.toml`, each key overridable by `WEIRGATE_...`, then by a flag.
//!
//! Two stages: texts with their origin, then checked types. All problems are reported together, each
//! with its place and remedy.

use crate::telemetry::Endpoint;
use gateway::LimitSettings;
use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};
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
        "A TLS-terminating proxy stands in front: only then may an address be other than loopback.",
    ),
    key(
        "public_url",
        "",
        "URL",
        "Scheme and authority by which callers reach the gateway, for rewritten URLs; needed where gateway_addr is other than loopback.",
    ),
    key("cores", "0", "count", "Threads of the data plane; 0 means one per core."),
    key("max_write_bytes", "1048576", "bytes", "The largest request body."),
    key("max_answer_bytes", "1073741824", "bytes", "The largest answer, as it comes and decoded."),
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
        "How long the database may stay silent before calls are refused.",
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
All problems are reported together, each with its place and remedy.

The data folder comes from `--data-dir`, else `WEIRGATE_DATA_DIR`, else it is `./weirgate-data`.
The root key's file comes from `--root-key-file`, else `WEIRGATE_ROOT_KEY_FILE`, else the place that `init` recorded.
Secrets never stand in the configuration.

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

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} problem(s)", self.0.len())?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The configuration, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub gateway_addr: SocketAddr,
    pub console_addr: SocketAddr,
    pub public_url: Option<String>,
    pub cores: usize,
    pub max_write_bytes: usize,
    pub max_answer_bytes: u64,
    pub max_calls: usize,
    pub limits: LimitSettings,
    pub max_snapshot_age: Duration,
    pub connect_timeout: Duration,
    pub tls_timeout: Duration,
    pub first_byte_timeout: Duration,
    pub between_bytes_timeout: Duration,
    pub total_timeout: Duration,
    pub body_timeout: Duration,
    pub write_timeout: Duration,
    pub drain_timeout: Duration,
    pub extra_roots_file: Option<PathBuf>,
    pub otlp_endpoint: Option<Endpoint>,
    pub otlp_headers_file: Option<PathBuf>,
    pub otlp_interval: Duration,
    pub log_level: String,
    pub is_log_json: bool,
}

/// Gathers every value with its origin. `flags` win over `environment`, that over the file.
pub(crate) fn gather(
    file: Option<&Path>,
    environment: &BTreeMap<String, String>,
    flags: &BTreeMap<&'static str, String>,
) -> Result<Vec<Setting>, Problems> {
    let mut problems = Vec::new();
    let mut from_file = BTreeMap::new();
    if let Some(path) = file {
        read_file(path, &mut from_file, &mut problems);
    }
    let settings = KEYS
        .iter()
        .map(|key| {
            let variable = format!("WEIRGATE_{}", key.name.to_uppercase());
            if let Some(value) = flags.get(key.name) {
                Setting { key, value: value.clone(), origin: Origin::Flag }
            } else if let Some(value) = environment.get(&variable) {
                Setting { key, value: value.clone(), origin: Origin::Environment { variable } }
            } else if let Some((value, line)) = from_file.remove(key.name) {
                let path = file.unwrap_or(Path::new("")).to_owned();
                Setting { key, value, origin: Origin::File { path, line } }
            } else {
                Setting { key, value: key.default.to_owned(), origin: Origin::Default }
            }
        })
        .collect();
    if problems.is_empty() { Ok(settings) } else { Err(Problems(problems)) }
}

fn read_file(
    path: &Path,
    values: &mut BTreeMap<String, (String, usize)>,
    problems: &mut Vec<Problem>,
) {
    let place = |line: usize| format!("{}:{line}", path.display());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem {
                place: path.display().to_string(),
                what: format!("the file cannot be read ({})", error.kind()),
                remedy: "Check that it exists, is UTF-8 text, and that this user may read it."
                    .into(),
            });
            return;
        }
    };
    let line_at = |offset: usize| 1 + text.bytes().take(offset).filter(|b| *b == b'\n').count();
    let (table, errors) = toml::de::DeTable::parse_recoverable(&text);
    for error in &errors {
        let line = error.span().map_or(1, |span| line_at(span.start));
        problems.push(Problem {
            place: place(line),
            what: error.message().to_owned(),
            remedy: "Correct the TOML.".into(),
        });
    }
    for (name, value) in table.get_ref() {
        let line = line_at(name.span().start);
        let name = name.get_ref().as_ref();
        if !KEYS.iter().any(|key| key.name == name) {
            problems.push(Problem {
                place: place(line),
                what: format!("`{name}` is no key"),
                remedy: nearest(name),
            });
            continue;
        }
        let text = match value.get_ref() {
            toml::de::DeValue::String(text) => text.to_string(),
            toml::de::DeValue::Boolean(value) => value.to_string(),
            toml::de::DeValue::Integer(value) => value.as_str().replace('_', ""),
            _ => {
                problems.push(Problem {
                    place: place(line),
                    what: format!("`{name}` has the wrong kind of value"),
                    remedy: "Give a text, a whole number, or true or false.".into(),
                });
                continue;
            }
        };
        values.insert(name.to_owned(), (text, line));
    }
}

fn nearest(name: &str) -> String {
    match types::nearest(name, KEYS.iter().map(|key| key.name)) {
        Some(key) => format!("Did you mean `{key}`?"),
        None => "`weirgate config show` lists the keys.".into(),
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
        self.problems.push(Problem { place, what: format!("`{name}` {what}"), remedy });
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

    fn path(&self, name: &str) -> Option<PathBuf> {
        let path = &self.text(name).value;
        (!path.is_empty()).then(|| PathBuf::from(path))
    }

    fn endpoint(&mut self, name: &str) -> Option<Endpoint> {
        let text = &self.text(name).value;
        if text.is_empty() {
            return None;
        }
        match Endpoint::parse(text) {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                let remedy = "Write it like https://collector.example.com:4318, or http://127.0.0.1:4318; secrets go into otlp_headers_file.";
                self.fail(name, &error.to_string(), remedy.into());
                None
            }
        }
    }

    fn millis(&mut self, name: &str) -> Duration {
        Duration::from_millis(self.positive(name))
    }
}

/// Checks everything and reports all that is wrong.
pub(crate) fn check(settings: &[Setting]) -> Result<Config, Problems> {
    let mut reader = Reader { settings, problems: Vec::new() };
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let behind_proxy = reader.parse("behind_proxy", false);
    let gateway_addr = reader.parse("gateway_addr", loopback);
    let console_addr = reader.parse("console_addr", loopback);
    for (name, addr) in [("gateway_addr", gateway_addr), ("console_addr", console_addr)] {
        if !addr.ip().is_loopback() && !behind_proxy {
            reader.fail(
                name,
                "is not a loopback address, and calls would travel without TLS",
                "Bind to 127.0.0.1 or [::1], or set behind_proxy = true where a TLS-terminating proxy stands in front."
                    .into(),
            );
        }
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
    let cores = match reader.parse("cores", 0_usize) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        cores => cores,
    };
    let config = Config {
        gateway_addr,
        console_addr,
        public_url,
        cores: cores.min(256),
        max_write_bytes: usize::try_from(reader.positive("max_write_bytes")).unwrap_or(usize::MAX),
        max_answer_bytes: reader.positive("max_answer_bytes"),
        max_calls,
        limits,
        max_snapshot_age: reader.millis("max_snapshot_age_ms"),
        connect_timeout: reader.millis("connect_timeout_ms"),
        tls_timeout: reader.millis("tls_timeout_ms"),
        first_byte_timeout: reader.millis("first_byte_timeout_ms"),
        between_bytes_timeout: reader.millis("between_bytes_timeout_ms"),
        total_timeout: reader.millis("total_timeout_ms"),
        body_timeout: reader.millis("body_timeout_ms"),
        write_timeout: reader.millis("write_timeout_ms"),
        drain_timeout: reader.millis("drain_timeout_ms"),
        extra_roots_file: reader.path("extra_roots_file"),
        otlp_endpoint: reader.endpoint("otlp_endpoint"),
        otlp_headers_file: reader.path("otlp_headers_file"),
        otlp_interval: reader.millis("otlp_interval_ms"),
        log_level,
        is_log_json: log_format == "json",
    };
    if reader.problems.is_empty() { Ok(config) } else { Err(Problems(reader.problems)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Vec<Setting>, Problems> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weirgate.toml");
        std::fs::write(&path, text).unwrap();
        gather(Some(&path), &BTreeMap::new(), &BTreeMap::new())
    }

    #[test]
    fn defaults_are_a_valid_configuration_on_loopback() {
        let config = check(&settings("").unwrap()).unwrap();
        assert!(config.gateway_addr.ip().is_loopback());
        assert_eq!(config.max_write_bytes, 1 << 20);
    }

    #[test]
    fn all_problems_are_reported_at_once_with_line_and_remedy() {
        let text = "gateway_adr = \"127.0.0.1:1\"\n\nmax_calls = [1]\nlog_level = \"info\"\n";
        let Problems(problems) = settings(text).unwrap_err();
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(
            shown[0].contains(":1: `gateway_adr` is no key. Did you mean `gateway_addr`?"),
            "{shown:?}"
        );
        assert!(shown[1].contains(":3: `max_calls` has the wrong kind"), "{shown:?}");
        let Problems(problems) = check(
            &settings(
                "gateway_addr = \"0.0.0.0:80\"\nmax_calls = 0\ncores = -1\nlog_format = \"xml\"",
            )
            .unwrap(),
        )
        .unwrap_err();
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert!(problems.iter().any(|p| p.what.contains("without TLS")));
    }

    #[test]
    fn a_gateway_for_others_must_know_its_own_url() {
        let open = "behind_proxy = true\ngateway_addr = \"0.0.0.0:8400\"\n";
        let Problems(problems) = check(&settings(open).unwrap()).unwrap_err();
        assert!(problems[0].what.contains("`public_url` is missing"), "{problems:?}");
        assert_eq!(problems.len(), 1);
        let named = format!("{open}public_url = \"https://gate.example.com\"");
        check(&settings(&named).unwrap()).unwrap();
        // The console rewrites nothing.
        let console = "behind_proxy = true\nconsole_addr = \"0.0.0.0:8401\"\n";
        check(&settings(console).unwrap()).unwrap();
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
        let environment = BTreeMap::from([
            ("WEIRGATE_MAX_CALLS".to_owned(), "2".to_owned()),
            ("WEIRGATE_CORES".to_owned(), "2".to_owned()),
        ]);
        let flags = BTreeMap::from([("max_calls", "3".to_owned())]);
        let settings = gather(Some(&path), &environment, &flags).unwrap();
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
