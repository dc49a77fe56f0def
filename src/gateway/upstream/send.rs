//! Sends a request on a connection and waits for the response's head.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use tokio::time::Instant;

use super::Upstreams;
use super::body::UpstreamBody;
use super::connection::{ANSWER_WITHIN, Body, Connection, Sending};
use super::failure::UpstreamFailure;
use super::request::UpstreamRequest;
use super::response::Head;
use crate::response::instance_answer::InstanceAnswer;

impl Connection {
    /// Sends a request and waits for the response's head. If no byte could be sent, gives the
    /// request back.
    pub(crate) async fn send(
        mut self,
        upstreams: &Arc<Upstreams>,
        request: UpstreamRequest,
    ) -> Result<InstanceAnswer, (UpstreamFailure, Option<UpstreamRequest>)> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let mut sending = Sending { sent: 0, error: None };
        let outcome = std::future::poll_fn(|cx| {
            let outcome = self.poll_head(&request, &mut sending, cx);
            if outcome.is_pending() && self.poll_late(deadline, cx) {
                return Poll::Ready(Err(UpstreamFailure::Slow));
            }
            outcome
        });
        match outcome.await {
            Ok(head) => {
                let is_whole = sending.sent == request.length();
                Ok(self.answered(if request.is_head { head.without_body() } else { head }, is_whole, upstreams))
            }
            Err(failure @ UpstreamFailure::NotSent(_)) => Err((failure, Some(request))),
            Err(failure) => Err((failure, None)),
        }
    }

    fn answered(self, head: Head, is_whole: bool, upstreams: &Arc<Upstreams>) -> InstanceAnswer {
        let Head { said, framing, stays_open } = head;
        let body = UpstreamBody::new(self, framing, (stays_open && is_whole).then(|| Arc::clone(upstreams)));
        InstanceAnswer::new(said, body)
    }
}

impl Body {
    /// Waits for the response's head.
    pub(crate) async fn answer(self, upstreams: &Arc<Upstreams>) -> Result<InstanceAnswer, UpstreamFailure> {
        let Self { mut connection, mut sending } = self;
        let deadline = Instant::now() + ANSWER_WITHIN;
        let is_whole = sending.error.is_none();
        let nothing = UpstreamRequest { head: Vec::new(), body: Bytes::new(), is_head: false };
        let head = std::future::poll_fn(|cx| {
            let outcome = connection.poll_head(&nothing, &mut sending, cx);
            if outcome.is_pending() && connection.poll_late(deadline, cx) {
                return Poll::Ready(Err(UpstreamFailure::Slow));
            }
            outcome
        });
        let head = head.await?;
        Ok(connection.answered(head, is_whole, upstreams))
    }
}
