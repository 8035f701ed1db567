//! How many calls may go on: windows per key, connection and provider, calls under way at once, and
//! what a provider told of its own limits.
//!
//! The state lives in [`Meter`]s that outlast Snapshots. Nothing here waits: a call goes on, or is
//! refused with the time after which it may be tried again.

use http::{HeaderMap, StatusCode};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use types::{Rate, Timestamp};

/// The longest that a provider is believed when it says to wait.
const MAX_TOLD: Duration = Duration::from_hours(1);
/// Numbers above are moments of the epoch, not spans: some providers give the one, some the other.
const EPOCH_SECONDS: f64 = 1e9;
const EPOCH_MILLIS: f64 = 1e12;

/// Which limit held a call back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Key,
    Connection,
    Provider,
    /// The provider told that it takes no more for now.
    ToldByProvider,
    /// Calls under way on one connection.
    ConnectionCalls,
    /// Calls under way to one provider.
    ProviderCalls,
    /// Request bodies of one key that are held at once.
    KeyBodies,
    /// All that are.
    Bodies,
}

impl Limit {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Connection => "connection",
            Self::Provider => "provider",
            Self::ToldByProvider => "told_by_provider",
            Self::ConnectionCalls => "connection_calls",
            Self::ProviderCalls => "provider_calls",
            Self::KeyBodies => "key_bodies",
            Self::Bodies => "bodies",
        }
    }
}

/// A call that has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub limit: Limit,
    pub retry_after: Duration,
}

/// Limits as they are configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSettings {
    pub per_key: Vec<Rate>,
    pub per_connection: Vec<Rate>,
    pub per_provider: Vec<Rate>,
    /// Calls under way at once.
    pub connection_calls: usize,
    pub provider_calls: usize,
}

/// One rate by the generic cell rate algorithm (ITU-T I.371): a burst of the whole allowance, then
/// evenly. In any stretch of the window's length at most twice the allowance passes.
#[derive(Debug)]
struct Window {
    interval: u64,
    tolerance: u64,
    /// The theoretical arrival time of the next call, in nanoseconds.
    arrival: AtomicU64,
}

impl Window {
    fn new(rate: &Rate) -> Self {
        let per = nanos(rate.per);
        let interval = (per / u64::from(rate.calls)).max(1);
        Self { interval, tolerance: per.saturating_sub(interval), arrival: AtomicU64::new(0) }
    }

    /// Takes a place, or yields how many nanoseconds it takes until there is one.
    fn take(&self, now: u64) -> Result<(), u64> {
        let mut arrival = self.arrival.load(Ordering::Relaxed);
        loop {
            let start = arrival.max(now);
            let ahead = start - now;
            if ahead > self.tolerance {
                return Err(ahead - self.tolerance);
            }
            let next = start.saturating_add(self.interval);
            match self.arrival.compare_exchange_weak(
                arrival,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(other) => arrival = other,
            }
        }
    }

    fn give_back(&self) {
        self.arrival.fetch_sub(self.interval, Ordering::Relaxed);
    }
}

/// What a provider told: so many calls until then.
#[derive(Debug, Default)]
struct Told {
    left: AtomicI64,
    /// In nanoseconds; what was told is forgotten then.
    until: AtomicU64,
}

/// The state of one key, connection or provider.
#[derive(Debug)]
pub struct Meter {
    begun: Instant,
    rates: Vec<Rate>,
    windows: Vec<Window>,
    told: Told,
    under_way: AtomicUsize,
    max_under_way: usize,
    /// What the request bodies of its calls take: see [`crate::body_room`].
    pub(crate) body_bytes: AtomicUsize,
}

impl Meter {
    pub fn new(rates: Vec<Rate>, max_under_way: usize) -> Self {
        Self {
            begun: Instant::now(),
            windows: rates.iter().map(Window::new).collect(),
            rates,
            told: Told::default(),
            under_way: AtomicUsize::new(0),
            max_under_way,
            body_bytes: AtomicUsize::new(0),
        }
    }

    pub fn has(&self, rates: &[Rate], max_under_way: usize) -> bool {
        self.rates == rates && self.max_under_way == max_under_way
    }

    fn now(&self) -> u64 {
        nanos(self.begun.elapsed())
    }

    /// A place in every window, or in none.
    fn take(&self, now: u64) -> Result<(), Duration> {
        for (index, window) in self.windows.iter().enumerate() {
            if let Err(wait) = window.take(now) {
                for taken in self.windows.iter().take(index) {
                    taken.give_back();
                }
                return Err(Duration::from_nanos(wait));
            }
        }
        Ok(())
    }

    fn give_back(&self) {
        for window in &self.windows {
            window.give_back();
        }
    }

    fn take_told(&self, now: u64) -> Result<(), Duration> {
        let until = self.told.until.load(Ordering::Acquire);
        if now >= until {
            return Ok(());
        }
        if self.told.left.fetch_sub(1, Ordering::AcqRel) > 0 {
            return Ok(());
        }
        self.told.left.fetch_add(1, Ordering::AcqRel);
        Err(Duration::from_nanos(until - now))
    }

    /// Takes in what an answer says of the provider's limits.
    pub fn learn(&self, status: StatusCode, headers: &HeaderMap, clock: Timestamp) {
        let Some((left, span)) = told(status, headers, clock) else { return };
        let span = span.min(MAX_TOLD);
        // Others that are under way may be counted in what was told, or not yet.
        let others = self.under_way.load(Ordering::Relaxed).saturating_sub(1);
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        self.told
            .left
            .store(left.saturating_sub(i64::try_from(others).unwrap_or(0)), Ordering::Release);
        self.told.until.store(self.now().saturating_add(nanos(span)), Ordering::Release);
    }

    fn enter(self: &Arc<Self>) -> Option<UnderWay> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let place = UnderWay(Arc::clone(self));
        (before < self.max_under_way).then_some(place)
    }
}

/// A place among the calls under way of one meter, given back on drop.
#[derive(Debug)]
struct UnderWay(Arc<Meter>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The places of one call.
#[derive(Debug)]
pub(crate) struct Places {
    _connection: UnderWay,
    _provider: UnderWay,
}

/// How long a call that finds no place among those under way, or no room for its body, should wait.
pub(crate) const BUSY: Duration = Duration::from_secs(1);

/// Counts a call, or says why it has to wait; one that has to wait counts nowhere.
pub(crate) fn admit(
    key: &Meter,
    connection: &Arc<Meter>,
    provider: &Arc<Meter>,
) -> Result<Places, Held> {
    let held = |limit| move |retry_after| Held { limit, retry_after };
    let in_connection = connection.enter().ok_or_else(|| held(Limit::ConnectionCalls)(BUSY))?;
    let in_provider = provider.enter().ok_or_else(|| held(Limit::ProviderCalls)(BUSY))?;
    key.take(key.now()).map_err(held(Limit::Key))?;
    let rest = || {
        let now = connection.now();
        connection.take(now).map_err(held(Limit::Connection))?;
        let of_provider =
            provider.take(provider.now()).map_err(held(Limit::Provider)).and_then(|()| {
                let told = connection.take_told(now).map_err(held(Limit::ToldByProvider));
                told.inspect_err(|_| provider.give_back())
            });
        of_provider.inspect_err(|_| connection.give_back())
    };
    rest().inspect_err(|_| key.give_back())?;
    Ok(Places { _connection: in_connection, _provider: in_provider })
}

/// Calls left, and for how long that holds.
fn told(status: StatusCode, headers: &HeaderMap, clock: Timestamp) -> Option<(u64, Duration)> {
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
        && let Some(wait) = text(headers, "retry-after").and_then(|value| span(value, clock))
    {
        return Some((0, wait));
    }
    let structured = text(headers, "ratelimit").and_then(structured);
    let apart = || {
        ["ratelimit", "x-ratelimit", "x-rate-limit"].iter().find_map(|family| {
            let left = text(headers, &format!("{family}-remaining"))?.trim().parse().ok()?;
            let reset = span(text(headers, &format!("{family}-reset"))?, clock)?;
            Some((left, reset))
        })
    };
    let (left, reset) = structured.or_else(apart)?;
    // A refusal outweighs a number.
    let left = if status == StatusCode::TOO_MANY_REQUESTS { 0 } else { left };
    Some((left, reset))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// `"default";r=50;t=30` (draft-ietf-httpapi-ratelimit-headers-10), of several policies the
/// tightest; or `limit=100, remaining=50, reset=30` of its older drafts.
fn structured(value: &str) -> Option<(u64, Duration)> {
    let number = |part: &str, names: [&str; 2]| {
        part.split([';', ',']).find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            names.contains(&name.trim()).then(|| value.trim().parse::<u64>().ok())?
        })
    };
    let read = |part: &str| {
        let left = number(part, ["r", "remaining"])?;
        let reset = number(part, ["t", "reset"])?;
        Some((left, Duration::from_secs(reset)))
    };
    if value.contains("remaining=") {
        return read(value);
    }
    value.split(',').filter_map(read).min_by_key(|(left, _)| *left)
}

/// A number of seconds, a moment of the epoch in seconds or milliseconds, an HTTP date or one of
/// RFC 3339.
fn span(value: &str, clock: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let since_epoch = clock.since(Timestamp::EPOCH).as_secs_f64();
    let seconds = if let Ok(number) = value.parse::<f64>() {
        match number {
            n if n >= EPOCH_MILLIS => n / 1_000.0 - since_epoch,
            n if n >= EPOCH_SECONDS => n - since_epoch,
            n => n,
        }
    } else {
        let moment = Timestamp::parse(value)?;
        moment.since(Timestamp::EPOCH).as_secs_f64() - since_epoch
    };
    // What has passed already, or is no number, says nothing.
    (seconds > 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(MAX_TOLD))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    fn meter(rates: &str, max_under_way: usize) -> Arc<Meter> {
        Arc::new(Meter::new(Rate::parse_list(rates).unwrap(), max_under_way))
    }

    #[test]
    fn a_window_lets_a_burst_pass_and_then_refills_evenly() {
        let window = Window::new(&rate("10/s"));
        let burst = (0..20).filter(|_| window.take(5 * SECOND).is_ok()).count();
        assert_eq!(burst, 10);
        assert_eq!(window.take(5 * SECOND), Err(SECOND / 10));
        assert!(window.take(5 * SECOND + SECOND / 10).is_ok());
        assert!(window.take(5 * SECOND + SECOND / 10).is_err());
        window.give_back();
        assert!(window.take(5 * SECOND + SECOND / 10).is_ok());
    }

    proptest! {
        #[test]
        fn no_stretch_holds_more_than_twice_the_allowance(
            calls in 1_u32..50,
            gaps in prop::collection::vec(0_u64..SECOND / 4, 1..400),
        ) {
            let window = Window::new(&Rate { calls, per: Duration::from_secs(1) });
            let mut now = SECOND;
            let mut passed = Vec::new();
            for gap in gaps {
                now += gap;
                match window.take(now) {
                    Ok(()) => passed.push(now),
                    // Who waits as long as told gets a place.
                    Err(wait) => {
                        now += wait;
                        prop_assert!(window.take(now).is_ok());
                        passed.push(now);
                    }
                }
            }
            for (index, begun) in passed.iter().enumerate() {
                let within = passed[index..].iter().take_while(|at| **at < begun + SECOND).count();
                prop_assert!(within <= 2 * calls as usize, "{within} of {calls}");
            }
        }
    }

    #[test]
    fn a_call_that_is_held_back_counts_nowhere() {
        let (key, connection) = (meter("100/h", usize::MAX), meter("100/h, 2/d", 10));
        let provider = meter("100/h", 10);
        assert!(admit(&key, &connection, &provider).is_ok());
        assert!(admit(&key, &connection, &provider).is_ok());
        for _ in 0..200 {
            let held = admit(&key, &connection, &provider).unwrap_err();
            assert_eq!(held.limit, Limit::Connection);
        }
        let used = |meter: &Meter| meter.windows[0].arrival.load(Ordering::Relaxed);
        for meter in [&key, &connection, &provider] {
            assert!(used(meter) < 3 * 3_600 * SECOND / 100 + SECOND, "{}", used(meter));
            assert_eq!(meter.under_way.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn one_connection_and_one_provider_hold_only_their_share() {
        let key = meter("", usize::MAX);
        let provider = meter("", 3);
        let (first, second) = (meter("", 2), meter("", 2));
        let one = admit(&key, &first, &provider).unwrap();
        let _two = admit(&key, &first, &provider).unwrap();
        let held = |connection| admit(&key, connection, &provider).unwrap_err().limit;
        assert_eq!(held(&first), Limit::ConnectionCalls);
        let _three = admit(&key, &second, &provider).unwrap();
        assert_eq!(held(&second), Limit::ProviderCalls);
        drop(one);
        assert!(admit(&key, &second, &provider).is_ok());
    }

    #[test]
    fn what_a_provider_tells_is_understood() {
        let clock = Timestamp::parse("2026-11-25T21:00:00Z").unwrap();
        let read = |status: u16, headers: &[(&'static str, &'static str)]| {
            let map = headers
                .iter()
                .map(|(name, value)| {
                    (HeaderName::from_static(name), HeaderValue::from_static(value))
                })
                .collect();
            let told = told(StatusCode::from_u16(status).unwrap(), &map, clock);
            told.map(|(left, span)| (left, span.as_secs()))
        };
        assert_eq!(read(429, &[("retry-after", "7")]), Some((0, 7)));
        assert_eq!(read(503, &[("retry-after", "Wed, 25 Nov 2026 21:00:30 GMT")]), Some((0, 30)));
        assert_eq!(read(200, &[("retry-after", "7")]), None);
        assert_eq!(read(200, &[("ratelimit", "\"default\";r=50;t=30")]), Some((50, 30)));
        assert_eq!(read(200, &[("ratelimit", "\"a\";r=50;t=30, \"b\";r=2;t=9")]), Some((2, 9)));
        assert_eq!(read(200, &[("ratelimit", "limit=100, remaining=5, reset=3")]), Some((5, 3)));
        for reset in ["60", "1795640460", "1795640460000", "2026-11-25T21:01:00Z"] {
            let headers = [("x-ratelimit-remaining", "4"), ("x-ratelimit-reset", reset)];
            assert_eq!(read(200, &headers), Some((4, 60)), "{reset}");
            assert_eq!(read(429, &headers), Some((0, 60)), "{reset}");
        }
        for nothing in ["", "x", "-5", "NaN", "inf", "1795640399", "2026-11-25T20:59:00Z"] {
            let headers = [("ratelimit-remaining", "4"), ("ratelimit-reset", nothing)];
            let read = read(200, &headers);
            assert!(read.is_none() || nothing == "inf", "{nothing}: {read:?}");
        }
        assert_eq!(read(200, &[("ratelimit-remaining", "4")]), None);
    }

    #[test]
    fn a_provider_is_believed_until_its_time_is_up() {
        let meter = meter("", 10);
        let headers = |left: &'static str| {
            HeaderMap::from_iter([
                (HeaderName::from_static("ratelimit-remaining"), HeaderValue::from_static(left)),
                (HeaderName::from_static("ratelimit-reset"), HeaderValue::from_static("100000")),
            ])
        };
        meter.learn(StatusCode::OK, &headers("2"), Timestamp::EPOCH);
        let now = meter.now();
        assert!(meter.take_told(now).is_ok());
        assert!(meter.take_told(now).is_ok());
        let wait = meter.take_told(now).unwrap_err();
        assert!(wait <= MAX_TOLD && wait + Duration::from_mins(1) > MAX_TOLD, "{wait:?}");
        assert!(meter.take_told(now + nanos(MAX_TOLD) + SECOND).is_ok());
        meter.learn(StatusCode::OK, &headers("1"), Timestamp::EPOCH);
        assert!(meter.take_told(meter.now()).is_ok());
    }
}
