//! Accepts the gateway's connections and no other (P7, V56), and serves them.

use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use countersign_keys::request::DEPOSIT_MAX;
use http::HeaderValue;
use http::header::CONNECTION;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use crate::downloads::body::whole;
use crate::idle::IdleTimer;
use crate::links;
use crate::state::Instance;
use crate::web;
use crate::websocket;
use countersign_ipc::http::{Limits, serve_connection};
use countersign_ipc::peer::Peer;
use countersign_ipc::tcp_proof::{self, ListenerKey};
use countersign_os::clock::random_bytes;
use countersign_os::descriptors::Listener;

/// Pause after accepting failed, for example for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
        let _open = idle_timer.connected();
        let answer = |request| async {
            let _under_way = idle_timer.begin();
            if web::is_asked(&request) {
                return web::answer(&instance, &idle_timer, request).await;
            }
            if links::requests::is_asked(&request) {
                return links::requests::answer(&instance, &idle_timer, request).await;
            }
            if websocket::is_asked(&request) {
                return whole(websocket::upgrade(&instance, &idle_timer, request).await);
            }
            let mut answer = instance.answer(request).await;
            if idle_timer.is_finishing() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            answer
        };
        if let Err(error) = serve_connection(stream, answer, &LIMITS).await {
            tracing::debug!(%error, "connection failed");
        }
    });
}
