//! `weirgate-verify KEY FILE`: whether an export or a proof is what the log's key signed.
//!
//! It exits with 0 if everything holds, 1 if anything does not, and 2 if it could not look.
#![forbid(unsafe_code)]

use std::{
    env,
    error::Error,
    io::{self, Write},
    process::ExitCode,
};
use weirgate_verify::{Asked, Failure, check};

const USAGE: &str = "\
Usage: weirgate-verify [--print] [--checkpoint FILE] [--witness-key KEY]... KEY FILE

Checks FILE, an export (weirgate audit export), a proof (weirgate audit proof) or a
certificate of erasure (weirgate customer erase) of a Weirgate audit log. KEY is the log's public key, or a file that holds it.
--print shows each entry as it is read; the last line says whether all are true.
--checkpoint names checkpoints that were kept elsewhere: those of a size at which
FILE shows the log's root must have that root, and one at least must be such.
--witness-key is the key of a witness, or a file that holds it: that witness must
have cosigned the checkpoint in FILE.

Exit code: 0 all holds, 1 something does not, 2 it could not be checked.
";

fn main() -> ExitCode {
    let mut arguments = Vec::new();
    let mut asked = Asked::default();
    let mut given = env::args_os().skip(1);
    let mut is_cut = false;
    while let Some(word) = given.next() {
        match word.to_str() {
            Some("--print") => asked.is_printing = true,
            Some("--checkpoint") => match given.next() {
                Some(file) => asked.checkpoints.push(file),
                None => is_cut = true,
            },
            Some("--witness-key") => match given.next() {
                Some(key) => asked.witnesses.push(key),
                None => is_cut = true,
            },
            _ => arguments.push(word),
        }
    }
    let stdout = io::stdout();
    let mut out = stdout.lock();
    let result = match arguments.as_slice() {
        _ if is_cut => Err(Failure::Unchecked(USAGE.to_owned())),
        [word] if word == "--help" || word == "-h" => {
            return match out.write_all(USAGE.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::from(2),
            };
        }
        [key, file] => check(key, file, &asked, &mut out),
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
