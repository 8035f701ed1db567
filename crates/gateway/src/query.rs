//! The query: recognised paging passes; anything else must be declared and named in the grant,
//! because a filter or sort on a withheld field is an oracle.

use crate::{
    error::CallError,
    headers::{is_credential_name, is_same_name},
    snapshot::{ConnectionEntry, Decision},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use provider::{Operation, Param, ParamPlace, is_paging_param};

/// The longest query, in bytes.
const MAX_QUERY_BYTES: usize = 8_192;
/// The most pairs in a query.
const MAX_PAIRS: usize = 200;
/// Unreserved characters (RFC 3986 §2.3) stay as they are.
const KEEP: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The query to send, spelled canonically, with its `?`; empty if there is none.
pub(crate) fn minimise(
    raw: Option<&str>,
    operations: &[&Operation],
    decision: &Decision,
    connection: &ConnectionEntry,
) -> Result<String, CallError> {
    spell(raw.unwrap_or(""), |name| check(name, operations, decision, connection).map(|()| true))
}

/// What of a provider's query a caller may send, spelled the same way, and whether anything else was
/// in it.
///
/// # Errors
/// Where it is none, and where it would mean nothing without what is missing: a parameter that is
/// required, or one that is called like paging, without which a next page may be the first again.
pub(crate) fn narrow(
    raw: &str,
    operations: &[&Operation],
    decision: &Decision,
    connection: &ConnectionEntry,
) -> Result<(String, bool), CallError> {
    let mut is_narrower = false;
    let query = spell(raw, |name| {
        let Err(refused) = check(name, operations, decision, connection) else { return Ok(true) };
        let is_required = declared(name, operations).is_some_and(|one| one.is_required);
        is_narrower = true;
        if is_required || is_paging_param(name) { Err(refused) } else { Ok(false) }
    })?;
    Ok((query, is_narrower))
}

/// Those parameters that are kept.
fn spell(
    raw: &str,
    mut is_kept: impl FnMut(&str) -> Result<bool, CallError>,
) -> Result<String, CallError> {
    if raw.len() > MAX_QUERY_BYTES {
        return Err(CallError::RequestMalformed { what: "the query is too long" });
    }
    let mut out = String::new();
    for (index, (name, value)) in url::form_urlencoded::parse(raw.as_bytes()).enumerate() {
        if index >= MAX_PAIRS {
            return Err(CallError::RequestMalformed { what: "the query has too many parameters" });
        }
        if name.contains('\u{FFFD}') || value.contains('\u{FFFD}') {
            return Err(CallError::RequestMalformed { what: "the query is not UTF-8" });
        }
        if !is_kept(&name)? {
            continue;
        }
        out.push(if out.is_empty() { '?' } else { '&' });
        out.extend(utf8_percent_encode(&name, KEEP));
        out.push('=');
        out.extend(utf8_percent_encode(&value, KEEP));
    }
    Ok(out)
}

fn declared<'o>(name: &str, operations: &[&'o Operation]) -> Option<&'o Param> {
    operations.iter().flat_map(|operation| &operation.params).find(|param| {
        param.place == ParamPlace::Query
            && (param.name == name || is_array_spelling(&param.name, name))
    })
}

fn check(
    name: &str,
    operations: &[&Operation],
    decision: &Decision,
    connection: &ConnectionEntry,
) -> Result<(), CallError> {
    let shown = || name.chars().take(100).collect::<String>();
    let Some(param) = declared(name, operations) else {
        return Err(CallError::ParameterUndeclared { name: shown() });
    };
    let is_own = |own: &String| is_same_name(own, name);
    if (is_credential_name(name) && !param.is_paging)
        || connection.credential_params.iter().any(is_own)
    {
        return Err(CallError::ParameterNotGranted { name: shown() });
    }
    if decision.params.contains(&param.name) {
        Ok(())
    } else {
        Err(CallError::ParameterNotGranted { name: shown() })
    }
}

/// `ids[]` and `ids` name the same declared parameter.
fn is_array_spelling(declared: &str, given: &str) -> bool {
    given.strip_suffix("[]").is_some_and(|base| base == declared)
        || declared.strip_suffix("[]").is_some_and(|base| base == given)
}
