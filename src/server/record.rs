//! The server's part of the log of decisions (P9): who was connected, who was given or lost a key,
//! what Core asked.
//!
//! What goes on to be done is written down before it is done, and a log that cannot be written
//! refuses it (P8); a refusal is written down with the reason that its sender never learns.
//! Refusals of strangers are counted. Looking at lists is no decision.

use std::net::IpAddr;
use std::time::Instant;

use countersign_keys::identity::{CallName, KeyId, Username};
use countersign_keys::verify::Rejection;
use time::OffsetDateTime;

use super::reply::Refusal;
use super::state::Server;
use crate::audit::{Decision, Process, Verdict, Weight};
use crate::limits::network_of;

/// What is to be written down, beside the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct AuditedAction<'d> {
    /// The request's id at the gateway; of an operation on this machine, whose it is.
    pub(super) request_id: &'d str,
    /// The operation, or the call's path with dots.
    pub(super) call: &'d str,
    /// For whom, once it is known.
    pub(super) username: Option<&'d Username>,
    /// With which key, once it is known.
    pub(super) kid: Option<KeyId>,
    /// What else an auditor wants to know.
    pub(super) note: Option<&'d str>,
    /// Who asks.
    pub(super) sender: Sender<'d>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sender<'d> {
    /// Somebody who has shown nothing, at that address if the gateway says so.
    Stranger(Option<IpAddr>),
    /// Core, a user or an account, by a name that their refusals are counted under.
    Known(&'d str),
}

impl<'d> AuditedAction<'d> {
    /// Of which neither user nor key is known.
    pub(super) const fn of(request_id: &'d str, call: &'d str) -> Self {
        Self { request_id, call, username: None, kid: None, note: None, sender: Sender::Known(call) }
    }

    /// The same, asked by somebody who has shown nothing.
    pub(super) const fn of_stranger(request_id: &'d str, call: &'d str, address: Option<IpAddr>) -> Self {
        Self { sender: Sender::Stranger(address), ..Self::of(request_id, call) }
    }
}

impl Server {
    /// Writes down what is about to be done.
    pub(super) fn record(&self, action: &AuditedAction<'_>) -> Result<(), Refusal> {
        self.write(action, Verdict::Forward, None, action.note, None)
    }

    /// Writes down what was refused, and hands the refusal on. If it cannot be written, nothing
    /// changes for the sender.
    pub(super) fn record_refusal(&self, action: &AuditedAction<'_>, refusal: Refusal) -> Refusal {
        let reason = refusal.to_string();
        self.record_with_reason(action, refusal, &reason)
    }

    /// The same for what was judged and rejected: the log has the rule that was broken, its sender
    /// the class alone.
    pub(super) fn record_rejection(
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
        // A path that is no name, of an operation that does not exist: the reason says what it was.
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
            counted: None,
        };
        let written = match weight {
            None => self.decisions.append(&decision),
            Some(weight) => self.decisions.note(&decision, weight, Instant::now()),
        };
        written.map_err(|error| Refusal::failure(&error))
    }
}
