//! A data category for a field, from its name, what it stands in, its format and description.
//!
//! NOTICE: categories below `user` and `system` are keys of the Fideslang taxonomy, copyright Ethyca
//! Inc., licensed under Creative Commons Attribution 4.0 (CC BY 4.0),
//! <https://github.com/ethyca/fideslang>. `secret` with what is below it and `unclassified` are
//! Weirgate's own, as are the rules here. `docs/reference/labels.md` tells the whole.

use crate::ordinary::is_ordinary;

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

/// A rule: words that must stand next to each other in a name.
type Rule = (&'static [&'static str], &'static str);

/// In order: the first that fits counts. A rule's words fit if they follow one another in the name's
/// words; a word that ends in `*` fits any that begins so.
const RULES: &[Rule] = &[
    // Credentials of any kind.
    (&["password*"], "secret.password"),
    (&["passwd"], "secret.password"),
    (&["passphrase"], "secret.password"),
    (&["pwd"], "secret.password"),
    (&["secret*"], "secret"),
    (&["private", "key"], "secret.key"),
    (&["api", "key*"], "secret.key"),
    (&["apikey*"], "secret.key"),
    (&["access", "key*"], "secret.key"),
    (&["signing", "key*"], "secret.key"),
    (&["encryption", "key*"], "secret.key"),
    (&["access", "token*"], "secret.token"),
    (&["refresh", "token*"], "secret.token"),
    (&["auth", "token*"], "secret.token"),
    (&["bearer", "token*"], "secret.token"),
    (&["session", "token*"], "secret.token"),
    (&["id", "token"], "secret.token"),
    (&["credential*"], "secret"),
    (&["authorization"], "secret"),
    (&["passcode*"], "secret.password"),
    (&["pin"], "secret.password"),
    (&["otp"], "secret.password"),
    (&["host", "key"], "secret.password"),
    (&["cookie*"], "secret"),
    (&["security", "answer*"], "secret.password"),
    (&["security", "code"], "user.financial.credit_card"),
    // Government identifiers.
    (&["ssn"], "user.government_id.national_identification_number"),
    (&["ssn*"], "user.government_id.national_identification_number"),
    (&["social", "security*"], "user.government_id.national_identification_number"),
    (&["social", "insurance*"], "user.government_id.national_identification_number"),
    (&["national", "insurance*"], "user.government_id.national_identification_number"),
    (&["ni", "number"], "user.government_id.national_identification_number"),
    (&["nino"], "user.government_id.national_identification_number"),
    (&["national", "id*"], "user.government_id.national_identification_number"),
    (&["national", "identi*"], "user.government_id.national_identification_number"),
    (&["national", "number"], "user.government_id.national_identification_number"),
    (&["government", "id*"], "user.government_id"),
    (&["passport*"], "user.government_id.passport_number"),
    (&["driver*", "licen*"], "user.government_id.drivers_license_number"),
    (&["driving", "licen*"], "user.government_id.drivers_license_number"),
    (&["tax", "id*"], "user.government_id"),
    (&["taxid*"], "user.government_id"),
    (&["tax", "number"], "user.government_id"),
    (&["tax", "file", "number"], "user.government_id"),
    (&["tfn"], "user.government_id"),
    (&["tin"], "user.government_id"),
    (&["ein"], "user.government_id"),
    (&["itin"], "user.government_id"),
    (&["sin"], "user.government_id"),
    (&["cpf"], "user.government_id"),
    (&["cnpj"], "user.government_id"),
    (&["curp"], "user.government_id"),
    (&["nric"], "user.government_id"),
    (&["aadhaar*"], "user.government_id"),
    (&["visa", "number"], "user.government_id.immigration"),
    (&["visa", "type"], "user.government_id.immigration"),
    (&["work", "permit*"], "user.government_id.immigration"),
    (&["immigration*"], "user.government_id.immigration"),
    (&["birth", "certificate*"], "user.government_id.birth_certificate"),
    // Money.
    (&["credit", "card*"], "user.financial.credit_card"),
    (&["card", "number"], "user.financial.credit_card"),
    (&["cardnumber"], "user.financial.credit_card"),
    (&["cvv*"], "user.financial.credit_card"),
    (&["cvc*"], "user.financial.credit_card"),
    (&["iban*"], "user.financial.bank_account"),
    (&["bic"], "user.financial.bank_account"),
    (&["swift", "code"], "user.financial.bank_account"),
    (&["routing", "number*"], "user.financial.bank_account"),
    (&["routing", "transit*"], "user.financial.bank_account"),
    (&["sort", "code"], "user.financial.bank_account"),
    (&["bank*"], "user.financial.bank_account"),
    (&["bsb"], "user.financial.bank_account"),
    (&["salary*"], "user.financial"),
    (&["salaries"], "user.financial"),
    (&["wage*"], "user.financial"),
    (&["compensation*"], "user.financial"),
    (&["pay", "rate*"], "user.financial"),
    (&["payrate*"], "user.financial"),
    (&["pay", "amount*"], "user.financial"),
    (&["hourly", "rate*"], "user.financial"),
    (&["net", "pay"], "user.financial"),
    (&["gross", "pay"], "user.financial"),
    (&["bonus*"], "user.financial"),
    (&["annual", "income"], "user.financial"),
    (&["monthly", "income"], "user.financial"),
    (&["household", "income"], "user.financial"),
    (&["account", "number"], "user.financial.bank_account"),
    (&["accountnumber"], "user.financial.bank_account"),
    (&["earnings"], "user.financial"),
    (&["credit", "score"], "user.financial"),
    (&["net", "worth"], "user.financial"),
    // Health.
    (&["medical*"], "user.health_and_medical"),
    (&["health*"], "user.health_and_medical"),
    (&["diagnos*"], "user.health_and_medical"),
    (&["disabilit*"], "user.health_and_medical"),
    (&["disabled", "person"], "user.health_and_medical"),
    (&["blood", "type"], "user.health_and_medical"),
    (&["allerg*"], "user.health_and_medical"),
    (&["vaccin*"], "user.health_and_medical"),
    (&["pregnan*"], "user.health_and_medical"),
    (&["sick*"], "user.health_and_medical"),
    // Special categories and their neighbours.
    (&["fingerprint", "data"], "user.biometric"),
    (&["biometric*"], "user.biometric"),
    (&["genetic*"], "user.health_and_medical.genetic"),
    (&["ethnic*"], "user.demographic.race_ethnicity"),
    (&["race"], "user.demographic.race_ethnicity"),
    (&["religio*"], "user.demographic.religious_belief"),
    (&["political*"], "user.demographic.political_opinion"),
    (&["trade", "union*"], "user.demographic.profile"),
    (&["sexual*"], "user.demographic.sexual_orientation"),
    (&["gender*"], "user.demographic.gender"),
    (&["sex"], "user.demographic.gender"),
    (&["pronoun*"], "user.demographic.gender"),
    (&["marital*"], "user.demographic.marital_status"),
    (&["nationalit*"], "user.demographic.profile"),
    (&["citizenship*"], "user.demographic.profile"),
    (&["veteran*"], "user.demographic.profile"),
    (&["criminal*"], "user.criminal_history"),
    (&["conviction*"], "user.criminal_history"),
    (&["date", "of", "birth"], "user.demographic.date_of_birth"),
    (&["birth", "date"], "user.demographic.date_of_birth"),
    (&["birthdate"], "user.demographic.date_of_birth"),
    (&["birth", "day"], "user.demographic.date_of_birth"),
    (&["birthday"], "user.demographic.date_of_birth"),
    (&["dob"], "user.demographic.date_of_birth"),
    (&["place", "of", "birth"], "user.demographic.profile"),
    (&["birth", "place"], "user.demographic.profile"),
    // Personal, and part of `*`.
    (&["age"], "user.demographic.age_range"),
    (&["preferred", "language"], "user.demographic.language"),
    (&["native", "language"], "user.demographic.language"),
    (&["job", "title"], "user.job_title"),
    (&["city"], "user.contact.address.city"),
    (&["email*"], "user.contact.email"),
    (&["e", "mail*"], "user.contact.email"),
    (&["phone*"], "user.contact.phone_number"),
    (&["mobile*"], "user.contact.phone_number"),
    (&["telephone*"], "user.contact.phone_number"),
    (&["fax*"], "user.contact.fax_number"),
    (&["street*"], "user.contact.address.street"),
    (&["address", "line*"], "user.contact.address.street"),
    (&["postal", "code"], "user.contact.address.postal_code"),
    (&["zip*"], "user.contact.address.postal_code"),
    (&["postcode"], "user.contact.address.postal_code"),
    (&["address*"], "user.contact.address"),
    (&["first", "name"], "user.name.first"),
    (&["given", "name*"], "user.name.first"),
    (&["last", "name"], "user.name.last"),
    (&["family", "name"], "user.name.last"),
    (&["sur", "name"], "user.name.last"),
    (&["surname"], "user.name.last"),
    (&["middle", "name"], "user.name"),
    (&["full", "name"], "user.name"),
    (&["display", "name"], "user.name"),
    (&["preferred", "name"], "user.name"),
    (&["user", "name"], "user.account.username"),
    (&["username"], "user.account.username"),
    (&["ip", "address*"], "user.device.ip_address"),
    (&["lat"], "user.location.precise"),
    (&["lng"], "user.location.precise"),
    (&["lon"], "user.location.precise"),
    (&["latitude"], "user.location.precise"),
    (&["longitude"], "user.location.precise"),
    (&["emergency", "contact*"], "user.contact"),
    (&["signature", "image"], "user.content.self_image"),
    (&["photo*"], "user.content.self_image"),
    (&["avatar*"], "user.content.self_image"),
];

/// Names that promise more than they hold.
const HARMLESS: &[&[&str]] = &[
    &["page", "token"],
    &["next", "token"],
    &["previous", "token"],
    &["continuation", "token"],
    &["pagination", "token"],
    &["sync", "token"],
    &["idempotency", "key"],
    &["email", "verified"],
    &["token", "type"],
    &["password", "required"],
    &["password", "policy"],
    &["address", "type"],
    &["phone", "type"],
    &["email", "type"],
    &["bank", "holiday*"],
    &["health", "check*"],
    &["secretary"],
];

/// Judges a field. `outer` are the names of what it stands in, outermost first. `None`: nothing
/// speaks against it.
pub fn label_field(name: &str, outer: &[&str], hint: &FieldHint<'_>) -> Option<FieldLabel> {
    let words = words(name);
    if HARMLESS.iter().any(|rule| fits(rule, &words)) {
        return None;
    }
    let category = by_name(&words)
        .or_else(|| by_format(hint.format))
        .or_else(|| by_context(&words, outer))
        .or_else(|| by_description(hint));
    let Some(category) = category else {
        let is_told = match hint.class {
            FieldClass::Text | FieldClass::Number => is_ordinary(&words, hint.format),
            FieldClass::Choice | FieldClass::Date | FieldClass::Container => true,
        };
        return (!is_told).then_some(FieldLabel { category: UNCLASSIFIED, is_sensitive: true });
    };
    let is_bare = matches!(hint.class, FieldClass::Choice | FieldClass::Date);
    // A flag about a secret or an address is none.
    if is_bare && (is_or_below(category, "secret") || is_or_below(category, "user.contact")) {
        return None;
    }
    let is_sensitive = is_sensitive_category(category) && (!is_bare || is_special(category));
    Some(FieldLabel { category, is_sensitive })
}

fn by_name(words: &[String]) -> Option<&'static str> {
    let rule = RULES.iter().find(|(rule, _)| fits(rule, words)).map(|(_, category)| *category);
    // Every `...Token` that is no page is a secret, but `tokens` are counted.
    rule.or_else(|| (words.last()? == "token").then_some("secret.token"))
}

fn by_format(format: Option<&str>) -> Option<&'static str> {
    Some(match format? {
        "password" => "secret.password",
        "email" | "idn-email" => "user.contact.email",
        "phone" | "phone-number" => "user.contact.phone_number",
        "ssn" => "user.government_id.national_identification_number",
        "iban" => "user.financial.bank_account",
        "ipv4" | "ipv6" => "user.device.ip_address",
        _ => return None,
    })
}

/// A plain word within something telling: `number` in `bankAccount`, `amount` in `salary`.
fn by_context(words: &[String], outer: &[&str]) -> Option<&'static str> {
    const PLAIN: [&str; 12] = [
        "number",
        "amount",
        "value",
        "id",
        "identifier",
        "code",
        "holder",
        "rate",
        "balance",
        "account",
        "key",
        "token",
    ];
    let is_plain = words.iter().any(|word| PLAIN.contains(&word.as_str()));
    if !is_plain {
        return None;
    }
    outer.iter().rev().find_map(|name| {
        by_name(&self::words(name)).filter(|category| is_sensitive_category(category))
    })
}

/// Only what a description says outright.
fn by_description(hint: &FieldHint<'_>) -> Option<&'static str> {
    const PHRASES: [(&str, &str); 10] = [
        ("social security number", "user.government_id.national_identification_number"),
        ("national insurance number", "user.government_id.national_identification_number"),
        ("passport number", "user.government_id.passport_number"),
        ("tax identification number", "user.government_id"),
        ("bank account number", "user.financial.bank_account"),
        ("credit card number", "user.financial.credit_card"),
        ("date of birth", "user.demographic.date_of_birth"),
        ("access token", "secret.token"),
        ("api key", "secret.key"),
        ("password", "secret.password"),
    ];
    // A long text mentions many things.
    let is_value = matches!(hint.class, FieldClass::Text | FieldClass::Number);
    if !is_value || hint.description.len() > 120 {
        return None;
    }
    let text = hint.description.to_ascii_lowercase();
    PHRASES.iter().find(|(phrase, _)| text.contains(phrase)).map(|(_, category)| *category)
}

fn fits(rule: &[&str], words: &[String]) -> bool {
    let fits_word = |rule: &str, word: &str| match rule.strip_suffix('*') {
        Some(begin) => word.starts_with(begin),
        None => word == rule,
    };
    words
        .windows(rule.len())
        .any(|part| part.iter().zip(rule).all(|(word, rule)| fits_word(rule, word)))
}

/// `workEmailAddress`, `work_email`, `Work E-Mail` and `SSNNumber` in words, lower case.
fn words(name: &str) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let mut words = Vec::new();
    let mut word = String::new();
    for (place, c) in chars.iter().enumerate() {
        if !c.is_alphanumeric() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        let before = place.checked_sub(1).and_then(|place| chars.get(place));
        let after = chars.get(place + 1);
        let begins = c.is_uppercase()
            && (before.is_some_and(|c| c.is_lowercase() || c.is_numeric())
                || before.is_some_and(|c| c.is_uppercase())
                    && after.is_some_and(|c| c.is_lowercase()));
        if begins && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        word.extend(c.to_lowercase());
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
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
            "assignee",
            "sinceDate",
            "employeeNumber",
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
    }

    fn hinted(name: &str, hint: FieldHint<'_>) -> Option<(&'static str, bool)> {
        label_field(name, &[], &hint).map(|one| (one.category, one.is_sensitive))
    }

    #[test]
    fn a_choice_or_a_date_tells_less_unless_it_is_special() {
        for (name, class, wanted) in [
            ("passwordSet", FieldClass::Choice, None),
            ("passwordChangedAt", FieldClass::Date, None),
            ("bankAccountType", FieldClass::Choice, Some(("user.financial.bank_account", false))),
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
        let keys: Vec<&str> = include_str!("fideslang_keys.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert_eq!(keys.len(), 85);
        for (_, category) in RULES {
            assert!(is_or_below(category, "secret") || keys.contains(category), "{category}");
        }
    }
}
