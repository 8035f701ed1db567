//! Names to addresses.

use hickory_resolver::{TokioResolver, proto::rr::Name};
use std::{collections::BTreeMap, fmt, net::IpAddr, pin::Pin};

/// A name that has no address, or a resolver that gave none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name has no address")]
pub struct ResolveError;

/// The system's resolver configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the system's resolver configuration cannot be used: {0}")]
pub struct ResolverSetupError(String);

/// Where addresses come from.
pub trait Resolve: Send + Sync + fmt::Debug {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send + 'a>>;
}

/// As the system is configured, hosts file included.
#[derive(Debug)]
pub struct HickoryResolver(TokioResolver);

impl HickoryResolver {
    pub fn from_system() -> Result<Self, ResolverSetupError> {
        let setup = |error: &dyn fmt::Display| ResolverSetupError(error.to_string());
        let builder = TokioResolver::builder_tokio().map_err(|error| setup(&error))?;
        builder.build().map(Self).map_err(|error| setup(&error))
    }
}

impl Resolve for HickoryResolver {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send + 'a>> {
        Box::pin(async move {
            // By its labels: read as a text, a name with `_` inside a label would be none.
            let labels = host.split('.').map(str::as_bytes);
            let mut name = Name::from_labels(labels).map_err(|_| ResolveError)?;
            // The name as given; only a single label is looked for in the system's search domains.
            name.set_fqdn(host.contains('.'));
            let found = self.0.lookup_ip(name).await.map_err(|_| ResolveError)?;
            Ok(found.iter().collect())
        })
    }
}

/// A fixed table, for tests and for what needs no names.
#[derive(Debug, Clone, Default)]
pub struct FixedResolver(pub BTreeMap<String, Vec<IpAddr>>);

impl Resolve for FixedResolver {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send + 'a>> {
        let found = self.0.get(host).cloned().ok_or(ResolveError);
        Box::pin(std::future::ready(found))
    }
}
