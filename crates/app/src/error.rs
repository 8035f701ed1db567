//! Why something on the control plane was not done: what, why, and the remedy.

use crate::{
    backup::BackupError,
    grants::Problem,
    seals::{OUTBOX, Tampering},
    servers::ServerError,
};
use audit::{AppendError, ExportError, NoteError, OpenError, ProofError, VerifyError};
use identity::oidc::OidcError;
use outbound::TargetError;
use std::{io, path::PathBuf, time::Duration};

/// How a program tells the kinds of failure apart; the command line's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Failed,
    /// What was given cannot be meant.
    Usage,
    NotFound,
    /// A rule says no.
    Refused,
    Unreachable,
}

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("there is no data folder at {}", dir.display())]
    NoDataFolder { dir: PathBuf },
    #[error("the file {} does not name a node", path.display())]
    NodeMalformed { path: PathBuf },
    /// The folder names a node whose key the database does not have.
    #[error("the database knows of no node `{node}`")]
    NodeUnknown { node: String },
    #[error("the node `{name}` was retired, and does nothing any more")]
    NodeRetired { name: String },
    #[error("the node `{name}` is at work, and cannot be retired")]
    NodeAlive { name: String },
    #[error("the node `{name}` is the one that is asked, and cannot retire itself")]
    NodeOwn { name: String },
    #[error("{place} holds an installation already, and its root key is not at {}", path.display())]
    JoinWithoutKey { place: store::Place, path: PathBuf },
    #[error("{} is a data folder already, or holds something else", dir.display())]
    FolderTaken { dir: PathBuf },
    #[error("another `init` made the data folder {} meanwhile", dir.display())]
    FolderMadeMeanwhile { dir: PathBuf },
    #[error("another `init` made an installation in {place} meanwhile")]
    InstallationMadeMeanwhile { place: store::Place },
    #[error("another process serves or changes the data folder {}", dir.display())]
    FolderInUse { dir: PathBuf },
    #[error("cannot read {}, which says where the root key lies", path.display())]
    RootKeyPlace {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the root key in {} was replaced by another one at {at}", path.display())]
    RootKeyReplaced { path: PathBuf, at: types::Timestamp },
    #[error("the service manager keeps the root key, and cannot be given another one from here")]
    RootKeyPlaceNeeded,
    #[error(
        "the company itself is no customer that could be erased: its key opens the installation"
    )]
    CustomerIsSelf,
    #[error("the entry of the erasure is not in this node's log, or no checkpoint covers it yet")]
    NotCertified,
    #[error("there is no certificate of it")]
    Certificate(#[from] audit::certificate::CertificateError),
    #[error("a generation of the vault is being replaced already")]
    RotationUnderWay,
    #[error("the shares are those of installation {shares}, and this one is {wanted}")]
    SharesForeign { shares: String, wanted: String },
    #[error("the shares are no root key")]
    Share(#[source] vault::ShareError),
    #[error("what is given is no passphrase for a root key")]
    Passphrase(#[source] vault::PassphraseError),
    #[error("the file with the passphrase, {}, has mode {mode:04o}, and must be its owner's alone", path.display())]
    PassphraseFileMode { path: PathBuf, mode: u32 },
    #[error("{id} is not in force any more")]
    KeyEnded { id: String },
    #[error("the root key lies inside the data folder")]
    RootKeyInFolder,
    #[error(transparent)]
    RootKey(#[from] vault::RootKeyError),
    #[error("the vault refuses")]
    Vault(#[from] vault::VaultError),
    #[error("the vault and the rows around it do not have the state that the audit log recorded")]
    VaultRolledBack,
    /// A row that only somebody else can have written, or that somebody else removed.
    #[error("the row {id} of {kind} was {how} by somebody else than Weirgate")]
    RowTampered { kind: String, id: String, how: Tampering },
    /// A change is in force, or others were built on it, and its event is nowhere.
    #[error("the event {sequence} of a change was removed before the audit log had it")]
    EventMissing { sequence: u64 },
    /// No single row can be named: rows with their seals were removed, added or put back.
    #[error("the store's rows are not those that Weirgate left: their seals do not fit together")]
    SealsTampered,
    #[error(
        "the audit entry of {verb} would have {bytes} bytes, of at most {limit}: its {part} is too long"
    )]
    RecordTooLong { verb: String, part: String, bytes: usize, limit: usize },
    #[error("the description's {kind} `{start}...` has {bytes} bytes, of at most {limit}")]
    NameTooLong { kind: &'static str, start: String, bytes: usize, limit: usize },
    #[error("there is no such proof")]
    AuditProof(#[from] ProofError),
    #[error("the log cannot be exported")]
    AuditExport(#[from] ExportError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error("the audit log cannot be opened")]
    AuditOpen(#[from] OpenError),
    #[error("the audit log cannot be written")]
    AuditAppend(#[from] AppendError),
    #[error("the change was made, but its audit entry is not in the log yet")]
    NotSequenced(#[source] Box<Error>),
    #[error("the database knows of no audit log with the name `{origin}`")]
    AuditUnknown { origin: String },
    #[error(
        "the data folder is an earlier release's, and its audit log ends in what no checkpoint signs"
    )]
    FirstLayoutUnsigned,
    #[error("the audit log does not verify")]
    AuditVerify(#[from] VerifyError),
    #[error("there is no public key of the audit log at {}", path.display())]
    AuditKeyMissing { path: PathBuf },
    #[error("the public key of the audit log in {} is malformed", path.display())]
    AuditKey { path: PathBuf },
    #[error("{} is missing or holds another key than that of this audit log", path.display())]
    AuditKeyWrong { path: PathBuf, key: String },
    #[error("the public key is that of `{given}`, and the audit log here is `{wanted}`")]
    AuditForeign { given: String, wanted: String },
    #[error("{} is not the key that this node cosigns with", path.display())]
    WitnessKey { path: PathBuf },
    #[error("the database, which knows what the audit log must hold, cannot be read")]
    AuditStore(#[source] store::StoreError),
    #[error("the database at {} is another installation's, or holds other secrets", path.display())]
    OtherInstallation { path: PathBuf },
    #[error("no random bytes")]
    Random(#[from] types::RandomError),
    /// What was given may be anything, and is not repeated.
    #[error("what was given cannot be a {kind}: {why}")]
    Malformed { kind: &'static str, why: String },
    #[error("there is no {kind} `{name}`")]
    NotFound { kind: &'static str, name: String },
    /// What was given as a name may be anything, and is not repeated.
    #[error("there is no {kind} of the name that was given")]
    NameUnknown { kind: &'static str },
    #[error("there is {} {kind} `{name}` already", article(kind))]
    Exists { kind: &'static str, name: String },
    #[error("the description cannot be read")]
    Description(#[from] provider::LoadError),
    #[error("the overlay that is in force does not fit the new description")]
    OverlayKept(#[source] provider::LoadError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("the server {} cannot be used", url.as_ref().map_or("that --server gives".into(), |url| format!("`{url}`")))]
    Target {
        /// As stored or described; what was given just now may be anything, and is not repeated.
        url: Option<String>,
        #[source]
        source: TargetError,
    },
    #[error(transparent)]
    Resolver(#[from] outbound::ResolverSetupError),
    #[error(transparent)]
    Tls(#[from] outbound::TlsConfigError),
    #[error("the secret cannot be used")]
    Credential(#[from] vault::CredentialError),
    #[error("the secret cannot be used")]
    Identity(#[from] outbound::IdentityError),
    #[error(transparent)]
    Auth(#[from] vault::auth::AuthError),
    #[error("the provider's overlay declares no check call")]
    NoCheck,
    #[error("the provider could not be asked")]
    CheckUnreached {
        #[source]
        source: outbound::OutboundError,
    },
    #[error("no token was obtained: {why}")]
    TokenNotObtained { code: &'static str, why: String },
    #[error(transparent)]
    Connect(#[from] crate::connect::ConnectError),
    #[error(transparent)]
    Replace(#[from] crate::replacement::ReplaceError),
    #[error(transparent)]
    Lifetime(#[from] crate::lifetimes::LifetimeError),
    #[error(transparent)]
    SecretStore(#[from] crate::secret_stores::StoreError),
    #[error("the provider has no security scheme for which an app is registered")]
    AppUseless,
    #[error("the provider has no security scheme of the name that --scheme gives")]
    SchemeUnknown { choices: Vec<String> },
    #[error("the secret fits several security schemes: {}", choices.join(", "))]
    SchemeAmbiguous { choices: Vec<String> },
    #[error("the secret fits no security scheme of the provider")]
    SchemeFitsNone { choices: Vec<String> },
    #[error("what --header gives cannot be fixed: {why}")]
    HeaderRefused { why: &'static str },
    #[error("the files have {} problem{}", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    Grants(Vec<Problem>),
    #[error(
        "{}{}",
        if *files == 0 {
            format!("there is no `*.toml` file in {from}")
        } else {
            format!("no file in {from} holds a grant")
        },
        if *revoked == 0 {
            String::new()
        } else {
            format!(", and applying that would revoke every grant ({revoked} now)")
        }
    )]
    NoGrants { from: String, files: usize, revoked: usize },
    #[error(
        "connections of {slug} would send their credentials to {new}, where they do not go now; \
         they go to {old}"
    )]
    ServersMove { slug: String, old: String, new: String },
    #[error("something was changed since the plan was made")]
    PlanStale,
    #[error(transparent)]
    Address(#[from] identity::EmailError),
    #[error(transparent)]
    Password(#[from] identity::PasswordProblems),
    #[error(transparent)]
    PasswordHash(#[from] identity::HashError),
    #[error(transparent)]
    TotpLabel(#[from] identity::TotpLabelError),
    #[error("the address or the password is not right")]
    SignInRefused,
    #[error("the password before is another")]
    PasswordWrong,
    #[error("there were too many attempts: the next one counts in {} s", retry_after.as_secs().max(1))]
    SignInSlowed { retry_after: Duration },
    #[error("the code is not right")]
    FactorRefused,
    #[error("the passkey was not taken")]
    PasskeyRefused,
    #[error("this needs a factor that was shown within the last five minutes")]
    StepUpNeeded,
    #[error(transparent)]
    Sso(#[from] OidcError),
    #[error("the identity provider cannot be asked: {why}")]
    IdentityProviderUnreachable { why: String },
    #[error("none of the person's groups brings a role")]
    SsoNoRole,
    #[error("the identity provider's settings cannot be meant: {what}")]
    SsoSettings { what: &'static str },
    #[error("the identity provider `{name}` is of that issuer")]
    IssuerTaken { name: String },
    #[error("an installation has at most {limit} identity providers")]
    TooManyIdentityProviders { limit: usize },
    #[error("that identity signs in to an account already, or the account has one of the provider")]
    IdentityTaken,
    #[error("the account was made by an identity provider, which decides its roles and its way in")]
    ManagedElsewhere,
    #[error("one's own proposal is approved by somebody else")]
    OwnProposal,
    #[error("there is a grant of this client, target and purpose already")]
    GrantThere,
    #[error("a review is under way")]
    ReviewUnderWay,
    #[error("the review is closed")]
    ReviewClosed,
    #[error("{items} of the review's items are undecided")]
    ReviewOpen { items: usize },
    #[error("a review has a name of one line and at most {limit} characters")]
    ReviewName { limit: usize },
    #[error("a review is due in 1 to {limit} days")]
    ReviewDays { limit: u16 },
    #[error("an item is named twice")]
    ReviewTwice,
    #[error("item {number} is a role that an identity provider gives")]
    ReviewManaged { number: usize },
    #[error("item {number} was changed or dropped since the review began")]
    ReviewItem { number: usize },
    #[error("at most {limit} reviews are kept")]
    TooManyReviews { limit: usize },
    #[error("nothing is granted to programs or people, so there is nothing to review")]
    NothingToReview,
    #[error("whoever began this may not go on with it")]
    NoLongerPermitted,
    #[error("one's own role is confirmed by somebody else")]
    OwnRole,
    #[error("at most {limit} proposals wait at once")]
    TooManyProposals { limit: usize },
    #[error("a person keeps at most {limit} views")]
    TooManyViews { limit: usize },
    #[error("the link is unknown, was used, or has expired")]
    LinkUnknown,
    #[error("the first administrator's e-mail address is missing")]
    AddressMissing,
    #[error("there is an administrator already")]
    AdministratorExists,
    #[error("nobody else could administer then")]
    LastAdministrator,
    #[error("it is the last factor beside the password")]
    LastFactor,
    #[error("a person has at most {limit} factors")]
    TooManyFactors { limit: usize },
    #[error("a person has at most {limit} tokens in force")]
    TooManyTokens { limit: usize },
    #[error("a token lives at least a moment, and at most {} days", limit.as_secs() / 86_400)]
    TokenLife { limit: Duration },
    #[error("its owner has not the role `{name}`")]
    RoleNotHeld { name: String },
    #[error("no role was named")]
    RolesMissing,
    #[error("a name has at most {limit} characters, and none that control a terminal")]
    PersonName { limit: usize },
    #[error("the role or policy `{name}` cannot be in force, and so none is")]
    RuleBroken { name: String },
    #[error("the provider's description declares no such field")]
    FieldUnknown { near: Option<String> },
    #[error("the person is disabled")]
    UserDisabled,
    #[error("the person was invited, and has not come yet")]
    UserInvited,
    #[error("something is wrong in Weirgate: {what}")]
    Internal { what: &'static str },
}

impl Error {
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Connect(error) => error.kind(),
            Self::Replace(error) => error.kind(),
            Self::Lifetime(error) => error.kind(),
            Self::SecretStore(error) => error.kind(),
            Self::NoDataFolder { .. }
            | Self::NotFound { .. }
            | Self::NameUnknown { .. }
            | Self::FieldUnknown { .. }
            | Self::AuditKeyMissing { .. } => Kind::NotFound,
            Self::Malformed { .. }
            | Self::Exists { .. }
            | Self::FolderTaken { .. }
            | Self::FolderMadeMeanwhile { .. }
            | Self::NodeOwn { .. }
            | Self::InstallationMadeMeanwhile { .. }
            | Self::JoinWithoutKey { .. }
            | Self::Description(_)
            | Self::OverlayKept(_)
            | Self::Server(_)
            | Self::Target { .. }
            | Self::Credential(_)
            | Self::Identity(_)
            | Self::NoCheck
            | Self::AppUseless
            | Self::SchemeUnknown { .. }
            | Self::SchemeAmbiguous { .. }
            | Self::SchemeFitsNone { .. }
            | Self::HeaderRefused { .. }
            | Self::AuditKey { .. }
            | Self::AuditProof(ProofError::NotCovered { .. })
            | Self::AuditExport(ExportError::NoEntries { .. })
            | Self::AuditVerify(VerifyError::KeptCheckpoint(
                NoteError::Malformed | NoteError::OtherOrigin,
            ))
            | Self::RecordTooLong { .. }
            | Self::NameTooLong { .. }
            | Self::Backup(BackupError::NotOne { .. } | BackupError::Exists { .. })
            | Self::Address(_)
            | Self::Password(_)
            | Self::AddressMissing
            | Self::TokenLife { .. }
            | Self::SsoSettings { .. }
            | Self::IssuerTaken { .. }
            | Self::Sso(OidcError::Issuer)
            | Self::RolesMissing
            | Self::PersonName { .. }
            | Self::ReviewName { .. }
            | Self::ReviewDays { .. }
            | Self::ReviewTwice
            | Self::Grants(_) => Kind::Usage,
            Self::LinkUnknown => Kind::NotFound,
            Self::SignInRefused
            | Self::PasswordWrong
            | Self::SignInSlowed { .. }
            | Self::FactorRefused
            | Self::PasskeyRefused
            | Self::StepUpNeeded
            | Self::Sso(_)
            | Self::SsoNoRole
            | Self::TooManyIdentityProviders { .. }
            | Self::IdentityTaken
            | Self::ManagedElsewhere
            | Self::OwnProposal
            | Self::GrantThere
            | Self::ReviewUnderWay
            | Self::ReviewClosed
            | Self::ReviewOpen { .. }
            | Self::ReviewItem { .. }
            | Self::ReviewManaged { .. }
            | Self::TooManyReviews { .. }
            | Self::NothingToReview
            | Self::OwnRole
            | Self::NoLongerPermitted
            | Self::TooManyProposals { .. }
            | Self::TooManyViews { .. }
            | Self::AdministratorExists
            | Self::LastAdministrator
            | Self::LastFactor
            | Self::TooManyFactors { .. }
            | Self::TooManyTokens { .. }
            | Self::RoleNotHeld { .. }
            | Self::RuleBroken { .. }
            | Self::UserDisabled
            | Self::UserInvited
            | Self::KeyEnded { .. }
            | Self::RootKeyReplaced { .. }
            | Self::RotationUnderWay
            | Self::CustomerIsSelf
            | Self::PassphraseFileMode { .. }
            | Self::RootKeyInFolder
            | Self::VaultRolledBack
            | Self::RowTampered { .. }
            | Self::EventMissing { .. }
            | Self::SealsTampered
            | Self::NodeRetired { .. }
            | Self::NodeAlive { .. }
            | Self::ServersMove { .. }
            | Self::NoGrants { .. } => Kind::Refused,
            Self::IdentityProviderUnreachable { .. }
            | Self::TokenNotObtained { .. }
            | Self::CheckUnreached { .. } => Kind::Unreachable,
            Self::Store(error) if error.is_unreachable() => Kind::Unreachable,
            // What could not be read says nothing of the log.
            Self::AuditVerify(VerifyError::Io(_))
            | Self::AuditStore(_)
            | Self::Unreadable { .. } => Kind::Unreachable,
            _ => Kind::Failed,
        }
    }

    /// What it means for an `init`: another one may have been faster on the same database.
    pub(crate) fn of_two_at_once(self, server: Option<&store::ServerUrl>) -> Self {
        use store::StoreError::{Conflict, Exists};
        match (self, server) {
            (Self::Store(Exists { .. } | Conflict { .. }), Some(url)) => {
                Self::InstallationMadeMeanwhile { place: url.place() }
            }
            (error, _) => error,
        }
    }

    /// What to do about it; `None` where the message already says.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Backup(error) => error.remedy().into(),
            Self::Connect(error) => error.remedy().into(),
            Self::Replace(error) => error.remedy().into(),
            Self::Lifetime(error) => error.remedy().into(),
            Self::SecretStore(error) => error.remedy().into(),
            Self::AuditProof(ProofError::NotCovered { .. }) => {
                "Name the index of an entry as `weirgate audit list` shows it; one of the last second \
                 is not signed yet: wait, or stop the server."
                    .into()
            }
            Self::AuditExport(ExportError::NoEntries { .. }) => {
                "Give --from below --to and below the count of entries, --to being the first that is \
                 left out; one of the last second is not signed yet."
                    .into()
            }
            Self::AuditExport(ExportError::Io(source)) => remedy_of_io(source).into(),
            Self::AuditProof(_) | Self::AuditExport(_) => {
                "Run `weirgate audit verify` to see what is wrong with the log.".into()
            }
            Self::NoDataFolder { .. } => {
                "Create one with `weirgate init`, or name it with --data-dir.".into()
            }
            Self::NodeMalformed { .. } | Self::NodeUnknown { .. } => {
                "Put the file `node` back as `weirgate init` wrote it, or name this installation's \
                 own database with database_url."
                    .into()
            }
            Self::NodeRetired { .. } => {
                "Make a new node with `weirgate init` in another folder; keep this one's `audit`, which \
                 holds what it recorded."
                    .into()
            }
            Self::NodeAlive { .. } => {
                "Stop its server in order: then nothing is left that others would have to take.".into()
            }
            Self::NodeOwn { .. } => "Run it with the data folder of another node.".into(),
            Self::JoinWithoutKey { .. } => {
                "Name the installation's root key with --root-key-file to add a node to it, or give \
                 an empty database."
                    .into()
            }
            Self::FolderTaken { .. } => "Name a new or empty folder with --data-dir.".into(),
            Self::FolderMadeMeanwhile { .. } => {
                "Nothing is left of this one: go on with what the other made, or name another folder \
                 with --data-dir."
                    .into()
            }
            Self::InstallationMadeMeanwhile { .. } => {
                "Nothing is left of this one. To add a node to what the other made, run it again with \
                 its root key: --root-key-file."
                    .into()
            }
            Self::FolderInUse { .. } => {
                "Stop the other server, or wait for the verb that runs on it; or give this one a data \
                 folder of its own."
                    .into()
            }
            Self::RootKeyReplaced { .. } => {
                "Bring the new root key's file to this node, and name it with --root-key-file or \
                 WEIRGATE_ROOT_KEY_FILE, or write its path into the folder's `root-key-path`. The one \
                 that was replaced opens only backups from before."
                    .into()
            }
            Self::RootKeyPlaceNeeded => {
                "Name a file for the new key with --new-root-key-file, make a credential of it for the \
                 service manager, and remove that file then."
                    .into()
            }
            Self::CustomerIsSelf => {
                "Revoke its connections; to end everything, destroy the root key and the data folder."
                    .into()
            }
            Self::NotCertified => {
                "Wait a second and run `weirgate customer certificate ID --out FILE`; of several nodes, on \
                 the one whose log has the entry."
                    .into()
            }
            Self::Certificate(_) => "Run `weirgate audit verify`.".into(),
            Self::RotationUnderWay => {
                "`weirgate vault status` shows how far it is; a server goes on with it, and without one \
                 `weirgate vault rotate --finish`."
                    .into()
            }
            Self::SharesForeign { .. } => "Name that installation's data folder with --data-dir.".into(),
            Self::Share(_) => {
                "Give as many different shares of one set as are needed, each as it was written.".into()
            }
            Self::Passphrase(_) => {
                "Take five or more words that nobody would say together, and keep them elsewhere.".into()
            }
            Self::PassphraseFileMode { .. } => {
                "Run `chmod 600` on it, and consider the passphrase known to whoever could read it."
                    .into()
            }
            Self::KeyEnded { .. } => {
                "Make its client a new key with `weirgate client key create`.".into()
            }
            Self::RootKeyPlace { .. } => {
                "Name the root key's file with --root-key-file, or restore the file that names it."
                    .into()
            }
            Self::RootKeyInFolder => {
                "Keep it elsewhere: who copies the folder must not get the key with it.".into()
            }
            Self::VaultRolledBack => {
                "A row of the vault was changed or put back outside Weirgate. Restore the database \
                 that belongs to this audit log, or find out who changed it."
                    .into()
            }
            Self::RowTampered { kind, .. } if kind == OUTBOX => {
                "Find out who writes to the database, and restore it. Nothing that waits behind that \
                 row is moved into the audit log before."
                    .into()
            }
            Self::EventMissing { .. } => {
                "Find out who writes to the database, and restore it as it was while that event \
                 waited. Nothing is moved into the audit log before, and no server starts."
                    .into()
            }
            Self::RowTampered { .. } => {
                "Put the row back as it was, from a backup of the database, or remove it if it is \
                 not yours, and find out who wrote it. Revoking keys and connections works meanwhile."
                    .into()
            }
            Self::SealsTampered => {
                "Restore the database that belongs to this audit log, and find out who changed it."
                    .into()
            }
            Self::RecordTooLong { .. } => "Shorten it; nothing was changed.".into(),
            Self::NameTooLong { .. } => {
                "Give it a shorter name in the description or by an overlay; nothing was changed."
                    .into()
            }
            Self::PlanStale => "Run it again; nothing was changed.".into(),
            Self::NotSequenced(cause) => format!(
                "Do not repeat the change: its entry waits in the database, and the next server or \
                 verb moves it. {}",
                cause.remedy().unwrap_or_default()
            ),
            Self::AuditKeyMissing { .. } => {
                "Name a copy of the log's `audit.pub` with --key FILE.".into()
            }
            Self::AuditKey { .. } => {
                "Name a copy of the log's `audit.pub`, a line of the form NAME+ID+KEY, with --key \
                 FILE."
                    .into()
            }
            Self::AuditKeyWrong { key, .. } => {
                format!("Find out who changed it, and write this line into it: {key}")
            }
            Self::AuditForeign { .. } => {
                "Name the `audit.pub` that belongs to this log, or the data folder of the other \
                 log; find out who put it there."
                    .into()
            }
            Self::WitnessKey { .. } => {
                "Put the file back from a copy; or remove it, let the node make another, and tell all \
                 who keep its `witness.pub`."
                    .into()
            }
            Self::AuditStore(_) => {
                "Correct that; or verify the log alone, with its key: --key FILE.".into()
            }
            Self::AuditUnknown { .. } => {
                "Restore the database that belongs to this audit log.".into()
            }
            Self::FirstLayoutUnsigned => {
                "Start its server once with the release that made it, stop it in order, and try again."
                    .into()
            }
            Self::OtherInstallation { .. } => {
                "Put this installation's own database back in its place.".into()
            }
            Self::AuditAppend(AppendError::Failed { kind: io::ErrorKind::NotFound }) => {
                "Somebody changed the data folder meanwhile. Keep a copy of it, run `weirgate audit \
                 verify`, and start again."
                    .into()
            }
            Self::AuditAppend(_) => {
                "Check the disk's space and health and the permissions of the audit folder.".into()
            }
            Self::AuditOpen(error) => open_remedy(error).into(),
            Self::AuditVerify(VerifyError::Io(source)) => remedy_of_io(source).into(),
            Self::AuditVerify(VerifyError::KeptCheckpoint(_)) => {
                "Name a copy of this log's own `audit/checkpoint` with --checkpoint.".into()
            }
            Self::AuditVerify(VerifyError::NoCheckpoint) => {
                "Put the folder `audit` back from a copy, and find out who removed it.".into()
            }
            Self::AuditVerify(VerifyError::Stranger { .. }) => {
                "Find out who put it there, and move it out of the folder.".into()
            }
            Self::AuditVerify(_) => {
                "Keep a copy of the folder as it is: what is named was changed after it was written."
                    .into()
            }
            Self::NotFound { kind, .. } | Self::NameUnknown { kind } => match *kind {
                "node" => "`weirgate node list` shows those there are.".into(),
                "user" | "session" | "token" | "factor" => {
                    "`weirgate user list` and `weirgate session list` show those there are.".into()
                }
                "role" => "There are administrator, security, integrator, auditor, read-only, and \
                           your own: `weirgate role list`."
                    .into(),
                "policy" => "`weirgate policy list` shows those there are.".into(),
                "client" | "key" => "`weirgate client list` shows those there are.".into(),
                "provider" | "connection" => {
                    format!("`weirgate {kind} list` shows those there are.")
                }
                "cosigned checkpoint" => {
                    "Another node, or the witness at checkpoint_webhook with its \
                     checkpoint_webhook_key, has to cosign one first."
                        .into()
                }
                _ => "Check its name.".into(),
            },
            Self::RuleBroken { .. } => "Apply a corrected one with `weirgate apply`, or take it away \
                 with `weirgate role remove` or `weirgate policy remove`."
                .into(),
            Self::FieldUnknown { near: Some(near) } => format!("Did you mean `{near}`?"),
            Self::FieldUnknown { near: None } => {
                "`weirgate provider show` lists objects and fields; write Object.field.".into()
            }
            Self::ServersMove { .. } => {
                "Name the server with --server, or say --accept-servers if that is meant.".into()
            }
            Self::NoGrants { .. } => "Name the folder with your `*.toml` grant files, or say \
                 --remove-all if that is meant."
                .into(),
            Self::Description(error) => sentence(error.remedy()),
            Self::OverlayKept(_) => {
                "Give one that fits with --overlay FILE, or say --no-overlay; nothing was changed."
                    .into()
            }
            Self::Io { source, .. } => remedy_of_io(source).into(),
            Self::RootKey(error) => remedy_of_root_key(error).into(),
            Self::Vault(_) => {
                "Check that root key and data folder belong together; else restore the \
                 newest backup."
                    .into()
            }
            Self::Identity(_) => {
                "docs/authentication/mutual-tls.md shows how a certificate and its key are given.".into()
            }
            Self::CheckUnreached { .. } => {
                "`weirgate provider check` tells which server cannot be reached, and why.".into()
            }
            Self::NoCheck => {
                "Declare one by `x-weirgate-check: \"GET /me\"` at the top of an overlay, and import it.".into()
            }
            Self::Credential(_) => {
                "docs/reference/secrets.md shows what each kind of secret looks like.".into()
            }
            Self::TokenNotObtained { code, .. } => {
                format!("docs/reference/authentication.md says what `{code}` means and what to try.")
            }
            Self::AppUseless => {
                "An app is for OAuth 2.0: declare the flow by `x-weirgate-auth` in an overlay.".into()
            }
            Self::HeaderRefused { .. } => {
                "Leave it out: --header is for names like a tenant's or a version's.".into()
            }
            Self::Malformed { kind: "private address", .. } => {
                "Give a host and port of your own network, like hr.internal:8443.".into()
            }
            Self::Malformed { kind: "life" | "overlap", .. } => {
                "A key lives for 90 days, say, and the one before it for 7 of them.".into()
            }
            Self::Malformed { .. } => "Give a short name, like acme.".into(),
            Self::Grants(_) => "Correct the files; nothing was changed.".into(),
            Self::Resolver(_) => "Check /etc/resolv.conf.".into(),
            Self::Tls(_) => "Correct extra_roots_file.".into(),
            Self::Address(_) => "Give one like ada@example.com.".into(),
            Self::Password(problems) => {
                let all: Vec<_> = problems.problems.iter().map(|one| sentence(&one.to_string())).collect();
                all.join(" ")
            }
            Self::PasswordHash(_) => "Make a new link for that person, which sets the password anew.".into(),
            Self::PasswordWrong => {
                "Try again; if nobody knows it, an administrator can make a new link.".into()
            }
            Self::SignInRefused => {
                "Try again, or ask an administrator for a new link.".into()
            }
            Self::SignInSlowed { .. } => {
                "Wait, and then try again; a passkey, or a new link from an administrator, helps at \
                 once."
                    .into()
            }
            Self::FactorRefused => {
                "Type the newest code of the app, or a recovery code that was not used; if the \
                 session is over, sign in again."
                    .into()
            }
            Self::PasskeyRefused => {
                "Ask for it again, and confirm one that belongs here within five minutes; a code of \
                 an app, or a recovery code, does as well."
                    .into()
            }
            Self::StepUpNeeded => "Show a factor again, and repeat it.".into(),
            Self::LinkUnknown => "Ask an administrator for a new one.".into(),
            Self::AddressMissing => "Give the address that you want to sign in with.".into(),
            Self::AdministratorExists => {
                "Ask that person for an invitation; `weirgate user list` shows who it is.".into()
            }
            Self::LastAdministrator => {
                "Make somebody else an administrator first, who has enrolled a second factor.".into()
            }
            Self::Sso(error) => remedy_of_sso(*error).into(),
            Self::IdentityProviderUnreachable { .. } => {
                "See that it runs, and that this machine reaches it; `weirgate sso check NAME` asks it \
                 again."
                    .into()
            }
            Self::SsoNoRole => {
                "Ask an administrator to map one of your groups to a role, or for an invitation.".into()
            }
            Self::IssuerTaken { .. } => {
                "Of one issuer there is one: remove it first, or map its groups there.".into()
            }
            Self::SsoSettings { .. } => "See docs/reference/sso.md.".into(),
            Self::TooManyIdentityProviders { .. } => {
                "Remove one with `weirgate sso remove NAME`.".into()
            }
            Self::IdentityTaken => {
                "Sign in by it, or unlink it there first, on the page of that account.".into()
            }
            Self::OwnProposal => "Ask somebody whose role permits grant.approve.".into(),
            Self::GrantThere => "Change that one, or give this one another purpose.".into(),
            Self::ReviewUnderWay => "Close it first: `weirgate review show` says what is left.".into(),
            Self::ReviewClosed => "Begin another one, with `weirgate review begin`.".into(),
            Self::ReviewOpen { .. } => {
                "Confirm or drop them first, or close it with `--drop-undecided`, which drops them.".into()
            }
            Self::ReviewManaged { .. } => {
                "Change the person's groups at the identity provider, and confirm the item, or leave it \
                 until the review is closed.".into()
            }
            Self::ReviewItem { .. } => {
                "Look at the review again; nothing was decided of any item.".into()
            }
            Self::ReviewName { .. } => "Give it a name like `Autumn 2027`.".into(),
            Self::ReviewDays { .. } => "Write a whole number of days, like 30.".into(),
            Self::ReviewTwice => "Say once what becomes of it.".into(),
            Self::TooManyReviews { .. } => {
                "Export the oldest with `weirgate review export`, and remove it with `weirgate review \
                 remove`."
                    .into()
            }
            Self::NothingToReview => "Apply grants, or invite people, first.".into(),
            Self::NoLongerPermitted => "Sign in again, with a role that permits it.".into(),
            Self::OwnRole => "Ask somebody else whose role permits review.decide, or confirm it at the command line on the \
                 data folder: `weirgate review confirm`.".into(),
            Self::TooManyProposals { .. } => "Decide some of those that wait first.".into(),
            Self::TooManyViews { .. } => "Remove one first.".into(),
            Self::ManagedElsewhere => {
                "Change the person's groups at the identity provider, or disable the account.".into()
            }
            Self::LastFactor => "Enrol another one first.".into(),
            Self::TooManyFactors { .. } => "Remove one first.".into(),
            Self::TooManyTokens { .. } => "Revoke one first.".into(),
            Self::TokenLife { .. } => "Give a time in between, like 90d.".into(),
            Self::RoleNotHeld { .. } => "A token is never wider than its owner.".into(),
            Self::RolesMissing => "Name one of administrator, security, integrator, auditor, read-only, or a role of your own.".into(),
            Self::PersonName { .. } => "Shorten it.".into(),
            Self::UserDisabled => "Enable the person first.".into(),
            Self::UserInvited => "Remove the person, or make a new link.".into(),
            Self::Internal { .. } => "Report this with what you did.".into(),
            Self::Exists { kind: "user", .. } => {
                "`weirgate user link` makes a new link for that person.".into()
            }
            Self::Exists { .. } => "Choose another name.".into(),
            Self::Server(ServerError::NoServer) => {
                "Name the server with `weirgate provider import ... --server URL`.".into()
            }
            Self::Server(ServerError::VariableUnknown) => {
                "Leave it out; with a server named at import there is none to fill.".into()
            }
            Self::Server(ServerError::TemplateMalformed { .. }) => {
                "Correct the description, or name the server with --server URL at import.".into()
            }
            Self::Server(_) => {
                "Give its value with --var NAME=VALUE at `connection create`.".into()
            }
            Self::Target { source, .. } => remedy_of_target(*source).into(),
            Self::SchemeUnknown { choices, .. }
            | Self::SchemeAmbiguous { choices }
            | Self::SchemeFitsNone { choices } => {
                format!(
                    "Name one of these with --scheme, and give the secret that it wants: {}.",
                    choices.join(", ")
                )
            }
            _ => return None,
        })
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

const fn remedy_of_sso(error: OidcError) -> &'static str {
    match error {
        OidcError::Issuer => {
            "Give it as the provider spells it, like https://id.example.com/realms/corp."
        }
        OidcError::State | OidcError::CodeMissing | OidcError::Denied(_) => {
            "Begin again from the sign-in page, in this browser."
        }
        OidcError::CodeRefused(_) => {
            "Try again; if it stays, an administrator checks the client's id, secret and redirect URI."
        }
        OidcError::NoSecondFactor => {
            "Show a second factor at the provider; an administrator says which values of amr and acr \
             prove one."
        }
        OidcError::NotFresh => "Show a factor at the provider again, when it asks.",
        OidcError::Time => {
            "Try again; if it stays, compare this machine's clock with the provider's."
        }
        _ => "An administrator compares the provider's settings with `weirgate sso check NAME`.",
    }
}

const fn remedy_of_target(error: TargetError) -> &'static str {
    match error {
        TargetError::Malformed | TargetError::Scheme => {
            "Write it like https://api.example.com/v1 with --server at `weirgate provider import`."
        }
        TargetError::UserInfo => "Leave it out: a credential belongs into a connection's secret.",
        TargetError::Query => "Leave the query and the fragment out.",
        TargetError::Http | TargetError::Address(_) => {
            "Use an https URL of a public host; plain http or a private address passes only with \
             --allow-private-network HOST:PORT at `weirgate provider import`."
        }
    }
}

fn remedy_of_io(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "Check its name; if it was there, restore it from a backup.",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "Run as the user that owns the data folder, or give this one the right to it."
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "Free some space.",
        io::ErrorKind::NotADirectory => "Name a folder: a part of the path is a file.",
        io::ErrorKind::IsADirectory => "Name a file, not a folder.",
        io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices => {
            "A file system is mounted there: name a folder inside of it."
        }
        _ => "Check the path, and the disk's health.",
    }
}

fn remedy_of_root_key(error: &vault::RootKeyError) -> &'static str {
    use vault::RootKeyError;
    match error {
        RootKeyError::NotFound { .. } => "Restore it from where you keep a copy of it.",
        RootKeyError::Mode { .. } => "Make sure first that it is the root key's file.",
        RootKeyError::Exists { .. } => "Name another file with --root-key-file.",
        RootKeyError::NotAFile { .. }
        | RootKeyError::Length { .. }
        | RootKeyError::Malformed { .. } => {
            "Name the right file with --root-key-file, or restore it from where you keep a copy."
        }
        RootKeyError::Sealed { .. } => {
            "Name a file with its passphrase by WEIRGATE_PASSPHRASE_FILE, or run it on a terminal."
        }
        RootKeyError::NotSealed { .. } => "Seal it with `weirgate vault seal`.",
        RootKeyError::WrongPassphrase { .. } => {
            "Try again. There is no other way in but a copy of the key, or its shares: `weirgate vault \
             recover`."
        }
        RootKeyError::Owner { .. } => "Run as that user, or give the file to this one.",
        RootKeyError::Io { source, .. } => remedy_of_io(source),
        RootKeyError::Generate(_) => "Try again.",
    }
}
fn open_remedy(error: &OpenError) -> &'static str {
    match error {
        OpenError::Io(_) | OpenError::Exists => {
            "Check the disk's space and health and the permissions of the folder `audit`."
        }
        OpenError::Missing => {
            "Put the folder `audit` back from a copy, and find out who removed it. A log that the \
             database knows of is never begun anew."
        }
        OpenError::Older { .. } => {
            "Put back the newest `audit` folder: an older copy is in its place. If there is none, \
             entries are lost: keep both, and start over with a new data folder."
        }
        OpenError::Other { .. } => {
            "Put back the `audit` folder that belongs to this database: the two come from different \
             copies."
        }
        OpenError::Corrupt { .. } | OpenError::Checkpoint(_) => {
            "Nothing was overwritten. Keep a copy of the folder `audit`, run `weirgate audit verify` \
             to see which entry it is, and put the folder back from a copy."
        }
        OpenError::Kept(_) | OpenError::OtherKey => {
            "Restore the database that belongs to this audit log."
        }
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" }
}
