//! Log lines on standard error, as JSON or text: from a closed list of fields.
//!
//! A field that is not declared here is left out and counted, so that a line cannot carry what
//! nobody has thought about. Libraries say only that, and where: their messages may hold what they
//! were given.

use crate::{config::Config, harmless};
use serde_json::{Map, Value};
use std::{
    fmt::{self, Write as _},
    io::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};
use types::{Clock as _, SystemClock};

/// Every field that a line may have beside `timestamp`, `level`, `target` and `message`, as documented
/// in `docs/reference/logs.md`. In no value: a body, a header's value, a URL, a secret, a customer.
const FIELDS: &[(&str, &str)] = &[
    ("age_s", "of what is kept outside, in seconds"),
    ("audit.error", "why the audit log takes nothing"),
    ("audit.kind", "kind of the entry that was lost"),
    ("callers", "connections of callers that are served at once"),
    ("cause", "what led to an error"),
    ("code", "an error's code, see `errors/`"),
    ("condition", "why a rule of lifetimes ended something"),
    ("connection.id", "of a call, or of what cannot be used"),
    ("console", "address of the console's port"),
    ("core", "number of a core of the data plane"),
    ("count", "how many"),
    ("days", "how many days ahead of an end"),
    ("directive", "of the content security policy, that a page of the console broke"),
    ("duration_ms", "of a call, in milliseconds"),
    ("ends_at", "when a key or a credential ends"),
    ("error", "what failed, and its cause"),
    ("files", "open files that the system allows"),
    ("free_bytes", "what is free on the audit log's file system"),
    ("free_percent", "the same in parts of a hundred"),
    ("gateway", "address of the data plane"),
    ("generation", "of the store that was taken over"),
    ("grant.id", "a grant that cannot be read"),
    ("how", "what was done to a row of the database"),
    ("log", "an audit log's name"),
    ("notice", "what is worth a look in the configuration: names of keys and digests"),
    ("operation", "the operation's id in the provider's description"),
    ("origin", "who has to act: `caller`, `provider` or `internal`"),
    (
        "place",
        "where checkpoints are kept: `file`, `webhook` or `nodes`; or where in the source a defect has shown",
    ),
    ("port", "which of our ports: `gateway` or `console`"),
    ("provider", "a provider's slug"),
    ("remedy", "what to do"),
    ("request.id", "as in the answer's header and the audit log"),
    ("retryable", "whether the same call may succeed later"),
    ("row.id", "a row of the database that somebody else wrote"),
    ("row.kind", "its table"),
    ("seconds", "by how much a clock jumped, or differs"),
    ("status", "our answer's status"),
    ("subject", "the id of a key or a connection that ends"),
    ("suppressed", "failed calls of this code without a line of their own"),
    ("user.id", "whose passkey there may be a copy of"),
];

/// Our own crates, by their targets.
const OURS: [&str; 11] = [
    "weirgate",
    "app",
    "gateway",
    "audit",
    "store",
    "vault",
    "outbound",
    "provider",
    "projection",
    "sandbox",
    "detect",
];

/// Characters of one value; the rest is cut.
const MAX_VALUE: usize = 1_000;

/// Fields that were left out since the process began.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Starts logging. Only Weirgate's own crates speak below warnings.
pub(crate) fn start(level: &str, is_json: bool) {
    let filter = EnvFilter::new(directives(level));
    let lines = Lines { is_json };
    // A second start, as in tests, keeps the first one.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    if !cfg!(test) {
        std::panic::set_hook(Box::new(tell_panic));
    }
}

/// Where, and not what: the message may hold what was being worked on.
fn tell_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(|at| format!("{}:{}", at.file(), at.line()));
    tracing::error!(place, "a defect of Weirgate has shown: report this line");
}

/// As the configuration says.
pub(crate) fn start_from(config: &Config) {
    start(&config.log_level, config.is_log_json);
}

/// Fields that were left out.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

fn directives(level: &str) -> String {
    let others = if level == "error" { "error" } else { "warn" };
    OURS.iter().fold(others.to_owned(), |text, name| format!("{text},{name}={level}"))
}

/// Writes each event as one line.
struct Lines {
    is_json: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = line(event, self.is_json);
        line.push('\n');
        // Where standard error is gone there is nobody to tell.
        let _ =
            harmless::Lines::new(std::io::stderr().lock(), self.is_json).write_all(line.as_bytes());
    }
}

fn line(event: &Event<'_>, is_json: bool) -> String {
    let facts = event.metadata();
    let mut fields = Fields::default();
    let first = facts.target().split("::").next().unwrap_or_default();
    if OURS.contains(&first) {
        event.record(&mut fields);
    } else {
        let count = u64::try_from(facts.fields().len()).unwrap_or(u64::MAX);
        fields.dropped = count;
        fields.message = format!("a library has a word at line {}", facts.line().unwrap_or(0));
    }
    DROPPED.fetch_add(fields.dropped, Ordering::Relaxed);
    let Fields { message, kept, .. } = fields;
    let (time, level) = (SystemClock.now(), facts.level());
    if is_json {
        let mut line = Map::new();
        line.insert("timestamp".into(), time.to_string().into());
        line.insert("level".into(), level.as_str().into());
        line.insert("target".into(), facts.target().into());
        line.insert("message".into(), message.into());
        line.extend(kept.into_iter().map(|(name, value)| (name.to_owned(), value)));
        return Value::Object(line).to_string();
    }
    let mut text = format!("{time} {level:>5} {}", printable(&message));
    for (name, value) in kept {
        let value = match value {
            Value::String(text) if text.contains([' ', '"', '=']) => format!("{text:?}"),
            Value::String(text) => printable(&text),
            other => other.to_string(),
        };
        // Writing into a text cannot fail.
        let _ = write!(text, " {name}={value}");
    }
    text
}

/// One line, and nothing that moves a terminal's cursor.
fn printable(text: &str) -> String {
    let show =
        |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(show).collect()
}

/// What of an event may be written.
#[derive(Default)]
struct Fields {
    message: String,
    kept: Vec<(&'static str, Value)>,
    dropped: u64,
}

impl Fields {
    fn take(&mut self, field: &Field, value: impl FnOnce() -> Value) {
        if FIELDS.iter().any(|(name, _)| *name == field.name()) {
            self.kept.push((field.name(), value()));
        } else {
            self.dropped += 1;
        }
    }
}

fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(MAX_VALUE) {
        text.truncate(at);
        text.push('…');
    }
    text
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = cut(format!("{value:?}"));
        } else {
            self.take(field, || cut(format!("{value:?}")).into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, || cut(value.to_owned()).into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, || value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, || value.into());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.take(field, || u64::try_from(value).unwrap_or(u64::MAX).into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, || value.into());
    }
}

/// The product's sources, without their tests.
#[cfg(test)]
pub(crate) fn product_sources() -> Vec<String> {
    use std::{fs, path::Path};
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_test = ["testkit", "properties", "tests", "benches"]
                .iter()
                .any(|name| path.ends_with(name));
            if path.is_dir() && !is_test {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(text.split("#[cfg(test)]\nmod ").next().unwrap().to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::BTreeSet,
        fs,
        path::Path,
        sync::{Arc, Mutex},
    };

    #[test]
    fn libraries_never_speak_below_warnings() {
        let text = directives("trace");
        assert!(text.starts_with("warn,"));
        assert!(text.contains("gateway=trace"));
        assert!(directives("error").starts_with("error,"));
    }

    struct Kept(Arc<Mutex<Vec<String>>>, bool);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(line(event, self.1));
        }
    }

    fn lines(is_json: bool, log: impl FnOnce()) -> Vec<String> {
        let kept = Arc::default();
        let layer = Kept(Arc::clone(&kept), is_json);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let lines = kept.lock().unwrap();
        lines.clone()
    }

    #[test]
    fn an_undeclared_field_is_left_out_and_counted() {
        let before = dropped();
        let lines = lines(true, || {
            tracing::info!(
                status = 200_u16,
                duration_ms = 7_u128,
                password = "canary-word",
                headers = ?["canary-word"],
                retryable = true,
                "a call"
            );
            tracing::warn!(target: "hyper::proto", status = 1, "canary-word in a library's message");
        });
        assert_eq!(dropped() - before, 4);
        let first: Value = serde_json::from_str(&lines[0]).unwrap();
        let names: Vec<&str> = first.as_object().unwrap().keys().map(String::as_str).collect();
        let wanted =
            ["timestamp", "level", "target", "message", "status", "duration_ms", "retryable"];
        assert_eq!(names, wanted);
        assert_eq!((&first["message"], &first["status"]), (&"a call".into(), &200.into()));
        let second: Value = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!(second["target"], "hyper::proto");
        assert!(!lines.concat().contains("canary"), "{lines:?}");
    }

    #[test]
    fn a_text_line_stays_one_line_whatever_is_in_it() {
        let long = "x".repeat(5_000);
        let lines = lines(false, || {
            tracing::warn!(error = %"a\nb \u{1b}[31m\"c\"", code = "d\re", "what\nhappened");
            tracing::info!(error = long, "long");
        });
        assert!(
            lines[0].ends_with(r#" WARN what\nhappened error="a\nb \u{1b}[31m\"c\"" code=d\re"#),
            "{}",
            lines[0]
        );
        assert!(lines[1].len() < 1_100, "{}", lines[1].len());
        assert!(lines.iter().all(|line| !line.contains(char::is_control)));
    }

    /// The names of the fields in the source of one call of a macro, up to its message.
    fn names(arguments: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut rest = arguments;
        loop {
            rest = rest.trim_start();
            if rest.is_empty() || rest.starts_with('"') {
                return names;
            }
            // To the comma outside of all brackets.
            let mut depth = 0_i32;
            let end = rest.find(|c: char| {
                depth += i32::from("([{".contains(c)) - i32::from(")]}".contains(c));
                c == ',' && depth == 0
            });
            let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
            let name = part.split('=').next().unwrap_or_default();
            names.push(name.trim().trim_start_matches(['%', '?']).to_owned());
            rest = behind.trim_start_matches(',');
        }
    }

    /// Every field that the product logs is declared, and every declared one is logged.
    #[test]
    fn what_is_logged_is_what_is_declared() {
        let mut logged = BTreeSet::new();
        for text in &product_sources() {
            for level in ["error", "warn", "info", "debug", "trace"] {
                for behind in text.split(&format!("tracing::{level}!(")).skip(1) {
                    let mut depth = 1_i32;
                    let end = behind.find(|c: char| {
                        depth += i32::from(c == '(') - i32::from(c == ')');
                        depth == 0
                    });
                    logged.extend(names(&behind[..end.unwrap()]));
                }
            }
        }
        let declared: BTreeSet<String> =
            FIELDS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(logged, declared);
    }

    fn reference() -> String {
        let mut page = String::from(
            "# Log lines

<!-- Generated from crates/weirgate/src/logging.rs; a test compares. -->

On standard error, one line for each, as JSON or text (`log_format`).
Each has `timestamp` (UTC, RFC 3339), `level`, `target` (the part of Weirgate that speaks; JSON only) and `message`, a constant text.
Beside these there are only the fields below; any other is left out and counted in `weirgate_log_fields_dropped_total`.
A value is cut after 1,000 characters, and control characters are escaped.

No value is a body, a header's value, a URL, a secret or a customer's name.
Libraries speak at `warn` and above, and of them a line tells only the target and the line in its source: their messages may hold what they were given.

`error` calls for action; `warn` is to be watched for trends; `info` tells of failed calls (ten a second of each code, then their number), changes taken over, start and end.

| field | what it says |
| --- | --- |
",
        );
        for (name, about) in FIELDS {
            page.push_str(&format!("| `{name}` | {about} |\n"));
        }
        page
    }

    #[test]
    fn the_reference_page_is_fresh() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/logs.md");
        let page = fs::read_to_string(&path).unwrap_or_default();
        if page != reference() && std::env::var_os("WEIRGATE_UPDATE_DOCS").is_some() {
            fs::write(&path, reference()).unwrap();
        } else {
            assert_eq!(page, reference(), "run this test with WEIRGATE_UPDATE_DOCS=1");
        }
    }
}
