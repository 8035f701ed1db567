use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};
use testkit::{Cut, FaultProxy, ProxyFault};

/// Sends ten bytes back for each byte.
fn tenfold() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok()
                    && stream.write_all(&[byte[0]; 10]).is_ok()
                {}
            });
        }
    });
    addr
}

/// What comes for three bytes, and how it ends.
fn exchange(proxy: &FaultProxy) -> (usize, io::Result<usize>) {
    let mut stream = TcpStream::connect(proxy.addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut came = 0;
    let mut buffer = [0; 10];
    for wanted in [10, 20, 30] {
        // A connection that was cut takes no more.
        let _ = stream.write_all(b"a");
        while came < wanted {
            match stream.read(&mut buffer) {
                Ok(length) if length > 0 => came += length,
                end => return (came, end),
            }
        }
    }
    (came, Ok(0))
}

#[test]
fn bytes_pass_and_connections_end_where_they_were_told_to() {
    let proxy = FaultProxy::start(tenfold()).unwrap();
    assert!(matches!(exchange(&proxy), (30, Ok(0))));
    assert_eq!(proxy.bytes_up(), 3);
    // On a busy machine the client may see the end of the other side's stream first.
    let reset = |end: io::Result<usize>| {
        end.map_or_else(|error| error.kind() == io::ErrorKind::ConnectionReset, |count| count == 0)
    };
    proxy.set(ProxyFault::AfterDown { bytes: 13, cut: Cut::Reset });
    let (came, end) = exchange(&proxy);
    assert!(came <= 13 && reset(end), "{came}");
    proxy.set(ProxyFault::AfterDown { bytes: 13, cut: Cut::Close });
    let (came, end) = exchange(&proxy);
    assert_eq!((came, end.unwrap()), (13, 0));
    proxy.set(ProxyFault::AfterDown { bytes: 13, cut: Cut::Silence });
    let (came, end) = exchange(&proxy);
    assert_eq!((came, end.unwrap_err().kind()), (13, io::ErrorKind::WouldBlock));
    proxy.set(ProxyFault::AfterUp { bytes: 2, cut: Cut::Reset });
    let (came, end) = exchange(&proxy);
    assert!((10..=20).contains(&came) && reset(end), "{came}");
}

#[test]
fn slow_is_slow() {
    let proxy = FaultProxy::start(tenfold()).unwrap();
    proxy.set(ProxyFault::Slow { bytes: 1, pause: Duration::from_millis(20) });
    let begun = Instant::now();
    assert_eq!(exchange(&proxy).0, 30);
    assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
}

/// What a hole took is lost for good; what is connected later passes.
#[test]
fn a_hole_swallows_what_is_open_and_lets_later_ones_pass() {
    let proxy = FaultProxy::start(tenfold()).unwrap();
    let mut before = TcpStream::connect(proxy.addr()).unwrap();
    before.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut answer = [0; 10];
    before.write_all(b"a").unwrap();
    before.read_exact(&mut answer).unwrap();
    proxy.open_hole();
    let mut nothing = |stream: &mut TcpStream| {
        stream.write_all(b"a").unwrap();
        stream.read(&mut answer).unwrap_err().kind()
    };
    assert_eq!(nothing(&mut before), io::ErrorKind::WouldBlock);
    let (came, end) = exchange(&proxy);
    assert_eq!((came, end.unwrap_err().kind()), (0, io::ErrorKind::WouldBlock));
    proxy.close_hole();
    assert_eq!(nothing(&mut before), io::ErrorKind::WouldBlock);
    assert_eq!(exchange(&proxy).0, 30);
}

#[test]
fn an_open_connection_becomes_slow_too() {
    let proxy = FaultProxy::start(tenfold()).unwrap();
    let mut stream = TcpStream::connect(proxy.addr()).unwrap();
    proxy.delay(Duration::from_millis(200));
    let begun = Instant::now();
    stream.write_all(b"a").unwrap();
    stream.read_exact(&mut [0; 10]).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
}
