//! First flights of TLS, byte by byte: what is offered, and what is not gone on with.

use crate::world::{SHORT, config};
use outbound::{Deadlines, GuardPolicy, OutboundError, Pool, Target, TlsFailure};
use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

/// RFC 8446 §4.2.
const SUPPORTED_GROUPS: u16 = 10;
const KEY_SHARE: u16 = 51;
/// RFC 7627 §5.1.
const EXTENDED_MASTER_SECRET: u16 = 23;
const X25519_MLKEM768: u16 = 0x11ec;

/// What a peer is told first; it says this in return, and no more.
async fn exchange(answer: Vec<u8>) -> (Vec<u8>, Result<(), OutboundError>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut head = [0; 5];
        socket.read_exact(&mut head).unwrap();
        let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        socket.read_exact(&mut hello).unwrap();
        socket.write_all(&answer).unwrap();
        // Its end is the client's: an alert, and then nothing.
        let _ = socket.read_to_end(&mut Vec::new());
        hello
    });
    let place = format!("127.0.0.1:{port}");
    let policy = GuardPolicy::new(&[place.as_str()]).unwrap();
    let target = Target::parse(&format!("https://{place}"), &policy).unwrap();
    let deadlines = Deadlines { tls: SHORT, ..Deadlines::default() };
    let found = Pool::new(config(None)).checkout(&target, &policy, &deadlines).await.map(drop);
    (peer.join().unwrap(), found)
}

/// The extensions of a ClientHello (RFC 8446 §4.1.2).
fn extensions(hello: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let number = |at: usize| u16::from_be_bytes([hello[at], hello[at + 1]]);
    let mut at = 4 + 2 + 32;
    at += 1 + usize::from(hello[at]);
    at += 2 + usize::from(number(at));
    at += 1 + usize::from(hello[at]);
    at += 2;
    let mut found = Vec::new();
    while at < hello.len() {
        let length = usize::from(number(at + 2));
        found.push((number(at), hello[at + 4..at + 4 + length].to_vec()));
        at += 4 + length;
    }
    found
}

/// A ServerHello of TLS 1.2 with these extensions (RFC 5246 §7.4.1.3).
fn server_hello(kinds: &[u16]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    // No session; ECDHE with AES-128-GCM; no compression.
    body.extend([0, 0xc0, 0x2f, 0]);
    let extensions: Vec<u8> =
        kinds.iter().flat_map(|kind| [kind.to_be_bytes(), [0, 0]].concat()).collect();
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    [&[22, 3, 3, 0, length + 4, 2, 0, 0, length], body.as_slice()].concat()
}

/// What is recorded today is not read once there are quantum computers.
#[tokio::test]
async fn a_provider_is_offered_a_hybrid_key_exchange_first() {
    let (hello, _) = exchange(Vec::new()).await;
    let extensions = extensions(&hello);
    let of = |wanted: u16| &extensions.iter().find(|(kind, _)| *kind == wanted).unwrap().1;
    assert_eq!(of(SUPPORTED_GROUPS)[2..4], X25519_MLKEM768.to_be_bytes());
    // A share of it comes along: 1184 bytes of ML-KEM and 32 of X25519.
    assert_eq!(of(KEY_SHARE)[2..6], [0x11, 0xec, 0x04, 0xc0]);
}

/// Without it a session is not bound to its handshake (RFC 7627 §1).
#[tokio::test]
async fn tls12_without_an_extended_master_secret_is_not_gone_on_with() {
    let (_, found) = exchange(server_hello(&[])).await;
    assert_eq!(found, Err(OutboundError::Tls(TlsFailure::NothingInCommon)));
    // With it, the rest of the handshake is waited for.
    let (_, found) = exchange(server_hello(&[EXTENDED_MASTER_SECRET])).await;
    assert!(!matches!(found, Err(OutboundError::Tls(_))), "{found:?}");
}
