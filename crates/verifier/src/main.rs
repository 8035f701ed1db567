//! `weirgate-verify KEY FILE`: whether an export or a proof is what the log's key signed.
//!
//! It exits with 0 if everything holds, 1 if anything does not, and 2 if it could not look.
#![forbid(unsafe_code)]

use std::{
    env,
    error::Error,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};
use weirgate_verify::{Failure, check};

const USAGE: &str = "\
Usage: weirgate-verify [--print] KEY FILE

Checks FILE, an export (weirgate audit export) or a proof (weirgate audit proof)
of a Weirgate audit log. KEY is the log's public key, or a file that holds it.
--print shows each entry as it is read; the last line says whether all are true.

Exit code: 0 all holds, 1 something does not, 2 it could not be checked.
";

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let is_printing = arguments.iter().any(|one| one == "--print");
    arguments.retain(|one| one != "--print");
    let stdout = io::stdout();
    let mut out = stdout.lock();
    let result = match arguments.as_slice() {
        [word] if word == "--help" || word == "-h" => {
            return match out.write_all(USAGE.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::from(2),
            };
        }
        [key, file] => check(key, file, is_printing, &mut out),
        _ => Err(Failure::Unchecked(USAGE.to_owned())),
    };
    let (code, text) = match result {
        Ok(text) => (0, text),
        Err(Failure::Untrue(error)) => (1, format!("NOT TRUE: {}", chain(error.as_ref()))),
        Err(Failure::Unchecked(what)) => (2, what),
    };
    let written = if code == 0 {
        writeln!(out, "{text}")
    } else {
        writeln!(io::stderr().lock(), "{}", text.trim_end())
    };
    ExitCode::from(if written.is_ok() { code } else { 2 })
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
