//! The server's part of the decision log (P9): connections, keys given or lost, and Core's calls.
//!
//! Records an action before performing it, and refuses it if the log cannot be written (P8).
//! Records a refusal with its reason, which the sender never learns. Refusals of unauthenticated
//! senders are counted. Listing calls are not recorded.

use std::net::IpAddr;
use std::time::Instant;

use countersign_keys::identity::{CallName, KeyId, Username};
use countersign_keys::verify::Rejection;
use time::OffsetDateTime;

use crate::http::reply::Refusal;
use crate::state::Server;
use countersign_audit::{Decision, Process, Verdict, Weight};
use countersign_os::limits::network_of;

/// A record, without its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuditedAction<'d> {
    /// The request's id at the gateway, or the account for an operation on this machine.
    pub(crate) request_id: &'d str,
    /// The operation, or the call's path with dots.
    pub(crate) call: &'d str,
    /// The user, if known.
    pub(crate) username: Option<&'d Username>,
    /// The key, if known.
    pub(crate) kid: Option<KeyId>,
    /// Further facts for an auditor.
    pub(crate) note: Option<&'d str>,
    /// The sender.
    pub(crate) sender: Sender<'d>,
}

/// The sender of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sender<'d> {
    /// Not authenticated; with the client's address, if the gateway gave one.
    Stranger(Option<IpAddr>),
    /// Core, a user or an account, by the name under which their refusals are counted.
    Known(&'d str),
}

impl<'d> AuditedAction<'d> {
    /// An action without user and key.
    pub(crate) const fn of(request_id: &'d str, call: &'d str) -> Self {
        Self { request_id, call, username: None, kid: None, note: None, sender: Sender::Known(call) }
    }

    /// The same, from an unauthenticated sender.
    pub(crate) const fn of_stranger(request_id: &'d str, call: &'d str, address: Option<IpAddr>) -> Self {
        Self { sender: Sender::Stranger(address), ..Self::of(request_id, call) }
    }
}

impl Server {
    /// Records an action that will be performed.
    pub(crate) fn record(&self, action: &AuditedAction<'_>) -> Result<(), Refusal> {
        self.write(action, Verdict::Forward, None, action.note, None)
    }

    /// Records a refusal and returns it. If the record cannot be written, returns that failure
    /// instead.
    pub(crate) fn record_refusal(&self, action: &AuditedAction<'_>, refusal: Refusal) -> Refusal {
        let reason = refusal.to_string();
        self.record_with_reason(action, refusal, &reason)
    }

    /// Records a refusal by verification: the log gets the broken rule, the sender only the class.
    pub(crate) fn record_rejection(
        &self,
        action: &AuditedAction<'_>,
        rejection: &Rejection,
        refusal: Refusal,
    ) -> Refusal {
        self.record_with_reason(action, refusal, &rejection.to_string())
    }

    fn record_with_reason(&self, action: &AuditedAction<'_>, refusal: Refusal, reason: &str) -> Refusal {
        let verdict = if refusal.told.is_failure() { Verdict::Fail } else { Verdict::Refuse };
        let weight = match (action.sender, action.username) {
            (Sender::Stranger(address), _) => Weight::Stranger(address.map(network_of)),
            (Sender::Known(_), Some(username)) => Weight::Refusal(username.as_str()),
            (Sender::Known(name), None) => Weight::Refusal(name),
        };
        match self.write(action, verdict, Some(refusal.told.number()), Some(reason), Some(weight)) {
            Ok(()) => refusal,
            Err(failure) => failure,
        }
    }

    fn write(
        &self,
        action: &AuditedAction<'_>,
        decision: Verdict,
        status: Option<u16>,
        reason: Option<&str>,
        weight: Option<Weight<'_>>,
    ) -> Result<(), Refusal> {
        let now = self.clock.now()?;
        let time = OffsetDateTime::from_unix_timestamp(now.seconds()).map_err(|error| Refusal::failure(&error))?;
        // `None` for the path of an operation that does not exist; the reason then names it.
        let call = CallName::parse(&action.call.trim_start_matches('/').replace('/', ".")).ok();
        let decision = Decision {
            time,
            request_id: action.request_id,
            process: Process::Server,
            username: action.username,
            call: call.as_ref(),
            kid: action.kid,
            decision,
            status,
            reason,
            sealed: None,
            counted: None,
        };
        let written = match weight {
            None => self.decisions.append(&decision),
            Some(weight) => self.decisions.note(&decision, weight, Instant::now()),
        };
        written.map_err(|error| Refusal::failure(&error))
    }
}
