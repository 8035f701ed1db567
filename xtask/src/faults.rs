//! The fault matrix, `docs/faults.md`: every row is there, and every test that it names exists.

use crate::{
    rust::views,
    tree::{Problem, Tree},
};
use std::collections::BTreeSet;

const FILE: &str = "docs/faults.md";
const ROWS: std::ops::RangeInclusive<u32> = 1..=42;
const WHY: &str = "the matrix is the evidence that faults are tested";

/// Rows are `| NUMBER | fault | what must happen | TESTS |`; tests stand in backticks as
/// `crate::test` or `crate::module::test`, or the cell says `not yet` and what is missing.
pub(crate) fn matrix(tree: &Tree) -> Vec<Problem> {
    let text = tree.files.get(FILE).map_or("", String::as_str);
    let mut problems = Vec::new();
    let mut problem = |line: usize, what: String, remedy: &str| {
        let remedy = remedy.to_owned();
        problems.push(Problem { file: FILE.to_owned(), line, what, why: WHY, remedy });
    };
    let tests = tests(tree);
    let mut seen = BTreeSet::new();
    for (at, line) in text.lines().enumerate() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, _, _, proof] = cells.as_slice() else { continue };
        let Ok(number) = number.parse::<u32>() else { continue };
        seen.insert(number);
        let named: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        let names: Vec<&str> = named.into_iter().filter(|name| name.contains("::")).collect();
        if names.is_empty() && !proof.contains("not yet") {
            problem(at + 1, format!("row {number} names no test"), "name one, or say `not yet`");
        }
        for name in names.iter().filter(|name| !is_there(&tests, name)) {
            let what = format!("there is no test `{name}`");
            problem(at + 1, what, "name it `crate::module::test` as it is in the tree");
        }
    }
    for number in ROWS.filter(|number| !seen.contains(number)) {
        problem(1, format!("row {number} is missing"), "add it, with its tests or `not yet`");
    }
    problems
}

/// Tables of what standards ask.
const STANDARDS: [&str; 2] = ["docs/asvs.md", "docs/standards.md"];

/// Their rows are `| ID | ... | how | TESTS |`, where an id has a digit; tests stand in backticks by their
/// names alone, or the cell says `none` and the one before why.
pub(crate) fn standards(tree: &Tree) -> Vec<Problem> {
    let tests: BTreeSet<String> =
        tests(tree).into_iter().map(|(_, _, function)| function).collect();
    STANDARDS.iter().flat_map(|file| standard(tree, file, &tests)).collect()
}

fn standard(tree: &Tree, file: &str, tests: &BTreeSet<String>) -> Vec<Problem> {
    let text = tree.files.get(file).map_or("", String::as_str);
    let mut problems = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, .., how, proof] = cells.as_slice() else { continue };
        if cells.len() < 4 || !id.contains(|letter: char| letter.is_ascii_digit()) {
            continue;
        }
        let mut problem = |what: String, remedy: &str| {
            let (file, remedy) = (file.to_owned(), remedy.to_owned());
            let why = "the table is the evidence that a requirement holds";
            problems.push(Problem { file, line: at + 1, what, why, remedy });
        };
        let is_excused = ["not yet", "does not apply"].iter().any(|word| how.contains(word));
        if *proof == "none" && !is_excused {
            problem(format!("{id} names no test"), "name one, or say why there is none");
        }
        for name in proof.split('`').skip(1).step_by(2).filter(|name| !tests.contains(*name)) {
            problem(format!("there is no test `{name}`"), "name it as it is in the tree");
        }
    }
    problems
}

/// A test: its crate, the file it stands in, its function.
type Test<'a> = (&'a str, &'a str, String);

fn tests(tree: &Tree) -> Vec<Test<'_>> {
    let mut found = Vec::new();
    for (file, source) in tree.ending(".rs") {
        let Some(name) = crate::tree::crate_of(file) else { continue };
        let code = views(source).code;
        for (at, _) in code.match_indices("fn ") {
            let before = code.get(..at).unwrap_or_default();
            let attributes = before.rsplit(['}', ';', '{']).next().unwrap_or_default();
            let rest = code.get(at + 3..).unwrap_or_default();
            let function = rest.split(['(', '<']).next().unwrap_or_default();
            if attributes.contains("test]") || attributes.contains("tokio::test") {
                found.push((name, file, function.trim().to_owned()));
            }
        }
    }
    found
}

/// The module, where one is named, is the file's name, or a folder or module on the way to it.
fn is_there(tests: &[Test<'_>], name: &str) -> bool {
    let parts: Vec<&str> = name.split("::").collect();
    let ([first, .., last], modules) = (parts.as_slice(), parts.get(1..parts.len() - 1)) else {
        return false;
    };
    let is_on_the_way =
        |file: &str, module: &&str| file.split(['/', '.']).any(|part| part == *module);
    let modules = modules.unwrap_or_default();
    tests.iter().any(|(name, file, function)| {
        name == first && function == last && modules.iter().all(|one| is_on_the_way(file, one))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "#[test]\nfn first() {}\n#[tokio::test]\nasync fn second() {}\n\
                          // #[test]\nfn helper() {}\n";

    fn whats(row: &str) -> Vec<String> {
        let others: String =
            ROWS.skip(1).map(|number| format!("| {number} | f | m | not yet |\n")).collect();
        let table = format!("# Faults\n\n| # | fault | must | tests |\n| --- |\n{row}\n{others}");
        let tree = Tree::of(&[
            ("docs/faults.md", &table),
            ("crates/outbound/tests/it/reuse.rs", SOURCE),
            ("crates/audit/src/log.rs", "#[test] fn third() {}"),
        ]);
        matrix(&tree)
            .into_iter()
            .map(|problem| format!("{} {}", problem.line, problem.what))
            .collect()
    }

    #[test]
    fn each_requirement_names_tests_that_exist() {
        let whats = |row: &str| -> Vec<String> {
            let source = ("crates/api/tests/it/x.rs", SOURCE);
            let tree = Tree::of(&[("docs/asvs.md", row), source]);
            standards(&tree).into_iter().map(|problem| problem.what).collect()
        };
        for good in [
            "| V1.1.1 | 1 | a | h | `first`, `second` |",
            "| V1.1.1 | 1 | a | not yet: x | none |",
            "| V1.1.1 | 1 | a | does not apply | none |",
            "| id | level | asks | how | proof |",
        ] {
            assert_eq!(whats(good), [""; 0], "{good}");
        }
        assert_eq!(whats("| V1.1.1 | 1 | a | h | none |"), ["V1.1.1 names no test"]);
        assert_eq!(whats("| V1.1.1 | 1 | a | h | `helper` |"), ["there is no test `helper`"]);
    }

    #[test]
    fn each_row_names_tests_that_exist() {
        for good in [
            "| 1 | f | m | `outbound::first` |",
            "| 1 | f | m | `outbound::reuse::second`, `audit::third` |",
            "| 1 | f | m | not yet: `something` is missing |",
        ] {
            assert_eq!(whats(good), [""; 0], "{good}");
        }
        for (bad, wanted) in [
            ("| 1 | f | m | |", "5 row 1 names no test"),
            ("| 1 | f | m | `first` |", "5 row 1 names no test"),
            ("| 1 | f | m | `outbound::third` |", "5 there is no test `outbound::third`"),
            ("| 1 | f | m | `outbound::helper` |", "5 there is no test `outbound::helper`"),
            (
                "| 1 | f | m | `outbound::pool::first` |",
                "5 there is no test `outbound::pool::first`",
            ),
            ("| 1 | f | m | `outbound::first`, `audit::no` |", "5 there is no test `audit::no`"),
            ("", "1 row 1 is missing"),
        ] {
            assert_eq!(whats(bad), [wanted], "{bad}");
        }
        assert_eq!(matrix(&Tree::of(&[])).len(), 42);
    }
}
