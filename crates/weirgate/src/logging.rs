//! Log lines on standard error, as JSON or text.

use crate::{config::Config, harmless::Lines};
use std::io;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts logging. Only Weirgate's own crates speak above warnings: libraries may print what they
/// carry.
pub(crate) fn start(level: &str, is_json: bool) {
    let filter = EnvFilter::new(directives(level));
    let registry = tracing_subscriber::registry().with(filter);
    let writer = move || Lines::new(io::stderr(), is_json);
    // A second start, as in tests, keeps the first one.
    let _ = if is_json {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(writer)).try_init()
    } else {
        let layer = fmt::layer().with_target(false).with_ansi(false).with_writer(writer);
        registry.with(layer).try_init()
    };
}

/// As the configuration says.
pub(crate) fn start_from(config: &Config) {
    start(&config.log_level, config.is_log_json);
}

fn directives(level: &str) -> String {
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
    let others = if level == "error" { "error" } else { "warn" };
    OURS.iter().fold(others.to_owned(), |text, name| format!("{text},{name}={level}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_never_speak_below_warnings() {
        let text = directives("trace");
        assert!(text.starts_with("warn,"));
        assert!(text.contains("gateway=trace"));
        assert!(directives("error").starts_with("error,"));
    }
}
