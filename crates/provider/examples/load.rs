//! What descriptions are read as: `load FILE...` prints a line for each, `load -v FILE` all of it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for looking")]

use provider::{LoadLimits, load};
use std::time::Instant;

fn main() {
    let mut is_verbose = false;
    for name in std::env::args().skip(1) {
        if name == "-v" {
            is_verbose = true;
            continue;
        }
        let source = std::fs::read(&name).unwrap();
        let begun = Instant::now();
        let provider = match load(&source, None, &LoadLimits::default()) {
            Ok(provider) => provider,
            Err(error) => {
                println!("{name}: {error}");
                continue;
            }
        };
        println!(
            "{name}: {} operations, {} objects, {} diagnostics, {} ms",
            provider.operations.len(),
            provider.objects.len(),
            provider.diagnostics.len(),
            begun.elapsed().as_millis()
        );
        if is_verbose {
            for operation in &provider.operations {
                let object = operation.object.and_then(|id| provider.object(id));
                let answer = operation.answers.iter().find(|one| !one.envelope.steps.is_empty());
                println!(
                    "  {} {} -> {} {:?}",
                    operation.method.as_str(),
                    operation.path.text(),
                    object.map_or("-", |object| object.name.as_str()),
                    answer.map(|answer| &answer.envelope.steps)
                );
            }
            for object in &provider.objects {
                println!("  {}", object.name);
                for field in &object.fields {
                    println!("    {} {:?} {:?}", field.path, field.kind, field.label);
                }
            }
        }
    }
}
