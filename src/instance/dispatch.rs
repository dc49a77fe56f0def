//! Turns a permit into work, and its outcome into an answer in UCloud's JSON.
//!
//! Work is determined by the permit's bound parameters. The rest of the body only affects how a
//! listing is shown.

use std::time::Duration;

use countersign_keys::call::SessionEndpoint;
use countersign_keys::direct::DirectRequest;
use countersign_keys::identity::Username;
use countersign_keys::policy::Permit;
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Collected};
use hyper::body::Incoming;

use crate::call::{Call, NOT_OFFERED, TaskControl};
use crate::downloads::body::{Answer, whole};
use crate::downloads::{download, sealed_download};
use crate::drives::user_made;
use crate::files::request::FilesRequest;
use crate::sessions::served::Served;
use crate::sessions::{Scope, issue};
use crate::state::Instance;
use crate::verifier::{AuditContext, Permitted, Refusal, present_session};
use crate::web::OpenedInterface;
use countersign_ipc::body::read_body;
use countersign_ipc::error_code::{ErrorCode, Reply};
use countersign_ipc::http::json_reply;
use countersign_ipc::server_protocol::Refused;
use countersign_ipc::within;
use countersign_os::log::Chain;

/// Longest body, in bytes: the most that the gateway accepts, whatever its configuration says.
const BODY_MAX: usize = 64 * 1024 * 1024;

impl Instance {
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        match self.verifier.session_endpoint(&head) {
            Some(endpoint) => self.answer_session(endpoint, &head, body).await,
            None => whole(without_retry(self.answer_call(&head, body).await).await),
        }
    }

    async fn answer_call(&self, head: &Parts, body: Incoming) -> Reply {
        let body = match read_body(body, BODY_MAX).await {
            Ok(body) => body,
            Err(error) => return ErrorCode::from(&error).reply(),
        };
        let mut audit = AuditContext::default();
        let outcome = self.verifier.verify(head, &body, &mut audit);
        match self.log_decision(head, &audit, outcome) {
            Ok(Permitted::FromCore(permit)) => self.perform(&permit, within::read(&head.headers)).await,
            Ok(Permitted::FromUser(permit)) => self.perform_direct(&permit).await,
            Err(denied) => denied.reply(),
        }
    }

    /// Answers a request with a session token: an earlier permit granted what it may do.
    async fn answer_session(&self, endpoint: SessionEndpoint, head: &Parts, body: Incoming) -> Answer {
        let mut audit = AuditContext::default();
        let outcome = present_session(endpoint, head)
            .map_err(Refusal::from)
            .and_then(|presented| self.verify_session(presented, &mut audit));
        let permit = match self.log_decision(head, &audit, outcome) {
            Ok(permit) => permit,
            Err(denied) => return whole(denied.reply()),
        };
        if let Some(opened) = OpenedInterface::of(&permit) {
            return self.open_web(&permit, opened, head).await;
        }
        match self.sessions.open(&permit) {
            Ok((Scope::Download { id }, served)) => self.answer_download(&id, served, &head.headers).await,
            Ok((Scope::Upload(upload), served)) => {
                let piece = permit.piece().clone();
                match upload.take(self.files.clone(), piece, served, body).await {
                    Ok(taken) => whole(taken.reply()),
                    Err(error) => whole(error.reply()),
                }
            }
            Ok((Scope::Shell { .. } | Scope::JobShell(_), _)) => {
                whole(ErrorCode::NotFound.reply_with("a terminal comes over a WebSocket"))
            }
            Err(error) => whole(ErrorCode::NotFound.reply_with(&error.to_string())),
        }
    }

    async fn answer_download(&self, id: &str, served: Served, headers: &HeaderMap) -> Answer {
        let file = match self.files.outgoing(id).await {
            Ok(file) => file,
            Err(error) => return whole(error.error_code().reply_with(&error.to_string())),
        };
        let session = match served {
            Served::Plain(evidence) => return download(file, headers, evidence),
            Served::Sealed(session) => session,
            Served::SealedBefore => {
                return whole(ErrorCode::NotFound.reply_with("a sealed download is one answer: ask for another"));
            }
        };
        let answer = session.into_download().map_err(std::io::Error::other);
        answer.and_then(|sealer| sealed_download(file, sealer)).unwrap_or_else(|error| {
            tracing::error!(cause = %Chain(&error), "cannot seal a download");
            whole(ErrorCode::Failed.reply())
        })
    }

    /// Does permitted work and answers within `within`. Longer work continues as a task, or is
    /// abandoned.
    async fn perform(&self, permit: &Permit<'_, '_>, within: Duration) -> Reply {
        self.files.drive_numbers().learn_for(permit.items()).await;
        match Call::of(permit) {
            Call::Files(request) => self.perform_files(permit, request, within).await,
            Call::Issue(kind) => {
                issue::issue(permit, kind, &self.files, &self.sessions, &self.jobs, self.web.hosts()).await
            }
            Call::Drives(call) => user_made::answer(permit, call, &self.files, self.drive_maker.as_ref()).await,
            Call::InstallSshKeys { keys } => self.install_ssh_keys(keys).await,
            Call::ControlTask(control) => self.control_task(permit.username(), &control),
            Call::Jobs(call) => self.jobs.answer(permit, call, within).await,
            Call::Links(call) => self.links.answer(permit, call).await,
            Call::Licences(call) => self.licences.answer(permit, call).await,
            Call::Refused(why) => ErrorCode::NotFound.reply_with(why),
            // A search and a follower come as messages on a WebSocket.
            Call::Search(_) | Call::Follow { .. } | Call::NotOffered => ErrorCode::NotFound.reply_with(NOT_OFFERED),
        }
    }

    async fn perform_files(&self, permit: &Permit<'_, '_>, request: FilesRequest, within: Duration) -> Reply {
        let files = self.files.asked_by(permit.username()).approved(permit.consent()).answering_within(within);
        match files.perform(request).await {
            Ok(answer) => json_reply(StatusCode::OK, &answer),
            Err(error) => error.error_code().reply_with(&error.to_string()),
        }
    }

    async fn install_ssh_keys(&self, keys: Vec<String>) -> Reply {
        match self.ssh_keys.install(keys).await {
            Ok(answer) => json_reply(StatusCode::OK, &answer),
            Err(error) => {
                tracing::warn!(cause = %Chain(&error), "cannot install SSH keys");
                error.error_code().reply_with(&error.to_string())
            }
        }
    }

    fn control_task(&self, username: &Username, control: &TaskControl) -> Reply {
        match self.files.tasks().control(username, control) {
            Ok(answer) => json_reply(StatusCode::OK, &answer),
            Err(error) => error.error_code().reply_with(&error.to_string()),
        }
    }

    async fn perform_direct(&self, permit: &Permit<'_, '_, DirectRequest>) -> Reply {
        match self.direct.perform(permit).await {
            Ok(answer) => json_reply(StatusCode::OK, &answer),
            Err(error) => {
                let (call, cause) = (permit.row().call(), Chain(&error).to_string());
                tracing::warn!(%call, cause, "failed direct call");
                error.reply()
            }
        }
    }
}

/// UCloud repeats a request after 449 and 503, but the request's intent is used up here. Such an
/// answer becomes one that says that the work may have begun.
async fn without_retry(reply: Reply) -> Reply {
    if ![ErrorCode::NoInstance, ErrorCode::Unavailable].iter().any(|code| code.status() == reply.status()) {
        return reply;
    }
    let body = reply.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    let refused: Option<Refused> = serde_json::from_slice(&body).ok();
    refused.map_or_else(|| ErrorCode::Failed.reply(), |refused| ErrorCode::Failed.reply_with(&refused.why))
}
