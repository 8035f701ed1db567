//! The verbs that act on the data folder: each reads its input, calls `app`, and prints.

use crate::{
    cli::{ApplyArgs, AuditVerb, ClientVerb, ConnectionVerb, Global, KeyVerb, ProviderVerb},
    output::{FAILED, Failure, Output, UNREACHABLE, USAGE, plain},
};
use app::{
    DataFolder, Init, Instance, RootKeyPlace, apply, audit_log, clients, connections, providers,
    sequence,
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use types::{
    Actor, Clock, Environment, Id, OpContext, SecretBytes, Slug, SystemClock, SystemRandom,
};

/// Bytes that are read of any input file: descriptions are the largest.
const MAX_INPUT_BYTES: u64 = 64 * 1_024 * 1_024;

/// What every verb needs.
#[derive(Debug)]
pub(crate) struct Session {
    /// As given; the demo makes a fresh folder where nothing is.
    pub named_dir: Option<PathBuf>,
    pub data_dir: PathBuf,
    pub root_key_file: Option<PathBuf>,
    /// Where `init` puts a new root key if nothing else is said.
    pub key_folder: Option<PathBuf>,
    pub output: Output,
}

impl Session {
    pub(crate) fn new(global: &Global, key_folder: Option<PathBuf>) -> Self {
        Self {
            named_dir: global.data_dir.clone(),
            data_dir: global.data_dir.clone().unwrap_or_else(|| PathBuf::from("weirgate-data")),
            root_key_file: global.root_key_file.clone(),
            key_folder,
            output: Output { is_json: global.json },
        }
    }

    /// Who acts, as part of which request.
    pub(crate) fn context(&self) -> Result<OpContext, Failure> {
        let now = SystemClock.now();
        let request = Id::generate(now, &SystemRandom).map_err(app::Error::from)?;
        let uid = app::user_id();
        Ok(OpContext { actor: Actor::Local { uid }, request, now })
    }

    pub(crate) fn folder(&self) -> Result<DataFolder, Failure> {
        Ok(DataFolder::open(&self.data_dir)?)
    }

    pub(crate) async fn instance(&self) -> Result<Instance, Failure> {
        let folder = self.folder()?;
        let key = self.root_key_file.as_deref();
        let clock = Arc::new(SystemClock);
        Ok(Instance::open(folder, key, clock, Arc::new(SystemRandom)).await?)
    }

    /// Ends a verb that changed something: its audit entries go into the log now, unless a server
    /// runs on the folder, which takes them within a second.
    async fn settle(&self, instance: Instance) -> Result<(), Failure> {
        sequence::settle(&instance).await?;
        Ok(instance.close().await?)
    }
}

pub(crate) async fn init(session: &Session) -> Result<(), Failure> {
    let place = match (&session.root_key_file, &session.key_folder) {
        (Some(file), _) => RootKeyPlace::File(file),
        (None, Some(folder)) => RootKeyPlace::Folder(folder),
        (None, None) => {
            return Err(Failure::new(
                USAGE,
                "there is no place for the root key: neither XDG_CONFIG_HOME nor HOME is set",
                "Name its file with --root-key-file.",
            ));
        }
    };
    let made = Instance::init(Init {
        dir: &session.data_dir,
        root_key: place,
        actor: session.context()?,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    })
    .await?;
    let dir = made.instance.folder.dir().display().to_string();
    let key = made.root_key_file.display().to_string();
    let id = made.instance.id.to_string();
    made.instance.close().await?;
    let text = format!(
        "Created the data folder {dir}.\n\
         The root key is {key}. Keep a copy of it elsewhere: without it nothing in the vault can be opened,\n\
         and who has it and the folder can open everything.\n\
         Next: weirgate provider import FILE --name SLUG"
    );
    Ok(session.output.result(&json!({"id": id, "data_dir": dir, "root_key_file": key}), &text)?)
}

pub(crate) async fn provider(session: &Session, verb: &ProviderVerb) -> Result<(), Failure> {
    match verb {
        ProviderVerb::Import { file, name, server, overlay, allow_private_network } => {
            let slug = parse_slug(name)?;
            let description = read_input(file)?;
            let overlay = overlay.as_deref().map(read_input).transpose()?;
            let instance = session.instance().await?;
            let import = providers::Import {
                slug,
                description,
                overlay,
                server: server.clone(),
                allow_private: allow_private_network.clone(),
            };
            let imported = providers::import(&instance, &session.context()?, import).await?;
            session.settle(instance).await?;
            let text = format!(
                "Imported {} ({}): {} operations, {} objects, {} diagnostics.\n\
                 Next: weirgate provider show {}",
                imported.slug,
                imported.id,
                imported.operations,
                imported.objects,
                imported.diagnostics,
                imported.slug
            );
            let json = json!({
                "id": imported.id.to_string(),
                "slug": imported.slug.as_str(),
                "operations": imported.operations,
                "objects": imported.objects,
                "diagnostics": imported.diagnostics,
            });
            Ok(session.output.result(&json, &text)?)
        }
        ProviderVerb::Show { slug } => {
            let slug = parse_slug(slug)?;
            let instance = session.instance().await?;
            let provider = providers::show(&instance, &slug).await?;
            instance.close().await?;
            let json = providers::to_json(&slug, &provider);
            Ok(session.output.result(&json, &providers::to_text(&slug, &provider))?)
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
            let mut text = String::new();
            for one in &listed {
                let server = one.server.as_deref().unwrap_or("as described");
                text.push_str(&format!("{}  {}  {server}\n", one.slug, one.id));
            }
            Ok(session.output.result(&json!({"providers": rows}), &text)?)
        }
        ProviderVerb::Check { slug } => {
            let slug = parse_slug(slug)?;
            let instance = session.instance().await?;
            let checked = providers::check(&instance, &slug).await?;
            instance.close().await?;
            let mut text = String::new();
            for server in &checked {
                let verdict = server.problem.as_deref().unwrap_or("reachable");
                text.push_str(&format!("{}  {verdict}\n", server.url));
            }
            let rows: Vec<_> = checked
                .iter()
                .map(|server| json!({"url": server.url, "problem": server.problem, "code": server.code}))
                .collect();
            session.output.result(&json!({"slug": slug.as_str(), "servers": rows}), &text)?;
            if checked.iter().any(|server| server.problem.is_some()) {
                return Err(Failure::new(
                    UNREACHABLE,
                    "not every server of the provider can be reached",
                    "Look at the reason beside each; name another with `provider import --server`.",
                ));
            }
            Ok(())
        }
    }
}

pub(crate) async fn connection(session: &Session, verb: &ConnectionVerb) -> Result<(), Failure> {
    match verb {
        ConnectionVerb::Create {
            provider,
            customer,
            scheme,
            secret_file,
            environment,
            variables,
            headers,
        } => {
            let provider = parse_slug(provider)?;
            let environment = parse_environment(environment)?;
            let create = connections::Create {
                provider,
                customer: customer.clone(),
                scheme: scheme.clone(),
                secret: SecretBytes::new(read_input(secret_file)?),
                environment,
                variables: pairs("--var", variables)?.into_iter().collect(),
                headers: pairs("--header", headers)?,
            };
            let instance = session.instance().await?;
            let created = connections::create(&instance, &session.context()?, create).await?;
            session.settle(instance).await?;
            let text = format!(
                "Created {} with the scheme {} (credential {}).",
                created.id, created.scheme, created.fingerprint
            );
            let json = json!({
                "id": created.id.to_string(),
                "scheme": created.scheme,
                "credential": created.fingerprint,
                "environment": environment.as_str(),
            });
            Ok(session.output.result(&json, &text)?)
        }
        ConnectionVerb::List => {
            let instance = session.instance().await?;
            let listed = connections::list(&instance).await?;
            instance.close().await?;
            let mut text = String::new();
            let mut rows = Vec::new();
            for one in &listed {
                let state = if one.is_revoked { "revoked" } else { "active" };
                text.push_str(&format!(
                    "{}  {}  {}  {state}  {}\n",
                    one.id,
                    one.provider,
                    one.environment,
                    plain(&one.customer)
                ));
                rows.push(json!({
                    "id": one.id.to_string(),
                    "provider": one.provider,
                    "customer": one.customer,
                    "environment": one.environment.as_str(),
                    "state": state,
                }));
            }
            Ok(session.output.result(&json!({"connections": rows}), &text)?)
        }
        ConnectionVerb::Revoke { id } => {
            let id = parse_id("connection", id)?;
            let instance = session.instance().await?;
            connections::revoke(&instance, &session.context()?, id).await?;
            session.settle(instance).await?;
            let json = json!({"id": id.to_string(), "state": "revoked"});
            Ok(session.output.result(&json, &format!("Revoked {id}."))?)
        }
    }
}

pub(crate) async fn client(session: &Session, verb: &ClientVerb) -> Result<(), Failure> {
    match verb {
        ClientVerb::Create { name } => {
            let name = parse_slug(name)?;
            let instance = session.instance().await?;
            let id = clients::create(&instance, &session.context()?, &name).await?;
            session.settle(instance).await?;
            let json = json!({"id": id.to_string(), "name": name.as_str()});
            let text = format!(
                "Created the client {name} ({id}).\n\
                 Next: weirgate client key create {name} --expires 90d"
            );
            Ok(session.output.result(&json, &text)?)
        }
        ClientVerb::List => {
            let instance = session.instance().await?;
            let listed = clients::list(&instance).await?;
            instance.close().await?;
            let mut text = String::new();
            let mut rows = Vec::new();
            for one in &listed {
                text.push_str(&format!("{}  {}\n", one.name, one.id));
                let mut keys = Vec::new();
                for key in &one.keys {
                    let state = if key.is_revoked { "revoked" } else { "in force" };
                    text.push_str(&format!(
                        "  {}  {}  {state}  expires {}\n",
                        key.id, key.environment, key.expires_at
                    ));
                    keys.push(json!({
                        "id": key.id.to_string(),
                        "environment": key.environment.as_str(),
                        "expires_at": key.expires_at.to_string(),
                        "is_revoked": key.is_revoked,
                    }));
                }
                rows.push(json!({"id": one.id.to_string(), "name": one.name, "keys": keys}));
            }
            Ok(session.output.result(&json!({"clients": rows}), &text)?)
        }
        ClientVerb::Key(KeyVerb::Create { name, expires, environment }) => {
            let name = parse_slug(name)?;
            let life = parse_span(expires)?;
            let environment = parse_environment(environment)?;
            let instance = session.instance().await?;
            let context = session.context()?;
            let created =
                clients::create_key(&instance, &context, &name, environment, life).await?;
            // Shown only after the log has it, or a server that will write it holds the folder.
            session.settle(instance).await?;
            let json = json!({
                "id": created.id.to_string(),
                "key": created.key.expose(),
                "expires_at": created.expires_at.to_string(),
            });
            let text = format!(
                "{}\n{} expires {}. The key is shown this once.",
                created.key.expose(),
                created.id,
                created.expires_at
            );
            Ok(session.output.result(&json, &text)?)
        }
        ClientVerb::Key(KeyVerb::Revoke { id }) => {
            let id = parse_id("key", id)?;
            let instance = session.instance().await?;
            clients::revoke_key(&instance, &session.context()?, id).await?;
            session.settle(instance).await?;
            let json = json!({"id": id.to_string(), "state": "revoked"});
            Ok(session.output.result(&json, &format!("Revoked {id}."))?)
        }
    }
}

pub(crate) async fn apply(session: &Session, args: &ApplyArgs) -> Result<(), Failure> {
    let instance = session.instance().await?;
    let plan = apply::plan(&instance, &args.dir).await?;
    let text = plan.to_text(args.dry_run);
    let json = plan.to_json(args.dry_run);
    if args.dry_run {
        instance.close().await?;
    } else {
        apply::commit(&instance, &session.context()?, plan).await?;
        session.settle(instance).await?;
    }
    Ok(session.output.result(&json, &text)?)
}

pub(crate) async fn audit(session: &Session, verb: &AuditVerb) -> Result<(), Failure> {
    let folder = session.folder()?;
    match verb {
        AuditVerb::List { limit } => {
            let entries = audit_log::list(&folder, *limit)?;
            let mut text = String::new();
            let mut rows = Vec::new();
            for (index, record) in &entries {
                let fields = record.fields();
                text.push_str(&format!("{index:>8}  {:<16}", record.kind()));
                let mut row = serde_json::Map::new();
                row.insert("index".into(), json!(index));
                row.insert("kind".into(), json!(record.kind()));
                for (name, value) in fields {
                    text.push_str(&format!(" {name}={}", plain(&value)));
                    row.insert(name.into(), json!(value));
                }
                text.push('\n');
                rows.push(row);
            }
            Ok(session.output.result(&json!({"entries": rows}), &text)?)
        }
        AuditVerb::Verify { checkpoint } => {
            let kept = match checkpoint {
                Some(path) => {
                    let bytes = read_input(path)?;
                    Some(String::from_utf8(bytes).map_err(|_| {
                        Failure::new(
                            USAGE,
                            format!("{} is no checkpoint", path.display()),
                            "Name a copy of a log's `audit/checkpoint`.",
                        )
                    })?)
                }
                None => None,
            };
            let report = audit_log::verify_folder(&folder, kept.as_deref()).await?;
            let text = format!(
                "The log is whole: {} entries, {} open intents, {} outbox rows, {} entries after the last checkpoint.",
                report.entries, report.open_intents, report.outbox_rows, report.after_checkpoint
            );
            let json = json!({
                "entries": report.entries,
                "open_intents": report.open_intents,
                "outbox_rows": report.outbox_rows,
                "after_checkpoint": report.after_checkpoint,
            });
            Ok(session.output.result(&json, &text)?)
        }
    }
}

fn parse_slug(text: &str) -> Result<Slug, Failure> {
    text.parse().map_err(|error: types::SlugError| Failure::new(USAGE, error.to_string(), ""))
}

fn parse_environment(text: &str) -> Result<Environment, Failure> {
    text.parse().map_err(|_| {
        Failure::new(USAGE, format!("`{}` is no environment", plain(text)), "Give live or test.")
    })
}

fn parse_id<K: types::IdKind>(kind: &str, text: &str) -> Result<Id<K>, Failure> {
    text.parse().map_err(|error: types::ParseIdError| {
        Failure::new(USAGE, format!("`{}` is no {kind}: {error}", plain(text)), "")
    })
}

/// A span like `90d`, `12h`, `30m`.
fn parse_span(text: &str) -> Result<Duration, Failure> {
    /// A key that outlives this was forgotten.
    const MAX_DAYS: u64 = 3_650;
    let wrong = || {
        Failure::new(
            USAGE,
            format!("`{}` is no span of time", plain(text)),
            "Write it like 90d, 12h or 30m, up to 3650d.",
        )
    };
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => return Err(wrong()),
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let total = number.checked_mul(seconds).filter(|total| *total <= MAX_DAYS * 86_400);
    total.filter(|total| *total > 0).map(Duration::from_secs).ok_or_else(wrong)
}

fn pairs(flag: &str, given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut pairs = BTreeMap::new();
    for text in given {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Failure::new(
                USAGE,
                format!("{flag} is malformed"),
                format!("Write it like {flag} NAME=VALUE."),
            ));
        };
        if pairs.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::new(USAGE, format!("{flag} {name} is given twice"), ""));
        }
    }
    Ok(pairs)
}

/// A file's bytes, or standard input's for `-`.
fn read_input(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) if bytes.len() as u64 <= MAX_INPUT_BYTES => Ok(bytes),
        Ok(_) => Err(Failure::new(
            USAGE,
            format!("{} is larger than {MAX_INPUT_BYTES} bytes", path.display()),
            "",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::new(3, format!("there is no file {}", path.display()), "Check its name."))
        }
        Err(error) => Err(Failure::new(
            FAILED,
            format!("cannot read {}: {error}", path.display()),
            "Check that this user may read it.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit_and_a_bound() {
        assert_eq!(parse_span("90d").unwrap(), Duration::from_hours(2160));
        assert_eq!(parse_span("30m").unwrap(), Duration::from_mins(30));
        for bad in
            ["", "d", "90", "-1d", "1.5h", "0d", "4000d", "99999999999999999999d", "1w", "９d"]
        {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pairs_need_a_name_and_come_once() {
        assert!(pairs("--var", &["a=b=c".to_owned()]).unwrap()["a"] == "b=c");
        for bad in
            [vec!["a".to_owned()], vec!["=b".to_owned()], vec!["a=1".to_owned(), "a=2".to_owned()]]
        {
            assert!(pairs("--var", &bad).is_err(), "{bad:?}");
        }
    }
}
