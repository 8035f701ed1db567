//! A server that speaks HTTP/2 frame by frame, as a test tells it: nothing is checked, and nothing
//! is done of its own accord.

use crate::{
    TlsOptions,
    tls::{self, Authority},
};
use rustls::{ServerConnection, StreamOwned};
use std::{
    fmt,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest wait for the peer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A frame's bytes (RFC 9113 §4.1). The length is cut to 24 bits.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let [_, size @ ..] = length.to_be_bytes();
    [&size[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Literal fields that are not indexed (RFC 7541 §6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let literal = |(name, value): &(&str, &str)| {
        let text = |text: &str| [&length(text.len())[..], text.as_bytes()].concat();
        [&[0][..], &text(name), &text(value)].concat()
    };
    fields.iter().flat_map(literal).collect()
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn length(mut value: usize) -> Vec<u8> {
    let byte = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    if value < 127 {
        return vec![byte(value)];
    }
    let mut bytes = vec![127];
    value -= 127;
    while value >= 128 {
        bytes.push(byte(value % 128) | 128);
        value /= 128;
    }
    bytes.push(byte(value));
    bytes
}

/// One frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Of RST_STREAM and GOAWAY.
    pub fn error(&self) -> Option<u32> {
        let from = if self.kind == GOAWAY { 4 } else { 0 };
        let bytes = self.payload.get(from..from + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }
}

/// A connection after the client's preface has come.
pub struct RawConnection {
    stream: StreamOwned<ServerConnection, TcpStream>,
    /// From 0.
    pub number: usize,
}

impl fmt::Debug for RawConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawConnection").field("number", &self.number).finish_non_exhaustive()
    }
}

impl RawConnection {
    /// # Errors
    /// Where the peer has gone.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// # Errors
    /// Where the peer has gone.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.write(&frame(kind, flags, stream, payload))
    }

    /// An answer's head without more, with END_STREAM if `is_whole`.
    ///
    /// # Errors
    /// Where the peer has gone.
    pub fn head(&mut self, stream: u32, fields: &[(&str, &str)], is_whole: bool) -> io::Result<()> {
        let flags = END_HEADERS | if is_whole { END_STREAM } else { 0 };
        self.send(HEADERS, flags, stream, &block(fields))
    }

    /// A whole answer `200` of `application/json`.
    ///
    /// # Errors
    /// Where the peer has gone.
    pub fn answer(&mut self, stream: u32, body: &str) -> io::Result<()> {
        let fields = [(":status", "200"), ("content-type", "application/json")];
        self.head(stream, &fields, false)?;
        self.send(DATA, END_STREAM, stream, body.as_bytes())
    }

    /// # Errors
    /// Where the peer has gone, or is silent for 20 s.
    pub fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let [high, middle, low, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
        self.stream.read_exact(&mut payload)?;
        Ok(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// The first frame that fits; others before it are dropped, but settings are acknowledged.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn find(&mut self, fits: impl Fn(&Frame) -> bool) -> io::Result<Frame> {
        loop {
            let frame = self.read()?;
            if fits(&frame) {
                return Ok(frame);
            }
            if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                self.send(SETTINGS, ACK, 0, &[])?;
            }
        }
    }

    /// The next request's HEADERS. Its content, if it has any, comes after.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn request(&mut self) -> io::Result<Frame> {
        self.find(|frame| frame.kind == HEADERS)
    }
}

type Script = dyn Fn(&mut RawConnection) -> io::Result<()> + Send + Sync;

/// Listens on loopback with TLS and ALPN `h2`; each connection has a thread that plays the script.
/// When that has ended, or failed because the peer has gone, the connection is closed.
pub struct RawPeer {
    addr: SocketAddr,
    root: String,
    connections: Arc<AtomicUsize>,
    is_stopped: Arc<AtomicBool>,
    accept: Option<JoinHandle<()>>,
}

impl fmt::Debug for RawPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawPeer").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl RawPeer {
    /// `settings` is the payload of the SETTINGS frame that comes first; with `None` nothing is sent.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn start(
        settings: Option<&[u8]>,
        script: impl Fn(&mut RawConnection) -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let authority = Authority::new()?;
        let identity = authority.issue(&TlsOptions::default())?;
        let setup = tls::server(identity, false, &["h2"])?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let script: Arc<Script> = Arc::new(script);
        let first = settings.map(|settings| frame(SETTINGS, 0, 0, settings));
        let accept = thread::spawn({
            let (connections, is_stopped) = (Arc::clone(&connections), Arc::clone(&is_stopped));
            move || {
                for socket in listener.incoming() {
                    if is_stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(socket) = socket else { continue };
                    let number = connections.fetch_add(1, Ordering::SeqCst);
                    let Ok(session) = ServerConnection::new(Arc::clone(&setup.config)) else {
                        continue;
                    };
                    let (script, first) = (Arc::clone(&script), first.clone());
                    thread::spawn(move || {
                        // Its error means that the peer has gone.
                        let _ = play(socket, session, number, first.as_deref(), &*script);
                    });
                }
            }
        });
        Ok(Self { addr, root: authority.pem(), connections, is_stopped, accept: Some(accept) })
    }

    /// `localhost:PORT`.
    pub fn host_port(&self) -> String {
        format!("localhost:{}", self.addr.port())
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.host_port())
    }

    /// The authority to trust.
    pub fn root_pem(&self) -> &str {
        &self.root
    }

    /// Connections accepted since the start.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for RawPeer {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        let Some(accept) = self.accept.take() else { return };
        // Wakes the loop.
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
        let _ = accept.join();
    }
}

fn play(
    socket: TcpStream,
    session: ServerConnection,
    number: usize,
    first: Option<&[u8]>,
    script: &Script,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut raw = RawConnection { stream: StreamOwned::new(session, socket), number };
    let mut preface = [0; PREFACE.len()];
    raw.stream.read_exact(&mut preface)?;
    if preface != PREFACE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if let Some(first) = first {
        raw.write(first)?;
    }
    script(&mut raw)?;
    raw.stream.conn.send_close_notify();
    raw.stream.flush()
}
