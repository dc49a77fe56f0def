//! Issues one-time tokens for downloads, uploads and terminals, in answer to a user's signed call.
//!
//! Refuses an impossible item here, with the reason, rather than when its token is redeemed.

use countersign_keys::bind::{Items, Projection};
use countersign_keys::call::{INTERFACE_PAGE, SessionEndpoint};
use countersign_keys::intent::ItemDigest;
use countersign_keys::json::Json;
use countersign_keys::policy::Permit;
use countersign_keys::session::{InterfaceKind, ProofNeed, SealNeed};
use http::StatusCode;
use serde_json::{Value, json};

use crate::call::{NOT_OFFERED, SessionKind, text};
use crate::files::Files;
use crate::files::error::RequestError;
use crate::jobs::Jobs;
use crate::jobs::error::JobsError;
use crate::jobs::shell::JobShell;
use crate::sessions::{IssueError, Scope, Sessions, SignedItem};
use crate::uploads::chunked::Upload;
use countersign_config::{Terminals, WebHosts, WebPlace};
use countersign_ipc::error_code::{ErrorCode, Reply};
use countersign_ipc::http::json_reply;

/// Why an item is not granted.
#[derive(Debug, thiserror::Error)]
enum ItemError {
    #[error("{NOT_OFFERED}")]
    NotOffered,
    #[error(transparent)]
    Files(#[from] RequestError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("none of the protocols that were offered is spoken here")]
    Protocol,
    #[error(transparent)]
    Jobs(#[from] JobsError),
    #[error("web interfaces of jobs are not offered at this computing centre")]
    NoInterface,
    /// A browser knows no seal.
    #[error("this computing centre takes sealed sessions only, and an interface of a job cannot be sealed")]
    NotSealed,
}

impl ItemError {
    fn reply(&self) -> Reply {
        match self {
            Self::Files(error) => error.error_code().reply_with(&error.to_string()),
            Self::Issue(IssueError::TooMany) => ErrorCode::TooMany.reply_with(&self.to_string()),
            Self::Issue(cause) => {
                tracing::error!(%cause, "no token was made");
                ErrorCode::Unavailable.reply_with(&cause.to_string())
            }
            Self::Jobs(error) => error.reply(),
            Self::NotOffered | Self::NoInterface | Self::NotSealed => ErrorCode::NotFound.reply_with(&self.to_string()),
            Self::Protocol => ErrorCode::Malformed.reply_with(&self.to_string()),
        }
    }
}

/// Answers a call that asks for a token for each item.
pub(crate) async fn issue(
    permit: &Permit<'_, '_>,
    kind: SessionKind,
    files: &Files,
    sessions: &Sessions,
    jobs: &Jobs,
    hosts: Option<&WebHosts>,
) -> Reply {
    let issuer = Issuer { permit, files, sessions, jobs, hosts };
    let responses = match kind {
        SessionKind::Download => issuer.downloads().await,
        SessionKind::Upload => issuer.uploads().await,
        SessionKind::Terminal => issuer.terminals().await,
        SessionKind::JobSession => issuer.job_sessions().await,
    };
    match responses {
        Ok(responses) => json_reply(StatusCode::OK, &json!({ "responses": responses })),
        Err(error) => error.reply(),
    }
}

struct Issuer<'p, 'r> {
    permit: &'p Permit<'r, 'r>,
    files: &'p Files,
    sessions: &'p Sessions,
    jobs: &'p Jobs,
    /// Where web interfaces are.
    hosts: Option<&'p WebHosts>,
}

impl<'p> Issuer<'p, '_> {
    async fn downloads(&self) -> Result<Vec<Value>, ItemError> {
        let mut responses = Vec::new();
        for (item, digest) in self.items() {
            let id = text(item, "id");
            self.files.outgoing(&id).await?;
            let token = self.token(digest, Scope::Download { id })?;
            let endpoint = self.sessions.endpoint(false, "download");
            responses.push(json!({ "endpoint": format!("{endpoint}?token={token}") }));
        }
        Ok(responses)
    }

    async fn uploads(&self) -> Result<Vec<Value>, ItemError> {
        let mut responses = Vec::new();
        let offered = offered(self.permit.items());
        for (at, (item, digest)) in self.items().enumerate() {
            let (id, policy, is_folder) =
                (text(item, "id"), text(item, "conflictPolicy"), text(item, "type") == "FOLDER");
            let protocol = protocol(offered.get(at).map(Vec::as_slice).unwrap_or_default(), is_folder)?;
            let consent = self.permit.consent();
            self.files.approved(consent).can_come(&id, &policy).await?;
            let upload = Upload::new(id, is_folder, policy, consent);
            let token = self.token(digest, Scope::Upload(upload.into()))?;
            let endpoint = match protocol {
                "CHUNKED" => self.sessions.endpoint(false, "chunked/upload"),
                _ => format!("{}?token={token}", self.sessions.endpoint(true, "upload")),
            };
            responses.push(json!({ "endpoint": endpoint, "protocol": protocol, "token": token }));
        }
        Ok(responses)
    }

    async fn terminals(&self) -> Result<Vec<Value>, ItemError> {
        if self.sessions.terminals() != Terminals::Offered {
            return Err(ItemError::NotOffered);
        }
        let mut responses = Vec::new();
        for (item, digest) in self.items() {
            let folder = text(item, "folder");
            self.files.open_folder(&folder).await?;
            let token = self.token(digest, Scope::Shell { folder: folder.clone() })?;
            responses.push(json!({
                "type": "shell", "jobId": folder, "rank": 0, "sessionIdentifier": token,
                "domainOverride": self.sessions.websocket_origin(),
            }));
        }
        Ok(responses)
    }

    async fn job_sessions(&self) -> Result<Vec<Value>, ItemError> {
        let mut responses = Vec::new();
        for (item, digest) in self.items() {
            responses.push(match text(item, "sessionType").as_str() {
                "SHELL" => self.job_shell(item, digest).await?,
                "WEB" => self.job_web(item, digest).await?,
                "VNC" => self.job_vnc(item, digest).await?,
                _ => return Err(ItemError::NoInterface),
            });
        }
        Ok(responses)
    }

    async fn job_shell(&self, item: &Projection<'_>, digest: ItemDigest) -> Result<Value, ItemError> {
        if self.sessions.terminals() != Terminals::Offered {
            return Err(ItemError::NotOffered);
        }
        let shell = JobShell::read(&text(item, "id"), item.parameter("rank"))?;
        self.jobs.check_own(&shell).await?;
        let (id, rank) = (shell.id.clone(), shell.rank);
        let token = self.token(digest, Scope::JobShell(shell))?;
        Ok(json!({
            "type": "shell", "jobId": id, "rank": rank, "sessionIdentifier": token,
            "domainOverride": self.sessions.websocket_origin(),
        }))
    }

    /// The address that opens the interface. Where a proof is required it is a page of the
    /// provider's, at which the browser's extension signs, however late it is opened.
    async fn job_web(&self, item: &Projection<'_>, digest: ItemDigest) -> Result<Value, ItemError> {
        let hosts = self.hosts.ok_or(ItemError::NoInterface)?;
        self.check_unsealed()?;
        let interface = self.jobs.interface(item, InterfaceKind::Web).await?;
        let WebPlace { job, rank, .. } = interface.place.clone();
        let origin = hosts.origin(&interface.place);
        let item = self.signed(digest);
        let token = self.sessions.grant_interface(&item, InterfaceKind::Web, &interface.place, Some(origin.clone()))?;
        let address = match self.sessions.proof() {
            ProofNeed::Required => format!("{}#{token}", self.sessions.endpoint(false, INTERFACE_PAGE)),
            ProofNeed::Off => format!("{origin}{}?token={token}", self.sessions.path(SessionEndpoint::Web.path())),
        };
        Ok(json!({
            "type": "web", "jobId": job, "rank": rank, "redirectClientTo": address, "domainOverride": "",
        }))
    }

    async fn job_vnc(&self, item: &Projection<'_>, digest: ItemDigest) -> Result<Value, ItemError> {
        self.check_unsealed()?;
        let interface = self.jobs.interface(item, InterfaceKind::Vnc).await?;
        let WebPlace { job, rank, .. } = interface.place.clone();
        let password = interface.password;
        let token = self.sessions.grant_interface(&self.signed(digest), InterfaceKind::Vnc, &interface.place, None)?;
        let address = format!("{}?token={token}", self.sessions.endpoint(true, SessionEndpoint::VncSocket.path()));
        Ok(json!({
            "type": "vnc", "jobId": job, "rank": rank, "url": address, "password": password, "domainOverride": "",
        }))
    }

    fn check_unsealed(&self) -> Result<(), ItemError> {
        match self.sessions.seal() {
            SealNeed::Required => Err(ItemError::NotSealed),
            SealNeed::Preferred | SealNeed::Off => Ok(()),
        }
    }

    fn items(&self) -> impl Iterator<Item = (&'p Projection<'p>, ItemDigest)> {
        let items = self.permit.items();
        items.projections().iter().zip(items.digests().iter().copied())
    }

    fn token(&self, item: ItemDigest, scope: Scope) -> Result<String, ItemError> {
        Ok(self.sessions.grant(&self.signed(item), scope)?)
    }

    fn signed(&self, digest: ItemDigest) -> SignedItem<'_> {
        SignedItem { username: self.permit.username(), call: self.permit.row().call(), digest }
    }
}

/// The protocols that the frontend offers, for each item. They say how the bytes are transferred,
/// not what the bytes are.
fn offered<'b>(items: &'b Items<'_>) -> Vec<Vec<&'b str>> {
    let each = items.body().member("items").and_then(Json::elements).unwrap_or_default();
    let of_item = |item: &'b Json<'_>| {
        let listed = item.member("supportedProtocols").and_then(Json::elements).unwrap_or_default();
        listed.iter().filter_map(Json::as_str).collect()
    };
    each.iter().map(of_item).collect()
}

/// Chooses the protocol of an upload. A file is sent in chunks if the frontend can do that; a
/// folder is always sent over a WebSocket.
fn protocol(offered: &[&str], is_folder: bool) -> Result<&'static str, ItemError> {
    let speaks = |name: &str| offered.is_empty() || offered.contains(&name);
    if !is_folder && speaks("CHUNKED") {
        return Ok("CHUNKED");
    }
    // The frontend says WEBSOCKET and means version 2 for folders, version 1 for files.
    if speaks("WEBSOCKET_V2") {
        Ok("WEBSOCKET_V2")
    } else if is_folder && speaks("WEBSOCKET") {
        Ok("WEBSOCKET")
    } else {
        Err(ItemError::Protocol)
    }
}
