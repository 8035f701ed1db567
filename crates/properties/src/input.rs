//! How inputs are read.

const BETWEEN: &[u8] = b"\n%%\n";

/// The parts of an input; those that are not there are empty, and the last one is all the rest.
pub(crate) fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut rest = Some(data);
    std::array::from_fn(|place| {
        let Some(bytes) = rest.take() else { return &b""[..] };
        let end = bytes.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        match end.filter(|_| place + 1 < N) {
            Some(end) => {
                rest = Some(&bytes[end + BETWEEN.len()..]);
                &bytes[..end]
            }
            None => bytes,
        }
    })
}

pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Choices that follow from the input, so that an input says all (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(data: &[u8]) -> Self {
        Self(u64::from(crc32fast::hash(data)) << 16 | 1)
    }

    /// Less than `sides`, of which there is at least one.
    pub(crate) fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap_or(0) % sides
    }

    /// The same bytes in pieces.
    pub(crate) fn cut<'d>(&mut self, data: &'d [u8]) -> Vec<&'d [u8]> {
        let mut pieces = Vec::new();
        let mut rest = data;
        let longest = [3, 17, 90, 700][self.below(4)];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + self.below(longest)).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }
}
