//! Logs each decision of the verifier. A decision that cannot be logged is refused.

use countersign_keys::session::{PresentedSession, SessionPermit};
use http::request::Parts;
use time::OffsetDateTime;

use crate::repair::Denied;
use crate::state::Instance;
use crate::verifier::{AuditContext, Refusal};
use countersign_audit::{Decision, Process, Verdict};
use countersign_ipc::error_code::ErrorCode;

impl Instance {
    /// Verifies a request with a token that this instance issued.
    pub(super) fn verify_session<'r>(
        &self,
        presented: PresentedSession<'r>,
        audit: &mut AuditContext,
    ) -> Result<SessionPermit<'r>, Refusal> {
        self.verifier.verify_session(
            presented,
            self.sessions.public_key(),
            (self.sessions.proof(), self.sessions.seal()),
            audit,
        )
    }

    /// Logs a decision. Returns what was permitted, or the answer to the sender. A decision that
    /// cannot be logged is refused.
    pub(super) fn log_decision<T>(
        &self,
        head: &Parts,
        audit: &AuditContext,
        outcome: Result<T, Refusal>,
    ) -> Result<T, Denied> {
        let (verdict, denied, reason) = match &outcome {
            Ok(_) => (Verdict::Forward, None, None),
            Err(refusal) => {
                let (verdict, denied) = Denied::of(refusal, &self.home);
                (verdict, Some(denied), Some(refusal.to_string()))
            }
        };
        let decision = Decision {
            time: OffsetDateTime::now_utc(),
            request_id: head.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("none"),
            process: Process::User,
            username: audit.username.as_ref(),
            call: audit.call.as_ref(),
            kid: audit.kid,
            decision: verdict,
            status: denied.as_ref().map(|denied| denied.code.number()),
            reason: reason.as_deref(),
            sealed: audit.sealed,
            counted: None,
        };
        if let Err(failure) = self.log.append(&decision) {
            tracing::error!(%failure, "cannot log the decision");
            return Err(Denied::row(ErrorCode::Failed));
        }
        outcome.map_err(|_refusal| denied.unwrap_or_else(|| Denied::row(ErrorCode::Failed)))
    }
}
