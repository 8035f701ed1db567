//! What rules make of a key or a credential, by what is known of it. Pure.

use super::rules::{Condition, Kind, Rule, Rules};
use crate::seals::ReadProvider;
use gateway::Closing;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use store::{Everything, LifetimeStateRow, NetworkRow, OwnerRow, UseCount};
use types::{Client, Connection, Environment, Id, Slug, Timestamp, UserState};

/// An end, and what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// `None`: the key's own expiry.
    pub rule: Option<Slug>,
    pub condition: Condition,
    pub at: Timestamp,
    /// How long it may be given back.
    pub(crate) grace: Duration,
}

/// A key or a credential in force, and the rules that reach it.
#[derive(Debug)]
pub(crate) struct Subject<'r> {
    pub id: String,
    pub kind: Kind,
    /// The client, or the provider.
    pub of: String,
    pub environment: Environment,
    pub created_at: Timestamp,
    /// Of a key: as it was made.
    pub expires_at: Option<Timestamp>,
    pub connection: Option<Id<Connection>>,
    pub rules: Vec<(&'r Slug, &'r Rule)>,
    pub state: Option<&'r LifetimeStateRow>,
    owner: Owner,
    /// When the customer took back all that was consented to.
    withdrawn_at: Option<Timestamp>,
}

/// Whoever answers for a key's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// Nobody was named, or all is as it was.
    Fine,
    Gone,
    HasOtherRoles,
}

/// Rules as they are stored.
pub(crate) fn rules_of<P>(everything: &Everything<P>) -> Rules {
    let rows = everything.lifetimes.rules.iter();
    rows.filter_map(|row| Some((row.name.clone(), Rule::from_stored(&row.body)?))).collect()
}

fn owner_of<P>(everything: &Everything<P>, row: &OwnerRow) -> Owner {
    let user = everything.people.users.iter().find(|user| user.id == row.owner);
    match user {
        Some(user) if user.state != UserState::Disabled => {
            let (mut then, mut now) = (row.roles.clone(), user.roles.clone());
            then.sort_unstable();
            now.sort_unstable();
            if then == now { Owner::Fine } else { Owner::HasOtherRoles }
        }
        _ => Owner::Gone,
    }
}

/// All keys and credentials in force.
pub(crate) fn subjects<'r, P: ReadProvider>(
    everything: &'r Everything<P>,
    rules: &'r Rules,
) -> Vec<Subject<'r>> {
    let states: HashMap<&str, &LifetimeStateRow> =
        everything.lifetimes.states.iter().map(|row| (row.subject.as_str(), row)).collect();
    let owners: HashMap<Id<Client>, Owner> = everything
        .lifetimes
        .owners
        .iter()
        .map(|row| (row.client, owner_of(everything, row)))
        .collect();
    let clients: HashMap<Id<Client>, &Slug> =
        everything.clients.iter().map(|row| (row.id, &row.name)).collect();
    let providers: HashMap<_, &Slug> =
        everything.providers.iter().map(|row| (row.id(), row.slug())).collect();
    let fits = |rule: &Rule, environment: Environment| {
        rule.environment.as_ref().is_none_or(|one| one == environment.as_str())
    };
    let keys = everything.keys.iter().filter(|row| row.revoked_at.is_none()).map(|row| {
        let id = row.id.to_string();
        let client = clients.get(&row.client);
        let reaching = rules.iter().filter(|(_, rule)| {
            rule.applies_to == Kind::ClientKey
                && fits(rule, row.environment)
                && rule
                    .client
                    .as_ref()
                    .is_none_or(|one| client.is_some_and(|name| name.as_str() == one))
        });
        Subject {
            state: states.get(id.as_str()).copied(),
            id,
            kind: Kind::ClientKey,
            of: client.map(ToString::to_string).unwrap_or_default(),
            environment: row.environment,
            created_at: row.created_at,
            expires_at: Some(row.expires_at),
            connection: None,
            rules: reaching.collect(),
            owner: owners.get(&row.client).copied().unwrap_or(Owner::Fine),
            withdrawn_at: None,
        }
    });
    let mut consents: BTreeMap<Id<Connection>, Option<Timestamp>> = BTreeMap::new();
    for row in &everything.connects.consents {
        let withdrawn = row.ended_at.filter(|_| row.ended_as.as_deref() == Some("withdrawn"));
        let known = consents.entry(row.connection).or_insert(withdrawn);
        // One that is in force, or ended otherwise since, is what counts.
        *known = match (row.ended_at, withdrawn) {
            (None, _) => Some(Timestamp::MAX),
            (Some(_), Some(at)) => Some(known.map_or(at, |known| known.max(at))),
            (Some(_), None) => *known,
        };
    }
    let withdrawn = consents;
    let credentials = everything.connections.iter().filter(|row| row.revoked_at.is_none());
    let credentials = credentials.map(|row| {
        let id = row.id.to_string();
        let provider = providers.get(&row.provider);
        let rules = rules.iter().filter(|(_, rule)| {
            rule.applies_to == Kind::Credential
                && fits(rule, row.environment)
                && rule
                    .provider
                    .as_ref()
                    .is_none_or(|one| provider.is_some_and(|slug| slug.as_str() == one))
                && rule.connection.as_ref().is_none_or(|one| *one == id)
        });
        let rules = rules.collect();
        let state = states.get(id.as_str()).copied();
        Subject {
            state,
            id,
            kind: Kind::Credential,
            of: provider.map(ToString::to_string).unwrap_or_default(),
            environment: row.environment,
            created_at: state
                .and_then(|state| state.renewed_at)
                .map_or(row.created_at, |at| at.max(row.created_at)),
            expires_at: None,
            connection: Some(row.id),
            rules,
            owner: Owner::Fine,
            withdrawn_at: withdrawn
                .get(&row.id)
                .copied()
                .flatten()
                .filter(|at| *at < Timestamp::MAX),
        }
    });
    keys.chain(credentials).collect()
}

impl<'r> Subject<'r> {
    pub(crate) fn is_suspended(&self) -> bool {
        self.state.is_some_and(|row| row.suspended_at.is_some() && row.restored_at.is_none())
    }

    /// Whether giving it back begins anew, rather than putting an end off.
    const fn begins_anew(condition: Condition) -> bool {
        // The roles that an owner had when it was given back are those that count since.
        matches!(condition, Condition::Idle | Condition::OwnerRoleChanged)
    }

    /// When what ended by this condition was given back, and until when that holds.
    fn excused(&self, condition: Condition) -> Option<(Timestamp, Timestamp)> {
        let row = self.state.filter(|row| row.condition.as_deref() == Some(condition.as_str()))?;
        Some((row.restored_at?, row.final_at?))
    }

    fn end(&self, (name, rule): (&'r Slug, &'r Rule), condition: Condition, at: Timestamp) -> End {
        // Nothing is given back twice for the same reason.
        let is_again = self.excused(condition).is_some() && !Self::begins_anew(condition);
        let grace =
            if condition.is_reversible() && !is_again { rule.grace() } else { Duration::ZERO };
        let at = match self.excused(condition) {
            Some((_, until)) if is_again => at.max(until),
            _ => at,
        };
        End { rule: Some(name.clone()), condition, at, grace }
    }

    /// When its time is over by rules: the soonest.
    pub(crate) fn timed(&self) -> Option<End> {
        let ends = self.rules.iter().flat_map(|(name, rule)| {
            let by_age = rule
                .max_age
                .map(|span| self.end((name, rule), Condition::MaxAge, self.created_at + span.0));
            let by_day =
                rule.expires().map(|day| self.end((name, rule), Condition::Expires, day.end_utc()));
            by_age.into_iter().chain(by_day)
        });
        ends.min_by_key(|end| end.at)
    }

    /// What of people and consents ends it, as it stands in the store now.
    pub(crate) fn by_event(&self, now: Timestamp) -> Option<End> {
        self.rules.iter().find_map(|(name, rule)| {
            let event = rule.on.iter().find(|event| match event {
                Condition::OwnerDisabled => self.owner == Owner::Gone,
                Condition::OwnerRoleChanged => self.owner == Owner::HasOtherRoles,
                Condition::ConsentWithdrawn => self.withdrawn_at.is_some(),
                _ => false,
            })?;
            let at = self.withdrawn_at.unwrap_or(now).min(now);
            let end = self.end((name, rule), *event, at);
            (end.at <= now).then_some(end)
        })
    }

    /// What of its use ends it.
    pub(crate) fn by_use(
        &self,
        used: Option<&UseCount>,
        networks: &[&NetworkRow],
        now: Timestamp,
    ) -> Option<End> {
        self.rules.iter().find_map(|(name, rule)| {
            let given_back = |condition| self.excused(condition).map(|(at, _)| at);
            let idle = rule.idle.map(|span| {
                let last = used.map_or(self.created_at, |used| used.last_at.max(self.created_at));
                let last = given_back(Condition::Idle).map_or(last, |at| at.max(last));
                self.end((name, rule), Condition::Idle, last + span.0)
            });
            let uses = rule.max_uses.and_then(|most| {
                let before = self.state.map_or(0, |row| row.uses_before);
                used.filter(|used| used.uses.saturating_sub(before) >= most)
                    .map(|used| self.end((name, rule), Condition::MaxUses, used.last_at))
            });
            let network = rule.on.contains(&Condition::NewNetwork).then(|| {
                let learnt = self.created_at + rule.learn();
                let learnt = given_back(Condition::NewNetwork).map_or(learnt, |at| at.max(learnt));
                let new = networks.iter().find(|one| one.first_at > learnt)?;
                Some(End {
                    rule: Some(Slug::clone(name)),
                    condition: Condition::NewNetwork,
                    at: new.first_at,
                    grace: rule.grace(),
                })
            });
            let ends = [idle, uses, network.flatten()];
            ends.into_iter().flatten().filter(|end| end.at <= now).min_by_key(|end| end.at)
        })
    }

    /// When it ends by what is known ahead: by rules, or of a key by itself.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        let timed = self.timed().map(|end| end.at);
        timed.into_iter().chain(self.expires_at).min()
    }
}

/// What calls need to know of a key or credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub ends_at: Option<Timestamp>,
    pub is_suspended: bool,
}

/// Of those that any rule reaches, by id.
#[derive(Debug, Default)]
pub(crate) struct Limits(HashMap<String, Limit>);

impl Limits {
    pub(crate) fn of_all<P: ReadProvider>(everything: &Everything<P>, now: Timestamp) -> Self {
        let lifetimes = &everything.lifetimes;
        if lifetimes.rules.is_empty() && lifetimes.states.is_empty() {
            return Self::default();
        }
        let rules = rules_of(everything);
        let all = subjects(everything, &rules).into_iter();
        let reached = all.filter(|one| !one.rules.is_empty() || one.state.is_some());
        let limits = reached.map(|one| {
            let is_suspended = one.is_suspended() || one.by_event(now).is_some();
            let limit = Limit { ends_at: one.timed().map(|end| end.at), is_suspended };
            (one.id, limit)
        });
        Self(limits.collect())
    }

    pub(crate) fn of<K>(&self, id: Id<K>) -> Option<Limit>
    where
        Id<K>: ToString,
    {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&id.to_string()).copied()
    }

    /// Until when credentials may be used; those that are suspended until the beginning of time.
    pub(crate) fn of_connections(
        &self,
        everything: &Everything,
    ) -> HashMap<Id<Connection>, (Timestamp, Closing)> {
        let all = everything.connections.iter().filter_map(|row| {
            let limit = self.of(row.id)?;
            let until = if limit.is_suspended { Timestamp::EPOCH } else { limit.ends_at? };
            Some((row.id, (until, Closing::Rule)))
        });
        all.collect()
    }
}
