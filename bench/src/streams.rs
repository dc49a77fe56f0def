//! The load over one connection of HTTP/2, with many requests at once, as Core sends them. Each
//! answer is read completely, checked and timed, as over HTTP/1.1 ([`crate::client`]).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use httparse::Status;
use hyper::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::HOST;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::LocalSet;

use crate::client::{Client, Timing, Want};
use crate::error::BenchError;
use crate::proxy::Running;

/// No request of the workload has more.
const HEADERS_MAX: usize = 16;

/// One connection, and how many requests it has at once.
pub(crate) struct Streams {
    connection: SendRequest<Full<Bytes>>,
    count: usize,
}

impl Streams {
    pub(crate) async fn open(client: &Client, proxy: &Running, count: usize) -> Result<Self, BenchError> {
        let stream = TokioIo::new(client.connect_http2(proxy).await?);
        let (connection, driver) = http2::handshake(TokioExecutor::new(), stream).await?;
        // Ends with the connection. What went wrong by then is an error of a request.
        tokio::spawn(driver);
        Ok(Self { connection, count })
    }

    /// Sends the rendered requests, and checks every answer against `want`.
    pub(crate) async fn drive(
        &self,
        proxy: &Running,
        requests: Vec<Vec<u8>>,
        want: &Want,
    ) -> Result<Timing, BenchError> {
        let requests = requests.iter().map(|request| of_rendered(request)).collect::<Result<Vec<_>, _>>()?;
        let tasks = LocalSet::new();
        let latencies = Rc::new(RefCell::new(Vec::with_capacity(requests.len())));
        let requests = Rc::new(RefCell::new(requests.into_iter()));
        let begun = Instant::now();
        let mut workers = Vec::new();
        for _ in 0..self.count {
            let (name, mut connection, want) = (proxy.name(), self.connection.clone(), want.clone());
            let (requests, latencies) = (Rc::clone(&requests), Rc::clone(&latencies));
            workers.push(tasks.spawn_local(async move {
                loop {
                    let Some(request) = requests.borrow_mut().next() else { return Ok::<_, BenchError>(()) };
                    connection.ready().await?;
                    let sent = Instant::now();
                    let (head, body) = connection.send_request(request).await?.into_parts();
                    let body = body.collect().await?.to_bytes();
                    want.check(name, head.status.as_u16(), &body)?;
                    latencies.borrow_mut().push(sent.elapsed());
                }
            }));
        }
        tasks
            .run_until(async {
                for worker in workers {
                    worker.await.map_err(|_| BenchError::Empty("a stream's task ended"))??;
                }
                Ok::<_, BenchError>(())
            })
            .await?;
        Ok(Timing { latencies: latencies.take(), elapsed: begun.elapsed() })
    }
}

/// The same request for HTTP/2, from its bytes for HTTP/1.1.
fn of_rendered(rendered: &[u8]) -> Result<Request<Full<Bytes>>, BenchError> {
    let wrong = || BenchError::Empty("a request that the bench itself cannot read");
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let Ok(Status::Complete(begin)) = head.parse(rendered) else { return Err(wrong()) };
    let (Some(method), Some(path)) = (head.method, head.path) else { return Err(wrong()) };
    let mut request = Request::builder().method(method).uri(format!("https://localhost{path}"));
    for header in head.headers.iter().filter(|header| !header.name.eq_ignore_ascii_case(HOST.as_str())) {
        request = request.header(header.name, header.value);
    }
    let body = Bytes::copy_from_slice(rendered.get(begin..).unwrap_or_default());
    request.body(Full::new(body)).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_for_http2_has_the_path_the_headers_and_the_body() {
        let rendered = "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nUcloud-Username: YQ\r\n\r\n{}";
        let request = of_rendered(rendered.as_bytes()).unwrap();
        assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), ("POST", "https://localhost/x"));
        let names: Vec<_> = request.headers().keys().map(hyper::header::HeaderName::as_str).collect();
        assert_eq!(names, ["content-length", "ucloud-username"]);
        assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "{}");
        assert!(of_rendered(b"POST /").is_err());
    }
}
