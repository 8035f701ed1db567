//! What can be done on the control plane: a closed list, with names that stay.

use std::{fmt, str::FromStr};
use types::nearest;

/// What an act is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    Installation,
    Provider,
    Connection,
    Client,
    Key,
    Grants,
    User,
    Session,
    Token,
    Role,
    Policy,
    Audit,
    Review,
}

impl ResourceKind {
    pub const ALL: [Self; 13] = [
        Self::Installation,
        Self::Provider,
        Self::Connection,
        Self::Client,
        Self::Key,
        Self::Grants,
        Self::User,
        Self::Session,
        Self::Token,
        Self::Role,
        Self::Policy,
        Self::Audit,
        Self::Review,
    ];

    /// The entity type in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Installation => "Installation",
            Self::Provider => "Provider",
            Self::Connection => "Connection",
            Self::Client => "Client",
            Self::Key => "Key",
            Self::Grants => "Grants",
            Self::User => "User",
            Self::Session => "Session",
            Self::Token => "Token",
            Self::Role => "Role",
            Self::Policy => "Policy",
            Self::Audit => "Audit",
            Self::Review => "Review",
        }
    }
}

/// Whether an act looks or changes, and how well the person must be known for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    Reads,
    Changes,
    /// Secrets, rights, and what guards them: a factor must have been shown within minutes.
    StepsUp,
}

macro_rules! acts {
    ($($(#[$doc:meta])* $act:ident = $name:literal on $kind:ident, $weight:ident;)+) => {
        /// An act. A name is never used again for another.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Act {
            $($(#[$doc])* $act),+
        }

        impl Act {
            pub const ALL: &'static [Self] = &[$(Self::$act),+];

            /// The name in roles, policies and the audit log.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$act => $name),+
                }
            }

            pub const fn resource(self) -> ResourceKind {
                match self {
                    $(Self::$act => ResourceKind::$kind),+
                }
            }

            const fn weight(self) -> Weight {
                match self {
                    $(Self::$act => Weight::$weight),+
                }
            }
        }
    };
}

acts! {
    /// Health, figures, and which installation this is.
    InstallationRead = "installation.read" on Installation, Reads;
    SettingsRead = "settings.read" on Installation, Reads;
    DoctorRun = "doctor.run" on Installation, Reads;
    NodeList = "node.list" on Installation, Reads;
    NodeRetire = "node.retire" on Installation, StepsUp;
    BackupCreate = "backup.create" on Installation, StepsUp;
    ProviderRead = "provider.read" on Provider, Reads;
    ProviderImport = "provider.import" on Provider, Changes;
    /// To other hosts than connections send their credentials to, and to private networks.
    ProviderMove = "provider.move" on Provider, StepsUp;
    ProviderCheck = "provider.check" on Provider, Changes;
    ConnectionRead = "connection.read" on Connection, Reads;
    ConnectionCreate = "connection.create" on Connection, StepsUp;
    /// By consent in a browser: to begin, to confirm, and to renew a consent.
    ConnectionConnect = "connection.connect" on Connection, StepsUp;
    /// To make a link by which somebody else consents; it connects nothing by itself.
    ConnectionOffer = "connection.offer" on Connection, Changes;
    ConnectionRevoke = "connection.revoke" on Connection, Changes;
    /// What a grant would let through of one connection's data.
    ConnectionPreview = "connection.preview" on Connection, StepsUp;
    ClientRead = "client.read" on Client, Reads;
    ClientCreate = "client.create" on Client, Changes;
    /// A key reads data in a client's name.
    KeyCreate = "key.create" on Key, StepsUp;
    KeyRevoke = "key.revoke" on Key, Changes;
    GrantRead = "grant.read" on Grants, Reads;
    GrantApply = "grant.apply" on Grants, StepsUp;
    GrantApprove = "grant.approve" on Grants, StepsUp;
    AuditRead = "audit.read" on Audit, Reads;
    AuditExport = "audit.export" on Audit, StepsUp;
    ReviewRead = "review.read" on Review, Reads;
    ReviewBegin = "review.begin" on Review, Changes;
    /// To confirm rights, and to take them away.
    ReviewDecide = "review.decide" on Review, StepsUp;
    UserRead = "user.read" on User, Reads;
    UserInvite = "user.invite" on User, StepsUp;
    UserDisable = "user.disable" on User, StepsUp;
    UserRemove = "user.remove" on User, StepsUp;
    UserRoles = "user.roles" on User, StepsUp;
    SessionRead = "session.read" on Session, Reads;
    SessionEnd = "session.end" on Session, Changes;
    TokenRevoke = "token.revoke" on Token, Changes;
    RoleRead = "role.read" on Role, Reads;
    RoleChange = "role.change" on Role, StepsUp;
    PolicyRead = "policy.read" on Policy, Reads;
    PolicyChange = "policy.change" on Policy, StepsUp;
}

impl Act {
    /// Whether nothing is changed by it.
    pub fn is_read(self) -> bool {
        self.weight() == Weight::Reads
    }

    /// Whether a factor must have been shown within the last minutes.
    pub fn needs_step_up(self) -> bool {
        self.weight() == Weight::StepsUp
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no act{}", nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
pub struct ParseActError {
    pub given: String,
    pub nearest: Option<&'static str>,
}

impl FromStr for Act {
    type Err = ParseActError;

    /// Letter by letter: there is one spelling, so that what was written is what is checked.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|act| act.as_str() == text).ok_or_else(|| {
            let given: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
            let names = Self::ALL.iter().map(|act| act.as_str());
            let near = nearest(&given, names);
            ParseActError { given, nearest: near }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_read_back() {
        let names: BTreeSet<_> = Act::ALL.iter().map(|act| act.as_str()).collect();
        assert_eq!(names.len(), Act::ALL.len());
        for act in Act::ALL {
            assert_eq!(act.as_str().parse::<Act>(), Ok(*act));
        }
    }

    #[test]
    fn other_spellings_are_no_acts() {
        for given in
            ["", "Key.create", "KEY.CREATE", "key.create ", " key.create", "key.*", "key", "*"]
        {
            assert!(given.parse::<Act>().is_err(), "{given:?}");
        }
        let error = "key.creat".parse::<Act>().unwrap_err();
        assert_eq!(error.nearest, Some("key.create"));
    }

    #[test]
    fn what_touches_secrets_and_rights_needs_a_step_up() {
        for act in Act::ALL {
            let name = act.as_str();
            let is_heavy = ["key.create", "connection.create", "grant.apply", "backup.create"]
                .contains(&name)
                || ["user.", "role.", "policy."].iter().any(|kind| name.starts_with(kind))
                    && !act.is_read();
            assert!(!is_heavy || act.needs_step_up(), "{name}");
            assert!(!(act.is_read() && act.needs_step_up()), "{name}");
        }
    }
}
