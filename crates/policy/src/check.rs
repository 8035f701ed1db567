//! Policies as they are written: all that is wrong with them at once, each with its place.

use crate::{act::Act, calls::is_about_programs, schema::schema};
use cedar_policy::{
    ActionConstraint, Effect, PolicySet, PrincipalConstraint, ValidationMode, Validator,
};
use miette::Diagnostic;
use std::str::FromStr;
use types::nearest;

/// The annotation of a policy that a second person's approval lifts.
pub(crate) const SECOND_APPROVER: &str = "second_approver";
/// The annotations that mean something.
const ANNOTATIONS: [&str; 2] = ["id", SECOND_APPROVER];
const MAX_BYTES: usize = 64 * 1_024;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1; `None` where it is about the text as a whole.
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub what: String,
    pub remedy: String,
}

/// Whether a policy text may be in force: it only takes away (roles permit), fits the schema, and its
/// annotations mean something.
pub fn check(text: &str) -> Result<(), Vec<Problem>> {
    if text.len() > MAX_BYTES {
        return Err(vec![whole(
            format!("a policy text has at most {MAX_BYTES} bytes"),
            "Split it into several.",
        )]);
    }
    let set = PolicySet::from_str(text).map_err(|errors| {
        errors.iter().map(|error| placed(text, error, "Correct its form.")).collect::<Vec<_>>()
    })?;
    let mut problems = Vec::new();
    if set.policies().next().is_none() && set.templates().next().is_none() {
        problems.push(whole("there is no policy".into(), "Write at least one `forbid`."));
    }
    if set.templates().next().is_some() {
        problems.push(whole(
            "a template (`?principal`, `?resource`) is no policy".into(),
            "Name the principal and the resource.",
        ));
    }
    for policy in set.policies() {
        if policy.effect() == Effect::Permit {
            problems.push(whole(
                format!("the policy {} permits", policy.id()),
                "Roles permit, policies forbid: put the acts into a role, and write a `forbid` for \
                 what it shall not reach.",
            ));
        }
        let is_open = matches!(policy.action_constraint(), ActionConstraint::Any)
            && matches!(policy.principal_constraint(), PrincipalConstraint::Any);
        if is_open {
            problems.push(whole(
                format!("the policy {} does not say whose acts it is about", policy.id()),
                "Write `principal is Person` or `principal is Client`, or name the actions.",
            ));
        }
        if policy.annotation(SECOND_APPROVER).is_some() && is_about_programs(policy) {
            problems.push(whole(
                format!("the policy {} is about calls, which nobody approves", policy.id()),
                "Leave `@second_approver` out, or name acts of people.",
            ));
        }
        for (name, _) in policy.annotations() {
            if !ANNOTATIONS.contains(&name) {
                let near = nearest(name, ANNOTATIONS);
                problems.push(whole(
                    format!("the annotation `@{}` means nothing", shown(name)),
                    &near.map_or_else(
                        || "Leave it out.".to_owned(),
                        |near| format!("Did you mean `@{near}`?"),
                    ),
                ));
            }
        }
    }
    let Some(schema) = schema() else {
        return Err(vec![whole("the schema cannot be read".into(), "Report this.")]);
    };
    let validator = Validator::new(schema);
    let result = validator.validate(&set, ValidationMode::Strict);
    for error in result.validation_errors() {
        problems.push(placed(text, error, &remedy_of(&error.to_string())));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn whole(what: String, remedy: &str) -> Problem {
    Problem { line: None, column: None, what, remedy: remedy.to_owned() }
}

/// What a library says, with the place that it points to.
fn placed(text: &str, error: &dyn Diagnostic, remedy: &str) -> Problem {
    let at = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    let (line, column) = at.map_or((None, None), |at| {
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (Some(line), Some(column))
    });
    let help = error.help().map(|help| help.to_string());
    let remedy = help.unwrap_or_else(|| remedy.to_owned());
    Problem { line, column, what: shown(&error.to_string()), remedy: shown(&remedy) }
}

/// An act that is not there is mostly misspelled.
fn remedy_of(what: &str) -> String {
    let named = what.split('"').nth(1).unwrap_or_default();
    let near = nearest(named, Act::ALL.iter().map(|act| act.as_str()));
    near.map_or_else(
        || "Compare it with the schema: `weirgate policy schema`.".to_owned(),
        |near| format!("Did you mean `Action::\"{near}\"`?"),
    )
}

/// Nothing that a terminal would act on.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<Problem> {
        check(text).unwrap_err()
    }

    #[test]
    fn what_takes_away_is_taken() {
        for good in [
            "forbid (principal, action == Action::\"key.create\", resource) when { context.hour < 6 };",
            "@id(\"office\") forbid (principal is Person, action, resource) unless \
             { context has source && context.source.isInRange(ip(\"10.0.0.0/8\")) };",
            "@second_approver(\"security\") forbid (principal, action == Action::\"grant.apply\", resource);",
            "forbid (principal in Role::\"integrator\", action in [Action::\"client.read\"], resource);",
            "forbid (principal, action == Action::\"audit.export\", resource) when { principal.is_token };",
            "forbid (principal, action == Action::\"call.delete\", resource) when { context.hour < 6 };",
            "forbid (principal is Client, action, resource) when { resource.provider == \"hr\" };",
            "forbid (principal == Client::\"payroll\", action == Action::\"field.read\", resource) when \
             { resource.category like \"user.health*\" };",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn problems_have_their_place_and_remedy() {
        let text = "forbid (principal is Person, action, resource);\nforbid (\n  principal,\n  action == Action::\"key.creat\",\n  resource\n);";
        let found = problems(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].remedy.contains("key.create"), "{found:?}");
        let found = problems(
            "forbid (principal is Person, action, resource)\nwhen { context.colour == 1 };",
        );
        assert_eq!(found[0].line, Some(2), "{found:?}");
        let found = problems("forbid (principal is Person, action, resource)\n\n  whn { true };");
        assert_eq!((found[0].line, found[0].column), (Some(3), Some(3)), "{found:?}");
    }

    #[test]
    fn what_would_permit_or_means_nothing_is_refused() {
        for (bad, says) in [
            ("", "no policy"),
            ("forbid (principal, action, resource);", "whose acts"),
            (
                "@second_approver(\"x\") forbid (principal, action == Action::\"call.read\", resource);",
                "nobody approves",
            ),
            ("forbid (principal is Client, action, resource) when { context.hour < 6 };", "hour"),
            (
                "forbid (principal is Client, action, resource) when { context.stepped_up };",
                "stepped_up",
            ),
            ("permit (principal, action, resource);", "permits"),
            ("@second_aprover(\"x\") forbid (principal, action, resource);", "means nothing"),
            ("forbid (principal == ?principal, action, resource);", "template"),
            ("forbid (principal == Admin::\"x\", action, resource);", "Admin"),
            (
                "forbid (principal is Person, action, resource) when { context.source.isInRange(ip(\"10.0.0.0/8\")) };",
                "source",
            ),
        ] {
            let found = problems(bad);
            assert!(found.iter().any(|one| one.what.contains(says)), "{bad}: {found:?}");
        }
        assert!(problems(&" ".repeat(MAX_BYTES + 1))[0].what.contains("bytes"));
    }

    #[test]
    fn all_problems_come_at_once() {
        let text = "permit (principal, action, resource);\n\
                    forbid (principal, action == Action::\"nothing\", resource);\n\
                    forbid (principal, action, resource) when { context.hour == \"x\" };";
        assert!(problems(text).len() >= 3);
    }

    #[test]
    fn nothing_of_a_text_reaches_a_terminal() {
        let found = problems("forbid (principal, action == Action::\"\\u{1b}[31m\", resource);");
        assert!(found.iter().all(|one| !one.what.contains('\u{1b}')), "{found:?}");
    }
}
