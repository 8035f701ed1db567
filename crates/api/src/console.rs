//! What the console answers from.

use crate::{live::Streams, reports::Counted};
use app::{
    Asker, Instance,
    audit_check::Checker,
    people::{sessions::SignedIn, sso::Web},
};
use axum::http::StatusCode;
use bytes::Bytes;
use identity::RelyingParty;
use policy::{Act, Decision, Moment, Principal, Reason, Resource};
use std::{fmt, net::IpAddr, sync::Arc};
use tokio::sync::Semaphore;
use types::{Actor, Id, OpContext, Timestamp};

/// What the server says of itself, to whoever asks.
pub trait Vitals: Send + Sync {
    /// What `/healthz` and `/readyz` answer.
    fn health(&self, path: &str) -> Option<(StatusCode, &'static str)>;

    /// What `/metrics` answers.
    fn metrics(&self) -> Bytes;

    /// Counts a page that broke this directive of the content security policy.
    fn breach(&self, directive: &'static str);

    /// Where weaknesses are told of.
    fn security_contact(&self) -> Option<String>;

    /// What it was told, and what became of it.
    fn about(&self) -> About;
}

/// What a server says of itself to people; nothing of it is secret.
#[derive(Clone, Debug)]
pub struct About {
    pub version: String,
    pub settings: Vec<Setting>,
    pub listeners: Vec<Listener>,
    /// The certificate that both ports show; without one they speak no TLS.
    pub certificate: Option<Certificate>,
    /// Whether a proxy in front speaks TLS for them.
    pub is_behind_proxy: bool,
}

/// A key of the configuration.
#[derive(Clone, Debug)]
pub struct Setting {
    pub key: &'static str,
    /// Without what may be secret in it.
    pub value: String,
    /// Where the value came from.
    pub source: String,
    pub is_default: bool,
    pub about: &'static str,
}

#[derive(Clone, Debug)]
pub struct Listener {
    pub name: &'static str,
    pub url: String,
}

/// From when to when it holds.
#[derive(Clone, Copy, Debug)]
pub struct Certificate {
    pub begins_at: Timestamp,
    pub ends_at: Timestamp,
}

/// Where a connection came from; unknown behind a proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub Option<IpAddr>);

/// How browsers reach the console.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Scheme and authority, for links that are given to people.
    pub url: String,
    /// Names that it is asked by, beside those of this machine.
    pub hosts: Vec<String>,
    /// Whether its port speaks TLS.
    pub is_tls: bool,
}

/// See the module.
pub struct Console {
    pub instance: Arc<Instance>,
    pub vitals: Arc<dyn Vitals>,
    pub reached: Reached,
    /// How identity providers are asked.
    pub web: Web,
    /// How providers are asked that somebody consents at; `None`: they are not.
    pub asker: Option<Asker>,
    pub(crate) log: LogDesk,
    /// For passkeys, where browsers have them: not under an address of numbers.
    pub(crate) party: Option<Party>,
    /// For what takes long: one at a time, so that the rest goes on.
    pub(crate) dear: Semaphore,
    pub(crate) reports: Counted,
    /// Places for streams.
    pub(crate) streams: Arc<Streams>,
}

/// What is done with the log beside showing it.
#[derive(Default)]
pub(crate) struct LogDesk {
    pub checker: Arc<Checker>,
    /// For those who count.
    pub counting: Places,
    /// For those who take entries along, which may take long.
    pub exports: Places,
}

/// Each of them keeps a thread busy for as long as it takes.
pub(crate) struct Places(pub Arc<Semaphore>);

/// How many do at once.
const PLACES: usize = 2;

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }
}

/// The place that passkeys are for.
pub(crate) struct Party {
    pub(crate) party: RelyingParty,
    pub(crate) origin: String,
}

impl Party {
    /// Whether a browser that asked for this host and port has passkeys.
    pub(crate) fn is_at(&self, authority: &str) -> bool {
        self.origin.split_once("://").is_some_and(|(_, own)| own == authority)
    }

    /// By the console's URL; an address of this machine stands for `localhost`.
    fn of(url: &str) -> Option<Self> {
        let mut url = url::Url::parse(url).ok()?;
        let is_here = |host: url::Host<&str>| match host {
            url::Host::Ipv4(addr) => addr.is_loopback(),
            url::Host::Ipv6(addr) => addr.is_loopback(),
            url::Host::Domain(_) => false,
        };
        if url.host().is_some_and(is_here) {
            url.set_host(Some("localhost")).ok()?;
        }
        let origin = url.origin().ascii_serialization();
        let party = RelyingParty::new(&origin, "Weirgate").ok()?;
        Some(Self { party, origin })
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("reached", &self.reached).finish_non_exhaustive()
    }
}

impl Console {
    pub fn new(
        instance: Arc<Instance>,
        vitals: Arc<dyn Vitals>,
        reached: Reached,
        web: Web,
    ) -> Self {
        let party = Party::of(&reached.url);
        let (log, dear) = (LogDesk::default(), Semaphore::new(1));
        let (reports, streams) = (Counted::default(), Arc::default());
        let asker = None;
        Self { instance, vitals, reached, web, asker, log, party, dear, reports, streams }
    }

    /// The same, where customers can be connected by consent.
    #[must_use]
    pub fn asking_by(self, asker: Asker) -> Self {
        Self { asker: Some(asker), ..self }
    }

    /// Who acts, as part of which request.
    pub(crate) fn context(&self, signed_in: Option<&SignedIn>) -> Result<OpContext, app::Error> {
        let now = self.instance.clock.now();
        let request = Id::generate(now, self.instance.random.as_ref())?;
        let actor = signed_in.map_or(Actor::System, |one| Actor::User { id: one.user });
        Ok(OpContext { actor, request, now })
    }

    pub(crate) fn decide(
        &self,
        signed_in: &SignedIn,
        act: Act,
        source: Option<IpAddr>,
    ) -> Decision {
        let now = self.instance.clock.now();
        let principal = Principal {
            id: signed_in.user.to_string(),
            roles: signed_in.roles.clone(),
            is_token: false,
        };
        let is_stepped_up = signed_in.is_stepped_up(now);
        let moment = Moment { now, source, is_stepped_up };
        let none = || Decision::Denied(vec![Reason::Undecided]);
        let decider = signed_in.decider.as_ref();
        decider.map_or_else(none, |one| one.decide(&principal, act, &Resource::default(), &moment))
    }

    /// Whether a page shows what leads to the act: a step-up may still be due.
    pub(crate) fn offers(&self, signed_in: &SignedIn, act: Act) -> bool {
        match self.decide(signed_in, act, signed_in.source) {
            Decision::Allowed(_) | Decision::NeedsStepUp(_) => true,
            // As a proposal.
            Decision::NeedsApproval(_) => act == Act::GrantApply,
            Decision::Denied(_) => false,
        }
    }
}
