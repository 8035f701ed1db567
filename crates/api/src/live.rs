//! Calls as they end, for a page that follows them (server-sent events, HTML §9.2).

use crate::{
    calls::{Filter, Names, RowView, Sees},
    console::Console,
    cookies::Cookies,
    pages::{Asked, Home, Refusal, asked_for, or_failed, person},
};
use app::{
    calls::{Call, Wanted, newer, newest},
    people::{sessions, sessions::SignedIn},
};
use axum::{
    body::{Body, Bytes},
    extract::{Extension, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use policy::{Act, Decision};
use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Write as _,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use types::{Id, Session};

pub(crate) const PATH: &str = "/calls/stream";

/// Streams of one session, and of all, at once.
const OF_ONE: usize = 4;
const OF_ALL: usize = 32;
/// How often a stream looks for calls, and whether it may go on.
const EVERY: Duration = Duration::from_millis(500);
/// Something is sent at least so often: who has gone is noticed by it.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Calls that are sent at once; more are counted.
const AT_ONCE: usize = 50;
/// Names are read again no more often.
const NAMES_EVERY: Duration = Duration::from_secs(10);

/// Places for streams, by session.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<HashMap<Id<Session>, usize>>);

/// A place that is given back when the stream ends, however it does.
#[derive(Debug)]
struct Place {
    streams: Arc<Streams>,
    session: Id<Session>,
}

impl Streams {
    fn take(self: &Arc<Self>, session: Id<Session>) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&session).copied().unwrap_or(0);
        let all: usize = taken.values().sum();
        if own >= OF_ONE || all >= OF_ALL {
            return None;
        }
        taken.insert(session, own + 1);
        Some(Place { streams: Arc::clone(self), session })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.session) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.session);
            }
        }
    }
}

/// A stream under way.
struct Tail {
    console: Arc<Console>,
    headers: HeaderMap,
    source: Option<IpAddr>,
    wanted: Wanted,
    /// Calls that ended with this entry or before are known to whoever follows.
    after: u64,
    names: Names,
    /// Whose they are.
    sees: Sees,
    named_at: Instant,
    ticks: Interval,
    said_at: Instant,
    is_over: bool,
    _place: Place,
}

pub(crate) async fn stream(
    State(console): Home,
    Extension(visit): Asked,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let Some(place) = console.streams.take(signed_in.session) else {
        let busy = "Too many pages follow calls; close one.\n";
        return Ok((StatusCode::TOO_MANY_REQUESTS, busy).into_response());
    };
    let sees = Sees::of(&console, signed_in);
    let names = or_failed(Names::read(&console, sees).await)?;
    let wanted = match Filter::of(query.as_deref()).wanted(&names) {
        Ok(wanted) => wanted,
        Err(problem) => return Ok((StatusCode::UNPROCESSABLE_ENTITY, problem).into_response()),
    };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let after = last.map_or_else(|| asked_for(query.as_deref(), "after"), ToOwned::to_owned);
    // Whoever comes without a place to go on from, or with one of another log, begins now.
    let newest = or_failed(newest(&console.instance).await)?.unwrap_or(0);
    let after = after.parse().map_or(newest, |after: u64| after.min(newest));
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let now = Instant::now();
    let tail = Tail {
        source: visit.source,
        after,
        sees,
        named_at: now,
        said_at: now,
        is_over: false,
        _place: place,
        console,
        headers,
        wanted,
        names,
        ticks,
    };
    // The head leaves with the first bytes: a page knows at once that it follows.
    let begin = futures_util::stream::iter([Ok(Bytes::from_static(b"retry: 3000\n\n"))]);
    let rest = futures_util::stream::unfold(tail, Tail::next);
    let mut response =
        Body::from_stream(futures_util::StreamExt::chain(begin, rest)).into_response();
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    // A proxy that waits for more would keep calls back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl Tail {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        while !self.is_over {
            self.ticks.tick().await;
            let text = match self.look().await {
                Ok(text) => text,
                Err(why) => {
                    self.is_over = true;
                    format!("event: end\ndata: {why}\n\n")
                }
            };
            if !text.is_empty() {
                self.said_at = Instant::now();
                return Some((Ok(Bytes::from(text)), self));
            }
        }
        None
    }

    /// What there is to say now, if anything; or why nothing more is said.
    async fn look(&mut self) -> Result<String, &'static str> {
        let person = self.judge().await?;
        let unread = |_| "The log cannot be read now. Load the page again.";
        let instance = &self.console.instance;
        let newer = newer(instance, self.after).await.map_err(unread)?;
        self.after = newer.calls.last().and_then(Call::end_index).unwrap_or(self.after);
        let mut calls = newer.calls;
        calls.retain(|call| self.wanted.takes(call));
        let mut text = String::new();
        let skipped = calls.len().saturating_sub(AT_ONCE);
        if newer.has_gap {
            text += "event: more\ndata: Calls were left out: load the page again to see them.\n\n";
        } else if skipped > 0 {
            // Writing to a text does not fail.
            let _ = write!(text, "event: more\ndata: {skipped} calls at once were left out.\n\n");
        }
        let calls = calls.split_off(skipped);
        self.name(&calls, Sees::of(&self.console, &person)).await?;
        for call in &calls {
            let row = serde_json::to_string(&RowView::of(call, &self.names));
            let row = row.map_err(|_| "A call could not be shown.")?;
            let id = call.end_index().unwrap_or(self.after);
            // JSON has no line breaks of its own.
            let _ = write!(text, "id: {id}\nevent: call\ndata: {row}\n\n");
        }
        if text.is_empty() && self.said_at.elapsed() >= HEARTBEAT {
            let at = self.after;
            let _ = write!(text, "id: {at}\nevent: at\ndata: {at}\n\n");
        }
        Ok(text)
    }

    /// Who follows, if they still may: judged as each request is, but for being seen.
    async fn judge(&self) -> Result<SignedIn, &'static str> {
        const ENDED: &str = "You are signed out: sign in to follow calls.";
        let token = Cookies::of(&self.headers).session.ok_or(ENDED)?;
        let found = sessions::look_on(&self.console.instance, &token).await;
        let person = found.map_err(|_| "The console cannot look now. Load the page again.")?;
        let person = person.ok_or(ENDED)?;
        match self.console.decide(&person, Act::AuditRead, self.source) {
            Decision::Allowed(_) if person.level == types::SessionLevel::Full => {
                Ok(SignedIn { source: self.source, ..person })
            }
            _ => Err("Your roles do not permit it any more."),
        }
    }

    /// Reads names again where one is missing.
    async fn name(&mut self, calls: &[Call], sees: Sees) -> Result<(), &'static str> {
        let is_whole = calls.iter().all(|call| self.names.has_all(call, sees));
        let is_same = self.sees == sees;
        if !is_same || !is_whole && self.named_at.elapsed() >= NAMES_EVERY {
            (self.named_at, self.sees) = (Instant::now(), sees);
            let read = Names::read(&self.console, sees).await;
            self.names = read.map_err(|_| "Names cannot be read now. Load the page again.")?;
        }
        Ok(())
    }
}
