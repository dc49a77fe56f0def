//! What anybody may ask: the connection page and its endpoints, the table of calls, and leaving an intent (protocol, section 5).
//!
//! Each address may ask so often and no more; a web page may ask only where it belongs.

use std::str;

use countersign_keys::call::{Method, PublicCall, Route, Sender};
use countersign_keys::identity::CallName;
use countersign_keys::intent::{IntentRejection, PresentedIntent};
use countersign_keys::jws::JwsRejection;
use countersign_keys::request::DEPOSIT_MAX;
use countersign_keys::verify::Rejection;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::forward;
use super::ingress::{Client, Ingress, Known};
use super::pages::Page;
use super::refusal::Refusal;
use super::request_id::RequestId;
use super::respond::{self, Answer};
use crate::audit::Verdict;

/// Longest body of a public call, in bytes: a key offered with its proof has 2 KiB.
const PUBLIC_BODY_MAX: usize = 16 * 1024;

impl Ingress {
    /// Answers what anybody may ask.
    pub(super) async fn public(
        &self,
        call: PublicCall,
        head: &Parts,
        body: Incoming,
        client: Client,
        id: &RequestId,
        known: &mut Known,
    ) -> Result<Answer, Refusal> {
        known.call = CallName::parse(&forward::place_of_public(call).1.replace('/', ".")).ok();
        if !self.crowd.admits(client.address, Instant::now()) {
            return Err(Refusal::TooMany);
        }
        match call {
            PublicCall::Calls => {
                known.page = self.cors.admitted(&head.headers)?;
                self.record(Verdict::Forward, id, known)?;
                Ok(self.catalogue.answer(&head.headers))
            }
            PublicCall::DepositIntent => {
                known.page = self.cors.admitted(&head.headers)?;
                expect_content_type(&head.headers, "application/jwt")?;
                let body = self.bodies.read(head, body, DEPOSIT_MAX).await?;
                self.deposit(&body.bytes, id, known).await
            }
            PublicCall::ConnectPage => self.page(Page::Connect, head, id, known),
            PublicCall::KeysPage => self.page(Page::Keys, head, id, known),
            PublicCall::SignerPage => self.page(Page::Signer, head, id, known),
            PublicCall::ConnectDescribe
            | PublicCall::ConnectOffer
            | PublicCall::ConnectStatus
            | PublicCall::ConnectProbe => {
                self.cors.own(&head.headers)?;
                let body = self.bodies.read(head, body, PUBLIC_BODY_MAX).await?;
                if !body.bytes.is_empty() {
                    expect_content_type(&head.headers, "application/json")?;
                }
                let connection = self.upstreams.connect(&self.server).await?;
                self.record(Verdict::Forward, id, known)?;
                let (from, bytes) = (client.address, body.bytes);
                let answer =
                    forward::public(call, &self.provider, from, bytes, &self.upstreams, connection, id).await?;
                Ok(respond::forwarded(answer))
            }
        }
    }

    fn page(&self, page: Page, head: &Parts, id: &RequestId, known: &Known) -> Result<Answer, Refusal> {
        self.record(Verdict::Forward, id, known)?;
        Ok(self.pages.page(page, &head.headers))
    }

    /// Answers a browser that asks before its page may.
    pub(super) fn preflight(
        &self,
        head: &Parts,
        client: Client,
        id: &RequestId,
        known: &mut Known,
    ) -> Result<Answer, Refusal> {
        if !self.crowd.admits(client.address, Instant::now()) {
            return Err(Refusal::TooMany);
        }
        let routed = [Method::Post, Method::Get].into_iter().find_map(|method| {
            match self.calls.route(method, head.uri.path()) {
                Some(Route::Public(call @ (PublicCall::DepositIntent | PublicCall::Calls))) => Some(*call),
                Some(_) | None => None,
            }
        });
        let call = routed.ok_or(Rejection::NoSuchCall)?;
        let admitted = self.cors.preflight(call, &head.headers)?;
        self.record(Verdict::Forward, id, known)?;
        let mut answer = respond::empty();
        admitted.allow_to_go_on(call, answer.headers_mut());
        known.page = Some(admitted);
        Ok(answer)
    }

    /// Verifies an intent as far as that is possible without its request, and keeps it for that.
    async fn deposit(&self, text: &[u8], id: &RequestId, known: &mut Known) -> Result<Answer, Refusal> {
        let text = str::from_utf8(text).map_err(|_error| IntentRejection::Form(JwsRejection::Form))?;
        let presented = PresentedIntent::parse(text, DEPOSIT_MAX, self.policy.terms.version_1)?;
        let claimed = presented.claimed_username()?;
        let keys = self.keys(&claimed, presented.key_wanted()).await?;
        let now = self.now()?;
        let intent = presented.verify(&claimed, keys.as_ref(), &self.policy.terms, now)?;
        known.username = Some(claimed);
        known.kid = Some(intent.kid());
        known.call = Some(intent.call().clone());
        // What the user's own browser sends comes with its intent: a deposit of that would wait for nothing.
        if self.calls.row(intent.call().as_str()).is_none_or(|row| row.sender() == Sender::User) {
            return Err(IntentRejection::Call.into());
        }
        self.deposits.put(intent.into_owned(), now)?;
        self.record(Verdict::Deposit, id, known)?;
        Ok(respond::deposited())
    }
}

/// Neither of the types that are expected is one that a page can send across origins without a preflight.
pub(super) fn expect_content_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), Refusal> {
    let is_wanted = headers.get(CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
    });
    if is_wanted { Ok(()) } else { Err(Refusal::ContentType(wanted)) }
}
