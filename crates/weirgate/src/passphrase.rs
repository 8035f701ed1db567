//! A passphrase typed on the terminal, where nobody sees it.

use app::Error;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::Path,
};
use types::SecretText;

const MAX_BYTES: u64 = 4_096;

/// Whether somebody sits at a terminal who could be asked.
pub(crate) fn can_ask() -> bool {
    io::stderr().is_terminal() && io::stdin().is_terminal()
}

/// Puts the terminal back as it was, whatever becomes of the question.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn new(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// Asks for the passphrase of a root key's file.
pub(crate) fn ask(file: &Path) -> Result<SecretText, Error> {
    line(&format!("Passphrase of {}: ", crate::harmless::line(&file.display().to_string())))
}

/// Asks twice for a new one, until both are the same.
pub(crate) fn ask_new() -> Result<SecretText, Error> {
    loop {
        let first = line("New passphrase (five words or more): ")?;
        let second = line("Once more: ")?;
        if first.expose() == second.expose() {
            return Ok(first);
        }
        tell("They differ.\n").map_err(failed)?;
    }
}

fn failed(source: io::Error) -> Error {
    Error::Unreadable { path: Path::new("/dev/tty").to_owned(), source }
}

fn tell(text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open("/dev/tty")?.write_all(text.as_bytes())
}

fn line(prompt: &str) -> Result<SecretText, Error> {
    let read = || {
        // Before anybody is asked: what is typed then is seen by nobody.
        let quiet = Quiet::new(OpenOptions::new().read(true).write(true).open("/dev/tty")?)?;
        tell(prompt)?;
        // Full size from the start: a buffer that grows leaves copies behind.
        let mut bytes = Vec::with_capacity(usize::try_from(MAX_BYTES).unwrap_or_default());
        let mut terminal = (&quiet.terminal).take(MAX_BYTES);
        let mut byte = [0];
        while terminal.read(&mut byte)? == 1 && byte != *b"\n" {
            bytes.extend_from_slice(&byte);
        }
        drop(quiet);
        tell("\n")?;
        let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "it is no text");
        Ok(SecretText::new(String::from_utf8(bytes).map_err(wrong)?))
    };
    read().map_err(failed)
}
