//! The listeners' certificate: read from its files, and followed when they change.

use crate::{
    config::TlsFiles,
    following::{Followed, Follower, Seen},
    output::chain,
};
use gateway::{ServerTls, ServerTlsError};
use rustix::fs::OFlags;
use secrecy::zeroize::Zeroizing;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The largest file of either kind.
const MAX_FILE_BYTES: usize = 256 * 1_024;

/// Why the listeners have no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("{} cannot be read ({})", path.display(), source.kind())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{} is longer than {MAX_FILE_BYTES} bytes", path.display())]
    TooLong { path: PathBuf },
    #[error("{} has mode {mode:04o}, and a private key must be its owner's alone", path.display())]
    Mode { path: PathBuf, mode: u32 },
    #[error("{} belongs to user {owner}, neither to root nor to user {user}, who runs this", path.display())]
    Owner { path: PathBuf, owner: u32, user: u32 },
    #[error(transparent)]
    Unusable(#[from] ServerTlsError),
}

impl LoadError {
    /// Whether it lies with the key and not with the certificate.
    pub(crate) fn is_of_the_key(&self, files: &TlsFiles) -> bool {
        match self {
            Self::Read { path, .. } | Self::NotAFile { path } | Self::TooLong { path } => {
                *path == files.key
            }
            Self::Mode { .. } | Self::Owner { .. } => true,
            Self::Unusable(error) => matches!(
                error,
                ServerTlsError::NoKey | ServerTlsError::Key | ServerTlsError::Mismatch
            ),
        }
    }

    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::Mode { path, .. } => format!(
                "Run `chmod 600 {}`, and consider the key known to whoever could read it.",
                path.display()
            ),
            Self::Owner { path, .. } => {
                format!("Give it to the user who runs the server: chown USER {}.", path.display())
            }
            Self::Read { .. } | Self::NotAFile { .. } | Self::TooLong { .. } => {
                "Name a file that is there and that the user who runs the server may read.".into()
            }
            Self::Unusable(_) => "Give the chain in PEM with the server's own certificate first, \
                                  and its unencrypted key in PEM."
                .into(),
        }
    }
}

/// Reads both files.
pub(crate) fn load(files: &TlsFiles) -> Result<ServerTls, LoadError> {
    let (chain, key) = read(files)?;
    Ok(ServerTls::new(&chain, &key)?)
}

type Secret = Zeroizing<Vec<u8>>;

fn read(files: &TlsFiles) -> Result<(Secret, Secret), LoadError> {
    Ok((read_file(&files.cert, false)?, read_file(&files.key, true)?))
}

fn read_file(path: &Path, is_secret: bool) -> Result<Secret, LoadError> {
    let path_buf = || path.to_owned();
    let failed = |source| LoadError::Read { path: path_buf(), source };
    let file = open(path).map_err(failed)?;
    // Of the opened file, so that nobody can exchange it between check and use.
    let facts = file.metadata().map_err(failed)?;
    if !facts.is_file() {
        return Err(LoadError::NotAFile { path: path_buf() });
    }
    if is_secret {
        let mode = facts.mode() & 0o7777;
        if mode != 0o400 && mode != 0o600 {
            return Err(LoadError::Mode { path: path_buf(), mode });
        }
        let (owner, user) = (facts.uid(), rustix::process::geteuid().as_raw());
        if owner != user && owner != 0 {
            return Err(LoadError::Owner { path: path_buf(), owner, user });
        }
    }
    // Full size from the start: a buffer that grows leaves copies behind.
    let length = usize::try_from(facts.len()).unwrap_or(usize::MAX).min(MAX_FILE_BYTES);
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(LoadError::TooLong { path: path_buf() });
    }
    Ok(bytes)
}

/// Without NONBLOCK a pipe under this name would hold the start for ever.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// What the listeners show, and the files that it comes from.
#[derive(Debug)]
pub(crate) struct Shown {
    tls: ServerTls,
    files: TlsFiles,
}

impl Followed for Shown {
    fn paths(&self) -> Vec<&Path> {
        vec![&self.files.cert, &self.files.key]
    }

    fn reload(&self) {
        let replaced =
            read(&self.files).and_then(|(chain, key)| Ok(self.tls.replace(&chain, &key)?));
        match replaced {
            Ok(()) => tracing::info!("the listeners' certificate was exchanged"),
            Err(error) => tracing::error!(
                error = %chain(&error),
                remedy = %error.remedy(),
                "the new certificate is not used: the one before stays"
            ),
        }
    }
}

/// Loads the files, and yields what follows them.
pub(crate) fn follow(files: &TlsFiles) -> Result<(Follower<Shown>, ServerTls), LoadError> {
    let seen = Seen::of(&[&files.cert, &files.key]);
    let tls = load(files)?;
    let shown = Shown { tls: tls.clone(), files: files.clone() };
    Ok((Follower::new(shown, seen), tls))
}
