//! Serves a socket for Core's calls on the user's behalf. The instance verifies each message like a
//! request before it does anything (V53).
//!
//! Answers of several streams share the socket. It is closed when the last stream has ended:
//! today's Core waits for that.

use std::collections::HashMap;
use std::time::Duration;

use countersign_keys::identity::Username;
use countersign_keys::policy::Permit;
use countersign_keys::request::RequestRejection;
use countersign_keys::secret::Secret;
use countersign_keys::verify::Rejection;
use futures_util::{SinkExt as _, StreamExt as _};
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::frames::{STREAM_ID_MAX, message, response};
use super::key_watch::KeyWatch;
use crate::call::{Call, NOT_OFFERED, Search};
use crate::files::entry::ProviderFile;
use crate::files::error::FilesError;
use crate::jobs::Jobs;
use crate::jobs::follow::{Channel, Piece};
use crate::search::Searches;
use crate::state::Instance;
use crate::verifier::{AuditContext, Refusal};
use countersign_ipc::error_code::ErrorCode;

/// The longest message, in bytes. The gateway accepts 1 MiB and adds a token, and perhaps a
/// deposited intent.
pub(super) const MESSAGE_MAX: usize = 1536 * 1024;
/// Most streams of a socket at once.
const STREAMS_MAX: usize = 64;
/// Most answers that wait while the socket takes none.
const OUTBOUND_MAX: usize = 4;
/// How long a socket may be open before its first message.
const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// How long sending one answer to the gateway may take.
const SEND_MAX: Duration = Duration::from_secs(60);

/// A message, as the gateway writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written<'m> {
    call: String,
    stream_id: String,
    #[serde(borrow)]
    payload: &'m RawValue,
    #[serde(default)]
    bearer: Option<String>,
    #[serde(default)]
    signed_intent: Option<String>,
    #[serde(default, rename = "project")]
    _project: Option<String>,
}

/// Call, stream and payload of a message.
#[cfg(fuzzing)]
pub(super) fn fuzzed(text: &str) -> Option<(String, String, String)> {
    let written: Written<'_> = serde_json::from_str(text).ok()?;
    Some((written.call, written.stream_id, written.payload.get().to_owned()))
}

/// Ends a stream of the same socket. It needs no signature.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Cancel {
    r#type: String,
    stream_id: String,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum SearchMessage {
    Result { batch: Vec<ProviderFile> },
    EndOfResults {},
}

/// A piece of a job's output, or, without one, its end. The stream's id is Core's own business.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogMessage<'a> {
    stream_id: &'a str,
    rank: u32,
    stdout: Option<&'a str>,
    stderr: Option<&'a str>,
    channel: Option<&'a str>,
}

impl<'a> LogMessage<'a> {
    fn of(piece: Option<&'a Piece>) -> Self {
        let text = |channel| piece.filter(|piece| piece.channel == channel).map(|piece| piece.text.as_str());
        let (stdout, stderr) = (text(Channel::Stdout), text(Channel::Stderr));
        Self { stream_id: "", rank: piece.map_or(0, |piece| piece.rank), stdout, stderr, channel: None }
    }
}

/// A socket that was opened in a user's name. Each message proves whether it is theirs.
pub(super) struct Rpc {
    pub(super) head: Parts,
    pub(super) username: Username,
    /// Core's token from the head of the upgrade request. A message may bring another.
    pub(super) token: Option<Secret<String>>,
}

struct Streams {
    tasks: JoinSet<()>,
    names: HashMap<Id, String>,
    handles: HashMap<String, AbortHandle>,
    outbound: mpsc::Sender<Message>,
}

impl Streams {
    fn begin(&mut self, stream_id: String, work: impl Future<Output = ()> + Send + 'static) -> Result<(), ErrorCode> {
        if self.tasks.len() >= STREAMS_MAX {
            return Err(ErrorCode::TooMany);
        }
        let handle = self.tasks.spawn(work);
        self.names.insert(handle.id(), stream_id.clone());
        // A client that uses a stream id twice can no longer cancel the earlier stream.
        self.handles.insert(stream_id, handle);
        Ok(())
    }

    fn cancel(&mut self, stream_id: &str) {
        if let Some(handle) = self.handles.remove(stream_id) {
            handle.abort();
        }
    }

    fn ended(&mut self, id: Id) {
        if let Some(name) = self.names.remove(&id)
            && self.handles.get(&name).is_some_and(|handle| handle.id() == id)
        {
            self.handles.remove(&name);
        }
    }
}

impl Rpc {
    /// Serves the socket until it ends.
    pub(super) async fn run<S>(self, instance: &Instance, mut socket: WebSocketStream<S>, key_watch: &KeyWatch<'_>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (outbound, mut outgoing) = mpsc::channel(OUTBOUND_MAX);
        let mut streams = Streams { tasks: JoinSet::new(), names: HashMap::new(), handles: HashMap::new(), outbound };
        let first_by = Instant::now() + FIRST_WITHIN;
        let mut is_used = false;
        loop {
            if is_used && streams.tasks.is_empty() && outgoing.is_empty() {
                break;
            }
            let answer = tokio::select! {
                incoming = socket.next() => match incoming {
                    Some(Ok(Message::Text(text))) => {
                        is_used = true;
                        self.receive(instance, key_watch, &text, &mut streams)
                    }
                    Some(Ok(Message::Close(_) | Message::Binary(_)) | Err(_)) | None => return,
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => None,
                },
                answer = outgoing.recv() => answer,
                Some(ended) = streams.tasks.join_next_with_id() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(error) => error.id(),
                    };
                    streams.ended(id);
                    None
                }
                () = sleep_until(first_by), if !is_used => break,
            };
            if let Some(answer) = answer
                && !matches!(timeout(SEND_MAX, socket.send(answer)).await, Ok(Ok(())))
            {
                return;
            }
        }
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = timeout(SEND_MAX, socket.close(Some(frame))).await;
    }

    /// Verifies a message and begins its work. Returns the immediate answer, if there is one.
    fn receive(
        &self,
        instance: &Instance,
        key_watch: &KeyWatch<'_>,
        text: &str,
        streams: &mut Streams,
    ) -> Option<Message> {
        // The gateway writes no other messages, so an error answer would reach no client.
        let written = serde_json::from_str::<Written<'_>>(text).ok();
        let written = written.filter(|written| written.stream_id.len() <= STREAM_ID_MAX)?;
        if let Ok(cancel) = serde_json::from_str::<Cancel>(written.payload.get())
            && cancel.r#type == "cancel"
        {
            streams.cancel(&cancel.stream_id);
            return None;
        }
        let mut audit = AuditContext::default();
        let outcome = self.verify(instance, &written, &mut audit);
        let begun = instance.log_decision(&self.head, &audit, outcome).map_err(|denied| (denied.code, denied.why));
        let begun = begun.and_then(|permit| {
            if let Some(kid) = audit.kid {
                key_watch.add(permit.username(), kid);
            }
            begin(&permit, instance, &written.stream_id, streams)
        });
        begun.err().map(|(code, why)| refused(&written.stream_id, code, &why))
    }

    fn verify<'r>(
        &'r self,
        instance: &Instance,
        written: &'r Written<'_>,
        audit: &mut AuditContext,
    ) -> Result<Permit<'r, 'r>, Refusal> {
        let given = |text: &'r Option<String>| text.as_deref().filter(|text| !text.is_empty());
        let token = given(&written.bearer).or(self.token.as_ref().map(|token| token.expose().as_str()));
        let token = token.ok_or_else(|| Rejection::from(RequestRejection::NoToken))?;
        let payload = written.payload.get().as_bytes();
        let (path, call, intent) = (self.head.uri.path(), written.call.as_str(), given(&written.signed_intent));
        instance.verifier.verify_message((path, call), token, &self.username, intent, payload, audit)
    }
}

/// Begins the work of a permitted message.
fn begin(
    permit: &Permit<'_, '_>,
    instance: &Instance,
    stream_id: &str,
    streams: &mut Streams,
) -> Result<(), (ErrorCode, String)> {
    let (stream, outbound) = (stream_id.to_owned(), streams.outbound.clone());
    let begun = match Call::of(permit) {
        Call::Search(query) => {
            streams.begin(stream.clone(), search(instance.sockets.searches.clone(), query, stream, outbound))
        }
        Call::Follow { id } => streams.begin(stream.clone(), follow(instance.jobs.clone(), id, stream, outbound)),
        Call::Refused(why) => return Err((ErrorCode::NotFound, why.to_owned())),
        // The rest comes as requests, or is not offered.
        Call::Files(_)
        | Call::Issue(_)
        | Call::Drives(_)
        | Call::InstallSshKeys { .. }
        | Call::ControlTask(_)
        | Call::Jobs(_)
        | Call::Links(_)
        | Call::Licences(_)
        | Call::NotOffered => return Err((ErrorCode::NotFound, NOT_OFFERED.to_owned())),
    };
    begun.map_err(|code| (code, code.why().to_owned()))
}

/// Sends a job's output as it comes, and after its end the last message.
async fn follow(jobs: Jobs, id: String, stream_id: String, outbound: mpsc::Sender<Message>) {
    let (pieces, mut come) = mpsc::channel(OUTBOUND_MAX);
    let sending = async {
        while let Some(piece) = come.recv().await {
            if outbound.send(message(&stream_id, &LogMessage::of(Some(&piece)))).await.is_err() {
                come.close();
            }
        }
    };
    let (outcome, ()) = tokio::join!(jobs.follow(&id, pieces), sending);
    let last = match outcome {
        Ok(()) => response(&stream_id, 200, &LogMessage::of(None)),
        Err(error) => refused(&stream_id, error.error_code(), &error.to_string()),
    };
    let _ = outbound.send(last).await; // fails if the socket has ended
}

async fn search(
    searches: Searches,
    Search { query, folder }: Search,
    stream_id: String,
    outbound: mpsc::Sender<Message>,
) {
    let sending = async {
        let mut found = searches.begin(&query, folder.as_deref()).await?;
        while let Some(batch) = found.next().await {
            if outbound.send(message(&stream_id, &SearchMessage::Result { batch })).await.is_err() {
                return Ok(None);
            }
        }
        Ok::<_, FilesError>(Some(response(&stream_id, 200, &SearchMessage::EndOfResults {})))
    };
    let last = sending.await.unwrap_or_else(|error| Some(refused(&stream_id, error.error_code(), &error.to_string())));
    if let Some(last) = last {
        let _ = outbound.send(last).await; // fails if the socket has ended
    }
}

/// The last message of a refused stream, with the status and text that a request would get.
fn refused(stream_id: &str, code: ErrorCode, why: &str) -> Message {
    response(stream_id, code.number(), &code.last_payload(why))
}
