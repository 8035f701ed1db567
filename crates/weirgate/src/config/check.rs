//! What values must be, and must be together.

use super::{Config, OutsideConfig, TlsFiles, reader::Reader, source::unreadable};
use crate::{
    listener_tls,
    output::chain,
    outside::{Pace, Token},
    provider_tls::LISTS_REMEDY,
};
use gateway::LimitSettings;
use outbound::Endpoint;
use secrecy::{ExposeSecret as _, SecretString};
use std::{
    io::{self, Read as _},
    net::SocketAddr,
    num::NonZeroU64,
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};
use store::ServerUrl;

impl Reader<'_> {
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

    /// Scheme and authority alone, as browsers and callers write them.
    fn origin(&mut self, name: &str, example: &str) -> Option<String> {
        let url = Some(self.text(name).value.clone()).filter(|url| !url.is_empty())?;
        let is_plain = ["http://", "https://"].iter().any(|scheme| {
            url.strip_prefix(scheme).is_some_and(|rest| {
                !rest.is_empty()
                    && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
            })
        });
        if !is_plain || url::Url::parse(&url).is_err() {
            let what = "is not scheme and authority alone";
            self.fail(name, what, format!("Write it like {example}"));
        }
        Some(url)
    }

    /// As a line of a text file holds it.
    fn contact(&mut self, name: &str) -> Option<String> {
        let given = Some(self.text(name).value.clone()).filter(|given| !given.is_empty())?;
        let is_one_word = given.bytes().all(|byte| byte.is_ascii_graphic());
        let is_mail = given.strip_prefix("mailto:").is_some_and(|rest| {
            rest.split_once('@').is_some_and(|(who, host)| !who.is_empty() && !host.is_empty())
        });
        let is_page = given.starts_with("https://") && url::Url::parse(&given).is_ok();
        if !is_one_word || !(is_mail || is_page) {
            let remedy =
                "Write it like mailto:security@example.com or https://example.com/security.";
            self.fail(name, "is no contact", remedy.into());
        }
        Some(given)
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
    pub(super) fn database(&mut self) -> Option<ServerUrl> {
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
pub(super) const MIN_SNAPSHOT_AGE: Duration = Duration::from_secs(1);

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
pub(super) fn check(reader: &mut Reader<'_>) -> Config {
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
    let public_url = reader.origin("public_url", "https://gate.example.com");
    let console_url = reader.origin("console_url", "https://console.example.com");
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
        shown: Vec::new(),
        gateway_addr,
        console_addr,
        console_url,
        security_contact: reader.contact("security_contact"),
        behind_proxy,
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
