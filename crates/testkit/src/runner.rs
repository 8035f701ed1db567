//! Runs the built binary in a clean environment: a fresh home, no variables of the tester's.

use crate::{client, lock, wait::poll};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};
use tempfile::TempDir;

/// Longest run of a verb, wait for a line, and wait for an end.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait for the rest of the output of a process that has ended.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The binary and the home it runs in. Both end with the value.
#[derive(Debug)]
pub struct Weirgate {
    binary: PathBuf,
    home: TempDir,
    /// Over those of [`Weirgate::command`]; `None` takes one away.
    variables: BTreeMap<String, Option<String>>,
    /// Of every run: soft and hard.
    max_files: Option<u32>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit code; `None` if a signal ended it.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text, with replacement characters for what is no UTF-8.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text, with replacement characters for what is no UTF-8.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output as JSON.
    ///
    /// # Errors
    /// Where it is none.
    pub fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_slice(&self.stdout)
    }
}

impl Weirgate {
    /// For a binary: `Weirgate::binary(env!("CARGO_BIN_EXE_weirgate"))`.
    ///
    /// # Errors
    /// Where no temporary folder can be made.
    pub fn binary(path: impl Into<PathBuf>) -> io::Result<Self> {
        Ok(Self {
            binary: path.into(),
            home: tempfile::tempdir()?,
            variables: BTreeMap::new(),
            max_files: None,
        })
    }

    /// The working folder of every run; `HOME`, `XDG_CONFIG_HOME` and `TMPDIR` lie in it.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `WEIRGATE_DATA_DIR` of every run: `{home}/data`, not made here.
    pub fn data_dir(&self) -> PathBuf {
        self.home().join("data")
    }

    /// Writes a file into the home and returns its path as text.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> io::Result<String> {
        let path = self.home().join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, bytes)?;
        Ok(path.display().to_string())
    }

    /// Sets a variable for runs from now on; a later one of that name wins.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), Some(value.to_owned()));
    }

    /// Takes a variable away for runs from now on, for instance `WEIRGATE_DATA_DIR`.
    pub fn unset(&mut self, name: &str) {
        self.variables.insert(name.to_owned(), None);
    }

    /// Limits the open files of runs from now on, soft and hard.
    pub fn limit_files(&mut self, max: u32) {
        self.max_files = Some(max);
    }

    /// Runs a verb to its end.
    ///
    /// # Errors
    /// `TimedOut` with what was printed, after [`TIMEOUT`]; or where it cannot be started.
    pub fn run(&self, args: &[&str], stdin: &[u8]) -> io::Result<Output> {
        self.run_within(TIMEOUT, args, stdin)
    }

    /// As [`Self::run`] with another time-out.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_within(&self, timeout: Duration, args: &[&str], stdin: &[u8]) -> io::Result<Output> {
        let mut server = Server::start(self.command(args), Stdio::piped())?;
        if let Some(mut pipe) = server.child.stdin.take() {
            let bytes = stdin.to_vec();
            // Ends when all is written or the verb has ended; it may well not read its input.
            thread::spawn(move || pipe.write_all(&bytes));
        }
        server.wait(timeout)
    }

    /// Starts a verb that serves, without waiting for anything. What it prints is kept.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn(&self, args: &[&str]) -> io::Result<Server> {
        Server::start(self.command(args), Stdio::null())
    }

    /// Starts a verb that prints one line of JSON when it is ready (`--json`), and waits for that.
    ///
    /// # Errors
    /// Where it ends or stays silent, with what it printed.
    pub fn spawn_until_json(&self, args: &[&str]) -> io::Result<(Server, Value)> {
        let mut server = self.spawn(args)?;
        let value = server.wait_for_json()?;
        Ok((server, value))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = match self.max_files {
            None => Command::new(&self.binary),
            Some(max) => {
                let mut shell = Command::new("/bin/sh");
                let script = format!("ulimit -n {max} && exec \"$0\" \"$@\"");
                shell.args(["-c", &script]).arg(&self.binary);
                shell
            }
        };
        command
            .args(args)
            .current_dir(self.home())
            .env_clear()
            .env("HOME", self.home())
            .env("XDG_CONFIG_HOME", self.home().join("config"))
            .env("TMPDIR", self.home())
            .env("WEIRGATE_DATA_DIR", self.data_dir())
            .env("RUST_BACKTRACE", "1");
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    stdout: Capture,
    stderr: Capture,
}

impl Server {
    fn start(mut command: Command, stdin: Stdio) -> io::Result<Self> {
        let mut child =
            command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stdout = Capture::of(child.stdout.take());
        let stderr = Capture::of(child.stderr.take());
        Ok(Self { child, stdout, stderr })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What was printed to standard output so far.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&lock(&self.stdout.bytes)).into_owned()
    }

    /// What was printed to standard error so far.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&lock(&self.stderr.bytes)).into_owned()
    }

    /// Waits for a whole line, on either output, that fits, and returns it.
    ///
    /// # Errors
    /// Where the process ends first or [`TIMEOUT`] is over, with what it printed.
    pub fn wait_for_line(&mut self, fits: impl Fn(&str) -> bool) -> io::Result<String> {
        let find = |server: &Self| {
            let texts = [server.out(), server.err()];
            let lines = texts.iter().flat_map(|text| text.split_inclusive('\n'));
            let mut whole = lines.filter_map(|line| line.strip_suffix('\n'));
            whole.find(|line| fits(line)).map(str::to_owned)
        };
        self.wait_for("a line", find)
    }

    /// Waits for the first line of standard output that is a JSON object.
    ///
    /// # Errors
    /// As [`Self::wait_for_line`].
    pub fn wait_for_json(&mut self) -> io::Result<Value> {
        self.wait_for("a line of JSON", |server| {
            let out = server.out();
            let whole = out.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let mut values = whole.filter_map(|line| serde_json::from_str::<Value>(line).ok());
            values.find(Value::is_object)
        })
    }

    /// Waits until `GET /readyz` there answers 200.
    ///
    /// # Errors
    /// As [`Self::wait_for_line`].
    pub fn wait_for_ready(&mut self, addr: SocketAddr) -> io::Result<()> {
        self.wait_for("/readyz", |_| {
            let answer = client::get(addr, "/readyz", &[("Connection", "close")]).ok()?;
            (answer.status == 200).then_some(())
        })
    }

    fn wait_for<T>(&mut self, what: &str, look: impl Fn(&Self) -> Option<T>) -> io::Result<T> {
        let mut has_ended = false;
        let found = poll(TIMEOUT, || {
            // Looked at before the output, so that what a short-lived process printed is found.
            has_ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            if has_ended {
                self.stdout.finish();
                self.stderr.finish();
            }
            match look(self) {
                Some(value) => Some(Some(value)),
                None => has_ended.then_some(None),
            }
        });
        found.flatten().ok_or_else(|| {
            let fate = if has_ended { "ended before" } else { "did not print in time:" };
            self.failure(io::ErrorKind::TimedOut, &format!("{fate} {what}"))
        })
    }

    /// Sends a signal, for instance `Signal::INT`.
    ///
    /// # Errors
    /// Where the process has ended and was waited for.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("no process id"))?;
        Ok(kill_process(id, signal)?)
    }

    /// Sets the soft limit of open files of the running process. One below what it has open keeps
    /// what is open, and lets it open nothing more.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn set_max_files(&self, max: u64) -> io::Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It has inherited ours.
        let hard = getrlimit(Resource::Nofile).maximum;
        prlimit(id, Resource::Nofile, Rlimit { current: Some(max), maximum: hard })?;
        Ok(())
    }

    /// SIGKILL, and everything it printed.
    ///
    /// # Errors
    /// Where it does not end, which the system rules out.
    pub fn kill9(mut self) -> io::Result<Output> {
        self.child.kill()?;
        self.wait(TIMEOUT)
    }

    /// SIGTERM, then its end.
    ///
    /// # Errors
    /// `TimedOut` where it does not end within [`TIMEOUT`].
    pub fn terminate(mut self) -> io::Result<Output> {
        self.signal(Signal::TERM)?;
        self.wait(TIMEOUT)
    }

    /// Waits for its end; kills it when the time is over.
    ///
    /// # Errors
    /// `TimedOut` with what it printed.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Output> {
        let ended = poll(timeout, || self.child.try_wait().transpose());
        if let Some(status) = ended.transpose()? {
            return Ok(self.output(status));
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        self.output(status);
        Err(self.failure(io::ErrorKind::TimedOut, &format!("did not end in {timeout:?}")))
    }

    fn output(&mut self, status: ExitStatus) -> Output {
        self.stdout.finish();
        self.stderr.finish();
        Output {
            status: status.code(),
            signal: status.signal(),
            stdout: lock(&self.stdout.bytes).clone(),
            stderr: lock(&self.stderr.bytes).clone(),
        }
    }

    fn failure(&self, kind: io::ErrorKind, what: &str) -> io::Error {
        let message = format!("the process {what}\n{}\n{}", self.out(), self.err());
        io::Error::new(kind, message)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A thread that keeps what a pipe brings.
#[derive(Debug)]
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Capture {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let reader = pipe.map(|mut pipe| {
            thread::spawn(move || {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                    lock(&kept).extend_from_slice(buffer.get(..read).unwrap_or_default());
                }
            })
        });
        Self { bytes, reader }
    }

    /// Waits until the pipe is empty: after the end of the process. A child that it left behind
    /// may hold the pipe open; then what came so far counts.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = poll(DRAIN_TIMEOUT, || reader.is_finished());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell() -> Weirgate {
        Weirgate::binary("/bin/sh").unwrap()
    }

    #[test]
    fn a_run_has_its_status_and_both_outputs() {
        let shell = shell();
        let output = shell.run(&["-c", "cat; echo talk >&2; exit 5"], b"in").unwrap();
        assert_eq!((output.status, output.signal), (Some(5), None));
        assert_eq!((output.out().as_str(), output.err().as_str()), ("in", "talk\n"));
        // More than a pipe holds, in both directions, and input that nobody reads.
        let big = vec![b'x'; 1 << 20];
        assert_eq!(shell.run(&["-c", "cat"], &big).unwrap().stdout, big);
        assert_eq!(shell.run(&["-c", "true"], &big).unwrap().status, Some(0));
    }

    #[test]
    fn the_environment_is_clean() {
        let mut shell = shell();
        shell.set("WEIRGATE_LOG", "debug");
        shell.unset("RUST_BACKTRACE");
        let output = shell.run(&["-c", "export -p; pwd -P"], b"").unwrap().out();
        let home = shell.home().canonicalize().unwrap().display().to_string();
        assert!(output.contains("WEIRGATE_LOG='debug'"), "{output}");
        assert!(output.contains(&format!("XDG_CONFIG_HOME='{}/config'", shell.home().display())));
        assert!(output.contains(&format!("WEIRGATE_DATA_DIR='{}'", shell.data_dir().display())));
        assert!(output.trim_end().ends_with(&home), "{output}");
        assert!(!output.contains("CARGO") && !output.contains("BACKTRACE"), "{output}");
    }

    #[test]
    fn a_run_that_does_not_end_is_killed() {
        let started = Instant::now();
        let error = shell()
            .run_within(Duration::from_millis(300), &["-c", "echo begun; exec sleep 60"], b"")
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("begun"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_server_is_awaited_and_ended_politely_or_not() {
        let shell = shell();
        let script = "trap 'echo bye; exit 0' TERM; echo talk >&2; echo ready on 1; \
                      while true; do sleep 0.01; done";
        let mut server = shell.spawn(&["-c", script]).unwrap();
        assert_eq!(server.wait_for_line(|line| line.starts_with("ready")).unwrap(), "ready on 1");
        let output = server.terminate().unwrap();
        assert_eq!((output.status, output.out().as_str()), (Some(0), "ready on 1\nbye\n"));

        let mut server = shell.spawn(&["-c", script]).unwrap();
        server.wait_for_line(|line| line == "talk").unwrap();
        let output = server.kill9().unwrap();
        assert_eq!((output.status, output.signal), (None, Some(9)));
    }

    #[test]
    fn a_server_that_ends_early_is_reported_with_its_words() {
        let shell = shell();
        let json = r#"echo talk; echo '{"gateway":"http://x"}'; exec sleep 60"#;
        let (server, value) = shell.spawn_until_json(&["-c", json]).unwrap();
        assert_eq!(value["gateway"], "http://x");
        let id = server.id();
        drop(server);
        assert!(!Path::new(&format!("/proc/{id}")).exists());

        let error = shell.spawn_until_json(&["-c", "echo broken >&2; exit 1"]).unwrap_err();
        assert!(error.to_string().contains("ended before a line of JSON\n\nbroken"), "{error}");
    }

    #[test]
    fn readiness_is_asked_for() {
        let provider = crate::FaultyProvider::start().unwrap();
        provider.on_sequence(
            "/readyz",
            [crate::Answer::status(503), crate::Answer::status(503), crate::Answer::status(200)],
        );
        let mut server = shell().spawn(&["-c", "exec sleep 60"]).unwrap();
        server.wait_for_ready(provider.addr()).unwrap();
        assert_eq!(provider.requests().len(), 3);
    }
}
