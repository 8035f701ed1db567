//! Filters of the audit page that a person keeps under a name. Nobody else sees them.

use crate::{
    audit_search::Filter,
    change::{Care, Change, Changing},
    error::Error,
    instance::Instance,
    people,
};
use store::ViewRow;
use types::{Id, OpContext, Timestamp, User, View};

pub const MAX_NAME_CHARS: usize = 60;
/// Of one person.
pub const MAX_VIEWS: usize = 50;

/// A filter with its name.
#[derive(Debug, Clone)]
pub struct SavedView {
    pub id: Id<View>,
    pub name: String,
    pub filter: Filter,
    pub created_at: Timestamp,
}

/// A person's own, by name.
pub async fn list(instance: &Instance, owner: Id<User>) -> Result<Vec<SavedView>, Error> {
    let people = people::now(instance).await?;
    let own = people.views.iter().filter(|row| row.owner == owner);
    let mut views = own.map(read).collect::<Result<Vec<_>, _>>()?;
    views.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
    Ok(views)
}

fn read(row: &ViewRow) -> Result<SavedView, Error> {
    let damaged = Error::Internal { what: "a saved view cannot be read" };
    let filter = Filter::from_stored(&row.body).ok_or(damaged)?;
    Ok(SavedView { id: row.id, name: row.name.clone(), filter, created_at: row.created_at })
}

/// One of a person's own.
///
/// # Errors
/// [`Error::NameUnknown`] also for somebody else's.
pub async fn open(instance: &Instance, owner: Id<User>, id: Id<View>) -> Result<SavedView, Error> {
    let found = list(instance, owner).await?.into_iter().find(|view| view.id == id);
    found.ok_or(Error::NameUnknown { kind: "view" })
}

/// Keeps a filter under a name; one of that name is replaced.
///
/// # Errors
/// [`Error::PersonName`] for a name that is empty or too long; [`Error::TooManyViews`].
pub async fn save(
    instance: &Instance,
    ctx: &OpContext,
    owner: Id<User>,
    name: &str,
    filter: &Filter,
) -> Result<Id<View>, Error> {
    let name = name.trim();
    let is_long = name.chars().count() > MAX_NAME_CHARS;
    if name.is_empty() || is_long || name.chars().any(char::is_control) {
        return Err(Error::PersonName { limit: MAX_NAME_CHARS });
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let people = changing.tx.everything().await?.people;
    let mut own: Vec<&ViewRow> = people.views.iter().filter(|row| row.owner == owner).collect();
    if let Some(place) = own.iter().position(|row| row.name == name) {
        let replaced = own.swap_remove(place);
        changing.tx.delete_view(replaced.id, owner).await?;
    }
    if own.len() >= MAX_VIEWS {
        return Err(Error::TooManyViews { limit: MAX_VIEWS });
    }
    let id = Id::generate(ctx.now, instance.random.as_ref())?;
    let name = name.to_owned();
    let row = ViewRow { id, owner, name, body: filter.to_stored(), created_at: ctx.now };
    changing.tx.insert_view(&row).await?;
    changing.record(change("view.save", id));
    changing.commit().await?;
    Ok(id)
}

/// Removes one of a person's own.
///
/// # Errors
/// [`Error::NameUnknown`] also for somebody else's.
pub async fn remove(
    instance: &Instance,
    ctx: &OpContext,
    owner: Id<User>,
    id: Id<View>,
) -> Result<(), Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
    if !changing.tx.delete_view(id, owner).await? {
        return Err(Error::NameUnknown { kind: "view" });
    }
    changing.record(change("view.remove", id));
    changing.commit().await.map(drop)
}

/// Neither name nor filter: what somebody looks for is that person's own.
fn change(verb: &'static str, id: Id<View>) -> Change {
    Change { verb, what: format!("view {id}"), ..Change::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit_search::Names,
        people::users,
        seals,
        seals_tests::{Home, ctx, id_of},
    };
    use identity::EmailAddress;

    /// It decides nothing, so nobody is kept out by it; and nobody is shown it.
    #[tokio::test]
    async fn a_view_that_somebody_else_wrote_is_seen_by_nobody_and_keeps_nobody_out() {
        let home = Home::new();
        let instance = home.init().await;
        let ctx = ctx();
        let address = EmailAddress::parse("ada@example.com").unwrap();
        let roles = ["auditor".to_owned()];
        let owner = users::invite(&instance, &ctx, &address, &roles).await.unwrap().user;
        save(&instance, &ctx, owner, "mine", &Filter::default()).await.unwrap();
        assert_eq!(list(&instance, owner).await.unwrap().len(), 1);
        let forged = ViewRow {
            id: id_of(),
            owner,
            name: "forged".into(),
            body: "{}".into(),
            created_at: ctx.now,
        };
        let mut tx = instance.store.begin(&ctx).await.unwrap();
        tx.insert_view(&forged).await.unwrap();
        tx.append_outbox([7; 16], b"as if").await.unwrap();
        tx.commit().await.unwrap();
        assert!(list(&instance, owner).await.unwrap().is_empty());
        assert_eq!(seals::load(&instance).await.unwrap().people.users.len(), 1);
        let refused = save(&instance, &ctx, owner, "more", &Filter::default()).await;
        assert!(matches!(refused, Err(Error::RowTampered { .. })), "{refused:?}");
    }

    #[test]
    fn a_filter_that_was_kept_is_read_as_it_was_and_no_other_is() {
        let given = [("kind", "call"), ("outcome", "4xx"), ("from", "2026-11-27"), ("text", "a b")];
        let filter = Filter::parse(given, &Names::default()).unwrap();
        assert_eq!(Filter::from_stored(&filter.to_stored()), Some(filter));
        for body in ["", "[]", "{\"kind\":\"x\"}", "{\"sql\":\"x\"}", "{\"kind\":7}"] {
            assert_eq!(Filter::from_stored(body), None, "{body}");
        }
    }
}
