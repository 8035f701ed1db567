//! The order in which a renewal happens, whoever keeps the books and whoever is asked.
//!
//! 1. The lease is claimed for the version that is known, durably: from here on it is on record that the
//!    provider may have been asked.
//! 2. The provider is asked, once.
//! 3. What it gave is kept as the version after the known one, durably, before anybody uses it. While
//!    that fails it is tried again: the answer is the only copy of what renews the next time.
//! 4. The lease is given back.
//!
//! Only who holds the lease and the current version may say that what was consented to is over.

use std::{future::Future, time::Duration};
use store::Renewal;
use types::Timestamp;

/// The first pause after a failure that may pass, and after one that will not pass by itself; doubled
/// with each failure in a row up to the longest.
const PAUSE: Duration = Duration::from_secs(2);
const LONG_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_mins(30);
/// Between tries to keep what the provider gave.
const KEEP_AGAIN: Duration = Duration::from_millis(200);

/// Who knows which version there is, who renews it, and keeps the next.
pub(crate) trait Books: Sync {
    type Tokens: Send;
    type Fault: Send + std::fmt::Display;

    /// Takes the lease; `None`: somebody else has it, or the tokens are of another version.
    fn claim(&self) -> impl Future<Output = Result<Option<Renewal>, Self::Fault>> + Send;
    /// Keeps the next version. `false`: another stands there, so these are nobody's.
    fn keep(&self, tokens: &Self::Tokens)
    -> impl Future<Output = Result<bool, Self::Fault>> + Send;
    /// Keeps that nothing renews it any more.
    fn end(&self, code: &str) -> impl Future<Output = Result<bool, Self::Fault>> + Send;
    fn give_back(
        &self,
        failures: u32,
        next_at: Timestamp,
    ) -> impl Future<Output = Result<(), Self::Fault>> + Send;
    fn now(&self) -> Timestamp;
    fn sleep(&self, span: Duration) -> impl Future<Output = ()> + Send;
}

/// What a provider said.
#[derive(Debug)]
pub(crate) enum Said<T> {
    Tokens(T),
    /// No token, but another one that renews: it is kept, and the failure told.
    Kept {
        tokens: T,
        code: &'static str,
    },
    /// What was consented to is over, by a known code.
    Over(String),
    Failed {
        code: &'static str,
        is_passing: bool,
        retry_after: Option<Duration>,
    },
}

/// How a renewal ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Renewed,
    /// Somebody else renews it, or has.
    NotOurs,
    Over,
    Failed {
        code: &'static str,
        retry_at: Timestamp,
    },
}

/// Renews one connection's tokens.
pub(crate) async fn renew<B: Books>(
    books: &B,
    ask: impl Future<Output = Said<B::Tokens>> + Send,
    spread: u64,
) -> Outcome {
    let claimed = match books.claim().await {
        Ok(Some(claimed)) => claimed,
        Ok(None) => return Outcome::NotOurs,
        Err(fault) => {
            tracing::warn!(error = %fault, "the renewal of a token cannot be claimed");
            return Outcome::Failed { code: "store_unavailable", retry_at: books.now() + PAUSE };
        }
    };
    match ask.await {
        Said::Tokens(tokens) => {
            let is_kept = insist(books, || books.keep(&tokens)).await;
            give_back(books, 0, Timestamp::EPOCH).await;
            if is_kept { Outcome::Renewed } else { Outcome::NotOurs }
        }
        Said::Over(code) => {
            let is_kept = insist(books, || books.end(&code)).await;
            give_back(books, 0, Timestamp::EPOCH).await;
            if is_kept { Outcome::Over } else { Outcome::NotOurs }
        }
        Said::Kept { tokens, code } => {
            if !insist(books, || books.keep(&tokens)).await {
                give_back(books, 0, Timestamp::EPOCH).await;
                return Outcome::NotOurs;
            }
            failed(books, claimed.failures, Failed { code, first: LONG_PAUSE, least: None }, spread)
                .await
        }
        Said::Failed { code, is_passing, retry_after } => {
            let first = if is_passing { PAUSE } else { LONG_PAUSE };
            failed(books, claimed.failures, Failed { code, first, least: retry_after }, spread)
                .await
        }
    }
}

struct Failed {
    code: &'static str,
    first: Duration,
    /// What the provider said.
    least: Option<Duration>,
}

async fn failed<B: Books>(books: &B, before: u32, failed: Failed, spread: u64) -> Outcome {
    let Failed { code, first, least } = failed;
    let failures = before.saturating_add(1);
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let pause = doubled.min(LONGEST_PAUSE).max(least.unwrap_or_default());
    // Those that failed together do not come back together.
    let share = u32::try_from(spread % 256).unwrap_or_default();
    let retry_at = books.now() + pause + pause / 1024 * share;
    give_back(books, failures, retry_at).await;
    Outcome::Failed { code, retry_at }
}

/// Tries until it is known whether it was kept.
async fn insist<B: Books, F: Future<Output = Result<bool, B::Fault>> + Send>(
    books: &B,
    mut keep: impl FnMut() -> F,
) -> bool {
    let mut is_told = false;
    loop {
        match keep().await {
            Ok(is_kept) => return is_kept,
            Err(fault) => {
                if !is_told {
                    tracing::error!(error = %fault, "a renewed token cannot be kept yet");
                    is_told = true;
                }
                books.sleep(KEEP_AGAIN).await;
            }
        }
    }
}

/// A lease that is not given back ends by itself.
async fn give_back<B: Books>(books: &B, failures: u32, next_at: Timestamp) {
    if let Err(fault) = books.give_back(failures, next_at).await {
        tracing::warn!(error = %fault, "the lease on a renewal cannot be given back");
    }
}
