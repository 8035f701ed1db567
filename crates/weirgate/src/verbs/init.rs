//! `weirgate init`.

use super::Session;
use crate::output::{Failure, USAGE};
use app::{Init, Instance, RootKeyPlace};
use serde_json::json;
use std::sync::Arc;
use types::{SystemClock, SystemRandom};

pub(crate) async fn init(session: &Session) -> Result<(), Failure> {
    let made = Instance::init(asked(session)?).await?;
    let dir = made.instance.folder.dir().display().to_string();
    let key = made.root_key_file.display().to_string();
    let id = made.instance.id.to_string();
    let node = made.instance.node.map(|node| node.to_string());
    made.instance.close().await?;
    let next = session.next("provider import FILE --name SLUG");
    if let Some(node) = &node {
        let text = [
            format!("Created the data folder {dir}: {node} of the installation {id}."),
            format!("Its audit log is its own. Next: {}", session.next("serve")),
        ];
        let json = json!({"id": id, "node": node, "data_dir": dir, "root_key_file": key});
        return Ok(session.output.result(&json, text)?);
    }
    let text = [
        format!("Created the data folder {dir}."),
        format!(
            "The root key is {key}. Keep a copy of it elsewhere: without it nothing in the vault can be opened,"
        ),
        "and who has it and the folder can open everything.".to_owned(),
        format!("Next: {next}"),
        format!("{} prints a link for its first administrator.", session.next("serve")),
    ];
    Ok(session
        .output
        .result(&json!({"id": id, "node": node, "data_dir": dir, "root_key_file": key}), text)?)
}

/// What a new data folder is made of.
pub(super) fn asked(session: &Session) -> Result<Init<'_>, Failure> {
    session.passphrase_must_be_there()?;
    let root_key = match (&session.root_key_file, &session.key_folder) {
        (Some(file), _) => RootKeyPlace::File(file),
        (None, Some(folder)) => RootKeyPlace::Folder(folder),
        (None, None) => {
            return Err(Failure::new(
                USAGE,
                "there is no place for the root key: neither XDG_CONFIG_HOME nor HOME is set",
                "Name its file with --root-key-file.",
            ));
        }
    };
    Ok(Init {
        dir: &session.data_dir,
        server: session.server().cloned(),
        config: session.database.as_ref().map_or("", |database| &database.lines),
        root_key,
        custody: session.custody(),
        actor: session.context()?,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    })
}
