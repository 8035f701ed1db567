//! `weirgate provider ...`.

use super::{
    Session,
    input::{parse_slug, read_input, read_secret},
};
use crate::{
    cli::{ProviderAppVerb, ProviderDiffArgs, ProviderObserveArgs, ProviderVerb},
    output::{FINDINGS, Failure, Lines, UNREACHABLE, USAGE, chain, counted},
};
use app::{
    apps, observe,
    provider_diff::{self, Description, Level},
    providers, servers,
};
use provider::{LoadError, LoadLimits};
use serde_json::json;
use std::path::Path;
use types::{SecretBytes, Slug};

pub(crate) async fn provider(session: &Session, verb: &ProviderVerb) -> Result<(), Failure> {
    match verb {
        ProviderVerb::Import {
            file,
            name,
            server,
            server_from_description,
            accept_servers,
            overlay,
            no_overlay,
            allow_private_network,
        } => {
            let slug = parse_slug("--name", name)?;
            let description = read_input("FILE", file)?;
            let files = Files { description: file, overlay: overlay.as_deref() };
            let overlay = read_overlay(overlay.as_deref())?;
            let instance = session.instance_to_change().await?;
            let import = providers::Import {
                slug,
                description,
                overlay: overlay.clone(),
                is_without_overlay: *no_overlay,
                expects: None,
                server: server.clone(),
                is_server_described: *server_from_description,
                allow_private: allow_private_network.clone(),
                accepts_servers: *accept_servers,
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
            text.push(match &imported.overlay {
                Some(sum) => format!("The overlay in force has the SHA-256 {sum}."),
                None => "No overlay is in force.".to_owned(),
            });
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
                "overlay_sha256": imported.overlay,
            });
            Ok(session.output.result(&json, text)?)
        }
        ProviderVerb::Show { slug } => {
            let slug = parse_slug("SLUG", slug)?;
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
            let slug = parse_slug("SLUG", slug)?;
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
        ProviderVerb::Diff(args) => diff(session, args).await,
        ProviderVerb::Observe(args) => observe(session, args).await,
        ProviderVerb::App(verb) => provider_app(session, verb).await,
    }
}

async fn provider_app(session: &Session, verb: &ProviderAppVerb) -> Result<(), Failure> {
    let (json, text) = match verb {
        ProviderAppVerb::Set { slug, secret_file } => {
            let slug = parse_slug("SLUG", slug)?;
            let secret = SecretBytes::new(read_secret("--secret-file", secret_file)?);
            let instance = session.instance_to_change().await?;
            let fingerprint = apps::set(&instance, &session.context()?, &slug, &secret).await?;
            session.settle(instance).await?;
            let text = format!("Stored the app of {slug} (credential {fingerprint}).");
            (json!({"slug": slug.as_str(), "credential": fingerprint}), text)
        }
        ProviderAppVerb::Remove { slug } => {
            let slug = parse_slug("SLUG", slug)?;
            let instance = session.instance_to_change().await?;
            apps::remove(&instance, &session.context()?, &slug).await?;
            session.settle(instance).await?;
            (json!({"slug": slug.as_str()}), format!("Forgot the app of {slug}."))
        }
    };
    Ok(session.output.result(&json, &text)?)
}

async fn observe(session: &Session, args: &ProviderObserveArgs) -> Result<(), Failure> {
    let samples = args
        .samples
        .iter()
        .map(|path| read_input("SAMPLES", path))
        .collect::<Result<Vec<_>, _>>()?;
    let (operation, status) = (args.operation.as_str(), args.status.as_deref());
    let observed = if let Some(slug) = named(&args.provider) {
        let instance = session.instance().await?;
        let observed = observe::of_imported(&instance, &slug, operation, status, &samples).await;
        instance.close().await?;
        observed
    } else if samples.is_empty() {
        return Err(Failure::new(
            USAGE,
            "a description's file needs samples",
            "Name an imported provider, or give bodies of answers as files.",
        ));
    } else {
        let description =
            Description { bytes: read_input("PROVIDER", &args.provider)?, overlay: None };
        observe::of_file(&description, operation, status, &samples)
    };
    let observed = match observed {
        Ok(observed) => observed,
        Err(observe::Problem::Other(error)) => return Err(error.into()),
        Err(problem) => {
            let remedy = problem.remedy().unwrap_or_default();
            return Err(Failure::new(USAGE, chain(&problem), remedy));
        }
    };
    if !session.output.is_json {
        session.output.talk(observed.to_text())?;
    }
    let overlay: Vec<String> = observed.overlay().lines().map(ToOwned::to_owned).collect();
    Ok(session.output.result(&observed.to_json(), overlay)?)
}

fn read_overlay(file: Option<&Path>) -> Result<Option<Vec<u8>>, Failure> {
    file.map(|file| read_input("--overlay", file)).transpose()
}

/// The provider that is named where a file could be: a file counts where both could be meant.
fn named(path: &Path) -> Option<Slug> {
    path.to_str().filter(|_| !path.is_file())?.parse().ok()
}

async fn diff(session: &Session, args: &ProviderDiffArgs) -> Result<(), Failure> {
    let threshold: Level = args
        .fail_on
        .parse()
        .map_err(|remedy| Failure::new(USAGE, "what --fail-on gives is no level", remedy))?;
    let overlay = read_overlay(args.overlay.as_deref())?;
    let new = Description { bytes: read_input("NEW", &args.new)?, overlay: overlay.clone() };
    let report = if let Some(slug) = named(&args.old) {
        let instance = session.instance().await?;
        let report = provider_diff::with_imported(&instance, &slug, new).await?;
        instance.close().await?;
        report
    } else {
        let old = Description { bytes: read_input("OLD", &args.old)?, overlay };
        provider_diff::between_files(&old, &new)?
    };
    session.output.result(&report.to_json(), report.to_text())?;
    match report.worst() {
        Some(worst) if worst >= threshold => Err(Failure::new(
            FINDINGS,
            format!("there are changes of level {worst}"),
            "Look at them; change overlay and grants where needed, then import the description.",
        )),
        _ => Ok(()),
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
