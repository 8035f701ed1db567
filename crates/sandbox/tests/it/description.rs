//! Holds JSON against the schemas of a description: every member declared, every required member
//! there, every value of a declared type. As much of JSON Schema as `hr.yaml` uses.

use serde_json::Value;

pub(crate) struct Description(Value);

impl Description {
    pub(crate) fn read(yaml: &str) -> Self {
        Self(serde_yaml_ng::from_str(yaml).unwrap())
    }

    /// What is wrong with `body` as the answer of an operation; an undeclared status is, too.
    pub(crate) fn check(
        &self,
        path: &str,
        method: &str,
        status: &str,
        body: &Value,
    ) -> Vec<String> {
        let answer = self.resolve(&self.0["paths"][path][method]["responses"][status]);
        let schema = &answer["content"]["application/json"]["schema"];
        if schema.is_null() {
            return vec![format!("status {status} is not declared")];
        }
        let mut problems = Vec::new();
        self.check_value("", schema, body, &mut problems);
        problems
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.0.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
            None => value,
        }
    }

    fn check_value(&self, path: &str, schema: &Value, value: &Value, problems: &mut Vec<String>) {
        let schema = self.resolve(schema);
        if let Some(alternatives) = schema["oneOf"].as_array() {
            let fitting = alternatives.iter().filter(|alternative| {
                let mut problems = Vec::new();
                self.check_value(path, alternative, value, &mut problems);
                problems.is_empty()
            });
            if fitting.count() != 1 {
                problems.push(format!("{path}: fits not exactly one alternative"));
            }
            return;
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_u64() || number.is_i64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let fits =
            |declared: &Value| declared == kind || (declared == "number" && kind == "integer");
        let declared = &schema["type"];
        if !(fits(declared) || declared.as_array().is_some_and(|kinds| kinds.iter().any(fits))) {
            problems.push(format!("{path}: {kind} where {declared} is declared"));
        }
        if let Some(choices) = schema["enum"].as_array()
            && !choices.contains(value)
        {
            problems.push(format!("{path}: none of the choices"));
        }
        match value {
            Value::Array(elements) => {
                for element in elements {
                    self.check_value(&format!("{path}[]"), &schema["items"], element, problems);
                }
            }
            Value::Object(members) => {
                for required in schema["required"].as_array().into_iter().flatten() {
                    if !members.contains_key(required.as_str().unwrap()) {
                        problems.push(format!("{path}: {required} is missing"));
                    }
                }
                for (name, member) in members {
                    match &schema["properties"][name] {
                        Value::Null => problems.push(format!("{path}{name}: not declared")),
                        schema => {
                            self.check_value(&format!("{path}{name}."), schema, member, problems);
                        }
                    }
                }
            }
            _ => {}
        }
    }
}
