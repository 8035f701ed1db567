//! What a log's holder could have signed: notes, trees and entries made by plain code of another
//! origin than the audit log's, so that inputs get past signatures and roots.

use audit::{Hash, Record, SigningKey, VerifierKey};
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::sync::LazyLock;
use types::{Id, Timestamp};

pub(crate) const ORIGIN: &str = "weirgate/inst_fuzz";
const SEED: [u8; 32] = [7; 32];

static PAIR: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&SEED).expect("a seed"));
static KEY: LazyLock<VerifierKey> = LazyLock::new(|| {
    SigningKey::from_seed(&SEED, ORIGIN).expect("a seed and a name").verifier().clone()
});

pub(crate) fn key() -> &'static VerifierKey {
    &KEY
}

fn sha256(bytes: &[u8]) -> Hash {
    digest(&SHA256, bytes).as_ref().try_into().expect("32 bytes")
}

/// A note (c2sp.org/signed-note) of these lines.
pub(crate) fn note(text: &str) -> String {
    let named = [ORIGIN.as_bytes(), b"\n\x01", PAIR.public_key().as_ref()].concat();
    let signature = PAIR.sign(text.as_bytes());
    let blob = [&sha256(&named)[..4], signature.as_ref()].concat();
    format!("{text}\n\u{2014} {ORIGIN} {}\n", STANDARD.encode(blob))
}

/// A checkpoint (c2sp.org/tlog-checkpoint) of a tree of these leaves.
pub(crate) fn checkpoint(entries: &[Vec<u8>]) -> String {
    let (size, root) = (entries.len(), STANDARD.encode(root(entries)));
    note(&format!("{ORIGIN}\n{size}\n{root}\n"))
}

/// RFC 6962 §2.1.
pub(crate) fn root(entries: &[Vec<u8>]) -> Hash {
    match entries {
        [] => sha256(b""),
        [one] => sha256(&[&[0], one.as_slice()].concat()),
        _ => {
            let (left, right) = entries.split_at(split(entries.len()));
            sha256(&[&[1], &root(left)[..], &root(right)[..]].concat())
        }
    }
}

/// The largest power of two that is smaller.
fn split(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

/// RFC 6962 §2.1.1.
pub(crate) fn path(index: usize, entries: &[Vec<u8>]) -> Vec<Hash> {
    if entries.len() < 2 {
        return Vec::new();
    }
    let (left, right) = entries.split_at(split(entries.len()));
    let (mut inner, other) = match index.checked_sub(left.len()) {
        None => (path(index, left), root(right)),
        Some(index) => (path(index, right), root(left)),
    };
    inner.push(other);
    inner
}

/// An entry of its own for each number.
pub(crate) fn entry(number: usize) -> Vec<u8> {
    let micros = i64::try_from(number).expect("a small log");
    let at = Timestamp::from_micros(1_700_000_000_000_000 + micros);
    let request = Id::from_u128(number as u128 / 2);
    let record = match number % 2 {
        0 => Record::Started { at, version: format!("0.{number}"), configuration: None },
        _ => Record::Refused(audit::Refused {
            request,
            at,
            key: Id::from_u128(2),
            client: Id::from_u128(3),
            connection: None,
            operation: Some("list_things".into()),
            code: "not_granted".into(),
        }),
    };
    record.encode()
}

pub(crate) fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(entry).collect()
}
