//! Content is undone alike however it is cut, in bounded steps; what is taken as whole is what other
//! decoders make of it, and what other encoders packed comes back.

use crate::input::Dice;
use flate2::{
    Compression,
    read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder},
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use outbound::fuzzing::decode;
use std::io::{self, Read, Write as _};

const NAMES: [&str; 4] = ["gzip", "deflate", "br", "zstd"];
/// As in the product: a step hands out no more.
const STEP: usize = 64 << 10;
/// More is not looked at.
const ENOUGH: usize = 1 << 20;

fn undone<'a>(
    name: &str,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, bool), &'static str> {
    let mut chunks = chunks.into_iter().peekable();
    let mut out = Vec::new();
    let mut fed = 0;
    let counted = std::iter::from_fn(|| chunks.next().inspect(|chunk| fed += chunk.len() as u64));
    let ended = decode(name, counted, |step| {
        assert!(!step.is_empty() && step.len() <= STEP, "a step of {}", step.len());
        out.extend_from_slice(step);
        out.len() < ENOUGH
    });
    let (used, is_whole) = ended?;
    assert!(used <= fed, "more was used than came");
    out.truncate(ENOUGH);
    Ok((out, is_whole))
}

pub(crate) fn hold(data: &[u8]) -> bool {
    let Some((first, content)) = data.split_first() else { return false };
    let name = NAMES[usize::from(*first) % NAMES.len()];
    let mut dice = Dice::of(data);
    let packed = packed(name, usize::from(*first) / NAMES.len(), content);
    assert_eq!(undone(name, dice.cut(&packed)), Ok((content.to_vec(), true)), "{name}");
    let whole = undone(name, [content]);
    for chunks in [content.chunks(1).collect(), dice.cut(content)] {
        let cut = undone(name, chunks);
        // Where so much came that nobody looks on, damage behind it may be met or not.
        let is_long = |one: &Result<(Vec<u8>, bool), _>| matches!(one, Ok((_, false)));
        assert!(cut == whole || is_long(&cut) || is_long(&whole), "{name} cut otherwise");
    }
    let Ok((out, true)) = whole else { return false };
    let theirs: Vec<io::Result<Vec<u8>>> = match name {
        "gzip" => vec![all(MultiGzDecoder::new(content))],
        "deflate" => vec![all(ZlibDecoder::new(content)), all(DeflateDecoder::new(content))],
        "br" => vec![all(brotli::Decompressor::new(content, 4_096))],
        _ => vec![zstd_encoder::stream::decode_all(content)],
    };
    let is_same = theirs.iter().flatten().any(|theirs| *theirs == out);
    assert!(is_same, "{name}: another decoder says {theirs:?}");
    true
}

fn all(mut reader: impl Read) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader.read_to_end(&mut out).map(|_| out)
}

fn packed(name: &str, taste: usize, content: &[u8]) -> Vec<u8> {
    let level = Compression::new(u32::try_from(taste % 10).unwrap_or(0));
    match (name, taste % 2) {
        ("gzip", _) => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(content).and_then(|()| encoder.finish())
        }
        ("deflate", 0) => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(content).and_then(|()| encoder.finish())
        }
        ("deflate", _) => {
            let mut encoder = DeflateEncoder::new(Vec::new(), level);
            encoder.write_all(content).and_then(|()| encoder.finish())
        }
        ("br", _) => {
            let quality = i32::try_from(taste % 5).unwrap_or(0);
            let params = brotli::enc::BrotliEncoderParams { quality, ..Default::default() };
            let mut out = Vec::new();
            brotli::BrotliCompress(&mut &*content, &mut out, &params).map(|_| out)
        }
        (_, 0) => zstd_encoder::stream::encode_all(content, 1),
        _ => zstd_encoder::stream::encode_all(content, 5),
    }
    .expect("packing into memory")
}
