//! Public links of jobs, at host names of their own (protocol, section 12).
//!
//! Anyone may open a link: its owner signed that this port of this job is public. A request for
//! such a host reaches no other lane, needs no cookie, and carries nothing of Countersign's to the
//! application. The owner's instance decides by its own record whether the job has the link, so an
//! attacker who controls the gateway reaches through it only what is public.

pub(crate) mod routes;

use std::sync::Arc;

use countersign_keys::identity::CallName;
use countersign_keys::verify::Rejection;
use http::request::Parts;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;

use self::routes::LinkRoute;
use crate::exchange::Exchange;
use crate::http1::head::{self, Purpose};
use crate::pipeline::forward;
use crate::response::refusal::{Refusal, WebRejection};
use crate::response::{Answer, AnswerBody, Transport};
use crate::state::Gateway;
use crate::upstream::UpstreamFailure;
use crate::web::body::{ApplicationBody, SentBody};
use crate::web::{self, named_hosts};
use countersign_ipc::web::{WebOutcome, strip_response};

/// How the log names requests for links.
const REQUESTED: &str = "link.request";

impl Gateway {
    /// Whether the host of a request is of public links. If a head names several hosts, one is
    /// enough: the head is refused there.
    pub(crate) fn is_for_link(&self, head: &Parts) -> bool {
        self.links.hosts.as_ref().is_some_and(|hosts| named_hosts(head).any(|host| hosts.is_of_links(host)))
    }
}

impl Exchange<'_> {
    /// Answers a request for the host of a public link.
    pub(crate) async fn answer_link(mut self, mut head: Parts, body: Incoming, transport: Transport) -> Answer {
        web::prepare(&mut head.headers);
        let mut answer = match self.admit_link(&head, body).await {
            Ok(answer) => answer,
            Err(refusal) => self.explain_web(refusal, &head).await,
        };
        web::finish(&mut answer, &self, transport);
        answer
    }

    async fn admit_link(&mut self, head: &Parts, body: Incoming) -> Result<Answer, Refusal> {
        let gateway = self.gateway;
        head::check_web(head, Purpose::Request)?;
        if gateway.is_reserved(head.uri.path()) {
            // The styles of the pages that explain a refusal.
            let asset = gateway.pages.asset(&head.method, &head.uri, &head.headers);
            return asset.ok_or(Rejection::NoSuchCall.into());
        }
        let route = self.link_route(head).await?;
        let counted = gateway.links.requests.begin(route.username()).ok_or(Refusal::TooMany)?;
        self.count_read();
        let answer = self.ask_at_link(&route, head, SentBody::of(body)).await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamFailure::InvalidResponse.into());
        }
        Ok(answer.map(|body| AnswerBody::Application(Box::new(ApplicationBody::new(body, counted)))))
    }

    /// The route of the link that a request's host names, for a client that may ask for it.
    pub(crate) async fn link_route(&mut self, head: &Parts) -> Result<Arc<LinkRoute>, Refusal> {
        let gateway = self.gateway;
        self.call = CallName::parse(REQUESTED).ok();
        if !gateway.links.rate.admits(self.network(), Instant::now()) {
            return Err(Refusal::TooMany);
        }
        let hosts = gateway.links.hosts.as_ref().ok_or(Rejection::NoSuchCall)?;
        let name = named_hosts(head).find_map(|host| hosts.link(host)).ok_or(WebRejection::NoJob)?;
        let route = gateway.links.route(&name, &gateway.key_cache).await?.ok_or(WebRejection::NoJob)?;
        gateway.check_maintenance(route.username())?;
        Ok(route)
    }

    /// Sends a request to the application, and returns its answer without what would act beyond its
    /// host.
    pub(crate) async fn ask_at_link(
        &self,
        route: &Arc<LinkRoute>,
        head: &Parts,
        body: SentBody,
    ) -> Result<Response<Incoming>, Refusal> {
        let mut answer = match forward::to_link(route, self.gateway, head, body, &self.id).await {
            Err(Refusal::NoInstance | Refusal::AccountRefused) => return Err(WebRejection::NotThere.into()),
            asked => asked?,
        };
        match WebOutcome::read(answer.headers()) {
            None => {
                strip_response(answer.headers_mut());
                Ok(answer)
            }
            Some(WebOutcome::Ended) => {
                self.gateway.links.end(route);
                Err(WebRejection::NoJob.into())
            }
            Some(outcome) => Err(WebRejection::from(outcome).into()),
        }
    }
}
