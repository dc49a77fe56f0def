//! WebSockets of web interfaces: between a page of the interface and the application.
//!
//! A socket ends with its session, and with the key that opened it.

use std::sync::Arc;

use http::request::Parts;
use hyper::upgrade::OnUpgrade;

use super::close::End;
use super::key_watch::KeyWatch;
use super::switched::Asked;
use crate::exchange::Exchange;
use crate::http1::timeouts::Answering;
use crate::http1::upgrade::{self, PendingUpgrade};
use crate::response::refusal::Refusal;
use crate::response::{Answer, Transport};
use crate::shutdown::shutdown_requested;
use crate::state::Gateway;
use crate::web;
use crate::web::body::SentBody;
use crate::web::sessions::WebSession;
use countersign_ipc::web_connections::copy_until_silent;

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
        let asked = self.ask_for_socket(&head, &pending).await;
        let gateway = Arc::clone(self.gateway);
        let serve =
            async move |session: Arc<WebSession>, near, far| serve(&gateway, &session, pending, near, far).await;
        self.answer_upgrade(&head, asked, (near, answering), transport, serve).await
    }

    async fn ask_for_socket(
        &mut self,
        head: &Parts,
        pending: &PendingUpgrade,
    ) -> Result<Asked<Arc<WebSession>>, Refusal> {
        let (place, origin) = self.web_place_of_socket(head)?;
        let _key = upgrade::read(head)?;
        let permit = self.web_permit(&place, &origin, head).await?;
        let session = Arc::clone(permit.session());
        let counted = self.gateway.sockets.begin(session.username()).ok_or(Refusal::TooMany)?;
        pending.check_last()?;
        self.count_read();
        let answer = self.ask_application(&permit, head, SentBody::none()).await?;
        pending.check_last()?;
        Ok(Asked { way: session, counted, answer })
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
