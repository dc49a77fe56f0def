//! A software authenticator: the answers of a phone or a security key to a page that asks for a
//! passkey (WebAuthn level 3).
//!
//! It is written from the specification and shares no code with the library with which the provider
//! verifies it. Tests set values that a real authenticator does not let them set: user
//! verification, the signature counter, the origin of the page.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::{Fault, jws};

/// Flag UP: the user touched the authenticator.
const USER_PRESENT: u8 = 0x01;

/// Flag UV: the authenticator verified its user by PIN, finger or face.
const USER_VERIFIED: u8 = 0x04;

/// Flag AT: the authenticator data contain a new key.
const ATTESTED: u8 = 0x40;

/// Length of a credential id, in bytes.
const ID_BYTES: usize = 32;

/// An authenticator with one passkey, together with its browser.
#[derive(Debug)]
pub struct Authenticator {
    key: EcdsaKeyPair,
    id: String,
    /// The origin of the page that asks for the passkey.
    pub origin: String,
    /// The relying party id that is hashed into the authenticator data.
    pub rp_id: String,
    /// Whether the authenticator sets the flag UV.
    pub verifies_user: bool,
    /// The signature counter, incremented at each signature; `None` for a passkey without a
    /// counter.
    pub counter: Option<u32>,
}

impl Authenticator {
    /// Makes an authenticator with a new passkey for pages of `origin`.
    ///
    /// # Errors
    /// [`Fault::Key`] if no key can be made.
    pub fn new(origin: &str) -> Result<Self, Fault> {
        let host = origin.split("://").last().unwrap_or_default().split(':').next().unwrap_or_default();
        Ok(Self {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?,
            id: jws::random(ID_BYTES)?,
            origin: origin.to_owned(),
            rp_id: host.to_owned(),
            verifies_user: true,
            counter: Some(0),
        })
    }

    /// The credential id, base64url.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Answers `navigator.credentials.create`: returns the `RegistrationResponseJSON` for the
    /// options that the provider sent.
    #[must_use]
    pub fn register(&mut self, options: &Value) -> Value {
        let id = jws::from_base64url(&self.id).unwrap_or_default();
        let mut data = self.data(ATTESTED);
        data.extend([0; 16]); // no model
        data.extend(u16::try_from(id.len()).unwrap_or(0).to_be_bytes());
        data.extend(&id);
        data.extend(self.cose_key());
        // {"fmt": "none", "attStmt": {}, "authData": bytes}
        let mut attestation = vec![0xa3];
        attestation.extend(b"\x63fmt\x64none\x67attStmt\xa0\x68authData");
        attestation.push(0x59);
        attestation.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        attestation.extend(&data);
        json!({
            "id": self.id,
            "rawId": self.id,
            "type": "public-key",
            "authenticatorAttachment": "cross-platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": jws::base64url(self.client_data("webauthn.create", options).as_bytes()),
                "attestationObject": jws::base64url(&attestation),
                "authenticatorData": jws::base64url(&data),
                "transports": ["usb"],
                "publicKeyAlgorithm": -7,
            },
        })
    }

    /// Answers `navigator.credentials.get`: returns the `AuthenticationResponseJSON` for the
    /// options that the provider sent.
    ///
    /// # Errors
    /// [`Fault::Key`] if signing fails.
    pub fn assert(&mut self, options: &Value) -> Result<Value, Fault> {
        let client_data = self.client_data("webauthn.get", options);
        let data = self.data(0);
        let mut signed = data.clone();
        signed.extend(digest(&SHA256, client_data.as_bytes()).as_ref());
        let signature = self.key.sign(&SystemRandom::new(), &signed)?;
        Ok(json!({
            "id": self.id,
            "rawId": self.id,
            "type": "public-key",
            "authenticatorAttachment": "cross-platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": jws::base64url(client_data.as_bytes()),
                "authenticatorData": jws::base64url(&data),
                "signature": jws::base64url(signature.as_ref()),
                "userHandle": null,
            },
        }))
    }

    /// The authenticator data: hash of the relying party id, flags, and the incremented counter.
    fn data(&mut self, flags: u8) -> Vec<u8> {
        let verified = if self.verifies_user { USER_VERIFIED } else { 0 };
        self.counter = self.counter.map(|counter| counter.wrapping_add(1));
        let mut data = digest(&SHA256, self.rp_id.as_bytes()).as_ref().to_vec();
        data.push(flags | USER_PRESENT | verified);
        data.extend(self.counter.unwrap_or(0).to_be_bytes());
        data
    }

    fn client_data(&self, kind: &str, options: &Value) -> String {
        json!({ "type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false })
            .to_string()
    }

    /// The public key in COSE: `{1: 2, 3: -7, -1: 1, -2: x, -3: y}`, which is EC2, ES256, P-256.
    fn cose_key(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
        let mut key = b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20".to_vec();
        key.extend(x);
        key.extend(b"\x22\x58\x20");
        key.extend(y);
        key
    }
}
