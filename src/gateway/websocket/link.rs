//! WebSockets of public links: between any page and the application.
//!
//! A socket ends with its link: when the server says that something ended, the
//! link is asked for again.

use std::sync::Arc;

use countersign_keys::verify::Rejection;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncRead, AsyncWrite};

use super::switched::Asked;
use crate::exchange::Exchange;
use crate::http1::head::{self, Purpose};
use crate::http1::timeouts::Answering;
use crate::http1::upgrade::{self, PendingUpgrade};
use crate::links::routes::LinkRoute;
use crate::response::refusal::Refusal;
use crate::response::{Answer, Transport};
use crate::shutdown::shutdown_requested;
use crate::state::Gateway;
use crate::web;
use crate::web::body::SentBody;
use countersign_ipc::web_connections::copy_until_silent;

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
        let asked = self.ask_for_link_socket(&head, &pending).await;
        let gateway = Arc::clone(self.gateway);
        let serve = async move |route: Arc<LinkRoute>, near, far| serve(&gateway, &route, pending, near, far).await;
        self.answer_upgrade(&head, asked, (near, answering), transport, serve).await
    }

    async fn ask_for_link_socket(
        &mut self,
        head: &Parts,
        pending: &PendingUpgrade,
    ) -> Result<Asked<Arc<LinkRoute>>, Refusal> {
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
        Ok(Asked { way: route, counted, answer })
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
