//! The lane of Core's requests, from the token to the instance (design, section 3).
//!
//! Verifies before it believes. Checks the user's signature before it reads the body, where it can,
//! and connects to the instance before it consumes the intent. Consuming the intent, with one more
//! check of the time, is the last step before the first byte goes out (P1, P4, P5).

use bytes::Bytes;
use countersign_keys::bind::Items;
use countersign_keys::call::{Lane, ServiceCall};
use countersign_keys::core_token::{Authenticated, ServiceRequest, UserRequest};
use countersign_keys::identity::{CallName, Username};
use countersign_keys::intent::IntentRejection;
use countersign_keys::request::{INTENT_MAX, Presented};
use http::request::Parts;
use hyper::body::Incoming;
use serde::Deserialize;

use crate::exchange::Exchange;
use crate::limits::connections::Principal;
use crate::metrics;
use crate::pipeline::budget::Budget;
use crate::pipeline::forward;
use crate::response::Answer;
use crate::response::compression;
use crate::response::instance_answer::Content;
use crate::response::refusal::Refusal;
use countersign_audit::Verdict;
use countersign_config::Asks;

/// In bytes. The body of one of Core's own calls is a username.
const SERVICE_BODY_MAX: usize = 16 * 1024;

/// The part of Core's question about an application that the server gets.
#[derive(Deserialize)]
struct Question {
    owner: Owner,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    created_by: Username,
}

/// The user who opens an application, as the server reads one; nothing if Core names none.
fn user_of(question: &[u8]) -> Bytes {
    let Ok(Question { owner }) = serde_json::from_slice(question) else { return Bytes::new() };
    serde_json::json!({ "username": owner.created_by }).to_string().into()
}

impl Exchange<'_> {
    /// Handles a request with Core's token.
    pub(crate) async fn core(
        &mut self,
        lane: &Lane,
        head: &Parts,
        body: Incoming,
        budget: Budget,
    ) -> Result<Answer, Refusal> {
        self.lane = metrics::Lane::Core;
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let presented = Presented::parse(lane, headers, INTENT_MAX)?;
        let authenticated = self.gateway.authenticate(presented, self.gateway.now()?)?;
        self.authenticated_as(Principal::Core);
        match authenticated {
            Authenticated::Service(request) => self.service(request, head, body).await,
            Authenticated::User(request) => self.user(request, head, body, budget).await,
        }
    }

    /// Handles a call that needs Core's token alone.
    async fn service(&mut self, request: ServiceRequest<'_>, head: &Parts, body: Incoming) -> Result<Answer, Refusal> {
        self.lane = metrics::Lane::Service;
        let gateway = self.gateway;
        self.call = CallName::parse(&forward::place_of_service(request.call()).1.replace('/', ".")).ok();
        let body_max = match request.call() {
            // The body is a whole application.
            ServiceCall::RequestDynamicParameters => gateway.body_max,
            ServiceCall::Connect
            | ServiceCall::Init
            | ServiceCall::Unlinked
            | ServiceCall::RetrieveManifest
            | ServiceCall::RetrieveBranding
            | ServiceCall::RetrieveProducts(_)
            | ServiceCall::RetrieveTokenOptions => SERVICE_BODY_MAX,
        };
        let body = gateway.bodies.read(head, body, body_max).await?;
        let connection = gateway.upstreams.connect(&gateway.server).await?;
        let bytes = match request.call() {
            ServiceCall::Connect | ServiceCall::Init | ServiceCall::Unlinked => {
                self.record(Verdict::Forward)?;
                body.bytes
            }
            // The server looks up that user's choices, if the site shows any. The rest stays here.
            ServiceCall::RequestDynamicParameters if gateway.asks != Asks::default() => {
                self.count_read();
                user_of(&body.bytes)
            }
            // Core polls these all day. They change nothing and ignore the body.
            ServiceCall::RetrieveManifest
            | ServiceCall::RetrieveBranding
            | ServiceCall::RetrieveProducts(_)
            | ServiceCall::RequestDynamicParameters
            | ServiceCall::RetrieveTokenOptions => {
                self.count_read();
                Bytes::new()
            }
        };
        let answer =
            forward::service(request, &gateway.provider, bytes, &gateway.upstreams, connection, &self.id).await?;
        Ok(answer.pass_on(Content::Json)?)
    }

    /// Handles a user's call: only what the user signed passes.
    async fn user(
        &mut self,
        request: UserRequest<'_>,
        head: &Parts,
        body: Incoming,
        budget: Budget,
    ) -> Result<Answer, Refusal> {
        let gateway = self.gateway;
        let (username, call) = (request.username().clone(), request.row().call().clone());
        self.username = Some(username.clone());
        self.call = Some(call.clone());
        // Checked first: during maintenance a signature would not help the user.
        gateway.check_maintenance(&username)?;

        let _in_flight = gateway.in_flight.begin(&username).ok_or(Refusal::TooMany)?;
        let (from_header, epoch) = gateway.verify_if_present(&username, request.intent()).await?;
        let body = gateway.bodies.read_of_user(head, body, gateway.body_max, &username).await?;
        let items = Items::read(request.row(), &body.bytes)?;
        let until = budget.for_deposit(gateway.rules().deposit_wait);
        let deposit = gateway.deposit_for(request.row(), &username, from_header.as_ref(), &items, until).await?;
        let intent = match (from_header, &deposit) {
            (Some(intent), _) => intent,
            (None, Some(deposit)) => deposit.intent.clone(),
            (None, None) => return Err(IntentRejection::Missing.into()),
        };
        self.kid = Some(intent.kid());

        let authorised = gateway.authorise(request.intend(intent)?.bind(items)?, deposit.as_ref())?;
        let connection = budget.make_ready(gateway.connect_to_instance(&username)).await?;
        // What is ready in this turn is consumed and forwarded back to back, so that the instances'
        // side of the kernel is woken once.
        tokio::task::yield_now().await;
        let permit = budget.make_ready(self.consume(authorised, deposit, epoch)).await?;
        let answer = forward::user(permit, &body.bytes, &gateway.upstreams, connection, budget, &self.id).await?;
        self.compare_verdicts(&answer);
        let answer = self.record_answer(answer).await;
        Ok(compression::compress(answer.pass_on(Content::Json)?, &call, &head.headers))
    }
}
