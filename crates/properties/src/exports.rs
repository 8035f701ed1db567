//! An export that is taken holds the log's entries of its range, and only those; a right one of any
//! range of any log is taken, and with its lines changed it is not.

use crate::{input::Dice, signed};
use audit::{ExportError, Exported, Record, verify_export};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::ops::Range;

/// Entries of the log that the seeds are of.
const KNOWN: usize = 7;

fn checked(bytes: &[u8]) -> (Result<Exported, ExportError>, Vec<(u64, Record)>) {
    let mut seen = Vec::new();
    let mut input = bytes;
    let found = verify_export(&mut input, signed::key(), &[], |index, entry: &Record| {
        seen.push((index, entry.clone()));
    });
    (found, seen)
}

pub(crate) fn hold(data: &[u8]) -> bool {
    made(data);
    let (found, seen) = checked(data);
    let first = seen.first().map(|(index, _)| *index);
    if let Ok(found) = found {
        let known = usize::try_from(found.checkpoint.size).expect("a small log");
        assert!(known <= KNOWN, "its checkpoint was made up");
        assert_eq!(found.range.clone().count(), seen.len());
        assert!(first.is_none_or(|first| first == found.range.start));
        for (index, record) in &seen {
            let index = usize::try_from(*index).expect("a small log");
            assert_eq!(record.encode(), signed::entry(index), "it was made up");
        }
    }
    !seen.is_empty()
}

/// Ranges of leaves of complete subtrees, largest that fit first from the left.
fn subtrees(begin: usize, end: usize) -> Vec<Range<usize>> {
    let mut at = begin;
    let mut found = Vec::new();
    while at < end {
        let mut length = 1;
        while at.is_multiple_of(length * 2) && at + length * 2 <= end {
            length *= 2;
        }
        found.push(at..at + length);
        at += length;
    }
    found
}

fn lines(entries: &[Vec<u8>], range: Range<usize>) -> Vec<String> {
    let size = entries.len();
    let hash = |word: &str, part: Range<usize>| {
        format!("{word} {}", STANDARD.encode(signed::root(&entries[part])))
    };
    let mut lines = vec!["weirgate-audit-export@v1".to_owned()];
    lines.push(format!("range {} {} {size}", range.start, range.end));
    lines.extend(subtrees(0, range.start).into_iter().map(|part| hash("before", part)));
    let inside = &entries[range.clone()];
    lines.extend(inside.iter().map(|entry| format!("entry {}", STANDARD.encode(entry))));
    lines.extend(subtrees(range.end, size).into_iter().map(|part| hash("after", part)));
    lines.push(String::new());
    lines
}

fn written(lines: &[String], checkpoint: &str) -> Vec<u8> {
    let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    text.push_str(checkpoint);
    text.into_bytes()
}

/// A right export, and what is bent about it.
fn made(data: &[u8]) {
    let mut dice = Dice::of(data);
    let entries = signed::entries(1 + dice.below(30));
    let first = dice.below(entries.len());
    let range = first..first + 1 + dice.below(entries.len() - first);
    let checkpoint = signed::checkpoint(&entries);
    let right = lines(&entries, range.clone());
    let (found, seen) = checked(&written(&right, &checkpoint));
    let found = found.expect("it is right");
    assert_eq!(found.range, range.start as u64..range.end as u64);
    assert!(seen.iter().zip(&entries[range]).all(|((_, record), entry)| record.encode() == *entry));
    let (one, other) = (dice.below(right.len()), dice.below(right.len()));
    let mut bent = vec![right.clone(); 5];
    bent[0].remove(one);
    bent[1].insert(other, right[one].clone());
    bent[2].swap(one, other);
    bent[3][one] = right[other].clone();
    bent[4][one] = format!("entry {}", STANDARD.encode(signed::entry(entries.len())));
    for lines in bent.iter().filter(|lines| **lines != right) {
        assert!(checked(&written(lines, &checkpoint)).0.is_err(), "{lines:?}");
    }
    let cut = signed::checkpoint(&entries[..entries.len() - 1]);
    assert!(checked(&written(&right, &cut)).0.is_err(), "another checkpoint fits");
}
