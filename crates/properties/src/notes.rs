//! A checkpoint opens only if the log's key signed its text, and a text that is signed has one
//! meaning; a public key has one spelling.

use crate::{
    input::{parts, text},
    signed,
};
use audit::{Checkpoint, VerifierKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};

pub(crate) fn hold(data: &[u8]) -> bool {
    let [key, note] = parts(data);
    let (Some(key), Some(note)) = (text(key), text(note)) else { return false };
    if let Ok(read) = key.parse::<VerifierKey>() {
        assert_eq!(read.to_string(), key);
        // Whose key it is, no note of another's opens with it.
        assert!(read == *signed::key() || read.open(&signed::checkpoint(&[])).is_err());
    }
    let opened = signed::key().open(note);
    if let Ok(opened) = opened {
        // The one that the seed's signature is of.
        let known = signed::entries(3);
        assert_eq!(opened, Checkpoint { size: 3, root: signed::root(&known), vault: None });
    }
    let text = match note.rsplit_once("\n\n") {
        Some((text, _)) => format!("{text}\n"),
        None => note.to_owned(),
    };
    match signed::key().open(&signed::note(&text)) {
        Ok(checkpoint) => {
            assert_eq!(spelled(&checkpoint), text);
            true
        }
        Err(_) => false,
    }
}

fn spelled(checkpoint: &Checkpoint) -> String {
    let Checkpoint { size, root, vault } = checkpoint;
    let mut text = format!("{}\n{size}\n{}\n", signed::ORIGIN, STANDARD.encode(root));
    if let Some(vault) = vault {
        let mut words = vec![vault.count.to_string(), STANDARD.encode(vault.root)];
        words.extend((vault.sequence > 0).then(|| vault.sequence.to_string()));
        text.push_str(&format!("weirgate-vault {}\n", words.join(" ")));
    }
    text
}
