//! Values that must not be seen: no `Display`, `Clone`, `Serialize` or `PartialEq`, a `Debug` that
//! hides, memory wiped on drop. They leave only by `expose()`, which reviewers search for.

use std::fmt;
use zeroize::Zeroizing;

macro_rules! hidden {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(hidden)"))
            }
        }
    };
}

/// A secret text: a provider's token, a password, an API key as given.
///
/// ```compile_fail
/// fn print(secret: types::SecretText) { println!("{secret}"); }
/// ```
/// ```compile_fail
/// fn copy(secret: &types::SecretText) -> types::SecretText { secret.clone() }
/// ```
/// ```compile_fail
/// fn compare(a: types::SecretText, b: types::SecretText) -> bool { a == b }
/// ```
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. It must go only to where it is used, never into a message or a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

hidden!(SecretText);

/// Secret bytes: key material, an opened record.
///
/// ```compile_fail
/// fn copy(secret: &types::SecretBytes) -> types::SecretBytes { secret.clone() }
/// ```
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves. They must go only to where they are used.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

hidden!(SecretBytes);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_value() {
        assert_eq!(format!("{:?}", SecretText::new("hunter2".into())), "SecretText(hidden)");
        assert_eq!(format!("{:?}", SecretBytes::new(vec![1, 2])), "SecretBytes(hidden)");
    }
}
