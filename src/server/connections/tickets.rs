//! Begins connections: makes a ticket for a user, for Core or for a local account.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::enrolment::{TICKET_LIFETIME_S, Ticket};
use countersign_keys::identity::{Uid, Username};
use countersign_keys::secret::Secret;
use countersign_keys::store::StoreFailure;
use countersign_keys::store::records::{self, Begun, TicketState};
use countersign_keys::store::registry::NotChanged;
use countersign_keys::store::tickets::TicketRejection;
use countersign_keys::time::Timestamp;
use std::sync::Arc;

use crate::audit::record::AuditedAction;
use crate::http::reply::{Refusal, registry_refusal};
use crate::state::Server;
use crate::turns::Asker;
use countersign_config::{Mapper, MappingStart};
use countersign_ipc::error_code::ErrorCode;
use countersign_os::clock::random_bytes;

/// A new ticket, the only time that it exists in clear text.
pub(crate) struct NewTicket {
    /// The ticket, base64url.
    pub(crate) text: Secret<String>,
    /// The first second at which it is void.
    pub(crate) until: Timestamp,
}

/// URL of the connection page. Without a ticket the page explains how to begin at the centre.
pub(crate) fn page_url(server: &Server) -> String {
    format!("{}/ucloud/{}/connect", server.config.provider.origin.as_str(), server.config.provider.id)
}

/// Makes a ticket. If it is bound to a uid, only that uid can approve an offer for it.
pub(crate) async fn begin(
    server: &Arc<Server>,
    action: &AuditedAction<'_>,
    username: Username,
    begun: Begun,
    bound_to: Option<Uid>,
) -> Result<NewTicket, Refusal> {
    let now = server.clock.now()?;
    let ticket = Ticket::from_bytes(random_bytes()?);
    let nonce = URL_SAFE_NO_PAD.encode(random_bytes::<16>()?);
    let until = now.plus(TICKET_LIFETIME_S);
    let record = records::Ticket {
        hash: ticket.hash(),
        username,
        begun,
        bound_to,
        nonce,
        created: now,
        until,
        confirmed: None,
        state: TicketState::Open,
    };
    server.record(&AuditedAction { username: Some(&record.username), ..*action })?;
    tracing::info!(username = %record.username, ?begun, "began a connection");
    let records = Arc::clone(&server.records);
    let asker = bound_to.map_or(Asker::Core, Asker::Account);
    server.blocking(asker, move || records.open_ticket(&record, now).map_err(refusal)).await?;
    Ok(NewTicket { text: ticket.to_secret_text(), until })
}

/// The answer for an unknown code or ticket.
pub(crate) const NO_SUCH_OFFER: &str =
    "No offer matches this. Links and codes are valid for 15 minutes: get a new one from the connection page";

/// Whether Core must still name the user before an offer for this ticket can be approved. Not
/// needed where the site's program maps users, or if the account is connected to that user already.
pub(crate) fn is_unconfirmed(server: &Server, ticket: &records::Ticket) -> Result<bool, StoreFailure> {
    if ticket.is_confirmed() || matches!(server.config.mapping.by, Mapper::Command { .. }) {
        return Ok(false);
    }
    let connection = server.records.user(&ticket.username)?.and_then(|user| user.connection);
    Ok(connection.is_none_or(|connection| Some(connection.uid) != ticket.bound_to))
}

/// Refuses Core's ticket if connections begin only at the centre. Such a ticket confirms a
/// connection and accepts no key.
pub(crate) fn refuse_begun_at_core(server: &Server, ticket: &records::Ticket) -> Result<(), Refusal> {
    if ticket.begun == Begun::AtCore && server.config.mapping.start == MappingStart::Provider {
        let why = "connections to this provider begin at the computing centre, with countersign connect start";
        return Err(Refusal::new(ErrorCode::Conflict, why));
    }
    Ok(())
}

/// The refusal for a step with a ticket. An unknown ticket and a forgotten one get the same answer.
pub(crate) fn refusal(not_changed: NotChanged<TicketRejection>) -> Refusal {
    let rejection = match not_changed {
        NotChanged::Failed(failure) => return failure.into(),
        NotChanged::Rejected(rejection) => rejection,
    };
    let why = rejection.to_string();
    match rejection {
        TicketRejection::Unknown => Refusal::not_found(NO_SUCH_OFFER),
        TicketRejection::Dead(_) | TicketRejection::SecondOffer => Refusal::new(ErrorCode::TicketDead, why),
        TicketRejection::NotOffered | TicketRejection::AlreadyApproved => Refusal::new(ErrorCode::Conflict, why),
        TicketRejection::BoundToAnother => Refusal::new(ErrorCode::NotYours, why),
        TicketRejection::TooMany => Refusal::too_many(why),
        TicketRejection::Registry(rejection) => registry_refusal(rejection),
    }
}
