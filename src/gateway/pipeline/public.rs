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

use crate::exchange::Exchange;
use crate::limits::connections::Principal;
use crate::metrics::Lane;
use crate::pages::Page;
use crate::pipeline::deposits::DepositState;
use crate::pipeline::forward;
use crate::response::cors::{Admitted, ForPages};
use crate::response::instance_answer::Content;
use crate::response::refusal::{Refusal, StepUpRejection};
use crate::response::{self, Answer};
use crate::state::Gateway;
use countersign_audit::Verdict;
use countersign_ipc::gateway_protocol::StepUp;

/// Longest assertion of a passkey, in bytes. Usual ones have 1 KiB.
const CREDENTIAL_MAX: usize = 8 * 1024;

/// Longest body of a public call, in bytes. A key offered with its proof has 2 KiB.
const PUBLIC_BODY_MAX: usize = 16 * 1024;

impl Exchange<'_> {
    pub(crate) async fn public(&mut self, call: PublicCall, head: &Parts, body: Incoming) -> Result<Answer, Refusal> {
        let (gateway, network) = (self.gateway, self.network());
        self.lane = Lane::Public;
        self.call = CallName::parse(&forward::place_of_public(call).1.replace('/', ".")).ok();
        self.check_public_rate()?;
        match call {
            PublicCall::Calls => {
                self.varies = true;
                self.page = gateway.cors.admitted(&head.headers)?;
                self.count_read();
                Ok(gateway.rules().call_table.answer(&head.headers))
            }
            PublicCall::DepositIntent => {
                self.varies = true;
                self.page = gateway.cors.admitted(&head.headers)?;
                expect_content_type(&head.headers, "application/jwt")?;
                let body = gateway.bodies.read_of_stranger(head, body, DEPOSIT_MAX, network).await?;
                self.deposit(&body.bytes).await
            }
            PublicCall::AssertIntent => {
                gateway.cors.own(&head.headers)?;
                expect_content_type(&head.headers, "application/json")?;
                let longest = DEPOSIT_MAX.saturating_add(PUBLIC_BODY_MAX);
                let body = gateway.bodies.read_of_stranger(head, body, longest, network).await?;
                self.assertion(&body.bytes).await
            }
            PublicCall::ConnectPage => Ok(self.page(Page::Connect, head)),
            PublicCall::KeysPage => Ok(self.page(Page::Keys, head)),
            PublicCall::SignerPage => Ok(self.page(Page::Signer, head)),
            PublicCall::InterfacePage => Ok(self.page(Page::Interface, head)),
            PublicCall::ConnectDescribe
            | PublicCall::ConnectOffer
            | PublicCall::ConnectStatus
            | PublicCall::ConnectConfirm
            | PublicCall::ConnectProbe => {
                gateway.cors.own(&head.headers)?;
                let body = gateway.bodies.read_of_stranger(head, body, PUBLIC_BODY_MAX, network).await?;
                if !body.bytes.is_empty() {
                    expect_content_type(&head.headers, "application/json")?;
                }
                let _at_server = gateway.public_at_server.begin(&network).ok_or(Refusal::TooMany)?;
                let connection = gateway.upstreams.connect(&gateway.server).await?;
                self.count_read();
                let (from, bytes) = (self.client.address(), body.bytes);
                let answer =
                    forward::public(call, &gateway.provider, from, bytes, &gateway.upstreams, connection, &self.id)
                        .await?;
                Ok(answer.pass_on(Content::Json)?)
            }
        }
    }

    fn page(&self, page: Page, head: &Parts) -> Answer {
        self.count_read();
        self.gateway.pages.page(page, &head.headers)
    }

    /// Answers a CORS preflight.
    pub(crate) fn preflight(&mut self, head: &Parts) -> Result<Answer, Refusal> {
        let gateway = self.gateway;
        self.check_public_rate()?;
        let routed = [Method::Post, Method::Get]
            .into_iter()
            .find_map(|method| gateway.rules().calls.route(method, head.uri.path()).and_then(ForPages::of));
        let wanted = routed.ok_or(Rejection::NoSuchCall)?;
        self.varies = true;
        let admitted = gateway.cors.preflight(wanted, &head.headers)?;
        self.count_read();
        let mut answer = response::empty();
        Admitted::allow_to_go_on(wanted, answer.headers_mut());
        self.page = Some(admitted);
        Ok(answer)
    }

    /// Verifies an intent as far as possible without its request, and deposits it. If its call
    /// needs a passkey, the response is the challenge.
    async fn deposit(&mut self, text: &[u8]) -> Result<Answer, Refusal> {
        let gateway = self.gateway;
        let text = str::from_utf8(text).map_err(|_error| IntentRejection::Form(JwsRejection::Form))?;
        let intent = self.verify_alone(text).await?;
        let rules = gateway.rules();
        let row = rules.calls.row(intent.call().as_str()).ok_or(IntentRejection::Call)?;
        let (standing, answer) = match rules.policy.step_up_of(row, intent.consent()) {
            StepUpNeed::Never => (DepositState::Signed, response::deposited()),
            StepUpNeed::Always | StepUpNeed::WhereThereIsOne if gateway.deposits.is_stepped_up(&intent) => {
                (DepositState::Challenged, response::deposited())
            }
            StepUpNeed::Always | StepUpNeed::WhereThereIsOne => match gateway.key_cache.step_up(&intent).await? {
                StepUp::NotNeeded => (DepositState::Signed, response::deposited()),
                StepUp::NoPasskey => return Err(StepUpRejection::NoPasskey.into()),
                StepUp::TooMany => return Err(Refusal::TooMany),
                StepUp::Challenge { options } => (DepositState::Challenged, response::challenged(&options)),
            },
        };
        gateway.keep(intent, standing)?;
        self.record(Verdict::Deposit)?;
        Ok(answer)
    }

    /// Lets the server verify a passkey's assertion for an intent, and deposits the intent with it.
    async fn assertion(&mut self, body: &[u8]) -> Result<Answer, Refusal> {
        let gateway = self.gateway;
        let Assertion { intent, credential } = serde_json::from_slice(body).map_err(|_error| StepUpRejection::Form)?;
        let credential = credential.to_string();
        if credential.len() > CREDENTIAL_MAX {
            return Err(StepUpRejection::Form.into());
        }
        let intent = self.verify_alone(&intent).await?;
        let evidence = gateway.key_cache.assertion(&intent, credential).await?.map_err(StepUpRejection::from)?;
        gateway.keep(intent, DepositState::SteppedUp(evidence))?;
        self.record(Verdict::Deposit)?;
        Ok(response::deposited())
    }

    /// Verifies all of an intent that needs no request.
    async fn verify_alone(&mut self, text: &str) -> Result<VerifiedIntent<'static>, Refusal> {
        let gateway = self.gateway;
        let presented = PresentedIntent::parse(text, DEPOSIT_MAX, gateway.rules().policy.terms.version_1)?;
        let claimed = presented.claimed_username()?;
        let keys = gateway.keys(&claimed, presented.key_wanted()).await?;
        let intent = presented.verify(&claimed, keys.as_ref(), &gateway.rules().policy.terms, gateway.now()?)?;
        self.authenticated_as(Principal::User(&claimed));
        self.username = Some(claimed);
        self.kid = Some(intent.kid());
        self.call = Some(intent.call().clone());
        // The browser's own calls carry their intent, so a deposit would have no request to wait
        // for. One that a person confirmed may be sent here to learn whether its call needs a
        // passkey.
        let was_asked = intent.consent() == Consent::Asked;
        let may_be_left = |row: &Arc<Row>| row.sender() == Sender::Core || was_asked;
        if !gateway.rules().calls.row(intent.call().as_str()).is_some_and(may_be_left) {
            return Err(IntentRejection::Call.into());
        }
        Ok(intent.into_owned())
    }
}

impl Gateway {
    /// Deposits the intent. Of the browser's own calls, which carry their intent, only those that
    /// need a passkey by the site's policy are kept, for the assertion. For calls about passkeys
    /// the server keeps it.
    fn keep(&self, intent: VerifiedIntent<'static>, standing: DepositState) -> Result<(), Refusal> {
        let is_cores = self.rules().calls.core_row(intent.call().as_str()).is_some();
        if is_cores || self.rules().policy.names(intent.call()) {
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
