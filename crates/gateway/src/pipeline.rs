//! One call, as named phases, top to bottom.
//!
//! Each phase yields a value that a later one demands: without an [`Authenticated`] there is no
//! [`Routed`], without a [`Permit`] no intent, without a durable intent nothing is sent.

use crate::{
    answer::{AnswerBody, Escort, Flow, Watch, full},
    body,
    crowd::Visitor,
    error::CallError,
    event::{Called, Event, Phase, Phases},
    gateway::{Core, Slot},
    headers,
    limits::{self, Places},
    observations, provider_error, query,
    recorder::{OpenIntent, Refusal, failure_of},
    renewals::{CredentialEntry, ProofNonce, Wanted},
    rewrite::{Asked, UrlRewriter},
    snapshot::{AnswerRule, Closing, ConnectionEntry, Decision, KeyEntry, Rights, Snapshot},
    trace_link::TraceLink,
};
use audit::Intent;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Request, Response, StatusCode,
    header, request::Parts,
};
use http_body_util::Full;
use hyper::body::Incoming;
use outbound::{Lease, Target, UpstreamBody};
use provider::{Method, Operation, RouteOutcome, decode_path};
use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use types::{Connection, Fault, Id, Request as RequestKind, Timestamp};
use vault::{
    Echoes,
    auth::{CallFacts, Moment},
};

/// Where calls arrive: `/proxy/{connection}/{path}`.
pub(crate) const PROXY_PREFIX: &str = "/proxy/";
/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 8_192;
/// How long the body of a failure, or one that is dropped, is waited for.
const ERROR_PATIENCE: Duration = Duration::from_secs(3);

/// What is known of a call so far, for its record and event.
#[derive(Debug, Default)]
struct Known {
    caller: Option<KeyEntry>,
    connection: Option<Id<Connection>>,
    method: Option<Method>,
    called: Option<Called>,
    linked: Option<TraceLink>,
    phases: Phases,
    /// Whatever becomes of the call now, its intent says so.
    has_intent: bool,
}

/// Proof that the caller's key is known and in force.
struct Authenticated {
    key: KeyEntry,
    digest: [u8; 32],
}

/// An operation of a connection in the caller's environment.
struct Routed<'s> {
    connection: &'s Arc<ConnectionEntry>,
    /// Indices of the operations that fall together here.
    operations: Vec<usize>,
    /// The first of them, which decides.
    index: usize,
    operation: &'s Operation,
    target: &'s Target,
    /// HEAD on an operation that is a GET: asked as HEAD, judged as the GET.
    is_head: bool,
    /// The path to send, re-encoded canonically.
    path: String,
}

/// Proof that a grant lets this client call this operation, now.
struct Permit {
    decision: Arc<Decision>,
    /// All that this client may do on this connection.
    rights: Arc<Rights>,
    now: Timestamp,
}

/// What may be sent, without its credential.
#[derive(Clone)]
struct Minimised {
    method: HttpMethod,
    path_and_query: String,
    headers: HeaderMap,
    body: Bytes,
}

/// Serves one call. Every path out of here has left an audit entry, or counted why it could not.
pub(crate) async fn serve(core: &Rc<Core>, request: Request<Incoming>) -> Response<AnswerBody> {
    let gateway = &core.gateway;
    let started = gateway.clock.now();
    let Ok(id) = Id::generate(started, gateway.random.as_ref()) else {
        return problem(&CallError::Internal { what: "no randomness" }, Id::from_u128(0));
    };
    let mut known = Known::default();
    // A defect that one call meets ends that call and no other. Nothing that was broken off is used
    // again: what a call changes outside of itself are counters and queues.
    let call = AssertUnwindSafe(run(core, id, started, request, &mut known)).catch_unwind();
    let mut response = match call.await {
        Ok(Ok(response)) => response,
        Ok(Err(Failed::BeforeIntent(error))) => {
            refuse(core, id, started, &known, &error);
            problem(&error, id)
        }
        Ok(Err(Failed::AfterIntent(failure))) => end_failed(*failure, id).await,
        Err(_) => {
            if !known.has_intent {
                refuse(core, id, started, &known, &CallError::PANICKED);
            }
            problem(&CallError::PANICKED, id)
        }
    };
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(headers::REQUEST_ID, value);
    }
    gateway.metrics.answered(response.status(), gateway.clock.now().since(started));
    response
}

/// Where a call ended, which decides what the audit log says of it.
enum Failed {
    BeforeIntent(CallError),
    AfterIntent(Box<Failure>),
}

/// A call that failed after it had an intent.
struct Failure {
    /// `None`: its outcome could not be written.
    intent: Option<OpenIntent>,
    error: CallError,
    /// Headers of the provider's that stay, such as those of its limits.
    headers: HeaderMap,
}

impl Failed {
    fn after(intent: Option<OpenIntent>, error: CallError) -> Self {
        Self::AfterIntent(Box::new(Failure { intent, error, headers: HeaderMap::new() }))
    }
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self::BeforeIntent(error)
    }
}

/// The phases.
async fn run(
    core: &Rc<Core>,
    id: Id<RequestKind>,
    started: Timestamp,
    request: Request<Incoming>,
    known: &mut Known,
) -> Result<Response<AnswerBody>, Failed> {
    let snapshot = core.gateway.snapshot()?;
    let (parts, incoming) = request.into_parts();
    known.method = method_of(&parts.method);

    let caller = authenticate(&snapshot, &parts, started)?;
    known.caller = Some(caller.key.clone());
    known.linked = TraceLink::of(&parts.headers);
    if let Some(visitor) = parts.extensions.get::<Arc<Visitor>>() {
        core.crowd.forget(visitor);
    }
    // A refusal, too, has an entry, or it is none.
    if !core.gateway.recorder.is_healthy() {
        return Err(CallError::AuditUnavailable.into());
    }
    let routed = route(&snapshot, &caller, &parts, known)?;
    let source = parts.extensions.get::<Arc<Visitor>>().and_then(|visitor| visitor.source);
    let permit = authorize(&snapshot, &caller, &routed, started, source)?;
    match snapshot.closed(routed.connection.id, started) {
        Some(Closing::Rule) => return Err(CallError::CredentialSuspended.into()),
        Some(Closing::Store) => return Err(CallError::CredentialStale.into()),
        None => {}
    }
    let places = limit(core, &caller, &routed)?;
    let mut watch = watch(core, &snapshot, &caller, &routed, &permit, places);
    known.phases.begin(Phase::Request, core.gateway.clock.now().since(started));
    let minimised =
        minimise_request(core, &snapshot, &caller, &routed, &permit, &parts, incoming).await?;
    let mut connection = usable_credential(core, &routed, &permit).await?;
    watch.check()?;
    core.gateway.settings.failpoint.reach("request", &routed.path);
    known.phases.begin(Phase::Intent, core.gateway.clock.now().since(started));
    let event = event_of(id, started, known);
    let visitor = parts.extensions.get::<Arc<Visitor>>();
    let network = visitor.and_then(|visitor| visitor.network(&snapshot.secrets.pepper));
    let mut intent = record_intent(core, &snapshot, (event, network), &caller, &routed, &permit)?;
    known.has_intent = true;

    let place = minimised.path_and_query.clone();
    // What is safe and has no body may be sent once more with another token.
    let again =
        (minimised.method.is_safe() && minimised.body.is_empty()).then(|| minimised.clone());
    // From here on every failure must close the intent.
    let result = async {
        if !method_of(&parts.method).is_some_and(Method::is_safe) {
            intent.durable().await?;
        }
        intent.begin(Phase::Connect);
        let lease = guard_address(core, &routed).await?;
        let (asked, echoes) =
            inject_credential(core, &snapshot, (&routed, &connection), &permit, minimised)?;
        // All of the above may have waited: what was withdrawn meanwhile is not sent.
        watch.check()?;
        intent.begin(Phase::Provider);
        core.gateway.settings.failpoint.reach("provider", &routed.path);
        let mut answered = send(lease, asked, &mut intent.facts.attempts).await?;
        let mut echoes = echoes;
        if wants_other_proof(&connection, &answered) {
            // The provider has not looked at the call, but says so by a status that could mean more.
            let again = again.clone().ok_or(CallError::CredentialRenewing)?;
            drop(answered);
            let lease = guard_address(core, &routed).await?;
            let injected =
                inject_credential(core, &snapshot, (&routed, &connection), &permit, again)?;
            watch.check()?;
            answered = send(lease, injected.0, &mut intent.facts.attempts).await?;
            echoes = injected.1;
            learn_nonce(&connection, &answered);
        }
        let refused = refused_token(core, &routed, &permit, &connection, answered.status());
        let (Some(refused), Some(again)) = (refused, again) else { return Ok((answered, echoes)) };
        // The refusal's body is nobody's; its connection ends with it.
        drop(answered);
        let gateway = &core.gateway;
        let renewed = gateway.renewals.another(
            &gateway.shared,
            gateway.clock.as_ref(),
            routed.connection.id,
            refused,
        );
        connection = renewed.await?;
        is_where_it_was(&routed, &connection)?;
        let lease = guard_address(core, &routed).await?;
        let (asked, echoes) =
            inject_credential(core, &snapshot, (&routed, &connection), &permit, again)?;
        watch.check()?;
        let answered = send(lease, asked, &mut intent.facts.attempts).await?;
        learn_nonce(&connection, &answered);
        Ok((answered, echoes))
    }
    .await;
    let (answered, echoes) = match result {
        Ok(answered) => answered,
        Err(error) => return Err(Failed::after(Some(intent), error)),
    };
    intent.begin(Phase::Answer);
    intent.facts.provider_status = Some(answered.status().as_u16());
    intent.facts.provider_version = Some(answered.version());
    let now = core.gateway.clock.now();
    routed.connection.meter.learn(answered.status(), answered.headers(), now);
    let class = classify(core, &routed, &permit, answered, &echoes).await;
    let escort = Escort { intent, watch, echoes: Arc::new(echoes) };
    project(core, &snapshot, &routed, &permit, place, class, escort).await
}

/// Ends a call that failed after it had an intent. If the log fails too, the answer says that.
async fn end_failed(failure: Failure, id: Id<RequestKind>) -> Response<AnswerBody> {
    let Failure { intent, error, headers } = failure;
    let mut answer = problem(&error, id);
    answer.headers_mut().extend(headers);
    let Some(mut intent) = intent else { return answer };
    intent.facts.status = answer.status().as_u16();
    let closed = async {
        intent.durable().await?;
        intent.close(Some(failure_of(&error))).await
    };
    match closed.await {
        Ok(()) => answer,
        Err(error) => problem(&error, id),
    }
}

/// Who calls: the key's form and checksum, then its digest.
fn authenticate(
    snapshot: &Snapshot,
    parts: &Parts,
    now: Timestamp,
) -> Result<Authenticated, CallError> {
    let given = headers::read_key(&parts.headers)?;
    let digest = snapshot.secrets.pepper.digest(&given);
    let key = snapshot.keys.get(&digest).ok_or(CallError::KeyUnknown)?;
    if key.is_revoked {
        return Err(CallError::KeyRevoked);
    }
    if key.is_suspended {
        return Err(CallError::KeySuspended);
    }
    if now >= key.expires_at {
        return Err(CallError::KeyExpired);
    }
    if key.environment != given.environment() {
        return Err(CallError::KeyUnknown);
    }
    Ok(Authenticated { key: key.clone(), digest })
}

/// What is called: the connection, then the operation by method and path template.
fn route<'s>(
    snapshot: &'s Snapshot,
    caller: &Authenticated,
    parts: &Parts,
    known: &mut Known,
) -> Result<Routed<'s>, CallError> {
    let raw = parts.uri.path();
    if raw.len() > MAX_PATH_BYTES {
        return Err(CallError::PathRefused { what: "it is too long".into() });
    }
    let rest = raw.strip_prefix(PROXY_PREFIX).ok_or(CallError::PathNotServed)?;
    let (connection, path) = rest.split_once('/').unwrap_or((rest, ""));
    let connection_id: Id<Connection> =
        connection.parse().map_err(|_| CallError::ConnectionUnknown)?;
    let connection = snapshot
        .connections
        .get(&connection_id)
        .filter(|connection| connection.environment == caller.key.environment)
        .ok_or_else(|| match snapshot.pending.get(&connection_id) {
            Some(environment) if *environment == caller.key.environment => {
                CallError::ProviderUpdating
            }
            _ => CallError::ConnectionUnknown,
        })?;
    known.connection = Some(connection_id);
    // A client without any right here does not learn which paths exist.
    if !snapshot.rights.contains_key(&(caller.key.client, connection_id)) {
        return Err(CallError::NotGranted);
    }
    let method = method_of(&parts.method).ok_or(CallError::MethodUnknown)?;
    if !method.is_served() {
        return Err(CallError::MethodUnsupported { method: method.as_str() });
    }
    let segments = decode_path(&format!("/{path}"))
        .map_err(|refusal| CallError::PathRefused { what: refusal.to_string() })?;
    let router = &connection.provider.router;
    let mut outcome = router.route(method, &segments);
    // What may be read may be asked about (RFC 9110 §9.3.2).
    let is_head = method == Method::Head && !matches!(outcome, RouteOutcome::Found { .. });
    if is_head {
        outcome = router.route(Method::Get, &segments);
    }
    match outcome {
        RouteOutcome::Found { operations, path } => {
            let missing = CallError::Internal { what: "a routed operation is missing" };
            let index = operations.first().copied().unwrap_or(usize::MAX);
            let operation = connection.provider.model.operations.get(index).ok_or(missing)?;
            known.called = Some(Called::new(Arc::clone(connection), index));
            let target = connection
                .server(index)
                .ok_or(CallError::Internal { what: "the connection has no server" })?;
            Ok(Routed { connection, operations, index, operation, target, is_head, path })
        }
        RouteOutcome::MethodNotDeclared { .. } => Err(CallError::MethodUnknown),
        RouteOutcome::NotFound => Err(CallError::PathUnknown),
    }
}

/// Whether the client may: the compiled decision, and the moment.
fn authorize(
    snapshot: &Snapshot,
    caller: &Authenticated,
    routed: &Routed<'_>,
    now: Timestamp,
    source: Option<IpAddr>,
) -> Result<Permit, CallError> {
    let rights = snapshot
        .rights
        .get(&(caller.key.client, routed.connection.id))
        .ok_or(CallError::NotGranted)?;
    let (decision, valid_until) = rights.decision(&routed.operations).ok_or_else(|| {
        // A consent that was taken back takes from its grants what they let through.
        match routed.connection.credential {
            CredentialEntry::Ended => CallError::ConsentEnded,
            _ => CallError::NotGranted,
        }
    })?;
    if now >= valid_until {
        return Err(CallError::GrantExpired);
    }
    if rights.are_forbidden(&routed.operations, now, source) {
        return Err(CallError::PolicyForbids);
    }
    Ok(Permit { decision: Arc::clone(decision), rights: Arc::clone(rights), now })
}

/// A place among the calls under way, and in every window of time.
fn limit(
    core: &Core,
    caller: &Authenticated,
    routed: &Routed<'_>,
) -> Result<(Slot, Places), CallError> {
    let slot = core.gateway.enter().ok_or(CallError::Overloaded)?;
    let Routed { connection, .. } = routed;
    let places = limits::admit(&caller.key.meter, &connection.meter, &connection.provider.meter)
        .map_err(CallError::Held)?;
    Ok((slot, places))
}

/// What of the request may reach the provider.
async fn minimise_request(
    core: &Core,
    snapshot: &Snapshot,
    caller: &Authenticated,
    routed: &Routed<'_>,
    permit: &Permit,
    parts: &Parts,
    incoming: Incoming,
) -> Result<Minimised, CallError> {
    let decision = &permit.decision;
    let model = &routed.connection.provider.model;
    let operations: Vec<&Operation> =
        routed.operations.iter().filter_map(|index| model.operations.get(*index)).collect();
    let query = query::minimise(parts.uri.query(), &operations, decision, routed.connection)?;
    let mut headers = headers::to_provider(
        &parts.headers,
        decision,
        routed.connection,
        &snapshot.secrets.tag_key,
        routed.is_head || routed.operation.method.is_safe(),
    )?;
    let settings = &core.gateway.settings;
    let take = |bytes| core.gateway.bodies.take(&caller.key.meter, bytes);
    let (raw, place) =
        body::read(incoming, settings.max_write_bytes, settings.body_patience, take).await?;
    let own = &routed.connection.credential_params;
    let body = match body::minimise(&parts.headers, &raw, &decision.request, own)? {
        Some((body, media)) => {
            let media = HeaderValue::from_str(&media)
                .map_err(|_| CallError::RequestMalformed { what: "the Content-Type" })?;
            headers.insert(header::CONTENT_TYPE, media);
            match place {
                Some(place) => place.with(body),
                None => body,
            }
        }
        None => Bytes::new(),
    };
    Ok(Minimised {
        method: parts.method.clone(),
        path_and_query: format!("{}{query}", routed.path),
        headers,
        body,
    })
}

/// Hands the intent to the log: before the request is sent when the method is unsafe, before the
/// first byte of the answer leaves when it is safe.
fn record_intent(
    core: &Core,
    snapshot: &Snapshot,
    (event, network): (Event, Option<[u8; 8]>),
    caller: &Authenticated,
    routed: &Routed<'_>,
    permit: &Permit,
) -> Result<OpenIntent, CallError> {
    let Routed { connection, operation, .. } = routed;
    let intent = Intent {
        request: event.request,
        at: event.started,
        environment: connection.environment,
        key: caller.key.id,
        client: caller.key.client,
        connection: connection.id,
        customer: connection.customer_commitment,
        provider: connection.provider.id,
        operation: operation.id.clone(),
        action: permit.decision.action,
        object: permit.decision.object.clone(),
        generation: snapshot.generation,
        is_safe_method: operation.method.is_safe(),
        network,
    };
    core.gateway.recorder.intend(intent, core.gateway.events.clone(), event)
}

/// A connection to a provider's server whose address was resolved once, judged and pinned.
async fn guard_address<'c>(core: &'c Core, routed: &Routed<'_>) -> Result<Lease<'c>, CallError> {
    let deadlines = &core.gateway.settings.deadlines;
    Ok(core.pool.checkout(routed.target, &routed.connection.guard, deadlines).await?)
}

/// The connection with a credential that can be used now; waits for one that is being obtained.
async fn usable_credential(
    core: &Core,
    routed: &Routed<'_>,
    permit: &Permit,
) -> Result<Arc<ConnectionEntry>, CallError> {
    if permit.decision.is_open {
        return Ok(Arc::clone(routed.connection));
    }
    let gateway = &core.gateway;
    let clock = gateway.clock.as_ref();
    let usable = gateway.renewals.usable(&gateway.shared, clock, routed.connection).await?;
    is_where_it_was(routed, &usable)?;
    Ok(usable)
}

/// While a call waited, its connection may have got another server, for which the new token is.
fn is_where_it_was(routed: &Routed<'_>, now: &ConnectionEntry) -> Result<(), CallError> {
    let was = routed.connection;
    if now.servers == was.servers && now.server_of == was.server_of && now.guard == was.guard {
        return Ok(());
    }
    Err(CallError::CredentialRenewing)
}

/// The version of a token that Weirgate obtained and the provider does not take: another is asked for.
fn refused_token(
    core: &Core,
    routed: &Routed<'_>,
    permit: &Permit,
    connection: &ConnectionEntry,
    status: StatusCode,
) -> Option<u64> {
    let is_ours = status == StatusCode::UNAUTHORIZED && !permit.decision.is_open;
    if !is_ours || !connection.credential.is_renewable() {
        return None;
    }
    let version = connection.credential.version();
    let wanted = Wanted { connection: routed.connection.id, refused: Some(version) };
    core.gateway.renewals.ask(wanted);
    Some(version)
}

/// Keeps what the provider wants the next proof of possession to hold.
fn learn_nonce(connection: &ConnectionEntry, answered: &Response<UpstreamBody>) {
    if let Some(proof) = connection.credential.ready().and_then(|ready| ready.proof.as_ref()) {
        proof.learn(answered.headers());
    }
}

/// The same, and whether it refused the call for the proof alone (RFC 9449 §9).
fn wants_other_proof(connection: &ConnectionEntry, answered: &Response<UpstreamBody>) -> bool {
    learn_nonce(connection, answered);
    connection.credential.ready().is_some_and(|ready| ready.proof.is_some())
        && ProofNonce::is_wanted(answered.status(), answered.headers())
}

/// Opens the credential for this use and writes it into the request; what was opened is wiped. What
/// it would look like in an answer is kept as long as the call lasts.
fn inject_credential(
    core: &Core,
    snapshot: &Snapshot,
    (routed, connection): (&Routed<'_>, &ConnectionEntry),
    permit: &Permit,
    minimised: Minimised,
) -> Result<(Request<Full<Bytes>>, Echoes), CallError> {
    let Minimised { method, mut path_and_query, mut headers, body } = minimised;
    let base = routed.target.base_path().trim_end_matches('/');
    let mut echoes = Echoes::none();
    if let Some(ready) = connection.credential.ready() {
        if let Some(token) = &ready.token {
            token.was_used.store(true, Ordering::Relaxed);
        }
        let (path, query) = path_and_query.split_once('?').unwrap_or((&path_and_query, ""));
        let nonce = ready.proof.as_ref().and_then(ProofNonce::current);
        let scheme = routed.target.base_url().split_once("://").map_or("https", |(one, _)| one);
        let call = CallFacts {
            scheme,
            proof_nonce: nonce.as_ref().map(|nonce| nonce.as_str()),
            method: method.as_str(),
            host: routed.target.authority(),
            path: &format!("{base}{path}"),
            query,
            body: &body,
        };
        let gateway = &core.gateway;
        let moment = Moment { now: gateway.clock.now(), random: gateway.random.as_ref() };
        let opened = ready
            .sealed
            .open_for(&snapshot.secrets.memory_key, &call, moment)
            .map_err(|_| CallError::CredentialUnavailable)?;
        // A provider may remember what it was sent, and repeat it where it was not.
        echoes = Echoes::of(&opened);
        for part in opened.iter().filter(|_| !permit.decision.is_open) {
            match part {
                vault::OpenPart::Header { name, value, .. } => {
                    let name = HeaderName::from_bytes(name.as_bytes())
                        .map_err(|_| CallError::CredentialUnavailable)?;
                    let mut value = HeaderValue::from_bytes(value)
                        .map_err(|_| CallError::CredentialUnavailable)?;
                    value.set_sensitive(true);
                    headers.insert(name, value);
                }
                vault::OpenPart::Query { name, value, .. } => {
                    path_and_query.push(if path_and_query.contains('?') { '&' } else { '?' });
                    path_and_query.push_str(name);
                    path_and_query.push('=');
                    path_and_query.push_str(value);
                }
                vault::OpenPart::Unsent { .. } => {}
            }
        }
    }
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{base}{path_and_query}"))
        .body(Full::new(body))
        .map_err(|_| CallError::Internal { what: "the request cannot be built" })?;
    *request.headers_mut() = headers;
    Ok((request, echoes))
}

/// Sends, with a time-out per phase. Redirects are not followed.
async fn send(
    lease: Lease<'_>,
    request: Request<Full<Bytes>>,
    attempts: &mut u64,
) -> Result<Response<UpstreamBody>, CallError> {
    Ok(lease.send_counted(request, attempts).await?)
}

/// What an answer is, before anything of it may pass.
#[expect(clippy::large_enum_variant, reason = "one of each per call, and moved once")]
enum Class {
    /// A declared success with a body that is projected or, by `download`, passes.
    Content(Response<UpstreamBody>, AnswerRule),
    /// A status alone; a body that came all the same is dropped.
    Status {
        status: StatusCode,
        headers: HeaderMap,
        /// Beside what passes of the provider's.
        own: HeaderMap,
        is_drift: bool,
    },
    Failed(CallError, HeaderMap),
}

async fn classify(
    core: &Core,
    routed: &Routed<'_>,
    permit: &Permit,
    answered: Response<UpstreamBody>,
    echoes: &Echoes,
) -> Class {
    let status = answered.status();
    let code = status.as_u16();
    if status.is_client_error() || status.is_server_error() {
        return classify_error(routed, permit, answered, echoes).await;
    }
    let rule = if status.is_success() { permit.decision.answer(code).cloned() } else { None };
    match rule {
        None => Class::Status {
            status,
            headers: answered.headers().clone(),
            own: HeaderMap::new(),
            is_drift: false,
        },
        Some(AnswerRule::NoContent) => {
            let headers = answered.headers().clone();
            let mut body = answered.into_body();
            let first = tokio::time::timeout(ERROR_PATIENCE, body.next_chunk()).await;
            let has_body = !matches!(first, Ok(Ok(None)));
            Class::Status {
                status,
                headers,
                own: HeaderMap::new(),
                is_drift: has_body && code != 204,
            }
        }
        // 204 and 205 have no content, whatever is declared (RFC 9110 §15.3).
        Some(_) if matches!(code, 204 | 205) => Class::Status {
            status,
            headers: answered.headers().clone(),
            own: HeaderMap::new(),
            is_drift: false,
        },
        Some(AnswerRule::Undescribed { is_observed }) => {
            let headers = answered.headers().clone();
            if is_observed && !routed.is_head {
                observe(core, routed, answered, echoes).await;
            }
            Class::Failed(CallError::AnswerUndescribed, headers)
        }
        // The head that a GET's answer has.
        Some(rule) if routed.is_head && !matches!(rule, AnswerRule::Download { .. }) => {
            let own = content_headers(&rule, answered.headers());
            Class::Status { status, headers: answered.headers().clone(), own, is_drift: false }
        }
        Some(rule) => {
            let fits = match &rule {
                AnswerRule::Download { media } => {
                    headers::essence(answered.headers()).is_some_and(|kind| media.contains(&kind))
                }
                _ => headers::media(answered.headers()) == headers::Media::Json,
            };
            if fits && routed.is_head {
                let own = content_headers(&rule, answered.headers());
                Class::Status { status, headers: answered.headers().clone(), own, is_drift: false }
            } else if fits {
                Class::Content(answered, rule)
            } else {
                Class::Failed(CallError::AnswerMedia, answered.headers().clone())
            }
        }
    }
}

/// Learns an answer's shape, and nothing else of it. One that is too long, breaks off, comes late or
/// repeats the credential is not learned from.
async fn observe(
    core: &Core,
    routed: &Routed<'_>,
    answered: Response<UpstreamBody>,
    echoes: &Echoes,
) {
    if headers::media(answered.headers()) != headers::Media::Json {
        return;
    }
    let status = answered.status();
    let body = read_whole(answered.into_body(), observations::MAX_BODY_BYTES);
    if let Ok(Some(bytes)) = tokio::time::timeout(ERROR_PATIENCE, body).await
        && !echoes.are_in(&bytes)
    {
        let provider = routed.connection.provider.digest;
        core.gateway.observations.learn(provider, &routed.operation.id, status, &bytes);
    }
}

/// An error status: our credential's, the caller's, or the provider's own.
async fn classify_error(
    routed: &Routed<'_>,
    permit: &Permit,
    answered: Response<UpstreamBody>,
    echoes: &Echoes,
) -> Class {
    let status = answered.status().as_u16();
    let headers = answered.headers().clone();
    if matches!(status, 401 | 407) {
        return Class::Failed(CallError::ProviderCredentialRefused { status }, headers);
    }
    let operation = routed.operation;
    if !provider_error::is_declared(operation, status) {
        return if status < 500 {
            Class::Status {
                status: answered.status(),
                headers,
                own: HeaderMap::new(),
                is_drift: false,
            }
        } else {
            Class::Failed(
                CallError::ProviderError { status, fields: serde_json::Map::new() },
                headers,
            )
        };
    }
    let mut fields = serde_json::Map::new();
    if headers::media(&headers) == headers::Media::Json {
        // One that is too long, breaks off, comes late or repeats the credential says nothing.
        let body = read_whole(answered.into_body(), provider_error::MAX_ERROR_BYTES);
        if let Ok(Some(bytes)) = tokio::time::timeout(ERROR_PATIENCE, body).await
            && !echoes.are_in(&bytes)
        {
            let model = &routed.connection.provider.model;
            fields = provider_error::visible_fields(
                model,
                operation,
                status,
                &bytes,
                (echoes, &permit.decision.errors),
            );
        }
    }
    Class::Failed(CallError::ProviderError { status, fields }, headers)
}

/// A whole body of bounded size.
async fn read_whole(mut body: UpstreamBody, limit: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next_chunk().await.ok()? {
        if bytes.len() + chunk.len() > limit {
            return None;
        }
        bytes.extend_from_slice(&chunk);
    }
    Some(bytes)
}

/// Lets the granted part of the answer through, and records the outcome before it ends.
async fn project(
    core: &Core,
    snapshot: &Snapshot,
    routed: &Routed<'_>,
    permit: &Permit,
    place: String,
    class: Class,
    mut escort: Escort,
) -> Result<Response<AnswerBody>, Failed> {
    let Some(urls) = url_rewriter(core, routed, permit, place, Arc::clone(&escort.echoes)) else {
        let error = CallError::Internal { what: "the connection's server is no URL" };
        return Err(Failed::after(Some(escort.intent), error));
    };
    let pass_headers = |from: &HeaderMap, to: &mut HeaderMap| {
        let tags = &snapshot.secrets.tag_key;
        headers::to_caller(from, to, &permit.decision, routed.connection, tags, &urls);
    };
    if let Err(error) = escort.watch.check() {
        return Err(Failed::after(Some(escort.intent), error));
    }
    let echoes = Arc::clone(&escort.echoes);
    match class {
        Class::Failed(error, answered) => {
            let error = without_echo(error, &echoes);
            let mut headers = HeaderMap::new();
            pass_headers(&answered, &mut headers);
            headers.remove(header::ETAG);
            let intent = Some(escort.intent);
            Err(Failed::AfterIntent(Box::new(Failure { intent, error, headers })))
        }
        Class::Status { status, headers, own, is_drift } => {
            let mut response = Response::new(full(Bytes::new()));
            *response.status_mut() = status;
            pass_headers(&headers, response.headers_mut());
            response.headers_mut().extend(own);
            let mut intent = escort.intent;
            intent.facts.status = status.as_u16();
            intent.facts.mismatched += u64::from(is_drift);
            if let Err(error) = intent.durable().await {
                return Err(Failed::after(Some(intent), error));
            }
            intent.close(None).await.map_err(|error| Failed::after(None, error))?;
            Ok(response)
        }
        Class::Content(answered, rule) => {
            let (parts, upstream) = answered.into_parts();
            escort.intent.facts.status = parts.status.as_u16();
            let mut response = Response::new(());
            *response.status_mut() = parts.status;
            pass_headers(&parts.headers, response.headers_mut());
            response.headers_mut().extend(content_headers(&rule, &parts.headers));
            let flow = if let AnswerRule::Project(compiled) = rule {
                let inside = permit.decision.error_inside.clone();
                Flow::projected(upstream, compiled, urls, inside, escort)
            } else {
                Flow::unfiltered(upstream, escort)
            };
            match flow.into_body().await {
                Ok(body) => Ok(response.map(|()| body)),
                Err((intent, error)) => Err(Failed::after(intent, without_echo(error, &echoes))),
            }
        }
    }
}

/// An error whose document does not repeat the credential, whatever way it came in: what the provider
/// told is left out where it would.
fn without_echo(error: CallError, echoes: &Echoes) -> CallError {
    if !echoes.are_in(&error.to_problem(Id::from_u128(0))) {
        return error;
    }
    match error {
        CallError::ProviderError { status, .. } => {
            CallError::ProviderError { status, fields: serde_json::Map::new() }
        }
        CallError::ProviderErrorInside { .. } => {
            CallError::ProviderErrorInside { code: String::new() }
        }
        _ => CallError::CredentialEchoed,
    }
}

/// The headers that describe content.
fn content_headers(rule: &AnswerRule, answered: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match rule {
        AnswerRule::Project(compiled) => {
            let json = HeaderValue::from_static("application/json");
            out.insert(header::CONTENT_TYPE, json);
            if let Some(value) = &compiled.withheld_header {
                out.insert(headers::FIELDS_WITHHELD, value.clone());
            }
        }
        AnswerRule::Download { .. } => {
            if let Some(kind) = headers::passing_type(answered) {
                out.insert(header::CONTENT_TYPE, kind);
            }
        }
        AnswerRule::NoContent | AnswerRule::Undescribed { .. } => {}
    }
    out
}

fn url_rewriter(
    core: &Core,
    routed: &Routed<'_>,
    permit: &Permit,
    place: String,
    echoes: Arc<Echoes>,
) -> Option<UrlRewriter> {
    let base = routed.target.base_url();
    let asked = Asked { operation: routed.index, place };
    let public = Arc::clone(&core.gateway.public_url);
    let rights = (Arc::clone(&permit.rights), permit.now);
    UrlRewriter::new(Arc::clone(routed.connection), rights, base, asked, public, echoes)
}

fn watch(
    core: &Core,
    snapshot: &Snapshot,
    caller: &Authenticated,
    routed: &Routed<'_>,
    permit: &Permit,
    places: (Slot, Places),
) -> Watch {
    Watch {
        _places: places,
        shared: Arc::clone(&core.gateway.shared),
        clock: Arc::clone(&core.gateway.clock),
        max_age: core.gateway.settings.max_snapshot_age,
        failpoint: core.gateway.settings.failpoint.clone(),
        key_digest: caller.digest,
        client: caller.key.client,
        connection: routed.connection.id,
        provider: Arc::clone(&routed.connection.provider),
        operation: routed.index,
        fingerprint: permit.decision.fingerprint,
        generation: snapshot.generation,
        valid_until: permit.decision.valid_until.min(caller.key.expires_at),
    }
}

fn method_of(method: &HttpMethod) -> Option<Method> {
    Method::ALL.into_iter().find(|known| known.as_str() == method.as_str())
}

/// Records a call that was refused before it had an intent.
fn refuse(core: &Core, id: Id<RequestKind>, started: Timestamp, known: &Known, error: &CallError) {
    let gateway = &core.gateway;
    let failure = failure_of(error);
    match &known.caller {
        Some(key) => gateway.recorder.refuse(Refusal {
            request: id,
            key: key.id,
            client: key.client,
            connection: known.connection,
            operation: known.called.as_ref().and_then(Called::operation),
            code: error.code(),
        }),
        None => gateway.recorder.count_unauthenticated(error.code()),
    }
    gateway.events.emit(Event {
        status: error.status().as_u16(),
        failure: Some(failure),
        duration: gateway.clock.now().since(started),
        ..event_of(id, started, known)
    });
}

/// What is told of a call, as far as it is known.
fn event_of(id: Id<RequestKind>, started: Timestamp, known: &Known) -> Event {
    Event {
        client: known.caller.as_ref().map(|key| key.client),
        connection: known.connection,
        method: known.method,
        called: known.called.clone(),
        phases: known.phases,
        linked: known.linked,
        ..Event::new(id, started)
    }
}

/// An answer of our own (RFC 9457).
pub(crate) fn problem(error: &CallError, request: Id<RequestKind>) -> Response<AnswerBody> {
    let mut response = Response::new(full(error.to_problem(request)));
    *response.status_mut() = error.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match error {
        CallError::MethodUnsupported { .. } => {
            headers.insert(
                header::ALLOW,
                HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"),
            );
        }
        CallError::Held(held) => {
            let seconds = held.retry_after.as_millis().div_ceil(1_000).max(1);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        CallError::Overloaded
        | CallError::AuditUnavailable
        | CallError::SnapshotStale { .. }
        | CallError::ProviderUpdating
        | CallError::CredentialRenewing => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        CallError::RenewalFailed { wait, .. } => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        _ if error.status() == StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    response
}
