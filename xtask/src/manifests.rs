//! Rules over the manifests: which crate may see which, and the shared lints.

use crate::tree::{Problem, Tree, crate_of};
use toml::Table;

/// A crate sees those of the rows above its own; crates in one row do not see each other.
pub(crate) const LAYERS: &[&[&str]] = &[
    &["types"],
    &["detect", "projection", "audit", "identity", "policy"],
    &["provider"],
    &["outbound", "store", "verifier"],
    &["vault"],
    &["gateway", "sandbox"],
    &["app"],
    &["api"],
    &["weirgate"],
];

/// Edges that the layers would allow.
const FORBIDDEN: &[(&str, &str)] = &[("gateway", "store"), ("gateway", "app")];

/// For tests only: they may see all, and are seen by dev-dependencies.
const TEST_ONLY: &[&str] = &["testkit", "properties"];

const WHY: &str = "dependencies between crates point one way (docs/ARCHITECTURE.md)";

pub(crate) fn direction(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, text, name, manifest) in members(tree) {
        let is_ours = name == "xtask" || TEST_ONLY.contains(&name);
        if !is_ours && layer(name).is_none() {
            problems.push(Problem {
                file: file.to_owned(),
                line: 1,
                what: format!("crate `{name}` has no place in the layers"),
                why: WHY,
                remedy: "add it to LAYERS in xtask and to docs/ARCHITECTURE.md".into(),
            });
            continue;
        }
        for (table, key, package) in dependencies(&manifest) {
            let Some(seen) = workspace_crate(&package) else { continue };
            let is_dev = table == "dev-dependencies";
            let is_allowed = match (name, seen) {
                (name, _) if TEST_ONLY.contains(&name) => true,
                ("xtask", _) => false,
                (_, seen) if TEST_ONLY.contains(&seen) => is_dev,
                (name, seen) if FORBIDDEN.contains(&(name, seen)) => false,
                (name, seen) => layer(seen) < layer(name) && layer(seen).is_some(),
            };
            if !is_allowed {
                problems.push(Problem {
                    file: file.to_owned(),
                    line: line_of(text, &table, &key),
                    what: format!("`{name}` must not see `{seen}` ({table})"),
                    why: WHY,
                    remedy: "remove the dependency, or move the code to a crate that may".into(),
                });
            }
        }
    }
    problems
}

pub(crate) fn lints(tree: &Tree) -> Vec<Problem> {
    let lacks = members(tree).filter(|(_, _, _, manifest)| {
        let inherited = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        inherited.and_then(toml::Value::as_bool) != Some(true)
    });
    lacks
        .map(|(file, _, name, _)| Problem {
            file: file.to_owned(),
            line: 1,
            what: format!("crate `{name}` does not inherit the workspace's lints"),
            why: "every crate is held to the same lints",
            remedy: "add `[lints]` with `workspace = true`".into(),
        })
        .collect()
}

/// Path, text, name and content of each member's manifest. One that is malformed counts as empty:
/// cargo itself reports it.
pub(crate) fn members(tree: &Tree) -> impl Iterator<Item = (&str, &str, &str, Table)> {
    let manifests = tree.ending("/Cargo.toml").filter(|(path, _)| {
        path.split('/').count() == if path.starts_with("crates/") { 3 } else { 2 }
    });
    manifests.filter_map(|(path, text)| {
        let manifest = toml::from_str(text).unwrap_or_default();
        Some((path, text, crate_of(path)?, manifest))
    })
}

/// Kind of table, key, and package of each dependency, those of a single target included.
pub(crate) fn dependencies(manifest: &Table) -> Vec<(String, String, String)> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values).filter_map(toml::Value::as_table);
    let mut found = Vec::new();
    for section in std::iter::once(manifest).chain(targets) {
        for kind in KINDS {
            let table = section.get(kind).and_then(toml::Value::as_table);
            for (key, value) in table.into_iter().flatten() {
                let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(key);
                found.push((kind.to_owned(), key.clone(), package.to_owned()));
            }
        }
    }
    found
}

/// The folder's name of a crate of ours, from its package or the key that the workspace gives it.
fn workspace_crate(package: &str) -> Option<&'static str> {
    let name = package.strip_prefix("weirgate-").unwrap_or(package);
    let known = LAYERS.iter().copied().flatten().copied();
    known.chain(TEST_ONLY.iter().copied()).find(|known| *known == name)
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&name))
}

/// The line of a key in a table, or the first line.
pub(crate) fn line_of(text: &str, table: &str, key: &str) -> usize {
    let mut section = "";
    for (number, line) in text.lines().enumerate() {
        if let Some(header) = line.trim().strip_prefix('[') {
            section = header;
            // A dependency with a table of its own.
            if section.ends_with(&format!("{table}.{key}]")) {
                return number + 1;
            }
        }
        let begins = line.trim_start().strip_prefix(key);
        let is_key = begins.is_some_and(|rest| rest.starts_with([' ', '=', '.']));
        if is_key && section.ends_with(&format!("{table}]")) {
            return number + 1;
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, manifest: &str) -> Vec<(usize, String)> {
        let problems = direction(&Tree::of(&[(path, manifest)]));
        problems.into_iter().map(|problem| (problem.line, problem.what)).collect()
    }

    #[test]
    fn arrows_point_one_way() {
        let manifest = "[dependencies]\ntypes.workspace = true\nstore = { workspace = true }\n\
                        serde = \"1\"\n[dev-dependencies]\ntestkit.workspace = true\n";
        assert_eq!(
            found("crates/gateway/Cargo.toml", manifest),
            [(3, "`gateway` must not see `store` (dependencies)".to_owned())]
        );
        assert!(found("crates/app/Cargo.toml", manifest).is_empty());
        for (name, dependencies) in [
            ("types", "detect.workspace = true"),
            ("projection", "audit.workspace = true"),
            ("store", "outbound = { path = \"../outbound\" }"),
            ("sandbox", "gateway.workspace = true"),
            ("store", "store2 = { package = \"weirgate-vault\", path = \"../vault\" }"),
            ("app", "testkit.workspace = true"),
            ("app", "properties.workspace = true"),
            ("app", "app.workspace = true"),
        ] {
            let path = format!("crates/{name}/Cargo.toml");
            assert_eq!(found(&path, &format!("[dependencies]\n{dependencies}")).len(), 1, "{name}");
            let target = format!("[target.'cfg(unix)'.dependencies]\n{dependencies}");
            assert_eq!(found(&path, &target).len(), 1, "{name}");
        }
        let upward = "[dev-dependencies]\napp.workspace = true";
        assert_eq!(found("crates/types/Cargo.toml", upward).len(), 1);
        assert_eq!(found("xtask/Cargo.toml", "[dependencies]\ntypes.workspace = true").len(), 1);
        assert!(found("crates/testkit/Cargo.toml", upward).is_empty());
    }

    #[test]
    fn a_crate_without_a_layer_is_reported() {
        assert_eq!(found("crates/newcomer/Cargo.toml", "").len(), 1);
    }

    #[test]
    fn lints_are_inherited() {
        let check = |manifest| lints(&Tree::of(&[("crates/types/Cargo.toml", manifest)])).len();
        assert_eq!(check("[lints]\nworkspace = true"), 0);
        assert_eq!(check("[lints]\nworkspace = false"), 1);
        assert_eq!(check("[lints.rust]\nunused = \"allow\""), 1);
        assert_eq!(check(""), 1);
    }

    #[test]
    fn the_line_of_a_dependency_is_told() {
        let text = "[dependencies]\na = 1\nab = 1\n[dev-dependencies]\na = 2\n[dependencies.c]\n";
        assert_eq!(line_of(text, "dependencies", "ab"), 3);
        assert_eq!(line_of(text, "dev-dependencies", "a"), 5);
        assert_eq!(line_of(text, "dependencies", "c"), 6);
        assert_eq!(line_of(text, "dependencies", "zz"), 1);
    }
}
