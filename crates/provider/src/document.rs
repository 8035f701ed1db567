//! A tolerant view of a description: places, references, and what was found odd.
//!
//! Nothing is copied: a [`Node`] is a value of the document and the way to it. What cannot be
//! followed becomes a [`Diagnostic`] with a JSON pointer (RFC 6901), never a refusal.

use crate::model::Diagnostic;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// The most diagnostics that are kept; one more says that there were others.
pub(crate) const MAX_DIAGNOSTICS: usize = 1_000;
/// What the keys of our own begin with.
pub(crate) const EXTENSION: &str = "x-weirgate-";
/// The most references that are followed one after another.
const MAX_HOPS: usize = 64;

/// A value of the document and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'a> {
    pub(crate) value: &'a Value,
    pub(crate) place: Place,
}

/// An index into [`Document::places`]; the text of a pointer is built only when it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

#[derive(Clone, Copy, Debug)]
enum Key<'a> {
    Root,
    Name(&'a str),
    Index(usize),
    /// The fragment of a reference, without `#`.
    Pointer(&'a str),
}

#[derive(Debug)]
pub(crate) struct Document<'a> {
    pub(crate) root: &'a Value,
    places: Vec<(Place, Key<'a>)>,
    targets: HashMap<&'a str, Option<Node<'a>>>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Addresses of the values of our own extensions that were read.
    read: HashSet<usize>,
}

/// Our own keys, as docs/reference/overlay.md tells them.
const EXTENSIONS: [&str; 12] = [
    "x-weirgate-action",
    "x-weirgate-auth",
    "x-weirgate-check",
    "x-weirgate-error",
    "x-weirgate-http1-only",
    "x-weirgate-kept",
    "x-weirgate-label",
    "x-weirgate-limits",
    "x-weirgate-object",
    "x-weirgate-observe",
    "x-weirgate-opaque",
    "x-weirgate-paging",
];

impl<'a> Document<'a> {
    pub(crate) fn new(root: &'a Value) -> Self {
        Self {
            root,
            places: vec![(Place(0), Key::Root)],
            targets: HashMap::new(),
            diagnostics: Vec::new(),
            read: HashSet::new(),
        }
    }

    pub(crate) fn top(&self) -> Node<'a> {
        Node { value: self.root, place: Place(0) }
    }

    fn place(&mut self, parent: Place, key: Key<'a>) -> Place {
        let Ok(index) = u32::try_from(self.places.len()) else { return parent };
        self.places.push((parent, key));
        Place(index)
    }

    /// A member by name; `null` counts as absent.
    pub(crate) fn member(&mut self, node: Node<'a>, name: &'a str) -> Option<Node<'a>> {
        let value = node.value.get(name).filter(|value| !value.is_null())?;
        Some(Node { value, place: self.place(node.place, Key::Name(name)) })
    }

    /// A member that is one of our own extensions.
    pub(crate) fn extension(&mut self, node: Node<'a>, name: &'static str) -> Option<Node<'a>> {
        let found = self.member(node, name)?;
        self.read.insert(std::ptr::from_ref(found.value) as usize);
        Some(found)
    }

    /// Tells of extensions that nobody read: misspelled, or where they mean nothing. Somebody
    /// believes that they protect something.
    pub(crate) fn report_unread_extensions(&mut self) {
        let mut unread = Vec::new();
        find_unread(self.root, &mut String::new(), &self.read, &mut unread);
        for (pointer, name) in unread {
            let message = match types::nearest(&name, EXTENSIONS) {
                Some(known) if known == name => "it has no effect at this place".to_owned(),
                Some(near) => format!("there is no such key; did you mean `{near}`?"),
                None => "there is no such key".to_owned(),
            };
            self.report_at(pointer, "extension_without_effect", &message);
        }
    }

    /// The members of an object in order; nothing for what is no object.
    pub(crate) fn members(&mut self, node: Node<'a>) -> Vec<(&'a str, Node<'a>)> {
        let Some(object) = node.value.as_object() else { return Vec::new() };
        object
            .iter()
            .map(|(name, value)| {
                (name.as_str(), Node { value, place: self.place(node.place, Key::Name(name)) })
            })
            .collect()
    }

    /// The elements of an array; nothing for what is no array.
    pub(crate) fn elements(&mut self, node: Node<'a>) -> Vec<Node<'a>> {
        let Some(array) = node.value.as_array() else { return Vec::new() };
        array
            .iter()
            .enumerate()
            .map(|(index, value)| Node { value, place: self.place(node.place, Key::Index(index)) })
            .collect()
    }

    /// The text of a JSON pointer.
    pub(crate) fn pointer(&self, mut place: Place) -> String {
        let mut parts = Vec::new();
        while let Some((parent, key)) = self.places.get(place.0 as usize) {
            match key {
                Key::Root => break,
                Key::Name(name) => parts.push(format!("/{}", escape(name))),
                Key::Index(index) => parts.push(format!("/{index}")),
                Key::Pointer(pointer) => {
                    parts.push(percent_decode_str(pointer).decode_utf8_lossy().into_owned());
                    break;
                }
            }
            place = *parent;
        }
        parts.reverse();
        parts.concat()
    }

    pub(crate) fn report(&mut self, node: Node<'a>, code: &'static str, message: &str) {
        let pointer = self.pointer(node.place);
        self.report_at(pointer, code, message);
    }

    pub(crate) fn report_at(&mut self, pointer: String, code: &'static str, message: &str) {
        let message = match self.diagnostics.len() {
            count if count < MAX_DIAGNOSTICS => message.to_owned(),
            MAX_DIAGNOSTICS => {
                self.diagnostics.push(Diagnostic {
                    pointer: String::new(),
                    code: "more_diagnostics",
                    message: format!("only the first {MAX_DIAGNOSTICS} findings are listed"),
                });
                return;
            }
            _ => return,
        };
        self.diagnostics.push(Diagnostic { pointer, code, message });
    }

    /// One hop: where a `$ref` leads. `None`: it has none, or it leads nowhere (reported).
    pub(crate) fn target(&mut self, node: Node<'a>) -> Option<Node<'a>> {
        let reference = reference(node.value)?;
        let Some(fragment) = reference.strip_prefix('#') else {
            self.report(node, "external_ref", "a reference to another document is not followed");
            return None;
        };
        if let Some(known) = self.targets.get(fragment) {
            let known = *known;
            if known.is_none() {
                self.report(node, "dangling_ref", "the reference leads to nothing");
            }
            return known;
        }
        let decoded = percent_decode_str(fragment).decode_utf8_lossy();
        let found = self.root.pointer(&decoded).or_else(|| self.root.pointer(fragment));
        let target =
            found.map(|value| Node { value, place: self.place(Place(0), Key::Pointer(fragment)) });
        if target.is_none() {
            self.report(node, "dangling_ref", "the reference leads to nothing");
        }
        self.targets.insert(fragment, target);
        target
    }

    /// Follows references to the first value that is none. `None`: it leads nowhere (reported).
    pub(crate) fn resolve(&mut self, mut node: Node<'a>) -> Option<Node<'a>> {
        let start = node;
        for _ in 0..MAX_HOPS {
            if reference(node.value).is_none() {
                return Some(node);
            }
            node = self.target(node)?;
        }
        self.report(start, "ref_cycle", "the reference leads back to itself");
        None
    }
}

/// Pointers and names of extensions that were not read. Documents are never deeper than the limit of
/// reading them.
fn find_unread(
    value: &Value,
    pointer: &mut String,
    read: &HashSet<usize>,
    unread: &mut Vec<(String, String)>,
) {
    let length = pointer.len();
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                pointer.push('/');
                pointer.push_str(&escape(name));
                let address = std::ptr::from_ref(inner) as usize;
                if name.starts_with(EXTENSION)
                    && !read.contains(&address)
                    && unread.len() <= MAX_DIAGNOSTICS
                {
                    unread.push((pointer.clone(), name.clone()));
                }
                find_unread(inner, pointer, read, unread);
                pointer.truncate(length);
            }
        }
        Value::Array(elements) => {
            for (index, inner) in elements.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                find_unread(inner, pointer, read, unread);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

/// The text of a `$ref`. A *property* may be called `$ref` too; its value is no text.
pub(crate) fn reference(value: &Value) -> Option<&str> {
    value.get("$ref")?.as_str()
}

/// RFC 6901 §3.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
