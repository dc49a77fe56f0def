//! Fixtures of the gateway's tests: users with keys, and intents signed by them.
//!
//! The portal's signer makes the signatures. It shares no code with the verifier.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::freshness::Window;
use countersign_keys::identity::{KeyId, Origin, Username};
use countersign_keys::intent::{ItemDigest, PresentedIntent, Terms, VerifiedIntent, Version1};
use countersign_keys::keyring::{Algorithm, EnrolledKey, KeyRecord, Protocol, VerificationKey};
use countersign_keys::request::DEPOSIT_MAX;
use countersign_keys::time::Timestamp;
use countersign_portal::session::InstanceKey;
use countersign_portal::{BrowserKey, Intent};

/// The time of tests that set the clock.
pub(crate) const NOW: i64 = 1_700_000_000;

pub(crate) const ORIGIN: &str = "https://hpc.example.org";

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

pub(crate) fn terms() -> Terms {
    Terms {
        audience: Origin::parse(ORIGIN).unwrap(),
        window: Window { lifetime_max_s: 60, future_skew_s: 5 },
        version_1: Version1::Refused,
    }
}

/// A user whose browser has a key.
pub(crate) struct Signer {
    pub(crate) username: Username,
    pub(crate) key: BrowserKey,
    pub(crate) record: KeyRecord,
    /// The key of the user's instance.
    pub(crate) instance_key: InstanceKey,
}

impl Signer {
    pub(crate) fn new(username: &str) -> Self {
        let key = BrowserKey::make(countersign_portal::Algorithm::Es256).unwrap();
        let username = Username::parse(username).unwrap();
        let spki = VerificationKey::from_spki_der(&key.public_spki().unwrap(), Algorithm::Es256).unwrap();
        let lifetime = (at(0), at(i64::MAX));
        let kid = KeyId::parse(key.kid()).unwrap();
        let record = KeyRecord::new(username.clone(), kid, &spki, Protocol::V2, lifetime, String::new());
        Self { username, key, record, instance_key: InstanceKey::make().unwrap() }
    }

    /// A signed intent, verified at [`NOW`]. The token id repeats one byte.
    pub(crate) fn verified(&self, call: &str, items: &[ItemDigest], token_id: u8) -> VerifiedIntent<'static> {
        let mut intent = Intent::new(ORIGIN, self.username.as_str(), call, &[], NOW).unwrap();
        intent.jti = URL_SAFE_NO_PAD.encode([token_id; 16]);
        intent.params = items.iter().map(|digest| URL_SAFE_NO_PAD.encode(digest)).collect();
        let text = intent.sign(&self.key).unwrap();
        let presented = PresentedIntent::parse(&text, DEPOSIT_MAX, Version1::Refused).unwrap();
        let keys = [Arc::new(EnrolledKey::from_record(&self.record).unwrap())];
        presented.verify(&self.username, &keys, &terms(), at(NOW)).unwrap().into_owned()
    }
}
