//! Sockets that a one-time token opens (protocol, section 7): for a shell, and for an upload.
//!
//! Token and proof are judged before the instance sees a byte; what follows is between the user and their own instance. An upload's bytes go
//! through as they come. A shell's proof may also come in its first message: then nothing goes on before that was judged.

use std::sync::Arc;

use countersign_keys::call::SessionEndpoint;
use countersign_keys::identity::{KeyId, Username};
use countersign_keys::secret::Secret;
use countersign_keys::session::{Piece, PresentedSession, ProofNeed};
use http::request::Parts;

use super::super::admit::Way;
use super::super::forward;
use super::super::ingress::{Client, Ingress, Known};
use super::super::instance_answer::Content;
use super::super::refusal::Refusal;
use super::super::request_id::RequestId;
use super::super::respond::Answer;
use super::super::session::Asked;
use super::super::upgrade::Key;
use super::super::upstream::{Switched, Switching};
use super::shell::{Shell, Stage};
use super::tunnel::Tunnel;
use super::{Admitted, Outcome};

/// A session whose instance has switched.
pub(super) struct Opened {
    pub(super) username: Username,
    /// The key that proved it; none where the site does not ask for a proof.
    pub(super) kid: Option<KeyId>,
    pub(super) instance: Switched,
}

impl Ingress {
    /// Judges the upgrade of a session's socket. An instance that does not switch answers for itself.
    pub(super) async fn admit_session_socket(
        self: &Arc<Self>,
        endpoint: SessionEndpoint,
        head: &Parts,
        key: &Key,
        client: Client,
        id: &RequestId,
        known: &mut Known,
    ) -> Result<Outcome, Refusal> {
        let asked = Asked::of(endpoint, head)?;
        let presented = PresentedSession::parse(endpoint, asked.token, asked.proof, Piece::default())?;
        let awaits_proof =
            endpoint == SessionEndpoint::ShellSocket && asked.proof.is_none() && self.proof == ProofNeed::Required;
        if awaits_proof {
            let username = presented.claimed_username().clone();
            self.judge_token(presented, client, known).await?;
            let stage = Stage::AwaitsProof(Secret::new(asked.token.to_owned()));
            return Ok(Outcome::Admitted(Admitted::Shell(Shell {
                ingress: Arc::clone(self),
                client,
                username,
                stage,
            })));
        }
        let opened = match self.open_session_socket(presented, key, client, id, known).await? {
            Ok(opened) => opened,
            Err(answer) => return Ok(Outcome::Answered(answer)),
        };
        let ingress = Arc::clone(self);
        Ok(Outcome::Admitted(if endpoint == SessionEndpoint::ShellSocket {
            let username = opened.username.clone();
            Admitted::Shell(Shell { ingress, client, username, stage: Stage::Open(opened) })
        } else {
            Admitted::Tunnel(Tunnel { ingress, opened })
        }))
    }

    /// Uses up token and proof and has the instance switch, which judges both again.
    pub(super) async fn open_session_socket(
        &self,
        presented: PresentedSession<'_>,
        key: &Key,
        client: Client,
        id: &RequestId,
        known: &mut Known,
    ) -> Result<Result<Opened, Answer>, Refusal> {
        let username = presented.claimed_username().clone();
        let authorised = self.judge_session(presented, client, known).await?;
        if self.sockets.begin(&username).is_none() {
            return Err(Refusal::TooMany);
        }
        let (permit, connection) = self.pass(authorised, Way::Anew, id, known).await?;
        let kid = permit.kid();
        match forward::session_socket(permit, &self.provider, key, connection, id).await? {
            Switching::Switched(instance) => Ok(Ok(Opened { username, kid, instance })),
            Switching::Answered(answer) => Ok(Err(answer.pass_on(Content::Json)?)),
        }
    }
}
