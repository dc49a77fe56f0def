//! The lane of direct calls: that of [`crate::pipeline::core`], without Core.
//!
//! Until the signature is verified the sender is unauthenticated: its address is rate-limited, and
//! no body is read. Only the gateway's own pages may call (V48). Starts an instance that is not up,
//! because no Core would ask for one and repeat the request.

use countersign_keys::bind::Items;
use countersign_keys::call::{Destination, DirectRow};
use countersign_keys::request::{DIRECT_BODY_MAX, PresentedDirect};
use countersign_keys::verify::Rejection;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::exchange::Exchange;
use crate::limits::connections::Principal;
use crate::metrics::Lane;
use crate::pipeline::forward;
use crate::pipeline::instance::Reuse;
use crate::pipeline::public::expect_content_type;
use crate::response::Answer;
use crate::response::instance_answer::Content;
use crate::response::refusal::Refusal;

impl Exchange<'_> {
    /// Verifies a direct request, then forwards or refuses it.
    pub(crate) async fn direct(&mut self, row: &DirectRow, head: &Parts, body: Incoming) -> Result<Answer, Refusal> {
        let gateway = self.gateway;
        self.lane = Lane::Direct;
        self.call = Some(row.row().call().clone());
        self.check_public_rate()?;
        gateway.cors.own(&head.headers)?;
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let presented = PresentedDirect::parse(row, headers)?;
        expect_content_type(&head.headers, "application/json")?;

        let epoch = gateway.key_cache.epoch();
        let intent = presented.intent()?;
        let claimed = intent.claimed_username()?;
        let keys = gateway.keys(&claimed, intent.key_wanted()).await?;
        let intent = intent.verify(&claimed, keys.as_ref(), &gateway.rules().policy.terms, gateway.now()?)?;
        let username = intent.username().clone();
        self.username = Some(username.clone());
        self.kid = Some(intent.kid());
        self.authenticated_as(Principal::User(&username));

        let _in_flight = gateway.in_flight.begin(&username).ok_or(Refusal::TooMany)?;
        let body = gateway.bodies.read(head, body, DIRECT_BODY_MAX).await?;
        let items = Items::read(row.row(), &body.bytes)?;
        let until = Instant::now() + gateway.rules().deposit_wait;
        let asserted = gateway.deposit_for(row.row(), &username, Some(&intent), &items, until).await?;
        let authorised = gateway.authorise(presented.intend(intent)?.bind(items)?, asserted.as_ref())?;
        let mut _at_server = None;
        let connection = match row.destination() {
            Destination::Instance => gateway.connect_or_start(Reuse::Pooled, &username).await?,
            Destination::Server => {
                _at_server = Some(gateway.direct_at_server.begin(&username).ok_or(Refusal::TooMany)?);
                gateway.upstreams.connect(&gateway.server).await?
            }
            Destination::Session => return Err(Rejection::NoSuchCall.into()),
        };
        let permit = self.consume(authorised, asserted, epoch).await?;
        let answer = forward::direct(permit, &body.bytes, &gateway.upstreams, connection, &self.id).await?;
        if row.destination() == Destination::Instance {
            self.compare_verdicts(&answer);
        }
        let answer = self.record_answer(answer).await;
        Ok(answer.pass_on(Content::Json)?)
    }
}
