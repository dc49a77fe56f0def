//! Sockets that a one-time token opens (protocol, section 7): for a shell, and for an upload.
//!
//! Token and proof are judged before the instance sees a byte; what follows is between the user and
//! their own instance. An upload's bytes go through as they come. A shell's proof may also come in
//! its first message: then nothing goes on before that was judged.

use countersign_keys::identity::{KeyId, Username};
use countersign_keys::session::PresentedSession;

use super::super::admit::Reuse;
use super::super::forward;
use super::super::ingress::{AuditContext, Client, Ingress};
use super::super::instance_answer::Content;
use super::super::refusal::Refusal;
use super::super::request_id::RequestId;
use super::super::response::Answer;
use super::super::upgrade::Key;
use super::super::upstream::{Switched, Switching};

/// A session whose instance has switched.
pub(super) struct Opened {
    pub(super) username: Username,
    /// The key that proved it; none where the site does not ask for a proof.
    pub(super) kid: Option<KeyId>,
    pub(super) instance: Switched,
}

impl Ingress {
    /// Uses up token and proof and has the instance switch, which judges both again.
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
