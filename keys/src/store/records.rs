//! What the store keeps, record by record, and the words for it.
//!
//! Records are plain values; whoever reads a key out of one checks it anew
//! ([`KeyRecord::verification_key`]).

use serde::{Deserialize, Serialize};

use crate::enrolment::{Code, TicketHash};
use crate::identity::{KeyId, Uid, Username};
use crate::keyring::KeyRecord;
use crate::time::Timestamp;

/// A UCloud user, connected or not.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The user.
    pub username: Username,
    /// The user's account here; `None` after a disconnection.
    pub connection: Option<Connection>,
    /// The ids of the user's keys, the oldest first, whatever their state.
    pub kids: Vec<KeyId>,
}

/// What a user is connected to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The account's uid.
    pub uid: Uid,
    /// The account's login name when it was connected: another name later means another account.
    pub account: String,
    /// Since when.
    pub since: Timestamp,
    /// The public half of the account's instance key: SubjectPublicKeyInfo, standard base64 of the
    /// DER.
    pub instance_key: String,
    /// Whether Core has heard of it.
    pub core_told: bool,
    /// When it was last approved, if that was not the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed: Option<Timestamp>,
    /// When its time was over, once that has been noted: it stands for nothing until it is approved
    /// anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Timestamp>,
    /// Whether Core named the user to the user's own browser, or the site's user mapper named the
    /// account. One for which neither did gives way to one for which Core did.
    #[serde(default)]
    pub is_confirmed: bool,
}

impl Connection {
    /// When it was last approved: its time counts from then.
    #[must_use]
    pub fn approved(&self) -> Timestamp {
        self.renewed.unwrap_or(self.since)
    }

    /// The first second at which it stands for nothing, where a connection lasts so many seconds
    /// from its approval; `None`: it does not end by itself. Once it was over it stays so, whatever
    /// the configuration says later.
    #[must_use]
    pub fn end(&self, lasts_s: Option<i64>) -> Option<Timestamp> {
        self.over.or_else(|| lasts_s.map(|lasts_s| self.approved().plus(lasts_s)))
    }
}

/// A ticket, known by its hash alone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// SHA-256 of the ticket.
    pub hash: TicketHash,
    /// Whom it connects.
    pub username: Username,
    /// Where it was begun.
    pub begun: Begun,
    /// The only uid that may approve: whoever began it here, or what the user mapper said.
    pub bound_to: Option<Uid>,
    /// What the offer's proof has to contain.
    pub nonce: String,
    /// When it was begun.
    pub created: Timestamp,
    /// The first second at which it is good for nothing.
    pub until: Timestamp,
    /// When Core named the user to the browser of a connection that was begun here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Timestamp>,
    /// What became of it.
    pub state: TicketState,
}

impl Ticket {
    /// Whether Core has named the user to the browser that has this ticket.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        matches!(self.begun, Begun::AtCore) || self.confirmed.is_some()
    }
}

/// Where a connection was begun.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Begun {
    /// By Core, with `integration/connect`.
    AtCore,
    /// Here, with `connect start`.
    AtTheCentre,
}

/// The life of a ticket.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum TicketState {
    /// No key was offered.
    Open,
    /// One was, and waits for approval.
    Offered {
        /// The offer.
        offer: Offer,
    },
    /// Its key was approved.
    Approved {
        /// The key.
        kid: KeyId,
        /// Whether somebody offered another key afterwards, and so has had the ticket as well.
        second_offer: bool,
    },
    /// Nothing can come of it.
    Dead {
        /// Why.
        why: Death,
    },
}

/// Why a ticket is dead.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Death {
    /// A second key was offered: somebody else has the ticket.
    SecondOffer,
    /// Its time ran out.
    Expired,
    /// Later tickets took its place, or it confirmed a connection that was begun at the centre.
    Withdrawn,
}

/// A key that was offered, and verifies nothing.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// What names ticket, user and key to whoever approves.
    pub code: Code,
    /// The key as it will be; its times are set at approval.
    pub key: KeyRecord,
    /// When.
    pub at: Timestamp,
    /// From where, as the gateway saw it.
    pub address: String,
}

/// Something that Core has still to be told. One a user: a later one takes the place of an earlier.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Errand {
    /// About whom.
    pub username: Username,
    /// What.
    pub tell: Tell,
    /// Tells it from an errand that took its place while it was being run.
    pub number: u64,
}

/// What Core is told.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tell {
    /// The user is connected. Core is told to clear the connection first, always.
    #[serde(alias = "clear_then_approve")]
    Approve,
    /// The user is no longer connected.
    Clear,
}
