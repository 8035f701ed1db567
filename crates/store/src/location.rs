//! Where a database lies. A server's URL holds a password: it is shown without.

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};
use url::Url;

/// Where a database lies.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file of SQLite.
    File(PathBuf),
    /// A database of PostgreSQL, or of what speaks its protocol.
    Server(ServerUrl),
}

impl Location {
    pub fn place(&self) -> Place {
        match self {
            Self::File(path) => Place(path.display().to_string()),
            Self::Server(url) => url.place(),
        }
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

/// What may be said of where a database lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A checked `postgres://` URL. Neither shown nor compared: it may hold a password.
#[derive(Clone)]
pub struct ServerUrl {
    options: Box<PgConnectOptions>,
    place: Place,
    root_cert: Option<PathBuf>,
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerUrl").field(&self.place).finish()
    }
}

/// Why a URL is none of a database. It never repeats the URL.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UrlError {
    #[error("it is no URL of the form postgres://USER@HOST:PORT/DATABASE")]
    Malformed,
    #[error("it names no database: write postgres://USER@HOST:PORT/DATABASE")]
    NoDatabase,
    #[error("it has the parameter `{0}`, which is not known: known are {known}", known = PARAMETERS.join(", "))]
    Parameter(String),
    #[error(
        "it holds a password: write it into a file of its own, and name that with database_password_file"
    )]
    Password,
    #[error("its sslmode would take any certificate: give verify-full and sslrootcert=FILE")]
    Unverified,
}

const PARAMETERS: [&str; 6] = ["host", "sslmode", "sslrootcert", "sslcert", "sslkey", "port"];

impl ServerUrl {
    /// Reads a URL; `password` stands for the one it has not.
    ///
    /// A server that is not on this machine is reached by TLS with a verified certificate.
    pub fn parse(text: &str, password: Option<&str>) -> Result<Self, UrlError> {
        let url = Url::parse(text.trim()).map_err(|_| UrlError::Malformed)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(UrlError::Malformed);
        }
        let database = url.path().trim_start_matches('/').to_owned();
        if database.is_empty() {
            return Err(UrlError::NoDatabase);
        }
        let mut mode = None;
        let mut root_cert = None;
        for (name, value) in url.query_pairs() {
            if !PARAMETERS.contains(&name.as_ref()) {
                return Err(UrlError::Parameter(name.into_owned()));
            }
            if name == "sslmode" {
                mode = Some(value.into_owned());
            } else if name == "sslrootcert" {
                root_cert = Some(PathBuf::from(value.into_owned()));
            }
        }
        let mut options: PgConnectOptions = text.trim().parse().map_err(|_| UrlError::Malformed)?;
        let host = options.get_host().trim_matches(['[', ']']).to_owned();
        let is_here = options.get_socket().is_some()
            || host.starts_with('/')
            || host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !is_here {
            match mode.as_deref() {
                None | Some("verify-full") => options = options.ssl_mode(PgSslMode::VerifyFull),
                Some("verify-ca") => {}
                Some(_) => return Err(UrlError::Unverified),
            }
        }
        if let Some(password) = password {
            options = options.password(password);
        }
        let place = match options.get_socket() {
            Some(socket) => format!("the database {database} at {}", socket.display()),
            None => format!("the database {database} at {host}:{}", options.get_port()),
        };
        Ok(Self { options: Box::new(options), place: Place(place), root_cert })
    }

    /// As [`Self::parse`], for a URL that others may read: one with a password is refused.
    pub fn parse_open(text: &str, password: Option<&str>) -> Result<Self, UrlError> {
        match Url::parse(text.trim()) {
            Ok(url) if url.password().is_some() => Err(UrlError::Password),
            _ => Self::parse(text, password),
        }
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        (*self.options).clone()
    }

    pub fn place(&self) -> Place {
        self.place.clone()
    }

    /// The file with the authority that the server is verified by, where it is named.
    pub fn root_cert(&self) -> Option<&Path> {
        self.root_cert.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let url = ServerUrl::parse("postgres://wg:CANARY@127.0.0.1:5/db", None).unwrap();
        let shown = format!("{url:?} {} {:?}", url.place(), Location::Server(url.clone()));
        assert!(!shown.contains("CANARY"), "{shown}");
        assert!(shown.contains("the database db at 127.0.0.1:5"), "{shown}");
        for wrong in ["postgres://CANARY", "CANARY", "postgres://h/d?CANARY=CANARY2"] {
            let error = ServerUrl::parse(wrong, None).unwrap_err().to_string();
            assert!(!error.contains("CANARY2") && !error.contains("//CANARY"), "{error}");
        }
    }

    /// A password on a network in clear, or to whoever answers, is refused.
    #[test]
    fn a_server_elsewhere_is_verified() {
        let mode = |text: &str| {
            ServerUrl::parse(text, None).map(|url| format!("{:?}", url.options.get_ssl_mode()))
        };
        assert_eq!(mode("postgres://u@db.example/d").unwrap(), "VerifyFull");
        assert_eq!(mode("postgres://u@db.example/d?sslmode=verify-ca").unwrap(), "VerifyCa");
        for weak in ["disable", "allow", "prefer", "require"] {
            let url = format!("postgres://u@db.example/d?sslmode={weak}");
            assert_eq!(mode(&url), Err(UrlError::Unverified));
        }
        assert_eq!(mode("postgres://u@127.0.0.1/d?sslmode=disable").unwrap(), "Disable");
        assert_eq!(mode("postgres://u@[::1]/d?sslmode=disable").unwrap(), "Disable");
        assert_eq!(mode("postgres:///d?host=/run/x").unwrap(), "Prefer");
    }
}
