//! Labels fields with data categories, and masks secrets and personal data in text.
//!
//! Pure and approximate: a label is a first judgement that an overlay corrects, and a mask prefers
//! to hide too much. Nothing that must not leave depends on this crate alone.
#![forbid(unsafe_code)]

mod category;
mod label;
mod mask;

pub use category::{categories, is_category};
pub use label::{FieldClass, FieldHint, FieldLabel, Reason, is_sensitive_category, label_field};
pub use mask::mask;
