//! `weirgate project`: the gateway's projection as a tool.

use crate::{
    cli::ProjectArgs,
    output::{FAILED, Failure, NOT_FOUND, USAGE},
    verbs::is_missing,
};
use projection::{Limits, Mode, Path, Projector, Refusal, Spec, parse_list};
use std::{
    fs::File,
    io::{self, Read, Write},
};

const CHUNK_BYTES: usize = 256 * 1_024;

/// Streams the document through, in constant memory. After a refusal a part of the projection may
/// stand on standard output; it is never well-formed JSON.
pub(crate) fn run(args: &ProjectArgs) -> Result<(), Failure> {
    let mut paths: Vec<Path> = Vec::new();
    for list in &args.allow {
        let more = parse_list(list).map_err(|error| {
            Failure::new(
                USAGE,
                format!("--allow is malformed: {error}"),
                "Write paths like id,address.city,jobs[].title; escape . [ ] \\ * , in names by \\.",
            )
        })?;
        paths.extend(more);
    }
    let spec = Spec::from_paths(&paths);
    let stdout = io::stdout().lock();
    match args.file.as_deref().filter(|file| file.as_os_str() != "-") {
        None => stream(io::stdin().lock(), stdout, spec),
        Some(path) => {
            let file = open(path).map_err(|error| {
                let (exit, what) = if is_missing(path) {
                    (NOT_FOUND, "there is no file of the name that FILE gives".to_owned())
                } else {
                    (FAILED, format!("cannot read {}: {error}", path.display()))
                };
                Failure::new(exit, what, "Name a file that this user may read.")
            })?;
            stream(file, stdout, spec)
        }
    }
}

/// A folder can be opened, but not read.
fn open(path: &std::path::Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

fn stream(mut input: impl Read, mut output: impl Write, spec: Spec) -> Result<(), Failure> {
    let mut projector = Projector::new(spec, Limits::default(), Mode::Drop);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut out = Vec::new();
    loop {
        let count = match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let message = format!("cannot read the document: {error}");
                return Err(Failure::new(
                    FAILED,
                    message,
                    "Name a file, or give it on standard input.",
                ));
            }
        };
        let fed = projector.feed(chunk.get(..count).unwrap_or_default(), &mut out);
        output.write_all(&out)?;
        out.clear();
        fed.map_err(|refusal| refused(&refusal))?;
    }
    projector.finish(&mut out).map_err(|refusal| refused(&refusal))?;
    output.write_all(&out)?;
    Ok(output.flush()?)
}

fn refused(refusal: &Refusal) -> Failure {
    Failure::new(
        FAILED,
        format!("the document is refused: {refusal} [{}]", refusal.reason()),
        "What was written so far is no complete JSON; mend the document and run again.",
    )
}
