//! WebSockets of web interfaces: between a page of the interface and the application.
//!
//! Reads no frames. The handshake is the application's own, extensions and subprotocols included.

use std::sync::Arc;

use http::request::Parts;
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::close::End;
use super::key_watch::KeyWatch;
use crate::exchange::Exchange;
use crate::http1::timeouts::Answering;
use crate::http1::upgrade::{self, PendingUpgrade};
use crate::response::refusal::Refusal;
use crate::response::{Answer, AnswerBody, Transport};
use crate::shutdown::shutdown_requested;
use crate::state::Gateway;
use crate::web;
use crate::web::body::{ApplicationBody, OfUser, SentBody};
use crate::web::sessions::WebSession;
use countersign_ipc::web::set_upgrade;
use countersign_ipc::web_connections::copy_until_silent;

/// A socket whose application has switched, or its answer.
struct Asked {
    session: Arc<WebSession>,
    counted: OfUser,
    answer: Response<hyper::body::Incoming>,
}

impl Exchange<'_> {
    /// Answers an upgrade at the host of a web interface. If the application accepts it, a task
    /// passes the bytes.
    pub(super) async fn upgrade_web(
        mut self,
        mut head: Parts,
        near: OnUpgrade,
        pending: PendingUpgrade,
        answering: Answering,
        transport: Transport,
    ) -> Answer {
        web::prepare(&mut head.headers);
        let mut answer = match self.ask_for_socket(&head, &pending).await {
            Ok(asked) if asked.answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                self.switch(asked, near, pending, answering)
            }
            Ok(Asked { answer, counted, .. }) => {
                answer.map(|body| AnswerBody::Application(Box::new(ApplicationBody::new(body, counted))))
            }
            Err(refusal) => self.explain_web(refusal, &head).await,
        };
        web::finish(&mut answer, &self, transport);
        answer
    }

    async fn ask_for_socket(&mut self, head: &Parts, pending: &PendingUpgrade) -> Result<Asked, Refusal> {
        let (place, origin) = self.web_place_of_socket(head)?;
        let _key = upgrade::read(head)?;
        let permit = self.web_permit(&place, &origin, head).await?;
        let session = Arc::clone(permit.session());
        let counted = self.gateway.sockets.begin(session.username()).ok_or(Refusal::TooMany)?;
        pending.check_last()?;
        self.count_read();
        let answer = self.ask_application(&permit, head, SentBody::none()).await?;
        pending.check_last()?;
        Ok(Asked { session, counted, answer })
    }

    fn switch(&self, asked: Asked, near: OnUpgrade, pending: PendingUpgrade, answering: Answering) -> Answer {
        let Asked { session, counted, mut answer } = asked;
        let far = hyper::upgrade::on(&mut answer);
        let (mut head, _body) = answer.into_parts();
        head.extensions = http::Extensions::new();
        set_upgrade(&mut head.headers);
        let gateway = Arc::clone(self.gateway);
        tokio::spawn(async move {
            if let (Ok(near), Ok(far)) = tokio::join!(near, far) {
                serve(&gateway, &session, pending, TokioIo::new(near), TokioIo::new(far)).await;
            }
            // Until here the connection's idle timer was paused, and the socket counted.
            drop((answering, counted));
        });
        Response::from_parts(head, AnswerBody::Whole(bytes::Bytes::new()))
    }
}

async fn serve<N, F>(gateway: &Arc<Gateway>, session: &WebSession, pending: PendingUpgrade, near: N, far: F)
where
    N: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    F: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let PendingUpgrade { passage, number, mut stop, client } = pending;
    let (username, kid) = (session.username(), session.kid());
    if let Err(early) = passage.open(number) {
        return Exchange::of_session(gateway, &client, username, kid).record_refusal(&early.into(), None);
    }
    let key_watch = KeyWatch::new(gateway, username);
    if kid.is_some_and(|kid| key_watch.add(kid).is_err()) {
        return;
    }
    let end = tokio::select! {
        () = copy_until_silent(near, far, || {}) => End::Gone,
        () = shutdown_requested(&mut stop) => End::Stop,
        end = key_watch.ends() => end,
        () = session.connections().until_closed() => End::Gone,
        () = client.is_needed() => End::Gone,
    };
    if let End::KeyWatch(refusal) = &end {
        Exchange::of_session(gateway, &client, username, kid).record_refusal(refusal, None);
    }
}
