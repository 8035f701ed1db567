//! Data on standard output, talk on standard error, and exit codes.

use crate::harmless;
use app::{Error, Kind};
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::OnceLock,
};

/// How a verb speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub is_json: bool,
}

/// Text for people, line by line: what is in a line stays in it, whatever it holds.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<String>);

impl Lines {
    pub(crate) fn push(&mut self, line: impl Into<String>) {
        self.0.push(line.into());
    }

    pub(crate) fn extend(&mut self, lines: impl IntoIterator<Item = String>) {
        self.0.extend(lines);
    }
}

impl From<Vec<String>> for Lines {
    fn from(lines: Vec<String>) -> Self {
        Self(lines)
    }
}

impl<const N: usize> From<[String; N]> for Lines {
    fn from(lines: [String; N]) -> Self {
        Self(lines.into())
    }
}

/// One line.
impl From<&str> for Lines {
    fn from(line: &str) -> Self {
        Self(vec![line.to_owned()])
    }
}

impl From<&String> for Lines {
    fn from(line: &String) -> Self {
        Self(vec![line.clone()])
    }
}

impl From<String> for Lines {
    fn from(line: String) -> Self {
        Self(vec![line])
    }
}

impl Output {
    /// The result: one JSON object, or text for people.
    pub(crate) fn result(self, json: &Value, text: impl Into<Lines>) -> io::Result<()> {
        if self.is_json {
            return write_lines(io::stdout().lock(), &[harmless::json(&json.to_string())]);
        }
        self.print(text)
    }

    /// A part of a result for people.
    pub(crate) fn print(self, text: impl Into<Lines>) -> io::Result<()> {
        let lines: Vec<String> = text.into().0.iter().map(|line| harmless::line(line)).collect();
        write_lines(io::stdout().lock(), &lines)
    }

    /// Talk for people beside a result that is meant for a file.
    pub(crate) fn talk(self, text: impl Into<Lines>) -> io::Result<()> {
        let lines: Vec<String> = text.into().0.iter().map(|line| harmless::line(line)).collect();
        write_lines(io::stderr().lock(), &lines)
    }

    /// Talk beside the result.
    fn say(self, line: &str) {
        // Nobody is left to tell when standard error is closed.
        let _ = write_lines(io::stderr().lock(), &[line.to_owned()]);
    }
}

fn write_lines(mut out: impl Write, lines: &[String]) -> io::Result<()> {
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// A command that the reader can paste: the program as it was called, since what `cargo` built is
/// not on the path.
pub(crate) fn command(args: &str) -> String {
    format!("{} {args}", invocation())
}

/// A text of ours in which commands stand as `` `weirgate ...` ``, with the program as it was called.
fn as_called(text: &str) -> String {
    text.replace("`weirgate ", &format!("`{} ", invocation()))
}

fn invocation() -> &'static str {
    static FOUND: OnceLock<String> = OnceLock::new();
    FOUND.get_or_init(|| {
        let own = std::env::current_exe().and_then(std::fs::canonicalize).ok();
        let called = std::env::args_os().next().map(PathBuf::from);
        let path = std::env::var_os("PATH");
        called_as(own.as_deref(), called.as_deref(), path.as_deref())
    })
}

/// `weirgate` where a shell finds this very program by that name, else its path.
fn called_as(own: Option<&Path>, called: Option<&Path>, path: Option<&OsStr>) -> String {
    let on_path = path.and_then(|path| {
        let mut places = std::env::split_paths(path).map(|dir| dir.join(NAME));
        places.find_map(|place| std::fs::canonicalize(place).ok())
    });
    if own.is_some() && on_path.as_deref() == own {
        return NAME.to_owned();
    }
    // A name without a slash was looked up by whoever called: it leads nowhere from a shell.
    let called = called.filter(|called| called.components().count() > 1 && called.is_file());
    called.or(own).map_or_else(|| NAME.to_owned(), |path| quoted(&path.display().to_string()))
}

const NAME: &str = "weirgate";

/// `1 key`, `2 keys`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

/// As one word of a shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%=,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Why a verb failed: what, why, remedy, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub exit: u8,
    pub message: String,
    pub remedy: Option<String>,
    /// One line each, where several things are wrong at once.
    pub problems: Vec<String>,
    is_broken_pipe: bool,
}

pub(crate) const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const NOT_FOUND: u8 = 3;
pub(crate) const AUTHENTICATION: u8 = 4;
pub(crate) const REFUSED: u8 = 5;
pub(crate) const FINDINGS: u8 = 6;
pub(crate) const UNREACHABLE: u8 = 7;
pub(crate) const INTERRUPTED: u8 = 130;

impl Failure {
    pub(crate) fn new(exit: u8, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            remedy: Some(remedy.into()).filter(|remedy| !remedy.is_empty()),
            problems: Vec::new(),
            is_broken_pipe: false,
        }
    }

    /// Whether standard output's reader went away.
    pub(crate) const fn is_broken_pipe(&self) -> bool {
        self.is_broken_pipe
    }

    /// Prints it and yields the exit code.
    pub(crate) fn report(&self, output: Output) -> ExitCode {
        let remedy = self.remedy.as_deref().map(as_called);
        let problems: Vec<String> =
            self.problems.iter().map(|problem| as_called(problem)).collect();
        if output.is_json {
            let json = json!({"error": self.message, "remedy": remedy, "problems": problems});
            output.say(&harmless::json(&json.to_string()));
        } else {
            output.say(&harmless::line(&format!("error: {}", self.message)));
            for problem in &problems {
                output.say(&harmless::line(&format!("  {problem}")));
            }
            if let Some(remedy) = &remedy {
                output.say(&harmless::line(&format!("remedy: {remedy}")));
            }
        }
        ExitCode::from(self.exit)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            Kind::Failed => FAILED,
            Kind::Usage => USAGE,
            Kind::NotFound => NOT_FOUND,
            Kind::Refused => REFUSED,
            Kind::Unreachable => UNREACHABLE,
        };
        let problems = match &error {
            Error::Grants(problems) => problems.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        let message = chain(&error);
        Self { exit, message, remedy: error.remedy(), problems, is_broken_pipe: false }
    }
}

/// Of writing the result: what is read has errors of its own.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let is_broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        let message = format!("cannot write the result: {}", chain(&error));
        let remedy = "Look at what standard output leads to.";
        Self { is_broken_pipe, ..Self::new(FAILED, message, remedy) }
    }
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // A transparent wrapper says the same again.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_program_as_a_shell_finds_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let own = dir.join(NAME);
        std::fs::write(&own, "").unwrap();
        let elsewhere = dir.join("else where");
        std::fs::create_dir(&elsewhere).unwrap();
        let other = elsewhere.join(NAME);
        std::fs::write(&other, "").unwrap();
        let path = |dirs: &[&Path]| std::env::join_paths(dirs).unwrap();
        let found =
            |called: &Path, dirs: &[&Path]| called_as(Some(&own), Some(called), Some(&path(dirs)));
        // On the path, however it was called.
        assert_eq!(found(&own, &[&dir, &elsewhere]), NAME);
        assert_eq!(found(Path::new(NAME), &[&dir]), NAME);
        // Not there, or another program of that name comes first.
        assert_eq!(found(&own, &[]), own.display().to_string());
        assert_eq!(found(Path::new(NAME), &[&elsewhere, &dir]), own.display().to_string());
        let quoted = called_as(Some(&other), Some(&other), None);
        assert_eq!(quoted, format!("'{}'", other.display()));
        assert_eq!(called_as(None, None, None), NAME);
    }

    #[test]
    fn words_of_a_shell_are_quoted_where_they_must_be() {
        for (word, wanted) in
            [("a/b-c.d", "a/b-c.d"), ("", "''"), ("a b", "'a b'"), ("a'b", r"'a'\''b'")]
        {
            assert_eq!(quoted(word), wanted);
        }
    }
}
