//! An API key that is taken has its form, and a checksum that another computation finds too.

use crate::input::text;
use types::{ApiKey, Environment, KEY_RANDOM_CHARS};

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// CRC-32/ISO-HDLC bit by bit, in six digits of base 62.
fn checksum(body: &[u8]) -> String {
    let mut rest = u32::MAX;
    for byte in body {
        rest ^= u32::from(*byte);
        for _ in 0..8 {
            rest = if rest & 1 == 1 { rest >> 1 ^ 0xEDB8_8320 } else { rest >> 1 };
        }
    }
    rest = !rest;
    let mut digits = Vec::new();
    for _ in 0..6 {
        digits.push(DIGITS[(rest % 62) as usize]);
        rest /= 62;
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

pub(crate) fn hold(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    // Anything with the right sum is a key, and nothing beside it.
    let chosen = data.iter().cycle().take(if data.is_empty() { 0 } else { KEY_RANDOM_CHARS });
    let body: String = chosen.map(|byte| char::from(DIGITS[usize::from(byte % 62)])).collect();
    if body.len() == KEY_RANDOM_CHARS {
        let body = format!("wg_test_{body}");
        let key = format!("{body}{}", checksum(body.as_bytes()));
        let read = ApiKey::parse(&key).expect("its sum is right");
        assert_eq!((read.expose(), read.environment()), (key.as_str(), Environment::Test));
        let place = data[0] as usize % key.len();
        let mut other = key.into_bytes();
        other[place] = if other[place] == b'a' { b'b' } else { b'a' };
        let other = String::from_utf8(other).expect("still ASCII");
        assert!(ApiKey::parse(&other).is_err(), "{other}");
    }
    let Ok(key) = ApiKey::parse(text) else { return false };
    assert_eq!(key.expose(), text);
    let prefix = format!("wg_{}_", key.environment().as_str());
    let rest = text.strip_prefix(&prefix).expect("its prefix");
    assert!(rest.len() == KEY_RANDOM_CHARS + 6 && rest.bytes().all(|b| DIGITS.contains(&b)));
    let (body, sum) = text.split_at(text.len() - 6);
    assert_eq!(checksum(body.as_bytes()), sum);
    true
}
