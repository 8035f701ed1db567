//! The verbs that act on the data folder: each reads its input, calls `app`, and prints.

mod apply;
mod audit;
mod client;
mod connection;
mod init;
mod input;
mod provider;
mod sandbox;

pub(crate) use apply::apply;
pub(crate) use audit::audit;
pub(crate) use client::client;
pub(crate) use connection::connection;
pub(crate) use init::init;
pub(crate) use provider::provider;
pub(crate) use sandbox::sandbox;

use crate::{
    cli::Global,
    output::{Failure, Output},
};
use app::{DataFolder, Instance, sequence};
use std::{path::PathBuf, sync::Arc};
use types::{Actor, Clock, Id, OpContext, SystemClock, SystemRandom};

/// What every verb needs.
#[derive(Debug)]
pub(crate) struct Session {
    /// As given; the demo makes a fresh folder where nothing is.
    pub named_dir: Option<PathBuf>,
    pub data_dir: PathBuf,
    pub root_key_file: Option<PathBuf>,
    /// Where `init` puts a new root key if nothing else is said.
    pub key_folder: Option<PathBuf>,
    pub output: Output,
}

impl Session {
    pub(crate) fn new(global: &Global, key_folder: Option<PathBuf>) -> Self {
        Self {
            named_dir: global.data_dir.clone(),
            data_dir: global.data_dir.clone().unwrap_or_else(|| PathBuf::from("weirgate-data")),
            root_key_file: global.root_key_file.clone(),
            key_folder,
            output: Output { is_json: global.json },
        }
    }

    /// Who acts, as part of which request.
    pub(crate) fn context(&self) -> Result<OpContext, Failure> {
        let now = SystemClock.now();
        let request = Id::generate(now, &SystemRandom).map_err(app::Error::from)?;
        let uid = app::user_id();
        Ok(OpContext { actor: Actor::Local { uid }, request, now })
    }

    pub(crate) fn folder(&self) -> Result<DataFolder, Failure> {
        Ok(DataFolder::open(&self.data_dir)?)
    }

    pub(crate) async fn instance(&self) -> Result<Instance, Failure> {
        let folder = self.folder()?;
        let key = self.root_key_file.as_deref();
        let clock = Arc::new(SystemClock);
        Ok(Instance::open(folder, key, clock, Arc::new(SystemRandom)).await?)
    }

    /// Ends a verb that changed something: its audit entries go into the log now, unless a server
    /// runs on the folder, which takes them within a second.
    async fn settle(&self, instance: Instance) -> Result<(), Failure> {
        sequence::settle(&instance).await?;
        Ok(instance.close().await?)
    }
}
