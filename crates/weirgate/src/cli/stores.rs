//! The words of vaults elsewhere.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum StoreVerb {
    /// Add a HashiCorp Vault or OpenBao (KV version 2, AppRole), or give one another place or login.
    Add(StoreAddArgs),
    /// List secret stores, with the connections whose secrets come from there.
    List,
    /// Forget a secret store that no connection needs.
    Remove {
        /// The store's name.
        name: String,
    },
    /// Ask the store for a connection's secret now.
    Refresh {
        /// The connection's id.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StoreAddArgs {
    /// Like bao.
    pub name: String,
    /// Where it is, like https://bao.example.com:8200.
    #[arg(long, value_name = "URL")]
    pub address: String,
    /// The mount of the key-value engine.
    #[arg(long, default_value = "secret", value_name = "MOUNT")]
    pub mount: String,
    /// A namespace.
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// For how long a copy counts without news, like 15m.
    #[arg(long, default_value = "15m", value_name = "SPAN")]
    pub ttl: String,
    /// A JSON file with `role_id` and `secret_id`; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub login_file: PathBuf,
    /// Allows this address of a private network, and plain http to it; may be given several times.
    #[arg(long, value_name = "HOST:PORT")]
    pub allow_private_network: Vec<String>,
}
