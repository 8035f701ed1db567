//! `cargo xtask check`: the rules of this repository that no compiler knows.
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
    process::ExitCode,
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
];

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments != ["check"] {
        writeln!(io::stderr(), "usage: cargo xtask check")?;
        return Ok(ExitCode::from(2));
    }
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
