//! A described provider that answers: one call from its path to its reply, without any I/O.

use super::{
    auth::Auth,
    cache::{Cache, Kept},
    check::Direction,
    draw::Key,
    fault::{self, Fault, Rules},
    invent::{Flavors, Inventor},
    paging::{self, Paging, Start, Told},
    problem::Problem,
    records::{Record, SeededIds},
    render::Fill,
    request::{check_headers, check_target, read_body, read_query},
    roles::{ListWay, Part, Role, Roles, Verb, element_schemas},
    schema::SchemaId,
    store::{Full, State, Store, Written, merge},
    table::{Entry, Table},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use provider::{RouteOutcome, decode_path};
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};
use types::Clock;

/// The most records that a filter looks at; of more, the rest is taken as not fitting.
const MAX_FILTERED: usize = 5_000;

/// A request, its body read whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'c> {
    pub(crate) method: &'c Method,
    /// As sent.
    pub(crate) path: &'c str,
    pub(crate) query: &'c str,
    pub(crate) headers: &'c HeaderMap,
    pub(crate) body: &'c [u8],
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    pub(crate) delivery: Delivery,
}

impl Reply {
    pub(crate) const fn new(
        status: StatusCode,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> Self {
        Self { status, headers, body, delivery: Delivery::Whole }
    }
}

/// How an answer goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    Delayed(Duration),
    Slow(Duration),
    Truncated,
    Cut,
    Reset,
}

/// What a mock is made with, beside its description.
#[derive(Debug)]
pub(crate) struct MockOptions {
    pub(crate) seed: u64,
    pub(crate) count: u64,
    pub(crate) root_url: String,
    pub(crate) auth: Auth,
    pub(crate) rules: Rules,
    pub(crate) clock: Arc<dyn Clock>,
}

#[derive(Debug)]
pub(crate) struct Mock {
    pub(super) table: Table,
    pub(super) flavors: Flavors,
    pub(super) roles: Roles,
    pub(super) paging: Vec<Paging>,
    pub(super) seed: Key,
    /// Seeded records of each collection.
    pub(super) count: u64,
    /// `http://ADDR`.
    pub(super) root_url: String,
    pub(super) store: Mutex<Store>,
    pub(super) seeded: Mutex<HashMap<String, Arc<SeededIds>>>,
    pub(super) cache: Cache,
    pub(super) auth: Auth,
    pub(super) rules: RwLock<Rules>,
    pub(super) clock: Arc<dyn Clock>,
    /// Paths of declared token URLs that are no operations.
    pub(super) token_paths: Vec<String>,
}

/// What an operation is called with, once its path is known.
#[derive(Clone, Copy)]
pub(super) struct Called<'c> {
    pub(super) index: usize,
    pub(super) entry: &'c Entry,
    pub(super) part: &'c Part,
    pub(super) segments: &'c [String],
    pub(super) query: &'c [(String, String)],
    pub(super) body: Option<&'c Value>,
}

impl Mock {
    pub(crate) fn new(table: Table, options: MockOptions) -> Self {
        let flavors = Flavors::default();
        let roles = Roles::find(&table, &flavors);
        let paging = table.entries.iter().map(|entry| Paging::of(entry, &table.schemas)).collect();
        let MockOptions { seed, count, root_url, auth, rules, clock } = options;
        let mut mock = Self {
            flavors,
            roles,
            paging,
            seed: Key::new(seed),
            count,
            root_url,
            store: Mutex::new(Store::default()),
            seeded: Mutex::new(HashMap::new()),
            cache: Cache::default(),
            auth,
            rules: RwLock::new(rules),
            clock,
            token_paths: Vec::new(),
            table,
        };
        let path = |url: &String| {
            let path = match url.split_once("://") {
                Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..))?,
                None => url.as_str(),
            };
            let path = path.split(['?', '#']).next()?;
            (path.len() > 1 && path.starts_with('/')).then(|| path.to_owned())
        };
        let paths: Vec<String> = mock.table.token_urls.iter().filter_map(path).collect();
        let is_free = |path: &String| {
            let call = Call {
                method: &Method::POST,
                path,
                query: "",
                headers: &HeaderMap::new(),
                body: b"",
            };
            mock.find(call).is_err()
        };
        mock.token_paths = paths.into_iter().filter(is_free).collect();
        mock
    }

    pub(crate) fn title(&self) -> &str {
        &self.table.title
    }

    pub(crate) const fn operations(&self) -> usize {
        self.table.entries.len()
    }

    /// Collections with a list.
    pub(crate) fn listed(&self) -> usize {
        self.roles.collections.iter().filter(|one| one.is_listed).count()
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        // Changes are made in one step: a panic elsewhere leaves whole records.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn base_url(&self) -> String {
        format!("{}{}", self.root_url, self.table.base_path)
    }

    pub(crate) fn handle(&self, call: Call<'_>) -> Reply {
        if let Some(reply) = self.control(call) {
            return reply;
        }
        let fault = match self.fault(call) {
            Ok(fault) => fault,
            Err(problem) => return self.refuse(None, &problem),
        };
        let is_read = call.method == Method::GET && call.body.is_empty() && fault.is_none();
        let version = self.store().version();
        if is_read
            && let Some(kept) = self.cache.find(call.path, call.query, version)
            && let Some(reply) = self.again(&kept, call)
        {
            return reply;
        }
        let (index, outcome) = self.answer(call, fault.as_ref());
        match outcome {
            Ok(reply) => {
                let is_plain = call.headers.get(header::ACCEPT).is_none_or(accepts_json);
                if is_read && is_plain {
                    self.cache.keep(call.path, call.query, version, index, &reply);
                }
                reply
            }
            Err(problem) => self.refuse(index, &problem),
        }
    }

    /// What is to go wrong with a call: what it asks for itself, else what the rules say.
    fn fault(&self, call: Call<'_>) -> Result<Option<Fault>, Problem> {
        if let Some(asked) = fault::asked(call.headers) {
            return asked
                .map(Some)
                .map_err(|error| Problem::bad("fault_unknown", error.to_string()));
        }
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        if rules.is_empty() {
            return Ok(None);
        }
        let path = call.path.strip_prefix(self.table.base_path.as_str()).unwrap_or(call.path);
        Ok(rules.meet(call.method.as_str(), path))
    }

    fn authorize_call(&self, entry: &Entry, call: Call<'_>) -> Result<(), Problem> {
        let required = entry.operation.security.as_deref();
        self.auth.judge(required, call.headers, call.query, self.clock.now())
    }

    /// An answer that was given before, if this caller would get it too.
    fn again(&self, kept: &Kept, call: Call<'_>) -> Option<Reply> {
        let entry = self.table.entries.get(kept.index?)?;
        let is_same = call.headers.get(header::ACCEPT).is_none_or(accepts_json)
            && self.authorize_call(entry, call).is_ok()
            && check_headers(&self.table.schemas, entry, call.headers).is_ok();
        is_same.then(|| kept.reply.clone())
    }

    /// The right answer, as the fault lets it go out.
    fn faulty(&self, mut reply: Reply, fault: &Fault) -> Reply {
        reply.delivery = match fault {
            Fault::Status { .. } => Delivery::Whole,
            Fault::Delay(pause) => Delivery::Delayed(*pause),
            Fault::Slow(pause) => Delivery::Slow(*pause),
            Fault::Reset => Delivery::Reset,
            Fault::Cut => Delivery::Cut,
            Fault::Truncated => Delivery::Truncated,
            Fault::Drift => {
                if let Ok(mut value) = serde_json::from_slice::<Value>(&reply.body) {
                    fault::drift(&mut value);
                    reply.body = Bytes::from(value.to_string());
                }
                Delivery::Whole
            }
        };
        reply
    }

    /// The operation, as far as it was found, and what becomes of the call.
    fn answer(
        &self,
        call: Call<'_>,
        fault: Option<&Fault>,
    ) -> (Option<usize>, Result<Reply, Problem>) {
        let (index, segments) = match self.find(call) {
            Err(problem) => return (None, Err(problem)),
            Ok(found) => found,
        };
        let allowed = match self.table.entries.get(index) {
            Some(entry) => self.authorize_call(entry, call),
            None => Err(Problem::not_found()),
        };
        let outcome = allowed.and_then(|()| match fault {
            Some(Fault::Status { status, retry_after }) => {
                let problem = Problem::new(*status, "fault", "this failure was asked for");
                Err(match retry_after {
                    Some(seconds) => problem.with(header::RETRY_AFTER, &seconds.to_string()),
                    None => problem,
                })
            }
            Some(fault) => {
                let reply = self.perform(call, index, &segments)?;
                Ok(self.faulty(reply, fault))
            }
            None => self.perform(call, index, &segments),
        });
        (Some(index), outcome)
    }

    fn find(&self, call: Call<'_>) -> Result<(usize, Vec<String>), Problem> {
        // The description's paths are also served below the path of its server, as clients call it.
        let base = self.table.base_path.as_str();
        let below = call.path.strip_prefix(base).filter(|rest| rest.starts_with('/'));
        let mut outcome = Err(Problem::not_found());
        for path in below.into_iter().chain([call.path]) {
            let segments = decode_path(path)
                .map_err(|error| Problem::bad("path_refused", error.to_string()))?;
            let Some(method) = provider::Method::ALL
                .into_iter()
                .find(|method| method.as_str() == call.method.as_str())
            else {
                let detail = "the method is unknown";
                return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "method_unknown", detail));
            };
            match self.table.router.route(method, &segments) {
                RouteOutcome::Found { operations, .. } => {
                    let chosen = self.choose(&operations, &segments, call);
                    return Ok((chosen.ok_or_else(Problem::not_found)?, segments));
                }
                RouteOutcome::MethodNotDeclared { allowed } => {
                    let allowed: Vec<&str> = allowed.iter().map(|one| one.as_str()).collect();
                    let detail = "the path has no such method";
                    let status = StatusCode::METHOD_NOT_ALLOWED;
                    let problem = Problem::new(status, "method_not_allowed", detail);
                    outcome = Err(problem.with(header::ALLOW, &allowed.join(", ")));
                }
                RouteOutcome::NotFound => {}
            }
        }
        outcome
    }

    /// Of operations that fall together, the first that the call fits.
    fn choose(&self, operations: &[usize], segments: &[String], call: Call<'_>) -> Option<usize> {
        if let [only] = operations {
            return Some(*only);
        }
        let query = read_query(call.query);
        let schemas = &self.table.schemas;
        let fits = |index: &&usize| {
            self.table.entries.get(**index).is_some_and(|entry| {
                check_target(schemas, entry, segments, &query, &[]).is_ok()
                    && read_body(schemas, entry.body.as_ref(), call.headers, call.body).is_ok()
            })
        };
        operations.iter().find(fits).or_else(|| operations.first()).copied()
    }

    fn perform(&self, call: Call<'_>, index: usize, segments: &[String]) -> Result<Reply, Problem> {
        let entry = self.table.entries.get(index).ok_or_else(Problem::not_found)?;
        let part = self.roles.parts.get(index).ok_or_else(Problem::not_found)?;
        let query = read_query(call.query);
        let schemas = &self.table.schemas;
        check_headers(schemas, entry, call.headers)?;
        let named = self.named_records(part, segments)?;
        check_target(schemas, entry, segments, &query, &named)?;
        let body = read_body(schemas, entry.body.as_ref(), call.headers, call.body)?;
        let called = Called { index, entry, part, segments, query: &query, body: body.as_ref() };
        let accept = call.headers.get(header::ACCEPT);
        match &part.role {
            Role::List(collection) => self.list(called, Some(*collection), accept),
            Role::Loose => self.list(called, None, accept),
            Role::Create(collection) => self.create(called, *collection, accept),
            Role::Item(collection, verb) => {
                let record = self.record(*collection, segments).ok_or_else(Problem::not_found)?;
                self.touch(called, &record, *verb, accept)
            }
            Role::Act(collection) => {
                let record = self.record(*collection, segments).ok_or_else(Problem::not_found)?;
                self.touch(called, &record, Verb::Read, accept)
            }
            Role::Single(verb) => {
                let record = self.single(segments);
                self.touch(called, &record, *verb, accept)
            }
            Role::Plain => {
                let key = self.seed.at("plain").at(entry.operation.method.as_str());
                let key = key.at(&segments.join("/"));
                // What was written is repeated where the answer has a place for it.
                let written = called.object().cloned().unwrap_or_default();
                let fill = Fill::Written(Value::Object(written), super::invent::Extent::All);
                Ok(self.render(called, key, fill, accept))
            }
        }
    }

    /// Which segments name a record that a list shows: all have to exist.
    fn named_records(&self, part: &Part, segments: &[String]) -> Result<Vec<usize>, Problem> {
        let own = match part.role {
            Role::Item(collection, _) | Role::Act(collection) => Some(collection),
            _ => None,
        };
        let mut named = Vec::new();
        for collection in part.parents.iter().copied().chain(own) {
            let record = self.record(collection, segments).ok_or_else(Problem::not_found)?;
            if self.is_closed(collection, &record.space) {
                if !self.exists(&record) {
                    return Err(Problem::not_found());
                }
                named.extend(self.roles.collections.get(collection).map(|found| found.depth));
            } else if own != Some(collection) && !self.exists(&record) {
                return Err(Problem::not_found());
            }
        }
        Ok(named)
    }

    /// Reads or changes one record.
    fn touch(
        &self,
        called: Called<'_>,
        record: &Record,
        verb: Verb,
        accept: Option<&HeaderValue>,
    ) -> Result<Reply, Problem> {
        if !self.exists(record) {
            return Err(Problem::not_found());
        }
        let before = self.written(record);
        match verb {
            Verb::Read => {}
            Verb::Replace | Verb::Merge => {
                if let Some(object) = called.object() {
                    let object = self.writable(called, object, record.collection);
                    let mut written = match self.store().state(&record.space, &record.id) {
                        State::Written(written) if verb == Verb::Merge => written.clone(),
                        _ => Written { members: Map::new(), is_bare: verb == Verb::Replace },
                    };
                    merge(&mut written.members, object);
                    self.store().write(&record.space, &record.id, written).map_err(full)?;
                }
            }
            Verb::Delete => self.store().delete(&record.space, &record.id).map_err(full)?,
        }
        let (members, extent) = if verb == Verb::Delete { before } else { self.written(record) };
        let fill = Fill::Written(Value::Object(members), extent);
        Ok(self.render(called, record.key, fill, accept))
    }

    fn create(
        &self,
        called: Called<'_>,
        collection: usize,
        accept: Option<&HeaderValue>,
    ) -> Result<Reply, Problem> {
        let space = self.space(collection, called.segments).ok_or_else(Problem::not_found)?;
        let object = called.object().cloned().unwrap_or_default();
        let members = self.writable(called, &object, None);
        // One lock from the choice of the id to the writing: no two records get the same.
        let record = {
            let mut store = self.store();
            let record = self.new_record(&store, collection, &space, called.segments, &members)?;
            let written = Written { members, is_bare: true };
            store.create(&space, &record.id, written).map_err(full)?;
            record
        };
        let (members, extent) = self.written(&record);
        let fill = Fill::Written(Value::Object(members), extent);
        let mut reply = self.render(called, record.key, fill, accept);
        if reply.status == StatusCode::CREATED {
            let url = format!(
                "{}{}/{}",
                self.base_url(),
                provider::encode_path(called.segments).trim_end_matches('/'),
                provider::encode_path(std::slice::from_ref(&record.id)).trim_start_matches('/')
            );
            reply.headers.retain(|(name, _)| name != header::LOCATION);
            if let Ok(url) = HeaderValue::try_from(url) {
                reply.headers.push((header::LOCATION, url));
            }
        }
        Ok(reply)
    }

    /// The members of a body that a caller may write: what is only for reading is dropped, and an
    /// item's id stays what its path says.
    fn writable(
        &self,
        called: Called<'_>,
        object: &Map<String, Value>,
        collection: Option<usize>,
    ) -> Map<String, Value> {
        let inventor = self.inventor(Direction::Request);
        let mut ids: Vec<SchemaId> = Vec::new();
        if let Some(body) = &called.entry.body {
            ids.extend(body.contents.iter().find_map(|content| content.schema));
            for name in &body.way {
                ids = inventor.below(&ids, Some(name));
            }
        }
        let id_member =
            collection.and_then(|place| self.roles.collections.get(place)?.id_member.as_deref());
        let is_kept = |name: &str| {
            let schemas = inventor.below(&ids, Some(name));
            Some(name) != id_member
                && !schemas.iter().any(|id| self.table.schemas.is_read_only(*id))
        };
        let kept = object.iter().filter(|(name, _)| is_kept(name));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn list(
        &self,
        called: Called<'_>,
        collection: Option<usize>,
        accept: Option<&HeaderValue>,
    ) -> Result<Reply, Problem> {
        let inventor = self.inventor(Direction::Answer);
        let answer = called.part.success.and_then(|place| called.entry.answers.get(place));
        let root = answer.and_then(super::roles::json_schema).ok_or_else(Problem::not_found)?;
        let way = called.part.list.as_ref().ok_or_else(Problem::not_found)?;
        let (elements, objects) = element_schemas(&inventor, root, way);
        let records = match collection {
            Some(collection) => self.records(collection, called.segments),
            None => self.loose(called.segments),
        };
        let show = |record: &Record| self.element(record, &elements, &objects, way, called.entry);
        let records = self.filtered(called, &inventor, &objects, records, &show);
        let paging = self.paging.get(called.index).ok_or_else(Problem::not_found)?;
        let most = self.most_elements(&inventor, root, way);
        let asked = paging.ask(called.query, most).map_err(|name| wrong_parameter(&name))?;
        let after = match &asked.start {
            Start::AfterId(id, name) => {
                let found = records.iter().find(|(_, record)| record.id == *id);
                Some(found.map(|(place, _)| *place).ok_or_else(|| wrong_parameter(name))?)
            }
            _ => None,
        };
        let page = paging::cut(records, &asked, after);
        let last_id = page.records.last().map(|(_, record)| record.id.as_str());
        let path = provider::encode_path(called.segments);
        let url = format!("{}{path}", self.base_url());
        let told = Told::new(paging, &page, &asked, &url, &path, called.query, last_id);
        let shown: Vec<Value> = page.records.iter().map(|(_, record)| show(record)).collect();
        let key = self.seed.at("lists").at(&called.segments.join("/"));
        let fill = Fill::List { elements: shown, told: &told, way };
        Ok(self.render(called, key, fill, accept))
    }

    /// One element of a list, with the record where the element holds it.
    fn element(
        &self,
        record: &Record,
        elements: &[SchemaId],
        objects: &[SchemaId],
        way: &ListWay,
        entry: &Entry,
    ) -> Value {
        let (members, extent) = self.written(record);
        let object = self.show(objects, record.key, &Value::Object(members), extent, entry);
        if way.inside.is_empty() {
            return object;
        }
        let around = Value::Object(Map::new());
        let extent = super::invent::Extent::All;
        let mut element = self.show(elements, record.key.at("element"), &around, extent, entry);
        super::render::put(&mut element, &way.inside, object);
        element
    }

    /// The records that the query's filters let through: a declared parameter that is called as a
    /// scalar member of the elements.
    fn filtered(
        &self,
        called: Called<'_>,
        inventor: &Inventor<'_>,
        objects: &[SchemaId],
        records: Vec<(u64, Record)>,
        show: &dyn Fn(&Record) -> Value,
    ) -> Vec<(u64, Record)> {
        let names = inventor.member_names(objects);
        let paging = self.paging.get(called.index);
        let filters: Vec<(&str, Vec<&str>)> = called
            .query
            .iter()
            .filter(|(name, value)| {
                !value.is_empty()
                    && called.entry.params.iter().any(|param| param.name == *name)
                    && paging.is_none_or(|paging| !paging.has(name))
            })
            .filter_map(|(name, value)| {
                let member = names.iter().find(|one| **one == name)?;
                Some((*member, value.split(',').collect()))
            })
            .collect();
        if filters.is_empty() {
            return records;
        }
        let fits = |record: &Record| {
            let shown = show(record);
            filters.iter().all(|(member, wanted)| match shown.get(member) {
                Some(Value::String(text)) => wanted.contains(&text.as_str()),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => {
                    wanted.contains(&value.to_string().as_str())
                }
                // What is no scalar is no filter's.
                Some(Value::Object(_) | Value::Array(_)) => true,
                _ => false,
            })
        };
        records.into_iter().take(MAX_FILTERED).filter(|(_, record)| fits(record)).collect()
    }

    fn most_elements(&self, inventor: &Inventor<'_>, root: SchemaId, way: &ListWay) -> u64 {
        let mut ids = vec![root];
        for name in &way.before {
            ids = inventor.below(&ids, Some(name));
        }
        let limits = ids.iter().filter_map(|id| self.table.schemas.get(*id).limits.as_ref());
        limits.filter_map(|limits| limits.max_items).min().unwrap_or(u64::MAX)
    }

    /// Everything that was written is forgotten.
    pub(crate) fn reset(&self) {
        self.store().reset();
        self.auth.oauth.reset();
    }
}

impl<'c> Called<'c> {
    /// The object in the body.
    pub(super) fn object(&self) -> Option<&'c Map<String, Value>> {
        let mut value = self.body?;
        for name in &self.entry.body.as_ref()?.way {
            value = value.get(name)?;
        }
        value.as_object()
    }
}

fn full(error: Full) -> Problem {
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "full", error.to_string())
}

fn wrong_parameter(name: &str) -> Problem {
    let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    let detail = format!("the query parameter `{name}` names no page of this list");
    Problem::bad("parameter_invalid", detail)
}

pub(super) fn accepts_json(accept: &HeaderValue) -> bool {
    accept.to_str().is_ok_and(|text| {
        let mut kinds = text.split(',').map(super::table::essence);
        kinds.any(|kind| super::table::is_json(&kind))
    })
}
