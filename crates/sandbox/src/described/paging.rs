//! Pages of a list in the style that a description's parameters suggest: cursor, offset, page number,
//! the last record's id, a token in the body, a `Link` header (RFC 8288).
//!
//! A record's place in its list never changes, so that a walk by cursor sees every record that
//! existed at its start exactly once, also while others are written.

use super::{
    check::{Direction, holds},
    flavor::flat,
    format::Format,
    invent::Inventor,
    schema::{Kinds, SchemaId, Schemas},
    table::{Entry, Place},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

/// Records on a page where the caller says nothing, and the description neither.
const DEFAULT_LIMIT: u64 = 10;
/// Most records on a page.
const MAX_LIMIT: u64 = 1_000;
/// Longest cursor that is looked at, in bytes.
const MAX_CURSOR_BYTES: usize = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Offset,
    /// The number of the first page.
    Page(u64),
    Cursor,
}

/// The paging parameters of an operation.
#[derive(Debug)]
pub(crate) struct Paging {
    limit: Option<Limit>,
    position: Option<(String, Style)>,
}

#[derive(Debug)]
struct Limit {
    name: String,
    default: u64,
}

const LIMITS: [&str; 21] = [
    "limit",
    "perpage",
    "pagesize",
    "size",
    "count",
    "maxresults",
    "take",
    "top",
    "pagelimit",
    "maxpagesize",
    "maxitems",
    "first",
    "itemsperpage",
    "rows",
    "resultsperpage",
    "numresults",
    "recordsperpage",
    "pagelength",
    "results",
    "max",
    "nperpage",
];
const OFFSETS: [&str; 9] = [
    "offset",
    "skip",
    "start",
    "startat",
    "startindex",
    "pageoffset",
    "startposition",
    "firstresult",
    "startfrom",
];
const PAGES: [&str; 6] = ["page", "pagenumber", "pagenum", "currentpage", "pageno", "pageindex"];
const CURSORS: [&str; 21] = [
    "batchtoken",
    "cursor",
    "after",
    "startingafter",
    "pagetoken",
    "nexttoken",
    "pagecursor",
    "pageafter",
    "marker",
    "nextmarker",
    "continuation",
    "continuationtoken",
    "nextcursor",
    "startcursor",
    "paginationtoken",
    "nextpagetoken",
    "skiptoken",
    "starttoken",
    "scrollid",
    "pageid",
    "sincetoken",
];

impl Paging {
    pub(crate) fn of(entry: &Entry, schemas: &Schemas) -> Self {
        // What is required or a date is no page: `start` may be a day.
        let is_date = |id: SchemaId| {
            let format = schemas.get(id).limits.as_ref().and_then(|limits| limits.format);
            matches!(format, Some(Format::Date | Format::DateTime))
        };
        let query = || {
            entry.params.iter().filter(|param| {
                param.place == Place::Query && !param.is_required && !is_date(param.schema)
            })
        };
        let find = |names: &[&str]| {
            // By the order of the names: `cursor` before `pageid`.
            names.iter().find_map(|name| query().find(|param| flat(&param.name) == *name))
        };
        let limits = |id: SchemaId| schemas.get(id).limits.as_deref();
        let limit = find(&LIMITS).map(|param| {
            let limits = limits(param.schema);
            let default = limits.and_then(|limits| limits.default.as_ref()?.as_u64());
            let most = limits.and_then(|limits| limits.maximum).unwrap_or(f64::MAX);
            #[expect(clippy::cast_precision_loss, reason = "compared with a small number")]
            let default = default.filter(|count| *count > 0 && *count as f64 <= most);
            Limit { name: param.name.clone(), default: default.unwrap_or(DEFAULT_LIMIT) }
        });
        let is_number = |id: SchemaId| {
            let kinds = schemas.get(id).kinds;
            kinds.has(Kinds::INTEGER) && kinds != Kinds::ALL
        };
        let offset = find(&OFFSETS);
        let page = find(&PAGES)
            .filter(|param| schemas.get(param.schema).kinds.has(Kinds::INTEGER.or(Kinds::STRING)));
        let cursor = find(&CURSORS);
        let position = if let Some(param) = cursor.filter(|param| !is_number(param.schema)) {
            Some((param.name.clone(), Style::Cursor))
        } else if let Some(param) = offset {
            let style = if is_number(param.schema) { Style::Offset } else { Style::Cursor };
            Some((param.name.clone(), style))
        } else if let Some(param) = page {
            let limits = limits(param.schema);
            let starts_at_zero = limits.is_some_and(|limits| {
                limits.minimum == Some(0.0)
                    || limits.default.as_ref().and_then(Value::as_u64) == Some(0)
            });
            Some((param.name.clone(), Style::Page(u64::from(!starts_at_zero))))
        } else if let Some(param) = cursor {
            Some((param.name.clone(), Style::Offset))
        } else {
            // A size alone: the URL of the next page is the only way on.
            limit.as_ref().map(|_| ("cursor".to_owned(), Style::Cursor))
        };
        Self { limit, position }
    }

    /// The parameter that asks for the page behind those seen, as a caller without links would.
    #[cfg(test)]
    pub(super) fn next_of(
        &self,
        page: usize,
        seen: usize,
        token: Option<String>,
    ) -> Option<(String, String)> {
        let (name, style) = self.position.as_ref()?;
        let value = match style {
            Style::Offset => seen.to_string(),
            Style::Page(first) => (first + page as u64 + 1).to_string(),
            Style::Cursor => token?,
        };
        Some((name.clone(), value))
    }

    /// Whether a parameter is one of these.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.limit.as_ref().is_some_and(|limit| limit.name == name)
            || self.position.as_ref().is_some_and(|(own, _)| own == name)
    }

    /// The page that a query asks for.
    ///
    /// # Errors
    /// The name of the parameter that is wrong.
    pub(crate) fn ask(&self, query: &[(String, String)], most: u64) -> Result<Asked, String> {
        let given = |name: &str| {
            let mut all = query.iter().filter(|(one, _)| one == name);
            all.next_back().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        let limit = match &self.limit {
            None if self.position.is_none() => MAX_LIMIT,
            None => DEFAULT_LIMIT,
            Some(limit) => match given(&limit.name) {
                None => limit.default,
                Some(text) => text.parse().map_err(|_| limit.name.clone())?,
            },
        };
        let limit = limit.min(MAX_LIMIT).min(most);
        let mut asked = Asked { limit, start: Start::Beginning, page: 0 };
        let Some((name, style)) = &self.position else { return Ok(asked) };
        let Some(text) = given(name) else { return Ok(asked) };
        match style {
            Style::Offset => {
                asked.start = Start::Skip(text.parse().map_err(|_| name.clone())?);
            }
            Style::Page(first) => {
                let page: u64 = text.parse().map_err(|_| name.clone())?;
                asked.page = page.checked_sub(*first).ok_or_else(|| name.clone())?;
                asked.start = Start::Skip(asked.page.saturating_mul(limit));
            }
            Style::Cursor => {
                let is_place = OFFSETS.contains(&flat(name).as_str());
                asked.start = match (decode(text), text.parse()) {
                    (Some(place), _) => Start::After(place),
                    // A place that is declared as text.
                    (None, Ok(skip)) if is_place => Start::Skip(skip),
                    _ => Start::AfterId(text.to_owned(), name.clone()),
                };
            }
        }
        Ok(asked)
    }
}

/// A page, as asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) limit: u64,
    pub(crate) start: Start,
    page: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Beginning,
    Skip(u64),
    /// Beyond a place.
    After(u64),
    /// Beyond the record with this id, or (the parameter's name) nowhere.
    AfterId(String, String),
}

fn encode(place: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("after:{place}"))
}

pub(super) fn decode(text: &str) -> Option<u64> {
    if text.len() > MAX_CURSOR_BYTES {
        return None;
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    text.strip_prefix("after:")?.parse().ok()
}

/// A page, cut out of a list.
#[derive(Debug)]
pub(crate) struct Page<T> {
    /// Records with their place.
    pub(crate) records: Vec<(u64, T)>,
    first: u64,
    total: u64,
    limit: u64,
    has_more: bool,
}

/// Cuts the page out of `all`, which is in the order of places.
pub(crate) fn cut<T>(all: Vec<(u64, T)>, asked: &Asked, after: Option<u64>) -> Page<T> {
    let total = count(all.len());
    let first = match (&asked.start, after) {
        (Start::Skip(skip), _) => (*skip).min(total),
        (Start::After(place), _) => count(all.partition_point(|(one, _)| one <= place)),
        (Start::AfterId(..), Some(place)) => count(all.partition_point(|(one, _)| *one <= place)),
        _ => 0,
    };
    let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
    let skipped = usize::try_from(first).unwrap_or(usize::MAX);
    let records: Vec<(u64, T)> = all.into_iter().skip(skipped).take(limit).collect();
    let has_more = first.saturating_add(count(records.len())) < total && !records.is_empty();
    Page { first, total, limit: asked.limit, has_more, records }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// What an answer tells about its page.
#[derive(Debug)]
pub(crate) struct Told {
    first: u64,
    total: u64,
    shown: u64,
    limit: u64,
    page: u64,
    first_page: u64,
    pub(crate) has_more: bool,
    token: Option<String>,
    next_number: Option<u64>,
    self_url: String,
    next_url: Option<String>,
    previous_url: Option<String>,
    pub(crate) first_url: String,
    path: String,
}

impl Told {
    /// `url` is the list's own without a query; `ids` gives the id of the last record.
    pub(crate) fn new<T>(
        paging: &Paging,
        page: &Page<T>,
        asked: &Asked,
        url: &str,
        path: &str,
        query: &[(String, String)],
        last_id: Option<&str>,
    ) -> Self {
        let shown = count(page.records.len());
        let first_page = match paging.position {
            Some((_, Style::Page(first))) => first,
            _ => 1,
        };
        let step = page.limit.max(1);
        let number = match paging.position {
            Some((_, Style::Page(_))) => asked.page,
            _ => page.first.checked_div(step).unwrap_or(0),
        };
        let last_place = page.records.last().map(|(place, _)| *place);
        let (next, previous) = match &paging.position {
            None => (None, None),
            Some((_, Style::Offset)) => {
                let back = page.first.saturating_sub(step);
                let next = page.first.saturating_add(shown);
                (Some(next.to_string()), (page.first > 0).then(|| back.to_string()))
            }
            Some((_, Style::Page(first))) => {
                let this = asked.page.saturating_add(*first);
                let back = (asked.page > 0).then(|| this.saturating_sub(1).to_string());
                (Some(this.saturating_add(1).to_string()), back)
            }
            Some((name, Style::Cursor)) => {
                // Callers of `starting_after` send a record's id; so does the URL that is given.
                let by_id = flat(name) == "startingafter";
                let id = last_id.filter(|_| by_id).map(str::to_owned);
                (id.or_else(|| last_place.map(encode)), None)
            }
        };
        let next = next.filter(|_| page.has_more);
        let with = |position: Option<&String>| match (&paging.position, position) {
            (Some((name, _)), Some(position)) => Some(url_with(url, query, name, Some(position))),
            _ => None,
        };
        let first_url = match &paging.position {
            Some((name, _)) => url_with(url, query, name, None),
            None => url_with(url, query, "", None),
        };
        let own_position = paging.position.as_ref().and_then(|(name, _)| {
            query.iter().find(|(one, _)| one == name).map(|(_, value)| value)
        });
        Self {
            first: page.first,
            total: page.total,
            shown,
            limit: page.limit,
            page: number,
            first_page,
            has_more: page.has_more,
            next_number: next.as_ref().and_then(|next| next.parse().ok()),
            self_url: with(own_position).unwrap_or_else(|| first_url.clone()),
            next_url: with(next.as_ref()),
            previous_url: with(previous.as_ref()),
            token: next,
            first_url,
            path: path.to_owned(),
        }
    }

    /// The value of a `Link` header.
    pub(crate) fn link(&self) -> Option<String> {
        let links = [("next", &self.next_url), ("prev", &self.previous_url)];
        let links = links
            .iter()
            .filter_map(|(name, url)| url.as_ref().map(|url| format!("<{url}>; rel=\"{name}\"")));
        let all: Vec<String> = links.collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// Writes what is known of the page into the members around the list, as far as the schema
    /// allows. Tells whether the way to the next page is told.
    pub(crate) fn fill(
        &self,
        inventor: &Inventor<'_>,
        schemas: &Schemas,
        ids: &[SchemaId],
        body: &mut Value,
        list: &[String],
    ) -> bool {
        Filler { told: self, inventor, schemas }.object(ids, body, list.first(), Context::Page, 0)
    }
}

/// What the members around a value are about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Page,
    Next,
    Previous,
    Other,
}

struct Filler<'f, 's> {
    told: &'f Told,
    inventor: &'f Inventor<'s>,
    schemas: &'f Schemas,
}

impl Filler<'_, '_> {
    /// `list`: the member that leads to the list and is left alone.
    fn object(
        &self,
        ids: &[SchemaId],
        body: &mut Value,
        list: Option<&String>,
        context: Context,
        depth: usize,
    ) -> bool {
        let Some(object) = body.as_object_mut() else { return false };
        let mut tells = false;
        for name in self.inventor.member_names(ids) {
            if Some(name) == list.map(String::as_str) || depth > 3 {
                continue;
            }
            let below = self.inventor.below(ids, Some(name));
            let flat_name = flat(name);
            let is_link = context != Context::Page;
            if object.get(name).is_some_and(Value::is_object) {
                let inner = match flat_name.as_str() {
                    "next" | "nextpage" => Context::Next,
                    "prev" | "previous" | "prevpage" | "previouspage" => Context::Previous,
                    "self" | "first" | "last" => Context::Other,
                    _ if is_link => context,
                    _ => Context::Page,
                };
                let is_over = inner == Context::Next && !self.told.has_more
                    || inner == Context::Previous && self.told.previous_url.is_none();
                if is_over {
                    self.clear(ids, &below, object, name);
                    tells |= inner == Context::Next;
                } else if let Some(value) = object.get_mut(name) {
                    tells |= self.object(&below, value, None, inner, depth + 1);
                }
                continue;
            }
            let Some(value) = self.value(&flat_name, context, &below) else { continue };
            tells |= matches!(value, Known::Next(_));
            match value {
                Known::Is(value) | Known::Next(Some(value)) | Known::Previous(Some(value)) => {
                    if let Some(fitting) = self.fitting(&below, value) {
                        object.insert(name.to_owned(), fitting);
                    }
                }
                Known::Next(None) | Known::Previous(None) => self.clear(ids, &below, object, name),
            }
        }
        tells
    }

    /// There is no such page: null, absent or empty, whichever is allowed.
    fn clear(
        &self,
        ids: &[SchemaId],
        below: &[SchemaId],
        object: &mut Map<String, Value>,
        name: &str,
    ) {
        let old = object.get(name).cloned();
        let is_allowed = |value: &Value| holds(self.schemas, below, value, Direction::Answer);
        if is_allowed(&Value::Null) {
            object.insert(name.to_owned(), Value::Null);
            return;
        }
        object.shift_remove(name);
        if self.inventor.is_required(ids, name)
            && let Some(old) = old
        {
            let empty = Value::String(String::new());
            object.insert(name.to_owned(), if is_allowed(&empty) { empty } else { old });
        }
    }

    /// The value as the schema wants it: numbers are texts with some vendors.
    fn fitting(&self, ids: &[SchemaId], value: Value) -> Option<Value> {
        let is_allowed = |value: &Value| holds(self.schemas, ids, value, Direction::Answer);
        if is_allowed(&value) {
            return Some(value);
        }
        let text = Value::String(match &value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        if is_allowed(&text) {
            return Some(text);
        }
        let number = Value::from(text.as_str()?.parse::<u64>().ok()?);
        is_allowed(&number).then_some(number)
    }

    fn value(&self, name: &str, context: Context, ids: &[SchemaId]) -> Option<Known> {
        let told = self.told;
        let is_text = ids.iter().all(|id| self.inventor.may_be(*id, Kinds::STRING));
        let url_or_number = |url: &Option<String>, number: Option<u64>| match url {
            Some(url) if is_text => Some(Value::String(url.clone())),
            Some(_) => number.map(Value::from),
            None => None,
        };
        match context {
            Context::Next => {
                return Some(match name {
                    "href" | "url" | "uri" | "link" => {
                        Known::Next(told.next_url.clone().map(Value::String))
                    }
                    "path" => {
                        let query = told.next_url.as_ref().and_then(|url| url.split_once('?'));
                        let path = query.map(|(_, query)| format!("{}?{query}", told.path));
                        Known::Next(path.map(Value::String))
                    }
                    _ if CURSORS.contains(&name) || OFFSETS.contains(&name) || name == "token" => {
                        Known::Next(told.token.clone().map(Value::String))
                    }
                    _ => return None,
                });
            }
            Context::Previous => {
                return Some(match name {
                    "href" | "url" | "uri" | "link" => {
                        Known::Previous(told.previous_url.clone().map(Value::String))
                    }
                    _ => return None,
                });
            }
            Context::Other => {
                let is_url = matches!(name, "href" | "url" | "uri" | "link");
                return is_url.then(|| Known::Is(Value::String(told.first_url.clone())));
            }
            Context::Page => {}
        }
        let pages = told.total.div_ceil(told.limit.max(1)).max(1);
        Some(match name {
            "next" | "nextpage" | "nextlink" | "nexturl" | "nexturi" | "nextpageuri"
            | "nextpageurl" | "nexthref" | "nextpagelink" => {
                Known::Next(url_or_number(&told.next_url, told.next_number))
            }
            "nextcursor" | "nextpagetoken" | "nexttoken" | "endcursor" | "nextmarker"
            | "cursor" | "continuationtoken" | "continuation" | "nextpagecursor" | "after"
            | "startingafter" | "nextoffset" | "scrollid" | "pagetoken" => {
                Known::Next(told.token.clone().map(Value::String))
            }
            "previous" | "prev" | "previouspage" | "previouslink" | "previousurl" | "prevurl"
            | "previouspageuri" | "prevpage" | "previouspageurl" | "previousuri" => {
                let number = told.page.checked_sub(1).map(|page| page + told.first_page);
                Known::Previous(url_or_number(&told.previous_url, number))
            }
            "previouscursor" | "prevcursor" | "previoustoken" | "previouspagetoken" | "before"
            | "startcursor" | "endingbefore" => Known::Previous(None),
            "self" | "selflink" => Known::Is(Value::String(told.self_url.clone())),
            "first" | "firstpageuri" | "firsturl" if is_text => {
                Known::Is(Value::String(told.first_url.clone()))
            }
            "hasmore" | "hasnext" | "hasnextpage" | "more" | "ismore" | "hasmoreitems" => {
                Known::Is(Value::Bool(told.has_more))
            }
            "islast" | "islastpage" => Known::Is(Value::Bool(!told.has_more)),
            "total" | "totalcount" | "totalresults" | "totalitems" | "totalrecords"
            | "totalelements" | "totalsize" | "recordcount" | "totalsetsize" | "itemcount" => {
                Known::Is(Value::from(told.total))
            }
            "count" | "size" | "returned" | "resultsetsize" | "numberofelements" => {
                Known::Is(Value::from(told.shown))
            }
            "limit" | "perpage" | "pagesize" | "maxresults" | "itemsperpage" => {
                Known::Is(Value::from(told.limit))
            }
            "offset" | "skip" | "start" | "startindex" | "startposition" => {
                Known::Is(Value::from(told.first))
            }
            "page" | "pagenumber" | "currentpage" => {
                Known::Is(Value::from(told.page.saturating_add(told.first_page)))
            }
            "pages" | "totalpages" | "pagecount" | "numpages" => Known::Is(Value::from(pages)),
            _ => return None,
        })
    }
}

enum Known {
    Is(Value),
    /// The way to the next page; `None` at the end.
    Next(Option<Value>),
    Previous(Option<Value>),
}

/// The list's URL with the query as it was, but for the position.
fn url_with(
    url: &str,
    query: &[(String, String)],
    name: &str,
    position: Option<&String>,
) -> String {
    let kept = query.iter().filter(|(one, _)| one != name);
    let mut writer = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in kept {
        writer.append_pair(name, value);
    }
    if let Some(position) = position {
        writer.append_pair(name, position);
    }
    let query = writer.finish();
    if query.is_empty() { url.to_owned() } else { format!("{url}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_strange_ones_are_ids() {
        for place in [0, 7, u64::MAX] {
            assert_eq!(decode(&encode(place)), Some(place));
        }
        for strange in ["", "x", "YWZ0ZXI6LTE", &"A".repeat(500)] {
            assert_eq!(decode(strange), None, "{strange}");
        }
    }

    #[test]
    fn walks_survive_deletions() {
        let all: Vec<(u64, u64)> = (0..23).map(|place| (place, place)).collect();
        let asked = |start| Asked { limit: 5, start, page: 0 };
        let page = cut(all.clone(), &asked(Start::Beginning), None);
        assert!(page.has_more);
        let last = page.records.last().unwrap().0;
        let rest: Vec<(u64, u64)> = all.into_iter().filter(|(place, _)| place % 2 == 1).collect();
        let next = cut(rest, &asked(Start::After(last)), None);
        assert_eq!(next.records.first().unwrap().0, 5);
    }
}
