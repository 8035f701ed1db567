//! The same commands on a server that runs elsewhere: by its control API, as the owner of a token.
//!
//! What needs a step-up no token does: such commands are for the data folder, or the console.

mod ask;

use crate::{
    cli::{
        ApplyArgs, AuditVerb, ClientVerb, ConnectionVerb, ExplainVerb, Global, GrantVerb, KeyVerb,
        NodeVerb, PolicyVerb, ProviderVerb, ReviewVerb, RoleVerb, SessionVerb, UserVerb, Verb,
    },
    config::Config,
    output::{Failure, Lines, NOT_FOUND, Output, USAGE},
    verbs::read_secret,
};
use ask::Server;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// Pages are asked for until there is none left.
const PAGE: usize = 200;

/// What a command asks a server for.
enum Asked {
    /// All of a list, under this name; with what of it is wanted.
    All {
        name: &'static str,
        path: &'static str,
        of: Option<(&'static str, String)>,
    },
    One {
        method: Method,
        path: String,
        body: Option<Value>,
    },
    /// The newest so many.
    Newest {
        name: &'static str,
        path: &'static str,
        limit: usize,
    },
    /// The review that is under way, or else the newest.
    Review,
}

pub(crate) async fn run(global: &Global, verb: &Verb, config: &Config) -> Result<(), Failure> {
    let asked = asked(verb)?;
    let (Some(url), Some(token)) = (&global.server_url, &global.token_file) else {
        let remedy = "Give --token-file, a file with a personal access token of the console.";
        return Err(Failure::new(USAGE, "--server-url is given without a token", remedy));
    };
    let token = Zeroizing::new(read_secret("--token-file", token)?);
    let server = Server::new(url, &token, config)?;
    let answer = answered(&server, asked).await?;
    let text = match &answer {
        Value::Null => Lines::from("Done."),
        answer => in_lines(answer),
    };
    let json = if answer.is_null() { json!({}) } else { answer };
    Ok(Output { is_json: global.json }.result(&json, text)?)
}

fn asked(verb: &Verb) -> Result<Asked, Failure> {
    let all = |name, path| Ok(Asked::All { name, path, of: None });
    let one = |method, path| Ok(Asked::One { method, path, body: None });
    match verb {
        Verb::User(UserVerb::List) => all("users", "/v1/users"),
        Verb::Session(SessionVerb::List { user: None }) => all("sessions", "/v1/sessions"),
        Verb::Session(SessionVerb::End { id }) => one(Method::DELETE, under("/v1/sessions", id)),
        Verb::Role(RoleVerb::List { acts: false }) => all("roles", "/v1/roles"),
        Verb::Policy(PolicyVerb::List) => all("policies", "/v1/policies"),
        Verb::Grant(GrantVerb::List { client }) => Ok(Asked::All {
            name: "grants",
            path: "/v1/grants",
            of: client.as_ref().map(|client| ("client", client.clone())),
        }),
        Verb::Grant(GrantVerb::Proposals) => all("proposals", "/v1/proposals"),
        Verb::Review(ReviewVerb::List) => all("reviews", "/v1/reviews"),
        Verb::Review(ReviewVerb::Begin { name, days }) => Ok(Asked::One {
            method: Method::POST,
            path: "/v1/reviews".to_owned(),
            body: Some(json!({"name": name, "days": days})),
        }),
        Verb::Review(ReviewVerb::Show { id: Some(id), open: false }) => {
            one(Method::GET, under("/v1/reviews", id))
        }
        Verb::Review(ReviewVerb::Show { id: None, open: false }) => Ok(Asked::Review),
        Verb::Advise { days } => one(Method::GET, format!("/v1/advice?days={days}")),
        Verb::Explain(ExplainVerb::Field { provider, field }) => {
            let provider = under("/v1/providers", provider);
            one(Method::GET, under(&format!("{provider}/fields"), field))
        }
        Verb::Provider(ProviderVerb::List) => all("providers", "/v1/providers"),
        Verb::Connection(ConnectionVerb::List) => all("connections", "/v1/connections"),
        Verb::Connection(ConnectionVerb::Revoke { id }) => {
            one(Method::DELETE, under("/v1/connections", id))
        }
        Verb::Client(ClientVerb::List) => all("clients", "/v1/clients"),
        Verb::Client(ClientVerb::Create { name }) => one(Method::PUT, under("/v1/clients", name)),
        Verb::Client(ClientVerb::Key(KeyVerb::Revoke { id })) => {
            one(Method::DELETE, under("/v1/keys", id))
        }
        Verb::Node(NodeVerb::List) => all("nodes", "/v1/nodes"),
        Verb::Audit(AuditVerb::List { limit }) => {
            Ok(Asked::Newest { name: "entries", path: "/v1/audit/entries", limit: *limit })
        }
        Verb::Audit(AuditVerb::Checkpoint { cosigned: false }) => {
            one(Method::GET, "/v1/audit/checkpoint".to_owned())
        }
        Verb::Apply(ApplyArgs { dir, dry_run: true, remove_all: false }) => {
            let files = app::apply::read_whole(dir)?.into_iter();
            let files = files.map(|(name, text)| json!({"name": name, "text": text}));
            let body = json!({"files": files.collect::<Vec<Value>>()});
            let path = "/v1/grants/plan".to_owned();
            Ok(Asked::One { method: Method::POST, path, body: Some(body) })
        }
        _ => Err(Failure::new(
            USAGE,
            "this command, or an option of it, does not work on a server",
            "Run it on the data folder, without --server-url. What needs a step-up no token does.",
        )),
    }
}

/// A path with a name in it, whatever the name holds.
fn under(path: &str, name: &str) -> String {
    format!("{path}/{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

async fn answered(server: &Server, asked: Asked) -> Result<Value, Failure> {
    match asked {
        Asked::One { method, path, body } => server.ask(method, &path, body.as_ref()).await,
        Asked::All { name, path, of } => {
            let mut items = paged(server, path, usize::MAX).await?;
            if let Some((member, wanted)) = of {
                items.retain(|item| item.get(member) == Some(&Value::from(wanted.as_str())));
            }
            Ok(json!({ name: items }))
        }
        Asked::Newest { name, path, limit } => {
            Ok(json!({ name: paged(server, path, limit).await? }))
        }
        Asked::Review => {
            let all = paged(server, "/v1/reviews", usize::MAX).await?;
            let is_open = |item: &&Value| item.get("closed_at").is_none_or(Value::is_null);
            let found = all.iter().find(is_open).or(all.last());
            let id = found.and_then(|item| item.get("id")).and_then(Value::as_str);
            let none = || Failure::new(NOT_FOUND, "there is no review", "Begin one: review begin.");
            let path = under("/v1/reviews", id.ok_or_else(none)?);
            server.ask(Method::GET, &path, None).await
        }
    }
}

async fn paged(server: &Server, path: &str, limit: usize) -> Result<Vec<Value>, Failure> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    while items.len() < limit {
        let wanted = PAGE.min(limit - items.len());
        let mut asked = format!("{path}?limit={wanted}");
        if let Some(cursor) = &cursor {
            asked.push_str(&format!("&cursor={}", utf8_percent_encode(cursor, NON_ALPHANUMERIC)));
        }
        let mut page = server.ask(Method::GET, &asked, None).await?;
        if let Some(more) = page.get_mut("items").and_then(Value::as_array_mut) {
            items.append(more);
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) if cursor.as_deref() != Some(next) => cursor = Some(next.to_owned()),
            _ => break,
        }
    }
    Ok(items)
}

/// For people: each thing under its id or name.
fn in_lines(answer: &Value) -> Lines {
    let mut lines = Lines::default();
    match answer {
        Value::Object(members) if members.len() == 1 => {
            for (name, value) in members {
                match value {
                    Value::Array(items) if items.is_empty() => lines.push(format!("No {name}.")),
                    Value::Array(items) => items.iter().for_each(|item| block(item, &mut lines)),
                    one => block(one, &mut lines),
                }
            }
        }
        one => block(one, &mut lines),
    }
    lines
}

fn block(item: &Value, lines: &mut Lines) {
    let Value::Object(members) = item else {
        lines.push(in_words(item));
        return;
    };
    let heading = ["id", "name", "index"].into_iter().find(|name| members.contains_key(*name));
    let indent = if let Some(heading) = heading {
        lines.push(members.get(heading).map(in_words).unwrap_or_default());
        "    "
    } else {
        ""
    };
    rest(members, heading, indent, lines);
}

fn rest(members: &Map<String, Value>, heading: Option<&str>, indent: &str, lines: &mut Lines) {
    for (name, value) in members.iter().filter(|(name, _)| heading != Some(name.as_str())) {
        let said = in_words(value);
        if !said.is_empty() {
            lines.push(format!("{indent}{}: {said}", name.replace('_', " ")));
        }
    }
}

fn in_words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
