//! Rules over the documents: a page per error code, links that lead somewhere, every crate named.

use crate::{
    manifests::members,
    rust::{bodies_of, views, without_tests},
    tree::{Problem, Tree, line_at},
};
use std::collections::BTreeMap;

const PAGES: &str = "docs/reference/errors/";

/// Every code has its page, and every page a code.
pub(crate) fn error_pages(tree: &Tree) -> Vec<Problem> {
    const WHY: &str = "each error code links to its page";
    let codes = error_codes(tree);
    let mut problems = Vec::new();
    for (code, (file, line)) in &codes {
        if !tree.files.contains_key(&format!("{PAGES}{code}.md")) {
            problems.push(Problem {
                file: (*file).to_owned(),
                line: *line,
                what: format!("error code `{code}` has no page"),
                why: WHY,
                remedy: format!("write {PAGES}{code}.md: meaning, likely cause, what to do"),
            });
        }
    }
    let pages = tree.files.keys().filter_map(|file| {
        let code = file.strip_prefix(PAGES)?.strip_suffix(".md")?;
        (code != "README").then_some((file, code))
    });
    for (file, code) in pages.filter(|(_, code)| !codes.contains_key(*code)) {
        problems.push(Problem {
            file: file.clone(),
            line: 1,
            what: format!("no error has the code `{code}`"),
            why: WHY,
            remedy: "remove the page, or name it as the code is spelled".into(),
        });
    }
    problems
}

/// Codes and where they are declared: the literals in the bodies of `fn code(&self)`.
fn error_codes(tree: &Tree) -> BTreeMap<&str, (&str, usize)> {
    let mut codes = BTreeMap::new();
    let sources = tree.ending(".rs");
    for (file, source) in sources.filter(|(file, _)| file.starts_with("crates/")) {
        if file.contains("/tests/") {
            continue;
        }
        let code = without_tests(&views(source).code);
        for (start, length) in bodies_of(&code, "code") {
            let body = source.get(start..start + length).unwrap_or_default();
            let outside_comments = views(body);
            let mut at = 0;
            for part in body.split('"') {
                // The view of the code blanks literals, quotes included; that of comments keeps
                // what is quoted in them.
                let kept = outside_comments.comments.get(at..at + part.len());
                let is_comment = kept.is_some_and(|kept| !kept.trim().is_empty());
                if is_code(part) && is_quoted(body, at, part.len()) && !is_comment {
                    codes.entry(part).or_insert((file, line_at(source, start + at)));
                }
                at += part.len() + 1;
            }
        }
    }
    codes
}

fn is_quoted(body: &str, at: usize, length: usize) -> bool {
    let quote = |at: Option<usize>| at.and_then(|at| body.as_bytes().get(at)) == Some(&b'"');
    quote(at.checked_sub(1)) && quote(Some(at + length))
}

fn is_code(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

pub(crate) fn changelog(tree: &Tree) -> Vec<Problem> {
    const KINDS: [&str; 4] = ["breaking", "security", "feature", "fix"];
    let is_entry = |name: &str| {
        let parts: Vec<&str> = name.split('.').collect();
        matches!(parts.as_slice(), [slug, kind, "md"]
            if !slug.is_empty()
                && slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
                && KINDS.contains(kind))
    };
    let entries = tree.files.keys().filter_map(|file| {
        let name = file.strip_prefix("changelog.d/")?;
        (name != "README.md" && !is_entry(name)).then_some((file, name))
    });
    entries
        .map(|(file, name)| Problem {
            file: file.clone(),
            line: 1,
            what: format!("`{name}` is no changelog entry"),
            why: "a release collects its entries by their names",
            remedy: format!("name it <slug>.<{}>.md", KINDS.join("|")),
        })
        .collect()
}

/// Relative links in Markdown lead to files or folders.
pub(crate) fn links(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, text) in tree.ending(".md") {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let prose = without_code(text);
        for (at, target) in targets(&prose) {
            let path = target.split(['#', '?']).next().unwrap_or_default();
            let is_external =
                target.contains("://") || target.starts_with("mailto:") || path.is_empty();
            if is_external || resolve(folder, path).is_some_and(|path| tree.has(&path)) {
                continue;
            }
            problems.push(Problem {
                file: file.to_owned(),
                line: line_at(&prose, at),
                what: format!("the link `{target}` leads nowhere"),
                why: "readers follow links",
                remedy: "correct the path; it is relative to this file".into(),
            });
        }
    }
    problems
}

/// Blanks fenced blocks and inline code, where brackets are no links.
fn without_code(text: &str) -> String {
    let blank = |text: &str| -> String {
        let spaces = text.chars().map(|c| if c == '\n' { "\n" } else { " " });
        spaces.collect()
    };
    let mut kept = String::with_capacity(text.len());
    let mut is_fenced = false;
    for line in text.split_inclusive('\n') {
        let is_fence = line.trim_start().starts_with("```");
        if is_fence || is_fenced {
            is_fenced ^= is_fence;
            kept.push_str(&blank(line));
            continue;
        }
        for (number, part) in line.split('`').enumerate() {
            if number > 0 {
                kept.push(' ');
            }
            if number % 2 == 0 {
                kept.push_str(part);
            } else {
                kept.push_str(&blank(part));
            }
        }
    }
    kept
}

/// Offsets and targets of `[text](target)` and `[name]: target`.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let inline = text.match_indices("](").filter_map(|(at, _)| {
        let target = text.get(at + 2..)?.split([')', ' ', '\n']).next()?;
        Some((at, target.trim_matches(['<', '>'])))
    });
    let mut start = 0;
    let mut found: Vec<(usize, &str)> = inline.collect();
    for line in text.split_inclusive('\n') {
        if line.starts_with('[')
            && let Some((_, target)) = line.split_once("]: ")
        {
            found.push((start, target.trim()));
        }
        start += line.len();
    }
    found
}

/// The path from the root; `None` where it leaves the repository.
fn resolve(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = if path.starts_with('/') {
        Vec::new()
    } else {
        folder.split('/').filter(|part| !part.is_empty()).collect()
    };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

pub(crate) fn architecture(tree: &Tree) -> Vec<Problem> {
    const FILE: &str = "docs/ARCHITECTURE.md";
    let text = tree.files.get(FILE).map_or("", String::as_str);
    let unnamed = members(tree)
        .filter(|(_, _, name, _)| *name != "xtask" && !text.contains(&format!("- `{name}`:")));
    unnamed
        .map(|(_, _, name, _)| Problem {
            file: FILE.to_owned(),
            line: 1,
            what: format!("crate `{name}` is not in the code map"),
            why: "the code map is how a newcomer finds the way",
            remedy: format!("add a line \"- `{name}`: what it is for.\""),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(problems: Vec<Problem>) -> Vec<(usize, String)> {
        problems.into_iter().map(|problem| (problem.line, problem.what)).collect()
    }

    const ERRORS: &str = r#"
impl Fault for Error {
    fn origin(&self) -> Origin { other("not_a_code") }
    fn code(&self) -> &'static str {
        match self {
            Self::A { .. } => "first_code", // not "a_comment"
            Self::B => {
                "second"
            }
            Self::C(error) => error.code(),
        }
    }
}
#[cfg(test)]
mod tests { impl Fault for Odd { fn code(&self) -> &'static str { "of_a_test" } } }
"#;

    #[test]
    fn codes_and_pages_belong_together() {
        let good = [
            ("crates/gateway/src/error.rs", ERRORS),
            ("docs/reference/errors/first_code.md", ""),
            ("docs/reference/errors/second.md", ""),
            ("docs/reference/errors/README.md", ""),
        ];
        assert_eq!(whats(error_pages(&Tree::of(&good))), []);
        assert_eq!(
            whats(error_pages(&Tree::of(&good[..2]))),
            [(8, "error code `second` has no page".to_owned())]
        );
        let lonely = Tree::of(&[("docs/reference/errors/third.md", "")]);
        assert_eq!(whats(error_pages(&lonely)), [(1, "no error has the code `third`".to_owned())]);
    }

    #[test]
    fn changelog_entries_have_a_number_and_a_kind() {
        let check = |name: &str| {
            changelog(&Tree::of(&[(format!("changelog.d/{name}").as_str(), "")])).len()
        };
        for good in ["main-job.feature.md", "leak.security.md", "README.md"] {
            assert_eq!(check(good), 0, "{good}");
        }
        for bad in
            ["Two.fix.md", "two.new.md", "two.fix.txt", ".fix.md", "two.fix.x.md", "a/two.fix.md"]
        {
            assert_eq!(check(bad), 1, "{bad}");
        }
    }

    #[test]
    fn links_lead_somewhere() {
        let files = |text: &'static str| {
            Tree::of(&[("docs/a/b.md", text), ("docs/c.md", ""), ("LICENSE", "")])
        };
        for good in [
            "[x](../c.md) [y](../../LICENSE#top) [z](../a) [w](b.md) [v](/docs/c.md)",
            "[x](https://example.org/a) [y](mailto:a@b.example) [z](#here)",
            "`[x](nowhere.md)`\n```\n[x](nowhere.md)\n```\n",
            "[x]: ../c.md\n",
            "![x](<../c.md> \"title\")",
        ] {
            assert_eq!(whats(links(&files(good))), [], "{good}");
        }
        for bad in ["a\n[x](c.md)", "a\n[x]: c.md", "a\n[x](../../../up.md)", "a\n`b` [x](d/)"] {
            assert_eq!(links(&files(bad)).iter().map(|found| found.line).max(), Some(2), "{bad}");
        }
    }

    #[test]
    fn the_code_map_names_every_crate() {
        let tree = |map| {
            Tree::of(&[
                ("crates/audit/Cargo.toml", ""),
                ("xtask/Cargo.toml", ""),
                ("docs/ARCHITECTURE.md", map),
            ])
        };
        assert!(architecture(&tree("- `audit`: the log.")).is_empty());
        assert_eq!(architecture(&tree("audit is missing")).len(), 1);
    }
}
