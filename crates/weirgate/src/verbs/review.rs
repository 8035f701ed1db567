//! `weirgate review ...`: rights that are confirmed or dropped by a date.

use super::{Session, audit::written, input::parse_id};
use crate::{
    cli::ReviewVerb,
    output::{Failure, Lines, counted},
};
use app::{
    Instance,
    reviews::{self, Reviewed, State, Undecided, Verdict},
};
use serde_json::{Value, json};
use types::{Clock as _, Id, Review, SystemClock, Timestamp};

pub(crate) async fn review(session: &Session, verb: &ReviewVerb) -> Result<(), Failure> {
    match verb {
        ReviewVerb::Begin { name, days } => begin(session, name, *days).await,
        ReviewVerb::List => list(session).await,
        ReviewVerb::Show { id, open } => {
            let instance = session.instance().await?;
            let shown = reviews::show(&instance, parsed(id.as_deref())?).await;
            instance.close().await?;
            show(session, &shown?, *open)
        }
        ReviewVerb::Confirm { items } => decide(session, items, Verdict::Confirm).await,
        ReviewVerb::Drop { items } => decide(session, items, Verdict::Drop).await,
        ReviewVerb::Close { drop_undecided } => close(session, *drop_undecided).await,
        ReviewVerb::Export { id, out } => {
            let instance = session.instance().await?;
            let shown = reviews::show(&instance, parsed(id.as_deref())?).await;
            let text = shown.map(|shown| reviews::evidence(&instance, &shown));
            instance.close().await?;
            let text = text?;
            written(out.as_deref(), &mut |to| to.write_all(text.as_bytes()).map_err(Into::into))
        }
        ReviewVerb::Remove { id } => {
            let id: Id<Review> = parse_id("review", id)?;
            let instance = session.instance_to_change().await?;
            reviews::remove(&instance, &session.context()?, id).await?;
            session.settle(instance).await?;
            let text = format!("Removed {id}; the audit log keeps what was decided.");
            Ok(session.output.result(&json!({"id": id.to_string()}), text)?)
        }
    }
}

fn parsed(id: Option<&str>) -> Result<Option<Id<Review>>, Failure> {
    id.map(|id| parse_id("review", id)).transpose()
}

async fn begin(session: &Session, name: &str, days: u16) -> Result<(), Failure> {
    let instance = session.instance_to_change().await?;
    let id = reviews::begin(&instance, &session.context()?, name, days).await?;
    let begun = reviews::show(&instance, Some(id)).await?;
    session.settle(instance).await?;
    let json = json!({
        "id": id.to_string(),
        "items": begun.items.len(),
        "due_at": begun.due_at.to_string(),
    });
    let text = [
        format!(
            "Began {id}: {} to confirm or drop by {}.",
            counted(begun.items.len(), "item"),
            begun.due_at
        ),
        format!(
            "Look at them with `{}`, or on the console under /reviews.",
            session.next("review show")
        ),
    ];
    Ok(session.output.result(&json, text)?)
}

async fn list(session: &Session) -> Result<(), Failure> {
    let instance = session.instance().await?;
    let listed = reviews::list(&instance).await?;
    instance.close().await?;
    let now = SystemClock.now();
    let mut text = Lines::default();
    for one in &listed {
        text.push(in_a_line(one, now));
    }
    let rows: Vec<Value> = listed.iter().map(Reviewed::to_json).collect();
    if listed.is_empty() {
        text.push("There is no review. `weirgate review begin` begins one.");
    }
    Ok(session.output.result(&json!({"reviews": rows}), text)?)
}

fn in_a_line(one: &Reviewed, now: Timestamp) -> String {
    let state = match one.closed_at {
        Some(at) => format!("closed {at}"),
        None if one.is_overdue(now) => format!("OVERDUE since {}", one.due_at),
        None => format!("due {}", one.due_at),
    };
    let (open, all) = (one.open_items(), one.items.len());
    format!("{}  {}  {state}  {open} of {all} undecided", one.id, one.name)
}

fn show(session: &Session, one: &Reviewed, only_open: bool) -> Result<(), Failure> {
    let items = one.items.iter().filter(|item| !only_open || item.state == State::Open);
    let mut text = Lines::default();
    text.push(in_a_line(one, SystemClock.now()));
    for item in items {
        let state = match &item.state {
            State::Open => "undecided".to_owned(),
            State::Changed => "changed since, nothing to decide".to_owned(),
            State::Decided(decision) => format!("{} by {}", decision.outcome.as_str(), decision.by),
        };
        text.push(format!("{:>4}  {}: {state}", item.number, item.about.in_words()));
        for words in item.about.words() {
            text.push(format!("        {words}"));
        }
    }
    Ok(session.output.result(&one.to_json(), text)?)
}

/// The review that is under way.
async fn under_way(instance: &Instance) -> Result<Id<Review>, Failure> {
    let shown = reviews::show(instance, None).await?;
    Ok(shown.id)
}

async fn decide(session: &Session, items: &[usize], verdict: Verdict) -> Result<(), Failure> {
    let instance = session.instance_to_change().await?;
    let id = under_way(&instance).await?;
    let verdicts: Vec<(usize, Verdict)> = items.iter().map(|item| (*item, verdict)).collect();
    reviews::decide(&instance, &session.context()?, None, id, &verdicts).await?;
    let left = reviews::show(&instance, Some(id)).await?.open_items();
    session.settle(instance).await?;
    let done = if verdict == Verdict::Confirm { "Confirmed" } else { "Dropped" };
    let json = json!({"id": id.to_string(), "items": items, "undecided": left});
    Ok(session
        .output
        .result(&json, format!("{done} {}; {left} undecided.", counted(items.len(), "item")))?)
}

async fn close(session: &Session, drop_undecided: bool) -> Result<(), Failure> {
    let instance = session.instance_to_change().await?;
    let id = under_way(&instance).await?;
    let undecided = if drop_undecided { Undecided::Drop } else { Undecided::Refuse };
    let closed = reviews::close(&instance, &session.context()?, None, id, undecided).await?;
    session.settle(instance).await?;
    let text = [
        format!("Closed {id}."),
        format!("Keep what was decided: `{} --out FILE`.", session.next("review export")),
    ];
    Ok(session.output.result(&closed.to_json(), text)?)
}
