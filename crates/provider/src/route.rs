//! From the path of a call to the operations that it means.
//!
//! A path is cut into segments and each is decoded once; what could mean another path to the
//! provider than it means here (encoded slashes, dot segments, double encoding) is refused. The
//! decoded segments are looked up in a tree, and the path that is sent on is written anew from
//! them, so that gateway and provider read the same bytes.
//!
//! **Empty segments**: `/a//b` is refused. A slash at the end is an empty last segment, and matches
//! only templates that end in a slash; the path `/` (or nothing) is the template `/`.
//!
//! **Spellings of literals**: many servers match paths in any case, and cut an extension or what
//! trails. A value that they would take for a literal in its place (`ME`, `me.json` beside `me`)
//! means the literal's operation too, and both must be allowed. The same goes for a literal that is
//! declared with a slash at its end where the path has none, and the other way round.

use crate::{
    model::{Method, Provider},
    path_template::TemplateSegment,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization as _;

/// The longest path, in bytes as it came.
pub const MAX_PATH_BYTES: usize = 8_192;
/// The longest segment, in bytes after decoding.
pub const MAX_SEGMENT_BYTES: usize = 2_048;
/// The most segments.
pub const MAX_SEGMENTS: usize = 64;

/// What is percent-encoded in a path that is sent: all but `pchar` of RFC 3986 §3.3, and `;` too.
/// Some servers cut a segment at a bare `;` before they look for a route, so that `me;x` would be
/// another operation to them than to us; encoded it stays part of the value.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Why a path is not looked up at all. Segments are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathRefusal {
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
    #[error("the path has more than {MAX_SEGMENTS} segments")]
    TooManySegments,
    #[error("segment {segment} of the path is longer than {MAX_SEGMENT_BYTES} bytes")]
    SegmentTooLong { segment: usize },
    #[error("segment {segment} of the path is empty")]
    EmptySegment { segment: usize },
    #[error("segment {segment} of the path holds a % that is not followed by two hex digits")]
    MalformedEscape { segment: usize },
    #[error("segment {segment} of the path is not UTF-8")]
    NotUtf8 { segment: usize },
    #[error("segment {segment} of the path holds a slash or backslash")]
    Separator { segment: usize },
    #[error("segment {segment} of the path is percent-encoded twice")]
    EncodedTwice { segment: usize },
    #[error("segment {segment} of the path holds a control character")]
    ControlCharacter { segment: usize },
    #[error("segment {segment} of the path is `.` or `..`, or nothing but dots and white space")]
    DotSegment { segment: usize },
    #[error("the path holds a bare ? or #")]
    NotAPath,
}

/// Cuts a raw path (no query) at its slashes and decodes every segment once.
pub fn decode_path(raw: &str) -> Result<Vec<String>, PathRefusal> {
    if raw.len() > MAX_PATH_BYTES {
        return Err(PathRefusal::TooLong);
    }
    if raw.contains(['?', '#']) {
        return Err(PathRefusal::NotAPath);
    }
    let body = raw.strip_prefix('/').unwrap_or(raw);
    let count = body.split('/').count();
    if count > MAX_SEGMENTS {
        return Err(PathRefusal::TooManySegments);
    }
    let mut segments = Vec::with_capacity(count);
    for (segment, text) in body.split('/').enumerate() {
        if text.is_empty() && segment + 1 != count {
            return Err(PathRefusal::EmptySegment { segment });
        }
        let text = decode(text, segment)?;
        check(&text, segment)?;
        segments.push(text);
    }
    Ok(segments)
}

fn decode(text: &str, segment: usize) -> Result<String, PathRefusal> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = (digit(rest.next()), digit(rest.next()));
            let value = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
            bytes.push(value.ok_or(PathRefusal::MalformedEscape { segment })?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| PathRefusal::NotUtf8 { segment })
}

fn check(text: &str, segment: usize) -> Result<(), PathRefusal> {
    if text.len() > MAX_SEGMENT_BYTES {
        return Err(PathRefusal::SegmentTooLong { segment });
    }
    for letter in text.chars() {
        match letter {
            '/' | '\\' => return Err(PathRefusal::Separator { segment }),
            '%' => return Err(PathRefusal::EncodedTwice { segment }),
            _ if letter.is_control() => return Err(PathRefusal::ControlCharacter { segment }),
            _ => {}
        }
    }
    // `..;x` is `..` to servers that cut a segment at a semicolon, and `.. ` or `...` to those that trim
    // dots and white space: the segment is then none, and the path one of something else.
    let name = text.split(';').next().unwrap_or_default();
    if (!text.is_empty() && name.is_empty()) || !name.is_empty() && name.chars().all(is_trimmed) {
        return Err(PathRefusal::DotSegment { segment });
    }
    Ok(())
}

/// What some servers cut from the end of a name.
fn is_trimmed(letter: char) -> bool {
    letter == '.' || letter.is_whitespace() || is_ignorable(letter)
}

/// What has no width and no meaning of its own (Default_Ignorable_Code_Point, Unicode 16).
fn is_ignorable(letter: char) -> bool {
    matches!(letter, '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}'
        | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
        | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Writes decoded segments as a path with a slash at its beginning: the one spelling that is sent.
pub fn encode_path(segments: &[String]) -> String {
    let mut path = String::with_capacity(segments.iter().map(|text| text.len() + 1).sum());
    for text in segments {
        path.push('/');
        path.extend(utf8_percent_encode(text, ENCODED));
    }
    if path.is_empty() {
        path.push('/');
    }
    path
}

/// All templates of a provider as a tree of segments.
#[derive(Debug, Default)]
pub struct PathRouter {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// Children by a segment without parameters.
    literals: HashMap<String, usize>,
    /// Children by a segment without parameters, as servers that are not strict read it.
    alike: HashMap<String, Vec<usize>>,
    /// Children by a segment with parameters, without their names.
    patterns: Vec<Pattern>,
    /// Operations of the templates that end here, by method and in order of declaration.
    operations: Vec<(Method, usize)>,
    literal_chars: usize,
}

#[derive(Debug)]
struct Pattern {
    segment: TemplateSegment,
    /// The same for texts in lower case, where it holds a literal or choices.
    lower: Option<TemplateSegment>,
    child: usize,
}

/// What a path and method mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteOutcome {
    /// `operations` are indices into [`Provider::operations`], at least one; several where operations
    /// fall together: a call is allowed only if all of them are. Those that are declared so come
    /// first, then those that a server could take the path for; either ascending. `path` is what to
    /// send.
    Found {
        operations: Vec<usize>,
        path: String,
    },
    /// The path is declared, with other methods (ascending).
    MethodNotDeclared {
        allowed: Vec<Method>,
    },
    NotFound,
}

impl PathRouter {
    pub fn new(provider: &Provider) -> Self {
        let mut router = Self { nodes: vec![Node::default()] };
        for (index, operation) in provider.operations.iter().enumerate() {
            let mut at = 0;
            for segment in operation.path.segments() {
                at = router.child(at, segment);
            }
            if let Some(node) = router.nodes.get_mut(at) {
                node.operations.push((operation.method, index));
                node.literal_chars = operation.path.literal_chars();
            }
        }
        router
    }

    fn child(&mut self, at: usize, segment: &TemplateSegment) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else { return at };
        let found = if let Some(literal) = segment.as_literal() {
            let found = *node.literals.entry(literal.to_owned()).or_insert(next);
            if found == next {
                node.alike.entry(likeness(literal)).or_default().push(next);
            }
            found
        } else {
            let nameless = segment.without_names();
            if let Some(known) = node.patterns.iter().find(|one| one.segment == nameless) {
                known.child
            } else {
                let lower = nameless.in_lower_case();
                node.patterns.push(Pattern { segment: nameless, lower, child: next });
                next
            }
        };
        if found == next {
            self.nodes.push(Node::default());
        }
        found
    }

    /// Looks up decoded segments, as [`decode_path`] gives them.
    ///
    /// The path alone decides on the template: the one with most literal characters. Templates
    /// that fit with equally many fall together, and so do those that would fit if a value were spelled
    /// as a literal of theirs. Every node of the tree is visited at most once.
    pub fn route(&self, method: Method, segments: &[String]) -> RouteOutcome {
        let mut best = Best::default();
        match self.literal_leaf(segments) {
            // Nothing has more literal characters than a path that is literal all through.
            Some(leaf) => best.leaves.push(leaf),
            None => self.search(0, segments, false, &mut best),
        }
        let declared = best
            .leaves
            .iter()
            .filter_map(|leaf| self.nodes.get(*leaf))
            .flat_map(|node| &node.operations);
        let of_method = |leaves: &[usize]| {
            let nodes = leaves.iter().filter_map(|leaf| self.nodes.get(*leaf));
            let all = nodes.flat_map(|node| &node.operations);
            let mut found: Vec<usize> =
                all.filter(|(one, _)| *one == method).map(|(_, index)| *index).collect();
            found.sort_unstable();
            found
        };
        let mut operations = of_method(&best.leaves);
        if !operations.is_empty() {
            operations.extend(of_method(&best.alike));
            // Where both differ by a slash alone, the description tells them apart, and so does the
            // server.
            let chars = |leaf: usize| self.nodes.get(leaf).map_or(0, |node| node.literal_chars);
            best.slashed.retain(|leaf| chars(*leaf) > best.literal_chars);
            operations.extend(of_method(&best.slashed));
            return RouteOutcome::Found { operations, path: encode_path(segments) };
        }
        let mut allowed: Vec<Method> = declared.map(|(one, _)| *one).collect();
        allowed.sort_unstable();
        allowed.dedup();
        if allowed.is_empty() {
            RouteOutcome::NotFound
        } else {
            RouteOutcome::MethodNotDeclared { allowed }
        }
    }

    fn literal_leaf(&self, segments: &[String]) -> Option<usize> {
        let mut at = 0;
        for text in segments {
            at = *self.nodes.get(at)?.literals.get(text.as_str())?;
        }
        self.nodes.get(at).filter(|node| !node.operations.is_empty()).map(|_| at)
    }

    /// `is_alike`: a literal on the way is spelled otherwise.
    fn search(&self, at: usize, segments: &[String], is_alike: bool, best: &mut Best) {
        let Some(node) = self.nodes.get(at) else { return };
        let Some((text, rest)) = segments.split_first() else {
            match is_alike {
                _ if node.operations.is_empty() => {}
                true => best.alike.push(at),
                false => best.offer(at, node.literal_chars),
            }
            // The same with a slash at its end.
            if let Some(child) = node.literals.get("") {
                best.slashed.push(*child);
            }
            return;
        };
        if text.is_empty() && rest.is_empty() {
            // The same without one.
            best.slashed.push(at);
        }
        let exact = node.literals.get(text.as_str());
        if let Some(child) = exact {
            self.search(*child, rest, is_alike, best);
        }
        if !node.alike.is_empty() {
            let mut found: Vec<usize> =
                node.alike.get(&likeness(text)).into_iter().flatten().copied().collect();
            if exact.is_none() {
                let stems = stems(text).into_iter().filter_map(|stem| node.alike.get(&stem));
                found.extend(stems.flatten());
                found.sort_unstable();
                found.dedup();
            }
            for child in found.into_iter().filter(|child| Some(child) != exact) {
                self.search(child, rest, true, best);
            }
        }
        for Pattern { segment, lower, child } in &node.patterns {
            let fits_otherwise = |lower: &TemplateSegment| {
                lower.fits(&trimmed(text)) || stems(text).iter().any(|stem| lower.fits(stem))
            };
            if segment.fits(text) {
                self.search(*child, rest, is_alike, best);
            } else if lower.as_ref().is_some_and(fits_otherwise) {
                self.search(*child, rest, true, best);
            }
        }
    }
}

/// In lower case and in one form of Unicode (`ſ` is an `s`, and a full-width letter a letter), without
/// what some servers cut at the ends and what nobody sees.
fn trimmed(text: &str) -> String {
    let text = text.trim_start_matches(|letter| letter != '.' && is_trimmed(letter));
    let text = text.trim_end_matches(is_trimmed);
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let seen = text.chars().filter(|letter| !is_ignorable(*letter));
    seen.nfkc().collect::<String>().to_lowercase()
}

/// A text cut before one of its dots: what a server may take it for that takes whatever follows a dot
/// for a format. Of many dots the first and the last are looked at: literals hold few.
fn stems(text: &str) -> Vec<String> {
    const MAX_DOTS: usize = 8;
    let dots: Vec<usize> = text.match_indices('.').map(|(at, _)| at).collect();
    let from_end = dots.len().saturating_sub(MAX_DOTS).max(MAX_DOTS);
    let first = dots.iter().take(MAX_DOTS);
    let last = dots.get(from_end..).unwrap_or_default();
    let stems = first.chain(last).filter_map(|at| text.get(..*at));
    stems.map(trimmed).filter(|stem| !stem.is_empty()).collect()
}

/// What texts have in common that a server could take for one literal: their letters in any case, up
/// to an extension and what trails.
fn likeness(text: &str) -> String {
    const MAX_EXTENSION: usize = 8;
    let mut text = trimmed(text);
    if let Some((stem, extension)) = text.rsplit_once('.')
        && !stem.is_empty()
        && extension.len() <= MAX_EXTENSION
        && extension.starts_with(|c: char| c.is_ascii_alphabetic())
        && extension.chars().all(|c| c.is_ascii_alphanumeric())
    {
        let length = trimmed(stem).len();
        text.truncate(length);
    }
    text
}

/// The leaves with most literal characters so far.
#[derive(Default)]
struct Best {
    literal_chars: usize,
    leaves: Vec<usize>,
    /// Those of templates of which a literal is spelled otherwise.
    alike: Vec<usize>,
    /// Those that have a slash more or less at their end.
    slashed: Vec<usize>,
}

impl Best {
    fn offer(&mut self, leaf: usize, literal_chars: usize) {
        if literal_chars > self.literal_chars || self.leaves.is_empty() {
            self.literal_chars = literal_chars;
            self.leaves.clear();
            self.leaves.push(leaf);
        } else if literal_chars == self.literal_chars {
            self.leaves.push(leaf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Operation, path_template::PathTemplate};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use types::Action;

    fn operation(method: Method, key: &str) -> Operation {
        let format = vec!["json".to_owned(), "xml".to_owned()];
        let enums = BTreeMap::from([("format".to_owned(), format)]);
        Operation {
            id: format!("{} {key}", method.as_str()),
            method,
            path: PathTemplate::parse(key, &enums).unwrap(),
            action: Action::Read,
            object: None,
            answers: Vec::new(),
            request: None,
            params: Vec::new(),
            security: None,
            servers: Vec::new(),
            error_inside: None,
            opaque: None,
            lowered_opaque: None,
            is_observed: false,
            deprecated: false,
        }
    }

    fn provider(operations: &[(Method, &str)]) -> Provider {
        let operations = operations.iter().map(|(method, key)| operation(*method, key)).collect();
        Provider { operations, ..Provider::default() }
    }

    fn gets(keys: &[&str]) -> Provider {
        provider(&keys.iter().map(|key| (Method::Get, *key)).collect::<Vec<_>>())
    }

    fn find(provider: &Provider, path: &str) -> Option<Vec<String>> {
        let segments = decode_path(path).unwrap();
        match PathRouter::new(provider).route(Method::Get, &segments) {
            RouteOutcome::Found { operations, .. } => Some(
                operations
                    .into_iter()
                    .map(|index| provider.operations[index].path.text().to_owned())
                    .collect(),
            ),
            _ => None,
        }
    }

    fn check(keys: &[&str], path: &str, expected: &[&str]) {
        let found = find(&gets(keys), path).unwrap_or_default();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn dangerous_segments_are_refused() {
        let refused = |raw: &str| decode_path(raw).unwrap_err();
        assert_eq!(refused("/a/b%2fc"), PathRefusal::Separator { segment: 1 });
        assert_eq!(refused("/a/b%5Cc"), PathRefusal::Separator { segment: 1 });
        assert_eq!(refused("/a\\b"), PathRefusal::Separator { segment: 0 });
        assert_eq!(refused("/a/%252e%252e"), PathRefusal::EncodedTwice { segment: 1 });
        assert_eq!(refused("/a/../b"), PathRefusal::DotSegment { segment: 1 });
        assert_eq!(refused("/a/%2E%2e"), PathRefusal::DotSegment { segment: 1 });
        assert_eq!(refused("/./a"), PathRefusal::DotSegment { segment: 0 });
        assert_eq!(refused("/a/..;x/b"), PathRefusal::DotSegment { segment: 1 });
        for alike in [
            "...",
            "....",
            "%20",
            "%20%20",
            ".%20",
            "..%20",
            "%20.",
            "%20..",
            ".%20.",
            "%C2%A0",
            ".%C2%A0",
            "%E2%80%83",
            "%E3%80%80..",
            "%E2%80%8B",
            "..%EF%BB%BF",
            ".%20;x",
            ";x",
            ";",
        ] {
            let path = format!("/a/{alike}/b");
            assert_eq!(refused(&path), PathRefusal::DotSegment { segment: 1 }, "{path}");
            assert_eq!(refused(&format!("/a/{alike}")), PathRefusal::DotSegment { segment: 1 });
        }
        for name in ["/a/.x", "/a/x.", "/a/..x", "/a/x%20", "/a/%20x", "/a/x;y", "/a/"] {
            decode_path(name).unwrap();
        }
        assert_eq!(refused("/a/%00"), PathRefusal::ControlCharacter { segment: 1 });
        assert_eq!(refused("/a/%0d%0a"), PathRefusal::ControlCharacter { segment: 1 });
        assert_eq!(refused("/a/%c2%85"), PathRefusal::ControlCharacter { segment: 1 });
        assert_eq!(refused("/a/%7f"), PathRefusal::ControlCharacter { segment: 1 });
        assert_eq!(refused("/a/%ff"), PathRefusal::NotUtf8 { segment: 1 });
        assert_eq!(refused("/a/%c0%af"), PathRefusal::NotUtf8 { segment: 1 });
        for raw in ["/%", "/%2", "/%zz", "/%+1", "/%2/x"] {
            assert_eq!(refused(raw), PathRefusal::MalformedEscape { segment: 0 }, "{raw}");
        }
        assert_eq!(refused("/a//b"), PathRefusal::EmptySegment { segment: 1 });
        assert_eq!(refused("//a"), PathRefusal::EmptySegment { segment: 0 });
        assert_eq!(refused("/a?b"), PathRefusal::NotAPath);
        assert_eq!(refused("/a#b"), PathRefusal::NotAPath);
        assert_eq!(refused(&"/a".repeat(65)), PathRefusal::TooManySegments);
        assert_eq!(refused(&"a".repeat(8_193)), PathRefusal::TooLong);
        assert_eq!(refused(&"a".repeat(2_049)), PathRefusal::SegmentTooLong { segment: 0 });
        assert_eq!(decode_path("/a/...b").unwrap(), ["a", "...b"]);
    }

    #[test]
    fn each_segment_is_decoded_once_and_written_canonically() {
        let segments = decode_path("/us%65rs/%C3%A4+b%3Fc;d").unwrap();
        assert_eq!(segments, ["users", "ä+b?c;d"]);
        assert_eq!(encode_path(&segments), "/users/%C3%A4+b%3Fc%3Bd");
        assert_eq!(decode_path("").unwrap(), [""]);
        assert_eq!(decode_path("/").unwrap(), [""]);
        assert_eq!(encode_path(&decode_path("a/b/").unwrap()), "/a/b/");
    }

    #[test]
    fn most_literal_characters_win() {
        let keys = ["/users/{id}", "/users/me", "/users/{id}.{format}", "/{any}/{thing}"];
        check(&keys, "/users/me", &["/users/me"]);
        check(&keys, "/users/you", &["/users/{id}"]);
        check(&keys, "/users/you.json", &["/users/{id}.{format}"]);
        check(&keys, "/users/you.csv", &["/users/{id}"]);
        check(&keys, "/teams/x", &["/{any}/{thing}"]);
        check(&keys, "/teams", &[]);
        // Counted over the whole path: the longer literal wins although it stands later.
        check(&["/a/{x}", "/{x}/bbb"], "/a/bbb", &["/{x}/bbb"]);
    }

    #[test]
    fn a_literal_prefix_does_not_hide_a_template_that_fits() {
        check(&["/a/b/c", "/a/{x}/d"], "/a/b/d", &["/a/{x}/d"]);
    }

    #[test]
    fn operations_that_fall_together_are_all_named() {
        let keys = ["/items#folders", "/items#links", "/items/{a}", "/items/{b}#x"];
        check(&keys, "/items", &["/items", "/items"]);
        check(&keys, "/items/1", &["/items/{a}", "/items/{b}"]);
        check(&["/x/{b}", "/{a}/x"], "/x/x", &["/x/{b}", "/{a}/x"]);
        check(&["/d/{id}", "/d/{format}"], "/d/json", &["/d/{id}", "/d/{format}"]);
        check(&["/d/{id}", "/d/{format}"], "/d/csv", &["/d/{id}"]);
    }

    /// Express, ASP.NET, Rails and file systems take these for the literal.
    #[test]
    fn a_value_that_a_server_could_take_for_a_literal_means_both() {
        let keys = ["/users/{id}", "/users/me", "/users/{id}/posts", "/users/me/posts", "/v1.0/x"];
        check(&keys, "/users/me", &["/users/me"]);
        for value in [
            "ME",
            "Me",
            "me.json",
            "ME.Json",
            "me.",
            "me. .",
            "me%20",
            "me.json.",
            "me.1",
            "me.0",
            "me.verylongname",
            "me.x-y",
            "me.json.xml",
            "me%C2%A0",
            "me%E2%80%8B",
            "%20me",
            "m%E2%80%8Be",
            "%EF%BD%8De",
            "me%C2%AD",
            "M%EF%BC%A5",
            "me.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q",
        ] {
            let (path, posts) = (format!("/users/{value}"), format!("/users/{value}/posts"));
            check(&keys, &path, &["/users/{id}", "/users/me"]);
            check(&keys, &posts, &["/users/{id}/posts", "/users/me/posts"]);
        }
        for value in ["you", "mé", "me1", "me@x.example", "1me", "you.me", ".me", "a.me.b"] {
            check(&keys, &format!("/users/{value}"), &["/users/{id}"]);
        }
        // Nothing is found that the path does not spell.
        check(&keys, "/USERS/me", &[]);
        check(&keys, "/v1.1/x", &[]);
        check(&["/r/{id}", "/r/me.json"], "/r/me", &["/r/{id}", "/r/me.json"]);
        for value in ["1:REVEAL", "1:reveal.json", "1.2.3:reveal.0"] {
            let path = format!("/k/{value}");
            check(&["/k/{id}", "/k/{id}:reveal"], &path, &["/k/{id}", "/k/{id}:reveal"]);
        }
        check(&["/d/{id}", "/d/{format}"], "/d/json.txt", &["/d/{id}", "/d/{format}"]);
        // Versions are no extensions of each other.
        let versions = ["/v1/{x}", "/v1.0/{x}", "/v1.1/{x}"];
        check(&versions, "/v1/a", &["/v1/{x}"]);
        check(&versions, "/v1.1/a", &["/v1.1/{x}"]);
        check(&["/d/{id}", "/d/{format}"], "/d/JSON", &["/d/{id}", "/d/{format}"]);
        // Another method of the literal is not meant.
        let provider = provider(&[(Method::Get, "/u/{id}"), (Method::Put, "/u/me")]);
        assert_eq!(find(&provider, "/u/ME"), Some(vec!["/u/{id}".to_owned()]));
    }

    #[test]
    fn a_trailing_slash_matches_only_templates_that_have_it() {
        check(&["/a", "/b/"], "/a", &["/a"]);
        check(&["/a", "/b/"], "/a/", &[]);
        check(&["/a", "/b/"], "/b/", &["/b/"]);
        check(&["/a", "/b/"], "/b", &[]);
        check(&["/{x}", "/a/{x}"], "/a/", &[]);
        check(&["/{x}", "/"], "/", &["/"]);
        check(&["/{x}"], "/", &[]);
    }

    /// Express and others take no notice of a slash at the end.
    #[test]
    fn a_slash_at_the_end_of_a_literal_means_both() {
        let keys = ["/users/{id}", "/users/me/", "/files/{id}/", "/files/root"];
        check(&keys, "/users/me", &["/users/{id}", "/users/me/"]);
        check(&keys, "/users/ME", &["/users/{id}", "/users/me/"]);
        check(&keys, "/users/me/", &["/users/me/"]);
        check(&keys, "/users/you", &["/users/{id}"]);
        check(&keys, "/files/root/", &["/files/{id}/", "/files/root"]);
        check(&keys, "/files/root.json/", &["/files/{id}/", "/files/root"]);
        check(&keys, "/files/root", &["/files/root"]);
        check(&keys, "/files/other/", &["/files/{id}/"]);
        // What is declared both ways is told apart.
        let both = ["/things/{id}", "/things/{id}/", "/all", "/all/"];
        check(&both, "/things/1", &["/things/{id}"]);
        check(&both, "/things/1/", &["/things/{id}/"]);
        check(&both, "/all", &["/all"]);
        check(&both, "/all/", &["/all/"]);
    }

    #[test]
    fn the_path_alone_decides_on_the_template() {
        let provider =
            provider(&[(Method::Get, "/u/{id}"), (Method::Put, "/u/me"), (Method::Post, "/u/me")]);
        let router = PathRouter::new(&provider);
        let route = |path: &str| router.route(Method::Get, &decode_path(path).unwrap());
        let allowed = vec![Method::Put, Method::Post];
        assert_eq!(route("/u/me"), RouteOutcome::MethodNotDeclared { allowed });
        assert_eq!(route("/v"), RouteOutcome::NotFound);
        let found = RouteOutcome::Found { operations: vec![0], path: "/u/a%20b".into() };
        assert_eq!(route("/u/a b"), found);
        assert_eq!(
            PathRouter::new(&Provider::default()).route(Method::Get, &[]),
            RouteOutcome::NotFound
        );
    }

    fn segment() -> impl Strategy<Value = String> {
        "[^/\\\\%\\p{Cc}]{1,12}".prop_filter("no dot segment", |text| super::check(text, 0).is_ok())
    }

    proptest! {
        #[test]
        fn encoding_then_decoding_is_identity(
            mut segments in prop::collection::vec(segment(), 1..6), ends_in_slash: bool,
        ) {
            if ends_in_slash {
                segments.push(String::new());
            }
            let path = encode_path(&segments);
            prop_assert!(path.is_ascii());
            prop_assert_eq!(decode_path(&path).unwrap(), segments);
        }

        #[test]
        fn decoding_never_panics_and_gives_only_safe_segments(raw in "[/%.;a2fFeE5cC0\\\\ä]{0,24}") {
            if let Ok(segments) = decode_path(&raw) {
                for text in &segments {
                    prop_assert!(!text.contains(['/', '\\', '%']));
                    prop_assert!(text.is_empty() || text.contains(|c| c != '.'));
                }
                prop_assert_eq!(decode_path(&encode_path(&segments)).unwrap(), segments);
            }
        }

        /// Against the obvious matcher: all templates that fit, those with most literal characters.
        #[test]
        fn routing_agrees_with_trying_every_template(
            keys in prop::collection::vec(
                prop::collection::vec("a|b|ab|\\{p\\}|\\{q\\}|\\{p\\}b|a\\{p\\}|\\{p\\}a\\{q\\}|\\{format\\}", 1..4), 1..12),
            path in prop::collection::vec("[ab]{1,3}|json", 1..4),
        ) {
            let keys: Vec<String> = keys.iter().map(|key| format!("/{}", key.join("/"))).collect();
            let provider = gets(&keys.iter().map(String::as_str).collect::<Vec<_>>());
            let fitting: Vec<(usize, usize)> = provider.operations.iter().enumerate()
                .filter(|(_, operation)| operation.path.fits(&path))
                .map(|(index, operation)| (operation.path.literal_chars(), index)).collect();
            let most = fitting.iter().map(|(chars, _)| *chars).max();
            let expected: Vec<usize> = fitting.iter()
                .filter(|(chars, _)| Some(*chars) == most).map(|(_, index)| *index).collect();
            let found = match PathRouter::new(&provider).route(Method::Get, &path) {
                RouteOutcome::Found { operations, .. } => operations,
                _ => Vec::new(),
            };
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn every_template_matches_a_path_made_from_it(
            keys in prop::collection::vec(
                prop::collection::vec("[a-z]{1,4}|\\{[a-z]{1,3}\\}|\\{[a-z]\\}[.:][a-z]|\\{x\\}-\\{format\\}", 1..5), 1..8),
            value in segment(),
        ) {
            let keys: Vec<String> = keys.iter().map(|key| format!("/{}", key.join("/"))).collect();
            let provider = gets(&keys.iter().map(String::as_str).collect::<Vec<_>>());
            let router = PathRouter::new(&provider);
            for operation in &provider.operations {
                use crate::path_template::TemplatePart;
                let path: Vec<String> = operation.path.segments().iter().map(|segment| {
                    segment.parts().iter().map(|part| match part {
                        TemplatePart::Literal(text) => text.clone(),
                        TemplatePart::Parameter { choices, .. } =>
                            choices.first().cloned().unwrap_or_else(|| value.clone()),
                    }).collect()
                }).collect();
                prop_assert!(operation.path.fits(&path));
                let is_found =
                    matches!(router.route(Method::Get, &path), RouteOutcome::Found { .. });
                prop_assert!(is_found);
            }
        }
    }
}
