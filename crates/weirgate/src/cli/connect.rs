//! The words of connecting: by a secret, or by somebody's consent in a browser.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct ConnectionCreateArgs {
    /// The provider.
    #[arg(long, value_name = "SLUG")]
    pub provider: String,
    /// Whose data it reaches; `self` is the company's own.
    #[arg(long, value_name = "NAME")]
    pub customer: String,
    /// The security scheme; may be left out where the secret leaves one choice. A description
    /// that declares none takes `basic`, `bearer`, `header:NAME` or `query:NAME`.
    #[arg(long, value_name = "SCHEME")]
    pub scheme: Option<String>,
    /// A JSON file with the secret; `-` is standard input. With --oauth: what is needed beside the
    /// provider's app, if anything.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["oauth", "secret_from"])]
    pub secret_file: Option<PathBuf>,
    /// A secret in a secret store: STORE:PATH, or STORE:PATH#MEMBER.
    #[arg(long, value_name = "REFERENCE", conflicts_with_all = ["oauth", "secret_file"])]
    pub secret_from: Option<String>,
    /// live or test.
    #[arg(long, default_value = "live", value_name = "ENV")]
    pub environment: String,
    /// Fills a variable of the server's URL; may be given several times.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// Fixes a header of every call; may be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE")]
    pub headers: Vec<String>,
    /// Ask for consent in a browser (OAuth 2.0 authorization code), instead of taking a secret.
    #[arg(long)]
    pub oauth: bool,
    #[command(flatten)]
    pub browser: BrowserArgs,
}

/// How somebody consents in a browser.
#[derive(Debug, Args)]
pub(crate) struct BrowserArgs {
    /// The port of this machine that the browser is sent back to; any free one if not given.
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Only print the address; open no browser.
    #[arg(long)]
    pub no_browser: bool,
    /// Confirm what comes back without asking.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConsentVerb {
    /// List what customers agreed to: when, by whom, and the text that was shown.
    List {
        /// Of one connection.
        #[arg(long, value_name = "ID")]
        connection: Option<String>,
    },
    /// Agree to what the grants let through by now, with the tokens that there are.
    Renew {
        /// The connection's id.
        id: String,
        /// Agree without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Withdraw a connection's consent: its tokens are destroyed, and the provider is told if it can be.
    Revoke {
        /// The connection's id.
        id: String,
    },
}
