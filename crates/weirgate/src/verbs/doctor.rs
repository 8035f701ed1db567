//! `weirgate doctor`.

use super::Session;
use crate::{
    config::Config,
    output::{FINDINGS, Failure},
};
use app::doctor::{Finding, Level, examine};
use serde_json::json;
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};
use types::{SystemClock, SystemRandom};

/// How long a server on this machine may take to say that it lives.
const PATIENCE: Duration = Duration::from_secs(2);
/// Fewer open files than this are few for a gateway.
const FEW_FILES: u64 = 4_096;

/// `config` is what the configuration says, or what is wrong with it.
pub(crate) async fn doctor(
    session: &Session,
    config: Result<Config, Failure>,
) -> Result<(), Failure> {
    let mut found = Vec::new();
    let server = config.as_ref().ok().and_then(|config| config.database.clone());
    match config {
        Err(failure) if failure.problems.is_empty() => {
            let remedy = failure.remedy.unwrap_or_default();
            found.push(Finding::bad("configuration", failure.message, remedy));
        }
        // Each says what to do itself.
        Err(failure) => found
            .extend(failure.problems.into_iter().map(|one| Finding::bad("configuration", one, ""))),
        Ok(config) => {
            found.push(Finding::good("configuration", "every value is well formed"));
            found.extend(ports(config.gateway_addr, config.console_addr));
        }
    }
    found.push(open_files());
    let key = session.root_key_file.as_deref();
    let clock = Arc::new(SystemClock);
    found.extend(
        examine(&session.data_dir, server.as_ref(), key, clock, Arc::new(SystemRandom)).await,
    );
    let mut text = Vec::new();
    for Finding { check, level, what, remedy } in &found {
        text.push(format!("{:<8} {check:<14} {what}", word(*level)));
        if !remedy.is_empty() {
            text.push(format!("{:<23} {remedy}", ""));
        }
    }
    let rows: Vec<_> = found
        .iter()
        .map(|one| {
            let remedy = Some(&one.remedy).filter(|remedy| !remedy.is_empty());
            json!({"check": one.check, "level": word(one.level), "what": one.what, "remedy": remedy})
        })
        .collect();
    session.output.result(&json!({"findings": rows}), text)?;
    let bad = found.iter().filter(|finding| finding.level == Level::Bad).count();
    match bad {
        0 => Ok(()),
        bad => Err(Failure::new(
            FINDINGS,
            format!("{bad} of {} checks are bad", found.len()),
            "Each says what to do.",
        )),
    }
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::Good => "good",
        Level::Warning => "warning",
        Level::Bad => "bad",
    }
}

/// Free, or held by a server of ours.
fn ports(gateway: SocketAddr, console: SocketAddr) -> Vec<Finding> {
    let is_running = lives(console);
    [("gateway_addr", gateway), ("console_addr", console)]
        .into_iter()
        .map(|(key, addr)| match TcpListener::bind(addr) {
            Ok(_) => Finding::good("ports", format_args!("{key} {addr} is free")),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_running => {
                Finding::good("ports", format_args!("{key} {addr} is held by a server that lives"))
            }
            Err(error) => Finding::bad(
                "ports",
                format_args!("{key} {addr}: {error}"),
                format_args!("Stop what listens there, or choose another {key}."),
            ),
        })
        .collect()
}

/// Whether something there answers as our console does.
fn lives(console: SocketAddr) -> bool {
    let ask = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&console, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(4_096).read_to_end(&mut answer)?;
        Ok(answer)
    };
    // A server with TLS answers what is none with an alert (RFC 8446 §6), which is a life sign too.
    const ALERT: &[u8] = &[21, 3, 3];
    ask().is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200") || answer.starts_with(ALERT))
}

fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.maximum {
        Some(most) if most < FEW_FILES => Finding::warning(
            "files",
            format_args!("at most {most} files may be open at once"),
            format_args!(
                "Raise the limit: LimitNOFILE= in the unit, or `ulimit -Hn`, to {FEW_FILES} or more."
            ),
        ),
        Some(most) => Finding::good("files", format_args!("{most} files may be open at once")),
        None => Finding::good("files", "any number of files may be open at once"),
    }
}
