//! What must hold for every coding, with content packed by encoders that others wrote.

use super::*;
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use proptest::{collection::vec, prelude::*};
use std::io::Write as _;

/// A coding's name and an encoder for it.
type Packer = (&'static str, fn(&[u8]) -> Vec<u8>);

const PACKERS: &[Packer] = &[
    ("gzip", |text| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }),
    ("deflate", |text| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }),
    ("deflate", |text| {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }),
    ("br", |text| brotli(text, 5)),
    ("br", |text| brotli(text, 11)),
    // With a checksum, and with the length in its head.
    ("zstd", |text| zstd(text, 3, true)),
    ("zstd", |text| zstd(text, 19, false)),
    ("zstd", |text| ::zstd_encoder::bulk::compress(text, 1).unwrap()),
];

fn brotli(text: &[u8], quality: i32) -> Vec<u8> {
    let params = ::brotli::enc::BrotliEncoderParams { quality, ..Default::default() };
    let mut packed = Vec::new();
    ::brotli::BrotliCompress(&mut &*text, &mut packed, &params).unwrap();
    packed
}

fn zstd(text: &[u8], level: i32, has_checksum: bool) -> Vec<u8> {
    let mut encoder = ::zstd_encoder::Encoder::new(Vec::new(), level).unwrap();
    encoder.include_checksum(has_checksum).unwrap();
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn decode<'a>(name: &str, chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, Damaged> {
    let mut decoder = Decoder::of(name, &Window::alone(64 << 20)).unwrap();
    let mut out = Vec::new();
    let mut chunks = chunks.into_iter();
    let mut fed = 0;
    loop {
        match decoder.step()? {
            Step::Data(data) => {
                assert!(!data.is_empty() && data.len() <= STEP_BYTES);
                out.extend_from_slice(&data);
            }
            Step::Ended => {
                assert_eq!(decoder.consumed(), fed, "{name}");
                return Ok(out);
            }
            Step::Hungry => match chunks.next() {
                Some(chunk) => {
                    fed += chunk.len() as u64;
                    decoder.feed(Bytes::copy_from_slice(chunk));
                }
                None => decoder.end(),
            },
        }
    }
}

/// Text as answers are, with stretches that repeat and stretches that do not.
fn sample(length: u32) -> Vec<u8> {
    let mut text = Vec::new();
    for number in 0..length {
        let noise = number.wrapping_mul(2_654_435_761);
        text.extend_from_slice(format!("{{\"id\":{number},\"hash\":\"{noise:x}\"}},").as_bytes());
    }
    text
}

#[test]
fn chunking_changes_nothing() {
    let text = sample(40);
    for (name, pack) in PACKERS {
        let packed = pack(&text);
        for cut in 0..=packed.len() {
            let (left, right) = packed.split_at(cut);
            assert_eq!(decode(name, [left, right]).as_ref(), Ok(&text), "{name} at {cut}");
        }
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(decode(name, packed.chunks(size)).as_ref(), Ok(&text), "{name} by {size}");
        }
    }
    // Over many blocks, and more than the window of any of them.
    let long = sample(400_000);
    assert!(long.len() > 10 << 20);
    let packed = [
        ("gzip", PACKERS[0].1(&long)),
        ("deflate", PACKERS[1].1(&long)),
        ("br", brotli(&long, 2)),
        ("zstd", zstd(&long, 3, true)),
    ];
    for (name, packed) in packed {
        assert_eq!(decode(name, packed.chunks(16_384)).as_ref(), Ok(&long), "{name}");
    }
}

#[test]
fn nothing_is_something_too() {
    for (name, pack) in PACKERS {
        assert_eq!(decode(name, [&*pack(b"")]), Ok(Vec::new()), "{name}");
        assert_eq!(decode(name, []), Err(Damaged), "{name}");
    }
}

#[test]
fn every_cut_is_damage() {
    for (name, pack) in PACKERS {
        let packed = pack(&sample(30));
        for cut in 0..packed.len() {
            assert_eq!(decode(name, [&packed[..cut]]), Err(Damaged), "{name} at {cut}");
        }
    }
}

#[test]
fn what_stands_behind_is_damage() {
    for (name, pack) in PACKERS {
        for tail in [&b"garbage"[..], b"\0", b"\x1f", b"\x28\xb5\x2f"] {
            let packed = [&pack(b"text"), tail].concat();
            assert_eq!(decode(name, [&*packed]), Err(Damaged), "{name}");
            assert_eq!(decode(name, packed.chunks(1)), Err(Damaged), "{name}");
        }
        assert_eq!(decode(name, [&b"plain text, and more of it"[..]]), Err(Damaged), "{name}");
    }
}

/// A checksum finds every change; without one it may change the text, and nothing worse.
#[test]
fn flipped_bits_are_found_by_checksums_and_never_panic() {
    let text = sample(12);
    for (at, (name, pack)) in PACKERS.iter().enumerate() {
        let packed = pack(&text);
        for bit in 0..packed.len() * 8 {
            let mut bent = packed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            let out = decode(name, [&*bent]);
            let has_checksum = matches!(at, 0 | 1 | 5);
            assert!(!has_checksum || out.is_err() || out.as_ref() == Ok(&text), "{name}: {bit}");
        }
    }
}

#[test]
fn a_bomb_comes_in_steps() {
    let zeros = vec![0; 32 << 20];
    for (name, pack) in PACKERS.iter().filter(|(name, _)| *name != "gzip") {
        let packed = if *name == "br" { brotli(&zeros, 2) } else { pack(&zeros) };
        let mut decoder = Decoder::of(name, &Window::alone(64 << 20)).unwrap();
        decoder.feed(packed.into());
        let mut total = 0;
        while let Step::Data(data) = decoder.step().unwrap() {
            assert!(data.len() <= STEP_BYTES);
            total += data.len();
        }
        assert_eq!(total, zeros.len(), "{name}");
    }
}

#[test]
fn frames_of_zstd_may_follow_one_another_and_be_skipped() {
    let skippable = [b"\x50\x2a\x4d\x18".as_slice(), &5_u32.to_le_bytes(), b"notes"].concat();
    let packed = [
        skippable.clone(),
        zstd(b"one ", 3, true),
        skippable.clone(),
        zstd(b"", 3, false),
        zstd(b"two", 3, true),
        skippable.clone(),
    ]
    .concat();
    assert_eq!(decode("zstd", [&*packed]).as_deref(), Ok(&b"one two"[..]));
    assert_eq!(decode("zstd", packed.chunks(1)).as_deref(), Ok(&b"one two"[..]));
    assert_eq!(decode("zstd", [&*skippable]), Err(Damaged));
    assert_eq!(decode("zstd", [&packed[..packed.len() - 1]]), Err(Damaged));
}

#[test]
fn a_window_that_is_too_large_is_refused_before_it_is_made() {
    // RFC 8878 §3.1.1.1.2: 8 MiB, and the next larger one.
    let frame = |window: u8| {
        let block = [1, 0, 0];
        [b"\x28\xb5\x2f\xfd\0".as_slice(), &[window], &block].concat()
    };
    assert_eq!(decode("zstd", [&*frame(13 << 3)]), Ok(Vec::new()));
    assert_eq!(decode("zstd", [&*frame(13 << 3 | 1)]), Err(Damaged));
    assert_eq!(decode("zstd", [&*frame(21 << 3)]), Err(Damaged));
    // Large windows are no part of RFC 7932.
    let params =
        ::brotli::enc::BrotliEncoderParams { large_window: true, lgwin: 28, ..Default::default() };
    let mut packed = Vec::new();
    ::brotli::BrotliCompress(&mut &b"text"[..], &mut packed, &params).unwrap();
    assert_eq!(decode("br", [&*packed]), Err(Damaged));
}

#[test]
fn a_window_takes_room_and_gives_it_back() {
    let text = sample(400_000);
    for (name, packed, least) in
        [("br", brotli(&text, 5), 4 << 20), ("zstd", zstd(&text, 3, true), 2 << 20)]
    {
        let small = Window::alone(least / 2);
        let mut decoder = Decoder::of(name, &small).unwrap();
        decoder.feed(packed.clone().into());
        while let Ok(step) = decoder.step() {
            assert!(matches!(step, Step::Data(_)), "{name}");
        }
        assert!(small.was_refused(), "{name}");
        drop(decoder);
        // Others may have it.
        assert!(small.grow(least / 2), "{name}");
        let window = Window::alone(3 * least);
        let mut decoder = Decoder::of(name, &window).unwrap();
        decoder.feed(packed.into());
        while let Step::Data(_) = decoder.step().unwrap() {}
        assert!(!window.grow(2 * least + 1), "{name} takes its window");
    }
}

/// A length in the head that the content does not have.
#[test]
fn a_length_that_lies_is_damage() {
    let mut packed = ::zstd_encoder::bulk::compress(b"some text, some text", 1).unwrap();
    assert_eq!(packed[5], 20);
    for wrong in [0, 1, 19, 21, 255] {
        packed[5] = wrong;
        assert_eq!(decode("zstd", [&*packed]), Err(Damaged), "{wrong}");
    }
}

proptest! {
    #[test]
    fn any_bytes_in_any_parts_are_read_alike(
        which in 0..PACKERS.len(),
        text in vec(0_u8..8, 0..3_000),
        sizes in vec(1_usize..200, 1..20),
    ) {
        let (name, pack) = PACKERS[which];
        let packed = pack(&text);
        let mut rest = packed.as_slice();
        let mut chunks = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        prop_assert_eq!(decode(name, chunks), Ok(text));
    }

    /// Whatever comes, it is read alike in one part and in many, and never panics.
    #[test]
    fn noise_is_read_alike(
        which in 0..PACKERS.len(),
        text in vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        noise in vec(any::<u8>(), 1..20),
    ) {
        let (name, pack) = PACKERS[which];
        let mut packed = pack(&text);
        let at = at.index(packed.len());
        let end = (at + noise.len()).min(packed.len());
        packed.splice(at..end, noise);
        let whole = decode(name, [&*packed]);
        prop_assert_eq!(decode(name, packed.chunks(3)), whole);
    }
}
