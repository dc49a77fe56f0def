//! Enrols passkeys and verifies their assertions (protocol, section 6). The relying party is the
//! provider's host, and user verification is always required.
//!
//! A step-up challenge is tied to one intent, to the last byte. It is valid once, and no longer
//! than that intent. Ceremonies are only in memory, so a restart discards them. webauthn-rs
//! verifies the signatures.

pub(crate) mod ceremonies;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::identity::{CallName, Username};
use countersign_keys::intent::{Consent, Fingerprint};
use countersign_keys::policy::StepUpNeed;
use countersign_keys::store::passkeys::{Asserted, PASSKEYS_MAX, Passkey, PasskeyRejection, PasskeyState, Passkeys};
use countersign_keys::store::registry::NotChanged;
use countersign_keys::time::Timestamp;
use serde_json::{Value, json};
use webauthn_rs::prelude::{
    Passkey as Credential, PublicKeyCredential, RegisterPublicKeyCredential, Uuid, WebauthnError,
};

use crate::http::reply::{Refusal, key_name};
use crate::passkeys::ceremonies::{
    Challenged, ENROLMENT_S, ENROLMENTS_MAX, Enrolment, STEP_UPS_EACH_MAX, STEP_UPS_MAX,
};
use crate::state::Server;
use countersign_ipc::alarm::Alarm;
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::gateway_protocol::{AssertionOutcome, StepUp};
use countersign_os::clock::random_bytes;

/// The passkeys of a user, for display.
pub(crate) fn list(server: &Server, username: &Username) -> Result<Value, Refusal> {
    let theirs = server.records.passkeys(username)?.map(|theirs| theirs.passkeys).unwrap_or_default();
    let shown = |passkey: &Passkey| {
        json!({
            "id": passkey.id,
            "name": passkey.name,
            "created": passkey.created,
            "lastUsed": passkey.last_used,
            "state": passkey.state,
        })
    };
    Ok(json!({ "passkeys": theirs.iter().map(shown).collect::<Vec<_>>() }))
}

/// Begins to enrol a passkey, on the request that `intent` signed.
pub(crate) fn begin(server: &Server, username: &Username, name: &str, intent: Fingerprint) -> Result<Value, Refusal> {
    let now = server.clock.now()?;
    let relying_party = server.passkeys.relying_party()?;
    let name = key_name(name)?;
    let theirs = server.records.passkeys(username)?;
    vouched(server, username, theirs.as_ref(), intent, now)?;
    let handle = match &theirs {
        Some(theirs) => theirs.handle,
        None => random_bytes()?,
    };
    let passkeys = theirs.map(|theirs| theirs.passkeys).unwrap_or_default();
    if passkeys.len() >= PASSKEYS_MAX {
        return Err(refused(&PasskeyRejection::TooMany));
    }
    let known = passkeys.iter().map(|passkey| credential(passkey).map(|known| known.cred_id().clone()));
    let known = known.collect::<Result<Vec<_>, _>>()?;
    let (options, state) = relying_party
        .start_passkey_registration(Uuid::from_bytes(handle), username.as_str(), username.as_str(), Some(known))
        .map_err(|error| Refusal::failure(&error))?;
    let options = serde_json::to_value(&options.public_key).map_err(|error| Refusal::failure(&error))?;
    let mut under_way = server.passkeys.under_way(now);
    if under_way.enrolments.len() >= ENROLMENTS_MAX && !under_way.enrolments.contains_key(username) {
        return Err(Refusal::too_many("too many passkeys are being enrolled; try again in a moment"));
    }
    let enrolment = Enrolment { state, handle, name, until: now.plus(ENROLMENT_S) };
    under_way.enrolments.insert(username.clone(), enrolment);
    Ok(json!({ "publicKey": options }))
}

/// Stores the passkey that an authenticator made.
pub(crate) fn finish(server: &Server, username: &Username, credential: &Value) -> Result<Value, Refusal> {
    let now = server.clock.now()?;
    let relying_party = server.passkeys.relying_party()?;
    let enrolment = server.passkeys.under_way(now).enrolments.remove(username);
    let enrolment = enrolment
        .ok_or_else(|| Refusal::new(ErrorCode::Conflict, "no passkey is being enrolled, or it took too long"))?;
    let unusable = |cause: &(dyn std::error::Error + 'static)| {
        tracing::warn!(%username, %cause, "refused a passkey");
        Refusal::new(ErrorCode::KeyRefused, "this passkey cannot be used")
    };
    let answer: RegisterPublicKeyCredential =
        serde_json::from_value(credential.clone()).map_err(|error| unusable(&error))?;
    let made =
        relying_party.finish_passkey_registration(&answer, &enrolment.state).map_err(|error| unusable(&error))?;
    let passkey = Passkey {
        id: URL_SAFE_NO_PAD.encode(made.cred_id()),
        name: enrolment.name,
        credential: serde_json::to_value(&made).map_err(|error| Refusal::failure(&error))?,
        counter: 0,
        created: now,
        last_used: None,
        state: PasskeyState::Active,
    };
    server.records.add_passkey(username, enrolment.handle, &passkey).map_err(not_changed)?;
    tracing::info!(%username, passkey = passkey.id, "passkey enrolled");
    Ok(json!({ "id": passkey.id }))
}

/// Removes a passkey, on the request that `intent` signed.
pub(crate) fn remove(server: &Server, username: &Username, id: &str, intent: Fingerprint) -> Result<Value, Refusal> {
    let theirs = server.records.passkeys(username)?;
    vouched(server, username, theirs.as_ref(), intent, server.clock.now()?)?;
    server.records.remove_passkey(username, id).map_err(not_changed)?;
    tracing::info!(%username, passkey = id, "passkey removed");
    Ok(json!({}))
}

/// If calls need a passkey, changing the user's passkeys needs one too. Otherwise an attacker
/// with only the signing key could enrol a passkey. The first passkey needs the signature only.
fn vouched(
    server: &Server,
    username: &Username,
    theirs: Option<&Passkeys>,
    intent: Fingerprint,
    now: Timestamp,
) -> Result<(), Refusal> {
    if server.config.served().intent.step_up.is_empty() || !theirs.is_some_and(has_active) {
        return Ok(());
    }
    match server.passkeys.under_way(now).asserted.remove(&intent) {
        Some((owner, _)) if owner == *username => Ok(()),
        Some(_) | None => Err(Refusal::new(ErrorCode::IntentStepUp, "one of your passkeys has to assert this first")),
    }
}

/// Whether an intent for that call needs a passkey's assertion.
pub(crate) fn need(server: &Server, call: &CallName, consent: Consent) -> StepUpNeed {
    let served = server.config.served();
    served.calls.row(call.as_str()).map_or(StepUpNeed::Always, |row| server.config.policy().step_up_of(row, consent))
}

/// The challenge for an intent that needs a passkey's assertion. Returns the open challenge again,
/// if there is one.
pub(crate) fn challenge(
    server: &Server,
    username: &Username,
    need: StepUpNeed,
    intent: Fingerprint,
    until: Timestamp,
) -> Result<StepUp, Refusal> {
    let now = server.clock.now()?;
    let theirs = server.records.passkeys(username)?;
    let active = theirs.as_ref().map(|theirs| theirs.passkeys.as_slice()).unwrap_or_default();
    let active = active.iter().filter(|passkey| passkey.state == PasskeyState::Active);
    let credentials = active.map(credential).collect::<Result<Vec<_>, _>>()?;
    match need {
        StepUpNeed::Never => return Ok(StepUp::NotNeeded),
        StepUpNeed::WhereThereIsOne if credentials.is_empty() => return Ok(StepUp::NotNeeded),
        StepUpNeed::Always if credentials.is_empty() => return Ok(StepUp::NoPasskey),
        StepUpNeed::WhereThereIsOne | StepUpNeed::Always => {}
    }
    let relying_party = server.passkeys.relying_party()?;
    let mut under_way = server.passkeys.under_way(now);
    if let Some(open) = under_way.step_ups.get(&intent).filter(|open| open.username == *username) {
        return Ok(StepUp::Challenge { options: open.options.clone() });
    }
    let of_user = under_way.step_ups.values().filter(|open| open.username == *username).count();
    // Each user's share shrinks with the room left.
    let share = STEP_UPS_EACH_MAX.min(STEP_UPS_MAX.saturating_sub(under_way.step_ups.len()));
    if of_user >= share {
        return Ok(StepUp::TooMany);
    }
    let (options, state) =
        relying_party.start_passkey_authentication(&credentials).map_err(|error| Refusal::failure(&error))?;
    let options = serde_json::to_value(&options.public_key).map_err(|error| Refusal::failure(&error))?;
    let challenged = Challenged { username: username.clone(), state, options: options.clone(), need, until };
    under_way.step_ups.insert(intent, challenged);
    Ok(StepUp::Challenge { options })
}

/// Verifies a passkey's assertion for an intent. Consumes the challenge, whatever the result.
pub(crate) fn assert(
    server: &Server,
    username: &Username,
    intent: Fingerprint,
    credential: &str,
) -> Result<AssertionOutcome, Refusal> {
    let now = server.clock.now()?;
    let relying_party = server.passkeys.relying_party()?;
    let refused = |why: &str| AssertionOutcome::Refused { why: why.to_owned() };
    let challenged = {
        let mut under_way = server.passkeys.under_way(now);
        match under_way.step_ups.remove(&intent) {
            Some(challenged) if challenged.username == *username => challenged,
            Some(_) | None => return Ok(refused("no challenge is open for this intent")),
        }
    };
    let Ok(presented) = serde_json::from_str::<PublicKeyCredential>(credential) else {
        return Ok(refused("the assertion is malformed"));
    };
    let id = URL_SAFE_NO_PAD.encode(presented.get_credential_id());
    let result = match relying_party.finish_passkey_authentication(&presented, &challenged.state) {
        Ok(result) => result,
        Err(WebauthnError::CredentialPossibleCompromise) => {
            alarm(server, username, &id);
            server.records.mark_passkey_copied(username, &id).map_err(not_changed)?;
            return Ok(refused("the passkey's counter went back"));
        }
        Err(error) => return Ok(refused(&format!("the assertion is not valid: {error:?}"))),
    };
    if !result.user_verified() {
        return Ok(refused("the authenticator did not verify the user"));
    }
    let theirs = server.records.passkeys(username)?.map(|theirs| theirs.passkeys).unwrap_or_default();
    let Some(passkey) = theirs.iter().find(|passkey| passkey.id == id) else {
        return Ok(refused("the passkey was removed in the meantime"));
    };
    let mut kept = self::credential(passkey)?;
    let changed = match kept.update_credential(&result) {
        Some(true) => Some(serde_json::to_value(&kept).map_err(|error| Refusal::failure(&error))?),
        Some(false) | None => None,
    };
    let used = Asserted { id, counter: result.counter(), credential: changed, at: now };
    match server.records.use_passkey(username, &used) {
        Ok(()) => {}
        Err(NotChanged::Rejected(rejection)) => {
            if rejection == PasskeyRejection::Copied {
                alarm(server, username, &used.id);
            }
            return Ok(refused(&rejection.to_string()));
        }
        Err(NotChanged::Failed(failure)) => return Err(failure.into()),
    }
    if challenged.need == StepUpNeed::WhereThereIsOne {
        // The server itself handles that call next, and looks the assertion up.
        let asserted = (username.clone(), challenged.until);
        server.passkeys.under_way(now).asserted.insert(intent, asserted);
    }
    Ok(AssertionOutcome::Good)
}

fn alarm(server: &Server, username: &Username, id: &str) {
    tracing::warn!(%username, passkey = id, "refused copied passkey");
    server.alarms.raise(Alarm::PasskeyCopied, Some(username));
}

fn has_active(theirs: &Passkeys) -> bool {
    theirs.passkeys.iter().any(|passkey| passkey.state == PasskeyState::Active)
}

/// The credential as webauthn-rs wrote it. An unreadable one is a damaged record, never an absent
/// one.
fn credential(passkey: &Passkey) -> Result<Credential, Refusal> {
    serde_json::from_value(passkey.credential.clone()).map_err(|error| Refusal::failure(&error))
}

fn refused(rejection: &PasskeyRejection) -> Refusal {
    let told = match rejection {
        PasskeyRejection::NotConnected | PasskeyRejection::NoSuchPasskey => ErrorCode::NotFound,
        PasskeyRejection::TooMany => ErrorCode::TooMany,
        PasskeyRejection::Exists => ErrorCode::KeyExists,
        PasskeyRejection::Copied => ErrorCode::KeyRefused,
    };
    Refusal::new(told, rejection.to_string())
}

fn not_changed(cause: NotChanged<PasskeyRejection>) -> Refusal {
    match cause {
        NotChanged::Rejected(rejection) => refused(&rejection),
        NotChanged::Failed(failure) => failure.into(),
    }
}
