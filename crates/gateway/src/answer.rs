//! The way of an answer's body from the provider to the caller: chunk by chunk through the
//! projector, in constant memory.
//!
//! Until the first bytes have left, any refusal becomes a clean problem document. After that the
//! connection is cut, so that a refused answer never ends as well-formed JSON.

use crate::{
    error::CallError,
    failpoint::Failpoint,
    gateway::Slot,
    limits::Places,
    recorder::{OpenIntent, failure_of},
    snapshot::{Projected, ProviderEntry, SharedSnapshot, Snapshot},
};
use bytes::Bytes;
use futures_util::{
    future::Either,
    stream::{self, LocalBoxStream, StreamExt},
};
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use outbound::UpstreamBody;
use projection::{Limits, Mode, Path, Projector, Spec};
use provider::ErrorInside;
use std::{fmt, sync::Arc, time::Duration};
use types::{Client, Clock, Connection, Id, Timestamp};
use vault::Echoes;

/// Projected bytes that are gathered before the first leave: most answers end within, and then any
/// failure is still a clean problem document.
const FIRST_BYTES: usize = 64 * 1_024;
/// The most names of really withheld fields in an outcome.
const MAX_NAMES: usize = 100;

/// The body of an answer.
pub(crate) type AnswerBody = http_body_util::Either<
    Full<Bytes>,
    StreamBody<LocalBoxStream<'static, Result<Frame<Bytes>, Aborted>>>,
>;

/// The answer was cut: what follows is nothing.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut off: {code}")]
pub(crate) struct Aborted {
    code: &'static str,
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> AnswerBody {
    http_body_util::Either::Left(Full::new(bytes.into()))
}

/// Whether a right that was given is still there, looked at again wherever a call has waited.
pub(crate) struct Watch {
    pub shared: Arc<SharedSnapshot>,
    pub clock: Arc<dyn Clock>,
    /// How long the store may stay silent.
    pub max_age: Duration,
    pub failpoint: Failpoint,
    pub key_digest: [u8; 32],
    pub client: Id<Client>,
    pub connection: Id<Connection>,
    /// As it was when the call was routed.
    pub provider: Arc<ProviderEntry>,
    pub operation: usize,
    pub fingerprint: [u8; 16],
    pub generation: u64,
    pub valid_until: Timestamp,
    /// The call's places among those under way, held until the answer has ended.
    pub _places: (Slot, Places),
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Watch {
    pub(crate) fn check(&mut self) -> Result<(), CallError> {
        if let Some(age) = self.shared.stale(self.max_age) {
            return Err(CallError::SnapshotStale { seconds: age.as_secs() });
        }
        let now = self.clock.now();
        if now >= self.valid_until {
            return Err(CallError::AccessWithdrawn);
        }
        if self.shared.generation() == self.generation {
            return Ok(());
        }
        let snapshot = self.shared.load();
        let key = snapshot
            .keys
            .get(&self.key_digest)
            .filter(|key| !key.is_revoked && !key.is_suspended && now < key.expires_at)
            .filter(|key| key.client == self.client);
        let decision = snapshot
            .rights
            .get(&(self.client, self.connection))
            .and_then(|rights| rights.operations.get(&self.operation))
            .filter(|decision| decision.fingerprint == self.fingerprint);
        let connection = snapshot.connections.get(&self.connection);
        let connection = connection.filter(|one| snapshot.closed(one.id, now).is_none());
        match (key, decision) {
            (Some(key), Some(decision)) if connection.is_some() => {
                self.generation = snapshot.generation;
                self.valid_until = decision.valid_until.min(key.expires_at);
                Ok(())
            }
            // What was decided by a description that is no more must be decided anew, and may be.
            (Some(_), _) if self.is_updating(&snapshot) => Err(CallError::ProviderUpdating),
            _ => Err(CallError::AccessWithdrawn),
        }
    }

    /// Whether the provider has another description than when the call was routed.
    fn is_updating(&self, snapshot: &Snapshot) -> bool {
        snapshot.pending.contains_key(&self.connection)
            || snapshot
                .connections
                .get(&self.connection)
                .is_some_and(|now| !Arc::ptr_eq(&now.provider, &self.provider))
    }
}

/// What goes with an answer until it has ended.
pub(crate) struct Escort {
    pub intent: OpenIntent,
    pub watch: Watch,
    /// What must not leave, whatever was granted.
    pub echoes: Arc<Echoes>,
}

/// What happens to the bytes on their way.
enum Passage {
    Project { projector: Box<Projector>, compiled: Arc<Projected>, inside: Option<Inside> },
    Unfiltered,
}

/// Looks for an error told inside a success, beside the projection.
struct Inside {
    projector: Box<Projector>,
    out: Vec<u8>,
    rule: ErrorInside,
}

/// Bytes of the two watched members that are looked at.
const MAX_INSIDE_BYTES: usize = 16 * 1_024;

impl Inside {
    fn new(rule: ErrorInside) -> Self {
        let member = |name: &str| {
            let mut escaped = String::new();
            for c in name.chars() {
                if ".[]\\*,".contains(c) {
                    escaped.push('\\');
                }
                escaped.push(c);
            }
            Path::parse(&escaped)
        };
        let paths: Vec<Path> =
            [member(&rule.member), member(&rule.code)].into_iter().flatten().collect();
        let spec = Spec::from_paths(&paths);
        let projector = Projector::new(spec, Limits::default(), Mode::Drop);
        Self { projector: Box::new(projector), out: Vec::new(), rule }
    }

    fn feed(&mut self, chunk: &[u8]) -> Result<(), CallError> {
        if self.out.len() > MAX_INSIDE_BYTES {
            return Err(CallError::AnswerRefused { reason: "error_too_long", offset: 0 });
        }
        self.projector.feed(chunk, &mut self.out).map_err(|refusal| refused(&refusal))
    }

    fn finish(mut self, echoes: &Echoes) -> Result<(), CallError> {
        self.projector.finish(&mut self.out).map_err(|refusal| refused(&refusal))?;
        let value: serde_json::Value = serde_json::from_slice(&self.out)
            .map_err(|_| CallError::Internal { what: "a projected answer is not JSON" })?;
        let found = value.get(&self.rule.member);
        let is_error = found.is_some_and(|found| match found {
            serde_json::Value::String(text) => *text == self.rule.equals,
            other => {
                let told = other.to_string();
                told == self.rule.equals
            }
        });
        if !is_error {
            return Ok(());
        }
        // Spelled as it came, and decoded.
        let is_echo = echoes.are_in(&self.out) || crate::provider_error::repeats(&value, echoes);
        let code = match value.get(&self.rule.code).filter(|_| !is_echo) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(scalar @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                scalar.to_string()
            }
            _ => String::new(),
        };
        Err(CallError::ProviderErrorInside { code: crate::provider_error::masked(&code) })
    }
}

fn refused(refusal: &projection::Refusal) -> CallError {
    CallError::AnswerRefused { reason: refusal.reason(), offset: refusal.offset }
}

/// An answer under way.
pub(crate) struct Flow {
    upstream: UpstreamBody,
    passage: Passage,
    intent: OpenIntent,
    watch: Watch,
    echoes: Arc<Echoes>,
    out: Vec<u8>,
    /// Bytes of `out` in which no echo begins.
    clear: usize,
    /// Bytes of `out` that were not looked through yet.
    fresh: usize,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("watch", &self.watch).finish_non_exhaustive()
    }
}

impl Flow {
    pub(crate) fn projected(
        upstream: UpstreamBody,
        compiled: Arc<Projected>,
        urls: crate::rewrite::UrlRewriter,
        inside: Option<ErrorInside>,
        escort: Escort,
    ) -> Self {
        let projector = Projector::new(compiled.spec.clone(), Limits::default(), Mode::Drop)
            .with_rewriter(Box::new(urls));
        let passage = Passage::Project {
            projector: Box::new(projector),
            compiled,
            inside: inside.map(Inside::new),
        };
        Self::new(upstream, passage, escort)
    }

    /// Content that passes as it is, by the action `download`.
    pub(crate) fn unfiltered(upstream: UpstreamBody, escort: Escort) -> Self {
        Self::new(upstream, Passage::Unfiltered, escort)
    }

    fn new(upstream: UpstreamBody, passage: Passage, escort: Escort) -> Self {
        let Escort { intent, watch, echoes } = escort;
        Self { upstream, passage, intent, watch, echoes, out: Vec::new(), clear: 0, fresh: 0 }
    }

    /// Reads one chunk; false at the provider's end.
    async fn step(&mut self) -> Result<bool, CallError> {
        let Some(chunk) = self.upstream.next_chunk().await? else { return Ok(false) };
        self.watch.check()?;
        if self.intent.facts.bytes_out > 0 {
            self.watch.failpoint.reach("answer", "");
        }
        self.intent.facts.bytes_in += chunk.len() as u64;
        let before = self.out.len();
        match &mut self.passage {
            Passage::Project { projector, inside, .. } => {
                projector.feed(&chunk, &mut self.out).map_err(|refusal| refused(&refusal))?;
                if let Some(inside) = inside {
                    inside.feed(&chunk)?;
                }
            }
            Passage::Unfiltered => self.out.extend_from_slice(&chunk),
        }
        self.fresh += self.out.len() - before;
        self.look_for_echoes()?;
        Ok(true)
    }

    /// Looks through what is new in `out`; an echo may have begun in what was looked through before.
    /// What is open is looked through again each time, so there must be as much that is new: else an
    /// answer in small pieces would cost more than its length.
    fn look_for_echoes(&mut self) -> Result<(), CallError> {
        let open = self.out.len() - self.clear - self.fresh;
        if self.fresh < open {
            return Ok(());
        }
        self.fresh = 0;
        if self.echoes.are_in(self.out.get(self.clear..).unwrap_or_default()) {
            return Err(CallError::CredentialEchoed);
        }
        let open = self.echoes.overlap(&self.out);
        self.clear = self.out.len().saturating_sub(open).max(self.clear);
        Ok(())
    }

    /// The provider has ended: checks that the whole was acceptable. Only now is the last bracket
    /// in `out`.
    fn complete(self) -> (OpenIntent, Result<Vec<u8>, CallError>) {
        let Self { passage, mut intent, mut out, echoes, clear, .. } = self;
        let result = match passage {
            Passage::Unfiltered => Ok(()),
            Passage::Project { projector, compiled, inside } => projector
                .finish(&mut out)
                .map_err(|refusal| refused(&refusal))
                .map(|summary| {
                    compiled.met.note(&summary.noted);
                    intent.facts.dropped = summary.dropped;
                    intent.facts.mismatched = summary.mismatched;
                    intent.facts.withheld = summary
                        .withheld
                        .iter()
                        .filter_map(|mark| compiled.names.get(*mark as usize).cloned())
                        .take(MAX_NAMES)
                        .collect();
                    let left_out = summary.withheld.len() - intent.facts.withheld.len();
                    intent.facts.withheld_more = left_out as u64;
                })
                .and_then(|()| inside.map_or(Ok(()), |inside| inside.finish(&echoes))),
        };
        let result = result.and_then(|()| {
            let is_echo = echoes.are_in(out.get(clear..).unwrap_or_default());
            if is_echo { Err(CallError::CredentialEchoed) } else { Ok(()) }
        });
        intent.facts.bytes_out += out.len() as u64;
        (intent, result.map(|()| out))
    }

    /// The body for the caller. Returns after the intent is durable and either the whole answer or
    /// its first part has been accepted.
    pub(crate) async fn into_body(mut self) -> Result<AnswerBody, (Option<OpenIntent>, CallError)> {
        let is_ended = loop {
            match self.step().await {
                Ok(true) if self.out.len() < FIRST_BYTES => {}
                Ok(true) => break false,
                Ok(false) => break true,
                Err(error) => return Err((Some(self.intent), error)),
            }
        };
        if let Err(error) = self.intent.durable().await {
            return Err((Some(self.intent), error));
        }
        if let Err(error) = self.watch.check() {
            return Err((Some(self.intent), error));
        }
        if is_ended {
            let (intent, result) = self.complete();
            return match result {
                Ok(out) => match intent.close(None).await {
                    Ok(()) => Ok(full(out)),
                    // The outcome could not be written: nothing leaves.
                    Err(error) => Err((None, error)),
                },
                Err(error) => Err((Some(intent), error)),
            };
        }
        let stream = stream::unfold(Some(self), |flow| async move {
            let flow = flow?;
            Some(match flow.next_part().await {
                Either::Left((bytes, rest)) => (Ok(Frame::data(bytes)), rest),
                Either::Right(aborted) => (Err(aborted), None),
            })
        });
        Ok(http_body_util::Either::Right(StreamBody::new(stream.boxed_local())))
    }

    async fn next_part(mut self) -> Either<(Bytes, Option<Self>), Aborted> {
        loop {
            if self.clear > 0 {
                let rest = self.out.split_off(self.clear);
                let part = Bytes::from(std::mem::replace(&mut self.out, rest));
                self.clear = 0;
                self.intent.facts.bytes_out += part.len() as u64;
                return Either::Left((part, Some(self)));
            }
            match self.step().await {
                Ok(true) => {}
                Ok(false) => {
                    let (intent, result) = self.complete();
                    return match result {
                        Ok(rest) => match intent.close(None).await {
                            Ok(()) => Either::Left((Bytes::from(rest), None)),
                            Err(error) => Either::Right(aborted(&error)),
                        },
                        Err(error) => abort(intent, error).await,
                    };
                }
                Err(error) => return abort(self.intent, error).await,
            }
        }
    }
}

async fn abort<L>(intent: OpenIntent, error: CallError) -> Either<L, Aborted> {
    let failure = failure_of(&error);
    // Already failing: the log's own failure was logged where it happened.
    let _ = intent.close(Some(failure)).await;
    Either::Right(aborted(&error))
}

/// For an answer that met a defect of ours.
pub(crate) fn panicked() -> Aborted {
    aborted(&CallError::PANICKED)
}

fn aborted(error: &CallError) -> Aborted {
    Aborted { code: failure_of(error).code }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(equals: &str, body: &str) -> Result<(), CallError> {
        told_beside(&Echoes::none(), equals, body)
    }

    fn told_beside(echoes: &Echoes, equals: &str, body: &str) -> Result<(), CallError> {
        let rule = ErrorInside { member: "ok".into(), equals: equals.into(), code: "error".into() };
        let mut inside = Inside::new(rule);
        inside.feed(body.as_bytes())?;
        inside.finish(echoes)
    }

    #[test]
    fn an_error_inside_a_success_does_not_repeat_the_credential() {
        let key = vault::MemoryKey::generate(&types::SeededRandom::new(1)).unwrap();
        let secret = types::SecretBytes::new(br#"{"api_key":"a name of mine"}"#.to_vec());
        let place = vault::Placement::Header { name: "x-key".into() };
        let injection =
            vault::Credential::parse(&secret).unwrap().place(&[("s".into(), place)]).unwrap();
        let sealed = vault::SealedInjection::seal(&key, &injection).unwrap();
        let echoes = Echoes::of(&sealed.open(&key).unwrap());
        for spelling in ["a name of mine", r"a n\u0061m\u0065 of mine"] {
            let body = format!(r#"{{"ok":false,"error":"no {spelling}"}}"#);
            match told_beside(&echoes, "false", &body) {
                Err(CallError::ProviderErrorInside { code }) => assert_eq!(code, "", "{spelling}"),
                other => panic!("{spelling}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_error_inside_a_success_is_told_by_any_scalar() {
        for (equals, body) in [
            ("false", r#"{"ok":false,"error":"no_scope"}"#),
            ("0", r#"{"ok":0,"error":"no_scope"}"#),
            ("failed", r#"{"error":"no_scope","ok":"failed"}"#),
        ] {
            let code = match told(equals, body) {
                Err(CallError::ProviderErrorInside { code }) => code,
                other => panic!("{body}: {other:?}"),
            };
            assert_eq!(code, "no_scope", "{body}");
        }
        for body in [r#"{"ok":true,"error":"x"}"#, r#"{"error":"x"}"#, r#"{"ok":null}"#] {
            assert!(told("false", body).is_ok(), "{body}");
        }
    }
}
