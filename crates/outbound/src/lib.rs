//! The only HTTP and TLS client of Weirgate.
//!
//! It promises: an address is resolved once for each connection, judged by its bits, and the very
//! address that was judged is connected to; https only, unless a host and port were allowed by name;
//! no redirect is followed; every wait has a bound; an answer whose framing is in doubt is refused;
//! memory does not depend on an answer's length or compression. It knows nothing of
//! credentials but the certificate that a connection shows, which no other connection's calls ride on.
#![forbid(unsafe_code)]

mod address;
mod body;
mod brotli;
mod codec;
mod coding;
mod connect;
mod deadlines;
mod deflate;
mod endpoint;
mod error;
mod frames;
mod guard;
mod gzip;
mod http1;
mod http2;
mod identity;
mod pool;
mod request;
mod resolve;
mod target;
mod tls;
mod traffic;
mod unverified;
mod windows;
mod zstd;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

pub use address::{AddressClass, classify};
pub use body::UpstreamBody;
pub use deadlines::Deadlines;
pub use endpoint::{Endpoint, EndpointError};
pub use error::OutboundError;
pub use guard::{GuardPolicy, PolicyError};
pub use identity::{ClientIdentity, IdentityError};
pub use pool::{Lease, Pool, PoolConfig, PoolFigures};
pub use resolve::{FixedResolver, HickoryResolver, Resolve, ResolveError, ResolverSetupError};
pub use target::{Target, TargetError};
pub use tls::{TlsConfig, TlsConfigError, TlsFailure, revocation_lists_end};
pub use unverified::unverified;
