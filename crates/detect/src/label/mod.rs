//! A data category for a field, from its name, what it stands in, its format and description.
//!
//! NOTICE: categories below `user` and `system` are keys of the Fideslang taxonomy, copyright Ethyca
//! Inc., licensed under Creative Commons Attribution 4.0 (CC BY 4.0),
//! <https://github.com/ethyca/fideslang>. `secret` with what is below it and `unclassified` are
//! Weirgate's own, as are the rules here. `docs/reference/labels.md` tells the whole.

mod judge;
mod ordinary;
mod rules;
mod words;

use judge::{is_flag, is_harmless, judge};
use ordinary::is_ordinary;
use std::fmt;
use words::words;

/// What a field's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldClass {
    /// Text, or several kinds of scalars.
    #[default]
    Text,
    Number,
    /// A boolean or an enumeration: it says less than its name promises.
    Choice,
    Date,
    /// An object, a list of objects, or nothing is said: never `unclassified`, because it is not
    /// part of `*` by itself.
    Container,
}

/// What is known of a field beside its name.
#[derive(Debug, Clone, Copy, Default)]
pub struct FieldHint<'a> {
    /// The schema's `format`, lower case.
    pub format: Option<&'a str>,
    pub description: &'a str,
    pub class: FieldClass,
}

/// A first judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldLabel {
    /// A key of Fideslang, of our own `secret`, or `unclassified`.
    pub category: &'static str,
    /// Not part of `fields = ["*"]`.
    pub is_sensitive: bool,
    /// How much the rule is to be trusted, in per cent; 0 for `unclassified`.
    pub confidence: u8,
    pub reason: Reason,
}

/// The rule that decided; its text names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Words in the field's own name.
    Name(&'static str),
    /// What it stands in, and words in its own name.
    Within(&'static str, &'static str),
    Format(&'static str),
    /// What its description begins with.
    Description(&'static str),
    /// No rule fits, and its name is not known as an ordinary one.
    Unknown,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(rule) => write!(f, "name `{rule}`"),
            Self::Within(around, rule) => write!(f, "name `{rule}` within {around}"),
            Self::Format(format) => write!(f, "format `{format}`"),
            Self::Description(phrase) => write!(f, "description `{phrase}`"),
            Self::Unknown => f.write_str("no rule fits"),
        }
    }
}

/// The category of what nothing is known about.
const UNCLASSIFIED: &str = "unclassified";

fn is_or_below(category: &str, root: &str) -> bool {
    category.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Categories whose fields must be granted by name: special categories (GDPR articles 9 and 10, and
/// their neighbours in demography), government ids, financial, health, credentials, and what could
/// not be classified.
pub fn is_sensitive_category(category: &str) -> bool {
    const ROOTS: [&str; 7] = [
        "secret",
        UNCLASSIFIED,
        "user.government_id",
        "user.financial",
        "user.payment",
        "user.authorization",
        "system.authentication",
    ];
    is_special(category) || ROOTS.iter().any(|root| is_or_below(category, root))
}

/// Categories that stay sensitive even as a choice or a date: `isDisabled` tells all there is.
fn is_special(category: &str) -> bool {
    const ROOTS: [&str; 4] =
        ["user.health_and_medical", "user.biometric", "user.demographic", "user.criminal_history"];
    const HARMLESS: [&str; 2] = ["user.demographic.language", "user.demographic.age_range"];
    ROOTS.iter().any(|root| is_or_below(category, root)) && !HARMLESS.contains(&category)
}

/// Judges a field. `outer` are the names of what it stands in, outermost first. `None`: nothing
/// speaks against it.
pub fn label_field(name: &str, outer: &[&str], hint: &FieldHint<'_>) -> Option<FieldLabel> {
    let words = words(name);
    if is_harmless(&words) {
        return None;
    }
    let Some((category, confidence, reason)) = judge(&words, outer, hint) else {
        let is_told = match hint.class {
            FieldClass::Text | FieldClass::Number => is_ordinary(&words, hint.format),
            FieldClass::Choice | FieldClass::Date | FieldClass::Container => true,
        };
        return (!is_told).then_some(FieldLabel {
            category: UNCLASSIFIED,
            is_sensitive: true,
            confidence: 0,
            reason: Reason::Unknown,
        });
    };
    let is_kept = match hint.class {
        // A flag about a secret or an address is none; one about somebody's health tells it.
        FieldClass::Choice => is_special(category),
        FieldClass::Date => {
            is_special(category)
                || is_or_below(category, "user.government_id")
                || is_or_below(category, "user.financial")
        }
        // A text may be a flag by its name or description; that counts only where nothing is at stake.
        FieldClass::Text => is_sensitive_category(category) || !is_flag(&words, hint.description),
        FieldClass::Number | FieldClass::Container => true,
    };
    let is_bare = matches!(hint.class, FieldClass::Choice | FieldClass::Date);
    let is_sensitive = is_sensitive_category(category) && (!is_bare || is_special(category));
    is_kept.then_some(FieldLabel { category, is_sensitive, confidence, reason })
}

#[cfg(test)]
mod tests {
    use super::rules::{DESCRIPTIONS, FORMATS, SECTIONS, WITHIN};
    use super::*;

    fn label(name: &str, outer: &[&str]) -> Option<(&'static str, bool)> {
        label_field(name, outer, &FieldHint::default()).map(|one| (one.category, one.is_sensitive))
    }

    const NATIONAL: &str = "user.government_id.national_identification_number";

    #[test]
    fn sensitive_fields_are_known_by_their_names() {
        for (name, category) in [
            ("ssn", NATIONAL),
            ("employeeSSN", NATIONAL),
            ("socialSecurityNumber", NATIONAL),
            ("passport_no", "user.government_id.passport_number"),
            ("TaxFileNumber", "user.government_id"),
            ("salary", "user.financial"),
            ("baseSalaryAmount", "user.financial"),
            ("bankAccountNumber", "user.financial.bank_account"),
            ("iban", "user.financial.bank_account"),
            ("card_number", "user.financial.credit_card"),
            ("client_secret", "secret"),
            ("accessToken", "secret.token"),
            ("apiKey", "secret.key"),
            ("password_hash", "secret.password"),
            ("ethnicity", "user.demographic.race_ethnicity"),
            ("dateOfBirth", "user.demographic.date_of_birth"),
            ("gender", "user.demographic.gender"),
            ("medicalNotes", "user.health_and_medical"),
            ("token", "secret.token"),
            ("deviceToken", "secret.token"),
            ("account_number", "user.financial.bank_account"),
            ("customField4077", "unclassified"),
            ("notes", "unclassified"),
            ("value", "unclassified"),
            ("xq", "unclassified"),
            ("", "unclassified"),
            ("\u{540d}\u{524d}", "unclassified"),
        ] {
            assert_eq!(label(name, &[]), Some((category, true)), "{name}");
        }
    }

    #[test]
    fn personal_fields_are_part_of_everything() {
        for (name, category) in [
            ("workEmail", "user.contact.email"),
            ("firstName", "user.name.first"),
            ("mobile_phone", "user.contact.phone_number"),
            ("zipCode", "user.contact.address.postal_code"),
            ("employeeNumber", "user.unique_id"),
            ("approvedByUserId", "user.unique_id"),
            ("assignee", "user.unique_id"),
        ] {
            assert_eq!(label(name, &[]), Some((category, false)), "{name}");
        }
    }

    #[test]
    fn ordinary_fields_have_no_label() {
        for name in [
            "id",
            "title",
            "status",
            "createdAt",
            "department",
            "departmentName",
            "description",
            "count",
            "nextPageToken",
            "bankHolidays",
            "tokenType",
            "className",
            "sinceDate",
            "isProcessing",
            "max_tokens",
            "line2",
            "categories",
            "hireDate",
            "websiteUrl",
            "fte",
            "currency",
            "secretaryName",
        ] {
            assert_eq!(label(name, &[]), None, "{name}");
        }
    }

    #[test]
    fn what_it_stands_in_counts() {
        assert_eq!(label("number", &["bankAccount"]), Some(("user.financial.bank_account", true)));
        assert_eq!(label("amount", &["salary"]), Some(("user.financial", true)));
        assert_eq!(label("number", &["order"]), None);
        // The nearest name that says something counts, whatever wraps it.
        assert_eq!(label("name", &["GetEmployeeResponse"]), Some(("user.name", false)));
        assert_eq!(label("name", &["User", "data"]), Some(("user.name", false)));
        assert_eq!(label("name", &["User", "role"]), None);
        assert_eq!(label("state", &["Address"]), Some(("user.contact.address.state", false)));
        assert_eq!(label("state", &["Task"]), None);
    }

    #[test]
    fn a_link_or_code_that_tells_stays_sensitive() {
        for (name, outer) in [
            ("resetPasswordUrl", "User"),
            ("medicalRecordId", "Person"),
            ("genderId", "Person"),
            ("credential", "Response"),
            ("accessCode", "Room"),
            ("aesKey", "Device"),
            ("code", "LookupSecretCode"),
            ("hash", "PasswordCredential"),
            ("amount", "EarningsLine"),
            ("note", "SickLeave"),
        ] {
            let label = label(name, &[outer]);
            assert!(label.is_some_and(|(_, is_sensitive)| is_sensitive), "{name}");
        }
    }

    #[test]
    fn a_flag_by_its_words_is_nobodys_address_but_never_clears_a_secret() {
        let told = |description| FieldHint { description, ..FieldHint::default() };
        let flag = told("Whether the address is used.");
        assert_eq!(hinted("notifyByEmail", flag), None);
        assert_eq!(hinted("apiKey", flag), Some(("secret.key", true)));
        assert_eq!(hinted("canEditEmail", told("")), None);
    }

    #[test]
    fn the_rule_that_decided_is_told() {
        let judged = |name: &str, outer: &[&str], hint| label_field(name, outer, &hint).unwrap();
        let plain = FieldHint::default();
        let one = judged("firstName", &[], plain);
        assert_eq!((one.confidence, one.reason.to_string()), (95, "name `first name+`".into()));
        let one = judged("name", &["Employee"], plain);
        assert_eq!(one.reason.to_string(), "name `^name$` within a person");
        let one = judged("xq", &[], FieldHint { format: Some("email"), ..plain });
        assert_eq!((one.confidence, one.reason.to_string()), (98, "format `email`".into()));
        let one = judged("xq", &[], FieldHint { description: "The user's phone number.", ..plain });
        assert_eq!(one.reason.to_string(), "description `phone number`");
        let one = judged("xq", &[], plain);
        assert_eq!((one.confidence, one.reason), (0, Reason::Unknown));
    }

    #[test]
    fn a_description_counts_for_what_it_names_first() {
        for (description, wanted) in [
            ("The unique ID of the [team member](entity:TeamMember).", Some("user.unique_id")),
            ("ID of the user's role", None),
            ("The ID of the division this employee belongs to", None),
            ("The email address of the owner", Some("user.contact.email")),
            ("Email address verification", None),
            ("A note; the e-mail address lies elsewhere", None),
        ] {
            let hint = FieldHint { description, ..FieldHint::default() };
            assert_eq!(hinted("reference", hint).map(|one| one.0), wanted, "{description}");
        }
    }

    fn hinted(name: &str, hint: FieldHint<'_>) -> Option<(&'static str, bool)> {
        label_field(name, &[], &hint).map(|one| (one.category, one.is_sensitive))
    }

    #[test]
    fn a_choice_or_a_date_tells_less_unless_it_is_special() {
        for (name, class, wanted) in [
            ("passwordSet", FieldClass::Choice, None),
            ("passwordChangedAt", FieldClass::Date, None),
            ("bankAccountType", FieldClass::Choice, None),
            (
                "passportExpiry",
                FieldClass::Date,
                Some(("user.government_id.passport_number", false)),
            ),
            ("gender", FieldClass::Choice, Some(("user.demographic.gender", true))),
            ("disability", FieldClass::Choice, Some(("user.health_and_medical", true))),
            ("diagnosisDate", FieldClass::Date, Some(("user.health_and_medical", true))),
            ("birthDate", FieldClass::Date, Some(("user.demographic.date_of_birth", true))),
            ("xq", FieldClass::Choice, None),
            ("xq", FieldClass::Date, None),
            ("xq", FieldClass::Container, None),
            ("xq", FieldClass::Number, Some(("unclassified", true))),
        ] {
            assert_eq!(hinted(name, FieldHint { class, ..FieldHint::default() }), wanted, "{name}");
        }
    }

    #[test]
    fn formats_and_descriptions_count() {
        let format = |format| FieldHint { format: Some(format), ..FieldHint::default() };
        assert_eq!(hinted("xq", format("email")), Some(("user.contact.email", false)));
        assert_eq!(hinted("xq", format("password")), Some(("secret.password", true)));
        assert_eq!(hinted("xq", format("uuid")), None);
        let told = FieldHint { description: "Social security number", ..FieldHint::default() };
        assert_eq!(hinted("govNumber", told), Some((NATIONAL, true)));
    }

    /// The keys of Fideslang's `data_categories.csv`; what we give must be among them or our own.
    #[test]
    fn categories_are_keys_of_fideslang_or_our_own() {
        let keys: Vec<&str> = include_str!("../fideslang_keys.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert_eq!(keys.len(), 85);
        let names = SECTIONS.iter().flat_map(|section| section.rules).map(|rule| (rule.1, rule.2));
        let within = WITHIN.iter().map(|(_, _, rule)| (rule.1, rule.2));
        let formats = FORMATS.iter().map(|(_, category, confidence)| (*category, *confidence));
        let told = DESCRIPTIONS.iter().map(|(_, _, category, confidence)| (*category, *confidence));
        for (category, confidence) in names.chain(within).chain(formats).chain(told) {
            let is_known = is_or_below(category, "secret") || keys.contains(&category);
            assert!(is_known || category.is_empty(), "{category}");
            assert!(confidence <= 100, "{category}");
        }
    }
}
