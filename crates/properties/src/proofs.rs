//! A proof holds for its entry at its index under its checkpoint, and nothing else holds.

use crate::{
    input::{Dice, text},
    signed,
};
use audit::Proof;
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Entries of the log that the seeds are of.
const KNOWN: usize = 7;

pub(crate) fn hold(data: &[u8]) -> bool {
    made(data);
    let Some(text) = text(data) else { return false };
    let Ok(proof) = text.parse::<Proof>() else { return false };
    assert_eq!(proof.to_string(), text, "it has two spellings");
    if proof.verify(signed::key()).is_ok() {
        let index = usize::try_from(proof.index).expect("a small log");
        assert!(index < KNOWN && proof.entry == signed::entry(index), "it was made up");
    }
    true
}

fn written(entry: &[u8], index: usize, path: &[audit::Hash], checkpoint: &str) -> String {
    let mut text = format!("c2sp.org/tlog-proof@v1\nextra {}\n", STANDARD.encode(entry));
    text.push_str(&format!("index {index}\n"));
    for hash in path {
        text.push_str(&STANDARD.encode(hash));
        text.push('\n');
    }
    format!("{text}\n{checkpoint}")
}

fn is_true(text: &str) -> bool {
    text.parse::<Proof>().is_ok_and(|proof| proof.verify(signed::key()).is_ok())
}

/// A right proof of a log of any size, and what is bent about it.
fn made(data: &[u8]) {
    let mut dice = Dice::of(data);
    let count = 1 + dice.below(40);
    let index = dice.below(count);
    let entries = signed::entries(count);
    let checkpoint = signed::checkpoint(&entries);
    let path = signed::path(index, &entries);
    let right = written(&entries[index], index, &path, &checkpoint);
    assert!(is_true(&right), "{right}");
    let other = dice.below(count + 3);
    let mut bent = Vec::new();
    if other != index {
        bent.push(written(&entries[index], other, &path, &checkpoint));
        bent.push(written(&signed::entry(other), index, &path, &checkpoint));
    }
    let mut longer = path.clone();
    longer.insert(dice.below(path.len() + 1), signed::root(&entries));
    bent.push(written(&entries[index], index, &longer, &checkpoint));
    if !path.is_empty() {
        let place = dice.below(path.len());
        let mut changed = path.clone();
        changed[place][dice.below(32)] ^= 1 << dice.below(8);
        bent.push(written(&entries[index], index, &changed, &checkpoint));
        let mut shorter = path.clone();
        shorter.remove(place);
        bent.push(written(&entries[index], index, &shorter, &checkpoint));
    }
    let smaller = signed::checkpoint(&entries[..count - 1]);
    bent.push(written(&entries[index], index, &path, &smaller));
    for text in bent {
        assert!(!is_true(&text), "{text}");
    }
}
