//! The pipeline for direct calls: that of [`crate::pipeline::core`], without Core.
//!
//! Until the signature is verified the sender is unauthenticated: its address is rate-limited, and
//! no body is read. Only the gateway's own pages may call (V48). Starts an instance that is not up,
//! because no Core would ask for one and repeat the request.

use countersign_keys::bind::Items;
use countersign_keys::call::{Destination, DirectRow};
use countersign_keys::identity::Username;
use countersign_keys::request::{DIRECT_BODY_MAX, PresentedDirect};
use countersign_keys::verify::Rejection;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::ingress::{AuditContext, Client, Ingress};
use crate::limits::connections::Shown;
use crate::pipeline::core::Reuse;
use crate::pipeline::forward;
use crate::pipeline::public::expect_content_type;
use crate::response::Answer;
use crate::response::instance_answer::Content;
use crate::response::refusal::Refusal;
use crate::response::request_id::RequestId;
use crate::upstream::Connection;

impl Ingress {
    /// Verifies a direct request, then forwards or refuses it.
    pub(crate) async fn direct(
        &self,
        row: &DirectRow,
        head: &Parts,
        body: Incoming,
        client: Client,
        id: &RequestId,
        known: &mut AuditContext,
    ) -> Result<Answer, Refusal> {
        known.call = Some(row.row().call().clone());
        if !self.crowd.admits(client.network(), Instant::now()) {
            return Err(Refusal::TooMany);
        }
        self.cors.own(&head.headers)?;
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let presented = PresentedDirect::parse(row, headers)?;
        expect_content_type(&head.headers, "application/json")?;

        let epoch = self.key_cache.epoch();
        let intent = presented.intent()?;
        let claimed = intent.claimed_username()?;
        let keys = self.keys(&claimed, intent.key_wanted()).await?;
        let intent = intent.verify(&claimed, keys.as_ref(), &self.policy.terms, self.now()?)?;
        let username = intent.username().clone();
        known.username = Some(username.clone());
        known.kid = Some(intent.kid());
        known.show(Shown::User(&username));

        let _under_way = self.fair.begin(&username).ok_or(Refusal::TooMany)?;
        let body = self.bodies.read(head, body, DIRECT_BODY_MAX).await?;
        let items = Items::read(row.row(), &body.bytes)?;
        let until = Instant::now() + self.deposit_wait;
        let asserted = self.deposit_for(row.row(), &username, Some(&intent), &items, until).await?;
        let authorised = self.authorise(presented.intend(intent)?.bind(items)?, asserted.as_ref())?;
        let mut _room = None;
        let connection = match row.destination() {
            Destination::Instance => self.connect_or_start(Reuse::Pooled, &username).await?,
            Destination::Server => {
                _room = Some(self.direct_at_server.begin(&username).ok_or(Refusal::TooMany)?);
                self.upstreams.connect(&self.server).await?
            }
            Destination::Session => return Err(Rejection::NoSuchCall.into()),
        };
        let permit = self.consume(authorised, asserted, epoch, id, known).await?;
        let answer = forward::own(permit, &body.bytes, &self.upstreams, connection, id).await?;
        let answer = self.record_answer(answer, id, known).await;
        Ok(answer.pass_on(Content::Json)?)
    }

    /// Connects, and starts the instance if it is down: no Core would ask for it and repeat the
    /// request.
    pub(crate) async fn connect_or_start(&self, way: Reuse, username: &Username) -> Result<Connection, Refusal> {
        match self.connect_by(way, username).await {
            Err(Refusal::NoInstance) => {
                self.key_cache.launch(username).await?;
                self.connect_by(way, username).await
            }
            connected => connected,
        }
    }
}
