//! E-mail addresses, as far as they name an account here: nothing is sent to one unseen.
//!
//! An address is looked up in one spelling (ASCII letters in lower case, the whole of it), so that
//! no change of case goes round a lock-out or makes a second account (CVE class 4).

use std::fmt;

/// RFC 5321 §4.5.3.1, by the octet: the path of 256 without its brackets.
const MAX_BYTES: usize = 254;
const MAX_LOCAL_BYTES: usize = 64;
const MAX_LABEL_BYTES: usize = 63;

/// An address that could receive mail. Personal data: `Debug` hides it. Two are the same account's
/// if [`EmailAddress::lookup`] says so.
#[derive(Clone)]
pub struct EmailAddress {
    given: String,
    at: usize,
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    #[error("an e-mail address has one `@`, with a name before it and a host behind it")]
    At,
    #[error(
        "an e-mail address has at most {MAX_BYTES} bytes, at most {MAX_LOCAL_BYTES} of them before \
         the `@`"
    )]
    Length,
    #[error(
        "an e-mail address has no spaces, quotes, brackets, commas or invisible characters: copy \
         the bare address"
    )]
    Character,
    #[error("the host of an e-mail address is made of letters, digits and `-`, joined by dots")]
    Host,
    #[error(
        "the name in an e-mail address neither begins nor ends with a dot, nor has two in a row"
    )]
    Dot,
}

impl EmailAddress {
    /// Reads an address as a person typed it; spaces around it do not belong to it.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let given = text.trim_matches(' ');
        if given.len() > MAX_BYTES {
            return Err(EmailError::Length);
        }
        if given.chars().any(is_refused) {
            return Err(EmailError::Character);
        }
        let (local, host) = given.split_once('@').ok_or(EmailError::At)?;
        if local.is_empty() || host.is_empty() || host.contains('@') {
            return Err(EmailError::At);
        }
        if local.len() > MAX_LOCAL_BYTES {
            return Err(EmailError::Length);
        }
        if local.split('.').any(str::is_empty) {
            return Err(EmailError::Dot);
        }
        if !host.split('.').all(is_label) {
            return Err(EmailError::Host);
        }
        Ok(Self { given: given.to_owned(), at: local.len() })
    }

    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// The spelling by which an account is found.
    pub fn lookup(&self) -> String {
        self.given.to_ascii_lowercase()
    }

    /// What stands before the `@`.
    pub fn local(&self) -> &str {
        self.given.get(..self.at).unwrap_or_default()
    }

    /// What stands behind the `@`.
    pub fn host(&self) -> &str {
        self.given.get(self.at + 1..).unwrap_or_default()
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(hidden)")
    }
}

/// What would end a header of a mail, or make two addresses look alike.
fn is_refused(c: char) -> bool {
    let is_invisible = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    let is_special = matches!(c, '"' | '(' | ')' | ',' | ':' | ';' | '<' | '>' | '[' | '\\' | ']');
    c.is_control() || c.is_whitespace() || is_invisible || is_special
}

/// A part of a host's name (RFC 1123 §2.1; RFC 6531 for what is not ASCII).
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= MAX_LABEL_BYTES
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_whatever_case_they_are_typed() {
        let lookup = |text: &str| EmailAddress::parse(text).unwrap().lookup();
        for text in ["ada@example.com", "Ada@Example.COM", " ADA@EXAMPLE.COM "] {
            assert_eq!(lookup(text), "ada@example.com");
        }
        // Other names, not other spellings.
        assert_ne!(lookup("ada+x@example.com"), "ada@example.com");
        assert_ne!(lookup("a.da@example.com"), "ada@example.com");
        // No letter beyond ASCII is folded: the Kelvin sign is no `k`.
        assert_ne!(lookup("\u{212a}im@example.com"), "kim@example.com");
    }

    #[test]
    fn what_an_address_may_be() {
        for text in [
            "a@b",
            "ada.lovelace+weirgate@mail.example.co.uk",
            "o'neil_{x}!#$%&*/=?^`|~-@example.com",
            "ädä@exämple.com",
            "root@localhost",
        ] {
            assert_eq!(EmailAddress::parse(text).unwrap().as_str(), text);
        }
        let address = EmailAddress::parse("Ada@Example.com").unwrap();
        assert_eq!((address.local(), address.host()), ("Ada", "Example.com"));
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        let long = "x".repeat(64);
        let (fits, not) = (format!("{long}@b.c"), format!("{long}x@b.c"));
        assert!(EmailAddress::parse(&fits).is_ok());
        let host = vec!["y".repeat(47); 4].join(".");
        assert!(EmailAddress::parse(&format!("{}@{host}", "x".repeat(62))).is_ok());
        for (text, error) in [
            ("", EmailError::At),
            ("ada", EmailError::At),
            ("@b.c", EmailError::At),
            ("a@", EmailError::At),
            ("a@b@c", EmailError::At),
            (&not, EmailError::Length),
            (&format!("{}@{host}", "x".repeat(64)), EmailError::Length),
            ("a b@c.d", EmailError::Character),
            ("a@b.c\n", EmailError::Character),
            ("a@b.c\r\nBcc: d@e.f", EmailError::Character),
            ("a\0@b.c", EmailError::Character),
            ("\u{7f}@b.c", EmailError::Character),
            ("a\u{200b}@b.c", EmailError::Character),
            ("\u{202e}a@b.c", EmailError::Character),
            ("Ada <a@b.c>", EmailError::Character),
            ("a@b.c,d@e.f", EmailError::Character),
            ("\"a\"@b.c", EmailError::Character),
            ("a@[127.0.0.1]", EmailError::Character),
            (".a@b.c", EmailError::Dot),
            ("a..b@c.d", EmailError::Dot),
            ("a.@b.c", EmailError::Dot),
            ("a@b..c", EmailError::Host),
            ("a@.b", EmailError::Host),
            ("a@b.", EmailError::Host),
            ("a@-b.c", EmailError::Host),
            ("a@b_c.d", EmailError::Host),
            (&format!("a@{}.c", "b".repeat(64)), EmailError::Host),
        ] {
            assert_eq!(EmailAddress::parse(text).unwrap_err(), error, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_not_printed() {
        let address = EmailAddress::parse("ada@example.com").unwrap();
        assert_eq!(format!("{address:?}"), "EmailAddress(hidden)");
    }
}
