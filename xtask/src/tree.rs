//! What the rules look at: the files as they would be committed, and the crates that are built.

use anyhow::{Context as _, bail};
use std::{collections::BTreeMap, fs, io, path::Path, process::Command};

/// Files by their path from the root, with `/`; what is no UTF-8 with replacement characters.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, String>,
    /// Third-party crates that a build of the workspace uses, for any target.
    pub(crate) dependencies: Vec<Dependency>,
    /// Why cargo could not tell the dependencies, for instance an outdated lock file.
    pub(crate) unresolved: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression; empty where the crate names none.
    pub(crate) licence: String,
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    pub(crate) what: String,
    pub(crate) why: &'static str,
    pub(crate) remedy: String,
}

impl Tree {
    /// The tree around the current folder: tracked files and new ones that are not ignored.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let root = run("git", &["rev-parse", "--show-toplevel"])?;
        std::env::set_current_dir(root.trim_end())?;
        let list = run("git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
        let mut files = BTreeMap::new();
        for path in list.split('\0').filter(|path| !path.is_empty()) {
            match fs::read(Path::new(path)) {
                Ok(bytes) => {
                    files.insert(path.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
                }
                // Deleted, and not yet committed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).context(path.to_owned()),
            }
        }
        // A problem like any other, so that the rest is told too.
        let (dependencies, unresolved) = match dependencies() {
            Ok(found) => (found, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Ok(Self { files, dependencies, unresolved })
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Self { files: files.collect(), ..Self::default() }
    }

    /// Files whose path ends so.
    pub(crate) fn ending<'a>(
        &'a self,
        ending: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        all.filter(move |(path, _)| path.ends_with(ending))
    }

    /// Whether a file or a folder has this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty()
            || self.files.contains_key(path)
            || self.files.keys().any(|file| file.starts_with(&folder))
    }
}

/// The crate that a path belongs to: the folder under `crates/`, or `xtask`.
pub(crate) fn crate_of(path: &str) -> Option<&str> {
    match path.split_once('/')? {
        ("crates", rest) => Some(rest.split_once('/')?.0),
        ("xtask", _) => Some("xtask"),
        _ => None,
    }
}

/// The line, from 1, of a byte offset.
pub(crate) fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// `cargo metadata` and the lock file also list crates behind features that nobody turns on;
/// `cargo tree` follows features as a build does.
fn dependencies() -> anyhow::Result<Vec<Dependency>> {
    let text = run(
        "cargo",
        &[
            "tree",
            "--quiet",
            "--locked",
            "--workspace",
            "--target=all",
            "--edges=all",
            "--prefix=none",
            "--format={p}|{l}",
        ],
    )?;
    Ok(parse_dependencies(&text))
}

/// Lines `NAME vVERSION[ (NOTE)]|LICENCE[ (*)]`; crates with a path are ours. With `--edges=all`
/// features stand as lines of their own, without a `|`.
fn parse_dependencies(text: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = text
        .lines()
        .filter_map(|line| {
            let (package, licence) = line.split_once('|')?;
            let mut words = package.split(' ');
            let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
            let is_ours = words.any(|word| word.starts_with("(/"));
            let licence = licence.trim_end_matches("(*)").trim();
            (!is_ours).then(|| Dependency {
                name: name.to_owned(),
                version: version.to_owned(),
                licence: licence.to_owned(),
            })
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {} failed: {said}", arguments.join(" "));
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_crates_are_read_from_cargo_tree() {
        let text = "weirgate v0.1.0 (/a/b)|Apache-2.0\nserde v1.0.2|MIT OR Apache-2.0\n\
                    serde_derive v1.0.2 (proc-macro)|MIT\nserde v1.0.2|MIT OR Apache-2.0 (*)\n\
                    serde feature \"std\"\nodd v2.0.0|\n\n";
        let found = parse_dependencies(text);
        let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["odd", "serde", "serde_derive"]);
        assert_eq!(found[1].licence, "MIT OR Apache-2.0");
        assert_eq!(found[0].licence, "");
    }

    #[test]
    fn folders_and_crates_are_known_by_path() {
        let tree = Tree::of(&[("docs/a/b.md", "")]);
        assert!(tree.has("docs/a") && tree.has("docs/a/b.md") && tree.has(""));
        assert!(!tree.has("docs/a/b") && !tree.has("doc"));
        assert_eq!(crate_of("crates/app/src/lib.rs"), Some("app"));
        assert_eq!(crate_of("xtask/src/main.rs"), Some("xtask"));
        assert_eq!(crate_of("README.md"), None);
        assert_eq!(line_at("a\nb\nc", 4), 3);
    }
}
