//! A provider as its description and overlay tell it: operations, objects, fields.
//!
//! It promises: what real descriptions get wrong becomes a diagnostic with a place, not a refusal;
//! reading is bounded in bytes, depth and expansion; the same bytes give the same model. Pure:
//! nothing here does I/O.
#![forbid(unsafe_code)]

mod document;
mod envelope;
mod fields;
mod labels;
mod load;
mod naming;
mod objects;
mod opaque;
mod operations;
mod overlay;
mod parse;
mod schema;
mod security;

pub mod auth;
pub mod diff;
pub mod model;
pub mod observe;
pub mod path_template;
pub mod proposal;
pub mod route;
pub mod select;

pub use load::{Format, LoadError, LoadLimits, load, load_value, parse_document};
pub use model::{
    Additional, Answer, Diagnostic, Envelope, ErrorInside, Field, FieldKind, KeptMember, KeptRule,
    Label, Member, Method, Object, ObjectId, ObjectShape, Opaque, Operation, Param, ParamPlace,
    Provider, RequestBody, ScalarKind, SecurityRequirement, SecurityScheme, Server, ServerVariable,
    Shape, ShapeId, StatusRange, Step,
};
pub use operations::{is_json, is_paging_param};
pub use overlay::OverlayError;
pub use path_template::PathTemplate;
pub use route::{PathRefusal, PathRouter, RouteOutcome, decode_path, encode_path};
