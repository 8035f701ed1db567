//! What a provider accepts, as an operator gives it, and what of it goes into a request.

use crate::{
    auth::{self, AuthError, Lacking, Moment, TokenSet, Variables},
    injection::{self, Injection, Part, Placement, Way},
    secret_json::{self, Member, Value, shown, write_text},
};
use provider::auth::{Apply, AuthPlan, ClientAuth, Input};
use secrecy::zeroize::Zeroizing;
use std::{collections::BTreeMap, fmt, sync::Arc};
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
    /// What a provider's plan declares.
    Named,
}

impl CredentialKind {
    const fn members(self) -> &'static [&'static str] {
        match self {
            Self::UsernamePassword => &["username", "password"],
            Self::ApiKey => &["api_key"],
            Self::Token => &["token"],
            Self::Named => &[],
        }
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UsernamePassword => "`username` and `password`",
            Self::ApiKey => "`api_key`",
            Self::Token => "`token`",
            Self::Named => "the members that the provider's plan names",
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
    UsernamePassword {
        username: Zeroizing<String>,
        password: Zeroizing<String>,
    },
    ApiKey(Zeroizing<String>),
    Token(Zeroizing<String>),
    /// The members that a provider's plan declares.
    Named(BTreeMap<String, Zeroizing<String>>),
}

/// What a credential is used with, beside itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Supply<'s> {
    /// What was obtained for it.
    pub token: Option<&'s TokenSet>,
    /// The provider's app: the company's registration with the provider, which all connections share.
    pub app: Option<&'s Credential>,
    /// The connection's own variables.
    pub variables: Option<&'s BTreeMap<String, String>>,
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
    #[error("the secret has no `{name}`, which the security scheme `{scheme}` needs")]
    InputMissing { scheme: String, name: String },
    #[error("the secret has `{name}`, for which the security scheme `{scheme}` has no use")]
    InputUnused { scheme: String, name: String },
    #[error(
        "the secret's `{name}` does not have the form that the security scheme `{scheme}` demands"
    )]
    InputUnfit { scheme: String, name: String },
    #[error(
        "the security scheme `{scheme}` needs somebody's consent: use `weirgate connection create --oauth`, or give a `refresh_token` that was obtained elsewhere"
    )]
    NeedsConsent { scheme: String },
    /// No token was obtained yet.
    #[error("the security scheme `{scheme}` has no token yet")]
    TokenMissing { scheme: String },
    #[error("two security schemes that are used together are made anew for each call")]
    TwoLive,
    #[error("the security scheme `{scheme}`: {error}")]
    Auth { scheme: String, error: AuthError },
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
        Self::read(json, &Names::Declared(&BTreeMap::new()))
    }

    /// The same, with the members that a provider's plans declare.
    ///
    /// # Errors
    /// As [`Credential::parse`].
    pub fn parse_for(
        json: &SecretBytes,
        declared: &BTreeMap<String, Input>,
    ) -> Result<Self, CredentialError> {
        Self::read(json, &Names::Declared(declared))
    }

    fn read(json: &SecretBytes, names: &Names<'_>) -> Result<Self, CredentialError> {
        let bytes = json.expose();
        if bytes.len() > MAX_SECRET_FILE_BYTES {
            let limit = MAX_SECRET_FILE_BYTES;
            return Err(CredentialError::TooLong { bytes: bytes.len(), limit });
        }
        let members = secret_json::parse(bytes)?;
        if members.is_empty() {
            // Nobody gives such a secret; a connection by consent has it.
            return match names {
                Names::Any => Ok(Self::empty()),
                Names::Declared(_) => Err(CredentialError::Empty),
            };
        }
        let is_keyed = members.iter().all(|member| matches!(member.value, Value::Object(_)));
        if !is_keyed {
            return Secret::read(members, names).map(|secret| Self(Form::One(secret)));
        }
        let mut secrets = BTreeMap::new();
        for Member { name, value } in members {
            // The condition above left only objects.
            let Value::Object(inner) = value else { continue };
            if inner.is_empty() {
                return Err(CredentialError::EmptyValue { member: told(&name) });
            }
            secrets.insert(name, Secret::read(inner, names)?);
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
        Self::read(bytes, &Names::Any)
    }

    /// Whether the secret is what the schemes need, so far as it can be told before a token is asked
    /// for.
    ///
    /// # Errors
    /// Tells which scheme the secret does not fit and what it needs.
    pub fn check(
        &self,
        schemes: &[(String, Way)],
        supply: Supply<'_>,
    ) -> Result<(), CredentialError> {
        self.check_schemes(schemes)?;
        for (scheme, way) in schemes {
            let secret = self.secret_for(scheme, schemes)?;
            match way {
                Way::Place(placement) => secret.place(scheme, placement).map(drop)?,
                Way::Plan(plan) if secret.is_token_for(plan) => {}
                Way::Plan(plan) => secret.check_plan(scheme, plan, supply)?,
            }
        }
        Ok(())
    }

    fn check_schemes(&self, schemes: &[(String, Way)]) -> Result<(), CredentialError> {
        if schemes.is_empty() {
            return Err(CredentialError::NoScheme);
        }
        if let Form::PerScheme(secrets) = &self.0
            && secrets.keys().any(|name| schemes.iter().all(|(scheme, _)| scheme != name))
        {
            return Err(CredentialError::SchemeUnused);
        }
        Ok(())
    }

    /// What goes where in a request, for the schemes that it uses, by name.
    ///
    /// # Errors
    /// Tells which scheme the secret does not fit and what it needs.
    pub fn inject(
        &self,
        schemes: &[(String, Way)],
        supply: Supply<'_>,
        moment: Moment<'_>,
    ) -> Result<Injection, CredentialError> {
        self.check_schemes(schemes)?;
        let mut parts = Vec::with_capacity(schemes.len());
        let mut live = None;
        for (scheme, way) in schemes {
            let secret = self.secret_for(scheme, schemes)?;
            let plan = match way {
                Way::Place(placement) => {
                    parts.push(secret.place(scheme, placement)?);
                    continue;
                }
                Way::Plan(plan) if secret.is_token_for(plan) => {
                    parts.push(secret.place(scheme, &Placement::Bearer)?);
                    continue;
                }
                Way::Plan(plan) => plan,
            };
            let mut values = secret.values(supply);
            if plan.acquire.is_some() {
                let token = supply.token.filter(|token| token.is_usable());
                let missing = || CredentialError::TokenMissing { scheme: shown(scheme) };
                let token = token.ok_or_else(missing)?;
                for (name, value) in token.values.iter() {
                    values.set(name, value);
                }
                if let Some(key) = &token.proof_key {
                    values.set(auth::PROOF_KEY, key);
                }
                values.remove("refresh_token");
            }
            if plan.is_per_call() {
                if live.is_some() {
                    return Err(CredentialError::TwoLive);
                }
                live = Some((Arc::clone(plan), values));
                continue;
            }
            let made = auth::parts(plan, &values, None, moment);
            parts.extend(
                made.map_err(|error| CredentialError::Auth { scheme: shown(scheme), error })?,
            );
        }
        Injection::new(parts, live)
    }

    /// The same for schemes whose values are put in one place each.
    ///
    /// # Errors
    /// As [`Credential::inject`].
    pub fn place(&self, places: &[(String, Placement)]) -> Result<Injection, CredentialError> {
        let way = |place: &Placement| Way::Place(place.clone());
        let schemes: Vec<_> =
            places.iter().map(|(scheme, place)| (scheme.clone(), way(place))).collect();
        self.check_schemes(&schemes)?;
        let parts = places
            .iter()
            .map(|(scheme, place)| self.secret_for(scheme, &schemes)?.place(scheme, place));
        Injection::new(parts.collect::<Result<_, _>>()?, None)
    }

    /// The values from which a scheme's token is obtained.
    ///
    /// # Errors
    /// [`CredentialError`] if the secret has nothing for the scheme.
    pub fn values_for(
        &self,
        scheme: &str,
        schemes: &[(String, Way)],
        supply: Supply<'_>,
    ) -> Result<Variables, CredentialError> {
        Ok(self.secret_for(scheme, schemes)?.values(supply))
    }

    /// Certificate and private key, in PEM, that connections to the provider show; `None`: they show none.
    pub fn certificate(
        &self,
        schemes: &[(String, Way)],
        supply: Supply<'_>,
    ) -> Option<(Zeroizing<String>, Zeroizing<String>)> {
        let mut shown = schemes.iter().filter_map(|(scheme, way)| match way {
            Way::Plan(plan) if plan.has_client_certificate => Some(scheme),
            _ => None,
        });
        let values = self.secret_for(shown.next()?, schemes).ok()?.values(supply);
        let own = |name| values.get(name).map(|text| Zeroizing::new(text.to_owned()));
        Some((own("certificate")?, own("private_key")?))
    }

    /// Whether the secret is a token that somebody obtained elsewhere, for a scheme that could obtain
    /// one.
    pub fn is_given_token(&self, scheme: &str, schemes: &[(String, Way)], plan: &AuthPlan) -> bool {
        self.secret_for(scheme, schemes).is_ok_and(|secret| secret.is_token_for(plan))
    }

    /// A text of the secret, where it has one form for all schemes.
    pub fn member(&self, name: &str) -> Option<&str> {
        let Form::One(secret) = &self.0 else { return None };
        secret.pairs().into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// A secret without anything in it: what a connection has whose provider's app is all.
    pub const fn empty() -> Self {
        Self(Form::One(Secret::Named(BTreeMap::new())))
    }

    fn secret_for(
        &self,
        scheme: &str,
        schemes: &[(String, Way)],
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
            Form::One(secret) => AROUND + secret.longest_spelling(),
            Form::PerScheme(secrets) => secrets
                .iter()
                .map(|(scheme, secret)| AROUND + 6 * scheme.len() + secret.longest_spelling())
                .sum(),
        }
    }
}

/// A member's name where it is one of ours; whoever wrote a secret in the wrong place finds it nowhere.
pub(crate) fn told(name: &str) -> String {
    known_member(name).map_or("?", |(known, _)| known).to_owned()
}

/// Which members a secret may have.
enum Names<'n> {
    /// The usual ones, and those that a provider's plans declare.
    Declared(&'n BTreeMap<String, Input>),
    /// Weirgate sealed it: it was judged when it was given.
    Any,
}

impl Secret {
    fn read(members: Vec<Member>, names: &Names<'_>) -> Result<Self, CredentialError> {
        let usual =
            [CredentialKind::UsernamePassword, CredentialKind::ApiKey, CredentialKind::Token];
        let is_usual = usual.into_iter().any(|kind| {
            let known = kind.members();
            members.len() == known.len()
                && members.iter().all(|member| known.contains(&member.name.as_str()))
        });
        if is_usual {
            return Self::read_usual(members);
        }
        match names {
            Names::Declared(declared)
                if declared.is_empty()
                    || members.iter().any(|member| !declared.contains_key(&member.name)) =>
            {
                Self::read_usual(members)
            }
            _ => Self::read_named(members, names),
        }
    }

    fn read_named(members: Vec<Member>, names: &Names<'_>) -> Result<Self, CredentialError> {
        let mut named = BTreeMap::new();
        for Member { name, value } in members {
            let Value::Text(text) = value else {
                return Err(CredentialError::NotText { member: name });
            };
            if let Names::Declared(declared) = names {
                let input = declared.get(&name).ok_or(CredentialError::Unknown)?;
                check_input(&name, input, &text)?;
            }
            named.insert(name, text);
        }
        Ok(Self::Named(named))
    }

    fn read_usual(members: Vec<Member>) -> Result<Self, CredentialError> {
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
            // None of the usual members is of this kind.
            CredentialKind::Named => return Err(CredentialError::Unknown),
        })
    }

    const fn kind(&self) -> CredentialKind {
        match self {
            Self::UsernamePassword { .. } => CredentialKind::UsernamePassword,
            Self::ApiKey(_) => CredentialKind::ApiKey,
            Self::Token(_) => CredentialKind::Token,
            Self::Named(_) => CredentialKind::Named,
        }
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        match self {
            Self::UsernamePassword { username, password } => {
                vec![("username", username), ("password", password)]
            }
            Self::ApiKey(text) => vec![("api_key", text)],
            Self::Token(text) => vec![("token", text)],
            Self::Named(named) => {
                named.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
            }
        }
    }

    /// Every member at most; a line end takes six bytes.
    fn longest_spelling(&self) -> usize {
        self.pairs().iter().map(|(name, text)| 8 + 6 * (name.len() + text.len())).sum()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (place, (name, text)) in self.pairs().into_iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write_text(out, name);
            out.push(b':');
            write_text(out, text);
        }
        out.push(b'}');
    }

    /// A token that somebody obtained elsewhere, for a scheme whose plan would obtain one.
    fn is_token_for(&self, plan: &AuthPlan) -> bool {
        matches!(self, Self::Token(_)) && plan.oauth2().is_some()
    }

    /// What templates may use: the secret's own before the app's before the connection's variables.
    fn values(&self, supply: Supply<'_>) -> Variables {
        let mut values = Variables::default();
        for (name, value) in self.pairs() {
            values.set(name, value);
        }
        if let Some(Form::One(app)) = supply.app.map(|app| &app.0) {
            for (name, value) in app.pairs() {
                if !values.has(name) {
                    values.set(name, value);
                }
            }
        }
        for (name, value) in supply.variables.into_iter().flatten() {
            if !values.has(name) {
                values.set(name, value);
            }
        }
        values
    }

    fn check_plan(
        &self,
        scheme: &str,
        plan: &AuthPlan,
        supply: Supply<'_>,
    ) -> Result<(), CredentialError> {
        for (name, value) in self.pairs() {
            let Some(input) = plan.inputs.get(name) else {
                let (scheme, name) = (shown(scheme), told(name));
                return Err(CredentialError::InputUnused { scheme, name });
            };
            if input.pattern.as_ref().is_some_and(|pattern| pattern.taken(value).is_none()) {
                let (scheme, name) = (shown(scheme), name.to_owned());
                return Err(CredentialError::InputUnfit { scheme, name });
            }
        }
        for apply in &plan.apply {
            if let Apply::Header { name, .. } = apply {
                injection::check_header(scheme, name)?;
            }
        }
        self.check_signing_key(scheme, plan)?;
        match auth::is_sufficient(plan, &self.values(supply)) {
            Ok(()) => Ok(()),
            // What was consented to is there already.
            Err(Lacking::Consent) if supply.token.is_some() => Ok(()),
            Err(Lacking::Consent) => Err(CredentialError::NeedsConsent { scheme: shown(scheme) }),
            Err(Lacking::Value(name)) => {
                Err(CredentialError::InputMissing { scheme: shown(scheme), name })
            }
        }
    }

    /// A key that signs nothing is told of now, not at the first call.
    fn check_signing_key(&self, scheme: &str, plan: &AuthPlan) -> Result<(), CredentialError> {
        let Some(oauth2) = plan.oauth2() else { return Ok(()) };
        let named = oauth2.assertion.as_ref().map(|assertion| assertion.algorithm);
        let signs = oauth2.client_auth == ClientAuth::PrivateKeyJwt;
        let (_, key) = match self.pairs().into_iter().find(|(name, _)| *name == "private_key") {
            Some(found) if signs || named.is_some() => found,
            _ => return Ok(()),
        };
        let own = if signs { [oauth2.client_algorithm.or(named), named] } else { [named, named] };
        own.into_iter().try_for_each(|algorithm| {
            auth::check_any_key(algorithm, key)
                .map_err(|error| CredentialError::Auth { scheme: shown(scheme), error })
        })
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

/// What would be cut or misread on its way is refused when it is given.
fn check_input(name: &str, input: &Input, value: &str) -> Result<(), CredentialError> {
    let bad = |why| Err(CredentialError::BadValue { member: name.to_owned(), why });
    let is_line_end = |letter: char| matches!(letter, '\n' | '\r');
    match value {
        "" => Err(CredentialError::EmptyValue { member: name.to_owned() }),
        _ if !input.has_lines && value.contains(is_line_end) => bad("contains a line end"),
        _ if value.chars().any(|letter| letter.is_control() && !is_line_end(letter)) => {
            bad("contains a control character")
        }
        _ if !input.has_lines && value.trim() != value => bad("begins or ends with a space"),
        _ => Ok(()),
    }
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
