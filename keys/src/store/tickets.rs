//! Tickets: open, offered, then approved or dead, each step in one transaction.
//!
//! A ticket accepts one offer; a second offer kills it (protocol, section 6, step 2). Only the
//! ticket's hash is stored. `ticket_limits` limits the number of tickets.

use super::records::{Death, Offer, Ticket, TicketState};
use super::registry::{Confirmation, Ended, Naming, NewConnection, NotChanged, Registry, RegistryRejection, connect};
use super::typed::{fetch, put};
use super::{Interrupted, Store, Table, Transaction, decode};
use crate::enrolment::{Code, TicketHash};
use crate::identity::{KeyId, Uid};
use crate::time::Timestamp;

/// How long a ticket is kept after its end, in seconds, so that an open page learns the result.
const REMEMBERED_S: i64 = 60 * 60;

/// Why a step is not allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TicketRejection {
    /// No such ticket or code: never issued, mistyped or removed.
    #[error("no such ticket")]
    Unknown,
    /// The ticket is dead.
    #[error("the ticket is dead")]
    Dead(Death),
    /// This is the second offer, which kills the ticket.
    #[error("a second key was offered for this ticket")]
    SecondOffer,
    /// No key was offered yet.
    #[error("no key was offered for this ticket")]
    NotOffered,
    /// The key is approved already.
    #[error("this key is already approved")]
    AlreadyApproved,
    /// The ticket is bound to another uid.
    #[error("another account must approve this connection")]
    BoundToAnother,
    /// The sender has too many tickets with an offer.
    #[error("too many connections are unfinished: finish one, or wait until they expire")]
    TooMany,
    /// The connection is not allowed.
    #[error(transparent)]
    Registry(#[from] RegistryRejection),
}

enum Offered {
    Taken(Ticket),
    Killed,
}

impl<S: Store> Registry<S> {
    /// The ticket with this hash. An expired ticket is returned as dead.
    ///
    /// # Errors
    /// There is none, or the store failed.
    pub fn ticket(&self, hash: &TicketHash, now: Timestamp) -> Result<Ticket, NotChanged<TicketRejection>> {
        let value = self.store().read(Table::Tickets, hash.as_bytes())?;
        let ticket: Option<Ticket> = value.map(|value| decode(Table::Tickets, &value)).transpose()?;
        match ticket {
            Some(ticket) if !is_past(&ticket, now) => Ok(aged(ticket, now)),
            Some(_) | None => Err(NotChanged::Rejected(TicketRejection::Unknown)),
        }
    }

    /// The ticket for whose offer this is the code.
    ///
    /// # Errors
    /// There is none, or the store failed.
    pub fn ticket_of_code(&self, code: &Code, now: Timestamp) -> Result<Ticket, NotChanged<TicketRejection>> {
        let value = self.store().read(Table::Codes, code.as_str().as_bytes())?;
        let hash: Option<TicketHash> = value.map(|value| decode(Table::Codes, &value)).transpose()?;
        self.ticket(&hash.ok_or(NotChanged::Rejected(TicketRejection::Unknown))?, now)
    }

    /// Offers a key for a ticket. The first offer is accepted, a second one kills the ticket.
    ///
    /// # Errors
    /// The rules do not allow it, or the store failed.
    pub fn offer(
        &self,
        hash: &TicketHash,
        offer: &Offer,
        now: Timestamp,
    ) -> Result<Ticket, NotChanged<TicketRejection>> {
        let offered = self.change(|transaction| {
            let Some(mut ticket) = read_ticket(transaction, hash)?.filter(|ticket| !is_past(ticket, now)) else {
                return Ok(Err(TicketRejection::Unknown));
            };
            if let Some(why) = ticket.judged(now) {
                return Ok(Err(TicketRejection::Dead(why)));
            }
            let outcome = match &ticket.state {
                TicketState::Open => {
                    ticket.state = TicketState::Offered { offer: offer.clone() };
                    put(transaction, Table::Codes, offer.code.as_str().as_bytes(), hash)?;
                    Offered::Taken(ticket.clone())
                }
                TicketState::Offered { offer: first } => {
                    transaction.remove(Table::Codes, first.code.as_str().as_bytes())?;
                    ticket.state = TicketState::Dead { why: Death::SecondOffer };
                    Offered::Killed
                }
                TicketState::Approved { kid, .. } => {
                    ticket.state = TicketState::Approved { kid: *kid, second_offer: true };
                    Offered::Killed
                }
                TicketState::Dead { why } => return Ok(Err(TicketRejection::Dead(*why))),
            };
            put_ticket(transaction, &ticket)?;
            Ok(Ok(outcome))
        })?;
        match offered {
            Offered::Taken(ticket) => Ok(ticket),
            Offered::Killed => Err(NotChanged::Rejected(TicketRejection::SecondOffer)),
        }
    }

    /// Approves the offer with this code: connects the user and activates the key. `new.key` is the
    /// offered key with its times set. Returns the user's earlier connection, if this one replaces
    /// it.
    ///
    /// # Errors
    /// The rules do not allow it, or the store failed.
    pub fn approve(
        &self,
        code: &Code,
        new: &NewConnection,
        now: Timestamp,
    ) -> Result<Option<Ended>, NotChanged<TicketRejection>> {
        self.change(|transaction| {
            let hash: Option<TicketHash> = fetch(transaction, Table::Codes, code.as_str().as_bytes())?;
            let ticket = match hash {
                Some(hash) => read_ticket(transaction, &hash)?.filter(|ticket| !is_past(ticket, now)),
                None => None,
            };
            let Some(mut ticket) = ticket else {
                return Ok(Err(TicketRejection::Unknown));
            };
            if let Err(rejection) = ticket.may_approve(new.uid, now) {
                return Ok(Err(rejection));
            }
            let TicketState::Offered { offer } = &ticket.state else {
                return Ok(Err(TicketRejection::NotOffered));
            };
            let same = offer.code == *code && offer.key.spki == new.key.spki && offer.key.kid == new.key.kid;
            if !same || ticket.username != new.key.owner {
                return Ok(Err(TicketRejection::Unknown));
            }
            let is_confirmed = ticket.is_confirmed() || new.naming == Naming::BySite;
            let confirmation = if is_confirmed { Confirmation::Given } else { Confirmation::Missing };
            let displaced = match connect(transaction, new, confirmation)? {
                Ok(displaced) => displaced,
                Err(rejection) => return Ok(Err(rejection.into())),
            };
            ticket.state = TicketState::Approved { kid: new.key.kid, second_offer: false };
            put_ticket(transaction, &ticket)?;
            Ok(Ok(displaced))
        })
    }
}

impl Ticket {
    /// Why the ticket is dead at that moment; `None` if it is not. An approved ticket does not
    /// expire.
    #[must_use]
    pub fn judged(&self, now: Timestamp) -> Option<Death> {
        match &self.state {
            TicketState::Dead { why } => Some(*why),
            TicketState::Open | TicketState::Offered { .. } => (now >= self.until).then_some(Death::Expired),
            TicketState::Approved { .. } => None,
        }
    }

    /// The offer, if that uid may approve it at that moment.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may_approve(&self, uid: Uid, now: Timestamp) -> Result<&Offer, TicketRejection> {
        if self.bound_to.is_some_and(|bound| bound != uid) {
            return Err(TicketRejection::BoundToAnother);
        }
        if let Some(why) = self.judged(now) {
            return Err(TicketRejection::Dead(why));
        }
        match &self.state {
            TicketState::Offered { offer } => Ok(offer),
            TicketState::Open => Err(TicketRejection::NotOffered),
            TicketState::Approved { .. } => Err(TicketRejection::AlreadyApproved),
            TicketState::Dead { why } => Err(TicketRejection::Dead(*why)),
        }
    }

    /// The offered or approved key.
    #[must_use]
    pub fn kid(&self) -> Option<KeyId> {
        match &self.state {
            TicketState::Offered { offer } => Some(offer.key.kid),
            TicketState::Approved { kid, .. } => Some(*kid),
            TicketState::Open | TicketState::Dead { .. } => None,
        }
    }
}

fn aged(mut ticket: Ticket, now: Timestamp) -> Ticket {
    if let Some(why) = ticket.judged(now) {
        ticket.state = TicketState::Dead { why };
    }
    ticket
}

pub(super) fn is_past(ticket: &Ticket, now: Timestamp) -> bool {
    now >= ticket.until.plus(REMEMBERED_S)
}

pub(super) fn read_ticket(transaction: &dyn Transaction, hash: &TicketHash) -> Result<Option<Ticket>, Interrupted> {
    fetch(transaction, Table::Tickets, hash.as_bytes())
}

pub(super) fn put_ticket(transaction: &dyn Transaction, ticket: &Ticket) -> Result<(), Interrupted> {
    put(transaction, Table::Tickets, ticket.hash.as_bytes(), ticket)
}
