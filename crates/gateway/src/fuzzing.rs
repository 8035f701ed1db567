//! What fuzz targets look at beyond what callers of this crate need: judgements over bytes that
//! strangers choose. Nothing here is in a build without the feature `fuzzing`.

use crate::{
    framing::Framing,
    headers::{is_limit_value, is_rate_limit},
    ingress::Ingress,
    rewrite::{Asked, UrlRewriter},
    snapshot::{ConnectionEntry, Rights},
};
use http::HeaderName;
use projection::Rewriter as _;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use types::Timestamp;
use vault::Echoes;

/// Shows the pieces of a connection one after another; what of them passed, and what the doubt was
/// that ended it.
pub fn passed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Option<&'static str>) {
    let mut framing = Framing::default();
    let mut held = Vec::new();
    let mut passed = Vec::new();
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            match framing.passable(&held) {
                Ok(0) => break,
                Ok(count) => passed.extend(held.drain(..count)),
                Err(doubt) => return (passed, Some(doubt.what)),
            }
        }
    }
    (passed, None)
}

/// A caller's connection as the HTTP server reads it.
pub fn guarded<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> impl AsyncRead + AsyncWrite + Unpin {
    Ingress::new(stream).0
}

/// Whether a header of a provider's answer passes as one that tells of limits.
pub fn tells_limits(name: &HeaderName, value: &str) -> bool {
    is_rate_limit(name) && is_limit_value(value)
}

/// What becomes of URLs in a provider's answer.
#[derive(Debug)]
pub struct Urls(UrlRewriter);

impl Urls {
    /// For a call of the first operation at this path and query, that may be followed by what these
    /// rights allow.
    pub fn new(
        connection: Arc<ConnectionEntry>,
        rights: Rights,
        base: &str,
        place: &str,
        public: &str,
        echoes: Echoes,
    ) -> Option<Self> {
        let rights = (Arc::new(rights), Timestamp::EPOCH);
        let asked = Asked { operation: 0, place: place.to_owned() };
        UrlRewriter::new(connection, rights, base, asked, public.into(), Arc::new(echoes)).map(Self)
    }

    /// In a header of its own.
    pub fn location(&self, value: &str) -> Option<String> {
        self.0.location(value)
    }

    pub fn links(&self, value: &str) -> String {
        self.0.rewrite_links([value])
    }

    /// In a member that pages.
    pub fn member(&mut self, value: &str) -> Option<String> {
        self.0.rewrite(value)
    }
}
