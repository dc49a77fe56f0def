//! Web interfaces of jobs, at host names of their own (protocol, section 12).
//!
//! A request for such a host reaches no other lane, and one for another host never comes here. A
//! one-time token and the user's proof open a session, whose secret becomes a cookie of that host.
//! Later requests carry the cookie, and come from the interface's own page. What an application
//! serves is executed at its own origin, never at the provider's. The instance checks secret and
//! host again (P3). TLS ends here, so an attacker who controls the gateway reads and changes an
//! open session.

pub(crate) mod body;
pub(crate) mod sessions;

use std::sync::Arc;

use bytes::Bytes;
use countersign_config::WebPlace;
use countersign_keys::call::{Method, Route, SessionEndpoint};
use countersign_keys::identity::CallName;
use countersign_keys::session::{PresentedSession, SessionRejection};
use countersign_keys::verify::Rejection;
use http::header::{COOKIE, HOST, HeaderMap, LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Incoming;

use self::body::{ApplicationBody, SentBody};
use self::sessions::{WebPermit, WebSession};
use crate::exchange::Exchange;
use crate::http1::body::StreamedBody;
use crate::http1::head::{self, Purpose};
use crate::limits::connections::Principal;
use crate::metrics::Lane;
use crate::pages;
use crate::pipeline::fetch_metadata;
use crate::pipeline::forward;
use crate::pipeline::instance::Reuse;
use crate::pipeline::session::Asked;
use crate::response::instance_answer::Content;
use crate::response::refusal::{Failure, Refusal, WebRejection};
use crate::response::{self, Answer, AnswerBody, Transport};
use crate::server_link::key_cache::AsOf;
use crate::state::Gateway;
use crate::upstream::UpstreamFailure;
use countersign_ipc::web::{
    WebOpened, WebOutcome, WebSecret, is_of_its_own_page, secret_of, set_cookie, strip_response,
};

/// How the log names the requests of an open session.
const CONTINUED: &str = "session.continue.authorize-app";

/// Longest answer of an instance that opens a session, in bytes.
const OPENED_MAX: usize = 1024;

impl Gateway {
    /// What the host of a request says between prefix and suffix, if it is of a web interface. If a
    /// head names several hosts, one is enough: the head is refused there.
    pub(crate) fn web_host<'h>(&self, head: &'h Parts) -> Option<&'h str> {
        let hosts = self.web_hosts.as_ref()?;
        named_hosts(head).find_map(|host| hosts.middle(host))
    }

    /// The interface of a host, and its origin.
    fn web_place(&self, head: &Parts) -> Result<(WebPlace, String), Rejection> {
        let place = self.web_host(head).and_then(WebPlace::parse).ok_or(Rejection::NoSuchCall)?;
        let hosts = self.web_hosts.as_ref().ok_or(Rejection::NoSuchCall)?;
        let origin = hosts.origin(&place);
        Ok((place, origin))
    }

    /// Whether a path is the gateway's own at every host.
    pub(crate) fn is_reserved(&self, path: &str) -> bool {
        let below = path.strip_prefix("/ucloud/").and_then(|rest| rest.strip_prefix(self.provider.as_str()));
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Exchange<'_> {
    /// Answers a request for the host of a web interface.
    pub(crate) async fn answer_web(mut self, mut head: Parts, body: Incoming, transport: Transport) -> Answer {
        self.lane = Lane::Web;
        prepare(&mut head.headers);
        let mut answer = match self.admit_web(&head, body).await {
            Ok(answer) => answer,
            Err(refusal) => self.explain_web(refusal, &head).await,
        };
        finish(&mut answer, &self, transport);
        answer
    }

    /// Answers a refused request: a page for a browser's window.
    pub(crate) async fn explain_web(&self, refusal: Refusal, head: &Parts) -> Answer {
        let (mut answer, refusal) = self.refuse(refusal, head.version).await;
        if pages::wants_page(head) {
            let (told, why) = response::told(&refusal);
            self.gateway.pages.explain(&mut answer, told, why, &self.id);
        }
        answer
    }

    async fn admit_web(&mut self, head: &Parts, body: Incoming) -> Result<Answer, Refusal> {
        let gateway = self.gateway;
        head::check_web(head, Purpose::Request)?;
        let (place, origin) = gateway.web_place(head)?;
        if gateway.is_reserved(head.uri.path()) {
            // The styles of the pages that explain a refusal.
            if let Some(asset) = gateway.pages.asset(&head.method, &head.uri, &head.headers) {
                return Ok(asset);
            }
            return self.open_web(&place, &origin, head, body).await;
        }
        let permit = self.web_permit(&place, &origin, head).await?;
        let username = permit.session().username().clone();
        let counted = gateway.web_requests.begin(&username).ok_or(Refusal::TooMany)?;
        self.count_read();
        let answer = self.ask_application(&permit, head, SentBody::of(body)).await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamFailure::InvalidResponse.into());
        }
        Ok(answer.map(|body| AnswerBody::Application(Box::new(ApplicationBody::new(body, counted)))))
    }

    /// Redeems a one-time token: the browser gets a cookie of this host, and its address bar loses
    /// the token.
    async fn open_web(
        &mut self,
        place: &WebPlace,
        origin: &str,
        head: &Parts,
        body: Incoming,
    ) -> Result<Answer, Refusal> {
        let gateway = self.gateway;
        let calls = Arc::clone(&gateway.rules().calls);
        let route = Method::parse(head.method.as_str()).and_then(|method| calls.route(method, head.uri.path()));
        let Some(route @ Route::Session(endpoint @ SessionEndpoint::Web)) = route else {
            return Err(Rejection::NoSuchCall.into());
        };
        fetch_metadata::check(route, &head.headers)?;
        StreamedBody::new(body, None)?;
        let asked = Asked::of(*endpoint, head)?;
        let presented = PresentedSession::parse(*endpoint, asked.token, asked.proof, asked.piece)?;
        let authorised = self.judge_session(presented).await?;
        let session = authorised.session();
        if session.interface().is_none_or(|interface| interface.origin != origin) {
            return Err(Rejection::from(SessionRejection::Endpoint).into());
        }
        let username = session.username().clone();
        let _in_flight = gateway.in_flight.begin(&username).ok_or(Refusal::TooMany)?;
        let (permit, connection) = self.pass(authorised, Reuse::Pooled).await?;
        let kid = permit.kid();
        let sent =
            forward::web_opening(permit, &gateway.provider, place, &gateway.upstreams, connection, &self.id).await?;
        let answer = self.record_answer(sent).await;
        if answer.status() != StatusCode::OK.as_u16() {
            return Ok(answer.pass_on(Content::Json)?);
        }
        let opened = answer.into_bytes(OPENED_MAX).await.ok_or(UpstreamFailure::InvalidResponse)?;
        let opened: WebOpened = serde_json::from_slice(&opened).map_err(|_| UpstreamFailure::InvalidResponse)?;
        let secret = WebSecret::parse(opened.secret.as_bytes()).ok_or(UpstreamFailure::InvalidResponse)?;
        gateway.web_sessions.keep(&secret, WebSession::new(username, kid, place.clone()));
        let cookie = HeaderValue::from_str(&set_cookie(&secret)).map_err(|_| UpstreamFailure::InvalidResponse)?;
        let mut answer = Response::new(AnswerBody::Whole(Bytes::new()));
        *answer.status_mut() = StatusCode::SEE_OTHER;
        answer.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
        answer.headers_mut().insert(SET_COOKIE, cookie);
        Ok(answer)
    }

    /// Permits a request of the interface's own page, with a cookie of an open session of this host
    /// whose key is valid.
    pub(crate) async fn web_permit(
        &mut self,
        place: &WebPlace,
        origin: &str,
        head: &Parts,
    ) -> Result<WebPermit, Refusal> {
        let gateway = self.gateway;
        if !is_of_its_own_page(&head.method, &head.headers, origin) {
            return Err(WebRejection::OtherPage.into());
        }
        let secret = secret_of(&head.headers).ok_or(WebRejection::NoSession)?;
        let permit = gateway.web_sessions.permit(secret, place).ok_or(WebRejection::NoSession)?;
        let session = permit.session();
        let username = session.username();
        self.authenticated_as(Principal::User(username));
        self.username = Some(username.clone());
        self.kid = session.kid();
        self.call = CallName::parse(CONTINUED).ok();
        gateway.check_maintenance(username)?;
        if let Some(kid) = session.kid() {
            let standing = gateway.key_cache.check_standing(username, kid, AsOf::Earlier, gateway.now()?).await;
            if let Err(refusal) = standing {
                gateway.web_sessions.end(session);
                return Err(refusal);
            }
        }
        Ok(permit)
    }

    /// Sends a request to the application, and returns its answer without what would act beyond its
    /// host.
    pub(crate) async fn ask_application(
        &self,
        permit: &WebPermit,
        head: &Parts,
        body: SentBody,
    ) -> Result<Response<Incoming>, Refusal> {
        let gateway = self.gateway;
        let asked = forward::to_application(permit, gateway, head, body, &self.id).await;
        let mut answer = match asked {
            // Its sessions were in its memory.
            Err(Refusal::NoInstance) => {
                gateway.web_sessions.end(permit.session());
                return Err(WebRejection::Ended.into());
            }
            asked => asked?,
        };
        if let Some(outcome) = WebOutcome::read(answer.headers()) {
            if outcome == WebOutcome::Ended {
                gateway.web_sessions.end(permit.session());
            }
            return Err(WebRejection::from(outcome).into());
        }
        strip_response(answer.headers_mut());
        Ok(answer)
    }

    /// The interface, and its origin, of a request that asks for a socket.
    pub(crate) fn web_place_of_socket(&self, head: &Parts) -> Result<(WebPlace, String), Refusal> {
        head::check_web(head, Purpose::Upgrade)?;
        if self.gateway.is_reserved(head.uri.path()) {
            return Err(Rejection::NoSuchCall.into());
        }
        Ok(self.gateway.web_place(head)?)
    }
}

/// Every host that a head names.
pub(crate) fn named_hosts(head: &Parts) -> impl Iterator<Item = &str> {
    let named = head.headers.get_all(HOST).iter().filter_map(|host| host.to_str().ok());
    named.chain(head.uri.authority().map(http::uri::Authority::as_str))
}

/// Drops what is not ASCII: cookies one by one, because the session's stands beside those of the
/// application.
pub(crate) fn prepare(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().any(|cookies| !cookies.as_bytes().is_ascii()) {
        let all: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
        headers.remove(COOKIE);
        for cookie in all.iter().flat_map(|cookies| cookies.as_bytes().split(|byte| *byte == b';')) {
            if let Some(cookie) = HeaderValue::from_bytes(cookie.trim_ascii()).ok().filter(|_| cookie.is_ascii()) {
                headers.append(COOKIE, cookie);
            }
        }
    }
    head::drop_unread(headers);
}

/// Adds the headers of every answer. Of an application's answer nothing else is the gateway's.
pub(crate) fn finish(answer: &mut Answer, exchange: &Exchange<'_>, transport: Transport) {
    if matches!(answer.body(), AnswerBody::Application(_)) || answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        response::finish_application(answer, transport);
    } else {
        response::finish(answer, &exchange.id, transport);
    }
}

impl From<WebOutcome> for WebRejection {
    fn from(outcome: WebOutcome) -> Self {
        match outcome {
            WebOutcome::Ended => Self::Ended,
            WebOutcome::NotThere => Self::NotThere,
            WebOutcome::Foreign => Self::Foreign,
            WebOutcome::Refused => Self::Refused,
        }
    }
}

impl From<WebRejection> for Refusal {
    fn from(cause: WebRejection) -> Self {
        // Not a source: its text is part of this one's.
        Self::Web(cause)
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        UpstreamFailure::Broken(std::io::Error::other(error)).into()
    }
}
