//! Endpoints of the connection page: describe a ticket, offer a key, follow the connection, and try
//! the new key (protocol, section 6).
//!
//! Anyone may call them, so the ticket is the only credential. An offered key verifies nothing. An
//! unknown ticket and a forgotten one get the same answer.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use countersign_keys::call::names;
use countersign_keys::enrolment::{Challenge, Code, Ticket};
use countersign_keys::identity::KeyId;
use countersign_keys::intent::{PresentedIntent, Terms, Version1};
use countersign_keys::json::Json;
use countersign_keys::jws::{Algorithm, sha256};
use countersign_keys::keyring::{KeyRecord, KeyRejection, KeyState, Protocol, VerificationKey};
use countersign_keys::request::INTENT_MAX;
use countersign_keys::store::records::{self, Death, Offer, TicketState};
use countersign_keys::store::registry::NotChanged;
use countersign_keys::store::tickets::TicketRejection;
use countersign_keys::time::Timestamp;
use qrcode::{Color, EcLevel, QrCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::tickets::{NO_SUCH_OFFER, is_unconfirmed, refusal, refuse_begun_at_core};
use crate::audit::record::AuditedAction;
use crate::direct;
use crate::http::reply::{Refusal, key_name, message};
use crate::state::{Server, log_failure};
use crate::turns::Asker;
use countersign_config::MappingStart;
use countersign_home::accounts::Account;
use countersign_ipc::alarm::Alarm;
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::server_protocol::POLL_MAX_S;
use countersign_os::clock::random_bytes;

/// Deepest nesting of an offer: the body, its JWK, the JWK's `key_ops`.
const OFFER_DEPTH_MAX: u8 = 3;

/// The name of a key for which the page gives none.
const UNNAMED: &str = "browser";

/// A ticket in a body. Tickets are never in URLs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketOnly {
    ticket: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusQuestion {
    ticket: String,
    #[serde(default)]
    after: Option<String>,
}

/// The ticket of a connection that was begun at the centre, and Core's ticket for the same user.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Confirm {
    ticket: String,
    ucloud_ticket: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Probe {
    ticket: String,
    intent: String,
}

/// The state of a connection.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_key: Option<Value>,
    core_told: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Death>,
    /// Another key was offered after this one was approved.
    second_offer: bool,
}

/// Describes a ticket. One that was begun at the centre names the account, so that a user who was
/// sent a link can see whose account it is.
pub(crate) async fn describe(server: &Server, body: &Bytes) -> Result<Value, Refusal> {
    let now = server.clock.now()?;
    let ticket = find(server, &message::<TicketOnly>(body)?.ticket, now)?;
    let status = status_of(server, &ticket)?;
    let window = server.config.terms().window;
    let account = match ticket.bound_to {
        Some(uid) => Some(
            server.blocking(Asker::Page, move || Ok(Account::name_of(uid).unwrap_or_else(|| uid.to_string()))).await?,
        ),
        None => None,
    };
    Ok(json!({
        "begun": ticket.begun,
        "begin": match server.config.mapping.start {
            MappingStart::Either => "either",
            MappingStart::Provider => "provider",
        },
        "account": account,
        "provider": server.config.provider.id.as_str(),
        "username": ticket.username,
        "nonce": ticket.nonce,
        "state": status.state,
        "expiresAt": ticket.until,
        "why": status.why,
        "now": now,
        "window": { "lifetimeMax": window.lifetime_max_s, "futureSkew": window.future_skew_s },
    }))
}

/// Accepts the first offer of a key. A second offer kills the ticket.
pub(crate) async fn offer(
    server: &Arc<Server>,
    body: &Bytes,
    address: String,
    action: &AuditedAction<'_>,
) -> Result<Value, Refusal> {
    let now = server.clock.now()?;
    let json = Json::parse(body, OFFER_DEPTH_MAX).map_err(|rejection| Refusal::bad_request(rejection.to_string()))?;
    let offered = OfferBody::read(&json)?;
    let ticket = find(server, offered.ticket, now)?;
    refuse_begun_at_core(server, &ticket)?;
    let key = VerificationKey::from_jwk_value(offered.jwk, offered.algorithm).map_err(|rejection| {
        if rejection == KeyRejection::Private {
            tracing::warn!(username = %ticket.username, %address, "refused a private key");
            server.alarms.raise(Alarm::PrivateKeySent, Some(&ticket.username));
        }
        key_refused(&rejection)
    })?;
    let challenge = Challenge {
        origin: &server.config.provider.origin,
        ticket: &ticket.hash,
        username: &ticket.username,
        nonce: &ticket.nonce,
    };
    challenge.verify(offered.proof, &key).map_err(|rejection| key_refused(&rejection))?;
    let kid = KeyId::from_bytes(random_bytes()?);
    let name = key_name(offered.name.unwrap_or(UNNAMED))?;
    let code = Code::of(&ticket.hash, &ticket.username, &key);
    let record = KeyRecord::new(ticket.username.clone(), kid, &key, Protocol::V2, (now, now), name);
    let note = format!("{} from {address}", key.fingerprint());
    server.record(&AuditedAction { username: Some(&ticket.username), kid: Some(kid), note: Some(&note), ..*action })?;
    let offer = Offer { code: code.clone(), key: record, at: now, address };
    let (records, hash) = (Arc::clone(&server.records), ticket.hash);
    let (alarmed, of) = (Arc::clone(server), ticket.username.clone());
    let take = move || {
        records.offer(&hash, &offer, now).map_err(|not_changed| {
            if matches!(not_changed, NotChanged::Rejected(TicketRejection::SecondOffer)) {
                alarmed.alarms.raise(Alarm::SecondOffer, Some(&of));
            }
            refusal(not_changed)
        })
    };
    let taken = server.blocking(Asker::Page, take).await;
    server.changed();
    taken.inspect_err(|refusal| {
        tracing::warn!(username = %ticket.username, %refusal, "refused an offered key");
    })?;
    tracing::info!(username = %ticket.username, %kid, fingerprint = key.fingerprint(), "key offered");
    let command = format!("countersign connect approve {code}");
    Ok(json!({
        "code": code.as_str(),
        "command": command,
        "qr": qr_modules(&command),
        "fingerprint": key.fingerprint(),
        "words": key.words(),
        "kid": kid,
    }))
}

/// The state of the connection; with `after`, waits until the state differs.
pub(crate) async fn status(server: &Arc<Server>, body: &Bytes) -> Result<Value, Refusal> {
    let question = message::<StatusQuestion>(body)?;
    let mut changes = server.changes.subscribe();
    let mut stop = server.stop.subscribe();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(POLL_MAX_S);
    let mut waiting = None;
    loop {
        changes.mark_unchanged();
        let ticket = find(server, &question.ticket, server.clock.now()?)?;
        let status = status_of(server, &ticket)?;
        let answer = || serde_json::to_value(&status).map_err(|error| Refusal::failure(&error));
        if question.after.as_deref() != Some(status.state) {
            return answer();
        }
        if waiting.is_none() {
            let polls = server.polls.begin(&ticket.hash);
            waiting = Some(polls.ok_or_else(|| Refusal::too_many("too many pages wait for this connection"))?);
        }
        tokio::select! {
            _ = changes.changed() => {}
            _ = stop.wait_for(|stop| *stop) => return answer(),
            () = tokio::time::sleep_until(deadline) => return answer(),
        }
    }
}

/// Confirms a connection that was begun at the centre, with the ticket that Core gave the browser
/// for the same user.
pub(crate) async fn confirm(server: &Arc<Server>, body: &Bytes, action: &AuditedAction<'_>) -> Result<Value, Refusal> {
    let now = server.clock.now()?;
    let Confirm { ticket, ucloud_ticket } = message(body)?;
    let (here, at_core) = (find(server, &ticket, now)?, find(server, &ucloud_ticket, now)?);
    server.record(&AuditedAction { username: Some(&here.username), ..*action })?;
    let records = Arc::clone(&server.records);
    server.blocking(Asker::Page, move || records.confirm(&here.hash, &at_core.hash, now).map_err(refusal)).await.map(
        |ticket| {
            tracing::info!(username = %ticket.username, "connection confirmed by UCloud");
            server.changed();
            json!({})
        },
    )
}

/// Tries the new key: verifies an intent of the call `connect.probe`, as the gateway would.
pub(crate) fn probe(server: &Server, body: &Bytes, action: &AuditedAction<'_>) -> Result<Value, Refusal> {
    let now = server.clock.now()?;
    let probe = message::<Probe>(body)?;
    let ticket = find(server, &probe.ticket, now)?;
    let invalid = |cause: &(dyn std::error::Error + 'static)| {
        log_failure("refused the first try of a key", cause);
        Refusal::new(ErrorCode::IntentInvalid, "the key's first signature does not verify")
    };
    let TicketState::Approved { kid, .. } = ticket.state else {
        return Err(Refusal::new(ErrorCode::Conflict, "no key was approved for this ticket"));
    };
    let terms = Terms { version_1: Version1::Refused, ..server.config.terms() };
    let keys = direct::key_of(server, &ticket.username, kid)?;
    let intent = PresentedIntent::parse(&probe.intent, INTENT_MAX, Version1::Refused)
        .and_then(|intent| intent.verify(&ticket.username, keys.as_slice(), &terms, now))
        .map_err(|rejection| invalid(&rejection))?;
    // The digest of an item without parameters.
    let nothing = sha256(&[b"{}"]);
    if intent.call().as_str() != names::CONNECT_PROBE || !intent.covers(&[nothing]) {
        return Err(invalid(&countersign_keys::intent::IntentRejection::Call));
    }
    server.record(&AuditedAction { username: Some(&ticket.username), kid: Some(kid), ..*action })?;
    Ok(json!({}))
}

/// The body of an offer, parsed strictly: a repeated member could mean two keys.
struct OfferBody<'j> {
    ticket: &'j str,
    jwk: &'j Json<'j>,
    algorithm: Algorithm,
    proof: &'j str,
    name: Option<&'j str>,
}

impl<'j> OfferBody<'j> {
    fn read(json: &'j Json<'j>) -> Result<Self, Refusal> {
        let members = json.members().unwrap_or_default();
        if !members.iter().all(|(name, _)| matches!(name.as_ref(), "ticket" | "jwk" | "alg" | "proof" | "name")) {
            return Err(Refusal::bad_request("an offer has the members ticket, jwk, alg, proof and name"));
        }
        let text = |name: &str| {
            json.member(name).and_then(Json::as_str).ok_or_else(|| Refusal::bad_request(format!("{name} is missing")))
        };
        Ok(Self {
            ticket: text("ticket")?,
            jwk: json.member("jwk").ok_or_else(|| Refusal::bad_request("jwk is missing"))?,
            algorithm: Algorithm::parse(text("alg")?)
                .ok_or_else(|| Refusal::bad_request("alg must be ES256, EdDSA, PS256 or RS256"))?,
            proof: text("proof")?,
            name: json.member("name").map(|_| text("name")).transpose()?,
        })
    }
}

fn find(server: &Server, ticket: &str, now: Timestamp) -> Result<records::Ticket, Refusal> {
    match Ticket::parse(ticket) {
        Ok(ticket) => server.records.ticket(&ticket.hash(), now).map_err(refusal),
        Err(_malformed) => Err(Refusal::not_found(NO_SUCH_OFFER)),
    }
}

/// The rows of modules of a QR code, `1` for dark, without the quiet zone, which the page draws.
/// Empty if the text is too long.
fn qr_modules(text: &str) -> Vec<String> {
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::M) else { return Vec::new() };
    let colours = code.to_colors();
    let row = |modules: &[Color]| modules.iter().map(|module| module.select('1', '0')).collect();
    colours.chunks(code.width()).map(row).collect()
}

fn key_refused(cause: &(dyn std::error::Error + 'static)) -> Refusal {
    Refusal::new(ErrorCode::KeyRefused, cause.to_string())
}

fn status_of(server: &Server, ticket: &records::Ticket) -> Result<Status, Refusal> {
    let nothing = Status {
        state: "open",
        kid: ticket.kid(),
        instance_key: None,
        core_told: false,
        why: None,
        second_offer: false,
    };
    Ok(match &ticket.state {
        TicketState::Open => nothing,
        TicketState::Offered { .. } if is_unconfirmed(server, ticket)? => Status { state: "unconfirmed", ..nothing },
        TicketState::Offered { .. } => Status { state: "offered", ..nothing },
        TicketState::Dead { why } => Status { state: "dead", why: Some(*why), ..nothing },
        TicketState::Approved { kid, second_offer } => {
            let connection = server.records.user(&ticket.username)?.and_then(|user| user.connection);
            // The user may now have another connection, which this ticket must not describe.
            let key = server.records.key(&ticket.username, kid)?;
            let speaks = key.is_some_and(|key| key.state == KeyState::Active);
            match connection.filter(|_| speaks) {
                Some(connection) => Status {
                    state: if connection.core_told { "connected" } else { "approved" },
                    instance_key: Some(instance_jwk(&connection.instance_key)?),
                    core_told: connection.core_told,
                    second_offer: *second_offer,
                    ..nothing
                },
                None => Status { state: "dead", why: Some(Death::Withdrawn), ..nothing },
            }
        }
    })
}

/// The public half of an instance key, as a JWK. The last 64 bytes of a P-256 key's SPKI are x and
/// y.
fn instance_jwk(spki: &str) -> Result<Value, Refusal> {
    let damaged = || Refusal::failure(&KeyRejection::Form);
    let der = STANDARD.decode(spki).map_err(|_malformed| damaged())?;
    let key =
        VerificationKey::from_spki_der(&der, Algorithm::Es256).map_err(|rejection| Refusal::failure(&rejection))?;
    let point = key.spki_der().last_chunk::<64>().ok_or_else(damaged)?;
    let (x, y) = point.split_at(32);
    Ok(json!({
        "kty": "EC",
        "crv": "P-256",
        "x": URL_SAFE_NO_PAD.encode(x),
        "y": URL_SAFE_NO_PAD.encode(y),
    }))
}
