//! The verbs that act on the data folder: each reads its input, calls `app`, and prints.

mod apply;
mod audit;
mod backup;
mod client;
mod connect;
mod connection;
mod customer;
mod doctor;
mod init;
mod input;
mod lifetimes;
mod node;
mod provider;
mod review;
mod rules;
mod sandbox;
mod sso;
mod stores;
mod user;
mod vault;

pub(crate) use apply::apply;
pub(crate) use audit::audit;
pub(crate) use backup::backup;
pub(crate) use client::client;
pub(crate) use connection::connection;
pub(crate) use customer::customer;
pub(crate) use doctor::doctor;
pub(crate) use init::init;
pub(crate) use input::read_secret;
pub(crate) use node::node;
pub(crate) use provider::provider;
pub(crate) use review::review;
pub(crate) use rules::{advise, explain, grant, policy, role};
pub(crate) use sandbox::sandbox;
pub(crate) use sso::sso;
pub(crate) use user::{session, user};
pub(crate) use vault::vault;

use crate::passphrase;
use crate::{
    cli::Global,
    config::Database,
    output::{Failure, NOT_FOUND, Output, command, quoted},
};
use app::{Ask, Custody, DataFolder, Instance, ServerUrl, sequence};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};
use types::{Actor, Clock, Id, OpContext, SystemClock, SystemRandom};

/// What every verb needs.
#[derive(Debug)]
pub(crate) struct Session {
    /// As given; the demo makes a fresh folder where nothing is.
    pub named_dir: Option<PathBuf>,
    pub data_dir: PathBuf,
    pub root_key_file: Option<PathBuf>,
    /// The passphrase of the root key's file.
    pub passphrase_file: Option<PathBuf>,
    /// Where `init` puts a new root key if nothing else is said.
    pub key_folder: Option<PathBuf>,
    pub output: Output,
    /// Where the database lies, if not in the data folder.
    pub database: Option<Database>,
}

impl Session {
    pub(crate) fn new(global: &Global, key_folder: Option<PathBuf>) -> Self {
        Self {
            named_dir: global.data_dir.clone(),
            data_dir: global.data_dir.clone().unwrap_or_else(|| PathBuf::from("weirgate-data")),
            root_key_file: global.root_key_file.clone(),
            passphrase_file: global.passphrase_file.clone(),
            key_folder,
            output: Output { is_json: global.json },
            database: None,
        }
    }

    /// A command that goes on with the same data folder.
    pub(crate) fn next(&self, verb: &str) -> String {
        let mut line = command(verb);
        if self.named_dir.is_some() && !self.is_from_environment() {
            line.push_str(&format!(" --data-dir {}", quoted(&self.data_dir.display().to_string())));
        }
        line
    }

    /// Who acts, as part of which request.
    pub(crate) fn context(&self) -> Result<OpContext, Failure> {
        let now = SystemClock.now();
        let request = Id::generate(now, &SystemRandom).map_err(app::Error::from)?;
        let uid = app::user_id();
        Ok(OpContext { actor: Actor::Local { uid }, request, now })
    }

    /// What was given as the folder's name is shown only where it is one.
    pub(crate) fn must_be_there(&self) -> Result<(), Failure> {
        if self.named_dir.as_deref().is_some_and(is_missing) && !self.is_from_environment() {
            return Err(Failure::new(
                NOT_FOUND,
                "there is no data folder of the name that --data-dir gives",
                "Create one with `weirgate init`, or name it with --data-dir.",
            ));
        }
        Ok(())
    }

    fn is_from_environment(&self) -> bool {
        std::env::var_os("WEIRGATE_DATA_DIR").is_some_and(|dir| dir == *self.data_dir)
    }

    pub(crate) fn folder(&self) -> Result<DataFolder, Failure> {
        self.must_be_there()?;
        Ok(DataFolder::open_with(&self.data_dir, self.server())?)
    }

    /// The database's server, if it lies on one.
    pub(crate) fn server(&self) -> Option<&ServerUrl> {
        self.database.as_ref().map(|database| &database.url)
    }

    pub(crate) async fn instance(&self) -> Result<Instance, Failure> {
        self.instance_on(self.server()).await
    }

    /// As [`Self::instance`], where the whole configuration was read.
    pub(crate) async fn instance_on(
        &self,
        server: Option<&ServerUrl>,
    ) -> Result<Instance, Failure> {
        self.must_be_there()?;
        let folder = DataFolder::open_with(&self.data_dir, server)?;
        let key = self.root_key_file.as_deref();
        if key.is_some_and(is_missing) {
            return Err(Failure::new(
                NOT_FOUND,
                "there is no file of the name that --root-key-file or WEIRGATE_ROOT_KEY_FILE gives",
                "Give the path of the root key's file. The name is not repeated here: it may be \
                 the key itself.",
            ));
        }
        self.passphrase_must_be_there()?;
        let clock = Arc::new(SystemClock);
        Ok(Instance::open(folder, self.custody(), clock, Arc::new(SystemRandom)).await?)
    }

    /// What was given as the file's name is not repeated: it may be the passphrase itself.
    pub(crate) fn passphrase_must_be_there(&self) -> Result<(), Failure> {
        if self.passphrase_file.as_deref().is_some_and(is_missing) {
            return Err(Failure::new(
                NOT_FOUND,
                "there is no file of the name that --passphrase-file or WEIRGATE_PASSPHRASE_FILE gives",
                "Give the path of a file with the passphrase, never the passphrase itself.",
            ));
        }
        Ok(())
    }

    /// Where the root key comes from.
    pub(crate) fn custody(&self) -> Custody {
        Custody {
            file: self.root_key_file.clone(),
            credential: credential(),
            passphrase_file: self.passphrase_file.clone(),
            ask: passphrase::can_ask().then_some(passphrase::ask as Ask),
            ..Custody::default()
        }
    }

    /// For a verb that changes something: nothing is changed whose audit entry the log would not take
    /// afterwards.
    pub(crate) async fn instance_to_change(&self) -> Result<Instance, Failure> {
        let instance = self.instance().await?;
        sequence::check(&instance).await?;
        Ok(instance)
    }

    /// Ends a verb that changed something: its audit entries go into the log now, unless a server
    /// runs on the folder, which takes them within a second.
    async fn settle(&self, instance: Instance) -> Result<(), Failure> {
        sequence::settle(&instance)
            .await
            .map_err(|error| app::Error::NotSequenced(Box::new(error)))?;
        Ok(instance.close().await?)
    }
}

/// The root key as systemd hands it to a unit (`LoadCredential=`, `LoadCredentialEncrypted=`).
fn credential() -> Option<PathBuf> {
    let dir = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    let file = Path::new(&dir).join("weirgate-root-key");
    (!is_missing(&file)).then_some(file)
}

/// Whether there is no such file, or none can have this name.
pub(crate) fn is_missing(path: &Path) -> bool {
    use ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound};
    std::fs::symlink_metadata(path).is_err_and(|error| {
        matches!(error.kind(), NotFound | NotADirectory | InvalidFilename | InvalidInput)
    })
}
