//! The rules, as tables: which words in a name, around it, in its format or at the begin of its
//! description mean which category, and how much that is to be trusted in per cent.
//!
//! How patterns of words are written stands at [`super::words::Pattern`]. Within a table the first
//! rule that fits counts.

mod around;
mod names;
mod phrases;

pub(super) use around::{AROUND, Around, GENERIC, WITHIN};
pub(super) use names::{HARMLESS, SECTIONS};
pub(super) use phrases::{DESCRIPTIONS, FLAG_BEGINS, FLAGS, FOLLOWING, FORMATS, REFERRING};

/// Rules over the same part of life, and what the name of a field that only tells *about* it ends in.
#[derive(Debug)]
pub(super) struct Section {
    /// Which types of value can hold it.
    pub holds: Holds,
    /// `tokenType` and `passwordLength` hold no secret.
    pub unless: &'static [&'static str],
    pub rules: &'static [Rule],
}

/// A pattern of words, a category, a confidence in per cent.
pub(super) type Rule = (&'static str, &'static str, u8);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// A text or a number.
    Values,
    /// A text, never a number.
    Texts,
    /// A text or a number by itself, never an object: a reference to somebody.
    References,
    /// A text by itself.
    Words,
}
