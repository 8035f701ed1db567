//! Rules over the words of all files: traces of the place they were written at, and unfinished
//! work. Needles are put together here, so that this file does not contain them.

use crate::{
    rust::views,
    tree::{Problem, Tree, line_at},
};

pub(crate) fn traces(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, text) in &tree.files {
        for (at, what) in machine_paths(text).chain(private_keys(text)).chain(assistants(text)) {
            problems.push(Problem {
                file: file.clone(),
                line: line_at(text, at),
                what,
                why: "what is published carries no trace of where or how it was made, and no key",
                remedy: "remove it; a key that was committed counts as known and is replaced"
                    .into(),
            });
        }
    }
    problems
}

/// Absolute paths of a developer's machine. A path inside a longer one (`net/work/`) is none.
fn machine_paths(text: &str) -> impl Iterator<Item = (usize, String)> {
    let is_start = |at: usize| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '~' | '}')))
    };
    ["work", "root", "home"].into_iter().flat_map(move |folder| {
        let needle = format!("/{folder}/");
        let found: Vec<usize> = text.match_indices(&needle).map(|(at, _)| at).collect();
        let found = found.into_iter().filter(move |at| is_start(*at));
        found.map(move |at| (at, format!("a path under `/{folder}`")))
    })
}

fn private_keys(text: &str) -> impl Iterator<Item = (usize, String)> {
    let (begin, end) = (["-----", "BEGIN "].concat(), ["PRIVATE KEY", "-----"].concat());
    let starts: Vec<usize> = text.match_indices(&begin).map(|(at, _)| at).collect();
    let keys = starts.into_iter().filter(move |at| {
        let line = text.get(*at..).and_then(|rest| rest.lines().next());
        line.is_some_and(|line| line.contains(&end))
    });
    keys.map(|at| (at, "a block of a private key".to_owned()))
}

fn assistants(text: &str) -> impl Iterator<Item = (usize, String)> {
    let needles = [
        ["cla", "ude"].concat(),
        ["chat", "gpt"].concat(),
        ["l", "lm"].concat(),
        ["l", "lms"].concat(),
        ["ai ", "assistant"].concat(),
        ["co-auth", "ored-by"].concat(),
    ];
    let lower = text.to_ascii_lowercase();
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut found = Vec::new();
    for needle in needles {
        for (at, _) in lower.match_indices(&needle) {
            let before = lower.get(..at).and_then(|before| before.chars().next_back());
            let behind = lower.get(at + needle.len()..).and_then(|rest| rest.chars().next());
            if !is_letter(before) && !is_letter(behind) {
                found.push((at, format!("the words `{needle}`")));
            }
        }
    }
    found.into_iter()
}

/// Text files in which unfinished work is looked for.
const TEXTS: &[&str] = &[".md", ".toml", ".yaml", ".yml", ".sh", ".sql", ".ci/run"];

pub(crate) fn unfinished(tree: &Tree) -> Vec<Problem> {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let macros = [["unimpl", "emented!"].concat(), ["to", "do!"].concat()];
    let ignore = ["#[ign", "ore"].concat();
    let mut problems = Vec::new();
    for (file, text) in &tree.files {
        let mut note = |at: usize, what: &str| {
            problems.push(Problem {
                file: file.clone(),
                line: line_at(text, at),
                what: format!("`{what}`"),
                why: "unfinished work and switched-off tests are not committed",
                remedy: "finish it, or open an issue".into(),
            });
        };
        if file.strip_suffix(".rs").is_some() {
            let views = views(text);
            for mark in &marks {
                whole_words(&views.comments, mark).for_each(|at| note(at, mark));
            }
            for name in &macros {
                whole_words(&views.code, name).for_each(|at| note(at, name));
            }
            // Also with a reason, and behind a condition.
            let attribute = views.code.match_indices(&ignore).map(|(at, _)| at);
            let behind = ["cfg_attr(", ", ign", "ore"].concat();
            let conditional = views.code.match_indices(", ign").filter_map(|(at, _)| {
                let line = views.code.get(..at)?.rsplit('\n').next()?;
                let rest = views.code.get(at..)?;
                let is_one = line.contains("cfg_attr(") && rest.starts_with(behind.get(9..)?);
                is_one.then_some(at)
            });
            attribute.chain(conditional).for_each(|at| note(at, "ignored test"));
        } else if TEXTS.iter().any(|ending| file.ends_with(ending)) {
            for mark in &marks {
                whole_words(text, mark).for_each(|at| note(at, mark));
            }
        }
    }
    problems
}

fn whole_words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    crate::rust::mentions(text, word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rule: fn(&Tree) -> Vec<Problem>, file: &str, text: &str) -> Vec<usize> {
        rule(&Tree::of(&[(file, text)])).into_iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn machine_paths_are_found_but_not_every_folder_of_that_name() {
        for folder in ["work", "root", "home"] {
            for text in [
                format!("first\nsee /{folder}/notes"),
                format!("first\n\"/{folder}/x\""),
                format!("first\nfile:///{folder}/x"),
            ] {
                assert_eq!(lines(traces, "a.md", &text), [2], "{text}");
            }
            for text in [format!("net/{folder}/x"), format!("/{folder}"), format!("~/{folder}/")] {
                assert!(lines(traces, "a.md", &text).is_empty(), "{text}");
            }
        }
    }

    #[test]
    fn private_keys_are_found_and_certificates_are_not() {
        let block = |kind: &str| format!("a\n-----{} {kind}-----\n", "BEGIN");
        let key = ["PRIVATE", "KEY"].join(" ");
        for kind in [key.clone(), format!("RSA {key}"), format!("OPENSSH {key}")] {
            assert_eq!(lines(traces, "a.pem", &block(&kind)), [2], "{kind}");
        }
        assert!(lines(traces, "a.pem", &block("CERTIFICATE")).is_empty());
        assert!(lines(traces, "a.pem", &block("PUBLIC KEY")).is_empty());
    }

    #[test]
    fn words_about_assistants_are_found_as_words() {
        for word in [["Cla", "ude"], ["Chat", "GPT"], ["L", "LM"], ["Co-Auth", "ored-By:"]] {
            let text = format!("a\nb {} c", word.concat());
            assert_eq!(lines(traces, "a.rs", &text), [2], "{text}");
        }
        assert!(lines(traces, "a.rs", "fulfillment, clauses, allmost").is_empty());
    }

    #[test]
    fn unfinished_work_is_found_in_comments_code_and_texts() {
        let mark = ["TO", "DO"].concat();
        let call = ["to", "do!"].concat();
        let attribute = ["#[ign", "ore"].concat();
        for text in [
            format!("fn a() {{}}\n// {mark}: b"),
            format!("fn a() {{\n    {call}()\n}}"),
            format!("#[test]\n{attribute}]\nfn a() {{}}"),
            format!("#[test]\n{attribute} = \"slow\"]\nfn a() {{}}"),
            format!("#[test]\n#[cfg_attr(unix, ign{})]\nfn a() {{}}", "ore"),
        ] {
            assert_eq!(lines(unfinished, "crates/a/src/a.rs", &text), [2], "{text}");
        }
        assert!(lines(unfinished, "a.rs", &format!("const A: &str = \"{mark}\";")).is_empty());
        assert!(lines(unfinished, "a.rs", "// DEUTDEFFXXX").is_empty());
        assert_eq!(lines(unfinished, "a.md", &format!("a\n{mark}")), [2]);
        assert!(lines(unfinished, "a.bin", &mark).is_empty());
    }
}
