//! What an entry says, for people and for JSON.

use crate::record::Record;
use std::fmt;
use types::Timestamp;

/// What stands in a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    Text(String),
    Number(u64),
    Truth(bool),
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Truth(truth) => write!(f, "{truth}"),
        }
    }
}

/// What stands in a field, as it is said.
pub enum Said<'a> {
    Text(&'a dyn fmt::Display),
    Number(u64),
    Truth(bool),
}

impl fmt::Debug for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Number(number) => write!(f, "{number}"),
            Self::Truth(truth) => write!(f, "{truth}"),
        }
    }
}

/// Hands out name and value.
struct Fields<'f>(&'f mut dyn FnMut(&'static str, Said<'_>));

impl Fields<'_> {
    fn put<T: fmt::Display + ?Sized>(self, name: &'static str, value: &T) -> Self {
        (self.0)(name, Said::Text(&value));
        self
    }

    fn optional<T: fmt::Display>(self, name: &'static str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.put(name, &value),
            None => self,
        }
    }

    fn number(self, name: &'static str, value: impl Into<u64>) -> Self {
        (self.0)(name, Said::Number(value.into()));
        self
    }

    fn optional_number(self, name: &'static str, value: Option<impl Into<u64>>) -> Self {
        match value {
            Some(value) => self.number(name, value),
            None => self,
        }
    }

    fn truth(self, name: &'static str, value: bool) -> Self {
        (self.0)(name, Said::Truth(value));
        self
    }
}

impl Record {
    /// The kind's name, as in lists.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Recovered { .. } => "recovered",
            Self::Interrupted { .. } => "interrupted",
            Self::Intent(_) => "intent",
            Self::Outcome(_) => "outcome",
            Self::Refused(_) => "refused",
            Self::RefusedCount(_) => "refused_count",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Changed(_) => "changed",
            Self::Closed { .. } => "closed",
        }
    }

    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Started { at, .. }
            | Self::Recovered { at, .. }
            | Self::Interrupted { at, .. }
            | Self::Closed { at } => *at,
            Self::Intent(one) => one.at,
            Self::Outcome(one) => one.at,
            Self::Refused(one) => one.at,
            Self::RefusedCount(one) => one.at,
            Self::Unauthenticated(one) => one.at,
            Self::Changed(one) => one.at,
        }
    }

    /// Name and value of everything that it says but its kind, `at` first. No name comes twice; an
    /// absent value has none. The details of a change are one field: their names are not ours.
    pub fn fields(&self) -> Vec<(&'static str, FieldValue)> {
        let mut fields = Vec::with_capacity(16);
        self.each_field(|name, said| {
            let value = match said {
                Said::Text(text) => FieldValue::Text(text.to_string()),
                Said::Number(number) => FieldValue::Number(number),
                Said::Truth(truth) => FieldValue::Truth(truth),
            };
            fields.push((name, value));
        });
        fields
    }

    /// As [`Self::fields`], of which nothing is kept.
    pub fn each_field(&self, mut each: impl FnMut(&'static str, Said<'_>)) {
        let fields = Fields(&mut each).put("at", &self.at());
        let _all = match self {
            Self::Started { version, configuration, .. } => {
                let fields = fields.put("version", version);
                let Some(one) = configuration else { return };
                let roots: Vec<String> = one.extra_roots.iter().map(hex::encode).collect();
                fields
                    .put("configuration", &hex::encode(one.digest))
                    .optional("keys", Some(one.keys.join(", ")).filter(|keys| !keys.is_empty()))
                    .optional(
                        "extra_roots",
                        Some(roots.join(", ")).filter(|roots| !roots.is_empty()),
                    )
                    .optional("changed_since", one.changed_since)
            }
            Self::Recovered { cut_bytes, .. } => fields.number("cut_bytes", *cut_bytes),
            Self::Interrupted { request, .. } => fields.put("request", request),
            Self::Closed { .. } => fields,
            Self::Intent(one) => fields
                .put("request", &one.request)
                .put("environment", &one.environment)
                .put("key", &one.key)
                .put("client", &one.client)
                .put("connection", &one.connection)
                .put("customer", &one.customer)
                .put("provider", &one.provider)
                .put("operation", &one.operation)
                .put("action", &one.action)
                .optional("object", one.object.as_ref())
                .number("generation", one.generation)
                .truth("safe_method", one.is_safe_method)
                .optional("network", one.network.map(hex::encode)),
            Self::Outcome(one) => fields
                .put("request", &one.request)
                .number("status", one.status)
                .optional_number("provider_status", one.provider_status)
                .optional("code", one.code.as_ref())
                .number("bytes_in", one.bytes_in)
                .number("bytes_out", one.bytes_out)
                .number("dropped", one.dropped)
                .number("mismatched", one.mismatched)
                .put("withheld", &one.withheld.join(", "))
                .optional_number("withheld_more", Some(one.withheld_more).filter(|more| *more > 0))
                .number("duration_us", one.duration_us)
                .optional_number("attempts", one.attempts),
            Self::Refused(one) => fields
                .put("request", &one.request)
                .put("key", &one.key)
                .put("client", &one.client)
                .optional("connection", one.connection)
                .optional("operation", one.operation.as_ref())
                .put("code", &one.code),
            Self::RefusedCount(one) => fields.put("key", &one.key).number("count", one.count),
            Self::Unauthenticated(one) => fields.put("code", &one.code).number("count", one.count),
            Self::Changed(one) => {
                let pair = |(name, value): &(String, String)| format!("{name}: {value}");
                let details: Vec<String> = one.details.iter().map(pair).collect();
                let fields = fields
                    .put("request", &one.request)
                    .put("event", &hex::encode(one.event))
                    .put("actor", &one.actor)
                    .put("verb", &one.verb)
                    .put("what", &one.what);
                let fields = if details.is_empty() {
                    fields
                } else {
                    fields.put("details", &details.join("; "))
                };
                fields
                    .optional("customer", one.customer)
                    .optional_number("vault_count", one.vault_head.map(|head| head.count))
                    .optional("vault_root", one.vault_head.map(|head| hex::encode(head.root)))
                    .optional("vault_sequence", one.vault_head.map(|head| head.sequence))
                    .optional("previous_root", one.previous_head.map(|head| hex::encode(head.root)))
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::FieldValue;
    use crate::record::tests::one_of_each;
    use std::collections::HashSet;

    #[test]
    fn a_field_is_named_once_and_the_time_comes_first() {
        let mut kinds = HashSet::new();
        for record in one_of_each() {
            let fields = record.fields();
            assert_eq!(fields[0], ("at", FieldValue::Text(record.at().to_string())));
            let names: HashSet<_> = fields.iter().map(|(name, _)| *name).collect();
            assert_eq!(names.len(), fields.len(), "{}", record.kind());
            assert!(!names.contains("kind") && !names.contains("index"));
            kinds.insert(record.kind());
        }
        assert_eq!(kinds.len(), 10);
    }

    #[test]
    fn a_change_says_what_and_by_whom() {
        let changed = one_of_each().into_iter().find(|one| one.kind() == "changed").unwrap();
        let text: Vec<String> = changed
            .fields()
            .into_iter()
            .skip(2)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let text = text.join(" ");
        let wanted = "event=03030303030303030303030303030303 actor=local:0 verb=connection.create \
                      what=connection conn_x details=scheme: bearer customer=";
        assert!(text.starts_with(wanted), "{text}");
    }
}
