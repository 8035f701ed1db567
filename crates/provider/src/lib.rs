//! A provider as its description and overlay tell it: operations, objects, fields.
//!
//! Pure: nothing here does I/O.
#![forbid(unsafe_code)]

pub mod model;
pub mod path_template;
pub mod route;
