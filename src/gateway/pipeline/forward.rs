//! The only module that sends requests to instances and to the server's service endpoint.
//!
//! Takes a `Permit` by value for a user's request (P1, P5), and the verified token for Core's own.
//! Builds each request, and each message of a socket, from verified parts. Passes on no other
//! header of the client's than those named here.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_keys::call::{Method, PublicCall, ServiceCall};
use countersign_keys::core_token::ServiceRequest;
use countersign_keys::direct::DirectRequest;
use countersign_keys::identity::ProviderId;
use countersign_keys::policy::Permit;
use countersign_keys::request::{AUTHORIZATION, SIGNED_INTENT, USERNAME};
use countersign_keys::session::SessionPermit;
use futures_util::SinkExt as _;
use futures_util::stream::SplitSink;
use http::HeaderValue;
use http::header::{HOST, HeaderName, UPGRADE};
use http::request::Parts;
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::http1::body::StreamedBody;
use crate::http1::upgrade::Key;
use crate::links::routes::LinkRoute;
use crate::pipeline::budget::Budget;
use crate::pipeline::instance::Reuse;
use crate::response::instance_answer::InstanceAnswer;
use crate::response::refusal::{Failure, Refusal};
use crate::response::request_id::RequestId;
use crate::state::Gateway;
use crate::upstream::{
    Connection, Stream, Switching, UpstreamFailure, UpstreamRequest, UpstreamRequestHead, Upstreams,
};
use crate::web::body::SentBody;
use crate::web::sessions::WebPermit;
use crate::websocket::message::{self, Cancel, Written};
use countersign_config::WebPlace;
use countersign_ipc::session_headers::{CONTENT_DIGEST, ENC, OFFSET, SESSION_TOKEN, TOTAL};
use countersign_ipc::web::{
    ANSWER_MAX, WEB_JOB, WEB_LINK, WEB_PLACE, WEB_PLACE_TEXT, WEB_SESSION, set_upgrade, strip_request,
};
use countersign_ipc::web_connections::{NotAnswered, speak};
use countersign_ipc::within::{self, WITHIN};

/// Headers of a session's request that are passed on. Each describes the bytes, and occurs at most
/// once.
const TAKEN_FROM_A_SESSIONS_HEAD: [&str; 5] = [OFFSET, TOTAL, CONTENT_DIGEST, "range", "if-range"];

/// The sending half of an open socket to an instance.
pub(crate) type ToInstance = SplitSink<WebSocketStream<Stream>, Message>;

/// How long an instance may take to accept a message.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// How long an application may take to begin its answer. The instance says sooner that it is slow.
const APPLICATION_WITHIN: Duration = ANSWER_MAX.saturating_add(Duration::from_secs(5));

/// The client's address of a public request. Shown to the user who approves a key; no check relies
/// on it.
const CLIENT_ADDRESS: &str = "x-client-address";

/// Forwards a user's request, once.
///
/// Sends the verified bytes, what the instance needs to verify them again, and its deadline. Gives
/// up the answer after [`Budget::given_up`].
pub(crate) async fn user(
    permit: Permit<'_, '_>,
    body: &Bytes,
    upstreams: &Arc<Upstreams>,
    connection: Connection,
    budget: Budget,
    id: &RequestId,
) -> Result<InstanceAnswer, Failure> {
    let row = permit.row();
    let request = begin(row.method(), row.path(), id)
        .header(AUTHORIZATION, ["Bearer ", permit.token().expose()])
        .header(USERNAME, [&permit.username().to_header()])
        .header(SIGNED_INTENT, [permit.intent()])
        .header(WITHIN, [&within::write(budget.left())])
        .body(body.slice_ref(permit.items().bytes()))?;
    let answered = tokio::time::timeout_at(budget.given_up(), send(request, upstreams, connection)).await;
    answered.map_err(|_elapsed| UpstreamFailure::Slow)?
}

/// Forwards a request from the user's own browser, once, to the server or instance that verifies it
/// again. Has no token to pass on.
pub(crate) async fn direct(
    permit: Permit<'_, '_, DirectRequest>,
    body: &Bytes,
    upstreams: &Arc<Upstreams>,
    connection: Connection,
    id: &RequestId,
) -> Result<InstanceAnswer, Failure> {
    let row = permit.row();
    let request = begin(row.method(), row.path(), id)
        .header(SIGNED_INTENT, [permit.intent()])
        .body(body.slice_ref(permit.items().bytes()))?;
    send(request, upstreams, connection).await
}

/// Forwards one request of a session, once: the token, the proof and the headers that the endpoint
/// needs. Streams the body.
pub(crate) async fn session(
    permit: SessionPermit<'_>,
    provider: &ProviderId,
    head: &Parts,
    mut body: StreamedBody,
    upstreams: &Arc<Upstreams>,
    connection: Connection,
    id: &RequestId,
) -> Result<InstanceAnswer, Refusal> {
    let path = format!("/ucloud/{provider}/{}", permit.session().endpoint().path());
    let outgoing = match head.method {
        http::Method::HEAD => UpstreamRequest::begin_head(&path),
        http::Method::POST => UpstreamRequest::begin(Method::Post, &path),
        _ => UpstreamRequest::begin(Method::Get, &path),
    };
    let mut outgoing = outgoing.header("x-request-id", [id.as_str()]).header(SESSION_TOKEN, [permit.token()]);
    if let Some(proof) = permit.proof() {
        outgoing = outgoing.header(SIGNED_INTENT, [proof]);
    }
    if let Some(enc) = permit.piece().enc {
        outgoing = outgoing.header(ENC, [&enc.to_base64url()]);
    }
    for name in TAKEN_FROM_A_SESSIONS_HEAD {
        if let Some(value) = head.headers.get(name).and_then(|value| value.to_str().ok()) {
            outgoing = outgoing.header(name, [value]);
        }
    }
    let Some(length) = body.length() else {
        return Ok(send(outgoing.body(Bytes::new())?, upstreams, connection).await?);
    };
    let outgoing = outgoing.body_to_come(length)?;
    let mut sent = connection.begin(&outgoing).await?;
    while let Some(piece) = body.next().await? {
        if !sent.write(&piece).await {
            break;
        }
    }
    Ok(sent.answer(upstreams).await?)
}

/// Opens a socket at the user's instance for its first permitted message.
pub(crate) async fn socket(
    permit: &Permit<'_, '_>,
    connection: Connection,
    id: &RequestId,
) -> Result<Switching, Failure> {
    let key = Key::new()?;
    let request = begin_socket(permit.row().path(), &key, id)
        .header(AUTHORIZATION, ["Bearer ", permit.token().expose()])
        .header(USERNAME, [&permit.username().to_header()])
        .without_body()?;
    Ok(connection.switch(&request, &key.accept()).await?)
}

/// Forwards a user's message, once, on a socket to the user's instance.
pub(crate) async fn message(
    permit: Permit<'_, '_>,
    written: &Written<'_>,
    instance: &mut ToInstance,
) -> Result<(), Failure> {
    say(message::permitted(&permit, written)?, instance).await
}

/// Tells the instance to end a stream of this socket.
pub(crate) async fn cancel(
    cancel: &Cancel<'_>,
    written: &Written<'_>,
    instance: &mut ToInstance,
) -> Result<(), Failure> {
    say(message::cancelled(cancel, written)?, instance).await
}

/// Opens a session's socket at the instance that issued its token.
pub(crate) async fn session_socket(
    permit: SessionPermit<'_>,
    provider: &ProviderId,
    key: &Key,
    connection: Connection,
    id: &RequestId,
) -> Result<Switching, Failure> {
    let path = format!("/ucloud/{provider}/{}", permit.session().endpoint().path());
    let mut request = begin_socket(&path, key, id).header(SESSION_TOKEN, [permit.token()]);
    if let Some(proof) = permit.proof() {
        request = request.header(SIGNED_INTENT, [proof]);
    }
    if let Some(enc) = permit.piece().enc {
        request = request.header(ENC, [&enc.to_base64url()]);
    }
    Ok(connection.switch(&request.without_body()?, &key.accept()).await?)
}

/// Redeems a token for a web interface at the instance that issued it.
pub(crate) async fn web_opening(
    permit: SessionPermit<'_>,
    provider: &ProviderId,
    place: &WebPlace,
    upstreams: &Arc<Upstreams>,
    connection: Connection,
    id: &RequestId,
) -> Result<InstanceAnswer, Failure> {
    let path = format!("/ucloud/{provider}/{}", permit.session().endpoint().path());
    let mut request = UpstreamRequest::begin(Method::Get, &path)
        .header("x-request-id", [id.as_str()])
        .header(SESSION_TOKEN, [permit.token()])
        .header(WEB_PLACE_TEXT, [&place.to_string()]);
    if let Some(proof) = permit.proof() {
        request = request.header(SIGNED_INTENT, [proof]);
    }
    send(request.body(Bytes::new())?, upstreams, connection).await
}

/// Passes on a request of a web session to the instance, which knows its application.
pub(crate) async fn to_application(
    permit: &WebPermit,
    gateway: &Gateway,
    head: &Parts,
    body: SentBody,
    id: &RequestId,
) -> Result<http::Response<Incoming>, Refusal> {
    let session = permit.session();
    let connect = || async {
        let connection = gateway.connect_by(Reuse::Fresh, session.username()).await?;
        Ok(speak(connection.into_stream()).await.map_err(Failure::from)?)
    };
    // The secret in the place of its cookie.
    let evidence = [(WEB_SESSION, permit.secret().expose()), (WEB_PLACE, session.place().to_string())];
    let request = web_request(evidence, head, body, id)?;
    session.connections().send(request, APPLICATION_WITHIN, connect).await.map_err(not_answered)
}

/// Passes on a request for a public link to its owner's instance, which is started if it is down:
/// no Core would ask for it.
pub(crate) async fn to_link(
    route: &LinkRoute,
    gateway: &Gateway,
    head: &Parts,
    body: SentBody,
    id: &RequestId,
) -> Result<http::Response<Incoming>, Refusal> {
    let connect = || async {
        let connection = gateway.connect_or_start(Reuse::Fresh, route.username()).await?;
        Ok(speak(connection.into_stream()).await.map_err(Failure::from)?)
    };
    let evidence = [(WEB_LINK, route.name().to_string()), (WEB_JOB, route.job().to_string())];
    let request = web_request(evidence, head, body, id)?;
    route.connections().send(request, APPLICATION_WITHIN, connect).await.map_err(not_answered)
}

fn not_answered(not_answered: NotAnswered<Refusal>) -> Refusal {
    match not_answered {
        NotAnswered::NotConnected(refusal) => refusal,
        NotAnswered::Slow => UpstreamFailure::Slow.into(),
        NotAnswered::Broken(error) => Failure::from(error).into(),
    }
}

/// The request with what the instance judges again. The instance writes the head that the
/// application sees.
fn web_request(
    evidence: [(HeaderName, String); 2],
    head: &Parts,
    body: SentBody,
    id: &RequestId,
) -> Result<http::Request<SentBody>, UpstreamFailure> {
    let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut headers = head.headers.clone();
    strip_request(&mut headers);
    let authority = headers.remove(HOST).or_else(|| {
        let authority = head.uri.authority()?;
        HeaderValue::from_str(authority.as_str()).ok()
    });
    let written = |text: &str| HeaderValue::from_str(text).map_err(|_| UpstreamFailure::InvalidResponse);
    headers.insert(HOST, authority.ok_or(UpstreamFailure::InvalidResponse)?);
    for (name, value) in evidence {
        headers.insert(name, written(&value)?);
    }
    headers.insert("x-request-id", written(id.as_str())?);
    if head.headers.contains_key(UPGRADE) {
        set_upgrade(&mut headers);
    }
    let mut request = http::Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = target.parse().map_err(|_| UpstreamFailure::InvalidResponse)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Passes on a message of an open session.
pub(crate) async fn of_session(message: Message, instance: &mut ToInstance) -> Result<(), Failure> {
    send_message(message, instance).await
}

async fn say(text: String, instance: &mut ToInstance) -> Result<(), Failure> {
    send_message(Message::Text(text.into()), instance).await
}

async fn send_message(message: Message, instance: &mut ToInstance) -> Result<(), Failure> {
    let taken = tokio::time::timeout(TAKEN_WITHIN, instance.send(message)).await;
    let taken = taken.map_err(|_elapsed| UpstreamFailure::Slow)?;
    Ok(taken.map_err(|error| UpstreamFailure::Broken(io::Error::other(error)))?)
}

/// Forwards one of Core's own requests to the server, which verifies the token again.
pub(crate) async fn service(
    proven: ServiceRequest<'_>,
    provider: &ProviderId,
    body: Bytes,
    upstreams: &Arc<Upstreams>,
    connection: Connection,
    id: &RequestId,
) -> Result<InstanceAnswer, Failure> {
    let (method, below) = place_of_service(proven.call());
    let request = begin(method, &format!("/ucloud/{provider}/{below}"), id)
        .header(AUTHORIZATION, ["Bearer ", proven.token().expose()])
        .body(body)?;
    send(request, upstreams, connection).await
}

/// Forwards a public call to the server.
pub(crate) async fn public(
    call: PublicCall,
    provider: &ProviderId,
    from: IpAddr,
    body: Bytes,
    upstreams: &Arc<Upstreams>,
    connection: Connection,
    id: &RequestId,
) -> Result<InstanceAnswer, Failure> {
    let (method, below) = place_of_public(call);
    let request = begin(method, &format!("/ucloud/{provider}/{below}"), id)
        .header(CLIENT_ADDRESS, [&from.to_canonical().to_string()])
        .body(body)?;
    send(request, upstreams, connection).await
}

/// Method, and path below `/ucloud/{p}/`, of one of Core's own calls.
pub(crate) fn place_of_service(call: ServiceCall) -> (Method, &'static str) {
    let found = ServiceCall::ALL.iter().find(|(known, _, _)| *known == call);
    found.map_or((Method::Get, ""), |(_, method, below)| (*method, *below))
}

/// Method, and path below `/ucloud/{p}/`, of a public call.
pub(crate) fn place_of_public(call: PublicCall) -> (Method, &'static str) {
    let found = PublicCall::ALL.iter().find(|(known, _, _)| *known == call);
    found.map_or((Method::Get, ""), |(_, method, below)| (*method, *below))
}

fn begin_socket(path: &str, key: &Key, id: &RequestId) -> UpstreamRequestHead {
    UpstreamRequest::begin(Method::Get, path)
        .header("upgrade", ["websocket"])
        .header("connection", ["Upgrade"])
        .header("sec-websocket-version", ["13"])
        .header("sec-websocket-key", [key.as_str()])
        .header("x-request-id", [id.as_str()])
}

fn begin(method: Method, path: &str, id: &RequestId) -> UpstreamRequestHead {
    UpstreamRequest::begin(method, path)
        .header("content-type", ["application/json"])
        .header("x-request-id", [id.as_str()])
}

/// Sends a request. If a pooled connection turns out closed before the first byte was sent, tries
/// one more.
async fn send(
    request: UpstreamRequest,
    upstreams: &Arc<Upstreams>,
    connection: Connection,
) -> Result<InstanceAnswer, Failure> {
    let (address, sent) = (Arc::clone(connection.address()), Instant::now());
    match connection.send(upstreams, request).await {
        Ok(answer) => {
            upstreams.answers().observe(sent.elapsed());
            Ok(answer)
        }
        Err((_, Some(unsent))) => {
            let another = upstreams.connect_anew(&address).await?;
            another.send(upstreams, unsent).await.map_err(|(failure, _)| failure.into())
        }
        Err((failure, None)) => Err(failure.into()),
    }
}
