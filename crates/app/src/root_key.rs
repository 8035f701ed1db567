//! The root key: replaced, sealed by a passphrase, split into shares, and put together again.
//!
//! A rotation wraps the generations' keys anew, and nothing else hangs on the root key: values, seals,
//! API keys and logs stay as they are. Its steps are in such an order that a folder opens with one of
//! the two keys wherever it is cut off:
//! 1. the new key's file is written, read back, and tried;
//! 2. the folder notes where it lies, beside where the old one does;
//! 3. the generations are under the new key, in one transaction, with its entry for the log;
//! 4. the folder records the new place.
//!
//! All is done within the change, which excludes every other one: two rotations cannot meet. A start
//! that finds the database under another key than the recorded one looks where step 2 noted.

use crate::{
    change::{Care, Change, Changing},
    error::Error,
    folder::DataFolder,
    instance::{Custody, Given, Instance, Place, RootKeyPlace},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use store::Store;
use types::{Clock, Id, Instance as InstanceKind, OpContext, Random, SecretText};
use vault::{Keeper, Keyring, Passphrase, RootKey, RootKeyError, Share, ShareError};

/// How far a rotation is; a test ends it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Written,
    Noted,
    Committed,
    Recorded,
}

impl Step {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Noted => "noted",
            Self::Committed => "committed",
            Self::Recorded => "recorded",
        }
    }
}

/// A rotation of the root key.
#[derive(Debug)]
pub struct Rotated {
    pub file: PathBuf,
    pub former_file: PathBuf,
    /// Names that tell root keys apart.
    pub name: String,
    pub former: String,
    pub generations: usize,
    /// Whether a start without a file's name finds the new one. Where the old one was named, whoever
    /// named it names the new one.
    pub is_found: bool,
}

/// Replaces the root key by a new one in another file.
///
/// # Errors
/// [`RootKeyError::Exists`] if there is anything in the new file's place;
/// [`Error::RootKeyPlaceNeeded`] if the service manager keeps the old one, and none is named.
pub async fn rotate(
    instance: &Instance,
    ctx: &OpContext,
    new_file: Option<&Path>,
    reached: &dyn Fn(Step),
) -> Result<Rotated, Error> {
    let (folder, keys) = (&instance.folder, &instance.keys);
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    keys.confirm(folder, &changing.tx.vault_generations().await?)?;
    let Place { file: former_file, keeper, is_recorded } = keys.custody().place(folder)?;
    let root = RootKey::generate(instance.random.as_ref())?;
    let (name, former) = (root.name()?, keys.root().name()?);
    let file = match (new_file, keeper) {
        (Some(file), _) => file.to_owned(),
        (None, Keeper::User) => former_file.with_file_name(format!("{}.{name}.key", instance.id)),
        (None, Keeper::Manager) => return Err(Error::RootKeyPlaceNeeded),
    };
    let file = RootKeyPlace::File(&file).of(instance.id, folder.dir())?;
    let passphrase = if RootKey::is_sealed(&former_file, keeper)? {
        let given = keys.custody().passphrase(&file)?;
        Some(given.ok_or_else(|| RootKeyError::Sealed { path: former_file.clone() })?)
    } else {
        None
    };
    if keeper == Keeper::User && !is_recorded {
        // The note of step 2 stands beside where the key lies that opens the database now.
        folder.record_root_key(&RootKeyPlace::File(&former_file).of(instance.id, folder.dir())?)?;
    }
    root.write_file(&file, passphrase.as_ref(), instance.random.as_ref())?;
    let wrapped = keys.ring().rewrap(&root)?;
    let read = RootKey::load_with(&file, Keeper::User, passphrase.as_ref())?;
    Keyring::open(&read, &wrapped)?;
    reached(Step::Written);
    folder.note_next_root_key(&file)?;
    reached(Step::Noted);
    for row in &wrapped {
        changing.tx.rewrap_generation(row.number, &row.blob).await?;
    }
    changing.tx.put_former_root_key(&former, ctx.now).await?;
    changing.record(Change {
        verb: "vault.rotate_root",
        what: format!("root key {name}"),
        details: vec![("former", former.clone()), ("generations", wrapped.len().to_string())],
        ..Change::default()
    });
    changing.commit().await?;
    reached(Step::Committed);
    folder.record_root_key(&file)?;
    reached(Step::Recorded);
    keys.take_root(Arc::new(root));
    let generations = wrapped.len();
    Ok(Rotated { file, former_file, name, former, generations, is_found: is_recorded })
}

/// Whether a passphrase seals the root key's file from now on.
#[derive(Debug)]
pub struct Sealing {
    pub file: PathBuf,
    pub is_sealed: bool,
}

/// Seals the root key's file by a passphrase, or by none any more.
///
/// # Errors
/// [`Error::RootKeyPlaceNeeded`] if the service manager keeps it.
pub async fn seal(
    instance: &Instance,
    ctx: &OpContext,
    passphrase: Option<&Passphrase>,
) -> Result<Sealing, Error> {
    let place = instance.keys.custody().place(&instance.folder)?;
    if place.keeper == Keeper::Manager {
        return Err(Error::RootKeyPlaceNeeded);
    }
    let is_sealed = passphrase.is_some();
    let root = instance.keys.root();
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    changing.record(Change {
        verb: if is_sealed { "vault.seal" } else { "vault.unseal" },
        what: format!("root key {}", root.name()?),
        ..Change::default()
    });
    changing.commit().await?;
    root.replace_file(&place.file, passphrase, instance.random.as_ref())?;
    Ok(Sealing { file: place.file, is_sealed })
}

/// Splits the root key.
pub async fn split(
    instance: &Instance,
    ctx: &OpContext,
    threshold: u8,
    shares: u8,
) -> Result<Vec<Share>, Error> {
    let root = instance.keys.root();
    let made = vault::split(&root, instance.id, threshold, shares)?;
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    changing.record(Change {
        verb: "vault.split",
        what: format!("root key {}", root.name()?),
        details: vec![("threshold", threshold.to_string()), ("shares", shares.to_string())],
        ..Change::default()
    });
    changing.commit().await?;
    Ok(made)
}

/// A root key that shares yielded, before anything was done with it.
#[derive(Debug)]
pub struct Recovered {
    root: Arc<RootKey>,
    instance: Id<InstanceKind>,
    pub name: String,
    pub shares: Vec<u8>,
}

/// Puts the root key together from shares, each the text of a file.
pub fn combine(texts: &[SecretText]) -> Result<Recovered, Error> {
    let mut shares = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        shares.push(Share::parse(text, place + 1)?);
    }
    let root = vault::combine(&shares)?;
    let name = root.name()?;
    let instance = shares.first().ok_or(ShareError::None)?.instance();
    let shares = shares.iter().map(Share::index).collect();
    Ok(Recovered { root: Arc::new(root), instance, name, shares })
}

impl Recovered {
    /// Opens the vault with the key, which stands in no file yet.
    ///
    /// # Errors
    /// [`Error::SharesForeign`] for another installation's shares; as [`Instance::open`] otherwise.
    pub async fn open(
        &self,
        folder: DataFolder,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Instance, Error> {
        match Store::installation(&folder.location()).await? {
            Some(id) if id != self.instance => {
                let (shares, wanted) = (self.instance.to_string(), id.to_string());
                return Err(Error::SharesForeign { shares, wanted });
            }
            _ => {}
        }
        let given = Some(Given(Arc::clone(&self.root)));
        let custody = Custody { given, ..Custody::default() };
        Instance::open(folder, custody, clock, random).await
    }

    /// Records the recovery, and writes the key's file then.
    pub async fn write(
        &self,
        instance: &Instance,
        ctx: &OpContext,
        file: &Path,
        passphrase: Option<&Passphrase>,
    ) -> Result<PathBuf, Error> {
        let file = RootKeyPlace::File(file).of(instance.id, instance.folder.dir())?;
        if std::fs::symlink_metadata(&file).is_ok() {
            return Err(RootKeyError::Exists { path: file }.into());
        }
        let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
        let shares: Vec<String> = self.shares.iter().map(ToString::to_string).collect();
        changing.record(Change {
            verb: "vault.recover",
            what: format!("root key {}", self.name),
            details: vec![("shares", shares.join(", "))],
            ..Change::default()
        });
        changing.commit().await?;
        self.root.write_file(&file, passphrase, instance.random.as_ref())?;
        instance.folder.record_root_key(&file)?;
        Ok(file)
    }
}

impl From<ShareError> for Error {
    fn from(error: ShareError) -> Self {
        Self::Share(error)
    }
}

/// What is said of the root key.
#[derive(Debug)]
pub struct Described {
    pub name: String,
    pub file: PathBuf,
    pub is_sealed: bool,
    pub is_credential: bool,
}

pub fn describe(instance: &Instance) -> Result<Described, Error> {
    let custody: &Custody = instance.keys.custody();
    let Place { file, keeper, .. } = custody.place(&instance.folder)?;
    let is_sealed = RootKey::is_sealed(&file, keeper)?;
    let is_credential = keeper == Keeper::Manager;
    Ok(Described { name: instance.keys.root().name()?, file, is_sealed, is_credential })
}
