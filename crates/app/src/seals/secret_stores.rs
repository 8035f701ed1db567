//! The seals of vaults elsewhere, and of where connections' secrets come from.

use super::{Content, SECRET_SOURCE, SECRET_STORE, rule_content};
use store::{SecretSourceRow, SecretStores};

fn source_content(row: &SecretSourceRow) -> Vec<u8> {
    let SecretSourceRow { connection: _, store, path, member, version, fetched_at, closed } = row;
    Content::new()
        .text(store.as_str())
        .text(path)
        .optional(member.as_deref().map(str::as_bytes))
        .number(*version)
        .time(*fetched_at)
        .optional(closed.as_deref().map(str::as_bytes))
        .0
}

pub(super) fn put_all(rows: &SecretStores, put: &mut impl FnMut(&str, String, &[u8])) {
    for row in &rows.stores {
        put(SECRET_STORE, row.name.to_string(), &rule_content(row));
    }
    for row in &rows.sources {
        put(SECRET_SOURCE, row.connection.to_string(), &source_content(row));
    }
}
