//! What ends soon, as far as somebody sees it: each kind from a source of its own.

use crate::{
    console::Console,
    pages::{Refusal, or_failed},
    views::moment,
};
use app::{
    clients::{self, KeyState},
    grants, lifetimes,
    people::{sessions::SignedIn, tokens, users},
};
use policy::Act;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use types::Timestamp;

/// What ends within this is told.
pub(crate) const SOON: Duration = Duration::from_hours(30 * 24);
/// Lines of the list; what ends later than these is counted.
const SHOWN: usize = 50;

/// Something that ends, and what to do before.
#[derive(Debug)]
pub(crate) struct Ends {
    pub kind: &'static str,
    pub name: String,
    pub at: Timestamp,
    pub next: String,
    /// Where it is looked after: a page that whoever is told of it may see.
    pub link: String,
}

/// What there is to tell of, the soonest first.
#[derive(Debug, Default)]
pub(crate) struct Expiring {
    pub lines: Vec<Line>,
    /// More that end later, and are left out.
    pub more: usize,
}

#[derive(Debug)]
pub(crate) struct Line {
    pub kind: &'static str,
    pub name: String,
    pub ends: String,
    /// It ended already.
    pub is_over: bool,
    pub next: String,
    pub link: String,
}

/// Whoever adds a kind adds its source here; each asks for its rights itself.
pub(crate) async fn soon(console: &Console, signed_in: &SignedIn) -> Result<Expiring, Refusal> {
    let mut found = keys(console, signed_in).await?;
    found.extend(credentials(console, signed_in).await?);
    found.extend(grants_of(console, signed_in).await?);
    found.extend(tokens_of(console, signed_in).await?);
    found.extend(certificate(console, signed_in));
    Ok(listed(found, console.instance.clock.now()))
}

fn listed(mut found: Vec<Ends>, now: Timestamp) -> Expiring {
    found.retain(|one| one.at < now + SOON);
    found.sort_by(|a, b| (a.at, a.kind, &a.name).cmp(&(b.at, b.kind, &b.name)));
    let more = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    let lines = found.into_iter().map(|one| Line {
        kind: one.kind,
        name: one.name,
        ends: moment(one.at),
        is_over: one.at <= now,
        next: one.next,
        link: one.link,
    });
    Expiring { lines: lines.collect(), more }
}

async fn keys(console: &Console, signed_in: &SignedIn) -> Result<Vec<Ends>, Refusal> {
    if !console.offers(signed_in, Act::ClientRead) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    // A rule of lifetimes may end a key earlier than it says itself.
    let listing = or_failed(lifetimes::list(&console.instance).await)?;
    let ends: HashMap<String, Timestamp> =
        listing.lives.into_iter().filter_map(|one| Some((one.id, one.ends_at?))).collect();
    for client in or_failed(clients::list(&console.instance).await)? {
        let keys = client.keys.iter().filter(|key| key.state == KeyState::InForce);
        found.extend(keys.map(|key| Ends {
            kind: "API key",
            name: format!("{} of {}", key.id, client.name),
            at: ends.get(&key.id.to_string()).copied().unwrap_or(key.expires_at),
            next: format!("Make another by weirgate client key create {}", client.name),
            link: "/clients".to_owned(),
        }));
    }
    Ok(found)
}

/// Credentials that rules of lifetimes end.
async fn credentials(console: &Console, signed_in: &SignedIn) -> Result<Vec<Ends>, Refusal> {
    if !console.offers(signed_in, Act::ConnectionRead) {
        return Ok(Vec::new());
    }
    let listing = or_failed(lifetimes::list(&console.instance).await)?;
    let lives = listing.lives.into_iter().filter(|one| one.kind == lifetimes::Kind::Credential);
    let ends = lives.filter_map(|one| {
        let end = one.suspended.as_ref().map_or(one.ends_at, |was| Some(was.until))?;
        Some(Ends {
            kind: "Credential",
            name: format!("{} at {}", one.id, one.of),
            at: end,
            next: format!("Replace it by weirgate connection replace {}", one.id),
            link: "/connections".to_owned(),
        })
    });
    Ok(ends.collect())
}

async fn grants_of(console: &Console, signed_in: &SignedIn) -> Result<Vec<Ends>, Refusal> {
    if !console.offers(signed_in, Act::GrantRead) {
        return Ok(Vec::new());
    }
    let now = console.instance.clock.now();
    let next = if console.offers(signed_in, Act::GrantApply) {
        "Give it a later last day, or let it end"
    } else {
        "Ask who changes grants for a later last day, or let it end"
    };
    let listed = or_failed(grants::list(&console.instance).await)?.into_iter();
    let ends = listed.filter_map(|one| {
        let at = grants::end_in_force(&one.grant, now)?;
        let target = one.connection.map_or(one.provider, |id| id.to_string());
        Some(Ends {
            kind: "Grant",
            name: format!("{} on {target}, to {}", one.client, one.grant.purpose),
            at,
            next: next.to_owned(),
            link: format!("/grants/{}", one.id),
        })
    });
    Ok(ends.collect())
}

/// One's own by name. Those of others only for whoever could end them and sees people, by id: what they
/// are called is their owners' affair.
async fn tokens_of(console: &Console, signed_in: &SignedIn) -> Result<Vec<Ends>, Refusal> {
    let sees_all =
        console.offers(signed_in, Act::TokenRevoke) && console.offers(signed_in, Act::UserRead);
    let of = (!sees_all).then_some(signed_in.user);
    let now = console.instance.clock.now();
    let mut held = or_failed(tokens::list(&console.instance, of).await)?;
    held.retain(|one| one.is_in_force && one.expires_at < now + SOON);
    let is_of_others = held.iter().any(|one| one.user != signed_in.user);
    let people = if is_of_others {
        or_failed(users::addresses(&console.instance).await)?
    } else {
        BTreeMap::new()
    };
    let ends = held.into_iter().map(|one| {
        let (name, next, link) = if one.user == signed_in.user {
            (one.name, "Make another, if a program still needs it", "/account")
        } else {
            let owner = people.iter().find(|(_, id)| **id == one.user);
            let owner = owner.map_or_else(|| one.user.to_string(), |(address, _)| address.clone());
            (
                format!("{} of {owner}", one.id),
                "Its owner makes another, if a program still needs it",
                "/users",
            )
        };
        let (next, link) = (next.to_owned(), link.to_owned());
        Ends { kind: "Personal access token", name, at: one.expires_at, next, link }
    });
    Ok(ends.collect())
}

/// What both ports show; without one they speak no TLS, or a proxy in front does.
fn certificate(console: &Console, signed_in: &SignedIn) -> Option<Ends> {
    if !console.offers(signed_in, Act::SettingsRead) {
        return None;
    }
    console.vitals.about().certificate.map(|certificate| Ends {
        kind: "Certificate",
        name: "of this server's ports".to_owned(),
        at: certificate.ends_at,
        next:
            "Put a newer one in its place, at tls_cert and tls_key: it is followed within seconds"
                .to_owned(),
        link: "/settings".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_first_comes_first_and_there_are_no_more_than_can_be_read() {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let ends = |name: usize, at: Timestamp| Ends {
            kind: "Thing",
            name: name.to_string(),
            at,
            next: String::new(),
            link: "/".to_owned(),
        };
        let days = |days: u64| now + Duration::from_hours(24 * days);
        let found = vec![ends(1, days(29)), ends(2, days(3)), ends(3, days(30)), ends(4, now)];
        let all = listed(found, now);
        let names: Vec<_> =
            all.lines.iter().map(|line| (line.name.as_str(), line.is_over)).collect();
        assert_eq!(names, [("4", true), ("2", false), ("1", false)]);
        let many = (0..SHOWN + 7).map(|name| ends(name, days(1))).chain([ends(999, now)]);
        let all = listed(many.collect(), now);
        assert_eq!((all.lines.len(), all.more, all.lines[0].name.as_str()), (SHOWN, 8, "999"));
    }
}
