//! The operations of a description with everything that a mock needs of them.

use super::{
    compile::{Compiler, Dialect},
    schema::{Kinds, Member, Schema, SchemaId, Schemas},
};
use http::HeaderName;
use provider::{
    LoadError, LoadLimits, Method, Operation, PathRouter, Provider, StatusRange, Step, load_value,
    parse_document,
};
use serde_json::{Map, Value};
use std::collections::{HashMap, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

/// How a parameter's text stands for its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// One text; an array or object in it is separated by the character.
    Separated(char),
    /// An array's elements each under the parameter's name.
    Repeated,
    /// Members as `name[member]`, or JSON: not looked into.
    Opaque,
}

#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) is_required: bool,
    pub(crate) schema: SchemaId,
    pub(crate) style: Style,
}

/// A media type as declared, and what JSON or a form in it is.
#[derive(Debug)]
pub(crate) struct Content {
    /// Lower case, without parameters.
    pub(crate) essence: String,
    pub(crate) schema: Option<SchemaId>,
}

#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) is_required: bool,
    pub(crate) contents: Vec<Content>,
    /// The members that lead to the object in it.
    pub(crate) way: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusRange,
    pub(crate) contents: Vec<Content>,
    pub(crate) headers: Vec<(HeaderName, SchemaId)>,
    /// The way from the body to the object, as `provider` found it.
    pub(crate) steps: Vec<Step>,
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) operation: Operation,
    pub(crate) object_name: String,
    pub(crate) params: Vec<Param>,
    pub(crate) body: Option<Body>,
    pub(crate) answers: Vec<Answer>,
}

/// A description, read for mocking.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) schemas: Schemas,
    pub(crate) router: PathRouter,
    pub(crate) entries: Vec<Entry>,
    pub(crate) security_schemes: std::collections::BTreeMap<String, provider::SecurityScheme>,
    /// `tokenUrl` of each scheme that has one, for the paths that tokens are asked for at.
    pub(crate) token_urls: Vec<String>,
    /// Path of the first server, without a slash at its end.
    pub(crate) base_path: String,
}

/// What one operation says, before it is known which of the provider's it is.
struct Raw {
    params: Vec<Param>,
    body: Option<Body>,
    answers: Vec<Answer>,
}

impl Table {
    /// Reads a description.
    ///
    /// # Errors
    /// As [`provider::load`].
    pub(crate) fn read(bytes: &[u8], limits: &LoadLimits) -> Result<Self, LoadError> {
        let document = parse_document(bytes, limits)?;
        let mut compiler = Compiler::new(&document);
        let mut raw = read_operations(&mut compiler, &document);
        let schemas = compiler.finish();
        let token_urls = token_urls(&document);
        let mut provider = load_value(document, &[], limits)?;
        let router = PathRouter::new(&provider);
        let base_path = base_path(&provider);
        let operations = std::mem::take(&mut provider.operations);
        let mut entries = Vec::with_capacity(operations.len());
        for mut operation in operations {
            let key = (operation.path.text().to_owned(), operation.method);
            let found = raw.get_mut(&key).and_then(VecDeque::pop_front);
            let mut raw =
                found.unwrap_or(Raw { params: Vec::new(), body: None, answers: Vec::new() });
            for answer in &mut raw.answers {
                let same = operation.answers.iter().find(|one| one.status == answer.status);
                answer.steps = same.map(|one| one.envelope.steps.clone()).unwrap_or_default();
            }
            if let (Some(body), Some(request)) = (&mut raw.body, &operation.request) {
                body.way = members_of(&request.envelope.steps).unwrap_or_default();
            }
            let object = operation.object.and_then(|id| provider.object(id));
            let object_name = object.map(|object| object.name.clone()).unwrap_or_default();
            operation.answers = Vec::new();
            entries.push(Entry {
                operation,
                object_name,
                params: raw.params,
                body: raw.body,
                answers: raw.answers,
            });
        }
        let security_schemes = std::mem::take(&mut provider.security_schemes);
        let title = std::mem::take(&mut provider.title);
        Ok(Self { title, schemas, router, entries, security_schemes, token_urls, base_path })
    }
}

/// The names of a way that consists of members alone.
pub(crate) fn members_of(steps: &[Step]) -> Option<Vec<String>> {
    steps
        .iter()
        .map(|step| match step {
            Step::Member(name) => Some(name.clone()),
            Step::AnyMember | Step::Elements => None,
        })
        .collect()
}

/// Operations by template and method, in the order of the document: what is cut off a key of
/// `paths` (`#...`) makes several fall together.
fn read_operations<'a>(
    compiler: &mut Compiler<'a>,
    document: &'a Value,
) -> HashMap<(String, Method), VecDeque<Raw>> {
    let mut found: HashMap<(String, Method), VecDeque<Raw>> = HashMap::new();
    let paths = document.get("paths").and_then(Value::as_object);
    for (key, item) in paths.into_iter().flatten() {
        if key.starts_with("x-") {
            continue;
        }
        let Some(item) = compiler.resolve(item) else { continue };
        let Ok(template) = provider::PathTemplate::parse(key, &std::collections::BTreeMap::new())
        else {
            continue;
        };
        for method in Method::ALL {
            let name = method.as_str().to_ascii_lowercase();
            let Some(node) = item.get(&name).and_then(Value::as_object) else { continue };
            let raw = Reader { compiler, document, node, item }.read();
            found.entry((template.text().to_owned(), method)).or_default().push_back(raw);
        }
    }
    found
}

struct Reader<'r, 'a> {
    compiler: &'r mut Compiler<'a>,
    document: &'a Value,
    node: &'a Map<String, Value>,
    item: &'a Value,
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn is_true(value: &Value, name: &str) -> bool {
    value.get(name) == Some(&Value::Bool(true))
}

/// Lower case, without parameters.
pub(crate) fn essence(media: &str) -> String {
    media.split(';').next().unwrap_or(media).trim().to_ascii_lowercase()
}

impl<'a> Reader<'_, 'a> {
    fn read(mut self) -> Raw {
        let params = self.raw_params();
        let body = self.body(&params);
        let answers = self.answers();
        let params = params.into_iter().filter_map(|param| self.param(param)).collect();
        Raw { params, body, answers }
    }

    /// The operation's own parameters win over the path's.
    fn raw_params(&self) -> Vec<&'a Value> {
        let list = |holder: Option<&'a Value>| -> Vec<&'a Value> {
            let all = holder.and_then(Value::as_array).into_iter().flatten();
            all.filter_map(|param| self.compiler.resolve(param)).collect()
        };
        let mut all = list(self.node.get("parameters"));
        let key = |param: &Value| {
            (text(param, "name").map(str::to_owned), text(param, "in").map(str::to_owned))
        };
        for param in list(self.item.get("parameters")) {
            if !all.iter().any(|own| key(own) == key(param)) {
                all.push(param);
            }
        }
        all
    }

    fn param(&mut self, param: &'a Value) -> Option<Param> {
        let place = match text(param, "in")? {
            "path" => Place::Path,
            "query" => Place::Query,
            "header" => Place::Header,
            "cookie" => Place::Cookie,
            _ => return None,
        };
        let name = text(param, "name")?.to_owned();
        let (schema, style) = if self.compiler.dialect() == Dialect::Swagger2 {
            let style = match text(param, "collectionFormat") {
                Some("multi") => Style::Repeated,
                Some("ssv") => Style::Separated(' '),
                Some("tsv") => Style::Separated('\t'),
                Some("pipes") => Style::Separated('|'),
                _ => Style::Separated(','),
            };
            (self.compiler.intern(param), style)
        } else if let Some(schema) = param.get("schema") {
            let explode = param.get("explode").and_then(Value::as_bool);
            let style = match (text(param, "style"), place) {
                (Some("deepObject"), _) => Style::Opaque,
                (Some("spaceDelimited"), _) if explode == Some(false) => Style::Separated(' '),
                (Some("pipeDelimited"), _) if explode == Some(false) => Style::Separated('|'),
                (_, Place::Query | Place::Cookie) if explode != Some(false) => Style::Repeated,
                _ => Style::Separated(','),
            };
            (self.compiler.intern(schema), style)
        } else {
            (self.compiler.add(Schema::any()), Style::Opaque)
        };
        let is_required = is_true(param, "required") || place == Place::Path;
        Some(Param { name, place, is_required, schema, style })
    }

    fn contents(&mut self, holder: &'a Value) -> Vec<Content> {
        let content = holder.get("content").and_then(Value::as_object);
        let mut contents = Vec::new();
        for (media, node) in content.into_iter().flatten() {
            let schema = self.compiler.resolve(node).and_then(|node| node.get("schema"));
            let schema = schema.map(|schema| self.compiler.intern(schema));
            contents.push(Content { essence: essence(media), schema });
        }
        contents
    }

    fn swagger_media(&self, name: &str) -> Vec<String> {
        let list = self.node.get(name).or_else(|| self.document.get(name));
        let list = list.and_then(Value::as_array).into_iter().flatten();
        let media: Vec<String> = list.filter_map(Value::as_str).map(essence).collect();
        if media.is_empty() { vec!["application/json".to_owned()] } else { media }
    }

    fn body(&mut self, params: &[&'a Value]) -> Option<Body> {
        let way = Vec::new();
        if self.compiler.dialect() != Dialect::Swagger2 {
            let body = self.compiler.resolve(self.node.get("requestBody")?)?;
            let is_required = is_true(body, "required");
            return Some(Body { is_required, contents: self.contents(body), way });
        }
        if let Some(param) = params.iter().find(|param| text(param, "in") == Some("body")) {
            let schema = param.get("schema").map(|schema| self.compiler.intern(schema));
            let media = self.swagger_media("consumes");
            let contents = media.into_iter().map(|essence| Content { essence, schema }).collect();
            return Some(Body { is_required: is_true(param, "required"), contents, way });
        }
        let form = params.iter().filter(|param| text(param, "in") == Some("formData"));
        let form: Vec<&'a Value> = form.copied().collect();
        if form.is_empty() {
            return None;
        }
        let mut schema = Schema::any();
        schema.kinds = Kinds::OBJECT;
        let named = |param: &&'a Value| text(param, "name").map(|name| (name, *param));
        schema.members = form
            .iter()
            .filter_map(named)
            .map(|(name, param)| Member { name: name.into(), schema: self.compiler.intern(param) })
            .collect();
        let required = form.iter().filter(|param| is_true(param, "required"));
        schema.required = required.filter_map(named).map(|(name, _)| name.into()).collect();
        let is_required = !schema.required.is_empty();
        let schema = Some(self.compiler.add(schema));
        let mut media = self.swagger_media("consumes");
        let is_form = |kind: &String| kind.starts_with("multipart/") || kind == FORM;
        media.retain(is_form);
        if media.is_empty() {
            media.push(FORM.to_owned());
            media.push("multipart/form-data".to_owned());
        }
        let contents = media.into_iter().map(|essence| Content { essence, schema }).collect();
        Some(Body { is_required, contents, way })
    }

    fn answers(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        let responses = self.node.get("responses").and_then(Value::as_object);
        for (key, node) in responses.into_iter().flatten() {
            let (Some(status), Some(node)) = (status(key), self.compiler.resolve(node)) else {
                continue;
            };
            let contents = if self.compiler.dialect() == Dialect::Swagger2 {
                self.swagger_contents(node)
            } else {
                self.contents(node)
            };
            let headers = self.headers(node);
            answers.push(Answer { status, contents, headers, steps: Vec::new() });
        }
        answers
    }

    fn swagger_contents(&mut self, node: &'a Value) -> Vec<Content> {
        let Some(schema) = node.get("schema") else { return Vec::new() };
        let mut media = self.swagger_media("produces");
        if text(schema, "type") == Some("file") {
            media.retain(|kind| !is_json(kind));
            if media.is_empty() {
                media.push("application/octet-stream".to_owned());
            }
            return media.into_iter().map(|essence| Content { essence, schema: None }).collect();
        }
        let schema = Some(self.compiler.intern(schema));
        // A schema is for JSON; many documents name XML beside it, or nothing but XML.
        if !media.iter().any(|kind| is_json(kind)) {
            media.insert(0, "application/json".to_owned());
        }
        media.into_iter().map(|essence| Content { essence, schema }).collect()
    }

    fn headers(&mut self, node: &'a Value) -> Vec<(HeaderName, SchemaId)> {
        /// What the server itself sets.
        const FRAMING: [&str; 9] = [
            "connection",
            "content-encoding",
            "content-length",
            "content-type",
            "date",
            "keep-alive",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ];
        let declared = node.get("headers").and_then(Value::as_object);
        let mut headers = Vec::new();
        for (name, header) in declared.into_iter().flatten() {
            let Ok(name) = HeaderName::try_from(name.as_str()) else { continue };
            let Some(header) = self.compiler.resolve(header) else { continue };
            if !FRAMING.contains(&name.as_str()) {
                let schema = header.get("schema").unwrap_or(header);
                headers.push((name, self.compiler.intern(schema)));
            }
        }
        headers
    }
}

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// RFC 6839 §3.1; wildcards stand for JSON here.
pub(crate) fn is_json(essence: &str) -> bool {
    matches!(essence, "application/json" | "*/*" | "application/*" | "text/json")
        || essence.ends_with("+json")
}

fn status(key: &str) -> Option<StatusRange> {
    let key = key.trim();
    if key == "default" {
        return Some(StatusRange::Default);
    }
    let (first, rest) = key.split_at_checked(1)?;
    if rest.eq_ignore_ascii_case("xx") {
        let class: u16 = first.parse().ok()?;
        return (1..=5).contains(&class).then_some(StatusRange::Class(class));
    }
    key.parse().ok().filter(|code| (100..=599).contains(code)).map(StatusRange::Exact)
}

/// The path of the first server, its variables filled with their defaults.
fn base_path(provider: &Provider) -> String {
    let Some(server) = provider.servers.first() else { return String::new() };
    let mut url = server.url.clone();
    for (name, variable) in &server.variables {
        let choice = variable.default.as_ref().or_else(|| variable.choices.first());
        url = url.replace(&format!("{{{name}}}"), choice.map_or("", String::as_str));
    }
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default(),
        None if url.starts_with('/') => url.as_str(),
        None => "",
    };
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    // A server whose variables have no values has no path that anybody could call.
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}%\\".contains(&byte));
    if is_plain { path.to_owned() } else { String::new() }
}

/// All `tokenUrl`s, of flows (3.x) and schemes (2.0).
fn token_urls(document: &Value) -> Vec<String> {
    let schemes = document
        .get("components")
        .and_then(|all| all.get("securitySchemes"))
        .or_else(|| document.get("securityDefinitions"))
        .and_then(Value::as_object);
    let mut urls = Vec::new();
    for scheme in schemes.into_iter().flatten().map(|(_, scheme)| scheme) {
        let flows = scheme.get("flows").and_then(Value::as_object);
        let flows = flows.into_iter().flatten().map(|(_, flow)| flow);
        for holder in flows.chain([scheme]) {
            urls.extend(text(holder, "tokenUrl").map(str::to_owned));
        }
    }
    urls.sort_unstable();
    urls.dedup();
    urls
}
