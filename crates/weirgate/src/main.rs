//! The binary: command line, configuration, wiring and lifecycle. What it does lies in `app`.
#![forbid(unsafe_code)]

mod cli;
mod clock_watch;
mod config;
mod demo;
mod events;
mod figures;
mod files;
mod following;
mod harmless;
mod listener_tls;
mod logging;
mod notify;
mod ops;
mod output;
mod outside;
mod passphrase;
mod project;
mod provider_tls;
mod remote;
mod room;
mod serve;
mod shell;
mod telemetry;
mod verbs;

use clap::{
    Parser as _,
    error::{ContextKind, ContextValue, ErrorKind},
};
use cli::{BackupVerb, Cli, ConfigVerb, Global, Listen, Verb};
use config::{Config, Environment, Problems, Setting};
use output::{FAILED, Failure, Output, USAGE};
use serde_json::json;
use serve::{Hangup, Server, Signals};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};
use verbs::Session;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keep_to_itself();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_understood(error),
    };
    let output = Output { is_json: cli.global.json };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that closed its end has what it wanted.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => failure.report(output),
    }
}

/// Secrets pass through this memory: no core is written of it, and nobody but root looks into it, its
/// own user's other processes neither.
fn keep_to_itself() {
    #[cfg(target_os = "linux")]
    // A system that refuses leaves it as safe as any other program.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Help, or what is wrong with the command line.
fn not_understood(mut error: clap::Error) -> ExitCode {
    let is_help =
        error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand || !error.use_stderr();
    if is_help {
        // Nobody is left to tell when the reader went away.
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
    }
    hide_what_was_given(&mut error);
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let message = lines.next().unwrap_or("the command line is not understood");
    let mut failure = Failure::new(USAGE, message.trim_start_matches("error: "), "");
    let problems = lines.filter(|line| !line.starts_with("For more information"));
    failure.problems = problems.map(ToOwned::to_owned).collect();
    failure.remedy = Some("Add --help to see what it takes.".to_owned());
    failure.report(Output { is_json: std::env::args_os().any(|word| word == "--json") })
}

/// What was given may be a secret, or a part of one, that was meant for a file. A suggestion is of our
/// own words; a flag that is none is shown where it could be a slip of the pen.
fn hide_what_was_given(error: &mut clap::Error) {
    let is_flag = |word: &str| {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
        word.starts_with("--") && word.len() <= 32 && word.bytes().all(is_plain)
    };
    let hides = |error: &clap::Error, kind| match error.get(kind) {
        Some(ContextValue::String(word)) => !is_flag(word),
        _ => false,
    };
    let mut places = vec![ContextKind::InvalidValue, ContextKind::InvalidSubcommand];
    // Elsewhere it is an argument that there is.
    if error.kind() == ErrorKind::UnknownArgument {
        places.push(ContextKind::InvalidArg);
    }
    for place in places {
        if hides(error, place) {
            error.insert(place, ContextValue::String("(not shown, it may be a secret)".into()));
            // How to give the very word otherwise.
            error.remove(ContextKind::Suggested);
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.verb {
        Verb::Project(args) => return project::run(args),
        Verb::Completions { shell } => return shell::completions(*shell),
        Verb::Man { dir } => return shell::manual(dir, Output { is_json: cli.global.json }),
        _ => {}
    }
    let environment: Environment = std::env::vars_os().collect();
    if cli.global.server_url.is_some() {
        let (_, config) = load(&cli.global, None, &environment, None)?;
        logging::start("error", false);
        return runtime()?.block_on(remote::run(&cli.global, &cli.verb, &config));
    }
    let mut session = Session::new(&cli.global, key_folder(&environment));
    let runtime = runtime()?;
    // A demo without a folder of its own takes nothing from a real one.
    let is_fresh_demo = matches!(cli.verb, Verb::Demo(_)) && session.named_dir.is_none();
    let dir = if is_fresh_demo { None } else { Some(session.data_dir.as_path()) };
    let load = |listen: Option<&Listen>| load(&cli.global, dir, &environment, listen);
    let flags = match &cli.verb {
        Verb::Init(args) => args.database.flags(),
        Verb::Backup(BackupVerb::Restore { database, .. }) => database.flags(),
        _ => BTreeMap::new(),
    };
    session.database = match &cli.verb {
        // These read the whole configuration, and say all that is wrong with it.
        Verb::Demo(_) | Verb::Serve(_) | Verb::Doctor | Verb::Config(_) => None,
        _ => {
            // A folder that cannot be entered is told as such when it is opened.
            let own = dir.filter(|dir| std::fs::metadata(dir).is_ok());
            config::database(config_file(&cli.global, own).as_deref(), &environment, &flags)?
        }
    };
    match &cli.verb {
        Verb::Config(ConfigVerb::Show { origin }) => {
            let (settings, _) = load(None)?;
            show_config(session.output, &settings, *origin)
        }
        Verb::Doctor => {
            logging::start("error", false);
            runtime.block_on(verbs::doctor(&session, load(None).map(|(_, config)| config)))
        }
        Verb::Serve(args) => {
            let (_, config) = load(Some(&args.listen))?;
            logging::start_from(&config);
            runtime.block_on(serve(&session, &config))
        }
        Verb::Demo(args) => {
            let (_, config) = load(Some(&args.listen))?;
            runtime.block_on(demo::run(&session, args, config))
        }
        Verb::Sso(verb) => {
            let (_, config) = load(None)?;
            logging::start("error", false);
            runtime.block_on(verbs::sso(&session, verb, &config))
        }
        verb => {
            // Verbs talk through their results; only what is wrong is logged.
            logging::start("warn", false);
            runtime.block_on(async {
                match verb {
                    Verb::Init(_) => verbs::init(&session).await,
                    Verb::Provider(verb) => verbs::provider(&session, verb).await,
                    Verb::Connection(verb) => {
                        let config = || load(None).map(|(_, config)| config);
                        verbs::connection(&session, verb, config).await
                    }
                    Verb::Client(verb) => verbs::client(&session, verb).await,
                    Verb::User(verb) => verbs::user(&session, verb).await,
                    Verb::Grant(verb) => verbs::grant(&session, verb).await,
                    Verb::Role(verb) => verbs::role(&session, verb).await,
                    Verb::Policy(verb) => verbs::policy(&session, verb).await,
                    Verb::Advise { days } => verbs::advise(&session, *days).await,
                    Verb::Explain(verb) => verbs::explain(&session, verb).await,
                    Verb::Review(verb) => verbs::review(&session, verb).await,
                    Verb::Session(verb) => verbs::session(&session, verb).await,
                    Verb::Apply(args) => verbs::apply(&session, args).await,
                    Verb::Backup(verb) => verbs::backup(&session, verb).await,
                    Verb::Node(verb) => verbs::node(&session, verb).await,
                    Verb::Vault(verb) => {
                        let config = || load(None).map(|(_, config)| config);
                        verbs::vault(&session, verb, config).await
                    }
                    Verb::Customer(verb) => verbs::customer(&session, verb).await,
                    Verb::Audit(verb) => verbs::audit(&session, verb).await,
                    Verb::Sandbox(args) => verbs::sandbox(&session, args).await,
                    Verb::Demo(_)
                    | Verb::Serve(_)
                    | Verb::Project(_)
                    | Verb::Config(_)
                    | Verb::Doctor
                    | Verb::Sso(_)
                    | Verb::Completions { .. }
                    | Verb::Man { .. } => Ok(()),
                }
            })
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| {
        let message = format!("cannot start: {error}");
        Failure::new(FAILED, message, "Look at this user's limits of threads and open files.")
    })
}

/// The folder for new root keys, by the XDG base directory specification.
fn key_folder(environment: &Environment) -> Option<PathBuf> {
    let find = |name: &str| environment.get(std::ffi::OsStr::new(name)).map(Path::new);
    let base = find("XDG_CONFIG_HOME")
        .filter(|path| path.is_absolute())
        .map(Path::to_owned)
        .or_else(|| Some(find("HOME")?.join(".config")))?;
    Some(base.join("weirgate"))
}

fn load(
    global: &Global,
    data_dir: Option<&Path>,
    environment: &Environment,
    listen: Option<&Listen>,
) -> Result<(Vec<Setting>, Config), Failure> {
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
    Ok(config::load(config_file(global, data_dir).as_deref(), environment, &flags)?)
}

/// A file that was named must be there; the folder's own may be missing.
fn config_file(global: &Global, data_dir: Option<&Path>) -> Option<PathBuf> {
    let is_there = |file: &PathBuf| {
        let facts = std::fs::metadata(file);
        !facts.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let own = data_dir.map(|dir| dir.join("weirgate.toml")).filter(is_there);
    global.config.clone().or(own)
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        let count = problems.0.len();
        let mut failure = Self::new(
            USAGE,
            format!("the configuration has {}", output::counted(count, "problem")),
            "docs/reference/configuration.md explains every key.",
        );
        failure.problems = problems.0.iter().map(ToString::to_string).collect();
        failure
    }
}

/// In the form of the file, so that it can become one.
fn show_config(output: Output, settings: &[Setting], origin: bool) -> Result<(), Failure> {
    let mut text = output::Lines::default();
    let mut keys = serde_json::Map::new();
    for setting in settings {
        let key = setting.key;
        let value = key.typed(&setting.value);
        let mut line = match &value {
            serde_json::Value::Null => format!("{} = \"\"", key.name),
            value => format!("{} = {value}", key.name),
        };
        let mut entry = json!({"value": value, "unit": key.unit, "about": key.about});
        if origin {
            line.push_str(&format!("  # {}", setting.origin));
            if let Some(entry) = entry.as_object_mut() {
                entry.insert("origin".into(), json!(setting.origin.to_string()));
            }
        }
        text.push(line);
        keys.insert(key.name.into(), entry);
    }
    Ok(output.result(&serde_json::Value::Object(keys), text)?)
}

async fn serve(session: &Session, config: &Config) -> Result<(), Failure> {
    let server =
        Server::start(session.instance_on(config.database.as_ref()).await?, config).await?;
    let signals = Signals::listen(Hangup::IsIgnored)?;
    let gateway = config.url_of(server.gateway_addr);
    let console = config.url_of(server.console_addr);
    let setup = server.setup.as_ref();
    let json = json!({
        "gateway": gateway,
        "console": console,
        "setup_url": setup.map(|setup| setup.url.expose()),
        "notices": server.notices,
    });
    let mut text = vec![format!("gateway  {gateway}"), format!("console  {console}")];
    if let Some(setup) = setup {
        text.push(format!("setup    {}", setup.url.expose()));
        text.push(format!(
            "note: there is no administrator yet; the setup link works once, until {}, and \
             `weirgate user setup-link` makes another",
            setup.expires_at
        ));
    }
    text.extend(server.notices.iter().map(|notice| format!("note: {notice}")));
    session.output.result(&json, text)?;
    notify::tell(notify::READY);
    signals.until_told().await;
    notify::tell(notify::STOPPING);
    server.stop().await
}
