//! URLs of the provider become URLs of the gateway, or are dropped: a caller never learns to go
//! round the gate, and a URL never carries a credential out.

use crate::{
    headers::is_same_name,
    query,
    snapshot::{ConnectionEntry, Rights},
};
use provider::{Method, Operation, RouteOutcome, decode_path};
use std::{borrow::Cow, collections::BTreeSet, sync::Arc};
use types::Timestamp;
use url::Url;
use vault::Echoes;

/// How often a text that leaves may be percent-encoded.
const MAX_ENCODINGS: usize = 4;
/// The most bytes of a URL that leaves, and of all links in one answer's head.
const MAX_URL_BYTES: usize = 8 << 10;

/// The call whose answer refers to something.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The index of the operation that decided.
    pub(crate) operation: usize,
    /// Path and query as they were sent, without the credential.
    pub(crate) place: String,
}

/// What a URL is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Location,
    Page,
}

/// Rewrites what one answer refers to.
#[derive(Clone, Debug)]
pub(crate) struct UrlRewriter {
    connection: Arc<ConnectionEntry>,
    /// What the caller may call there, and when that was so.
    rights: Arc<Rights>,
    now: Timestamp,
    asked: Asked,
    /// The URL that was asked for, which relative references stand against.
    asked_url: Url,
    /// The server's base, ending in a slash.
    base: Url,
    /// Where callers reach the gateway: scheme and authority.
    public: Arc<str>,
    /// What no reference may repeat.
    echoes: Arc<Echoes>,
}

impl UrlRewriter {
    pub(crate) fn new(
        connection: Arc<ConnectionEntry>,
        (rights, now): (Arc<Rights>, Timestamp),
        base: &str,
        asked: Asked,
        public: Arc<str>,
        echoes: Arc<Echoes>,
    ) -> Option<Self> {
        let asked_url =
            Url::parse(&format!("{}{}", base.trim_end_matches('/'), asked.place)).ok()?;
        let mut base = Url::parse(base).ok()?;
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        Some(Self { connection, rights, now, asked, asked_url, base, public, echoes })
    }

    /// Where something is, for a caller that may do anything with it.
    pub(crate) fn location(&self, reference: &str) -> Option<String> {
        self.rewrite_url(reference, Purpose::Location)
    }

    /// Where another page of what was asked for is: the path is what the caller chose.
    pub(crate) fn page(&self, reference: &str) -> Option<String> {
        self.rewrite_url(reference, Purpose::Page)
    }

    /// The gateway's URL for one under the connection's base that this caller may ask for; `None` for
    /// any other. A provider could tell anything by a path or parameter that nobody declared.
    fn rewrite_url(&self, reference: &str, purpose: Purpose) -> Option<String> {
        let url = self.asked_url.join(reference).ok()?;
        let is_same_server = url.scheme() == self.base.scheme()
            && url.host_str() == self.base.host_str()
            && url.port_or_known_default() == self.base.port_or_known_default()
            && url.username().is_empty()
            && url.password().is_none();
        if !is_same_server {
            return None;
        }
        let path = format!("/{}", url.path().strip_prefix(self.base.path())?);
        // Some servers split at semicolons too, and take names in any case.
        let query = url.query().unwrap_or("");
        let pairs = query.split(['&', ';']);
        let pairs: Vec<&str> =
            pairs.filter(|pair| !pair.is_empty() && !self.carries_credential(pair)).collect();
        let (place, is_narrower) = self.callable(&path, &pairs.join("&"), purpose)?;
        // What is missing could be a part of another value, or what told this page from the next.
        if is_narrower && (query.contains(';') || place == self.asked.place) {
            return None;
        }
        let rewritten = format!("{}/proxy/{}{place}", self.public, self.connection.id);
        let may_leave =
            rewritten.len() <= MAX_URL_BYTES && !self.repeats_credential(rewritten.as_bytes());
        may_leave.then_some(rewritten)
    }

    /// A path and query as the gateway would send them, if it would send them for this caller to the
    /// same server; and whether the query had more.
    fn callable(&self, path: &str, query: &str, purpose: Purpose) -> Option<(String, bool)> {
        let ConnectionEntry { provider, server_of, .. } = &*self.connection;
        let server = |operation: usize| server_of.get(&operation).copied().unwrap_or(0);
        let asked = self.asked.operation;
        let segments = decode_path(path).ok()?;
        let asked_path = self.asked.place.split('?').next();
        Method::ALL.into_iter().filter(|method| method.is_served()).find_map(|method| {
            let RouteOutcome::Found { operations, path } = provider.router.route(method, &segments)
            else {
                return None;
            };
            let (decision, valid_until) = self.rights.decision(&operations)?;
            let first = *operations.first()?;
            let fits = match purpose {
                Purpose::Location => true,
                Purpose::Page => {
                    asked_path == Some(&path) && (method == Method::Get || first == asked)
                }
            };
            if self.rights.are_closed(&operations) {
                return None;
            }
            if !fits || self.now >= valid_until || server(first) != server(asked) {
                return None;
            }
            let operations: Vec<&Operation> = operations
                .iter()
                .filter_map(|index| provider.model.operations.get(*index))
                .collect();
            let (query, is_narrower) =
                query::narrow(query, &operations, decision, &self.connection).ok()?;
            Some((format!("{path}{query}"), is_narrower))
        })
    }

    /// Whether what would leave repeats the credential, percent-encoded as often as it may be. What
    /// is encoded more often than anybody means it to be counts as an echo.
    pub(crate) fn repeats_credential(&self, text: &[u8]) -> bool {
        let mut text = Cow::Borrowed(text);
        for _ in 0..MAX_ENCODINGS {
            if self.echoes.are_in(&text) {
                return true;
            }
            let decoded: Vec<u8> = percent_encoding::percent_decode(&text).collect();
            if decoded == *text {
                return false;
            }
            text = Cow::Owned(decoded);
        }
        true
    }

    /// Whether a pair of a query is, or hides in its value, a parameter that carries a credential of
    /// this provider's.
    fn carries_credential(&self, pair: &str) -> bool {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(text).decode_utf8_lossy().to_lowercase()
        };
        let (name, value) = (decoded(name), decoded(&decoded(value)));
        self.connection.credential_params.iter().any(|param| {
            is_same_name(param, &name) || value.contains(&format!("{}=", param.to_lowercase()))
        })
    }

    /// The links of Link headers (RFC 8288) that stay, with only their `rel`, and of that what pages;
    /// each relation once, as long as they are short.
    pub(crate) fn rewrite_links<'v>(&self, values: impl IntoIterator<Item = &'v str>) -> String {
        let mut links = String::new();
        let mut told = BTreeSet::new();
        for value in values {
            let mut rest = value;
            while let Some((_, after)) = rest.split_once('<') {
                let Some((target, params)) = after.split_once('>') else { break };
                let end = params.find('<').unwrap_or(params.len());
                let own = params.get(..end).unwrap_or("");
                rest = params.get(end..).unwrap_or("");
                let rel = own.split(';').find_map(|param| {
                    let (name, value) = param.split_once('=')?;
                    let value = value.trim().trim_end_matches(',').trim().trim_matches('"');
                    name.trim().eq_ignore_ascii_case("rel").then(|| paging_relations(value))
                });
                let Some(mut rel) = rel else { continue };
                rel.retain(|one| !told.contains(one));
                if rel.is_empty() {
                    continue;
                }
                let Some(url) = self.page(target) else { continue };
                let comma = if links.is_empty() { "" } else { ", " };
                let link = format!("{comma}<{url}>; rel=\"{}\"", rel.join(" "));
                if links.len() + link.len() <= MAX_URL_BYTES {
                    links.push_str(&link);
                    told.extend(rel);
                }
            }
        }
        links
    }
}

impl projection::Rewriter for UrlRewriter {
    /// Paging members hold URLs with some providers and cursors with others. What is neither is
    /// dropped.
    fn rewrite(&mut self, value: &str) -> Option<String> {
        match () {
            () if self.echoes.are_in(value.as_bytes()) => None,
            () if is_cursor(value) => Some(value.to_owned()),
            () => self.link(value),
        }
    }

    fn link(&mut self, value: &str) -> Option<String> {
        if is_url(value) { self.page(value) } else { None }
    }
}

/// Of relation types (IANA's registry) those that lead through pages.
fn paging_relations(rel: &str) -> Vec<&'static str> {
    const KNOWN: [&str; 6] = ["first", "prev", "previous", "self", "next", "last"];
    let named = |word: &str| KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(word));
    rel.split_ascii_whitespace().filter_map(named).collect()
}

/// Whether a client would follow it: absolute, or relative to the server or the query. Clients read
/// `https:host` as `https://host` (WHATWG URL §4.4), and pass over control characters.
fn is_url(value: &str) -> bool {
    let value = value.trim_start();
    !value.chars().any(char::is_control)
        && (has_web_scheme(value) || value.starts_with(['/', '?', '\\']) || value.contains('?'))
}

fn has_web_scheme(value: &str) -> bool {
    // Those after which a host may stand without slashes (WHATWG URL §4.2, special schemes).
    const SPECIAL: [&str; 5] = ["http", "https", "ws", "wss", "ftp"];
    value.split_once(':').is_some_and(|(scheme, rest)| {
        rest.starts_with("//") || SPECIAL.iter().any(|known| scheme.eq_ignore_ascii_case(known))
    })
}

/// Whether it is an opaque cursor or a status: one word that leads nowhere and names no parameter.
fn is_cursor(value: &str) -> bool {
    // Followed as a link, these run or show what follows them.
    const SCHEMES: [&str; 6] = ["javascript", "vbscript", "data", "file", "blob", "mailto"];
    let word = value.trim_end_matches('=');
    let is_link = value.split_once(':').is_some_and(|(scheme, _)| {
        SCHEMES.iter().any(|known| scheme.trim().eq_ignore_ascii_case(known))
    });
    !is_link
        && !value.starts_with('/')
        && !value.contains("//")
        && !has_web_scheme(value)
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~+/:|".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_those_of_pages() {
        assert_eq!(paging_relations("Next last"), ["next", "last"]);
        assert_eq!(paging_relations("next jane-doe"), ["next"]);
        assert!(paging_relations("stylesheet").is_empty());
    }

    #[test]
    fn cursors_are_told_from_urls() {
        for url in [
            "https://a/b",
            "HTTP://a",
            "//a/b",
            "/v1/x?page=2",
            "?page=2",
            " /x",
            "\\\\a\\b",
            "https:a/b",
            "wss:evil.example",
            "FTP:evil.example/a",
            "employees?page=2&key=k",
            "ftp://a",
        ] {
            assert!(is_url(url) && !is_cursor(url), "{url}");
        }
        for cursor in ["", "YWZ0ZXI6MA==", "eyJhIjoxfQ", "2", "cursor:12", "a.b.c", "ok"] {
            assert!(is_cursor(cursor), "{cursor}");
        }
        for neither in [
            "\u{1}//evil.com",
            "ht\ntps:evil.com",
            "page=2&key=k",
            "key=k",
            "a b",
            "javascript:alert",
            "DATA:a",
        ] {
            assert!(!is_url(neither) && !is_cursor(neither), "{neither:?}");
        }
    }
}
