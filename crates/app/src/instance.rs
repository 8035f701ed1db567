//! An installation: its folder, store, keys and secrets, opened.

use crate::{
    change::{self, Change},
    customers,
    error::Error,
    folder::{DataFolder, make_private_dir, sync_dir, write_new},
    sequence,
};
use audit::{Log, SigningKey};
use aws_lc_rs::hmac;
use gateway::TagKey;
use outbound::{HickoryResolver, Pool, PoolConfig, TlsConfig};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use store::{SealedRow, Store};
use types::{Clock, Id, Instance as InstanceKind, OpContext, Random, SecretBytes};
use vault::{CustomerKey, KeyPepper, Keyring, RecordContext, RootKey, WrappedGeneration};

/// The customer that stands for the company itself, and under whose key the installation's own
/// secrets are sealed.
pub const SELF_CUSTOMER: &str = "self";

/// See the module.
pub struct Instance {
    pub folder: DataFolder,
    pub id: Id<InstanceKind>,
    pub store: Store,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) secrets: InstanceSecrets,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Secrets of the installation itself. They lie sealed in the store like any other, so that a later
/// change of the root key re-wraps one key and touches none of them.
pub(crate) struct InstanceSecrets {
    pub pepper: KeyPepper,
    audit_seed: SecretBytes,
    tag_key: SecretBytes,
}

const TABLE: &str = "instance";
const PEPPER: &str = "pepper";
const AUDIT_SEED: &str = "audit_seed";
const TAG_KEY: &str = "tag_key";
const SECRET_BYTES: usize = 32;

/// How `init` is asked.
#[derive(Debug)]
pub struct Init<'a> {
    pub dir: &'a Path,
    pub root_key: RootKeyPlace<'a>,
    pub actor: OpContext,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

/// Where a new installation's root key lies.
#[derive(Debug, Clone, Copy)]
pub enum RootKeyPlace<'a> {
    /// This file: it is used if it exists, else made.
    File(&'a Path),
    /// A new file in this folder, named after the installation.
    Folder(&'a Path),
}

/// What `init` made.
#[derive(Debug)]
pub struct Made {
    pub instance: Instance,
    pub root_key_file: PathBuf,
}

impl Instance {
    /// Makes a data folder, beside its place first: a folder is there whole or not at all.
    pub async fn init(init: Init<'_>) -> Result<Made, Error> {
        let Init { dir, root_key, actor: ctx, clock, random } = init;
        refuse_taken(dir)?;
        let id: Id<InstanceKind> = Id::generate(ctx.now, random.as_ref())?;
        let key_file = absolute(&match root_key {
            RootKeyPlace::File(file) => file.to_owned(),
            RootKeyPlace::Folder(folder) => folder.join(format!("{id}.key")),
        })?;
        if key_file.starts_with(absolute(dir)?) {
            return Err(Error::RootKeyInFolder);
        }
        let root = if key_file.exists() {
            RootKey::load(&key_file)?
        } else {
            RootKey::create_file(&key_file, random.as_ref())?
        };

        let draft = draft_dir(dir, id)?;
        make_private_dir(&draft)?;
        let folder = DataFolder::at(draft.clone());
        let (keyring, generation) = Keyring::create(&root, random.as_ref())?;
        let secrets = InstanceSecrets::generate(random.as_ref())?;
        let store = Store::create(&folder.database().as_path().into()).await?;
        let keyring = Arc::new(keyring);
        let instance = Self { folder, id, store, keyring, secrets, clock, random };
        instance.fill(&ctx, &generation, &key_file).await?;
        instance.close_store().await;

        // Renaming onto an empty folder is what makes it appear whole.
        std::fs::rename(&draft, dir).map_err(|source| Error::Io {
            what: "create",
            path: dir.to_owned(),
            source,
        })?;
        sync_dir(
            dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        )?;
        let folder = DataFolder::open(dir)?;
        let Self { clock, random, .. } = instance;
        let instance = Self::open(folder, Some(&key_file), clock, random).await?;
        sequence::settle(&instance).await?;
        Ok(Made { instance, root_key_file: key_file })
    }

    /// Everything that a new folder holds.
    async fn fill(
        &self,
        ctx: &OpContext,
        generation: &WrappedGeneration,
        key_file: &Path,
    ) -> Result<(), Error> {
        let mut tx = self.store.begin(ctx).await?;
        tx.insert_instance(self.id, ctx.now).await?;
        tx.insert_vault_generation(generation.number, &generation.blob).await?;
        let own = customers::find_or_create(self, &mut tx, ctx, SELF_CUSTOMER).await?;
        for (column, secret) in self.secrets.columns() {
            let sealed = self.seal(&own.key, TABLE, &self.id.to_bytes(), column, &secret)?;
            tx.put_sealed(&sealed).await?;
        }
        let change = Change {
            verb: "instance.init",
            what: format!("instance {}", self.id),
            customer: Some(own.commitment),
            touches_vault: true,
            ..Change::default()
        };
        change::record(self, &mut tx, ctx, change).await?;
        // The log begins with the installation, and the store knows of it: later on a log that is
        // not there was taken away. Its first checkpoint binds the vault already.
        let key = self.signing_key()?;
        let head = change::head_of(tx.sealed_heads().await?);
        let first = Log::create(&self.folder.audit(), &key, Some(head))?;
        tx.keep_audit_checkpoint(&self.origin(), 0, &first).await?;
        tx.commit().await?;
        let key = key.verifier().to_string();
        write_new(&self.folder.audit_key(), format!("{key}\n").as_bytes(), 0o644)?;
        let place = format!("{}\n", key_file.display());
        write_new(&self.folder.root_key_path(), place.as_bytes(), 0o600)?;
        write_new(&self.folder.config(), CONFIG_HEAD.as_bytes(), 0o600)?;
        sync_dir(self.folder.dir())
    }

    /// Opens a folder: the root key, then every secret of the installation.
    pub async fn open(
        folder: DataFolder,
        root_key_file: Option<&Path>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, Error> {
        let key_file = match root_key_file {
            Some(file) => file.to_owned(),
            None => folder.recorded_root_key()?,
        };
        let inside = |path: &Path| std::fs::canonicalize(path).ok();
        if let (Some(key), Some(dir)) = (inside(&key_file), inside(folder.dir()))
            && key.starts_with(dir)
        {
            return Err(Error::RootKeyInFolder);
        }
        let root = RootKey::load(&key_file)?;
        let store = Store::open(&folder.database().as_path().into()).await?;
        let everything = store.load_all().await?;
        let generations: Vec<WrappedGeneration> = everything
            .vault_generations
            .iter()
            .map(|row| WrappedGeneration { number: row.number, blob: row.wrapped_key.clone() })
            .collect();
        let keyring = Keyring::open(&root, &generations)?;
        let id = everything.instance;
        let secrets = InstanceSecrets::open(&keyring, &everything)?;
        Ok(Self { folder, id, store, keyring: Arc::new(keyring), secrets, clock, random })
    }

    /// The same installation, from the database that lies in its place now.
    ///
    /// # Errors
    /// [`Error::OtherInstallation`] if it is another one's, or holds other secrets.
    pub(crate) async fn reopen(&self) -> Result<Self, Error> {
        let store = Store::open(&self.folder.database().as_path().into()).await?;
        let everything = store.load_all().await?;
        let secrets = InstanceSecrets::open(&self.keyring, &everything);
        let is_ours = everything.instance == self.id
            && secrets.as_ref().is_ok_and(|secrets| *secrets == self.secrets);
        if !is_ours {
            return Err(Error::OtherInstallation { path: self.folder.database() });
        }
        Ok(Self {
            folder: self.folder.clone(),
            id: self.id,
            store,
            keyring: Arc::clone(&self.keyring),
            secrets: secrets?,
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
        })
    }

    /// Ends all connections to the store.
    pub async fn close(self) -> Result<(), Error> {
        self.close_store().await;
        Ok(())
    }

    pub(crate) async fn close_store(&self) {
        self.store.close().await;
    }

    /// The key that signs the audit log's checkpoints.
    pub(crate) fn signing_key(&self) -> Result<SigningKey, Error> {
        SigningKey::from_seed(self.secrets.audit_seed.expose(), &self.origin())
            .map_err(|_| Error::Internal { what: "the audit log's key is malformed" })
    }

    /// The audit log's name, for ever.
    pub fn origin(&self) -> String {
        format!("weirgate/{}", self.id)
    }

    /// Seals what waits in the outbox: who writes to the database without the root key cannot put
    /// entries into the log.
    pub(crate) fn seal_event(&self, event: &[u8; 16], record: &[u8]) -> Vec<u8> {
        let mut seal = hmac::Context::with_key(&self.outbox_key());
        seal.update(event);
        seal.update(record);
        [seal.sign().as_ref(), record].concat()
    }

    /// What was sealed, if it was.
    pub(crate) fn open_event<'a>(&self, event: &[u8; 16], sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (seal, record) = sealed.split_at_checked(SECRET_BYTES)?;
        let sealed = [&event[..], record].concat();
        hmac::verify(&self.outbox_key(), &sealed, seal).ok().map(|()| record)
    }

    /// The nodes of an installation share the outbox, so that it does not depend on a log's name.
    fn outbox_key(&self) -> hmac::Key {
        let seed = hmac::Key::new(hmac::HMAC_SHA256, self.secrets.audit_seed.expose());
        let label = format!("weirgate outbox 1\n{}\n", self.id);
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&seed, label.as_bytes()).as_ref())
    }

    /// What entity tags are sealed with.
    pub(crate) fn tag_key(&self) -> Result<TagKey, Error> {
        let malformed = Error::Internal { what: "the entity tags' key is malformed" };
        let Ok(bytes) = <&[u8; SECRET_BYTES]>::try_from(self.secrets.tag_key.expose()) else {
            return Err(malformed);
        };
        TagKey::new(bytes).ok_or(malformed)
    }

    /// Seals the first version of a record.
    pub(crate) fn seal(
        &self,
        key: &CustomerKey,
        table: &str,
        record: &[u8; 16],
        column: &str,
        plain: &SecretBytes,
    ) -> Result<SealedRow, Error> {
        let context = RecordContext {
            table,
            record,
            column,
            customer: key.customer(),
            version: 1,
            generation: key.generation(),
        };
        let sealed = vault::seal(key, &context, plain)?;
        Ok(SealedRow {
            table: table.to_owned(),
            record: *record,
            column: column.to_owned(),
            customer: key.customer(),
            version: 1,
            generation: key.generation(),
            sealed,
        })
    }

    pub(crate) fn open_sealed(
        &self,
        key: &CustomerKey,
        row: &SealedRow,
    ) -> Result<SecretBytes, Error> {
        open_row(key, row)
    }

    /// A pool for a verb that reaches providers itself.
    pub(crate) fn pool(&self) -> Result<Pool, Error> {
        let resolver = HickoryResolver::from_system()?;
        let tls = TlsConfig::new(None)?;
        Ok(Pool::new(PoolConfig::new(Arc::new(resolver), Arc::new(tls))))
    }
}

fn open_row(key: &CustomerKey, row: &SealedRow) -> Result<SecretBytes, Error> {
    let context = RecordContext {
        table: &row.table,
        record: &row.record,
        column: &row.column,
        customer: row.customer,
        version: row.version,
        generation: row.generation,
    };
    Ok(vault::open(key, &context, &row.sealed)?)
}

impl PartialEq for InstanceSecrets {
    /// Both come from sealed records that opened: nobody outside can try one after the other.
    fn eq(&self, other: &Self) -> bool {
        self.columns()
            .iter()
            .zip(&other.columns())
            .all(|(one, other)| one.0 == other.0 && one.1.expose() == other.1.expose())
    }
}

impl InstanceSecrets {
    fn generate(random: &dyn Random) -> Result<Self, Error> {
        let secret = || -> Result<SecretBytes, Error> {
            let mut bytes = vec![0; SECRET_BYTES];
            random.fill(&mut bytes)?;
            Ok(SecretBytes::new(bytes))
        };
        let pepper = KeyPepper::generate(random)?;
        Ok(Self { pepper, audit_seed: secret()?, tag_key: secret()? })
    }

    fn columns(&self) -> [(&'static str, SecretBytes); 3] {
        let copy = |secret: &SecretBytes| SecretBytes::new(secret.expose().to_vec());
        [
            (PEPPER, self.pepper.to_bytes()),
            (AUDIT_SEED, copy(&self.audit_seed)),
            (TAG_KEY, copy(&self.tag_key)),
        ]
    }

    fn open(keyring: &Keyring, everything: &store::Everything) -> Result<Self, Error> {
        let read = |column: &str| -> Result<SecretBytes, Error> {
            let missing = Error::Internal { what: "a secret of the installation is missing" };
            let row = everything
                .sealed
                .iter()
                .find(|row| row.table == TABLE && row.column == column)
                .ok_or(missing)?;
            let missing = Error::Internal { what: "the installation's own customer is missing" };
            let customer =
                everything.customers.iter().find(|one| one.id == row.customer).ok_or(missing)?;
            let wrapped = vault::WrappedCustomerKey {
                generation: customer.generation,
                blob: customer.wrapped_key.clone(),
            };
            open_row(&keyring.open_customer_key(customer.id, &wrapped)?, row)
        };
        let pepper = KeyPepper::from_bytes(&read(PEPPER)?)?;
        Ok(Self { pepper, audit_seed: read(AUDIT_SEED)?, tag_key: read(TAG_KEY)? })
    }
}

const CONFIG_HEAD: &str = "# Configuration of Weirgate. `weirgate config show` lists every key;\n\
                           # docs/reference/configuration.md explains them.\n";

/// Refuses a place that holds anything.
fn refuse_taken(dir: &Path) -> Result<(), Error> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::FolderTaken { dir: dir.to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(Error::FolderTaken { dir: dir.to_owned() })
        }
        Err(source) => Err(Error::Io { what: "read", path: dir.to_owned(), source }),
    }
}

/// Beside the folder, so that a rename can put it there.
fn draft_dir(dir: &Path, id: Id<InstanceKind>) -> Result<PathBuf, Error> {
    let dir = absolute(dir)?;
    let name = dir.file_name().ok_or_else(|| Error::FolderTaken { dir: dir.clone() })?;
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".{id}"));
    Ok(dir.with_file_name(draft))
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::Io {
        what: "find",
        path: path.to_owned(),
        source,
    })
}
