//! The server's two listeners: the public IPC socket, and the private socket for the gateway.
//!
//! Both authenticate before they read a byte. On the public socket the kernel gives the peer's uid
//! for every operation. On the private socket Core's token is verified again, whatever the gateway
//! has verified. Anything not listed is 404.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use countersign_keys::call::{Destination, DirectRow, Lane, Method, PublicCall, Route, ServiceCall};
use countersign_keys::core_token::Authenticated;
use countersign_keys::identity::Uid;
use countersign_keys::request::{DIRECT_BODY_MAX, INTENT_MAX, Presented};
use countersign_keys::verify::Rejection;
use http::header::{CACHE_CONTROL, CONNECTION};
use http::{HeaderMap, HeaderValue, Request};
use hyper::body::{Bytes, Incoming};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::callers::{Caller, Callers};
use super::reply::{Refusal, answer, message, rejected};
use crate::accounting::listing as usage;
use crate::applications;
use crate::audit::record::{AuditedAction, Sender};
use crate::connections::{approval, list, offer};
use crate::core::service_calls::AboutUser;
use crate::core::{drives, service_calls, tasks};
use crate::jobs::{choices, operator, reports};
use crate::licences;
use crate::links;
use crate::projects::{decisions, listing};
use crate::state::{Server, log_failure};
use crate::{direct, state_directory};
use countersign_config::Ipc;
use countersign_ipc::body::{BodyError, read_body};
use countersign_ipc::error_code::Reply;
use countersign_ipc::http::{Limits, serve_connection};
use countersign_ipc::peer::Peer;
use countersign_ipc::room;
use countersign_ipc::server_protocol::{self as ipc, Empty};

/// Connections of all callers at a time; each instance holds one.
pub(crate) const CALLERS_MAX: usize = 4_096;

/// Longest body of an operation, in bytes. An RSA-4096 key as base64 is under 1 KiB.
const IPC_BODY_MAX: usize = 16 * 1024;

/// Longest body with an application in it, in bytes: its quotes are escaped.
const OFFER_BODY_MAX: usize = 256 * 1024;

/// Longest body from the connection page, in bytes.
const PAGE_BODY_MAX: usize = 16 * 1024;

/// Longest body of one of Core's own calls, in bytes: a username.
const SERVICE_BODY_MAX: usize = 16 * 1024;

/// The header with the client's address of a public request, set by the gateway. Display only; it
/// has no authority.
const CLIENT_ADDRESS: &str = "x-client-address";

/// The request's id, in the decision logs of the gateway and the server.
const REQUEST_ID: &str = "x-request-id";

/// Longest value of these headers that is shown, in bytes: an IPv6 address with port and zone.
const SHOWN_MAX: usize = 80;

/// How often the public socket's file is checked. Another program may have emptied the run
/// directory.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The public IPC socket, which is recreated if its file is removed.
struct PublicSocket {
    ipc: Ipc,
    listener: UnixListener,
    /// Device and inode of its file.
    file: Option<(u64, u64)>,
    looked: tokio::time::Interval,
}

impl PublicSocket {
    fn new(ipc: Ipc, listener: UnixListener) -> Self {
        let file = state_directory::identity(&ipc.socket()).ok().flatten();
        let mut looked = tokio::time::interval(LOOK_EVERY);
        looked.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self { ipc, listener, file, looked }
    }

    async fn accept(&mut self) -> io::Result<UnixStream> {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => return accepted.map(|(stream, _)| stream),
                _ = self.looked.tick() => self.see_to_it(),
            }
        }
    }

    /// Recreates the socket if its file is gone. Only root and the server's own account can remove
    /// it.
    fn see_to_it(&mut self) {
        if state_directory::identity(&self.ipc.socket()).is_ok_and(|found| found.is_some() && found == self.file) {
            return;
        }
        match state_directory::listen_to_everybody(&self.ipc)
            .map_err(io::Error::other)
            .and_then(state_directory::async_listener)
        {
            Ok(listener) => {
                tracing::warn!(socket = %self.ipc.socket().display(), "recreated the socket, which had been removed");
                self.listener = listener;
                self.file = state_directory::identity(&self.ipc.socket()).ok().flatten();
            }
            Err(error) => {
                let cause = error.to_string();
                tracing::error!(socket = %self.ipc.socket().display(), cause, "cannot recreate the socket, which was removed");
            }
        }
    }
}

/// Serves every local user.
pub(crate) async fn serve_everybody(server: Arc<Server>, listener: UnixListener) {
    let everybody = Arc::new(Semaphore::new(CALLERS_MAX));
    let callers = Arc::new(Callers::default());
    let mut socket = PublicSocket::new(server.config.ipc.clone(), listener);
    while let Ok(place) = Arc::clone(&everybody).acquire_owned().await {
        let stream = match socket.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        let peer = match Peer::of(&stream) {
            Ok(peer) => peer,
            Err(unknown) => {
                log_failure("rejected connection: peer is unknown", &unknown);
                continue;
            }
        };
        let Some(caller) = Callers::enter(&callers, peer.uid, Instant::now()) else {
            tracing::debug!(uid = %peer.uid, pid = peer.pid, "rejected connection: too many of this uid");
            continue;
        };
        let (server, caller) = (Arc::clone(&server), Arc::new(caller));
        tokio::spawn(async move {
            let _counted = server.metrics.callers.hold();
            let service = |request| operation(Arc::clone(&server), Arc::clone(&caller), peer.uid, request);
            if let Err(error) = serve_connection(stream, service, &Limits::LOCAL).await {
                tracing::debug!(uid = %peer.uid, %error, "connection of a local caller broke");
            }
            drop(place);
        });
    }
}

/// Serves the gateway, on a socket that only this account can reach.
pub(crate) async fn serve_gateway(server: Arc<Server>, listener: UnixListener) {
    let places = Arc::new(Semaphore::new(room::CONNECTIONS));
    let own_uid = Uid(nix::unistd::geteuid().as_raw());
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) if Peer::of(&stream).is_ok_and(|peer| peer.uid == own_uid) => {
                tokio::spawn(serve_requests(Arc::clone(&server), stream, place));
            }
            Ok(_) => tracing::warn!("rejected connection: peer is not the gateway"),
            Err(error) => pause_after(&error).await,
        }
    }
}

async fn serve_requests<S>(server: Arc<Server>, stream: S, place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = |request| service(Arc::clone(&server), request);
    if let Err(error) = serve_connection(stream, service, &Limits::LOCAL).await {
        tracing::debug!(%error, "connection of the gateway broke");
    }
    drop(place);
}

/// Handles one operation of a local user.
async fn operation(server: Arc<Server>, caller: Arc<Caller>, uid: Uid, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    // Read the body even of a refused request: closing a socket with unread data discards the
    // response.
    let body_max = match head.uri.path() {
        ipc::APPLICATIONS_OFFERED | ipc::JOBS_CHOICES => OFFER_BODY_MAX,
        _ => IPC_BODY_MAX,
    };
    let body = read_body(body, body_max).await;
    if !caller.may_ask(Instant::now()) {
        let mut reply =
            answer::<Empty>(Err(Refusal::too_many("too many requests to the provider: try again in a moment")));
        reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return reply;
    }
    if head.method != http::Method::POST {
        return answer::<Empty>(Err(Refusal::not_found("an operation needs POST")));
    }
    let path = head.uri.path().to_owned();
    let (server, asker) = (&server, approval::asker(uid));
    let action = AuditedAction { sender: Sender::Known(&asker), ..AuditedAction::of(&asker, &path) };
    let within = Within { server, action, body };
    match path.as_str() {
        ipc::CONNECT_FIND => within.ask(|find| approval::find(server, uid, find)).await,
        ipc::CONNECT_APPROVE => within.ask(|approve| approval::approve(server, uid, approve)).await,
        ipc::CONNECT_START => within.ask(|start| approval::start(server, uid, start)).await,
        ipc::CONNECT_AWAIT => within.ask(|wait| approval::wait_for_offer(server, uid, wait)).await,
        ipc::CONNECT_LIST => within.ask(|list| async move { list::connections(server, uid, &list) }).await,
        ipc::CONNECT_REMOVE => within.ask(|remove| approval::remove(server, uid, remove)).await,
        ipc::KEYS_LIST => within.ask(|list| async move { list::keys(server, uid, list) }).await,
        ipc::KEYS_ADD => within.ask(|add| approval::add_key(server, uid, add)).await,
        ipc::KEYS_REVOKE => within.ask(|revoke| approval::revoke_key(server, uid, revoke)).await,
        ipc::DRIVES_REPORT => within.ask(|report| drives::report(server, uid, report)).await,
        ipc::DRIVES_MAKE => within.ask(|made| drives::make(server, uid, made)).await,
        ipc::DRIVES_REMOVE => within.ask(|removed| drives::remove(server, uid, removed)).await,
        ipc::TASKS_BEGIN => within.ask(|begun| tasks::begin(server, uid, begun)).await,
        ipc::TASKS_TELL => within.ask(|told| async move { tasks::tell(server, uid, told) }).await,
        ipc::APPLICATIONS_OFFERED => {
            within.ask(|offered| async move { applications::offered(server, uid, offered) }).await
        }
        ipc::APPLICATIONS_PENDING => within.ask(|_: Empty| async move { applications::pending(server, uid) }).await,
        ipc::APPLICATIONS_SHOW => within.ask(|named| async move { applications::show(server, uid, &named) }).await,
        ipc::APPLICATIONS_DECIDE => {
            within.ask(|decided| async move { applications::decide(server, uid, &decided) }).await
        }
        ipc::JOBS_SUBMITTED => within.ask(|report| reports::submitted(server, uid, report)).await,
        ipc::JOBS_CHOICES => within.ask(|report| async move { choices::reported(server, uid, report) }).await,
        ipc::JOBS_EXTEND => within.ask(|extend| operator::extend(server, uid, extend)).await,
        ipc::JOBS_SUSPEND => within.ask(|suspend| operator::suspend(server, uid, suspend)).await,
        ipc::LINKS_MAKE => within.ask(|made| links::make(server, uid, made)).await,
        ipc::LINKS_REMOVE => within.ask(|removed| links::remove(server, uid, removed)).await,
        ipc::LINKS_LIST => within.ask(|list| async move { links::list(server, uid, &list) }).await,
        ipc::LICENCES_MAKE => within.ask(|made| licences::make(server, uid, made)).await,
        ipc::LICENCES_REMOVE => within.ask(|removed| licences::remove(server, uid, removed)).await,
        ipc::LICENCES_READ => within.ask(|read| licences::read(server, uid, read)).await,
        ipc::USAGE_LIST => within.ask(|list| usage::list(server, uid, list)).await,
        ipc::PROJECTS_LIST => within.ask(|list| async move { listing::projects(server, uid, &list) }).await,
        ipc::PROJECTS_MEMBERS => within.ask(|list| listing::members(server, uid, list)).await,
        ipc::PROJECTS_DECIDE => within.ask(|decided| decisions::decide(server, uid, decided)).await,
        ipc::METRICS => within.ask(|_: Empty| list::metrics(server, uid)).await,
        ipc::WHOAMI => within.ask(|_: Empty| list::whoami(server, uid)).await,
        _ => within.ask(|_: Empty| async { Err::<Empty, _>(Refusal::not_found("no such operation")) }).await,
    }
}

/// The body of an operation, and the record for a refusal.
struct Within<'w> {
    server: &'w Server,
    action: AuditedAction<'w>,
    body: Result<Bytes, BodyError>,
}

impl Within<'_> {
    async fn ask<Q, A, F>(self, operation: impl FnOnce(Q) -> F) -> Reply
    where
        Q: DeserializeOwned,
        A: Serialize,
        F: Future<Output = Result<A, Refusal>>,
    {
        let outcome = match self.body.map_err(Refusal::from).and_then(|body| message(&body)) {
            Ok(question) => operation(question).await,
            Err(refusal) => Err(refusal),
        };
        answer(outcome.map_err(|refusal| self.server.record_refusal(&self.action, refusal)))
    }
}

/// Handles one request that the gateway forwards.
async fn service(server: Arc<Server>, request: Request<Incoming>) -> Reply {
    let route = Method::parse(request.method().as_str())
        .and_then(|method| server.config.served().calls.route(method, request.uri().path()).cloned());
    match route {
        Some(Route::Public(call)) => public(&server, call, request).await,
        Some(Route::Private(Lane::Service(call))) => private(&server, call, request).await,
        Some(Route::Direct(row)) if row.destination() == Destination::Server => direct(&server, &row, request).await,
        Some(Route::Direct(_) | Route::Private(Lane::User(_)) | Route::Session(_) | Route::Socket) | None => {
            rejected(&Rejection::NoSuchCall).reply()
        }
    }
}

async fn public(server: &Arc<Server>, call: PublicCall, request: Request<Incoming>) -> Reply {
    let address = client_address(request.headers());
    let request_id = shown(request.headers(), REQUEST_ID);
    let place = PublicCall::ALL.iter().find(|(known, _, _)| *known == call);
    let action = AuditedAction::of_stranger(&request_id, place.map_or("", |(_, _, path)| *path), address.parse().ok());
    let outcome = match read_body(request.into_body(), PAGE_BODY_MAX).await {
        Ok(body) => match call {
            PublicCall::ConnectDescribe => offer::describe(server, &body).await,
            PublicCall::ConnectOffer => offer::offer(server, &body, address, &action).await,
            PublicCall::ConnectStatus => offer::status(server, &body).await,
            PublicCall::ConnectConfirm => offer::confirm(server, &body, &action).await,
            PublicCall::ConnectProbe => offer::probe(server, &body, &action),
            // The gateway answers these itself.
            PublicCall::ConnectPage
            | PublicCall::KeysPage
            | PublicCall::SignerPage
            | PublicCall::InterfacePage
            | PublicCall::DepositIntent
            | PublicCall::AssertIntent
            | PublicCall::Calls => Err(rejected(&Rejection::NoSuchCall)),
        },
        Err(error) => Err(error.into()),
    };
    let mut reply = answer(outcome.map_err(|refusal| server.record_refusal(&action, refusal)));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

async fn private(server: &Arc<Server>, call: ServiceCall, request: Request<Incoming>) -> Reply {
    let request_id = shown(request.headers(), REQUEST_ID);
    let place = ServiceCall::ALL.iter().find(|(known, _, _)| *known == call);
    let action = AuditedAction::of_stranger(&request_id, place.map_or("", |(_, _, path)| *path), None);
    if let Err(refusal) = authenticate(server, call, request.headers()) {
        return server.record_refusal(&action, refusal).reply();
    }
    let action = AuditedAction { sender: Sender::Known("core"), ..action };
    let body = match read_body(request.into_body(), SERVICE_BODY_MAX).await {
        Ok(body) => body,
        Err(error) => return server.record_refusal(&action, error.into()).reply(),
    };
    answer(service_calls::call(server, call, &body, &action).await.map_err(|refusal| {
        let about = message::<AboutUser>(&body).ok();
        let username = about.as_ref().map(|about| &about.username);
        server.record_refusal(&AuditedAction { username, ..action }, refusal)
    }))
}

async fn direct(server: &Arc<Server>, row: &DirectRow, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let request_id = shown(&head.headers, REQUEST_ID);
    let mut reply = match read_body(body, DIRECT_BODY_MAX).await {
        Ok(body) => direct::answer(server, row, &head.headers, &body, &request_id).await,
        Err(error) => {
            let action = AuditedAction::of_stranger(&request_id, row.row().call().as_str(), None);
            server.record_refusal(&action, error.into()).reply()
        }
    };
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// Verifies Core's token again: the gateway's check is not sufficient (P3).
fn authenticate(server: &Server, call: ServiceCall, headers: &HeaderMap) -> Result<(), Refusal> {
    let now = server.clock.now()?;
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let presented = Presented::parse(&Lane::Service(call), pairs, INTENT_MAX)
        .map_err(|rejection| rejected(&Rejection::Request(rejection)))?;
    let mut tokens = server.core_tokens.lock().unwrap_or_else(PoisonError::into_inner);
    match tokens.authenticate(presented, now) {
        Ok(Authenticated::Service(request)) if request.call() == call => Ok(()),
        Ok(Authenticated::Service(_) | Authenticated::User(_)) => Err(rejected(&Rejection::NoSuchCall)),
        Err(rejection) => Err(rejected(&Rejection::CoreToken(rejection))),
    }
}

/// The client's address, from the gateway.
fn client_address(headers: &HeaderMap) -> String {
    shown(headers, CLIENT_ADDRESS)
}

/// A header of the gateway for display; "unknown" if it is missing, repeated or malformed.
fn shown(headers: &HeaderMap, name: &str) -> String {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(value)), None) if !value.is_empty() && value.len() <= SHOWN_MAX => value.to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// Pauses: most likely the process is out of descriptors, and open connections must end first.
async fn pause_after(error: &std::io::Error) {
    tracing::error!(%error, "cannot accept a connection");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_server::TestServer;
    use countersign_ipc::client::request;

    #[tokio::test]
    async fn c19_who_asks_too_much_is_told_so_every_time() {
        let test = TestServer::new("");
        let socket = test.server.config.ipc.socket();
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(serve_everybody(Arc::clone(&test.server), listener));
        let mut refused = 0;
        for _ in 0..10_000 {
            let (status, body) = request(&socket, http::Method::POST, ipc::WHOAMI, &Empty {}).await.unwrap();
            if status != http::StatusCode::OK {
                let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!((status.as_u16(), &body["errorCode"]), (429, &"TOO_MANY".into()));
                refused += 1;
            }
            if refused == 20 {
                return;
            }
        }
        panic!("{refused} of 10,000 were refused");
    }

    #[test]
    fn an_odd_address_is_not_shown() {
        let check = |values: &[&str], want: &str| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CLIENT_ADDRESS, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(client_address(&headers), want, "{values:?}");
        };
        check(&["192.0.2.7:4711"], "192.0.2.7:4711");
        check(&[], "unknown");
        check(&[""], "unknown");
        check(&["a", "b"], "unknown");
        check(&["æ"], "unknown");
        check(&[&"1".repeat(81)], "unknown");
    }
}
