//! Core's word for a name, for a connection that was begun at the centre (protocol, section 6).
//!
//! A local account can begin a connection under any name. So the browser that offers a key for it
//! shows a second ticket as well, which Core had made for the user of that name: a local account
//! that has not signed in at UCloud under that name has none (V69).

use super::records::{Begun, Death, Ticket, TicketState};
use super::registry::{NotChanged, Registry};
use super::tickets::{TicketRejection, is_past, put_ticket, read_ticket};
use super::{Interrupted, Store, Table, Transaction};
use crate::enrolment::TicketHash;
use crate::time::Timestamp;

impl<S: Store> Registry<S> {
    /// Confirms a connection that was begun here with a ticket that Core began for the same user,
    /// and uses up Core's ticket. The key of either is approved as before.
    ///
    /// # Errors
    /// One of the tickets is none of its kind, they are for two users, or nothing can come of one
    /// of them; or the store failed.
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

/// A ticket of that kind from which something can come still.
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
