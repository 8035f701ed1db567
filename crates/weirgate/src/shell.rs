//! What a shell and a manual reader want: made from the same words as `--help`.

use crate::{
    cli::Cli,
    output::{FAILED, Failure, Output},
};
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::{fs, io, path::Path};

/// Prints the completions of a shell.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weirgate", &mut script);
    io::Write::write_all(&mut io::stdout().lock(), &script)?;
    Ok(())
}

/// Writes a page per verb into a folder, which is made if it is not there.
pub(crate) fn manual(dir: &Path, output: Output) -> Result<(), Failure> {
    let failed = |error: &io::Error| {
        let what = format!("cannot write the pages into the folder that DIR names: {error}");
        Failure::new(FAILED, what, "Name a folder that this user may write to.")
    };
    fs::create_dir_all(dir).map_err(|error| failed(&error))?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(|error| failed(&error))?;
    let text = format!("The manual lies in {}; see `man -l {0}/weirgate.1`.", dir.display());
    Ok(output.result(&serde_json::json!({"dir": dir.display().to_string()}), text)?)
}
