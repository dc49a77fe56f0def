//! The gateway's end of the control channel. Acts on the server's messages in the order they were
//! sent.
//!
//! The gateway ends with the channel: without the server it could not learn of revocations, so it
//! must not serve (P6, P8).

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use zeroize::Zeroize as _;

use crate::rules::CurrentRules;
use crate::server_link::key_cache::KeyCache;
use crate::tls::CurrentKey;
use crate::upstream::Upstreams;
use countersign_config::{GatewayRules, Maintenance, Tls, TlsFiles};
use countersign_ipc::gateway_protocol::{Ended, FromGateway, FromServer, LINE_MAX};
use countersign_os::log::Chain;

/// Unsent lines. Each is the query of a request that waits for its answer.
const UNSENT_MAX: usize = 2_048;

/// How long the server may take to read a line. This channel is all that it reads there.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// Why the channel ended.
#[derive(Debug, thiserror::Error)]
pub enum LineEnd {
    /// The server asked the gateway to stop.
    #[error("the server asked the gateway to stop")]
    Stop,
    #[error("the server closed the control line")]
    Closed,
    /// An I/O error, or the server does not read.
    #[error("the control line broke")]
    Broken(#[from] std::io::Error),
    /// A line is not a valid message.
    #[error("the server sent an invalid message")]
    Message(#[from] serde_json::Error),
    /// A line is longer than [`LINE_MAX`].
    #[error("the server sent a line of more than {LINE_MAX} bytes")]
    TooLong,
}

/// State that the server's notices change, beside the keys and addresses.
pub(crate) struct Renewable {
    /// By which requests are judged.
    pub(crate) rules: Arc<CurrentRules>,
    /// Idle connections, of which those to instances that end are closed.
    pub(crate) upstreams: Arc<Upstreams>,
    /// The certificate and key in use, and the files that hold them.
    pub(crate) tls: Option<(Tls, Arc<CurrentKey>)>,
}

impl Renewable {
    fn take_up(&self, told: GatewayRules) {
        let is_maintenance = told.maintenance != Maintenance::None;
        match self.rules.take_up(told) {
            Ok(()) => tracing::info!(maintenance = is_maintenance, "applied configuration"),
            Err(failure) => tracing::error!("rejected new configuration, kept the old one: {}", Chain(&failure)),
        }
    }

    fn renew(&self, files: &TlsFiles) {
        let Some((tls, current)) = &self.tls else { return };
        match tls.certified(files) {
            Ok(key) => {
                current.set(key);
                tracing::info!(certificate = %tls.certificate.display(), "loaded certificate");
            }
            Err(error) => tracing::error!("rejected new certificate, kept the old one: {}", Chain(&error)),
        }
    }
}

/// The channel, and the queue of messages to send.
pub(crate) struct ControlLine {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    unsent: mpsc::Receiver<FromGateway>,
    say: mpsc::Sender<FromGateway>,
}

impl ControlLine {
    /// Takes the stream that the server made.
    pub(crate) fn new(stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        let (say, unsent) = mpsc::channel(UNSENT_MAX);
        Self { reader: BufReader::new(reader), writer, unsent, say }
    }

    /// The queue of messages to send.
    pub(crate) fn say(&self) -> mpsc::Sender<FromGateway> {
        self.say.clone()
    }

    /// Runs until the channel ends.
    pub(crate) async fn run(mut self, key_cache: Arc<KeyCache>, renewable: Renewable) -> LineEnd {
        let writing = write_lines(&mut self.writer, &mut self.unsent);
        let reading = read_lines(&mut self.reader, &key_cache, &renewable, &self.say);
        tokio::select! {
            end = writing => end,
            end = reading => end,
        }
    }
}

async fn read_lines<R: AsyncBufRead + Unpin>(
    reader: &mut R,
    key_cache: &KeyCache,
    renewable: &Renewable,
    say: &mpsc::Sender<FromGateway>,
) -> LineEnd {
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(LINE_MAX).unwrap_or(u64::MAX);
        match (&mut *reader).take(limit).read_until(b'\n', &mut line).await {
            Ok(0) => return LineEnd::Closed,
            Ok(_) if line.last() == Some(&b'\n') => {}
            Ok(length) if length < LINE_MAX => return LineEnd::Closed,
            Ok(_) => return LineEnd::TooLong,
            Err(error) => return LineEnd::Broken(error),
        }
        match serde_json::from_slice(&line) {
            Ok(FromServer::Answer { id, answer }) => key_cache.hear(id, answer),
            Ok(FromServer::Notice { notice, ended }) => {
                match ended {
                    Ended::Rules { rules } => {
                        renewable.take_up(*rules);
                        key_cache.forget_all();
                    }
                    Ended::Certificate { files } => {
                        renewable.renew(&files);
                        line.zeroize();
                    }
                    ended @ (Ended::Key { .. } | Ended::User { .. } | Ended::Instance { .. } | Ended::Link { .. }) => {
                        if let Some(gone) = key_cache.forget(&ended) {
                            renewable.upstreams.close(&gone);
                        }
                    }
                }
                if say.send(FromGateway::Noted { notice }).await.is_err() {
                    return LineEnd::Closed;
                }
            }
            Ok(FromServer::Stop) => return LineEnd::Stop,
            Err(error) => return LineEnd::Message(error),
        }
    }
}

async fn write_lines<W: AsyncWrite + Unpin>(writer: &mut W, unsent: &mut mpsc::Receiver<FromGateway>) -> LineEnd {
    let mut batch = Vec::new();
    while let Some(first) = unsent.recv().await {
        batch.clear();
        let mut next = Some(first);
        while let Some(message) = next {
            if let Err(error) = serde_json::to_writer(&mut batch, &message) {
                return LineEnd::Message(error);
            }
            batch.push(b'\n');
            next = if batch.len() < LINE_MAX { unsent.try_recv().ok() } else { None };
        }
        match tokio::time::timeout(WRITE_WITHIN, writer.write_all(&batch)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return LineEnd::Broken(error),
            Err(_elapsed) => return LineEnd::Broken(std::io::ErrorKind::TimedOut.into()),
        }
    }
    LineEnd::Closed
}

#[cfg(test)]
mod tests {
    use super::super::key_cache::Instance;
    use super::*;
    use crate::pages::call_table::CallTableDocument;
    use crate::rules::Rules;
    use countersign_keys::call::CallTable;
    use countersign_keys::freshness::Window;
    use countersign_keys::identity::{Origin, ProviderId, Uid, Username};
    use countersign_keys::intent::{Terms, Version1};
    use countersign_keys::policy::{Policy, StepUp};
    use countersign_keys::session::{ProofNeed, SealNeed};

    fn rules() -> Arc<CurrentRules> {
        let provider = ProviderId::parse("hpc").unwrap();
        let calls = CallTable::new(&provider, &[]).unwrap();
        let terms = Terms {
            audience: Origin::parse("https://hpc.example.org").unwrap(),
            window: Window { lifetime_max_s: 60, future_skew_s: 5 },
            version_1: Version1::Refused,
        };
        let rules = Rules {
            call_table: CallTableDocument::new(&calls, &StepUp::default()).unwrap(),
            calls: Arc::new(calls),
            policy: Policy { terms, step_up: StepUp::default() },
            proof: ProofNeed::Required,
            seal: SealNeed::Preferred,
            deposit_wait: Duration::from_millis(1_500),
            maintenance: Maintenance::None,
        };
        Arc::new(CurrentRules::new(provider, rules))
    }

    /// Starts a channel and returns the server's end.
    fn start() -> (BufReader<UnixStream>, tokio::task::JoinHandle<LineEnd>, Arc<KeyCache>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let line = ControlLine::new(ours);
        let key_cache = Arc::new(KeyCache::new(line.say()));
        let renewable = Renewable { rules: rules(), upstreams: Arc::new(Upstreams::new(Uid(0), 64)), tls: None };
        let running = tokio::spawn(line.run(Arc::clone(&key_cache), renewable));
        (BufReader::new(theirs), running, key_cache)
    }

    /// The new rules may let connections expire, and keys with them.
    #[tokio::test]
    async fn p6_what_was_cached_is_asked_again_after_new_rules() {
        let (mut server, _running, key_cache) = start();
        let alice = Username::parse("alice").unwrap();
        let ask = || {
            let (key_cache, alice) = (Arc::clone(&key_cache), alice.clone());
            tokio::spawn(async move { key_cache.signer(&alice).await.unwrap() })
        };
        let mut line = String::new();
        let has_key = |id: u64| {
            format!("{{\"say\":\"answer\",\"id\":{id},\"answer\":{{\"answer\":\"signer\",\"signer\":\"has_key\"}}}}\n")
        };
        let first = ask();
        server.read_line(&mut line).await.unwrap();
        server.write_all(has_key(1).as_bytes()).await.unwrap();
        first.await.unwrap();
        ask().await.unwrap(); // nothing is asked: the answer is cached
        let rules = concat!(
            r#"{"say":"notice","notice":1,"ended":{"ended":"rules","rules":{"calls":[],"step_up":{"calls":[],"raised":false},"#,
            r#""v1":"refused","deposit_wait_ms":0,"proof":"required","sealed":"preferred","maintenance":"none"}}}"#,
            "\n"
        );
        server.write_all(rules.as_bytes()).await.unwrap();
        line.clear();
        server.read_line(&mut line).await.unwrap();
        assert_eq!(line, "{\"say\":\"noted\",\"notice\":1}\n");
        let again = ask();
        line.clear();
        let asked = tokio::time::timeout(Duration::from_secs(10), server.read_line(&mut line)).await;
        asked.expect("the server is asked again").unwrap();
        assert!(line.contains("\"ask\":\"signer\""), "{line}");
        server.write_all(has_key(2).as_bytes()).await.unwrap();
        again.await.unwrap();
    }

    #[tokio::test]
    async fn a_question_is_answered_and_a_notice_noted() {
        let (mut server, _running, key_cache) = start();
        let asking = tokio::spawn(async move { key_cache.instance(&Username::parse("alice").unwrap()).await.unwrap() });
        let mut line = String::new();
        server.read_line(&mut line).await.unwrap();
        assert_eq!(line, "{\"say\":\"ask\",\"id\":1,\"question\":{\"ask\":\"instance\",\"username\":\"alice\"}}\n");
        let said = concat!(
            r#"{"say":"notice","notice":1,"ended":{"ended":"user","username":"bob"}}"#,
            "\n",
            r#"{"say":"answer","id":1,"answer":{"answer":"instance","instance":"down"}}"#,
            "\n"
        );
        server.write_all(said.as_bytes()).await.unwrap();
        assert!(matches!(asking.await.unwrap(), Instance::Down));
        line.clear();
        server.read_line(&mut line).await.unwrap();
        assert_eq!(line, "{\"say\":\"noted\",\"notice\":1}\n");
    }

    async fn check(said: &[u8], want: fn(&LineEnd) -> bool) {
        let (mut server, running, _directory) = start();
        server.write_all(said).await.unwrap();
        drop(server);
        let end = running.await.unwrap();
        assert!(want(&end), "{end:?}");
    }

    #[tokio::test]
    async fn whatever_ends_the_line_ends_the_gateway() {
        check(b"", |end| matches!(end, LineEnd::Closed)).await;
        check(b"{\"say\":\"stop\"}\n", |end| matches!(end, LineEnd::Stop)).await;
        check(b"{\"say\":\"st", |end| matches!(end, LineEnd::Closed)).await;
        check(b"{\"say\":\"other\"}\n", |end| matches!(end, LineEnd::Message(_))).await;
        check(&[b'x'; LINE_MAX], |end| matches!(end, LineEnd::TooLong)).await;
    }
}
