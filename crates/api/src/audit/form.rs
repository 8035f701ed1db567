//! The filter as a form, and as it was given.

use app::audit_search::{Filter, FilterProblem, KINDS, MAX_TEXT_CHARS, Names, PARTS};

/// A field of the form.
pub(super) struct FieldView {
    pub name: &'static str,
    pub label: &'static str,
    pub hint: &'static str,
    pub value: String,
    pub kind: &'static str,
    /// What may be chosen; nothing where it is typed.
    pub choices: Vec<&'static str>,
    pub most: usize,
}

/// Name, label, hint and kind of each, in the order of the page.
const FIELDS: [(&str, &str, &str, &str); 11] = [
    ("kind", "Kind", "Of entry; a call is one.", "select"),
    ("actor", "Who", "A person's address or id, token:ID, local: or system.", "text"),
    ("client", "Client", "By name or id.", "text"),
    ("key", "Key", "By id.", "text"),
    ("provider", "Provider", "By name or id.", "text"),
    ("connection", "Connection", "By id.", "text"),
    ("object", "Object or field", "Like Employee, or ssn.", "text"),
    ("verb", "Act", "Like read, user.invite, or user for all of these.", "text"),
    ("outcome", "Outcome", "Like 404, 4xx or rate_limited.", "text"),
    ("from", "From (UTC)", "This moment and later.", "datetime-local"),
    ("to", "Before (UTC)", "Before this moment.", "datetime-local"),
];

/// What a query or a form says.
pub(super) struct Given(Vec<(String, String)>);

impl Given {
    pub(super) fn of(text: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(text);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    pub(super) fn value(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub(super) fn filter(&self, names: &Names) -> Result<Filter, Vec<FilterProblem>> {
        let pairs = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Filter::parse(pairs, names)
    }

    /// Where the page begins.
    pub(super) fn before(&self) -> Result<Option<u64>, String> {
        let given = self.value("before");
        if given.is_empty() {
            return Ok(None);
        }
        let wrong = |_| "The place to go on from is no number of an entry. Begin anew.".to_owned();
        given.parse().map(Some).map_err(wrong)
    }

    /// Whether the filter is spelled in another way than by its address.
    pub(super) fn is_other_than(&self, filter: &Filter) -> bool {
        let parts = filter.parts();
        let given = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        !given.eq(parts.iter().map(|(name, value)| (*name, value.as_str())))
    }

    /// The parts of a filter, as they were given; shortened, because they were not understood.
    pub(super) fn parts(&self) -> Vec<(&'static str, String)> {
        let cut = |value: &str| value.chars().take(MAX_TEXT_CHARS).collect();
        let parts = PARTS.into_iter().map(|name| (name, cut(self.value(name))));
        parts.filter(|(_, value): &(_, String)| !value.is_empty()).collect()
    }
}

fn value_of(values: &[(&'static str, String)], wanted: &str) -> String {
    let found = values.iter().find(|(name, _)| *name == wanted);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

pub(super) fn fields(values: &[(&'static str, String)]) -> Vec<FieldView> {
    let fields = FIELDS.into_iter().map(|(name, label, hint, kind)| FieldView {
        name,
        label,
        hint,
        value: value_of(values, name),
        kind,
        choices: if kind == "select" { KINDS.to_vec() } else { Vec::new() },
        most: MAX_TEXT_CHARS,
    });
    fields.collect()
}

pub(super) fn text(values: &[(&'static str, String)]) -> FieldView {
    FieldView {
        name: "text",
        label: "Only entries with",
        hint: "A text in an entry: a verb like user.invite, an id, a code.",
        value: value_of(values, "text"),
        kind: "text",
        choices: Vec::new(),
        most: MAX_TEXT_CHARS,
    }
}

/// Each problem behind the label of its field.
pub(super) fn in_words(problems: &[FilterProblem]) -> Vec<String> {
    let label = |name: &str| {
        let found = FIELDS.iter().find(|(one, ..)| *one == name);
        found.map_or("Only entries with", |(_, label, ..)| label)
    };
    problems.iter().map(|one| format!("{}: {}", label(one.name), one.remedy)).collect()
}
