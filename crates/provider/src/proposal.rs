//! An overlay that declares a learned shape where a description says nothing.

use crate::{
    diff::{diff, operation_key, operation_text},
    load::{LoadError, LoadLimits, load_value},
    model::{Operation, Provider, Shape},
    observe::Learned,
};
use serde_json::{Value, json};

/// A proposal that was tried on the description it is for.
#[derive(Debug)]
pub struct Proposal {
    /// The overlay that was there, with one action more.
    pub overlay: Value,
    /// The description with the overlay.
    pub provider: Provider,
    /// The operation's place in it.
    pub operation: usize,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum ProposalError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("there is no operation of the name that was given")]
    OperationUnknown { nearest: Option<String> },
    #[error("{operation} declares no success that could have a shape")]
    NoSuccess { operation: String },
    #[error("{operation} does not declare the status that was given")]
    StatusUnknown { operation: String },
    #[error(
        "{operation} does not take up the learned shape: it is declared by a reference, or so already"
    )]
    NotTaken { operation: String },
}

/// Proposes the shape of an operation's answer: by its id, or like `GET /things`. Without a status
/// it is that of the first success that has no shape yet, else of the first success.
///
/// # Errors
/// See [`ProposalError`]; a proposal that would change nothing is one.
pub fn propose(
    document: &Value,
    overlay: Option<&Value>,
    operation: &str,
    status: Option<&str>,
    learned: &Learned,
) -> Result<Proposal, ProposalError> {
    let limits = LoadLimits::default();
    let overlays = |overlay: Option<&Value>| overlay.cloned().into_iter().collect::<Vec<_>>();
    let before = load_value(document.clone(), &overlays(overlay), &limits)?;
    let found = find(&before, operation)?;
    let text = operation_text(found);
    let target = target(document, found, status, &text)?;
    let mut proposed = overlay.cloned().unwrap_or_else(|| {
        json!({
            "overlay": "1.0.0",
            "info": {"title": "Shapes learned from samples", "version": "1"},
            "actions": [],
        })
    });
    let action = json!({
        "target": target.path,
        "description": format!("The answer of {text}, as samples show it"),
        "update": target.update(&learned.schema),
    });
    if let Some(actions) = proposed.get_mut("actions").and_then(Value::as_array_mut) {
        actions.push(action);
    }
    let after = load_value(document.clone(), std::slice::from_ref(&proposed), &limits)?;
    let key = operation_key(found);
    let place = after.operations.iter().position(|one| operation_key(one) == key);
    let is_shaped = place.and_then(|place| after.operations.get(place)).is_some_and(|operation| {
        let shapes = operation.answers.iter().filter_map(|answer| answer.shape);
        shapes.into_iter().any(|id| *after.shape(id) != Shape::Untyped)
    });
    match place {
        Some(operation) if is_shaped && !diff(&before, &after).is_empty() => {
            Ok(Proposal { overlay: proposed, provider: after, operation })
        }
        _ => Err(ProposalError::NotTaken { operation: text }),
    }
}

fn find<'p>(provider: &'p Provider, given: &str) -> Result<&'p Operation, ProposalError> {
    let fits = |operation: &&Operation| operation.id == given || operation_text(operation) == given;
    provider.operations.iter().find(fits).ok_or_else(|| {
        let ids = provider.operations.iter().map(|operation| operation.id.as_str());
        let nearest = types::nearest(given, ids).map(str::to_owned);
        ProposalError::OperationUnknown { nearest }
    })
}

/// Where in the document the answer is declared.
struct Target {
    /// By JSONPath.
    path: String,
    /// `None` in Swagger 2.0, where a response has one schema.
    media: Option<String>,
}

impl Target {
    fn update(&self, schema: &Value) -> Value {
        match &self.media {
            Some(media) => json!({"content": {media: {"schema": schema}}}),
            None => json!({"schema": schema}),
        }
    }
}

fn target(
    document: &Value,
    operation: &Operation,
    status: Option<&str>,
    text: &str,
) -> Result<Target, ProposalError> {
    let method = operation.method.as_str().to_ascii_lowercase();
    let paths = document.get("paths").and_then(Value::as_object);
    let responses = paths.into_iter().flatten().find_map(|(key, item)| {
        let cut = key.split(['#', '?']).next().unwrap_or(key);
        let responses = item.get(&method)?.get("responses")?.as_object()?;
        (cut == operation.path.text()).then_some((key, responses))
    });
    let no_success = || ProposalError::NoSuccess { operation: text.to_owned() };
    let (key, responses) = responses.ok_or_else(no_success)?;
    let has_schema = |response: &Value| {
        let contents = response.get("content").and_then(Value::as_object);
        response.get("schema").is_some()
            || contents.into_iter().flatten().any(|(_, one)| one.get("schema").is_some())
    };
    let (status, response) = if let Some(status) = status {
        responses
            .get_key_value(status)
            .ok_or_else(|| ProposalError::StatusUnknown { operation: text.to_owned() })?
    } else {
        let mut successes = responses.iter().filter(|(status, _)| status.starts_with('2'));
        let first = successes.clone().next();
        successes.find(|(_, response)| !has_schema(response)).or(first).ok_or_else(no_success)?
    };
    let is_json = |media: &&String| {
        let bare = media.split(';').next().unwrap_or_default().trim();
        bare == "application/json" || bare.ends_with("+json") || bare == "*/*"
    };
    let media = document.get("swagger").is_none().then(|| {
        let contents = response.get("content").and_then(Value::as_object);
        let declared = contents.and_then(|contents| contents.keys().find(is_json));
        declared.cloned().unwrap_or_else(|| "application/json".to_owned())
    });
    let path = format!("$.paths{}.{method}.responses{}", quoted(key), quoted(status));
    Ok(Target { path, media })
}

/// A member's name in brackets (RFC 9535 §2.3.1).
fn quoted(name: &str) -> String {
    let mut text = String::from("['");
    for c in name.chars() {
        if c == '\'' || c == '\\' {
            text.push('\\');
        }
        text.push(c);
    }
    text.push_str("']");
    text
}
