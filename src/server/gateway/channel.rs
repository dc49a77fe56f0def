//! The server's end of the control channel: answers the gateway's queries and sends invalidations.
//!
//! One task reads the store, answers and invalidates, in order and on one stream. An answer that
//! was read before a revocation therefore cannot arrive after the invalidation. The gateway can
//! change nothing here. It can only cause the launch of a user's own instance, whose address the
//! same task sends when the instance is ready.

use std::collections::VecDeque;
use std::time::Duration;

use countersign_keys::identity::Username;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::invalidations::{ACK_MAX, Invalidation};
use countersign_ipc::alarm::Alarm;
use countersign_ipc::gateway_protocol::{
    Answer, Ended, FromGateway, FromServer, LINE_MAX, Question, USES_MAX, UsedKey,
};

/// Messages read and not yet answered. The gateway waits for its answers, so there are as many as
/// it has requests without a cached key.
const READ_AHEAD: usize = 64;

/// Launches that the gateway asked for and that are not ready. More are refused, because each takes
/// a process.
const LAUNCHES_MAX: usize = 64;

/// How long the gateway may take to read a message.
const WRITE_MAX: Duration = ACK_MAX;

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Disconnect {
    /// The gateway closed the line: it has exited.
    #[error("the gateway closed the control channel")]
    Closed,
    /// It sent an invalid message.
    #[error("the gateway sent an invalid message")]
    Gibberish,
    /// Reading or writing failed.
    #[error("the control channel broke")]
    Broken(#[source] std::io::Error),
    /// It did not read, or did not acknowledge, in time.
    #[error("the gateway did not acknowledge in time")]
    Deaf,
    /// The server was told to stop.
    #[error("the server is stopping")]
    Stopped,
}

/// Answers the gateway's queries.
pub(crate) trait QueryHandler {
    /// The answer, waiting for nothing but the store.
    fn answer(&self, question: &Question) -> Answer;
    /// Brings a user's instance up, if possible. Completes when the outcome is known.
    fn launch(&self, username: &Username) -> impl Future<Output = ()> + Send + 'static;
    /// Records that these keys were used.
    fn used(&self, keys: &[UsedKey]);
    /// Takes up an alarm of the gateway.
    fn alarmed(&self, alarm: Alarm, count: u64);
    /// Called when the gateway serves its sockets. Returns what it has to know first.
    fn gateway_is_ready(&self) -> Option<Ended>;
}

/// Converses until one side ends it. Also returns the invalidations that were sent and not
/// acknowledged; the caller keeps them until this gateway is known to be dead. `invalidations` is
/// reused for the next conversation.
pub(crate) async fn converse<S>(
    stream: S,
    queries: &impl QueryHandler,
    invalidations: &mut mpsc::Receiver<Invalidation>,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> (Disconnect, OpenInvalidations)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let (heard, mut messages) = mpsc::channel(READ_AHEAD);
    let listening = tokio::spawn(listen(reader, heard));
    let mut open = OpenInvalidations::default();
    let mut launches = JoinSet::new();
    let disconnect = loop {
        let deadline = open.deadline();
        let outcome = tokio::select! {
            biased;
            () = &mut *stop => {
                let _ = say(&mut writer, &FromServer::Stop).await;
                Err(Disconnect::Stopped)
            }
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Err(Disconnect::Deaf),
            Some(invalidation) = invalidations.recv() => {
                let message = open.number(invalidation);
                say(&mut writer, &message).await
            }
            Some(launched) = launches.join_next() => match launched {
                // Look the address up now: earlier invalidations have already been sent.
                Ok((id, username)) => {
                    let answer = queries.answer(&Question::Instance { username });
                    say(&mut writer, &FromServer::Answer { id, answer }).await
                }
                Err(error) => Err(Disconnect::Broken(error.into())),
            },
            message = messages.recv() => match message {
                Some(Ok(FromGateway::Ask { id, question: Question::Launch { username } })) => {
                    if launches.len() < LAUNCHES_MAX {
                        let launch = queries.launch(&username);
                        launches.spawn(async move {
                            launch.await;
                            (id, username)
                        });
                        Ok(())
                    } else {
                        say(&mut writer, &FromServer::Answer { id, answer: Answer::Failed }).await
                    }
                }
                Some(Ok(FromGateway::Ask { id, question })) => {
                    let answer = queries.answer(&question);
                    say(&mut writer, &FromServer::Answer { id, answer }).await
                }
                Some(Ok(FromGateway::Noted { notice })) => {
                    open.acknowledge(notice);
                    Ok(())
                }
                Some(Ok(FromGateway::Used { keys })) if keys.len() > USES_MAX => Err(Disconnect::Gibberish),
                Some(Ok(FromGateway::Used { keys })) => {
                    queries.used(&keys);
                    Ok(())
                }
                Some(Ok(FromGateway::Alarm { alarm, count })) => {
                    queries.alarmed(alarm, count);
                    Ok(())
                }
                Some(Ok(FromGateway::Ready)) => match queries.gateway_is_ready() {
                    Some(ended) => {
                        let (ack, _not_waited_for) = oneshot::channel();
                        let message = open.number(Invalidation { ended, ack });
                        say(&mut writer, &message).await
                    }
                    None => Ok(()),
                },
                Some(Err(disconnect)) => Err(disconnect),
                None => Err(Disconnect::Closed),
            },
        };
        if let Err(disconnect) = outcome {
            break disconnect;
        }
    };
    listening.abort();
    (disconnect, open)
}

/// Invalidations sent to this gateway and not acknowledged. Bounded by the gateway's life: it has
/// [`ACK_MAX`] for the oldest.
#[derive(Debug, Default)]
pub(crate) struct OpenInvalidations {
    told: u64,
    waiting: VecDeque<(u64, Instant, oneshot::Sender<()>)>,
}

impl OpenInvalidations {
    fn number(&mut self, invalidation: Invalidation) -> FromServer {
        self.told = self.told.saturating_add(1);
        self.waiting.push_back((self.told, Instant::now() + ACK_MAX, invalidation.ack));
        FromServer::Notice { notice: self.told, ended: invalidation.ended }
    }

    fn acknowledge(&mut self, up_to: u64) {
        while let Some((_, _, ack)) = self.waiting.pop_front_if(|(number, _, _)| *number <= up_to) {
            // The sender of the invalidation may be gone.
            let _ = ack.send(());
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|(_, deadline, _)| *deadline)
    }
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), message: &FromServer) -> Result<(), Disconnect> {
    // It may contain a TLS key.
    let mut line = Zeroizing::new(serde_json::to_vec(message).map_err(|error| Disconnect::Broken(error.into()))?);
    line.push(b'\n');
    match tokio::time::timeout(WRITE_MAX, writer.write_all(&line)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Disconnect::Broken(error)),
        Err(_elapsed) => Err(Disconnect::Deaf),
    }
}

async fn listen(reader: impl AsyncRead + Unpin, heard: mpsc::Sender<Result<FromGateway, Disconnect>>) {
    let mut reader = BufReader::new(reader);
    loop {
        let message = hear(&mut reader).await;
        let is_last = message.is_err();
        if heard.send(message).await.is_err() || is_last {
            return;
        }
    }
}

async fn hear(reader: &mut BufReader<impl AsyncRead + Unpin>) -> Result<FromGateway, Disconnect> {
    let mut line = Vec::new();
    let line_max = u64::try_from(LINE_MAX).unwrap_or(u64::MAX);
    reader.take(line_max).read_until(b'\n', &mut line).await.map_err(Disconnect::Broken)?;
    match line.split_last() {
        None => Err(Disconnect::Closed),
        Some((b'\n', message)) => serde_json::from_slice(message).map_err(|_error| Disconnect::Gibberish),
        Some(_) => Err(Disconnect::Gibberish),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::invalidations::invalidations;
    use countersign_ipc::gateway_protocol::{Ended, Whereabouts};
    use countersign_keys::identity::KeyId;
    use std::sync::Arc;
    use tokio::net::UnixStream;
    use tokio::sync::Semaphore;

    struct Silent;

    impl QueryHandler for Silent {
        fn answer(&self, _: &Question) -> Answer {
            Answer::Failed
        }
        fn launch(&self, _: &Username) -> impl Future<Output = ()> + Send + 'static {
            std::future::ready(())
        }
        fn used(&self, _: &[UsedKey]) {}
        fn alarmed(&self, _: Alarm, _: u64) {}

        fn gateway_is_ready(&self) -> Option<Ended> {
            None
        }
    }

    /// Completes its launches when there is a permit for each.
    struct Launching(Arc<Semaphore>);

    impl QueryHandler for Launching {
        fn answer(&self, question: &Question) -> Answer {
            match question {
                Question::Instance { .. } => Answer::Instance { instance: Whereabouts::Down },
                Question::Key { .. }
                | Question::KeysV1 { .. }
                | Question::Launch { .. }
                | Question::InstanceKey { .. }
                | Question::Signer { .. }
                | Question::Link { .. }
                | Question::StepUp { .. }
                | Question::Assertion { .. }
                | Question::Metrics
                | Question::Health => Answer::Failed,
            }
        }
        fn launch(&self, _: &Username) -> impl Future<Output = ()> + Send + 'static {
            let over = Arc::clone(&self.0);
            async move { over.acquire_owned().await.unwrap().forget() }
        }
        fn used(&self, _: &[UsedKey]) {}
        fn alarmed(&self, _: Alarm, _: u64) {}

        fn gateway_is_ready(&self) -> Option<Ended> {
            None
        }
    }

    fn alice() -> Username {
        Username::parse("alice").unwrap()
    }

    async fn read_line(stream: &mut BufReader<UnixStream>) -> FromServer {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn gateway_says(stream: &mut BufReader<UnixStream>, message: &FromGateway) {
        let mut line = serde_json::to_vec(message).unwrap();
        line.push(b'\n');
        stream.write_all(&line).await.unwrap();
    }

    async fn disconnect_after(said: &[u8]) -> Disconnect {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (_invalidations, mut receiver) = invalidations();
        let says = async {
            // It may be given up before it has said all.
            let _ = theirs.write_all(said).await;
            let _ = theirs.shutdown().await;
        };
        let mut never = std::future::pending();
        let (talk, ()) = tokio::join!(converse(ours, &Silent, &mut receiver, &mut never), says);
        talk.0
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_conversation() {
        assert!(matches!(disconnect_after(b"").await, Disconnect::Closed));
        assert!(matches!(disconnect_after(b"{\"say\":\"ready\"}\n").await, Disconnect::Closed));
        assert!(matches!(disconnect_after(b"hello\n").await, Disconnect::Gibberish));
        assert!(matches!(disconnect_after(b"{\"say\":\"ready\"}").await, Disconnect::Gibberish));
        assert!(matches!(disconnect_after(b"{\"say\":\"add_key\"}\n").await, Disconnect::Gibberish));
        assert!(matches!(disconnect_after(&vec![b' '; LINE_MAX + 1]).await, Disconnect::Gibberish));
    }

    #[tokio::test]
    async fn questions_are_answered_and_notices_noted() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (line, mut receiver) = invalidations();
        let talk =
            tokio::spawn(async move { converse(ours, &Silent, &mut receiver, &mut std::future::pending()).await });
        let mut theirs = BufReader::new(theirs);
        let question = Question::Instance { username: alice() };
        gateway_says(&mut theirs, &FromGateway::Ask { id: 7, question }).await;
        assert!(matches!(read_line(&mut theirs).await, FromServer::Answer { id: 7, answer: Answer::Failed }));

        let ended = Ended::Key { username: alice(), kid: KeyId::from_bytes([1; 16]) };
        let told = tokio::spawn({
            let line = line.clone();
            async move { line.tell(ended).await }
        });
        assert!(matches!(read_line(&mut theirs).await, FromServer::Notice { notice: 1, .. }));
        assert!(!told.is_finished());
        gateway_says(&mut theirs, &FromGateway::Noted { notice: 1 }).await;
        told.await.unwrap();
        drop(theirs);
        assert!(matches!(talk.await.unwrap().0, Disconnect::Closed | Disconnect::Broken(_)));
    }

    #[tokio::test]
    async fn a_launch_is_answered_when_it_is_over_and_holds_up_nobody() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (line, mut receiver) = invalidations();
        let over = Arc::new(Semaphore::new(0));
        let queries = Launching(Arc::clone(&over));
        tokio::spawn(async move { converse(ours, &queries, &mut receiver, &mut std::future::pending()).await });
        let mut theirs = BufReader::new(theirs);
        let launch = |id: u64| FromGateway::Ask { id, question: Question::Launch { username: alice() } };
        for id in 0..=u64::try_from(LAUNCHES_MAX).unwrap() {
            gateway_says(&mut theirs, &launch(id)).await;
        }
        // The surplus launch is answered at once, and so is every other query.
        assert!(matches!(read_line(&mut theirs).await, FromServer::Answer { id: 64, answer: Answer::Failed }));
        gateway_says(&mut theirs, &FromGateway::Ask { id: 99, question: Question::Instance { username: alice() } })
            .await;
        assert!(matches!(read_line(&mut theirs).await, FromServer::Answer { id: 99, .. }));
        let told = tokio::spawn(async move { line.tell(Ended::Instance { username: alice() }).await });
        assert!(matches!(read_line(&mut theirs).await, FromServer::Notice { notice: 1, .. }));
        gateway_says(&mut theirs, &FromGateway::Noted { notice: 1 }).await;
        told.await.unwrap();
        over.add_permits(1);
        let answered = read_line(&mut theirs).await;
        assert!(
            matches!(answered, FromServer::Answer { answer: Answer::Instance { instance: Whereabouts::Down }, .. }),
            "{answered:?}"
        );
        gateway_says(&mut theirs, &launch(100)).await;
        over.add_permits(LAUNCHES_MAX);
        for _ in 0..LAUNCHES_MAX {
            assert!(matches!(read_line(&mut theirs).await, FromServer::Answer { answer: Answer::Instance { .. }, .. }));
        }
    }

    #[tokio::test]
    async fn p6_a_gateway_that_does_not_take_note_is_given_up() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (line, mut receiver) = invalidations();
        let told = tokio::spawn(async move { line.tell(Ended::User { username: alice() }).await });
        let before = Instant::now();
        let (disconnect, open) = converse(ours, &Silent, &mut receiver, &mut std::future::pending()).await;
        assert!(matches!(disconnect, Disconnect::Deaf));
        assert!(before.elapsed() < Duration::from_secs(1));
        assert!(!told.is_finished(), "it may still be acting on what has ended");
        drop(open);
        told.await.unwrap();
    }
}
