//! The seals of rules of lifetimes, of owners, and of what rules did.

use super::{Content, LIFETIME, LIFETIME_STATE, OWNER, rule_content};
use store::{LifetimeStateRow, Lifetimes, OwnerRow};

fn owner_content(row: &OwnerRow) -> Vec<u8> {
    let OwnerRow { client: _, owner, roles, set_at } = row;
    Content::new().bytes(&owner.to_bytes()).texts(roles.iter()).time(*set_at).0
}

fn state_content(row: &LifetimeStateRow) -> Vec<u8> {
    let LifetimeStateRow {
        subject: _,
        warned_days,
        warned_for,
        rule,
        condition,
        suspended_at,
        final_at,
        ended_at,
        restored_at,
        renewed_at,
        uses_before,
    } = row;
    Content::new()
        .number(*warned_days)
        .optional_time(*warned_for)
        .optional(rule.as_deref().map(str::as_bytes))
        .optional(condition.as_deref().map(str::as_bytes))
        .optional_time(*suspended_at)
        .optional_time(*final_at)
        .optional_time(*ended_at)
        .optional_time(*restored_at)
        .optional_time(*renewed_at)
        .number(*uses_before)
        .0
}

pub(super) fn put_all(rows: &Lifetimes, put: &mut impl FnMut(&str, String, &[u8])) {
    for row in &rows.rules {
        put(LIFETIME, row.name.to_string(), &rule_content(row));
    }
    for row in &rows.owners {
        put(OWNER, row.client.to_string(), &owner_content(row));
    }
    for row in &rows.states {
        put(LIFETIME_STATE, row.subject.clone(), &state_content(row));
    }
}
