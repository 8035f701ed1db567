//! Calls, as this node's log tells of them: a summary of all, and each by its entries.
//!
//! A process reads the log once, and then only what is new. It keeps counts by the hour and when
//! something was used last, so that its memory does not grow with the number of calls.

mod call;
mod figures;
mod find;
mod ledger;
mod list;
mod usage;

pub use call::{Answered, Call, End};
pub use figures::{Day, Hour};
pub use find::{Name, Told, allows, find};
pub(crate) use ledger::Ledger;
pub use ledger::{Newer, day, keep_up, newer, newest};
pub use list::{Kind, Listed, Wanted, list};
pub(crate) use usage::{Counted, Usage, Used};

/// What an error's code means and what to do about it, as Markdown.
pub use gateway::error_page as meaning;

#[cfg(test)]
mod tests;
