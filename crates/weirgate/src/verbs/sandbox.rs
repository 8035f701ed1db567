//! `weirgate sandbox`: a description served as a stateful mock. Needs no data folder.

use super::{
    Session,
    input::{parse_span, read_input},
};
use crate::{
    cli::SandboxArgs,
    harmless::short,
    output::{FAILED, Failure, Lines, USAGE, chain},
    serve::{Hangup, Signals},
};
use sandbox::{DescribedError, DescribedOptions, RunningDescribed, serve_description};
use serde_json::json;
use std::sync::Arc;
use types::{SecretText, SeededRandom, SystemClock};

pub(crate) async fn sandbox(session: &Session, args: &SandboxArgs) -> Result<(), Failure> {
    if !args.listen.ip().is_loopback() {
        return Err(Failure::new(
            USAGE,
            format!("the sandbox does not listen on {}: it speaks plain HTTP", args.listen),
            "Give a loopback address, and put a proxy before it that speaks TLS.",
        ));
    }
    let credential = match (&args.credential_file, args.no_auth) {
        (_, true) => None,
        (Some(file), false) => {
            let bytes = read_input("--credential-file", file)?;
            let text = String::from_utf8(bytes).map_err(|_| {
                Failure::new(USAGE, "the credential is no text", "Give a file with one line.")
            })?;
            Some(SecretText::new(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        // Repeatable like everything else here: it protects nothing but the test of a client.
        (None, false) => {
            let number = SeededRandom::new(args.seed).next_u64();
            Some(SecretText::new(format!("sandbox-{number:016x}")))
        }
    };
    let shown = match (&credential, &args.credential_file) {
        (Some(credential), None) => Some(credential.expose().to_owned()),
        _ => None,
    };
    let started = serve_description(DescribedOptions {
        description: read_input("FILE", &args.file)?,
        addr: args.listen,
        seed: args.seed,
        records: args.records,
        credential,
        token_lifetime: parse_span("--token-lifetime", &args.token_lifetime)?,
        faults: args.faults.clone(),
        clock: Arc::new(SystemClock),
    })
    .await;
    let running = started.map_err(|error| failure(&error))?;
    let signals = Signals::listen(Hangup::Stops)?;
    session.output.result(&told(&running, shown.as_deref()), guide(&running, shown.as_deref()))?;
    signals.until_told().await;
    running.shutdown().await;
    Ok(())
}

fn failure(error: &DescribedError) -> Failure {
    let exit = match error {
        DescribedError::Listen { .. } => FAILED,
        _ => USAGE,
    };
    Failure::new(exit, chain(error), error.remedy())
}

fn told(running: &RunningDescribed, credential: Option<&str>) -> serde_json::Value {
    json!({
        "url": running.base_url,
        "credential": credential,
        "token_url": running.token_url,
        "title": running.title,
        "operations": running.operations,
        "collections": running.collections,
        "schemes": running.schemes,
    })
}

fn guide(running: &RunningDescribed, credential: Option<&str>) -> Lines {
    let mut lines = Lines::default();
    lines.push(format!(
        "{}: {} operations, {} collections",
        short(&running.title),
        running.operations,
        running.collections,
    ));
    lines.push(format!("url         {}", running.base_url));
    if let Some(credential) = credential.filter(|_| !running.schemes.is_empty()) {
        let schemes: Vec<String> = running.schemes.iter().map(|name| short(name)).collect();
        lines.push(format!("credential  {credential} ({})", schemes.join(", ")));
        lines.push(format!("token url   {} (client `sandbox`)", running.token_url));
    }
    lines.push(format!("calls       http://{}/__sandbox/calls", running.addr()));
    lines
}
