//! Labels by names alone, against fields of real vendors that were labelled by hand.
//!
//! The descriptions themselves are not part of this repository, so this sees less than an import
//! does: no descriptions, and only the names that a field's path shows. The whole is measured in
//! `crates/provider/tests/it/labels.rs`.
#![forbid(unsafe_code)]
#![allow(clippy::panic, reason = "a test fails by panicking")]

use detect::{FieldClass, FieldHint, label_field};

const DRAWS: [&str; 2] =
    [include_str!("../data/labelled_fields.tsv"), include_str!("../data/fresh_fields.tsv")];

/// A field's names: its object, what it lies in, itself.
fn names(object: &str, path: &str) -> Vec<String> {
    let mut names = vec![object.to_owned(), String::new()];
    let mut is_escaped = false;
    for c in path.replace("[]", "").chars() {
        match c {
            '\\' if !is_escaped => is_escaped = true,
            '.' if !is_escaped => names.push(String::new()),
            _ => {
                is_escaped = false;
                if let Some(name) = names.last_mut() {
                    name.push(c);
                }
            }
        }
    }
    names
}

fn class(kind: &str) -> FieldClass {
    match kind {
        "string" | "mixed" => FieldClass::Text,
        "integer" | "number" => FieldClass::Number,
        "boolean" | "enum" => FieldClass::Choice,
        "date" => FieldClass::Date,
        _ => FieldClass::Container,
    }
}

#[test]
fn labels_by_names_agree_with_those_given_by_hand() {
    let (mut fields, mut wanted, mut found, mut agreed) = (0, 0, 0, 0);
    let lines =
        DRAWS.iter().flat_map(|draw| draw.lines().filter(|it| !it.starts_with('#')).skip(1));
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        let [_, object, path, _, kind, format, _, by_hand] = cells[..] else {
            panic!("eight cells, not {line:?}")
        };
        let names = names(object, path);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let Some((name, outer)) = names.split_last() else { panic!("no name in {line:?}") };
        let hint = FieldHint {
            format: Some(format).filter(|format| *format != "-"),
            class: class(kind),
            ..FieldHint::default()
        };
        let label = label_field(name, outer, &hint).map(|label| label.category);
        let label = label.filter(|category| *category != "unclassified");
        fields += 1;
        wanted += u32::from(by_hand != "none");
        found += u32::from(label.is_some());
        agreed += u32::from(label == Some(by_hand));
    }
    let precision = f64::from(agreed) / f64::from(found);
    let recall = f64::from(agreed) / f64::from(wanted);
    let figures = format!("{fields} fields: precision {precision:.3}, recall {recall:.3}");
    assert!(fields >= 1_200, "{figures}");
    assert!(precision >= 0.90 && recall >= 0.88, "{figures}");
}
