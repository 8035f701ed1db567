//! `cargo xtask check`: the rules of this repository that no compiler knows.
//! `cargo xtask screenshots [FOLDER]`: a picture of every page of the console in every state, dark and
//! light, on a narrow and a wide screen.
//!
//! Each rule is a function over a [`Tree`] in memory, so that each is tested with an input that
//! breaks it. All problems are printed at once, each with its place, its reason and its remedy.
#![forbid(unsafe_code)]

mod confinement;
mod dependencies;
mod documents;
mod faults;
mod manifests;
mod rust;
mod tree;
mod words;

use std::{
    io::{self, Write as _},
    path::Path,
    process::{Command, ExitCode},
};
use tree::{Problem, Tree};

/// A rule's name and what finds its problems.
type Rule = (&'static str, fn(&Tree) -> Vec<Problem>);

const RULES: &[Rule] = &[
    ("direction", manifests::direction),
    ("lints", manifests::lints),
    ("confinement", confinement::confinement),
    ("features", confinement::features),
    ("unsafe", confinement::no_unsafe),
    ("clock", confinement::clock),
    ("constant time", confinement::constant_time),
    ("banned", dependencies::banned),
    ("licences", dependencies::licences),
    ("deny.toml", dependencies::deny_file),
    ("traces", words::traces),
    ("unfinished", words::unfinished),
    ("error pages", documents::error_pages),
    ("changelog", documents::changelog),
    ("links", documents::links),
    ("architecture", documents::architecture),
    ("fault matrix", faults::matrix),
    ("standards", faults::standards),
];

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["check"] => check(),
        ["screenshots"] => screenshots(Path::new("target/screenshots")),
        ["screenshots", folder] => screenshots(Path::new(folder)),
        _ => {
            writeln!(io::stderr(), "usage: cargo xtask check | screenshots [FOLDER]")?;
            Ok(ExitCode::from(2))
        }
    }
}

/// The pictures are made by the test that judges the pages, so that both see the same.
fn screenshots(folder: &Path) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(folder)?;
    let (folder, tools) = (folder.canonicalize()?, std::env::current_dir()?.join("target/browser"));
    let script = "crates/weirgate/tests/browser/browser.sh";
    let installed = Command::new(script).arg("install").arg(&tools).status()?;
    anyhow::ensure!(installed.success(), "{script} could not install what drives the browser");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let made = Command::new(cargo)
        .args(["test", "--locked", "--workspace", "--test", "it", "--", "--exact"])
        .arg("browser::every_page_is_sound_in_a_browser")
        .env("WEIRGATE_TEST_BROWSER", tools)
        .env("WEIRGATE_TEST_SHOTS", &folder)
        .status()?;
    writeln!(io::stdout(), "the pictures lie in {}", folder.display())?;
    Ok(if made.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check() -> anyhow::Result<ExitCode> {
    let tree = Tree::read()?;
    let mut out = io::stdout().lock();
    let mut count = 0;
    for (name, rule) in RULES {
        for problem in rule(&tree) {
            count += 1;
            let Problem { file, line, what, why, remedy } = problem;
            writeln!(out, "{file}:{line}: [{name}] {what}\n  why: {why}\n  remedy: {remedy}")?;
        }
    }
    if count > 0 {
        writeln!(out, "{count} problems")?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(out, "ok: {} rules over {} files", RULES.len(), tree.files.len())?;
    Ok(ExitCode::SUCCESS)
}
