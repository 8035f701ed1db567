//! From the bytes of a description to a [`Provider`].

use crate::{
    document::{Document, Node},
    model::{Method, Operation, Provider},
    objects,
    operations::{self, Draft},
    overlay::{self, OverlayError, Room},
    parse, schema, security,
};
use serde_json::Value;

/// What a description may cost. Everything above is refused with a typed error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadLimits {
    /// Size of the document as given.
    pub max_bytes: usize,
    /// Nesting of objects and arrays; the outermost is 1. At most 127, the readers' own limit.
    pub max_depth: usize,
    /// Values after aliases are expanded, counted each time they appear.
    pub max_nodes: usize,
    /// Bytes of all names and texts after aliases are expanded.
    pub max_text_bytes: usize,
}

impl Default for LoadLimits {
    /// 32 MiB, 100 levels, 2 million values, 64 MiB of text: an order of magnitude above the
    /// largest of the forty descriptions that this was tried with (3.1 MB, 0.3 million values).
    fn default() -> Self {
        Self { max_bytes: 32 << 20, max_depth: 100, max_nodes: 2_000_000, max_text_bytes: 64 << 20 }
    }
}

/// The syntax that a document was read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
}

/// Why a description was refused. Lines and columns count from 1; 0 means unknown.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the document has {bytes} bytes; at most {limit} are accepted")]
    TooLarge { bytes: usize, limit: usize },
    #[error("the document nests deeper than {limit}{}", at(*line, *column))]
    TooDeep { limit: usize, line: usize, column: usize },
    #[error("the document has more than {limit} values, aliases expanded")]
    TooManyNodes { limit: usize },
    #[error("the document has more than {limit} bytes of text, aliases expanded")]
    TooMuchText { limit: usize },
    #[error("the name at {pointer} occurs twice{}", at(*line, *column))]
    DuplicateName { pointer: String, line: usize, column: usize },
    #[error("not {}: {message}{}", match format {
        Format::Json => "JSON",
        Format::Yaml => "YAML",
    }, at(*line, *column))]
    Syntax { format: Format, line: usize, column: usize, message: String },
    #[error("the document is no OpenAPI description: {reason}")]
    NotADescription { reason: &'static str },
    #[error("version {version:?} is neither Swagger 2.0 nor OpenAPI 3.x")]
    UnknownVersion { version: String },
    #[error(transparent)]
    Overlay(#[from] OverlayError),
}

/// A place, where it is known.
fn at(line: usize, column: usize) -> String {
    if line == 0 { String::new() } else { format!(" (line {line}, column {column})") }
}

impl LoadError {
    /// What to do about it, for the person who imports.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::TooLarge { .. }
            | Self::TooDeep { .. }
            | Self::TooManyNodes { .. }
            | Self::TooMuchText { .. } => {
                "import a part of the description: leave out examples, or paths that are not needed"
            }
            Self::DuplicateName { .. } => "keep one of the two members: they cannot both be meant",
            Self::Syntax { .. } => {
                "correct the document at this place; a web page is no description"
            }
            Self::NotADescription { .. } => {
                "give the provider's OpenAPI 3.0 or 3.1 or Swagger 2.0 document, in JSON or YAML"
            }
            Self::UnknownVersion { .. } => {
                "convert the document to OpenAPI 3.0 or 3.1; Swagger 1.x is not read"
            }
            Self::Overlay(_) => {
                "correct the overlay; docs/reference/overlay.md shows how one is written"
            }
        }
    }
}

/// The two families of descriptions; 3.0 and 3.1 are read by the same rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Swagger2,
    OpenApi3,
}

/// Reads a document (a description or an overlay) from JSON or YAML.
///
/// # Errors
/// Above the limits, not well-formed, or a name twice in one object.
pub fn parse_document(bytes: &[u8], limits: &LoadLimits) -> Result<Value, LoadError> {
    parse::parse(bytes, limits)
}

/// Applies the overlays in order, then models the description. `x-weirgate-...` counts in overlays
/// only: who describes an API does not decide what is a read or sensitive here.
///
/// # Errors
/// No description at all, an unknown version, or an overlay that cannot be applied. Everything
/// smaller becomes a diagnostic of the provider.
pub fn load_value(
    mut document: Value,
    overlays: &[Value],
    limits: &LoadLimits,
) -> Result<Provider, LoadError> {
    let room = Room { max_nodes: limits.max_nodes, max_depth: limits.max_depth };
    let mut remarks = Vec::new();
    overlay::ignore_extensions(&mut document, &mut remarks);
    for overlay in overlays {
        overlay::apply(&mut document, overlay, room, &mut remarks)?;
    }
    let dialect = dialect(&document)?;
    let mut view = Document::new(&document);
    view.diagnostics = remarks;
    let mut shapes = schema::Builder::new(&mut view, dialect);
    let drafts = operations::read(&mut shapes, dialect);
    shapes.run();
    let servers = security::document_servers(shapes.document, dialect);
    let operations = drafts.iter().flat_map(|draft| &draft.operation.servers);
    let variables = security::variables(servers.iter().chain(operations));
    let security = security::schemes(shapes.document, dialect, &variables);
    security::check_requirements(shapes.document, &drafts, &security.declared);
    let mut provider = Provider {
        title: info(&document, "title"),
        version: info(&document, "version"),
        servers,
        limits: limits_of(shapes.document),
        is_http1_only: is_http1_only(shapes.document),
        security_schemes: security.declared,
        auth: security.plans,
        closed_schemes: security.closed,
        ..Provider::default()
    };
    let asked = check_of(shapes.document);
    let names: Vec<(String, String)> = drafts.iter().filter_map(checkable).collect();
    objects::assemble(&mut provider, shapes, drafts);
    provider.check = asked.and_then(|(node, text)| {
        let path = check_path(&text, &names);
        if path.is_none() {
            let message = "x-weirgate-check is neither `GET /PATH` nor the id of a GET without parameters in its path";
            view.report(node, "bad_extension", message);
        }
        path
    });
    if !overlays.is_empty() {
        view.report_unread_extensions();
    }
    provider.diagnostics.splice(0..0, view.diagnostics);
    Ok(provider)
}

/// `x-weirgate-limits: ["10/s", "100000/d"]` at the document's top.
fn limits_of(document: &mut Document<'_>) -> Vec<types::Rate> {
    let Some(given) = document.extension(document.top(), "x-weirgate-limits") else {
        return Vec::new();
    };
    let rates: Option<Vec<types::Rate>> = given
        .value
        .as_array()
        .map(|list| list.iter().map(|rate| rate.as_str()?.parse().ok()).collect())
        .unwrap_or_default();
    rates.unwrap_or_else(|| {
        let message = "x-weirgate-limits is no list of rates such as \"10/s\"";
        document.report(given, "bad_extension", message);
        Vec::new()
    })
}

/// `x-weirgate-check: "GET /me"`, or an operation's id, at the document's top.
fn check_of<'a>(document: &mut Document<'a>) -> Option<(Node<'a>, String)> {
    let given = document.extension(document.top(), "x-weirgate-check")?;
    let text = given.value.as_str().unwrap_or_default().to_owned();
    Some((given, text))
}

/// Id and path of an operation that a check call may be.
fn checkable(draft: &Draft) -> Option<(String, String)> {
    let Operation { id, method, path, .. } = &draft.operation;
    let is_plain = *method == Method::Get && !path.text().contains('{');
    is_plain.then(|| (id.clone(), path.text().to_owned()))
}

/// A path that is sent as it stands: visible ASCII, without a fragment or segments that lead upwards.
fn check_path(text: &str, names: &[(String, String)]) -> Option<String> {
    let path = match text.strip_prefix("GET ") {
        Some(path) => path,
        None => names.iter().find(|(id, _)| id == text)?.1.as_str(),
    };
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"#{}\\\"<>".contains(&byte);
    let segments = path.split('?').next().unwrap_or_default().split('/');
    let is_good = path.starts_with('/')
        && path.bytes().all(is_plain)
        && segments.clone().all(|segment| segment != "." && segment != "..");
    is_good.then(|| path.to_owned())
}

/// `x-weirgate-http1-only: true` at the document's top.
fn is_http1_only(document: &mut Document<'_>) -> bool {
    let Some(given) = document.extension(document.top(), "x-weirgate-http1-only") else {
        return false;
    };
    given.value.as_bool().unwrap_or_else(|| {
        document.report(given, "bad_extension", "x-weirgate-http1-only is neither true nor false");
        false
    })
}

/// Reads a description and, if there is one, its overlay, and models it.
///
/// # Errors
/// As [`parse_document`] and [`load_value`].
pub fn load(
    description: &[u8],
    overlay: Option<&[u8]>,
    limits: &LoadLimits,
) -> Result<Provider, LoadError> {
    let overlays = overlay.map(|bytes| parse_document(bytes, limits)).transpose()?;
    load_value(parse_document(description, limits)?, overlays.as_slice(), limits)
}

fn dialect(document: &Value) -> Result<Dialect, LoadError> {
    if document.is_null() {
        return Err(LoadError::NotADescription { reason: "it is empty" });
    }
    if !document.is_object() {
        return Err(LoadError::NotADescription { reason: "its top is no object" });
    }
    let (name, known): (_, fn(&str) -> bool) = match document.get("swagger") {
        Some(_) => ("swagger", |version| version == "2" || version == "2.0"),
        None => ("openapi", |version| version == "3" || version.starts_with("3.")),
    };
    let version = match document.get(name) {
        Some(Value::String(version)) => version.clone(),
        // `swagger: 2.0` without quotes is a number in YAML.
        Some(Value::Number(version)) => version.to_string(),
        Some(_) => return Err(LoadError::NotADescription { reason: "its version is no text" }),
        None => {
            return Err(LoadError::NotADescription { reason: "neither `openapi` nor `swagger`" });
        }
    };
    if !known(&version) {
        return Err(LoadError::UnknownVersion { version: version.chars().take(32).collect() });
    }
    Ok(if name == "swagger" { Dialect::Swagger2 } else { Dialect::OpenApi3 })
}

fn info(document: &Value, name: &str) -> String {
    match document.get("info").and_then(|info| info.get(name)) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}
