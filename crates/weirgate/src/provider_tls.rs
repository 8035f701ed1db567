//! What providers' certificates are judged by: authorities beside the public ones, and revocation
//! lists, which are followed when their file changes.

use crate::{
    config::Config,
    following::{Followed, Follower, Seen},
    output::{FAILED, Failure, chain},
};
use outbound::{TlsConfig, TlsConfigError};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why revocation lists are of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListsError {
    #[error("{} cannot be read ({})", path.display(), source.kind())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Unusable(#[from] TlsConfigError),
}

pub(crate) const LISTS_REMEDY: &str =
    "Name a file with certificate revocation lists in PEM, or one in DER, that this user may read.";

/// The revocation lists in a file, as they stand there.
pub(crate) fn read_lists(path: &Path) -> Result<Vec<u8>, ListsError> {
    fs::read(path).map_err(|source| ListsError::Read { path: path.to_owned(), source })
}

/// What providers are verified by, and what follows the revocation lists.
pub(crate) fn provider_tls(
    config: &Config,
) -> Result<(Arc<TlsConfig>, Option<Follower<RevocationLists>>), Failure> {
    let extra = match &config.extra_roots_file {
        Some(path) => Some(fs::read(path).map_err(|error| {
            Failure::new(
                FAILED,
                format!("cannot read {}: {error}", path.display()),
                "Correct extra_roots_file.",
            )
        })?),
        None => None,
    };
    let tls = TlsConfig::new(extra.as_deref())
        .map(Arc::new)
        .map_err(|error| Failure::new(FAILED, chain(&error), "Correct extra_roots_file."))?;
    let Some(path) = config.crl_file.clone() else { return Ok((tls, None)) };
    let seen = Seen::of(&[&path]);
    let lists = RevocationLists { path, tls: Arc::clone(&tls) };
    lists.load().map_err(|error| Failure::new(FAILED, chain(&error), LISTS_REMEDY))?;
    Ok((tls, Some(Follower::new(lists, seen))))
}

/// Certificate revocation lists (RFC 5280 §5), and what judges by them.
#[derive(Debug)]
pub(crate) struct RevocationLists {
    path: PathBuf,
    tls: Arc<TlsConfig>,
}

impl RevocationLists {
    fn load(&self) -> Result<(), ListsError> {
        Ok(self.tls.replace_revocation_lists(&read_lists(&self.path)?)?)
    }
}

impl Followed for RevocationLists {
    fn paths(&self) -> Vec<&Path> {
        vec![&self.path]
    }

    fn reload(&self) {
        match self.load() {
            Ok(()) => tracing::info!("the revocation lists were exchanged"),
            Err(error) => tracing::error!(
                error = %chain(&error),
                remedy = LISTS_REMEDY,
                "the new revocation lists are not used: those before stay"
            ),
        }
    }
}
