//! What somebody is given who asked to be erased: that it was done, as the log has it.
//!
//! A certificate is a JSON document made of a log's entry and its proof alone ([`Proof`]), always in the
//! same letters. So it is checked by making it again: what differs by a letter was not issued so. It
//! names the customer by an id and a commitment, which nobody can open any more.

use crate::{
    note::VerifierKey,
    proof::{Proof, ProofError},
    record::{Changed, Record},
};
use std::fmt::Write as _;

const FIRST: &str = "{\n  \"certificate\": \"weirgate erasure 1\",\n";
const PROOF: &str = "\n  \"proof\": \"";
const LAST: &str = "\"\n}\n";
/// The entry that a certificate is of.
pub const ERASURE: &str = "customer.erase";
/// What is counted of what was destroyed, by the names of the entry's details.
const COUNTS: [&str; 4] = ["keys", "sealed_values", "connections", "grants"];

/// Why there is no certificate, or why it certifies nothing.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("this is no certificate of erasure")]
    NotOne,
    #[error("the entry is none of an erasure")]
    OtherEntry,
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error("the certificate says something else than the entry that it proves")]
    Changed,
}

/// Whether a file could be one.
pub fn is_certificate(start: &[u8]) -> bool {
    start.starts_with(FIRST.as_bytes())
}

/// The certificate of an erasure, by its proof.
pub fn certify(proof: &Proof, key: &VerifierKey) -> Result<String, CertificateError> {
    let (record, _) = proof.verify(key)?;
    let Record::Changed(changed) = record else { return Err(CertificateError::OtherEntry) };
    if changed.verb != ERASURE {
        return Err(CertificateError::OtherEntry);
    }
    Ok(text_of(&changed, proof, key))
}

/// Checks a certificate with the log's key alone; yields what is proven, and the proof.
pub fn check(text: &str, key: &VerifierKey) -> Result<(Changed, Proof), CertificateError> {
    let rest = text.strip_prefix(FIRST).ok_or(CertificateError::NotOne)?;
    let (_, quoted) = rest.split_once(PROOF).ok_or(CertificateError::NotOne)?;
    let quoted = quoted.strip_suffix(LAST).ok_or(CertificateError::NotOne)?;
    // Lines of base64 and of names: nothing in them needs another escape.
    let proof: Proof = quoted.replace("\\n", "\n").parse()?;
    let (record, _) = proof.verify(key)?;
    let Record::Changed(changed) = record else { return Err(CertificateError::OtherEntry) };
    if certify(&proof, key)? != text {
        return Err(CertificateError::Changed);
    }
    Ok((changed, proof))
}

fn text_of(changed: &Changed, proof: &Proof, key: &VerifierKey) -> String {
    let mut text = String::from(FIRST);
    let commitment = changed.customer.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut line = |name: &str, value: &str| {
        // Writing to a text does not fail.
        let _ = writeln!(text, "  \"{name}\": \"{}\",", quoted(value));
    };
    line("customer", changed.what.strip_prefix("customer ").unwrap_or(&changed.what));
    line("commitment", &commitment);
    line("erased_at", &changed.at.to_string());
    line("erased_by", &changed.actor);
    line("request", &changed.request.to_string());
    line("log", key.origin());
    line("log_key", &key.to_string());
    let counts = COUNTS.iter().map(|name| {
        let found = changed.details.iter().find(|(known, _)| known == name);
        let count: u64 = found.and_then(|(_, count)| count.parse().ok()).unwrap_or_default();
        format!("\"{name}\": {count}")
    });
    let counts: Vec<String> = counts.collect();
    let _ = writeln!(text, "  \"destroyed\": {{{}}},", counts.join(", "));
    let _ = write!(text, "  \"entry\": {},", proof.index);
    text.push_str(PROOF);
    text.push_str(&proof.to_string().replace('\n', "\\n"));
    text.push_str(LAST);
    text
}

/// As JSON has it in quotes.
fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            letter if letter.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
    text
}
