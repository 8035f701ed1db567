//! What customers agreed to: on record with the text that was shown, bounding what grants let through,
//! and revocable.

use super::{ConnectError, Loaded, loaded, reach};
use crate::{
    asking::Asker,
    change::{Care, Change, Changing, hex},
    connections::CREDENTIAL_TABLE,
    customers::{self, OpenCustomer},
    error::Error,
    instance::Instance,
    providers, seals,
    tokens::{
        self, Known, Material, Reach, TOKEN_COLUMN, put_tokens, revoke, token_details, values_of,
    },
};
use outbound::GuardPolicy;
use provider::auth::AuthPlan;
use std::collections::{BTreeMap, BTreeSet};
use store::{ConnectionRow, ConsentRow, Everything, ProviderRow};
use types::{Connection, Consent, Environment, Id, OpContext, SecretBytes, Timestamp};
use vault::auth::{TokenSet, Variables};

const TABLE: &str = "consent";
const TEXT: &str = "text";
/// Why nothing renews the tokens any more, where the consent to them was withdrawn.
const WITHDRAWN: &str = "consent_withdrawn";

/// What is confirmed, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consented {
    /// SHA-256 of the text.
    pub digest: String,
    /// Line by line, as it is shown.
    pub text: Vec<String>,
    pub asked: Vec<String>,
    /// `None`: the provider did not say.
    pub granted: Option<Vec<String>>,
    /// Given and not asked for.
    pub broader: Vec<String>,
    /// Asked for and not given.
    pub narrower: Vec<String>,
    pub(super) reach: BTreeSet<String>,
}

/// Whose, and where.
struct About<'a> {
    customer: &'a str,
    provider: &'a str,
    environment: Environment,
}

pub(super) fn of_tokens(session: &Loaded, tokens: &TokenSet, reach: BTreeSet<String>) -> Consented {
    let about = About {
        customer: &session.customer_name,
        provider: session.provider.slug.as_str(),
        environment: session.row.environment,
    };
    consented(&about, tokens, reach)
}

fn consented(about: &About<'_>, tokens: &TokenSet, reach: BTreeSet<String>) -> Consented {
    let owned = |scopes: Vec<&str>| scopes.into_iter().map(ToOwned::to_owned).collect::<Vec<_>>();
    let (broader, narrower) = tokens.scope_differences();
    let (broader, narrower) = (owned(broader), owned(narrower));
    let none = |scopes: &[String]| match scopes {
        [] => "none".to_owned(),
        some => some.join(" "),
    };
    let mut text = vec![
        format!("Customer: {}", about.customer),
        format!("Provider: {} ({})", about.provider, about.environment),
        format!("Scopes asked for: {}", none(&tokens.asked)),
        match &tokens.granted {
            Some(granted) => format!("Scopes given: {}", none(granted)),
            None => {
                "Scopes given: the provider does not say; by RFC 6749 those asked for".to_owned()
            }
        },
    ];
    if !broader.is_empty() {
        text.push(format!("Given beyond what was asked for: {}", broader.join(" ")));
    }
    if !narrower.is_empty() {
        text.push(format!("Asked for and not given: {}", narrower.join(" ")));
    }
    if reach.is_empty() {
        text.push("No grant lets a program reach anything of this connection yet.".to_owned());
    } else {
        text.push(
            "What programs may do by the grants in force, and no more until this is renewed:"
                .to_owned(),
        );
        text.extend(in_short(&reach));
    }
    let digest = hex(&seals::sha256(text.join("\n").as_bytes()));
    let (asked, granted) = (tokens.asked.clone(), tokens.granted.clone());
    Consented { digest, text, asked, granted, broader, narrower, reach }
}

/// One line for each action on an object, with its fields.
pub(super) fn in_short(reach: &BTreeSet<String>) -> Vec<String> {
    let mut lines: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for word in reach {
        let start = word.find(' ').map_or(0, |at| at + 1);
        let dot = word.get(start..).and_then(|rest| rest.find('.')).map(|at| at + start);
        // The name of an operation may hold dots.
        match dot.filter(|_| !word.ends_with("()")).and_then(|at| word.split_at_checked(at)) {
            Some((object, field)) if reach.contains(object) => {
                lines.entry(object).or_default().push(field.trim_start_matches('.'));
            }
            _ => {
                lines.entry(word).or_default();
            }
        }
    }
    let line = |(what, fields): (&str, Vec<&str>)| match fields.as_slice() {
        [] => format!("- {what}"),
        fields => format!("- {what}: {}", fields.join(", ")),
    };
    lines.into_iter().map(line).collect()
}

/// Records a consent in place of the one before.
pub(super) async fn put(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    customer: &OpenCustomer,
    connection: Id<Connection>,
    consented: &Consented,
) -> Result<(), Error> {
    let consents = changing.tx.everything().await?.connects.consents;
    let id: Id<Consent> = Id::generate(ctx.now, instance.random.as_ref())?;
    for row in consents.iter().filter(|row| row.connection == connection && row.ended_at.is_none())
    {
        over(changing, row, ctx.now, "renewed").await?;
    }
    let text = consented.text.join("\n");
    let row = ConsentRow {
        id,
        connection,
        digest: seals::sha256(text.as_bytes()),
        reach: serde_json::to_string(&consented.reach).unwrap_or_default(),
        given_by: ctx.actor.to_string(),
        given_at: ctx.now,
        ended_at: None,
        ended_as: None,
    };
    changing.tx.put_consent(&row).await?;
    let text = SecretBytes::new(text.into_bytes());
    let current = customers::current(instance, &mut changing.tx, customer.id).await?;
    let sealed = instance.seal(&current.key, TABLE, &id.to_bytes(), TEXT, &text)?;
    changing.tx.put_sealed(&sealed).await?;
    changing.record(Change {
        verb: "consent.give",
        what: format!("consent {id}"),
        details: vec![
            ("connection", connection.to_string()),
            ("text", consented.digest.clone()),
            ("elements", consented.reach.len().to_string()),
        ],
        customer: Some(customer.commitment),
    });
    Ok(())
}

async fn over(
    changing: &mut Changing<'_>,
    row: &ConsentRow,
    now: Timestamp,
    how: &'static str,
) -> Result<(), Error> {
    let ended = ConsentRow { ended_at: Some(now), ended_as: Some(how.to_owned()), ..row.clone() };
    changing.tx.put_consent(&ended).await?;
    changing.record(Change {
        verb: "consent.end",
        what: format!("consent {}", row.id),
        details: vec![("connection", row.connection.to_string()), ("how", how.to_owned())],
        ..Change::default()
    });
    Ok(())
}

/// A consent as it is listed.
#[derive(Debug, Clone)]
pub struct ConsentShown {
    pub id: Id<Consent>,
    pub connection: Id<Connection>,
    pub provider: String,
    pub customer: String,
    pub given_by: String,
    pub given_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub ended_as: Option<String>,
    /// The exact text that was shown, and its SHA-256.
    pub text: String,
    pub digest: String,
    /// What grants would let through by now, and may not before it is renewed; of one in force.
    pub beyond: Vec<String>,
}

/// Consents, oldest first; of one connection, or of all.
pub async fn list(
    instance: &Instance,
    connection: Option<Id<Connection>>,
) -> Result<Vec<ConsentShown>, Error> {
    let rows = seals::load_whole(instance).await?;
    let now = instance.clock.now();
    let wanted = |row: &&ConsentRow| connection.is_none_or(|id| row.connection == id);
    rows.connects
        .consents
        .iter()
        .filter(wanted)
        .map(|row| shown(instance, &rows, row, now))
        .collect()
}

fn shown(
    instance: &Instance,
    rows: &Everything,
    row: &ConsentRow,
    now: Timestamp,
) -> Result<ConsentShown, Error> {
    let (connection, provider) = places(rows, row.connection)?;
    let customer = rows.customers.iter().find(|one| one.id == connection.customer);
    let customer = customer.ok_or(Error::Internal { what: "a consent's customer is missing" })?;
    let key = customers::open(instance, customer)?.key;
    let record = row.id.to_bytes();
    let sealed = rows.sealed.iter().find(|one| one.table == TABLE && one.record == record);
    let sealed = sealed.ok_or(Error::Internal { what: "a consent's text is missing" })?;
    let text = instance.open_sealed(&key, sealed)?;
    let beyond = if row.ended_at.is_none() { widened(rows, row, now)? } else { Vec::new() };
    Ok(ConsentShown {
        id: row.id,
        connection: row.connection,
        provider: provider.slug.to_string(),
        customer: customers::name(instance, rows, connection.customer)?,
        given_by: row.given_by.clone(),
        given_at: row.given_at,
        ended_at: row.ended_at,
        ended_as: row.ended_as.clone(),
        text: String::from_utf8_lossy(text.expose()).into_owned(),
        digest: hex(&row.digest),
        beyond,
    })
}

/// What grants would let through beyond a consent, in short lines.
fn widened(rows: &Everything, row: &ConsentRow, now: Timestamp) -> Result<Vec<String>, Error> {
    let (connection, provider) = places(rows, row.connection)?;
    let reach =
        Reach { provider, connection: Some(row.connection), environment: connection.environment };
    let agreed = reach::reach_of(row);
    let now = reach::let_through(rows, reach, now);
    Ok(now.difference(&agreed).cloned().collect())
}

/// What waits for a connection's consent to be renewed; `None`: nobody's consent bounds it.
pub(crate) fn beyond(
    rows: &Everything,
    connection: Id<Connection>,
    now: Timestamp,
) -> Result<Option<Vec<String>>, Error> {
    match in_force(rows, connection) {
        Some(row) => widened(rows, row, now).map(Some),
        None => Ok(None),
    }
}

fn in_force(rows: &Everything, connection: Id<Connection>) -> Option<&ConsentRow> {
    let consents = &rows.connects.consents;
    consents.iter().find(|row| row.connection == connection && row.ended_at.is_none())
}

fn places(rows: &Everything, id: Id<Connection>) -> Result<(&ConnectionRow, &ProviderRow), Error> {
    let not_found = || Error::NotFound { kind: "connection", name: id.to_string() };
    let row = rows.connections.iter().find(|row| row.id == id).ok_or_else(not_found)?;
    let provider = rows.providers.iter().find(|one| one.id == row.provider);
    let missing = Error::Internal { what: "the connection's provider is missing" };
    Ok((row, provider.ok_or(missing)?))
}

/// A connection with what it is made of.
struct Held {
    row: ConnectionRow,
    provider: ProviderRow,
    customer: OpenCustomer,
    customer_name: String,
    material: Material,
}

async fn held(instance: &Instance, id: Id<Connection>) -> Result<(Everything, Held), Error> {
    let rows = seals::load_whole(instance).await?;
    let (row, provider) = places(&rows, id)?;
    let (row, provider) = (row.clone(), provider.clone());
    let customer = rows.customers.iter().find(|one| one.id == row.customer);
    let customer =
        customer.ok_or(Error::Internal { what: "the connection's customer is missing" })?;
    let customer = customers::open(instance, customer)?;
    let sealed = tokens::rows_of(&rows, &row);
    let sealed =
        sealed.ok_or(Error::Internal { what: "the connection's credential is missing" })?;
    let model = loaded(&provider)?;
    let material = Material::open(instance, &model, &row, &customer, &sealed)?;
    let customer_name = customers::name(instance, &rows, row.customer)?;
    Ok((rows, Held { row, provider, customer, customer_name, material }))
}

/// What would be confirmed to renew a connection's consent with the tokens that it has: what the grants
/// let through by now.
///
/// # Errors
/// [`ConnectError::NoConsent`] where nobody consented, or not any more: then it is connected anew.
pub async fn renewal(instance: &Instance, id: Id<Connection>) -> Result<Consented, Error> {
    let (rows, held) = held(instance, id).await?;
    of_held(&rows, &held, instance.clock.now())
}

fn of_held(rows: &Everything, held: &Held, now: Timestamp) -> Result<Consented, Error> {
    let tokens = held.material.token.as_ref().filter(|token| token.ended.is_none());
    let (Some(tokens), None, Some(_)) = (tokens, held.row.revoked_at, in_force(rows, held.row.id))
    else {
        return Err(ConnectError::NoConsent.into());
    };
    let reach = Reach {
        provider: &held.provider,
        connection: Some(held.row.id),
        environment: held.row.environment,
    };
    let about = About {
        customer: &held.customer_name,
        provider: held.provider.slug.as_str(),
        environment: held.row.environment,
    };
    Ok(consented(&about, tokens, reach::let_through(rows, reach, now)))
}

/// Renews a connection's consent: from now on it is to what the grants let through now. `shown` is the
/// digest of the text that was confirmed.
///
/// # Errors
/// As [`renewal`]; [`Error::PlanStale`] for another text.
pub async fn give(
    instance: &Instance,
    ctx: &OpContext,
    id: Id<Connection>,
    shown: &str,
) -> Result<Consented, Error> {
    let (rows, held) = held(instance, id).await?;
    let consented = of_held(&rows, &held, ctx.now)?;
    if consented.digest != shown {
        return Err(Error::PlanStale);
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    put(instance, &mut changing, ctx, &held.customer, id, &consented).await?;
    changing.commit().await?;
    Ok(consented)
}

/// What became of a withdrawal at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawn {
    /// The plan knows no place to tell it (RFC 7009).
    NotTold,
    Told,
    /// It could not be told; the tokens are destroyed here all the same.
    Failed,
}

/// Withdraws a connection's consent: its tokens are destroyed, calls end with the next Snapshot, and the
/// provider is told where the plan says how.
///
/// # Errors
/// [`ConnectError::NoConsent`] where there is none in force.
pub async fn withdraw(
    instance: &Instance,
    ctx: &OpContext,
    asker: &Asker,
    id: Id<Connection>,
) -> Result<Withdrawn, Error> {
    let (rows, held) = held(instance, id).await?;
    let row = in_force(&rows, id).ok_or(ConnectError::NoConsent)?;
    let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
    over(&mut changing, row, ctx.now, "withdrawn").await?;
    // A renewal under way finds another version, and its tokens are nobody's.
    let current = changing.tx.sealed(CREDENTIAL_TABLE, &id.to_bytes(), TOKEN_COLUMN).await?;
    let known = Known { version: current.map_or(0, |row| row.version), content: None };
    let ended = TokenSet { is_consented: true, ..TokenSet::empty(ctx.now) }.ended_by(WITHDRAWN);
    let put = put_tokens(instance, &mut changing, held.customer.id, &id, known, &ended).await?;
    if let Some(version) = put {
        changing.record(Change {
            verb: "connection.ended",
            what: format!("connection {id}"),
            details: token_details(&ended, version),
            customer: Some(held.customer.commitment),
        });
    }
    changing.commit().await?;
    let (Some((scheme, plan)), Some(tokens)) = (held.material.acquiring(), &held.material.token)
    else {
        return Ok(Withdrawn::NotTold);
    };
    let values = values_of(&held.material, scheme, &held.row.variables)?;
    let guard = providers::guard_policy(&held.provider.allow_private)?;
    Ok(tell(instance, asker, plan, values, tokens, &guard).await)
}

/// Tells a provider that tokens are not wanted any more, as well as it can be done.
pub(super) async fn tell(
    instance: &Instance,
    asker: &Asker,
    plan: &AuthPlan,
    values: Variables,
    tokens: &TokenSet,
    guard: &GuardPolicy,
) -> Withdrawn {
    match revoke(instance, asker, plan, values, tokens, guard).await {
        Ok(false) => Withdrawn::NotTold,
        Ok(true) => Withdrawn::Told,
        Err(error) => {
            tracing::warn!(code = error.code(), "a provider was not told that a consent ended");
            Withdrawn::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_through_is_told_in_a_line_for_each_action() {
        let words = ["read Thing", "read Thing.id", "read Thing.nested.a", "download a.b()"];
        let words = words.map(ToOwned::to_owned).into();
        assert_eq!(in_short(&words), ["- download a.b()", "- read Thing: id, nested.a"]);
    }
}
