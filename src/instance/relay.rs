//! `countersign relay`: the far end of web interfaces, on a node, as a step of the user's job.
//!
//! Speaks HTTP/2 on its standard input and output, and connects to ports of its own node
//! (`CONNECT`, RFC 9113 section 8.5). It opens no port. It refuses every host but 127.0.0.1, every
//! port but those of its arguments, and a port at which another account listens. It ends with its
//! input.

mod listening;

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{geteuid, isatty};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;

use self::listening::Listening;
pub(crate) use self::listening::Refused;

/// Connections at a time.
const STREAMS_MAX: u32 = 512;

/// Bytes that a connection, and all of them, may have on the way. Between a browser and a node some
/// milliseconds pass: with less, a download waits for its reader.
pub(crate) const STREAM_WINDOW: u32 = 1024 * 1024;
pub(crate) const ALL_WINDOW: u32 = 8 * 1024 * 1024;

/// Bytes of a frame.
pub(crate) const FRAME: u32 = 64 * 1024;

/// Bytes copied at a time.
const BUFFER: usize = 64 * 1024;

/// Interval of pings, and how long the other end has to answer: a step without its instance ends.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(30);
pub(crate) const PONG_WITHIN: Duration = Duration::from_secs(30);

/// How long a connection to a port of the same machine may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Why the relay does not start, or why it ends.
#[derive(Debug, thiserror::Error)]
pub enum RelayFailure {
    #[error("countersign relay does not run as root: an instance starts it, as its user")]
    Root,
    #[error("standard output cannot be used")]
    Output(#[source] io::Error),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("the connection to the instance broke")]
    Broken(#[source] hyper::Error),
}

/// Connects to these ports until the instance is gone.
///
/// # Errors
/// It cannot start, or the connection to the instance broke.
pub fn run(ports: &[u16]) -> Result<(), RelayFailure> {
    if geteuid().is_root() {
        return Err(RelayFailure::Root);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RelayFailure::Runtime)?;
    leave_bytes_alone().map_err(RelayFailure::Output)?;
    let outcome = runtime.block_on(async { serve(tokio::io::join(input(), output()), ports.into()).await });
    // A thread may be waiting for input that never comes.
    runtime.shutdown_background();
    outcome.map_err(RelayFailure::Broken)
}

/// Standard input. A pipe is watched: on a thread for blocking calls, each read would cost two
/// changes of threads.
fn input() -> Box<dyn AsyncRead + Unpin + Send> {
    match watched(io::stdin().as_fd()).and_then(pipe::Receiver::from_file_unchecked) {
        Ok(pipe) => Box::new(pipe),
        Err(_is_a_file) => Box::new(tokio::io::stdin()),
    }
}

/// Standard output, in the same way.
fn output() -> Box<dyn AsyncWrite + Unpin + Send> {
    match watched(io::stdout().as_fd()).and_then(pipe::Sender::from_file_unchecked) {
        Ok(pipe) => Box::new(pipe),
        Err(_is_a_file) => Box::new(tokio::io::stdout()),
    }
}

/// Reads and writes of it do not block any more.
fn watched(stream: BorrowedFd<'_>) -> io::Result<File> {
    let flags = OFlag::from_bits_retain(fcntl(stream, FcntlArg::F_GETFL)?);
    fcntl(stream, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(stream.try_clone_to_owned()?.into())
}

/// Under `srun --unbuffered` the output is a terminal, which would change bytes.
fn leave_bytes_alone() -> io::Result<()> {
    let output = io::stdout();
    if isatty(&output).unwrap_or(false) {
        let mut terminal = tcgetattr(&output)?;
        cfmakeraw(&mut terminal);
        tcsetattr(&output, SetArg::TCSANOW, &terminal)?;
    }
    Ok(())
}

async fn serve<S>(stream: S, ports: Arc<[u16]>) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let ports = Arc::clone(&ports);
        async move { Ok::<_, Infallible>(answer(request, &ports).await) }
    });
    http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(ALL_WINDOW)
        .max_frame_size(FRAME)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(request: Request<Incoming>, ports: &[u16]) -> Response<Empty<Bytes>> {
    let mut answer = Response::new(Empty::new());
    let connected = match target(&request, ports) {
        Ok(target) => connect(target).await,
        Err(refused) => Err(refused),
    };
    let mut application = match connected {
        Ok(application) => application,
        Err(refused) => {
            *answer.status_mut() = refused.status();
            return answer;
        }
    };
    tokio::spawn(async move {
        // One that fails has ended for both.
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let mut instance = TokioIo::new(upgraded);
            let _ = tokio::io::copy_bidirectional_with_sizes(&mut instance, &mut application, BUFFER, BUFFER).await;
        }
    });
    answer
}

/// The target of a request, if it is one of this relay's.
fn target<B>(request: &Request<B>, ports: &[u16]) -> Result<SocketAddrV4, Refused> {
    let authority = request.uri().authority().ok_or(Refused::Target)?;
    match authority.as_str().parse() {
        Ok(SocketAddr::V4(target))
            if request.method() == Method::CONNECT
                && *target.ip() == Ipv4Addr::LOCALHOST
                && ports.contains(&target.port()) =>
        {
            Ok(target)
        }
        Ok(_) | Err(_) => Err(Refused::Target),
    }
}

/// Connects to a port at which this account listens. The same socket has to listen before and
/// after: another account could take the port in between.
async fn connect(target: SocketAddrV4) -> Result<TcpStream, Refused> {
    let uid = geteuid();
    let before = Listening::at(target.port()).of(uid)?;
    let connecting = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(target));
    let stream = connecting.await.ok().and_then(Result::ok).ok_or(Refused::NotThere)?;
    if Listening::at(target.port()).of(uid)? != before {
        return Err(Refused::NotThere);
    }
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

#[cfg(test)]
mod tests;
