//! What a provider accepts, as an operator gives it, and what of it goes into a request.

use crate::{
    injection::{Injection, Part, Placement},
    secret_json::{self, Member, Value, shown, write_text},
};
use secrecy::zeroize::Zeroizing;
use std::{collections::BTreeMap, fmt};
use types::SecretBytes;

/// Bytes of the largest secret file.
pub const MAX_SECRET_FILE_BYTES: usize = 64 * 1024;

/// What a secret consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialKind {
    /// `{"username": ..., "password": ...}`
    UsernamePassword,
    /// `{"api_key": ...}`
    ApiKey,
    /// `{"token": ...}`
    Token,
}

impl CredentialKind {
    const fn members(self) -> &'static [&'static str] {
        match self {
            Self::UsernamePassword => &["username", "password"],
            Self::ApiKey => &["api_key"],
            Self::Token => &["token"],
        }
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UsernamePassword => "`username` and `password`",
            Self::ApiKey => "`api_key`",
            Self::Token => "`token`",
        })
    }
}

/// A provider's secret, in clear: wiped on drop, never printed, never copied.
///
/// ```compile_fail
/// fn copy(secret: &vault::Credential) -> vault::Credential { secret.clone() }
/// ```
/// ```compile_fail
/// fn print(secret: &vault::Credential) { println!("{secret}"); }
/// ```
pub struct Credential(Form);

enum Form {
    One(Secret),
    /// One for each security scheme, where several are demanded at once.
    PerScheme(BTreeMap<String, Secret>),
}

enum Secret {
    UsernamePassword { username: Zeroizing<String>, password: Zeroizing<String> },
    ApiKey(Zeroizing<String>),
    Token(Zeroizing<String>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(hidden)")
    }
}

/// Why a secret cannot be used. Names schemes, places, and members that are known: never a value, nor a
/// name that could be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("the secret has {bytes} bytes, at most {limit} are read")]
    TooLong { bytes: usize, limit: usize },
    #[error(
        "the secret is not a JSON object of texts (byte {offset}): write {{\"username\": ..., \"password\": ...}}, {{\"api_key\": ...}} or {{\"token\": ...}}"
    )]
    NotJson { offset: usize },
    #[error("the secret's member `{member}` stands there twice")]
    Twice { member: String },
    #[error("the secret's member `{member}` must be a text")]
    NotText { member: String },
    #[error("the secret is empty: give {}", FORMS)]
    Empty,
    #[error(
        "a member of the secret has a name that is not known (and is not repeated, because it could be the secret): give {}",
        FORMS
    )]
    Unknown,
    #[error("the secret's members `{member}` and `{beside}` exclude each other: give {}", FORMS)]
    Mixed { member: String, beside: String },
    #[error("the secret has `{member}` without `{missing}`")]
    Missing { member: String, missing: String },
    #[error("the secret's member `{member}` is empty")]
    EmptyValue { member: String },
    #[error("the secret's member `{member}` {why}")]
    BadValue { member: String, why: &'static str },
    #[error("the security scheme `{scheme}` needs {needs}, the secret has {has}")]
    Unfit { scheme: String, needs: CredentialKind, has: CredentialKind },
    #[error(
        "the security schemes {} are needed together: key the secret by scheme, as in {{\"{}\": {{\"api_key\": ...}}, ...}}",
        schemes.join(", "), schemes.first().map_or("scheme", String::as_str)
    )]
    NotPerScheme { schemes: Vec<String> },
    #[error("the secret has nothing for the security scheme `{scheme}`")]
    SchemeMissing { scheme: String },
    #[error("the secret has something for a name that is not among the security schemes used")]
    SchemeUnused,
    #[error("no security scheme says where the secret goes")]
    NoScheme,
    #[error("the security scheme `{scheme}` wants the credential in `{name}`, which {why}")]
    BadPlace { scheme: String, name: String, why: &'static str },
    #[error("two security schemes want to write `{name}`")]
    SamePlace { name: String },
}

const FORMS: &str = "`username` and `password`, `api_key`, or `token`";

impl Credential {
    /// Reads a secret file: `{"username","password"}`, `{"api_key"}`, `{"token"}`, or an object of
    /// these, keyed by security scheme.
    ///
    /// # Errors
    /// Anything else is refused by name: unknown and repeated members, empty values, control
    /// characters and line ends, spaces around keys and tokens.
    pub fn parse(json: &SecretBytes) -> Result<Self, CredentialError> {
        let bytes = json.expose();
        if bytes.len() > MAX_SECRET_FILE_BYTES {
            let limit = MAX_SECRET_FILE_BYTES;
            return Err(CredentialError::TooLong { bytes: bytes.len(), limit });
        }
        let members = secret_json::parse(bytes)?;
        if members.is_empty() {
            return Err(CredentialError::Empty);
        }
        let is_keyed = members.iter().all(|member| matches!(member.value, Value::Object(_)));
        if !is_keyed {
            return Secret::read(members).map(|secret| Self(Form::One(secret)));
        }
        let mut secrets = BTreeMap::new();
        for Member { name, value } in members {
            // The condition above left only objects.
            let Value::Object(inner) = value else { continue };
            if inner.is_empty() {
                return Err(CredentialError::EmptyValue { member: told(&name) });
            }
            secrets.insert(name, Secret::read(inner)?);
        }
        Ok(Self(Form::PerScheme(secrets)))
    }

    /// The one spelling in which it is sealed; [`Credential::from_record_bytes`] reads it back.
    pub fn to_record_bytes(&self) -> SecretBytes {
        // Spelled twice as long at most, so that the buffer never moves and leaves copies behind.
        let mut out = Vec::with_capacity(self.longest_spelling());
        match &self.0 {
            Form::One(secret) => secret.write(&mut out),
            Form::PerScheme(secrets) => {
                for (place, (scheme, secret)) in secrets.iter().enumerate() {
                    out.push(if place == 0 { b'{' } else { b',' });
                    write_text(&mut out, scheme);
                    out.push(b':');
                    secret.write(&mut out);
                }
                out.push(b'}');
            }
        }
        SecretBytes::new(out)
    }

    /// Reads what [`Credential::to_record_bytes`] gave.
    pub fn from_record_bytes(bytes: &SecretBytes) -> Result<Self, CredentialError> {
        Self::parse(bytes)
    }

    /// What goes where in a request, for the schemes that it uses, by name.
    ///
    /// # Errors
    /// Tells which scheme the secret does not fit and what it needs.
    pub fn inject(&self, schemes: &[(String, Placement)]) -> Result<Injection, CredentialError> {
        if schemes.is_empty() {
            return Err(CredentialError::NoScheme);
        }
        let mut parts = Vec::with_capacity(schemes.len());
        for (scheme, placement) in schemes {
            parts.push(self.secret_for(scheme, schemes)?.place(scheme, placement)?);
        }
        if let Form::PerScheme(secrets) = &self.0
            && secrets.keys().any(|name| schemes.iter().all(|(scheme, _)| scheme != name))
        {
            return Err(CredentialError::SchemeUnused);
        }
        Injection::new(parts)
    }

    fn secret_for(
        &self,
        scheme: &str,
        schemes: &[(String, Placement)],
    ) -> Result<&Secret, CredentialError> {
        match &self.0 {
            Form::One(secret) if schemes.len() == 1 => Ok(secret),
            Form::One(_) => Err(CredentialError::NotPerScheme {
                schemes: schemes.iter().map(|(name, _)| shown(name)).collect(),
            }),
            Form::PerScheme(secrets) => secrets
                .get(scheme)
                .ok_or_else(|| CredentialError::SchemeMissing { scheme: shown(scheme) }),
        }
    }

    fn longest_spelling(&self) -> usize {
        const AROUND: usize = 64;
        // An escaped control character in a scheme's name takes six bytes.
        match &self.0 {
            Form::One(secret) => AROUND + 2 * secret.len(),
            Form::PerScheme(secrets) => secrets
                .iter()
                .map(|(scheme, secret)| AROUND + 6 * scheme.len() + 2 * secret.len())
                .sum(),
        }
    }
}

/// A member's name where it is one of ours; whoever wrote a secret in the wrong place finds it nowhere.
pub(crate) fn told(name: &str) -> String {
    known_member(name).map_or("?", |(known, _)| known).to_owned()
}

impl Secret {
    fn read(members: Vec<Member>) -> Result<Self, CredentialError> {
        let mut texts: BTreeMap<&'static str, Zeroizing<String>> = BTreeMap::new();
        let mut kind: Option<CredentialKind> = None;
        for Member { name, value } in members {
            let Some((known, its)) = known_member(&name) else {
                return Err(CredentialError::Unknown);
            };
            let Value::Text(text) = value else {
                return Err(CredentialError::NotText { member: known.to_owned() });
            };
            if kind.is_some_and(|kind| kind != its) {
                let beside = texts.keys().next().copied().unwrap_or_default().to_owned();
                return Err(CredentialError::Mixed { member: known.to_owned(), beside });
            }
            kind = Some(its);
            check_value(known, &text)?;
            texts.insert(known, text);
        }
        let kind = kind.ok_or(CredentialError::Empty)?;
        let present = texts.keys().next().copied().unwrap_or_default().to_owned();
        let mut take = |name: &'static str| {
            texts.remove(name).ok_or_else(|| CredentialError::Missing {
                member: present.clone(),
                missing: name.to_owned(),
            })
        };
        Ok(match kind {
            CredentialKind::UsernamePassword => {
                Self::UsernamePassword { username: take("username")?, password: take("password")? }
            }
            CredentialKind::ApiKey => Self::ApiKey(take("api_key")?),
            CredentialKind::Token => Self::Token(take("token")?),
        })
    }

    const fn kind(&self) -> CredentialKind {
        match self {
            Self::UsernamePassword { .. } => CredentialKind::UsernamePassword,
            Self::ApiKey(_) => CredentialKind::ApiKey,
            Self::Token(_) => CredentialKind::Token,
        }
    }

    fn texts(&self) -> Vec<&str> {
        match self {
            Self::UsernamePassword { username, password } => vec![username, password],
            Self::ApiKey(text) | Self::Token(text) => vec![text],
        }
    }

    fn len(&self) -> usize {
        self.texts().iter().map(|text| text.len()).sum()
    }

    fn write(&self, out: &mut Vec<u8>) {
        for (place, (name, text)) in self.kind().members().iter().zip(self.texts()).enumerate() {
            out.push(if place == 0 { b'{' } else { b',' });
            write_text(out, name);
            out.push(b':');
            write_text(out, text);
        }
        out.push(b'}');
    }

    fn place(&self, scheme: &str, placement: &Placement) -> Result<Part, CredentialError> {
        match (placement, self) {
            (Placement::Basic, Self::UsernamePassword { username, password }) => {
                Ok(Part::basic(username, password))
            }
            (Placement::Bearer, Self::Token(token)) => Ok(Part::bearer(token)),
            (Placement::Header { name }, Self::ApiKey(key)) => Part::header(scheme, name, key),
            (Placement::Query { name }, Self::ApiKey(key)) => Part::query(scheme, name, key),
            _ => Err(CredentialError::Unfit {
                scheme: shown(scheme),
                needs: placement.needs(),
                has: self.kind(),
            }),
        }
    }
}

fn known_member(name: &str) -> Option<(&'static str, CredentialKind)> {
    let kinds = [CredentialKind::UsernamePassword, CredentialKind::ApiKey, CredentialKind::Token];
    kinds.into_iter().find_map(|kind| {
        let known = kind.members().iter().find(|known| **known == name)?;
        Some((*known, kind))
    })
}

/// What would be cut, sent twice or misread on its way is refused when it is given.
fn check_value(member: &'static str, value: &str) -> Result<(), CredentialError> {
    let bad = |why| Err(CredentialError::BadValue { member: member.to_owned(), why });
    if value.is_empty() {
        return Err(CredentialError::EmptyValue { member: member.to_owned() });
    }
    if value.contains(['\n', '\r']) {
        return bad("contains a line end");
    }
    if value.chars().any(char::is_control) {
        return bad("contains a control character");
    }
    match member {
        // RFC 7617 §2: the first colon ends the user's name.
        "username" if value.contains(':') => bad("contains a colon, which no user name may"),
        "username" | "password" => Ok(()),
        "token" if value.contains(' ') => {
            bad("contains a space: give the token alone, without the word before it")
        }
        _ if value.trim() != value => bad("begins or ends with a space"),
        _ if !value.is_ascii() => bad("contains a character outside ASCII"),
        _ => Ok(()),
    }
}
