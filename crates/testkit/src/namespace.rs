//! A network of the test's own: the test runs once more inside new network and mount namespaces,
//! where every address of both families is this machine, and names are asked of 127.0.0.1:53.
//!
//! So a packet to any address stays here, and [`crate::PacketRecorder`] sees it.

use std::{
    env, io,
    net::IpAddr,
    process::{Command, Output},
};

/// Stands in the inner run's configuration of names.
const MARK: &str = "# a network of a test's own";

/// Where a test finds itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a network of its own: here the test goes on.
    Inside,
    /// The inner run has passed, or could not be: what it had to say, `skipped: ...` at the
    /// beginning of a line where it did not do something.
    Outside { said: String },
}

/// `local default` makes every address one of this machine; with a source of its own, so that none is
/// taken for an address that the machine was given, see [`add_address`].
const SETUP: &str = r#"
set -e
ip link set lo up
ip route add local default dev lo src 127.0.0.1
ip -6 route add local default dev lo
for file in resolv.conf hosts; do
    test -e "/etc/$file" || touch "/etc/$file"
    mount --bind "$1/$file" "/etc/$file"
done
shift
exec "$@"
"#;

/// Runs this test once more in a network of its own, and tells which of both this is.
///
/// # Panics
/// Where the inner run failed, with what it printed.
pub fn enter(test: &str) -> Place {
    if std::fs::read_to_string("/etc/resolv.conf").is_ok_and(|text| text.contains(MARK)) {
        return Place::Inside;
    }
    let Some(flags) = possible_flags() else {
        let why = "no network namespace can be made: needs root (or user namespaces) and iproute2";
        return Place::Outside { said: format!("skipped: {why}\n") };
    };
    let output = run_inside(flags, test).unwrap_or_else(|error| failed(test, &error.to_string()));
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !out.contains("1 passed") {
        failed(test, &format!("{out}\n{err}"));
    }
    Place::Outside { said: err.into_owned() }
}

#[expect(clippy::panic, reason = "a test fails by panicking")]
fn failed(test: &str, what: &str) -> ! {
    panic!("{test} in a network of its own: {what}")
}

/// As root without more; as somebody else in a user namespace, where the system allows it.
fn possible_flags() -> Option<&'static [&'static str]> {
    const ROOT: &[&str] = &["--net", "--mount"];
    const USER: &[&str] = &["--map-root-user", "--net", "--mount"];
    [ROOT, USER].into_iter().find(|flags| {
        let probe = Command::new("unshare").args(*flags).args(["ip", "link", "show"]).output();
        probe.is_ok_and(|output| output.status.success())
    })
}

fn run_inside(flags: &[&str], test: &str) -> io::Result<Output> {
    let files = tempfile::tempdir()?;
    let resolver = format!("{MARK}\nnameserver 127.0.0.1\noptions timeout:1 attempts:2\n");
    std::fs::write(files.path().join("resolv.conf"), resolver)?;
    std::fs::write(files.path().join("hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
    Command::new("unshare")
        .args(flags)
        .args(["sh", "-c", SETUP, "sh"])
        .arg(files.path())
        .arg(env::current_exe()?)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .output()
}

/// How many TCP connections were begun in this network, by the kernel's own count (RFC 4022,
/// `tcpActiveOpens`).
///
/// # Errors
/// Where the kernel does not tell.
pub fn connections_begun() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/net/snmp")?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split(' ').zip(values.split(' '));
    let value = pairs.find(|(name, _)| *name == "ActiveOpens").map(|(_, value)| value.parse());
    value.and_then(Result::ok).ok_or_else(|| io::Error::other("no count of TCP connections"))
}

/// Gives this machine an address, inside a network of the test's own.
///
/// # Errors
/// Where the system refuses.
pub fn add_address(address: IpAddr) -> io::Result<()> {
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    let text = format!("{address}/{prefix}");
    let mut command = Command::new("ip");
    command.args(["address", "add", &text, "dev", "lo"]);
    if address.is_ipv6() {
        // Usable at once: nobody else could have it.
        command.arg("nodad");
    }
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("ip address add failed")) }
}
