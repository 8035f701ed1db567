//! What a value is about, so that invented ones look like it: by the data category that `detect`
//! gives the field, else by the words of its name.
//!
//! Nothing here can belong to anybody: mail and host names are reserved (RFC 2606), addresses are of
//! the documentation ranges (RFC 5737), telephone numbers of the range for fiction, social security
//! numbers of a range that is not assigned, and secrets say that they are none.

use super::draw::Key;
use crate::people::{CITIES, FIRST_NAMES, LAST_NAMES, STREETS};
use detect::{FieldClass, FieldHint, label_field};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    Plain,
    FirstName,
    LastName,
    FullName,
    Username,
    Email,
    Phone,
    Street,
    City,
    Postal,
    Country,
    State,
    Secret,
    GovernmentId,
    BankAccount,
    Card,
    Birthday,
    Gender,
    Language,
    Ip,
    JobTitle,
    Company,
    Url,
    Id,
    DateTime,
    Date,
    Currency,
    TimeZone,
    Color,
    FileName,
    MediaType,
    Host,
    Title,
    Prose,
    Latitude,
    Longitude,
    Amount,
    Count,
    Percent,
}

/// Names by which a member says what it is, flat (letters and digits in lower case); the first that
/// the name ends in counts. What begins with `=` is the whole name.
const ENDINGS: [(&str, Flavor); 68] = [
    ("countrycode", Flavor::Country),
    ("country", Flavor::Country),
    ("currencycode", Flavor::Currency),
    ("currency", Flavor::Currency),
    ("timezone", Flavor::TimeZone),
    ("locale", Flavor::Language),
    ("language", Flavor::Language),
    ("languagecode", Flavor::Language),
    ("firstname", Flavor::FirstName),
    ("givenname", Flavor::FirstName),
    ("lastname", Flavor::LastName),
    ("familyname", Flavor::LastName),
    ("surname", Flavor::LastName),
    ("username", Flavor::Username),
    ("=login", Flavor::Username),
    ("fullname", Flavor::FullName),
    ("displayname", Flavor::FullName),
    ("companyname", Flavor::Company),
    ("organizationname", Flavor::Company),
    ("businessname", Flavor::Company),
    ("=company", Flavor::Company),
    ("=organization", Flavor::Company),
    ("email", Flavor::Email),
    ("emailaddress", Flavor::Email),
    ("filename", Flavor::FileName),
    ("hostname", Flavor::Host),
    ("domain", Flavor::Host),
    ("ipaddress", Flavor::Ip),
    ("=ip", Flavor::Ip),
    ("phone", Flavor::Phone),
    ("phonenumber", Flavor::Phone),
    ("contenttype", Flavor::MediaType),
    ("mimetype", Flavor::MediaType),
    ("color", Flavor::Color),
    ("colour", Flavor::Color),
    ("url", Flavor::Url),
    ("uri", Flavor::Url),
    ("href", Flavor::Url),
    ("link", Flavor::Url),
    ("permalink", Flavor::Url),
    ("website", Flavor::Url),
    ("jobtitle", Flavor::JobTitle),
    ("latitude", Flavor::Latitude),
    ("=lat", Flavor::Latitude),
    ("longitude", Flavor::Longitude),
    ("=lng", Flavor::Longitude),
    ("=state", Flavor::Plain),
    ("statecode", Flavor::State),
    ("province", Flavor::State),
    ("createdat", Flavor::DateTime),
    ("updatedat", Flavor::DateTime),
    ("modifiedat", Flavor::DateTime),
    ("timestamp", Flavor::DateTime),
    ("datetime", Flavor::DateTime),
    ("date", Flavor::Date),
    ("title", Flavor::Title),
    ("subject", Flavor::Title),
    ("description", Flavor::Prose),
    ("message", Flavor::Prose),
    ("comment", Flavor::Prose),
    ("summary", Flavor::Prose),
    ("note", Flavor::Prose),
    ("notes", Flavor::Prose),
    ("amount", Flavor::Amount),
    ("price", Flavor::Amount),
    ("total", Flavor::Count),
    ("percentage", Flavor::Percent),
    ("count", Flavor::Count),
];

/// Things whose `name` is a person's.
const PEOPLE: [&str; 14] = [
    "user",
    "person",
    "people",
    "employee",
    "contact",
    "customer",
    "author",
    "owner",
    "member",
    "candidate",
    "assignee",
    "creator",
    "applicant",
    "patient",
];

/// Letters and digits in lower case.
pub(crate) fn flat(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The flavor of a member by its name, the name of what it stands in, and what its values are.
pub(crate) fn flavor_of(name: &str, outer: &str, class: FieldClass) -> Flavor {
    let hint = FieldHint { format: None, description: "", class };
    let outer_names = [outer];
    let around = if outer.is_empty() { &[][..] } else { &outer_names[..] };
    let flat_name = flat(name);
    if let Some(label) = label_field(name, around, &hint)
        && let Some(flavor) = by_category(label.category, &flat_name)
    {
        return flavor;
    }
    let is_id = ["id", "uuid", "guid", "gid", "sid"].iter().any(|end| flat_name == *end)
        || name.ends_with("Id")
        || name.ends_with("_id")
        || name.ends_with("ID")
        || name.ends_with("Sid")
        || name.ends_with("_sid");
    if is_id {
        return Flavor::Id;
    }
    let found = ENDINGS.iter().find(|(ending, _)| match ending.strip_prefix('=') {
        Some(whole) => flat_name == whole,
        None => flat_name.ends_with(ending),
    });
    if let Some((_, flavor)) = found {
        return *flavor;
    }
    if flat_name == "name" {
        let outer = flat(outer);
        let is_person = PEOPLE.iter().any(|one| outer.contains(one));
        return if is_person { Flavor::FullName } else { Flavor::Title };
    }
    if name.ends_with("_at") || name.ends_with("At") || name.ends_with("_on") {
        return Flavor::DateTime;
    }
    Flavor::Plain
}

fn by_category(category: &str, flat_name: &str) -> Option<Flavor> {
    let is_below = |root: &str| category.starts_with(root);
    Some(match category {
        "user.contact.email" => Flavor::Email,
        "user.contact.phone_number" | "user.contact.fax_number" => Flavor::Phone,
        "user.contact.address.street" => Flavor::Street,
        "user.contact.address.city" => Flavor::City,
        "user.contact.address.postal_code" => Flavor::Postal,
        "user.name.first" => Flavor::FirstName,
        "user.name.last" => Flavor::LastName,
        "user.name" => Flavor::FullName,
        "user.account.username" => Flavor::Username,
        "user.demographic.date_of_birth" => Flavor::Birthday,
        "user.demographic.gender" => Flavor::Gender,
        "user.device.ip_address" => Flavor::Ip,
        "user.job_title" => Flavor::JobTitle,
        "user.financial.credit_card" => Flavor::Card,
        "user.financial.bank_account" => Flavor::BankAccount,
        "user.location.precise" if flat_name.starts_with("lat") => Flavor::Latitude,
        "user.location.precise" => Flavor::Longitude,
        _ if is_below("secret") || is_below("user.authorization") => Flavor::Secret,
        _ if is_below("user.government_id") => Flavor::GovernmentId,
        _ => return None,
    })
}

const COMPANIES: [&str; 8] = [
    "Alder & Finch",
    "Bluewater Mills",
    "Cobalt Quarry",
    "Dovetail Works",
    "Ember Lane",
    "Foxglove Freight",
    "Granite Harbour",
    "Hollow Oak",
];
const TITLES: [&str; 12] = [
    "Quarterly review",
    "Spring campaign",
    "Harbour project",
    "Onboarding",
    "Price list",
    "Customer survey",
    "Field report",
    "Release plan",
    "Supplier audit",
    "Travel budget",
    "Team calendar",
    "Warehouse move",
];
const PROSE: [&str; 6] = [
    "Invented by the sandbox.",
    "The weir lets exactly the declared amount of water through.",
    "Please have a look before Friday.",
    "Agreed with the team, waiting for the numbers.",
    "Replaces the earlier version.",
    "No action is needed.",
];
const JOBS: [&str; 6] =
    ["Accountant", "Controller", "Engineer", "Recruiter", "Account Executive", "Designer"];
pub(crate) const WORDS: [&str; 16] = [
    "alder", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "inlet", "juniper",
    "kelp", "larch", "maple", "north", "orchard", "pebble",
];

impl Flavor {
    /// A text. `around` is the place of the object that the member stands in: a name and the mail
    /// address beside it are one person's.
    pub(crate) fn text(self, key: Key, around: Key) -> Option<String> {
        let first = around.at("first").one_of(&FIRST_NAMES).map_or("Uma", |(name, _)| name);
        let last = around.at("last").text(&LAST_NAMES);
        let city = around.at("city").one_of(&CITIES).unwrap_or_default();
        let mailbox = || {
            let (first, last) = (first.to_ascii_lowercase(), last.to_ascii_lowercase());
            format!("{first}.{last}{}", around.at("mailbox").below(100))
        };
        Some(match self {
            Self::Plain | Self::Amount | Self::Count | Self::Percent => return None,
            Self::FirstName => first.to_owned(),
            Self::LastName => last.to_owned(),
            Self::FullName => format!("{first} {last}"),
            Self::Username => mailbox(),
            Self::Email => format!("{}@example.com", mailbox()),
            Self::Phone => format!("+12025550{}", key.between(100, 199)),
            Self::Street => format!("{} {}", key.between(1, 200), key.at("street").text(&STREETS)),
            Self::City => city.0.to_owned(),
            Self::Postal => format!("{}{:03}", city.1, around.at("postal").below(1_000)),
            Self::Country => city.2.to_owned(),
            Self::State => "OR".to_owned(),
            Self::Secret => "sandbox-not-a-secret".to_owned(),
            Self::GovernmentId => {
                format!(
                    "9{:02}-{:02}-{:04}",
                    key.below(100),
                    key.at("g").between(1, 49),
                    key.below(9_999) + 1
                )
            }
            Self::BankAccount => format!("00000000{:04}", key.below(10_000)),
            Self::Card => "0000000000000000".to_owned(),
            Self::Birthday => {
                format!(
                    "{}-{:02}-{:02}",
                    key.between(1962, 2003),
                    key.at("m").between(1, 12),
                    key.at("d").between(1, 28)
                )
            }
            Self::Gender => "undisclosed".to_owned(),
            Self::Language => "en".to_owned(),
            Self::Ip => format!("192.0.2.{}", key.between(1, 254)),
            Self::JobTitle => key.text(&JOBS).to_owned(),
            Self::Company => key.text(&COMPANIES).to_owned(),
            Self::Url => {
                format!("https://example.com/{}/{:06x}", key.text(&WORDS), key.below(1 << 24))
            }
            Self::Id => format!("{:012x}", key.number() >> 16),
            Self::DateTime => super::format::date_time(key),
            Self::Date => super::format::date(key),
            Self::Currency => city.3.to_owned(),
            Self::TimeZone => "Europe/Berlin".to_owned(),
            Self::Color => format!("#{:06x}", key.below(1 << 24)),
            Self::FileName => format!("{}-{}.txt", key.text(&WORDS), key.below(1_000)),
            Self::MediaType => "text/plain".to_owned(),
            Self::Host => format!("{}.example.com", key.text(&WORDS)),
            Self::Title => format!("{} {}", key.text(&TITLES), key.at("number").between(1, 99)),
            Self::Prose => key.text(&PROSE).to_owned(),
            Self::Latitude => format!("{}.{:04}", key.between(35, 60), key.below(10_000)),
            Self::Longitude => format!("{}.{:04}", key.between(5, 25), key.below(10_000)),
        })
    }

    /// A whole number.
    pub(crate) fn number(self, key: Key) -> u64 {
        match self {
            Self::Id => 1_000 + key.below(1_000_000),
            // 2023 to 2025, in seconds.
            Self::DateTime | Self::Date | Self::Birthday => 1_672_531_200 + key.below(94_000_000),
            Self::Amount => 100 + key.below(100_000),
            Self::Percent => key.below(101),
            Self::Phone => 12_025_550_100 + key.below(100),
            Self::Latitude => key.between(35, 60),
            Self::Longitude => key.between(5, 25),
            _ => key.below(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_known_by_label_and_name() {
        for (name, outer, flavor) in [
            ("work_email", "Employee", Flavor::Email),
            ("firstName", "Employee", Flavor::FirstName),
            ("name", "Employee", Flavor::FullName),
            ("name", "Project", Flavor::Title),
            ("api_key", "Account", Flavor::Secret),
            ("client_secret", "App", Flavor::Secret),
            ("ssn", "Employee", Flavor::GovernmentId),
            ("created_at", "Ticket", Flavor::DateTime),
            ("department_id", "Employee", Flavor::Id),
            ("avatar_url", "User", Flavor::Url),
            ("currency", "Invoice", Flavor::Currency),
        ] {
            assert_eq!(flavor_of(name, outer, FieldClass::Text), flavor, "{outer}.{name}");
        }
    }

    #[test]
    fn one_object_tells_of_one_person() {
        let around = Key::new(5);
        let first = Flavor::FirstName.text(around.at("a"), around).unwrap();
        let email = Flavor::Email.text(around.at("b"), around).unwrap();
        assert!(email.starts_with(&first.to_ascii_lowercase()), "{first} {email}");
        assert!(email.ends_with("@example.com"));
    }
}
