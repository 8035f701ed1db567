//! HTTP edge of the control plane: the console.
//!
//! It promises that nobody reaches more than sign-in and links without a session, that a session
//! reaches what [`access`] says and no more, and that every answer carries the same strict headers.
//! Every page is a plain URL and works without script. Scripts ask a device for a passkey, which nobody
//! needs who has an authenticator app; follow calls, which are there when the page is loaded again; and
//! draw what a table says.
#![forbid(unsafe_code)]

mod access;
mod account;
mod advice;
mod assets;
mod audit;
mod calls;
mod clients;
mod connect;
mod console;
mod cookies;
mod expiring;
mod grants;
mod guard;
mod home;
mod live;
mod pages;
mod passkeys;
mod people;
mod reports;
mod reviews;
mod router;
mod rules;
mod settings;
mod sso;
mod v1;
mod views;

pub use access::Access;
pub use axum::body::Body;
pub use console::{About, Certificate, Console, Listener, Reached, Setting, Vitals};
pub use router::{ROUTES, Site};
pub use v1::{API_ROUTES, DESCRIPTION, Need};
