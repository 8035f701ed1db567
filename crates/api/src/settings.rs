//! What the server was told and what it found: configuration, names, ports, health.

use crate::{
    console::Setting,
    pages::{Asked, Home, Refusal, or_failed, person},
    views::{Frame, moment, page},
};
use app::{
    Error, audit_log,
    doctor::{self, Finding, Level},
};
use askama::Template;
use axum::{
    extract::{Extension, State},
    http::StatusCode,
    response::Response,
};
use policy::Act;
use std::sync::Arc;

struct FindingView {
    check: &'static str,
    level: &'static str,
    what: String,
    remedy: String,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    frame: Frame,
    facts: Vec<(&'static str, String)>,
    settings: Vec<Setting>,
    findings: Option<Vec<FindingView>>,
}

pub(crate) async fn settings(
    State(console): Home,
    Extension(visit): Asked,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let about = console.vitals.about();
    let instance = Arc::clone(&console.instance);
    let may_examine = console.offers(signed_in, Act::DoctorRun);
    // It reads files, which is not for an async thread.
    let looked = tokio::task::spawn_blocking(move || {
        let key = audit_log::public_key(&instance.folder);
        (key, may_examine.then(|| doctor::glance(&instance)))
    });
    let failed = |_| Error::Internal { what: "the data folder could not be looked at" };
    let (key, found) = or_failed(looked.await.map_err(failed))?;
    let instance = &console.instance;
    let mut facts = vec![
        ("Version", about.version),
        ("Installation", instance.id.to_string()),
        ("Node", instance.node.map_or_else(|| "the first".to_owned(), |node| node.to_string())),
        (
            "Database",
            if instance.folder.server().is_some() { "on a server" } else { "in the data folder" }
                .to_owned(),
        ),
    ];
    match key {
        Ok(key) => {
            facts.push(("Audit log", key.origin().to_owned()));
            facts.push(("Its public key", key.to_string()));
        }
        Err(error) => facts.push(("Audit log", error.to_string().replace('`', "\""))),
    }
    facts.extend(about.listeners.into_iter().map(|one| (one.name, one.url)));
    facts.push((
        "TLS",
        match (about.certificate, about.is_behind_proxy) {
            (Some(certificate), _) => format!(
                "TLS 1.3, by a certificate that holds from {} to {}",
                moment(certificate.begins_at),
                moment(certificate.ends_at)
            ),
            (None, true) => "by the proxy in front".to_owned(),
            (None, false) => "none: this machine alone is served".to_owned(),
        },
    ));
    let answer = SettingsPage {
        frame: Frame::inside(&console, &visit, signed_in, "/settings"),
        facts,
        settings: about.settings,
        findings: found.map(|found| found.into_iter().map(finding).collect()),
    };
    Ok(page(StatusCode::OK, &answer))
}

fn finding(Finding { check, level, what, remedy }: Finding) -> FindingView {
    let level = match level {
        Level::Good => "good",
        Level::Warning => "warning",
        Level::Bad => "bad",
    };
    // What is marked for a terminal is quoted here.
    let [what, remedy] = [what, remedy].map(|text| text.replace('`', "\""));
    FindingView { check, level, what, remedy }
}
