//! Lists by key: a page begins after the last key of the one before, whatever came or went meanwhile.

use super::problem::Problem;
use axum::http::StatusCode;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

const DEFAULT: usize = 50;
pub(crate) const MOST: usize = 200;
const MAX_CURSOR_BYTES: usize = 1_024;

/// Which page is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// What the page before gave as `next`.
    cursor: Option<String>,
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page begins; missing where this is the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<String>,
}

impl Paging {
    pub(crate) const fn of(cursor: Option<String>, limit: Option<String>) -> Self {
        Self { cursor, limit }
    }

    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let Some(limit) = &self.limit else { return Ok(DEFAULT) };
        let limit = limit.parse().ok().filter(|limit| (1..=MOST).contains(limit));
        limit.ok_or_else(|| {
            let detail = format!("`limit` is no number from 1 to {MOST}");
            Problem::new(StatusCode::BAD_REQUEST, "malformed", detail, "Give one of these.")
        })
    }

    /// The key that the page before ended with.
    pub(crate) fn after(&self) -> Result<Option<String>, Problem> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
            String::from_utf8(bytes).ok()
        };
        let found = (cursor.len() <= MAX_CURSOR_BYTES).then(read).flatten();
        let wrong = || {
            let detail = "`cursor` is none that an answer gave as `next`";
            Problem::new(StatusCode::BAD_REQUEST, "malformed", detail, "Begin without one.")
        };
        found.map(Some).ok_or_else(wrong)
    }

    /// A page of a whole list.
    pub(crate) fn page<T>(
        &self,
        mut items: Vec<T>,
        key: impl Fn(&T) -> String,
    ) -> Result<Page<T>, Problem> {
        let limit = self.limit()?;
        let after = self.after()?;
        items.sort_by_cached_key(&key);
        if let Some(after) = after {
            items.retain(|item| key(item) > after);
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more).map(key);
        Ok(Page { items, next: last.map(|key| cursor(&key)) })
    }
}

pub(crate) fn cursor(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}
