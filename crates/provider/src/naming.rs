//! Names of objects that the description does not name.

use crate::path_template::{PathTemplate, TemplatePart};
use std::collections::HashMap;

/// Where an anonymous object is found: its path without a trailing parameter. Objects of one place
/// are one object.
pub(crate) fn place(path: &PathTemplate) -> String {
    let mut segments: Vec<String> =
        path.segments().iter().map(|segment| segment_text(segment.parts())).collect();
    while segments.last().is_some_and(|last| is_parameter(last) || last.is_empty()) {
        segments.pop();
    }
    // `/calls.json` and `/calls/{id}.json` are one place, and so with `{format}`.
    if let Some(last) = segments.last_mut() {
        let cut = without_extension(last).len();
        last.truncate(cut);
    }
    format!("/{}", segments.join("/"))
}

/// Whether a segment is a parameter alone, with an extension at most: `{}:reveal` and `audit-{}` name
/// something else than `{}`.
fn is_parameter(segment: &str) -> bool {
    segment.contains("{}")
        && !without_extension(segment).replace("{}", "").contains(char::is_alphanumeric)
}

fn segment_text(parts: &[TemplatePart]) -> String {
    parts
        .iter()
        .map(|part| match part {
            TemplatePart::Literal(text) => text.clone(),
            TemplatePart::Parameter { .. } => "{}".to_owned(),
        })
        .collect()
}

/// Gives each place a name: the last literal segment, singular; where that is taken, with the
/// segments before it.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// By name: the place that has it; empty for schemas.
    taken: HashMap<String, String>,
}

impl Names {
    pub(crate) fn reserve(&mut self, name: &str) {
        self.taken.insert(name.to_owned(), String::new());
    }

    /// The name that a place has before anybody else's is looked at.
    pub(crate) fn plain(place: &str) -> String {
        words(place).last().map(|word| singular(word)).unwrap_or_default()
    }

    pub(crate) fn of_place(&mut self, place: &str) -> String {
        let words = words(place);
        let mut name = String::new();
        for (taken, word) in words.iter().rev().enumerate() {
            name = if taken == 0 { singular(word) } else { format!("{word}{name}") };
            if self.claim(&name, place) {
                return name;
            }
        }
        if name.is_empty() {
            name.push_str("Root");
            if self.claim(&name, place) {
                return name;
            }
        }
        let mut number = 2;
        while !self.claim(&format!("{name}{number}"), place) {
            number += 1;
        }
        format!("{name}{number}")
    }

    fn claim(&mut self, name: &str, place: &str) -> bool {
        if let Some(owner) = self.taken.get(name) {
            owner == place && !place.is_empty()
        } else {
            self.taken.insert(name.to_owned(), place.to_owned());
            true
        }
    }
}

fn words(place: &str) -> Vec<String> {
    let segments: Vec<&str> = place.split('/').collect();
    let last = segments.len().saturating_sub(1);
    segments
        .into_iter()
        .enumerate()
        .filter(|(index, segment)| *index == last || !segment.contains("{}"))
        .map(|(_, segment)| pascal(segment))
        .filter(|word| !word.is_empty())
        .collect()
}

/// `users.list` is `UsersList`, `time-off` is `TimeOff`; an extension such as `.json` is cut.
fn pascal(segment: &str) -> String {
    let cut = without_extension(segment);
    let mut name = String::new();
    for word in cut.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let mut chars = word.chars();
        if let Some(first) = chars.next() {
            name.extend(first.to_uppercase());
            name.push_str(chars.as_str());
        }
    }
    name
}

fn without_extension(segment: &str) -> &str {
    const EXTENSIONS: [&str; 6] = [".json", ".xml", ".csv", ".txt", ".pdf", ".{}"];
    let lower = segment.to_ascii_lowercase();
    EXTENSIONS
        .iter()
        .find(|extension| lower.ends_with(**extension))
        .and_then(|extension| segment.get(..segment.len() - extension.len()))
        .unwrap_or(segment)
}

/// English plurals as paths have them.
fn singular(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    for (plural, one) in [("people", "Person"), ("children", "Child"), ("men", "Man")] {
        if lower == plural {
            return one.to_owned();
        }
    }
    let cut = |count: usize| word.get(..word.len() - count).unwrap_or(word).to_owned();
    if lower.ends_with("ies") && lower.len() > 4 {
        return format!("{}y", cut(3));
    }
    let sibilant = ["sses", "shes", "ches", "xes", "zes", "uses"];
    if sibilant.iter().any(|end| lower.ends_with(end)) {
        return cut(2);
    }
    let is_plural = lower.ends_with('s')
        && !["ss", "us", "is", "ous", "news"].iter().any(|end| lower.ends_with(end))
        && lower.len() > 2;
    if is_plural { cut(1) } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn name(path: &str) -> String {
        let template = PathTemplate::parse(path, &BTreeMap::new()).unwrap();
        Names::default().of_place(&place(&template))
    }

    #[test]
    fn paths_name_their_objects() {
        for (path, wanted) in [
            ("/buckets/{id}/collections/{c}/records", "Record"),
            ("/buckets/{id}/collections/{c}/records/{r}", "Record"),
            ("/users.list", "UsersList"),
            ("/time-off", "TimeOff"),
            ("/companies/{id}.json", "Company"),
            ("/v1/addresses", "Address"),
            ("/status", "Status"),
            ("/boxes.json", "Box"),
            ("/people/{id}", "Person"),
            ("/", "Root"),
            ("/{id}", "Root"),
            ("/accounts/{a}/Calls/{b}.json", "Call"),
            ("/reports/{a}.{format}", "Report"),
            ("/reports.{format}", "Report"),
            ("/ranges/{from},{to}", "Range"),
            ("/keys/{id}:reveal", "Reveal"),
            ("/keys/audit-{day}", "Audit"),
        ] {
            assert_eq!(name(path), wanted, "{path}");
        }
    }

    #[test]
    fn taken_names_get_their_parent() {
        let mut names = Names::default();
        names.reserve("Item");
        assert_eq!(names.of_place("/orders/{}/items"), "OrdersItem");
        assert_eq!(names.of_place("/orders/{}/items"), "OrdersItem");
        assert_eq!(names.of_place("/carts/items"), "CartsItem");
        assert_eq!(names.of_place("/shop/orders/items"), "ShopOrdersItem");
        names.reserve("Thing");
        assert_eq!(names.of_place("/things"), "Thing2");
    }
}
