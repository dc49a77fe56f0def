//! Sockets opened by a one-time token (protocol, section 7): for a shell and for an upload.
//!
//! Verifies token and proof before the instance sees a byte; what follows is between the user and
//! the user's instance. An upload's bytes pass unread. A shell's proof may also come in its first
//! message; nothing is forwarded before it is verified.

use countersign_keys::identity::{KeyId, Username};
use countersign_keys::session::PresentedSession;

use crate::http1::upgrade::Key;
use crate::ingress::{AuditContext, Client, Ingress};
use crate::pipeline::core::Reuse;
use crate::pipeline::forward;
use crate::response::Answer;
use crate::response::instance_answer::Content;
use crate::response::refusal::Refusal;
use crate::response::request_id::RequestId;
use crate::upstream::{Switched, Switching};

/// A session whose instance has switched.
pub(super) struct Opened {
    pub(super) username: Username,
    /// The key that signed the proof; `None` if the site asks for none.
    pub(super) kid: Option<KeyId>,
    pub(super) instance: Switched,
}

impl Ingress {
    /// Consumes token and proof and opens the instance's side, which verifies both again.
    pub(super) async fn open_session_socket(
        &self,
        presented: PresentedSession<'_>,
        key: &Key,
        client: Client,
        id: &RequestId,
        known: &mut AuditContext,
    ) -> Result<Result<Opened, Answer>, Refusal> {
        let username = presented.claimed_username().clone();
        let authorised = self.judge_session(presented, client, known).await?;
        if self.sockets.begin(&username).is_none() {
            return Err(Refusal::TooMany);
        }
        let (permit, connection) = self.pass(authorised, Reuse::Fresh, id, known).await?;
        let kid = permit.kid();
        match forward::session_socket(permit, &self.provider, key, connection, id).await? {
            Switching::Switched(instance) => Ok(Ok(Opened { username, kid, instance })),
            Switching::Answered(answer) => Ok(Err(answer.pass_on(Content::Json)?)),
        }
    }
}
