//! `weirgate audit ...`.

use super::{Session, input::read_input};
use crate::{
    cli::AuditVerb,
    harmless::short,
    output::{Failure, Lines, USAGE},
};
use app::audit_log;
use serde_json::json;

pub(crate) async fn audit(session: &Session, verb: &AuditVerb) -> Result<(), Failure> {
    let folder = session.folder()?;
    match verb {
        AuditVerb::List { limit } => {
            let entries = audit_log::list(&folder, *limit)?;
            let mut text = Lines::default();
            let mut rows = Vec::new();
            for (index, record) in &entries {
                let fields = record.fields();
                let mut line = format!("{index:>8}  {:<16}", record.kind());
                let mut row = serde_json::Map::new();
                row.insert("index".into(), json!(index));
                row.insert("kind".into(), json!(record.kind()));
                for (name, value) in fields {
                    line.push_str(&format!(" {name}={}", short(&value.to_string())));
                    row.insert(name.into(), to_json(&value));
                }
                text.push(line);
                rows.push(row);
            }
            Ok(session.output.result(&json!({"entries": rows}), text)?)
        }
        AuditVerb::Verify { checkpoint } => {
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
            let report = audit_log::verify_folder(&folder, kept.as_deref()).await?;
            let text = format!(
                "The log is whole: {} entries, {} open intents, {} outbox rows, {} entries after the last checkpoint.",
                report.entries, report.open_intents, report.outbox_rows, report.after_checkpoint
            );
            let json = json!({
                "entries": report.entries,
                "open_intents": report.open_intents,
                "outbox_rows": report.outbox_rows,
                "after_checkpoint": report.after_checkpoint,
            });
            Ok(session.output.result(&json, &text)?)
        }
    }
}

fn to_json(value: &audit::FieldValue) -> serde_json::Value {
    match value {
        audit::FieldValue::Text(text) => json!(text),
        audit::FieldValue::Number(number) => json!(number),
        audit::FieldValue::Truth(truth) => json!(truth),
    }
}
