//! Sees every packet of the network that a test runs in, and says where each was going. Needs the
//! right to open packet sockets: see [`crate::namespace`].

use crate::{lock, wait_until};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    collections::BTreeSet,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// A packet's ends; ports are 0 where its protocol has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    pub protocol: Transport,
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// The packet that begins a TCP connection.
    pub is_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    Tcp,
    Udp,
    /// Of any other number, for instance ICMP.
    Other(u8),
}

/// See the module. Each packet is kept once, however often it came.
#[derive(Debug)]
pub struct PacketRecorder {
    seen: Arc<Mutex<BTreeSet<Packet>>>,
    is_over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

/// RFC 863: where marks go that show how far the recorder has read.
const MARKS: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 255, 255, 1), 9);

impl PacketRecorder {
    /// # Errors
    /// Without the right to see packets.
    pub fn start() -> io::Result<Self> {
        // ETH_P_ALL in the byte order of the network: see packet(7).
        let all = Protocol::from(i32::from(3_u16.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(all))?;
        socket.set_recv_buffer_size(16 << 20)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let reader = thread::spawn({
            let (seen, is_over) = (Arc::clone(&seen), Arc::clone(&is_over));
            move || {
                let mut buffer = vec![0; 64 << 10];
                while !is_over.load(Ordering::SeqCst) {
                    // A time-out, or a packet.
                    let Ok(length) = (&socket).read(&mut buffer) else { continue };
                    if let Some(packet) = buffer.get(..length).and_then(parse) {
                        lock(&seen).insert(packet);
                    }
                }
            }
        });
        Ok(Self { seen, is_over, reader: Some(reader) })
    }

    /// Every packet so far: a mark is sent, and waited for.
    ///
    /// # Errors
    /// Where the mark cannot be sent.
    pub fn packets(&self) -> io::Result<Vec<Packet>> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let from = socket.local_addr()?;
        socket.send_to(b"mark", MARKS)?;
        let is_mark = |packet: &Packet| packet.from == from && packet.to == SocketAddr::from(MARKS);
        wait_until(Duration::from_secs(10), || lock(&self.seen).iter().any(is_mark));
        let mut seen = lock(&self.seen);
        // The mark itself, and what the system says to it.
        seen.retain(|packet| packet.to != SocketAddr::from(MARKS) && packet.from.ip() != MARKS.0);
        Ok(seen.iter().copied().collect())
    }

    /// Where TCP connections were begun to, so far.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn connections(&self) -> io::Result<Vec<SocketAddr>> {
        let packets = self.packets()?;
        Ok(packets.iter().filter(|packet| packet.is_first).map(|packet| packet.to).collect())
    }

    /// Forgets what was seen so far.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn forget(&self) -> io::Result<()> {
        self.packets()?;
        lock(&self.seen).clear();
        Ok(())
    }
}

impl Drop for PacketRecorder {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Reads an IP packet's ends (RFC 791 §3.1, RFC 8200 §3).
fn parse(bytes: &[u8]) -> Option<Packet> {
    let (number, from, to, rest): (u8, IpAddr, IpAddr, &[u8]) = match bytes.first()? >> 4 {
        4 => {
            let header = usize::from(bytes.first()? & 0xf) * 4;
            let from: [u8; 4] = bytes.get(12..16)?.try_into().ok()?;
            let to: [u8; 4] = bytes.get(16..20)?.try_into().ok()?;
            (
                *bytes.get(9)?,
                Ipv4Addr::from(from).into(),
                Ipv4Addr::from(to).into(),
                bytes.get(header..)?,
            )
        }
        6 => {
            let from: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let to: [u8; 16] = bytes.get(24..40)?.try_into().ok()?;
            (
                *bytes.get(6)?,
                Ipv6Addr::from(from).into(),
                Ipv6Addr::from(to).into(),
                bytes.get(40..)?,
            )
        }
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?));
    let has_ports = matches!(number, 6 | 17);
    let (source, target) = if has_ports { (port(0)?, port(2)?) } else { (0, 0) };
    // SYN without ACK (RFC 9293 §3.1).
    let is_first = number == 6 && rest.get(13)? & 0x12 == 0x02;
    let protocol = match number {
        6 => Transport::Tcp,
        17 => Transport::Udp,
        other => Transport::Other(other),
    };
    Some(Packet {
        protocol,
        from: SocketAddr::new(from, source),
        to: SocketAddr::new(to, target),
        is_first,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_packets_are_read() {
        let mut v4 = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 169, 254, 1, 2];
        v4.extend([0x12, 0x34, 0x01, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x02]);
        let packet = parse(&v4).unwrap();
        assert_eq!(packet.from, "127.0.0.1:4660".parse().unwrap());
        assert_eq!(packet.to, "169.254.1.2:443".parse().unwrap());
        assert_eq!((packet.protocol, packet.is_first), (Transport::Tcp, true));
        // The answer to it.
        *v4.last_mut().unwrap() = 0x12;
        assert!(!parse(&v4).unwrap().is_first);
        let mut v6 = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        v6.extend("fd00:ec2::254".parse::<Ipv6Addr>().unwrap().octets());
        v6.extend([0, 99, 0, 53, 0, 8, 0, 0]);
        let packet = parse(&v6).unwrap();
        assert_eq!(packet.to, "[fd00:ec2::254]:53".parse().unwrap());
        assert_eq!((packet.protocol, packet.is_first), (Transport::Udp, false));
        for length in 0..v6.len() - 4 {
            assert_eq!(parse(&v6[..length]), None);
        }
        assert_eq!(parse(b"\x00not ip"), None);
    }
}
