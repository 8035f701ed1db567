//! Time as the product sees it: microseconds since 1970 in UTC, from an injected clock.

use std::{
    fmt,
    ops::Add,
    str::FromStr,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// Microseconds since 1970-01-01T00:00:00Z. Printed as RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The last moment that can be printed (9999-12-30T22:00:00Z).
    pub const MAX: Self = Self(253_402_207_200_000_000);

    pub const EPOCH: Self = Self(0);

    /// A moment as RFC 3339 (`2026-11-25T21:00:00Z`) or HTTP (`Wed, 25 Nov 2026 21:00:00 GMT`,
    /// RFC 9110 §5.6.7) writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let time = match text.parse::<jiff::Timestamp>() {
            Ok(time) => time,
            Err(_) => jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?,
        };
        Some(Self(time.as_microsecond()))
    }

    /// Seconds since 1970.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// RFC 3339 in UTC, with whole seconds.
    pub fn to_rfc3339_seconds(self) -> String {
        self.written("%Y-%m-%dT%H:%M:%SZ")
    }

    /// RFC 9110 §5.6.7.
    pub fn to_http_date(self) -> String {
        self.written("%a, %d %b %Y %H:%M:%S GMT")
    }

    /// ISO 8601 without separators, with whole seconds: `20261127T140000Z`.
    pub fn to_compact(self) -> String {
        self.written("%Y%m%dT%H%M%SZ")
    }

    fn written(self, format: &str) -> String {
        let time = jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::MAX);
        time.strftime(format).to_string()
    }

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time:.6}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A day of the calendar, as in `expires = "2027-06-30"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Date(jiff::civil::Date);

/// Text that is no day of the calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a day of the form YYYY-MM-DD")]
pub struct ParseDateError {
    pub given: String,
}

impl Date {
    /// The first moment after this day in UTC: an inclusive expiry ends here.
    pub fn end_utc(self) -> Timestamp {
        self.0
            .tomorrow()
            .ok()
            .and_then(|day| day.to_zoned_datetime(jiff::tz::TimeZone::UTC).ok())
            .map_or(Timestamp::MAX, |time| Timestamp(time.timestamp().as_microsecond()))
    }

    /// The day of `time` in UTC.
    pub fn of(time: Timestamp) -> Option<Self> {
        let time = jiff::Timestamp::from_microsecond(time.as_micros()).ok()?;
        Some(Self(time.to_zoned_datetime(jiff::tz::TimeZone::UTC).date()))
    }
}

impl FromStr for Date {
    type Err = ParseDateError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDateError { given: text.chars().take(40).collect() };
        // jiff takes more spellings than a grant file should have.
        if text.len() != 10 {
            return Err(error());
        }
        text.parse().map(Self).map_err(|_| error())
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A clock that tests move by hand.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub const fn at(time: Timestamp) -> Self {
        Self(AtomicI64::new(time.0))
    }

    pub fn advance(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_day_is_inclusive_in_utc() {
        let day: Date = "2027-06-30".parse().unwrap();
        assert_eq!(day.end_utc().to_string(), "2027-07-01T00:00:00.000000Z");
        assert_eq!(day.to_string(), "2027-06-30");
        for bad in ["2027-6-30", "2027-02-30", "30.06.2027", "", "2027-06-30T00:00:00Z"] {
            assert!(bad.parse::<Date>().is_err(), "{bad}");
        }
    }
}
