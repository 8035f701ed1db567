//! Where one request ends and the next begins, judged from the raw bytes before anything else reads
//! them. A request whose length two readers could tell differently is how requests are smuggled (RFC
//! 9112 §11.2), and what a parser has tidied up no longer shows that there was a doubt.
//!
//! [`Framing`] does no I/O: it is shown what has arrived and tells how much of it may pass on. It is
//! stricter than RFC 9112 asks: no line ends by LF alone, no empty line before a request, no chunk
//! extensions, no trailers, one Host, one framing.

use http::Uri;

/// The longest head of a request, in bytes.
pub(crate) const MAX_HEAD_BYTES: usize = 64 * 1_024;
/// The most headers of a request.
pub(crate) const MAX_HEADERS: usize = 64;
/// A chunk's size has at most this many digits.
const MAX_SIZE_DIGITS: u8 = 8;

/// What cannot be read without guessing. Nothing after it is a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doubt {
    pub what: &'static str,
    /// It lies within a body: its head has passed.
    pub is_in_body: bool,
}

/// Follows the requests of one connection.
#[derive(Debug, Default)]
pub(crate) struct Framing(At);

/// What stands at the front of the bytes that have not passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// A head, of which so many bytes hold no end and no doubt.
    Head {
        seen: usize,
    },
    /// A body of a known length.
    Body {
        left: u64,
    },
    /// A line with a chunk's size, read so far.
    Size {
        digits: u8,
        size: u64,
    },
    /// LF after a chunk's size.
    SizeEnd {
        size: u64,
    },
    Chunk {
        left: u64,
    },
    /// CR, LF after a chunk.
    ChunkCr,
    ChunkLf,
    /// CR, LF in place of trailers.
    LastCr,
    LastLf,
}

impl Default for At {
    fn default() -> Self {
        Self::Head { seen: 0 }
    }
}

impl Framing {
    /// How many of the bytes that have not passed may pass now; 0 if that cannot be told before more
    /// have come. Whoever asks takes as many away before asking again.
    pub(crate) fn passable(&mut self, bytes: &[u8]) -> Result<usize, Doubt> {
        let mut passed = 0;
        loop {
            let rest = bytes.get(passed..).unwrap_or_default();
            match self.step(rest) {
                Ok(0) => return Ok(passed),
                Ok(count) => passed += count,
                // What is beyond doubt passes first; the doubt is found again.
                Err(_) if passed > 0 => return Ok(passed),
                Err(what) => {
                    let is_in_body = !matches!(self.0, At::Head { .. });
                    return Err(Doubt { what, is_in_body });
                }
            }
        }
    }

    fn step(&mut self, rest: &[u8]) -> Result<usize, &'static str> {
        let Some(first) = rest.first().copied() else { return Ok(0) };
        let (next, count) = match self.0 {
            At::Head { seen } => {
                let Some(length) = head_length(rest, seen)? else {
                    self.0 = At::Head { seen: rest.len() };
                    return Ok(0);
                };
                (body_of(rest.get(..length).unwrap_or_default())?, length)
            }
            At::Body { left } => {
                let (left, count) = take(left, rest);
                (if left == 0 { At::default() } else { At::Body { left } }, count)
            }
            At::Size { digits, size } => match (char::from(first).to_digit(16), first) {
                (Some(digit), _) if digits < MAX_SIZE_DIGITS => {
                    (At::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }, 1)
                }
                (None, b'\r') if digits > 0 => (At::SizeEnd { size }, 1),
                _ => return Err("a chunk's size is no plain number"),
            },
            At::SizeEnd { size } => match (first, size) {
                (b'\n', 0) => (At::LastCr, 1),
                (b'\n', left) => (At::Chunk { left }, 1),
                _ => return Err("a line ends by CR alone"),
            },
            At::Chunk { left } => {
                let (left, count) = take(left, rest);
                (if left == 0 { At::ChunkCr } else { At::Chunk { left } }, count)
            }
            At::ChunkCr if first == b'\r' => (At::ChunkLf, 1),
            At::ChunkLf if first == b'\n' => (At::Size { digits: 0, size: 0 }, 1),
            At::ChunkCr | At::ChunkLf => return Err("a chunk is longer than its size"),
            At::LastCr if first == b'\r' => (At::LastLf, 1),
            At::LastCr => return Err("it has trailers"),
            At::LastLf if first == b'\n' => (At::default(), 1),
            At::LastLf => return Err("a line ends by CR alone"),
        };
        self.0 = next;
        Ok(count)
    }
}

fn take(left: u64, rest: &[u8]) -> (u64, usize) {
    let count = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
    (left - count as u64, count)
}

/// The length of the head at the front, if it is whole. `seen` bytes of it were looked at before.
fn head_length(bytes: &[u8], seen: usize) -> Result<Option<usize>, &'static str> {
    if bytes.first().is_some_and(|first| !first.is_ascii_alphanumeric()) {
        return Err("it does not begin with a method");
    }
    let last = |at: usize, back: usize| at.checked_sub(back).and_then(|at| bytes.get(at)).copied();
    for (at, byte) in bytes.iter().copied().enumerate().take(MAX_HEAD_BYTES).skip(seen) {
        match byte {
            b'\n' if last(at, 1) != Some(b'\r') => return Err("a line ends by LF alone"),
            b'\n' if last(at, 2) == Some(b'\n') => return Ok(Some(at + 1)),
            b'\n' => {}
            _ if last(at, 1) == Some(b'\r') => return Err("a line ends by CR alone"),
            0 => return Err("it has a NUL"),
            _ => {}
        }
    }
    if bytes.len() >= MAX_HEAD_BYTES { Err("its head is too long") } else { Ok(None) }
}

/// What follows a whole head.
fn body_of(head: &[u8]) -> Result<At, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err("it has too many headers"),
        Err(httparse::Error::Version) => return Err("it is neither HTTP/1.1 nor HTTP/1.0"),
        _ => return Err("its head is no HTTP/1.1"),
    }
    let is_1_0 = request.version == Some(0);
    let mut host = Once::default();
    let mut length = Once::default();
    let mut coding = Once::default();
    let mut expect = Once::default();
    for header in request.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("host") {
            host.put(header.value, "it has several Host headers")?;
        } else if is("content-length") {
            length.put(header.value, "it has several Content-Length headers")?;
        } else if is("transfer-encoding") {
            coding.put(header.value, "it has several Transfer-Encoding headers")?;
        } else if is("expect") {
            expect.put(header.value, "it has several Expect headers")?;
        }
    }
    if expect.0.is_some_and(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
        return Err("it expects what is not served");
    }
    match host.0 {
        None if is_1_0 => {}
        None => return Err("it has no Host header"),
        Some(host) if is_authority(host) => {}
        Some(_) => return Err("its Host header is no host"),
    }
    if request.method == Some("CONNECT") {
        return Err("it asks for a tunnel");
    }
    check_target(request.path.unwrap_or_default(), host.0)?;
    match (length.0, coding.0) {
        (Some(_), Some(_)) => Err("Content-Length and Transfer-Encoding are both given"),
        (None, Some(_)) if is_1_0 => Err("HTTP/1.0 has no Transfer-Encoding"),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(At::Size { digits: 0, size: 0 })
        }
        (None, Some(_)) => Err("its Transfer-Encoding is not chunked alone"),
        (Some(length), None) => match number(length) {
            Some(0) => Ok(At::default()),
            Some(left) => Ok(At::Body { left }),
            None => Err("its Content-Length is no plain number"),
        },
        (None, None) => Ok(At::default()),
    }
}

/// A header that may stand once.
#[derive(Default)]
struct Once<'a>(Option<&'a [u8]>);

impl<'a> Once<'a> {
    fn put(&mut self, value: &'a [u8], twice: &'static str) -> Result<(), &'static str> {
        match self.0.replace(value) {
            None => Ok(()),
            Some(_) => Err(twice),
        }
    }
}

/// A path, or the whole URL (RFC 9112 §3.2.2) with the host that the Host header names. `*` belongs
/// to no caller: see [`crate::ingress`].
fn check_target(target: &str, host: Option<&[u8]>) -> Result<(), &'static str> {
    if target.contains('#') {
        return Err("its target has a fragment");
    }
    let uri: Uri = target.parse().map_err(|_| "its target is no path")?;
    match (uri.scheme_str(), uri.authority()) {
        (None, None) if target.starts_with('/') => Ok(()),
        (Some("http" | "https"), Some(authority)) => {
            let is_same =
                host.is_some_and(|host| host.eq_ignore_ascii_case(authority.as_str().as_bytes()));
            if is_same { Ok(()) } else { Err("its target names another host than its Host header") }
        }
        _ => Err("its target is no path"),
    }
}

pub(crate) fn is_authority(value: &[u8]) -> bool {
    !value.is_empty()
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_~:[]%".contains(byte))
}

pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // The largest numbers mean something of their own to parsers.
    text.parse().ok().filter(|number| is_plain && *number <= u64::from(u32::MAX) << 16)
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
