//! HashiCorp Vault and OpenBao: the key-value engine's second version, signed in to by AppRole.
//!
//! By the documented API alone: it was tried against a recorder that follows it, and on no real server.

use super::{Place, StoreError};
use crate::{
    asking::{Answered, AskError, Asker, Question},
    providers,
};
use http::Method;
use outbound::Target;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap, time::Duration};
use types::{SecretBytes, Timestamp};
use zeroize::Zeroizing;

/// What Weirgate signs in with.
pub(crate) struct Login {
    pub role_id: Zeroizing<String>,
    pub secret_id: Zeroizing<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginFile {
    role_id: String,
    secret_id: String,
}

#[derive(Serialize)]
struct Sent<'l> {
    role_id: &'l str,
    secret_id: &'l str,
}

impl Login {
    /// `{"role_id": ..., "secret_id": ...}`
    pub(crate) fn parse(json: &SecretBytes) -> Option<Self> {
        let LoginFile { role_id, secret_id } = serde_json::from_slice(json.expose()).ok()?;
        let login = Self { role_id: Zeroizing::new(role_id), secret_id: Zeroizing::new(secret_id) };
        (!login.role_id.is_empty() && !login.secret_id.is_empty()).then_some(login)
    }

    /// As it is sealed, and as it is sent.
    pub(crate) fn to_json(&self) -> SecretBytes {
        let file = Sent { role_id: &self.role_id, secret_id: &self.secret_id };
        // Room for all, escaped: what grows leaves copies behind.
        let mut json = Vec::with_capacity(64 + 6 * (self.role_id.len() + self.secret_id.len()));
        // Nothing can be wrong with a vector's room.
        let _ = serde_json::to_writer(&mut json, &file);
        SecretBytes::new(json)
    }
}

/// A token of the store's, for as long as it lasts.
pub(crate) struct Session {
    token: Zeroizing<String>,
    /// From then on it is renewed.
    renew_at: Timestamp,
    is_renewable: bool,
}

/// A secret as the store has it.
pub(crate) struct Fetched {
    pub secret: SecretBytes,
    pub version: u64,
}

#[derive(Deserialize)]
struct AuthAnswer {
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Deserialize)]
struct ReadAnswer<'a> {
    #[serde(borrow)]
    data: Option<ReadData<'a>>,
}

#[derive(Deserialize)]
struct ReadData<'a> {
    /// `null` for a version that was deleted.
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

/// Reads a secret's newest version, signing in or renewing the token where that is needed.
pub(crate) async fn fetch(
    asker: &Asker,
    (place, login): (&Place, &Login),
    session: &mut Option<Session>,
    (path, member): (&str, Option<&str>),
    now: Timestamp,
) -> Result<Fetched, StoreError> {
    let is_fresh = ensure(asker, (place, login), session, now).await?;
    let first = read(asker, place, session.as_ref(), path).await?;
    let answered = if first.status == 403 && !is_fresh {
        // The token may have been revoked: once more with a new one.
        *session = None;
        ensure(asker, (place, login), session, now).await?;
        read(asker, place, session.as_ref(), path).await?
    } else {
        first
    };
    match answered.status {
        200 => secret_of(&answered.body, member),
        403 => Err(StoreError::Denied),
        404 => Err(StoreError::Missing),
        status => Err(unwell(status)),
    }
}

/// Whether the token is new.
async fn ensure(
    asker: &Asker,
    (place, login): (&Place, &Login),
    session: &mut Option<Session>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    match session {
        Some(known) if now < known.renew_at => return Ok(false),
        Some(known) if known.is_renewable => {
            let path = "/v1/auth/token/renew-self";
            let token = Some(&*known.token);
            let renewed = ask(asker, place, (Method::POST, path), token, b"{}").await?;
            if renewed.status == 200
                && let Ok(new) = session_of(&renewed.body, now)
            {
                *known = new;
                return Ok(false);
            }
        }
        _ => {}
    }
    *session = None;
    let path = "/v1/auth/approle/login";
    let body = login.to_json();
    let answered = ask(asker, place, (Method::POST, path), None, body.expose()).await?;
    match answered.status {
        200 => {
            *session = Some(session_of(&answered.body, now)?);
            Ok(true)
        }
        400 | 401 | 403 => Err(StoreError::SignIn),
        status => Err(unwell(status)),
    }
}

fn session_of(body: &[u8], now: Timestamp) -> Result<Session, StoreError> {
    /// A token without an end is asked for anew after this.
    const LONGEST: u64 = 3_600;
    let answer: AuthAnswer = serde_json::from_slice(body).map_err(|_| StoreError::Unfit)?;
    let auth = answer.auth.ok_or(StoreError::Unfit)?;
    let is_visible = auth.client_token.bytes().all(|byte| byte.is_ascii_graphic());
    if auth.client_token.is_empty() || !is_visible {
        return Err(StoreError::Unfit);
    }
    let lasts = if auth.lease_duration == 0 { LONGEST } else { auth.lease_duration.min(LONGEST) };
    Ok(Session {
        token: Zeroizing::new(auth.client_token),
        renew_at: now + Duration::from_secs(lasts * 2 / 3),
        is_renewable: auth.renewable,
    })
}

async fn read(
    asker: &Asker,
    place: &Place,
    session: Option<&Session>,
    path: &str,
) -> Result<Answered, StoreError> {
    let place_of_it = format!("/v1/{}/data/{path}", place.mount);
    let token = session.map(|session| &*session.token);
    ask(asker, place, (Method::GET, &place_of_it), token, b"").await
}

async fn ask(
    asker: &Asker,
    place: &Place,
    (method, path): (Method, &str),
    token: Option<&String>,
    body: &[u8],
) -> Result<Answered, StoreError> {
    let policy = providers::guard_policy(&place.allow_private);
    let policy = policy.map_err(|_| StoreError::Address)?;
    let target = Target::parse(&place.address, &policy).map_err(|_| StoreError::Address)?;
    let mut headers = vec![
        ("accept".to_owned(), Zeroizing::new(b"application/json".to_vec())),
        ("x-vault-request".to_owned(), Zeroizing::new(b"true".to_vec())),
    ];
    if !body.is_empty() {
        headers.push(("content-type".to_owned(), Zeroizing::new(b"application/json".to_vec())));
    }
    let namespace = place.namespace.as_ref().map(|one| ("x-vault-namespace", one));
    for (name, value) in token.map(|token| ("x-vault-token", token)).into_iter().chain(namespace) {
        headers.push((name.to_owned(), Zeroizing::new(value.as_bytes().to_vec())));
    }
    let base = target.base_path().trim_end_matches('/').to_owned();
    let question = Question {
        target,
        policy,
        method,
        path_and_query: Zeroizing::new(format!("{base}{path}")),
        headers,
        body: Zeroizing::new(body.to_vec()),
    };
    asker.ask(question).await.map_err(|error| match error {
        AskError::Outbound(source) => StoreError::Unreachable { code: source_code(&source) },
        AskError::Stopped => StoreError::Unreachable { code: "stopped" },
    })
}

fn source_code(error: &outbound::OutboundError) -> &'static str {
    types::Fault::code(error)
}

/// What a store says that cannot serve now: sealed, a standby, overloaded.
const fn unwell(status: u16) -> StoreError {
    match status {
        429 | 472 | 473 | 500..=599 => StoreError::Unwell { status },
        _ => StoreError::Unfit,
    }
}

/// The whole of a secret, or one member of it.
pub(crate) fn secret_of(body: &[u8], member: Option<&str>) -> Result<Fetched, StoreError> {
    let answer: ReadAnswer<'_> = serde_json::from_slice(body).map_err(|_| StoreError::Unfit)?;
    let read = answer.data.ok_or(StoreError::Unfit)?;
    let metadata = read.metadata.ok_or(StoreError::Unfit)?;
    if metadata.destroyed || !metadata.deletion_time.is_empty() {
        return Err(StoreError::Missing);
    }
    let data = read.data.ok_or(StoreError::Missing)?;
    let secret = match member {
        None => SecretBytes::new(data.get().as_bytes().to_vec()),
        Some(name) => {
            let members: BTreeMap<Cow<'_, str>, &RawValue> =
                serde_json::from_str(data.get()).map_err(|_| StoreError::DoesNotFit)?;
            let value = members.get(name).ok_or(StoreError::MemberMissing)?;
            if value.get().starts_with('"') {
                // A text that is JSON itself.
                let text: String =
                    serde_json::from_str(value.get()).map_err(|_| StoreError::DoesNotFit)?;
                SecretBytes::new(text.into_bytes())
            } else {
                SecretBytes::new(value.get().as_bytes().to_vec())
            }
        }
    };
    if !secret.expose().starts_with(b"{") {
        return Err(StoreError::DoesNotFit);
    }
    Ok(Fetched { secret, version: metadata.version })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &str, member: Option<&str>) -> Result<(String, u64), StoreError> {
        let fetched = secret_of(body.as_bytes(), member)?;
        Ok((String::from_utf8(fetched.secret.expose().to_vec()).unwrap(), fetched.version))
    }

    #[test]
    fn the_newest_version_is_read_whole_or_by_a_member() {
        let body = r#"{"request_id":"r","data":{"data":{"token":"t","hr":{"api_key":"k"},"json":"{\"token\":\"u\"}","n":3},
            "metadata":{"version":4,"deletion_time":"","destroyed":false}},"warnings":null}"#;
        assert!(text(body, None).unwrap().0.contains("\"token\":\"t\""));
        assert_eq!(text(body, Some("hr")).unwrap(), (r#"{"api_key":"k"}"#.to_owned(), 4));
        assert_eq!(text(body, Some("json")).unwrap().0, r#"{"token":"u"}"#);
        assert!(matches!(text(body, Some("gone")), Err(StoreError::MemberMissing)));
        for member in ["token", "n"] {
            assert!(matches!(text(body, Some(member)), Err(StoreError::DoesNotFit)), "{member}");
        }
    }

    #[test]
    fn what_was_deleted_is_missing_and_what_is_no_answer_is_unfit() {
        let deleted = r#"{"data":{"data":null,"metadata":{"version":2,"deletion_time":"2026-01-01T00:00:00Z","destroyed":false}}}"#;
        let destroyed = r#"{"data":{"data":{"a":"b"},"metadata":{"version":2,"deletion_time":"","destroyed":true}}}"#;
        for body in [deleted, destroyed] {
            assert!(matches!(text(body, None), Err(StoreError::Missing)), "{body}");
        }
        for body in ["", "[]", "{}", r#"{"data":{"data":{"a":"b"}}}"#] {
            assert!(matches!(text(body, None), Err(StoreError::Unfit)), "{body}");
        }
        let text_alone = r#"{"data":{"data":"x","metadata":{"version":1}}}"#;
        assert!(matches!(text(text_alone, None), Err(StoreError::DoesNotFit)));
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let now = Timestamp::from_micros(1_000_000);
        let of = |body: &str| session_of(body.as_bytes(), now);
        let session =
            of(r#"{"auth":{"client_token":"s.x","lease_duration":30,"renewable":true}}"#).unwrap();
        assert_eq!(session.renew_at, now + Duration::from_secs(20));
        assert!(session.is_renewable);
        let endless = of(r#"{"auth":{"client_token":"s.x","lease_duration":0}}"#).unwrap();
        assert_eq!(endless.renew_at, now + Duration::from_mins(40));
        for bad in ["{}", r#"{"auth":{"client_token":""}}"#, r#"{"auth":{"client_token":"a\nb"}}"#]
        {
            assert!(matches!(of(bad), Err(StoreError::Unfit)), "{bad}");
        }
    }
}
