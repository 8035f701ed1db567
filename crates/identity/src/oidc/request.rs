//! What a browser is sent with, what comes back with it, and the exchange of the code.

use super::{MAX_ANSWER_BYTES, Metadata, OidcError, known_code, metadata::ClientAuthentication};
use aws_lc_rs::{constant_time, digest};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::Deserialize;
use types::SecretText;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

/// What a browser is sent to a provider with (OpenID Connect Core §3.1.2.1).
#[derive(Debug)]
pub struct AuthorizationRequest<'r> {
    pub client_id: &'r str,
    pub redirect_uri: &'r str,
    /// Beside `openid`.
    pub scopes: &'r [String],
    /// Which ways of authentication will do.
    pub acr_values: &'r [String],
    pub state: &'r str,
    pub nonce: &'r str,
    pub verifier: &'r str,
    /// Whether the person is to show a factor again.
    pub is_again: bool,
}

impl AuthorizationRequest<'_> {
    pub fn url(&self, metadata: &Metadata) -> Url {
        let mut url = metadata.authorization_endpoint.clone();
        let challenge = digest::digest(&digest::SHA256, self.verifier.as_bytes());
        let scopes = ["openid"].into_iter().chain(self.scopes.iter().map(String::as_str));
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", self.client_id)
            .append_pair("redirect_uri", self.redirect_uri)
            .append_pair("scope", &scopes.collect::<Vec<_>>().join(" "))
            .append_pair("state", self.state)
            .append_pair("nonce", self.nonce)
            .append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(challenge))
            .append_pair("code_challenge_method", "S256");
        if !self.acr_values.is_empty() {
            query.append_pair("acr_values", &self.acr_values.join(" "));
        }
        if self.is_again {
            query.append_pair("prompt", "login").append_pair("max_age", "0");
        }
        drop(query);
        url
    }
}

/// What a browser came back with.
#[derive(Debug)]
pub struct Callback<'q> {
    query: &'q str,
}

impl<'q> Callback<'q> {
    pub const fn of(query: &'q str) -> Self {
        Self { query }
    }

    /// The only value of this name.
    fn only(&self, name: &str) -> Option<SecretText> {
        let mut found = form_urlencoded::parse(self.query.as_bytes())
            .filter(|(given, _)| given == name)
            .map(|(_, value)| value.into_owned());
        let value = SecretText::new(found.next()?);
        found.next().is_none().then_some(value)
    }

    /// Whether it belongs to what this browser began.
    ///
    /// # Errors
    /// [`OidcError::State`].
    pub fn has_state(&self, state: &str) -> Result<(), OidcError> {
        let given = self.only("state").ok_or(OidcError::State)?;
        let given = given.expose().as_bytes();
        constant_time::verify_slices_are_equal(given, state.as_bytes())
            .map_err(|_| OidcError::State)
    }

    /// The code, if the answer belongs to what this browser began with this provider.
    ///
    /// # Errors
    /// [`OidcError::State`] first, so that nothing else of a foreign answer is looked at.
    pub fn authorization_code(
        &self,
        metadata: &Metadata,
        state: &str,
    ) -> Result<SecretText, OidcError> {
        self.code_from(Some(metadata.issuer.as_str()), metadata.names_issuer, state)
    }

    /// The same for a server of which no more is known than its issuer, if that (RFC 9207).
    ///
    /// # Errors
    /// As [`Callback::authorization_code`].
    pub fn code_from(
        &self,
        issuer: Option<&str>,
        names_issuer: bool,
        state: &str,
    ) -> Result<SecretText, OidcError> {
        self.has_state(state)?;
        let has_issuer =
            form_urlencoded::parse(self.query.as_bytes()).any(|(name, _)| name == "iss");
        match (self.only("iss"), issuer) {
            (Some(given), Some(wanted)) if given.expose() == wanted => {}
            // Whoever is not known by a name cannot be told from another by it.
            (Some(_), None) => {}
            (None, _) if !has_issuer && !names_issuer => {}
            _ => return Err(OidcError::CallbackIssuer),
        }
        if let Some(error) = self.only("error") {
            return Err(OidcError::Denied(known_code(error.expose())));
        }
        let code = self.only("code").filter(|code| !code.expose().is_empty());
        code.ok_or(OidcError::CodeMissing)
    }
}

/// The request that gives a code for tokens.
#[derive(Debug)]
pub struct CodeExchange<'r> {
    pub client_id: &'r str,
    pub client_secret: &'r str,
    pub redirect_uri: &'r str,
    pub verifier: &'r str,
}

impl CodeExchange<'_> {
    /// The value of `Authorization`, if there is to be one, and the form.
    pub fn of(
        &self,
        metadata: &Metadata,
        code: &SecretText,
    ) -> (Option<SecretText>, Zeroizing<String>) {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code.expose())
            .append_pair("redirect_uri", self.redirect_uri)
            .append_pair("code_verifier", self.verifier);
        let authorization = match metadata.client_authentication {
            ClientAuthentication::Basic => {
                let encoded = |text: &str| {
                    let bytes = form_urlencoded::byte_serialize(text.as_bytes());
                    Zeroizing::new(bytes.collect::<String>())
                };
                let (id, secret) = (encoded(self.client_id), encoded(self.client_secret));
                let pair = Zeroizing::new(format!("{}:{}", id.as_str(), secret.as_str()));
                let spelled = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
                Some(SecretText::new(format!("Basic {}", spelled.as_str())))
            }
            ClientAuthentication::Post => {
                form.append_pair("client_id", self.client_id)
                    .append_pair("client_secret", self.client_secret);
                None
            }
        };
        (authorization, Zeroizing::new(form.finish()))
    }
}

/// What a provider gave for a code.
#[derive(Debug)]
pub struct TokenAnswer {
    pub id_token: SecretText,
    pub access_token: Option<SecretText>,
}

impl TokenAnswer {
    /// # Errors
    /// [`OidcError::CodeRefused`] with a known code, if the provider says one.
    pub fn read(is_success: bool, bytes: &[u8]) -> Result<Self, OidcError> {
        #[derive(Deserialize)]
        struct Said {
            id_token: Option<String>,
            access_token: Option<String>,
            error: Option<String>,
        }
        let malformed = || OidcError::TokenAnswerMalformed;
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(malformed());
        }
        let said = serde_json::from_slice::<Said>(bytes);
        if !is_success {
            let code = said.ok().and_then(|said| said.error);
            return Err(OidcError::CodeRefused(known_code(code.as_deref().unwrap_or_default())));
        }
        let said = said.map_err(|_| malformed())?;
        Ok(Self {
            id_token: SecretText::new(said.id_token.ok_or_else(malformed)?),
            access_token: said.access_token.map(SecretText::new),
        })
    }
}
