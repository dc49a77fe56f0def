//! Sends checkpoints to witnesses: a file, syslog, a URL. A witness can detect that a log was
//! rolled back or rewritten.
//!
//! A failure is logged and delays nothing. A log without witnesses is as correct as before; only
//! less can be proved about it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;

use countersign_audit::witness_format;
use countersign_config::Witness;

/// The socket of the system's log.
const SYSLOG: &str = "/dev/log";

/// Facility `authpriv`, severity `notice`.
const PRIORITY: &str = "<85>";

/// Timeout of a POST to a URL.
const POST_MAX: Duration = Duration::from_secs(10);

/// The witnesses of one log.
#[derive(Debug)]
pub(crate) struct Witnesses {
    file: Option<PathBuf>,
    syslog: Option<PathBuf>,
    url: Option<watch::Sender<String>>,
    every: Duration,
    /// The last checkpoint sent, and when.
    sent: Option<(Instant, String)>,
}

impl Witnesses {
    /// The configured witnesses. Must be called within a runtime if one is a URL.
    pub(crate) fn new(config: &Witness) -> Self {
        let url = config.url.as_ref().map(|url| {
            let (sender, notes) = watch::channel(String::new());
            tokio::spawn(post(url.clone(), notes));
            sender
        });
        let syslog = config.syslog.then(|| PathBuf::from(SYSLOG));
        Self { file: config.file.clone(), syslog, url, every: config.every, sent: None }
    }

    /// Sends a checkpoint, if it differs from the last one and the interval has passed.
    pub(crate) fn tell(&mut self, note: &str, is_last: bool) {
        let is_due = match &self.sent {
            None => true,
            Some((when, what)) => what != note && (is_last || when.elapsed() >= self.every),
        };
        if !is_due {
            return;
        }
        if let Some(Err(error)) = self.file.as_deref().map(|path| append(path, note)) {
            tracing::error!(%error, "cannot write a checkpoint to audit.witness_file");
        }
        if let Some(Err(error)) = self.syslog.as_deref().map(|path| log(path, note)) {
            tracing::error!(%error, "cannot send a checkpoint to the system's log");
        }
        if let Some(url) = &self.url {
            url.send_replace(note.to_owned());
        }
        self.sent = Some((Instant::now(), note.to_owned()));
    }
}

fn append(path: &Path, note: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    file.write_all(note.as_bytes())
}

fn log(path: &Path, note: &str) -> io::Result<()> {
    let Some(line) = witness_format::to_line(note) else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to(format!("{PRIORITY}countersign: {line}").as_bytes(), path).map(|_sent| ())
}

/// Posts the latest checkpoint whenever it changes.
async fn post(url: String, mut notes: watch::Receiver<String>) {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let connector = match HttpsConnectorBuilder::new().with_provider_and_native_roots(provider) {
        Ok(builder) => builder.https_or_http().enable_http1().build(),
        Err(error) => return tracing::error!(%error, "cannot reach audit.witness_url: no certificates"),
    };
    let client = Client::builder(TokioExecutor::new()).build(connector);
    while notes.changed().await.is_ok() {
        let note = notes.borrow_and_update().clone();
        let request = Request::post(url.as_str()).header(CONTENT_TYPE, "text/plain; charset=utf-8");
        let Ok(request) = request.body(Full::new(Bytes::from(note))) else { return };
        match tokio::time::timeout(POST_MAX, client.request(request)).await {
            Ok(Ok(answer)) if answer.status().is_success() => {}
            Ok(Ok(answer)) => tracing::error!(status = %answer.status(), "audit.witness_url refused a checkpoint"),
            Ok(Err(error)) => tracing::error!(%error, "cannot reach audit.witness_url"),
            Err(_elapsed) => tracing::error!("audit.witness_url did not answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::net::TcpListener;

    use super::*;

    const NOTE: &str = "a/log\n7\nroot\n\n\u{2014} a/log signature\n";

    fn to(directory: &Path) -> Witnesses {
        let syslog = Some(directory.join("log"));
        Witnesses {
            file: Some(directory.join("kept")),
            syslog,
            url: None,
            every: Duration::from_secs(3600),
            sent: None,
        }
    }

    #[test]
    fn a_checkpoint_goes_to_the_file_and_the_systems_log_when_its_time_has_come() {
        let directory = tempfile::tempdir().unwrap();
        let syslog = UnixDatagram::bind(directory.path().join("log")).unwrap();
        let mut witnesses = to(directory.path());
        witnesses.tell(NOTE, false);
        witnesses.tell(&NOTE.replace('7', "8"), false);
        witnesses.tell(&NOTE.replace('7', "9"), true);
        witnesses.tell(&NOTE.replace('7', "9"), true);
        let kept = std::fs::read_to_string(directory.path().join("kept")).unwrap();
        assert_eq!(kept, format!("{NOTE}{}", NOTE.replace('7', "9")));
        let mut bytes = [0; 200];
        let length = syslog.recv(&mut bytes).unwrap();
        let line = std::str::from_utf8(bytes.get(..length).unwrap_or_default()).unwrap();
        assert_eq!(line, "<85>countersign: countersign checkpoint: a/log 7 root signature");
        assert_eq!(witness_format::notes(line), [NOTE]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_checkpoint_is_posted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/checkpoints", listener.local_addr().unwrap());
        let config = Witness { file: None, syslog: false, url: Some(url), every: Duration::from_secs(60) };
        let mut witnesses = Witnesses::new(&config);
        witnesses.tell(NOTE, false);
        let heard = tokio::task::spawn_blocking(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).unwrap();
            }
            let mut body = vec![0; NOTE.len()];
            reader.read_exact(&mut body).unwrap();
            (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            (head, String::from_utf8(body).unwrap())
        });
        let (head, body) = heard.await.unwrap();
        assert!(head.starts_with("POST /checkpoints HTTP/1.1\r\n"), "{head}");
        assert_eq!(body, NOTE);
    }
}
