//! The page of each error code, served where a problem document's `type` points.

/// `type` of a problem document: a reference that resolves against the gateway's own address.
pub(crate) const PREFIX: &str = "/errors/";

macro_rules! pages {
    ($($code:literal),+ $(,)?) => {
        &[$(($code, include_str!(concat!("../../../docs/reference/errors/", $code, ".md")))),+]
    };
}

/// Every code that can stand in a problem document, in alphabetical order.
const PAGES: &[(&str, &str)] = pages![
    "access_withdrawn",
    "answer_media",
    "answer_refused",
    "answer_undescribed",
    "audit_unavailable",
    "body_malformed",
    "body_media_unsupported",
    "body_missing",
    "body_not_declared",
    "body_timeout",
    "body_too_large",
    "both_key_headers",
    "caller_gone",
    "connection_unknown",
    "consent_ended",
    "credential_echoed",
    "credential_renewal_failed",
    "credential_renewing",
    "credential_stale",
    "credential_suspended",
    "credential_unavailable",
    "field_not_granted",
    "grant_expired",
    "internal",
    "key_expired",
    "key_malformed",
    "key_missing",
    "key_revoked",
    "key_suspended",
    "key_unknown",
    "list_granted_in_part",
    "method_unknown",
    "method_unsupported",
    "not_granted",
    "overloaded",
    "parameter_not_granted",
    "parameter_undeclared",
    "path_not_served",
    "path_refused",
    "path_unknown",
    "policy_forbids",
    "precondition_failed",
    "provider_address_refused",
    "provider_answer_too_large",
    "provider_body_timeout",
    "provider_bomb",
    "provider_connect_timeout",
    "provider_credential_refused",
    "provider_encoding",
    "provider_error",
    "provider_error_inside",
    "provider_malformed",
    "provider_request_unsendable",
    "provider_reset",
    "provider_timeout",
    "provider_tls_failed",
    "provider_total_timeout",
    "provider_unreachable",
    "provider_unresolvable",
    "provider_updating",
    "provider_window",
    "rate_limited",
    "request_malformed",
    "snapshot_stale",
    "too_many_bodies",
    "too_many_calls",
];

/// The page that a path names.
pub(crate) fn page(path: &str) -> Option<&'static str> {
    error_page(path.strip_prefix(PREFIX)?)
}

/// What a code means and what to do about it, as Markdown.
pub fn error_page(code: &str) -> Option<&'static str> {
    let index = PAGES.binary_search_by(|(known, _)| (*known).cmp(code)).ok()?;
    PAGES.get(index).map(|(_, page)| *page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_found_under_its_code() {
        for (code, text) in PAGES {
            assert_eq!(page(&format!("/errors/{code}")), Some(*text), "{code}");
            assert!(text.starts_with(&format!("# {code}\n")), "{code}");
        }
        assert_eq!(page("/errors/none"), None);
    }
}
