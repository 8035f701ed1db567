//! The data categories that there are.

/// Keys of the Fideslang taxonomy; the file names its source.
const FIDESLANG: &str = include_str!("fideslang_keys.txt");
/// Our own.
const OWN: [&str; 5] = ["secret", "secret.key", "secret.password", "secret.token", "unclassified"];

/// All categories that a label can name. Below `secret` others may be made up.
pub fn categories() -> impl Iterator<Item = &'static str> {
    FIDESLANG.lines().filter(|line| !line.starts_with('#')).chain(OWN)
}

/// Whether there is such a category.
pub fn is_category(key: &str) -> bool {
    let is_secret = key.strip_prefix("secret.").is_some_and(|rest| !rest.is_empty());
    is_secret || categories().any(|one| one == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_known_by_their_exact_keys() {
        for key in ["user.financial", "system.operations", "secret", "secret.pin", "unclassified"] {
            assert!(is_category(key), "{key}");
        }
        for key in ["", "user.finansial", "User.Financial", "user.financial.", "# Keys", "secret."]
        {
            assert!(!is_category(key), "{key}");
        }
        assert_eq!(categories().count(), 90);
    }
}
