//! A name server that says what a test scripted, over UDP and TCP (RFC 1035), and counts how often
//! it was asked.

use crate::lock;
use std::{
    collections::HashMap,
    fmt,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// What is said when a name is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsReply {
    /// A and AAAA records, each where it was asked for.
    Addresses(Vec<IpAddr>),
    /// A canonical name, and its addresses where they are known.
    Alias(String, Vec<IpAddr>),
    /// A response code of RFC 1035 §4.1.1 without records: 2 is SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    Code(u8),
    /// Nothing.
    Silence,
    /// Bytes that are no answer.
    Garbage,
    /// An answer with another number than the question's.
    Strange(Vec<IpAddr>),
}

/// See the module.
pub struct DnsServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    script: Mutex<Script>,
    is_over: AtomicBool,
}

struct Script {
    /// By name without a final dot; one reply after the other, the last one stays.
    names: HashMap<String, Vec<DnsReply>>,
    /// For names that nobody scripted.
    otherwise: DnsReply,
    /// By name and type.
    asked: HashMap<(String, u16), usize>,
    ttl_secs: u32,
}

impl fmt::Debug for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsServer").field("addr", &self.addr).finish_non_exhaustive()
    }
}

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
/// RFC 1035 §4.2.1, without the extension of RFC 6891.
const MAX_UDP_BYTES: usize = 512;
/// RFC 1035 §4.2.2: the length of a message over TCP has two bytes.
const MAX_TCP_BYTES: usize = 65_535;

impl DnsServer {
    /// Listens there; answers are not to be kept (a time to live of 0), and unknown names do not
    /// exist.
    ///
    /// # Errors
    /// Where the port cannot be had.
    pub fn start(addr: SocketAddr) -> io::Result<Self> {
        let udp = UdpSocket::bind(addr)?;
        let addr = udp.local_addr()?;
        let tcp = TcpListener::bind(addr)?;
        udp.set_read_timeout(Some(Duration::from_millis(50)))?;
        let script = Script {
            names: HashMap::new(),
            otherwise: DnsReply::Code(3),
            asked: HashMap::new(),
            ttl_secs: 0,
        };
        let shared =
            Arc::new(Shared { script: Mutex::new(script), is_over: AtomicBool::new(false) });
        let threads = vec![
            thread::spawn({
                let shared = Arc::clone(&shared);
                move || shared.serve_udp(&udp)
            }),
            thread::spawn({
                let shared = Arc::clone(&shared);
                move || shared.serve_tcp(&tcp)
            }),
        ];
        Ok(Self { addr, shared, threads })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Says so from now on; of several replies one after the other, the last one stays.
    pub fn on(&self, name: &str, replies: impl IntoIterator<Item = DnsReply>) {
        let mut script = lock(&self.shared.script);
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        script.asked.retain(|(asked, _), _| *asked != name);
        script.names.insert(name, replies.into_iter().collect());
    }

    /// Says so where nothing was scripted.
    pub fn otherwise(&self, reply: DnsReply) {
        lock(&self.shared.script).otherwise = reply;
    }

    /// How long answers may be kept.
    pub fn set_ttl_secs(&self, ttl_secs: u32) {
        lock(&self.shared.script).ttl_secs = ttl_secs;
    }

    /// How often the name's IPv4 addresses were asked for since it was scripted.
    pub fn asked(&self, name: &str) -> usize {
        let key = (name.to_ascii_lowercase(), A);
        lock(&self.shared.script).asked.get(&key).copied().unwrap_or_default()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes the loop that accepts.
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4_096];
        while !self.is_over.load(Ordering::SeqCst) {
            let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
            let question = buffer.get(..length).unwrap_or_default();
            if let Some(answer) = self.answer(question, MAX_UDP_BYTES) {
                // A peer that has gone hears nothing.
                let _ = socket.send_to(&answer, peer);
            }
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            // One question after the other; whoever goes away or asks nonsense is left.
            let _ = stream.and_then(|stream| self.serve_stream(stream));
        }
    }

    fn serve_stream(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question)?;
            let Some(answer) = self.answer(&question, MAX_TCP_BYTES) else { return Ok(()) };
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            stream.write_all(&length.to_be_bytes())?;
            stream.write_all(&answer)?;
        }
    }

    fn answer(&self, question: &[u8], limit: usize) -> Option<Vec<u8>> {
        let (name, kind, end) = parse_question(question)?;
        let (reply, ttl_secs) = {
            let mut script = lock(&self.script);
            let count = script.asked.entry((name.clone(), kind)).or_default();
            let number = *count;
            *count += 1;
            let replies = script.names.get(&name);
            let reply = replies.and_then(|all| all.get(number).or(all.last())).cloned();
            (reply.unwrap_or_else(|| script.otherwise.clone()), script.ttl_secs)
        };
        let mut records = Vec::new();
        let mut code = 0;
        let mut number = question.get(..2)?.to_vec();
        // The name of the question, by its place (RFC 1035 §4.1.4).
        let asked = vec![0xc0, 12];
        match reply {
            DnsReply::Addresses(addresses) => {
                records.extend(
                    addresses.iter().filter_map(|one| record(&asked, kind, *one, ttl_secs)),
                );
            }
            DnsReply::Strange(addresses) => {
                number = number.iter().map(|byte| byte ^ 0x5a).collect();
                records.extend(
                    addresses.iter().filter_map(|one| record(&asked, kind, *one, ttl_secs)),
                );
            }
            DnsReply::Alias(to, addresses) => {
                let to = spelled(&to);
                records.push(raw_record(&asked, CNAME, &to, ttl_secs));
                records
                    .extend(addresses.iter().filter_map(|one| record(&to, kind, *one, ttl_secs)));
            }
            DnsReply::Code(given) => code = given,
            DnsReply::Silence => return None,
            DnsReply::Garbage => return Some(b"\xff\xff\xff no answer at all".to_vec()),
        }
        let mut answer = number;
        let body = records.concat();
        let is_cut = question.len() + body.len() > limit;
        let count = if is_cut { 0 } else { u16::try_from(records.len()).ok()? };
        // An answer that is authoritative; cut if it did not fit.
        answer.extend([if is_cut { 0x87 } else { 0x85 }, 0x80 | (code & 0xf)]);
        answer.extend([0, 1]);
        answer.extend(count.to_be_bytes());
        answer.extend([0, 0, 0, 0]);
        answer.extend_from_slice(question.get(12..end)?);
        if !is_cut {
            answer.extend(body);
        }
        Some(answer)
    }
}

/// The one question of a message: its name in lower case, its type, and where it ends.
fn parse_question(message: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = message.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), kind, at + 4))
}

fn spelled(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// `None` for an address of the family that was not asked for.
fn record(name: &[u8], kind: u16, address: IpAddr, ttl_secs: u32) -> Option<Vec<u8>> {
    match (kind, address) {
        (A, IpAddr::V4(address)) => Some(raw_record(name, A, &address.octets(), ttl_secs)),
        (AAAA, IpAddr::V6(address)) => Some(raw_record(name, AAAA, &address.octets(), ttl_secs)),
        _ => None,
    }
}

fn raw_record(name: &[u8], kind: u16, data: &[u8], ttl_secs: u32) -> Vec<u8> {
    let mut bytes = name.to_vec();
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(ttl_secs.to_be_bytes());
    bytes.extend(u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
    bytes.extend_from_slice(data);
    bytes
}
