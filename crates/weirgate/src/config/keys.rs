//! Every key of the configuration, with its documentation.

use serde_json::Value;

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
        "Where the console, health, readiness and metrics are served.",
    ),
    key(
        "console_url",
        "",
        "URL",
        "Scheme and authority by which browsers reach the console, beside localhost and the address that it is bound to; under other names it is not served.",
    ),
    key(
        "security_contact",
        "",
        "URL",
        "Where somebody tells of a weakness of this installation, like mailto:security@example.com or an https URL: the console's port shows it as /.well-known/security.txt.",
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

pub(super) const fn key(
    name: &'static str,
    default: &'static str,
    unit: &'static str,
    about: &'static str,
) -> Key {
    Key { name, default, unit, about }
}

/// The reference page of all keys, in Markdown.
#[cfg(test)]
pub(super) fn reference() -> String {
    let mut page = String::from(REFERENCE_HEAD);
    for Key { name, default, unit, about } in KEYS {
        let default = if default.is_empty() { "none".into() } else { format!("`{default}`") };
        page.push_str(&format!("| `{name}` | {default} | {unit} | {about} |\n"));
    }
    page
}

#[cfg(test)]
const REFERENCE_HEAD: &str = "# Configuration

<!-- Generated from crates/weirgate/src/config/keys.rs; a test compares. -->

Each key stands in `weirgate.toml` in the data folder (or the file that `--config` names).
The environment variable `WEIRGATE_` and the key in upper case overrides the file; a flag overrides both.
`weirgate config show --origin` prints each value and where it came from.
All problems are reported together, each with its place and remedy; a `WEIRGATE_` variable that is no key is one of them.
(Those that Kubernetes makes for a service are not looked at, like `WEIRGATE_SERVICE_HOST` and `WEIRGATE_PORT_8400_TCP`.)

The data folder comes from `--data-dir`, else `WEIRGATE_DATA_DIR`, else it is `./weirgate-data`.
The root key's file comes from `--root-key-file`, else `WEIRGATE_ROOT_KEY_FILE`, else a systemd credential `weirgate-root-key`, else the place that the data folder records; its passphrase, if it has one, from the file that `--passphrase-file` or `WEIRGATE_PASSPHRASE_FILE` names.
Secrets never stand in the configuration: the password of `database_url` lies in a file that only its owner may read.

| key | default | unit | what it does |
| --- | --- | --- | --- |
";
