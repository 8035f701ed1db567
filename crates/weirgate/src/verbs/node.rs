//! `weirgate node ...`.

use super::Session;
use crate::{
    cli::NodeVerb,
    output::{Failure, Lines, counted},
};
use app::nodes::{self, Listed, Retired};
use serde_json::{Value, json};

pub(crate) async fn node(session: &Session, verb: &NodeVerb) -> Result<(), Failure> {
    match verb {
        NodeVerb::List => {
            let instance = session.instance().await?;
            let listed = nodes::list(&instance).await?;
            instance.close().await?;
            let mut text = Lines::default();
            for one in &listed {
                let seen =
                    one.seen_at.map_or_else(|| "never seen".to_owned(), |at| format!("seen {at}"));
                let state = match (one.is_own, one.is_retired) {
                    (_, true) => "  retired",
                    (true, false) => "  this node",
                    (false, false) => "",
                };
                let waiting = match one.claimed {
                    0 => String::new(),
                    count => format!("  {count} claimed and not settled"),
                };
                text.push(format!("{}  {seen}  {} entries{state}{waiting}", one.name, one.entries));
            }
            let rows: Vec<Value> = listed.iter().map(shown).collect();
            Ok(session.output.result(&json!({"nodes": rows}), text)?)
        }
        NodeVerb::Retire { name } => {
            let instance = session.instance_to_change().await?;
            let Retired { node, events } =
                nodes::retire(&instance, &session.context()?, name).await?;
            session.settle(instance).await?;
            let json = json!({"name": node.name, "log": node.log, "events": events});
            let text = [
                format!("Retired {}: it does nothing any more.", node.name),
                format!(
                    "{} that it had claimed {} taken by the other nodes; its log may have {} too.",
                    counted(events.len(), "event"),
                    if events.len() == 1 { "is" } else { "are" },
                    if events.len() == 1 { "it" } else { "them" },
                ),
            ];
            Ok(session.output.result(&json, text)?)
        }
    }
}

fn shown(one: &Listed) -> Value {
    json!({
        "name": one.name,
        "log": one.log,
        "own": one.is_own,
        "retired": one.is_retired,
        "seen_at": one.seen_at.map(|at| at.to_string()),
        "entries": one.entries,
        "claimed": one.claimed,
    })
}
