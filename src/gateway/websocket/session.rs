//! Sockets opened by a one-time token (protocol, section 7): for a shell and for an upload.
//!
//! Verifies token and proof before the instance sees a byte; what follows is between the user and
//! the user's instance. An upload's bytes pass unread. A shell's proof may also come in its first
//! message; nothing is forwarded before it is verified.

use countersign_keys::identity::{KeyId, Username};
use countersign_keys::session::PresentedSession;

use crate::exchange::Exchange;
use crate::http1::upgrade::Key;
use crate::pipeline::forward;
use crate::pipeline::instance::Reuse;
use crate::response::Answer;
use crate::response::instance_answer::Content;
use crate::response::refusal::Refusal;
use crate::upstream::{Switched, Switching};

/// A session whose instance has switched.
pub(super) struct Opened {
    pub(super) username: Username,
    /// The key that signed the proof; `None` if the site asks for none.
    pub(super) kid: Option<KeyId>,
    pub(super) instance: Switched,
}

impl Exchange<'_> {
    /// Consumes token and proof and opens the instance's side, which verifies both again.
    pub(super) async fn open_session_socket(
        &mut self,
        presented: PresentedSession<'_>,
        key: &Key,
    ) -> Result<Result<Opened, Answer>, Refusal> {
        let gateway = self.gateway;
        let username = presented.claimed_username().clone();
        let authorised = self.judge_session(presented).await?;
        if gateway.sockets.begin(&username).is_none() {
            return Err(Refusal::TooMany);
        }
        let (permit, connection) = self.pass(authorised, Reuse::Fresh).await?;
        let kid = permit.kid();
        match forward::session_socket(permit, &gateway.provider, key, connection, &self.id).await? {
            Switching::Switched(instance) => Ok(Ok(Opened { username, kid, instance })),
            Switching::Answered(answer) => Ok(Err(answer.pass_on(Content::Json)?)),
        }
    }
}
