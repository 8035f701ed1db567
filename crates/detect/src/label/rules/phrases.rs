//! Formats, how descriptions begin, and what tells a flag.

use super::Holds;

/// Formats of a schema that say what a value is, whatever its name.
pub(in crate::label) const FORMATS: &[(&str, &str, u8)] = &[
    ("password", "secret.password", 95),
    ("email", "user.contact.email", 98),
    ("idn-email", "user.contact.email", 98),
    ("phone", "user.contact.phone_number", 95),
    ("phone-number", "user.contact.phone_number", 95),
    ("ssn", "user.government_id.national_identification_number", 98),
    ("iban", "user.financial.bank_account", 98),
    ("ipv4", "user.device.ip_address", 90),
    ("ipv6", "user.device.ip_address", 90),
];

/// How a description begins, articles and whose it is left out. Longer before shorter.
pub(in crate::label) const DESCRIPTIONS: &[(&str, Holds, &str, u8)] = &[
    ("first name", Holds::Texts, "user.name.first", 85),
    ("given name", Holds::Texts, "user.name.first", 85),
    ("last name", Holds::Texts, "user.name.last", 85),
    ("surname", Holds::Texts, "user.name.last", 85),
    ("full name of the user", Holds::Texts, "user.name", 85),
    ("display name of the user", Holds::Texts, "user.name", 80),
    ("name of the user", Holds::Texts, "user.name", 75),
    ("name of the employee", Holds::Texts, "user.name", 80),
    ("name of the contact person", Holds::Texts, "user.name", 85),
    ("email address", Holds::Texts, "user.contact.email", 80),
    ("e-mail address", Holds::Texts, "user.contact.email", 80),
    ("phone number", Holds::Values, "user.contact.phone_number", 70),
    ("home address", Holds::Texts, "user.contact.address", 80),
    ("street address", Holds::Texts, "user.contact.address.street", 80),
    ("postal code", Holds::Values, "user.contact.address.postal_code", 75),
    ("zip code", Holds::Values, "user.contact.address.postal_code", 75),
    ("state/province", Holds::Texts, "user.contact.address.state", 75),
    ("state or province", Holds::Texts, "user.contact.address.state", 75),
    ("ip address", Holds::Texts, "user.device.ip_address", 80),
    ("date of birth", Holds::Values, "user.demographic.date_of_birth", 90),
    ("job title", Holds::Texts, "user.job_title", 85),
    (
        "social security number",
        Holds::Values,
        "user.government_id.national_identification_number",
        90,
    ),
    (
        "national insurance number",
        Holds::Values,
        "user.government_id.national_identification_number",
        90,
    ),
    ("passport number", Holds::Values, "user.government_id.passport_number", 90),
    ("tax identification number", Holds::Values, "user.government_id", 85),
    ("vat identification number", Holds::Values, "user.government_id", 85),
    ("bank account number", Holds::Values, "user.financial.bank_account", 85),
    ("credit card number", Holds::Values, "user.financial.credit_card", 85),
    ("card number", Holds::Values, "user.financial.credit_card", 75),
    ("secret access key", Holds::Texts, "secret.key", 90),
    ("api key", Holds::Texts, "secret.key", 75),
    ("signing key", Holds::Texts, "secret.key", 80),
    ("private key", Holds::Texts, "secret.key", 80),
    ("access token", Holds::Texts, "secret.token", 80),
    ("oauth access token", Holds::Texts, "secret.token", 85),
    ("authentication token", Holds::Texts, "secret.token", 80),
    ("password", Holds::Texts, "secret.password", 75),
    ("one-time password", Holds::Texts, "secret.password", 85),
];

/// How descriptions begin that tell who is meant; somebody has to follow.
pub(in crate::label) const REFERRING: &[&str] = &[
    "id of the",
    "id of a",
    "ids of the",
    "id for the",
    "identifier of the",
    "identifier for the",
    "unique id of the",
    "unique identifier of the",
    "unique identifier for the",
    "unique string identifier for the",
    "uuid of the",
    "uuid of a",
    "uuids of the",
    "user id of the",
];

/// What may follow a phrase so that it is all that is named: `email address of`, not `email address
/// verification`.
pub(in crate::label) const FOLLOWING: &[&str] = &[
    "and",
    "as",
    "assigned",
    "associated",
    "at",
    "being",
    "belonging",
    "by",
    "for",
    "from",
    "has",
    "if",
    "in",
    "is",
    "of",
    "on",
    "or",
    "requesting",
    "responsible",
    "that",
    "this",
    "to",
    "used",
    "was",
    "when",
    "where",
    "which",
    "who",
    "whom",
    "whose",
    "with",
];

/// How the description of a flag begins, whatever type it was given.
pub(in crate::label) const FLAGS: &[&str] = &[
    "whether",
    "indicates whether",
    "indicates if",
    "specifies whether",
    "specifies if",
    "determines whether",
    "determines if",
    "controls whether",
    "when set to **true",
    "when set to true",
    "when **true",
    "when true",
    "if true",
    "if **true",
    "if set to true",
    "if set to **true",
    "true if",
    "set to true",
    "boolean",
];

/// How the name of a flag begins, whatever type it was given.
pub(in crate::label) const FLAG_BEGINS: &[&str] = &[
    "allow", "can", "disable", "enable", "has", "hide", "include", "is", "require", "send",
    "should", "show", "use",
];
