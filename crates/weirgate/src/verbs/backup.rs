//! `weirgate backup ...`.

use super::{Session, init::asked};
use crate::{
    cli::BackupVerb,
    output::{Failure, counted},
};
use app::{
    backup::{self, Summary},
    restore::{OLD_CONFIG, Restored, restore},
};
use serde_json::json;
use std::time::Duration;
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
        BackupVerb::Restore { file, .. } => {
            let restored = restore(file, asked(session)?).await?;
            tell_restored(session, restored).await
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

async fn tell_restored(session: &Session, restored: Restored) -> Result<(), Failure> {
    let Restored { made, summary, sha256, age, has_config } = restored;
    let dir = made.instance.folder.dir().display().to_string();
    let key = made.root_key_file.display().to_string();
    let node = made.instance.node.map(|node| node.to_string());
    made.instance.close().await?;
    let Summary { head, rows, .. } = summary;
    let mut text = vec![
        format!(
            "Created the data folder {dir} of {}, as it was at {}.",
            head.instance, head.created_at
        ),
        format!(
            "That is {} ago. What was revoked since is in force again, and what was granted or \
             created since is gone: look through both before you serve.",
            long(age)
        ),
        "Its audit log is a new one, and names the logs before it; keep their folders.".to_owned(),
        "Stop every server that still runs on the old database: it would go on by itself."
            .to_owned(),
    ];
    if has_config {
        text.push(format!(
            "Only the database is configured. The old configuration is {OLD_CONFIG}: nothing \
             vouches for it; copy from it what you know."
        ));
    }
    text.push(format!("Next: {}", session.next("serve")));
    let json = json!({
        "id": head.instance,
        "node": node,
        "data_dir": dir,
        "root_key_file": key,
        "backup_sha256": sha256,
        "created_at": head.created_at,
        "age_seconds": age.as_secs(),
        "rows": rows,
    });
    Ok(session.output.result(&json, text)?)
}

/// A span in its largest unit.
fn long(span: Duration) -> String {
    let seconds = span.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    counted(usize::try_from(count).unwrap_or(usize::MAX), unit)
}
