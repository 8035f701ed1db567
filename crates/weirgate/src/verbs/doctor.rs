//! `weirgate doctor`.

use super::Session;
use crate::{
    config::Config,
    listener_tls,
    output::{FINDINGS, Failure, chain},
    provider_tls::{LISTS_REMEDY, provider_tls, read_lists},
};
use app::{
    configuration::Told,
    doctor::{Finding, Level, examine},
};
use gateway::ServerTls;
use http::Uri;
use outbound::revocation_lists_end;
use serde_json::json;
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};
use types::{Clock, SystemClock, SystemRandom, Timestamp};

/// How long a server on this machine may take to say that it lives.
const PATIENCE: Duration = Duration::from_secs(2);
const CERTIFICATE: &str = "certificate";
/// A revocation list that expires sooner should have been renewed.
const LISTS_RENEWED_BEFORE: Duration = Duration::from_hours(3 * 24);
/// A certificate that ends sooner should have been renewed.
const RENEWED_BEFORE: Duration = Duration::from_hours(14 * 24);
/// Fewer open files than this are few for a gateway.
const FEW_FILES: u64 = 4_096;

/// `config` is what the configuration says, or what is wrong with it.
pub(crate) async fn doctor(
    session: &Session,
    config: Result<Config, Failure>,
) -> Result<(), Failure> {
    let mut found = Vec::new();
    let server = config.as_ref().ok().and_then(|config| config.database.clone());
    let mut told = None;
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
            found.extend(certificate(&config, SystemClock.now()));
            found.extend(
                config.crl_file.as_deref().map(|path| revocation_lists(path, SystemClock.now())),
            );
            let (tls, _) = provider_tls(&config)?;
            let roots = tls.extra_roots().map(ToOwned::to_owned).collect();
            told = Some((config.set, roots));
        }
    }
    found.push(open_files());
    let custody = session.custody();
    let clock = Arc::new(SystemClock);
    let told =
        told.as_ref().map(|(keys, roots): &(Vec<_>, Vec<_>)| Told { keys, extra_roots: roots });
    let random = Arc::new(SystemRandom);
    match session.must_be_there() {
        Ok(()) => found.extend(
            examine(&session.data_dir, server.as_ref(), &custody, clock, random, told).await,
        ),
        Err(failure) => {
            found.push(Finding::bad("folder", failure.message, failure.remedy.unwrap_or_default()));
        }
    }
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

/// Free, or held by a server of ours; and whether that one serves calls.
fn ports(gateway: SocketAddr, console: SocketAddr) -> Vec<Finding> {
    let running = Console::at(console);
    let mut found: Vec<Finding> = [("gateway_addr", gateway), ("console_addr", console)]
        .into_iter()
        .map(|(key, addr)| match TcpListener::bind(addr) {
            Ok(_) => Finding::good("ports", format_args!("{key} {addr} is free")),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && running.is_some() => {
                Finding::good("ports", format_args!("{key} {addr} is held by a server that lives"))
            }
            Err(error) => Finding::bad(
                "ports",
                format_args!("{key} {addr}: {error}"),
                format_args!("Stop what listens there, or choose another {key}."),
            ),
        })
        .collect();
    found.extend(running.map(|console| readiness(&console)));
    found
}

/// Whether the server that lives would serve calls, by its own word.
fn readiness(console: &Console) -> Finding {
    let remedy = "See the server's log lines; mend what they name, and restart it.";
    match console.ask("/readyz") {
        Ok(answer) if answer.is_ok() => {
            Finding::good("server", format_args!("{} serves calls", console.addr))
        }
        Ok(answer) => {
            let said = answer.line();
            Finding::bad("server", format_args!("{} says: {said}", console.addr), remedy)
        }
        Err(error) => Finding::bad(
            "server",
            format_args!("{} does not say whether it is ready: {error}", console.addr),
            remedy,
        ),
    }
}

/// A console's port behind which something lives.
struct Console {
    addr: SocketAddr,
    is_tls: bool,
}

/// What a console's port said.
struct Answer(Vec<u8>);

impl Answer {
    fn is_ok(&self) -> bool {
        self.0.starts_with(b"HTTP/1.1 200")
    }

    /// The first line of the body, shortened.
    fn line(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        body.lines().next().unwrap_or_default().chars().take(200).collect()
    }
}

impl Console {
    /// `None` if nothing there answers as our console does.
    fn at(addr: SocketAddr) -> Option<Self> {
        // A server with TLS answers what is none with an alert (RFC 8446 §6).
        const ALERT: &[u8] = &[21, 3, 3];
        let plain = Self { addr, is_tls: false };
        let answer = plain.ask("/healthz").ok()?;
        if answer.is_ok() {
            Some(plain)
        } else if answer.0.starts_with(ALERT) {
            Some(Self { addr, is_tls: true })
        } else {
            None
        }
    }

    fn ask(&self, path: &str) -> io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&self.addr, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        if self.is_tls {
            exchange(&mut outbound::unverified(stream, self.addr.ip())?, path)
        } else {
            exchange(&mut stream, path)
        }
    }
}

fn exchange(stream: &mut (impl Read + Write), path: &str) -> io::Result<Answer> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    match stream.take(4_096).read_to_end(&mut answer) {
        // One that ends without a farewell has said what it had to say.
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(Answer(answer)),
    }
}

/// Whether callers would take the listeners' certificate; of its chain they alone can tell.
fn certificate(config: &Config, now: Timestamp) -> Option<Finding> {
    let files = config.tls.as_ref()?;
    let url = config.public_url.as_deref().and_then(|url| url.parse::<Uri>().ok());
    let host = url.as_ref().and_then(Uri::host);
    Some(match listener_tls::load(files) {
        Ok(tls) => judged(&files.cert.display().to_string(), &tls, host, now),
        Err(error) => Finding::bad(CERTIFICATE, chain(&error), error.remedy()),
    })
}

fn judged(file: &str, tls: &ServerTls, host: Option<&str>, now: Timestamp) -> Finding {
    let renew = "Renew it: new files in its place are followed without a restart.";
    let (from, until) = tls.validity();
    if until <= now {
        return Finding::bad(CERTIFICATE, format_args!("{file} ended at {until}"), renew);
    }
    if from > now {
        let what = format_args!("{file} is not valid before {from}").to_string();
        return Finding::bad(CERTIFICATE, what, "Look at the clock, or wait.");
    }
    if let Some(host) = host.filter(|host| !tls.is_for(host)) {
        let what = format_args!("{file} is not for {host}, the host of public_url").to_string();
        let remedy = "Name one that is for the name by which callers reach this server.";
        return Finding::warning(CERTIFICATE, what, remedy);
    }
    if until.since(now) < RENEWED_BEFORE {
        return Finding::warning(CERTIFICATE, format_args!("{file} ends at {until}"), renew);
    }
    Finding::good(CERTIFICATE, format_args!("{file}, valid until {until}"))
}

/// Lists that have expired refuse every provider that hangs on them.
fn revocation_lists(path: &Path, now: Timestamp) -> Finding {
    const CHECK: &str = "revocations";
    let renew = "Put the issuer's newest list in its place: it is followed without a restart.";
    let ends = read_lists(path).and_then(|lists| Ok(revocation_lists_end(&lists)?));
    match ends {
        Err(error) => Finding::bad(CHECK, chain(&error), LISTS_REMEDY),
        Ok(None) => Finding::good(CHECK, path.display()),
        Ok(Some(until)) => {
            let what = |ends| format!("a list of {} {ends} {until}", path.display());
            if until <= now {
                Finding::bad(CHECK, what("expired at"), renew)
            } else if until.since(now) < LISTS_RENEWED_BEFORE {
                Finding::warning(CHECK, what("expires at"), renew)
            } else {
                Finding::good(
                    CHECK,
                    format_args!("{}, the first expires at {until}", path.display()),
                )
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{Authority, TlsOptions, listener::Certificate};

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn revocation_lists_are_judged_by_the_first_that_expires() {
        let authority = Authority::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lists.pem");
        let at = |pem: &str, now: Timestamp| {
            std::fs::write(&path, pem).unwrap();
            revocation_lists(&path, now)
        };
        let good = authority.revoke(&[7], false).unwrap();
        let until = revocation_lists_end(good.as_bytes()).unwrap().unwrap();
        let before = |span: Duration| {
            let micros = i64::try_from(span.as_micros()).unwrap();
            Timestamp::from_micros(until.as_micros() - micros)
        };
        assert_eq!(at(&good, before(4 * DAY)).level, Level::Good);
        let soon = at(&good, before(2 * DAY));
        assert_eq!(soon.level, Level::Warning);
        assert!(soon.what.contains(&until.to_string()), "{}", soon.what);
        assert_eq!(at(&good, until).level, Level::Bad);
        // One of several is enough.
        let expired = authority.revoke(&[], true).unwrap();
        assert_eq!(at(&format!("{good}{expired}"), before(4 * DAY)).level, Level::Bad);
        assert_eq!(at("nothing", before(4 * DAY)).level, Level::Bad);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(revocation_lists(&path, until).level, Level::Bad);
    }

    #[test]
    fn a_certificate_is_judged_by_its_days_and_names() {
        let made = Certificate::make(&TlsOptions::default()).unwrap();
        let tls = ServerTls::new(made.chain_pem.as_bytes(), made.key_pem.as_bytes()).unwrap();
        let (from, until) = tls.validity();
        let at = |now: Timestamp, host: Option<&str>| judged("cert.pem", &tls, host, now);
        assert_eq!(at(from, None).level, Level::Good);
        assert_eq!(at(from, Some("localhost")).level, Level::Good);
        assert_eq!(at(from, Some("127.0.0.1")).level, Level::Good);
        let other = at(from, Some("gate.example.com"));
        assert_eq!(other.level, Level::Warning);
        assert!(other.what.contains("is not for gate.example.com"), "{}", other.what);
        assert_eq!(at(from + 46 * DAY, None).level, Level::Good);
        let late = at(from + 48 * DAY, None);
        assert_eq!(late.level, Level::Warning);
        assert!(late.what.contains(&until.to_string()), "{}", late.what);
        let before = Timestamp::from_micros(from.as_micros() - 1);
        assert_eq!(at(before, None).level, Level::Bad);
        assert_eq!(at(until, Some("localhost")).level, Level::Bad);
    }
}
