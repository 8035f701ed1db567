//! What somebody is told of the next time they come: that what lets them in was changed, by them or by
//! whoever acts as them.
//!
//! It is sealed under the person's own key, and stays until its owner has seen it.

use super::{Person, text};
use crate::{
    change::{Care, Change, Changing},
    error::Error,
    instance::Instance,
    people::sessions::SignedIn,
    seals,
};
use serde::{Deserialize, Serialize};
use types::{Id, OpContext, SecretBytes, Timestamp, User};

const NOTICES: &str = "notices";
/// The newest so many are kept.
const MAX_KEPT: usize = 20;

/// Something that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    at: i64,
    /// For people.
    pub what: String,
}

impl Notice {
    pub fn at(&self) -> Timestamp {
        Timestamp::from_micros(self.at)
    }
}

/// Tells the owner of an account, as part of the change that it is about.
pub(crate) async fn tell(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    user: Id<User>,
    what: String,
) -> Result<(), Error> {
    let person = Person::find(instance, changing, user).await?;
    let kept = person.opened(instance, changing, person.place(NOTICES)).await?;
    let mut notices = kept.map_or_else(|| Ok(Vec::new()), |kept| read(&kept))?;
    notices.push(Notice { at: ctx.now.as_micros(), what });
    let surplus = notices.len().saturating_sub(MAX_KEPT);
    notices.drain(..surplus);
    keep(instance, changing, &person, &notices).await
}

async fn keep(
    instance: &Instance,
    changing: &mut Changing<'_>,
    person: &Person,
    notices: &[Notice],
) -> Result<(), Error> {
    let unwritable = |_| Error::Internal { what: "notices cannot be written" };
    let value = SecretBytes::new(serde_json::to_vec(notices).map_err(unwritable)?);
    person.seal(instance, changing, person.place(NOTICES), &value).await
}

fn read(kept: &SecretBytes) -> Result<Vec<Notice>, Error> {
    let damaged = |_| Error::Internal { what: "notices cannot be read" };
    serde_json::from_str(&text(kept)).map_err(damaged)
}

/// What somebody has not seen yet, oldest first.
pub async fn list(instance: &Instance, user: Id<User>) -> Result<Vec<Notice>, Error> {
    let rows = seals::load(instance).await?;
    let Some(row) = rows.people.users.iter().find(|row| row.id == user) else {
        return Ok(Vec::new());
    };
    let kept = super::users::opened(instance, &rows, row, NOTICES)?;
    kept.map_or_else(|| Ok(Vec::new()), |kept| read(&SecretBytes::new(kept.into_bytes())))
}

/// Forgets those up to the newest that their owner was shown: what came since stays.
pub async fn seen(
    instance: &Instance,
    ctx: &OpContext,
    signed_in: &SignedIn,
    newest: Timestamp,
) -> Result<(), Error> {
    let untold = list(instance, signed_in.user).await?;
    if untold.iter().all(|one| one.at() > newest) {
        return Ok(());
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let person = Person::find(instance, &mut changing, signed_in.user).await?;
    let kept = person.opened(instance, &mut changing, person.place(NOTICES)).await?;
    let mut left = kept.map_or_else(|| Ok(Vec::new()), |kept| read(&kept))?;
    left.retain(|one| one.at() > newest);
    keep(instance, &mut changing, &person, &left).await?;
    changing.record(Change {
        verb: "user.notices_seen",
        what: format!("user {}", signed_in.user),
        ..Change::default()
    });
    changing.commit().await.map(drop)
}
