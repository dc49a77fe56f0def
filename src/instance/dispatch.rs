//! Turns a permit into work, and its outcome into an answer in UCloud's JSON.
//!
//! Work is determined by the permit's bound parameters. The rest of the body only affects how a
//! listing is shown.

use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use countersign_keys::call::SessionEndpoint;
use countersign_keys::direct::DirectRequest;
use countersign_keys::policy::Permit;
use countersign_keys::request::DEPOSIT_MAX;
use countersign_keys::session::{PresentedSession, SessionPermit};
use http::request::Parts;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Collected};
use hyper::body::Incoming;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use crate::idle::IdleTimer;
use crate::made_drives;
use crate::repair::Denied;
use crate::sessions::Granted;
use crate::state::Instance;
use crate::transfer::body::{Answer, whole};
use crate::transfer::download;
use crate::verifier::{AuditContext, Permitted, Refusal, asked};
use crate::websocket;
use crate::{grants, requests};
use countersign_audit::{Decision, Process, Verdict};
use countersign_ipc::answers::{ErrorCode, Reply};
use countersign_ipc::body::read_body;
use countersign_ipc::http::{Limits, json_reply, serve_connection};
use countersign_ipc::messages::{Empty, Refused};
use countersign_ipc::peer::Peer;
use countersign_ipc::tcp_proof::{self, ListenerKey};
use countersign_ipc::within;
use countersign_os::clock::random_bytes;
use countersign_os::descriptors::Listener;
use countersign_os::log::Chain;

/// Longest body, in bytes: the most that the gateway accepts, whatever its configuration says.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// Pause after accepting failed, for example for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often expired sessions are looked for: until then, the part of an upload that has arrived
/// takes space.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Connections to a TCP port that have not yet proven to be the gateway's. Any account can open
/// one, for 2 s.
const UNPROVED_MAX: usize = 64;

/// A connection from the gateway. Deposited intents of many items need a long head.
const LIMITS: Limits = Limits { head_max: DEPOSIT_MAX + 32 * 1024, ..Limits::LOCAL };

/// Serves the socket until it fails.
///
/// On a TCP port the kernel does not tell which account connects. If there is a key, each
/// connection has to prove that it knows the key.
pub(crate) async fn accept(
    listener: Listener,
    key: Option<ListenerKey>,
    instance: Arc<Instance>,
    idle_timer: Arc<IdleTimer>,
) {
    let outcome = match listener {
        Listener::Unix(listener) => accept_unix(listener, &instance, &idle_timer).await,
        Listener::Tcp(listener) => accept_tcp(listener, key, &instance, &idle_timer).await,
    };
    if let Err(error) = outcome {
        tracing::error!(%error, "cannot accept connections");
    }
}

async fn accept_unix(
    listener: StdUnixListener,
    instance: &Arc<Instance>,
    idle_timer: &Arc<IdleTimer>,
) -> Result<(), Box<dyn std::error::Error>> {
    // Only the account that made the socket may connect (P7, V56). The kernel tells which account
    // that is.
    let maker = Peer::of(&listener)?.uid;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) if Peer::of(&stream).is_ok_and(|peer| peer.uid == maker) => {
                serve(stream, instance, idle_timer)
            }
            Ok(_) => tracing::warn!("rejected connection: the peer did not make the socket"),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn accept_tcp(
    listener: std::net::TcpListener,
    key: Option<ListenerKey>,
    instance: &Arc<Instance>,
    idle_timer: &Arc<IdleTimer>,
) -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let unproved = Arc::new(Semaphore::new(UNPROVED_MAX));
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let _ = stream.set_nodelay(true);
                let Some(key) = key.clone() else {
                    serve(stream, instance, idle_timer);
                    continue;
                };
                let (Ok(place), Ok(nonce)) = (Arc::clone(&unproved).try_acquire_owned(), random_bytes()) else {
                    continue;
                };
                let (instance, idle_timer) = (Arc::clone(instance), Arc::clone(idle_timer));
                tokio::spawn(async move {
                    match tcp_proof::accept(&mut stream, &key, nonce).await {
                        Ok(()) => serve(stream, &instance, &idle_timer),
                        Err(error) => tracing::debug!(%error, "rejected connection: the peer does not have the key"),
                    }
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn serve<S>(stream: S, instance: &Arc<Instance>, idle_timer: &Arc<IdleTimer>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (instance, idle_timer) = (Arc::clone(instance), Arc::clone(idle_timer));
    tokio::spawn(async move {
        let answer = |request| async {
            let _under_way = idle_timer.begin();
            if websocket::is_asked(&request) {
                return whole(websocket::upgrade(&instance, &idle_timer, request).await);
            }
            instance.answer(request).await
        };
        if let Err(error) = serve_connection(stream, answer, &LIMITS).await {
            tracing::debug!(%error, "connection failed");
        }
    });
}

impl Instance {
    /// Reports the drives to the server, and removes what a killed instance left unfinished. Then
    /// looks for expired sessions while the instance runs.
    pub(crate) async fn begin(&self) {
        self.files.drive_numbers().report().await;
        self.files.clean_up().await;
        self.give_up_what_is_over().await;
    }

    /// Ends expired sessions even when no request arrives.
    async fn give_up_what_is_over(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let over = self.sessions.take_expired();
            if !over.is_empty() {
                let _ = tokio::task::spawn_blocking(move || drop(over)).await;
            }
        }
    }

    /// How many works run on after their request was answered.
    pub(crate) fn under_way(&self) -> usize {
        self.files.under_way()
    }

    /// How many transfers and terminals are open.
    pub(crate) fn open_sessions(&self) -> usize {
        self.sessions.count_open()
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        match self.verifier.session_endpoint(&head) {
            Some(endpoint) => self.answer_session(endpoint, &head, body).await,
            None => whole(not_to_be_repeated(self.answer_call(&head, body).await).await),
        }
    }

    async fn answer_call(&self, head: &Parts, body: Incoming) -> Reply {
        let body = match read_body(body, BODY_MAX).await {
            Ok(body) => body,
            Err(error) => return ErrorCode::from(&error).reply(),
        };
        let mut audit = AuditContext::default();
        let outcome = self.verifier.judge(head, &body, &mut audit);
        match self.decided(head, &audit, outcome) {
            Ok(Permitted::FromCore(permit)) => self.perform(&permit, within::read(&head.headers)).await,
            Ok(Permitted::FromUser(permit)) => self.perform_direct(&permit).await,
            Err(denied) => denied.reply(),
        }
    }

    /// Answers a request with a session token: an earlier permit granted what it may do.
    async fn answer_session(&self, endpoint: SessionEndpoint, head: &Parts, body: Incoming) -> Answer {
        let mut audit = AuditContext::default();
        let outcome = asked(endpoint, head)
            .map_err(Refusal::from)
            .and_then(|presented| self.judge_session(presented, &mut audit));
        let permit = match self.decided(head, &audit, outcome) {
            Ok(permit) => permit,
            Err(denied) => return whole(denied.reply()),
        };
        match self.sessions.open(&permit) {
            Ok(Granted::Download { id }) => match self.files.outgoing(&id).await {
                Ok(file) => download(file, &head.headers),
                Err(failure) => whole(failure.told().reply_with(&failure.to_string())),
            },
            Ok(Granted::Upload(upload)) => match upload.take(self.files.clone(), permit.piece().clone(), body).await {
                Ok(()) => whole(json_reply(StatusCode::OK, &Empty {})),
                Err(not_taken) => whole(not_taken.reply()),
            },
            Ok(Granted::Shell { .. }) => whole(ErrorCode::NotFound.reply_with("a terminal comes over a WebSocket")),
            Err(not_open) => whole(ErrorCode::NotFound.reply_with(&not_open.to_string())),
        }
    }

    /// Verifies a request with a token that this instance issued.
    pub(super) fn judge_session<'r>(
        &self,
        presented: PresentedSession<'r>,
        audit: &mut AuditContext,
    ) -> Result<SessionPermit<'r>, Refusal> {
        self.verifier.judge_session(presented, self.sessions.public_key(), self.sessions.proof(), audit)
    }

    /// Logs a decision. Returns what was permitted, or the answer to the sender. A decision that
    /// cannot be logged is refused.
    pub(super) fn decided<T>(
        &self,
        head: &Parts,
        audit: &AuditContext,
        outcome: Result<T, Refusal>,
    ) -> Result<T, Denied> {
        let (verdict, denied, reason) = match &outcome {
            Ok(_) => (Verdict::Forward, None, None),
            Err(refusal) => {
                let (verdict, denied) = Denied::of(refusal, &self.home);
                (verdict, Some(denied), Some(refusal.to_string()))
            }
        };
        let decision = Decision {
            time: OffsetDateTime::now_utc(),
            request_id: head.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("none"),
            process: Process::User,
            username: audit.username.as_ref(),
            call: audit.call.as_ref(),
            kid: audit.kid,
            decision: verdict,
            status: denied.as_ref().map(|denied| denied.told.number()),
            reason: reason.as_deref(),
            counted: None,
        };
        if let Err(failure) = self.log.append(&decision) {
            tracing::error!(%failure, "cannot log the decision");
            return Err(Denied::row(ErrorCode::Failed));
        }
        outcome.map_err(|_refusal| denied.unwrap_or_else(|| Denied::row(ErrorCode::Failed)))
    }

    /// Does permitted work and answers within `within`. Longer work continues as a task, or is
    /// abandoned.
    async fn perform(&self, permit: &Permit<'_, '_>, within: Duration) -> Reply {
        self.files.drive_numbers().learn_for(permit.items()).await;
        if permit.row().call().as_str() == "ssh.keyUploaded" {
            return self.install_ssh_keys(permit).await;
        }
        if permit.row().call().as_str() == "tasks.pauseOrCancel" {
            return match self.files.tasks().pause_or_cancel(permit.username(), permit.items()) {
                Ok(answer) => json_reply(StatusCode::OK, &answer),
                Err(not_heard) => not_heard.told().reply_with(&not_heard.to_string()),
            };
        }
        if let Some(reply) = made_drives::answer(permit, &self.files, self.drive_maker.as_ref()).await {
            return reply;
        }
        if let Some(reply) = grants::grant(permit, &self.files, &self.sessions).await {
            return reply;
        }
        let Some(request) = requests::files_request(permit.row().call().as_str(), permit.items()) else {
            return ErrorCode::NotFound.reply_with("this provider does not offer this");
        };
        let files = self.files.asked_by(permit.username()).approved(permit.consent()).answering_within(within);
        match files.perform(request).await {
            Ok(answer) => json_reply(StatusCode::OK, &answer),
            Err(failure) => failure.told().reply_with(&failure.to_string()),
        }
    }

    async fn install_ssh_keys(&self, permit: &Permit<'_, '_>) -> Reply {
        match self.ssh_keys.install_signed(permit.items()).await {
            Ok(answer) => json_reply(StatusCode::OK, &answer),
            Err(not_installed) => {
                tracing::warn!(cause = %Chain(&not_installed), "cannot install SSH keys");
                not_installed.told().reply_with(&not_installed.to_string())
            }
        }
    }

    async fn perform_direct(&self, permit: &Permit<'_, '_, DirectRequest>) -> Reply {
        match self.direct.perform(permit).await {
            Ok(answer) => json_reply(StatusCode::OK, &answer),
            Err(not_done) => {
                let (call, cause) = (permit.row().call(), Chain(&not_done).to_string());
                tracing::warn!(%call, cause, "failed direct call");
                not_done.reply()
            }
        }
    }
}

/// UCloud repeats a request after 449 and 503, but the request's intent is used up here. Such an
/// answer becomes one that says that the work may have begun.
async fn not_to_be_repeated(reply: Reply) -> Reply {
    if ![ErrorCode::NoInstance, ErrorCode::Unavailable].iter().any(|told| told.status() == reply.status()) {
        return reply;
    }
    let body = reply.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    let said: Option<Refused> = serde_json::from_slice(&body).ok();
    said.map_or_else(|| ErrorCode::Failed.reply(), |said| ErrorCode::Failed.reply_with(&said.why))
}
