//! The claim of a token that opens an interface of a job (protocol, section 12).
//!
//! A page keeps the address of an interface and opens it late, and again. So the token says itself
//! where it is redeemed, lives for hours, and may be redeemed again with a new proof each time.

use serde::{Deserialize, Serialize};

use crate::call::SessionEndpoint;
use crate::freshness::{FreshnessRejection, Window};
use crate::identity::Origin;
use crate::replay::Use;
use crate::time::Timestamp;

/// Lifetime of a token for an interface at a site that requires proofs, in seconds. Without a proof
/// such a token opens nothing.
pub const INTERFACE_LIFETIME_S: i64 = 12 * 3600;

/// Longest name of a place, in bytes: a job's number, a node and a target.
const PLACE_MAX: usize = 32;

/// Longest origin, in bytes: a scheme, a name of the DNS and a port.
const ORIGIN_MAX: usize = 272;

/// How users see an interface.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InterfaceKind {
    /// A web application, at a host name of its own.
    Web,
    /// A desktop, over a WebSocket at the provider's own host.
    Vnc,
}

/// The claim `interface` of a token.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceClaim {
    /// How users see it.
    pub kind: InterfaceKind,
    /// The name of the interface, as its instance reads it.
    pub place: String,
    /// The web origin at which the token is redeemed. Browsers that sign check it, because the page
    /// that has the token could send it elsewhere.
    pub origin: String,
}

impl InterfaceClaim {
    /// Whether a token with this claim, or without any, can be redeemed at an endpoint.
    pub(super) fn is_for(claim: Option<&Self>, endpoint: SessionEndpoint) -> bool {
        let kind = claim.map(|claim| claim.kind);
        match endpoint {
            SessionEndpoint::Web => kind == Some(InterfaceKind::Web),
            SessionEndpoint::VncSocket => kind == Some(InterfaceKind::Vnc),
            SessionEndpoint::Download
            | SessionEndpoint::ChunkedUpload
            | SessionEndpoint::UploadSocket
            | SessionEndpoint::ShellSocket => kind.is_none(),
        }
    }

    pub(super) fn is_well_formed(&self) -> bool {
        let is_place = |byte: u8| byte.is_ascii_digit() || byte == b'-';
        let is_short = self.place.len() <= PLACE_MAX && self.origin.len() <= ORIGIN_MAX;
        is_short && self.place.bytes().all(is_place) && self.origin.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// Whether a desktop is at the provider's own origin. The gateway compares that of a web
    /// interface with the host of the request.
    pub(super) fn is_at(&self, audience: &Origin) -> bool {
        match self.kind {
            InterfaceKind::Web => true,
            InterfaceKind::Vnc => self.origin == audience.as_str(),
        }
    }

    /// Whether the times of a token that is redeemed with a proof are acceptable. The proof is what
    /// is used once.
    pub(super) fn check_times(made: &Use, window: Window, now: Timestamp) -> Result<(), FreshnessRejection> {
        Window { lifetime_max_s: INTERFACE_LIFETIME_S, ..window }.check(made.iat, made.exp, now)
    }
}
