//! `weirgate provider ...`.

use super::{
    Session,
    input::{parse_slug, read_input},
};
use crate::{
    cli::ProviderVerb,
    output::{Failure, Lines, UNREACHABLE, counted},
};
use app::{providers, servers};
use provider::{LoadError, LoadLimits};
use serde_json::json;
use std::path::Path;

pub(crate) async fn provider(session: &Session, verb: &ProviderVerb) -> Result<(), Failure> {
    match verb {
        ProviderVerb::Import { file, name, server, overlay, allow_private_network } => {
            let slug = parse_slug(name)?;
            let description = read_input(file)?;
            let files = Files { description: file, overlay: overlay.as_deref() };
            let overlay = overlay.as_deref().map(read_input).transpose()?;
            let instance = session.instance_to_change().await?;
            let import = providers::Import {
                slug,
                description,
                overlay: overlay.clone(),
                server: server.clone(),
                allow_private: allow_private_network.clone(),
            };
            let imported = providers::import(&instance, &session.context()?, import)
                .await
                .map_err(|error| files.named(error, overlay.as_deref()))?;
            session.settle(instance).await?;
            let next = session.next(&format!("provider show {}", imported.slug));
            let mut text = vec![format!(
                "{} {} ({}): {}, {}, {}.",
                if imported.is_replaced { "Replaced" } else { "Imported" },
                imported.slug,
                imported.id,
                counted(imported.operations, "operation"),
                counted(imported.objects, "object"),
                counted(imported.diagnostics, "diagnostic"),
            )];
            text.extend(imported.notices.iter().map(|notice| format!("note: {notice}")));
            text.push(format!("Next: {next}"));
            let json = json!({
                "id": imported.id.to_string(),
                "slug": imported.slug.as_str(),
                "operations": imported.operations,
                "objects": imported.objects,
                "diagnostics": imported.diagnostics,
                "replaced": imported.is_replaced,
                "notices": imported.notices,
            });
            Ok(session.output.result(&json, text)?)
        }
        ProviderVerb::Show { slug } => {
            let slug = parse_slug(slug)?;
            let instance = session.instance().await?;
            let provider = providers::show(&instance, &slug).await?;
            instance.close().await?;
            let json = providers::to_json(&slug, &provider);
            Ok(session.output.result(&json, providers::to_text(&slug, &provider))?)
        }
        ProviderVerb::List => {
            let instance = session.instance().await?;
            let listed = providers::list(&instance).await?;
            instance.close().await?;
            let rows: Vec<_> = listed
                .iter()
                .map(|one| {
                    json!({"id": one.id.to_string(), "slug": one.slug.as_str(), "server": one.server})
                })
                .collect();
            let mut text = Lines::default();
            for one in &listed {
                let server = one.server.as_deref().unwrap_or("as described");
                text.push(format!("{}  {}  {server}", one.slug, one.id));
            }
            Ok(session.output.result(&json!({"providers": rows}), text)?)
        }
        ProviderVerb::Check { slug } => {
            let slug = parse_slug(slug)?;
            let instance = session.instance().await?;
            let checked = providers::check(&instance, &slug).await.map_err(not_filled)?;
            instance.close().await?;
            let mut text = Lines::default();
            for server in &checked {
                let verdict = server.problem.as_deref().unwrap_or("reachable");
                text.push(format!("{}  {verdict}", server.url));
            }
            let rows: Vec<_> = checked
                .iter()
                .map(|server| json!({"url": server.url, "problem": server.problem, "code": server.code}))
                .collect();
            session.output.result(&json!({"slug": slug.as_str(), "servers": rows}), text)?;
            if checked.iter().any(|server| server.problem.is_some()) {
                return Err(Failure::new(
                    UNREACHABLE,
                    "not every server of the provider can be reached",
                    "Look at the reason beside each; name another with `weirgate provider import --server`.",
                ));
            }
            Ok(())
        }
    }
}

/// A server whose URL each connection completes cannot be reached for without one.
fn not_filled(error: app::Error) -> Failure {
    let is_filled_later =
        matches!(&error, app::Error::Server(servers::ServerError::VariableMissing { .. }));
    let mut failure = Failure::from(error);
    if is_filled_later {
        failure.remedy = Some(
            "Each connection gives it a value with --var, so there is no address to check here. \
             A server that is the same for all is named at import, with --server."
                .into(),
        );
    }
    failure
}

/// Where a description and its overlay came from.
#[derive(Clone, Copy)]
struct Files<'a> {
    description: &'a Path,
    overlay: Option<&'a Path>,
}

impl Files<'_> {
    /// An error with the name of the file that is to be corrected.
    fn named(self, error: app::Error, overlay: Option<&[u8]>) -> Failure {
        let (is_overlay, cause): (bool, &dyn std::error::Error) = match &error {
            app::Error::Server(cause) => (false, cause),
            app::Error::Description(cause @ LoadError::Overlay(_)) => (true, cause),
            // Both documents are read by the same rules.
            app::Error::Description(cause) => {
                let is_overlay = overlay.is_some_and(|overlay| {
                    provider::parse_document(overlay, &LoadLimits::default()).is_err()
                });
                (is_overlay, cause)
            }
            _ => return error.into(),
        };
        let file = if is_overlay { self.overlay } else { Some(self.description) };
        let name = match file {
            Some(file) if file.as_os_str() != "-" => file.display().to_string(),
            _ => "standard input".to_owned(),
        };
        let kind = if is_overlay { "overlay" } else { "description" };
        let message = format!("{name} cannot be used as {kind}: {cause}");
        let mut failure = Failure::from(error);
        failure.message = message;
        failure
    }
}
