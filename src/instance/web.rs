//! Web interfaces of jobs: sessions of this account's browsers, and their requests on the way to
//! the application.
//!
//! A session begins with a verified token and proof, like a terminal's. From then on a secret
//! stands for them, of which only the hash is kept. It is good for one interface of one job, until
//! the key that opened it ends, the job ends, or its time is over. An application sees neither the
//! secret nor a header of Countersign's.

mod sessions;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_config::WebPlace;
use countersign_keys::session::{Opening, SessionPermit, Unsealed};
use http::header::{CONNECTION, HOST, HeaderName, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use self::sessions::Entry;
pub(crate) use self::sessions::{Way, WebSessions};
use crate::downloads::body::{Answer, AnswerBody, whole};
use crate::idle::IdleTimer;
use crate::jobs::error::JobsError;
use crate::jobs::relay::{Relay, RelayError, ToApplication};
use crate::relay::Refused;
use crate::state::Instance;
use crate::websocket::key_watch::KeyWatch;
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::http::json_reply;
use countersign_ipc::web::{
    ANSWER_MAX, WEB_OUTCOME, WEB_PLACE, WEB_SESSION, WebOpened, WebOutcome, WebSecret, set_upgrade, strip_request,
    strip_response,
};
use countersign_ipc::web_connections::{NotAnswered, copy_until_silent, speak};
use countersign_os::clock::random_bytes;
use countersign_os::log::Chain;

/// How long the connection may take to become a socket after the application has accepted it.
const SWITCH_MAX: Duration = Duration::from_secs(10);

/// Where websockify takes WebSockets, as UCloud's own module expects of an application with a
/// desktop.
const WEBSOCKIFY: &str = "/websockify";

/// Names of what a proxy says of the browser's side.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// One end of a socket.
pub(crate) type Socket = TokioIo<Upgraded>;

/// Checks whether the gateway passes on a request of a web session. On no other lane does it send
/// this header.
pub(crate) fn is_asked<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(WEB_SESSION)
}

/// Why the application is not asked, or does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebError {
    #[error("there is no such session (any more)")]
    NoSession,
    #[error(transparent)]
    Jobs(#[from] JobsError),
    #[error("the application did not answer")]
    Application(#[source] hyper::Error),
    #[error("the application did not answer in time")]
    Slow,
    #[error("the request cannot be passed on")]
    Malformed,
}

impl From<NotAnswered<Self>> for WebError {
    fn from(not_answered: NotAnswered<Self>) -> Self {
        match not_answered {
            NotAnswered::NotConnected(error) => error,
            NotAnswered::Slow => Self::Slow,
            NotAnswered::Broken(error) => Self::Application(error),
        }
    }
}

impl WebError {
    pub(crate) const fn outcome(&self) -> WebOutcome {
        match self {
            Self::NoSession | Self::Jobs(JobsError::Ended | JobsError::NoSuchJob | JobsError::Unmarked(_)) => {
                WebOutcome::Ended
            }
            Self::Jobs(JobsError::Relay(RelayError::Refused(Refused::Foreign))) => WebOutcome::Foreign,
            Self::Malformed => WebOutcome::Refused,
            Self::Jobs(_) | Self::Application(_) | Self::Slow => WebOutcome::NotThere,
        }
    }

    pub(crate) fn answer(&self) -> Answer {
        tracing::debug!(error = %Chain(self), "no answer of a web interface");
        let outcome = self.outcome();
        let code = match outcome {
            WebOutcome::Ended => ErrorCode::NotFound,
            WebOutcome::Foreign => ErrorCode::Forbidden,
            WebOutcome::Refused => ErrorCode::Malformed,
            WebOutcome::NotThere => ErrorCode::NoAnswer,
        };
        let mut reply = code.reply_with(&self.to_string());
        reply.headers_mut().insert(WEB_OUTCOME, outcome.to_header());
        whole(reply)
    }
}

/// A viewer's connection to an application, which ends with this value.
#[derive(Debug)]
pub(crate) struct Desktop {
    stream: ToApplication,
    _relay: Arc<Relay>,
}

impl Desktop {
    /// Passes the bytes of a socket on unread.
    pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin>(self, socket: S) {
        copy_until_silent(socket, self.stream, || {}).await;
    }
}

impl From<RelayError> for WebError {
    fn from(error: RelayError) -> Self {
        Self::Jobs(error.into())
    }
}

impl Instance {
    /// Opens a web session for a redeemed token: the secret goes to the gateway, which makes a
    /// cookie of it.
    pub(crate) async fn open_web(
        &self,
        permit: &SessionPermit<'_>,
        OpenedInterface { place, .. }: OpenedInterface,
        head: &Parts,
    ) -> Answer {
        let asked = head.headers.get(WEB_PLACE).map(HeaderValue::as_bytes);
        if asked != Some(place.to_string().as_bytes()) {
            return whole(ErrorCode::NotFound.reply_with("the token is for another interface"));
        }
        let way = match self.jobs.reach(&place).await {
            Ok((relay, port)) => Way { relay, port },
            Err(error) => return whole(error.reply()),
        };
        let secret = match random_bytes() {
            Ok(random) => WebSecret::new(random),
            Err(error) => return whole(JobsError::from(error).reply()),
        };
        let key = permit.kid().map(|kid| (permit.session().username().clone(), kid));
        if !self.web.keep(&secret, Entry::new(place, key, way)) {
            return whole(ErrorCode::TooMany.reply());
        }
        whole(json_reply(StatusCode::OK, &WebOpened { secret: secret.expose() }))
    }

    /// Connects a viewer's socket to the application's own WebSocket.
    pub(crate) async fn open_vnc(&self, place: &WebPlace, head: &Parts) -> Result<Desktop, JobsError> {
        let (relay, port) = self.jobs.reach(place).await?;
        let stream = relay.connect(port).await?;
        let broken = |_error| JobsError::Relay(RelayError::Broken);
        let mut sender = speak::<Full<Bytes>, _>(stream).await.map_err(broken)?;
        let mut request = Request::builder()
            .uri(WEBSOCKIFY)
            .header(HOST, "localhost")
            .header(UPGRADE, "websocket")
            .header(CONNECTION, "Upgrade")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-protocol", "binary");
        if let Some(key) = head.headers.get("sec-websocket-key") {
            request = request.header("sec-websocket-key", key);
        }
        let request = request.body(Full::default()).map_err(|_| JobsError::Relay(RelayError::Broken))?;
        let answer = timeout(SWITCH_MAX, sender.send_request(request)).await.map_err(|_| JobsError::Slow)?;
        let answer = answer.map_err(broken)?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(JobsError::NotListening);
        }
        let stream = TokioIo::new(hyper::upgrade::on(answer).await.map_err(broken)?);
        Ok(Desktop { stream, _relay: relay })
    }

    /// The session of a request, if its secret, its interface and the key that opened it are good.
    fn web_session(&self, head: &Parts) -> Result<Arc<Entry>, WebError> {
        let mut secrets = head.headers.get_all(WEB_SESSION).iter();
        let secret =
            secrets.next().and_then(|secret| WebSecret::parse(secret.as_bytes())).ok_or(WebError::NoSession)?;
        let place = head.headers.get(WEB_PLACE).and_then(|place| WebPlace::parse(place.to_str().ok()?));
        let entry = place.and_then(|place| self.web.find(&secret, &place)).filter(|_| secrets.next().is_none());
        let entry = entry.ok_or(WebError::NoSession)?;
        let is_valid = entry.key().is_none_or(|(username, kid)| self.verifier.is_valid(username, *kid));
        if is_valid {
            return Ok(entry);
        }
        self.web.end(&entry);
        Err(WebError::NoSession)
    }

    /// Passes one request of a session on, and the application's answer back.
    async fn pass_to_application(&self, request: Request<Incoming>) -> Result<Passed, WebError> {
        let (head, body) = request.into_parts();
        let entry = self.web_session(&head)?;
        let request = Request::from_parts(self.head_for_application(&entry, head)?, body);
        let answer = match self.ask_application(&entry, request).await {
            Err(error) if error.outcome() == WebOutcome::Ended => {
                self.web.end(&entry);
                return Err(error);
            }
            answer => answer?,
        };
        Ok(Passed { answer, entry })
    }

    /// The head as the application sees it, at the interface's own host name.
    fn head_for_application(&self, entry: &Entry, head: Parts) -> Result<Parts, WebError> {
        let hosts = self.web.hosts().ok_or(WebError::NoSession)?;
        head_at(head, &hosts.authority(entry.place()), hosts.scheme())
    }

    async fn ask_application(&self, entry: &Entry, request: Request<Incoming>) -> Result<Response<Incoming>, WebError> {
        let connect = || async { speak(self.connect(entry).await?).await.map_err(WebError::Application) };
        Ok(entry.connections().send(request, ANSWER_MAX, connect).await?)
    }

    /// A new connection to the application. If the step has ended, Slurm says whether the job has.
    async fn connect(&self, entry: &Entry) -> Result<ToApplication, WebError> {
        let Way { relay, port } = entry.way();
        match relay.connect(port).await {
            Err(RelayError::Broken) => {}
            connected => return Ok(connected?),
        }
        let (relay, port) = self.jobs.reach(entry.place()).await?;
        let connected = relay.connect(port).await?;
        entry.go_by(Way { relay, port });
        Ok(connected)
    }
}

/// An interface that the user opens, with the evidence that this is without a seal.
pub(crate) struct OpenedInterface {
    pub(crate) place: WebPlace,
    pub(crate) evidence: Unsealed,
}

impl OpenedInterface {
    /// `None` if the token is of no interface, or if the request does not open it.
    pub(crate) fn of(permit: &SessionPermit<'_>) -> Option<Self> {
        let place = WebPlace::parse(&permit.session().interface()?.place)?;
        match permit.opening()? {
            Opening::Unsealed(evidence) => Some(Self { place, evidence: *evidence }),
            Opening::Sealed(_) => None,
        }
    }
}

/// An application's answer, and the session that asked.
struct Passed {
    answer: Response<Incoming>,
    entry: Arc<Entry>,
}

/// Answers a request of a web session. If the application switches to a socket, a task serves it.
pub(crate) async fn answer(
    instance: &Arc<Instance>,
    idle_timer: &Arc<IdleTimer>,
    mut request: Request<Incoming>,
) -> Answer {
    let is_upgrade = request.method() == Method::GET && request.headers().contains_key(UPGRADE);
    let near = is_upgrade.then(|| hyper::upgrade::on(&mut request));
    let Passed { answer, entry } = match instance.pass_to_application(request).await {
        Ok(passed) => passed,
        Err(error) => return error.answer(),
    };
    pass_back(instance, idle_timer, near, answer, move |instance, near, far| async move {
        serve_socket(&instance, &entry, near, far).await;
    })
}

/// The head as an application sees it, at a host name of its own.
pub(crate) fn head_at(mut head: Parts, authority: &str, scheme: &'static str) -> Result<Parts, WebError> {
    let is_upgrade = head.headers.contains_key(UPGRADE);
    strip_request(&mut head.headers);
    let authority = HeaderValue::from_str(authority).map_err(|_| WebError::Malformed)?;
    head.headers.insert(HOST, authority.clone());
    head.headers.insert(FORWARDED_HOST, authority);
    head.headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    if is_upgrade {
        set_upgrade(&mut head.headers);
    }
    head.version = Version::HTTP_11;
    head.extensions = http::Extensions::new();
    Ok(head)
}

/// Passes an application's answer back. If the application switches to a socket, a task serves
/// both ends of it with `serve`.
pub(crate) fn pass_back<S, F>(
    instance: &Arc<Instance>,
    idle_timer: &Arc<IdleTimer>,
    near: Option<OnUpgrade>,
    mut answer: Response<Incoming>,
    serve: S,
) -> Answer
where
    S: FnOnce(Arc<Instance>, Socket, Socket) -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let is_switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    let far = hyper::upgrade::on(&mut answer);
    let (mut head, body) = answer.into_parts();
    strip_response(&mut head.headers);
    head.extensions = http::Extensions::new();
    if !is_switched {
        return Response::from_parts(head, AnswerBody::Application(body));
    }
    let Some(near) = near else { return WebError::Malformed.answer() };
    let Ok(place) = Arc::clone(&instance.sockets.places).try_acquire_owned() else {
        return whole(ErrorCode::TooMany.reply());
    };
    let (instance, idle_timer) = (Arc::clone(instance), Arc::clone(idle_timer));
    tokio::spawn(async move {
        let (_under_way, _place) = (idle_timer.begin(), place);
        if let Ok((Ok(near), Ok(far))) = timeout(SWITCH_MAX, async { tokio::join!(near, far) }).await {
            serve(instance, TokioIo::new(near), TokioIo::new(far)).await;
        }
    });
    set_upgrade(&mut head.headers);
    Response::from_parts(head, AnswerBody::Whole(Full::default()))
}

/// Copies bytes both ways until one side closes, the session or its key ends, or the instance does.
async fn serve_socket<N, F>(instance: &Instance, entry: &Entry, near: N, far: F)
where
    N: AsyncRead + AsyncWrite + Unpin,
    F: AsyncRead + AsyncWrite + Unpin,
{
    let key_watch = KeyWatch::of(&instance.verifier);
    if let Some((username, kid)) = entry.key() {
        key_watch.add(username, *kid);
    }
    let mut stop = instance.sockets.stop.subscribe();
    tokio::select! {
        () = copy_until_silent(near, far, || entry.used()) => {}
        () = key_watch.ends() => tracing::info!("a socket ends with its key"),
        () = entry.connections().until_closed() => tracing::info!("a socket ends with its session"),
        _ = stop.wait_for(|stop| *stop) => tracing::info!("a socket ends with this instance"),
    }
}
