//! Calls that succeed: an operation with ids that exist and a body as declared.

use super::{
    check::Direction,
    draw::Key,
    invent::{Extent, Inventor, Spot},
    mock::Mock,
    roles::Role,
    schema::SchemaId,
    table::{FORM, Param, Place, Style, is_json},
};
use provider::path_template::TemplatePart;
use serde_json::Value;
use std::collections::HashMap;

/// A call, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) method: &'static str,
    /// Percent-encoded, below the base path.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) media: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Mock {
    /// A call of an operation.
    pub(crate) fn sample(&self, index: usize) -> Option<Sample> {
        let entry = self.table.entries.get(index)?;
        let key = self.seed.at("samples").at(&entry.operation.id);
        let path = provider::encode_path(&self.sample_path(index)?);
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let mut headers = Vec::new();
        for param in entry.params.iter().filter(|param| param.is_required) {
            let texts = self.sample_param(param, key.at(&param.name));
            match param.place {
                Place::Path => {}
                Place::Query => texts.iter().for_each(|text| {
                    query.append_pair(&param.name, text);
                }),
                Place::Header => headers.push((param.name.clone(), texts.join(","))),
                Place::Cookie => {
                    headers
                        .push(("cookie".to_owned(), format!("{}={}", param.name, texts.join(","))));
                }
            }
        }
        let (media, body) = self.sample_body(index, key);
        let method = entry.operation.method.as_str();
        Some(Sample { method, path, query: query.finish(), headers, media, body })
    }

    fn sample_path(&self, index: usize) -> Option<Vec<String>> {
        let entry = self.table.entries.get(index)?;
        let part = self.roles.parts.get(index)?;
        let own = match part.role {
            Role::Item(collection, _) | Role::Act(collection) => Some(collection),
            _ => None,
        };
        let named = part.parents.iter().copied().chain(own);
        let named: HashMap<usize, usize> = named
            .filter_map(|collection| {
                Some((self.roles.collections.get(collection)?.depth, collection))
            })
            .collect();
        let mut segments: Vec<String> = Vec::new();
        for (place, template) in entry.operation.path.segments().iter().enumerate() {
            let mut text = String::new();
            for (at, part) in template.parts().iter().enumerate() {
                match part {
                    TemplatePart::Literal(literal) => text.push_str(literal),
                    TemplatePart::Parameter { name, choices } => {
                        let known = named.get(&place).filter(|_| at == 0);
                        let id = known.and_then(|collection| {
                            let found = self.roles.collections.get(*collection)?;
                            let space = self.space(*collection, &segments)?;
                            found.is_closed().then(|| self.first_id(*collection, &space))?
                        });
                        let param = entry
                            .params
                            .iter()
                            .find(|param| param.place == Place::Path && param.name == *name);
                        let key = self.seed.at("samples").at(name);
                        text.push_str(&id.or_else(|| choices.first().cloned()).unwrap_or_else(
                            || {
                                let made =
                                    param.map(|param| self.sample_param(param, key).join(","));
                                made.map_or_else(|| "1".to_owned(), |made| in_path(&made))
                            },
                        ));
                    }
                }
            }
            segments.push(text);
        }
        Some(segments)
    }

    fn sample_param(&self, param: &Param, key: Key) -> Vec<String> {
        let mut value = self.requested(&[param.schema], key, &param.name, Extent::Least);
        // An empty array cannot be sent.
        if value.as_array().is_some_and(Vec::is_empty) {
            value = self.requested(&[param.schema], key, &param.name, Extent::All);
        }
        match value {
            Value::Array(elements) if param.style == Style::Repeated => {
                elements.iter().map(text_of).collect()
            }
            Value::Array(elements) => {
                let separator = match param.style {
                    Style::Separated(separator) => separator,
                    _ => ',',
                };
                vec![elements.iter().map(text_of).collect::<Vec<_>>().join(&separator.to_string())]
            }
            other => vec![text_of(&other)],
        }
    }

    fn requested(&self, ids: &[SchemaId], key: Key, name: &str, extent: Extent) -> Value {
        let mut inventor =
            Inventor::new(&self.table.schemas, &self.flavors, Direction::Request, extent);
        inventor.invent(ids, Spot { name, ..Spot::root(key, "") })
    }

    fn sample_body(&self, index: usize, key: Key) -> (Option<String>, Vec<u8>) {
        let body = self.table.entries.get(index).and_then(|entry| entry.body.as_ref());
        let Some(body) = body else { return (None, Vec::new()) };
        let json = body.contents.iter().find(|content| is_json(&content.essence));
        let form = || body.contents.iter().find(|content| content.essence == FORM);
        let Some(content) = json.or_else(form).or_else(|| body.contents.first()) else {
            return (None, Vec::new());
        };
        let media =
            if content.essence.contains('*') { "application/json" } else { &content.essence };
        let name = self.table.entries.get(index).map(|entry| entry.object_name.as_str());
        let bytes = match content.schema {
            Some(schema) if is_json(media) || media == FORM => {
                let mut inventor = Inventor::new(
                    &self.table.schemas,
                    &self.flavors,
                    Direction::Request,
                    Extent::All,
                );
                let spot = Spot::root(key.at("body"), name.unwrap_or_default());
                let mut value = inventor.invent(&[schema], spot);
                let schemas = &self.table.schemas;
                if super::check::check(schemas, schema, &value, Direction::Request).is_err() {
                    value = self.requested(&[schema], key.at("body"), "", Extent::Least);
                }
                if media == FORM { form_of(&value) } else { value.to_string().into_bytes() }
            }
            _ if is_json(media) => b"{}".to_vec(),
            _ => b"sandbox".to_vec(),
        };
        (Some(media.to_owned()), bytes)
    }

    fn first_id(&self, collection: usize, space: &str) -> Option<String> {
        self.seeded(collection, space).first().map(str::to_owned)
    }
}

/// What cannot stand in a path is left out.
fn in_path(text: &str) -> String {
    let text: String =
        text.chars().filter(|c| !matches!(c, '/' | '\\' | '%') && !c.is_control()).collect();
    if matches!(text.as_str(), "" | "." | "..") { "1".to_owned() } else { text }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An object as a form, members of members in brackets.
fn form_of(value: &Value) -> Vec<u8> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in value.as_object().into_iter().flatten() {
        append(&mut form, name, value, 0);
    }
    form.finish().into_bytes()
}

fn append(
    form: &mut url::form_urlencoded::Serializer<'_, String>,
    name: &str,
    value: &Value,
    depth: usize,
) {
    if depth > 6 {
        return;
    }
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                append(form, &format!("{name}[{member}]"), value, depth + 1);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                append(form, &format!("{name}[]"), element, depth + 1);
            }
        }
        scalar => {
            form.append_pair(name, &text_of(scalar));
        }
    }
}
