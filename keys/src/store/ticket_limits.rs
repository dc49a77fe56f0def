//! Limits on the number of tickets, and the choice of the ticket to remove.
//!
//! A ticket counts for its sender: the user at Core, or the uid at the centre. A sender with too
//! many tickets loses the oldest of them. A ticket with an offer is never removed for its own
//! sender, so few of those are allowed. All tickets of one side are limited too: the oldest of that
//! side is removed. Each step reads the tickets of one sender, never the whole table.

use super::records::{Begun, Ticket, TicketState};
use super::registry::{NotChanged, Registry};
use super::tickets::{TicketRejection, is_past};
use super::typed::{fetch, put};
use super::{Interrupted, Store, StoreFailure, Table, Transaction, decode};
use crate::enrolment::TicketHash;
use crate::time::Timestamp;

/// Most stored tickets that Core began.
const AT_CORE_MAX: u64 = 6_000;

/// Most stored tickets that were begun here.
const AT_THE_CENTRE_MAX: u64 = 2_000;

/// Most tickets without an offer for one sender: a user who clicks again means the last one.
const OPEN_EACH_MAX: usize = 4;

/// Most tickets with an offer for one sender.
const OFFERED_EACH_MAX: usize = 4;

/// Most finished tickets for one sender. They are kept so that an open page learns the result.
const FINISHED_EACH_MAX: usize = 4;

/// Upper bound of a read of one sender's tickets: more than a sender can have.
const EACH_READ_MAX: usize = 64;

/// Upper bound of one sweep: more than there can be.
const SWEPT_MAX: usize = 16_000;

impl<S: Store> Registry<S> {
    /// Stores a new ticket, and removes the sender's surplus tickets.
    ///
    /// # Errors
    /// The sender has too many tickets with an offer, or the store failed.
    pub fn open_ticket(&self, ticket: &Ticket, now: Timestamp) -> Result<(), NotChanged<TicketRejection>> {
        let (mut open, mut offered, mut finished) = (Vec::new(), Vec::new(), Vec::new());
        for other in self.tickets_below(Table::TicketsBySender, &sender_of(ticket), EACH_READ_MAX)? {
            match (other.judged(now), &other.state) {
                (None, TicketState::Open) => open.push(other),
                (None, TicketState::Offered { .. }) => offered.push(other),
                (Some(_), _) | (None, TicketState::Approved { .. } | TicketState::Dead { .. }) => finished.push(other),
            }
        }
        if offered.len() >= OFFERED_EACH_MAX {
            return Err(NotChanged::Rejected(TicketRejection::TooMany));
        }
        // In the order of the index: oldest first.
        let mut forgotten: Vec<Ticket> = surplus(open, OPEN_EACH_MAX.saturating_sub(1)).collect();
        forgotten.extend(surplus(finished, FINISHED_EACH_MAX));
        if forgotten.is_empty() && self.tickets_begun(ticket.begun)? >= max_of(ticket.begun) {
            forgotten = self.tickets_below(Table::TicketsByAge, &[side_of(ticket.begun)], 1)?;
        }
        self.change(|transaction| {
            for other in &forgotten {
                // Read it again: a key may have been offered for it since.
                let is_now: Option<Ticket> = fetch(transaction, Table::Tickets, other.hash.as_bytes())?;
                if let Some(is_now) = is_now {
                    forget(transaction, &is_now)?;
                }
            }
            remember(transaction, ticket)?;
            Ok(Ok(()))
        })
    }

    /// Removes tickets that ended long ago. Returns their number.
    ///
    /// # Errors
    /// The store failed.
    pub fn forget_tickets(&self, now: Timestamp) -> Result<usize, StoreFailure> {
        let mut all = Vec::new();
        for (_, value) in self.store().scan(Table::Tickets, b"", None, SWEPT_MAX)? {
            all.push(decode::<Ticket>(Table::Tickets, &value)?);
        }
        let past: Vec<&Ticket> = all.iter().filter(|ticket| is_past(ticket, now)).collect();
        for ticket in &past {
            self.write(|transaction| forget(transaction, ticket))?;
        }
        // The code of an approved or dead ticket matches no offer, and is removed with the ticket.
        for (code, value) in self.store().scan(Table::Codes, b"", None, SWEPT_MAX)? {
            let hash: TicketHash = decode(Table::Codes, &value)?;
            if self.store().read(Table::Tickets, hash.as_bytes())?.is_none() {
                self.write(|transaction| transaction.remove(Table::Codes, &code))?;
            }
        }
        Ok(past.len())
    }

    /// The tickets under that prefix of an index, oldest first.
    fn tickets_below(&self, index: Table, prefix: &[u8], count: usize) -> Result<Vec<Ticket>, StoreFailure> {
        let mut tickets = Vec::new();
        for (_, value) in self.store().scan(index, prefix, None, count)? {
            let hash: TicketHash = decode(index, &value)?;
            tickets.extend(self.record::<Ticket>(Table::Tickets, hash.as_bytes())?);
        }
        Ok(tickets)
    }

    fn tickets_begun(&self, begun: Begun) -> Result<u64, StoreFailure> {
        Ok(self.record(Table::Counters, counter_of(begun))?.unwrap_or(0))
    }
}

/// All but the newest `kept`.
fn surplus(tickets: Vec<Ticket>, kept: usize) -> impl Iterator<Item = Ticket> {
    let count = tickets.len().saturating_sub(kept);
    tickets.into_iter().take(count)
}

fn remember(transaction: &dyn Transaction, ticket: &Ticket) -> Result<(), Interrupted> {
    put(transaction, Table::Tickets, ticket.hash.as_bytes(), ticket)?;
    put(transaction, Table::TicketsBySender, &by_sender(ticket), &ticket.hash)?;
    put(transaction, Table::TicketsByAge, &by_age(ticket), &ticket.hash)?;
    count(transaction, ticket.begun, |number| number.saturating_add(1))
}

/// Removes a ticket with its code and index entries. A ticket from before the indices has no
/// entries.
fn forget(transaction: &dyn Transaction, ticket: &Ticket) -> Result<(), Interrupted> {
    transaction.remove(Table::Tickets, ticket.hash.as_bytes())?;
    if let TicketState::Offered { offer } = &ticket.state {
        transaction.remove(Table::Codes, offer.code.as_str().as_bytes())?;
    }
    if transaction.read(Table::TicketsByAge, &by_age(ticket))?.is_some() {
        transaction.remove(Table::TicketsBySender, &by_sender(ticket))?;
        transaction.remove(Table::TicketsByAge, &by_age(ticket))?;
        count(transaction, ticket.begun, |number| number.saturating_sub(1))?;
    }
    Ok(())
}

fn count(transaction: &dyn Transaction, begun: Begun, change: impl Fn(u64) -> u64) -> Result<(), Interrupted> {
    let number: u64 = fetch(transaction, Table::Counters, counter_of(begun))?.unwrap_or(0);
    put(transaction, Table::Counters, counter_of(begun), &change(number))
}

const fn max_of(begun: Begun) -> u64 {
    match begun {
        Begun::AtCore => AT_CORE_MAX,
        Begun::AtTheCentre => AT_THE_CENTRE_MAX,
    }
}

const fn counter_of(begun: Begun) -> &'static [u8] {
    match begun {
        Begun::AtCore => b"tickets at core",
        Begun::AtTheCentre => b"tickets at the centre",
    }
}

const fn side_of(begun: Begun) -> u8 {
    match begun {
        Begun::AtCore => b'c',
        Begun::AtTheCentre => b'p',
    }
}

/// The prefix of a sender's tickets in the index. A username cannot contain a zero byte.
fn sender_of(ticket: &Ticket) -> Vec<u8> {
    let side = side_of(ticket.begun);
    match (ticket.begun, ticket.bound_to) {
        (Begun::AtTheCentre, Some(uid)) => [&[side][..], uid.0.to_string().as_bytes(), &[0]].concat(),
        (Begun::AtCore, _) | (Begun::AtTheCentre, None) => {
            [&[side][..], ticket.username.as_str().as_bytes(), &[0]].concat()
        }
    }
}

fn by_sender(ticket: &Ticket) -> Vec<u8> {
    [&sender_of(ticket)[..], &moment_of(ticket), ticket.hash.as_bytes()].concat()
}

fn by_age(ticket: &Ticket) -> Vec<u8> {
    [&[side_of(ticket.begun)][..], &moment_of(ticket), ticket.hash.as_bytes()].concat()
}

/// The time of creation, as bytes in sorting order. No ticket is older than 1970.
fn moment_of(ticket: &Ticket) -> [u8; 8] {
    u64::try_from(ticket.created.seconds()).unwrap_or(0).to_be_bytes()
}
