//! The seals of connect sessions and consents.

use super::{CONNECT_SESSION, CONSENT, Content};
use store::{ConnectSessionRow, Connects, ConsentRow};

fn session_content(row: &ConnectSessionRow) -> Vec<u8> {
    let ConnectSessionRow {
        id: _,
        token,
        trip,
        request,
        provider,
        customer,
        environment,
        connection,
        progress,
        failure,
        begun_by,
        created_at,
        expires_at,
        used_at,
    } = row;
    let connection = connection.map(types::Id::to_bytes);
    Content::new()
        .bytes(token)
        .optional(trip.as_ref().map(<[u8; 32]>::as_slice))
        .optional(request.as_ref().map(<[u8; 32]>::as_slice))
        .bytes(&provider.to_bytes())
        .bytes(&customer.to_bytes())
        .text(environment.as_str())
        .optional(connection.as_ref().map(<[u8; 16]>::as_slice))
        .text(progress.as_str())
        .optional(failure.as_deref().map(str::as_bytes))
        .text(begun_by)
        .time(*created_at)
        .time(*expires_at)
        .optional_time(*used_at)
        .0
}

fn consent_content(row: &ConsentRow) -> Vec<u8> {
    let ConsentRow { id: _, connection, digest, reach, given_by, given_at, ended_at, ended_as } =
        row;
    Content::new()
        .bytes(&connection.to_bytes())
        .bytes(digest)
        .text(reach)
        .text(given_by)
        .time(*given_at)
        .optional_time(*ended_at)
        .optional(ended_as.as_deref().map(str::as_bytes))
        .0
}

pub(super) fn put_all(rows: &Connects, put: &mut impl FnMut(&str, String, &[u8])) {
    for row in &rows.sessions {
        put(CONNECT_SESSION, row.id.to_string(), &session_content(row));
    }
    for row in &rows.consents {
        put(CONSENT, row.id.to_string(), &consent_content(row));
    }
}

/// A session that somebody else wrote leads to no connection, and a consent to no field.
pub(super) fn retain(rows: &mut Connects, is_whole: impl Fn(&str, &str) -> bool) {
    rows.sessions.retain(|row| is_whole(CONNECT_SESSION, &row.id.to_string()));
    rows.consents.retain(|row| is_whole(CONSENT, &row.id.to_string()));
}
