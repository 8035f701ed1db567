//! A token endpoint beside a provider: it renews as strictly as providers do, and tells afterwards what
//! was asked of it.

use crate::{Answer, FaultyProvider, Received, lock};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// The client that it knows, and the first token that renews.
pub const APP_ID: &str = "weirgate-app";
pub const APP_SECRET: &str = "canary-app-secret-90d1f3";
pub const FIRST_REFRESH_TOKEN: &str = "canary-refresh-0-6b12";

/// See the module.
pub struct TokenServer {
    desk: Arc<Mutex<Desk>>,
}

struct Desk {
    lasts: Duration,
    /// How long the answer takes.
    delay: Duration,
    /// How long a refresh token may be shown again after it was used: then the same answer is given.
    grace: Duration,
    /// Answers before it goes on as usual.
    instead: Vec<Answer>,
    given: usize,
    asked: Vec<Instant>,
    reused: usize,
    is_alive: bool,
    refresh_token: String,
    /// The one before, when it was used, and what was given for it.
    before: Option<(String, Instant, String)>,
    access: BTreeMap<String, Instant>,
}

impl fmt::Debug for TokenServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenServer").finish_non_exhaustive()
    }
}

impl TokenServer {
    /// Serves `POST /token` at this provider, with tokens that last so long.
    pub fn at(provider: &FaultyProvider, lasts: Duration) -> Self {
        let desk = Desk {
            lasts,
            delay: Duration::ZERO,
            grace: Duration::ZERO,
            instead: Vec::new(),
            given: 0,
            asked: Vec::new(),
            reused: 0,
            is_alive: true,
            refresh_token: FIRST_REFRESH_TOKEN.to_owned(),
            before: None,
            access: BTreeMap::new(),
        };
        let desk = Arc::new(Mutex::new(desk));
        let asked = Arc::clone(&desk);
        provider.on_each("/token", move |request| lock(&asked).answer(request));
        Self { desk }
    }

    /// Lets nobody have a place without a token that is valid now.
    pub fn guard(&self, provider: &FaultyProvider, place: &str, answer: Answer) {
        let desk = Arc::clone(&self.desk);
        provider.on_each(place, move |request| {
            let given =
                request.header("authorization").and_then(|text| text.strip_prefix("Bearer "));
            let desk = lock(&desk);
            let until = given.and_then(|token| desk.access.get(token));
            match until {
                Some(until) if Instant::now() < *until => answer.clone(),
                _ => Answer::json(401, &json!({"error": "invalid_token"})),
            }
        });
    }

    pub fn set_delay(&self, delay: Duration) {
        lock(&self.desk).delay = delay;
    }

    pub fn set_grace(&self, grace: Duration) {
        lock(&self.desk).grace = grace;
    }

    /// Answers so to the next request.
    pub fn say_instead(&self, answer: Answer) {
        lock(&self.desk).instead.push(answer);
    }

    /// From now on no access token of before is taken.
    pub fn forget_access_tokens(&self) {
        lock(&self.desk).access.clear();
    }

    /// Somebody withdrew consent.
    pub fn withdraw(&self) {
        let mut desk = lock(&self.desk);
        desk.is_alive = false;
        desk.access.clear();
    }

    /// Requests so far.
    pub fn asked(&self) -> usize {
        lock(&self.desk).asked.len()
    }

    /// The most requests that came within a second.
    pub fn busiest_second(&self) -> usize {
        let asked = lock(&self.desk).asked.clone();
        let within = |from: &Instant| {
            let span = Duration::from_secs(1);
            asked.iter().filter(|at| **at >= *from && **at < *from + span).count()
        };
        asked.iter().map(within).max().unwrap_or(0)
    }

    /// How often a token that renews was shown though it had been used.
    pub fn reused(&self) -> usize {
        lock(&self.desk).reused
    }

    /// Whether what was consented to still is.
    pub fn is_alive(&self) -> bool {
        lock(&self.desk).is_alive
    }
}

impl Desk {
    fn answer(&mut self, request: &Received) -> Answer {
        self.asked.push(Instant::now());
        if !self.instead.is_empty() {
            return self.instead.remove(0);
        }
        let form: BTreeMap<String, String> =
            form_urlencoded(&String::from_utf8_lossy(&request.body)).collect();
        let of = |name: &str| form.get(name).map_or("", String::as_str);
        let refused = |code: &str| Answer::json(400, &json!({"error": code}));
        let expected = format!("Basic {}", STANDARD.encode(format!("{APP_ID}:{APP_SECRET}")));
        if request.header("authorization") != Some(expected.as_str()) {
            return Answer::json(401, &json!({"error": "invalid_client"}));
        }
        let answer = match of("grant_type") {
            "client_credentials" => self.give(None),
            "refresh_token" => {
                let shown = of("refresh_token").to_owned();
                let again = self
                    .before
                    .as_ref()
                    .filter(|(known, at, _)| *known == shown && at.elapsed() < self.grace);
                if let Some((_, _, given)) = again {
                    // RFC 9700 §4.14.2 leaves room for a client that did not hear the answer.
                    let given = given.clone();
                    return Answer::json(200, &serde_json::from_str(&given).unwrap_or_default());
                }
                if !self.is_alive || shown != self.refresh_token {
                    if self.is_alive {
                        self.reused += 1;
                    }
                    self.is_alive = false;
                    self.access.clear();
                    return refused("invalid_grant");
                }
                self.give(Some(shown))
            }
            _ => return refused("unsupported_grant_type"),
        };
        answer.pause_before_head(self.delay)
    }

    fn give(&mut self, shown: Option<String>) -> Answer {
        self.given += 1;
        let token = format!("canary-access-{}-2f7c", self.given);
        self.access.insert(token.clone(), Instant::now() + self.lasts);
        let lasts = self.lasts.as_secs_f64();
        let mut given = json!({"access_token": token, "token_type": "Bearer", "expires_in": lasts});
        if let Some(shown) = shown {
            self.refresh_token = format!("canary-refresh-{}-6b12", self.given);
            if let Some(members) = given.as_object_mut() {
                members.insert("refresh_token".to_owned(), json!(self.refresh_token));
            }
            self.before = Some((shown, Instant::now(), given.to_string()));
        }
        Answer::json(200, &given)
    }
}

fn form_urlencoded(body: &str) -> impl Iterator<Item = (String, String)> {
    let decoded = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect::<Vec<_>>().into_iter()
}
