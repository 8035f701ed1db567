//! A server from its start to its end: folder's lock, log, first Snapshot, listeners, and shutdown
//! in two steps.

use crate::{
    clock_watch::ClockWatch,
    config::Config,
    events,
    figures::{self, Figures},
    files,
    following::Follower,
    listener_tls,
    ops::{Ops, OpsListener, Own},
    output::{FAILED, Failure, REFUSED, USAGE, chain},
    outside::{self, KeptFile, KeptFileError, Outside, Webhook},
    provider_tls::provider_tls,
    room::Room,
    telemetry::{Export, Exporter, Headers},
};
use api::{About, Console, Listener, Reached, Site};
use app::{
    Asker, Instance, calls,
    configuration::{self, Told},
    connect, fields_met, follow, lifetimes, observe,
    people::{sso::Web, users},
    secret_stores,
    sequence::OpenLog,
    tokens::{MAX_TOKEN_ANSWER_BYTES, Renewer, TokenDesk},
    witness::Peers,
};
use gateway::{
    Bounds, EventSink, Failpoint, Gateway, Listeners, MakePool, Recorder, Running, ServerTls,
    Settings,
};
use outbound::{Deadlines, HickoryResolver, Pool, PoolConfig, PoolFigures, Resolve};
use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};
use types::{Actor, Id, OpContext, SecretText, Timestamp};

/// How often the metrics' buckets are tidied.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// A server under way.
#[derive(Debug)]
pub(crate) struct Server {
    pub gateway_addr: SocketAddr,
    pub console_addr: SocketAddr,
    /// What is worth a look in the configuration.
    pub notices: Vec<String>,
    /// By which the first administrator comes, while there is none.
    pub setup: Option<SetupLink>,
    instance: Arc<Instance>,
    gateway: Arc<Gateway>,
    data_plane: Running,
    recorder: Arc<Recorder>,
    stop: watch::Sender<bool>,
    ops: JoinHandle<()>,
    renewer: JoinHandle<()>,
    follower: JoinHandle<OpenLog>,
    events: JoinHandle<()>,
    observed: JoinHandle<()>,
    counted: JoinHandle<()>,
    connects: JoinHandle<()>,
    lived: JoinHandle<()>,
    stores: JoinHandle<()>,
    met: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    certificates: Option<JoinHandle<()>>,
    revocations: Option<JoinHandle<()>>,
    exporter: Option<Exporter>,
    outside: Option<Outside>,
    peers: Option<JoinHandle<()>>,
}

/// A link at the only moment when it is known in clear.
pub(crate) struct SetupLink {
    pub url: SecretText,
    pub expires_at: Timestamp,
}

impl fmt::Debug for SetupLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetupLink").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts everything; when it returns, calls are served.
    pub(crate) async fn start(instance: Instance, config: &Config) -> Result<Self, Failure> {
        let lock = instance.folder.lock_soon().await?;
        let files = files::raise(config.cores)?;
        // Before anything is written: an address in use must not leave entries behind.
        let listeners = Listeners::bind(config.gateway_addr, config.cores)
            .map_err(|error| listen_failure(&error, "gateway_addr"))?;
        let ops_listener = OpsListener::bind(config.console_addr).await.map_err(|error| {
            let error =
                std::io::Error::other(format!("cannot listen on {}: {error}", config.console_addr));
            listen_failure(&error, "console_addr")
        })?;
        let (tls, revocations) = provider_tls(config)?;
        let (certificates, listener_tls) = listener_tls(config)?.unzip();
        let headers = otlp_headers(config)?;
        let resolver: Arc<dyn Resolve> = Arc::new(
            HickoryResolver::from_system()
                .map_err(|error| Failure::new(FAILED, chain(&error), "Check /etc/resolv.conf."))?,
        );

        let web = Web::new(Arc::clone(&resolver), Arc::clone(&tls));

        let roots: Vec<Vec<u8>> = tls.extra_roots().map(ToOwned::to_owned).collect();
        let told = Told { keys: &config.set, extra_roots: &roots };
        let configuration = configuration::recorded(&instance.folder, told)?;
        let mut notices = Vec::new();
        notices.extend(configuration::extra_roots(&configuration));
        let checkpoint_file = checkpoint_file(&instance, config)?;
        let recorded = Some(configuration.clone());
        let mut log = OpenLog::open(&instance, lock, recorded, config.audit_reserve).await?;
        let before = log.started_before.as_ref();
        notices.extend(before.and_then(|before| configuration::changed(before, &configuration)));
        for notice in &notices {
            tracing::warn!(notice, "the configuration is worth a look");
        }
        let checkpoint_file = match checkpoint_file {
            Some(mut file) => match compared(&mut file, &log) {
                Ok(()) => Some(file),
                Err(failure) => {
                    // Ends the writer, which gives the lock back. What is wrong is said below.
                    let _ = log.close().await;
                    return Err(failure);
                }
            },
            None => None,
        };
        let instance = Arc::new(instance);
        let console_addr = ops_listener.addr();
        // Calls are served without one, too.
        let console_url = config.console_url_of(console_addr);
        let setup = setup_link(&instance, &mut log, &console_url).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "no link for the first administrator could be made");
            None
        });
        let (desk, wanted) = TokenDesk::new();
        let (follower, shared) =
            follow::first(Arc::clone(&instance), config.limits.clone(), desk.clone()).await?;
        let shared = Arc::new(shared);
        let asker = Asker::start(Arc::clone(&resolver), Arc::clone(&tls), MAX_TOKEN_ANSWER_BYTES)
            .map_err(|error| Failure::new(FAILED, chain(&error), ""))?;
        let recorder = Arc::new(Recorder::new(log.handle.clone(), Arc::clone(&instance.clock)));
        let handle = figures::install();
        let (sink, received) = EventSink::channel();
        let gateway_addr = listeners.addr();
        let public_url = config.public_url.clone().unwrap_or_else(|| config.url_of(gateway_addr));
        let gateway = Arc::new(Gateway::new(
            (Arc::clone(&shared), Arc::clone(&desk.renewals)),
            Arc::clone(&recorder),
            sink,
            Arc::clone(&instance.clock),
            Arc::clone(&instance.random),
            settings(config),
            Arc::from(public_url),
        ));
        let pools = Arc::new(PoolFigures::default());
        let figures =
            Figures::new(handle, Arc::clone(&gateway), Arc::clone(&pools), listener_tls.clone());
        let (exporter, traces) = match config.otlp_endpoint.clone() {
            None => (None, None),
            Some(endpoint) => {
                let (exporter, traces) = Exporter::start(Export {
                    endpoint,
                    headers,
                    every: config.otlp_interval,
                    resolver: Arc::clone(&resolver),
                    tls: Arc::clone(&tls),
                    figures: figures.clone(),
                    clock: Arc::clone(&instance.clock),
                    random: Arc::clone(&instance.random),
                })?;
                (Some(exporter), Some(traces))
            }
        };
        let pace = config.outside.pace;
        let webhook = config.outside.webhook.clone().map(|endpoint| Webhook {
            endpoint,
            token: config.outside.token.clone(),
            witness: config.outside.witness.clone(),
            folder: instance.folder.clone(),
            resolver: Arc::clone(&resolver),
            tls: Arc::clone(&tls),
        });
        let outside = match (checkpoint_file, webhook) {
            (None, None) => None,
            (file, webhook) => Some(Outside::start(log.handle.clone(), file, webhook, pace)?),
        };
        let peers = match instance.folder.server() {
            Some(_) => Some((Peers::new(Arc::clone(&instance), pace.every)?, log.handle.clone())),
            None => None,
        };
        let make_pool: MakePool = {
            let max_answer_bytes = config.max_answer_bytes;
            let max_window_bytes = config.max_window_bytes;
            Arc::new(move || {
                Pool::new(PoolConfig {
                    max_answer_bytes,
                    max_window_bytes,
                    max_idle_total: files.idle_per_core,
                    figures: Arc::clone(&pools),
                    ..PoolConfig::new(Arc::clone(&resolver), Arc::clone(&tls))
                })
            })
        };
        let bounds = Bounds { connections: files.callers_per_core, drain: config.drain_timeout };
        let data_plane =
            gateway::start(&gateway, listeners, &make_pool, bounds, listener_tls.as_ref())
                .map_err(|error| Failure::new(FAILED, chain(&error), ""))?;

        let (stop, stopped) = watch::channel(false);
        let own = Own {
            gateway: Arc::clone(&gateway),
            figures: figures.clone(),
            about: about(config, gateway_addr, console_addr),
            tls: listener_tls.clone(),
            security_contact: config.security_contact.clone(),
        };
        let reached = Reached {
            url: console_url,
            hosts: config.console_hosts(console_addr),
            is_tls: listener_tls.is_some(),
        };
        let console = Console::new(Arc::clone(&instance), Arc::new(own), reached, web)
            .asking_by(asker.clone());
        let ops = Ops {
            site: Site::new(console),
            write_patience: config.write_timeout,
            is_behind_proxy: config.behind_proxy,
            max_connections: files.console,
            tls: listener_tls,
        };
        let ops = spawn("ops", ops_listener.serve(ops, stopped.clone()));
        let follower = spawn(
            "follower",
            follower.run(Arc::clone(&shared), Arc::clone(&recorder), log, stopped.clone()),
        );
        let met = Arc::clone(&shared);
        let for_stores = asker.clone();
        let renewer = Renewer::new(desk, wanted, shared, asker);
        let renewer = spawn("renewer", renewer.run(stopped.clone()));
        let events = spawn("events", events::drain(received, traces, stopped.clone()));
        let certificates =
            certificates.map(|follower| spawn("certificates", follower.run(stopped.clone())));
        let revocations =
            revocations.map(|follower| spawn("revocations", follower.run(stopped.clone())));
        let peers = peers.map(|(peers, handle)| {
            spawn("peers", outside::among_nodes(peers, handle, pace, stopped.clone()))
        });
        let observed = observe::keep(Arc::clone(&instance), Arc::clone(&gateway), stopped.clone());
        let observed = spawn("observed", observed);
        let counted = calls::keep_up(Arc::clone(&instance), stopped.clone());
        let counted = spawn("calls", counted);
        let connects = connect::keep_up(Arc::clone(&instance), stopped.clone());
        let connects = spawn("connects", connects);
        let lived = lifetimes::keep_up(Arc::clone(&instance), stopped.clone());
        let lived = spawn("lifetimes", lived);
        let stores = secret_stores::keep_up(Arc::clone(&instance), for_stores, stopped.clone());
        let stores = spawn("secret stores", stores);
        let met = fields_met::keep_up(Arc::clone(&instance), Arc::clone(&met), stopped.clone());
        let met = spawn("fields", met);
        let upkeep = spawn("metrics", keep_figures(figures, Arc::clone(&instance), stopped));
        tracing::info!(gateway = %gateway_addr, console = %console_addr, "serving");
        Ok(Self {
            gateway_addr,
            console_addr,
            notices,
            setup,
            instance,
            gateway,
            data_plane,
            recorder,
            stop,
            ops,
            renewer,
            follower,
            events,
            observed,
            counted,
            connects,
            lived,
            stores,
            met,
            upkeep,
            certificates,
            revocations,
            exporter,
            outside,
            peers,
        })
    }

    pub(crate) const fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Stops accepting, lets calls under way end, then closes the log and the store.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        self.gateway.drain();
        let data_plane = self.data_plane;
        // Joins threads: not for an async thread.
        if tokio::task::spawn_blocking(move || data_plane.stop()).await.is_err() {
            tracing::error!("the data plane's end has panicked");
        }
        // Nobody listens only if all tasks ended already.
        let _ = self.stop.send(true);
        let optional = self.certificates.into_iter().chain(self.revocations).chain(self.peers);
        let own = [
            self.ops,
            self.upkeep,
            self.events,
            self.observed,
            self.counted,
            self.connects,
            self.lived,
            self.stores,
            self.met,
            self.renewer,
        ];
        for task in own.into_iter().chain(optional) {
            report_panic(task.await);
        }
        if let Some(exporter) = self.exporter {
            // Joins a thread: not for an async thread.
            report_panic(tokio::task::spawn_blocking(move || exporter.stop()).await);
        }
        self.recorder.flush();
        match self.follower.await {
            Ok(log) => {
                let closed = log.close().await;
                // The last checkpoint is outside too, then.
                if let Some(outside) = self.outside {
                    report_panic(tokio::task::spawn_blocking(move || outside.stop()).await);
                }
                closed?;
            }
            Err(error) => {
                return Err(Failure::new(
                    FAILED,
                    format!("the follower has panicked: {error}"),
                    "",
                ));
            }
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// What the console says of this server.
fn about(config: &Config, gateway: SocketAddr, console: SocketAddr) -> About {
    let listener = |name, addr| Listener { name, url: config.url_of(addr) };
    About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        settings: config.shown.clone(),
        listeners: vec![listener("Gateway", gateway), listener("Console", console)],
        certificate: None,
        is_behind_proxy: config.behind_proxy,
    }
}

/// A new link for the first administrator, unless there is one; it is in the log before anybody has it.
async fn setup_link(
    instance: &Instance,
    log: &mut OpenLog,
    console: &str,
) -> Result<Option<SetupLink>, app::Error> {
    if users::has_administrator(instance).await? {
        return Ok(None);
    }
    let now = instance.clock.now();
    let request = Id::generate(now, instance.random.as_ref())?;
    let ctx = OpContext { actor: Actor::System, request, now };
    let link = users::first_administrator(instance, &ctx).await?;
    log.drain(instance).await?;
    let url = SecretText::new(format!("{console}/setup/{}", link.token.expose()));
    Ok(Some(SetupLink { url, expires_at: link.expires_at }))
}

/// The file that checkpoints are put into, which whoever rewrites the data folder must not reach.
fn checkpoint_file(instance: &Instance, config: &Config) -> Result<Option<KeptFile>, Failure> {
    let Some(path) = &config.outside.file else { return Ok(None) };
    if app::is_inside(path, &instance.folder)? {
        return Err(Failure::new(
            USAGE,
            "checkpoint_file lies inside the data folder",
            "Name a file elsewhere: who rewrites the folder must not reach it.",
        ));
    }
    Ok(Some(KeptFile::new(path, instance.folder.audit(), instance.log_key()?)))
}

/// A log that is not the one of which checkpoints were kept is not gone on with. A file that cannot be
/// read now is tried again while the server runs.
fn compared(file: &mut KeptFile, log: &OpenLog) -> Result<(), Failure> {
    let Some(signed) = log.handle.checkpoint() else { return Ok(()) };
    match file.compare(&signed) {
        Err(error @ (KeptFileError::Contradicted { .. } | KeptFileError::NotOurs { .. })) => {
            Err(Failure::new(
                REFUSED,
                format!("checkpoint_file: {}", chain(&error)),
                "Keep a copy of both, run `weirgate audit verify --checkpoint` with the file, and find \
                 out who changed the log; or name the file that belongs to it.",
            ))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn listen_failure(error: &dyn std::error::Error, key: &str) -> Failure {
    let flag = key.replace('_', "-");
    Failure::new(
        FAILED,
        chain(error),
        format!(
            "Stop what listens there, or choose another with --{flag}; port 0 takes a free one."
        ),
    )
}

/// What the listeners show, and what follows its files.
fn listener_tls(
    config: &Config,
) -> Result<Option<(Follower<listener_tls::Shown>, ServerTls)>, Failure> {
    let Some(files) = &config.tls else { return Ok(None) };
    let made = listener_tls::follow(files);
    made.map(Some).map_err(|error| Failure::new(FAILED, chain(&error), error.remedy()))
}

fn otlp_headers(config: &Config) -> Result<Headers, Failure> {
    let Some(path) = &config.otlp_headers_file else { return Ok(Headers::default()) };
    Headers::read(path).map_err(|error| {
        Failure::new(
            FAILED,
            format!("the headers for the collector in {}: {}", path.display(), chain(&error)),
            "Give one `Name: value` a line, in a file of mode 0600.",
        )
    })
}

fn settings(config: &Config) -> Settings {
    Settings {
        max_write_bytes: config.max_write_bytes,
        max_held_write_bytes: config.max_held_write_bytes,
        body_patience: config.body_timeout,
        write_patience: config.write_timeout,
        max_snapshot_age: config.max_snapshot_age,
        max_calls: config.max_calls,
        deadlines: Deadlines {
            resolve: config.connect_timeout,
            connect: config.connect_timeout,
            tls: config.tls_timeout,
            head: config.first_byte_timeout,
            idle: config.between_bytes_timeout,
            total: config.total_timeout,
        },
        failpoint: failpoint(),
        is_behind_proxy: config.behind_proxy,
    }
}

/// A release build knows of none.
fn failpoint() -> Failpoint {
    #[cfg(debug_assertions)]
    if let Some(text) = std::env::var_os("FAILPOINT") {
        return Failpoint::at(&text.to_string_lossy());
    }
    Failpoint::default()
}

async fn keep_figures(
    figures: Figures,
    instance: Arc<Instance>,
    mut stopped: watch::Receiver<bool>,
) {
    let outbox = metrics::gauge!("weirgate_outbox_rows");
    let mut room = Room::of(instance.folder.audit());
    let mut ticks = tokio::time::interval(UPKEEP_EVERY);
    let mut watch = ClockWatch::default();
    loop {
        // Both are cancel-safe.
        tokio::select! {
            _ = stopped.changed() => return,
            _ = ticks.tick() => {}
        }
        figures.run_upkeep();
        room.look();
        watch.look(instance.clock.now());
        watch.compare(&instance).await;
        // A store that is away is told of by the Snapshot's age.
        if let Ok(waiting) = instance.store.outbox_len().await {
            outbox.set(figures::number(usize::try_from(waiting).unwrap_or(usize::MAX)));
        }
    }
}

/// Named in the trace; the server owns every handle.
#[expect(clippy::disallowed_methods, reason = "the one place of the binary that starts tasks")]
fn spawn<T: Send + 'static>(
    name: &'static str,
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    use tracing::Instrument;
    tokio::task::spawn(task.instrument(tracing::info_span!("task", task = name)))
}

fn report_panic(result: Result<(), tokio::task::JoinError>) {
    if let Err(error) = result {
        tracing::error!(%error, "a task has panicked");
    }
}

/// What the end of the terminal, or whoever else sends SIGHUP, means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// As SIGTERM.
    Stops,
    /// Nothing: a log line says what does.
    IsIgnored,
}

/// Who is told to end. Made once everything serves: until then a signal ends the process as a crash
/// does, and nothing has been promised yet.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hung_up: Signal,
    hangup: Hangup,
}

impl Signals {
    pub(crate) fn listen(hangup: Hangup) -> Result<Self, Failure> {
        let on = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(FAILED, format!("cannot wait for signals: {error}"), "")
            })
        };
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hung_up: on(SignalKind::hangup())?,
            hangup,
        })
    }

    /// Waits for the first SIGINT or SIGTERM; a second one ends the process at once.
    pub(crate) async fn until_told(mut self) {
        loop {
            // All three are cancel-safe.
            tokio::select! {
                _ = self.interrupt.recv() => break,
                _ = self.terminate.recv() => break,
                _ = self.hung_up.recv() => match self.hangup {
                    Hangup::Stops => break,
                    Hangup::IsIgnored => tracing::info!(
                        "SIGHUP is ignored: changes are followed without it, and SIGTERM stops"
                    ),
                },
            }
        }
        tracing::info!("stopping; a second signal cuts calls under way");
        let hard = async move {
            // Both are cancel-safe.
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            tracing::warn!("cut by a second signal");
            std::process::exit(i32::from(crate::output::INTERRUPTED));
        };
        drop(spawn("second signal", hard));
    }
}
