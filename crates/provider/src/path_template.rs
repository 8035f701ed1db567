//! Path templates: a key of `paths`, read into literals and parameters.
//!
//! OpenAPI 3.1 §4.8.8.1 says only "brackets delimit a parameter". Real documents mix literals and
//! parameters in one segment (`/users/{id}.{format}`, `/keys/{id}:rotate`) and append `#name` or
//! `?name` to give one path several operations; both are understood here. Whether a path fits a
//! template is decided on decoded segments (see [`crate::route`]) and never backtracks: the cost is
//! at most parts × bytes per segment.

use percent_encoding::percent_decode_str;
use std::{collections::BTreeMap, fmt};

/// The most segments of a template.
pub const MAX_TEMPLATE_SEGMENTS: usize = 64;
/// The most literals and parameters in one segment.
pub const MAX_SEGMENT_PARTS: usize = 16;

/// A key of `paths`, without its `#...` or `?...`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathTemplate {
    text: String,
    segments: Vec<TemplateSegment>,
}

/// What stands between two slashes. Never empty but as the last segment, where it means that the
/// path ends in a slash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TemplateSegment {
    parts: Vec<TemplatePart>,
}

/// A literal or a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TemplatePart {
    /// Decoded text.
    Literal(String),
    /// Any non-empty text; with `choices`, one of these.
    Parameter { name: String, choices: Vec<String> },
}

/// Why a key of `paths` is no template. The operations under it cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("a `{{` is not closed within its segment")]
    Unclosed,
    #[error("a `}}` has no `{{` before it")]
    Unopened,
    #[error("a parameter has no name")]
    NamelessParameter,
    #[error("a segment before the last is empty")]
    EmptySegment,
    #[error("a literal holds a character that no accepted path contains")]
    UnreachableLiteral,
    #[error("more than {MAX_TEMPLATE_SEGMENTS} segments")]
    TooManySegments,
    #[error("more than {MAX_SEGMENT_PARTS} literals and parameters in one segment")]
    TooManyParts,
}

impl PathTemplate {
    /// Reads a key of `paths`. `enums` holds, by parameter name, the values that the description
    /// declares for path parameters; an empty list means that nothing is said.
    ///
    /// A missing slash at the beginning is added. Percent escapes in literals are decoded once.
    pub fn parse(key: &str, enums: &BTreeMap<String, Vec<String>>) -> Result<Self, TemplateError> {
        let key = without_suffix(key);
        let body = key.strip_prefix('/').unwrap_or(key);
        let raw: Vec<&str> = split_segments(body);
        if raw.len() > MAX_TEMPLATE_SEGMENTS {
            return Err(TemplateError::TooManySegments);
        }
        let last = raw.len().saturating_sub(1);
        let mut segments = Vec::with_capacity(raw.len());
        for (place, text) in raw.into_iter().enumerate() {
            if text.is_empty() && place != last {
                return Err(TemplateError::EmptySegment);
            }
            segments.push(TemplateSegment::parse(text, enums)?);
        }
        Ok(Self { text: format!("/{body}"), segments })
    }

    /// The key as the description spells it, cut and with its slash.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// At least one; the path `/` is one empty segment.
    pub fn segments(&self) -> &[TemplateSegment] {
        &self.segments
    }

    /// The parameters' names in order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flat_map(TemplateSegment::parts).filter_map(|part| match part {
            TemplatePart::Parameter { name, .. } => Some(name.as_str()),
            TemplatePart::Literal(_) => None,
        })
    }

    /// Whether the last segment is a parameter, or holds one that is no extension: it is about one
    /// thing.
    pub fn ends_in_parameter(&self) -> bool {
        let is_parameter = |part: &TemplatePart| matches!(part, TemplatePart::Parameter { .. });
        self.segments.last().is_some_and(|last| match last.parts.as_slice() {
            [TemplatePart::Literal(name), _] if name.ends_with('.') => false,
            parts => parts.iter().any(is_parameter),
        })
    }

    /// The text with every parameter as `{}`: equal for templates that differ by names only.
    pub fn pattern(&self) -> String {
        let mut text = String::with_capacity(self.text.len());
        for segment in &self.segments {
            text.push('/');
            for part in &segment.parts {
                match part {
                    TemplatePart::Literal(literal) => text.push_str(literal),
                    TemplatePart::Parameter { .. } => text.push_str("{}"),
                }
            }
        }
        text
    }

    /// Characters that are literal, slashes not counted: of two templates that fit a path, the one
    /// with more wins.
    pub fn literal_chars(&self) -> usize {
        self.segments.iter().map(TemplateSegment::literal_chars).sum()
    }

    /// Whether decoded segments fit.
    pub fn fits(&self, segments: &[String]) -> bool {
        self.segments.len() == segments.len()
            && self.segments.iter().zip(segments).all(|(segment, text)| segment.fits(text))
    }
}

impl fmt::Debug for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathTemplate({})", self.text)
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TemplateSegment {
    fn parse(text: &str, enums: &BTreeMap<String, Vec<String>>) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('{') {
                let (name, after) = after.split_once('}').ok_or(TemplateError::Unclosed)?;
                if name.contains('{') {
                    return Err(TemplateError::Unclosed);
                }
                if name.is_empty() {
                    return Err(TemplateError::NamelessParameter);
                }
                let choices = enums.get(name).cloned().unwrap_or_default();
                parts.push(TemplatePart::Parameter { name: name.to_owned(), choices });
                rest = after;
            } else {
                let end = rest.find('{').unwrap_or(rest.len());
                let (literal, after) = rest.split_at(end);
                parts.push(TemplatePart::Literal(read_literal(literal)?));
                rest = after;
            }
        }
        if parts.len() > MAX_SEGMENT_PARTS {
            return Err(TemplateError::TooManyParts);
        }
        let segment = Self { parts };
        if matches!(segment.as_literal(), Some("." | "..")) {
            return Err(TemplateError::UnreachableLiteral);
        }
        Ok(segment)
    }

    pub fn parts(&self) -> &[TemplatePart] {
        &self.parts
    }

    /// The text of a segment without parameters (empty for the one after a trailing slash).
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [TemplatePart::Literal(text)] => Some(text),
            _ => None,
        }
    }

    pub fn literal_chars(&self) -> usize {
        self.parts
            .iter()
            .map(|part| match part {
                TemplatePart::Literal(text) => text.chars().count(),
                TemplatePart::Parameter { .. } => 0,
            })
            .sum()
    }

    /// The same segment with its parameters' names removed: equal for segments that match alike.
    #[must_use]
    pub fn without_names(&self) -> Self {
        let mut nameless = self.clone();
        for part in &mut nameless.parts {
            if let TemplatePart::Parameter { name, .. } = part {
                name.clear();
            }
        }
        nameless
    }

    /// The same segment in lower case. `None` where it holds neither a literal nor choices.
    #[must_use]
    pub fn in_lower_case(&self) -> Option<Self> {
        let mut lower = self.clone();
        let mut is_telling = false;
        for part in &mut lower.parts {
            match part {
                TemplatePart::Literal(text) => {
                    is_telling = true;
                    text.make_ascii_lowercase();
                }
                TemplatePart::Parameter { choices, .. } => {
                    is_telling |= !choices.is_empty();
                    for one in choices.iter_mut() {
                        one.make_ascii_lowercase();
                    }
                }
            }
        }
        is_telling.then_some(lower)
    }

    /// Whether the decoded text fits: literals as they are, every parameter at least one
    /// character long and one of its choices.
    pub fn fits(&self, text: &str) -> bool {
        match self.parts.as_slice() {
            [] => text.is_empty(),
            [TemplatePart::Literal(literal)] => literal == text,
            [TemplatePart::Parameter { choices, .. }] => {
                !text.is_empty() && (choices.is_empty() || choices.iter().any(|one| one == text))
            }
            parts => values(parts, text).is_some(),
        }
    }

    /// The parameters' values in order, if the text fits. Each runs to the last literal that
    /// follows it and still lets the rest fit: `a.b.json` on `{id}.{format}` is `a.b` and `json`.
    pub fn values<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        values(&self.parts, text)
    }
}

/// Matches from the right: `ends[i][p]` says where part `i` may end if it begins at byte `p` and
/// everything behind it fits; the longest end is kept. One table, no backtracking.
fn values<'t>(parts: &[TemplatePart], text: &'t str) -> Option<Vec<&'t str>> {
    let len = text.len();
    // `fits_from[p]`: the parts behind the current one fit the text from byte p on.
    let mut fits_from = vec![false; len + 1];
    if let Some(end) = fits_from.last_mut() {
        *end = true;
    }
    let mut tables: Vec<Vec<Option<usize>>> = Vec::with_capacity(parts.len());
    for part in parts.iter().rev() {
        let fits = |end: usize| fits_from.get(end).copied().unwrap_or(false);
        let mut table = vec![None; len + 1];
        // The last byte position at which the parts behind fit.
        let longest = (0..=len).rev().find(|end| fits(*end));
        for (start, slot) in table.iter_mut().enumerate() {
            let Some(rest) = text.get(start..) else { continue };
            *slot = match part {
                TemplatePart::Literal(literal) => rest
                    .starts_with(literal.as_str())
                    .then_some(start + literal.len())
                    .filter(|end| fits(*end)),
                TemplatePart::Parameter { choices, .. } if choices.is_empty() => {
                    longest.filter(|end| *end > start)
                }
                TemplatePart::Parameter { choices, .. } => choices
                    .iter()
                    .filter(|one| !one.is_empty() && rest.starts_with(one.as_str()))
                    .map(|one| start + one.len())
                    .filter(|end| fits(*end))
                    .max(),
            };
        }
        fits_from = table.iter().map(Option::is_some).collect();
        tables.push(table);
    }
    let mut found = Vec::new();
    let mut start = 0;
    for (part, table) in parts.iter().zip(tables.iter().rev()) {
        let end = table.get(start).copied().flatten()?;
        if matches!(part, TemplatePart::Parameter { .. }) {
            found.push(text.get(start..end)?);
        }
        start = end;
    }
    (start == len).then_some(found)
}

/// Cuts `#...` and `?...`, which some documents append to have several operations on one path.
fn without_suffix(key: &str) -> &str {
    let mut inside = false;
    for (place, letter) in key.char_indices() {
        match letter {
            '{' => inside = true,
            '}' => inside = false,
            '#' | '?' if !inside => return key.get(..place).unwrap_or(key),
            _ => {}
        }
    }
    key
}

/// Splits at slashes outside of braces.
fn split_segments(body: &str) -> Vec<&str> {
    let mut inside = false;
    body.split(|letter| {
        match letter {
            '{' => inside = true,
            '}' => inside = false,
            _ => {}
        }
        letter == '/' && !inside
    })
    .collect()
}

fn read_literal(raw: &str) -> Result<String, TemplateError> {
    if raw.contains('}') {
        return Err(TemplateError::Unopened);
    }
    let text =
        percent_decode_str(raw).decode_utf8().map_err(|_| TemplateError::UnreachableLiteral)?;
    if text.chars().any(|letter| matches!(letter, '/' | '\\' | '%') || letter.is_control()) {
        return Err(TemplateError::UnreachableLiteral);
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(key: &str) -> PathTemplate {
        PathTemplate::parse(key, &BTreeMap::new()).unwrap()
    }

    fn with_enum(key: &str, name: &str, choices: &[&str]) -> PathTemplate {
        let choices = choices.iter().map(|&one| one.to_owned()).collect();
        PathTemplate::parse(key, &BTreeMap::from([(name.to_owned(), choices)])).unwrap()
    }

    fn fits(template: &PathTemplate, path: &str) -> bool {
        let segments: Vec<String> = path[1..].split('/').map(str::to_owned).collect();
        template.fits(&segments)
    }

    #[test]
    fn suffixes_of_a_key_are_cut() {
        for (key, text) in [
            ("/shared_items#folders", "/shared_items"),
            ("/oauth/token?refresh", "/oauth/token"),
            ("/files/{file_id}#a?b", "/files/{file_id}"),
            ("/users/{id?}", "/users/{id?}"),
            ("/v1/incidents/", "/v1/incidents/"),
            ("users", "/users"),
            ("/", "/"),
        ] {
            assert_eq!(template(key).text(), text);
        }
        assert_eq!(template("/a/{b}#x").pattern(), template("/a/{c}?y").pattern());
    }

    #[test]
    fn a_segment_mixes_literals_and_parameters() {
        let template = template("/users/{id}.{format}");
        assert_eq!(template.parameters().collect::<Vec<_>>(), ["id", "format"]);
        assert_eq!(template.literal_chars(), "users.".len());
        assert!(fits(&template, "/users/7.json"));
        assert!(!fits(&template, "/users/7"));
        assert!(!fits(&template, "/users/.json"));
        assert!(!fits(&template, "/users/7."));
        let segment = &template.segments()[1];
        assert_eq!(segment.values("a.b.json").unwrap(), ["a.b", "json"]);
        assert!(fits(&self::template("/keys/{id}:rotate"), "/keys/k:1:rotate"));
        assert!(fits(&self::template("/api/v{version}/x"), "/api/v2/x"));
        assert!(!fits(&self::template("/api/v{version}/x"), "/api/v/x"));
    }

    #[test]
    fn declared_choices_are_enforced() {
        let mixed = with_enum("/users/{id}.{format}", "format", &["json", "tar.gz"]);
        assert!(fits(&mixed, "/users/7.json"));
        assert!(fits(&mixed, "/users/a.tar.gz"));
        assert!(!fits(&mixed, "/users/7.xml"));
        let plain = with_enum("/lists/{kind}", "kind", &["new", "old"]);
        assert!(fits(&plain, "/lists/new"));
        assert!(!fits(&plain, "/lists/newer"));
        assert!(fits(&with_enum("/lists/{kind}", "kind", &[]), "/lists/newer"));
    }

    #[test]
    fn adjacent_parameters_need_one_character_each() {
        let template = template("/x/{a}{b}");
        assert!(fits(&template, "/x/yz"));
        assert!(!fits(&template, "/x/y"));
        assert_eq!(template.segments()[1].values("äöü").unwrap(), ["äö", "ü"]);
    }

    #[test]
    fn a_trailing_slash_is_an_empty_last_segment() {
        assert_eq!(template("/").segments().len(), 1);
        assert!(fits(&template("/a/"), "/a/"));
        assert!(!fits(&template("/a/"), "/a"));
        assert!(!fits(&template("/a"), "/a/"));
        assert!(!fits(&template("/a/{b}"), "/a/"));
    }

    #[test]
    fn literals_are_decoded_once() {
        assert!(fits(&template("/a%20b"), "/a b"));
        assert!(fits(&template("/a b"), "/a b"));
    }

    #[test]
    fn malformed_templates_are_refused() {
        let parse = |key: &str| PathTemplate::parse(key, &BTreeMap::new()).unwrap_err();
        assert_eq!(parse("/a/{b"), TemplateError::Unclosed);
        assert_eq!(parse("/a/{b{c}}"), TemplateError::Unclosed);
        assert_eq!(parse("/a/b}"), TemplateError::Unopened);
        assert_eq!(parse("/a/{}"), TemplateError::NamelessParameter);
        assert_eq!(parse("/a//b"), TemplateError::EmptySegment);
        assert_eq!(parse("/a/%2e%2e/b"), TemplateError::UnreachableLiteral);
        assert_eq!(parse("/a/x%2fy"), TemplateError::UnreachableLiteral);
        assert_eq!(parse("/a/%ff"), TemplateError::UnreachableLiteral);
        assert_eq!(parse("/100%25"), TemplateError::UnreachableLiteral);
        assert_eq!(parse(&"/a".repeat(65)), TemplateError::TooManySegments);
        assert_eq!(parse(&format!("/{}", "{a}".repeat(17))), TemplateError::TooManyParts);
    }

    #[test]
    fn matching_stays_linear_on_hostile_input() {
        let template = template(&format!("/{}", "{a}x".repeat(8)));
        let text = "x".repeat(2_000);
        assert!(template.segments()[0].fits(&text));
        assert!(!template.segments()[0].fits(&(text + "y")));
    }
}
