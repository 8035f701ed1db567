//! What a provider gave for a credential: a token, until when it lasts, and what renews it.

use super::{AuthError, Variables};
use crate::secret_json::{self, Value, write_text};
use secrecy::zeroize::Zeroizing;
use std::{fmt, time::Duration};
use types::{SecretBytes, Timestamp};

/// Names of values in a record begin so; all others are the record's own.
const VALUE: &str = "value.";

/// A connection's tokens, in clear: wiped on drop, never printed.
pub struct TokenSet {
    /// `access_token`, and whatever else the plan takes of answers.
    pub values: Variables,
    /// RFC 6749 §1.5: it goes to the token endpoint alone.
    pub refresh_token: Option<Zeroizing<String>>,
    /// What possession is proven with (RFC 9449).
    pub proof_key: Option<Zeroizing<String>>,
    /// What was asked for, and what was given if the provider said so.
    pub asked: Vec<String>,
    pub granted: Option<Vec<String>>,
    pub obtained_at: Timestamp,
    /// `None`: not known.
    pub expires_at: Option<Timestamp>,
    /// How long tokens of this connection were seen to last, where the provider does not say it.
    pub seen_to_last: Option<Duration>,
    /// Why nothing renews it any more: an error's known code.
    pub ended: Option<String>,
    /// Whether somebody consented to it in a browser: nothing but what came of that takes its place.
    pub is_consented: bool,
}

impl fmt::Debug for TokenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSet").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

fn beyond<'s>(these: &'s [String], those: &[String]) -> Vec<&'s str> {
    these.iter().filter(|scope| !those.contains(scope)).map(String::as_str).collect()
}

impl TokenSet {
    /// When it is to be renewed: after 80 to 90 % of its life, by a number that spreads connections.
    /// One that does not say how long it lasts is renewed when it is refused.
    pub fn renew_at(&self, spread: u64) -> Option<Timestamp> {
        let life = match (self.expires_at, self.seen_to_last) {
            (Some(until), _) => until.since(self.obtained_at),
            (None, Some(seen)) => seen,
            (None, None) => return None,
        };
        let share = 800 + u32::try_from(spread % 100).unwrap_or_default();
        Some(self.obtained_at + life / 1000 * share)
    }

    /// Whether there is anything that calls could use.
    pub fn is_usable(&self) -> bool {
        self.ended.is_none() && self.values.iter().next().is_some()
    }

    /// Until when calls use it: a little less than it lasts, because the provider began to count earlier.
    pub fn usable_until(&self) -> Option<Timestamp> {
        const MARGIN: Duration = Duration::from_secs(5);
        let until = self.expires_at?;
        let life = until.since(self.obtained_at);
        Some(self.obtained_at + life.saturating_sub(MARGIN.min(life / 20)))
    }

    /// Scopes that were given and not asked for, and those that were asked for and not given.
    pub fn scope_differences(&self) -> (Vec<&str>, Vec<&str>) {
        let Some(granted) = &self.granted else { return (Vec::new(), Vec::new()) };
        (beyond(granted, &self.asked), beyond(&self.asked, granted))
    }

    /// The one spelling in which it is sealed.
    pub fn to_record_bytes(&self) -> SecretBytes {
        let mut out = Vec::with_capacity(16 * 1024);
        let mut put = |name: &str, value: &str| {
            out.push(if out.is_empty() { b'{' } else { b',' });
            write_text(&mut out, name);
            out.push(b':');
            write_text(&mut out, value);
        };
        put("obtained_at", &self.obtained_at.as_micros().to_string());
        if let Some(at) = self.expires_at {
            put("expires_at", &at.as_micros().to_string());
        }
        if let Some(seen) = self.seen_to_last {
            put("seen_to_last", &seen.as_secs().to_string());
        }
        if let Some(token) = &self.refresh_token {
            put("refresh_token", token);
        }
        if let Some(key) = &self.proof_key {
            put("proof_key", key);
        }
        if !self.asked.is_empty() {
            put("asked", &self.asked.join(" "));
        }
        if let Some(granted) = &self.granted {
            put("granted", &granted.join(" "));
        }
        if let Some(code) = &self.ended {
            put("ended", code);
        }
        if self.is_consented {
            put("consented", "true");
        }
        for (name, value) in self.values.iter() {
            put(&format!("{VALUE}{name}"), value);
        }
        out.push(b'}');
        SecretBytes::new(out)
    }

    /// Reads what [`TokenSet::to_record_bytes`] gave.
    ///
    /// # Errors
    /// [`AuthError::Record`] for anything else.
    pub fn from_record_bytes(bytes: &SecretBytes) -> Result<Self, AuthError> {
        let members = secret_json::parse(bytes.expose()).map_err(|_| AuthError::Record)?;
        let mut set = Self::empty(Timestamp::EPOCH);
        let words =
            |text: &str| text.split(' ').filter(|word| !word.is_empty()).map(Into::into).collect();
        for member in members {
            let Value::Text(text) = member.value else { return Err(AuthError::Record) };
            let time = || text.parse().map(Timestamp::from_micros).map_err(|_| AuthError::Record);
            match member.name.as_str() {
                "obtained_at" => set.obtained_at = time()?,
                "expires_at" => set.expires_at = Some(time()?),
                "seen_to_last" => {
                    let seconds = text.parse().map_err(|_| AuthError::Record)?;
                    set.seen_to_last = Some(Duration::from_secs(seconds));
                }
                "refresh_token" => set.refresh_token = Some(text),
                "proof_key" => set.proof_key = Some(text),
                "asked" => set.asked = words(&text),
                "granted" => set.granted = Some(words(&text)),
                "ended" => set.ended = Some(String::clone(&text)),
                "consented" => set.is_consented = text.as_str() == "true",
                name => {
                    let name = name.strip_prefix(VALUE).ok_or(AuthError::Record)?;
                    set.values.set(name, &text);
                }
            }
        }
        Ok(set)
    }

    /// Nothing yet.
    pub fn empty(now: Timestamp) -> Self {
        Self {
            values: Variables::default(),
            refresh_token: None,
            proof_key: None,
            asked: Vec::new(),
            granted: None,
            obtained_at: now,
            expires_at: None,
            seen_to_last: None,
            ended: None,
            is_consented: false,
        }
    }

    /// The same set, as nothing renews it any more.
    #[must_use]
    pub fn ended_by(mut self, code: &str) -> Self {
        self.ended = Some(code.to_owned());
        self.refresh_token = None;
        self.values = Variables::default();
        self.expires_at = None;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_set_reads_back_as_it_was_written() {
        let mut set = TokenSet::empty(at(10));
        set.values.set("access_token", "a\"\\\u{7}é");
        set.values.set("instance", "acme");
        set.refresh_token = Some(Zeroizing::new("r".into()));
        set.asked = vec!["read".into(), "write".into()];
        set.granted = Some(vec!["read".into(), "admin".into()]);
        set.expires_at = Some(at(3610));
        set.seen_to_last = Some(Duration::from_secs(9));
        set.is_consented = true;
        let read = TokenSet::from_record_bytes(&set.to_record_bytes()).unwrap();
        assert_eq!(read.values.get("access_token"), Some("a\"\\\u{7}é"));
        assert_eq!(read.values.get("instance"), Some("acme"));
        assert_eq!(read.refresh_token.as_ref().map(|text| text.as_str()), Some("r"));
        assert_eq!((read.obtained_at, read.expires_at), (at(10), Some(at(3610))));
        assert_eq!(read.seen_to_last, Some(Duration::from_secs(9)));
        assert_eq!(read.scope_differences(), (vec!["admin"], vec!["write"]));
        assert!(read.ended.is_none() && read.is_consented);
        let ended = TokenSet::from_record_bytes(&read.ended_by("invalid_grant").to_record_bytes());
        let ended = ended.unwrap();
        assert_eq!(ended.ended.as_deref(), Some("invalid_grant"));
        assert!(
            ended.is_consented
                && ended.refresh_token.is_none()
                && ended.values.get("access_token").is_none()
        );
    }

    #[test]
    fn tokens_are_renewed_before_they_end_and_not_all_at_once() {
        let mut set = TokenSet::empty(at(0));
        set.expires_at = Some(at(1000));
        assert_eq!(set.renew_at(0), Some(at(800)));
        assert_eq!(set.renew_at(99), Some(at(899)));
        assert_eq!(set.usable_until(), Some(at(995)));
        set.expires_at = Some(at(20));
        assert_eq!(set.usable_until(), Some(at(19)));
        set.expires_at = None;
        assert_eq!((set.renew_at(0), set.usable_until()), (None, None));
        set.seen_to_last = Some(Duration::from_secs(100));
        assert_eq!(set.renew_at(0), Some(at(80)));
    }
}
