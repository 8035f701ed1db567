//! An authenticator app (RFC 6238): six digits each half minute, of a key as people type it.

use aws_lc_rs::hmac;

const STEP_SECONDS: u64 = 30;

/// The code of the step that this many seconds since 1970 lie in; `None` for a text that is no key.
pub fn code(spelled: &str, seconds: u64) -> Option<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &base32(spelled)?);
    let mac = hmac::sign(&key, &(seconds / STEP_SECONDS).to_be_bytes());
    let at = usize::from(mac.as_ref().last()? & 15);
    let four: [u8; 4] = mac.as_ref().get(at..at + 4)?.try_into().ok()?;
    Some(format!("{:06}", (u32::from_be_bytes(four) & 0x7FFF_FFFF) % 1_000_000))
}

/// RFC 4648 without padding; spaces are skipped.
fn base32(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for letter in text.bytes().filter(|byte| *byte != b' ') {
        let digit = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|one| *one == letter)?;
        bits = bits << 5 | u32::try_from(digit).ok()?;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xFF).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::code;

    /// RFC 6238 appendix B, the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let spelled = "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ";
        for (seconds, wanted) in
            [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")]
        {
            assert_eq!(code(spelled, seconds).unwrap(), wanted);
        }
        assert_eq!(code("1", 0), None);
    }
}
