//! Requests for public links, on their way to the application.
//!
//! The gateway says which link and which job. A request is passed on only if this account's own
//! record says that the job has the link, and the server knows it as that job's. Nothing else
//! authorises it: the user signed that this port is public.

use std::sync::Arc;

use countersign_ipc::web::{ANSWER_MAX, WEB_JOB, WEB_LINK, WebOutcome};
use countersign_ipc::web_connections::{copy_until_silent, speak};
use countersign_keys::identity::{CoreJobId, LinkName};
use http::header::UPGRADE;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};

use super::open::OpenLink;
use crate::downloads::body::Answer;
use crate::idle::IdleTimer;
use crate::jobs::relay::{RelayError, ToApplication};
use crate::state::Instance;
use crate::web::{self, Way, WebError};

/// Checks whether the gateway passes on a request for a public link. On no other lane does it send
/// this header.
pub(crate) fn is_asked<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(WEB_LINK)
}

/// Answers a request for a public link. If the application switches to a socket, a task serves it.
pub(crate) async fn answer(
    instance: &Arc<Instance>,
    idle_timer: &Arc<IdleTimer>,
    mut request: Request<Incoming>,
) -> Answer {
    let is_upgrade = request.method() == Method::GET && request.headers().contains_key(UPGRADE);
    let near = is_upgrade.then(|| hyper::upgrade::on(&mut request));
    let (link, answer) = match instance.ask_at_link(request).await {
        Ok(answered) => answered,
        Err(error) => return error.answer(),
    };
    web::pass_back(instance, idle_timer, near, answer, move |instance, near, far| async move {
        serve_socket(&instance, &link, near, far).await;
    })
}

impl Instance {
    async fn ask_at_link(&self, request: Request<Incoming>) -> Result<(Arc<OpenLink>, Response<Incoming>), WebError> {
        let (head, body) = request.into_parts();
        let text = |name| head.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let name = text(WEB_LINK).and_then(|name| LinkName::parse(name).ok()).ok_or(WebError::NoSession)?;
        let job = text(WEB_JOB).and_then(|job| CoreJobId::parse(job).ok()).ok_or(WebError::NoSession)?;
        let hosts = self.links.hosts().ok_or(WebError::NoSession)?;
        let link = self.open_link(name, job).await?;
        let head = web::head_at(head, &hosts.authority(link.name()), hosts.scheme())?;
        let connect = || async { speak(self.connect_link(&link).await?).await.map_err(WebError::Application) };
        let answered = link.connections().send(Request::from_parts(head, body), ANSWER_MAX, connect).await;
        match answered.map_err(WebError::from) {
            Ok(answer) => Ok((link, answer)),
            Err(error) => {
                if error.outcome() == WebOutcome::Ended {
                    self.links.open.end(&link);
                }
                Err(error)
            }
        }
    }

    /// The open link of that name and job, if both records still say that there is one.
    async fn open_link(&self, name: LinkName, job: CoreJobId) -> Result<Arc<OpenLink>, WebError> {
        let known = self.links.open.find(&name, &job);
        if let Some(link) = known.as_ref().filter(|link| link.is_checked()) {
            link.used();
            return Ok(Arc::clone(link));
        }
        if let Err(error) = self.jobs.check_link(&job, &name).await {
            if let Some(link) = known {
                self.links.open.end(&link);
            }
            return Err(error.into());
        }
        if let Some(link) = known {
            link.checked();
            link.used();
            return Ok(link);
        }
        let (relay, port) = self.jobs.reach_link(&job, &name).await?;
        let link = Arc::new(OpenLink::new(name, job, Way { relay, port }));
        if self.links.open.keep(&link) { Ok(link) } else { Err(WebError::Slow) }
    }

    /// A new connection to the application. If the step has ended, Slurm says whether the job has.
    async fn connect_link(&self, link: &OpenLink) -> Result<ToApplication, WebError> {
        let Way { relay, port } = link.way();
        match relay.connect(port).await {
            Err(RelayError::Broken) => {}
            connected => return Ok(connected?),
        }
        let (relay, port) = self.jobs.reach_link(link.job(), link.name()).await?;
        let connected = relay.connect(port).await?;
        link.go_by(Way { relay, port });
        Ok(connected)
    }
}

/// Copies bytes both ways until one side closes, the link ends, or the instance does.
async fn serve_socket<N, F>(instance: &Instance, link: &OpenLink, near: N, far: F)
where
    N: AsyncRead + AsyncWrite + Unpin,
    F: AsyncRead + AsyncWrite + Unpin,
{
    let mut stop = instance.sockets.stop.subscribe();
    tokio::select! {
        () = copy_until_silent(near, far, || link.used()) => {}
        () = link.connections().until_closed() => tracing::info!(name = %link.name(), "a socket ends with its public link"),
        _ = stop.wait_for(|stop| *stop) => tracing::info!("a socket ends with this instance"),
    }
}
