//! One-time codes by time (RFC 6238): SHA-1, six digits, steps of 30 seconds, as every
//! authenticator app knows them.
//!
//! A step is used once (RFC 6238 §5.2): [`TotpSeed::check`] takes the last step that was used and
//! yields the one to be stored. Nothing but six ASCII digits is a code, so that no other spelling
//! of a code is accepted beside it.

use qrcodegen::{QrCode, QrCodeEcc};
use std::fmt::Write as _;
use totp_rs::{Algorithm, Builder, Totp};
use types::{Random, RandomError, SecretBytes, SecretText, Timestamp};
use zeroize::Zeroizing;

/// Bytes of a seed: 160 bits, as RFC 4226 §4 recommends.
pub const SEED_BYTES: usize = 20;
const DIGITS: u8 = 6;
const STEP_SECONDS: u64 = 30;
/// Modules of light around a QR code (ISO/IEC 18004 §6.3.8).
const QUIET_ZONE: i32 = 4;

/// The secret that a person's authenticator app shares with Weirgate.
///
/// ```compile_fail
/// fn copy(seed: &identity::TotpSeed) -> identity::TotpSeed { seed.clone() }
/// ```
/// ```compile_fail
/// fn print(seed: identity::TotpSeed) { println!("{seed}"); }
/// ```
#[derive(Debug)]
pub struct TotpSeed(SecretBytes);

/// A count of 30-second steps since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TotpStep(u64);

/// Why a code does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TotpError {
    #[error("a code is six digits: type what the authenticator app shows, without spaces")]
    Form,
    #[error(
        "the code is not the one of this moment: type the newest, and check the clock of the \
         device that shows it"
    )]
    Wrong,
    #[error("the code was used already, and counts once: wait for the next, at most 30 seconds")]
    Used,
}

/// Why there is no such seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TotpSeedError {
    #[error("a seed has {SEED_BYTES} bytes: the stored one is damaged, enrol the app anew")]
    Length,
}

/// Why a seed cannot be shown to an authenticator app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TotpLabelError {
    #[error("a name with `:` or without any character cannot stand in an authenticator app")]
    Name,
    #[error("the names are too long for a QR code: shorten them, or type the seed by hand")]
    Length,
}

impl TotpStep {
    /// The step that a moment lies in.
    pub fn at(time: Timestamp) -> Self {
        Self(u64::try_from(time.as_micros() / 1_000_000).unwrap_or(0) / STEP_SECONDS)
    }

    /// Reads what [`TotpStep::number`] gave.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    pub const fn number(self) -> u64 {
        self.0
    }
}

impl TotpSeed {
    pub fn generate(random: &dyn Random) -> Result<Self, RandomError> {
        let mut bytes = vec![0; SEED_BYTES];
        random.fill(&mut bytes)?;
        Ok(Self(SecretBytes::new(bytes)))
    }

    /// Reads what [`TotpSeed::expose`] gave.
    pub fn from_bytes(bytes: SecretBytes) -> Result<Self, TotpSeedError> {
        if bytes.expose().len() == SEED_BYTES {
            Ok(Self(bytes))
        } else {
            Err(TotpSeedError::Length)
        }
    }

    /// The seed itself, to be sealed.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// Judges a code: it counts in its own step and in those beside it, and once. Yields the step,
    /// which must be stored before the code has any effect; a code of that step or of one before
    /// it then counts no more.
    pub fn check(
        &self,
        code: &str,
        now: Timestamp,
        last_used: Option<TotpStep>,
    ) -> Result<TotpStep, TotpError> {
        if code.len() != usize::from(DIGITS) || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(TotpError::Form);
        }
        let totp = totp(Algorithm::SHA1, DIGITS, self.expose());
        let TotpStep(middle) = TotpStep::at(now);
        let mut answer = Err(TotpError::Wrong);
        // All three are computed, whichever fits.
        for step in middle.saturating_sub(1)..=middle.saturating_add(1) {
            if totp.check(code, step.saturating_mul(STEP_SECONDS)).is_some() && answer.is_err() {
                let step = TotpStep(step);
                let is_used = last_used.is_some_and(|last| step <= last);
                answer = if is_used { Err(TotpError::Used) } else { Ok(step) };
            }
        }
        answer
    }

    /// The seed in base32, in groups of four, for apps that cannot read the QR code.
    pub fn spelled(&self) -> SecretText {
        let letters = Zeroizing::new(self.base32());
        let mut text = String::with_capacity(letters.len() * 5 / 4);
        for (place, letter) in letters.chars().enumerate() {
            if place > 0 && place % 4 == 0 {
                text.push(' ');
            }
            text.push(letter);
        }
        SecretText::new(text)
    }

    /// `otpauth://totp/...`, as authenticator apps read it (Key URI Format).
    pub fn uri(&self, issuer: &str, account: &str) -> Result<SecretText, TotpLabelError> {
        if [issuer, account].iter().any(|name| name.is_empty() || name.contains(':')) {
            return Err(TotpLabelError::Name);
        }
        let builder = Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(DIGITS)
            .with_step_duration(STEP_SECONDS)
            .with_secret(self.expose())
            .with_issuer(Some(issuer))
            .with_account_name(account);
        let totp = builder.build().map_err(|_| TotpLabelError::Name)?;
        totp.to_url().map(SecretText::new).map_err(|_| TotpLabelError::Name)
    }

    /// The URI as a QR code: an SVG without scripts and styles, on white whatever lies below.
    pub fn qr_svg(&self, issuer: &str, account: &str) -> Result<SecretText, TotpLabelError> {
        let uri = self.uri(issuer, account)?;
        let code = QrCode::encode_text(uri.expose(), QrCodeEcc::Medium)
            .map_err(|_| TotpLabelError::Length)?;
        Ok(SecretText::new(svg(&code)))
    }

    fn base32(&self) -> String {
        totp(Algorithm::SHA1, DIGITS, self.expose()).secret().to_base32()
    }
}

/// Steps of one moment only: the window is ours.
fn totp(algorithm: Algorithm, digits: u8, seed: &[u8]) -> Totp {
    Builder::new()
        .with_algorithm(algorithm)
        .with_digits(digits)
        .with_skew(0)
        .with_step_duration(STEP_SECONDS)
        .with_secret(seed)
        .build_noncompliant()
}

/// One path over all dark modules, a rectangle for each run in a row.
fn svg(code: &QrCode) -> String {
    let side = code.size() + 2 * QUIET_ZONE;
    let mut path = String::new();
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let start = x;
            // Outside of the code all modules are light.
            while code.get_module(x, y) {
                x += 1;
            }
            if x > start {
                let (left, top, width) = (start + QUIET_ZONE, y + QUIET_ZONE, x - start);
                // Writing to a String cannot fail.
                let _ = write!(path, "M{left} {top}h{width}v1h-{width}z");
            }
            x += 1;
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" role=\"img\" \
         aria-label=\"QR code for the authenticator app\" shape-rendering=\"crispEdges\">\
         <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/>\
         <path d=\"{path}\" fill=\"#000\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::SeededRandom;

    const SEED: &[u8] = b"12345678901234567890";

    fn seed() -> TotpSeed {
        TotpSeed::from_bytes(SecretBytes::new(SEED.to_vec())).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    /// The code of a step, from the library, in six digits.
    fn code(step: u64) -> String {
        totp(Algorithm::SHA1, 6, SEED).generate(step * 30).to_string()
    }

    /// RFC 6238, appendix B, with the seeds that its erratum 2866 gives.
    #[test]
    fn rfc_6238_vectors_hold() {
        let seed_256 = b"12345678901234567890123456789012";
        let seed_512 = b"1234567890123456789012345678901234567890123456789012345678901234";
        for (time, sha_1, sha_256, sha_512) in [
            (59, "94287082", "46119246", "90693936"),
            (1_111_111_109, "07081804", "68084774", "25091201"),
            (1_111_111_111, "14050471", "67062674", "99943326"),
            (1_234_567_890, "89005924", "91819424", "93441116"),
            (2_000_000_000, "69279037", "90698825", "38618901"),
            (20_000_000_000_u64, "65353130", "77737706", "47863826"),
        ] {
            for (algorithm, seed, expected) in [
                (Algorithm::SHA1, SEED, sha_1),
                (Algorithm::SHA256, seed_256.as_slice(), sha_256),
                (Algorithm::SHA512, seed_512.as_slice(), sha_512),
            ] {
                let made = totp(algorithm, 8, seed).generate(time).to_string();
                assert_eq!(made, expected, "{algorithm} at {time}");
            }
            // Six digits are the last six of eight.
            let now = at(i64::try_from(time).unwrap());
            assert_eq!(seed().check(&sha_1[2..], now, None), Ok(TotpStep(time / 30)));
        }
    }

    #[test]
    fn a_code_counts_in_its_step_and_those_beside_it() {
        let now = at(1_234_567_890);
        let TotpStep(middle) = TotpStep::at(now);
        for (step, expected) in [
            (middle - 2, Err(TotpError::Wrong)),
            (middle - 1, Ok(TotpStep(middle - 1))),
            (middle, Ok(TotpStep(middle))),
            (middle + 1, Ok(TotpStep(middle + 1))),
            (middle + 2, Err(TotpError::Wrong)),
        ] {
            assert_eq!(seed().check(&code(step), now, None), expected, "{step}");
        }
        // At the beginning of time there is no step before.
        assert_eq!(seed().check(&code(0), at(0), None), Ok(TotpStep(0)));
        assert_eq!(seed().check(&code(0), Timestamp::from_micros(-1), None), Ok(TotpStep(0)));
    }

    #[test]
    fn a_step_is_used_once_and_none_before_it_counts_again() {
        let now = at(1_234_567_890);
        let TotpStep(middle) = TotpStep::at(now);
        let used = seed().check(&code(middle), now, None).unwrap();
        assert_eq!(seed().check(&code(middle), now, Some(used)), Err(TotpError::Used));
        assert_eq!(seed().check(&code(middle - 1), now, Some(used)), Err(TotpError::Used));
        let next = seed().check(&code(middle + 1), now, Some(used)).unwrap();
        assert!(next > used);
        assert_eq!(
            seed().check(&code(middle + 1), at(1_234_567_920), Some(next)),
            Err(TotpError::Used)
        );
        // A clock that was set back brings no code back.
        assert_eq!(
            seed().check(&code(middle), at(1_234_567_860), Some(next)),
            Err(TotpError::Used)
        );
    }

    /// CVE class 2: one code in two spellings was accepted twice.
    #[test]
    fn no_other_spelling_of_a_code_counts() {
        let now = at(1_234_567_890);
        let right = code(TotpStep::at(now).number());
        assert!(seed().check(&right, now, None).is_ok());
        let shifted = |zero: u32| -> String {
            let digits = right.bytes().map(|byte| char::from_u32(zero + u32::from(byte - b'0')));
            digits.map(Option::unwrap).collect()
        };
        let mut spellings = vec![
            String::new(),
            format!(" {right}"),
            format!("{right} "),
            format!("{right}\n"),
            format!("{right}\0"),
            format!("\u{a0}{right}"),
            format!("\u{200b}{right}"),
            format!("{} {}", &right[..3], &right[3..]),
            format!("{}-{}", &right[..3], &right[3..]),
            format!("0{right}"),
            format!("+{}", &right[1..]),
            format!("+{right}"),
            right[1..].to_owned(),
            format!("{right}{right}"),
        ];
        // Digits of Arabic, Devanagari, full width, mathematics, superscript-like circles.
        spellings.extend([0x660, 0x6f0, 0x966, 0xff10, 0x1d7ce, 0x1d7f6].map(shifted));
        for spelling in spellings {
            assert_eq!(seed().check(&spelling, now, None), Err(TotpError::Form), "{spelling:?}");
        }
    }

    #[test]
    fn a_seed_has_160_random_bits_and_is_not_printed() {
        let random = SeededRandom::new(8);
        let (one, other) =
            (TotpSeed::generate(&random).unwrap(), TotpSeed::generate(&random).unwrap());
        assert_eq!(one.expose().len(), 20);
        assert_ne!(one.expose(), other.expose());
        assert_eq!(format!("{one:?}"), "TotpSeed(SecretBytes(hidden))");
        for length in [0, 19, 21] {
            let bytes = SecretBytes::new(vec![1; length]);
            assert_eq!(TotpSeed::from_bytes(bytes).unwrap_err(), TotpSeedError::Length);
        }
    }

    #[test]
    fn the_uri_says_what_an_app_needs() {
        let uri = seed().uri("Weirgate", "ada@example.com").unwrap();
        let uri = url::Url::parse(uri.expose()).unwrap();
        assert_eq!((uri.scheme(), uri.host_str()), ("otpauth", Some("totp")));
        assert_eq!(uri.path(), "/Weirgate:ada%40example.com");
        let value = |name: &str| {
            uri.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        assert_eq!(value("secret").unwrap(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(value("issuer").unwrap(), "Weirgate");
        // What is left out has these values (Key URI Format).
        assert!(value("digits").is_none_or(|digits| digits == "6"));
        assert!(value("period").is_none_or(|period| period == "30"));
        assert!(value("algorithm").is_none_or(|algorithm| algorithm == "SHA1"));
        assert_eq!(seed().spelled().expose(), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ");
        // A name cannot add parameters, nor another issuer.
        let odd = seed().uri("Weir & Söhne?secret=AAAA", "a/b#c&digits=8").unwrap();
        let odd = url::Url::parse(odd.expose()).unwrap();
        assert_eq!(odd.query_pairs().filter(|(key, _)| key == "secret").count(), 1);
        assert!(!odd.query_pairs().any(|(key, value)| key == "digits" && value != "6"));
        assert_eq!(seed().uri("a:b", "c").unwrap_err(), TotpLabelError::Name);
        assert_eq!(seed().uri("a", "").unwrap_err(), TotpLabelError::Name);
    }

    /// Paints the SVG's rectangles and reads the picture as a camera would.
    #[test]
    fn the_qr_code_is_readable_and_has_no_style() {
        let account = "ada.lovelace@analytical-engines.example";
        let svg = seed().qr_svg("Weirgate", account).unwrap();
        let svg = svg.expose();
        for word in ["style", "script", "class=", "href", "on"] {
            let found = svg.replace("icon", "").matches(&format!(" {word}")).count();
            assert_eq!(found, 0, "{word}");
        }
        let number = |text: &str| text.parse::<usize>().unwrap();
        let side = svg.split("viewBox=\"0 0 ").nth(1).unwrap();
        let side = number(side.split(' ').next().unwrap());
        let path = svg.split("d=\"").nth(1).unwrap().split('"').next().unwrap();
        let mut is_dark = vec![false; side * side];
        for run in path.split('M').skip(1) {
            let (corner, width) = run.split_once('h').unwrap();
            let (x, y) = corner.split_once(' ').unwrap();
            let width = number(width.split('v').next().unwrap());
            let start = number(y) * side + number(x);
            is_dark[start..start + width].fill(true);
        }
        const SCALE: usize = 4;
        let mut picture =
            rqrr::PreparedImage::prepare_from_greyscale(side * SCALE, side * SCALE, |x, y| {
                if is_dark[y / SCALE * side + x / SCALE] { 0 } else { 255 }
            });
        let grids = picture.detect_grids();
        let (_, read) = grids[0].decode().unwrap();
        assert_eq!(read, seed().uri("Weirgate", account).unwrap().expose());
        let long = "x".repeat(3_000);
        assert_eq!(seed().qr_svg("a", &long).unwrap_err(), TotpLabelError::Length);
    }
}
