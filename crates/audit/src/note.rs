//! C2SP signed notes (c2sp.org/signed-note) and tlog checkpoints (c2sp.org/tlog-checkpoint).

use crate::{commitment::to_array, files::SEAL, record::VaultHead, tree::Hash};
use aws_lc_rs::{
    digest, hmac,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fmt, str::FromStr};

/// The signature type byte of Ed25519 in key ids and encoded keys.
const ED25519_TYPE: u8 = 1;
const VAULT_LINE: &str = "weirgate-vault ";

/// Why a note or key is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("the signing key's seed has not 32 bytes, or its name is unusable")]
    Seed,
    #[error("the public key is malformed")]
    Key,
    #[error("the checkpoint is malformed")]
    Malformed,
    #[error("the checkpoint is of another log")]
    OtherOrigin,
    #[error("the checkpoint's signature does not fit")]
    Signature,
}

/// Signs checkpoints.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    sealer: Sealer,
    verifier: VerifierKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

/// Checks them: `origin+id+key` as in c2sp.org/signed-note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

impl SigningKey {
    /// From a seed of 32 bytes and the log's origin, which is the key's name.
    pub fn from_seed(seed: &[u8], origin: &str) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoteError::Seed)?;
        let public: [u8; 32] =
            pair.public_key().as_ref().try_into().map_err(|_| NoteError::Seed)?;
        if !is_name(origin) {
            return Err(NoteError::Seed);
        }
        let verifier = VerifierKey {
            name: origin.to_owned(),
            id: key_id(origin, ED25519_TYPE, &public),
            public,
        };
        Ok(Self { pair, sealer: Sealer::new(seed, origin), verifier })
    }

    pub(crate) const fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    pub fn origin(&self) -> &str {
        &self.verifier.name
    }

    pub(crate) fn sign(&self, checkpoint: &Checkpoint) -> String {
        self.sign_text(&checkpoint.text(&self.verifier.name))
    }

    /// A note of this text, whose lines all end, under this key's signature.
    pub(crate) fn sign_text(&self, text: &str) -> String {
        let mut blob = self.verifier.id.to_vec();
        blob.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n\u{2014} {} {}\n", self.verifier.name, STANDARD.encode(blob))
    }
}

/// Seals what a log holds between two checkpoints, with a key that only the signer has: entries that
/// somebody else appended are not taken for the log's own.
///
/// An HMAC costs a tenth of a signature, and one is made for every group of entries.
#[derive(Clone)]
pub(crate) struct Sealer(hmac::Key);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    fn new(seed: &[u8], origin: &str) -> Self {
        let label = format!("weirgate audit seal 1\n{origin}\n");
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, seed), label.as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
    }

    /// Of the tree as it is: the seal binds every entry before it, in its place.
    pub(crate) fn seal(&self, size: u64, root: &Hash) -> [u8; SEAL] {
        let tag = hmac::sign(&self.0, &Self::text(size, root));
        let mut seal = [0; SEAL];
        for (to, from) in seal.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        seal
    }

    pub(crate) fn is_seal(&self, size: u64, root: &Hash, seal: &[u8; SEAL]) -> bool {
        hmac::verify(&self.0, &Self::text(size, root), seal).is_ok()
    }

    fn text(size: u64, root: &Hash) -> Vec<u8> {
        [&size.to_be_bytes()[..], root].concat()
    }
}

/// No spaces and no plus: both separate.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// `kind` is the signature type byte.
pub(crate) fn key_id(name: &str, kind: u8, public: &[u8; 32]) -> [u8; 4] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(name.as_bytes());
    context.update(b"\n");
    context.update(&[kind]);
    context.update(public);
    let [a, b, c, d, ..] = to_array(context.finish());
    [a, b, c, d]
}

impl VerifierKey {
    pub fn origin(&self) -> &str {
        &self.name
    }

    /// Reads a signed checkpoint of this key's log. Others may have signed it too.
    pub fn open(&self, note: &str) -> Result<Checkpoint, NoteError> {
        if note.lines().next() != Some(&self.name) {
            return Err(NoteError::OtherOrigin);
        }
        Checkpoint::parse(&self.open_text(note)?, &self.name)
    }

    /// The note with this key's signature only.
    pub(crate) fn alone(&self, note: &str) -> Result<String, NoteError> {
        let (text, signatures) = parts(note)?;
        let ours = only(&signatures, &self.name, self.id)?;
        Ok(format!("{text}\n{}\n", ours.line))
    }

    /// Reads a signed checkpoint as the log itself keeps it: nobody else has added anything.
    pub(crate) fn open_own(&self, note: &[u8]) -> Result<Checkpoint, NoteError> {
        let note = std::str::from_utf8(note).map_err(|_| NoteError::Malformed)?;
        let (_, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
        if signatures.matches('\n').count() != 1 {
            return Err(NoteError::Malformed);
        }
        self.open(note)
    }

    /// The text of a note that this key signed.
    pub(crate) fn open_text(&self, note: &str) -> Result<String, NoteError> {
        let (text, signatures) = parts(note)?;
        let ours = only(&signatures, &self.name, self.id)?;
        UnparsedPublicKey::new(&ED25519, &self.public)
            .verify(text.as_bytes(), &ours.bytes)
            .map_err(|_| NoteError::Signature)?;
        Ok(text.to_owned())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519_TYPE];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, id, public) = parse_key(text, ED25519_TYPE)?;
        Ok(Self { name, id, public })
    }
}

/// Reads an encoded key of this type: name, id and public key.
pub(crate) fn parse_key(text: &str, kind: u8) -> Result<(String, [u8; 4], [u8; 32]), NoteError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::Key);
    };
    let key = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
    let (_, public) =
        key.split_first().filter(|(first, _)| **first == kind).ok_or(NoteError::Key)?;
    let public = public.try_into().map_err(|_| NoteError::Key)?;
    let own = key_id(name, kind, &public);
    if !is_name(name) || hex::encode(own) != id {
        return Err(NoteError::Key);
    }
    Ok((name.to_owned(), own, public))
}

/// One signature of a note.
pub(crate) struct Signature<'n> {
    pub name: &'n str,
    pub id: [u8; 4],
    pub bytes: Vec<u8>,
    /// As it stands there, without the end of its line.
    pub line: &'n str,
}

/// The text of a note, whose lines all end, and the signatures below it. Nothing is verified.
pub(crate) fn parts(note: &str) -> Result<(&str, Vec<Signature<'_>>), NoteError> {
    let end = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
    let (text, signatures) = note.split_at(end + 1);
    let lines = signatures.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n'));
    let signatures = lines.ok_or(NoteError::Malformed)?.split('\n').map(|line| {
        let (name, encoded) =
            line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' '))?;
        let blob = STANDARD.decode(encoded).ok()?;
        let (id, bytes) = blob.split_first_chunk::<4>().filter(|(_, rest)| !rest.is_empty())?;
        Some(Signature { name, id: *id, bytes: bytes.to_vec(), line })
    });
    let signatures = signatures.collect::<Option<Vec<_>>>().ok_or(NoteError::Malformed)?;
    Ok((text, signatures))
}

/// The notes that a file holds one after the other, each with what stands below it. What a crash tore,
/// so that it has no whole signature of a log, is left out.
pub fn notes(file: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut text = "";
    for part in file.split("\n\n").map(|part| part.trim_matches('\n')) {
        if !part.starts_with('\u{2014}') {
            text = part;
            continue;
        }
        let note = format!("{text}\n\n{part}\n");
        let is_whole = parts(&note)
            .is_ok_and(|(_, signatures)| signatures.iter().any(|one| one.bytes.len() >= 64));
        if is_whole && !text.is_empty() {
            found.push(note);
        }
        text = "";
    }
    found
}

/// The one signature in this name.
pub(crate) fn only<'s, 'n>(
    signatures: &'s [Signature<'n>],
    name: &str,
    id: [u8; 4],
) -> Result<&'s Signature<'n>, NoteError> {
    let mut ours = signatures.iter().filter(|one| one.name == name && one.id == id);
    match (ours.next(), ours.next()) {
        (Some(one), None) => Ok(one),
        // Who signs twice in one name has something to hide.
        (Some(_), Some(_)) => Err(NoteError::Malformed),
        (None, _) => Err(NoteError::Signature),
    }
}

/// A tree head, with the vault's state beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub size: u64,
    pub root: Hash,
    pub vault: Option<VaultHead>,
}

impl Checkpoint {
    fn text(&self, origin: &str) -> String {
        let mut text = format!("{origin}\n{}\n{}\n", self.size, STANDARD.encode(self.root));
        if let Some(vault) = &self.vault {
            let root = STANDARD.encode(vault.root);
            text.push_str(&format!("{VAULT_LINE}{} {root}", vault.count));
            if vault.sequence > 0 {
                text.push_str(&format!(" {}", vault.sequence));
            }
            text.push('\n');
        }
        text
    }

    fn parse(text: &str, origin: &str) -> Result<Self, NoteError> {
        let mut lines = text.strip_suffix('\n').ok_or(NoteError::Malformed)?.split('\n');
        if lines.next() != Some(origin) {
            return Err(NoteError::OtherOrigin);
        }
        let size = lines.next().and_then(|line| line.parse().ok()).ok_or(NoteError::Malformed)?;
        let root = lines.next().and_then(decode_hash).ok_or(NoteError::Malformed)?;
        let vault = match lines.next() {
            None => None,
            Some(line) => {
                let rest = line.strip_prefix(VAULT_LINE).ok_or(NoteError::Malformed)?;
                let (count, rest) = rest.split_once(' ').ok_or(NoteError::Malformed)?;
                let (root, sequence) = rest.split_once(' ').unwrap_or((rest, "0"));
                Some(VaultHead {
                    count: count.parse().map_err(|_| NoteError::Malformed)?,
                    root: decode_hash(root).ok_or(NoteError::Malformed)?,
                    sequence: sequence.parse().map_err(|_| NoteError::Malformed)?,
                })
            }
        };
        let checkpoint = Self { size, root, vault };
        // One text for one checkpoint: what reads back differently is not ours.
        if checkpoint.text(origin) == text { Ok(checkpoint) } else { Err(NoteError::Malformed) }
    }
}

pub(crate) fn decode_hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32], "weirgate/inst_test").unwrap()
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            size: 42,
            root: [9; 32],
            vault: Some(VaultHead { count: 3, root: [1; 32], sequence: 7 }),
        }
    }

    /// The example key of c2sp.org/signed-note.
    #[test]
    fn a_published_key_reads_back() {
        let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let key: VerifierKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        assert_eq!(text.replace("c74f", "c74e").parse::<VerifierKey>(), Err(NoteError::Key));
    }

    /// The example note of golang.org/x/mod/sumdb/note, signed by the same key.
    #[test]
    fn a_published_note_opens() {
        let key: VerifierKey =
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        let text = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";
        let line = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        assert_eq!(key.open_text(&format!("{text}\n{line}")).as_deref(), Ok(text));
        let other = "\u{2014} enochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";
        let both = format!("{text}\n{other}{line}");
        assert_eq!(key.open_text(&both).as_deref(), Ok(text));
        for bad in [
            format!("{text}\n{other}"),
            format!("{text}\n{line}{line}"),
            format!("{text}\n{line}x\n"),
            format!("{text}{line}"),
            format!("{text}\n{}", line.trim_end()),
            format!("{text}\n{}", line.replace("x08g", "x08h")),
            format!(" {text}\n{line}"),
        ] {
            assert!(key.open_text(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_logs_own_checkpoint_carries_nothing_else() {
        let note = key().sign(&checkpoint());
        assert_eq!(key().verifier().open_own(note.as_bytes()), Ok(checkpoint()));
        // As the first layout's logs have it.
        let vault = Some(VaultHead { count: 3, root: [1; 32], sequence: 0 });
        let first = Checkpoint { vault, ..checkpoint() };
        assert_eq!(key().verifier().open_own(key().sign(&first).as_bytes()), Ok(first));
        let other = SigningKey::from_seed(&[8; 32], "witness").unwrap();
        let text = checkpoint().text("weirgate/inst_test");
        let line = other.sign_text(&text).split_once("\n\n").unwrap().1.to_owned();
        let cosigned = format!("{note}{line}");
        assert_eq!(key().verifier().open(&cosigned), Ok(checkpoint()));
        assert_eq!(key().verifier().open_own(cosigned.as_bytes()), Err(NoteError::Malformed));
    }

    #[test]
    fn a_signed_checkpoint_opens_and_any_change_is_found() {
        let note = key().sign(&checkpoint());
        assert_eq!(key().verifier().open(&note).unwrap(), checkpoint());
        for place in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            bytes[place] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let opened = key().verifier().open(&changed);
            assert_ne!(opened, Ok(checkpoint()), "byte {place}");
        }
        let other = SigningKey::from_seed(&[8; 32], "weirgate/inst_test").unwrap();
        assert_eq!(other.verifier().open(&note), Err(NoteError::Signature));
        let other = SigningKey::from_seed(&[7; 32], "weirgate/inst_other").unwrap();
        assert_eq!(other.verifier().open(&note), Err(NoteError::OtherOrigin));
    }
}
