//! A rate of calls as people write it.

use std::{fmt, str::FromStr, time::Duration};

/// At most so many calls within a time: `100/s`, `3000/min`, `5/10s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub calls: u32,
    pub per: Duration,
}

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no rate: write a number, a slash and a time, such as 100/s, 3000/min or 5/10s")]
pub struct ParseRateError(String);

/// The longest window.
const MAX_PER: Duration = Duration::from_hours(31 * 24);
/// Units by what they are called, with their seconds.
const UNITS: [(&str, u64); 4] = [("s", 1), ("min", 60), ("h", 3_600), ("d", 86_400)];

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let refused = || ParseRateError(text.chars().take(40).collect());
        let (calls, time) = text.trim().split_once('/').ok_or_else(refused)?;
        let time = time.trim();
        let digits = time.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = time.split_at(digits);
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
        let count: u64 = if count.is_empty() { 1 } else { count.parse().map_err(|_| refused())? };
        let per = Duration::from_secs(count.checked_mul(*seconds).ok_or_else(refused)?);
        let calls: u32 = calls.trim().parse().map_err(|_| refused())?;
        if calls == 0 || per.is_zero() || per > MAX_PER {
            return Err(refused());
        }
        Ok(Self { calls, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.per.as_secs();
        let fitting = UNITS.iter().rev().find(|(_, unit)| seconds.is_multiple_of(*unit));
        let (name, unit) = fitting.copied().unwrap_or(("s", 1));
        match seconds / unit {
            1 => write!(f, "{}/{name}", self.calls),
            count => write!(f, "{}/{count}{name}", self.calls),
        }
    }
}

impl Rate {
    /// Several at once, with commas between; an empty text is none.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, ParseRateError> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written_alike() {
        for text in ["100/s", "3000/min", "5/10s", "1/h", "1000000/d", "7/90min"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        assert_eq!("60/60s".parse::<Rate>().unwrap().to_string(), "60/min");
        let two = Rate::parse_list(" 10/s, 100/min ").unwrap();
        assert_eq!(two.len(), 2);
        assert_eq!(Rate::parse_list("").unwrap(), []);
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in
            ["0/s", "1/0s", "1/ms", "-1/s", "1", "/s", "1/", "1/m", "1/40d", "1/s/s", "1.5/s"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
