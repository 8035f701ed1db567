//! What fuzz targets look at beyond what callers of this crate need: readers of bytes that providers
//! choose. Nothing here is in a build without the feature `fuzzing`.

use crate::{
    OutboundError,
    codec::{Codec as _, CodecBody as _},
    coding::{Damaged, Decoder, Step},
    http1::Http1,
    target::Target,
    windows::Window,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncWrite};

/// For the windows of decoders: more than any needs.
const ROOM: usize = 64 << 20;

/// Whether a content coding is undone.
pub fn is_known_coding(name: &str) -> bool {
    Decoder::of(name, &Window::alone(ROOM)).is_some()
}

/// Undoes a content coding of what comes in these chunks. Every step is handed to `each`, which says
/// whether to go on; yields how many bytes were used up, and whether the content ended whole.
///
/// # Errors
/// What is damaged.
pub fn decode<'a>(
    name: &str,
    chunks: impl IntoIterator<Item = &'a [u8]>,
    mut each: impl FnMut(&[u8]) -> bool,
) -> Result<(u64, bool), &'static str> {
    let damaged = |Damaged| "damaged";
    let mut decoder = Decoder::of(name, &Window::alone(ROOM)).ok_or("unknown")?;
    let mut chunks = chunks.into_iter();
    loop {
        match decoder.step().map_err(damaged)? {
            Step::Data(data) if each(&data) => {}
            Step::Data(_) => return Ok((decoder.consumed(), false)),
            Step::Ended => return Ok((decoder.consumed(), true)),
            Step::Hungry => match chunks.next() {
                Some(chunk) => decoder.feed(Bytes::copy_from_slice(chunk)),
                None => decoder.end(),
            },
        }
    }
}

/// One exchange with the peer of a connected stream: the answer with its whole content as it came.
///
/// # Errors
/// As for any exchange.
pub async fn exchange<S>(stream: S) -> Result<Response<Vec<u8>>, OutboundError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut codec = Http1::begin(stream).await?;
    let mut request = Request::new(Full::default());
    request.headers_mut().insert("host", http::HeaderValue::from_static("api.example"));
    let (parts, mut wire) = codec.exchange(request).await?.into_parts();
    let mut content = Vec::new();
    while let Some(data) = wire.next().await? {
        content.extend_from_slice(&data);
    }
    Ok(Response::from_parts(parts, content))
}

/// Host, port and, where the host is one, address of a target.
pub fn parts(target: &Target) -> (&str, u16, Option<IpAddr>) {
    (target.host(), target.port(), target.address())
}
