//! An installation: its folder, store, keys and secrets, opened.

mod draft;
mod key_file;
mod keys;
mod secrets;

pub(crate) use draft::{Draft, refuse_taken};
pub use key_file::{RootKeyPlace, is_inside};
pub use keys::{Ask, Custody, Given, read_passphrase};
pub(crate) use keys::{Keys, OpenKey, Place};
pub(crate) use secrets::InstanceSecrets;

use crate::{
    audit_log::Readers,
    calls::Ledger,
    change::{Change, Changing},
    customers,
    error::Error,
    folder::{DataFolder, origin_of, sync_dir, write_new},
    nodes,
    people::Desk,
    sequence,
};
use audit::{Log, OpenError, SigningKey, VaultHead};
use gateway::TagKey;
use key_file::NewKey;
use outbound::{HickoryResolver, Pool, PoolConfig, TlsConfig};
use secrets::{
    AUDIT_SEED, NODE_TABLE, SECRET_BYTES, TABLE, copy, open_row, opened_keyring, own_record, secret,
};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use store::{Location, SealedRow, ServerUrl, Store};
use types::{Clock, Id, Instance as InstanceKind, Node, OpContext, Random, SecretBytes, Timestamp};
use vault::{CustomerKey, Keyring, RecordContext, WrappedGeneration};

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
    pub(crate) keys: Arc<Keys>,
    pub(crate) secrets: InstanceSecrets,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// The newest state of the store that this process has seen.
    seen: Mutex<Option<VaultHead>>,
    pub(crate) desk: Desk,
    pub(crate) calls: Ledger,
    pub(crate) readers: Readers,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("id", &self.id).finish_non_exhaustive()
    }
}

/// How `init` is asked.
#[derive(Debug)]
pub struct Init<'a> {
    pub dir: &'a Path,
    /// Where the database lies if not in the folder.
    pub server: Option<ServerUrl>,
    /// What the configuration says from the beginning.
    pub config: &'a str,
    pub root_key: RootKeyPlace<'a>,
    /// What seals a new root key, and opens one that is sealed.
    pub custody: Custody,
    pub actor: OpContext,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

/// What `init` made.
#[derive(Debug)]
pub struct Made {
    pub instance: Instance,
    pub root_key_file: PathBuf,
}

/// Where a node will be, and what it takes part in.
pub(crate) struct Joining {
    pub folder: DataFolder,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

const CONFIG_HEAD: &str = "# Configuration of Weirgate. `weirgate config show` lists every key;\n\
                           # docs/reference/configuration.md explains them.\n";

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
        let Init { dir, server, config, root_key, custody, actor: ctx, clock, random } = init;
        let id: Id<InstanceKind> = Id::generate(ctx.now, random.as_ref())?;
        let draft = Draft::make(dir, id, server.as_ref())?;
        let folder = draft.folder.clone();
        let key = NewKey::make(root_key.of(id, dir)?, &custody, random.as_ref());
        let key = draft.or_discard(key)?;
        let filled = async {
            let (keyring, generation) = Keyring::create(&key.root, random.as_ref())?;
            let secrets = InstanceSecrets::generate(random.as_ref())?;
            let store = Store::create(&folder.location()).await?;
            let custody = Custody { file: Some(key.file.clone()), ..custody };
            let keys = Arc::new(Keys::new(custody, Arc::clone(&key.root), keyring));
            let (node, origin, seen) = (None, origin_of(id, None), Mutex::default());
            let instance = Self {
                folder,
                id,
                node,
                origin,
                store,
                keys,
                secrets,
                clock,
                random,
                seen,
                desk: Desk::default(),
                calls: Ledger::default(),
                readers: Readers::default(),
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
        let Init { dir, server, config, root_key, custody, actor: ctx, clock, random } = init;
        let key_file = root_key.of(id, dir)?;
        let draft = Draft::make(dir, Id::generate(ctx.now, random.as_ref())?, server.as_ref())?;
        let location = draft.folder.location();
        let joined = async {
            if !key_file.exists() {
                let path = key_file.clone();
                return Err(Error::JoinWithoutKey { place: location.place(), path });
            }
            let store = Store::open(&location).await?;
            let key = OpenKey::of(custody, &key_file)?;
            let joining = Joining { folder: draft.folder.clone(), store, clock, random };
            let instance = Self::as_new_node(joining, &key, ctx.now).await?;
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
        key: &OpenKey,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let Joining { folder, store, clock, random } = joining;
        let everything = store.load_all().await?;
        let keyring = opened_keyring(&key.root, &everything)?;
        let id = everything.instance;
        let node = Id::generate(now, random.as_ref())?;
        let mut secrets = InstanceSecrets::open(&keyring, &everything, None)?;
        secrets.audit_seed = secret(random.as_ref())?;
        let keys = Keys::new(key.custody.clone(), Arc::clone(&key.root), keyring);
        let (keys, seen) = (Arc::new(keys), Mutex::default());
        let (node, origin) = (Some(node), origin_of(id, Some(node)));
        Ok(Self {
            folder,
            id,
            node,
            origin,
            store,
            keys,
            secrets,
            clock,
            random,
            seen,
            desk: Desk::default(),
            calls: Ledger::default(),
            readers: Readers::default(),
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
        let Self { clock, random, keys, .. } = self;
        let instance = Self::open(folder, keys.custody().clone(), clock, random).await?;
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
        custody: impl Into<Custody>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, Error> {
        let custody = custody.into();
        // Before the database: what is wrong with the key's file is said first, and cheaply.
        let found = custody.find(&folder)?;
        let node = folder.node()?;
        let store = Store::open(&folder.location()).await?;
        let everything = store.load_all().await?;
        let (root, keyring) =
            keys::open_vault(&folder, &custody, found, (&store, &everything)).await?;
        let id = everything.instance;
        let secrets = InstanceSecrets::open(&keyring, &everything, node)?;
        let keys = Arc::new(Keys::new(custody, root, keyring));
        let (origin, seen) = (origin_of(id, node), Mutex::default());
        let instance = Self {
            folder,
            id,
            node,
            origin,
            store,
            keys,
            secrets,
            clock,
            random,
            seen,
            desk: Desk::default(),
            calls: Ledger::default(),
            readers: Readers::default(),
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
        let secrets = InstanceSecrets::open(&self.keyring(), &everything, self.node);
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
            keys: Arc::clone(&self.keys),
            secrets: secrets?,
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            seen: Mutex::new(*self.seen.lock().unwrap_or_else(PoisonError::into_inner)),
            desk: Desk::default(),
            calls: Ledger::default(),
            readers: Readers::default(),
        })
    }

    /// The opened generations.
    pub(crate) fn keyring(&self) -> Arc<Keyring> {
        self.keys.ring()
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
        let secrets = InstanceSecrets::open(&self.keyring(), everything, node)?;
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
        // No test of these begins a generation.
        let root = vault::RootKey::generate(random.as_ref()).unwrap();
        let keys = Arc::new(Keys::new(Custody::default(), Arc::new(root), keyring));
        let origin = origin_of(id, None);
        Self {
            folder,
            id,
            node: None,
            origin,
            store,
            keys,
            secrets,
            clock,
            random,
            seen,
            desk: Desk::default(),
            calls: Ledger::default(),
            readers: Readers::default(),
        }
    }
}
