//! `weirgate audit ...`.

use super::{Session, input::read_input, is_missing};
use crate::{
    cli::AuditVerb,
    harmless::short,
    output::{FAILED, Failure, Lines, NOT_FOUND, USAGE},
};
use app::audit_log;
use audit::WitnessKey;
use serde_json::json;
use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

pub(crate) async fn audit(session: &Session, verb: &AuditVerb) -> Result<(), Failure> {
    match verb {
        AuditVerb::List { limit } => {
            let folder = session.folder()?;
            let entries = audit_log::list(&folder, *limit)?;
            let mut text = Lines::default();
            let mut rows = Vec::new();
            for (index, record) in &entries {
                let mut line = format!("{index:>8}  {:<16}", record.kind());
                for (name, value) in record.fields() {
                    line.push_str(&format!(" {name}={}", short(&value.to_string())));
                }
                text.push(line);
                rows.push(audit_log::to_json(*index, record));
            }
            Ok(session.output.result(&json!({"entries": rows}), text)?)
        }
        AuditVerb::Verify { checkpoint, witness_key, key } => {
            let kept = match checkpoint {
                Some(path) => kept_in(path, witness_key.as_deref())?,
                None => Vec::new(),
            };
            session.must_be_there()?;
            if key.as_deref().is_some_and(is_missing) {
                let what = "there is no file of the name that --key gives";
                return Err(Failure::new(NOT_FOUND, what, "Check its name."));
            }
            let against = audit_log::Against { key: key.as_deref(), checkpoints: &kept };
            let report =
                audit_log::verify_folder(&session.data_dir, session.server(), against).await?;
            let outbox = match report.outbox_rows {
                Some(rows) => format!("{rows} outbox rows"),
                None => "outbox not looked at".to_owned(),
            };
            let text = format!(
                "The log {} is whole: {} entries, {} open intents, {outbox}, {} entries after the last checkpoint, {} torn bytes.",
                report.origin,
                report.entries,
                report.open_intents,
                report.after_checkpoint,
                report.torn_bytes
            );
            let json = json!({
                "origin": report.origin,
                "entries": report.entries,
                "open_intents": report.open_intents,
                "outbox_rows": report.outbox_rows,
                "after_checkpoint": report.after_checkpoint,
                "torn_bytes": report.torn_bytes,
            });
            Ok(session.output.result(&json, text)?)
        }
        AuditVerb::Checkpoint { cosigned } => {
            let folder = session.folder()?;
            let note = if *cosigned {
                audit_log::cosigned(&folder)?
            } else {
                audit_log::checkpoint(&folder)?
            };
            let mut out = io::stdout().lock();
            out.write_all(note.as_bytes())?;
            Ok(out.flush()?)
        }
        AuditVerb::Proof { index, checkpoint, out } => {
            let under = match checkpoint {
                // The newest is the last one that was put there.
                Some(path) => kept_in(path, None)?.pop(),
                None => None,
            };
            let proof = audit_log::proof(&session.folder()?, *index, under.as_deref())?;
            let text = proof.to_string();
            written(out.as_deref(), &mut |to| to.write_all(text.as_bytes()).map_err(Into::into))
        }
        AuditVerb::Export { from, to, jsonl, out } => {
            let folder = session.folder()?;
            let range = from.unwrap_or(0)..to.unwrap_or(u64::MAX);
            written(out.as_deref(), &mut |to| {
                if *jsonl {
                    audit_log::each_entry(&folder, range.clone(), |index, record| {
                        writeln!(to, "{}", audit_log::to_json(index, record))
                    })?;
                } else {
                    audit_log::export(&folder, range.clone(), to)?;
                }
                Ok(())
            })
        }
    }
}

/// Checkpoints in a file that was kept elsewhere; with a witness's key, those that it cosigned.
fn kept_in(path: &Path, witness: Option<&str>) -> Result<Vec<String>, Failure> {
    let text = String::from_utf8(read_input("--checkpoint", path)?).unwrap_or_default();
    let mut kept = audit::notes(&text);
    if kept.is_empty() {
        return Err(Failure::new(
            USAGE,
            format!("{} is no checkpoint", path.display()),
            "Name a copy of a log's `audit/checkpoint`, or a `checkpoint_file`.",
        ));
    }
    let Some(given) = witness else { return Ok(kept) };
    let text = if given.parse::<WitnessKey>().is_ok() {
        given.to_owned()
    } else {
        String::from_utf8(read_input("--witness-key", Path::new(given))?).unwrap_or_default()
    };
    let key: WitnessKey = text.trim().parse().map_err(|_| {
        let what = "what --witness-key gives is no key of a witness";
        let remedy = "Name a copy of the witness's `witness.pub`, or give NAME+ID+KEY.";
        Failure::new(USAGE, what, remedy)
    })?;
    kept.retain(|note| key.check(note).is_ok());
    if kept.is_empty() {
        return Err(Failure::new(
            USAGE,
            format!("{} holds no checkpoint that {} cosigned", path.display(), key.name()),
            "Name what this witness cosigned, like what `weirgate audit checkpoint --cosigned` prints.",
        ));
    }
    Ok(kept)
}

/// Writes to standard output, or into a new file that only its owner may read.
pub(super) fn written(
    out: Option<&Path>,
    write: &mut dyn FnMut(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(path) = out else {
        let mut to = BufWriter::new(io::stdout().lock());
        write(&mut to)?;
        return Ok(to.flush()?);
    };
    let failed = |error: &io::Error| {
        // There is no such file yet: what was given as its name may be anything.
        let what = format!("cannot write the file that --out names: {error}");
        Failure::new(FAILED, what, "Name a new file in a folder that this user may write to.")
    };
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut to = BufWriter::new(options.map_err(|error| failed(&error))?);
    let written = write(&mut to);
    if let Err(error) = to.flush() {
        return Err(failed(&error));
    }
    if written.is_err() {
        // Half of it proves nothing.
        std::fs::remove_file(path).map_err(|error| failed(&error))?;
    }
    written
}
