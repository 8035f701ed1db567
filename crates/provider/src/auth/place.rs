//! Where things are: URLs whose values cannot lead elsewhere, and places in answers.

use super::template::{Expr, Piece, Template, TemplateError};
use std::fmt;

/// A URL with values to be filled in, none of which can move it to another host: what stands behind
/// the last value of the host is literal and holds a registrable name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate {
    text: String,
    is_https: bool,
    host: Vec<HostPiece>,
    port: Option<u16>,
    /// From the first slash on; values in it are percent-encoded.
    path: Template,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPiece {
    Text(String),
    Name(String),
}

/// Why a text is no such URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlTemplateError {
    #[error("it does not begin with https:// or http://")]
    Scheme,
    #[error("its host is malformed")]
    Host,
    #[error(
        "a value in its host could lead elsewhere: behind the last one must stand a literal name such as `.example.com`"
    )]
    Unanchored,
    #[error("only names may stand in its host")]
    HostFunction,
    #[error("its port is malformed")]
    Port,
    #[error("it has a fragment")]
    Fragment,
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl UrlTemplate {
    /// # Errors
    /// Anything that is not `http(s)://HOST[:PORT][/PATH][?QUERY]`, and hosts that values could move.
    pub fn parse(text: &str) -> Result<Self, UrlTemplateError> {
        let (is_https, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err(UrlTemplateError::Scheme);
        };
        if text.contains('#') {
            return Err(UrlTemplateError::Fragment);
        }
        let end = authority_end(rest);
        let (authority, path) = rest.split_at_checked(end).ok_or(UrlTemplateError::Host)?;
        let (host, port) = split_port(authority)?;
        let host = read_host(host)?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        let path = Template::parse(&format!("{slash}{path}"))?;
        Ok(Self { text: text.to_owned(), is_https, host, port, path })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Scheme, host as it is written, and port.
    pub fn origin(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        let host: String = self
            .host
            .iter()
            .map(|piece| match piece {
                HostPiece::Text(text) => text.clone(),
                HostPiece::Name(name) => format!("${{{name}}}"),
            })
            .collect();
        let port = self.port.map_or_else(String::new, |port| format!(":{port}"));
        format!("{scheme}://{host}{port}")
    }

    pub const fn is_https(&self) -> bool {
        self.is_https
    }

    pub fn host(&self) -> &[HostPiece] {
        &self.host
    }

    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    pub const fn path(&self) -> &Template {
        &self.path
    }

    /// Every name that it uses.
    pub fn names(&self) -> Vec<&str> {
        let host = self.host.iter().filter_map(|piece| match piece {
            HostPiece::Name(name) => Some(name.as_str()),
            HostPiece::Text(_) => None,
        });
        host.chain(self.path.names()).collect()
    }
}

impl fmt::Display for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where path or query begin, outside of `${...}`.
fn authority_end(rest: &str) -> usize {
    let mut is_in_value = false;
    for (at, letter) in rest.char_indices() {
        match letter {
            '{' => is_in_value = true,
            '}' => is_in_value = false,
            '/' | '?' if !is_in_value => return at,
            _ => {}
        }
    }
    rest.len()
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), UrlTemplateError> {
    let behind_values = authority.rfind('}').map_or(0, |at| at + 1);
    let tail = authority.get(behind_values..).unwrap_or_default();
    // A literal address of IPv6 stands in brackets.
    let colon = match tail.rfind(']') {
        Some(bracket) => tail.get(bracket..).and_then(|rest| rest.find(':')).map(|at| at + bracket),
        None => tail.find(':'),
    };
    let Some(colon) = colon else { return Ok((authority, None)) };
    let host = authority.get(..behind_values + colon).unwrap_or_default();
    let port = tail.get(colon + 1..).unwrap_or_default();
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok((host, Some(port))),
        _ => Err(UrlTemplateError::Port),
    }
}

fn read_host(host: &str) -> Result<Vec<HostPiece>, UrlTemplateError> {
    let is_host = |text: &str| {
        text.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'[' | b']' | b':')
        })
    };
    let mut pieces = Vec::new();
    for piece in Template::parse(host)?.pieces() {
        pieces.push(match piece {
            Piece::Text(text) if is_host(text) => HostPiece::Text(text.to_ascii_lowercase()),
            Piece::Text(_) => return Err(UrlTemplateError::Host),
            Piece::Value(Expr::Name(name)) => HostPiece::Name(name.clone()),
            Piece::Value(_) => return Err(UrlTemplateError::HostFunction),
        });
    }
    match pieces.as_slice() {
        [] => Err(UrlTemplateError::Host),
        [HostPiece::Text(_)] => Ok(pieces),
        [.., HostPiece::Text(suffix)] if is_anchor(suffix) => Ok(pieces),
        _ => Err(UrlTemplateError::Unanchored),
    }
}

/// Second levels below which countries let everybody register.
const SHARED_SECOND_LEVELS: [&str; 18] = [
    "ac", "co", "com", "edu", "gob", "gouv", "gov", "gv", "info", "ltd", "ne", "net", "nom", "or",
    "org", "plc", "sch", "web",
];

/// `.example.com`, but neither `.com` nor `.co.uk`, and nothing that ends a number.
fn is_anchor(suffix: &str) -> bool {
    let Some(name) = suffix.strip_prefix('.') else { return false };
    let labels: Vec<&str> = name.split('.').collect();
    let [.., second, top] = labels.as_slice() else { return false };
    // Below `co.uk` anybody registers a name, as below `com`.
    let is_public = top.len() == 2 && SHARED_SECOND_LEVELS.contains(second);
    labels.len() >= if is_public { 3 } else { 2 }
        && labels.iter().all(|label| !label.is_empty())
        && labels.last().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// A place in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerPlace {
    /// A scalar by its JSON pointer (RFC 6901).
    Body(Vec<String>),
    /// A header, in lower case.
    Header(String),
}

impl AnswerPlace {
    /// `/data/token`, or `header:X-Session`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("header:") {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            let is_header = !name.is_empty() && name.bytes().all(is_name);
            return is_header.then(|| Self::Header(name.to_ascii_lowercase()));
        }
        let rest = text.strip_prefix('/')?;
        let tokens = rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~"));
        Some(Self::Body(tokens.collect()))
    }

    /// A member at the answer's top.
    pub fn member(name: &str) -> Self {
        Self::Body(vec![name.to_owned()])
    }
}

/// What a value must look like, whole; its first group, if it has one, is what is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// # Errors
    /// What the regular expression's own parser says.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pattern = Self(text.to_owned());
        pattern.compiled().map(|_| pattern).map_err(|error| match error {
            regex::Error::Syntax(_) => "it is no regular expression".to_owned(),
            _ => "it is too large".to_owned(),
        })
    }

    fn compiled(&self) -> Result<regex::Regex, regex::Error> {
        regex::RegexBuilder::new(&format!("^(?:{})$", self.0)).size_limit(1 << 18).build()
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// What is taken of `value`; `None` where it does not fit.
    pub fn taken<'v>(&self, value: &'v str) -> Option<&'v str> {
        let found = self.compiled().ok()?.captures(value)?;
        found.get(1).or_else(|| found.get(0)).map(|part| part.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_can_move_a_url_to_another_host() {
        for good in [
            "https://api.example.com/token",
            "https://${tenant}.example.com/oauth/token?a=${b}",
            "https://login-${region}.accounts.example.co.uk:8443/x",
            "http://127.0.0.1:8080/token",
            "https://[::1]:8443/token",
        ] {
            let parsed = UrlTemplate::parse(good);
            assert!(parsed.is_ok(), "{good}: {parsed:?}");
        }
        for bad in [
            "https://${host}/token",
            "https://${tenant}.com/token",
            "https://${tenant}.co.uk/token",
            "https://${tenant}.com.au/token",
            "https://${a}${b}/",
            "https://api.example.com${tail}/token",
            "https://api.example.com.${tld}/token",
            "https://${tenant}example.com/",
            "https://${a}.example.com:${port}/",
            "https://user@example.com/",
            "https://${lower(a)}.example.com/",
            "ftp://example.com/",
            "https:///x",
            "https://a.example.com/#x",
            "https://a.example.com:0/",
            "https://${a}.1.2/",
        ] {
            assert!(UrlTemplate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_parts_of_a_url() {
        let url = UrlTemplate::parse("https://${tenant}.Example.com:8443/a/${b}").unwrap();
        let name = |name: &str| HostPiece::Name(name.to_owned());
        assert_eq!(url.host(), [name("tenant"), HostPiece::Text(".example.com".into())]);
        assert_eq!(url.port(), Some(8443));
        assert_eq!(url.origin(), "https://${tenant}.example.com:8443");
        assert_eq!(url.names(), ["tenant", "b"]);
        let bare = UrlTemplate::parse("https://[::1]:8443").unwrap();
        assert_eq!(bare.host(), [HostPiece::Text("[::1]".into())]);
        assert_eq!(bare.port(), Some(8443));
    }

    #[test]
    fn a_pattern_fits_whole() {
        let pattern = Pattern::parse("https://([a-z0-9-]+)\\.example\\.com").unwrap();
        assert_eq!(pattern.taken("https://acme.example.com"), Some("acme"));
        assert_eq!(pattern.taken("https://acme.example.com.evil"), None);
        assert_eq!(pattern.taken("https://acme.example.com\n"), None);
        assert!(Pattern::parse("(").is_err());
        assert!(Pattern::parse("(a{1000}){1000}").is_err());
    }

    #[test]
    fn places_in_answers() {
        let body = |tokens: &[&str]| {
            Some(AnswerPlace::Body(tokens.iter().map(|&one| one.to_owned()).collect()))
        };
        assert_eq!(AnswerPlace::parse("/data/token"), body(&["data", "token"]));
        assert_eq!(AnswerPlace::parse("/a~1b"), body(&["a/b"]));
        assert_eq!(
            AnswerPlace::parse("header:X-Token"),
            Some(AnswerPlace::Header("x-token".into()))
        );
        assert_eq!(AnswerPlace::parse("token"), None);
        assert_eq!(AnswerPlace::parse("header:"), None);
    }
}
