//! A data category for a field, from its name, what it stands in, its format and description.
//!
//! Categories are keys of Fideslang (Ethyca, CC BY 4.0), and our own below `secret`.

/// What is known of a field beside its name.
#[derive(Debug, Clone, Copy, Default)]
pub struct FieldHint<'a> {
    pub format: Option<&'a str>,
    pub description: &'a str,
    /// A boolean or an enumeration: it says less than its name promises.
    pub is_harmless_kind: bool,
    pub is_date: bool,
    /// An object or a list of objects.
    pub is_container: bool,
}

/// A first judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldLabel {
    pub category: &'static str,
    /// Not part of `fields = ["*"]`.
    pub is_sensitive: bool,
}

/// Categories whose fields must be granted by name: special categories, government ids, financial,
/// health, credentials.
pub fn is_sensitive_category(category: &str) -> bool {
    const SENSITIVE: [&str; 12] = [
        "secret",
        "user.government_id",
        "user.financial",
        "user.payment",
        "user.health_and_medical",
        "user.biometric",
        "user.biometric_health",
        "user.genetic",
        "user.demographic",
        "user.criminal_history",
        "user.authorization",
        "user.unclassified",
    ];
    SENSITIVE.iter().any(|one| {
        category == *one || category.strip_prefix(one).is_some_and(|rest| rest.starts_with('.'))
    })
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
    (&["pin", "code"], "secret.password"),
    (&["security", "answer*"], "secret.password"),
    (&["security", "code"], "user.financial.credit_card"),
    // Government identifiers.
    (&["ssn"], "user.government_id"),
    (&["ssn*"], "user.government_id"),
    (&["social", "security*"], "user.government_id"),
    (&["social", "insurance*"], "user.government_id"),
    (&["national", "insurance*"], "user.government_id"),
    (&["ni", "number"], "user.government_id"),
    (&["nino"], "user.government_id"),
    (&["national", "id*"], "user.government_id"),
    (&["national", "identi*"], "user.government_id"),
    (&["national", "number"], "user.government_id"),
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
    (&["income*"], "user.financial"),
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
    (&["genetic*"], "user.genetic"),
    (&["ethnic*"], "user.demographic.race_ethnicity"),
    (&["race"], "user.demographic.race_ethnicity"),
    (&["religio*"], "user.demographic.religious_belief"),
    (&["political*"], "user.demographic.political_opinion"),
    (&["trade", "union*"], "user.demographic"),
    (&["sexual*"], "user.demographic.sexual_orientation"),
    (&["gender*"], "user.demographic.gender"),
    (&["sex"], "user.demographic.gender"),
    (&["pronoun*"], "user.demographic.gender"),
    (&["marital*"], "user.demographic.marital_status"),
    (&["nationalit*"], "user.demographic"),
    (&["citizenship*"], "user.demographic"),
    (&["veteran*"], "user.demographic"),
    (&["criminal*"], "user.criminal_history"),
    (&["conviction*"], "user.criminal_history"),
    (&["date", "of", "birth"], "user.demographic.date_of_birth"),
    (&["birth", "date"], "user.demographic.date_of_birth"),
    (&["birthdate"], "user.demographic.date_of_birth"),
    (&["birth", "day"], "user.demographic.date_of_birth"),
    (&["birthday"], "user.demographic.date_of_birth"),
    (&["dob"], "user.demographic.date_of_birth"),
    (&["place", "of", "birth"], "user.demographic"),
    (&["birth", "place"], "user.demographic"),
    // Personal, and part of `*`.
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
    (&["latitude"], "user.location.precise"),
    (&["longitude"], "user.location.precise"),
    (&["emergency", "contact*"], "user.contact"),
    (&["photo*"], "user.image"),
    (&["avatar*"], "user.image"),
];

/// Names that promise more than they hold.
const HARMLESS: &[&[&str]] = &[
    &["page", "token"],
    &["next", "token"],
    &["continuation", "token"],
    &["idempotency", "key"],
    &["email", "verified"],
    &["token", "type"],
    &["password", "required"],
    &["address", "type"],
    &["phone", "type"],
    &["email", "type"],
    &["bank", "holiday*"],
    &["sick", "leave", "policy"],
];

/// Judges a field. `outer` are the names of what it stands in, outermost first.
pub fn label_field(name: &str, outer: &[&str], hint: &FieldHint<'_>) -> Option<FieldLabel> {
    let words = words(name);
    if HARMLESS.iter().any(|rule| fits(rule, &words)) {
        return None;
    }
    let by_name = RULES.iter().find(|(rule, _)| fits(rule, &words)).map(|(_, category)| *category);
    let category = by_name
        .or_else(|| by_format(hint.format))
        .or_else(|| by_context(&words, outer))
        .or_else(|| by_description(hint))?;
    // A flag or a choice about a secret is none, but a choice of religion is one.
    let is_told_by_kind = category.starts_with("secret") || category.starts_with("user.contact");
    if hint.is_harmless_kind && is_told_by_kind {
        return None;
    }
    let is_flag = hint.is_harmless_kind && !category.starts_with("user.demographic");
    // Dates of birth are personal in any form.
    let is_plain_date = hint.is_date && !category.starts_with("user.demographic");
    let is_sensitive = is_sensitive_category(category) && !is_flag && !is_plain_date;
    Some(FieldLabel { category, is_sensitive })
}

fn by_format(format: Option<&str>) -> Option<&'static str> {
    Some(match format? {
        "password" => "secret.password",
        "email" | "idn-email" => "user.contact.email",
        "phone" | "phone-number" => "user.contact.phone_number",
        "ssn" => "user.government_id",
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
        let around = self::words(name);
        let (_, category) = RULES.iter().find(|(rule, _)| fits(rule, &around))?;
        is_sensitive_category(category).then_some(*category)
    })
}

/// Only what a description says outright.
fn by_description(hint: &FieldHint<'_>) -> Option<&'static str> {
    const PHRASES: [(&str, &str); 10] = [
        ("social security number", "user.government_id"),
        ("national insurance number", "user.government_id"),
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
    if hint.is_container || hint.is_harmless_kind || hint.description.len() > 120 {
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

    #[test]
    fn sensitive_fields_are_known_by_their_names() {
        for (name, category) in [
            ("ssn", "user.government_id"),
            ("employeeSSN", "user.government_id"),
            ("socialSecurityNumber", "user.government_id"),
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
            "jobTitle",
            "description",
            "count",
            "nextPageToken",
            "bankHolidays",
            "tokenType",
            "className",
            "casing",
            "business",
            "assignee",
            "sinceDate",
            "processing",
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

    #[test]
    fn kinds_and_formats_count() {
        let flag = FieldHint { is_harmless_kind: true, ..FieldHint::default() };
        assert_eq!(label_field("passwordSet", &[], &flag), None);
        assert!(!label_field("isSalaried", &[], &flag).is_some_and(|one| one.is_sensitive));
        let choice = label_field("gender", &[], &flag).unwrap();
        assert!(choice.is_sensitive);
        let format = FieldHint { format: Some("email"), ..FieldHint::default() };
        assert_eq!(label_field("contact", &[], &format).unwrap().category, "user.contact.email");
        let told = FieldHint { description: "Social security number", ..FieldHint::default() };
        assert!(label_field("govNumber", &[], &told).unwrap().is_sensitive);
    }
}
