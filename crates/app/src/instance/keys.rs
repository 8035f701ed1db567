//! The root key, where it comes from, and the keyring that it opened; both follow what others change.

use super::{Instance, secrets::wrapped};
use crate::{
    error::Error,
    folder::DataFolder,
    seals::{GENERATION, Judgement},
};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};
use store::{Everything, Store, VaultGenerationRow};
use types::SecretText;
use vault::{Keeper, Keyring, Passphrase, RootKey, VaultError};

/// How somebody is asked for the passphrase of a file.
pub type Ask = fn(&Path) -> Result<SecretText, Error>;

/// Where the root key comes from: a file that was named, else what the service manager hands over, else
/// the file whose place the data folder records.
#[derive(Clone, Default)]
pub struct Custody {
    pub file: Option<PathBuf>,
    /// The service manager's file, where there is one.
    pub credential: Option<PathBuf>,
    /// A file with the passphrase, which only its owner may read.
    pub passphrase_file: Option<PathBuf>,
    /// How to get a passphrase that stands in no file.
    pub ask: Option<Ask>,
    /// A key that shares yielded and that stands nowhere yet.
    pub given: Option<Given>,
}

/// A root key at hand.
#[derive(Clone, Debug)]
pub struct Given(pub(crate) Arc<RootKey>);

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custody").field("file", &self.file).finish_non_exhaustive()
    }
}

impl From<Option<&Path>> for Custody {
    fn from(file: Option<&Path>) -> Self {
        Self { file: file.map(Path::to_owned), ..Self::default() }
    }
}

/// A root key as it was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub root: Arc<RootKey>,
    pub file: PathBuf,
    /// Whether the data folder says where it is.
    pub is_recorded: bool,
}

/// Which file holds the root key, and who put it there.
#[derive(Debug)]
pub(crate) struct Place {
    pub file: PathBuf,
    pub keeper: Keeper,
    /// Whether the data folder says where it is.
    pub is_recorded: bool,
}

impl Custody {
    pub(crate) fn place(&self, folder: &DataFolder) -> Result<Place, Error> {
        let (file, keeper, is_recorded) = match (&self.file, &self.credential) {
            (Some(file), _) => (file.clone(), Keeper::User, false),
            (None, Some(file)) => (file.clone(), Keeper::Manager, false),
            (None, None) => (folder.recorded_root_key()?, Keeper::User, true),
        };
        let inside = |path: &Path| std::fs::canonicalize(path).ok();
        if let (Some(key), Some(dir)) = (inside(&file), inside(folder.dir()))
            && key.starts_with(dir)
        {
            return Err(Error::RootKeyInFolder);
        }
        Ok(Place { file, keeper, is_recorded })
    }

    pub(crate) fn find(&self, folder: &DataFolder) -> Result<Found, Error> {
        if let Some(Given(root)) = &self.given {
            let (root, file) = (Arc::clone(root), PathBuf::from("the shares"));
            return Ok(Found { root, file, is_recorded: false });
        }
        self.load(self.place(folder)?)
    }

    pub(crate) fn load(&self, place: Place) -> Result<Found, Error> {
        let Place { file, keeper, is_recorded } = place;
        let is_sealed = RootKey::is_sealed(&file, keeper)?;
        let passphrase = if is_sealed { self.passphrase(&file)? } else { None };
        let root = Arc::new(RootKey::load_with(&file, keeper, passphrase.as_ref())?);
        Ok(Found { root, file, is_recorded })
    }

    /// The key in a file that an operator named or keeps.
    pub(crate) fn load_file(&self, file: &Path) -> Result<Arc<RootKey>, Error> {
        let file = file.to_owned();
        Ok(self.load(Place { file, keeper: Keeper::User, is_recorded: false })?.root)
    }

    /// The passphrase of a file; `None` where nobody can be asked.
    pub(crate) fn passphrase(&self, file: &Path) -> Result<Option<Passphrase>, Error> {
        let given = match (&self.passphrase_file, self.ask) {
            (Some(path), _) => Some(read_passphrase(path)?),
            (None, Some(ask)) => Some(ask(file)?),
            (None, None) => None,
        };
        given.map(|given| Passphrase::new(&given).map_err(Error::Passphrase)).transpose()
    }

    /// Where nobody can be asked.
    pub(super) fn unattended(&self) -> Self {
        Self { ask: None, ..self.clone() }
    }
}

/// A passphrase that stands in a file: a line that nobody else may read.
pub fn read_passphrase(path: &Path) -> Result<SecretText, Error> {
    use std::os::unix::fs::MetadataExt as _;
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let mode = std::fs::metadata(path).map_err(unreadable)?.mode() & 0o7777;
    // A service manager hands files over whose access list shows as the group's bits.
    if mode & 0o137 != 0 {
        return Err(Error::PassphraseFileMode { path: path.to_owned(), mode });
    }
    Ok(SecretText::new(std::fs::read_to_string(path).map_err(unreadable)?))
}

/// A root key that another folder will have too.
pub(crate) struct OpenKey {
    pub custody: Custody,
    pub root: Arc<RootKey>,
}

impl OpenKey {
    pub(crate) fn of(custody: Custody, file: &Path) -> Result<Self, Error> {
        let custody = Custody { file: Some(file.to_owned()), ..custody };
        let root = custody.load_file(file)?;
        Ok(Self { custody, root })
    }
}

/// What opens everything, as this process has it.
pub(crate) struct Keys {
    custody: Custody,
    root: RwLock<Arc<RootKey>>,
    ring: RwLock<Arc<Keyring>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    pub(crate) fn new(custody: Custody, root: Arc<RootKey>, ring: Keyring) -> Self {
        let (root, ring) = (RwLock::new(root), RwLock::new(Arc::new(ring)));
        Self { custody, root, ring }
    }

    pub(crate) const fn custody(&self) -> &Custody {
        &self.custody
    }

    pub(crate) fn ring(&self) -> Arc<Keyring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn root(&self) -> Arc<RootKey> {
        Arc::clone(&self.root.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn take_root(&self, root: Arc<RootKey>) {
        *self.root.write().unwrap_or_else(PoisonError::into_inner) = root;
    }

    pub(crate) fn take_ring(&self, ring: Keyring) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }

    /// Takes in generations that others began, and lets go of those that were destroyed. What this
    /// process has open stays open, whichever root key wraps it by now; for a new one, the root key's
    /// file is read again where the root key was replaced.
    pub(crate) fn follow(
        &self,
        folder: &DataFolder,
        rows: &[VaultGenerationRow],
    ) -> Result<(), Error> {
        let ring = self.ring();
        if ring.numbers().eq(rows.iter().map(|row| row.number)) {
            return Ok(());
        }
        let rows = wrapped(rows);
        let followed = match ring.follow(&self.root(), &rows) {
            Err(VaultError::WrongRootKey { .. }) => {
                let found = self.custody.unattended().find(folder)?;
                let followed = ring.follow(&found.root, &rows)?;
                self.take_root(found.root);
                followed
            }
            followed => followed?,
        };
        self.take_ring(followed);
        Ok(())
    }

    /// Makes sure that the root key here is the one that wraps all generations now: what another one
    /// wraps would be lost with it.
    pub(crate) fn confirm(
        &self,
        folder: &DataFolder,
        rows: &[VaultGenerationRow],
    ) -> Result<(), Error> {
        let rows = wrapped(rows);
        let ring = match Keyring::open(&self.root(), &rows) {
            Err(VaultError::WrongRootKey { .. }) => {
                let found = self.custody.find(folder)?;
                let ring = Keyring::open(&found.root, &rows)?;
                self.take_root(found.root);
                ring
            }
            ring => ring?,
        };
        self.take_ring(ring);
        Ok(())
    }
}

/// Opens the vault with what custody has. A rotation of the root key that ended in its midst is brought
/// to its end: the folder records the new key's place before the database is under it.
pub(crate) async fn open_vault(
    folder: &DataFolder,
    custody: &Custody,
    found: Found,
    (store, everything): (&Store, &Everything),
) -> Result<(Arc<RootKey>, Keyring), Error> {
    let rows = wrapped(&everything.vault_generations);
    let error = match Keyring::open(&found.root, &rows) {
        Ok(ring) => return Ok((found.root, ring)),
        Err(error @ VaultError::WrongRootKey { .. }) => error,
        Err(error) => return Err(error.into()),
    };
    if found.is_recorded
        && let Some(next) = folder.next_root_key()?
        && let Ok(root) = custody.load_file(&next)
        && let Ok(ring) = Keyring::open(&root, &rows)
    {
        folder.record_root_key(&next)?;
        return Ok((root, ring));
    }
    match store.root_key_replaced_at(&found.root.name()?).await? {
        Some(at) => Err(Error::RootKeyReplaced { path: found.file, at }),
        None => Err(error.into()),
    }
}

impl Instance {
    /// Takes in generations of the vault that others began or destroyed, if Weirgate wrote all of them.
    pub(crate) fn follow_generations(&self, rows: &[VaultGenerationRow], judged: &Judgement) {
        if judged.broken.iter().any(|broken| broken.place.0 == GENERATION) {
            return;
        }
        if let Err(error) = self.keys.follow(&self.folder, rows) {
            tracing::error!(
                %error,
                "a new generation of the vault cannot be opened; what is sealed under it stays closed"
            );
        }
    }
}
