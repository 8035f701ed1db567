//! Any description, served as a stateful mock.

mod auth;
mod cache;
mod check;
mod compile;
mod control;
mod draw;
mod fault;
mod flavor;
mod format;
mod invent;
mod listen;
mod mock;
mod oauth;
mod paging;
mod pattern;
mod problem;
mod records;
mod render;
mod request;
mod roles;
mod sample;
mod schema;
mod store;
mod table;

pub use fault::FaultError;
pub use listen::{
    DescribedError, DescribedOptions, MAX_SEEDED_RECORDS, RunningDescribed, serve_description,
};

#[cfg(test)]
mod tests;
