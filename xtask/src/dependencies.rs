//! Rules over third-party crates: what may not be built in, and under which licences.

use crate::tree::{Dependency, Problem, Tree};
use toml::{Table, Value};

/// Other crypto and TLS providers, and other HTTP clients.
const BANNED: &[&str] = &[
    "aws-lc-fips-sys",
    "boring",
    "curl",
    "isahc",
    "mbedtls",
    "native-tls",
    "openssl",
    "openssl-sys",
    "reqwest",
    "ring",
    "rustls-graviola",
    "rustls-rustcrypto",
    "s2n-tls",
    "schannel",
    "ureq",
];

/// May stand in the lock file, which also lists what features could turn on, but never in a build.
const LOCKED_UNUSED: &[&str] = &["ring"];

/// SPDX names. `OpenSSL` is for parts of aws-lc.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

const LOCK: &str = "Cargo.lock";

pub(crate) fn banned(tree: &Tree) -> Vec<Problem> {
    let lock = tree.files.get(LOCK).map_or("", String::as_str);
    let is_built = |name: &str| tree.dependencies.iter().any(|found| found.name == name);
    let found = BANNED.iter().filter_map(|name| {
        let line = line_of_package(lock, name);
        let is_excused = LOCKED_UNUSED.contains(name) && !is_built(name);
        (is_built(name) || (line.is_some() && !is_excused)).then(|| Problem {
            file: LOCK.to_owned(),
            line: line.unwrap_or(1),
            what: format!("depends on `{name}`"),
            why: "there is one crypto and TLS provider, aws-lc-rs, and one HTTP client, `outbound`",
            remedy: format!("find who brings it with `cargo tree -i {name} --target all`"),
        })
    });
    found.collect()
}

pub(crate) fn licences(tree: &Tree) -> Vec<Problem> {
    let lock = tree.files.get(LOCK).map_or("", String::as_str);
    let unresolved = tree.unresolved.iter().map(|error| Problem {
        file: LOCK.to_owned(),
        line: 1,
        what: error.trim_end().replace('\n', "\n  "),
        why: "what cannot be resolved cannot be judged",
        remedy: "commit the lock file that `cargo check` writes".into(),
    });
    let refused = tree.dependencies.iter().filter(|found| !is_allowed(&found.licence));
    let refused = refused.map(|Dependency { name, version, licence }| Problem {
        file: LOCK.to_owned(),
        line: line_of_package(lock, name).unwrap_or(1),
        what: format!("{name} {version} has the licence `{licence}`"),
        why: "only licences that fit Apache-2.0 and a single binary are allowed",
        remedy: "choose another crate, or add the licence to ALLOWED in xtask and to deny.toml"
            .into(),
    });
    unresolved.chain(refused).collect()
}

/// `deny.toml` has the same lists.
pub(crate) fn deny_file(tree: &Tree) -> Vec<Problem> {
    const FILE: &str = "deny.toml";
    let text = tree.files.get(FILE).map_or("", String::as_str);
    let file: Table = toml::from_str(text).unwrap_or_default();
    let list = |section: &str, key: &str| {
        file.get(section).and_then(|table| table.get(key)).and_then(Value::as_array)
    };
    let mut allowed: Vec<&str> =
        list("licenses", "allow").into_iter().flatten().filter_map(Value::as_str).collect();
    allowed.sort_unstable();
    let crates = list("bans", "deny").into_iter().flatten();
    let mut denied: Vec<&str> =
        crates.filter_map(|entry| entry.get("crate")).filter_map(Value::as_str).collect();
    denied.sort_unstable();
    let mut problems = Vec::new();
    for (key, is_same, constant) in
        [("allow", allowed == ALLOWED, "ALLOWED"), ("deny", denied == BANNED, "BANNED")]
    {
        if !is_same {
            let line = text.lines().position(|line| line.starts_with(key));
            problems.push(Problem {
                file: FILE.to_owned(),
                line: line.map_or(1, |line| line + 1),
                what: format!("`{key}` differs from {constant} in xtask"),
                why: "cargo deny and this check must agree",
                remedy: "make both lists the same, sorted".into(),
            });
        }
    }
    problems
}

fn line_of_package(lock: &str, name: &str) -> Option<usize> {
    let wanted = format!("name = \"{name}\"");
    lock.lines().position(|line| line == wanted).map(|line| line + 1)
}

/// Whether an SPDX expression (Annex D of SPDX 2.3) can be met by allowed licences alone. Crates
/// from before that use `/` for `OR`. What cannot be parsed is not allowed.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest) == Some(true) && rest.is_empty()
}

/// Alternatives; `None` is malformed.
fn any(rest: &mut &[&str]) -> Option<bool> {
    let mut met = all(rest)?;
    while let Some(("OR", behind)) = rest.split_first().map(|(word, behind)| (*word, behind)) {
        *rest = behind;
        met |= all(rest)?;
    }
    Some(met)
}

fn all(rest: &mut &[&str]) -> Option<bool> {
    let mut met = one(rest)?;
    while let Some(("AND", behind)) = rest.split_first().map(|(word, behind)| (*word, behind)) {
        *rest = behind;
        met &= one(rest)?;
    }
    Some(met)
}

fn one(rest: &mut &[&str]) -> Option<bool> {
    let (word, behind) = rest.split_first()?;
    *rest = behind;
    if *word == "(" {
        let met = any(rest)?;
        let (close, behind) = rest.split_first()?;
        *rest = behind;
        return (*close == ")").then_some(met);
    }
    if matches!(*word, "AND" | "OR" | "WITH" | ")") {
        return None;
    }
    let mut licence = (*word).to_owned();
    if let ["WITH", exception, behind @ ..] = *rest {
        licence = format!("{licence} WITH {exception}");
        *rest = behind;
    }
    Some(ALLOWED.contains(&licence.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, licence: &str) -> Tree {
        let lock = format!("version = 4\n[[package]]\nname = \"{name}\"\n");
        let dependency =
            Dependency { name: name.into(), version: "1.0.0".into(), licence: licence.into() };
        Tree { dependencies: vec![dependency], ..Tree::of(&[(LOCK, lock.as_str())]) }
    }

    #[test]
    fn banned_crates_are_found_in_the_lock_and_in_the_build() {
        let problems = banned(&with("openssl", "MIT"));
        assert_eq!((problems.len(), problems[0].line), (1, 3));
        assert!(banned(&with("openssl-probe", "MIT")).is_empty());
        assert_eq!(banned(&with("ring", "MIT")).len(), 1);
        let unused = Tree { dependencies: Vec::new(), ..with("ring", "MIT") };
        assert!(banned(&unused).is_empty());
        let unused = Tree { dependencies: Vec::new(), ..with("native-tls", "MIT") };
        assert_eq!(banned(&unused).len(), 1);
    }

    #[test]
    fn licences_are_judged_by_their_expression() {
        for good in [
            "MIT",
            "MIT/GPL-3.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
            "ISC AND (Apache-2.0 OR ISC) AND OpenSSL",
        ] {
            assert!(licences(&with("a", good)).is_empty(), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "MIT OR GPL-3.0 AND",
            "(MIT",
            "MIT)",
            "MIT MIT",
            "MIT WITH Unheard-exception",
            "LGPL-2.1-or-later OR GPL-3.0",
            "MIT AND (GPL-3.0 OR LGPL-3.0)",
            "mit",
        ] {
            assert_eq!(licences(&with("a", bad)).len(), 1, "{bad}");
        }
    }

    #[test]
    fn an_unresolved_workspace_is_a_problem() {
        let tree = Tree { unresolved: Some("lock outdated\n".into()), ..Tree::default() };
        assert_eq!(licences(&tree)[0].what, "lock outdated");
    }

    #[test]
    fn both_tools_have_the_same_lists() {
        let crates: Vec<String> =
            BANNED.iter().map(|name| format!("{{ crate = \"{name}\" }}")).collect();
        let good =
            format!("[licenses]\nallow = {ALLOWED:?}\n[bans]\ndeny = [{}]\n", crates.join(", "));
        assert!(deny_file(&Tree::of(&[("deny.toml", &good)])).is_empty());
        let bad = good.replace("\"MIT\", ", "");
        assert_eq!(deny_file(&Tree::of(&[("deny.toml", &bad)]))[0].line, 2);
        assert_eq!(deny_file(&Tree::default()).len(), 2);
    }
}
