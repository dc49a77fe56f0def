//! Public calls: the connection page and its endpoints, the call table, and depositing an intent
//! (protocol, section 5).
//!
//! Rate-limits each address, and refuses pages of foreign origins.

use std::borrow::Cow;
use std::str;
use std::sync::Arc;

use countersign_keys::call::{Method, PublicCall, Row, Sender};
use countersign_keys::identity::CallName;
use countersign_keys::intent::{Consent, IntentRejection, PresentedIntent, VerifiedIntent};
use countersign_keys::jws::JwsRejection;
use countersign_keys::policy::StepUpNeed;
use countersign_keys::request::DEPOSIT_MAX;
use countersign_keys::verify::Rejection;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::Instant;

use crate::ingress::{AuditContext, Client, Ingress};
use crate::limits::connections::Shown;
use crate::pages::Page;
use crate::pipeline::deposits::DepositState;
use crate::pipeline::forward;
use crate::response::cors::{Admitted, ForPages};
use crate::response::instance_answer::Content;
use crate::response::refusal::{Refusal, StepUpRejection};
use crate::response::request_id::RequestId;
use crate::response::{self, Answer};
use countersign_audit::Verdict;
use countersign_ipc::gateway_protocol::StepUp;

/// Longest assertion of a passkey, in bytes. Usual ones have 1 KiB.
const CREDENTIAL_MAX: usize = 8 * 1024;

/// Longest body of a public call, in bytes. A key offered with its proof has 2 KiB.
const PUBLIC_BODY_MAX: usize = 16 * 1024;

impl Ingress {
    pub(crate) async fn public(
        &self,
        call: PublicCall,
        head: &Parts,
        body: Incoming,
        client: Client,
        id: &RequestId,
        known: &mut AuditContext,
    ) -> Result<Answer, Refusal> {
        known.call = CallName::parse(&forward::place_of_public(call).1.replace('/', ".")).ok();
        if !self.crowd.admits(client.network(), Instant::now()) {
            return Err(Refusal::TooMany);
        }
        match call {
            PublicCall::Calls => {
                known.varies = true;
                known.page = self.cors.admitted(&head.headers)?;
                self.count_read(id, known);
                Ok(self.catalogue.answer(&head.headers))
            }
            PublicCall::DepositIntent => {
                known.varies = true;
                known.page = self.cors.admitted(&head.headers)?;
                expect_content_type(&head.headers, "application/jwt")?;
                let body = self.bodies.read_of_stranger(head, body, DEPOSIT_MAX, client.network()).await?;
                self.deposit(&body.bytes, id, known).await
            }
            PublicCall::AssertIntent => {
                self.cors.own(&head.headers)?;
                expect_content_type(&head.headers, "application/json")?;
                let body = self
                    .bodies
                    .read_of_stranger(head, body, DEPOSIT_MAX.saturating_add(PUBLIC_BODY_MAX), client.network())
                    .await?;
                self.assertion(&body.bytes, id, known).await
            }
            PublicCall::ConnectPage => Ok(self.page(Page::Connect, head, id, known)),
            PublicCall::KeysPage => Ok(self.page(Page::Keys, head, id, known)),
            PublicCall::SignerPage => Ok(self.page(Page::Signer, head, id, known)),
            PublicCall::ConnectDescribe
            | PublicCall::ConnectOffer
            | PublicCall::ConnectStatus
            | PublicCall::ConnectConfirm
            | PublicCall::ConnectProbe => {
                self.cors.own(&head.headers)?;
                let body = self.bodies.read_of_stranger(head, body, PUBLIC_BODY_MAX, client.network()).await?;
                if !body.bytes.is_empty() {
                    expect_content_type(&head.headers, "application/json")?;
                }
                let _room = self.public_at_server.begin(&client.network()).ok_or(Refusal::TooMany)?;
                let connection = self.upstreams.connect(&self.server).await?;
                self.count_read(id, known);
                let (from, bytes) = (client.address, body.bytes);
                let answer =
                    forward::public(call, &self.provider, from, bytes, &self.upstreams, connection, id).await?;
                Ok(answer.pass_on(Content::Json)?)
            }
        }
    }

    fn page(&self, page: Page, head: &Parts, id: &RequestId, known: &AuditContext) -> Answer {
        self.count_read(id, known);
        self.pages.page(page, &head.headers)
    }

    /// Answers a CORS preflight.
    pub(crate) fn preflight(
        &self,
        head: &Parts,
        client: Client,
        id: &RequestId,
        known: &mut AuditContext,
    ) -> Result<Answer, Refusal> {
        if !self.crowd.admits(client.network(), Instant::now()) {
            return Err(Refusal::TooMany);
        }
        let routed = [Method::Post, Method::Get]
            .into_iter()
            .find_map(|method| self.calls.route(method, head.uri.path()).and_then(ForPages::of));
        let wanted = routed.ok_or(Rejection::NoSuchCall)?;
        known.varies = true;
        let admitted = self.cors.preflight(wanted, &head.headers)?;
        self.count_read(id, known);
        let mut answer = response::empty();
        Admitted::allow_to_go_on(wanted, answer.headers_mut());
        known.page = Some(admitted);
        Ok(answer)
    }

    /// Verifies an intent as far as possible without its request, and deposits it. If its call
    /// needs a passkey, the response is the challenge.
    async fn deposit(&self, text: &[u8], id: &RequestId, known: &mut AuditContext) -> Result<Answer, Refusal> {
        let text = str::from_utf8(text).map_err(|_error| IntentRejection::Form(JwsRejection::Form))?;
        let intent = self.verify_alone(text, known).await?;
        let row = self.calls.row(intent.call().as_str()).ok_or(IntentRejection::Call)?;
        let (standing, answer) = match self.policy.step_up_of(row, intent.consent()) {
            StepUpNeed::Never => (DepositState::Signed, response::deposited()),
            StepUpNeed::Always | StepUpNeed::WhereThereIsOne if self.deposits.is_stepped_up(&intent) => {
                (DepositState::Challenged, response::deposited())
            }
            StepUpNeed::Always | StepUpNeed::WhereThereIsOne => match self.key_cache.step_up(&intent).await? {
                StepUp::NotNeeded => (DepositState::Signed, response::deposited()),
                StepUp::NoPasskey => return Err(StepUpRejection::NoPasskey.into()),
                StepUp::TooMany => return Err(Refusal::TooMany),
                StepUp::Challenge { options } => (DepositState::Challenged, response::challenged(&options)),
            },
        };
        self.keep(intent, standing)?;
        self.record(Verdict::Deposit, id, known)?;
        Ok(answer)
    }

    /// Lets the server verify a passkey's assertion for an intent, and deposits the intent with it.
    async fn assertion(&self, body: &[u8], id: &RequestId, known: &mut AuditContext) -> Result<Answer, Refusal> {
        let Assertion { intent, credential } = serde_json::from_slice(body).map_err(|_error| StepUpRejection::Form)?;
        let credential = credential.to_string();
        if credential.len() > CREDENTIAL_MAX {
            return Err(StepUpRejection::Form.into());
        }
        let intent = self.verify_alone(&intent, known).await?;
        let evidence = self.key_cache.assertion(&intent, credential).await?.map_err(StepUpRejection::from)?;
        self.keep(intent, DepositState::SteppedUp(evidence))?;
        self.record(Verdict::Deposit, id, known)?;
        Ok(response::deposited())
    }

    /// Verifies all of an intent that needs no request.
    async fn verify_alone(&self, text: &str, known: &mut AuditContext) -> Result<VerifiedIntent<'static>, Refusal> {
        let presented = PresentedIntent::parse(text, DEPOSIT_MAX, self.policy.terms.version_1)?;
        let claimed = presented.claimed_username()?;
        let keys = self.keys(&claimed, presented.key_wanted()).await?;
        let intent = presented.verify(&claimed, keys.as_ref(), &self.policy.terms, self.now()?)?;
        known.show(Shown::User(&claimed));
        known.username = Some(claimed);
        known.kid = Some(intent.kid());
        known.call = Some(intent.call().clone());
        // The browser's own calls carry their intent, so a deposit would have no request to wait
        // for. One that a person confirmed may be sent here to learn whether its call needs a
        // passkey.
        let was_asked = intent.consent() == Consent::Asked;
        let may_be_left = |row: &Arc<Row>| row.sender() == Sender::Core || was_asked;
        if !self.calls.row(intent.call().as_str()).is_some_and(may_be_left) {
            return Err(IntentRejection::Call.into());
        }
        Ok(intent.into_owned())
    }

    /// Deposits the intent. Of the browser's own calls, which carry their intent, only those that
    /// need a passkey by the site's policy are kept, for the assertion. For calls about passkeys
    /// the server keeps it.
    fn keep(&self, intent: VerifiedIntent<'static>, standing: DepositState) -> Result<(), Refusal> {
        let is_cores = self.calls.core_row(intent.call().as_str()).is_some();
        if is_cores || self.policy.names(intent.call()) {
            self.deposits.put(intent, standing, self.now()?)?;
        }
        Ok(())
    }
}

/// The body of [`PublicCall::AssertIntent`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assertion<'b> {
    #[serde(borrow)]
    intent: Cow<'b, str>,
    /// `AuthenticationResponseJSON`, as the browser wrote it.
    credential: serde_json::Value,
}

/// Checks the content type. A page cannot send either expected type across origins without a
/// preflight.
pub(crate) fn expect_content_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), Refusal> {
    let is_wanted = headers.get(CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
    });
    if is_wanted { Ok(()) } else { Err(Refusal::ContentType(wanted)) }
}
