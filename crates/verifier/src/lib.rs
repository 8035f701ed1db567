//! Whether an export, a proof or a certificate of erasure is what a log's key signed. Nothing else is needed: no installation,
//! no configuration, no network.
#![forbid(unsafe_code)]

use audit::{
    Checkpoint, ExportError, NoteError, Proof, ProofError, Record, VerifierKey, WitnessKey,
    certificate, notes, verify_export,
};
use std::{
    error::Error,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    str::FromStr,
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

/// What is asked beside the key and the file.
#[derive(Debug, Default)]
pub struct Asked {
    /// Entries are printed as they are read, before all is known to be true.
    pub is_printing: bool,
    /// Files of checkpoints that were kept elsewhere.
    pub checkpoints: Vec<OsString>,
    /// Keys of witnesses that must have cosigned, or files of keys.
    pub witnesses: Vec<OsString>,
}

/// Checks a file with a key, which is given as its text or as the file that holds it; yields what is
/// true then.
///
/// # Errors
/// [`Failure::Untrue`] for what is not; [`Failure::Unchecked`] for what says nothing.
pub fn check(
    key: &OsStr,
    file: &OsStr,
    asked: &Asked,
    out: &mut dyn Write,
) -> Result<String, Failure> {
    let key: VerifierKey = read_key(key)?;
    let kept = read_kept(&asked.checkpoints, &key)?;
    let witnesses: Vec<WitnessKey> =
        asked.witnesses.iter().map(|one| read_key(one)).collect::<Result<_, _>>()?;
    let mut input = BufReader::new(File::open(file).map_err(|error| unchecked(file, &error))?);
    let start = input.fill_buf().map_err(|error| unchecked(file, &error))?;
    let mut printed = Ok(());
    let mut print = |index: u64, record: &Record| {
        if asked.is_printing && printed.is_ok() {
            printed = writeln!(out, "{}", line(index, record));
        }
    };
    let text = if certificate::is_certificate(start) {
        let text = short_text(file)?;
        let (changed, proof) =
            certificate::check(&text, &key).map_err(|error| Failure::Untrue(error.into()))?;
        let (record, checkpoint) =
            proof.verify(&key).map_err(|error| Failure::Untrue(error.into()))?;
        print(proof.index, &record);
        let compared = against(&kept, &checkpoint)?;
        others(proof.note(), &witnesses, asked, compared)?;
        format!(
            "True: {} was erased at {}, by entry {} of {} in {}.",
            changed.what,
            changed.at,
            proof.index,
            checkpoint.size,
            key.origin()
        )
    } else if start.starts_with(b"c2sp.org/tlog-proof") {
        let text = short_text(file)?;
        let untrue = |error: ProofError| Failure::Untrue(error.into());
        let proof: Proof = text.parse().map_err(untrue)?;
        let (record, checkpoint) = proof.verify(&key).map_err(untrue)?;
        print(proof.index, &record);
        let compared = against(&kept, &checkpoint)?;
        others(proof.note(), &witnesses, asked, compared)?;
        format!("True: entry {} of {} in {}.", proof.index, checkpoint.size, key.origin())
    } else {
        let found = verify_export(&mut input, &key, &kept, print).map_err(|error| match error {
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
        others(&found.note, &witnesses, asked, found.kept)?;
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

/// Compares with checkpoints that were kept elsewhere; how many there are of this size.
fn against(kept: &[Checkpoint], checkpoint: &Checkpoint) -> Result<usize, Failure> {
    let here = kept.iter().filter(|kept| kept.size == checkpoint.size);
    let compared = here.clone().count();
    if here.into_iter().any(|kept| kept.root != checkpoint.root) {
        let size = checkpoint.size;
        return Err(Failure::Untrue(ExportError::KeptMismatch { size }.into()));
    }
    Ok(compared)
}

/// A proof, or a certificate with one.
fn short_text(file: &OsStr) -> Result<String, Failure> {
    let length = fs::metadata(file).map_or(0, |about| about.len());
    let malformed = |what| Failure::Untrue(ProofError::Malformed { what }.into());
    if length > MAX_PROOF_BYTES {
        return Err(malformed("it is too long"));
    }
    let bytes = fs::read(file).map_err(|error| unchecked(file, &error))?;
    String::from_utf8(bytes).map_err(|_| malformed("it is no text"))
}

fn unchecked(what: &OsStr, error: &dyn Error) -> Failure {
    Failure::Unchecked(format!("{}: {error}", what.display()))
}

/// What others than the log have to say of it.
fn others(
    note: &str,
    witnesses: &[WitnessKey],
    asked: &Asked,
    compared: usize,
) -> Result<(), Failure> {
    for witness in witnesses {
        witness.check(note).map_err(|error| {
            Failure::Untrue(format!("{} did not cosign it: {error}", witness.name()).into())
        })?;
    }
    if compared == 0 && !asked.checkpoints.is_empty() {
        let what = "no kept checkpoint is of a size at which the file shows the log's root; \
                    an export of all entries shows every one";
        return Err(Failure::Unchecked(what.to_owned()));
    }
    Ok(())
}

fn read_kept(files: &[OsString], key: &VerifierKey) -> Result<Vec<Checkpoint>, Failure> {
    let mut kept = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|error| unchecked(file, &error))?;
        let found = notes(&text);
        if found.is_empty() {
            return Err(unchecked(file, &NoteError::Malformed));
        }
        for note in found {
            kept.push(key.open(&note).map_err(|error| unchecked(file, &error))?);
        }
    }
    Ok(kept)
}

/// A key as text, or the file that holds it.
fn read_key<K: FromStr<Err = NoteError>>(given: &OsStr) -> Result<K, Failure> {
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
