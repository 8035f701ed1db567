//! The configuration: `weirgate.toml`, each key overridable by `WEIRGATE_...`, then by a flag.
//!
//! Two stages: texts with their origin, then checked types. All problems are reported together, each
//! with its place and remedy.

mod check;
pub(crate) mod keys;
mod reader;
mod source;

pub(crate) use source::Environment;

use crate::outside::{Pace, Token};
use audit::WitnessKey;
use check::check;
use gateway::LimitSettings;
use keys::Key;
use outbound::Endpoint;
use reader::Reader;
use source::gather;
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};
use store::ServerUrl;

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

impl Setting {
    /// For people who may see the configuration, and nothing that may be secret in it.
    fn shown(&self) -> api::Setting {
        let value = match self.key.unit {
            "URL" => harmless_url(&self.value),
            _ => self.value.clone(),
        };
        api::Setting {
            key: self.key.name,
            value,
            source: self.origin.to_string(),
            is_default: self.origin == Origin::Default,
            about: self.key.about,
        }
    }
}

/// A URL without a password, and without path and query of one on the web: whoever knows them may be
/// let in by them.
fn harmless_url(text: &str) -> String {
    const LEFT_OUT: &str = "...";
    if text.is_empty() {
        return String::new();
    }
    let Ok(url) = url::Url::parse(text) else { return "set, and not shown".to_owned() };
    let is_web = matches!(url.scheme(), "http" | "https");
    let user = match (url.username(), is_web, url.password()) {
        ("", _, None) => String::new(),
        (user, false, None) => format!("{user}@"),
        _ => format!("{LEFT_OUT}@"),
    };
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let path = match url.path() {
        "" | "/" => String::new(),
        _ if is_web => format!("/{LEFT_OUT}"),
        path => path.to_owned(),
    };
    let query = if url.query().is_some() { format!("?{LEFT_OUT}") } else { String::new() };
    format!("{}://{user}{host}{port}{path}{query}", url.scheme())
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
    /// Every key, as the console shows it.
    pub shown: Vec<api::Setting>,
    pub gateway_addr: SocketAddr,
    pub console_addr: SocketAddr,
    pub console_url: Option<String>,
    pub security_contact: Option<String>,
    pub behind_proxy: bool,
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

    /// How a browser reaches the console that is bound to this address.
    pub(crate) fn console_url_of(&self, mut addr: SocketAddr) -> String {
        if addr.ip().is_unspecified() {
            addr.set_ip(IpAddr::from([127, 0, 0, 1]));
        }
        self.console_url.clone().unwrap_or_else(|| self.url_of(addr))
    }

    /// The names by which a browser may ask for the console that is bound to this address, beside
    /// those of this machine alone.
    pub(crate) fn console_hosts(&self, addr: SocketAddr) -> Vec<String> {
        let bound = (!addr.ip().is_unspecified()).then(|| format!("http://{addr}"));
        let urls = self.console_url.iter().chain(&bound);
        urls.filter_map(|url| Some(url::Url::parse(url).ok()?.host_str()?.to_owned())).collect()
    }
}

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
    config.shown = settings.iter().map(Setting::shown).collect();
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

#[cfg(test)]
mod tests {
    use super::{
        check::MIN_SNAPSHOT_AGE,
        keys::{KEYS, reference},
        *,
    };
    use serde_json::Value;

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
    fn what_is_shown_of_a_url_lets_nobody_in() {
        for (url, shown) in [
            ("", ""),
            ("https://console.example", "https://console.example"),
            ("https://hooks.example:8443/t/s3cret?k=s3cret", "https://hooks.example:8443/...?..."),
            ("https://s3cret@hooks.example", "https://...@hooks.example"),
            ("https://me:s3cret@hooks.example/", "https://...@hooks.example"),
            ("postgres://weir@db.example:5432/gate", "postgres://weir@db.example:5432/gate"),
            (
                "postgres://weir:s3cret@db.example/gate?password=s3cret",
                "postgres://...@db.example/gate?...",
            ),
            ("s3cret", "set, and not shown"),
        ] {
            assert_eq!(harmless_url(url), shown);
        }
        // No other key holds more than a place where a secret lies.
        let of_secrets = KEYS.iter().filter(|key| {
            ["token", "password", "secret", "headers"].iter().any(|word| key.name.contains(word))
        });
        for key in of_secrets {
            assert_eq!(key.unit, "path", "{}", key.name);
        }
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
            "console_url = \"https://console.example/path\"",
            "console_url = \"https://:8401\"",
            "console_url = \"console.example\"",
            "security_contact = \"security@example.com\"",
            "security_contact = \"mailto:@example.com\"",
            "security_contact = \"http://example.com/security\"",
            "security_contact = \"mailto:a@example.com\\nExpires: 2999-01-01T00:00:00Z\"",
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
