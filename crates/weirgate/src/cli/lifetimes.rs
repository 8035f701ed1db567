//! The words of lifetimes.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum LifetimeVerb {
    /// Put the rules of a file into force, and no others.
    Apply {
        /// A TOML file of [[lifetime]] tables.
        file: PathBuf,
        /// Only say what would change, and what would end.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the rules, what they reach, when it ends, and what is suspended.
    List,
    /// Say what the rules of a file would have ended, by this node's log. Nothing changes.
    Try {
        /// A TOML file of [[lifetime]] tables.
        file: PathBuf,
        /// How far to look back, like 30d.
        #[arg(long, default_value = "30d", value_name = "SPAN")]
        since: String,
    },
    /// Give back what a rule ended, within its grace.
    Restore {
        /// The key's or the connection's id.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LeakArgs {
    /// The key's or the connection's id.
    #[arg(required_unless_present = "key_file")]
    pub id: Option<String>,
    /// A file with the API key itself; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "id")]
    pub key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct OwnerArgs {
    /// The client.
    pub name: String,
    /// A person's address or id.
    #[arg(required_unless_present = "none")]
    pub user: Option<String>,
    /// Nobody.
    #[arg(long, conflicts_with = "user")]
    pub none: bool,
}
