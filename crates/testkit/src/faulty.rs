//! A provider on loopback, plain or TLS, that answers what a test scripted and remembers what it
//! was sent. One thread per connection.

use crate::{
    Answer, End, TlsOptions,
    answer::Step,
    client::{malformed, read_body, read_headers, read_line},
    lock, things,
    tls::{self, Authority, Identity, Tls},
};
use rustls::{ServerConnection, StreamOwned};
use socket2::SockRef;
use std::{
    collections::HashMap,
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Longest wait for the next bytes of a request; also the longest idle time of a connection.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// A free port of this machine.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Number of its connection, from 0.
    pub connection: usize,
    pub method: String,
    /// As sent, with the query.
    pub target: String,
    /// The target up to the question mark, not decoded.
    pub path: String,
    /// What stands behind the question mark; empty without one.
    pub query: String,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Without the framing of chunks.
    pub body: Vec<u8>,
}

impl Received {
    /// The first header of that name (any case).
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Where it is none.
    pub fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// Target, headers and body as one text, for a search.
    pub fn everything(&self) -> Vec<u8> {
        let mut all = format!("{} {}\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            all.extend_from_slice(format!("{name}: {value}\n").as_bytes());
        }
        all.extend_from_slice(&self.body);
        all
    }
}

/// What happens to a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    Serve,
    /// RST, before TLS.
    Reset,
    /// It is accepted, and nothing is ever sent, not even TLS.
    Silence,
}

/// See the module.
pub struct FaultyProvider {
    addr: SocketAddr,
    root: Option<Root>,
    shared: Arc<Shared>,
    accept: Option<JoinHandle<()>>,
}

struct Root {
    pem: String,
    der: Vec<u8>,
}

type Script = Arc<dyn Fn(&Received) -> Answer + Send + Sync>;

struct Shared {
    url: String,
    tls: Option<Tls>,
    state: Mutex<State>,
    /// Wakes pauses when the provider stops.
    stopping: Condvar,
}

struct State {
    /// Key: `/path`, or `METHOD /path`, which goes first.
    scripts: HashMap<String, Script>,
    received: Vec<Received>,
    connections: usize,
    greeting: Greeting,
    /// Handles by which a stop cuts the connections that are open.
    open: HashMap<usize, TcpStream>,
    is_stopped: bool,
}

impl fmt::Debug for FaultyProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyProvider").field("url", &self.shared.url).finish_non_exhaustive()
    }
}

impl FaultyProvider {
    /// Plain HTTP on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn start() -> io::Result<Self> {
        Self::listen(LOOPBACK, None)
    }

    /// TLS with a fresh certificate for `localhost` and `127.0.0.1` of a fresh authority, see
    /// [`Self::root_pem`].
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn start_tls() -> io::Result<Self> {
        Self::start_tls_with(&TlsOptions::default())
    }

    /// TLS as told.
    ///
    /// # Errors
    /// Where no port can be had, or a name is none.
    pub fn start_tls_with(options: &TlsOptions) -> io::Result<Self> {
        let authority = Authority::new()?;
        let identity = authority.issue(options)?;
        let setup = tls::server(identity, options.is_tls12_only, &["http/1.1"])?;
        Self::listen(LOOPBACK, Some(("localhost", &authority, setup)))
    }

    /// TLS at an address of the test's choice (port 0: a free one), for a host that stands in the
    /// URL, with what it shows at first, see [`Self::show`].
    ///
    /// # Errors
    /// Where the port cannot be had.
    pub fn start_tls_at(
        addr: SocketAddr,
        host: &str,
        authority: &Authority,
        identity: Identity,
    ) -> io::Result<Self> {
        Self::listen(addr, Some((host, authority, tls::server(identity, false, &["http/1.1"])?)))
    }

    /// Shows this to connections that come from now on; without effect where there is no TLS.
    pub fn show(&self, identity: Identity) {
        if let Some(tls) = &self.shared.tls {
            tls.shown.show(identity);
        }
    }

    fn listen(addr: SocketAddr, tls: Option<(&str, &Authority, Tls)>) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        let addr = listener.local_addr()?;
        let url = match &tls {
            Some((host, ..)) => format!("https://{host}:{}", addr.port()),
            None => format!("http://{addr}"),
        };
        let (root, tls) = match tls {
            Some((_, authority, tls)) => {
                let root = Root { pem: authority.pem(), der: authority.der() };
                (Some(root), Some(tls))
            }
            None => (None, None),
        };
        let state = Mutex::new(State {
            scripts: HashMap::new(),
            received: Vec::new(),
            connections: 0,
            greeting: Greeting::Serve,
            open: HashMap::new(),
            is_stopped: false,
        });
        let shared = Arc::new(Shared { url, tls, state, stopping: Condvar::new() });
        let accept = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Ok(Self { addr, root, shared, accept: Some(accept) })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`; without a slash at the end.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// `127.0.0.1:PORT`, or `localhost:PORT` with TLS: what `--allow-private-network` takes.
    pub fn host_port(&self) -> &str {
        self.shared.url.split_once("://").map_or("", |(_, rest)| rest)
    }

    /// The authority to trust, where there is TLS.
    pub fn root_pem(&self) -> Option<&str> {
        self.root.as_ref().map(|root| root.pem.as_str())
    }

    /// As [`Self::root_pem`], in DER.
    pub fn root_der(&self) -> Option<&[u8]> {
        self.root.as_ref().map(|root| root.der.as_slice())
    }

    /// [`things::THING_DESCRIPTION`] with this provider as its server.
    pub fn description(&self) -> String {
        things::THING_DESCRIPTION.replace("http://127.0.0.1:9", self.url())
    }

    /// Answers so at a place from now on: `/path` (any method) or `METHOD /path`, which goes first;
    /// the path as sent, without query.
    pub fn on(&self, place: &str, answer: Answer) {
        self.on_each(place, move |_| answer.clone());
    }

    /// As [`Self::on`] with one answer after the other; the last one stays.
    pub fn on_sequence(&self, place: &str, answers: impl IntoIterator<Item = Answer>) {
        let mut rest: Vec<Answer> = answers.into_iter().collect();
        rest.reverse();
        let rest = Mutex::new(rest);
        self.on_each(place, move |_| {
            let mut rest = lock(&rest);
            let last = rest.last().cloned();
            if rest.len() > 1 {
                rest.pop();
            }
            last.unwrap_or_else(|| Answer::status(500))
        });
    }

    /// As [`Self::on`], decided request by request.
    pub fn on_each(
        &self,
        place: &str,
        script: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) {
        lock(&self.shared.state).scripts.insert(place.to_owned(), Arc::new(script));
    }

    /// What happens to connections that come from now on.
    pub fn greet(&self, greeting: Greeting) {
        lock(&self.shared.state).greeting = greeting;
    }

    /// Every request whose body arrived completely, in order of arrival.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.shared.state).received.clone()
    }

    /// The latest of [`Self::requests`].
    pub fn last_request(&self) -> Option<Received> {
        lock(&self.shared.state).received.last().cloned()
    }

    /// Connections accepted since the start, those included that sent nothing.
    pub fn connections(&self) -> usize {
        lock(&self.shared.state).connections
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        lock(&self.shared.state).received.clear();
    }

    /// Stops listening and cuts every connection. Then the address is one where nobody listens.
    pub fn stop(&mut self) {
        let Some(accept) = self.accept.take() else { return };
        {
            let mut state = lock(&self.shared.state);
            state.is_stopped = true;
            for stream in state.open.values() {
                // Fails only if the peer has gone.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.stopping.notify_all();
        // Wakes the loop; a refusal would mean that it has ended already.
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
        let _ = accept.join();
    }
}

impl Drop for FaultyProvider {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whether the connection goes on.
enum Next {
    Request,
    Gone,
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let (number, greeting) = {
                let mut state = lock(&self.state);
                if state.is_stopped {
                    return;
                }
                let number = state.connections;
                state.connections += 1;
                if let Ok(handle) = stream.try_clone() {
                    state.open.insert(number, handle);
                }
                (number, state.greeting)
            };
            let shared = Arc::clone(self);
            thread::spawn(move || {
                let end = shared.connection(&stream, number, greeting);
                // The other handle would keep the socket open beyond its end.
                lock(&shared.state).open.remove(&number);
                if matches!(end, Ok(End::Reset)) {
                    // RFC 9293 §3.10.4: a close with linger 0 sends RST.
                    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
            });
        }
    }

    /// Serves one connection and tells how to leave it.
    fn connection(&self, stream: &TcpStream, number: usize, greeting: Greeting) -> io::Result<End> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IDLE_TIMEOUT))?;
        match greeting {
            Greeting::Serve => {}
            Greeting::Reset => return Ok(End::Reset),
            Greeting::Silence => {
                wait_for_the_end(stream);
                return Ok(End::Drop);
            }
        }
        match &self.tls {
            None => self.serve(BufReader::new(Wire::Plain(stream)), number),
            Some(tls) => {
                let connection =
                    ServerConnection::new(Arc::clone(&tls.config)).map_err(io::Error::other)?;
                let wire = Wire::Tls(Box::new(StreamOwned::new(connection, stream)));
                self.serve(BufReader::new(wire), number)
            }
        }
    }

    fn serve(&self, mut wire: BufReader<Wire<'_>>, number: usize) -> io::Result<End> {
        loop {
            let Some(received) = read_request(&mut wire, number)? else { return Ok(End::Close) };
            let script = {
                let mut state = lock(&self.state);
                let exact = format!("{} {}", received.method, received.path);
                let scripts = &state.scripts;
                let script = scripts.get(&exact).or_else(|| scripts.get(&received.path)).cloned();
                state.received.push(received.clone());
                script
            };
            let answer = match script {
                Some(script) => script(&received),
                None => things::answer(&received, &self.url),
            };
            let (steps, end) = answer.script();
            for step in steps {
                match step {
                    Step::Send(bytes) => {
                        wire.get_mut().write_all(&bytes)?;
                        wire.get_mut().flush()?;
                    }
                    Step::Repeat(bytes, times) => {
                        for _ in 0..times {
                            wire.get_mut().write_all(&bytes)?;
                        }
                        wire.get_mut().flush()?;
                    }
                    Step::Pause(pause) => match self.pause(pause) {
                        Next::Request => {}
                        Next::Gone => return Ok(End::Drop),
                    },
                }
            }
            match end {
                End::KeepAlive => {}
                End::Close => {
                    wire.get_mut().close();
                    return Ok(End::Close);
                }
                End::Drop | End::Reset => return Ok(end),
                End::Silence => {
                    wait_for_the_end(&mut wire);
                    return Ok(End::Drop);
                }
            }
        }
    }

    /// Waits, or until the provider stops.
    fn pause(&self, pause: Duration) -> Next {
        let state = lock(&self.state);
        let waited = self.stopping.wait_timeout_while(state, pause, |state| !state.is_stopped);
        match waited {
            Ok((state, _)) if !state.is_stopped => Next::Request,
            _ => Next::Gone,
        }
    }
}

/// Reads and drops until the peer leaves or nothing comes for [`IDLE_TIMEOUT`].
fn wait_for_the_end(mut stream: impl Read) {
    // Its error is an end too.
    let _ = io::copy(&mut stream, &mut io::sink());
}

/// `None` where the peer has left between two requests.
fn read_request(stream: &mut impl BufRead, connection: usize) -> io::Result<Option<Received>> {
    if stream.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let line = read_line(stream)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(malformed("no HTTP/1 request line"));
    };
    let headers = read_headers(stream)?;
    let mut body = Vec::new();
    let is_framed = headers
        .iter()
        .any(|(name, _)| matches!(name.as_str(), "content-length" | "transfer-encoding"));
    if is_framed && read_body(stream, &headers, &mut body) != crate::client::BodyEnd::Complete {
        return Err(malformed("a body that is cut"));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Some(Received {
        connection,
        method: method.to_owned(),
        target: target.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body,
    }))
}

/// The connection, with or without TLS. The socket itself belongs to the thread, which closes it.
enum Wire<'a> {
    Plain(&'a TcpStream),
    Tls(Box<StreamOwned<ServerConnection, &'a TcpStream>>),
}

impl Wire<'_> {
    /// Says goodbye: TLS closure alert, then FIN.
    fn close(&mut self) {
        // Errors mean that the peer was faster.
        let socket = match self {
            Self::Plain(stream) => *stream,
            Self::Tls(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
                stream.sock
            }
        };
        let _ = socket.shutdown(Shutdown::Write);
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
