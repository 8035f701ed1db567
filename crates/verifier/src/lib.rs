//! Whether an export or a proof is what a log's key signed. Nothing else is needed: no installation,
//! no configuration, no network.
#![forbid(unsafe_code)]

use audit::{ExportError, Proof, ProofError, Record, VerifierKey, verify_export};
use std::{
    error::Error,
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
};

/// Longer files are no proofs.
const MAX_PROOF_BYTES: u64 = 1 << 20;

/// Why nothing is verified.
#[derive(Debug)]
pub enum Failure {
    /// What was checked is not true.
    Untrue(Box<dyn Error>),
    /// It could not be checked.
    Unchecked(String),
}

/// Checks a file with a key, which is given as its text or as the file that holds it. Entries are
/// printed as they are read, before all is known to be true; yields what is true then.
///
/// # Errors
/// [`Failure::Untrue`] for what is not; [`Failure::Unchecked`] for what says nothing.
pub fn check(
    key: &OsStr,
    file: &OsStr,
    is_printing: bool,
    out: &mut dyn Write,
) -> Result<String, Failure> {
    let unchecked = |what: &OsStr, error: &dyn Error| {
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
fn read_key(given: &OsStr) -> Result<VerifierKey, Failure> {
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
