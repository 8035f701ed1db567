//! What a written body must look like: the input schemas of `hr.yaml` as tables (a test compares
//! the two), and one function that holds a body against a table.
//!
//! A refusal names the member and the rule, never the value.

use serde_json::{Map, Value};

/// One member of a written object.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) need: Need,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Required,
    Optional,
    /// May be left out and may be null.
    Nullable,
}

/// What a member's value must be. Lengths are in characters.
#[derive(Debug)]
pub(crate) enum Form {
    Text { min: usize, max: usize },
    Email,
    Date,
    SocialSecurityNumber,
    Amount,
    Choice(&'static [&'static str]),
    EmployeeId,
    DepartmentId,
    Object(&'static [Member]),
    List { max: usize, of: &'static [Member] },
}

/// Whether required members may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    Part,
}

/// Tells whether a referred record exists.
pub(crate) trait References {
    fn has_employee(&self, id: &str) -> bool;
    fn has_department(&self, id: &str) -> bool;
}

/// A member that is not as declared. Its path is cut at [`MAX_PATH_CHARS`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {rule}")]
pub(crate) struct Invalid {
    pub(crate) path: String,
    pub(crate) rule: &'static str,
}

const MAX_PATH_CHARS: usize = 100;

impl Invalid {
    pub(crate) fn new(path: &str, rule: &'static str) -> Self {
        Self { path: path.chars().take(MAX_PATH_CHARS).collect(), rule }
    }
}

const fn required(name: &'static str, form: Form) -> Member {
    Member { name, form, need: Need::Required }
}

const fn optional(name: &'static str, form: Form) -> Member {
    Member { name, form, need: Need::Optional }
}

const fn nullable(name: &'static str, form: Form) -> Member {
    Member { name, form, need: Need::Nullable }
}

const fn text(max: usize) -> Form {
    Form::Text { min: 1, max }
}

/// `EmployeeInput`, and with [`Extent::Part`] `EmployeePatch`. In the order of the answers.
pub(crate) const EMPLOYEE: &[Member] = &[
    required("firstName", text(100)),
    required("lastName", text(100)),
    required("workEmail", Form::Email),
    nullable("personalEmail", Form::Email),
    required("jobTitle", text(100)),
    required("departmentId", Form::DepartmentId),
    nullable("managerId", Form::EmployeeId),
    required("hireDate", Form::Date),
    optional("status", Form::Choice(&["active", "leave", "terminated"])),
    required(
        "address",
        Form::Object(&[
            required("street", text(200)),
            required("city", text(100)),
            required("postalCode", text(20)),
            required("country", Form::Text { min: 2, max: 2 }),
        ]),
    ),
    required("ssn", Form::SocialSecurityNumber),
    required(
        "salary",
        Form::Object(&[
            required("amount", Form::Amount),
            required("currency", Form::Text { min: 3, max: 3 }),
            required("period", Form::Choice(&["year", "month", "hour"])),
        ]),
    ),
    required(
        "bankAccount",
        Form::Object(&[
            required("iban", Form::Text { min: 15, max: 34 }),
            required("bic", Form::Text { min: 8, max: 11 }),
        ]),
    ),
    required("dateOfBirth", Form::Date),
    optional("gender", Form::Choice(&["female", "male", "nonbinary", "undisclosed"])),
    required(
        "emergencyContact",
        Form::Object(&[
            required("name", text(200)),
            required("relationship", text(100)),
            required("phone", Form::Text { min: 3, max: 40 }),
        ]),
    ),
    optional(
        "jobs",
        Form::List {
            max: 50,
            of: &[
                required("title", text(100)),
                required("startDate", Form::Date),
                nullable("endDate", Form::Date),
            ],
        },
    ),
];

/// `TimeOffInput`.
pub(crate) const TIME_OFF: &[Member] = &[
    required("employeeId", Form::EmployeeId),
    required("from", Form::Date),
    required("to", Form::Date),
    required("kind", Form::Choice(&["vacation", "sick", "parental", "bereavement", "unpaid"])),
    nullable("note", Form::Text { min: 0, max: 1000 }),
];

/// Holds `body` against `table`.
pub(crate) fn check(
    table: &[Member],
    body: &Map<String, Value>,
    extent: Extent,
    references: &dyn References,
) -> Result<(), Invalid> {
    check_at("", table, body, extent, references)
}

fn check_at(
    parent: &str,
    table: &[Member],
    body: &Map<String, Value>,
    extent: Extent,
    references: &dyn References,
) -> Result<(), Invalid> {
    for (name, value) in body {
        let path = format!("{parent}{name}");
        let Some(member) = table.iter().find(|member| member.name == name) else {
            return Err(Invalid::new(&path, "is not a member that can be written"));
        };
        if value.is_null() && member.need == Need::Nullable {
            continue;
        }
        check_value(&path, &member.form, value, extent, references)?;
    }
    if extent == Extent::Whole
        && let Some(missing) = table
            .iter()
            .find(|member| member.need == Need::Required && !body.contains_key(member.name))
    {
        return Err(Invalid::new(&format!("{parent}{}", missing.name), "is required"));
    }
    Ok(())
}

fn check_value(
    path: &str,
    form: &Form,
    value: &Value,
    extent: Extent,
    references: &dyn References,
) -> Result<(), Invalid> {
    let rule = match (form, value) {
        (Form::Object(table), Value::Object(members)) => {
            return check_at(&format!("{path}."), table, members, extent, references);
        }
        (Form::Object(_), _) => "must be an object",
        (Form::List { max, of }, Value::Array(elements)) => {
            if elements.len() <= *max {
                return elements.iter().try_for_each(|element| match element {
                    // An array is replaced, so its elements are whole even in a patch.
                    Value::Object(members) => {
                        check_at(&format!("{path}[]."), of, members, Extent::Whole, references)
                    }
                    _ => Err(Invalid::new(&format!("{path}[]"), "must be an object")),
                });
            }
            "has too many elements"
        }
        (Form::List { .. }, _) => "must be an array",
        (Form::Amount, Value::Number(number)) => {
            if number.as_f64().is_some_and(|amount| amount >= 0.0 && amount.is_finite()) {
                return Ok(());
            }
            "must not be negative"
        }
        (Form::Amount, _) => "must be a number",
        (form, Value::String(text)) => match check_text(form, text, references) {
            None => return Ok(()),
            Some(rule) => rule,
        },
        _ => "must be a string",
    };
    Err(Invalid::new(path, rule))
}

/// The rule that `text` breaks, if any.
fn check_text(form: &Form, text: &str, references: &dyn References) -> Option<&'static str> {
    let (good, rule) = match form {
        Form::Text { min, max } => {
            ((*min..=*max).contains(&text.chars().count()), "is too short or too long")
        }
        Form::Email => (is_email(text), "must be an e-mail address"),
        Form::Date => (text.parse::<types::Date>().is_ok(), "must be a day, YYYY-MM-DD"),
        Form::SocialSecurityNumber => {
            (is_social_security_number(text), "must have the form 000-00-0000")
        }
        Form::Choice(choices) => (choices.contains(&text), "is none of the declared choices"),
        Form::EmployeeId => (references.has_employee(text), "names no employee"),
        Form::DepartmentId => (references.has_department(text), "names no department"),
        Form::Amount | Form::Object(_) | Form::List { .. } => (false, "must not be a string"),
    };
    (!good).then_some(rule)
}

fn is_email(text: &str) -> bool {
    let plain = !text.chars().any(|letter| letter.is_whitespace() || letter.is_control());
    let parts = text.split_once('@');
    plain
        && text.len() <= 254
        && parts
            .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'))
}

fn is_social_security_number(text: &str) -> bool {
    text.len() == 11
        && text.bytes().enumerate().all(|(place, byte)| {
            if place == 3 || place == 6 { byte == b'-' } else { byte.is_ascii_digit() }
        })
}

/// Puts a checked patch into a record: inline objects are merged, anything else is replaced.
pub(crate) fn merge(record: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match (record.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                record.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says where a table and a declared schema differ.
    fn compare(path: &str, table: &[Member], schema: &Value, all: &Value, is_patch: bool) {
        assert_eq!(schema["additionalProperties"], false, "{path}");
        let declared: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        let names: Vec<&str> = table.iter().map(|member| member.name).collect();
        assert_eq!(declared, names, "{path}");
        let needed: Vec<&str> = table
            .iter()
            .filter(|member| member.need == Need::Required && !is_patch)
            .map(|member| member.name)
            .collect();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        assert_eq!(required, needed, "{path}");
        for member in table {
            let path = format!("{path}.{}", member.name);
            let mut schema = &schema["properties"][member.name];
            if let Some(reference) = schema["$ref"].as_str() {
                schema = all.pointer(reference.strip_prefix('#').unwrap()).unwrap();
            }
            let nullable = schema["type"].as_array().is_some_and(|k| k.contains(&"null".into()));
            assert_eq!(nullable, member.need == Need::Nullable, "{path}");
            match &member.form {
                Form::Text { min, max } => {
                    assert_eq!(schema["minLength"].as_u64().unwrap_or(0), *min as u64, "{path}");
                    assert_eq!(schema["maxLength"], *max, "{path}");
                }
                Form::Email => assert_eq!(schema["format"], "email", "{path}"),
                Form::Date => assert_eq!(schema["format"], "date", "{path}"),
                Form::SocialSecurityNumber => assert!(schema["pattern"].is_string(), "{path}"),
                Form::Amount => assert_eq!(schema["minimum"], 0, "{path}"),
                Form::Choice(choices) => {
                    assert_eq!(schema["enum"], serde_json::json!(choices), "{path}");
                }
                Form::EmployeeId | Form::DepartmentId => {
                    assert!(
                        schema["description"].as_str().unwrap().starts_with("Id of "),
                        "{path}"
                    );
                }
                Form::Object(table) => compare(&path, table, schema, all, is_patch),
                Form::List { max, of } => {
                    assert_eq!(schema["maxItems"], *max, "{path}");
                    compare(&path, of, &schema["items"], all, false);
                }
            }
        }
    }

    #[test]
    fn tables_say_what_the_description_declares() {
        let all: Value = serde_yaml_ng::from_str(crate::HR_DESCRIPTION).unwrap();
        let schemas = &all["components"]["schemas"];
        compare("EmployeeInput", EMPLOYEE, &schemas["EmployeeInput"], &all, false);
        compare("EmployeePatch", EMPLOYEE, &schemas["EmployeePatch"], &all, true);
        compare("TimeOffInput", TIME_OFF, &schemas["TimeOffInput"], &all, false);
    }
}
