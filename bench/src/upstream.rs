//! The dummy behind every proxy: it answers each request with the same kilobyte, and counts. It
//! runs in a thread of the load tool, so that its CPU time is not counted as a proxy's.

use std::convert::Infallible;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use nix::sys::socket::Backlog;
use nix::unistd::{Uid, geteuid, seteuid};
use tokio::net::UnixListener;

use crate::error::BenchError;
use crate::proxy::countersign::NOBODY;

/// About the size of a short directory listing.
const ANSWER_BYTES: usize = 1024;

/// Connections that wait to be accepted: the most that the kernel allows by default.
const WAITING_MAX: i32 = 4096;

pub(crate) struct Upstream {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    answer: Bytes,
    arrived: Arc<AtomicU64>,
}

impl Upstream {
    /// Listens on a Unix socket until the process ends.
    pub(crate) fn start() -> Result<Self, BenchError> {
        let directory = tempfile::Builder::new()
            .prefix("countersign-bench-upstream-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .map_err(BenchError::io("upstream's directory"))?;
        let socket = directory.path().join("socket");
        let listener = listen(directory.path(), &socket)?;
        listener.set_nonblocking(true).map_err(BenchError::io("upstream's socket"))?;
        let frame = r#"{"items":[],"itemsPerPage":50,"next":""}"#;
        let filler = "n".repeat(ANSWER_BYTES.saturating_sub(frame.len()));
        let answer = Bytes::from(frame.replace(r#""next":"""#, &format!(r#""next":"{filler}""#)));
        let arrived = Arc::new(AtomicU64::new(0));

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(BenchError::io("upstream's runtime"))?;
        let (body, count) = (answer.clone(), Arc::clone(&arrived));
        std::thread::spawn(move || runtime.block_on(serve(listener, body, count)));
        Ok(Self { _directory: directory, socket, answer, arrived })
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn answer(&self) -> &Bytes {
        &self.answer
    }

    /// The number of requests that reached it.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::SeqCst)
    }
}

/// Listens as the account that Countersign's gateway runs as: it talks to no other's socket.
fn listen(directory: &Path, socket: &Path) -> Result<std::os::unix::net::UnixListener, BenchError> {
    let bind = || {
        let listener = std::os::unix::net::UnixListener::bind(socket).map_err(BenchError::io("upstream's socket"))?;
        // Every connection of the load may need one here at the same moment.
        let waiting = Backlog::new(WAITING_MAX).map_err(BenchError::system("upstream's socket"))?;
        nix::sys::socket::listen(&listener, waiting).map_err(BenchError::system("upstream's socket"))?;
        Ok(listener)
    };
    if !geteuid().is_root() {
        return bind();
    }
    chown(directory, Some(NOBODY), Some(NOBODY)).map_err(BenchError::io("upstream's directory"))?;
    seteuid(Uid::from_raw(NOBODY)).map_err(BenchError::system("upstream's account"))?;
    let bound = bind();
    seteuid(Uid::from_raw(0)).map_err(BenchError::system("upstream's account"))?;
    bound
}

async fn serve(
    socket: std::os::unix::net::UnixListener,
    answer: Bytes,
    arrived: Arc<AtomicU64>,
) -> std::io::Result<()> {
    let listener = UnixListener::from_std(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (answer, arrived) = (answer.clone(), Arc::clone(&arrived));
        let service = service_fn(move |request: Request<Incoming>| {
            let (answer, arrived) = (answer.clone(), Arc::clone(&arrived));
            async move {
                // A request counts once its body has arrived, even if answering it fails.
                let _ = request.into_body().collect().await;
                arrived.fetch_add(1, Ordering::SeqCst);
                let mut response = Response::new(Full::new(answer));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
