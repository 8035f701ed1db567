//! What policies take from calls: decided once when rights are compiled, but for what depends on the
//! moment, which is left over and decided at each call.

use crate::{
    decide::{DeciderError, context_of, uid},
    schema::schema,
};
use cedar_policy::{
    ActionConstraint, Authorizer, Context, Decision as Cedar, Entities, Entity, EntityUid, Policy,
    PolicyId, PolicySet, PrincipalConstraint, Request, RestrictedExpression, Schema,
};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    net::IpAddr,
    str::FromStr,
    sync::Arc,
};
use types::{Action, Timestamp};

/// A call, as far as it is known when rights are compiled.
#[derive(Debug, Clone, Copy)]
pub struct Call<'c> {
    /// The client's name.
    pub client: &'c str,
    /// The provider's short name.
    pub provider: &'c str,
    /// `live` or `test`.
    pub environment: &'c str,
    /// The operation's id.
    pub operation: &'c str,
    /// The object's name; empty where there is none.
    pub object: &'c str,
    pub action: Action,
    /// Content passes as it is.
    pub is_unfiltered: bool,
}

/// A field of an object that a client may read or write by its grants.
#[derive(Debug, Clone, Copy)]
pub struct CalledField<'f> {
    pub client: &'f str,
    pub provider: &'f str,
    pub object: &'f str,
    pub path: &'f str,
    /// The data category; empty where nothing is known.
    pub category: &'f str,
    pub is_sensitive: bool,
    pub is_write: bool,
}

/// What policies leave of a call.
#[derive(Debug, Clone)]
pub enum Verdict {
    Open,
    /// Forbidden at any moment, by this policy.
    Forbidden(String),
    /// It depends on the moment.
    Depends(Arc<Residual>),
}

/// The policies about calls and fields. It does not change; another set is another one.
#[derive(Debug)]
pub struct Calls {
    schema: Schema,
    /// Those whose condition does not speak of the moment, after one that permits everything.
    fixed: PolicySet,
    /// The others.
    moving: Vec<Policy>,
    names: Arc<HashMap<PolicyId, String>>,
    is_about_fields: bool,
}

const EVERYTHING: &str = "permit (principal, action, resource);";

impl Calls {
    /// Of policies by name, each of which passes [`crate::check`].
    ///
    /// # Errors
    /// Where one does not: half of a set is never in force.
    pub fn new(policies: &[(String, String)]) -> Result<Self, DeciderError> {
        let failed = |name: &str| DeciderError { name: name.to_owned() };
        let mut calls = Self {
            schema: schema().ok_or_else(|| failed("schema"))?,
            fixed: PolicySet::from_str(EVERYTHING).map_err(|_| failed("schema"))?,
            moving: Vec::new(),
            names: Arc::default(),
            is_about_fields: false,
        };
        let mut names = HashMap::new();
        for (name, text) in policies {
            crate::check(text).map_err(|_| failed(name))?;
            let parsed = PolicySet::from_str(text).map_err(|_| failed(name))?;
            for (number, policy) in parsed.policies().enumerate() {
                if !is_about_programs(policy) {
                    continue;
                }
                let id = PolicyId::new(format!("policy {name} {number}"));
                let policy = policy.new_id(id.clone());
                names.insert(id, name.clone());
                calls.is_about_fields |= may_be(&policy, "field.");
                let json = policy.to_json().map_err(|_| failed(name))?;
                if speaks_of_the_moment(&json) {
                    calls.moving.push(policy);
                } else {
                    calls.fixed.add(policy).map_err(|_| failed(name))?;
                }
            }
        }
        calls.names = Arc::new(names);
        Ok(calls)
    }

    /// Whether nothing is said of calls and fields.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether anything is said of fields.
    pub fn is_about_fields(&self) -> bool {
        self.is_about_fields
    }

    /// What becomes of a call. What cannot be decided is forbidden.
    pub fn call(&self, call: &Call<'_>) -> Verdict {
        let Some(asked) = Asked::of_call(call) else { return undecided() };
        let Ok(fixed) = asked.forbidden_by(&self.fixed, &self.names, Context::empty(), None) else {
            return undecided();
        };
        if let Some(name) = fixed {
            return Verdict::Forbidden(name);
        }
        let mut set = self.fixed.clone();
        let about: Vec<&Policy> =
            self.moving.iter().filter(|policy| asked.may_concern(policy)).collect();
        if about.is_empty() {
            return Verdict::Open;
        }
        for policy in about {
            if set.add(policy.clone()).is_err() {
                return undecided();
            }
        }
        let names = Arc::clone(&self.names);
        let schema = self.schema.clone();
        Verdict::Depends(Arc::new(Residual { asked, set, names, schema }))
    }

    /// The policy that takes a field away, if one does.
    pub fn field(&self, field: &CalledField<'_>) -> Option<String> {
        if !self.is_about_fields {
            return None;
        }
        let Some(asked) = Asked::of_field(field) else { return Some(UNDECIDED.to_owned()) };
        let found = asked.forbidden_by(&self.fixed, &self.names, Context::empty(), None);
        found.unwrap_or_else(|()| Some(UNDECIDED.to_owned()))
    }
}

const UNDECIDED: &str = "it could not be decided";

fn undecided() -> Verdict {
    Verdict::Forbidden(UNDECIDED.to_owned())
}

/// What is left over of the policies about one call: those that speak of the moment.
pub struct Residual {
    asked: Asked,
    set: PolicySet,
    names: Arc<HashMap<PolicyId, String>>,
    schema: Schema,
}

impl fmt::Debug for Residual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Residual").field("resource", &self.asked.resource).finish_non_exhaustive()
    }
}

impl Residual {
    /// The policy that forbids the call at this moment, from this address, if one does. What cannot be
    /// decided is forbidden.
    pub fn forbids(&self, now: Timestamp, source: Option<IpAddr>) -> Option<String> {
        let undecided = || Some(UNDECIDED.to_owned());
        let Some(context) = context_of(now, source, Vec::new()) else { return undecided() };
        let found = self.asked.forbidden_by(&self.set, &self.names, context, Some(&self.schema));
        found.unwrap_or_else(|()| undecided())
    }
}

/// Who, what, and on what.
struct Asked {
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    entities: Entities,
}

impl Asked {
    fn of_call(call: &Call<'_>) -> Option<Self> {
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let attributes = HashMap::from([
            ("provider".to_owned(), text(call.provider)),
            ("environment".to_owned(), text(call.environment)),
            ("operation".to_owned(), text(call.operation)),
            ("object".to_owned(), text(call.object)),
            ("unfiltered".to_owned(), RestrictedExpression::new_bool(call.is_unfiltered)),
        ]);
        let id = format!("{} {}", call.provider, call.operation);
        Self::new(call.client, &format!("call.{}", call.action), ("Call", &id), attributes)
    }

    fn of_field(field: &CalledField<'_>) -> Option<Self> {
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let attributes = HashMap::from([
            ("provider".to_owned(), text(field.provider)),
            ("object".to_owned(), text(field.object)),
            ("path".to_owned(), text(field.path)),
            ("category".to_owned(), text(field.category)),
            ("sensitive".to_owned(), RestrictedExpression::new_bool(field.is_sensitive)),
        ]);
        let id = format!("{} {}.{}", field.provider, field.object, field.path);
        let action = if field.is_write { "field.write" } else { "field.read" };
        Self::new(field.client, action, ("Field", &id), attributes)
    }

    fn new(
        client: &str,
        action: &str,
        (kind, id): (&str, &str),
        attributes: HashMap<String, RestrictedExpression>,
    ) -> Option<Self> {
        let (principal, resource) = (uid("Client", client)?, uid(kind, id)?);
        let entity = Entity::new(resource.clone(), attributes, HashSet::new()).ok()?;
        let client = Entity::new_no_attrs(principal.clone(), HashSet::new());
        let entities = Entities::from_entities([client, entity], None).ok()?;
        Some(Self { principal, action: uid("Action", action)?, resource, entities })
    }

    fn forbidden_by(
        &self,
        set: &PolicySet,
        names: &HashMap<PolicyId, String>,
        context: Context,
        schema: Option<&Schema>,
    ) -> Result<Option<String>, ()> {
        let request = Request::new(
            self.principal.clone(),
            self.action.clone(),
            self.resource.clone(),
            context,
            schema,
        );
        let request = request.map_err(drop)?;
        let response = Authorizer::new().is_authorized(&request, set, &self.entities);
        if response.diagnostics().errors().next().is_some() {
            return Err(());
        }
        match response.decision() {
            Cedar::Allow => Ok(None),
            Cedar::Deny => {
                let name = response.diagnostics().reason().find_map(|id| names.get(id));
                Ok(Some(name.cloned().unwrap_or_else(|| UNDECIDED.to_owned())))
            }
        }
    }

    /// Whether a policy's scope lets it be about this; only what is certainly not is left out.
    fn may_concern(&self, policy: &Policy) -> bool {
        let is_action = match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(one) => one == self.action,
            ActionConstraint::In(all) => all.contains(&self.action),
        };
        let is_client = match policy.principal_constraint() {
            PrincipalConstraint::Eq(one) => one == self.principal,
            _ => true,
        };
        is_action && is_client
    }
}

/// Whether a policy's scope lets it be about programs.
pub(crate) fn is_about_programs(policy: &Policy) -> bool {
    let is_person = |kind: &str| matches!(kind, "Person" | "Role");
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Eq(one) | PrincipalConstraint::In(one) => {
            !is_person(&one.type_name().to_string())
        }
        PrincipalConstraint::Is(kind) | PrincipalConstraint::IsIn(kind, _) => {
            !is_person(&kind.to_string())
        }
    };
    principal && (may_be(policy, "call.") || may_be(policy, "field."))
}

/// Whether a policy can be about an act whose name begins so.
fn may_be(policy: &Policy, beginning: &str) -> bool {
    let is_one = |one: &EntityUid| AsRef::<str>::as_ref(one.id()).starts_with(beginning);
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(one) => is_one(&one),
        ActionConstraint::In(all) => all.iter().any(is_one),
    }
}

/// Whether `context` stands anywhere in a condition.
fn speaks_of_the_moment(policy: &Value) -> bool {
    match policy {
        Value::Object(all) => all
            .iter()
            .any(|(name, one)| name == "Var" && one == "context" || speaks_of_the_moment(one)),
        Value::Array(all) => all.iter().any(speaks_of_the_moment),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Random as _, SeededRandom};

    fn with(policies: &[&str]) -> Calls {
        let named: Vec<(String, String)> = policies
            .iter()
            .enumerate()
            .map(|(number, text)| (format!("p{number}"), (*text).to_owned()))
            .collect();
        Calls::new(&named).unwrap()
    }

    fn call() -> Call<'static> {
        Call {
            client: "payroll",
            provider: "hr",
            environment: "live",
            operation: "listPeople",
            object: "Person",
            action: Action::Read,
            is_unfiltered: false,
        }
    }

    fn field() -> CalledField<'static> {
        CalledField {
            client: "payroll",
            provider: "hr",
            object: "Person",
            path: "address.city",
            category: "user.contact.address.city",
            is_sensitive: true,
            is_write: false,
        }
    }

    /// Hours after Thursday, 1970-01-01.
    fn at(hours: i64) -> Timestamp {
        Timestamp::from_micros(hours * 3_600_000_000)
    }

    /// The policy that forbids a call at a moment.
    fn forbids(
        calls: &Calls,
        call: &Call<'_>,
        now: Timestamp,
        source: Option<IpAddr>,
    ) -> Option<String> {
        match calls.call(call) {
            Verdict::Open => None,
            Verdict::Forbidden(name) => Some(name),
            Verdict::Depends(residual) => residual.forbids(now, source),
        }
    }

    #[test]
    fn policies_take_calls_away_by_what_they_are() {
        for (policy, is_forbidden) in [
            (
                "forbid (principal is Client, action, resource) when { resource.provider == \"hr\" };",
                true,
            ),
            (
                "forbid (principal is Client, action, resource) when { resource.provider == \"crm\" };",
                false,
            ),
            (
                "forbid (principal == Client::\"payroll\", action == Action::\"call.read\", resource);",
                true,
            ),
            (
                "forbid (principal == Client::\"report\", action == Action::\"call.read\", resource);",
                false,
            ),
            ("forbid (principal, action == Action::\"call.delete\", resource);", false),
            (
                "forbid (principal, action in [Action::\"call.read\", Action::\"call.delete\"], resource) \
              when { resource.environment == \"live\" && resource.object == \"Person\" };",
                true,
            ),
            (
                "forbid (principal, action == Action::\"call.read\", resource) when { resource.unfiltered };",
                false,
            ),
            (
                "forbid (principal, action == Action::\"call.read\", resource) when { resource.operation like \"list*\" };",
                true,
            ),
            // Of people's acts alone.
            ("forbid (principal is Person, action, resource);", false),
            ("forbid (principal, action == Action::\"client.read\", resource);", false),
        ] {
            let calls = with(&[policy]);
            let found = calls.call(&call());
            let is_right = match &found {
                Verdict::Forbidden(name) => is_forbidden && name == "p0",
                Verdict::Open => !is_forbidden,
                Verdict::Depends(_) => false,
            };
            assert!(is_right, "{policy}: {found:?}");
        }
        assert!(with(&[]).is_empty());
        assert!(with(&["forbid (principal is Person, action, resource);"]).is_empty());
    }

    #[test]
    fn what_depends_on_the_moment_is_left_over() {
        let night = "forbid (principal, action == Action::\"call.read\", resource) when \
                     { context.hour < 6 || context.weekday > 5 };";
        let office = "forbid (principal is Client, action in [Action::\"call.read\", \
                      Action::\"call.update\"], resource) unless { context has source && \
                      context.source.isInRange(ip(\"192.0.2.0/24\")) };";
        let calls = with(&[night, office]);
        let inside: Option<IpAddr> = Some([192, 0, 2, 7].into());
        assert_eq!(forbids(&calls, &call(), at(10), inside), None);
        assert_eq!(forbids(&calls, &call(), at(5), inside).as_deref(), Some("p0"));
        assert_eq!(
            forbids(&calls, &call(), at(2 * 24 + 10), inside).as_deref(),
            Some("p0"),
            "Saturday"
        );
        for source in [None, Some([192, 0, 3, 7].into()), Some("::1".parse().unwrap())] {
            assert_eq!(
                forbids(&calls, &call(), at(10), source).as_deref(),
                Some("p1"),
                "{source:?}"
            );
        }
        // Nothing is left over where no such policy can be meant.
        let delete = Call { action: Action::Delete, ..call() };
        assert!(matches!(calls.call(&delete), Verdict::Open));
        // One that holds at any moment needs no moment.
        let never = "forbid (principal, action == Action::\"call.read\", resource);";
        assert!(matches!(with(&[night, never]).call(&call()), Verdict::Forbidden(_)));
    }

    #[test]
    fn policies_take_fields_away_by_their_category() {
        let health = "forbid (principal, action == Action::\"field.read\", resource) when \
                      { resource.category like \"user.contact*\" };";
        let calls = with(&[health]);
        assert!(calls.is_about_fields());
        assert_eq!(calls.field(&field()).as_deref(), Some("p0"));
        for other in [
            CalledField { category: "user.name", ..field() },
            CalledField { category: "", ..field() },
            CalledField { is_write: true, ..field() },
        ] {
            assert_eq!(calls.field(&other), None, "{other:?}");
        }
        let sensitive = "forbid (principal is Client, action in [Action::\"field.read\", \
                         Action::\"field.write\"], resource) when { resource.sensitive && \
                         resource.provider == \"hr\" } unless { principal == Client::\"payroll\" };";
        let calls = with(&[sensitive]);
        assert_eq!(calls.field(&field()), None);
        let other = CalledField { client: "report", ..field() };
        assert_eq!(calls.field(&other).as_deref(), Some("p0"));
        assert!(matches!(calls.call(&call()), Verdict::Open));
    }

    /// What was compiled decides as Cedar does at once, over random policies, calls and moments. Here
    /// as many as a debug build does in seconds; `WEIRGATE_PAIRS` says how many otherwise.
    #[test]
    fn compiled_decisions_are_cedars_own() {
        const CLIENTS: [&str; 3] = ["payroll", "report", "pay\"roll"];
        const PROVIDERS: [&str; 2] = ["hr", "crm"];
        const OBJECTS: [&str; 3] = ["Person", "Deal", ""];
        let wanted: usize = std::env::var_os("WEIRGATE_PAIRS")
            .map_or(4_000, |text| text.to_str().unwrap().parse().unwrap());
        let random = SeededRandom::new(7);
        let pick = |count: usize| {
            let mut bytes = [0; 8];
            random.fill(&mut bytes).unwrap();
            usize::try_from(u64::from_le_bytes(bytes) % u64::try_from(count).unwrap()).unwrap()
        };
        let mut done = 0;
        let mut outcomes = [0_usize; 2];
        while done < wanted {
            let mut texts = Vec::new();
            for _ in 0..pick(5) {
                let action = Action::ALL[pick(Action::ALL.len())];
                let scope = [
                    format!("principal, action == Action::\"call.{action}\", resource"),
                    format!("principal == Client::\"payroll\", action in [Action::\"call.{action}\", Action::\"call.read\"], resource"),
                    "principal is Client, action in [Action::\"call.read\", Action::\"call.update\", Action::\"call.upload\"], resource".to_owned(),
                ];
                let condition = [
                    format!("when {{ context.hour < {} }}", pick(25)),
                    format!("when {{ context.weekday == {} }}", 1 + pick(7)),
                    format!("when {{ resource.provider == \"{}\" }}", PROVIDERS[pick(2)]),
                    format!("when {{ resource.object == \"{}\" && context.hour >= {} }}", OBJECTS[pick(3)], pick(24)),
                    "unless { context has source && context.source.isInRange(ip(\"192.0.2.0/25\")) }".to_owned(),
                    "when { resource.unfiltered || resource.environment == \"test\" }".to_owned(),
                    format!("when {{ principal == Client::\"{}\" }} unless {{ context.weekday < 6 }}", CLIENTS[pick(2)]),
                    String::new(),
                ];
                texts.push(format!("forbid ({}) {};", scope[pick(3)], condition[pick(8)]));
            }
            let refs: Vec<&str> = texts.iter().map(String::as_str).collect();
            let calls = with(&refs);
            let whole =
                PolicySet::from_str(&format!("{EVERYTHING}\n{}", texts.join("\n"))).unwrap();
            for _ in 0..100 {
                let call = Call {
                    client: CLIENTS[pick(3)],
                    provider: PROVIDERS[pick(2)],
                    environment: ["live", "test"][pick(2)],
                    operation: ["list", "one"][pick(2)],
                    object: OBJECTS[pick(3)],
                    action: Action::ALL[pick(Action::ALL.len())],
                    is_unfiltered: pick(4) == 0,
                };
                let now = at(i64::try_from(pick(1_000)).unwrap());
                let last = u8::try_from(pick(256)).unwrap();
                let source =
                    [None, Some(IpAddr::from([192, 0, 2, last])), Some("::1".parse().unwrap())]
                        [pick(3)];
                let asked = Asked::of_call(&call).unwrap();
                let request = Request::new(
                    asked.principal.clone(),
                    asked.action.clone(),
                    asked.resource.clone(),
                    context_of(now, source, Vec::new()).unwrap(),
                    schema().as_ref(),
                );
                let direct =
                    Authorizer::new().is_authorized(&request.unwrap(), &whole, &asked.entities);
                assert_eq!(direct.diagnostics().errors().count(), 0);
                let is_forbidden = direct.decision() == Cedar::Deny;
                assert_eq!(
                    forbids(&calls, &call, now, source).is_some(),
                    is_forbidden,
                    "{texts:#?} {call:?}"
                );
                outcomes[usize::from(is_forbidden)] += 1;
                done += 1;
            }
        }
        assert!(outcomes.iter().all(|count| *count > done / 10), "{outcomes:?}");
        println!("{done} pairs, of which {} forbidden", outcomes[1]);
    }
}
