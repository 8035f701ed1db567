//! Callers that are many, slow or too large, and what they cost others.

use crate::world::{World, code, ok, text};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::{
    io::Read as _,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};
use testkit::{
    Answer,
    client::{self, BodyEnd, Connection},
    wait_until,
};

/// What ten thousand callers may need, in bytes.
const CROWDS_MEMORY: u64 = 64 << 20;
/// What one flood may need.
const FLOODS_MEMORY: u64 = 32 << 20;

/// Lets this process have as many files open as the system lets it.
fn raise_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// Each waits for the last byte of its body: of one key so many as its share has room for.
#[test]
fn one_key_makes_only_its_share_of_bodies_wait() {
    let mut world = World::prepared();
    let create = ["client", "key", "create", "reader", "--expires", "1d", "--json"];
    let other = text(&ok(&world.weirgate, &create), "key");
    world.serve();
    assert_eq!(world.post("/things", &json!({"name": "n"})).status, 201);
    let before = world.memory("VmHWM");
    let body = json!({"name": "n".repeat((1 << 20) - 11)}).to_string();
    assert_eq!(body.len(), 1 << 20);
    let (most, last) = body.split_at(body.len() - 1);
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        world.path("/things"),
        world.key,
        body.len()
    );
    let (mut waiting, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let mut one = Connection::open(world.addr).unwrap();
        one.write(head.as_bytes()).unwrap();
        one.set_read_timeout(Duration::from_millis(60)).unwrap();
        if let Ok(answer) = one.read_response(false) {
            refused.push(answer);
        } else {
            one.write(most.as_bytes()).unwrap();
            one.set_read_timeout(client::TIMEOUT).unwrap();
            waiting.push(one);
        }
    }
    assert_eq!((waiting.len(), refused.len()), (32, 168));
    for answer in &refused {
        assert_eq!((answer.status, code(answer).as_str()), (429, "too_many_bodies"));
        assert_eq!(answer.json().unwrap()["limit"], "key_bodies");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    let held = |wanted: usize| {
        let metrics = client::get(world.console, "/metrics", &[]).unwrap().text();
        metrics.contains(&format!("\nweirgate_request_body_bytes {wanted}\n"))
    };
    assert!(held(32 << 20));
    // These, and what 200 connections take.
    let more = world.memory("VmHWM") - before;
    assert!(more <= 64 << 20, "{more} bytes more");
    // Others find room, and so do calls without a body.
    let bearer = format!("Bearer {other}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let path = world.path("/things");
    for _ in 0..3 {
        let answer = client::send(world.addr, "POST", &path, &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(world.get("/things/1").status, 200);
    }
    for one in &mut waiting {
        one.write(last.as_bytes()).unwrap();
    }
    for one in &mut waiting {
        assert_eq!(one.read_response(false).unwrap().status, 201);
    }
    wait_until(Duration::from_secs(5), || held(0));
    assert_eq!(world.post("/things", &json!({"name": "n"})).status, 201);
    // Each was checked, and for that moment there were two of it.
    let more = world.memory("VmHWM") - before;
    assert!(more <= 112 << 20, "{more} bytes more");
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}

/// Half of them silent, half sending a head byte by byte; somebody with a key calls all the while.
#[test]
fn ten_thousand_idle_and_slow_callers_need_little_memory() {
    raise_files();
    let mut world = World::serving();
    assert_eq!(world.get("/things/1").status, 200);
    let before = world.memory("VmRSS");
    let mut crowd: Vec<Connection> = Vec::new();
    let head = b"GET /proxy/x/y HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer wg_live_";
    for number in 0..10_000 {
        let mut one = Connection::open(world.addr).unwrap();
        if number % 2 == 0 {
            one.write(&head[..20]).unwrap();
        }
        crowd.push(one);
        if number % 1_000 == 999 {
            assert_eq!(world.get("/things/1").status, 200);
        }
    }
    let served = || {
        let metrics = client::get(world.console, "/metrics", &[]).unwrap().text();
        let line = metrics.lines().find(|line| line.starts_with("weirgate_connections ")).unwrap();
        line.split_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    assert!(served() > 5_000.0, "{}", served());
    for byte in &head[20..40] {
        for one in crowd.iter_mut().step_by(2) {
            // Those that were sent away meanwhile.
            let _ = one.write(&[*byte]);
        }
        assert_eq!(world.get("/things/1").status, 200);
    }
    let more = world.memory("VmHWM").saturating_sub(before);
    assert!(more <= CROWDS_MEMORY, "{more} bytes more");
    drop(crowd);
    wait_until(Duration::from_secs(10), || served() <= 1.0);
    assert_eq!(world.get("/things/1").status, 200);
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}

/// What a caller sends that is too much for a head.
fn head_floods(world: &World) -> Vec<(&'static str, Vec<u8>)> {
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n",
        world.path("/things/1"),
        world.key
    );
    let large = "x".repeat(1 << 20);
    let many: String = (0..10_000).map(|number| format!("X-{number}: a\r\n")).collect();
    let bytes = |tail: &str| format!("{head}{tail}\r\n\r\n").into_bytes();
    vec![
        ("a header of a megabyte", bytes(&format!("X-Large: {large}"))),
        ("a name of a megabyte", bytes(&format!("{large}: 1"))),
        ("10,000 headers", bytes(&many)),
        ("100 headers", bytes(&"X-Again: a\r\n".repeat(100))),
        ("a target of a megabyte", format!("GET /{large} HTTP/1.1\r\nHost: a\r\n\r\n").into()),
        ("a method of a megabyte", large.clone().into_bytes()),
    ]
}

/// Sends until it is not taken any more; the answer's status, if one came, and that the connection
/// ended.
fn refused(addr: SocketAddr, bytes: &[u8]) -> Option<u16> {
    let mut connection = Connection::open(addr).unwrap();
    for part in bytes.chunks(16 * 1_024) {
        if connection.write(part).is_err() {
            break;
        }
    }
    let answer = connection.read_response(false).ok()?;
    assert!(connection.is_closed_within(Duration::from_secs(5)));
    Some(answer.status)
}

#[test]
fn callers_floods_of_headers_are_refused_and_need_no_memory() {
    let mut world = World::serving();
    assert_eq!(world.get("/things/1").status, 200);
    world.provider.forget();
    let before = world.memory("VmHWM");
    for (what, flood) in head_floods(&world) {
        for addr in [world.addr, world.console] {
            let begun = Instant::now();
            let mut told = 0;
            for _ in 0..5 {
                // Closing on what was not read may take the answer with it.
                if let Some(status) = refused(addr, &flood) {
                    assert!([400, 431].contains(&status), "{what}: {status}");
                    told += 1;
                }
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "{what}");
            // Of a head that is not much too long all is read.
            assert!(told == 5 || flood.len() > 200 << 10, "{what}: {told}");
        }
    }
    let more = world.memory("VmHWM") - before;
    assert!(more <= FLOODS_MEMORY, "{more} bytes more");
    // Many at once, each as far as it is taken.
    let flood = &head_floods(&world)[0].1;
    let mut crowd: Vec<Connection> =
        (0..200).map(|_| Connection::open(world.addr).unwrap()).collect();
    for one in &mut crowd {
        // Just short of too long, and then no end.
        one.write(&flood[..60 << 10]).unwrap();
    }
    assert_eq!(world.get("/things/1").status, 200);
    drop(crowd);
    let more = world.memory("VmHWM") - before;
    assert!(more <= 2 * FLOODS_MEMORY, "{more} bytes more");
    assert_eq!(world.provider.requests().len(), 1);
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}

/// Idle callers, heads, bodies, answers that nobody reads and bombs, all at once: a machine with
/// 256 MiB would do, and calls are served.
#[test]
fn floods_together_fit_into_little_memory() {
    raise_files();
    let mut world = World::serving();
    let long = vec![testkit::thing("1"); 2_000];
    let list = json!({"results": long, "next": null, "total": 1});
    world.provider.on("GET /things", Answer::json(200, &list));
    let bearer = format!("Authorization: Bearer {}\r\n", world.key);
    let (things, flood) = (world.path("/things"), head_floods(&world).swap_remove(0).1);
    let (mut crowd, mut readers) = (Vec::new(), Vec::new());
    for number in 0..2_000 {
        let mut one = TcpStream::connect(world.addr).unwrap();
        one.set_nodelay(true).unwrap();
        one.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut write = |bytes: &[u8]| {
            // Refused ones are closed.
            let _ = std::io::Write::write_all(&mut one, bytes);
        };
        match number % 8 {
            0 => write(&flood[..60 << 10]),
            1 => {
                let length = "Content-Type: application/json\r\nContent-Length: 1048576\r\n\r\n";
                write(format!("POST {things} HTTP/1.1\r\nHost: a\r\n{bearer}{length}").as_bytes());
                write(&vec![b' '; 1 << 20]);
            }
            2 => {
                write(format!("GET {things} HTTP/1.1\r\nHost: a\r\n{bearer}\r\n").as_bytes());
                readers.push(one.try_clone().unwrap());
            }
            3 => {
                write(format!("GET {things}/1 HTTP/1.1\r\nHost: a\r\n{bearer}\r\n").as_bytes());
            }
            _ => {}
        }
        crowd.push(one);
        if number % 100 == 0 {
            assert_eq!(world.get("/things/1").status, 200);
        }
        if number % 500 == 0 {
            let bomb = world.get("/fault/gzip-bomb");
            assert!(bomb.status == 502 || bomb.end == BodyEnd::Aborted);
        }
    }
    let used = world.memory("VmHWM");
    assert!(used <= 256 << 20, "{used} bytes");
    for mut one in readers {
        one.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut byte = [0];
        assert_eq!(one.read(&mut byte).unwrap(), 1);
    }
    drop(crowd);
    wait_until(Duration::from_secs(10), || world.get("/things").end == BodyEnd::Complete);
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}
