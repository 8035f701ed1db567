//! Roles: those that every installation has, and an installation's own.

use crate::act::{Act, ParseActError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Name and acts of each built-in role. No role both says what programs may read and reads it: whoever
/// edits grants makes no keys, and previews nothing; only an administrator who was given both roles can.
pub const BUILT_IN: [(&str, &[Act]); 5] = [
    (
        "administrator",
        &[
            Act::InstallationRead,
            Act::SettingsRead,
            Act::DoctorRun,
            Act::NodeList,
            Act::NodeRetire,
            Act::BackupCreate,
            Act::ProviderRead,
            Act::ConnectionRead,
            Act::ConnectionConnect,
            Act::ConnectionOffer,
            Act::ConnectionRevoke,
            Act::ClientRead,
            Act::KeyRevoke,
            Act::GrantRead,
            Act::AuditRead,
            Act::ReviewRead,
            Act::ReviewBegin,
            Act::ReviewDecide,
            Act::UserRead,
            Act::UserInvite,
            Act::UserDisable,
            Act::UserRemove,
            Act::UserRoles,
            Act::SessionRead,
            Act::SessionEnd,
            Act::TokenRevoke,
            Act::RoleRead,
            Act::RoleChange,
            Act::PolicyRead,
            Act::PolicyChange,
        ],
    ),
    (
        "security",
        &[
            Act::InstallationRead,
            Act::SettingsRead,
            Act::DoctorRun,
            Act::NodeList,
            Act::ProviderRead,
            Act::ProviderCheck,
            Act::ConnectionRead,
            Act::ConnectionRevoke,
            Act::ClientRead,
            Act::KeyRevoke,
            Act::GrantRead,
            Act::GrantApply,
            Act::GrantApprove,
            Act::AuditRead,
            Act::ReviewRead,
            Act::ReviewBegin,
            Act::ReviewDecide,
            Act::UserRead,
            Act::UserDisable,
            Act::SessionRead,
            Act::SessionEnd,
            Act::TokenRevoke,
            Act::RoleRead,
            Act::PolicyRead,
            Act::PolicyChange,
        ],
    ),
    (
        "integrator",
        &[
            Act::InstallationRead,
            Act::ProviderRead,
            Act::ProviderImport,
            Act::ProviderMove,
            Act::ProviderCheck,
            Act::ConnectionRead,
            Act::ConnectionCreate,
            Act::ConnectionConnect,
            Act::ConnectionOffer,
            Act::ConnectionRevoke,
            Act::ConnectionPreview,
            Act::ClientRead,
            Act::ClientCreate,
            Act::KeyCreate,
            Act::KeyRevoke,
            Act::GrantRead,
        ],
    ),
    (
        "auditor",
        &[
            Act::InstallationRead,
            Act::SettingsRead,
            Act::NodeList,
            Act::ProviderRead,
            Act::ConnectionRead,
            Act::ClientRead,
            Act::GrantRead,
            Act::AuditRead,
            Act::AuditExport,
            Act::ReviewRead,
            Act::UserRead,
            Act::SessionRead,
            Act::RoleRead,
            Act::PolicyRead,
        ],
    ),
    (
        "read-only",
        &[
            Act::InstallationRead,
            Act::ProviderRead,
            Act::ConnectionRead,
            Act::ClientRead,
            Act::GrantRead,
        ],
    ),
];

/// A role of an installation's own: named acts, and no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomRole {
    pub name: String,
    pub acts: BTreeSet<Act>,
}

/// How a role stands in the store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    acts: Vec<String>,
}

/// Why a role is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    #[error("the name `{name}` is that of a built-in role")]
    BuiltIn { name: String },
    #[error("the role `{name}` permits nothing")]
    Empty { name: String },
    #[error(transparent)]
    Act(#[from] ParseActError),
    #[error("the role `{name}` is not what Weirgate wrote")]
    Stored { name: String },
}

impl CustomRole {
    /// A role of these acts, each by its exact name.
    pub fn new(name: &str, acts: &[String]) -> Result<Self, RoleError> {
        if BUILT_IN.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Err(RoleError::BuiltIn { name: name.to_owned() });
        }
        let acts = acts.iter().map(|act| act.parse()).collect::<Result<BTreeSet<Act>, _>>()?;
        if acts.is_empty() {
            return Err(RoleError::Empty { name: name.to_owned() });
        }
        Ok(Self { name: name.to_owned(), acts })
    }

    /// Reads what [`Self::to_stored`] gave.
    pub fn from_stored(name: &str, body: &str) -> Result<Self, RoleError> {
        let stored: Stored =
            serde_json::from_str(body).map_err(|_| RoleError::Stored { name: name.to_owned() })?;
        Self::new(name, &stored.acts)
    }

    pub fn to_stored(&self) -> String {
        let acts = self.acts.iter().map(|act| act.as_str().to_owned()).collect();
        serde_json::to_string(&Stored { acts }).unwrap_or_default()
    }
}

/// A role as Cedar text: it permits its acts, and nothing else.
pub(crate) fn cedar(name: &str, acts: &[Act]) -> String {
    let acts: Vec<String> = acts.iter().map(|act| format!("Action::\"{act}\"")).collect();
    format!(
        "permit (\n  principal in Role::{},\n  action in [{}],\n  resource\n);\n",
        serde_json::Value::from(name),
        acts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts(role: &str) -> BTreeSet<Act> {
        BUILT_IN.iter().find(|(name, _)| *name == role).unwrap().1.iter().copied().collect()
    }

    #[test]
    fn no_built_in_role_both_edits_grants_and_reads_data() {
        let edits = [Act::GrantApply, Act::GrantApprove];
        let reads = [Act::KeyCreate, Act::ConnectionPreview];
        for (role, _) in BUILT_IN {
            let acts = acts(role);
            let has = |some: &[Act]| some.iter().any(|act| acts.contains(act));
            assert!(!(has(&edits) && has(&reads)), "{role}");
        }
    }

    /// Whoever may change rights could take any other.
    #[test]
    fn rights_are_changed_by_administrators_alone() {
        for (role, _) in BUILT_IN.iter().filter(|(role, _)| *role != "administrator") {
            for act in [Act::UserInvite, Act::UserRoles, Act::UserRemove, Act::RoleChange] {
                assert!(!acts(role).contains(&act), "{role} {act}");
            }
        }
    }

    #[test]
    fn looking_changes_nothing() {
        for role in ["auditor", "read-only"] {
            for act in acts(role) {
                assert!(act.is_read() || act == Act::AuditExport, "{role} {act}");
            }
        }
        assert!(acts("read-only").is_subset(&acts("auditor")));
    }

    #[test]
    fn every_act_is_somebodys() {
        for act in Act::ALL {
            assert!(BUILT_IN.iter().any(|(_, acts)| acts.contains(act)), "{act}");
        }
    }

    #[test]
    fn roles_of_ones_own_name_their_acts() {
        let role = CustomRole::new("watcher", &["audit.read".into(), "user.read".into()]).unwrap();
        assert_eq!(CustomRole::from_stored("watcher", &role.to_stored()).unwrap(), role);
        let flaw = |name: &str, acts: &[&str]| {
            let acts: Vec<String> = acts.iter().map(|act| (*act).to_owned()).collect();
            CustomRole::new(name, &acts).unwrap_err()
        };
        assert!(matches!(flaw("Administrator", &["audit.read"]), RoleError::BuiltIn { .. }));
        assert!(matches!(flaw("watcher", &[]), RoleError::Empty { .. }));
        assert!(matches!(flaw("watcher", &["audit.*"]), RoleError::Act(_)));
        assert!(matches!(flaw("watcher", &["AUDIT.READ"]), RoleError::Act(_)));
        for body in ["", "{}", "[]", r#"{"acts":["audit.read"],"more":1}"#] {
            assert!(CustomRole::from_stored("watcher", body).is_err(), "{body}");
        }
    }
}
