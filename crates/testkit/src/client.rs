//! A blocking HTTP/1.1 client that sends exactly the bytes it is told and reports how an answer
//! ended, which ordinary clients hide.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longest wait for a connection, for a write, and for each read.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// Longest head or chunk-size line that is read, in bytes.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// How the body of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// With its last chunk, its declared length, or without a body.
    Complete,
    /// By the end of the connection, with neither a length nor chunks declared.
    Closed,
    /// Before its last chunk or its declared length: reset, closed, or malformed chunks.
    Aborted,
    /// Nothing more came within the time-out.
    TimedOut,
}

/// An answer as it was received.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Without the framing of chunks; as far as it came.
    pub body: Vec<u8>,
    pub end: BodyEnd,
}

impl Response {
    /// The first header of that name (any case).
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text, with replacement characters for what is no UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, if it is.
    ///
    /// # Errors
    /// Where it is no JSON.
    pub fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// Status line, headers and body as one text: what a search for secrets goes through.
    pub fn everything(&self) -> Vec<u8> {
        let mut all = format!("{}\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            all.extend_from_slice(format!("{name}: {value}\n").as_bytes());
        }
        all.extend_from_slice(&self.body);
        all
    }
}

/// A connection that is kept alive between requests.
#[derive(Debug)]
pub struct Connection {
    addr: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// # Errors
    /// Where nobody listens.
    pub fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { addr, stream: BufReader::new(stream) })
    }

    /// Changes how long each read waits.
    ///
    /// # Errors
    /// Where the system refuses, for instance a zero time-out.
    pub fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(timeout))
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// Where the connection is closed.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Closes the writing half alone: what the peer still sends can be read.
    ///
    /// # Errors
    /// Where the connection is closed.
    pub fn end_writing(&mut self) -> io::Result<()> {
        self.stream.get_ref().shutdown(std::net::Shutdown::Write)
    }

    /// Sends one request: `Host`, the given headers as they are, and a `Content-Length` where there
    /// is a body and no header that frames it.
    ///
    /// # Errors
    /// Where the connection is closed or no answer comes.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let given =
            |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let mut message = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        if !given("host") {
            write!(message, "Host: {}\r\n", self.addr)?;
        }
        if !body.is_empty() && !given("content-length") && !given("transfer-encoding") {
            write!(message, "Content-Length: {}\r\n", body.len())?;
        }
        for (name, value) in headers {
            write!(message, "{name}: {value}\r\n")?;
        }
        message.extend_from_slice(b"\r\n");
        message.extend_from_slice(body);
        // A server that refuses early may close while the body is still being sent: its answer
        // counts, not the failed write.
        let written = self.write(&message);
        match self.read_response(method == "HEAD") {
            Ok(response) => Ok(response),
            Err(error) => Err(written.err().unwrap_or(error)),
        }
    }

    /// Reads one answer; informational ones (1xx) are skipped.
    ///
    /// # Errors
    /// Where no complete, well-formed head came.
    pub fn read_response(&mut self, is_head: bool) -> io::Result<Response> {
        loop {
            let (status, headers) = read_head(&mut self.stream)?;
            if (100..200).contains(&status) {
                continue;
            }
            let mut response =
                Response { status, headers, body: Vec::new(), end: BodyEnd::Complete };
            if !is_head && status != 204 && status != 304 {
                response.end = read_body(&mut self.stream, &response.headers, &mut response.body);
            }
            return Ok(response);
        }
    }

    /// One byte as it comes.
    ///
    /// # Errors
    /// Where none comes within the time-out, or the connection is closed.
    pub fn read_byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        let [byte] = byte;
        Ok(byte)
    }

    /// Reads one answer as [`Self::read_response`] and tells only how its body ended.
    pub fn read_end(&mut self) -> BodyEnd {
        self.read_response(false).map_or(BodyEnd::Aborted, |response| response.end)
    }

    /// Whether the peer closes the connection within `timeout`, sending nothing more.
    pub fn is_closed_within(&mut self, timeout: Duration) -> bool {
        if self.set_read_timeout(timeout).is_err() {
            return false;
        }
        match self.stream.fill_buf() {
            Ok(rest) => rest.is_empty(),
            Err(error) => !is_timeout(&error),
        }
    }
}

/// One request on a connection of its own.
///
/// # Errors
/// As [`Connection::request`].
pub fn send(
    addr: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    Connection::open(addr)?.request(method, target, headers, body)
}

/// A GET on a connection of its own.
///
/// # Errors
/// As [`Connection::request`].
pub fn get(addr: SocketAddr, target: &str, headers: &[(&str, &str)]) -> io::Result<Response> {
    send(addr, "GET", target, headers, b"")
}

/// A POST of JSON on a connection of its own.
///
/// # Errors
/// As [`Connection::request`].
pub fn post(
    addr: SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
    json: &serde_json::Value,
) -> io::Result<Response> {
    let mut all = vec![("Content-Type", "application/json")];
    all.extend_from_slice(headers);
    send(addr, "POST", target, &all, json.to_string().as_bytes())
}

/// Sends bytes as they are and returns everything that comes until the peer closes, or until
/// nothing came for `patience`. Ask for `Connection: close` where the peer is well-behaved.
///
/// # Errors
/// Where nobody listens.
pub fn raw(addr: SocketAddr, bytes: &[u8], patience: Duration) -> io::Result<Vec<u8>> {
    let mut connection = Connection::open(addr)?;
    connection.set_read_timeout(patience)?;
    // The peer may close early, having answered.
    let _ = connection.write(bytes);
    let mut received = Vec::new();
    // What came before a reset or a time-out counts.
    let _ = connection.stream.read_to_end(&mut received);
    Ok(received)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// One line without its line break.
pub(crate) fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    stream.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

pub(crate) fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn read_head(stream: &mut impl BufRead) -> io::Result<(u16, Vec<(String, String)>)> {
    let status_line = read_line(stream)?;
    let status = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| malformed("no HTTP/1 status line"))?;
    Ok((status, read_headers(stream)?))
}

/// Header lines up to the empty one; names in lower case.
pub(crate) fn read_headers(stream: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("no header line"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

pub(crate) fn read_body(
    stream: &mut impl BufRead,
    headers: &[(String, String)],
    body: &mut Vec<u8>,
) -> BodyEnd {
    let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted);
    let read = if header("transfer-encoding").is_some_and(|(_, value)| value.ends_with("chunked")) {
        read_chunks(stream, body)
    } else if let Some((_, length)) = header("content-length") {
        match length.parse::<u64>() {
            Ok(length) => read_exactly(stream, length, body),
            Err(_) => Err(malformed("no number in Content-Length")),
        }
    } else {
        // read_to_end keeps what it read before an error.
        stream.read_to_end(body).map(|_| BodyEnd::Closed)
    };
    match read {
        Ok(end) => end,
        Err(error) if is_timeout(&error) => BodyEnd::TimedOut,
        Err(_) => BodyEnd::Aborted,
    }
}

fn read_exactly(stream: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<BodyEnd> {
    let read = stream.take(length).read_to_end(body)?;
    Ok(if read as u64 == length { BodyEnd::Complete } else { BodyEnd::Aborted })
}

/// Chunked coding (RFC 9112 §7.1); chunk extensions are skipped, trailers are read and dropped.
fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<BodyEnd> {
    loop {
        let line = read_line(stream)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| malformed("no chunk size"))?;
        if size == 0 {
            while !read_line(stream)?.is_empty() {}
            return Ok(BodyEnd::Complete);
        }
        if read_exactly(stream, size, body)? == BodyEnd::Aborted {
            return Ok(BodyEnd::Aborted);
        }
        if !read_line(stream)?.is_empty() {
            return Err(malformed("no line break after a chunk"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Response {
        let mut stream = bytes;
        let (status, headers) = read_head(&mut stream).unwrap();
        let mut body = Vec::new();
        let end = read_body(&mut stream, &headers, &mut body);
        Response { status, headers, body, end }
    }

    #[test]
    fn a_clean_end_is_told_from_an_aborted_one() {
        let chunked = |rest: &str| {
            parse(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{rest}").as_bytes())
        };
        let whole = chunked("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n");
        assert_eq!((whole.text().as_str(), whole.end), ("abcde", BodyEnd::Complete));
        for cut in
            ["3\r\nabc\r\n2\r\nd", "3\r\nabc\r\n", "3\r\nabc\r\n0\r\n", "3\r\nabcX\r\n0\r\n\r\n"]
        {
            assert_eq!(chunked(cut).end, BodyEnd::Aborted, "{cut:?}");
        }
        let short = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
        assert_eq!((short.text().as_str(), short.end), ("abc", BodyEnd::Aborted));
        let closed = parse(b"HTTP/1.0 200 OK\r\n\r\nabc");
        assert_eq!((closed.text().as_str(), closed.end), ("abc", BodyEnd::Closed));
    }
}
