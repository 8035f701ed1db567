//! The trace that a caller says its call belongs to (W3C Trace Context, level 1, §3.2).
//!
//! It is kept as a link beside our own trace, never as its parent: a caller decides neither what is
//! recorded nor under which id, and nothing of it is sent to a provider.

use http::HeaderMap;

const TRACEPARENT: &str = "traceparent";

/// Another trace's id and the span in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceLink {
    pub trace: [u8; 16],
    pub span: [u8; 8],
}

impl TraceLink {
    /// From a request's headers; what is malformed, or given twice, counts as absent.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(TRACEPARENT).iter();
        let value = given.next()?.as_bytes();
        if given.next().is_some() {
            return None;
        }
        // A later version may have more behind another dash (§4.1).
        let (version, rest) = (value.get(..2)?, value.get(2..)?);
        let [version] = digits(version)?;
        let is_whole = match version {
            0 => value.len() == 55,
            255 => false,
            _ => value.len() == 55 || value.get(55) == Some(&b'-'),
        };
        let part = |from: usize, to: usize| {
            let part = rest.get(from..to)?;
            part.strip_prefix(b"-")
        };
        let trace = digits(part(0, 33)?)?;
        let span = digits(part(33, 50)?)?;
        let [_flags] = digits::<1>(part(50, 53)?)?;
        (is_whole && trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span })
    }
}

/// Lower-case hexadecimal digits, two a byte.
fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(values: &[&str]) -> Option<TraceLink> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        TraceLink::of(&headers)
    }

    #[test]
    fn only_a_well_formed_parent_is_a_link() {
        const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let link = read(&[GOOD]).unwrap();
        assert_eq!(link.trace[..2], [0x0a, 0xf7]);
        assert_eq!(link.span, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
        assert_eq!(read(&[&GOOD.replacen("00", "01", 1)]), Some(link));
        assert_eq!(read(&[&format!("{}-more", GOOD.replacen("00", "7e", 1))]), Some(link));
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}0"),
            &format!("{GOOD}-more"),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.to_uppercase(),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            &GOOD.replace("-01", "_01"),
            &GOOD.replace("-b7", "xb7"),
            &GOOD.replace("-01", "-0g"),
        ] {
            assert_eq!(read(&[bad]), None, "{bad}");
        }
        assert_eq!(read(&[GOOD, GOOD]), None);
    }
}
