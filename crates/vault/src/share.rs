//! A root key in shares, of which some suffice (Shamir 1979, over GF(2^8)).
//!
//! A share is one line of text: `wgshare1.`, the installation, the root key's name, `THRESHOLD.INDEX`,
//! and unpadded base64url of the 32 bytes and of 8 bytes that show whether any of it was mistyped. One
//! share, or as many as the threshold less one, say nothing of the key.
//!
//! ```text
//! wgshare1.inst_06ew....4f1d2c3b4a596877.3.1.mXk...
//! ```

use crate::{RootKey, VaultError, key::KEY_BYTES, root_key::checksum_of};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::zeroize::Zeroizing;
use std::{collections::BTreeSet, convert::Infallible};
use types::{Id, Instance, Random as _, SecretText, SystemRandom};
use vsss_rs::Gf256;

const PREFIX: &str = "wgshare1.";
const CHECKSUM_BYTES: usize = 8;
/// More are a mistake.
pub const MAX_SHARES: u8 = 32;

/// A part of a root key. Never printed but where it is written for its keeper.
#[derive(Debug)]
pub struct Share {
    instance: Id<Instance>,
    /// Of the root key.
    name: String,
    threshold: u8,
    index: u8,
    value: Zeroizing<[u8; KEY_BYTES]>,
}

/// Why shares are none, or no key. Names shares by their place in what was given and their index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    #[error(
        "of 2 to {MAX_SHARES} shares at least 2 and at most all must be needed, not {threshold} of {shares}"
    )]
    Counts { threshold: u8, shares: u8 },
    #[error("share file {place} holds no share: a share is one line that begins with wgshare1.")]
    NotOne { place: usize },
    #[error("share file {place} is damaged or mistyped: its checksum does not fit")]
    Damaged { place: usize },
    #[error("no share is given")]
    None,
    #[error("share {index} is one of installation {is}, and the first one of {wanted}")]
    OtherInstallation { index: u8, is: String, wanted: String },
    #[error(
        "share {index} is one of root key {is}, and the first one of root key {wanted}: it was made before or after a rotation"
    )]
    OtherKey { index: u8, is: String, wanted: String },
    #[error(
        "share {index} says that {is} are needed, and the first one {wanted}: they were made at different times"
    )]
    OtherThreshold { index: u8, is: u8, wanted: u8 },
    #[error("share {index} is given twice")]
    Twice { index: u8 },
    #[error("{threshold} shares are needed, and {given} given")]
    TooFew { threshold: u8, given: usize },
    #[error(
        "the shares do not yield the root key {name} that they say: some of them are of another set"
    )]
    Foreign { name: String },
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// What the library draws its coefficients from: the system alone.
struct System;

impl rand_core::TryRng for System {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        // Shares of a known polynomial would give the key away: rather none.
        assert!(SystemRandom.fill(bytes).is_ok(), "the system has no randomness");
        Ok(())
    }
}

impl rand_core::TryCryptoRng for System {}

impl Share {
    pub const fn index(&self) -> u8 {
        self.index
    }

    /// How many are needed.
    pub const fn threshold(&self) -> u8 {
        self.threshold
    }

    pub const fn instance(&self) -> Id<Instance> {
        self.instance
    }

    /// The line for its keeper, with its end.
    pub fn to_line(&self) -> SecretText {
        let head = self.head();
        let mut payload = Zeroizing::new(self.value.to_vec());
        payload.extend_from_slice(&self.checksum(&head));
        let mut line = head;
        line.reserve(64);
        URL_SAFE_NO_PAD.encode_string(&*payload, &mut line);
        line.push('\n');
        SecretText::new(line)
    }

    fn head(&self) -> String {
        let Self { instance, name, threshold, index, .. } = self;
        format!("{PREFIX}{instance}.{name}.{threshold}.{index}.")
    }

    fn checksum(&self, head: &str) -> [u8; CHECKSUM_BYTES] {
        checksum_of(head, &*self.value)
    }

    /// Reads a line; `place` counts what was given from 1.
    pub fn parse(line: &SecretText, place: usize) -> Result<Self, ShareError> {
        let text = line.expose().trim_end();
        let rest = text.strip_prefix(PREFIX).ok_or(ShareError::NotOne { place })?;
        let damaged = ShareError::Damaged { place };
        let mut parts = rest.split('.');
        let mut next = || parts.next().ok_or_else(|| damaged.clone());
        let instance = next()?.parse().map_err(|_| damaged.clone())?;
        let name = next()?.to_owned();
        let threshold = next()?.parse().map_err(|_| damaged.clone())?;
        let index = next()?.parse().map_err(|_| damaged.clone())?;
        let payload = next()?.as_bytes();
        let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).map_err(|_| damaged.clone())?);
        let (value, given) = payload.split_at_checked(KEY_BYTES).ok_or_else(|| damaged.clone())?;
        let mut share = Self { instance, name, threshold, index, value: Zeroizing::default() };
        share.value.copy_from_slice(value);
        let is_whole = share.checksum(&share.head()) == *given && parts.next().is_none();
        if is_whole && share.index > 0 { Ok(share) } else { Err(damaged) }
    }
}

/// Splits a root key into shares, any `threshold` of which yield it.
pub fn split(
    root: &RootKey,
    instance: Id<Instance>,
    threshold: u8,
    shares: u8,
) -> Result<Vec<Share>, ShareError> {
    if threshold < 2 || threshold > shares || shares > MAX_SHARES {
        return Err(ShareError::Counts { threshold, shares });
    }
    let name = root.name()?;
    let made = Gf256::split_bytes(threshold.into(), shares.into(), root.key().expose(), System);
    let made = made.map_err(|_| VaultError::Crypto)?;
    let made = made.into_iter().map(Zeroizing::new);
    made.map(|bytes| {
        let (index, bytes) = bytes.split_first().ok_or(VaultError::Crypto)?;
        let mut value = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES || *index == 0 {
            return Err(VaultError::Crypto.into());
        }
        value.copy_from_slice(bytes);
        Ok(Share { instance, name: name.clone(), threshold, index: *index, value })
    })
    .collect()
}

/// Puts a root key together again. A vault has to confirm it still; that it is the key whose name the
/// shares say is confirmed here.
pub fn combine(shares: &[Share]) -> Result<RootKey, ShareError> {
    let first = shares.first().ok_or(ShareError::None)?;
    let mut seen = BTreeSet::new();
    for share in shares {
        let index = share.index;
        if share.instance != first.instance {
            let (is, wanted) = (share.instance.to_string(), first.instance.to_string());
            return Err(ShareError::OtherInstallation { index, is, wanted });
        }
        if share.name != first.name {
            let (is, wanted) = (share.name.clone(), first.name.clone());
            return Err(ShareError::OtherKey { index, is, wanted });
        }
        if share.threshold != first.threshold {
            let (is, wanted) = (share.threshold, first.threshold);
            return Err(ShareError::OtherThreshold { index, is, wanted });
        }
        if !seen.insert(index) {
            return Err(ShareError::Twice { index });
        }
    }
    if shares.len() < usize::from(first.threshold) {
        return Err(ShareError::TooFew { threshold: first.threshold, given: shares.len() });
    }
    let mut parts: Vec<Vec<u8>> = Vec::with_capacity(shares.len());
    for share in shares {
        let mut part = Vec::with_capacity(1 + KEY_BYTES);
        part.push(share.index);
        part.extend_from_slice(&*share.value);
        parts.push(part);
    }
    let combined = Gf256::combine_bytes(&parts);
    let _wiped: Vec<Zeroizing<Vec<u8>>> = parts.into_iter().map(Zeroizing::new).collect();
    let bytes = Zeroizing::new(combined.map_err(|_| VaultError::Crypto)?);
    let root = RootKey::of_bytes(&bytes)?;
    if root.name()? != first.name {
        return Err(ShareError::Foreign { name: first.name.clone() });
    }
    Ok(root)
}
