//! One exchange after another with peers that misbehave.

use crate::world::{World, config, plain, world_with};
use http::Method;
use outbound::{GuardPolicy, Target};
use std::time::{Duration, Instant};
use testkit::{Answer, FaultyProvider, Framing};
use types::Fault;

#[tokio::test]
async fn honest_answers_arrive_whole_and_connections_are_used_again() {
    let world = plain();
    let wanted = testkit::thing("1").to_string().into_bytes();
    for kind in ["none", "chunked", "gzip", "none"] {
        assert_eq!(world.get(&format!("/fault/{kind}")).await, Ok((200, wanted.clone())), "{kind}");
    }
    assert_eq!(world.provider.connections(), 1);
    let received = world.provider.last_request().unwrap();
    assert_eq!(received.header("host"), Some(world.provider.host_port()));
}

#[tokio::test]
async fn broken_answers_are_told_apart() {
    let world = plain();
    // Made once, which takes longer than the time-outs here.
    assert!(testkit::fault("gzip-bomb").is_some());
    for (kind, wanted) in [
        ("reset", "provider_reset"),
        ("close", "provider_reset"),
        ("head-cut", "provider_reset"),
        ("silence", "provider_timeout"),
        ("slow-head", "provider_timeout"),
        ("slow-body", "provider_body_timeout"),
        ("length-too-long", "provider_body_timeout"),
        ("not-http", "provider_malformed"),
        ("both-framings", "provider_malformed"),
        ("two-lengths", "provider_malformed"),
        ("reset-in-body", "provider_reset"),
        ("truncated", "provider_reset"),
        ("chunked-cut", "provider_reset"),
        ("gzip-cut", "provider_malformed"),
        ("gzip-lie", "provider_malformed"),
        ("gzip-bomb", "provider_bomb"),
    ] {
        let begun = Instant::now();
        assert_eq!(world.code(&format!("/fault/{kind}")).await, wanted, "{kind}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{kind}");
    }
}

#[tokio::test]
async fn sizes_and_codings_are_bounded() {
    let world = plain();
    let large = Answer::json_text(200, vec![b' '; (4 << 20) + 1]);
    world.provider.on("/large", large);
    assert_eq!(world.code("/large").await, "provider_answer_too_large");
    for coding in ["compress", "gzip, gzip", "br, gzip", "dcb", "dcz", "x"] {
        world
            .provider
            .on("/coded", Answer::json_text(200, "{}").header("Content-Encoding", coding));
        assert_eq!(world.code("/coded").await, "provider_encoding", "{coding}");
    }
    let long = "x".repeat(1 << 20);
    world.provider.on("/head", Answer::json_text(200, "{}").header("X-Long", &long));
    assert_eq!(world.code("/head").await, "provider_malformed");
    let mut many = Answer::json_text(200, "{}");
    for number in 0..200 {
        many = many.header(&format!("X-{number}"), "a");
    }
    world.provider.on("/many", many);
    assert_eq!(world.code("/many").await, "provider_malformed");
    // Two members are one answer; bytes behind them are damage.
    let two = [gzip(b"one "), gzip(b"two")].concat();
    let answer = Answer::json_text(200, two).header("Content-Encoding", "gzip");
    world.provider.on("/two", answer);
    assert_eq!(world.get("/two").await, Ok((200, b"one two".to_vec())));
    let trailing = [gzip(b"one "), b"garbage".to_vec()].concat();
    let answer = Answer::json_text(200, trailing).header("Content-Encoding", "gzip");
    world.provider.on("/trailing", answer);
    assert_eq!(world.code("/trailing").await, "provider_malformed");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Each coding that is asked for, from encoders that others wrote; its bomb; and its damage.
#[tokio::test]
async fn every_coding_that_is_asked_for_is_undone() {
    let world = plain();
    let text = testkit::thing("1").to_string().into_bytes();
    let zeros = vec![0; 4 << 20];
    for (coding, pack) in
        [("br", brotli as fn(&[u8]) -> Vec<u8>), ("zstd", zstd), ("deflate", zlib)]
    {
        let answer = |packed: Vec<u8>| {
            Answer::json_text(200, packed).header("Content-Encoding", coding).in_pieces_of(5)
        };
        world.provider.on("/whole", answer(pack(&text)));
        assert_eq!(world.get("/whole").await, Ok((200, text.clone())), "{coding}");
        let packed = pack(&text);
        let cut = packed[..packed.len() - 1].to_vec();
        world.provider.on("/cut", answer(cut));
        assert_eq!(world.code("/cut").await, "provider_malformed", "{coding}");
        world.provider.on("/plain", answer(b"{\"plain\":true}".to_vec()));
        assert_eq!(world.code("/plain").await, "provider_malformed", "{coding}");
        let packed = pack(&zeros);
        world.provider.on("/bomb", answer(packed).in_pieces_of(16_384));
        assert_eq!(world.code("/bomb").await, "provider_bomb", "{coding}");
    }
}

/// Answers that are never read to their end, each of which holds a window.
#[tokio::test]
async fn windows_of_one_provider_leave_room_for_others() {
    let mut config = config(None);
    config.max_answer_bytes = 64 << 20;
    config.max_window_bytes = 48 << 20;
    let mut world = world_with(FaultyProvider::start().unwrap(), config);
    world.deadlines.idle = Duration::from_secs(10);
    let text: Vec<u8> = (0..1_000_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
    let long = |packed| Answer::json_text(200, packed).header("Content-Encoding", "br");
    world.provider.on("/long", long(brotli(&text)));
    assert_eq!(world.get("/long").await.map(|(_, body)| body == text), Ok(true));
    let asked = |world: &World| {
        world.provider.last_request().unwrap().header("accept-encoding").map(str::to_owned)
    };
    assert_eq!(asked(&world).as_deref(), Some("gzip, br"));
    let mut held = Vec::new();
    let refused = loop {
        let mut body = world.send(Method::GET, "/long").await.unwrap().into_body();
        let mut bytes = 0;
        let ended = loop {
            match body.next_chunk().await {
                Ok(Some(chunk)) => bytes += chunk.len(),
                Ok(None) => panic!("it was read to its end"),
                Err(error) => break Some(error),
            }
            if bytes > 3 << 20 {
                break None;
            }
        };
        if let Some(error) = ended {
            break error;
        }
        held.push(body);
        assert!(held.len() < 100);
    };
    assert_eq!(refused.code(), "provider_window");
    assert!((3..12).contains(&held.len()), "{}", held.len());
    assert_eq!(asked(&world).as_deref(), Some("gzip, deflate"));
    // Another one finds room, and so does this one when its answers are gone.
    let (other, policy) = (FaultyProvider::start().unwrap(), world.policy.clone());
    other.on("/long", long(brotli(&text)));
    let hostile = (world.target.clone(), policy);
    world.policy = GuardPolicy::new(&[other.host_port()]).unwrap();
    world.target = Target::parse(other.url(), &world.policy).unwrap();
    assert_eq!(world.get("/long").await.map(|(_, body)| body == text), Ok(true));
    (world.target, world.policy) = hostile;
    drop(held);
    assert_eq!(world.get("/long").await.map(|(_, body)| body == text), Ok(true));
    assert_eq!(asked(&world).as_deref(), Some("gzip, br"));
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let params = brotli::enc::BrotliEncoderParams { quality: 4, ..Default::default() };
    let mut packed = Vec::new();
    brotli::BrotliCompress(&mut &*bytes, &mut packed, &params).unwrap();
    packed
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd_encoder::bulk::compress(bytes, 3).unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn redirects_are_answers_like_any_other() {
    let world = plain();
    assert_eq!(world.get("/fault/redirect").await.unwrap().0, 302);
    assert_eq!(world.provider.requests().len(), 1);
}

#[tokio::test]
async fn the_whole_answer_has_a_deadline() {
    let mut world = plain();
    world.deadlines.idle = Duration::from_secs(5);
    world.deadlines.total = Duration::from_millis(400);
    let drip = Answer::json(200, &testkit::thing("1"))
        .in_pieces_of(1)
        .pause_before_parts(Duration::from_millis(50));
    world.provider.on("/drip", drip);
    assert_eq!(world.code("/drip").await, "provider_total_timeout");
    // Nor does one that never makes us wait take longer.
    world.provider.on("/flood", Answer::json_text(200, vec![b' '; 4 << 20]));
    let mut body = world.send(Method::GET, "/flood").await.unwrap().into_body();
    let mut bytes = 0;
    let failed = loop {
        match body.next_chunk().await {
            Ok(chunk) => bytes += chunk.expect("the flood has not ended").len(),
            Err(error) => break error,
        }
        // Reading is slow; something is always there.
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(failed.code(), "provider_total_timeout");
    assert!(bytes < 4 << 20);
}

/// It only explains what the status has said already.
#[tokio::test]
async fn an_errors_body_is_awaited_for_seconds() {
    let mut world = plain();
    world.deadlines.idle = Duration::from_secs(15);
    for status in [404, 500] {
        let drip = Answer::json(status, &testkit::thing("1"))
            .in_pieces_of(1)
            .pause_before_parts(Duration::from_millis(300));
        world.provider.on("/drip", drip);
        let begun = Instant::now();
        assert_eq!(world.code("/drip").await, "provider_total_timeout");
        let took = begun.elapsed();
        assert!(took > Duration::from_secs(2) && took < Duration::from_secs(5), "{took:?}");
    }
}

#[tokio::test]
async fn lengths_are_believed_in_one_way_only() {
    let world = plain();
    let text = testkit::thing("1").to_string();
    let half = Answer::json_text(200, text.clone()).framing(Framing::Declared(10));
    world.provider.on("/half", half);
    assert_eq!(world.get("/half").await, Ok((200, text.as_bytes()[..10].to_vec())));
    // What stood behind it is not the next answer.
    assert_eq!(world.get("/fault/none").await, Ok((200, text.into_bytes())));
}

#[tokio::test]
async fn decoding_is_bounded_by_size_too() {
    let mut config = config(None);
    config.max_answer_bytes = 100_000;
    let world = world_with(FaultyProvider::start().unwrap(), config);
    let text: Vec<u8> =
        (0..100_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (length, wanted) in [(100_000, true), (100_001, false)] {
        for answer in [
            Answer::json_text(200, &text[..length]),
            Answer::json_text(200, &text[..length]).in_pieces_of(9_000).framing(Framing::Chunked),
            Answer::gzip(200, &text[..length]),
        ] {
            world.provider.on("/sized", answer);
            match world.get("/sized").await {
                Ok((200, body)) => assert!(wanted && body == text[..length]),
                other => assert!(!wanted && other.is_err_and(|e| e.to_string().contains("100000"))),
            }
        }
    }
}

/// What decodes to nothing can go on for ever too.
#[tokio::test]
async fn what_comes_is_bounded_whatever_it_decodes_to() {
    let mut config = config(None);
    config.max_answer_bytes = 100_000;
    let world = world_with(FaultyProvider::start().unwrap(), config);
    let empty = gzip(b"");
    for (members, is_fine) in [(1_000, true), (100_000 / empty.len() + 1, false)] {
        let many = Answer::json_text(200, empty.repeat(members));
        world.provider.on("/empty", many.header("Content-Encoding", "gzip"));
        let got = world.get("/empty").await;
        assert_eq!(got.is_ok(), is_fine, "{got:?}");
        assert!(is_fine || got.is_err_and(|e| e.code() == "provider_answer_too_large"));
    }
}

/// Honest, if boring, answers are not taken for bombs.
#[tokio::test]
async fn answers_that_compress_well_pass() {
    let world = plain();
    let rows = (0..40_000).fold(String::new(), |rows, n| rows + &format!("{{\"id\":{n}}},"));
    world.provider.on("/rows", Answer::gzip(200, rows.as_bytes()));
    assert_eq!(world.get("/rows").await, Ok((200, rows.into_bytes())));
    // Up to a mebibyte any ratio is fine.
    let zeros = vec![b'0'; 1 << 20];
    world.provider.on("/zeros", Answer::gzip(200, &zeros));
    assert_eq!(world.get("/zeros").await, Ok((200, zeros)));
}

/// After an error there is no content, however often it is asked for.
#[tokio::test]
async fn an_error_stays_one() {
    let world = plain();
    world.provider.on("/cut", Answer::gzip(200, b"text").cut_body_in_half());
    let mut body = world.send(Method::GET, "/cut").await.unwrap().into_body();
    while let Ok(Some(_)) = body.next_chunk().await {}
    for _ in 0..3 {
        assert!(body.next_chunk().await.is_err());
    }
    world.get("/fault/none").await.unwrap();
    assert_eq!(world.provider.connections(), 2);
}
