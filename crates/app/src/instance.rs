//! An installation: its folder, store, keys and secrets, opened.

use crate::{
    change::{Change, Changing},
    customers,
    error::Error,
    folder::{DataFolder, make_private_dir, origin_of, sync_dir, write_new},
    nodes,
    people::Desk,
    sequence,
};
use audit::{FolderLock, Log, OpenError, SigningKey, VaultHead};
use gateway::TagKey;
use outbound::{HickoryResolver, Pool, PoolConfig, TlsConfig};
use std::{
    fmt, io,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use store::{Location, SealedRow, ServerUrl, Store};
use types::{Clock, Id, Instance as InstanceKind, Node, OpContext, Random, SecretBytes, Timestamp};
use vault::{
    CustomerKey, KeyPepper, Keyring, RecordContext, RootKey, RootKeyError, WrappedGeneration,
};

/// The customer that stands for the company itself, and under whose key the installation's own
/// secrets are sealed.
pub const SELF_CUSTOMER: &str = "self";

/// A difference of two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSkew(i64);

impl ClockSkew {
    /// `theirs` was read at some moment between two of ours: only what lies outside is a difference.
    fn of(before: Timestamp, theirs: Timestamp, after: Timestamp) -> Self {
        let [before, theirs, after] = [before, theirs, after].map(Timestamp::as_micros);
        let (least, most) = (before.saturating_sub(theirs), after.saturating_sub(theirs));
        Self(if least > 0 { least } else { most.min(0) })
    }

    /// Ours before theirs.
    pub const fn as_micros(self) -> i64 {
        self.0
    }
}

/// See the module.
pub struct Instance {
    pub folder: DataFolder,
    pub id: Id<InstanceKind>,
    /// Which node of the installation this is; `None` for the first.
    pub node: Option<Id<Node>>,
    /// The audit log's name, for ever.
    pub(crate) origin: String,
    pub store: Store,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) secrets: InstanceSecrets,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// The newest state of the store that this process has seen.
    seen: Mutex<Option<VaultHead>>,
    pub(crate) desk: Desk,
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
/// Under a further node's id lies the key of its audit log.
const NODE_TABLE: &str = "node";
const PEPPER: &str = "pepper";
const AUDIT_SEED: &str = "audit_seed";
const TAG_KEY: &str = "tag_key";
const SECRET_BYTES: usize = 32;

/// How `init` is asked.
#[derive(Debug)]
pub struct Init<'a> {
    pub dir: &'a Path,
    /// Where the database lies if not in the folder.
    pub server: Option<ServerUrl>,
    /// What the configuration says from the beginning.
    pub config: &'a str,
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
    /// Makes a data folder: of a new installation, or of one more node where the database holds an
    /// installation already.
    pub async fn init(init: Init<'_>) -> Result<Made, Error> {
        refuse_taken(init.dir)?;
        let known = match &init.server {
            Some(url) => Store::installation(&Location::Server(url.clone())).await?,
            None => None,
        };
        match known {
            None => Self::begin(init).await,
            Some(id) => Self::join(init, id).await,
        }
    }

    async fn begin(init: Init<'_>) -> Result<Made, Error> {
        let Init { dir, server, config, root_key, actor: ctx, clock, random } = init;
        let id: Id<InstanceKind> = Id::generate(ctx.now, random.as_ref())?;
        let draft = Draft::make(dir, id, server.as_ref())?;
        let folder = draft.folder.clone();
        let key = NewKey::make(root_key.of(id, dir)?, random.as_ref());
        let key = draft.or_discard(key)?;
        let filled = async {
            let (keyring, generation) = Keyring::create(&key.root, random.as_ref())?;
            let secrets = InstanceSecrets::generate(random.as_ref())?;
            let store = Store::create(&folder.location()).await?;
            let keyring = Arc::new(keyring);
            let (node, origin, seen) = (None, origin_of(id, None), Mutex::default());
            let instance = Self {
                folder,
                id,
                node,
                origin,
                store,
                keyring,
                secrets,
                clock,
                random,
                seen,
                desk: Desk::default(),
            };
            let head = instance.fill(&ctx, &generation).await?;
            Ok((instance, head))
        };
        let (instance, head) = match draft.or_discard(filled.await) {
            Ok(filled) => filled,
            Err(error) => {
                key.remove_unused(dir, root_key);
                return Err(error.of_two_at_once(server.as_ref()));
            }
        };
        match instance.appear(draft, head, (&key.file, config)).await {
            Err(error @ Error::FolderMadeMeanwhile { .. }) if server.is_none() => {
                key.remove_unused(dir, root_key);
                Err(error)
            }
            // A database on a server opens with this key by now.
            made => made,
        }
    }

    /// Adds a node to the installation that the database holds.
    async fn join(init: Init<'_>, id: Id<InstanceKind>) -> Result<Made, Error> {
        let Init { dir, server, config, root_key, actor: ctx, clock, random } = init;
        let key_file = root_key.of(id, dir)?;
        let draft = Draft::make(dir, Id::generate(ctx.now, random.as_ref())?, server.as_ref())?;
        let location = draft.folder.location();
        let joined = async {
            if !key_file.exists() {
                let path = key_file.clone();
                return Err(Error::JoinWithoutKey { place: location.place(), path });
            }
            let store = Store::open(&location).await?;
            let root = RootKey::load(&key_file)?;
            let joining = Joining { folder: draft.folder.clone(), store, clock, random };
            let instance = Self::as_new_node(joining, &root, ctx.now).await?;
            let changing = Changing::joining(&instance, &ctx).await?;
            let head = instance.enter(changing, &ctx, "node.join", Vec::new()).await?;
            Ok((instance, head))
        };
        let (instance, head) = draft.or_discard(joined.await)?;
        instance.appear(draft, head, (&key_file, config)).await
    }

    /// The installation of this database, opened by a node that it does not know yet.
    pub(crate) async fn as_new_node(
        joining: Joining,
        root: &RootKey,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let Joining { folder, store, clock, random } = joining;
        let everything = store.load_all().await?;
        let keyring = opened_keyring(root, &everything)?;
        let id = everything.instance;
        let node = Id::generate(now, random.as_ref())?;
        let mut secrets = InstanceSecrets::open(&keyring, &everything, None)?;
        secrets.audit_seed = secret(random.as_ref())?;
        let (keyring, seen) = (Arc::new(keyring), Mutex::default());
        let (node, origin) = (Some(node), origin_of(id, Some(node)));
        Ok(Self {
            folder,
            id,
            node,
            origin,
            store,
            keyring,
            secrets,
            clock,
            random,
            seen,
            desk: Desk::default(),
        })
    }

    /// Makes this node known to the store, by the key of its audit log.
    pub(crate) async fn enter(
        &self,
        mut changing: Changing<'_>,
        ctx: &OpContext,
        verb: &'static str,
        details: Vec<(&'static str, String)>,
    ) -> Result<Option<VaultHead>, Error> {
        let node = self.node.ok_or(Error::Internal { what: "the first node joins none" })?;
        let tx = &mut changing.tx;
        let own = customers::find_or_create(self, tx, ctx, SELF_CUSTOMER).await?;
        let seed = copy(&self.secrets.audit_seed);
        tx.put_sealed(&self.seal(&own.key, NODE_TABLE, &node.to_bytes(), AUDIT_SEED, &seed)?)
            .await?;
        changing.record(Change { verb, what: format!("node {node}"), details, customer: None });
        changing.commit().await
    }

    /// Fills the rest of a draft, puts it in its place, and opens what appeared there.
    pub(crate) async fn appear(
        self,
        draft: Draft<'_>,
        head: Option<VaultHead>,
        (key_file, config): (&Path, &str),
    ) -> Result<Made, Error> {
        let written = self.write_draft(head, (key_file, config)).await;
        self.close_store().await;
        draft.or_discard(written)?;
        let folder = draft.place()?;
        let Self { clock, random, .. } = self;
        let instance = Self::open(folder, Some(key_file), clock, random).await?;
        sequence::settle(&instance).await?;
        Ok(Made { instance, root_key_file: key_file.to_owned() })
    }

    async fn write_draft(
        &self,
        head: Option<VaultHead>,
        (key_file, config): (&Path, &str),
    ) -> Result<(), Error> {
        // The log begins with the folder, and the store knows of it: later on a log that is not
        // there was taken away. Both appear with the folder, or not at all.
        self.begin_log(head).await?;
        if let Some(node) = self.node {
            write_new(&self.folder.node_file(), format!("{node}\n").as_bytes(), 0o600)?;
        }
        let place = format!("{}\n", key_file.display());
        write_new(&self.folder.root_key_path(), place.as_bytes(), 0o600)?;
        let config = format!("{CONFIG_HEAD}{config}");
        write_new(&self.folder.config(), config.as_bytes(), 0o600)?;
        sync_dir(self.folder.dir())
    }

    /// The first rows of an installation.
    async fn fill(
        &self,
        ctx: &OpContext,
        generation: &WrappedGeneration,
    ) -> Result<Option<VaultHead>, Error> {
        let mut changing = Changing::first(self, ctx, None).await?;
        let tx = &mut changing.tx;
        tx.insert_instance(self.id, ctx.now).await?;
        tx.insert_vault_generation(generation.number, &generation.blob).await?;
        let own = customers::find_or_create(self, tx, ctx, SELF_CUSTOMER).await?;
        for (column, secret) in self.secrets.columns() {
            let sealed = self.seal(&own.key, TABLE, &self.id.to_bytes(), column, &secret)?;
            tx.put_sealed(&sealed).await?;
        }
        changing.record(Change {
            verb: "instance.init",
            what: format!("instance {}", self.id),
            customer: Some(own.commitment),
            ..Change::default()
        });
        changing.commit().await
    }

    /// Makes this node's log, which binds the store's state from its first checkpoint on, the file
    /// with its public key, and what the store knows of it.
    pub(crate) async fn begin_log(&self, head: Option<VaultHead>) -> Result<(), Error> {
        let key = self.signing_key()?;
        let first = Log::create(&self.folder.audit(), &key, head)?;
        self.store.keep_audit_checkpoint(&self.origin, 0, &first).await?;
        let key = format!("{}\n", key.verifier());
        write_new(&self.folder.audit_key(), key.as_bytes(), 0o644)
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
        let node = folder.node()?;
        let store = Store::open(&folder.location()).await?;
        let everything = store.load_all().await?;
        let keyring = opened_keyring(&root, &everything)?;
        let id = everything.instance;
        let secrets = InstanceSecrets::open(&keyring, &everything, node)?;
        let (keyring, origin, seen) = (Arc::new(keyring), origin_of(id, node), Mutex::default());
        let instance = Self {
            folder,
            id,
            node,
            origin,
            store,
            keyring,
            secrets,
            clock,
            random,
            seen,
            desk: Desk::default(),
        };
        if everything.head.is_none() {
            // Rare, and its state is large: not on every caller's stack.
            Box::pin(sequence::seal_first_layout(&instance)).await?;
        }
        Box::pin(nodes::check_own(&instance)).await?;
        Ok(instance)
    }

    /// The same installation, from the database that lies in its place now. What this process has
    /// seen of the one before, the other must have.
    ///
    /// # Errors
    /// [`Error::OtherInstallation`] if it is another one's, or holds other secrets.
    pub(crate) async fn reopen(&self) -> Result<Self, Error> {
        let store = Store::open(&self.folder.location()).await?;
        let everything = store.load_all().await?;
        let secrets = InstanceSecrets::open(&self.keyring, &everything, self.node);
        let is_ours = everything.instance == self.id
            && secrets.as_ref().is_ok_and(|secrets| *secrets == self.secrets);
        if !is_ours {
            return Err(Error::OtherInstallation { path: self.folder.database() });
        }
        Ok(Self {
            folder: self.folder.clone(),
            id: self.id,
            node: self.node,
            origin: self.origin.clone(),
            store,
            keyring: Arc::clone(&self.keyring),
            secrets: secrets?,
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            seen: Mutex::new(*self.seen.lock().unwrap_or_else(PoisonError::into_inner)),
            desk: Desk::default(),
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

    /// The key of any log of the installation, by the log's name.
    pub(crate) fn key_of_log(
        &self,
        everything: &store::Everything,
        origin: &str,
    ) -> Result<SigningKey, Error> {
        let node = self.node_of(origin)?;
        let secrets = InstanceSecrets::open(&self.keyring, everything, node)?;
        SigningKey::from_seed(secrets.audit_seed.expose(), origin)
            .map_err(|_| Error::Internal { what: "an audit log's key is malformed" })
    }

    /// The node whose log has this name; `None` for the first.
    fn node_of(&self, origin: &str) -> Result<Option<Id<Node>>, Error> {
        let unknown = || Error::AuditUnknown { origin: origin.to_owned() };
        match origin.strip_prefix(&origin_of(self.id, None)).ok_or_else(unknown)? {
            "" => Ok(None),
            rest => {
                let node = rest.strip_prefix('/').and_then(|node| node.parse().ok());
                node.map(Some).ok_or_else(unknown)
            }
        }
    }

    /// Where sealed values of the node with this log stand; those of the first are the installation's.
    pub(crate) fn record_of_log(&self, origin: &str) -> (&'static str, [u8; 16]) {
        let node = self.node_of(origin).ok().flatten();
        node.map_or((TABLE, self.id.to_bytes()), own_record)
    }

    /// By how much this node's clock is ahead of the database's, in microseconds, as far as the answer's
    /// time leaves no doubt; `None` where the database has no clock of its own.
    pub async fn clock_skew(&self) -> Result<Option<ClockSkew>, Error> {
        let before = self.clock.now();
        let Some(theirs) = self.store.clock().await? else { return Ok(None) };
        Ok(Some(ClockSkew::of(before, theirs, self.clock.now())))
    }

    /// The public key of this node's audit log.
    pub fn log_key(&self) -> Result<audit::VerifierKey, Error> {
        Ok(self.signing_key()?.verifier().clone())
    }

    /// The key that signs the audit log's checkpoints.
    pub(crate) fn signing_key(&self) -> Result<SigningKey, Error> {
        self.signing_key_of(&self.origin)
    }

    /// What a log of this name is signed with, if it has this one's secret.
    pub(crate) fn signing_key_of(&self, origin: &str) -> Result<SigningKey, Error> {
        SigningKey::from_seed(self.secrets.audit_seed.expose(), origin)
            .map_err(|_| Error::Internal { what: "the audit log's key is malformed" })
    }

    /// States that the store must have: the one that this node's log last signed, and the newest
    /// that this process has seen.
    pub(crate) fn remembered(&self) -> Result<Vec<VaultHead>, Error> {
        let path = self.folder.audit().join("checkpoint");
        let signed = match std::fs::read_to_string(&path) {
            Ok(note) => {
                let opened = self.signing_key()?.verifier().open(&note);
                opened.map_err(OpenError::from)?.vault
            }
            // A log has a checkpoint from its creation on.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OpenError::Missing.into());
            }
            Err(source) => return Err(Error::Io { what: "read", path, source }),
        };
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok([signed, seen].into_iter().flatten().collect())
    }

    /// Remembers a state that the store was judged to have.
    pub(crate) fn remember(&self, head: VaultHead) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none_or(|seen| seen.sequence < head.sequence) {
            *seen = Some(head);
        }
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
        self.seal_version(key, (table, record, column), 1, plain)
    }

    /// Seals a later version of a record.
    pub(crate) fn seal_version(
        &self,
        key: &CustomerKey,
        (table, record, column): (&str, &[u8; 16], &str),
        version: u64,
        plain: &SecretBytes,
    ) -> Result<SealedRow, Error> {
        let context = RecordContext {
            table,
            record,
            column,
            customer: key.customer(),
            version,
            generation: key.generation(),
        };
        let sealed = vault::seal(key, &context, plain)?;
        Ok(SealedRow {
            table: table.to_owned(),
            record: *record,
            column: column.to_owned(),
            customer: key.customer(),
            version,
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
    pub(crate) fn generate(random: &dyn Random) -> Result<Self, Error> {
        let pepper = KeyPepper::generate(random)?;
        Ok(Self { pepper, audit_seed: secret(random)?, tag_key: secret(random)? })
    }

    pub(crate) fn columns(&self) -> [(&'static str, SecretBytes); 3] {
        [
            (PEPPER, self.pepper.to_bytes()),
            (AUDIT_SEED, copy(&self.audit_seed)),
            (TAG_KEY, copy(&self.tag_key)),
        ]
    }

    /// The secrets as `node` has them: each has a log with a key of its own.
    fn open(
        keyring: &Keyring,
        everything: &store::Everything,
        node: Option<Id<Node>>,
    ) -> Result<Self, Error> {
        let (instance, node) = ((TABLE, everything.instance.to_bytes()), node.map(own_record));
        let read = |(table, record): (&str, [u8; 16]), column: &str| {
            let missing = Error::Internal { what: "a secret of the installation is missing" };
            let row = everything
                .sealed
                .iter()
                .find(|row| row.table == table && row.record == record && row.column == column)
                .ok_or(match Id::<Node>::from_bytes(record) {
                    node if table == NODE_TABLE => Error::NodeUnknown { node: node.to_string() },
                    _ => missing,
                })?;
            let missing = Error::Internal { what: "the installation's own customer is missing" };
            let customer =
                everything.customers.iter().find(|one| one.id == row.customer).ok_or(missing)?;
            let wrapped = vault::WrappedCustomerKey {
                generation: customer.generation,
                blob: customer.wrapped_key.clone(),
            };
            open_row(&keyring.open_customer_key(customer.id, &wrapped)?, row)
        };
        let pepper = KeyPepper::from_bytes(&read(instance, PEPPER)?)?;
        let audit_seed = read(node.unwrap_or(instance), AUDIT_SEED)?;
        Ok(Self { pepper, audit_seed, tag_key: read(instance, TAG_KEY)? })
    }
}

const fn own_record(node: Id<Node>) -> (&'static str, [u8; 16]) {
    (NODE_TABLE, node.to_bytes())
}

fn secret(random: &dyn Random) -> Result<SecretBytes, Error> {
    let mut bytes = vec![0; SECRET_BYTES];
    random.fill(&mut bytes)?;
    Ok(SecretBytes::new(bytes))
}

fn copy(secret: &SecretBytes) -> SecretBytes {
    SecretBytes::new(secret.expose().to_vec())
}

fn opened_keyring(root: &RootKey, everything: &store::Everything) -> Result<Keyring, Error> {
    let generations: Vec<WrappedGeneration> = everything
        .vault_generations
        .iter()
        .map(|row| WrappedGeneration { number: row.number, blob: row.wrapped_key.clone() })
        .collect();
    Ok(Keyring::open(root, &generations)?)
}

/// Puts an installation together from its parts, as no verb does.
#[cfg(test)]
impl Instance {
    pub(crate) fn of(
        folder: DataFolder,
        id: Id<InstanceKind>,
        store: Store,
        (keyring, secrets): (Keyring, InstanceSecrets),
        random: Arc<dyn Random>,
    ) -> Self {
        let (clock, seen) = (Arc::new(types::SystemClock), Mutex::default());
        let (keyring, origin) = (Arc::new(keyring), origin_of(id, None));
        Self {
            folder,
            id,
            node: None,
            origin,
            store,
            keyring,
            secrets,
            clock,
            random,
            seen,
            desk: Desk::default(),
        }
    }
}

impl RootKeyPlace<'_> {
    /// The root key's file, which never lies in the folder.
    pub(crate) fn of(self, id: Id<InstanceKind>, dir: &Path) -> Result<PathBuf, Error> {
        let key_file = absolute(&match self {
            RootKeyPlace::File(file) => file.to_owned(),
            RootKeyPlace::Folder(folder) => folder.join(format!("{id}.key")),
        })?;
        if resolved(&key_file)?.starts_with(resolved(dir)?) {
            return Err(Error::RootKeyInFolder);
        }
        Ok(key_file)
    }
}

/// The root key of an installation that is being made.
struct NewKey {
    file: PathBuf,
    root: RootKey,
    /// The file was not there before.
    is_made: bool,
}

impl NewKey {
    fn make(file: PathBuf, random: &dyn Random) -> Result<Self, Error> {
        if !file.exists() {
            match RootKey::create_file(&file, random) {
                // Another `init` with the same file was faster.
                Err(RootKeyError::Exists { .. }) => {}
                made => return Ok(Self { root: made?, file, is_made: true }),
            }
        }
        Ok(Self { root: RootKey::load(&file)?, file, is_made: false })
    }

    /// Removes a key that nothing was sealed with that stays: one of this installation's own name, or
    /// one that whoever has the folder now does not use.
    fn remove_unused(&self, dir: &Path, place: RootKeyPlace<'_>) {
        let is_own = match place {
            RootKeyPlace::Folder(_) => true,
            RootKeyPlace::File(_) => {
                let used = DataFolder::at_with(dir.to_owned(), None).recorded_root_key();
                used.is_ok_and(|used| used != self.file)
            }
        };
        if self.is_made
            && is_own
            && let Err(error) = std::fs::remove_file(&self.file)
        {
            tracing::warn!(%error, "a root key that opens nothing cannot be removed");
        }
    }
}

/// Where a node will be, and what it takes part in.
pub(crate) struct Joining {
    pub folder: DataFolder,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

/// A folder beside its place: it appears there whole or not at all.
pub(crate) struct Draft<'d> {
    pub folder: DataFolder,
    dir: &'d Path,
    server: Option<ServerUrl>,
    /// Held while the draft is one: what nobody holds was left by an end in its midst.
    lock: FolderLock,
}

impl<'d> Draft<'d> {
    pub(crate) fn make(
        dir: &'d Path,
        name: Id<InstanceKind>,
        server: Option<&ServerUrl>,
    ) -> Result<Self, Error> {
        remove_drafts(dir)?;
        let draft = draft_dir(dir, &name.to_string())?;
        make_private_dir(&draft)?;
        let folder = DataFolder::at_with(draft, server);
        let lock = folder.lock()?;
        Ok(Self { folder, dir, server: server.cloned(), lock })
    }

    /// The result, after removing what was begun if it is none.
    fn or_discard<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err()
            && let Err(error) = std::fs::remove_dir_all(self.folder.dir())
        {
            tracing::warn!(%error, "a draft cannot be removed");
        }
        result
    }

    /// Removes what was begun.
    pub(crate) fn discard(self) -> Result<(), Error> {
        let path = self.folder.dir().to_owned();
        std::fs::remove_dir_all(&path).map_err(|source| Error::Io { what: "remove", path, source })
    }

    fn place(self) -> Result<DataFolder, Error> {
        // Renaming onto an empty folder is what makes it appear whole. The lock goes with it: until then
        // it keeps others from taking the draft for one that was left.
        let placed = std::fs::rename(self.folder.dir(), self.dir).map_err(|source| {
            let dir = self.dir.to_owned();
            match source.kind() {
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
                    Error::FolderMadeMeanwhile { dir }
                }
                _ => Error::Io { what: "create", path: dir, source },
            }
        });
        self.or_discard(placed)?;
        let Self { dir, server, lock, .. } = self;
        drop(lock);
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_dir(parent.unwrap_or(Path::new(".")))?;
        DataFolder::open_with(dir, server.as_ref())
    }
}

const CONFIG_HEAD: &str = "# Configuration of Weirgate. `weirgate config show` lists every key;\n\
                           # docs/reference/configuration.md explains them.\n";

/// Refuses a place that holds anything.
pub(crate) fn refuse_taken(dir: &Path) -> Result<(), Error> {
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
fn draft_dir(dir: &Path, id: &str) -> Result<PathBuf, Error> {
    let dir = absolute(dir)?;
    let name = dir.file_name().ok_or_else(|| Error::FolderTaken { dir: dir.clone() })?;
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".{id}"));
    Ok(dir.with_file_name(draft))
}

/// Removes drafts of this folder that an `init` left when it was killed. A root key that it made
/// stays: no key is ever deleted, though this one opens nothing.
fn remove_drafts(dir: &Path) -> Result<(), Error> {
    let pattern = draft_dir(dir, "")?;
    let (Some(parent), Some(prefix)) = (pattern.parent(), pattern.file_name()) else {
        return Ok(());
    };
    let entries = match std::fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Io { what: "read", path: parent.to_owned(), source }),
    };
    for entry in entries {
        let failed = |source| Error::Io { what: "read", path: parent.to_owned(), source };
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let id = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        let id = id.and_then(|id| std::str::from_utf8(id).ok());
        let is_draft = id.is_some_and(|id| id.parse::<Id<InstanceKind>>().is_ok());
        // A link of such a name leads to what is not ours.
        if !is_draft || !entry.file_type().map_err(failed)?.is_dir() {
            continue;
        }
        let path = entry.path();
        // One that holds nothing is just being made, and is locked next.
        if std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none()) {
            continue;
        }
        let lock = match DataFolder::at_with(path.clone(), None).try_lock() {
            Ok(Some(lock)) => lock,
            Ok(None) => continue,
            // It is in its place by now.
            Err(_) if !path.exists() => continue,
            Err(error) => return Err(error),
        };
        std::fs::remove_dir_all(&path).map_err(|source| Error::Io {
            what: "remove the draft",
            path,
            source,
        })?;
        drop(lock);
    }
    Ok(())
}

/// Whether a path leads into the data folder.
pub fn is_inside(path: &Path, folder: &DataFolder) -> Result<bool, Error> {
    Ok(resolved(path)?.starts_with(resolved(folder.dir())?))
}

/// Where a path leads, through links and `..`, though its end may not be there yet.
fn resolved(path: &Path) -> Result<PathBuf, Error> {
    let path = absolute(path)?;
    let mut missing = Vec::new();
    let mut there = path.as_path();
    loop {
        match std::fs::canonicalize(there) {
            Ok(mut whole) => {
                for part in missing.into_iter().rev() {
                    match part {
                        Component::ParentDir => drop(whole.pop()),
                        part => whole.push(part),
                    }
                }
                return Ok(whole);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Io { what: "find", path, source }),
        }
        let mut parts = there.components();
        missing.extend(parts.next_back());
        there = parts.as_path();
        if there.as_os_str().is_empty() {
            return Ok(path);
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::Io {
        what: "find",
        path: path.to_owned(),
        source,
    })
}
