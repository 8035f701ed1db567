//! Invented people, the same ones for the same seed.
//!
//! Nothing here can belong to anybody: social security numbers begin with 9 and have a group below
//! 50, which neither the SSN nor the ITIN uses; telephone numbers are of the range reserved for
//! fiction (555-01xx); mail domains are reserved (RFC 2606); bank codes begin with 0, which the
//! German numbering does not assign, and a BIC whose eighth character is 0 is a test code
//! (ISO 9362).

use crate::directory::Directory;
use serde_json::{Map, Value, json};
use types::SeededRandom;

pub(crate) const FIRST_NAMES: [(&str, &str); 24] = [
    ("Amara", "female"),
    ("Anton", "male"),
    ("Beatriz", "female"),
    ("Bram", "male"),
    ("Chiara", "female"),
    ("Desmond", "male"),
    ("Elif", "female"),
    ("Farid", "male"),
    ("Greta", "female"),
    ("Hiroshi", "male"),
    ("Imani", "female"),
    ("Jonas", "male"),
    ("Keiko", "female"),
    ("Lars", "male"),
    ("Mireille", "female"),
    ("Niamh", "nonbinary"),
    ("Oskar", "male"),
    ("Priya", "female"),
    ("Quinn", "undisclosed"),
    ("Rosalind", "female"),
    ("Stefan", "male"),
    ("Tadeo", "male"),
    ("Uma", "female"),
    ("Wanjiru", "female"),
];

pub(crate) const LAST_NAMES: [&str; 30] = [
    "Abernathy",
    "Bianchi",
    "Castellanos",
    "Dahlgren",
    "Eberhardt",
    "Fontaine",
    "Gallagher",
    "Haugen",
    "Ivanova",
    "Jankowski",
    "Kamau",
    "Lindqvist",
    "Moreau",
    "Nakamura",
    "Okonkwo",
    "Petrov",
    "Quigley",
    "Rautio",
    "Sandoval",
    "Thibault",
    "Underwood",
    "Vandermeer",
    "Whitfield",
    "Xenakis",
    "Yilmaz",
    "Zielinski",
    "Achterberg",
    "Brightwater",
    "Coldharbour",
    "Drummond",
];

const DEPARTMENTS: [(&str, &str, &[&str]); 5] = [
    ("Engineering", "CC-100", &["Software Engineer", "Site Reliability Engineer", "Test Engineer"]),
    ("Finance", "CC-200", &["Accountant", "Payroll Specialist", "Controller"]),
    ("People", "CC-300", &["Recruiter", "HR Partner"]),
    ("Sales", "CC-400", &["Account Executive", "Sales Engineer"]),
    ("Support", "CC-500", &["Support Specialist", "Support Engineer"]),
];

pub(crate) const STREETS: [&str; 10] = [
    "Millrace Lane",
    "Weir Street",
    "Copperfield Road",
    "Larkspur Avenue",
    "Tannery Row",
    "Old Ferry Way",
    "Juniper Court",
    "Harbour View",
    "Orchard Hill",
    "Sluice Gate Road",
];

/// City, beginning of the postal code, country, currency.
pub(crate) const CITIES: [(&str, &str, &str, &str); 6] = [
    ("Portland", "97", "US", "USD"),
    ("Columbus", "43", "US", "USD"),
    ("Leipzig", "04", "DE", "EUR"),
    ("Lyon", "69", "FR", "EUR"),
    ("Utrecht", "35", "NL", "EUR"),
    ("Turku", "20", "FI", "EUR"),
];

const RELATIONSHIPS: [&str; 4] = ["spouse", "parent", "sibling", "friend"];

/// Kind of an absence and what people write beside it.
const ABSENCES: [(&str, Option<&str>); 6] = [
    ("vacation", Some("Two weeks by the sea")),
    ("vacation", None),
    ("sick", Some("Influenza, note from the doctor follows")),
    ("sick", None),
    ("parental", Some("Twins!")),
    ("bereavement", None),
];

/// Draws from lists; a thin face over the seeded sequence.
struct Draw(SeededRandom);

impl Draw {
    /// A number in `from..until`, which must not be empty. The bias of the remainder is below
    /// 2^-50 for the small ranges here.
    fn number(&self, from: u64, until: u64) -> u64 {
        from + self.0.next_u64() % (until - from).max(1)
    }

    fn one_of<'a, T>(&self, list: &'a [T]) -> Option<&'a T> {
        let length = u64::try_from(list.len()).unwrap_or(u64::MAX);
        list.get(usize::try_from(self.number(0, length)).unwrap_or(0))
    }

    fn text(&self, list: &[&'static str]) -> &'static str {
        self.one_of(list).copied().unwrap_or_default()
    }

    /// A day that every month has.
    fn day(&self, from_year: u64, until_year: u64) -> String {
        let year = self.number(from_year, until_year);
        format!("{year:04}-{:02}-{:02}", self.number(1, 13), self.number(1, 29))
    }
}

/// Fills an empty directory with `employees` people, five departments and two absences each.
pub(crate) fn populate(directory: &mut Directory, seed: u64, employees: usize) {
    let draw = Draw(SeededRandom::new(seed));
    for (index, (name, cost_center, _)) in DEPARTMENTS.iter().enumerate() {
        // Everybody's first five employees head the departments, in order.
        let head = (index < employees).then(|| directory.employees.id_at(index));
        directory.departments.add(members(json!({
            "name": name, "headId": head, "costCenter": cost_center,
        })));
    }
    for index in 0..employees {
        let employee = employee(directory, &draw, index);
        directory.employees.add(employee);
    }
    for index in 0..employees {
        for _ in 0..2 {
            let absence = absence(&draw, &directory.employees.id_at(index));
            directory.time_off.add(absence);
        }
    }
}

fn employee(directory: &Directory, draw: &Draw, index: usize) -> Map<String, Value> {
    let (first, gender) = draw.one_of(&FIRST_NAMES).copied().unwrap_or_default();
    let last = draw.text(&LAST_NAMES);
    let department = if index < DEPARTMENTS.len() {
        index
    } else {
        usize::try_from(draw.number(0, 5)).unwrap_or(0)
    };
    let (department_name, _, titles) = DEPARTMENTS.get(department).copied().unwrap_or_default();
    let is_head = index < DEPARTMENTS.len();
    let title =
        if is_head { format!("Head of {department_name}") } else { draw.text(titles).to_owned() };
    // The first of all reports to nobody, the heads to the first, the others to their head.
    let manager = match index {
        0 => None,
        _ if is_head => Some(directory.employees.id_at(0)),
        _ => Some(directory.employees.id_at(department)),
    };
    let (city, postal, country, currency) = draw.one_of(&CITIES).copied().unwrap_or_default();
    let hired = draw.number(2012, 2025);
    let hire_date = draw.day(hired, hired + 1);
    let mut jobs = vec![json!({ "title": title, "startDate": hire_date, "endDate": null })];
    if draw.number(0, 3) == 0 {
        // The year before the hiring, at a former employer.
        let (start, end) = (draw.day(hired - 4, hired - 1), draw.day(hired - 1, hired));
        jobs.push(json!({ "title": draw.text(titles), "startDate": start, "endDate": end }));
    }
    // The position in the address keeps two people of one name apart.
    let mailbox =
        format!("{}.{}{}", first.to_ascii_lowercase(), last.to_ascii_lowercase(), index + 1);
    let personal =
        (draw.number(0, 5) > 0).then(|| format!("{}@example.org", mailbox.replace('.', "-")));
    let status = if draw.number(0, 12) == 0 && !is_head { "leave" } else { "active" };
    members(json!({
        "firstName": first,
        "lastName": last,
        "workEmail": format!("{mailbox}@hr-sandbox.example"),
        "personalEmail": personal,
        "jobTitle": title,
        "departmentId": directory.departments.id_at(department),
        "managerId": manager,
        "hireDate": hire_date,
        "status": status,
        "address": {
            "street": format!("{} {}", draw.number(1, 200), draw.text(&STREETS)),
            "city": city,
            "postalCode": format!("{postal}{:03}", draw.number(0, 1000)),
            "country": country,
        },
        "ssn": social_security_number(draw),
        "salary": {
            "amount": draw.number(42, 140) * 1000 + if is_head { 40_000 } else { 0 },
            "currency": currency,
            "period": "year",
        },
        "bankAccount": { "iban": iban(draw), "bic": "TESTDEF0XXX" },
        "dateOfBirth": draw.day(1962, 2003),
        "gender": gender,
        "emergencyContact": {
            "name": format!("{} {last}", draw.one_of(&FIRST_NAMES).copied().unwrap_or_default().0),
            "relationship": draw.text(&RELATIONSHIPS),
            "phone": format!("+1-202-555-01{:02}", draw.number(0, 100)),
        },
        "jobs": jobs,
    }))
}

fn absence(draw: &Draw, employee_id: &str) -> Map<String, Value> {
    let (kind, note) = draw.one_of(&ABSENCES).copied().unwrap_or_default();
    let (month, day) = (draw.number(1, 13), draw.number(1, 19));
    let until = day + draw.number(0, 10);
    members(json!({
        "employeeId": employee_id,
        "from": format!("2025-{month:02}-{day:02}"),
        "to": format!("2025-{month:02}-{until:02}"),
        "kind": kind,
        "status": draw.text(&["requested", "approved", "approved", "declined"]),
        "note": note,
    }))
}

fn social_security_number(draw: &Draw) -> String {
    format!("9{:02}-{:02}-{:04}", draw.number(0, 100), draw.number(1, 50), draw.number(1, 10_000))
}

/// A German IBAN with right check digits (ISO 13616: the rearranged number modulo 97 is 1) at the
/// bank code 00000000.
fn iban(draw: &Draw) -> String {
    let account = draw.number(0, 10_000_000_000);
    // D = 13, E = 14, check digits 00: the number that the check digits complete.
    let rest = (u128::from(account) * 1_000_000 + 131_400) % 97;
    format!("DE{:02}00000000{account:010}", 98 - rest)
}

/// The members of a JSON object written in the source.
fn members(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_numbers_have_right_form_and_belong_to_nobody() {
        let draw = Draw(SeededRandom::new(3));
        for _ in 0..500 {
            let ssn = social_security_number(&draw);
            assert!(ssn.starts_with('9') && ssn.len() == 11, "{ssn}");
            let group: u32 = ssn[4..6].parse().unwrap();
            assert!((1..50).contains(&group), "{ssn}");
            let iban = iban(&draw);
            assert_eq!(iban.len(), 22);
            assert!(iban[4..].starts_with("00000000"));
            let digits: u128 = format!("{}1314{}", &iban[4..], &iban[2..4]).parse().unwrap();
            assert_eq!(digits % 97, 1, "{iban}");
        }
    }
}
