//! An offer that may be shown to the one who typed its code.
//!
//! The server is asked for the offer and not believed (P3): the code is computed again from ticket,
//! user and key, and an offer with another code is a lie. So a server that was taken over cannot
//! put its own key in the place of the browser's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_keys::enrolment::{Code, TicketHash};
use countersign_keys::identity::Username;
use countersign_keys::keyring::{KeyRecord, KeyRejection, Protocol, VerificationKey};
use countersign_keys::time::Timestamp;

use crate::commands::text::{moment, span};
use crate::config::Config;
use crate::ipc::messages::{Begun, KEY_NAME_MAX, Offer};
use crate::quoted::{quoted, word};

/// Why an offer is not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfferLie {
    /// Ticket, user and key do not make this code.
    #[error(
        "the server answered with an offer that this code does not name. Approve nothing, and tell whoever runs this machine: \
         the server may have been taken over"
    )]
    Code,
    /// It is for another user than the connection was begun for.
    #[error(
        "the server answered with an offer for another user than asked for. Approve nothing, and tell whoever runs this machine"
    )]
    Username,
    /// It says that this is another provider than the configuration says.
    #[error("the server calls itself {}, which is not the provider of this machine's configuration", quoted(.0))]
    Provider(String),
    /// The page it sends browsers to is not ours.
    #[error(
        "the server sends browsers to a page that is not this provider's. Open nothing, and tell whoever runs this machine"
    )]
    Page,
    /// Ticket or key are not of their form.
    #[error("the offer has no well-formed ticket")]
    Ticket,
    /// The key is none.
    #[error("the offered key is refused")]
    Key(#[source] KeyRejection),
}

/// An offer that its code names.
#[derive(Debug)]
pub(super) struct CheckedOffer {
    offer: Offer,
    code: Code,
    key: VerificationKey,
}

impl CheckedOffer {
    /// Checks an offer against the code that was typed.
    pub(super) fn check(offer: Offer, typed: &Code, config: &Config) -> Result<Self, OfferLie> {
        let offer = Self::compute(offer, config)?;
        if offer.code == *typed { Ok(offer) } else { Err(OfferLie::Code) }
    }

    /// Checks an offer against the ticket and the user that a connection was begun here with.
    pub(super) fn check_begun_here(
        offer: Offer,
        ticket: &TicketHash,
        username: &Username,
        config: &Config,
    ) -> Result<Self, OfferLie> {
        if offer.username != *username {
            return Err(OfferLie::Username);
        }
        let offer = Self::compute(offer, config)?;
        if offer.code == Code::of(ticket, username, &offer.key) { Ok(offer) } else { Err(OfferLie::Code) }
    }

    fn compute(offer: Offer, config: &Config) -> Result<Self, OfferLie> {
        if offer.provider != config.provider.id.as_str() || offer.origin != config.provider.origin.as_str() {
            return Err(OfferLie::Provider(offer.provider));
        }
        let ticket = TicketHash::try_from(offer.ticket_hash.clone()).map_err(|_| OfferLie::Ticket)?;
        let der = STANDARD.decode(&offer.spki).map_err(|_| OfferLie::Key(KeyRejection::Form))?;
        let key = VerificationKey::from_spki_der(&der, offer.algorithm).map_err(OfferLie::Key)?;
        let code = Code::of(&ticket, &offer.username, &key);
        Ok(Self { offer, code, key })
    }

    /// The code that was computed.
    pub(super) const fn code(&self) -> &Code {
        &self.code
    }

    /// The UCloud user.
    pub(super) const fn username(&self) -> &Username {
        &self.offer.username
    }

    /// What is shown before the question.
    pub(super) fn in_words(&self, account: &str, now: Timestamp) -> String {
        let Offer { username, name, offered, address, begun, until, .. } = &self.offer;
        let begun = match begun {
            Begun::AtCore => "at UCloud",
            Begun::AtTheCentre => "here, with connect start",
        };
        let ago = span(now.since(*offered));
        format!(
            "UCloud user   {}\nlocal account {}\nkey           {}\n              {} ({})\noffered       {} ({ago} ago) from {} by {}\nbegun         {begun}\nvalid until   {}",
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

    /// The line to pin: never for longer than this machine's configuration lets keys live.
    pub(super) fn to_record(&self, now: Timestamp, lifetime_s: i64) -> KeyRecord {
        let expires = self.offer.key_expires.min(now.plus(lifetime_s));
        let name = short_name(&self.offer.name);
        KeyRecord::new(self.offer.username.clone(), self.offer.kid, &self.key, Protocol::V2, (now, expires), name)
    }
}

/// A name on one line and of a line's length.
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
