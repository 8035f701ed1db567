//! Every route, what it demands, and the order in which a request passes.

use crate::{
    access::Access,
    account, advice, audit, calls, clients, connect,
    console::{Console, Peer},
    grants, guard, home, live, pages, passkeys, people, reports, reviews, rules, settings, sso, v1,
    views,
};
use axum::{
    BoxError, Router,
    body::{Body, HttpBody},
    http::{Method, Request, Response},
    middleware::from_fn_with_state,
    routing::{get, post},
};
use bytes::Bytes;
use policy::Act;
use std::{net::IpAddr, sync::Arc};
use tower::ServiceExt as _;

/// Method, path and what is demanded. A route that is not here is served to nobody.
pub const ROUTES: &[(&str, &str, Access)] = &[
    ("GET", "/assets/{name}", Access::Anybody),
    ("GET", "/setup/{token}", Access::Anybody),
    ("POST", "/setup/{token}", Access::Anybody),
    ("GET", "/invite/{token}", Access::Anybody),
    ("POST", "/invite/{token}", Access::Anybody),
    ("GET", "/sign-in", Access::Anybody),
    ("POST", "/sign-in", Access::Anybody),
    ("POST", "/sign-in/passkey/begin", Access::Anybody),
    ("POST", "/sign-in/passkey", Access::Anybody),
    ("POST", "/sign-in/factor/passkey/begin", Access::HalfWay),
    ("POST", "/sign-in/factor/passkey", Access::HalfWay),
    ("GET", "/sign-in/factor", Access::HalfWay),
    ("POST", "/sign-in/factor", Access::HalfWay),
    ("GET", "/enrol", Access::Enrolling),
    ("POST", "/enrol/begin", Access::Enrolling),
    ("POST", "/enrol/confirm", Access::Enrolling),
    ("POST", "/enrol/passkey/begin", Access::Enrolling),
    ("POST", "/enrol/passkey/confirm", Access::Enrolling),
    ("GET", "/sso/{name}", Access::Anybody),
    ("GET", "/sso/{name}/callback", Access::Anybody),
    ("GET", "/sso/{name}/step-up", Access::Person),
    ("GET", "/sso/{name}/link", Access::Person),
    ("GET", "/sso-done", Access::Anybody),
    ("POST", "/sign-out", Access::Session),
    ("GET", "/step-up", Access::Person),
    ("POST", "/step-up", Access::Person),
    ("POST", "/step-up/passkey/begin", Access::Person),
    ("POST", "/step-up/passkey", Access::Person),
    ("GET", "/", Access::Person),
    ("GET", "/account", Access::Person),
    ("POST", "/account/notices/seen", Access::Person),
    ("POST", "/account/recovery", Access::Person),
    ("POST", "/account/factors/begin", Access::Person),
    ("POST", "/account/factors/confirm", Access::Person),
    ("POST", "/account/factors/passkey/begin", Access::Person),
    ("POST", "/account/factors/passkey/confirm", Access::Person),
    ("POST", "/account/factors/{id}/remove", Access::Person),
    ("POST", "/account/password", Access::Person),
    ("POST", "/account/identities/{id}/unlink", Access::Person),
    ("POST", "/account/sessions/end-others", Access::Person),
    ("POST", "/account/sessions/{id}/end", Access::Person),
    ("POST", "/account/tokens", Access::Person),
    ("POST", "/account/tokens/{id}/revoke", Access::Person),
    ("GET", "/providers", Access::May(Act::ProviderRead)),
    ("GET", "/connections", Access::May(Act::ConnectionRead)),
    ("GET", "/connections/new", Access::May(Act::ConnectionConnect)),
    ("POST", "/connections/new", Access::May(Act::ConnectionConnect)),
    ("GET", "/connections/connect/{id}", Access::May(Act::ConnectionConnect)),
    ("GET", "/connections/connect/{id}/go", Access::May(Act::ConnectionConnect)),
    ("POST", "/connections/connect/{id}/confirm", Access::May(Act::ConnectionConnect)),
    ("POST", "/connections/connect/{id}/cancel", Access::May(Act::ConnectionConnect)),
    ("GET", "/connections/{id}", Access::May(Act::ConnectionRead)),
    ("POST", "/connections/{id}/reconnect", Access::May(Act::ConnectionConnect)),
    ("POST", "/connections/{id}/consent/renew", Access::May(Act::ConnectionConnect)),
    ("POST", "/connections/{id}/consent/withdraw", Access::May(Act::ConnectionRevoke)),
    ("GET", "/connect/{name}/callback", Access::Anybody),
    ("GET", "/connect-done", Access::Anybody),
    ("GET", "/clients", Access::May(Act::ClientRead)),
    ("GET", "/calls", Access::May(Act::AuditRead)),
    ("GET", "/calls/stream", Access::May(Act::AuditRead)),
    ("GET", "/calls/{id}", Access::May(Act::AuditRead)),
    ("GET", "/audit", Access::May(Act::AuditRead)),
    ("GET", "/audit/entries/{id}", Access::May(Act::AuditRead)),
    ("GET", "/audit/activity", Access::May(Act::AuditRead)),
    ("POST", "/audit/verify", Access::May(Act::AuditRead)),
    ("POST", "/audit/export", Access::May(Act::AuditExport)),
    ("POST", "/audit/views", Access::May(Act::AuditRead)),
    ("GET", "/audit/views/{id}", Access::May(Act::AuditRead)),
    ("POST", "/audit/views/{id}/remove", Access::May(Act::AuditRead)),
    ("GET", "/settings", Access::May(Act::SettingsRead)),
    ("GET", "/users", Access::May(Act::UserRead)),
    ("GET", "/advice", Access::May(Act::GrantRead)),
    ("POST", "/keys/{id}/revoke", Access::May(Act::KeyRevoke)),
    ("POST", "/keys/{id}/rotate", Access::May(Act::KeyCreate)),
    ("GET", "/grants", Access::May(Act::GrantRead)),
    ("GET", "/grants/new", Access::May(Act::GrantApply)),
    ("GET", "/grants/{id}", Access::May(Act::GrantRead)),
    ("POST", "/grants/{id}/effect", Access::May(Act::GrantRead)),
    ("POST", "/grants/{id}/save", Access::May(Act::GrantApply)),
    ("GET", "/grants/proposals/{id}", Access::May(Act::GrantRead)),
    ("POST", "/grants/proposals/{id}/approve", Access::May(Act::GrantApprove)),
    ("POST", "/grants/proposals/{id}/reject", Access::May(Act::GrantApprove)),
    ("POST", "/grants/proposals/{id}/withdraw", Access::May(Act::GrantApply)),
    ("GET", "/reviews", Access::May(Act::ReviewRead)),
    ("POST", "/reviews", Access::May(Act::ReviewBegin)),
    ("GET", "/reviews/{id}", Access::May(Act::ReviewRead)),
    ("GET", "/reviews/{id}/evidence", Access::May(Act::ReviewRead)),
    ("POST", "/reviews/{id}/decide", Access::May(Act::ReviewDecide)),
    ("POST", "/reviews/{id}/close", Access::May(Act::ReviewDecide)),
    ("GET", "/rules", Access::May(Act::RoleRead)),
    ("POST", "/users/invite", Access::May(Act::UserInvite)),
    ("POST", "/users/{id}/link", Access::May(Act::UserInvite)),
    ("POST", "/users/{id}/disable", Access::May(Act::UserDisable)),
    ("POST", "/users/{id}/enable", Access::May(Act::UserDisable)),
    ("POST", "/users/{id}/remove", Access::May(Act::UserRemove)),
    ("POST", "/users/{id}/roles", Access::May(Act::UserRoles)),
];

/// What a route demands; `None` for one that is not listed.
pub(crate) fn access_of(method: &Method, path: &str) -> Option<Access> {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let found = ROUTES.iter().find(|(known, route, _)| *known == method && *route == path);
    found.map(|(_, _, access)| *access)
}

/// The console as a server answers from it.
#[derive(Clone, Debug)]
pub struct Site(Router);

impl Site {
    pub fn new(console: Console) -> Self {
        let console = Arc::new(console);
        Self(
            pages(Arc::clone(&console))
                .merge(v1::router(Arc::clone(&console)))
                .merge(breaches(Arc::clone(&console)))
                .merge(vitals(console)),
        )
    }

    /// Answers a request that came from this address, if that is known.
    pub async fn answer<B>(&self, source: Option<IpAddr>, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(source));
        match self.0.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// What the server says of itself. It is asked by programs, under whatever name they know this machine
/// by, and nobody is asked who they are.
fn vitals(console: Arc<Console>) -> Router {
    Router::new()
        .route("/healthz", get(pages::health))
        .route("/readyz", get(pages::health))
        .route("/metrics", get(pages::metrics))
        .route("/.well-known/security.txt", get(pages::security))
        .layer(from_fn_with_state(Arc::clone(&console), guard::strict))
        .with_state(console)
}

/// Where browsers tell of breaches. They come without anybody's session, and not from a form.
fn breaches(console: Arc<Console>) -> Router {
    Router::new()
        .route("/csp-report", post(reports::take))
        .layer(from_fn_with_state(Arc::clone(&console), guard::around))
        .with_state(console)
}

/// The console's pages. A request passes, from the outside: headers, panics, time and host; then who
/// asks, where the form came from, and what the route demands; then its page.
fn pages(console: Arc<Console>) -> Router {
    Router::new()
        .route("/assets/{name}", get(pages::asset))
        .route("/setup/{token}", get(pages::link).post(pages::accept))
        .route("/invite/{token}", get(pages::link).post(pages::accept))
        .route("/sign-in", get(pages::sign_in_form).post(pages::sign_in))
        .route("/sign-in/factor", get(pages::factor_form).post(pages::factor))
        .route("/sign-in/passkey/begin", post(passkeys::begin_sign_in))
        .route("/sign-in/passkey", post(passkeys::sign_in))
        .route("/sign-in/factor/passkey/begin", post(passkeys::begin_factor))
        .route("/sign-in/factor/passkey", post(passkeys::factor))
        .route("/step-up/passkey/begin", post(passkeys::begin_step_up))
        .route("/step-up/passkey", post(passkeys::step_up))
        .route("/enrol/passkey/begin", post(passkeys::begin_enrolment))
        .route("/enrol/passkey/confirm", post(passkeys::enrol))
        .route("/account/factors/passkey/begin", post(passkeys::begin_enrolment))
        .route("/account/factors/passkey/confirm", post(passkeys::enrol))
        .route("/enrol", get(pages::enrol_form))
        .route("/enrol/begin", post(pages::enrol_begin))
        .route("/enrol/confirm", post(pages::enrol_confirm))
        .route("/sso/{name}", get(sso::sign_in))
        .route("/sso/{name}/callback", get(sso::callback))
        .route("/sso/{name}/step-up", get(sso::step_up))
        .route("/sso/{name}/link", get(sso::link))
        .route("/sso-done", get(sso::done))
        .route("/account/identities/{id}/unlink", post(sso::unlink))
        .route("/sign-out", post(pages::sign_out))
        .route("/step-up", get(pages::step_up_form).post(pages::step_up))
        .route("/", get(home::home))
        .route("/account", get(account::account))
        .route("/account/notices/seen", post(account::notices_seen))
        .route("/account/recovery", post(account::new_recovery_codes))
        .route("/account/password", post(account::change_password))
        .route("/account/sessions/end-others", post(account::end_other_sessions))
        .route("/account/sessions/{id}/end", post(account::end_session))
        .route("/account/factors/begin", post(pages::enrol_begin))
        .route("/account/factors/confirm", post(pages::enrol_confirm))
        .route("/account/factors/{id}/remove", post(account::remove_factor))
        .route("/account/tokens", post(account::new_token))
        .route("/account/tokens/{id}/revoke", post(account::revoke_token))
        .route("/providers", get(pages::providers))
        .route("/connections", get(connect::list))
        .route("/connections/new", get(connect::new).post(connect::begin))
        .route("/connections/connect/{id}", get(connect::session))
        .route("/connections/connect/{id}/go", get(connect::go))
        .route("/connections/connect/{id}/confirm", post(connect::confirm))
        .route("/connections/connect/{id}/cancel", post(connect::cancel))
        .route("/connections/{id}", get(connect::one))
        .route("/connections/{id}/reconnect", post(connect::reconnect))
        .route("/connections/{id}/consent/renew", post(connect::renew))
        .route("/connections/{id}/consent/withdraw", post(connect::withdraw))
        .route("/connect/{name}/callback", get(connect::callback))
        .route("/connect-done", get(connect::done))
        .route("/clients", get(clients::clients))
        .route("/calls", get(calls::calls))
        .route("/calls/stream", get(live::stream))
        .route("/calls/{id}", get(calls::call))
        .route("/audit", get(audit::audit))
        .route("/audit/entries/{id}", get(audit::entry::entry))
        .route("/audit/activity", get(audit::activity::activity))
        .route("/audit/verify", post(audit::verify))
        .route("/audit/export", post(audit::export::export))
        .route("/audit/views", post(audit::saved::save))
        .route("/audit/views/{id}", get(audit::saved::open))
        .route("/audit/views/{id}/remove", post(audit::saved::remove))
        .route("/settings", get(settings::settings))
        .route("/users", get(people::users))
        .route("/advice", get(advice::advice))
        .route("/keys/{id}/revoke", post(advice::revoke_key))
        .route("/keys/{id}/rotate", post(clients::rotate_key))
        .route("/grants", get(grants::grants))
        .route("/grants/new", get(grants::new))
        .route("/grants/{id}", get(grants::grant))
        .route("/grants/{id}/effect", post(grants::effect))
        .route("/grants/{id}/save", post(grants::save))
        .route("/grants/proposals/{id}", get(grants::proposal))
        .route("/grants/proposals/{id}/approve", post(grants::approve))
        .route("/grants/proposals/{id}/reject", post(grants::reject))
        .route("/grants/proposals/{id}/withdraw", post(grants::withdraw))
        .route("/reviews", get(reviews::reviews).post(reviews::begin))
        .route("/reviews/{id}", get(reviews::review))
        .route("/reviews/{id}/evidence", get(reviews::evidence))
        .route("/reviews/{id}/decide", post(reviews::decide))
        .route("/reviews/{id}/close", post(reviews::close))
        .route("/rules", get(rules::rules))
        .route("/users/invite", post(people::invite))
        .route("/users/{id}/link", post(people::renew_link))
        .route("/users/{id}/disable", post(people::disable))
        .route("/users/{id}/enable", post(people::enable))
        .route("/users/{id}/remove", post(people::remove))
        .route("/users/{id}/roles", post(people::set_roles))
        .method_not_allowed_fallback(async || views::not_allowed())
        .route_layer(from_fn_with_state(Arc::clone(&console), guard::before))
        .fallback(async || views::not_found())
        .layer(from_fn_with_state(Arc::clone(&console), guard::around))
        .with_state(console)
}
