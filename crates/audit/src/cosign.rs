//! What a witness says of somebody else's log: that the checkpoint is an extension of all that it saw
//! before (c2sp.org/tlog-cosignature, the type of Ed25519).

use crate::note::{NoteError, is_name, key_id, only, parse_key, parts};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fmt, str::FromStr};
use types::Timestamp;

/// The signature type byte of a timestamped Ed25519 cosignature.
const COSIGNATURE_TYPE: u8 = 4;
const MICROS: i64 = 1_000_000;

/// Cosigns.
pub struct CosigningKey {
    pair: Ed25519KeyPair,
    verifier: WitnessKey,
}

impl fmt::Debug for CosigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosigningKey").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

/// Checks cosignatures of one witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

impl CosigningKey {
    /// From a seed of 32 bytes, which signs nothing else, and the witness's name.
    pub fn from_seed(seed: &[u8], name: &str) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoteError::Seed)?;
        let public: [u8; 32] =
            pair.public_key().as_ref().try_into().map_err(|_| NoteError::Seed)?;
        if !is_name(name) {
            return Err(NoteError::Seed);
        }
        let id = key_id(name, COSIGNATURE_TYPE, &public);
        Ok(Self { pair, verifier: WitnessKey { name: name.to_owned(), id, public } })
    }

    pub const fn verifier(&self) -> &WitnessKey {
        &self.verifier
    }

    /// The line to be put below a note, with its end.
    pub(crate) fn cosign(&self, text: &str, now: Timestamp) -> String {
        let seconds = u64::try_from(now.as_micros() / MICROS).unwrap_or(0);
        let WitnessKey { name, id, .. } = &self.verifier;
        let signature = self.pair.sign(message(seconds, text).as_bytes());
        let blob = [&id[..], &seconds.to_be_bytes(), signature.as_ref()].concat();
        format!("\u{2014} {name} {}\n", STANDARD.encode(blob))
    }
}

fn message(seconds: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

impl WitnessKey {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When this witness cosigned a note.
    ///
    /// # Errors
    /// [`NoteError::Signature`] if it did not.
    pub fn check(&self, note: &str) -> Result<Timestamp, NoteError> {
        let (text, signatures) = parts(note)?;
        let ours = only(&signatures, &self.name, self.id)?;
        let (seconds, signature) =
            ours.bytes.split_first_chunk::<8>().ok_or(NoteError::Signature)?;
        let seconds = u64::from_be_bytes(*seconds);
        UnparsedPublicKey::new(&ED25519, &self.public)
            .verify(message(seconds, text).as_bytes(), signature)
            .map_err(|_| NoteError::Signature)?;
        let micros = i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(MICROS));
        micros.map(Timestamp::from_micros).ok_or(NoteError::Signature)
    }

    /// The note with what this witness says of it, out of lines that came with anybody's.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn cosigned(&self, note: &str, lines: &str) -> Result<String, NoteError> {
        let all = format!("{note}{lines}");
        let (_, signatures) = parts(&all)?;
        let ours = only(&signatures, &self.name, self.id)?;
        let cosigned = format!("{note}{}\n", ours.line);
        self.check(&cosigned).map(|_| cosigned)
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![COSIGNATURE_TYPE];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(key))
    }
}

impl FromStr for WitnessKey {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, id, public) = parse_key(text, COSIGNATURE_TYPE)?;
        Ok(Self { name, id, public })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VerifierKey;

    /// A checkpoint of a public log, cosigned by a public witness in 2026.
    const PUBLIC: &str = "arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

\u{2014} arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
\u{2014} transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
\u{2014} remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
";
    const WITNESS: &str = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";

    #[test]
    fn a_public_witness_is_understood() {
        let witness: WitnessKey = WITNESS.parse().unwrap();
        assert_eq!(witness.to_string(), WITNESS);
        let at = witness.check(PUBLIC).unwrap();
        assert_eq!(at.as_micros(), 0x6a12_2120 * MICROS);
        for (from, to) in [("1432088532", "1432088533"), ("2net5wAAAABqEiEg", "2net5wAAAABqEiEh")] {
            assert_eq!(witness.check(&PUBLIC.replace(from, to)), Err(NoteError::Signature), "{to}");
        }
        let log = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
        let log: VerifierKey = log.parse().unwrap();
        assert_eq!(log.open(PUBLIC).unwrap().size, 1_432_088_532);
        // A log's key checks no cosignatures, and a witness's no logs.
        assert_eq!(WITNESS.parse::<VerifierKey>(), Err(NoteError::Key));
        assert_eq!(log.to_string().parse::<WitnessKey>(), Err(NoteError::Key));
    }

    #[test]
    fn a_cosignature_is_of_one_witness_note_and_time() {
        let key = CosigningKey::from_seed(&[9; 32], "w.example/1").unwrap();
        let now = Timestamp::from_micros(1_679_315_147_999_999);
        let line = key.cosign("log\n3\nroot\n", now);
        let note = format!("log\n3\nroot\n\n\u{2014} log AAAAAAEC\n{line}");
        let read: WitnessKey = key.verifier().to_string().parse().unwrap();
        assert_eq!(read.check(&note).unwrap().as_micros(), 1_679_315_147 * MICROS);
        let other = CosigningKey::from_seed(&[8; 32], "w.example/1").unwrap();
        assert_eq!(other.verifier().check(&note), Err(NoteError::Signature));
        // What others signed is theirs, and so is how they spell it.
        let theirs = note.find("\u{2014} log").unwrap()..note.find("\u{2014} w").unwrap();
        for place in (0..note.len()).filter(|place| !theirs.contains(place)) {
            let mut bytes = note.clone().into_bytes();
            bytes[place] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(read.check(&changed).is_err(), "byte {place}: {changed}");
            }
        }
        let kept = read.cosigned("log\n3\nroot\n\n\u{2014} log AAAAAAEC\n", &line).unwrap();
        assert_eq!(kept, note);
        let others = other.cosign("log\n3\nroot\n", now);
        assert!(read.cosigned("log\n3\nroot\n\n\u{2014} log AAAAAAEC\n", &others).is_err());
    }
}
