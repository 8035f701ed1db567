//! What a review decided, as a file: the same bytes each time.

use super::{About, Item, Reviewed, State};
use crate::instance::Instance;
use serde_json::{Value, json};

/// The whole review. The digest of what it is once the review is closed stands in the audit log, in the
/// entry `review.close`.
pub fn evidence(instance: &Instance, review: &Reviewed) -> String {
    let json = json!({"installation": instance.id.to_string(), "review": review.to_json()});
    format!("{json:#}\n")
}

impl Reviewed {
    pub fn to_json(&self) -> Value {
        let items: Vec<Value> = self.items.iter().map(item).collect();
        json!({
            "id": self.id.to_string(),
            "name": self.name,
            "begun_by": self.begun_by,
            "created_at": self.created_at.to_string(),
            "due_at": self.due_at.to_string(),
            "closed_at": self.closed_at.map(|at| at.to_string()),
            "closed_by": self.closed_by,
            "undecided": self.open_items(),
            "items": items,
        })
    }
}

fn item(item: &Item) -> Value {
    let decision = match &item.state {
        State::Open => Value::Null,
        State::Changed => json!({"outcome": "changed"}),
        State::Decided(decision) => json!(decision),
    };
    json!({"number": item.number, "about": about(&item.about), "decision": decision})
}

fn about(about: &About) -> Value {
    match about {
        About::Grant { name, words, grant } => {
            json!({"kind": "grant", "grant": name, "opens": words, "as_stored": grant})
        }
        About::Role { user, role, acts, is_managed } => json!({
            "kind": "role", "user": user, "role": role, "permits": acts, "is_managed": is_managed,
        }),
    }
}
