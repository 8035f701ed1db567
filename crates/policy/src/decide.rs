//! The one decision point: an act of a person, on something, at a moment.

use crate::{
    act::Act,
    check::SECOND_APPROVER,
    role::{BUILT_IN, CustomRole, cedar},
    schema::schema,
};
use cedar_policy::{
    Authorizer, Context, Decision as Cedar, Effect, Entities, Entity, EntityId, EntityTypeName,
    EntityUid, Policy, PolicyId, PolicySet, Request, RestrictedExpression, Schema,
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    str::FromStr,
};
use types::Timestamp;

/// Who acts.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The person's id.
    pub id: String,
    /// The roles of this moment; a token's own.
    pub roles: Vec<String>,
    /// By a personal access token.
    pub is_token: bool,
}

/// What is acted on; its kind is the act's.
#[derive(Debug, Clone, Default)]
pub struct Resource {
    /// An id, or nothing where all of the kind are meant.
    pub id: String,
}

/// When, from where, and how well known.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub now: Timestamp,
    pub source: Option<IpAddr>,
    /// A factor was shown within the last minutes.
    pub is_stepped_up: bool,
}

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Role(String),
    Policy(String),
    /// Nothing permits it.
    NoRole,
    /// A token does nothing that needs a step-up.
    Token,
    /// It could not be decided.
    Undecided,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allowed(Vec<Reason>),
    Denied(Vec<Reason>),
    /// Allowed once a factor was shown again.
    NeedsStepUp(Vec<Reason>),
    /// Allowed once a second person has approved.
    NeedsApproval(Vec<Reason>),
}

impl Decision {
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// Why roles and policies do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy `{name}` cannot be in force")]
pub struct DeciderError {
    pub name: String,
}

/// Roles and policies, ready to decide. It does not change; another set is another one.
#[derive(Debug)]
pub struct Decider {
    set: PolicySet,
    schema: Schema,
    /// What each policy is named here.
    names: HashMap<PolicyId, Reason>,
    /// Those that a second approval lifts.
    liftable: HashSet<PolicyId>,
    /// The acts of each role.
    roles: HashMap<String, BTreeSet<Act>>,
}

impl Decider {
    /// Of the built-in roles, an installation's own, and policies by name. A policy that does not pass
    /// [`crate::check`] is refused: half of a set is never in force.
    pub fn new(roles: &[CustomRole], policies: &[(String, String)]) -> Result<Self, DeciderError> {
        let schema = schema().ok_or_else(|| DeciderError { name: "schema".into() })?;
        let mut decider = Self {
            set: PolicySet::new(),
            schema,
            names: HashMap::new(),
            liftable: HashSet::new(),
            roles: HashMap::new(),
        };
        for (name, acts) in BUILT_IN {
            decider.add_role(name, acts)?;
        }
        for role in roles {
            let acts: Vec<Act> = role.acts.iter().copied().collect();
            decider.add_role(&role.name, &acts)?;
        }
        for (name, text) in policies {
            decider.add_policy(name, text)?;
        }
        Ok(decider)
    }

    fn add_role(&mut self, name: &str, acts: &[Act]) -> Result<(), DeciderError> {
        let failed = || DeciderError { name: name.to_owned() };
        let id = PolicyId::new(format!("role {name}"));
        let policy = Policy::parse(Some(id.clone()), cedar(name, acts)).map_err(|_| failed())?;
        self.set.add(policy).map_err(|_| failed())?;
        self.names.insert(id, Reason::Role(name.to_owned()));
        self.roles.insert(name.to_owned(), acts.iter().copied().collect());
        Ok(())
    }

    fn add_policy(&mut self, name: &str, text: &str) -> Result<(), DeciderError> {
        let failed = || DeciderError { name: name.to_owned() };
        crate::check(text).map_err(|_| failed())?;
        let parsed = PolicySet::from_str(text).map_err(|_| failed())?;
        for (number, policy) in parsed.policies().enumerate() {
            // Roles alone permit.
            if policy.effect() == Effect::Permit {
                return Err(failed());
            }
            let id = PolicyId::new(format!("policy {name} {number}"));
            if policy.annotation(SECOND_APPROVER).is_some() {
                self.liftable.insert(id.clone());
            }
            self.set.add(policy.new_id(id.clone())).map_err(|_| failed())?;
            self.names.insert(id, Reason::Policy(name.to_owned()));
        }
        Ok(())
    }

    /// Decides. What cannot be decided is denied.
    pub fn decide(
        &self,
        principal: &Principal,
        act: Act,
        resource: &Resource,
        moment: &Moment,
    ) -> Decision {
        // Whatever its owner may do.
        if principal.is_token && act.needs_step_up() {
            return Decision::Denied(vec![Reason::Token]);
        }
        let Some((request, entities)) = self.request(principal, act, resource, moment) else {
            return Decision::Denied(vec![Reason::Undecided]);
        };
        let response = Authorizer::new().is_authorized(&request, &self.set, &entities);
        // A policy that could not be evaluated may be one that forbids.
        if response.diagnostics().errors().next().is_some() {
            return Decision::Denied(vec![Reason::Undecided]);
        }
        let determining: Vec<&PolicyId> = response.diagnostics().reason().collect();
        let mut reasons: Vec<Reason> =
            determining.iter().filter_map(|id| self.names.get(*id).cloned()).collect();
        reasons.sort();
        reasons.dedup();
        match response.decision() {
            Cedar::Allow if act.needs_step_up() && !moment.is_stepped_up => {
                Decision::NeedsStepUp(reasons)
            }
            Cedar::Allow => Decision::Allowed(reasons),
            Cedar::Deny if reasons.is_empty() => Decision::Denied(vec![Reason::NoRole]),
            Cedar::Deny => {
                let is_lifted = determining.iter().all(|id| self.liftable.contains(*id));
                // Of what no role permits, an approval makes nothing.
                if is_lifted && self.is_permitted(&principal.roles, act) {
                    Decision::NeedsApproval(reasons)
                } else {
                    Decision::Denied(reasons)
                }
            }
        }
    }

    /// Whether a role permits it, whatever policies say.
    pub fn is_permitted(&self, roles: &[String], act: Act) -> bool {
        let acts = roles.iter().filter_map(|role| self.roles.get(role));
        acts.flatten().any(|permitted| *permitted == act)
    }

    fn request(
        &self,
        principal: &Principal,
        act: Act,
        resource: &Resource,
        moment: &Moment,
    ) -> Option<(Request, Entities)> {
        let person = uid("Person", &principal.id)?;
        let parents = principal
            .roles
            .iter()
            .filter(|role| self.roles.contains_key(*role))
            .map(|role| uid("Role", role))
            .collect::<Option<HashSet<_>>>()?;
        let is_token = RestrictedExpression::new_bool(principal.is_token);
        let attributes = HashMap::from([("is_token".to_owned(), is_token)]);
        let person_entity = Entity::new(person.clone(), attributes, parents.clone()).ok()?;
        let roles = parents.into_iter().map(|role| Entity::new_no_attrs(role, HashSet::new()));
        let target = uid(act.resource().as_str(), &resource.id)?;
        let mut all: Vec<Entity> = roles.collect();
        all.push(person_entity);
        if target != person {
            all.push(Entity::new_no_attrs(target.clone(), HashSet::new()));
        }
        all.dedup_by(|a, b| a.uid() == b.uid());
        let entities = Entities::from_entities(all, None).ok()?;
        let context = context(moment)?;
        let action = uid("Action", act.as_str())?;
        let request = Request::new(person, action, target, context, Some(&self.schema)).ok()?;
        Some((request, entities))
    }

    /// What a person can do now, each with what decides it.
    pub fn explain(&self, principal: &Principal, moment: &Moment) -> Vec<(Act, Decision)> {
        let all = Act::ALL.iter();
        all.map(|act| (*act, self.decide(principal, *act, &Resource::default(), moment))).collect()
    }
}

pub(crate) fn uid(kind: &str, id: &str) -> Option<EntityUid> {
    let kind = EntityTypeName::from_str(kind).ok()?;
    Some(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn context(moment: &Moment) -> Option<Context> {
    let stepped_up = RestrictedExpression::new_bool(moment.is_stepped_up);
    context_of(moment.now, moment.source, vec![("stepped_up".to_owned(), stepped_up)])
}

/// Hours and weekdays (Monday is 1) of UTC, and what is known besides.
pub(crate) fn context_of(
    now: Timestamp,
    source: Option<IpAddr>,
    mut pairs: Vec<(String, RestrictedExpression)>,
) -> Option<Context> {
    const HOUR: i64 = 3_600_000_000;
    let micros = now.as_micros();
    let hour = micros.rem_euclid(24 * HOUR) / HOUR;
    // 1970-01-01 was a Thursday.
    let weekday = (micros.div_euclid(24 * HOUR) + 3).rem_euclid(7) + 1;
    pairs.push(("hour".to_owned(), RestrictedExpression::new_long(hour)));
    pairs.push(("weekday".to_owned(), RestrictedExpression::new_long(weekday)));
    if let Some(source) = source {
        pairs.push(("source".to_owned(), RestrictedExpression::new_ip(source.to_string())));
    }
    Context::from_pairs(pairs).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn person(roles: &[&str]) -> Principal {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Principal { id: "user_1".into(), roles, is_token: false }
    }

    /// Thursday, 1970-01-01, ten o'clock.
    fn moment() -> Moment {
        Moment {
            now: Timestamp::from_micros(10 * 3_600_000_000),
            source: Some([10, 1, 2, 3].into()),
            is_stepped_up: true,
        }
    }

    fn with(policies: &[&str]) -> Decider {
        let named: Vec<_> = policies
            .iter()
            .enumerate()
            .map(|(number, text)| (format!("p{number}"), (*text).to_owned()))
            .collect();
        Decider::new(&[], &named).unwrap()
    }

    fn decide(decider: &Decider, roles: &[&str], act: Act) -> Decision {
        decider.decide(&person(roles), act, &Resource::default(), &moment())
    }

    #[test]
    fn each_role_does_its_acts_and_no_others() {
        let decider = with(&[]);
        for (role, acts) in BUILT_IN {
            for act in Act::ALL {
                let wanted = if acts.contains(act) {
                    Decision::Allowed(vec![Reason::Role(role.into())])
                } else {
                    Decision::Denied(vec![Reason::NoRole])
                };
                assert_eq!(decide(&decider, &[role], *act), wanted, "{role} {act}");
            }
        }
        for act in Act::ALL {
            for nobody in [&[][..], &["nobody"], &["Administrator"], &["administrator "]] {
                let denied = Decision::Denied(vec![Reason::NoRole]);
                assert_eq!(decide(&decider, nobody, *act), denied, "{nobody:?} {act}");
            }
        }
    }

    #[test]
    fn heavy_acts_need_a_step_up_and_no_token_does_them() {
        let decider = with(&[]);
        let early = Moment { is_stepped_up: false, ..moment() };
        let token = Principal { is_token: true, ..person(&["administrator"]) };
        for act in BUILT_IN[0].1 {
            let all = Resource::default();
            let decided = decider.decide(&person(&["administrator"]), *act, &all, &early);
            let by = vec![Reason::Role("administrator".into())];
            let by_token = decider.decide(&token, *act, &all, &moment());
            if act.needs_step_up() {
                assert_eq!(decided, Decision::NeedsStepUp(by), "{act}");
                assert_eq!(by_token, Decision::Denied(vec![Reason::Token]), "{act}");
            } else {
                assert_eq!(decided, Decision::Allowed(by.clone()), "{act}");
                assert_eq!(by_token, Decision::Allowed(by), "{act}");
            }
        }
    }

    #[test]
    fn policies_take_away_by_time_place_and_person() {
        let night = "forbid (principal, action == Action::\"key.create\", resource) \
                     when { context.hour < 6 || context.weekday > 5 };";
        let office = "forbid (principal, action == Action::\"client.create\", resource) unless \
                      { context has source && context.source.isInRange(ip(\"10.0.0.0/8\")) };";
        let decider = with(&[night, office]);
        let at = |hours: i64, source: Option<IpAddr>| Moment {
            now: Timestamp::from_micros(hours * 3_600_000_000),
            source,
            is_stepped_up: true,
        };
        let inside = Some([10, 9, 8, 7].into());
        let decide = |act, moment: &Moment| {
            decider.decide(&person(&["integrator"]), act, &Resource::default(), moment)
        };
        assert!(decide(Act::KeyCreate, &at(10, inside)).is_allowed());
        let by_night = Decision::Denied(vec![Reason::Policy("p0".into())]);
        assert_eq!(decide(Act::KeyCreate, &at(5, inside)), by_night);
        // Saturday, and Friday.
        assert_eq!(decide(Act::KeyCreate, &at(2 * 24 + 10, inside)), by_night);
        assert!(decide(Act::KeyCreate, &at(24 + 10, inside)).is_allowed());
        assert!(decide(Act::ClientCreate, &at(10, inside)).is_allowed());
        let elsewhere = Decision::Denied(vec![Reason::Policy("p1".into())]);
        for source in [None, Some([11, 0, 0, 1].into()), Some("::1".parse().unwrap())] {
            assert_eq!(decide(Act::ClientCreate, &at(10, source)), elsewhere, "{source:?}");
        }
    }

    #[test]
    fn a_second_person_lifts_what_says_so_and_nothing_else() {
        let two = "@second_approver(\"security\") \
                   forbid (principal, action == Action::\"grant.apply\", resource);";
        let never = "forbid (principal, action == Action::\"grant.apply\", resource) \
                     when { context.hour < 6 };";
        let decider = with(&[two, never]);
        let by = vec![Reason::Policy("p0".into())];
        assert_eq!(decide(&decider, &["security"], Act::GrantApply), Decision::NeedsApproval(by));
        let night = Moment { now: Timestamp::from_micros(0), ..moment() };
        let all = Resource::default();
        let decided = decider.decide(&person(&["security"]), Act::GrantApply, &all, &night);
        assert!(matches!(decided, Decision::Denied(_)), "{decided:?}");
        // What no role permits is not approved.
        let decided = decide(&decider, &["auditor"], Act::GrantApply);
        assert!(matches!(decided, Decision::Denied(_)), "{decided:?}");
    }

    #[test]
    fn what_is_wrong_is_never_half_in_force() {
        for bad in [
            "permit (principal, action, resource);",
            "forbid (principal, action, resource) when { context.colour == 1 };",
            "not a policy",
        ] {
            let policies =
                [("good".into(), "forbid (principal is Person, action, resource);".into())];
            let all = [&policies[..], &[("bad".into(), bad.into())]].concat();
            assert_eq!(Decider::new(&[], &all).unwrap_err().name, "bad");
        }
    }

    /// A name is one text, not a pattern and not a piece of Cedar (CVE class 6).
    #[test]
    fn names_do_not_widen() {
        let acts = ["audit.read".to_owned()];
        for name in ["a\"] , action, resource); permit (principal", "*", "a\\", "ä, b"] {
            let role = CustomRole::new(name, &acts).unwrap();
            let decider = Decider::new(&[role], &[]).unwrap();
            assert!(decide(&decider, &[name], Act::AuditRead).is_allowed(), "{name}");
            assert!(!decide(&decider, &[name], Act::KeyCreate).is_allowed(), "{name}");
            assert!(!decide(&decider, &["other"], Act::AuditRead).is_allowed(), "{name}");
        }
    }

    proptest! {
        /// A policy only takes away, whatever it is.
        #[test]
        fn no_policy_permits_what_no_role_does(
            roles in proptest::collection::vec(0..BUILT_IN.len(), 0..3),
            act in 0..Act::ALL.len(),
            policies in proptest::collection::vec((0..Act::ALL.len(), 0..24_i64, any::<bool>()), 0..4),
            hours in 0..200_i64,
            is_stepped_up: bool,
        ) {
            let texts: Vec<String> = policies.iter().map(|(act, hour, is_liftable)| format!(
                "{}forbid (principal, action == Action::\"{}\", resource) when {{ context.hour < {hour} }};",
                if *is_liftable { "@second_approver(\"x\") " } else { "" },
                Act::ALL[*act],
            )).collect();
            let decider = with(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            let act = Act::ALL[act];
            let names: Vec<&str> = roles.iter().map(|role| BUILT_IN[*role].0).collect();
            let now = Timestamp::from_micros(hours * 3_600_000_000);
            let moment = Moment { now, is_stepped_up, ..moment() };
            let decided = decider.decide(&person(&names), act, &Resource::default(), &moment);
            // The same, by hand.
            let permitted = roles.iter().any(|role| BUILT_IN[*role].1.contains(&act));
            let forbids: Vec<bool> = policies.iter()
                .filter(|(other, hour, _)| Act::ALL[*other] == act && hours % 24 < *hour)
                .map(|(_, _, is_liftable)| *is_liftable).collect();
            let wanted = match (permitted, forbids.is_empty()) {
                (true, true) if act.needs_step_up() && !is_stepped_up => "step-up",
                (true, true) => "allowed",
                (true, false) if forbids.iter().all(|one| *one) => "approval",
                _ => "denied",
            };
            let found = match decided {
                Decision::Allowed(_) => "allowed",
                Decision::Denied(_) => "denied",
                Decision::NeedsStepUp(_) => "step-up",
                Decision::NeedsApproval(_) => "approval",
            };
            prop_assert_eq!(found, wanted);
        }
    }
}
