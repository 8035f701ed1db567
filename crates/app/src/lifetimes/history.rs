//! What rules would have ended, by this node's log.

use super::{
    Kind, Lives,
    judge::{End, Subject, subjects},
    lives_of, read,
    rules::{Condition, Rules},
};
use crate::{
    audit_log::{self, Record, reading},
    error::Error,
    instance::Instance,
    seals,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use store::Everything;
use types::{Id, Timestamp, User};

/// What the rules of a file would have done.
#[derive(Debug)]
pub struct Tried {
    pub since: Timestamp,
    /// Where the log begins.
    pub first_at: Option<Timestamp>,
    /// Each with what would have ended it first.
    pub ends: Vec<(Lives, End)>,
    /// Keys and credentials that a rule reaches.
    pub reached: usize,
}

/// Plays the rules of a file against the log: of keys and credentials that are in force now, those that
/// would have ended since then. Nothing changes.
///
/// # Errors
/// [`Error::Grants`] with all that is wrong with the file.
pub async fn history(
    instance: &Arc<Instance>,
    file: &str,
    text: &str,
    back: Duration,
) -> Result<Tried, Error> {
    let rules = read(file, text).map_err(Error::Grants)?;
    let everything = seals::load_whole(instance).await?;
    let now = instance.clock.now();
    let back = i64::try_from(back.as_micros()).unwrap_or(i64::MAX);
    let since = Timestamp::from_micros(now.as_micros().saturating_sub(back).max(0));
    reading(instance, move |instance| {
        let mut played = Played::of(&everything, &rules);
        let mut first_at = None;
        audit_log::walk_on(&instance.folder, 0, |_, record| {
            first_at.get_or_insert(record.at());
            played.saw(&record, since);
            true
        })?;
        let ends = played.ends(since, now);
        Ok(Tried { since, first_at, ends, reached: played.lines.len() })
    })
    .await
}

/// What is known of one of them while the log is played.
struct Line<'r> {
    subject: Subject<'r>,
    uses: u64,
    last_at: Timestamp,
    networks: Vec<[u8; 8]>,
    ends: Vec<End>,
}

struct Played<'r> {
    lines: HashMap<String, Line<'r>>,
    /// Ids of the keys of whom somebody answers for.
    owned: BTreeMap<Id<User>, Vec<String>>,
}

impl<'r> Played<'r> {
    fn of(everything: &'r Everything, rules: &'r Rules) -> Self {
        let mut owned: BTreeMap<Id<User>, Vec<String>> = BTreeMap::new();
        for row in &everything.lifetimes.owners {
            let keys = everything.keys.iter().filter(|key| key.client == row.client);
            owned.entry(row.owner).or_default().extend(keys.map(|key| key.id.to_string()));
        }
        let lines = subjects(everything, rules)
            .into_iter()
            .filter(|subject| !subject.rules.is_empty())
            .map(|subject| {
                let (id, last_at) = (subject.id.clone(), subject.created_at);
                let line =
                    Line { subject, uses: 0, last_at, networks: Vec::new(), ends: Vec::new() };
                (id, line)
            });
        Self { lines: lines.collect(), owned }
    }

    fn saw(&mut self, record: &Record, since: Timestamp) {
        match record {
            Record::Intent(one) => {
                for id in [one.key.to_string(), one.connection.to_string()] {
                    if let Some(line) = self.lines.get_mut(&id) {
                        line.used(one.at, one.network, since);
                    }
                }
            }
            Record::Changed(one) if one.at >= since => {
                let condition = match one.verb.as_str() {
                    "user.disable" | "user.remove" => Condition::OwnerDisabled,
                    "user.roles" => Condition::OwnerRoleChanged,
                    "consent.end" => Condition::ConsentWithdrawn,
                    _ => return,
                };
                let ids = if condition == Condition::ConsentWithdrawn {
                    let detail = |name: &str| {
                        one.details.iter().find(|(given, _)| given == name).map(|(_, value)| value)
                    };
                    let is_withdrawn = detail("how").is_some_and(|how| how == "withdrawn");
                    detail("connection").filter(|_| is_withdrawn).cloned().into_iter().collect()
                } else {
                    let user = one.what.strip_prefix("user ").and_then(|id| id.parse().ok());
                    user.and_then(|user: Id<User>| self.owned.get(&user).cloned())
                        .unwrap_or_default()
                };
                for id in ids {
                    if let Some(line) = self.lines.get_mut(&id) {
                        line.event(condition, one.at);
                    }
                }
            }
            _ => {}
        }
    }

    fn ends(&mut self, since: Timestamp, now: Timestamp) -> Vec<(Lives, End)> {
        let mut all: Vec<(Lives, End)> = self
            .lines
            .values_mut()
            .filter_map(|line| {
                line.idle_until(now, since);
                let timed = line.subject.timed().filter(|end| since <= end.at && end.at <= now);
                let first = line.ends.drain(..).chain(timed).min_by_key(|end| end.at)?;
                Some((lives_of(&line.subject), first))
            })
            .collect();
        all.sort_by(|a, b| (a.1.at, &a.0.id).cmp(&(b.1.at, &b.0.id)));
        all
    }
}

impl Line<'_> {
    fn push(&mut self, at: Timestamp, condition: Condition, rule: usize) {
        let Some((name, rule)) = self.subject.rules.get(rule) else { return };
        let rule_name = Some((*name).clone());
        self.ends.push(End { rule: rule_name, condition, at, grace: rule.grace() });
    }

    /// Nobody used it until then.
    fn idle_until(&mut self, until: Timestamp, since: Timestamp) {
        for place in 0..self.subject.rules.len() {
            let idle = self.subject.rules.get(place).and_then(|(_, rule)| rule.idle);
            let Some(end) = idle.map(|span| self.last_at + span.0) else { continue };
            if since <= end && end <= until {
                self.push(end, Condition::Idle, place);
            }
        }
    }

    fn used(&mut self, at: Timestamp, network: Option<[u8; 8]>, since: Timestamp) {
        self.idle_until(at, since);
        self.last_at = self.last_at.max(at);
        self.uses += 1;
        let is_new = network.is_some_and(|network| !self.networks.contains(&network));
        self.networks.extend(network.filter(|_| is_new));
        for place in 0..self.subject.rules.len() {
            let Some((_, rule)) = self.subject.rules.get(place) else { continue };
            let is_last = rule.max_uses == Some(self.uses);
            let learnt = self.subject.created_at + rule.learn();
            let is_strange = is_new && at > learnt && rule.on.contains(&Condition::NewNetwork);
            if at >= since && is_last {
                self.push(at, Condition::MaxUses, place);
            }
            if at >= since && is_strange {
                self.push(at, Condition::NewNetwork, place);
            }
        }
    }

    fn event(&mut self, condition: Condition, at: Timestamp) {
        let is_of_kind =
            (self.subject.kind == Kind::Credential) == (condition == Condition::ConsentWithdrawn);
        for place in 0..self.subject.rules.len() {
            let names = self.subject.rules.get(place);
            if is_of_kind && names.is_some_and(|(_, rule)| rule.on.contains(&condition)) {
                self.push(at, condition, place);
            }
        }
    }
}
