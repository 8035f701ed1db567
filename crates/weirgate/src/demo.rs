//! `weirgate demo`: everything on embedded defaults, against the built-in sandbox provider.

use crate::{
    cli::DemoArgs,
    config::Config,
    harmless::short,
    logging,
    output::{FAILED, Failure, Lines, Output, USAGE, chain, command, quoted},
    serve::{Hangup, Server, Signals},
    verbs::Session,
};
use app::{
    Init, Instance, RootKeyPlace, audit_log,
    demo::{self as seeds, Seeded},
    sequence,
};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Full;
use outbound::{Deadlines, FixedResolver, GuardPolicy, Pool, PoolConfig, Target, TlsConfig};
use sandbox::{RunningSandbox, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use std::{
    fs::DirBuilder,
    io,
    net::{SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use types::{ApiKey, Environment, Random, SecretText, SystemClock, SystemRandom};

/// Employees that the sandbox invents.
const RECORDS: usize = 40;
/// Bytes that are shown of an answer.
const MAX_SHOWN_BYTES: usize = 64 * 1_024;

pub(crate) async fn run(
    session: &Session,
    args: &DemoArgs,
    mut config: Config,
) -> Result<(), Failure> {
    // The guided calls are the talk; only what is wrong is logged beside them.
    logging::start("warn", session.output.is_json);
    if config.tls.is_some() {
        return Err(Failure::new(
            USAGE,
            "the demo calls itself by plain HTTP on this machine, and a certificate is configured",
            "Run it without tls_cert and tls_key: an empty WEIRGATE_TLS_CERT and WEIRGATE_TLS_KEY do.",
        ));
    }
    choose_free_ports(args, &mut config);
    let dir = data_dir(session)?;
    let scratch = Scratch { key: key_file(&dir), dir };
    let result = show(session, args, &config, &scratch).await;
    let is_kept = args.keep || session.output.is_json || session.named_dir.is_some();
    if !is_kept {
        scratch.remove()?;
    } else if !session.output.is_json && result.is_ok() {
        let dir = quoted(&scratch.dir.display().to_string());
        let key = quoted(&scratch.key.display().to_string());
        let text = format!("Kept: the data folder {dir} and its root key {key}.");
        session.output.print(text)?;
    }
    result
}

async fn show(
    session: &Session,
    args: &DemoArgs,
    config: &Config,
    scratch: &Scratch,
) -> Result<(), Failure> {
    let Scratch { dir, key } = scratch;
    let sandbox_credential = credential()?;
    let sandbox = start_sandbox(args.seed, &sandbox_credential).await?;
    let made = Instance::init(Init {
        dir,
        server: None,
        config: "",
        root_key: RootKeyPlace::File(key),
        custody: app::Custody::default(),
        actor: session.context()?,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    })
    .await?;
    let instance = made.instance;
    let seeded = seeds::seed(
        &instance,
        &session.context()?,
        sandbox.base_url(),
        sandbox.addr.to_string(),
        &sandbox_credential,
    )
    .await?;
    sequence::settle(&instance).await?;
    let server = Server::start(instance, config).await?;
    let signals = Signals::listen(Hangup::Stops)?;
    let gateway = format!("http://{}", server.gateway_addr);

    let told = signals.until_told();
    tokio::pin!(told);
    let shown = async {
        if session.output.is_json {
            return say_json(session.output, &gateway, dir, &seeded, &server);
        }
        guide(session.output, &gateway, dir, &seeded, &server).await?;
        if args.once { Ok(()) } else { invite(session, args, &gateway, dir, &seeded, &server) }
    };
    // Who presses Ctrl-C amid the calls wants the same end. A call that is dropped changes nothing.
    let (result, is_told) = tokio::select! {
        biased;
        () = &mut told => (Ok(()), true),
        shown = shown => (shown, false),
    };
    let result = match result {
        Ok(()) if !args.once && !is_told => {
            told.await;
            Ok(())
        }
        result => result,
    };
    if let Err(failure) = result {
        server.stop().await?;
        return Err(failure);
    }
    server.stop().await?;
    sandbox.shutdown().await;
    Ok(())
}

/// What the demo makes on the disk.
struct Scratch {
    dir: PathBuf,
    key: PathBuf,
}

impl Scratch {
    /// Removes what a demo made in a folder of its own.
    fn remove(&self) -> Result<(), Failure> {
        let removed = [std::fs::remove_dir_all(&self.dir), std::fs::remove_file(&self.key)];
        for (result, path) in removed.into_iter().zip([&self.dir, &self.key]) {
            match result {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::new(
                        FAILED,
                        format!("cannot remove {}: {error}", path.display()),
                        "Remove it yourself; nothing else needs it.",
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A newcomer may have something on the usual ports; what was asked for stays asked for.
fn choose_free_ports(args: &DemoArgs, config: &mut Config) {
    let is_free = |addr: SocketAddr| TcpListener::bind(addr).is_ok();
    if args.listen.gateway_addr.is_none() && !is_free(config.gateway_addr) {
        config.gateway_addr.set_port(0);
    }
    if args.listen.console_addr.is_none() && !is_free(config.console_addr) {
        config.console_addr.set_port(0);
    }
}

fn credential() -> Result<SecretText, Failure> {
    let key = ApiKey::generate(Environment::Test, &SystemRandom).map_err(app::Error::from)?;
    // The sandbox's own; shaped like no key of Weirgate's.
    Ok(SecretText::new(format!("sandbox-{}", key.expose().trim_start_matches("wg_test_"))))
}

async fn start_sandbox(seed: u64, credential: &SecretText) -> Result<RunningSandbox, Failure> {
    let options = SandboxOptions {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        seed,
        credential: SecretText::new(credential.expose().to_owned()),
        records: RECORDS,
    };
    Sandbox::start(options).await.map_err(|error| Failure::new(FAILED, chain(&error), ""))
}

/// The folder that was named, or a fresh temporary one: made here, so that only what is ours is
/// ever removed.
fn data_dir(session: &Session) -> Result<PathBuf, Failure> {
    if let Some(dir) = &session.named_dir {
        return Ok(dir.clone());
    }
    let mut tail = [0_u8; 6];
    SystemRandom.fill(&mut tail).map_err(app::Error::from)?;
    let tail: String = tail.iter().map(|byte| format!("{byte:02x}")).collect();
    let dir = std::env::temp_dir().join(format!("weirgate-demo-{tail}"));
    DirBuilder::new().mode(0o700).create(&dir).map_err(|error| {
        Failure::new(
            FAILED,
            format!("cannot create {}: {error}", dir.display()),
            "Name another folder with --data-dir, or another place for temporary ones with TMPDIR.",
        )
    })?;
    Ok(dir)
}

/// Beside the folder, never in it.
fn key_file(dir: &Path) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".key");
    PathBuf::from(name)
}

fn say_json(
    output: Output,
    gateway: &str,
    dir: &Path,
    seeded: &Seeded,
    server: &Server,
) -> Result<(), Failure> {
    let url = |path: &str| format!("{gateway}/proxy/{}/{path}", seeded.connection);
    let one = json!({
        "url": url("employees"),
        "object": "Employee",
        "granted": seeds::GRANTED,
        "withheld": seeded.withheld,
    });
    let line = json!({
        "gateway": gateway,
        "console": format!("http://{}", server.console_addr),
        "api_key": seeded.key.expose(),
        "connection": seeded.connection.to_string(),
        "data_dir": dir.display().to_string(),
        "setup_url": server.setup.as_ref().map(|setup| setup.url.expose()),
        "try": [one],
    });
    Ok(output.result(&line, "")?)
}

/// Five steps that show what the gate does.
async fn guide(
    output: Output,
    gateway: &str,
    dir: &Path,
    seeded: &Seeded,
    server: &Server,
) -> Result<(), Failure> {
    let say = |text: &str| output.print([text.to_owned(), String::new()]);
    let caller = Caller::new(gateway)?;
    let employees = format!("/proxy/{}/employees?limit=1", seeded.connection);
    let report = format!("/proxy/{}/reports/headcount", seeded.connection);
    let mistyped = mistype(seeded.key.expose());
    let data_dir = format!("--data-dir {}", quoted(&dir.display().to_string()));

    say("Weirgate is running, with an invented HR system behind it.")?;
    say("1. A client with a grant reads employees. What was not granted is withheld, and named.")?;
    output.print(caller.shown(&employees, seeded.key.expose()).await?)?;
    say("2. The same call by a client without a grant.")?;
    output.print(caller.shown(&employees, seeded.stranger_key.expose()).await?)?;
    say("3. A mistyped key: its checksum does not fit, nothing is looked up.")?;
    output.print(caller.shown(&employees, &mistyped).await?)?;
    output.print(
        "4. The provider fails, and its careless error repeats a credential and a social security",
    )?;
    say("   number. Neither comes through.")?;
    output.print(caller.shown(&report, seeded.key.expose()).await?)?;
    say("5. The audit log holds all of this, and anybody with its public key can check it.")?;
    let dir = server.instance().folder.dir();
    let verified = audit_log::verify_folder(dir, None, audit_log::Against::default()).await?;
    output.print(format!("   $ {}", command(&format!("audit verify {data_dir}"))))?;
    say(&format!(
        "   The log is whole: {} entries, {} open intents.",
        verified.entries, verified.open_intents
    ))?;
    Ok(())
}

/// What can be pasted while the demo serves.
fn invite(
    session: &Session,
    args: &DemoArgs,
    gateway: &str,
    dir: &Path,
    seeded: &Seeded,
    server: &Server,
) -> Result<(), Failure> {
    let dir = quoted(&dir.display().to_string());
    let is_kept = args.keep || session.named_dir.is_some();
    let end = if is_kept { "is kept" } else { "is removed then (--keep keeps it)" };
    let mut console = vec![format!("   console  http://{}", server.console_addr)];
    if let Some(setup) = &server.setup {
        console.push(format!("   setup    {}", setup.url.expose()));
        console
            .push("   (the link makes you its administrator, once, within 15 minutes)".to_owned());
    }
    session.output.print(["Look at it in a browser:".to_owned(), String::new()])?;
    session.output.print(console)?;
    session.output.print("")?;
    Ok(session.output.print([
        "Try it yourself:".to_owned(),
        String::new(),
        format!(
            "   curl -i -H 'Authorization: Bearer {}' '{gateway}/proxy/{}/employees?limit=2'",
            seeded.key.expose(),
            seeded.connection
        ),
        format!("   {}", command(&format!("audit list --data-dir {dir}"))),
        String::new(),
        format!("Serving until Ctrl-C. The data folder {dir} {end}."),
    ])?)
}

/// A key with one letter changed.
fn mistype(key: &str) -> String {
    let mut key = key.to_owned();
    let last = key.pop();
    key.push(if last == Some('x') { 'y' } else { 'x' });
    key
}

/// Calls the gateway as a program would.
struct Caller {
    pool: Pool,
    target: Target,
    policy: GuardPolicy,
}

impl Caller {
    fn new(gateway: &str) -> Result<Self, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::new(FAILED, chain(error), "");
        let host_port = gateway.trim_start_matches("http://").to_owned();
        let policy = GuardPolicy::new(&[host_port]).map_err(|error| failed(&error))?;
        let target = Target::parse(gateway, &policy).map_err(|error| failed(&error))?;
        let tls = TlsConfig::new(None).map_err(|error| failed(&error))?;
        let pool = Pool::new(PoolConfig::new(Arc::new(FixedResolver::default()), Arc::new(tls)));
        Ok(Self { pool, target, policy })
    }

    /// Makes a call and says what was asked and answered.
    async fn shown(&self, path: &str, key: &str) -> Result<Lines, Failure> {
        let (status, headers, body) = self.get(path, key).await.map_err(|error| {
            Failure::new(FAILED, format!("a call of the demo failed: {}", chain(&*error)), "")
        })?;
        let beginning = key.get(..12).unwrap_or_default();
        let mut text = Lines::from([
            format!("   GET {path}"),
            format!("   with the key {beginning}..."),
            format!("   {status}"),
        ]);
        for name in ["weirgate-fields-withheld", "weirgate-request-id"] {
            if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
                text.push(format!("   {name}: {value}"));
            }
        }
        if let Ok(value) = serde_json::from_slice::<Value>(&body) {
            let pretty = serde_json::to_string_pretty(&value).unwrap_or_default();
            for line in pretty.lines() {
                text.push(format!("   {}", short(line)));
            }
        }
        text.push("");
        Ok(text)
    }

    async fn get(
        &self,
        path: &str,
        key: &str,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), Box<dyn std::error::Error>> {
        let lease = self.pool.checkout(&self.target, &self.policy, &Deadlines::default()).await?;
        let request = Request::get(path)
            .header(header::AUTHORIZATION, format!("Bearer {key}"))
            .body(Full::new(Bytes::new()))?;
        let (parts, mut body) = lease.send(request).await?.into_parts();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next_chunk().await? {
            if bytes.len() + chunk.len() > MAX_SHOWN_BYTES {
                return Err(Box::new(io::Error::other("the answer is longer than expected")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((parts.status, parts.headers, bytes))
    }
}
