//! The dummy behind every proxy: it answers each request with the same kilobyte, and counts. It
//! runs in a thread of the load tool, so that its CPU time is not counted as a proxy's.

use std::convert::Infallible;
use std::net::SocketAddr;
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
use tokio::net::TcpListener;

use crate::error::BenchError;

/// About the size of a short directory listing.
const ANSWER_BYTES: usize = 1024;

pub(crate) struct Upstream {
    address: SocketAddr,
    answer: Bytes,
    arrived: Arc<AtomicU64>,
}

impl Upstream {
    /// Listens on a free loop-back port until the process ends.
    pub(crate) fn start() -> Result<Self, BenchError> {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").map_err(BenchError::io("upstream's port"))?;
        socket.set_nonblocking(true).map_err(BenchError::io("upstream's port"))?;
        let address = socket.local_addr().map_err(BenchError::io("upstream's port"))?;
        let frame = r#"{"items":[],"itemsPerPage":50,"next":""}"#;
        let filler = "n".repeat(ANSWER_BYTES.saturating_sub(frame.len()));
        let answer = Bytes::from(frame.replace(r#""next":"""#, &format!(r#""next":"{filler}""#)));
        let arrived = Arc::new(AtomicU64::new(0));

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(BenchError::io("upstream's runtime"))?;
        let (body, count) = (answer.clone(), Arc::clone(&arrived));
        std::thread::spawn(move || runtime.block_on(serve(socket, body, count)));
        Ok(Self { address, answer, arrived })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn answer(&self) -> &Bytes {
        &self.answer
    }

    /// The number of requests that reached it.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::SeqCst)
    }
}

async fn serve(socket: std::net::TcpListener, answer: Bytes, arrived: Arc<AtomicU64>) -> std::io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
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
