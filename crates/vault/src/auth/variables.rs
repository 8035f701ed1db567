//! Values by name, in clear while something is made of them.

use secrecy::zeroize::Zeroizing;
use std::{collections::BTreeMap, fmt};
use types::SecretBytes;

/// What a plan's names stand for: wiped on drop, never printed, never copied.
#[derive(Default)]
pub struct Variables(BTreeMap<String, Zeroizing<String>>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Variables(hidden)")
    }
}

impl Variables {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Takes the place of a value of the same name.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), Zeroizing::new(value.to_owned()));
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Adds what `other` has and this has not.
    pub fn fill_up(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            if !self.0.contains_key(name) {
                self.set(name, value);
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Name and value, each behind its length of 4 bytes.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let bytes = self.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
        let mut encoded = Zeroizing::new(Vec::with_capacity(bytes));
        for (name, value) in self.iter() {
            for text in [name, value] {
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                encoded.extend_from_slice(&length.to_be_bytes());
                encoded.extend_from_slice(text.as_bytes());
            }
        }
        encoded
    }

    /// Reads what [`Variables::encode`] gave; `None` for anything else.
    pub(crate) fn decode(bytes: &SecretBytes) -> Option<Self> {
        let mut rest = bytes.expose();
        let text = |rest: &mut &[u8]| -> Option<Zeroizing<String>> {
            let (length, after) = rest.split_first_chunk()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (value, after) = after.split_at_checked(length)?;
            *rest = after;
            std::str::from_utf8(value).ok().map(|value| Zeroizing::new(value.to_owned()))
        };
        let mut variables = Self::default();
        while !rest.is_empty() {
            let name = String::clone(&*text(&mut rest)?);
            variables.0.insert(name, text(&mut rest)?);
        }
        Some(variables)
    }
}
