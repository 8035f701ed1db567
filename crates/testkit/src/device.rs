//! A browser and a device with one passkey, which answer as Web Authentication says, or as a test wants.

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;

/// One key pair, and what its device remembers.
#[derive(Debug)]
pub struct Device {
    pub id: Vec<u8>,
    pub counter: u32,
    pub user: Vec<u8>,
    key: EcdsaKeyPair,
}

/// How a device or browser answers.
#[derive(Debug, Clone)]
pub struct Manner {
    pub origin: String,
    /// The host that the device signs for.
    pub host: String,
    pub kind: Option<&'static str>,
    pub challenge: Option<String>,
    pub cross_origin: Option<bool>,
    pub top_origin: Option<&'static str>,
    pub is_present: bool,
    pub is_verified: bool,
    pub is_backup_eligible: bool,
    pub is_backed_up: bool,
    pub names_user: bool,
    pub credential_type: &'static str,
    pub algorithm: i8,
    pub breaks_signature: bool,
}

impl Manner {
    /// As they should for a page of this origin.
    pub fn at(origin: &str, host: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            host: host.to_owned(),
            kind: None,
            challenge: None,
            cross_origin: Some(false),
            top_origin: None,
            is_present: true,
            is_verified: true,
            is_backup_eligible: false,
            is_backed_up: false,
            names_user: true,
            credential_type: "public-key",
            algorithm: -7,
            breaks_signature: false,
        }
    }

    fn client_data(&self, kind: &str, options: &Value) -> Option<Vec<u8>> {
        let asked = options.pointer("/publicKey/challenge")?.as_str()?;
        let mut data = json!({
            "type": self.kind.unwrap_or(kind),
            "challenge": self.challenge.as_deref().unwrap_or(asked),
            "origin": self.origin,
        });
        if let Some(cross_origin) = self.cross_origin {
            data.as_object_mut()?.insert("crossOrigin".to_owned(), json!(cross_origin));
        }
        if let Some(top_origin) = self.top_origin {
            data.as_object_mut()?.insert("topOrigin".to_owned(), json!(top_origin));
        }
        Some(data.to_string().into_bytes())
    }

    fn flags(&self) -> u8 {
        [
            (self.is_present, USER_PRESENT),
            (self.is_verified, USER_VERIFIED),
            (self.is_backup_eligible, BACKUP_ELIGIBLE),
            (self.is_backed_up, BACKED_UP),
        ]
        .iter()
        .map(|(is_set, flag)| if *is_set { *flag } else { 0 })
        .sum()
    }

    /// Authenticator data (§6.1), without extensions.
    fn data(&self, flags: u8, counter: u32, attested: &[u8]) -> Vec<u8> {
        let host = digest::digest(&digest::SHA256, self.host.as_bytes());
        [host.as_ref(), &[self.flags() | flags], &counter.to_be_bytes(), attested].concat()
    }
}

/// As Web Authentication spells bytes in JSON.
pub fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Device {
    /// With this credential id; `None` where the machine makes no key.
    pub fn new(id: u8) -> Option<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).ok()?;
        Some(Self { id: vec![id; 32], counter: 0, user: Vec::new(), key })
    }

    /// Answers `navigator.credentials.create()`; `None` for options that are none.
    pub fn create(&mut self, options: &str, manner: &Manner) -> Option<String> {
        let options: Value = serde_json::from_str(options).ok()?;
        let user = options.pointer("/publicKey/user/id")?.as_str()?;
        self.user = URL_SAFE_NO_PAD.decode(user).ok()?;
        let client_data = manner.client_data("webauthn.create", &options)?;
        let id_length = u16::try_from(self.id.len()).ok()?.to_be_bytes();
        let key = self.cose_key(manner.algorithm)?;
        let attested = [&[0; 16], id_length.as_slice(), &self.id, &key].concat();
        let data = manner.data(ATTESTED, self.counter, &attested);
        // {"fmt": "none", "attStmt": {}, "authData": ...}
        let length = u16::try_from(data.len()).ok()?.to_be_bytes();
        let object =
            [b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59".as_slice(), &length, &data]
                .concat();
        let answer = json!({
            "id": base64(&self.id),
            "rawId": base64(&self.id),
            "type": manner.credential_type,
            "authenticatorAttachment": "platform",
            "clientExtensionResults": { "credProps": { "rk": true } },
            "response": {
                "attestationObject": base64(&object),
                "clientDataJSON": base64(&client_data),
                "transports": ["internal"],
            },
        });
        Some(answer.to_string())
    }

    /// Answers `navigator.credentials.get()`; `None` for options that are none.
    pub fn get(&mut self, options: &str, manner: &Manner) -> Option<String> {
        let options: Value = serde_json::from_str(options).ok()?;
        let client_data = manner.client_data("webauthn.get", &options)?;
        let data = manner.data(0, self.counter, &[]);
        let hash = digest::digest(&digest::SHA256, &client_data);
        let signed = [&data, hash.as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).ok()?;
        let mut signature = signature.as_ref().to_vec();
        if manner.breaks_signature {
            *signature.last_mut()? ^= 1;
        }
        let answer = json!({
            "id": base64(&self.id),
            "rawId": base64(&self.id),
            "type": manner.credential_type,
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "authenticatorData": base64(&data),
                "clientDataJSON": base64(&client_data),
                "signature": base64(&signature),
                "userHandle": manner.names_user.then(|| base64(&self.user)),
            },
        });
        Some(answer.to_string())
    }

    /// The public key in COSE (RFC 9053 §7.1.1): kty EC2, an algorithm, curve P-256, x and y.
    fn cose_key(&self, algorithm: i8) -> Option<Vec<u8>> {
        // CBOR spells -7 as 0x26, and -8 as 0x27.
        let algorithm = 0x20 | u8::try_from(-1 - algorithm).ok()?;
        let (_, point) = self.key.public_key().as_ref().split_first()?;
        let (x, y) = point.split_at_checked(32)?;
        let parts = [&[0xa5, 1, 2, 3, algorithm, 0x20, 1, 0x21, 0x58, 32], x, &[0x22, 0x58, 32], y];
        Some(parts.concat())
    }
}
