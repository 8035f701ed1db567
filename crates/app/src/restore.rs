//! A backup becomes an installation again: in a new data folder, on a file or an empty database of a
//! server, and only with the root key.
//!
//! A backup is a file that anybody can write. So its rows are judged by their seals before anything
//! of it is put into a database; what is in no seal is not put in force. The audit log is not in a
//! backup, and is not continued: two histories under one name would be a fork. The folder is a new
//! node with a log of its own, whose entry of the restoration names the backup and the last
//! checkpoints of the logs before it.

use crate::{
    accounts,
    backup::{BackupError, BackupReader, Summary},
    change::{Changing, listed},
    error::Error,
    folder::write_new,
    instance::{Draft, Init, Instance, Joining, Made, OpenKey, refuse_taken},
    seals,
};
use audit::OpenError;
use std::{fs, path::Path, sync::Arc, time::Duration};
use store::{Location, Store};
use types::{Id, Timestamp};

/// What came of a backup.
#[derive(Debug)]
pub struct Restored {
    pub made: Made,
    pub summary: Summary,
    /// Of the whole file.
    pub sha256: String,
    /// How long ago the backup was made; what was changed since is not in force.
    pub age: Duration,
    /// Whether the backup's configuration lies beside the new one.
    pub has_config: bool,
}

/// The backup's configuration, which nothing vouches for: an operator reads it.
pub const OLD_CONFIG: &str = "weirgate.toml.from-backup";

/// Makes a data folder of a backup.
///
/// # Errors
/// [`BackupError`] for a file that is no whole backup of this release's layout;
/// [`Error::SealsTampered`] and [`Error::RowTampered`] for one that Weirgate did not write.
pub async fn restore(file: &Path, init: Init<'_>) -> Result<Restored, Error> {
    let Init { dir, server, config, root_key, custody, actor: ctx, clock, random } = init;
    refuse_taken(dir)?;
    let head = BackupReader::open(file)?.head().clone();
    let path = || file.to_owned();
    let id = head.instance.parse().map_err(|_| BackupError::NotOne { path: path() })?;
    if head.layout != store::layout() {
        let (found, wanted) = (head.layout, store::layout());
        return Err(BackupError::Layout { path: path(), found, wanted }.into());
    }
    let made_at = Timestamp::parse(&head.created_at);
    let made_at = made_at.ok_or_else(|| BackupError::NotOne { path: path() })?;
    let key_file = root_key.of(id, dir)?;
    let key = OpenKey::of(custody, &key_file)?;
    let draft = Draft::make(dir, Id::generate(ctx.now, random.as_ref())?, server.as_ref())?;
    let filling = async {
        // Beside a server's database too: nothing is written there before all was judged.
        let staged = Location::File(draft.folder.database());
        let (staged_store, filled) = fill(&staged, file).await?;
        let joining = |store| Joining {
            folder: draft.folder.clone(),
            store,
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
        };
        let mut instance = Instance::as_new_node(joining(staged_store), &key, ctx.now).await?;
        let logs = judge(&instance).await?;
        if server.is_some() {
            instance.close_store().await;
            remove_database(&draft.folder.database())?;
            let (store, again) = fill(&draft.folder.location(), file).await?;
            if again.sha256 != filled.sha256 {
                return Err(BackupError::Changed { path: path() }.into());
            }
            instance = Instance::as_new_node(joining(store), &key, ctx.now).await?;
        }
        let mut changing = Changing::joining(&instance, &ctx).await?;
        // Of rows that wait nobody knows here whether their log has them: the new one takes them.
        changing.tx.unclaim_outbox().await?;
        let details = vec![
            ("backup_sha256", filled.sha256.clone()),
            ("backup_made_at", head.created_at.clone()),
            ("logs", listed(&logs)),
        ];
        let left = instance.enter(changing, &ctx, "instance.restore", details).await?;
        if let Some(config) = &head.config {
            write_new(&draft.folder.dir().join(OLD_CONFIG), config.as_bytes(), 0o600)?;
        }
        Ok((instance, left, filled))
    };
    let (instance, left, filled) = match filling.await {
        Ok(filled) => filled,
        Err(error) => {
            draft.discard()?;
            return Err(error);
        }
    };
    let made = instance.appear(draft, left, (&key_file, config)).await?;
    let Filled { summary, sha256 } = filled;
    let has_config = head.config.is_some();
    Ok(Restored { made, summary, sha256, age: ctx.now.since(made_at), has_config })
}

const WITNESSES: &str = "audit_witness";

struct Filled {
    summary: Summary,
    sha256: String,
}

/// Puts all rows of the backup into an empty database: all of them, and only if they are as they
/// were written.
async fn fill(location: &Location, file: &Path) -> Result<(Store, Filled), Error> {
    let mut reader = BackupReader::open(file)?;
    let store = Store::restore(location, || {
        loop {
            match reader.next_row()? {
                // What witnesses said is evidence about logs that end with this: nobody asks them again,
                // and nothing here could judge it.
                Some((table, _)) if table == WITNESSES => {}
                row => return Ok::<_, Error>(row),
            }
        }
    })
    .await?;
    let sha256 = reader.sha256();
    Ok((store, Filled { summary: reader.summary(), sha256 }))
}

/// Whether Weirgate wrote all of this. Yields the last that the store was told of each log.
async fn judge(instance: &Instance) -> Result<Vec<String>, Error> {
    let everything = instance.store.load_all().await?;
    seals::judge(&instance.secrets.pepper, &everything)?.whole()?;
    accounts::check(instance).await?;
    let mut logs = Vec::new();
    for (origin, note) in instance.store.audit_checkpoints().await? {
        let key = instance.key_of_log(&everything, &origin)?;
        let signed = key.verifier().open(&note).map_err(OpenError::Kept)?;
        let root = crate::change::hex(&signed.root);
        logs.push(format!("{origin} {} {root}", signed.size));
    }
    Ok(logs)
}

fn remove_database(path: &Path) -> Result<(), Error> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(&name) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Io { what: "remove", path: path.to_owned(), source });
            }
            _ => {}
        }
    }
    Ok(())
}
