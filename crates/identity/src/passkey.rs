//! Passkeys (Web Authentication, Level 3): a key pair per person and place, kept by the person's
//! device, which asks for a finger, a face or a PIN before it signs.
//!
//! A ceremony has two halves. The first yields options for the browser and a state; the state is
//! kept here, never at the browser, and must be taken away before the second half judges the
//! browser's answer, so that a challenge is answered once. It is good for [`CEREMONY_LIFE`].
//!
//! Beside what the library demands, this module demands that the origin be spelled exactly, that no
//! other site's frame asked, that an answer name the person whose passkey it is, and it judges
//! counters by the passkey as it is stored now, not as it was when the ceremony began. Challenges
//! are the library's own: 256 bits of the system's random source.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{fmt, time::Duration};
use types::Timestamp;
use url::{Host, Url};
use webauthn_rs::prelude as library;

/// How long a person has to answer.
pub const CEREMONY_LIFE: Duration = Duration::from_mins(5);
/// An answer with every attestation is a tenth of this.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Who a passkey belongs to, as its device remembers it: an id, and nothing that tells of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserHandle([u8; 16]);

impl UserHandle {
    pub const fn new(id: [u8; 16]) -> Self {
        Self(id)
    }

    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// Whose passkey is made, and how the device calls it.
#[derive(Clone, Copy)]
pub struct Person<'a> {
    pub handle: UserHandle,
    /// The account, such as the e-mail address.
    pub account: &'a str,
    pub display_name: &'a str,
}

impl fmt::Debug for Person<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Person").field("handle", &self.handle).finish_non_exhaustive()
    }
}

/// The place that passkeys are for.
#[derive(Debug)]
pub struct RelyingParty {
    library: library::Webauthn,
    origin: String,
}

/// Why there can be no passkeys for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RelyingPartyError {
    #[error("the console's address is no URL of a scheme, a host and maybe a port: correct it")]
    Url,
    #[error("browsers have passkeys over https, and over http for `localhost` alone: use either")]
    Scheme,
    #[error("browsers have no passkeys for IP addresses: give the console a name, or `localhost`")]
    Address,
}

/// What the browser's `navigator.credentials` gets, as JSON: `{"publicKey": ...}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options(String);

impl Options {
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

/// A passkey's public half, with what was last seen of it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passkey {
    user: UserHandle,
    key: library::Passkey,
}

/// A registration that was begun.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    person: UserHandle,
    expires_at: i64,
    /// Passkeys that the person has already.
    known: Vec<Vec<u8>>,
    state: library::PasskeyRegistration,
}

/// A sign-in or step-up that was begun.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authentication {
    /// Nobody in particular if the passkey shall tell.
    asked: Option<UserHandle>,
    expires_at: i64,
    state: library::DiscoverableAuthentication,
}

/// What an answer says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub user: UserHandle,
    /// As [`Passkey::id`].
    pub id: Vec<u8>,
}

/// Who signed in, with which passkey.
#[derive(Debug)]
pub struct SignedIn {
    pub user: UserHandle,
    /// The passkey as it must be stored now.
    pub passkey: Passkey,
    /// Whether it differs from what was stored.
    pub is_changed: bool,
}

/// Why an answer of a browser does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    #[error("the request was not answered within five minutes: begin again")]
    Expired,
    #[error("the browser's answer cannot be read: begin again, or use another browser")]
    Malformed,
    #[error("the answer is to a request of another kind: begin again")]
    Type,
    #[error("the answer is to another request, or was given before: begin again")]
    Challenge,
    #[error("the answer was made for another address: open the console by its own address")]
    Origin,
    #[error(
        "another site's page asked in the console's name: leave that page, and open the console itself"
    )]
    CrossOrigin,
    #[error("the passkey is for another host: choose one that was made for this console")]
    Host,
    #[error("nobody confirmed at the device: touch it when it asks")]
    NotPresent,
    #[error("the device did not verify who uses it: set a PIN, a finger or a face on it first")]
    NotVerified,
    #[error("the passkey is not one of this person's: choose another, or enrol it first")]
    Unknown,
    #[error("the passkey is enrolled already: use another device, or go on with this one")]
    Known,
    #[error("the device chose an algorithm that was not offered: use another device")]
    Algorithm,
    #[error("the signature is wrong: begin again")]
    Signature,
    #[error("the device's attestation cannot be read: use another device")]
    Attestation,
    #[error("whether the passkey may be copied has changed: remove it, and enrol it anew")]
    BackupChanged,
    #[error(
        "the passkey's counter went back, so there may be a copy of it: remove it, and enrol \
         the device anew"
    )]
    Cloned,
    #[error("the person has no passkey: enrol one, or use another factor")]
    None,
    #[error("what was stored of a passkey or a request is damaged: enrol it anew, or begin again")]
    Stored,
}

impl PasskeyError {
    /// Whether somebody should look into it: a key that exists twice, or a page that posed as this
    /// one, is no mistake of the person's.
    pub const fn is_alarm(self) -> bool {
        matches!(self, Self::Cloned | Self::CrossOrigin)
    }
}

impl RelyingParty {
    /// The place at an origin such as `https://gate.example.com` or `http://localhost:8401`. Its
    /// passkeys are for this host alone, and its answers from this origin alone.
    pub fn new(origin: &str, name: &str) -> Result<Self, RelyingPartyError> {
        let url = Url::parse(origin).map_err(|_| RelyingPartyError::Url)?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !is_bare || !url.username().is_empty() || url.password().is_some() {
            return Err(RelyingPartyError::Url);
        }
        let host = match url.host() {
            Some(Host::Domain(host)) => host,
            Some(_) => return Err(RelyingPartyError::Address),
            None => return Err(RelyingPartyError::Url),
        };
        if url.scheme() != "https" && !(url.scheme() == "http" && host == "localhost") {
            return Err(RelyingPartyError::Scheme);
        }
        let builder =
            library::WebauthnBuilder::new(host, &url).map_err(|_| RelyingPartyError::Url)?;
        let builder = builder.rp_name(name).timeout(CEREMONY_LIFE);
        let library = builder.build().map_err(|_| RelyingPartyError::Url)?;
        Ok(Self { library, origin: url.origin().ascii_serialization() })
    }

    /// Asks a device for a new passkey. It is asked to let itself be found without a name, and not
    /// to make a second one beside those that the person has.
    pub fn begin_registration(
        &self,
        person: &Person<'_>,
        existing: &[Passkey],
        now: Timestamp,
    ) -> Result<(Options, Registration), PasskeyError> {
        let known: Vec<Vec<u8>> = existing.iter().map(|passkey| passkey.id().to_vec()).collect();
        let (options, state) = self
            .library
            .start_passkey_registration(
                library::Uuid::from_bytes(person.handle.to_bytes()),
                person.account,
                person.display_name,
                Some(known.clone()),
            )
            .map_err(refusal)?;
        let mut options = serde_json::to_value(options).map_err(|_| PasskeyError::Stored)?;
        if let Some(selection) = options.pointer_mut("/publicKey/authenticatorSelection") {
            merge(selection, json!({ "residentKey": "preferred" }));
        }
        let registration = Registration {
            person: person.handle,
            expires_at: (now + CEREMONY_LIFE).as_micros(),
            known,
            state,
        };
        Ok((Options(options.to_string()), registration))
    }

    /// Judges the answer, `PublicKeyCredential.toJSON()`.
    pub fn finish_registration(
        &self,
        answer: &str,
        registration: Registration,
        now: Timestamp,
    ) -> Result<Passkey, PasskeyError> {
        if now.as_micros() >= registration.expires_at {
            return Err(PasskeyError::Expired);
        }
        let answer: library::RegisterPublicKeyCredential = read(answer)?;
        self.judge_client_data(&answer.response.client_data_json)?;
        if registration.known.contains(&answer.raw_id) {
            return Err(PasskeyError::Known);
        }
        let key = self
            .library
            .finish_passkey_registration(&answer, &registration.state)
            .map_err(refusal)?;
        if key.cred_id().as_slice() != answer.raw_id {
            return Err(PasskeyError::Malformed);
        }
        Ok(Passkey { user: registration.person, key })
    }

    /// Asks for one of a person's passkeys.
    pub fn begin_authentication(
        &self,
        user: UserHandle,
        passkeys: &[Passkey],
        now: Timestamp,
    ) -> Result<(Options, Authentication), PasskeyError> {
        if passkeys.is_empty() {
            return Err(PasskeyError::None);
        }
        if passkeys.iter().any(|passkey| passkey.user != user) {
            return Err(PasskeyError::Unknown);
        }
        let allowed = passkeys.iter().map(
            |passkey| json!({ "type": "public-key", "id": URL_SAFE_NO_PAD.encode(passkey.id()) }),
        );
        self.begin(Some(user), allowed.collect(), now)
    }

    /// Asks for any passkey of this place: whose it is, the answer tells.
    pub fn begin_discovery(
        &self,
        now: Timestamp,
    ) -> Result<(Options, Authentication), PasskeyError> {
        self.begin(None, Vec::new(), now)
    }

    fn begin(
        &self,
        user: Option<UserHandle>,
        allowed: Vec<Value>,
        now: Timestamp,
    ) -> Result<(Options, Authentication), PasskeyError> {
        let (options, state) = self.library.start_discoverable_authentication().map_err(refusal)?;
        let mut options = serde_json::to_value(options).map_err(|_| PasskeyError::Stored)?;
        // Whether the browser offers passkeys while a name is typed is the page's choice.
        if let Some(options) = options.as_object_mut() {
            options.remove("mediation");
        }
        if let Some(options) = options.pointer_mut("/publicKey") {
            merge(options, json!({ "allowCredentials": allowed }));
        }
        let authentication =
            Authentication { asked: user, expires_at: (now + CEREMONY_LIFE).as_micros(), state };
        Ok((Options(options.to_string()), authentication))
    }

    /// Whose passkey an answer says that it is, and which one, so that this person's passkeys can be
    /// looked up for [`RelyingParty::finish_authentication`]. Nothing is proven yet.
    pub fn claim(&self, answer: &str) -> Result<Claim, PasskeyError> {
        let answer: library::PublicKeyCredential = read(answer)?;
        let handle = answer.get_user_unique_id().ok_or(PasskeyError::Unknown)?;
        let user = handle.try_into().map(UserHandle).map_err(|_| PasskeyError::Unknown)?;
        Ok(Claim { user, id: answer.raw_id })
    }

    /// Judges the answer, `PublicKeyCredential.toJSON()`, by the passkeys that the person has now.
    pub fn finish_authentication(
        &self,
        answer: &str,
        authentication: Authentication,
        passkeys: &[Passkey],
        now: Timestamp,
    ) -> Result<SignedIn, PasskeyError> {
        if now.as_micros() >= authentication.expires_at {
            return Err(PasskeyError::Expired);
        }
        let answer: library::PublicKeyCredential = read(answer)?;
        self.judge_client_data(&answer.response.client_data_json)?;
        let mut found = passkeys.iter().filter(|passkey| passkey.id() == answer.raw_id);
        let passkey = found.next().ok_or(PasskeyError::Unknown)?;
        let claimed = answer.get_user_unique_id();
        let is_theirs = match authentication.asked {
            // A device need not tell whose it is if it was asked for this person's.
            Some(user) => {
                passkey.user == user && claimed.is_none_or(|claimed| claimed == user.to_bytes())
            }
            None => claimed.is_some_and(|claimed| claimed == passkey.user.to_bytes()),
        };
        if !is_theirs {
            return Err(PasskeyError::Unknown);
        }
        let result = self
            .library
            .finish_discoverable_authentication_v2(&answer, authentication.state, &passkey.key)
            .map_err(refusal)?;
        if !result.user_verified() {
            return Err(PasskeyError::NotVerified);
        }
        let mut passkey = passkey.clone();
        let is_changed = passkey.key.update_credential(&result).unwrap_or(false);
        Ok(SignedIn { user: passkey.user, passkey, is_changed })
    }

    /// What the browser said of the page that asked (Web Authentication §5.8.1). Of a sign-in the
    /// library does not look at `crossOrigin`, and it takes several spellings of an origin.
    fn judge_client_data(&self, json: &[u8]) -> Result<(), PasskeyError> {
        #[derive(Deserialize)]
        struct ClientData {
            origin: String,
            #[serde(rename = "crossOrigin", default)]
            cross_origin: bool,
            #[serde(rename = "topOrigin", default)]
            top_origin: Option<Value>,
        }
        let said: ClientData = serde_json::from_slice(json).map_err(|_| PasskeyError::Malformed)?;
        if said.cross_origin || said.top_origin.is_some() {
            return Err(PasskeyError::CrossOrigin);
        }
        if said.origin != self.origin {
            return Err(PasskeyError::Origin);
        }
        Ok(())
    }
}

impl Passkey {
    /// The credential id, by which no two passkeys are the same.
    pub fn id(&self) -> &[u8] {
        self.key.cred_id().as_slice()
    }

    pub const fn user(&self) -> UserHandle {
        self.user
    }

    /// The passkey as it is stored. It holds no secret.
    pub fn to_json(&self) -> Result<String, PasskeyError> {
        serde_json::to_string(self).map_err(|_| PasskeyError::Stored)
    }

    /// Reads what [`Passkey::to_json`] gave.
    pub fn from_json(json: &str) -> Result<Self, PasskeyError> {
        serde_json::from_str(json).map_err(|_| PasskeyError::Stored)
    }
}

impl fmt::Debug for Passkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passkey").field("user", &self.user).finish_non_exhaustive()
    }
}

macro_rules! stored {
    ($name:ident) => {
        impl $name {
            /// The state as it is kept on this side, and never at the browser.
            pub fn to_json(&self) -> Result<String, PasskeyError> {
                serde_json::to_string(self).map_err(|_| PasskeyError::Stored)
            }

            /// Reads what `to_json` gave.
            pub fn from_json(json: &str) -> Result<Self, PasskeyError> {
                serde_json::from_str(json).map_err(|_| PasskeyError::Stored)
            }

            /// When it is of no more use.
            pub const fn expires_at(&self) -> Timestamp {
                Timestamp::from_micros(self.expires_at)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(hidden)"))
            }
        }
    };
}

stored!(Registration);
stored!(Authentication);

fn read<T>(answer: &str) -> Result<T, PasskeyError>
where
    T: for<'a> Deserialize<'a>,
{
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(PasskeyError::Malformed);
    }
    let answer: Value = serde_json::from_str(answer).map_err(|_| PasskeyError::Malformed)?;
    // The library does not look at it.
    if answer.get("type").and_then(Value::as_str) != Some("public-key") {
        return Err(PasskeyError::Malformed);
    }
    serde_json::from_value(answer).map_err(|_| PasskeyError::Malformed)
}

fn merge(into: &mut Value, members: Value) {
    if let (Some(into), Value::Object(members)) = (into.as_object_mut(), members) {
        into.extend(members);
    }
}

/// The library's errors, without what they hold: it may repeat the answer.
fn refusal(error: library::WebauthnError) -> PasskeyError {
    use library::WebauthnError as Error;
    match error {
        Error::InvalidClientDataType => PasskeyError::Type,
        Error::MismatchedChallenge => PasskeyError::Challenge,
        Error::InvalidRPOrigin => PasskeyError::Origin,
        Error::InvalidRPIDHash => PasskeyError::Host,
        Error::UserNotPresent => PasskeyError::NotPresent,
        Error::UserNotVerified => PasskeyError::NotVerified,
        Error::CredentialCrossOrigin => PasskeyError::CrossOrigin,
        Error::CredentialNotFound => PasskeyError::Unknown,
        Error::CredentialAlteredAlgFromRequest
        | Error::COSEKeyInvalidType
        | Error::COSEKeyEDUnsupported
        | Error::COSEKeyInvalidAlgorithm
        | Error::COSEKeyECDSAInvalidCurve
        | Error::COSEKeyEDDSAInvalidCurve
        | Error::CredentialInsecureCryptography => PasskeyError::Algorithm,
        Error::AuthenticationFailure | Error::SignatureInvalid => PasskeyError::Signature,
        Error::CredentialPossibleCompromise => PasskeyError::Cloned,
        Error::CredentialBackupEligibilityInconsistent | Error::CredentialMayNotBeHardwareBound => {
            PasskeyError::BackupChanged
        }
        Error::AttestationNotSupported
        | Error::AttestationStatementMapInvalid
        | Error::AttestationStatementSigMissing
        | Error::AttestationStatementSigInvalid
        | Error::AttestationStatementAlgMismatch => PasskeyError::Attestation,
        _ => PasskeyError::Malformed,
    }
}
