//! WebSockets of public links: between any page and the application.
//!
//! Reads no frames. A socket ends with its link: when the server says that something ended, the
//! link is asked for again.

use std::sync::Arc;

use countersign_keys::verify::Rejection;
use http::request::Parts;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::exchange::Exchange;
use crate::http1::head::{self, Purpose};
use crate::http1::timeouts::Answering;
use crate::http1::upgrade::{self, PendingUpgrade};
use crate::links::routes::LinkRoute;
use crate::response::refusal::Refusal;
use crate::response::{Answer, AnswerBody, Transport};
use crate::shutdown::shutdown_requested;
use crate::state::Gateway;
use crate::web;
use crate::web::body::{ApplicationBody, OfUser, SentBody};
use countersign_ipc::web::set_upgrade;
use countersign_ipc::web_connections::copy_until_silent;

/// A socket whose application has switched, or its answer.
struct Asked {
    route: Arc<LinkRoute>,
    counted: OfUser,
    answer: Response<Incoming>,
}

impl Exchange<'_> {
    /// Answers an upgrade at the host of a public link. If the application accepts it, a task
    /// passes the bytes.
    pub(super) async fn upgrade_link(
        mut self,
        mut head: Parts,
        near: OnUpgrade,
        pending: PendingUpgrade,
        answering: Answering,
        transport: Transport,
    ) -> Answer {
        web::prepare(&mut head.headers);
        let mut answer = match self.ask_for_link_socket(&head, &pending).await {
            Ok(asked) if asked.answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                self.switch_link(asked, near, pending, answering)
            }
            Ok(Asked { answer, counted, .. }) => {
                answer.map(|body| AnswerBody::Application(Box::new(ApplicationBody::new(body, counted))))
            }
            Err(refusal) => self.explain_web(refusal, &head).await,
        };
        web::finish(&mut answer, &self, transport);
        answer
    }

    async fn ask_for_link_socket(&mut self, head: &Parts, pending: &PendingUpgrade) -> Result<Asked, Refusal> {
        head::check_web(head, Purpose::Upgrade)?;
        if self.gateway.is_reserved(head.uri.path()) {
            return Err(Rejection::NoSuchCall.into());
        }
        let _key = upgrade::read(head)?;
        let route = self.link_route(head).await?;
        let counted = self.gateway.links.sockets.begin(route.username()).ok_or(Refusal::TooMany)?;
        pending.check_last()?;
        self.count_read();
        let answer = self.ask_at_link(&route, head, SentBody::none()).await?;
        pending.check_last()?;
        Ok(Asked { route, counted, answer })
    }

    fn switch_link(&self, asked: Asked, near: OnUpgrade, pending: PendingUpgrade, answering: Answering) -> Answer {
        let Asked { route, counted, mut answer } = asked;
        let far = hyper::upgrade::on(&mut answer);
        let (mut head, _body) = answer.into_parts();
        head.extensions = http::Extensions::new();
        set_upgrade(&mut head.headers);
        let gateway = Arc::clone(self.gateway);
        tokio::spawn(async move {
            if let (Ok(near), Ok(far)) = tokio::join!(near, far) {
                serve(&gateway, &route, pending, TokioIo::new(near), TokioIo::new(far)).await;
            }
            // Until here the connection's idle timer was paused, and the socket counted.
            drop((answering, counted));
        });
        Response::from_parts(head, AnswerBody::Whole(bytes::Bytes::new()))
    }
}

async fn serve<N, F>(gateway: &Gateway, route: &Arc<LinkRoute>, pending: PendingUpgrade, near: N, far: F)
where
    N: AsyncRead + AsyncWrite + Unpin,
    F: AsyncRead + AsyncWrite + Unpin,
{
    let PendingUpgrade { passage, number, mut stop, client } = pending;
    if passage.open(number).is_err() {
        return;
    }
    tokio::select! {
        () = copy_until_silent(near, far, || {}) => {}
        () = shutdown_requested(&mut stop) => {}
        () = until_it_ends(gateway, route) => {}
        () = route.connections().until_closed() => {}
        () = client.is_needed() => {}
    }
}

/// Waits until the link leads elsewhere or nowhere.
async fn until_it_ends(gateway: &Gateway, route: &Arc<LinkRoute>) {
    let mut endings = gateway.key_cache.endings();
    while endings.changed().await.is_ok() {
        match gateway.links.route(route.name(), &gateway.key_cache).await {
            Ok(Some(current)) if Arc::ptr_eq(&current, route) => {}
            Ok(_) | Err(_) => return,
        }
    }
}
