//! gzip (RFC 1952), bytes pushed in and pulled out, in memory that depends on neither.

use crate::coding::{Damaged, STEP_BYTES, Step};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use std::{
    fmt,
    io::{self, BufRead, Read},
};

/// A decoder of one or more members.
pub(crate) struct Gunzip {
    decoder: MultiGzDecoder<Feed>,
    scratch: Box<[u8]>,
}

impl fmt::Debug for Gunzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gunzip").finish_non_exhaustive()
    }
}

/// Compressed bytes that wait to be decoded.
#[derive(Default)]
struct Feed {
    waiting: Bytes,
    consumed: u64,
    is_ended: bool,
}

impl Gunzip {
    pub(crate) fn new() -> Self {
        Self {
            decoder: MultiGzDecoder::new(Feed::default()),
            scratch: vec![0; STEP_BYTES].into_boxed_slice(),
        }
    }

    /// Gives it bytes after it was hungry.
    pub(crate) fn feed(&mut self, bytes: Bytes) {
        self.decoder.get_mut().waiting = bytes;
    }

    /// Tells it that no more will come.
    pub(crate) fn end(&mut self) {
        self.decoder.get_mut().is_ended = true;
    }

    /// Compressed bytes that were decoded so far.
    pub(crate) fn consumed(&self) -> u64 {
        self.decoder.get_ref().consumed
    }

    pub(crate) fn step(&mut self) -> Result<Step, Damaged> {
        match self.decoder.read(&mut self.scratch) {
            Ok(0) => Ok(Step::Ended),
            Ok(length) => {
                let decoded = self.scratch.get(..length).unwrap_or_default();
                Ok(Step::Data(Bytes::copy_from_slice(decoded)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::Hungry),
            Err(_) => Err(Damaged),
        }
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.waiting.is_empty() && !self.is_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.waiting)
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.waiting.len());
        drop(self.waiting.split_to(amount));
        self.consumed += amount as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, GzBuilder, write::GzEncoder};
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, Damaged> {
        let mut gunzip = Gunzip::new();
        let mut out = Vec::new();
        let mut chunks = chunks.into_iter();
        loop {
            match gunzip.step()? {
                Step::Data(data) => {
                    assert!(!data.is_empty() && data.len() <= STEP_BYTES);
                    out.extend_from_slice(&data);
                }
                Step::Ended => return Ok(out),
                Step::Hungry => match chunks.next() {
                    Some(chunk) => gunzip.feed(Bytes::copy_from_slice(chunk)),
                    None => gunzip.end(),
                },
            }
        }
    }

    /// Every part of a header that there is, an empty member, and text that does not compress well.
    fn sample() -> (Vec<u8>, Vec<u8>) {
        let text: Vec<u8> =
            (0..1_500_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut named = GzBuilder::new()
            .filename("name")
            .comment("comment")
            .extra(vec![1, 2, 3])
            .write(Vec::new(), Compression::best());
        named.write_all(b"second ").unwrap();
        let parts = [gzip(b"first "), named.finish().unwrap(), gzip(b""), gzip(&text)];
        (parts.concat(), [b"first second ".as_slice(), &text].concat())
    }

    #[test]
    fn chunking_changes_nothing() {
        let (packed, text) = sample();
        for cut in 0..=packed.len() {
            let (left, right) = packed.split_at(cut);
            assert_eq!(decode([left, right]).as_deref(), Ok(text.as_slice()), "{cut}");
        }
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(decode(packed.chunks(size)).as_deref(), Ok(text.as_slice()), "{size}");
        }
    }

    #[test]
    fn every_cut_is_damage_but_between_members() {
        let (packed, text) = sample();
        let first = gzip(b"first ").len();
        let mut whole = 0;
        for cut in 0..packed.len() {
            if let Ok(out) = decode([&packed[..cut]]) {
                whole += 1;
                assert!(cut >= first && text.starts_with(&out), "{cut}");
            }
        }
        assert_eq!(whole, 3);
    }

    #[test]
    fn no_flipped_bit_changes_the_text() {
        let text = b"{\"a\":\"bcdefghijklmnop\",\"q\":[1,2,3,4,5,6,7,8,9]}";
        let packed = gzip(text);
        let trailer = packed.len() - 8;
        for bit in 0..packed.len() * 8 {
            let mut bent = packed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            // What the header says about itself, and padding behind the last block, mean nothing.
            let out = decode([bent.as_slice()]);
            assert!(out.is_err() || out.as_deref() == Ok(text.as_slice()), "{bit}");
            let counts = (0..3).contains(&(bit / 8)) || (11..trailer - 1).contains(&(bit / 8));
            assert!(out.is_err() || !(counts || bit / 8 >= trailer), "{bit}");
        }
    }

    #[test]
    fn what_stands_behind_is_damage() {
        for tail in [&b"garbage"[..], b"\0", b"\x1f", b"\x1f\x8b"] {
            assert_eq!(decode([&[gzip(b"x"), tail.to_vec()].concat()[..]]), Err(Damaged));
        }
        assert_eq!(decode([]), Err(Damaged));
        assert_eq!(decode([&b"plain text"[..]]), Err(Damaged));
    }

    #[test]
    fn a_bomb_comes_in_steps() {
        let mut gunzip = Gunzip::new();
        gunzip.feed(gzip(&vec![0; 32 << 20]).into());
        let mut total = 0;
        while let Step::Data(data) = gunzip.step().unwrap() {
            assert!(data.len() <= STEP_BYTES);
            total += data.len();
            assert!(total as u64 <= 2_000 * (gunzip.consumed() + 64));
        }
        assert_eq!(total, 32 << 20);
    }
}
