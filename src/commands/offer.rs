//! Verifies an offer before it is shown to the user who typed its code.
//!
//! The server supplies the offer and is not believed (P3). This computes the code again from
//! ticket, user and key, and refuses an offer with another code. A compromised server therefore
//! cannot replace the browser's key with its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_keys::enrolment::{Code, TicketHash};
use countersign_keys::identity::Username;
use countersign_keys::keyring::{KeyRecord, KeyRejection, Protocol, VerificationKey};
use countersign_keys::time::Timestamp;

use crate::commands::text::{moment, span};
use countersign_config::Config;
use countersign_ipc::server_protocol::{Begun, KEY_NAME_MAX, Offer};
use countersign_os::quoted::{quoted, word};

/// Why an offer is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfferMismatch {
    /// Ticket, user and key have another code.
    #[error(
        "the server answered with an offer that does not match this code. Approve nothing, and tell this machine's administrator: \
         the server may be compromised"
    )]
    Code,
    /// The offer is for another user than the one who begins the connection.
    #[error(
        "the server answered with an offer for another user than asked for. Approve nothing, and tell this machine's administrator"
    )]
    Username,
    /// The server names another provider than the configuration.
    #[error("the server calls itself {}, which is not the provider of this machine's configuration", quoted(.0))]
    Provider(String),
    /// The server's URL is not the provider's page.
    #[error(
        "the server sends browsers to a page that is not this provider's. Open nothing, and tell this machine's administrator"
    )]
    Page,
    /// The ticket is malformed.
    #[error("the offer's ticket is malformed")]
    Ticket,
    /// The key is invalid.
    #[error("the offered key is refused")]
    Key(#[source] KeyRejection),
}

/// An offer that matches its code.
#[derive(Debug)]
pub(super) struct CheckedOffer {
    offer: Offer,
    code: Code,
    key: VerificationKey,
}

impl CheckedOffer {
    /// Checks an offer against the typed code.
    pub(super) fn check(offer: Offer, typed: &Code, config: &Config) -> Result<Self, OfferMismatch> {
        let offer = Self::compute(offer, config)?;
        if offer.code == *typed { Ok(offer) } else { Err(OfferMismatch::Code) }
    }

    /// Checks an offer against the ticket and user of a connection that was begun here.
    pub(super) fn check_begun_here(
        offer: Offer,
        ticket: &TicketHash,
        username: &Username,
        config: &Config,
    ) -> Result<Self, OfferMismatch> {
        if offer.username != *username {
            return Err(OfferMismatch::Username);
        }
        let offer = Self::compute(offer, config)?;
        if offer.code == Code::of(ticket, username, &offer.key) { Ok(offer) } else { Err(OfferMismatch::Code) }
    }

    fn compute(offer: Offer, config: &Config) -> Result<Self, OfferMismatch> {
        if offer.provider != config.provider.id.as_str() || offer.origin != config.provider.origin.as_str() {
            return Err(OfferMismatch::Provider(offer.provider));
        }
        let ticket = TicketHash::try_from(offer.ticket_hash.clone()).map_err(|_| OfferMismatch::Ticket)?;
        let der = STANDARD.decode(&offer.spki).map_err(|_| OfferMismatch::Key(KeyRejection::Form))?;
        let key = VerificationKey::from_spki_der(&der, offer.algorithm).map_err(OfferMismatch::Key)?;
        let code = Code::of(&ticket, &offer.username, &key);
        Ok(Self { offer, code, key })
    }

    /// The computed code.
    pub(super) const fn code(&self) -> &Code {
        &self.code
    }

    /// The UCloud user.
    pub(super) const fn username(&self) -> &Username {
        &self.offer.username
    }

    /// The text shown before the question.
    pub(super) fn in_words(&self, account: &str, now: Timestamp) -> String {
        let Offer { username, name, offered, address, begun, until, .. } = &self.offer;
        let begun = match begun {
            Begun::AtCore => "at UCloud",
            Begun::AtTheCentre => "here, with connect start",
        };
        let ago = span(now.since(*offered));
        format!(
            "UCloud user   {}\nlocal account {}\nkey           {}\n              {} ({})\noffered       {} ({ago} ago) from {} by {}\nstarted       {begun}\nvalid until   {}",
            quoted(username.as_str()),
            quoted(account),
            self.key.words().join(" "),
            self.key.fingerprint(),
            self.key.algorithm().as_str(),
            moment(*offered),
            word(address),
            quoted(name),
            moment(*until),
        )
    }

    /// The record to pin. It expires no later than this machine's configuration allows.
    pub(super) fn to_record(&self, now: Timestamp, lifetime_s: i64) -> KeyRecord {
        let expires = self.offer.key_expires.min(now.plus(lifetime_s));
        let name = short_name(&self.offer.name);
        KeyRecord::new(self.offer.username.clone(), self.offer.kid, &self.key, Protocol::V2, (now, expires), name)
    }
}

/// A name without control characters, truncated to the allowed length.
pub(super) fn short_name(name: &str) -> String {
    let mut short = String::new();
    for c in name.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if short.len().saturating_add(c.len_utf8()) > KEY_NAME_MAX {
            break;
        }
        short.push(c);
    }
    short.trim().to_owned()
}
