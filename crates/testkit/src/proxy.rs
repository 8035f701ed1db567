//! A proxy on loopback that passes bytes on as they are, and lets the connection fail where a test
//! says: what happens below TLS, or in the middle of a write, is done here.

use crate::lock;
use socket2::SockRef;
use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// What happens to connections that come from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyFault {
    None,
    /// Once this many bytes came from the peer that connected; they are passed on.
    AfterUp {
        bytes: u64,
        cut: Cut,
    },
    /// Once this many bytes came from the provider; so many are passed on, and no more.
    AfterDown {
        bytes: u64,
        cut: Cut,
    },
    /// What the provider sends is passed on in pieces, with a pause before each.
    Slow {
        bytes: usize,
        pause: Duration,
    },
}

/// How a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// RST.
    Reset,
    /// FIN.
    Close,
    /// Not at all: nothing is passed on any more.
    Silence,
}

/// See the module.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accept: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    provider: SocketAddr,
    fault: Mutex<ProxyFault>,
    /// Before each piece that the provider sends, on all connections.
    delay: Mutex<Duration>,
    /// Holes so far: odd while one is open.
    holes: AtomicU64,
    /// Bytes that came from peers.
    bytes_up: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

impl FaultProxy {
    /// In front of a provider, on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn start(provider: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            provider,
            fault: Mutex::new(ProxyFault::None),
            delay: Mutex::new(Duration::ZERO),
            holes: AtomicU64::new(0),
            bytes_up: AtomicU64::new(0),
            open: Mutex::new(Vec::new()),
            is_over: AtomicBool::new(false),
        });
        let accept = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Ok(Self { addr, shared, accept: Some(accept) })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn set(&self, fault: ProxyFault) {
        *lock(&self.shared.fault) = fault;
    }

    /// From now on each piece that the provider sends is late by so much, on open connections too.
    pub fn delay(&self, delay: Duration) {
        *lock(&self.shared.delay) = delay;
    }

    /// From now on whatever is sent, on all connections, is lost, and nobody is told.
    pub fn open_hole(&self) {
        self.change_hole(1);
    }

    /// New connections pass again. Those that lost something stay silent for ever, as where something
    /// on the way has forgotten them.
    pub fn close_hole(&self) {
        self.change_hole(0);
    }

    fn change_hole(&self, wanted: u64) {
        let holes = &self.shared.holes;
        if holes.load(Ordering::SeqCst) % 2 != wanted {
            holes.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Bytes that came from all peers so far.
    pub fn bytes_up(&self) -> u64 {
        self.shared.bytes_up.load(Ordering::SeqCst)
    }

    /// Cuts the connections that are open, so that the next call needs a new one.
    pub fn cut_all(&self) {
        for stream in lock(&self.shared.open).drain(..) {
            // Fails only if the peer has gone.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.cut_all();
        // Wakes the loop.
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
        if let Some(accept) = self.accept.take() {
            let _ = accept.join();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for peer in listener.incoming() {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let Ok(peer) = peer else { continue };
            let shared = Arc::clone(self);
            let fault = *lock(&self.fault);
            // A connection that cannot be made is one that fails.
            thread::spawn(move || shared.connection(&Arc::new(peer), fault));
        }
    }

    fn connection(self: &Arc<Self>, peer: &Arc<TcpStream>, fault: ProxyFault) -> io::Result<()> {
        let begun = self.holes.load(Ordering::SeqCst);
        if begun % 2 == 1 {
            return end(peer, Cut::Silence);
        }
        let provider = Arc::new(TcpStream::connect(self.provider)?);
        peer.set_nodelay(true)?;
        provider.set_nodelay(true)?;
        lock(&self.open).extend([peer.try_clone()?, provider.try_clone()?]);
        thread::spawn({
            let (shared, peer, provider) =
                (Arc::clone(self), Arc::clone(peer), Arc::clone(&provider));
            move || shared.up(&peer, &provider, fault, begun)
        });
        self.down(&provider, peer, fault, begun)
    }

    /// Whether a hole was opened since a connection began.
    fn is_lost(&self, begun: u64) -> bool {
        self.holes.load(Ordering::SeqCst) != begun
    }

    fn up(
        &self,
        mut peer: &TcpStream,
        mut provider: &TcpStream,
        fault: ProxyFault,
        begun: u64,
    ) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        let mut total = 0;
        loop {
            let length = peer.read(&mut buffer)?;
            if self.is_lost(begun) {
                // Neither hears of the other any more, until the peer has had enough.
                end(peer, Cut::Silence)?;
                return provider.shutdown(Shutdown::Both);
            }
            if length == 0 {
                return provider.shutdown(Shutdown::Write);
            }
            self.bytes_up.fetch_add(length as u64, Ordering::SeqCst);
            provider.write_all(buffer.get(..length).unwrap_or_default())?;
            total += length as u64;
            if let ProxyFault::AfterUp { bytes, cut } = fault
                && total >= bytes
            {
                return end(peer, cut);
            }
        }
    }

    fn down(
        &self,
        mut provider: &TcpStream,
        mut peer: &TcpStream,
        fault: ProxyFault,
        begun: u64,
    ) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        let mut left = match fault {
            ProxyFault::AfterDown { bytes, .. } => bytes,
            _ => u64::MAX,
        };
        loop {
            let length = provider.read(&mut buffer)?;
            let delay = *lock(&self.delay);
            thread::sleep(delay);
            if self.is_lost(begun) {
                return end(provider, Cut::Silence);
            }
            if length == 0 {
                return peer.shutdown(Shutdown::Write);
            }
            let allowed = usize::try_from(left).map_or(length, |left| left.min(length));
            let data = buffer.get(..allowed).unwrap_or_default();
            match fault {
                ProxyFault::Slow { bytes, pause } => {
                    for piece in data.chunks(bytes.max(1)) {
                        thread::sleep(pause);
                        peer.write_all(piece)?;
                    }
                }
                _ => peer.write_all(data)?,
            }
            left -= allowed as u64;
            if let ProxyFault::AfterDown { cut, .. } = fault
                && left == 0
            {
                return end(peer, cut);
            }
        }
    }
}

/// Ends the peer's connection; the provider's is cut too, so that the other direction ends.
fn end(peer: &TcpStream, cut: Cut) -> io::Result<()> {
    match cut {
        Cut::Silence => {
            // Whoever waits, waits until the peer has had enough.
            let _ = io::copy(&mut { peer }, &mut io::sink());
            Ok(())
        }
        Cut::Close => peer.shutdown(Shutdown::Both),
        Cut::Reset => {
            // RFC 9293 §3.10.4: connecting a socket that is connected to nobody sends RST, as a
            // close with linger 0 would if nobody else held the socket.
            let socket = SockRef::from(peer);
            socket.set_linger(Some(Duration::ZERO))?;
            rustix::net::connect_unspec(peer).map_err(Into::into)
        }
    }
}
