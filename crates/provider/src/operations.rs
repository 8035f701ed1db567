//! Operations as the description lists them, before their objects are known.

use crate::{
    document::Node,
    envelope::{is_link_name, shape},
    load::Dialect,
    model::{
        Answer, Envelope, ErrorInside, KeptMember, KeptRule, Member, Method, ObjectShape,
        Operation, Param, ParamPlace, RequestBody, Shape, ShapeId, StatusRange, Step,
    },
    path_template::PathTemplate,
    schema::Builder,
    security,
    select::parse_steps,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use types::Action;

pub(crate) const JSON: &str = "application/json";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// An operation, and what its object is found by.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) operation: Operation,
    pub(crate) pointer: String,
    /// `x-weirgate-object`.
    pub(crate) given_object: Option<String>,
    /// `x-weirgate-kept`: paths of members of the envelope to keep, instead of those that are
    /// recognised.
    pub(crate) given_kept: Option<Vec<KeptMember>>,
    /// `x-weirgate-opaque`.
    pub(crate) given_opaque: Option<bool>,
    /// Query parameters that page only where the answer has pages of that kind.
    pub(crate) doubtful: Vec<(String, Doubt)>,
}

/// A parameter's name that pages with one provider and filters with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// `after`: the answer has to tell of a next or previous page.
    Cursor,
    /// `start`: the answer has to tell of pages at all.
    Pages,
    /// `limit`: there has to be a list.
    List,
}

fn doubt(name: &str) -> Doubt {
    match flat(name).as_str() {
        "after" | "before" | "marker" => Doubt::Cursor,
        "start" | "count" => Doubt::Pages,
        _ => Doubt::List,
    }
}

impl Doubt {
    /// Whether an answer that keeps these members has pages of the kind.
    pub(crate) fn is_settled(self, kept: &[KeptMember], is_list: bool) -> bool {
        const CURSORS: [&str; 8] =
            ["next", "prev", "cursor", "token", "marker", "after", "before", "more"];
        const PAGES: [&str; 9] =
            ["start", "offset", "total", "count", "page", "skip", "limit", "number", "size"];
        let tells = |words: &[&str]| {
            kept.iter().flat_map(|one| &one.path).any(|step| match step {
                Step::Member(name) => {
                    let name = flat(name);
                    words.iter().any(|word| name.contains(word))
                }
                Step::AnyMember | Step::Elements => false,
            })
        };
        match self {
            Self::Cursor => tells(&CURSORS),
            Self::Pages => tells(&CURSORS) || tells(&PAGES),
            Self::List => is_list,
        }
    }
}

/// Reads all operations, in the order of the document.
pub(crate) fn read(builder: &mut Builder<'_, '_>, dialect: Dialect) -> Vec<Draft> {
    let top = builder.document.top();
    let Some(paths) = builder.document.member(top, "paths") else {
        builder.document.report_at(String::new(), "no_paths", "the description has no paths");
        return Vec::new();
    };
    let document_security = security::requirements(builder.document, top);
    let mut drafts = Vec::new();
    let mut ids = HashSet::new();
    for (key, item) in builder.document.members(paths) {
        if key.starts_with("x-") {
            continue;
        }
        let Some(item) = builder.document.resolve(item) else { continue };
        let shared = raw_params(builder, item);
        for method in Method::ALL {
            let name = method_member(method);
            let Some(node) = builder.document.member(item, name) else { continue };
            if !node.value.is_object() {
                builder.document.report(node, "operation_not_an_object", "it was left out");
                continue;
            }
            let mut reader = Reader { builder, dialect, key, method, node };
            if let Some(mut draft) = reader.operation(item, &shared) {
                if draft.operation.security.is_none() {
                    draft.operation.security.clone_from(&document_security);
                }
                unique_id(&mut draft.operation, key, &mut ids);
                drafts.push(draft);
            }
        }
    }
    drafts
}

const fn method_member(method: Method) -> &'static str {
    match method {
        Method::Get => "get",
        Method::Put => "put",
        Method::Post => "post",
        Method::Delete => "delete",
        Method::Options => "options",
        Method::Head => "head",
        Method::Patch => "patch",
        Method::Trace => "trace",
    }
}

/// Whether an id reads like `GET /things`: who names an operation so means the one at that place.
fn is_like_a_place(id: &str) -> bool {
    let (method, path) = id.trim().split_once(char::is_whitespace).unwrap_or_default();
    path.trim_start().starts_with('/')
        && Method::ALL.iter().any(|one| one.as_str().eq_ignore_ascii_case(method))
}

/// A second operation of one id is known by its method and path.
fn unique_id(operation: &mut Operation, key: &str, ids: &mut HashSet<String>) {
    if !ids.insert(operation.id.clone()) {
        let mut id = format!("{} {key}", operation.method.as_str());
        while !ids.insert(id.clone()) {
            id.push('\'');
        }
        operation.id = id;
    }
}

/// Parameters, references followed.
fn raw_params<'a>(builder: &mut Builder<'_, 'a>, holder: Node<'a>) -> Vec<Node<'a>> {
    let Some(list) = builder.document.member(holder, "parameters") else { return Vec::new() };
    let elements = builder.document.elements(list);
    elements.into_iter().filter_map(|node| builder.document.resolve(node)).collect()
}

struct Reader<'r, 'd, 'a> {
    builder: &'r mut Builder<'d, 'a>,
    dialect: Dialect,
    key: &'a str,
    method: Method,
    node: Node<'a>,
}

fn text<'a>(node: Node<'a>, name: &str) -> Option<&'a str> {
    node.value.get(name).and_then(Value::as_str)
}

impl<'a> Reader<'_, '_, 'a> {
    fn operation(&mut self, item: Node<'a>, shared: &[Node<'a>]) -> Option<Draft> {
        let own = raw_params(self.builder, self.node);
        let params = merged(shared, &own);
        let path = self.path(&params)?;
        let request = self.request(&params);
        let answers = self.answers();
        let servers = match self.dialect {
            Dialect::Swagger2 if self.node.value.get("schemes").is_some() => {
                security::swagger_servers(self.builder.document, Some(self.node))
            }
            Dialect::Swagger2 => Vec::new(),
            Dialect::OpenApi3 => {
                let own = security::servers(self.builder.document, self.node);
                if own.is_empty() { security::servers(self.builder.document, item) } else { own }
            }
        };
        let place = format!("{} {}", self.method.as_str(), self.key);
        let id = match text(self.node, "operationId").filter(|id| !id.trim().is_empty()) {
            Some(id) if id != place && is_like_a_place(id) => {
                let message = "an operationId like a method and path is not used";
                self.builder.document.report(self.node, "misleading_operation_id", message);
                place
            }
            Some(id) => id.to_owned(),
            None => place,
        };
        let operation = Operation {
            id,
            method: self.method,
            path,
            action: self.action(),
            object: None,
            answers,
            request,
            params: self.params(&params),
            security: security::requirements(self.builder.document, self.node),
            servers,
            error_inside: self.error_inside(),
            opaque: None,
            lowered_opaque: None,
            is_observed: self.is_observed(),
            deprecated: self.node.value.get("deprecated").and_then(Value::as_bool).unwrap_or(false),
        };
        let doubtful = params
            .iter()
            .filter(|param| text(**param, "in") == Some("query"))
            .filter(|param| param.value.get("x-weirgate-paging").and_then(Value::as_bool).is_none())
            .filter_map(|param| text(*param, "name"))
            .map(|name| (name.to_owned(), doubt(name)))
            .collect();
        Some(Draft {
            doubtful,
            operation,
            pointer: self.builder.document.pointer(self.node.place),
            given_object: self
                .builder
                .document
                .extension(self.node, "x-weirgate-object")
                .and_then(|given| given.value.as_str())
                .map(str::to_owned),
            given_kept: self.given_kept(),
            given_opaque: self.given_opaque(),
        })
    }

    /// `x-weirgate-kept`: paths from the answer's root, such as `summary.total`.
    fn given_kept(&mut self) -> Option<Vec<KeptMember>> {
        let list = self.builder.document.extension(self.node, "x-weirgate-kept")?;
        let mut kept = Vec::new();
        for node in self.builder.document.elements(list) {
            if let Some(path) = node.value.as_str().and_then(parse_steps) {
                let is_link = matches!(path.last(), Some(Step::Member(name)) if is_link_name(name));
                let rule = if is_link { KeptRule::Word } else { KeptRule::Any };
                kept.push(KeptMember { path, rule });
            } else {
                let message = "x-weirgate-kept holds something that is no path";
                self.builder.document.report(node, "unreadable_kept", message);
            }
        }
        Some(kept)
    }

    fn path(&mut self, params: &[Node<'a>]) -> Option<PathTemplate> {
        let mut enums = BTreeMap::new();
        for param in params.iter().filter(|param| text(**param, "in") == Some("path")) {
            let holder = param.value.get("schema").unwrap_or(param.value);
            let choices: Vec<String> = holder
                .get("enum")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(security::scalar_text)
                .collect();
            if let Some(name) = text(*param, "name")
                && !choices.is_empty()
            {
                enums.insert(name.to_owned(), choices);
            }
        }
        match PathTemplate::parse(self.key, &enums) {
            Ok(path) => Some(path),
            Err(error) => {
                self.builder.document.report(self.node, "unreadable_path", &error.to_string());
                None
            }
        }
    }

    /// By the method, unless the overlay knows better: a POST that searches is a read.
    fn action(&mut self) -> Action {
        if let Some(given) = self.builder.document.extension(self.node, "x-weirgate-action") {
            match given.value.as_str().unwrap_or_default().parse() {
                // Of the methods that change something only POST is used to ask as well.
                Ok(Action::Read) if !self.method.is_safe() && self.method != Method::Post => {
                    let message = "x-weirgate-action makes no read of PUT, PATCH or DELETE";
                    self.builder.document.report(self.node, "unsafe_read", message);
                }
                Ok(action) => return action,
                Err(_) => {
                    let message = "x-weirgate-action is no action";
                    self.builder.document.report(self.node, "unknown_action", message);
                }
            }
        }
        self.method.action()
    }

    fn error_inside(&mut self) -> Option<ErrorInside> {
        let given = self.builder.document.extension(self.node, "x-weirgate-error")?.value;
        let read = || {
            let (member, equals) = given.get("when")?.as_str()?.split_once('=')?;
            let code = given.get("code").and_then(Value::as_str).unwrap_or("error");
            Some(ErrorInside {
                member: member.trim().to_owned(),
                equals: equals.trim().to_owned(),
                code: code.to_owned(),
            })
        };
        let error = read();
        if error.is_none() {
            let message = "x-weirgate-error needs `when: \"member=value\"`";
            self.builder.document.report(self.node, "unreadable_error_rule", message);
        }
        error
    }

    fn given_opaque(&mut self) -> Option<bool> {
        let given = self.builder.document.extension(self.node, "x-weirgate-opaque")?;
        if given.value.as_bool().is_none() {
            let message = "x-weirgate-opaque is true or false";
            self.builder.document.report(given, "unreadable_opaque", message);
        }
        given.value.as_bool()
    }

    fn is_observed(&mut self) -> bool {
        let Some(given) = self.builder.document.extension(self.node, "x-weirgate-observe") else {
            return false;
        };
        given.value.as_bool().unwrap_or_else(|| {
            let message = "x-weirgate-observe is true or false";
            self.builder.document.report(given, "unreadable_observe", message);
            false
        })
    }

    fn params(&mut self, params: &[Node<'a>]) -> Vec<Param> {
        let mut found = Vec::new();
        for param in params {
            let told = self.builder.document.extension(*param, "x-weirgate-paging");
            let told = told.and_then(|told| told.value.as_bool());
            let place = match text(*param, "in") {
                Some("query") => ParamPlace::Query,
                Some("header") => ParamPlace::Header,
                Some("cookie") => ParamPlace::Cookie,
                _ => continue,
            };
            let Some(name) = text(*param, "name").map(str::to_owned) else { continue };
            let described = || tells_of_pages(*param, doubt(&name));
            let is_paging = place == ParamPlace::Query
                && told.unwrap_or_else(|| {
                    is_paging_param(&name) && !is_date(param.value) && described()
                });
            let is_required = param.value.get("required").and_then(Value::as_bool) == Some(true);
            found.push(Param { name, place, is_required, is_paging });
        }
        found
    }

    fn request(&mut self, params: &[Node<'a>]) -> Option<RequestBody> {
        match self.dialect {
            Dialect::OpenApi3 => {
                let node = self.builder.document.member(self.node, "requestBody")?;
                let node = self.builder.document.resolve(node)?;
                let (media, shape) = self.content(node, true);
                Some(RequestBody {
                    media,
                    shape,
                    envelope: Envelope::default(),
                    is_required: node
                        .value
                        .get("required")
                        .and_then(Value::as_bool)
                        .unwrap_or(false),
                })
            }
            Dialect::Swagger2 => self.swagger_request(params),
        }
    }

    fn swagger_request(&mut self, params: &[Node<'a>]) -> Option<RequestBody> {
        let is_required =
            |node: &Node<'a>| node.value.get("required").and_then(Value::as_bool).unwrap_or(false);
        if let Some(body) = params.iter().find(|param| text(**param, "in") == Some("body")) {
            let shape = self
                .builder
                .document
                .member(*body, "schema")
                .map(|schema| self.builder.intern(schema));
            return Some(RequestBody {
                media: self.swagger_media("consumes"),
                shape,
                envelope: Envelope::default(),
                is_required: is_required(body),
            });
        }
        let form: Vec<Node<'a>> = params
            .iter()
            .filter(|param| text(**param, "in") == Some("formData"))
            .copied()
            .collect();
        if form.is_empty() {
            return None;
        }
        let has_file = form.iter().any(|param| text(*param, "type") == Some("file"));
        let mut object = ObjectShape::default();
        let mut order = Vec::new();
        for param in &form {
            let Some(name) = text(*param, "name") else { continue };
            order.push(name.to_owned());
            let shape = self.builder.intern(*param);
            let description = text(*param, "description").unwrap_or_default();
            object.members.insert(
                name.to_owned(),
                Member {
                    shape,
                    description: description.chars().take(300).collect(),
                    is_required: is_required(param),
                    is_read_only: false,
                    is_write_only: false,
                    label: None,
                    is_data: false,
                    merges: Vec::new(),
                },
            );
        }
        let shape = self.builder.allocate(Shape::Object(object), None);
        self.builder.orders.insert(shape, order);
        let mut media: BTreeSet<String> = self.swagger_media("consumes");
        media.retain(|kind| kind == FORM || kind.starts_with("multipart/"));
        if media.is_empty() {
            media.insert(if has_file { "multipart/form-data".to_owned() } else { FORM.to_owned() });
        }
        let is_required = form.iter().any(is_required);
        Some(RequestBody { media, shape: Some(shape), envelope: Envelope::default(), is_required })
    }

    fn swagger_media(&mut self, name: &str) -> BTreeSet<String> {
        let root = self.builder.document.root;
        let list = self.node.value.get(name).or_else(|| root.get(name));
        let mut media: BTreeSet<String> = list
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(essence)
            .collect();
        if media.is_empty() {
            media.insert(JSON.to_owned());
        }
        media
    }

    fn answers(&mut self) -> Vec<Answer> {
        let Some(responses) = self.builder.document.member(self.node, "responses") else {
            return Vec::new();
        };
        let mut answers = Vec::new();
        for (key, node) in self.builder.document.members(responses) {
            let Some(status) = status(key) else {
                if !key.starts_with("x-") {
                    self.builder.document.report(node, "unreadable_status", "it was left out");
                }
                continue;
            };
            let Some(node) = self.builder.document.resolve(node) else { continue };
            let (media, shape) = match self.dialect {
                Dialect::OpenApi3 => self.content(node, false),
                Dialect::Swagger2 => match self.builder.document.member(node, "schema") {
                    Some(schema) if text(schema, "type") == Some("file") => {
                        let mut media = self.swagger_media("produces");
                        media.retain(|kind| !is_json(kind));
                        if media.is_empty() {
                            media.insert("application/octet-stream".to_owned());
                        }
                        (media, None)
                    }
                    Some(schema) => {
                        let shape = self.builder.intern(schema);
                        let mut media = self.swagger_media("produces");
                        // A schema is for JSON; many documents name XML beside it.
                        if !media.iter().any(|kind| is_json(kind)) {
                            media.insert(JSON.to_owned());
                        }
                        (media, Some(shape))
                    }
                    None => (BTreeSet::new(), None),
                },
            };
            answers.push(Answer { status, media, shape, envelope: Envelope::default() });
        }
        answers
    }

    /// Media types, and the shape of the JSON among them (or of a form in requests).
    fn content(
        &mut self,
        holder: Node<'a>,
        is_request: bool,
    ) -> (BTreeSet<String>, Option<ShapeId>) {
        let content = self.builder.document.member(holder, "content");
        let Some(content) = content.and_then(|node| self.builder.document.resolve(node)) else {
            return (BTreeSet::new(), None);
        };
        let kinds = self.builder.document.members(content);
        let media: BTreeSet<String> = kinds.iter().map(|(kind, _)| essence(kind)).collect();
        let json = kinds.iter().find(|(kind, _)| essence(kind) == JSON);
        let json = json.or_else(|| kinds.iter().find(|(kind, _)| is_json(&essence(kind))));
        let form = || kinds.iter().find(|(kind, _)| is_request && essence(kind) == FORM);
        let shape = json.or_else(form).and_then(|(_, node)| {
            let node = self.builder.document.resolve(*node)?;
            let schema = self.builder.document.member(node, "schema")?;
            Some(self.builder.intern(schema))
        });
        (media, shape)
    }
}

/// The operation's own parameters win over the path's by name and place.
fn merged<'a>(shared: &[Node<'a>], own: &[Node<'a>]) -> Vec<Node<'a>> {
    let key = |node: &Node<'a>| (text(*node, "name"), text(*node, "in"));
    let mut all = own.to_vec();
    for param in shared {
        if !own.iter().any(|one| key(one) == key(param)) {
            all.push(*param);
        }
    }
    all
}

/// Lower case, without parameters.
fn essence(media: &str) -> String {
    media.split(';').next().unwrap_or(media).trim().to_ascii_lowercase()
}

/// Whether a declared media type, lower case and without parameters, is JSON (RFC 6839 §3.1); the
/// wildcard stands for it.
pub fn is_json(media: &str) -> bool {
    media == JSON
        || media == "*/*"
        || media == "application/*"
        || media == "text/json"
        || media.ends_with("+json")
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

/// `after` a date is a filter, and no page.
fn is_date(param: &Value) -> bool {
    let holder = param.get("schema").unwrap_or(param);
    holder.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("date"))
}

/// Whether a parameter that can be a filter is described as one that pages.
fn tells_of_pages(param: Node<'_>, doubt: Doubt) -> bool {
    const CURSORS: [&str; 6] = ["page", "pagin", "cursor", "offset", "batch of", "token"];
    const PAGES: [&str; 6] = ["result", "limit", "number of", "index", "records", "items to"];
    const TIMES: [&str; 8] =
        ["date", "time", "created", "updated", "modified", "since", "iso 8601", "epoch"];
    let words = text(param, "description").unwrap_or_default().to_ascii_lowercase();
    let has = |list: &[&str]| list.iter().any(|word| words.contains(word));
    match doubt {
        Doubt::Cursor => has(&CURSORS) && !has(&TIMES),
        Doubt::Pages => (has(&CURSORS) || has(&PAGES)) && !has(&TIMES),
        Doubt::List => true,
    }
}

/// Whether callers can ask an operation for a page, by a parameter or a member of the body.
pub(crate) fn asks_for_pages(shapes: &[Shape], operation: &Operation) -> bool {
    let in_body = || {
        let root = operation.request.as_ref()?.shape?;
        let Shape::Object(object) = shape(shapes, root) else { return None };
        object.members.keys().find(|name| doubt(name) == Doubt::List && is_paging_param(name))
    };
    let is_search = operation.action == Action::Read && !operation.method.is_safe();
    operation.params.iter().any(|param| param.is_paging) || is_search && in_body().is_some()
}

/// Names by which providers take page, size and cursor. They choose which part of a list is read,
/// never what of it.
pub fn is_paging_param(name: &str) -> bool {
    const NAMES: [&str; 38] = [
        "after",
        "before",
        "continuation",
        "continuationtoken",
        "count",
        "cursor",
        "endingbefore",
        "firstresult",
        "limit",
        "marker",
        "maxpagesize",
        "maxresults",
        "nextcursor",
        "nextpagetoken",
        "nexttoken",
        "offset",
        "page",
        "pageafter",
        "pagebefore",
        "pagecursor",
        "pagelimit",
        "pagenum",
        "pagenumber",
        "pageoffset",
        "pagesize",
        "pagetoken",
        "paginationtoken",
        "perpage",
        "previouscursor",
        "skip",
        "skiptoken",
        "start",
        "startat",
        "startcursor",
        "startingafter",
        "startindex",
        "take",
        "top",
    ];
    NAMES.contains(&flat(name).as_str())
}

/// Letters and digits in lower case: `page[size]`, `page_size` and `pageSize` are one name.
pub(crate) fn flat(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}
