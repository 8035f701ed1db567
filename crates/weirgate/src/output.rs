//! Data on standard output, talk on standard error, and exit codes.

use app::{Error, Kind};
use serde_json::{Value, json};
use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

/// How a verb speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub is_json: bool,
}

impl Output {
    /// The result: one JSON object, or text for people.
    pub(crate) fn result(self, json: &Value, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.is_json {
            writeln!(out, "{json}")?;
        } else if !text.is_empty() {
            writeln!(out, "{}", text.trim_end_matches('\n'))?;
        }
        out.flush()
    }

    /// A part of a result for people, as it is.
    pub(crate) fn print(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// Talk beside the result.
    pub(crate) fn say(self, text: impl fmt::Display) {
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(io::stderr().lock(), "{text}");
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
        if output.is_json {
            output.say(json!({
                "error": self.message,
                "remedy": self.remedy,
                "problems": self.problems,
            }));
        } else {
            output.say(format_args!("error: {}", self.message));
            for problem in &self.problems {
                output.say(format_args!("  {problem}"));
            }
            if let Some(remedy) = &self.remedy {
                output.say(format_args!("remedy: {remedy}"));
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
            Kind::NotFound => 3,
            Kind::Refused => 5,
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

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let is_broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Self { is_broken_pipe, ..Self::new(FAILED, chain(&error), "") }
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

/// Text from outside, made harmless for a terminal: control characters shown, length cut.
pub(crate) fn plain(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    let mut shown: String = text
        .chars()
        .take(MAX_CHARS)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push_str("...");
    }
    shown
}
