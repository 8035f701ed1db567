//! Texts with `${...}` in them: names of values, and a closed set of functions on them.
//!
//! Whoever writes a template says where a value goes, never what is done: there are no loops, no
//! conditions and no other effects. What is filled in is checked where it is used.

use std::fmt;

/// The longest template, in bytes.
const MAX_TEMPLATE_BYTES: usize = 4096;
/// How deep calls may stand in each other.
const MAX_DEPTH: usize = 8;
/// The most bytes of `random(N)`.
const MAX_RANDOM_BYTES: u32 = 64;

/// A text with values to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Value(Expr),
}

/// What stands in `${...}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A value by its name: of the secret, of the connection, taken from an answer, or of the call.
    Name(String),
    Text(String),
    Call(Function, Vec<Expr>),
    Random(u32),
    Now(TimeFormat),
}

/// What may be done with values. Whatever takes several takes them one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// RFC 4648 §4, with padding.
    Base64,
    /// RFC 4648 §5, without padding.
    Base64Url,
    /// In lower case.
    Hex,
    /// Everything but the unreserved characters of RFC 3986 §2.3.
    Percent,
    Lower,
    Sha256,
    /// RFC 2104; the key is the first argument.
    HmacSha1,
    HmacSha256,
    HmacSha512,
}

/// How a moment is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    Unix,
    UnixMs,
    /// RFC 3339 in UTC, with seconds.
    Rfc3339,
    /// RFC 9110 §5.6.7.
    HttpDate,
    /// ISO 8601 without separators: `20260102T030405Z`.
    Compact,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {why}")]
pub struct TemplateError {
    pub at: usize,
    pub why: String,
}

const FUNCTIONS: [(&str, Function); 9] = [
    ("base64", Function::Base64),
    ("base64url", Function::Base64Url),
    ("hex", Function::Hex),
    ("hmac_sha1", Function::HmacSha1),
    ("hmac_sha256", Function::HmacSha256),
    ("hmac_sha512", Function::HmacSha512),
    ("lower", Function::Lower),
    ("percent", Function::Percent),
    ("sha256", Function::Sha256),
];

const FORMATS: [(&str, TimeFormat); 5] = [
    ("compact", TimeFormat::Compact),
    ("http", TimeFormat::HttpDate),
    ("rfc3339", TimeFormat::Rfc3339),
    ("unix", TimeFormat::Unix),
    ("unix_ms", TimeFormat::UnixMs),
];

impl Function {
    /// Whether it yields bytes that have to be written as text by another function.
    const fn yields_bytes(self) -> bool {
        matches!(self, Self::Sha256 | Self::HmacSha1 | Self::HmacSha256 | Self::HmacSha512)
    }

    const fn takes(self) -> (usize, usize) {
        match self {
            Self::HmacSha1 | Self::HmacSha256 | Self::HmacSha512 => (2, 16),
            _ => (1, 16),
        }
    }
}

impl Expr {
    fn yields_bytes(&self) -> bool {
        match self {
            Self::Call(function, _) => function.yields_bytes(),
            Self::Random(_) => true,
            Self::Name(_) | Self::Text(_) | Self::Now(_) => false,
        }
    }

    fn names<'e>(&'e self, names: &mut Vec<&'e str>) {
        match self {
            Self::Name(name) => names.push(name),
            Self::Call(_, arguments) => arguments.iter().for_each(|one| one.names(names)),
            Self::Text(_) | Self::Random(_) | Self::Now(_) => {}
        }
    }

    fn is_of_the_moment(&self) -> bool {
        match self {
            Self::Random(_) | Self::Now(_) => true,
            Self::Call(_, arguments) => arguments.iter().any(Self::is_of_the_moment),
            Self::Name(_) | Self::Text(_) => false,
        }
    }
}

impl Template {
    /// # Errors
    /// Tells the byte at which the text stops being a template, and why.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEMPLATE_BYTES {
            let why = format!("it is longer than {MAX_TEMPLATE_BYTES} bytes");
            return Err(TemplateError { at: MAX_TEMPLATE_BYTES, why });
        }
        let mut parser = Parser { text, at: 0 };
        let mut pieces = Vec::new();
        while let Some(found) = parser.rest().find("${") {
            let literal = parser.rest().get(..found).unwrap_or_default();
            if !literal.is_empty() {
                pieces.push(Piece::Text(literal.to_owned()));
            }
            parser.at += found + 2;
            let begun = parser.at;
            let expr = parser.expr(0)?;
            parser.skip_space();
            parser.expect('}')?;
            if expr.yields_bytes() {
                let why = "bytes are no text: write them by base64, base64url or hex".to_owned();
                return Err(TemplateError { at: begun, why });
            }
            pieces.push(Piece::Value(expr));
        }
        if !parser.rest().is_empty() {
            pieces.push(Piece::Text(parser.rest().to_owned()));
        }
        Ok(Self(pieces))
    }

    /// A template that is one value alone.
    pub fn of_name(name: &str) -> Self {
        Self(vec![Piece::Value(Expr::Name(name.to_owned()))])
    }

    /// A word and a value behind it.
    pub fn behind(word: &str, name: &str) -> Self {
        let value = Piece::Value(Expr::Name(name.to_owned()));
        Self(vec![Piece::Text(word.to_owned()), value])
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// Every name that it uses, as often as it does.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for piece in &self.0 {
            if let Piece::Value(expr) = piece {
                expr.names(&mut names);
            }
        }
        names
    }

    /// Whether it has another value at each use, whatever its names stand for.
    pub fn is_of_the_moment(&self) -> bool {
        self.0.iter().any(|piece| match piece {
            Piece::Value(expr) => expr.is_of_the_moment(),
            Piece::Text(_) => false,
        })
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FORMATS.iter().find(|(_, format)| format == self).map(|(name, _)| *name);
        f.write_str(name.unwrap_or_default())
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error<T>(&self, why: impl Into<String>) -> Result<T, TemplateError> {
        Err(TemplateError { at: self.at, why: why.into() })
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches(' ').len();
    }

    fn expect(&mut self, letter: char) -> Result<(), TemplateError> {
        if self.rest().starts_with(letter) {
            self.at += letter.len_utf8();
            return Ok(());
        }
        self.error(format!("expected `{letter}`"))
    }

    fn expr(&mut self, depth: usize) -> Result<Expr, TemplateError> {
        self.skip_space();
        if depth > MAX_DEPTH {
            return self.error("calls stand too deep in each other");
        }
        if self.rest().starts_with('\'') {
            return self.literal().map(Expr::Text);
        }
        let begun = self.at;
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.');
        let length = self.rest().find(|letter| !is_part(letter)).unwrap_or(self.rest().len());
        let name = self.rest().get(..length).unwrap_or_default();
        if !name.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
            return self.error("expected a name, a function or a text in single quotes");
        }
        self.at += length;
        if !self.rest().starts_with('(') {
            return Ok(Expr::Name(name.to_owned()));
        }
        self.at += 1;
        match name {
            "random" => return self.random(),
            "now" => return self.now(),
            _ => {}
        }
        let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = FUNCTIONS.iter().map(|(known, _)| *known).collect();
            let why =
                format!("there is no such function; there are {}, now, random", known.join(", "));
            return Err(TemplateError { at: begun, why });
        };
        let arguments = self.arguments(depth)?;
        let (least, most) = function.takes();
        if arguments.len() < least || arguments.len() > most {
            let why = format!("`{name}` takes {least} to {most} values");
            return Err(TemplateError { at: begun, why });
        }
        Ok(Expr::Call(*function, arguments))
    }

    fn arguments(&mut self, depth: usize) -> Result<Vec<Expr>, TemplateError> {
        let mut arguments = Vec::new();
        loop {
            arguments.push(self.expr(depth + 1)?);
            self.skip_space();
            if self.rest().starts_with(',') {
                self.at += 1;
                continue;
            }
            self.expect(')')?;
            return Ok(arguments);
        }
    }

    fn random(&mut self) -> Result<Expr, TemplateError> {
        self.skip_space();
        let length = self.rest().find(|letter: char| !letter.is_ascii_digit()).unwrap_or(0);
        let digits = self.rest().get(..length).unwrap_or_default();
        match digits.parse::<u32>() {
            Ok(count) if (16..=MAX_RANDOM_BYTES).contains(&count) => {
                self.at += length;
                self.skip_space();
                self.expect(')')?;
                Ok(Expr::Random(count))
            }
            _ => self
                .error(format!("`random` takes a number of bytes from 16 to {MAX_RANDOM_BYTES}")),
        }
    }

    fn now(&mut self) -> Result<Expr, TemplateError> {
        self.skip_space();
        let begun = self.at;
        let format = self.literal()?;
        self.skip_space();
        self.expect(')')?;
        let known = FORMATS.iter().find(|(name, _)| *name == format);
        let why =
            || "`now` takes one of 'compact', 'http', 'rfc3339', 'unix', 'unix_ms'".to_owned();
        known
            .map(|(_, format)| Expr::Now(*format))
            .ok_or_else(|| TemplateError { at: begun, why: why() })
    }

    /// A text in single quotes; `\n`, `\\` and `\'` are its escapes.
    fn literal(&mut self) -> Result<String, TemplateError> {
        self.expect('\'')?;
        let mut text = String::new();
        loop {
            let Some(letter) = self.rest().chars().next() else {
                return self.error("the text in single quotes has no end");
            };
            self.at += letter.len_utf8();
            match letter {
                '\'' => return Ok(text),
                '\\' => {
                    let escaped = self.rest().chars().next();
                    text.push(match escaped {
                        Some('n') => '\n',
                        Some(plain @ ('\\' | '\'')) => plain,
                        _ => return self.error("expected `n`, `\\` or `'` behind a backslash"),
                    });
                    self.at += 1;
                }
                _ => text.push(letter),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Template::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn values_stand_between_texts() {
        let template = Template::parse("Bearer ${access_token}!").unwrap();
        let [Piece::Text(before), Piece::Value(Expr::Name(name)), Piece::Text(after)] =
            template.pieces()
        else {
            panic!("{template:?}")
        };
        assert_eq!(
            (before.as_str(), name.as_str(), after.as_str()),
            ("Bearer ", "access_token", "!")
        );
        assert_eq!(Template::parse("$5 {a}").unwrap().names(), Vec::<&str>::new());
    }

    #[test]
    fn functions_stand_in_functions() {
        let text = "${hex(hmac_sha256(secret, request.method, '\\n', now('unix')))}";
        let template = Template::parse(text).unwrap();
        assert_eq!(template.names(), ["secret", "request.method"]);
        assert!(template.is_of_the_moment());
        assert!(!Template::parse("${base64(a, ':', b)}").unwrap().is_of_the_moment());
    }

    #[test]
    fn what_is_no_template_is_refused_by_place() {
        assert!(refused("${a").starts_with("at byte 3: expected `}`"));
        assert!(refused("${exec('rm')}").contains("no such function"));
        assert!(refused("${sha256(a)}").contains("bytes are no text"));
        assert!(refused("${hex(random(4))}").contains("from 16 to 64"));
        assert!(refused("${hmac_sha256(a)}").contains("takes 2 to 16"));
        assert!(refused("${now('later')}").contains("'compact'"));
        assert!(refused("${'a}").contains("has no end"));
        assert!(refused("${}").contains("expected a name"));
        assert!(
            refused(&format!("${{{}a{}}}", "hex(".repeat(10), ")".repeat(10))).contains("deep")
        );
        assert!(refused(&"a".repeat(MAX_TEMPLATE_BYTES + 1)).contains("longer"));
    }
}
