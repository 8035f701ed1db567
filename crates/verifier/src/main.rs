//! `weirgate-verify KEY FILE`: whether an export or a proof is what the log's key signed.
//!
//! It needs nothing else: no installation, no configuration, no network. It exits with 0 if
//! everything holds, 1 if anything does not, and 2 if it could not look.
#![forbid(unsafe_code)]

use audit::{ExportError, Proof, ProofError, Record, VerifierKey, verify_export};
use std::{
    env,
    error::Error,
    ffi::OsString,
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    process::ExitCode,
};

const USAGE: &str = "\
Usage: weirgate-verify [--print] KEY FILE

Checks FILE, an export (weirgate audit export) or a proof (weirgate audit proof)
of a Weirgate audit log. KEY is the log's public key, or a file that holds it.
--print shows each entry as it is read; the last line says whether all are true.

Exit code: 0 all holds, 1 something does not, 2 it could not be checked.
";

/// Longer files are no proofs.
const MAX_PROOF_BYTES: u64 = 1 << 20;

/// Why nothing is verified.
enum Failure {
    /// What was checked is not true.
    Untrue(Box<dyn Error>),
    /// It could not be checked.
    Unchecked(String),
}

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

fn check(
    key: &OsString,
    file: &OsString,
    is_printing: bool,
    out: &mut dyn Write,
) -> Result<String, Failure> {
    let unchecked = |what: &OsString, error: &dyn Error| {
        Failure::Unchecked(format!("{}: {error}", what.display()))
    };
    let key = read_key(key)?;
    let mut input = BufReader::new(File::open(file).map_err(|error| unchecked(file, &error))?);
    let start = input.fill_buf().map_err(|error| unchecked(file, &error))?;
    let mut printed = Ok(());
    let mut print = |index: u64, record: &Record| {
        if is_printing && printed.is_ok() {
            printed = writeln!(out, "{}", line(index, record));
        }
    };
    let text = if start.starts_with(b"c2sp.org/tlog-proof") {
        let length = fs::metadata(file).map_or(0, |about| about.len());
        let malformed = |what| Failure::Untrue(ProofError::Malformed { what }.into());
        if length > MAX_PROOF_BYTES {
            return Err(malformed("it is too long"));
        }
        let bytes = fs::read(file).map_err(|error| unchecked(file, &error))?;
        let text = String::from_utf8(bytes).map_err(|_| malformed("it is no text"))?;
        let untrue = |error: ProofError| Failure::Untrue(error.into());
        let proof: Proof = text.parse().map_err(untrue)?;
        let (record, checkpoint) = proof.verify(&key).map_err(untrue)?;
        print(proof.index, &record);
        format!("True: entry {} of {} in {}.", proof.index, checkpoint.size, key.origin())
    } else {
        let found = verify_export(&mut input, &key, print).map_err(|error| match error {
            ExportError::Io(error) => unchecked(file, &error),
            error => Failure::Untrue(error.into()),
        })?;
        if found.range.is_empty() && found.checkpoint.size > 0 {
            return Err(Failure::Unchecked(format!(
                "{}: it holds none of the {} entries of {}, so nothing is said of any.",
                file.display(),
                found.checkpoint.size,
                key.origin()
            )));
        }
        let open = found
            .open_intents
            .map_or(String::new(), |open| format!(" {open} calls have no outcome in it."));
        format!(
            "True: entries {} to {} of {} in {}.{open}",
            found.range.start,
            found.range.end,
            found.checkpoint.size,
            key.origin()
        )
    };
    printed.map_err(|error| Failure::Unchecked(format!("cannot print: {error}")))?;
    Ok(text)
}

/// A key as text, or the file that holds it.
fn read_key(given: &OsString) -> Result<VerifierKey, Failure> {
    if let Some(Ok(key)) = given.to_str().map(str::parse) {
        return Ok(key);
    }
    let text = fs::read_to_string(given)
        .map_err(|error| Failure::Unchecked(format!("{}: {error}", given.display())))?;
    text.trim().parse().map_err(|error| Failure::Unchecked(format!("{}: {error}", given.display())))
}

fn line(index: u64, record: &Record) -> String {
    let mut line = format!("{index} {}", record.kind());
    for (name, value) in record.fields() {
        // What a terminal would act on is shown as what it is.
        line.push_str(&format!(" {name}={}", value.to_string().escape_debug()));
    }
    line
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
