//! A real PostgreSQL in a temporary folder, where its programs are installed.

use crate::wait::poll;
use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;

/// Longest wait for a start or an end.
const TIMEOUT: Duration = Duration::from_secs(30);
const USER: &str = "weirgate";
/// Planted as the database's password: it may appear nowhere.
pub const POSTGRES_PASSWORD: &str = "canary-database-3f1b8a77c0";

/// The server; it ends with the value, and with the test's process however that ends.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    server: Option<Child>,
    databases: AtomicU32,
}

/// Where Debian keeps the programs, newest first; else where others do.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    found.sort();
    found.reverse();
    found.extend(["/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from));
    found.into_iter().find(|dir| dir.join("initdb").is_file() && dir.join("postgres").is_file())
}

/// PostgreSQL does not run as root: then it runs as the user of its package.
fn as_user(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if rustix::process::getuid().is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn done(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{command:?}: {said}")))
}

impl Postgres {
    /// A server of its own, or `None` where the programs are missing: the test says so.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start() -> io::Result<Option<Self>> {
        let Some(programs) = programs() else { return Ok(None) };
        // Short, for the socket's path, and open to the server's user.
        let folder = tempfile::Builder::new().prefix("wgpg").tempdir_in("/tmp")?;
        if rustix::process::getuid().is_root() {
            done(Command::new("chown").arg("postgres").arg(folder.path()))?;
        }
        let password = folder.path().join("password");
        std::fs::write(&password, POSTGRES_PASSWORD)?;
        if rustix::process::getuid().is_root() {
            done(Command::new("chown").arg("postgres").arg(&password))?;
        }
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        done(
            as_user(programs.join("initdb"))
                .args(["--no-sync", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"])
                .arg(format!("--username={USER}"))
                .arg(format!("--pwfile={}", password.display()))
                .arg("-D")
                .arg(folder.path().join("data")),
        )?;
        let mut postgres =
            Self { programs, folder, port, server: None, databases: AtomicU32::new(0) };
        postgres.restart()?;
        Ok(Some(postgres))
    }

    /// One server for all tests of this process.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        #[expect(clippy::expect_used, reason = "fails the test")]
        SHARED.get_or_init(|| Self::start().expect("PostgreSQL starts")).as_ref()
    }

    /// The path of one of its programs, for instance `psql`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it again where it was stopped.
    ///
    /// # Errors
    /// Where it does not answer in time.
    pub fn restart(&mut self) -> io::Result<()> {
        // The shell ends the server when its input ends: with this process, at the latest. Its
        // folder goes too then, as values in statics are not dropped.
        let script = r#"trap "" INT TERM; dir=$1; shift; "$@" >>"$dir/log" 2>&1 & pid=$!
            read -r word; [ "$word" = crash ] && kill -QUIT $pid || kill -INT $pid; wait $pid
            [ "$word" = keep ] || [ "$word" = crash ] || rm -rf "$dir""#;
        let server = as_user("sh")
            .args(["-c", script, "sh"])
            .arg(self.dir())
            .arg(self.programs.join("postgres"))
            .arg("-D")
            .arg(self.dir().join("data"))
            .arg("-k")
            .arg(self.dir())
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-c", "max_connections=100", "-c", "shared_buffers=16MB"])
            .current_dir(self.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.server = Some(server);
        let is_up = poll(TIMEOUT, || {
            TcpStream::connect(self.addr()).is_ok() && self.psql("postgres", "SELECT 1").is_ok()
        });
        if is_up.is_some() {
            return Ok(());
        }
        let log = std::fs::read_to_string(self.dir().join("log")).unwrap_or_default();
        Err(io::Error::other(format!("PostgreSQL does not answer: {log}")))
    }

    /// Stops it at once: connections are cut, and its data stays.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn stop(&mut self) -> io::Result<()> {
        self.end(b"keep\n")
    }

    /// Ends all its processes at once (`pg_ctl -m immediate`): its next start recovers as after a
    /// crash.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn crash(&mut self) -> io::Result<()> {
        self.end(b"crash\n")
    }

    fn end(&mut self, word: &[u8]) -> io::Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        if let Some(mut pipe) = server.stdin.take() {
            io::Write::write_all(&mut pipe, word)?;
        }
        server.wait().map(drop)
    }

    /// An empty database, and its URL with the password.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub fn database(&self) -> String {
        let name = format!("db{}", self.databases.fetch_add(1, Ordering::SeqCst));
        #[expect(clippy::expect_used, reason = "fails the test")]
        self.psql("postgres", &format!("CREATE DATABASE {name}")).expect("a new database");
        self.url(&name, self.addr())
    }

    /// The URL of a database, reached at this address.
    pub fn url(&self, database: &str, addr: SocketAddr) -> String {
        format!("postgres://{USER}:{POSTGRES_PASSWORD}@{addr}/{database}")
    }

    /// What `psql` prints for statements, without headers.
    ///
    /// # Errors
    /// With what it says where a statement fails.
    pub fn psql(&self, database: &str, statements: &str) -> io::Result<String> {
        done(
            Command::new(self.programs.join("psql"))
                .env("PGPASSWORD", POSTGRES_PASSWORD)
                .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER, "-d", database])
                .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statements]),
        )
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Nothing is left to do where it does not end: the shell ends it with this process.
        drop(self.stop());
    }
}
