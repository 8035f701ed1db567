//! Names in words, and patterns of words.

/// Words that are written together so often that case does not tell them apart.
const COMPOUNDS: [(&str, &str); 39] = [
    ("accountnumber", "account number"),
    ("addr", "address"),
    ("addressline", "address line"),
    ("apikey", "api key"),
    ("apikeys", "api keys"),
    ("authtoken", "auth token"),
    ("bankaccount", "bank account"),
    ("birthdate", "birth date"),
    ("birthday", "birth day"),
    ("birthplace", "birth place"),
    ("cardnumber", "card number"),
    ("clientsecret", "client secret"),
    ("countrycode", "country code"),
    ("dateofbirth", "date of birth"),
    ("emailaddress", "email address"),
    ("familyname", "family name"),
    ("firstname", "first name"),
    ("fullname", "full name"),
    ("givenname", "given name"),
    ("ipaddr", "ip address"),
    ("ipaddress", "ip address"),
    ("jobtitle", "job title"),
    ("lastname", "last name"),
    ("macaddress", "mac address"),
    ("middlename", "middle name"),
    ("mobilephone", "mobile phone"),
    ("nickname", "nick name"),
    ("payrate", "pay rate"),
    ("phonenumber", "phone number"),
    ("postalcode", "postal code"),
    ("postcode", "post code"),
    ("routingnumber", "routing number"),
    ("sortcode", "sort code"),
    ("taxid", "tax id"),
    ("useragent", "user agent"),
    ("userid", "user id"),
    ("username", "user name"),
    ("usernames", "user names"),
    ("zipcode", "zip code"),
];

/// `workEmailAddress`, `work_email`, `Work E-Mail`, `SSNNumber` and `line2` in words, lower case;
/// digits are words of their own.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let chars: Vec<char> = name.chars().collect();
    for (place, c) in chars.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|place| chars.get(place)).copied();
        let after = chars.get(place + 1).copied();
        if !c.is_alphanumeric() || begins(before, *c, after, chars.get(place + 2).copied()) {
            push(&mut words, &mut word);
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
    }
    push(&mut words, &mut word);
    words
}

/// Whether a letter or digit begins a word.
fn begins(before: Option<char>, c: char, after: Option<char>, next: Option<char>) -> bool {
    let Some(before) = before else { return false };
    if before.is_numeric() != c.is_numeric() {
        return true;
    }
    // The plural of an abbreviation: `userIDs`.
    let is_plural = after == Some('s') && !next.is_some_and(char::is_lowercase);
    c.is_uppercase()
        && (before.is_lowercase()
            || before.is_uppercase() && after.is_some_and(char::is_lowercase) && !is_plural)
}

fn push(words: &mut Vec<String>, word: &mut String) {
    if word.is_empty() {
        return;
    }
    let word = std::mem::take(word);
    match COMPOUNDS.binary_search_by(|(compound, _)| (*compound).cmp(word.as_str())) {
        Ok(place) => {
            let parts = COMPOUNDS.get(place).map_or("", |(_, parts)| parts);
            words.extend(parts.split(' ').map(str::to_owned));
        }
        Err(_) => words.push(word),
    }
}

/// Whether a word is a number, such as in `line2`.
pub(super) fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

/// The last word that is no number: what a name says that its field *is*.
pub(super) fn head(words: &[String]) -> Option<&str> {
    words.iter().rev().map(String::as_str).find(|word| !is_number(word))
}

/// Words that must follow one another in a name. As written: words with a space between them; `+`
/// at the end of a word allows its plural, `*` any that begins so; `PERSON` is a word for somebody;
/// `^` before the first word and `$` after the last mean the name's begin and end, numbers at its
/// end not counted.
#[derive(Debug)]
pub(super) struct Pattern {
    tests: Vec<Test>,
    at_begin: bool,
    at_end: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Word(&'static str),
    Plural(&'static str),
    Begin(&'static str),
    Person,
}

impl Pattern {
    pub(super) fn parse(text: &'static str) -> Self {
        let inner = text.strip_prefix('^').unwrap_or(text);
        let bare = inner.strip_suffix('$').unwrap_or(inner);
        let tests = bare.split(' ').map(|word| {
            if word == "PERSON" {
                Test::Person
            } else if let Some(word) = word.strip_suffix('+') {
                Test::Plural(word)
            } else if let Some(word) = word.strip_suffix('*') {
                Test::Begin(word)
            } else {
                Test::Word(word)
            }
        });
        Self {
            tests: tests.collect(),
            at_begin: inner.len() < text.len(),
            at_end: bare.len() < inner.len(),
        }
    }

    /// The test of its first word.
    pub(super) fn first(&self) -> Option<Test> {
        self.tests.first().copied()
    }

    pub(super) fn fits(&self, words: &[String]) -> bool {
        let numbers = words.iter().rev().take_while(|word| is_number(word)).count();
        let end = words.len() - numbers;
        words.windows(self.tests.len()).enumerate().any(|(at, part)| {
            (!self.at_begin || at == 0)
                && (!self.at_end || at + part.len() >= end)
                && part.iter().zip(&self.tests).all(|(word, test)| test.fits(word))
        })
    }
}

impl Test {
    pub(super) fn fits(self, word: &str) -> bool {
        match self {
            Self::Word(wanted) => word == wanted,
            Self::Plural(wanted) => {
                word.strip_prefix(wanted).is_some_and(|rest| matches!(rest, "" | "s" | "es"))
            }
            Self::Begin(begin) => word.starts_with(begin),
            Self::Person => is_person(word),
        }
    }
}

/// Words for somebody, sorted, singular. Not among them: client, account, agent, host, which are
/// programs and machines in descriptions as often as people.
const PERSONS: [&str; 60] = [
    "actor",
    "admin",
    "administrator",
    "applicant",
    "approver",
    "assignee",
    "attendee",
    "author",
    "beneficiary",
    "buyer",
    "candidate",
    "cardholder",
    "colleague",
    "commenter",
    "contact",
    "contractor",
    "coworker",
    "creator",
    "customer",
    "dependant",
    "dependent",
    "editor",
    "employee",
    "follower",
    "guest",
    "identity",
    "instructor",
    "invitee",
    "inviter",
    "lead",
    "manager",
    "member",
    "narrator",
    "organizer",
    "owner",
    "panelist",
    "participant",
    "patient",
    "payee",
    "payer",
    "people",
    "person",
    "recipient",
    "registrant",
    "reporter",
    "requester",
    "requestor",
    "reviewer",
    "sender",
    "shopper",
    "signer",
    "spouse",
    "student",
    "subscriber",
    "supervisor",
    "teammate",
    "uploader",
    "user",
    "visitor",
    "worker",
];

/// Whether a word means somebody, or several.
pub(super) fn is_person(word: &str) -> bool {
    let is_known = |word: &str| PERSONS.binary_search(&word).is_ok();
    is_known(word) || word.strip_suffix('s').is_some_and(is_known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        assert!(PERSONS.is_sorted());
        assert!(COMPOUNDS.is_sorted_by_key(|(compound, _)| compound));
    }

    #[test]
    fn names_are_split_at_case_signs_and_digits() {
        for (name, wanted) in [
            ("workEmailAddress", "work email address"),
            ("Work E-Mail", "work e mail"),
            ("SSNNumber", "ssn number"),
            ("userIDs", "user ids"),
            ("IDsOfUsers", "ids of users"),
            ("line2", "line 2"),
            ("ssn4", "ssn 4"),
            ("firstname", "first name"),
            ("IPAddress", "ip address"),
            ("", ""),
            ("\u{540d}", "\u{540d}"),
        ] {
            assert_eq!(words(name).join(" "), wanted, "{name}");
        }
    }

    #[test]
    fn patterns_fit_where_they_say() {
        for (pattern, name, wanted) in [
            ("pin+$", "refund_pin", true),
            ("pin+$", "pins", true),
            ("pin+$", "pin_count", false),
            ("^line$", "line2", true),
            ("^line$", "time line", false),
            ("diagnos*", "diagnosisCode", true),
            ("PERSON id$", "approvedByUserId", true),
            ("PERSON id$", "accountId", false),
            ("first name", "applicant.firstName", true),
            ("a b c", "a b", false),
        ] {
            assert_eq!(Pattern::parse(pattern).fits(&words(name)), wanted, "{pattern} {name}");
        }
    }
}
