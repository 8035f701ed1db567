//! `weirgate customer ...`.

use super::{Session, input::parse_id};
use crate::{
    cli::CustomerVerb,
    output::{Failure, Lines, USAGE, counted},
};
use app::{DataFolder, Error, customers};
use serde_json::json;
use std::{
    fs::OpenOptions,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};
use types::{Customer, Id};

/// How long a certificate is waited for: a server takes the entry within a second, and signs it within
/// another.
const LOOKS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) async fn customer(session: &Session, verb: &CustomerVerb) -> Result<(), Failure> {
    match verb {
        CustomerVerb::List => {
            let instance = session.instance().await?;
            let listed = customers::list(&instance).await?;
            instance.close().await?;
            let mut text = Lines::default();
            let mut rows = Vec::new();
            for one in &listed {
                let connections = counted(one.connections, "connection");
                text.push(format!("{}  {}  {connections}", one.id, one.name));
                rows.push(json!({
                    "id": one.id.to_string(),
                    "name": one.name,
                    "connections": one.connections,
                    "sealed_values": one.values,
                    "created_at": one.created_at.to_string(),
                }));
            }
            Ok(session.output.result(&json!({"customers": rows}), text)?)
        }
        CustomerVerb::Erase { name, yes, certificate } => {
            if certificate.as_ref().is_some_and(|file| file.exists()) {
                return Err(taken());
            }
            if !yes {
                confirm()?;
            }
            erase(session, name, certificate.as_deref()).await
        }
        CustomerVerb::Certificate { id, out } => {
            let id: Id<Customer> = parse_id("customer", id)?;
            let text = certified(&session.folder()?, id).await?;
            match out {
                Some(file) => {
                    write(file, &text)?;
                    let said = format!("Wrote the certificate of {id}.");
                    Ok(session.output.result(&json!({"id": id.to_string()}), said)?)
                }
                None => Ok(io::stdout().lock().write_all(text.as_bytes())?),
            }
        }
    }
}

async fn erase(session: &Session, name: &str, file: Option<&Path>) -> Result<(), Failure> {
    let instance = session.instance_to_change().await?;
    let erased = customers::erase(&instance, &session.context()?, name).await?;
    let folder = instance.folder.clone();
    session.settle(instance).await?;
    let (id, destroyed) = (erased.id, erased.destroyed);
    let text = if let Some(file) = file {
        write(file, &certified(&folder, id).await?)?;
        "Its certificate is written; `weirgate-verify` checks it with the log's key.".to_owned()
    } else {
        let next = session.next(&format!("customer certificate {id}"));
        format!("Its certificate: {next} --out FILE")
    };
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let text = [
        format!(
            "Erased {id}: its key, {}, {} and {}.",
            counted(count(destroyed.sealed), "sealed value"),
            counted(count(destroyed.connections), "connection"),
            counted(count(destroyed.grants), "grant")
        ),
        "Backups from before hold its key still, under the vault's generation of then: rotate that \
         (`vault rotate`) and the root key, and destroy the old root key or those backups."
            .to_owned(),
        text,
    ];
    let json = json!({
        "id": id.to_string(),
        "destroyed": {
            "keys": 1,
            "sealed_values": destroyed.sealed,
            "connections": destroyed.connections,
            "grants": destroyed.grants,
        },
    });
    Ok(session.output.result(&json, text)?)
}

/// Waits until a checkpoint covers the entry.
async fn certified(folder: &DataFolder, id: Id<Customer>) -> Result<String, Failure> {
    for _ in 0..LOOKS {
        if let Some(text) = customers::certify(folder, id)? {
            return Ok(text);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Error::NotCertified.into())
}

fn confirm() -> Result<(), Failure> {
    let refused = || {
        Failure::new(
            USAGE,
            "nothing was erased: it was not confirmed",
            "An erasure cannot be undone. Type yes when asked, or give --yes.",
        )
    };
    if !io::stdin().is_terminal() {
        return Err(refused());
    }
    write!(io::stderr().lock(), "This cannot be undone. Type yes to erase the customer: ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(refused()) }
}

fn taken() -> Failure {
    Failure::new(USAGE, "there is a file of the certificate's name already", "Name a new file.")
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o644).open(file);
    let mut opened = opened.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(),
        kind => Failure::new(
            crate::output::FAILED,
            format!("the certificate cannot be written: {kind}"),
            "Name another place; `weirgate customer certificate` writes it.",
        ),
    })?;
    Ok(opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all())?)
}
