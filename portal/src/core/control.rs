//! The endpoints of Core that a provider calls: token refresh, connections, resources, products,
//! tasks and events.
//!
//! Tests can make it fail or close its connections, to test how the provider waits. It ends where
//! the real Core's process ends; a test that did not expect that end fails.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::events::{self, Event, Events};
use super::jobs::{NotRegistered, ShownJob, UnknownJob};
use super::process::Process;
use super::products::Products;
use super::resources::{RegisteredDrive, TakenId};
use super::tasks::{ShownTask, Tasks};
use super::usage::Usage;
use crate::site::{Body, Pages, json as reply};
use crate::{CoreKeys, Fault, TestCertificate, jws, now};

/// Larger than any body that a provider sends here: 500 reports of usage.
const BODY_MAX: usize = 512 * 1024;

/// The path at which a provider gets its token.
const REFRESH: &str = "/auth/providers/refresh";

/// A call of the provider that Core accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ControlCall {
    /// The provider approved this user's connection.
    Approved(String),
    /// The provider cleared this user's connection.
    Cleared(String),
    /// The provider registered a drive for this user.
    Registered(String),
}

/// A failure of Core, set by a test.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outage {
    /// Core works.
    None,
    /// The next requests, as many as given, are answered 502 and have no effect.
    Fails(u32),
    /// The next requests other than token refreshes, as many as given, take effect and are answered
    /// 502.
    Mute(u32),
    /// Core closes each connection at once.
    Down,
}

/// A request ended Core's process: its connection is closed without a response.
#[derive(Debug, thiserror::Error)]
#[error("Core has ended: {0}")]
struct Died(&'static str);

/// Core's control endpoints on a loopback port. Dropping the value closes the port.
///
/// # Panics
/// If it is dropped after its process ended and [`Control::take_death`] was not called.
pub struct Control {
    address: SocketAddr,
    origin: String,
    refresh_token: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    keys: Arc<CoreKeys>,
    refresh_token: String,
    /// Core's own pages, served for all other paths.
    pages: OnceLock<Pages>,
    outage: Mutex<Outage>,
    /// The tokens given out. They are few and live as long as the process.
    tokens: Mutex<Vec<String>>,
    calls: watch::Sender<Vec<ControlCall>>,
    /// The users whose connection is approved. Core's index of them is unique.
    connected: Mutex<BTreeSet<String>>,
    process: Arc<Process>,
    events: Events,
    products: Products,
    tasks: Tasks,
    usage: Usage,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Control({})", self.address)
    }
}

impl Control {
    /// Listens on 127.0.0.1, on a port that the system chooses.
    ///
    /// # Errors
    /// [`Fault::Io`] if it cannot listen.
    pub async fn start(keys: Arc<CoreKeys>) -> Result<Self, Fault> {
        Self::start_at(keys, SocketAddr::from(([127, 0, 0, 1], 0)), None).await
    }

    /// Listens at `address`. `refresh_token` is the token that provider and Core already share.
    ///
    /// # Errors
    /// [`Fault::Io`] if it cannot listen.
    pub async fn start_at(
        keys: Arc<CoreKeys>,
        address: SocketAddr,
        refresh_token: Option<String>,
    ) -> Result<Self, Fault> {
        let listener = TcpListener::bind(address).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        Self::serve_on(listener, origin, None, keys, refresh_token)
    }

    /// Listens over TLS as `localhost`, with a certificate for that name.
    ///
    /// # Errors
    /// [`Fault::Io`] if it cannot listen; [`Fault::Tls`] or [`Fault::Certificate`] if the
    /// certificate cannot be used.
    pub async fn start_over_tls(keys: Arc<CoreKeys>, certificate: &TestCertificate) -> Result<Self, Fault> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let origin = format!("https://localhost:{}", listener.local_addr()?.port());
        Self::serve_on(listener, origin, Some(certificate.acceptor()?), keys, None)
    }

    fn serve_on(
        listener: TcpListener,
        origin: String,
        tls: Option<TlsAcceptor>,
        keys: Arc<CoreKeys>,
        refresh_token: Option<String>,
    ) -> Result<Self, Fault> {
        let address = listener.local_addr()?;
        let refresh_token = match refresh_token {
            Some(agreed) => agreed,
            None => new_refresh_token()?,
        };
        let shared = Arc::new(Shared {
            keys,
            refresh_token: refresh_token.clone(),
            pages: OnceLock::new(),
            outage: Mutex::new(Outage::None),
            tokens: Mutex::new(Vec::new()),
            calls: watch::Sender::new(Vec::new()),
            connected: Mutex::default(),
            process: Arc::default(),
            events: Events::default(),
            products: Products::default(),
            tasks: Tasks::default(),
            usage: Usage::default(),
        });
        let accepting = tokio::spawn(accept(listener, tls, Arc::clone(&shared)));
        Ok(Self { address, origin, refresh_token, shared, accepting })
    }

    /// The address on which it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value of `core.origin` in the provider's configuration: `http://127.0.0.1:port` or
    /// `https://localhost:port`.
    #[must_use]
    pub fn origin(&self) -> String {
        self.origin.clone()
    }

    /// The provider's refresh token.
    #[must_use]
    pub fn refresh_token(&self) -> &str {
        &self.refresh_token
    }

    /// Serves Core's pages at this origin for all other paths. Later calls have no effect.
    pub fn serve(&self, pages: Pages) {
        let _the_first_ones_stay = self.shared.pages.set(pages);
    }

    /// Starts or ends a failure of Core.
    pub fn set_outage(&self, outage: Outage) {
        *self.shared.outage.lock().unwrap_or_else(PoisonError::into_inner) = outage;
    }

    /// Every call accepted so far, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<ControlCall> {
        self.shared.calls.borrow().clone()
    }

    /// The drives that were registered.
    #[must_use]
    pub fn drives(&self) -> Vec<RegisteredDrive> {
        self.shared.process.resources.drives()
    }

    /// Whether the provider approved this user's connection, and has not cleared it.
    #[must_use]
    pub fn is_connected(&self, username: &str) -> bool {
        self.shared.connected.lock().unwrap_or_else(PoisonError::into_inner).contains(username)
    }

    /// The registered products, as the provider sent them.
    #[must_use]
    pub fn products(&self) -> Vec<Value> {
        self.shared.products.all()
    }

    /// Takes Core's next number for a new drive.
    #[must_use]
    pub fn number_drive(&self) -> String {
        self.shared.process.resources.number()
    }

    /// Continues the numbers of resources as Core does after a restart of its process.
    pub fn restart_numbers(&self) {
        self.shared.process.resources.restart();
    }

    /// Registers a drive of `created_by` under `id`, as an earlier version of the provider did.
    pub fn register_drive(&self, id: &str, created_by: &str) {
        self.shared.process.resources.insert(id, created_by);
    }

    /// All jobs.
    #[must_use]
    pub fn jobs(&self) -> Vec<ShownJob> {
        self.shared.process.jobs.all()
    }

    /// Creates a job of a user without asking the provider, and returns its id.
    #[must_use]
    pub fn add_job(&self, created_by: &str, project: Option<&str>) -> String {
        self.shared.process.jobs.insert(created_by, project)
    }

    /// Creates a job of a user under an id that the test chooses.
    pub fn put_job(&self, id: &str, created_by: &str) {
        self.shared.process.jobs.put(id, created_by, None);
    }

    /// Has a job under an id of the provider, which the provider has not registered.
    #[must_use]
    pub fn add_registered_job(&self, created_by: &str, provider_generated_id: &str) -> String {
        self.shared.process.jobs.insert_as(created_by, provider_generated_id)
    }

    /// Gives a job another state, as a Core does that has lost its last updates.
    pub fn set_job_state(&self, id: &str, state: &str) {
        self.shared.process.jobs.set_state(id, state);
    }

    /// Forgets a job, as Core does when the provider's answer to its creation came too late.
    pub fn remove_job(&self, id: &str) {
        self.shared.process.jobs.remove(id);
    }

    /// The usage that the provider has reported.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.shared.usage
    }

    /// All tasks, as a user sees one whose number the user knows.
    #[must_use]
    pub fn tasks(&self) -> Vec<ShownTask> {
        self.shared.tasks.all()
    }

    /// The tasks in their users' lists: those with an update in the last five minutes of Core's
    /// clock.
    #[must_use]
    pub fn listed_tasks(&self) -> Vec<ShownTask> {
        self.shared.tasks.listed()
    }

    /// Advances the clock by which Core lists tasks. The expiry of tokens uses the system's clock.
    pub fn let_pass(&self, time: Duration) {
        self.shared.tasks.let_pass(time);
    }

    /// Sends an event to every connection of the provider. Returns the number of connections that
    /// lost it because their queue was full for [`events::DROPPED_AFTER`].
    pub async fn push(&self, event: Event) -> usize {
        self.shared.events.push(event).await
    }

    /// The number of event connections; closed ones may still be counted.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.shared.events.listeners()
    }

    /// The process that the control endpoints share with [`super::Core`].
    pub(super) fn process(&self) -> Arc<Process> {
        Arc::clone(&self.shared.process)
    }

    /// Returns and clears the reason why Core's process ended. After that, dropping it does not
    /// panic.
    #[must_use]
    pub fn take_death(&self) -> Option<&'static str> {
        self.shared.process.take_death()
    }

    /// Waits until the provider has made this call.
    pub async fn wait_for(&self, call: &ControlCall) {
        let mut calls = self.shared.calls.subscribe();
        let _sender_lives_as_long_as_self = calls.wait_for(|calls| calls.contains(call)).await;
    }
}

impl Drop for Control {
    #[expect(clippy::panic, reason = "a test in which Core's process ended has failed, whatever else it saw")]
    fn drop(&mut self) {
        self.accepting.abort();
        if let Some(why) = self.take_death().filter(|_| !std::thread::panicking()) {
            panic!("the provider ended Core's process: {why}");
        }
    }
}

/// A refresh token as the Go Core makes it: 32 random bytes in hexadecimal.
fn new_refresh_token() -> Result<String, Fault> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        if shared.is_down() {
            continue;
        }
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            match tls {
                None => serve(stream, shared).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, shared).await,
                    Err(_peer_does_not_believe_us) => {}
                },
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { shared.answer(request).await }
    });
    let _peer_may_vanish = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

impl Shared {
    async fn answer(self: &Arc<Self>, request: http::Request<Incoming>) -> Result<Response<Body>, Died> {
        // Token refreshes always get their response, so that the provider has a token.
        let is_mute = request.uri().path() != REFRESH && self.is_mute();
        let answer = self.work(request).await;
        if let Some(why) = self.process.death() {
            return Err(Died(why));
        }
        Ok(if is_mute { reply(StatusCode::BAD_GATEWAY, &json!({"why": "Bad gateway"})) } else { answer })
    }

    fn is_down(&self) -> bool {
        *self.outage.lock().unwrap_or_else(PoisonError::into_inner) == Outage::Down || self.process.death().is_some()
    }

    /// Whether this request takes effect and is answered 502.
    fn is_mute(&self) -> bool {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        match *outage {
            Outage::Mute(0) => {
                *outage = Outage::None;
                false
            }
            Outage::Mute(left) => {
                *outage = Outage::Mute(left.saturating_sub(1));
                true
            }
            Outage::None | Outage::Fails(_) | Outage::Down => false,
        }
    }

    async fn work(self: &Arc<Self>, request: http::Request<Incoming>) -> Response<Body> {
        if self.is_out() {
            return reply(StatusCode::BAD_GATEWAY, &json!({"why": "Bad gateway"}));
        }
        if request.uri().path() == events::PATH {
            return self.open_events(request);
        }
        let (parts, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
            return reply(StatusCode::BAD_REQUEST, &json!({"why": "Unreadable"}));
        };
        let bytes = body.to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let bearer = parts.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        match (parts.method.as_str(), parts.uri.path()) {
            ("POST", REFRESH) => self.refresh(&body),
            ("POST", "/api/providers/integration/control/approveConnection") => {
                self.control(bearer, &body, ControlCall::Approved)
            }
            ("POST", "/api/providers/integration/control/clearConnection") => {
                self.control(bearer, &body, ControlCall::Cleared)
            }
            ("POST", "/api/files/collections/control/register") => self.register(bearer, &body),
            ("GET", "/api/files/collections/control/browse") if self.is_known(bearer) => {
                reply(StatusCode::OK, &self.process.resources.browse(parts.uri.query().unwrap_or_default()))
            }
            ("POST", "/api/products/v2") => match self.products.register(&body).filter(|_| self.is_known(bearer)) {
                Some(answer) => reply(StatusCode::OK, &answer),
                None => reply(StatusCode::BAD_REQUEST, &json!({"why": "no products supplied"})),
            },
            ("GET", "/api/products/v2/browse") => {
                reply(StatusCode::OK, &self.products.browse(parts.uri.query().unwrap_or_default()))
            }
            ("POST", "/api/jobs/control/update") if self.is_known(bearer) => self.update_jobs(&body),
            ("POST", "/api/jobs/control/register") if self.is_known(bearer) => self.register_jobs(&body),
            ("GET", "/api/jobs/control/retrieve") if self.is_known(bearer) => {
                let query = parts.uri.query().unwrap_or_default();
                let id = query.split('&').find_map(|pair| pair.strip_prefix("id=")).unwrap_or_default();
                match self.process.jobs.retrieve(id) {
                    Some(job) => reply(StatusCode::OK, &job),
                    None => reply(StatusCode::NOT_FOUND, &json!({"why": "Not found"})),
                }
            }
            ("GET", "/api/jobs/control/browse") if self.is_known(bearer) => {
                reply(StatusCode::OK, &self.process.jobs.browse(parts.uri.query().unwrap_or_default()))
            }
            ("POST", "/api/providers/resources/checkExistence") if self.is_known(bearer) => {
                reply(StatusCode::OK, &self.process.jobs.check_existence(&body))
            }
            ("POST", "/api/accounting/v2/reportUsage") if self.is_known(bearer) => {
                self.usage.answer(self.keys.provider(), &self.products, &body)
            }
            ("POST", "/api/tasks") => self.task(bearer, self.tasks.create(&body)),
            ("POST", "/api/tasks/postStatus") => self.task(bearer, self.tasks.post_status(&body)),
            ("POST", "/api/tasks/markAsComplete") => self.task(bearer, self.tasks.mark_as_complete(&body)),
            _ => match self.pages.get() {
                Some(pages) => pages(http::Request::from_parts(parts, bytes)).await,
                None => reply(StatusCode::NOT_FOUND, &json!({"why": "Not found"})),
            },
        }
    }

    /// Opens the WebSocket of events. Every client may open it; the first frame has the token.
    fn open_events(self: &Arc<Self>, request: http::Request<Incoming>) -> Response<Body> {
        let Some(key) = request.headers().get("sec-websocket-key") else {
            return reply(StatusCode::BAD_REQUEST, &json!({"why": "Not a WebSocket"}));
        };
        let accept = derive_accept_key(key.as_bytes());
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            if let Ok(stream) = hyper::upgrade::on(request).await {
                shared.events.serve(TokioIo::new(stream), |token| shared.is_token(token)).await;
            }
        });
        let mut answer = reply(StatusCode::SWITCHING_PROTOCOLS, &Value::Null);
        *answer.body_mut() = Body::default();
        *answer.headers_mut() =
            [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", &accept)]
                .into_iter()
                .filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
                .collect();
        answer
    }

    fn is_out(&self) -> bool {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        match *outage {
            Outage::None | Outage::Mute(_) => false,
            Outage::Fails(0) => {
                *outage = Outage::None;
                false
            }
            Outage::Fails(left) => {
                *outage = Outage::Fails(left.saturating_sub(1));
                true
            }
            Outage::Down => true,
        }
    }

    fn refresh(&self, body: &Value) -> Response<Body> {
        let asked = body.pointer("/items/0/refreshToken").and_then(Value::as_str);
        if asked != Some(self.refresh_token.as_str()) {
            return reply(StatusCode::UNAUTHORIZED, &json!({"why": "Unauthorized"}));
        }
        let Ok(token) = self.keys.provider_token(now()) else {
            return reply(StatusCode::INTERNAL_SERVER_ERROR, &json!({"why": "Internal error"}));
        };
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).push(token.clone());
        reply(StatusCode::OK, &json!({"responses": [{"accessToken": token, "csrfToken": ""}]}))
    }

    fn register(&self, bearer: &str, body: &Value) -> Response<Body> {
        if !self.is_known(bearer) {
            return reply(StatusCode::UNAUTHORIZED, &json!({"why": "Unauthorized"}));
        }
        match self.process.resources.register(body) {
            Some(Err(TakenId)) => reply(StatusCode::CONFLICT, &json!({"why": "already exists"})),
            None => reply(StatusCode::BAD_REQUEST, &json!({"why": "Something is missing"})),
            Some(Ok(answer)) => {
                let username = body.pointer("/items/0/createdBy").and_then(Value::as_str).unwrap_or_default();
                self.calls.send_modify(|calls| calls.push(ControlCall::Registered(username.to_owned())));
                reply(StatusCode::OK, &answer)
            }
        }
    }

    fn task(&self, bearer: &str, answer: Option<Value>) -> Response<Body> {
        match answer.filter(|_| self.is_known(bearer)) {
            Some(answer) => reply(StatusCode::OK, &answer),
            None => reply(StatusCode::NOT_FOUND, &json!({"why": "Not found"})),
        }
    }

    fn update_jobs(&self, body: &Value) -> Response<Body> {
        match self.process.jobs.update(body) {
            Ok(()) => reply(StatusCode::OK, &json!({})),
            Err(UnknownJob(id)) => {
                reply(StatusCode::NOT_FOUND, &json!({"why": format!("Not found or permission denied ({id})")}))
            }
        }
    }

    fn register_jobs(&self, body: &Value) -> Response<Body> {
        match self.process.jobs.register(self.keys.provider(), body) {
            Ok(answer) => reply(StatusCode::OK, &answer),
            Err(NotRegistered::Exists) => reply(StatusCode::CONFLICT, &json!({"why": "already exists"})),
            Err(NotRegistered::Forbidden) => reply(StatusCode::FORBIDDEN, &json!({"why": "forbidden"})),
            Err(NotRegistered::Malformed) => reply(StatusCode::BAD_REQUEST, &json!({"why": "Something is missing"})),
        }
    }

    fn is_known(&self, bearer: &str) -> bool {
        bearer.strip_prefix("Bearer ").is_some_and(|token| self.is_token(token))
    }

    /// Whether Core gave out this token and it has not expired.
    fn is_token(&self, token: &str) -> bool {
        let holds = jws::read(token)
            .ok()
            .and_then(|(_, claims)| claims.get("exp").and_then(Value::as_i64))
            .is_some_and(|end| end > now());
        holds && self.tokens.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|given| given == token)
    }

    fn control(&self, bearer: &str, body: &Value, call: fn(String) -> ControlCall) -> Response<Body> {
        if !self.is_known(bearer) {
            return reply(StatusCode::UNAUTHORIZED, &json!({"why": "Unauthorized"}));
        }
        match body.get("username").and_then(Value::as_str) {
            None => reply(StatusCode::BAD_REQUEST, &json!({"why": "No username"})),
            Some(username) => {
                let call = call(username.to_owned());
                let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
                match &call {
                    ControlCall::Approved(username) if !connected.insert(username.clone()) => {
                        _ = self.process.end("a user who is connected was approved again");
                    }
                    ControlCall::Cleared(username) => _ = connected.remove(username),
                    ControlCall::Approved(_) | ControlCall::Registered(_) => {}
                }
                drop(connected);
                self.calls.send_modify(|calls| calls.push(call));
                reply(StatusCode::OK, &json!({}))
            }
        }
    }
}
