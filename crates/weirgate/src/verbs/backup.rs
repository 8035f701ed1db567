//! `weirgate backup ...`.

use super::Session;
use crate::{cli::BackupVerb, output::Failure};
use app::backup::{self, Summary};
use serde_json::json;
use types::{SystemClock, SystemRandom};

pub(crate) async fn backup(session: &Session, verb: &BackupVerb) -> Result<(), Failure> {
    match verb {
        BackupVerb::Create { file } => {
            let folder = session.folder()?;
            let summary = backup::create(&folder, file, &SystemClock, &SystemRandom).await?;
            let said = format!("{} holds", file.display());
            tell(session, &said, &summary)
        }
        BackupVerb::Verify { file } => {
            let summary = backup::verify(file)?;
            tell(session, "The backup is whole. It holds", &summary)
        }
    }
}

fn tell(session: &Session, said: &str, summary: &Summary) -> Result<(), Failure> {
    let Summary { head, rows, bytes } = summary;
    let all: u64 = rows.values().sum();
    let text = [
        format!("{said} {all} rows of {}, state {}.", head.instance, head.generation),
        format!("It was made at {}.", head.created_at),
        "It opens only with the root key, which is not in it; nor is the audit log.".to_owned(),
    ];
    let json = json!({
        "instance": head.instance,
        "layout": head.layout,
        "generation": head.generation,
        "created_at": head.created_at,
        "rows": rows,
        "bytes": bytes,
    });
    Ok(session.output.result(&json, text)?)
}
