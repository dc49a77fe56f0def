//! WebSockets of an instance: verifies them before it opens them, and ends them when the key that
//! opened them is revoked or expires.
//!
//! The gateway verifies in the same way. The instance trusts none of its decisions (P3): neither
//! the upgrade, nor a message, nor that a key is still valid.

pub(crate) mod frames;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handshake;
pub(crate) mod key_watch;
mod rpc;
pub(crate) mod session_socket;
pub(crate) mod sockets;

use std::sync::Arc;
use std::time::Duration;

use countersign_keys::call::SessionEndpoint;
use countersign_keys::identity::{KeyId, Username};
use countersign_keys::request::{PresentedSocket, RequestRejection};
use countersign_keys::secret::Secret;
use countersign_keys::session::TokenHash;
use countersign_keys::verify::Rejection;
use http::Request;
use http::request::Parts;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use self::handshake::Accept;
pub(crate) use self::handshake::is_asked;
use self::key_watch::KeyWatch;
use self::rpc::Rpc;
use self::session_socket::{Carriage, Content, SessionSocket, SocketKeys};
pub(crate) use self::sockets::Sockets;
use crate::files::error::RequestError;
use crate::files::request::ConflictPolicy;
use crate::idle::IdleTimer;
use crate::jobs::error::JobsError;
use crate::repair::Denied;
use crate::sessions::served::Served;
use crate::sessions::{OpenError, Scope};
use crate::state::Instance;
use crate::terminal::{self, Opened};
use crate::uploads;
use crate::uploads::websocket::{Target, UploadRequest};
use crate::verifier::{AuditContext, Refusal, present_session};
use crate::web::{Desktop, OpenedInterface};
use countersign_ipc::error_code::{ErrorCode, Reply};

/// How long the connection may take to become a socket after the instance has accepted the upgrade.
const SWITCH_MAX: Duration = Duration::from_secs(10);

/// A socket that may be opened. It holds its place among the instance's sockets.
struct Admitted {
    work: Work,
    _place: OwnedSemaphorePermit,
}

enum Work {
    Rpc(Rpc),
    Session { of: Session, carriage: Carriage, hash: TokenHash, key: Option<(Username, KeyId)> },
}

enum Session {
    Shell(Opened),
    Upload(UploadRequest),
    Desktop(Desktop),
}

enum UpgradeError {
    ErrorCode(ErrorCode),
    Denied(Denied),
    Session(OpenError),
    Files(RequestError),
    Jobs(JobsError),
}

impl From<ErrorCode> for UpgradeError {
    fn from(code: ErrorCode) -> Self {
        Self::ErrorCode(code)
    }
}

impl From<Denied> for UpgradeError {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<RequestError> for UpgradeError {
    fn from(error: RequestError) -> Self {
        Self::Files(error)
    }
}

impl UpgradeError {
    fn reply(&self) -> Reply {
        match self {
            Self::ErrorCode(code) => code.reply(),
            Self::Denied(denied) => denied.reply(),
            Self::Session(error) => ErrorCode::NotFound.reply_with(&error.to_string()),
            Self::Files(error) => error.error_code().reply_with(&error.to_string()),
            Self::Jobs(error) => error.reply(),
        }
    }
}

/// Answers a request to upgrade to a WebSocket. If it is accepted, a task serves the socket.
pub(crate) async fn upgrade(
    instance: &Arc<Instance>,
    idle_timer: &Arc<IdleTimer>,
    mut request: Request<Incoming>,
) -> Reply {
    let upgrading = hyper::upgrade::on(&mut request);
    let (head, _body) = request.into_parts();
    let Some(accept) = Accept::of(&head) else { return ErrorCode::Malformed.reply() };
    let admitted = match admit(instance, head).await {
        Ok(admitted) => admitted,
        Err(error) => return error.reply(),
    };
    let (instance, idle_timer) = (Arc::clone(instance), Arc::clone(idle_timer));
    tokio::spawn(async move {
        let _under_way = idle_timer.begin();
        if let Ok(Ok(upgraded)) = timeout(SWITCH_MAX, upgrading).await {
            admitted.serve(&instance, TokioIo::new(upgraded)).await;
        }
    });
    accept.reply()
}

async fn admit(instance: &Instance, head: Parts) -> Result<Admitted, UpgradeError> {
    let places = Arc::clone(&instance.sockets.places);
    let place = places.try_acquire_owned().map_err(|_full| ErrorCode::TooMany)?;
    let work = match instance.verifier.session_endpoint(&head) {
        Some(endpoint) => admit_session(instance, endpoint, &head).await?,
        None => Work::Rpc(admit_rpc(instance, head)?),
    };
    Ok(Admitted { work, _place: place })
}

/// Admits a socket for Core's calls. Opening it does nothing, so its token is not verified and its
/// admission is not logged. Each message is verified and logged.
fn admit_rpc(instance: &Instance, head: Parts) -> Result<Rpc, UpgradeError> {
    let present = || -> Result<(Username, Option<Secret<String>>), Rejection> {
        if !instance.verifier.is_socket(&head) {
            return Err(Rejection::NoSuchCall);
        }
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let presented = PresentedSocket::parse(headers, None)?;
        let username = presented.username.ok_or(RequestRejection::NoUsername)?;
        Ok((username, presented.token.map(|token| Secret::new(token.expose().to_owned()))))
    };
    let outcome = present().map_err(Refusal::from);
    match outcome {
        Ok((username, token)) => Ok(Rpc { head, username, token }),
        Err(refusal) => match instance.log_decision::<()>(&head, &AuditContext::default(), Err(refusal)) {
            Err(denied) => Err(denied.into()),
            Ok(()) => Err(ErrorCode::Unavailable.into()),
        },
    }
}

async fn admit_session(instance: &Instance, endpoint: SessionEndpoint, head: &Parts) -> Result<Work, UpgradeError> {
    let mut audit = AuditContext::default();
    let outcome = match endpoint {
        SessionEndpoint::ShellSocket | SessionEndpoint::UploadSocket | SessionEndpoint::VncSocket => {
            let presented = present_session(endpoint, head).map_err(Refusal::from);
            presented.and_then(|presented| instance.verify_session(presented, &mut audit))
        }
        SessionEndpoint::Download | SessionEndpoint::ChunkedUpload | SessionEndpoint::Web => {
            Err(Rejection::NoSuchCall.into())
        }
    };
    let permit = instance.log_decision(head, &audit, outcome)?;
    let (hash, key) = (permit.session().hash(), audit.username.zip(audit.kid));
    if let Some(OpenedInterface { place, evidence }) = OpenedInterface::of(&permit) {
        let desktop = instance.open_vnc(&place, head).await.map_err(UpgradeError::Jobs)?;
        return Ok(Work::Session { of: Session::Desktop(desktop), carriage: Carriage::Plain(evidence), hash, key });
    }
    let (scope, served) = instance.sessions.open(&permit).map_err(UpgradeError::Session)?;
    let of = match carriage(served) {
        Ok(carriage) => session(instance, endpoint, scope).await.map(|of| (of, carriage)),
        Err(error) => Err(error),
    };
    match of {
        Ok((of, carriage)) => Ok(Work::Session { of, carriage, hash, key }),
        Err(error) => {
            instance.sessions.close(hash);
            Err(error)
        }
    }
}

/// How the socket carries its messages, by the evidence of its opening.
fn carriage(served: Served) -> Result<Carriage, UpgradeError> {
    Ok(match served {
        Served::Plain(evidence) => Carriage::Plain(evidence),
        Served::Sealed(session) => {
            let (opener, sealer) = session.into_socket().map_err(|failure| UpgradeError::Session(failure.into()))?;
            Carriage::Sealed(Box::new(SocketKeys { opener, sealer }))
        }
        // A sealed session is one socket.
        Served::SealedBefore => return Err(UpgradeError::Session(OpenError::Open)),
    })
}

/// Prepares the work of a granted session: opens a terminal's folder, or reads an upload's target.
async fn session(instance: &Instance, endpoint: SessionEndpoint, scope: Scope) -> Result<Session, UpgradeError> {
    Ok(match (endpoint, scope) {
        (SessionEndpoint::ShellSocket, Scope::Shell { folder }) => {
            Session::Shell(Opened::Folder(instance.files.open_folder(&folder).await?))
        }
        (SessionEndpoint::ShellSocket, Scope::JobShell(shell)) => {
            Session::Shell(instance.jobs.enter(&shell).await.map_err(UpgradeError::Jobs)?)
        }
        (SessionEndpoint::UploadSocket, Scope::Upload(upload)) => {
            let error = |error| RequestError::single(&upload.id, error);
            let path = instance.files.drives().parse(&upload.id).map_err(error)?;
            let target = if upload.is_folder { Target::Folder(path) } else { Target::File(path) };
            let policy = ConflictPolicy::parse(&upload.policy).map_err(error)?;
            Session::Upload(UploadRequest { target, policy, consent: upload.consent })
        }
        (_, Scope::Download { .. } | Scope::Upload(_) | Scope::Shell { .. } | Scope::JobShell(_)) => {
            return Err(ErrorCode::NotFound.into());
        }
    })
}

impl Admitted {
    async fn serve<S>(self, instance: &Instance, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let key_watch = KeyWatch::of(&instance.verifier);
        let sockets = &instance.sockets;
        let mut stop = sockets.stop.subscribe();
        let (work, hash) = match self.work {
            Work::Rpc(rpc) => {
                let limits = frames::reading(rpc::MESSAGE_MAX);
                let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await;
                (futures_util::future::Either::Left(rpc.run(instance, socket, &key_watch)), None)
            }
            Work::Session { of, carriage, hash, key } => {
                if let Some((username, kid)) = key {
                    key_watch.add(&username, kid);
                }
                let work = async move {
                    match of {
                        Session::Shell(opened) => {
                            let (content, message_max) = (Content::Text, terminal::MESSAGE_MAX);
                            let socket = SessionSocket::open(stream, carriage, content, message_max).await;
                            sockets.shells.run(socket, opened).await;
                        }
                        Session::Desktop(desktop) => match carriage {
                            Carriage::Plain(_evidence) => desktop.run(stream).await,
                            // Tokens for desktops offer no seal.
                            Carriage::Sealed(_) => {}
                        },
                        Session::Upload(request) => {
                            let (content, message_max) = (Content::Binary, uploads::websocket::MESSAGE_MAX);
                            let socket = SessionSocket::open(stream, carriage, content, message_max).await;
                            sockets.uploads.run(socket, request).await;
                        }
                    }
                };
                (futures_util::future::Either::Right(work), Some(hash))
            }
        };
        tokio::select! {
            () = work => {}
            () = key_watch.ends() => tracing::info!("a socket ends with its key"),
            _ = stop.wait_for(|stop| *stop) => tracing::info!("a socket ends with this instance"),
        }
        if let Some(hash) = hash {
            instance.sessions.close(hash);
        }
    }
}
