//! What stands of a person in the store, in words that stay.

use crate::ParseActionError;
use std::{fmt, str::FromStr};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $expected:literal {
        $($(#[$member_doc:meta])* $member:ident = $word:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$member_doc])* $member),+
        }

        impl $name {
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$member => $word),+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ParseActionError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$member),)+
                    _ => Err(ParseActionError { given: text.to_owned(), expected: $expected }),
                }
            }
        }
    };
}

words! {
    /// Whether a person may come in.
    UserState: "invited, active, disabled" {
        /// Has a link, and no password yet.
        Invited = "invited",
        Active = "active",
        Disabled = "disabled",
    }
}

words! {
    /// What a person shows beside a password, or in place of it.
    FactorKind: "totp, passkey, recovery" {
        /// A code by time (RFC 6238).
        Totp = "totp",
        /// A public-key credential (WebAuthn).
        Passkey = "passkey",
        /// One of a list of codes, each for one use.
        Recovery = "recovery",
    }
}

words! {
    /// What a link that works once is for.
    LinkPurpose: "setup, invite, reset" {
        /// The first administrator.
        Setup = "setup",
        Invite = "invite",
        /// A new password and new factors.
        Reset = "reset",
    }
}

words! {
    /// What a session reaches.
    SessionLevel: "password, enrol, full" {
        /// The second factor, and nothing else.
        Password = "password",
        /// Enrolment of a second factor, and nothing else.
        Enrol = "enrol",
        Full = "full",
    }
}

words! {
    /// How far a connect session came. It goes forward only.
    ConnectProgress: "waiting, away, exchanging, returned, connected, ended" {
        /// Nobody was sent to the provider yet.
        Waiting = "waiting",
        /// Somebody was sent there.
        Away = "away",
        /// The answer that came back is being looked at: it counts once.
        Exchanging = "exchanging",
        /// There are tokens, which nobody has confirmed yet.
        Returned = "returned",
        Connected = "connected",
        /// Refused, given up or expired: nothing came of it.
        Ended = "ended",
    }
}
