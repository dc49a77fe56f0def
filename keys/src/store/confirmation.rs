//! Core's confirmation of the user's name, for a connection that was begun at the centre (protocol,
//! section 6).
//!
//! A local account can begin a connection under any name. The browser that offers the key must
//! therefore show a second ticket, which Core began for the user of that name. Only a browser that
//! is signed in at UCloud under that name can have one (V69).

use super::records::{Begun, Death, Ticket, TicketState};
use super::registry::{NotChanged, Registry};
use super::tickets::{TicketRejection, is_past, put_ticket, read_ticket};
use super::{Interrupted, Store, Table, Transaction};
use crate::enrolment::TicketHash;
use crate::time::Timestamp;

impl<S: Store> Registry<S> {
    /// Confirms a connection that was begun here with a ticket that Core began for the same user.
    /// Core's ticket is consumed. The key still needs its approval.
    ///
    /// # Errors
    /// A ticket is of the wrong kind or finished, the tickets are for two users, or the store
    /// failed.
    pub fn confirm(
        &self,
        begun_here: &TicketHash,
        begun_at_core: &TicketHash,
        now: Timestamp,
    ) -> Result<Ticket, NotChanged<TicketRejection>> {
        self.change(|transaction| {
            let here = read(transaction, begun_here, Begun::AtTheCentre, now)?;
            let at_core = read(transaction, begun_at_core, Begun::AtCore, now)?;
            let (mut here, mut at_core) = match (here, at_core) {
                (Ok(here), Ok(at_core)) => (here, at_core),
                (Err(rejection), _) | (_, Err(rejection)) => return Ok(Err(rejection)),
            };
            if here.username != at_core.username {
                return Ok(Err(TicketRejection::Unknown));
            }
            if let TicketState::Offered { offer } = &at_core.state {
                transaction.remove(Table::Codes, offer.code.as_str().as_bytes())?;
            }
            at_core.state = TicketState::Dead { why: Death::Withdrawn };
            here.confirmed = Some(now);
            put_ticket(transaction, &at_core)?;
            put_ticket(transaction, &here)?;
            Ok(Ok(here))
        })
    }
}

/// Reads a ticket of that kind that is not finished.
fn read(
    transaction: &dyn Transaction,
    hash: &TicketHash,
    begun: Begun,
    now: Timestamp,
) -> Result<Result<Ticket, TicketRejection>, Interrupted> {
    let ticket = read_ticket(transaction, hash)?.filter(|ticket| !is_past(ticket, now) && ticket.begun == begun);
    let Some(ticket) = ticket else { return Ok(Err(TicketRejection::Unknown)) };
    Ok(match (ticket.judged(now), &ticket.state) {
        (Some(why), _) => Err(TicketRejection::Dead(why)),
        (None, TicketState::Approved { .. }) => Err(TicketRejection::AlreadyApproved),
        (None, TicketState::Open | TicketState::Offered { .. } | TicketState::Dead { .. }) => Ok(ticket),
    })
}
