//! The binary: command line, configuration, wiring and lifecycle. What it does lies in `app`.
#![forbid(unsafe_code)]

mod cli;
mod config;
mod demo;
mod events;
mod figures;
mod files;
mod logging;
mod ops;
mod output;
mod project;
mod serve;
mod shell;
mod telemetry;
mod verbs;

use clap::Parser as _;
use cli::{Cli, ConfigVerb, Global, Listen, Verb};
use config::{Config, Problems, Setting};
use output::{Failure, Output, USAGE};
use serde_json::json;
use serve::{Hangup, Server, Signals};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};
use verbs::Session;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output { is_json: cli.global.json };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that closed its end has what it wanted.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => failure.report(output),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.verb {
        Verb::Project(args) => return project::run(args),
        Verb::Completions { shell } => return shell::completions(*shell),
        Verb::Man { dir } => return shell::manual(dir, Output { is_json: cli.global.json }),
        _ => {}
    }
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let session = Session::new(&cli.global, key_folder(&environment));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // A demo without a folder of its own takes nothing from a real one.
    let is_fresh_demo = matches!(cli.verb, Verb::Demo(_)) && session.named_dir.is_none();
    let dir = if is_fresh_demo { None } else { Some(session.data_dir.as_path()) };
    let settings = |listen: Option<&Listen>| gather(&cli.global, dir, &environment, listen);
    match &cli.verb {
        Verb::Config(ConfigVerb::Show { origin }) => {
            let settings = settings(None)?;
            config::check(&settings)?;
            show_config(session.output, &settings, *origin)
        }
        Verb::Doctor => {
            logging::start("error", false);
            runtime.block_on(verbs::doctor(&session, settings(None)))
        }
        Verb::Serve(args) => {
            let config = config::check(&settings(Some(&args.listen))?)?;
            logging::start_from(&config);
            runtime.block_on(serve(&session, &config))
        }
        Verb::Demo(args) => {
            let config = config::check(&settings(Some(&args.listen))?)?;
            runtime.block_on(demo::run(&session, args, config))
        }
        verb => {
            // Verbs talk through their results; only what is wrong is logged.
            logging::start("warn", false);
            runtime.block_on(async {
                match verb {
                    Verb::Init => verbs::init(&session).await,
                    Verb::Provider(verb) => verbs::provider(&session, verb).await,
                    Verb::Connection(verb) => verbs::connection(&session, verb).await,
                    Verb::Client(verb) => verbs::client(&session, verb).await,
                    Verb::Apply(args) => verbs::apply(&session, args).await,
                    Verb::Audit(verb) => verbs::audit(&session, verb).await,
                    Verb::Demo(_)
                    | Verb::Serve(_)
                    | Verb::Project(_)
                    | Verb::Config(_)
                    | Verb::Doctor
                    | Verb::Completions { .. }
                    | Verb::Man { .. } => Ok(()),
                }
            })
        }
    }
}

/// The folder for new root keys, by the XDG base directory specification.
fn key_folder(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let base = environment
        .get("XDG_CONFIG_HOME")
        .filter(|path| Path::new(path).is_absolute())
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(environment.get("HOME")?).join(".config")))?;
    Some(base.join("weirgate"))
}

fn gather(
    global: &Global,
    data_dir: Option<&Path>,
    environment: &BTreeMap<String, String>,
    listen: Option<&Listen>,
) -> Result<Vec<Setting>, Failure> {
    let mut flags = BTreeMap::new();
    if let Some(listen) = listen {
        for (key, addr) in
            [("gateway_addr", listen.gateway_addr), ("console_addr", listen.console_addr)]
        {
            if let Some(addr) = addr {
                flags.insert(key, addr.to_string());
            }
        }
    }
    // A file that was named must be there; the folder's own may be missing.
    let own = data_dir.map(|dir| dir.join("weirgate.toml")).filter(|file| file.is_file());
    let file = global.config.clone().or(own);
    Ok(config::gather(file.as_deref(), environment, &flags)?)
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        let mut failure = Self::new(
            USAGE,
            format!("the configuration has {} problem(s)", problems.0.len()),
            "docs/reference/configuration.md explains every key.",
        );
        failure.problems = problems.0.iter().map(ToString::to_string).collect();
        failure
    }
}

fn show_config(output: Output, settings: &[Setting], origin: bool) -> Result<(), Failure> {
    let mut text = String::new();
    let mut keys = serde_json::Map::new();
    for setting in settings {
        let Setting { key, value, .. } = setting;
        text.push_str(&format!("{} = {value:?}", key.name));
        let mut entry = json!({"value": value, "unit": key.unit, "about": key.about});
        if origin {
            text.push_str(&format!("  # {}", setting.origin));
            if let Some(entry) = entry.as_object_mut() {
                entry.insert("origin".into(), json!(setting.origin.to_string()));
            }
        }
        text.push('\n');
        keys.insert(key.name.into(), entry);
    }
    Ok(output.result(&serde_json::Value::Object(keys), &text)?)
}

async fn serve(session: &Session, config: &Config) -> Result<(), Failure> {
    let server = Server::start(session.instance().await?, config).await?;
    let signals = Signals::listen(Hangup::IsIgnored)?;
    let json = json!({
        "gateway": format!("http://{}", server.gateway_addr),
        "console": format!("http://{}", server.console_addr),
    });
    let text = format!(
        "gateway  http://{}\nconsole  http://{} (healthz, readyz, metrics)",
        server.gateway_addr, server.console_addr
    );
    session.output.result(&json, &text)?;
    signals.until_told().await;
    server.stop().await
}
