//! The command line's words. What they do lies in the modules of `app`.

mod connect;
mod lifetimes;
mod stores;

pub(crate) use connect::{BrowserArgs, ConnectionCreateArgs, ConsentVerb};
pub(crate) use lifetimes::{LeakArgs, LifetimeVerb, OwnerArgs};
pub(crate) use stores::{StoreAddArgs, StoreVerb};

use clap::{Args, Parser, Subcommand};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

/// Secure API integration gateway: one guarded gate between your product and everyone else's APIs.
#[derive(Debug, Parser)]
#[command(name = "weirgate", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Begin with `weirgate demo`.\n\nExit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 authentication, 5 refused by policy, 6 findings, 7 unreachable, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags that every verb takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The data folder.
    #[arg(
        long,
        global = true,
        env = "WEIRGATE_DATA_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub data_dir: Option<PathBuf>,
    /// The configuration file; `weirgate.toml` in the data folder if not given.
    #[arg(
        long,
        global = true,
        env = "WEIRGATE_CONFIG",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub config: Option<PathBuf>,
    /// The root key's file; the place that `init` recorded if not given.
    #[arg(
        long,
        global = true,
        env = "WEIRGATE_ROOT_KEY_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub root_key_file: Option<PathBuf>,
    /// A file with the passphrase that seals the root key's file; asked for on a terminal if not given.
    #[arg(
        long,
        global = true,
        env = "WEIRGATE_PASSPHRASE_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub passphrase_file: Option<PathBuf>,
    /// Act on a server by its control API, instead of on a data folder: the console's URL.
    #[arg(long, global = true, value_name = "URL", requires = "token_file")]
    pub server_url: Option<String>,
    /// A file with a personal access token, for --server-url; `-` is standard input.
    #[arg(long, global = true, value_name = "FILE", requires = "server_url")]
    pub token_file: Option<PathBuf>,
    /// One JSON object on standard output.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start everything with a built-in sandbox provider and show what the gate does.
    Demo(DemoArgs),
    /// Create a data folder, its root key and its audit log. On a database that holds an
    /// installation already, one more node of it.
    Init(InitArgs),
    /// Run the gateway.
    Serve(ServeArgs),
    /// Import, show and check providers.
    #[command(subcommand)]
    Provider(ProviderVerb),
    /// Create, list and revoke connections.
    #[command(subcommand)]
    Connection(ConnectionVerb),
    /// Create clients and their API keys.
    #[command(subcommand)]
    Client(ClientVerb),
    /// Make grants, roles and policies what the files in a folder say.
    Apply(ApplyArgs),
    /// List grants.
    #[command(subcommand)]
    Grant(GrantVerb),
    /// List roles, and take one away.
    #[command(subcommand)]
    Role(RoleVerb),
    /// List and check policies, and take one away.
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// Say which keys and grants nobody used for a while, by this node's log.
    Advise {
        /// How far to look back, in days.
        #[arg(long, value_name = "DAYS", default_value_t = 90)]
        days: u16,
    },
    /// Say what a person can do, or who can see a field, and why.
    #[command(subcommand)]
    Explain(ExplainVerb),
    /// Invite people, and change what they may.
    #[command(subcommand)]
    User(UserVerb),
    /// Let people sign in by identity providers (OpenID Connect).
    #[command(subcommand)]
    Sso(SsoVerb),
    /// Confirm or drop every grant and role, by a date.
    #[command(subcommand)]
    Review(ReviewVerb),
    /// List and end people's sessions.
    #[command(subcommand)]
    Session(SessionVerb),
    /// Read and verify the audit log.
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Let only the named paths of a JSON document through.
    Project(ProjectArgs),
    /// List the nodes of an installation, and end one that is lost.
    #[command(subcommand)]
    Node(NodeVerb),
    /// Make, check and restore copies of the database.
    #[command(subcommand)]
    Backup(BackupVerb),
    /// Look after the keys of the vault.
    #[command(subcommand)]
    Vault(VaultVerb),
    /// List customers, and erase one.
    #[command(subcommand)]
    Customer(CustomerVerb),
    /// Show the configuration.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Look at everything that can be wrong with an installation.
    Doctor,
    /// Print the completions of a shell.
    Completions { shell: clap_complete::Shell },
    /// Write the manual's pages into a folder.
    Man { dir: PathBuf },
    /// Serve an OpenAPI description as a provider that keeps what is written.
    Sandbox(SandboxArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Where the database of a new data folder lies; its configuration keeps it.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// The database's server, like postgres://USER@HOST:PORT/DATABASE, without a password.
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// The file with its password, which only its owner may read.
    #[arg(long, value_name = "FILE")]
    pub database_password_file: Option<String>,
}

impl DatabaseArgs {
    pub(crate) fn flags(&self) -> BTreeMap<&'static str, String> {
        let url = self.database_url.clone().map(|url| ("database_url", url));
        let file = self.database_password_file.clone();
        url.into_iter().chain(file.map(|file| ("database_password_file", file))).collect()
    }
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub listen: Listen,
    /// Make the sandbox's data from this number.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// End after the guided calls instead of serving on.
    #[arg(long)]
    pub once: bool,
    /// Keep the temporary data folder and its root key at the end. A folder named by --data-dir is
    /// always kept, and with --json too: the program that was told its place may still need it.
    #[arg(long)]
    pub keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub listen: Listen,
}

/// Where to listen; port 0 chooses a free one.
#[derive(Debug, Args, Clone)]
pub(crate) struct Listen {
    /// The data plane's address, like 127.0.0.1:8400.
    #[arg(long, value_name = "ADDR")]
    pub gateway_addr: Option<SocketAddr>,
    /// The address of health, readiness and metrics, like 127.0.0.1:8401.
    #[arg(long, value_name = "ADDR")]
    pub console_addr: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProviderVerb {
    /// Import a provider from its OpenAPI description (JSON or YAML; `-` is standard input).
    Import {
        /// The description.
        file: PathBuf,
        /// The provider's name here.
        #[arg(long, value_name = "SLUG")]
        name: String,
        /// The server's base URL, in place of every one that the description names; what an
        /// earlier import named stays otherwise.
        #[arg(long, value_name = "URL")]
        server: Option<String>,
        /// Drop the server and the private addresses of an earlier import.
        #[arg(long, conflicts_with = "server")]
        server_from_description: bool,
        /// Let connections send their credentials to other hosts than they do now.
        #[arg(long)]
        accept_servers: bool,
        /// An OpenAPI Overlay 1.1 document; that of an earlier import stays otherwise.
        #[arg(long, value_name = "FILE")]
        overlay: Option<PathBuf>,
        /// Drop the overlay of an earlier import.
        #[arg(long, conflicts_with = "overlay")]
        no_overlay: bool,
        /// A private address that this provider may be reached at, by plain HTTP too; those of an
        /// earlier import stay if none is given, and go otherwise.
        #[arg(long, value_name = "HOST:PORT")]
        allow_private_network: Vec<String>,
    },
    /// Show operations, objects and fields.
    Show {
        /// The provider.
        slug: String,
    },
    /// List providers.
    List,
    /// Resolve and judge the addresses of a provider's servers, and reach them.
    Check {
        /// The provider.
        slug: String,
    },
    /// Say what changed between two descriptions, and what that means for the grants in force.
    Diff(ProviderDiffArgs),
    /// Learn the shape of an answer that the description does not declare, and propose an overlay.
    Observe(ProviderObserveArgs),
    /// Keep the company's registration with a provider (OAuth 2.0 client), which its connections share.
    #[command(subcommand)]
    App(ProviderAppVerb),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProviderAppVerb {
    /// Store it, in place of the one before.
    Set {
        /// The provider.
        slug: String,
        /// A JSON file with `client_id` and `client_secret`; `-` is standard input.
        #[arg(long, value_name = "FILE")]
        secret_file: PathBuf,
    },
    /// Forget it: tokens that need it are not renewed any more.
    Remove {
        /// The provider.
        slug: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ProviderDiffArgs {
    /// A description's file, or the name of an imported provider where there is no such file.
    pub old: PathBuf,
    /// The other description's file; `-` is standard input.
    pub new: PathBuf,
    /// An overlay for what is a file here; an imported provider's own stays in force without it.
    #[arg(long, value_name = "FILE")]
    pub overlay: Option<PathBuf>,
    /// Exit with 6 from this level on: info, attention or breaking.
    #[arg(long, default_value = "attention", value_name = "LEVEL")]
    pub fail_on: String,
}

#[derive(Debug, Args)]
pub(crate) struct ProviderObserveArgs {
    /// A description's file, or the name of an imported provider where there is no such file.
    pub provider: PathBuf,
    /// The operation, by its id or like "GET /things".
    pub operation: String,
    /// Bodies of its answers as JSON, one a file; `-` is standard input. No value of them is kept.
    /// Without any: what a server saw, where the overlay says `x-weirgate-observe`.
    pub samples: Vec<PathBuf>,
    /// The status that they are answers with; the first success without a shape if not given.
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConnectionVerb {
    /// Store a customer's credential for a provider, or ask for consent in a browser.
    Create(ConnectionCreateArgs),
    /// Ask for consent anew: the connection keeps its id and its grants.
    Reconnect {
        /// The connection's id.
        id: String,
        #[command(flatten)]
        browser: BrowserArgs,
    },
    /// List, renew and withdraw what customers agreed to.
    #[command(subcommand)]
    Consent(ConsentVerb),
    /// List connections.
    List,
    /// Show a connection: its scheme, its tokens and how long they last, its scopes.
    Show {
        /// The connection's id.
        id: String,
    },
    /// Make the call that the provider's overlay declares, with the connection's credential.
    Check {
        /// The connection's id.
        id: String,
    },
    /// Replace a connection's secret: the new one is held, tried by the declared call, put into use.
    Replace(ConnectionReplaceArgs),
    /// Revoke a connection and destroy its secrets; takes effect within a second.
    Revoke {
        /// The connection's id.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ConnectionReplaceArgs {
    /// The connection's id.
    pub id: String,
    #[command(flatten)]
    pub what: ReplaceWhat,
    /// Put it into use without trying it.
    #[arg(long, conflicts_with_all = ["cancel", "retire"])]
    pub unchecked: bool,
    /// Keep what is replaced, until --retire or --back.
    #[arg(long, conflicts_with_all = ["cancel", "retire", "back"])]
    pub keep_former: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ReplaceWhat {
    /// A file with the new secret, in JSON; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Try the secret that is held once more.
    #[arg(long)]
    pub again: bool,
    /// Put the former secret into use again.
    #[arg(long)]
    pub back: bool,
    /// Destroy the secret that is held.
    #[arg(long)]
    pub cancel: bool,
    /// Destroy the former secret that was kept.
    #[arg(long)]
    pub retire: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClientVerb {
    /// Create a client.
    Create {
        /// Like payroll-sync.
        name: String,
    },
    /// List clients and their keys.
    List,
    /// Say who answers for a client.
    Owner(OwnerArgs),
    /// Create and revoke API keys.
    #[command(subcommand)]
    Key(KeyVerb),
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Create an API key; it is shown once.
    Create {
        /// The client.
        name: String,
        /// How long it lives, like 90d or 12h.
        #[arg(long, value_name = "SPAN")]
        expires: String,
        /// live or test.
        #[arg(long, default_value = "live", value_name = "ENV")]
        environment: String,
    },
    /// Create the key that follows one, and let that one end; the new one is shown once.
    Rotate {
        /// The id of the key that ends.
        id: String,
        /// How long it goes on, like 7d; 0 ends it at once. It never lives longer than it would have.
        #[arg(long, value_name = "SPAN")]
        overlap: String,
        /// How long the new one lives, like 90d or 12h.
        #[arg(long, value_name = "SPAN")]
        expires: String,
    },
    /// Revoke a key; takes effect within a second.
    Revoke {
        /// The key's id.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserVerb {
    /// Make the link by which the first administrator sets up an account; it is shown once, and good
    /// for 15 minutes.
    SetupLink,
    /// Invite a person; the link is shown once, and good for a week.
    Invite {
        /// The e-mail address to sign in with.
        address: String,
        /// administrator, security, integrator, auditor, read-only, or a role of your own.
        #[arg(long, value_name = "ROLE", required = true)]
        role: Vec<String>,
    },
    /// Make a new link: for somebody who was invited, or lost password or factors.
    Link {
        /// The person's id, or e-mail address.
        user: String,
    },
    /// List people.
    List,
    /// Keep a person out, within a second and on every node.
    Disable {
        /// The person's id, or e-mail address.
        user: String,
    },
    /// Let a person in again.
    Enable {
        /// The person's id, or e-mail address.
        user: String,
    },
    /// Remove a person with all that is personal.
    Remove {
        /// The person's id, or e-mail address.
        user: String,
    },
    /// Make a person's roles exactly these.
    Roles {
        /// The person's id, or e-mail address.
        user: String,
        #[arg(long, value_name = "ROLE", required = true)]
        role: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReviewVerb {
    /// Begin a review of every grant in force and every role that somebody has.
    Begin {
        /// What people call it.
        #[arg(long, value_name = "NAME", default_value = "Review of rights")]
        name: String,
        /// How long there is.
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        days: u16,
    },
    /// List reviews.
    List,
    /// Show a review's items: of the one that is under way, or else of the newest.
    Show {
        /// The review's id.
        id: Option<String>,
        /// Only items that nobody decided yet.
        #[arg(long)]
        open: bool,
    },
    /// Confirm items of the review that is under way, by their numbers.
    Confirm {
        /// The items' numbers.
        #[arg(required = true)]
        items: Vec<usize>,
    },
    /// Drop items of the review that is under way: the grant or the role is taken away at once.
    Drop {
        /// The items' numbers.
        #[arg(required = true)]
        items: Vec<usize>,
    },
    /// Close the review that is under way.
    Close {
        /// Drop what nobody decided.
        #[arg(long)]
        drop_undecided: bool,
    },
    /// Write what was decided, as evidence; the audit log has its digest.
    Export {
        /// The review's id; the one that is under way, or else the newest, if none is given.
        id: Option<String>,
        /// A new file; standard output if none is given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Remove a review that is closed.
    Remove {
        /// The review's id.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SsoVerb {
    /// Let people sign in by a provider; it is asked first whether it can be trusted with that.
    Add(Box<SsoAddArgs>),
    /// List the providers, with the redirect URI that each must know.
    List,
    /// Ask a provider again for its metadata and keys.
    Check {
        /// The provider's name.
        name: String,
    },
    /// End sign-in by a provider, and disable the accounts that it made.
    Remove {
        /// The provider's name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SsoAddArgs {
    /// What the sign-in page calls it, like corp; it stands in the redirect URI.
    pub name: String,
    /// The issuer, as the provider spells it.
    #[arg(long, value_name = "URL")]
    pub issuer: String,
    /// As whom the provider knows Weirgate.
    #[arg(long, value_name = "ID")]
    pub client_id: String,
    /// A file with the client's secret; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub client_secret_file: PathBuf,
    /// A scope beside openid; email and profile if none is given.
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// Which roles a group of the provider brings, separated by commas; may be given several times.
    #[arg(long = "group", value_name = "GROUP=ROLES")]
    pub groups: Vec<String>,
    /// The claim of the ID token that names groups.
    #[arg(long, value_name = "CLAIM", default_value = "groups")]
    pub groups_claim: String,
    /// Where a second factor is shown: provider, which must prove it, or weirgate.
    #[arg(long, value_name = "WHERE", default_value = "provider")]
    pub second_factor: String,
    /// A value of amr that proves a second factor; mfa if neither this nor --acr is given.
    #[arg(long = "amr", value_name = "VALUE")]
    pub amr: Vec<String>,
    /// A value of acr that proves a second factor.
    #[arg(long = "acr", value_name = "VALUE")]
    pub acr: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionVerb {
    /// List sessions that are in force.
    List {
        /// Of this person alone: an id, or an e-mail address.
        #[arg(long, value_name = "USER")]
        user: Option<String>,
    },
    /// End a session, within a second and on every node.
    End {
        /// The session's id.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The folder with `*.toml` files of grants and roles, and `*.cedar` files of policies.
    pub dir: PathBuf,
    /// Say what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Revoke every grant where the files hold none; refused otherwise.
    #[arg(long)]
    pub remove_all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GrantVerb {
    /// List grants, with what each allows.
    List {
        /// Of this client alone.
        #[arg(long, value_name = "NAME")]
        client: Option<String>,
    },
    /// List changes that wait for a second person on the console.
    Proposals,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoleVerb {
    /// List roles, with what each permits.
    List {
        /// Name every act there is instead.
        #[arg(long)]
        acts: bool,
    },
    /// Take away a role of your own; whoever has it may do less from then on.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// List the policies in force.
    List,
    /// Show a policy's text.
    Show {
        /// Its name.
        name: String,
    },
    /// Say what is wrong with a policy, without any installation.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Print the schema that policies are written against.
    Schema,
    /// Take a policy away.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExplainVerb {
    /// What a person can do, and what decides it.
    Person {
        /// The person's id, or e-mail address.
        user: String,
        /// This act alone.
        #[arg(long, value_name = "ACT")]
        act: Option<String>,
        /// As if it came from this address.
        #[arg(long, value_name = "IP")]
        source: Option<std::net::IpAddr>,
        /// As if a factor had been shown just now.
        #[arg(long)]
        stepped_up: bool,
    },
    /// Which clients can see or write a field, by which grant and operation.
    Field {
        /// The provider's short name.
        provider: String,
        /// Like Employee.address.city.
        field: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// List the nodes, with when each was last at work and what it has claimed.
    List,
    /// End a node that never comes back: the others take the events that it had claimed. One whose
    /// server is at work is refused, and one that was retired does nothing any more.
    Retire {
        /// Its name as `node list` shows it.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackupVerb {
    /// Write a backup into a new file. It needs no root key, and a server may run meanwhile.
    Create { file: PathBuf },
    /// Check that a backup is whole and unchanged. It needs no root key.
    Verify { file: PathBuf },
    /// Make a new data folder of a backup, with the root key. The database is a file in the folder,
    /// or an empty one on a server. The old folder is left as it is; stop its server first.
    Restore {
        file: PathBuf,
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum VaultVerb {
    /// Show the root key's name and place, the generations of keys, and how far a rotation is.
    Status,
    /// Begin a new generation of keys. A running server seals everything anew under it, without one
    /// this command does; what came before is destroyed then.
    Rotate {
        /// Begin none: go on with the one that is under way.
        #[arg(long)]
        finish: bool,
    },
    /// Replace the root key by a new one in another file. Every other node needs that file before its
    /// next start; backups from before need the old one.
    RotateRoot {
        /// The new key's file; a new one beside the old one's if not given.
        #[arg(long, value_name = "FILE")]
        new_root_key_file: Option<PathBuf>,
    },
    /// Decide how long keys and credentials live.
    #[command(subcommand)]
    Lifetime(LifetimeVerb),
    /// Take connections' secrets from a vault elsewhere.
    #[command(subcommand)]
    Store(StoreVerb),
    /// Report that somebody has a key or a credential who should not: it ends at once, for good.
    Leak(LeakArgs),
    /// Seal the root key's file by a passphrase: that of --passphrase-file, or asked for.
    Seal,
    /// Take the passphrase from the root key's file.
    Unseal,
    /// Split the root key into shares, some of which yield it again.
    Shares {
        /// How many are needed.
        #[arg(long, value_name = "COUNT")]
        threshold: u8,
        /// How many there are.
        #[arg(long, value_name = "COUNT")]
        shares: u8,
        /// The folder for their files, one each.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Write the root key's file again, from shares: the new file is --root-key-file.
    Recover {
        /// A share's file; as many as are needed.
        #[arg(long = "share", value_name = "FILE", required = true)]
        shares: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CustomerVerb {
    /// List customers, with how many connections each has.
    List,
    /// Destroy a customer's key with all that is sealed under it, and end its connections.
    Erase {
        /// The customer's name.
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Write the certificate into this new file.
        #[arg(long, value_name = "FILE")]
        certificate: Option<PathBuf>,
    },
    /// Write the certificate of an erasure, from this node's log.
    Certificate {
        /// The customer's id, as `erase` printed it.
        id: String,
        /// Into this new file instead of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Print entries, newest first.
    List {
        /// How many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Recompute and check the whole log.
    Verify {
        /// Checkpoints kept elsewhere, to find truncation and roll-back.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// A witness's public key, or a file with it: only what it cosigned of --checkpoint counts.
        #[arg(long, value_name = "KEY", requires = "checkpoint")]
        witness_key: Option<String>,
        /// The log's public key, kept elsewhere: neither the database nor `audit.pub` is looked at.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Print the log's newest checkpoint, to be kept elsewhere.
    Checkpoint {
        /// The newest that a witness cosigned, with the cosignatures of all that cosigned it.
        #[arg(long)]
        cosigned: bool,
    },
    /// Write the proof of one entry, which `weirgate-verify` checks with the public key alone.
    Proof {
        /// Its index, as `audit list` shows it.
        index: u64,
        /// Under the newest checkpoint in this file, as with cosignatures, instead of the log's own.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Into this new file instead of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Write a stretch of the log as a file that proves itself; without bounds, all that is signed.
    Export {
        /// The first index.
        #[arg(long, value_name = "INDEX")]
        from: Option<u64>,
        /// The index after the last.
        #[arg(long, value_name = "INDEX")]
        to: Option<u64>,
        /// One JSON object a line, for other tools; it proves nothing.
        #[arg(long)]
        jsonl: bool,
        /// Into this new file instead of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ProjectArgs {
    /// Paths that pass, separated by commas; may be given several times.
    #[arg(long, required = true, value_name = "PATHS")]
    pub allow: Vec<String>,
    /// The JSON document; standard input if not given.
    pub file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Print every key with its value.
    Show {
        /// Say where each value comes from.
        #[arg(long)]
        origin: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SandboxArgs {
    /// The description (OpenAPI 3.x or Swagger 2.0, JSON or YAML; `-` is standard input).
    pub file: PathBuf,
    /// Where to listen, on loopback; port 0 chooses a free one.
    #[arg(long, default_value = "127.0.0.1:8410", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Make all data from this number: the same number, the same bytes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Records that each collection begins with.
    #[arg(long, default_value_t = 25, value_name = "COUNT")]
    pub records: u64,
    /// A file with the credential that callers must present; made from the seed if not given.
    #[arg(long, value_name = "FILE", conflicts_with = "no_auth")]
    pub credential_file: Option<PathBuf>,
    /// Ask for no credential, whatever the description declares.
    #[arg(long)]
    pub no_auth: bool,
    /// How long OAuth access tokens live.
    #[arg(long, default_value = "1h", value_name = "SPAN")]
    pub token_lifetime: String,
    /// Let calls fail, like `429 every=5 path=/employees`; may be given several times.
    #[arg(long = "fault", value_name = "RULE")]
    pub faults: Vec<String>,
}
