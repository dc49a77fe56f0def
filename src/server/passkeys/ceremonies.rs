//! WebAuthn ceremonies in progress (enrolments and challenges), in memory only, and their relying
//! party.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_keys::identity::{Origin, ProviderId, Username};
use countersign_keys::intent::Fingerprint;
use countersign_keys::policy::StepUpNeed;
use countersign_keys::time::Timestamp;
use serde_json::Value;
use webauthn_rs::prelude::{PasskeyAuthentication, PasskeyRegistration, Url, WebauthnError};
use webauthn_rs::{Webauthn, WebauthnBuilder};

use crate::http::reply::Refusal;

/// How long an enrolment may take, in seconds: users need minutes to find a security key and its
/// PIN (WebAuthn level 3, section 15.1).
pub(crate) const ENROLMENT_S: i64 = 300;

/// Enrolments in progress, one for each user.
pub(crate) const ENROLMENTS_MAX: usize = 1_024;

/// Step-ups in progress for one user: more windows than a user looks at.
pub(crate) const STEP_UPS_EACH_MAX: usize = 16;

/// Step-ups in progress of all users. Each holds copies of the user's passkeys, 10 KiB at most.
pub(crate) const STEP_UPS_MAX: usize = 2_048;

/// The ceremonies in progress, and the relying party.
pub(crate) struct PasskeyCeremonies {
    /// `None` if the provider's origin is an IP address: a passkey needs a domain name.
    relying_party: Option<Webauthn>,
    under_way: Mutex<UnderWay>,
}

/// Ceremonies in progress. Bounded by the constants above; use and expiry remove an entry.
#[derive(Default)]
pub(crate) struct UnderWay {
    pub(crate) enrolments: HashMap<Username, Enrolment>,
    pub(crate) step_ups: HashMap<Fingerprint, Challenged>,
    /// Asserted intents for the calls about passkeys themselves, until they expire.
    pub(crate) asserted: HashMap<Fingerprint, (Username, Timestamp)>,
}

/// An enrolment in progress.
pub(crate) struct Enrolment {
    pub(crate) state: PasskeyRegistration,
    pub(crate) handle: [u8; 16],
    pub(crate) name: String,
    pub(crate) until: Timestamp,
}

/// A challenge for one intent.
pub(crate) struct Challenged {
    pub(crate) username: Username,
    pub(crate) state: PasskeyAuthentication,
    pub(crate) options: Value,
    pub(crate) need: StepUpNeed,
    pub(crate) until: Timestamp,
}

impl PasskeyCeremonies {
    /// The relying party for that origin.
    pub(crate) fn new(origin: &Origin, provider: &ProviderId) -> Self {
        let relying_party = relying_party(origin, provider);
        if let Err(error) = &relying_party {
            tracing::warn!(%error, "passkeys are not available at this origin");
        }
        Self { relying_party: relying_party.ok(), under_way: Mutex::default() }
    }

    /// The relying party, if the origin allows one.
    pub(crate) fn relying_party(&self) -> Result<&Webauthn, Refusal> {
        let absent = || Refusal::bad_request("this provider cannot use passkeys, because its origin is an IP address");
        self.relying_party.as_ref().ok_or_else(absent)
    }

    /// The ceremonies that have not expired.
    pub(crate) fn under_way(&self, now: Timestamp) -> MutexGuard<'_, UnderWay> {
        // Every change is atomic, so a panic leaves no half-made change.
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.enrolments.retain(|_, enrolment| now < enrolment.until);
        under_way.step_ups.retain(|_, challenged| now <= challenged.until);
        under_way.asserted.retain(|_, (_, until)| now <= *until);
        under_way
    }
}

fn relying_party(origin: &Origin, provider: &ProviderId) -> Result<Webauthn, WebauthnError> {
    let url = Url::parse(origin.as_str()).map_err(|_malformed| WebauthnError::Configuration)?;
    let host = url.domain().ok_or(WebauthnError::Configuration)?.to_owned();
    WebauthnBuilder::new(&host, &url)?.rp_name(provider.as_str()).allow_subdomains(false).allow_any_port(false).build()
}
