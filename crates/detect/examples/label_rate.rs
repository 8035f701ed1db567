//! How long labels take: the fields that were drawn for the tests, over and over, 10,000 at a time.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a tool for looking")]

use detect::{FieldHint, label_field};
use std::time::Instant;

fn main() {
    let lines = include_str!("../tests/data/labelled_fields.tsv").lines();
    let fields: Vec<(&str, &str)> = lines
        .filter(|line| !line.starts_with('#'))
        .skip(1)
        .filter_map(|line| {
            let mut cells = line.split('\t').skip(1);
            let (object, path) = (cells.next()?, cells.next()?);
            Some((object, path.rsplit('.').next().unwrap_or(path)))
        })
        .collect();
    let hint = FieldHint {
        description: "What this is for: a sentence or two, as descriptions have them.",
        ..FieldHint::default()
    };
    for _ in 0..5 {
        let begun = Instant::now();
        let labelled = fields
            .iter()
            .cycle()
            .take(10_000)
            .filter(|(object, name)| label_field(name, &[object], &hint).is_some())
            .count();
        println!("10,000 fields, {labelled} with a label: {:?}", begun.elapsed());
    }
}
