//! Checkpoints to a witness over HTTP: `add-checkpoint` of c2sp.org/tlog-witness, so that any public
//! witness serves. Without the witness's key every 2xx counts: a plain keeper of what it is sent will do.

use super::NotTaken;
use crate::output::chain;
use audit::{AddCheckpoint, MAX_REQUEST_BYTES, NoteError, Signed, WitnessKey, consistency};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use outbound::{Deadlines, Endpoint, Pool, PoolConfig, Resolve, TlsConfig};
use secrecy::{ExposeSecret as _, SecretString};
use std::{fmt, sync::Arc, time::Duration};
use types::Fault as _;

/// What authenticates us; not printed.
#[derive(Clone)]
pub(crate) struct Token(HeaderValue);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// `None` for what no header can carry.
    pub(crate) fn new(secret: &SecretString) -> Option<Self> {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", secret.expose_secret())).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

/// What a webhook is reached with.
pub(crate) struct Webhook {
    pub endpoint: Endpoint,
    pub token: Option<Token>,
    pub witness: Option<WitnessKey>,
    pub folder: app::DataFolder,
    pub resolver: Arc<dyn Resolve>,
    pub tls: Arc<TlsConfig>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// On the thread that posts.
pub(super) struct Ready {
    webhook: Webhook,
    pool: Pool,
    deadlines: Deadlines,
    /// What the witness took last, as far as is known.
    old: u64,
}

impl Webhook {
    pub(super) fn ready(self) -> Ready {
        let pool = Pool::new(PoolConfig {
            max_idle: 1,
            max_answer_bytes: MAX_REQUEST_BYTES as u64,
            ..PoolConfig::new(Arc::clone(&self.resolver), Arc::clone(&self.tls))
        });
        let seconds = Duration::from_secs;
        let deadlines = Deadlines {
            head: seconds(10),
            idle: seconds(5),
            total: seconds(15),
            ..Deadlines::default()
        };
        Ready { webhook: self, pool, deadlines, old: 0 }
    }
}

impl Ready {
    /// Posts a checkpoint; once more where the witness says from where.
    pub(super) async fn keep(&mut self, signed: &Signed) -> Result<(), NotTaken> {
        let size = signed.checkpoint.size;
        let mut is_told = false;
        loop {
            let old = self.old.min(size);
            let proof = consistency(&self.webhook.folder.audit(), old, size)
                .map_err(|error| failed("audit_log_unreadable", chain(&error)))?;
            let request = AddCheckpoint { old, proof, checkpoint: signed.note.clone() };
            let (status, answer) = self.post(request.to_string()).await?;
            if status.is_success() {
                self.take(signed, &answer)?;
                self.old = size;
                return Ok(());
            }
            let said = answer.trim().parse::<u64>().ok();
            match (status, said) {
                (StatusCode::CONFLICT, Some(seen)) if seen > size => {
                    return Err(NotTaken::Contradicted(format!(
                        "the witness has seen {seen} entries, and the log has {size}: it was cut back"
                    )));
                }
                (StatusCode::CONFLICT, Some(seen)) if !is_told && seen != old => {
                    is_told = true;
                    self.old = seen;
                }
                (StatusCode::CONFLICT, Some(_)) if old == size => {
                    return Err(NotTaken::Contradicted(format!(
                        "the witness has seen {size} other entries: there are two logs"
                    )));
                }
                (StatusCode::UNPROCESSABLE_ENTITY, _) => {
                    return Err(NotTaken::Contradicted(format!(
                        "the log does not hold the {old} entries that the witness has seen: there are two logs"
                    )));
                }
                _ => return Err(failed(reason(status), format!("status {}", status.as_u16()))),
            }
        }
    }

    fn take(&self, signed: &Signed, answer: &str) -> Result<(), NotTaken> {
        let Some(witness) = &self.webhook.witness else { return Ok(()) };
        let cosigned = witness.cosigned(&signed.note, answer).map_err(|error| {
            let code = match error {
                NoteError::Signature => "witness_signature_missing",
                _ => "witness_answer_malformed",
            };
            failed(code, error.to_string())
        })?;
        app::witness::keep_cosigned(&self.webhook.folder, "webhook", &cosigned)
            .map_err(|error| failed("data_folder_unwritable", chain(&error)))
    }

    async fn post(&self, body: String) -> Result<(StatusCode, String), NotTaken> {
        let Endpoint { target, policy } = &self.webhook.endpoint;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        let mut request = Request::post(format!("{}/add-checkpoint", target.base_path()))
            .header(header::CONTENT_TYPE, text)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| failed("request_unsendable", error.to_string()))?;
        if let Some(Token(token)) = &self.webhook.token {
            request.headers_mut().insert(header::AUTHORIZATION, token.clone());
        }
        let unsent = |error: outbound::OutboundError| failed(error.code(), error.to_string());
        let lease = self.pool.checkout(target, policy, &self.deadlines).await.map_err(unsent)?;
        let answered = lease.send(request).await.map_err(unsent)?;
        let status = answered.status();
        let mut wire = answered.into_body();
        let mut answer = Vec::new();
        while let Some(chunk) = wire.next_chunk().await.map_err(unsent)? {
            answer.extend_from_slice(&chunk);
        }
        Ok((status, String::from_utf8_lossy(&answer).into_owned()))
    }
}

fn failed(code: &'static str, cause: String) -> NotTaken {
    NotTaken::Failed { code, cause }
}

const fn reason(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "webhook_credential_refused",
        StatusCode::FORBIDDEN => "log_key_unknown_to_witness",
        StatusCode::NOT_FOUND => "log_unknown_to_witness",
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => "webhook_busy",
        _ => "webhook_refused",
    }
}
