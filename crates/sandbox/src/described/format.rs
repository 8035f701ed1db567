//! Formats of texts: what is checked, and what is certainly right where one has to be invented.
//!
//! JSON Schema 2020-12 §7 leaves it open whether `format` is asserted. Here it is, for the formats
//! below; a check accepts only what is right beyond doubt.

use super::draw::Key;
use std::net::{Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    DateTime,
    Date,
    Time,
    Email,
    Uuid,
    Uri,
    Ipv4,
    Ipv6,
    Hostname,
    Byte,
    Regex,
    JsonPointer,
    Duration,
    Int32,
    Int64,
    UnixTime,
    /// RFC 2822 dates, as one vendor writes them.
    MailDate,
    Binary,
    /// Named, and nothing is known of it.
    Other,
}

impl Format {
    pub(crate) fn read(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "date-time" | "datetime" | "iso 8601 compliant timestamp" => Self::DateTime,
            "date" => Self::Date,
            "time" => Self::Time,
            "email" | "idn-email" => Self::Email,
            "uuid" | "uuid4" | "guid" => Self::Uuid,
            "uri" | "url" | "iri" | "uri-reference" | "iri-reference" | "uri-template" => Self::Uri,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "hostname" | "idn-hostname" => Self::Hostname,
            "byte" | "base64" => Self::Byte,
            "regex" => Self::Regex,
            "json-pointer" | "relative-json-pointer" => Self::JsonPointer,
            "duration" => Self::Duration,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "unix-time" | "timestamp" => Self::UnixTime,
            "date-time-rfc-2822" => Self::MailDate,
            "binary" => Self::Binary,
            _ => Self::Other,
        }
    }

    /// What the text must be, if it is not.
    pub(crate) fn objection(self, text: &str) -> Option<&'static str> {
        let (holds, rule) = match self {
            Self::DateTime => (is_date_time(text), "must be a date and time (RFC 3339)"),
            Self::Date => (is_date(text), "must be a date (YYYY-MM-DD)"),
            Self::Time => (is_time(text), "must be a time with its zone (RFC 3339)"),
            Self::Email => (is_email(text), "must be an e-mail address"),
            Self::Uuid => (is_uuid(text), "must be a UUID"),
            Self::Ipv4 => (text.parse::<Ipv4Addr>().is_ok(), "must be an IPv4 address"),
            Self::Ipv6 => (text.parse::<Ipv6Addr>().is_ok(), "must be an IPv6 address"),
            Self::Hostname => (is_hostname(text), "must be a host name"),
            Self::Uri => (is_uri(text), "must be a URI"),
            _ => return None,
        };
        (!holds).then_some(rule)
    }

    /// A text that is right, for the formats that are checked somewhere.
    pub(crate) fn invent(self, key: Key) -> Option<String> {
        Some(match self {
            Self::DateTime => date_time(key),
            Self::Date => date(key),
            Self::Time => format!("{:02}:{:02}:00Z", key.at("h").below(24), key.at("m").below(60)),
            Self::Email => format!("person{}@example.com", key.below(10_000)),
            Self::Uuid => uuid(key),
            Self::Uri => format!("https://example.com/{:06x}", key.below(1 << 24)),
            Self::Ipv4 => format!("192.0.2.{}", key.between(1, 254)),
            Self::Ipv6 => format!("2001:db8::{:x}", key.between(1, 0xFFFF)),
            Self::Hostname => format!("host{}.example.com", key.below(1_000)),
            // Standard base64 with padding: any multiple of four letters.
            Self::Byte => "c2FuZGJveA==".to_owned(),
            Self::Regex => "^[a-z]+$".to_owned(),
            Self::JsonPointer => "/data/0".to_owned(),
            Self::Duration => format!("PT{}M", key.between(1, 59)),
            Self::MailDate => {
                format!(
                    "Mon, {:02} Jun 2025 10:{:02}:00 +0000",
                    2 + 7 * key.below(4),
                    key.below(60)
                )
            }
            _ => return None,
        })
    }
}

pub(crate) fn date(key: Key) -> String {
    format!(
        "{}-{:02}-{:02}",
        key.at("year").between(2023, 2025),
        key.at("month").between(1, 12),
        key.at("day").between(1, 28)
    )
}

pub(crate) fn date_time(key: Key) -> String {
    let clock = |name: &str, until| key.at(name).below(until);
    format!("{}T{:02}:{:02}:{:02}Z", date(key), clock("h", 24), clock("m", 60), clock("s", 60))
}

/// Version 4, variant 1 (RFC 9562 §5.4).
pub(crate) fn uuid(key: Key) -> String {
    let (high, low) = (key.at("high").number(), key.at("low").number());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xFFFF,
        high & 0xFFF,
        (low >> 48) & 0x3FFF | 0x8000,
        low & 0xFFFF_FFFF_FFFF
    )
}

fn digits(text: &str, from: usize, to: usize) -> Option<u32> {
    let part = text.get(from..to)?;
    part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
}

fn is_date(text: &str) -> bool {
    let read = || {
        let (year, month, day) = (digits(text, 0, 4)?, digits(text, 5, 7)?, digits(text, 8, 10)?);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last = match month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        let marks = text.get(4..5)? == "-" && text.get(7..8)? == "-" && text.len() == 10;
        (marks && (1..=last).contains(&day)).then_some(())
    };
    read().is_some()
}

/// RFC 3339 §5.6 without leap seconds.
fn is_time(text: &str) -> bool {
    let read = || {
        let (hour, minute, second) =
            (digits(text, 0, 2)?, digits(text, 3, 5)?, digits(text, 6, 8)?);
        let marks = text.get(2..3)? == ":" && text.get(5..6)? == ":";
        let mut rest = text.get(8..)?;
        if let Some(fraction) = rest.strip_prefix('.') {
            let end = fraction.bytes().take_while(u8::is_ascii_digit).count();
            if end == 0 {
                return None;
            }
            rest = fraction.get(end..)?;
        }
        let zone = match rest.strip_prefix(['+', '-']) {
            None => matches!(rest, "Z" | "z"),
            Some(offset) => {
                offset.len() == 5
                    && offset.get(2..3)? == ":"
                    && digits(offset, 0, 2)? < 24
                    && digits(offset, 3, 5)? < 60
            }
        };
        (marks && zone && hour < 24 && minute < 60 && second < 60).then_some(())
    };
    read().is_some()
}

fn is_date_time(text: &str) -> bool {
    let Some((date, rest)) = text.split_at_checked(10) else { return false };
    is_date(date) && rest.strip_prefix(['T', 't']).is_some_and(is_time)
}

fn is_email(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else { return false };
    let is_atom =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    (1..=64).contains(&local.len())
        && local.bytes().all(is_atom)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && is_hostname(host)
}

fn is_hostname(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
            // `xn--` and its like have rules of their own.
            && label.get(2..4) != Some("--")
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// An absolute URI of plain letters; what needs escaping is not looked into.
fn is_uri(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    text.chars().all(is_plain) && url::Url::parse(text).is_ok() && is_escaped(text)
}

/// Every `%` is followed by two hexadecimal digits.
fn is_escaped(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        rest.get(..2).is_some_and(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_texts_pass_their_own_checks() {
        for name in
            ["date-time", "date", "time", "email", "uuid", "uri", "ipv4", "ipv6", "hostname"]
        {
            let format = Format::read(name);
            for index in 0..500 {
                let text = format.invent(Key::new(7).index(index)).unwrap();
                assert_eq!(format.objection(&text), None, "{name}: {text}");
            }
        }
    }

    #[test]
    fn wrong_texts_are_objected_to() {
        for (name, text) in [
            ("date", "2025-02-29"),
            ("date", "2025-13-01"),
            ("date", "2025-1-1"),
            ("date", "01.02.2025"),
            ("date-time", "2025-01-01 10:00:00Z"),
            ("date-time", "2025-01-01T10:00:00"),
            ("date-time", "2025-01-01T25:00:00Z"),
            ("date-time", "2025-01-01T10:00:00.Z"),
            ("email", "nobody"),
            ("email", "a@b@c d"),
            ("email", ".a@example.com"),
            ("uuid", "123"),
            ("uuid", "g0000000-0000-4000-8000-000000000000"),
            ("uri", "not a uri"),
            ("uri", "https://example.com/%zz"),
            ("ipv4", "256.1.1.1"),
            ("ipv6", "::g"),
            ("hostname", "-a.example"),
        ] {
            assert!(Format::read(name).objection(text).is_some(), "{name}: {text}");
        }
        assert_eq!(Format::read("date-time").objection("2024-02-29T23:59:59.123+05:30"), None);
        assert_eq!(Format::read("currency").objection("whatever"), None);
    }
}
