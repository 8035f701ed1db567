//! How an operation may be asked, and what passes through it unseen: what a grant remembers of it, so
//! that a description that is imported anew never opens more.

use crate::{
    model::{Answer, Operation, Param, ParamPlace, RequestBody, StatusRange},
    operations::is_json,
    path_template::{TemplatePart, TemplateSegment},
};
use std::collections::BTreeSet;

/// What may stand in the parameters of an operation's path.
pub fn path_terms(operation: &Operation) -> BTreeSet<String> {
    let parts = operation.path.segments().iter().flat_map(TemplateSegment::parts);
    let choices = parts.filter_map(|part| match part {
        TemplatePart::Parameter { choices, .. } => Some(choices),
        TemplatePart::Literal(_) => None,
    });
    let mut terms = BTreeSet::new();
    // By place, because names of parameters mean nothing to callers.
    for (place, choices) in (1..).zip(choices) {
        if choices.is_empty() {
            terms.insert(format!("any text as parameter {place} of the path"));
        }
        terms.extend(
            choices.iter().map(|choice| format!("`{choice}` as parameter {place} of the path")),
        );
    }
    terms
}

/// A parameter of the query or a header.
pub fn param_term(param: &Param) -> String {
    match param.place {
        _ if param.is_paging => format!("pages by {}", param.name),
        ParamPlace::Query => query_term(&param.name),
        ParamPlace::Header => header_term(&param.name),
        ParamPlace::Cookie => format!("the cookie {}", param.name),
    }
}

/// A query parameter that a grant names.
pub fn query_term(name: &str) -> String {
    format!("the query parameter {name}")
}

/// A header that a grant names.
pub fn header_term(name: &str) -> String {
    format!("the header {}", name.to_ascii_lowercase())
}

/// Whether an answer passes as it is where it may be downloaded: JSON with a shape is projected,
/// whatever else is granted, unless the caller says what it holds.
pub fn is_whole_answer(operation: &Operation, answer: &Answer) -> bool {
    let is_described = operation.opaque.is_none()
        && answer.shape.is_some()
        && answer.media.iter().any(|kind| is_json(kind));
    !answer.media.is_empty() && !is_described
}

/// Whether a request's body passes as it is where it may be uploaded.
pub fn is_whole_request(operation: &Operation, request: &RequestBody) -> bool {
    operation.opaque.is_some() || !request.media.iter().any(|kind| is_json(kind) || kind == FORM)
}

pub const FORM: &str = "application/x-www-form-urlencoded";

/// Content of an answer that passes as it is.
pub fn whole_answer_term(status: StatusRange, media: &str) -> String {
    format!("{media} as it is in {status}")
}

/// Content of a request that passes as it is.
pub fn whole_request_term(media: &str) -> String {
    format!("{media} as it is in requests")
}

/// All content of an operation's answers that passes as it is where it may be downloaded.
pub fn whole_answers(operation: &Operation) -> BTreeSet<String> {
    let whole = operation.answers.iter().filter(|answer| is_whole_answer(operation, answer));
    whole
        .flat_map(|answer| answer.media.iter().map(|media| whole_answer_term(answer.status, media)))
        .collect()
}

/// All content of an operation's request that passes as it is where it may be uploaded.
pub fn whole_requests(operation: &Operation) -> BTreeSet<String> {
    let request = operation.request.iter().filter(|request| is_whole_request(operation, request));
    request
        .flat_map(|request| request.media.iter().map(|media| whole_request_term(media)))
        .collect()
}
