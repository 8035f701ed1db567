//! `weirgate vault ...`.

use super::{Session, input::read_secret};
use crate::{
    cli::VaultVerb,
    config::Config,
    output::{FAILED, Failure, Lines, USAGE, counted},
    passphrase,
};
use app::{
    Error, Instance,
    generations::{self, Done, Status, Turn},
    root_key::{self, Described, Rotated, Step},
};
use serde_json::{Value, json};
use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
};
use types::{SecretText, SystemClock, SystemRandom};
use vault::{Passphrase, RootKeyError, Share};

pub(crate) async fn vault(
    session: &Session,
    verb: &VaultVerb,
    config: impl FnOnce() -> Result<Config, Failure>,
) -> Result<(), Failure> {
    match verb {
        VaultVerb::Status => {
            let instance = session.instance().await?;
            let (status, described) =
                (generations::status(&instance).await?, root_key::describe(&instance)?);
            instance.close().await?;
            Ok(session.output.result(&shown(&status, &described), told(&status, &described))?)
        }
        VaultVerb::Rotate { finish } => rotate(session, *finish).await,
        VaultVerb::RotateRoot { new_root_key_file } => {
            let instance = session.instance_to_change().await?;
            let new = new_root_key_file.as_deref();
            let rotated = root_key::rotate(&instance, &session.context()?, new, &reached).await;
            let rotated = rotated.map_err(|error| unnamed(error, new))?;
            session.settle(instance).await?;
            tell_rotated(session, &rotated)
        }
        VaultVerb::Lifetime(verb) => super::lifetimes::lifetime(session, verb).await,
        VaultVerb::Store(verb) => super::stores::store(session, verb, config).await,
        VaultVerb::Leak(args) => super::lifetimes::leak(session, args).await,
        VaultVerb::Seal => {
            let passphrase = new_passphrase(session)?;
            seal(session, Some(&passphrase)).await
        }
        VaultVerb::Unseal => seal(session, None).await,
        VaultVerb::Shares { threshold, shares, out } => {
            split(session, (*threshold, *shares), out).await
        }
        VaultVerb::Recover { shares } => recover(session, shares).await,
    }
}

/// A file that cannot be made may have a secret for its name: that is not repeated.
fn unnamed(error: Error, named: Option<&Path>) -> Failure {
    match error {
        Error::RootKey(RootKeyError::Io { source, .. }) | Error::Io { source, .. }
            if named.is_some() =>
        {
            Failure::new(
                FAILED,
                format!("the new root key's file cannot be written: {}", source.kind()),
                "Name a new file in a folder that this user may write to.",
            )
        }
        error => error.into(),
    }
}

/// A test ends a rotation here. A release build knows of none.
fn reached(step: Step) {
    #[cfg(debug_assertions)]
    if std::env::var_os("FAILPOINT")
        .is_some_and(|at| at == *format!("rotate-root {}", step.as_str()))
    {
        let own = rustix::process::getpid();
        let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    }
    #[cfg(not(debug_assertions))]
    let _ = step;
}

async fn rotate(session: &Session, is_finishing: bool) -> Result<(), Failure> {
    let instance = session.instance_to_change().await?;
    if !is_finishing {
        generations::begin(&instance, &session.context()?).await?;
    }
    // A server does it by itself.
    let is_served = instance.folder.try_lock()?.is_none();
    let nodes = if is_served { false } else { finish(session, &instance).await? };
    let status = generations::status(&instance).await?;
    let described = root_key::describe(&instance)?;
    session.settle(instance).await?;
    let mut text = told(&status, &described);
    if is_served {
        text.push("The running server seals everything anew; `vault status` shows how far it is.");
    } else if nodes {
        text.push("Another node seals everything anew; `vault status` shows how far it is.");
    }
    Ok(session.output.result(&shown(&status, &described), text)?)
}

/// Seals everything anew here; whether another node does it instead.
async fn finish(session: &Session, instance: &Instance) -> Result<bool, Failure> {
    let mut turn = Turn::default();
    turn.look(instance).await?;
    let status = generations::status(instance).await?;
    let (mut done, all) = (status.done, status.all);
    loop {
        if !turn.take(instance, true).await? {
            return Ok(true);
        }
        bar(session, done, all);
        match generations::advance(instance, &session.context()?, generations::BATCH).await? {
            Done::Sealed { values } => done += values,
            Done::Destroyed { .. } | Done::Nothing => break,
        }
    }
    if is_shown(session) {
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(io::stderr().lock());
    }
    Ok(false)
}

fn is_shown(session: &Session) -> bool {
    !session.output.is_json && io::stderr().is_terminal()
}

fn bar(session: &Session, done: u64, all: u64) {
    if is_shown(session) {
        let _ = write!(io::stderr().lock(), "\r{}", bar_of(done, all));
    }
}

fn bar_of(done: u64, all: u64) -> String {
    const WIDTH: u64 = 40;
    let all = all.max(1);
    let done = done.min(all);
    let full = usize::try_from(done * WIDTH / all).unwrap_or_default();
    let empty = usize::try_from(WIDTH).unwrap_or_default() - full;
    let (full, empty) = ("#".repeat(full), ".".repeat(empty));
    format!("[{full}{empty}] {} % ({done} of {all})", done * 100 / all)
}

fn shown(status: &Status, root: &Described) -> Value {
    let generations = status.generations.iter().map(|one| {
        json!({
            "number": one.number,
            "current": one.is_current,
            "customers": one.customers,
            "sealed_values": one.values,
        })
    });
    json!({
        "root_key": {
            "name": root.name,
            "file": root.file.display().to_string(),
            "sealed": root.is_sealed,
            "credential": root.is_credential,
        },
        "generations": generations.collect::<Vec<Value>>(),
        "under_way": status.is_under_way(),
        "done": status.done,
        "left": status.all - status.done,
    })
}

fn told(status: &Status, root: &Described) -> Lines {
    let mut text = Lines::default();
    let kept = match (root.is_credential, root.is_sealed) {
        (true, false) => "handed over by the service manager",
        (true, true) => "handed over by the service manager, sealed by a passphrase",
        (false, true) => "sealed by a passphrase",
        (false, false) => "not sealed by a passphrase",
    };
    text.push(format!("root key {}  {}  {kept}", root.name, root.file.display()));
    for one in &status.generations {
        let state = if one.is_current { "in force" } else { "to be destroyed" };
        text.push(format!(
            "generation {}  {state}  {} customers  {} sealed values",
            one.number, one.customers, one.values
        ));
    }
    if status.is_under_way() {
        text.push(bar_of(status.done, status.all));
    }
    text
}

fn tell_rotated(session: &Session, rotated: &Rotated) -> Result<(), Failure> {
    let Rotated { file, former_file, name, former, generations, is_found } = rotated;
    let mut text = vec![
        format!("The root key is {name} now, in {}.", file.display()),
        format!(
            "{} it wraps anew. Keep a copy of the file elsewhere, and make new shares.",
            counted(*generations, "generation")
        ),
        format!(
            "The former one, {former} in {}, opens only backups from before: keep it as long as those.",
            former_file.display()
        ),
        "A running server goes on; every other node needs the new file before its next start."
            .to_owned(),
    ];
    if !is_found {
        text.push(
            "The former file was named by --root-key-file, WEIRGATE_ROOT_KEY_FILE or the service \
             manager: name the new one there."
                .to_owned(),
        );
    }
    let json = json!({
        "name": name,
        "root_key_file": file.display().to_string(),
        "former": {"name": former, "root_key_file": former_file.display().to_string()},
        "generations": generations,
    });
    Ok(session.output.result(&json, text)?)
}

/// A passphrase for what is sealed from now on.
fn new_passphrase(session: &Session) -> Result<Passphrase, Failure> {
    session.passphrase_must_be_there()?;
    let typed = match &session.passphrase_file {
        Some(file) => app::read_passphrase(file)?,
        None if passphrase::can_ask() => passphrase::ask_new()?,
        None => {
            return Err(Failure::new(
                USAGE,
                "there is no passphrase, and no terminal to ask for one",
                "Name its file with --passphrase-file.",
            ));
        }
    };
    Passphrase::new(&typed).map_err(|error| Error::Passphrase(error).into())
}

async fn seal(session: &Session, passphrase: Option<&Passphrase>) -> Result<(), Failure> {
    let instance = session.instance_to_change().await?;
    let sealing = root_key::seal(&instance, &session.context()?, passphrase).await?;
    session.settle(instance).await?;
    let file = sealing.file.display().to_string();
    let text = if sealing.is_sealed {
        [
            format!("{file} is sealed: each start needs the passphrase."),
            "Copies of it that were made before are not; nor is what a disk keeps of the old file."
                .to_owned(),
        ]
    } else {
        [format!("{file} is sealed no more."), "Who reads it has the key.".to_owned()]
    };
    let json = json!({"root_key_file": file, "sealed": sealing.is_sealed});
    Ok(session.output.result(&json, text)?)
}

async fn split(
    session: &Session,
    (threshold, shares): (u8, u8),
    out: &Path,
) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::new(
            FAILED,
            format!("the shares cannot be written: {}", error.kind()),
            "Name a new or empty folder with --out.",
        )
    };
    let instance = session.instance_to_change().await?;
    let made = root_key::split(&instance, &session.context()?, threshold, shares).await?;
    session.settle(instance).await?;
    DirBuilder::new().recursive(true).mode(0o700).create(out).map_err(failed)?;
    let mut files = Vec::new();
    for share in &made {
        let file = out.join(format!("share-{}-of-{shares}.txt", share.index()));
        write_share(&file, share).map_err(failed)?;
        files.push(file.display().to_string());
    }
    let text = [
        format!("Wrote {}, any {threshold} of which yield the root key:", counted(made.len(), "share")),
        files.join("\n"),
        "Give each to somebody else, on something else, and keep none here. After a rotation of the \
         root key they yield the former one: make new ones then."
            .to_owned(),
    ];
    let mut lines = Lines::default();
    for line in text.iter().flat_map(|text| text.split('\n')) {
        lines.push(line);
    }
    let json = json!({"threshold": threshold, "shares": files});
    Ok(session.output.result(&json, lines)?)
}

fn write_share(file: &Path, share: &Share) -> io::Result<()> {
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    opened.write_all(share.to_line().expose().as_bytes())?;
    opened.sync_all()
}

async fn recover(session: &Session, files: &[std::path::PathBuf]) -> Result<(), Failure> {
    let Some(file) = &session.root_key_file else {
        return Err(Failure::new(
            USAGE,
            "there is no place for the root key's file",
            "Name a new file with --root-key-file.",
        ));
    };
    let mut texts = Vec::new();
    for share in files {
        let bytes = read_secret("--share", share)?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Failure::new(FAILED, "a share is one line of text", "Give each as it was written.")
        })?;
        texts.push(SecretText::new(text));
    }
    let recovered = root_key::combine(&texts)?;
    let folder = session.folder()?;
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let instance = recovered.open(folder, clock, random).await?;
    let sealing = match &session.passphrase_file {
        Some(_) => Some(new_passphrase(session)?),
        None => None,
    };
    let written = recovered.write(&instance, &session.context()?, file, sealing.as_ref()).await?;
    session.settle(instance).await?;
    let file = written.display().to_string();
    let text = [
        format!("The shares yield the root key {}, which opens the vault.", recovered.name),
        format!("It is in {file}, and the data folder records that."),
    ];
    let json = json!({"name": recovered.name, "root_key_file": file});
    Ok(session.output.result(&json, text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_at_the_end_and_never_wider() {
        assert_eq!(bar_of(0, 0), format!("[{}] 0 % (0 of 1)", ".".repeat(40)));
        assert_eq!(bar_of(5, 10), format!("[{}{}] 50 % (5 of 10)", "#".repeat(20), ".".repeat(20)));
        assert_eq!(bar_of(11, 10), format!("[{}] 100 % (10 of 10)", "#".repeat(40)));
    }
}
