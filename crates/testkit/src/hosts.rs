//! Hosts that nobody may be sent to, in hundreds of spellings, and hosts that must not be refused.

/// How a hostile host is to be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An address in disguise.
    Address,
    /// A name of cloud metadata.
    Metadata,
    /// No target at all.
    Malformed,
    /// A name like others, which leads to an address that is refused.
    Name,
}

/// Each as it stands behind `https://`.
///
/// # Panics
/// Where the list itself cannot be read.
pub fn hostile_hosts() -> Vec<(Refusal, String)> {
    let lines = lines(include_str!("hostile_hosts.txt"));
    lines
        .map(|line| {
            let (kind, spelling) = line.split_once(' ').unwrap_or((line, ""));
            let refusal = match kind {
                "address" => Refusal::Address,
                "metadata" => Refusal::Metadata,
                "malformed" => Refusal::Malformed,
                "name" => Refusal::Name,
                _ => unreadable(line),
            };
            (refusal, unescaped(spelling))
        })
        .collect()
}

/// Each as it stands behind `https://`.
///
/// # Panics
/// Where the list itself cannot be read.
pub fn honest_hosts() -> Vec<String> {
    lines(include_str!("honest_hosts.txt")).map(unescaped).collect()
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with("# "))
}

/// `\\` and `\u{HEX}`.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('\\') {
            out.push('\\');
            rest = after;
            continue;
        }
        let body = after.strip_prefix("u{").and_then(|after| after.split_once('}'));
        let Some((digits, after)) = body else { unreadable(text) };
        let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
        out.push(code.unwrap_or_else(|| unreadable(text)));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[expect(clippy::panic, reason = "a test fails by panicking")]
fn unreadable(line: &str) -> ! {
    panic!("cannot be read: {line}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn both_lists_are_long_and_without_repeats() {
        let hostile: BTreeSet<String> = hostile_hosts().into_iter().map(|(_, host)| host).collect();
        assert_eq!(hostile.len(), hostile_hosts().len());
        assert!(hostile.len() >= 400, "{}", hostile.len());
        let honest: BTreeSet<String> = honest_hosts().into_iter().collect();
        assert_eq!(honest.len(), honest_hosts().len());
        assert!(honest.len() >= 200, "{}", honest.len());
        assert!(hostile.is_disjoint(&honest));
    }

    #[test]
    fn escapes_are_what_they_stand_for() {
        assert_eq!(unescaped(r"a\u{9}b\\c\u{1d7cf}"), "a\tb\\c\u{1d7cf}");
    }
}
