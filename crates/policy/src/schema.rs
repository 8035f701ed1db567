//! The one schema of all roles and policies.

use crate::act::{Act, ResourceKind};
use cedar_policy::Schema;
use std::sync::LazyLock;

/// The schema as text, made from the list of acts.
pub static SCHEMA: LazyLock<String> = LazyLock::new(text);

fn text() -> String {
    let mut text = String::from(
        "// Acts of people on the control plane. `stepped_up`: a factor was shown within minutes.\n\
         type Moment = {\n  stepped_up: Bool,\n  hour: Long,\n  weekday: Long,\n  source?: ipaddr,\n};\n\
         entity Person in [Role] = { is_token: Bool };\n",
    );
    for kind in ResourceKind::ALL {
        text.push_str(&format!("entity {};\n", kind.as_str()));
    }
    for act in Act::ALL {
        text.push_str(&format!(
            "action \"{act}\" appliesTo {{ principal: [Person], resource: [{}], context: Moment }};\n",
            act.resource().as_str()
        ));
    }
    text.push_str(
        "// Calls of programs through the gateway, and the fields that their grants name.\n\
         type CallMoment = {\n  hour: Long,\n  weekday: Long,\n  source?: ipaddr,\n};\n\
         entity Call = {\n  provider: String,\n  environment: String,\n  operation: String,\n  \
         object: String,\n  unfiltered: Bool,\n};\n\
         entity Field = {\n  provider: String,\n  object: String,\n  path: String,\n  category: \
         String,\n  sensitive: Bool,\n};\n",
    );
    for action in ["read", "create", "update", "delete", "download", "upload"] {
        text.push_str(&format!(
            "action \"call.{action}\" appliesTo {{ principal: [Client], resource: [Call], context: \
             CallMoment }};\n"
        ));
    }
    for action in ["read", "write"] {
        text.push_str(&format!(
            "action \"field.{action}\" appliesTo {{ principal: [Client], resource: [Field] }};\n"
        ));
    }
    text
}

/// The schema, read. It is our own text; a test reads it.
pub(crate) fn schema() -> Option<Schema> {
    static READ: LazyLock<Option<Schema>> =
        LazyLock::new(|| Schema::from_cedarschema_str(&SCHEMA).ok().map(|(schema, _)| schema));
    READ.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_read_without_a_warning() {
        let (_, warnings) = Schema::from_cedarschema_str(&SCHEMA).unwrap();
        assert_eq!(warnings.map(|one| one.to_string()).collect::<Vec<_>>(), [""; 0]);
        assert!(schema().is_some());
    }
}
