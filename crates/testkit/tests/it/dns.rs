use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};
use testkit::{DnsReply, DnsServer};

/// A question by hand (RFC 1035 §4.1): number 0x1234, recursion desired.
fn question(name: &str, kind: u8) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend([0, 0, kind, 0, 1]);
    bytes
}

fn ask(server: &DnsServer, name: &str, kind: u8) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket.send_to(&question(name, kind), server.addr()).unwrap();
    let mut buffer = [0; 512];
    socket.recv(&mut buffer).map_or_else(|_| Vec::new(), |length| buffer[..length].to_vec())
}

const A: u8 = 1;
const AAAA: u8 = 28;

#[test]
fn scripted_answers_come_one_after_the_other() {
    let server = DnsServer::start(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let first: IpAddr = [192, 0, 2, 1].into();
    let second: IpAddr = "2001:db8::1".parse().unwrap();
    let both = DnsReply::Addresses(vec![first, second]);
    server.on("a.example", [both, DnsReply::Code(2), DnsReply::Silence]);
    let answer = ask(&server, "A.Example", A);
    // The question's number, one answer, without an error, for the name at offset 12.
    assert_eq!(answer[..8], [0x12, 0x34, 0x85, 0x80, 0, 1, 0, 1]);
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 1];
    assert!(answer.ends_with(&record), "{answer:x?}");
    assert!(
        ask(&server, "a.example", AAAA)
            .ends_with(&[0, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    );
    assert_eq!(ask(&server, "a.example", A)[3] & 0xf, 2);
    for _ in 0..2 {
        assert!(ask(&server, "a.example", A).is_empty());
    }
    assert_eq!(server.asked("a.example"), 4);
    assert_eq!(ask(&server, "unknown.example", A)[3] & 0xf, 3);
}

#[test]
fn what_is_too_long_comes_over_tcp() {
    let server = DnsServer::start(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let many = (0..100_u8).map(|last| IpAddr::from([192, 0, 2, last])).collect();
    server.on("many.example", [DnsReply::Alias("x.example".into(), many)]);
    let cut = ask(&server, "many.example", A);
    assert_eq!((cut[2] & 0x02, &cut[6..8]), (0x02, &[0_u8, 0][..]));
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let asked = question("many.example", A);
    stream.write_all(&[0, u8::try_from(asked.len()).unwrap()]).unwrap();
    stream.write_all(&asked).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    // The alias and its addresses.
    assert_eq!((answer[2] & 0x02, &answer[6..8]), (0, &[0_u8, 101][..]));
}
