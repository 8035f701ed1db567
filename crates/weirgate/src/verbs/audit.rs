//! `weirgate audit ...`.

use super::{Session, input::read_input};
use crate::{
    cli::AuditVerb,
    output::{Failure, USAGE, plain},
};
use app::audit_log;
use serde_json::json;

pub(crate) async fn audit(session: &Session, verb: &AuditVerb) -> Result<(), Failure> {
    match verb {
        AuditVerb::List { limit } => {
            let folder = session.folder()?;
            let entries = audit_log::list(&folder, *limit)?;
            let mut text = String::new();
            let mut rows = Vec::new();
            for (index, record) in &entries {
                let fields = record.fields();
                text.push_str(&format!("{index:>8}  {:<16}", record.kind()));
                let mut row = serde_json::Map::new();
                row.insert("index".into(), json!(index));
                row.insert("kind".into(), json!(record.kind()));
                for (name, value) in fields {
                    text.push_str(&format!(" {name}={}", plain(&value)));
                    row.insert(name.into(), json!(value));
                }
                text.push('\n');
                rows.push(row);
            }
            Ok(session.output.result(&json!({"entries": rows}), &text)?)
        }
        AuditVerb::Verify { checkpoint, key } => {
            let kept = match checkpoint {
                Some(path) => {
                    let bytes = read_input(path)?;
                    Some(String::from_utf8(bytes).map_err(|_| {
                        Failure::new(
                            USAGE,
                            format!("{} is no checkpoint", path.display()),
                            "Name a copy of a log's `audit/checkpoint`.",
                        )
                    })?)
                }
                None => None,
            };
            let against = audit_log::Against { key: key.as_deref(), checkpoint: kept.as_deref() };
            let report = audit_log::verify_folder(&session.data_dir, against).await?;
            let outbox = match report.outbox_rows {
                Some(rows) => format!("{rows} outbox rows"),
                None => "outbox not looked at".to_owned(),
            };
            let text = format!(
                "The log {} is whole: {} entries, {} open intents, {outbox}, {} entries after the last checkpoint, {} torn bytes.",
                plain(&report.origin),
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
            Ok(session.output.result(&json, &text)?)
        }
    }
}
