//! The faults of providers, addresses and names (`docs/faults.md`), by the built binary and by the
//! parts that it connects with.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    dead_code,
    reason = "a test fails by panicking, its modules are seen by nobody else, and the world of the other tests has more than is used here"
)]

mod callers;
mod certificates;
mod clocks;
mod damaged;
mod database;
mod disk;
mod kills;
mod names;
mod providers;
mod ssrf;
#[path = "../it/world.rs"]
mod world;

/// Whether the test is in a network of its own, where it goes on; the name is its path here.
fn is_inside(test: &str) -> bool {
    match testkit::namespace::enter(test) {
        testkit::namespace::Place::Inside => true,
        testkit::namespace::Place::Outside { said } => {
            // At line starts, where what was skipped is looked for.
            eprint!("{said}");
            false
        }
    }
}
