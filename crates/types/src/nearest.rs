//! What was probably meant by a name that is not known.

/// The name that is spelled most alike, whatever the case, if any is near: at most one change and
/// one more for every three characters given.
pub fn nearest<'n>(given: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let lower = given.to_lowercase();
    let (distance, name) = names
        .into_iter()
        .map(|name| (strsim::levenshtein(&lower, &name.to_lowercase()), name))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + given.chars().count() / 3).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_is_found_only_when_it_is_near() {
        let names = ["firstName", "workEmail", "id"];
        assert_eq!(nearest("first_name", names), Some("firstName"));
        assert_eq!(nearest("WORKEMAIL", names), Some("workEmail"));
        assert_eq!(nearest("di", names), None);
        assert_eq!(nearest("salary", names), None);
        assert_eq!(nearest("x", []), None);
    }
}
