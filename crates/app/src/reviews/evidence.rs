//! What a review decided, as a file: the same bytes each time.

use super::{About, Item, Reviewed, State};
use crate::instance::Instance;
use serde_json::{Value, json};

/// The whole review. The digest of what it is once the review is closed stands in the audit log, in the
/// entry `review.close`.
pub fn evidence(instance: &Instance, review: &Reviewed) -> String {
    let items: Vec<Value> = review.items.iter().map(item).collect();
    let json = json!({
        "installation": instance.id.to_string(),
        "review": review.id.to_string(),
        "name": review.name,
        "begun_by": review.begun_by,
        "created_at": review.created_at.to_string(),
        "due_at": review.due_at.to_string(),
        "closed_at": review.closed_at.map(|at| at.to_string()),
        "closed_by": review.closed_by,
        "items": items,
    });
    format!("{json:#}\n")
}

fn item(item: &Item) -> Value {
    let decision = match &item.state {
        State::Open => Value::Null,
        State::Changed => json!({"outcome": "changed"}),
        State::Decided(decision) => json!(decision),
    };
    match &item.about {
        About::Grant { name, words, grant } => json!({
            "number": item.number,
            "kind": "grant",
            "grant": name,
            "opens": words,
            "as_stored": grant,
            "decision": decision,
        }),
        About::Role { user, role, is_managed } => json!({
            "number": item.number,
            "kind": "role",
            "user": user,
            "role": role,
            "is_managed": is_managed,
            "decision": decision,
        }),
    }
}
