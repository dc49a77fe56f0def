//! From a permit to the work, and back to an answer in UCloud's own JSON.
//!
//! What is done comes from the permit's bound parameters; the rest of the body may say how a listing is shown, nothing more.

use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use countersign_keys::bind::{Items, Projection};
use countersign_keys::json::Json;
use countersign_keys::own::OwnRequest;
use countersign_keys::policy::Permit;
use countersign_keys::request::DEPOSIT_MAX;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::audit::{Decision, DecisionLog, Process, Verdict};
use crate::descriptors::Listener;
use crate::ipc::answers::Told;
use crate::ipc::http::{Limits, Reply, json_reply, read_body, serve_connection};
use crate::ipc::peer::Peer;
use crate::log::Chain;
use crate::user::activity::Activity;
use crate::user::files::Files;
use crate::user::files::request::{Browse, CreateFolder, FilesRequest, MoveOrCopy, Retrieve, Trash};
use crate::user::judge::{Judge, Known, Permitted, Refusal};
use crate::user::own::OwnCalls;
use crate::user::ssh_keys::SshKeys;

/// Longest body, in bytes: what the gateway takes at most, whatever it is configured to.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// How long accepting rests after it failed, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection from the gateway: deposited intents of many items need a long head.
const LIMITS: Limits = Limits { head_max: DEPOSIT_MAX + 32 * 1024, ..Limits::LOCAL };

/// One user's instance.
#[derive(Debug)]
pub(crate) struct Instance {
    judge: Judge,
    files: Files,
    own: OwnCalls,
    ssh_keys: SshKeys,
    log: DecisionLog,
}

/// Serves the socket until it breaks.
pub(crate) async fn accept(listener: Listener, instance: Arc<Instance>, activity: Arc<Activity>) {
    let outcome = match listener {
        Listener::Unix(listener) => accept_unix(listener, &instance, &activity).await,
        Listener::Tcp(listener) => accept_tcp(listener, &instance, &activity).await,
    };
    if let Err(error) = outcome {
        tracing::error!(%error, "the listening socket");
    }
}

async fn accept_unix(
    listener: StdUnixListener,
    instance: &Arc<Instance>,
    activity: &Arc<Activity>,
) -> Result<(), Box<dyn std::error::Error>> {
    // Whoever made the socket may connect, and nobody else (P7, V56). The kernel says who that was.
    let maker = Peer::of(&listener)?.uid;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) if Peer::of(&stream).is_ok_and(|peer| peer.uid == maker) => {
                serve(stream, instance, activity)
            }
            Ok(_) => tracing::warn!("a stranger connected; closed unheard"),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn accept_tcp(
    listener: std::net::TcpListener,
    instance: &Arc<Instance>,
    activity: &Arc<Activity>,
) -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                serve(stream, instance, activity);
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn serve<S>(stream: S, instance: &Arc<Instance>, activity: &Arc<Activity>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (instance, activity) = (Arc::clone(instance), Arc::clone(activity));
    tokio::spawn(async move {
        let answer = |request| async {
            let _under_way = activity.begin();
            instance.answer(request).await
        };
        if let Err(error) = serve_connection(stream, answer, &LIMITS).await {
            tracing::debug!(%error, "a connection ended");
        }
    });
}

impl Instance {
    /// An instance that judges, works and logs with these.
    pub(crate) const fn new(judge: Judge, files: Files, own: OwnCalls, ssh_keys: SshKeys, log: DecisionLog) -> Self {
        Self { judge, files, own, ssh_keys, log }
    }

    /// Removes what an instance that was killed left unfinished.
    pub(crate) async fn clean_up(&self) {
        self.files.clean_up().await;
    }

    /// How much work goes on that nobody waits for any more.
    pub(crate) fn under_way(&self) -> usize {
        self.files.under_way()
    }

    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let request_id = head.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("none");
        let body = match read_body(body, BODY_MAX).await {
            Ok(body) => body,
            Err(error) => return Told::from(&error).reply(),
        };
        let mut known = Known::default();
        let outcome = self.judge.judge(&head, &body, &mut known);
        let (verdict, told, reason) = match &outcome {
            Ok(_) => (Verdict::Forward, None, None),
            Err(refusal) => {
                let (verdict, told) = refused(refusal);
                (verdict, Some(told), Some(refusal.to_string()))
            }
        };
        let decision = Decision {
            time: OffsetDateTime::now_utc(),
            request_id,
            process: Process::User,
            username: known.username.as_ref(),
            call: known.call.as_ref(),
            kid: known.kid,
            decision: verdict,
            status: told.map(Told::number),
            reason: reason.as_deref(),
        };
        if let Err(failure) = self.log.append(&decision) {
            tracing::error!(%failure, "the decision cannot be logged");
            return Told::Unavailable.reply();
        }
        match outcome {
            Ok(Permitted::FromCore(permit)) => self.perform(&permit).await,
            Ok(Permitted::FromUser(permit)) => self.perform_own(&permit).await,
            Err(_) => told.unwrap_or(Told::Unavailable).reply(),
        }
    }

    async fn perform(&self, permit: &Permit<'_, '_>) -> Reply {
        if permit.row().call().as_str() == "ssh.keyUploaded" {
            return self.install_ssh_keys(permit).await;
        }
        let Some(request) = files_request(permit.row().call().as_str(), permit.items()) else {
            return Told::NotFound.reply_with("this provider does not offer this");
        };
        match self.files.perform(request).await {
            Ok(answer) => json_reply(StatusCode::OK, &answer),
            Err(failure) => failure.told().reply_with(&failure.to_string()),
        }
    }

    async fn install_ssh_keys(&self, permit: &Permit<'_, '_>) -> Reply {
        match self.ssh_keys.install_signed(permit.items()).await {
            Ok(answer) => json_reply(StatusCode::OK, &answer),
            Err(not_installed) => {
                tracing::warn!(cause = %Chain(&not_installed), "SSH keys");
                not_installed.told().reply_with(&not_installed.to_string())
            }
        }
    }

    async fn perform_own(&self, permit: &Permit<'_, '_, OwnRequest>) -> Reply {
        match self.own.perform(permit).await {
            Ok(answer) => json_reply(StatusCode::OK, &answer),
            Err(not_done) => {
                let (call, cause) = (permit.row().call(), Chain(&not_done).to_string());
                tracing::warn!(%call, cause, "not done for the user's own browser");
                not_done.reply()
            }
        }
    }
}

/// What is asked of the files, if the call is one of theirs.
fn files_request(call: &str, items: &Items<'_>) -> Option<FilesRequest> {
    let each = items.projections();
    let shown = |name: &str| items.body().member(name).or_else(|| items.body().member(&capitalised(name)));
    Some(match call {
        "files.browse" => FilesRequest::Browse(browse(each.first()?, shown("browse")?)),
        "files.retrieve" => FilesRequest::Retrieve(Retrieve { id: text(each.first()?, "id") }),
        "files.createFolder" => FilesRequest::CreateFolder(
            each.iter()
                .map(|item| CreateFolder { id: text(item, "id"), conflict_policy: text(item, "conflictPolicy") })
                .collect(),
        ),
        "files.move" => FilesRequest::Move(each.iter().map(move_or_copy).collect()),
        "files.copy" => FilesRequest::Copy(each.iter().map(move_or_copy).collect()),
        "files.trash" => FilesRequest::Trash(each.iter().map(|item| Trash { id: text(item, "id") }).collect()),
        "files.emptyTrash" => {
            FilesRequest::EmptyTrash(each.iter().map(|item| Trash { id: text(item, "id") }).collect())
        }
        _ => return None,
    })
}

/// Where to look is bound; how the listing is paged, sorted and filtered is not, and only shows.
fn browse(item: &Projection<'_>, shown: &Json<'_>) -> Browse {
    let string = |value: Option<&Json<'_>>| value.and_then(Json::as_str).map(str::to_owned);
    let flags = shown.member("flags");
    let flag = |name: &str| flags.and_then(|flags| flags.member(name));
    Browse {
        path: text(item, "path"),
        items_per_page: shown.member("itemsPerPage").and_then(Json::as_integer).unwrap_or(0),
        next: string(shown.member("next")),
        sort_by: string(shown.member("sortBy")).unwrap_or_default(),
        sort_direction: string(shown.member("sortDirection")).unwrap_or_default(),
        filter_hidden_files: flag("filterHiddenFiles").and_then(Json::as_bool).unwrap_or(false),
        filter_by_file_extension: string(flag("filterByFileExtension")),
    }
}

fn move_or_copy(item: &Projection<'_>) -> MoveOrCopy {
    MoveOrCopy {
        old_id: text(item, "oldId"),
        new_id: text(item, "newId"),
        conflict_policy: text(item, "conflictPolicy"),
    }
}

/// A bound parameter's text. One that is no string names no file, and no file is called nothing.
fn text(item: &Projection<'_>, name: &str) -> String {
    item.parameter(name).as_str().unwrap_or_default().to_owned()
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// Between gateway and instance the same is said as between Core and gateway: the gateway has judged alike, so what arrives here
/// and is refused did not come by the front door.
fn refused(refusal: &Refusal) -> (Verdict, Told) {
    let told = match refusal {
        Refusal::Rejection(rejection) => Told::from(rejection.class()),
        Refusal::Pinned(_) | Refusal::Unreadable(_) | Refusal::Clock(_) => Told::Unavailable,
    };
    (if told.is_failure() { Verdict::Fail } else { Verdict::Refuse }, told)
}
