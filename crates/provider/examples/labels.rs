//! How well labels agree with those given by hand: `labels FOLDER` prints the figures and where they
//! differ in the half that rules may be improved on; of the other half only figures.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    unreachable_pub,
    dead_code,
    reason = "a tool for looking, which shares its reading with the tests"
)]

#[path = "../tests/it/labelled.rs"]
mod labelled;

use labelled::{Figures, judge};
use std::path::Path;

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "../shared/openapi-corpus".into());
    let judged = judge(Path::new(&folder));
    for one in judged.iter().filter(|one| !matches!(one.field.half.as_str(), "held" | "last")) {
        if one.found != one.field.wanted {
            println!(
                "{} {} {}: by hand {}, judged {} ({} %, {})",
                one.field.file,
                one.field.object,
                one.field.path,
                one.field.wanted.as_deref().unwrap_or("none"),
                one.found.as_deref().unwrap_or("none"),
                one.confidence,
                one.reason
            );
        }
    }
    println!("all: {}", Figures::of(&judged));
    for half in ["tune", "held", "fresh", "more", "last"] {
        println!("{half}: {}", Figures::of(judged.iter().filter(|one| one.field.half == half)));
    }
    for drawn in ["any", "word"] {
        let part = judged.iter().filter(|one| one.field.drawn == drawn);
        println!("drawn by {drawn}: {}", Figures::of(part));
    }
}
