//! The company's records in memory, and how they are shown.

use crate::form::{self, EMPLOYEE, Extent, Invalid, References, TIME_OFF};
use serde_json::{Map, Value, json};

/// Most records of one kind, seeded and created together.
pub(crate) const MAX_RECORDS: usize = 100_000;

/// Everything the HR system knows.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) employees: Collection,
    pub(crate) departments: Collection,
    pub(crate) time_off: Collection,
}

/// Records of one kind in order of creation; none is ever removed.
#[derive(Debug)]
pub(crate) struct Collection {
    prefix: &'static str,
    /// The number in the first record's id.
    first: usize,
    records: Vec<Map<String, Value>>,
}

impl Collection {
    const fn new(prefix: &'static str, first: usize) -> Self {
        Self { prefix, first, records: Vec::new() }
    }

    /// The id of the record at a place, whether it exists already or not.
    pub(crate) fn id_at(&self, place: usize) -> String {
        format!("{}-{}", self.prefix, self.first.saturating_add(place))
    }

    /// The place of the record with this id, spelled exactly so.
    pub(crate) fn place(&self, id: &str) -> Option<usize> {
        let number = id.strip_prefix(self.prefix)?.strip_prefix('-')?;
        let place = number.parse::<usize>().ok()?.checked_sub(self.first)?;
        (place < self.records.len() && self.id_at(place) == id).then_some(place)
    }

    pub(crate) fn record(&self, place: usize) -> Option<&Map<String, Value>> {
        self.records.get(place)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= MAX_RECORDS
    }

    /// Appends a record and tells its place.
    pub(crate) fn add(&mut self, record: Map<String, Value>) -> usize {
        self.records.push(record);
        self.records.len() - 1
    }

    /// Places of the records whose member is `equals`; of all records without a condition.
    pub(crate) fn matching(&self, condition: Option<(&str, &str)>) -> Vec<usize> {
        let fits = |record: &Map<String, Value>| {
            condition.is_none_or(|(member, equals)| text(record, member) == equals)
        };
        let numbered = self.records.iter().enumerate();
        numbered.filter(|(_, record)| fits(record)).map(|(place, _)| place).collect()
    }
}

impl References for Directory {
    fn has_employee(&self, id: &str) -> bool {
        self.employees.place(id).is_some()
    }

    fn has_department(&self, id: &str) -> bool {
        self.departments.place(id).is_some()
    }
}

impl Directory {
    pub(crate) const fn empty() -> Self {
        Self {
            employees: Collection::new("emp", 1001),
            departments: Collection::new("dep", 1),
            time_off: Collection::new("off", 5001),
        }
    }

    /// Checks and records an employee; returns its place.
    pub(crate) fn create_employee(&mut self, body: Map<String, Value>) -> Result<usize, Invalid> {
        form::check(EMPLOYEE, &body, Extent::Whole, self)?;
        Ok(self.employees.add(body))
    }

    /// Checks a patch and applies it to the employee at `place`.
    pub(crate) fn update_employee(
        &mut self,
        place: usize,
        patch: Map<String, Value>,
    ) -> Result<(), Invalid> {
        if patch.is_empty() {
            return Err(Invalid::new("body", "must have at least one member"));
        }
        form::check(EMPLOYEE, &patch, Extent::Part, self)?;
        if let Some(record) = self.employees.records.get_mut(place) {
            form::merge(record, patch);
        }
        Ok(())
    }

    /// Checks and records an absence, with the status `requested`; returns its place.
    pub(crate) fn create_time_off(&mut self, body: Map<String, Value>) -> Result<usize, Invalid> {
        form::check(TIME_OFF, &body, Extent::Whole, self)?;
        // Days of the form YYYY-MM-DD sort as text.
        if text(&body, "to") < text(&body, "from") {
            return Err(Invalid::new("to", "must not be before `from`"));
        }
        let mut record = body;
        record.insert("status".into(), "requested".into());
        Ok(self.time_off.add(record))
    }

    /// `Employee` as declared, in the order of declaration.
    pub(crate) fn show_employee(&self, place: usize) -> Option<Value> {
        let record = self.employees.record(place)?;
        let mut shown = Map::new();
        shown.insert("id".into(), self.employees.id_at(place).into());
        for member in EMPLOYEE {
            let value = record.get(member.name);
            match member.name {
                "departmentId" => {
                    let department = self.departments.place(text(record, member.name));
                    let department = department.and_then(|place| self.show_department(place));
                    shown.insert("department".into(), department.unwrap_or_default());
                }
                "managerId" => {
                    let manager = self.refer_to_employee(text(record, member.name));
                    shown.insert("manager".into(), manager.unwrap_or_default());
                }
                name => {
                    let value = value.cloned().unwrap_or_else(|| default_of(name, record));
                    shown.insert(name.into(), with_end_dates(name, value));
                }
            }
        }
        Some(Value::Object(shown))
    }

    /// `Department` as declared.
    pub(crate) fn show_department(&self, place: usize) -> Option<Value> {
        let record = self.departments.record(place)?;
        Some(json!({
            "id": self.departments.id_at(place),
            "name": record.get("name"),
            "head": self.refer_to_employee(text(record, "headId")),
            "costCenter": record.get("costCenter"),
        }))
    }

    /// `TimeOff` as declared.
    pub(crate) fn show_time_off(&self, place: usize) -> Option<Value> {
        let record = self.time_off.record(place)?;
        Some(json!({
            "id": self.time_off.id_at(place),
            "employeeId": record.get("employeeId"),
            "from": record.get("from"),
            "to": record.get("to"),
            "kind": record.get("kind"),
            "status": record.get("status"),
            "note": record.get("note"),
        }))
    }

    /// `HeadcountReport` as declared, for the operations that come so far.
    pub(crate) fn show_headcount(&self) -> Value {
        let departments = self.departments.matching(None).into_iter().map(|place| {
            let id = self.departments.id_at(place);
            let count = self.employees.matching(Some(("departmentId", &id))).len();
            json!({ "departmentId": id, "count": count })
        });
        json!({
            "date": "2026-01-31",
            "total": self.employees.records.len(),
            "departments": departments.collect::<Vec<_>>(),
        })
    }

    /// `EmployeeReference` as declared.
    fn refer_to_employee(&self, id: &str) -> Option<Value> {
        let record = self.employees.record(self.employees.place(id)?)?;
        let name = format!("{} {}", text(record, "firstName"), text(record, "lastName"));
        Some(json!({ "id": id, "name": name }))
    }
}

/// What an employee has where the writer said nothing.
fn default_of(member: &str, record: &Map<String, Value>) -> Value {
    match member {
        "status" => "active".into(),
        "gender" => "undisclosed".into(),
        "jobs" => json!([{
            "title": record.get("jobTitle"),
            "startDate": record.get("hireDate"),
            "endDate": null,
        }]),
        _ => Value::Null,
    }
}

/// Every shown position has an `endDate`, also where the writer left it out.
fn with_end_dates(member: &str, mut value: Value) -> Value {
    if member == "jobs"
        && let Value::Array(jobs) = &mut value
    {
        for job in jobs.iter_mut().filter_map(Value::as_object_mut) {
            job.entry("endDate").or_insert(Value::Null);
        }
    }
    value
}

/// A text member; empty where it is missing or null.
pub(crate) fn text<'a>(record: &'a Map<String, Value>, member: &str) -> &'a str {
    record.get(member).and_then(Value::as_str).unwrap_or_default()
}
