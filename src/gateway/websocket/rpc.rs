//! A socket for Core's calls on a user's behalf: verifies each message whole, like a request,
//! before it forwards a byte (V53).
//!
//! Terminates the WebSocket on both sides. Opens the one to the instance only for the first
//! permitted message.

use std::sync::Arc;
use std::time::Duration;

use countersign_keys::bind::Items;
use countersign_keys::core_token::Authenticated;
use countersign_keys::identity::Username;
use countersign_keys::intent::IntentRejection;
use countersign_keys::request::{INTENT_MAX, Presented, RequestRejection};
use countersign_keys::secret::Secret;
use countersign_keys::verify::Rejection;
use futures_util::StreamExt as _;
use futures_util::stream::SplitStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::close::{End, close_client, close_upstream};
use super::keepalive::{LastSeen, MESSAGES, UNSAID_MAX, limits, write};
use super::key_watch::KeyWatch;
use super::message::{Streams, Written};
use crate::exchange::Exchange;
use crate::limits::connections::{ClientConnection, Principal};
use crate::pipeline::forward::{self, ToInstance};
use crate::pipeline::instance::Reuse;
use crate::response::instance_answer::Content;
use crate::response::refusal::{Refusal, SocketRejection};
use crate::response::{self, Afterwards, Answer};
use crate::shutdown::shutdown_requested;
use crate::state::Gateway;
use crate::upstream::{Stream, Switching, UpstreamFailure};
use countersign_audit::Verdict;
use countersign_os::limits::{Bucket, InFlight};

/// How long a socket may stay open before its first call is permitted.
pub(super) const FIRST_WITHIN: Duration = Duration::from_secs(10);

/// The receiving half of the socket to the instance.
type FromInstance = SplitStream<WebSocketStream<Stream>>;

/// A socket opened for a user whom the handshake names; each message has to prove it.
pub(super) struct Rpc {
    pub(super) gateway: Arc<Gateway>,
    pub(super) path: String,
    pub(super) username: Username,
    /// Core's token from the handshake.
    pub(super) token: Option<Secret<String>>,
    /// The socket's place among those of its user that Core opened and on which nothing was
    /// permitted yet.
    pub(super) waiting: Option<InFlight<Username>>,
}

/// The state of one socket.
struct Work<'w> {
    rpc: &'w Rpc,
    /// The connection that became the socket.
    client: &'w Arc<ClientConnection>,
    streams: &'w Streams,
    key_watch: &'w KeyWatch<'w>,
    /// Messages to the client.
    say: mpsc::Sender<Message>,
    /// Receives the instance's side when it is open.
    opened: Option<oneshot::Sender<FromInstance>>,
    /// The socket's place until something was permitted on it.
    waiting: Option<InFlight<Username>>,
    /// The socket's place among its user's, after that.
    counted: Option<InFlight<Username>>,
}

enum Sent {
    On,
    /// The instance opened no socket, and sent this response.
    Answered(Box<Answer>),
}

impl Rpc {
    /// Serves the socket until it ends.
    pub(super) async fn run<S>(mut self, stream: S, mut stop: watch::Receiver<bool>, client: &Arc<ClientConnection>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits())).await;
        let (mut sink, mut source) = socket.split();
        let (say, mut unsaid) = mpsc::channel(UNSAID_MAX);
        let (opened, open) = oneshot::channel();
        let (streams, heard) = (Streams::default(), LastSeen::new());
        let waiting = self.waiting.take();
        let key_watch = KeyWatch::new(&self.gateway, &self.username);
        let (mut instance, mut in_hand) = (None, None);
        let mut work = Work {
            rpc: &self,
            client,
            streams: &streams,
            key_watch: &key_watch,
            say: say.clone(),
            opened: Some(opened),
            waiting,
            counted: None,
        };
        let end = tokio::select! {
            biased;
            () = shutdown_requested(&mut stop) => End::Stop,
            end = key_watch.ends() => end,
            end = relay(open, &say, &streams) => end,
            end = write(&mut sink, &mut unsaid, &mut in_hand, &heard) => end,
            end = work.listen(&mut source, &mut instance, &heard) => end,
        };
        if let End::KeyWatch(refusal) = &end {
            Exchange::on_socket(&self.gateway, client, &self.username).record_refusal(refusal, None);
        }
        drop((work, say));
        if let Some(instance) = instance {
            close_upstream(&end, instance).await;
        }
        close_client(&end, sink, source, in_hand, unsaid).await;
    }
}

/// Passes on the instance's messages once its side is open.
async fn relay(open: oneshot::Receiver<FromInstance>, say: &mpsc::Sender<Message>, streams: &Streams) -> End {
    let Ok(mut instance) = open.await else { return std::future::pending().await };
    loop {
        match instance.next().await {
            Some(Ok(Message::Text(text))) => {
                streams.hear(&text);
                if say.send(Message::Text(text)).await.is_err() {
                    return std::future::pending().await; // the writing side has ended and reports why
                }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(frame))) => return End::Closed(frame),
            Some(Ok(Message::Binary(_)) | Err(_)) | None => return End::Broken,
        }
    }
}

impl<'w> Work<'w> {
    /// Handles the client's messages until the client is gone or breaks a rule.
    async fn listen<S>(
        &mut self,
        source: &mut SplitStream<WebSocketStream<S>>,
        instance: &mut Option<ToInstance>,
        heard: &LastSeen,
    ) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let first_by = Instant::now() + FIRST_WITHIN;
        let mut pace = Bucket::default();
        loop {
            let message = match instance {
                Some(_) => source.next().await,
                None => match tokio::time::timeout_at(first_by, source.next()).await {
                    Ok(message) => message,
                    Err(_elapsed) => return self.ended(SocketRejection::Silent, None).await,
                },
            };
            heard.again();
            match message {
                Some(Ok(Message::Text(_))) if !pace.admits(&MESSAGES, Instant::now().into_std()) => {
                    return self.ended(SocketRejection::TooFast, None).await;
                }
                Some(Ok(Message::Text(text))) => {
                    if let Err(end) = self.hear(&text, instance).await {
                        return end;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Binary(_))) => return End::Protocol(CloseCode::Unsupported),
                Some(Ok(Message::Close(_))) | None => return End::Gone,
                Some(Err(error)) => return End::of(&error),
            }
        }
    }

    /// Verifies a message, then forwards or refuses it.
    async fn hear(&mut self, text: &str, instance: &mut Option<ToInstance>) -> Result<(), End> {
        let written = match Written::read(text) {
            Ok(Some(written)) => written,
            Ok(None) => return Ok(()),
            Err(refusal) => return Err(self.ended(refusal, None).await),
        };
        let mut exchange = self.exchange();
        match self.admit(&written, instance, &mut exchange).await {
            Ok(Sent::On) => Ok(()),
            Ok(Sent::Answered(answer)) => {
                self.say(response::last_of(*answer, &written.stream_id).await).await;
                if self.streams.is_empty() { Err(End::Policy) } else { Ok(()) }
            }
            Err(refusal) => {
                let (said, status, afterwards) = response::refused_stream(&refusal, &written.stream_id);
                exchange.record_refusal(&refusal, Some(status));
                self.say(said).await;
                let is_too_often = exchange.is_refused_too_often();
                match afterwards {
                    // Core has one call for a socket and waits until it is closed. A client with
                    // more open streams keeps those.
                    Afterwards::Keep if !is_too_often && !self.streams.is_empty() => Ok(()),
                    Afterwards::Keep | Afterwards::Close => Err(End::Policy),
                }
            }
        }
    }

    /// The pipeline of a request (`crate::pipeline::core`), for a message.
    async fn admit(
        &mut self,
        written: &Written<'_>,
        instance: &mut Option<ToInstance>,
        exchange: &mut Exchange<'_>,
    ) -> Result<Sent, Refusal> {
        let (gateway, username) = (&self.rpc.gateway, &self.rpc.username);
        let row = gateway.rules().calls.socket_row(&self.rpc.path, &written.call).ok_or(Rejection::NoSuchCall)?;
        exchange.call = Some(row.row().call().clone());
        gateway.check_maintenance(username)?;
        if let (Some(cancel), Some(instance)) = (written.cancels(), &mut *instance)
            && self.streams.has(&cancel.stream_id)
        {
            exchange.record(Verdict::Forward)?;
            forward::cancel(&cancel, written, instance).await?;
            return Ok(Sent::On);
        }
        let token = written.bearer().or(self.rpc.token.as_ref().map(|token| token.expose().as_str()));
        let token = token.ok_or(RequestRejection::NoToken)?;
        let presented = Presented::of_message(&row, token, username.clone(), written.intent(), INTENT_MAX)?;
        let Authenticated::User(request) = gateway.authenticate(presented, gateway.now()?)? else {
            return Err(Rejection::NoSuchCall.into());
        };
        exchange.authenticated_as(Principal::Core);

        let _in_flight = gateway.in_flight.begin(username).ok_or(Refusal::TooMany)?;
        let (from_message, epoch) = gateway.verify_if_present(username, request.intent()).await?;
        let items = Items::read(request.row(), written.payload())?;
        let until = Instant::now() + gateway.rules().deposit_wait;
        let deposit = gateway.deposit_for(request.row(), username, from_message.as_ref(), &items, until).await?;
        let intent = match (from_message, &deposit) {
            (Some(intent), _) => intent,
            (None, Some(deposit)) => deposit.intent.clone(),
            (None, None) => return Err(IntentRejection::Missing.into()),
        };
        let kid = intent.kid();
        exchange.kid = Some(kid);

        let authorised = gateway.authorise(request.intend(intent)?.bind(items)?, deposit.as_ref())?;
        let connection = match instance {
            Some(_) => None,
            None => Some(gateway.connect_or_start(Reuse::Fresh, username).await?),
        };
        // From here on the socket ends with this key; an earlier revocation is found by the check
        // in `consume`.
        self.key_watch.add(kid)?;
        let stream = self.streams.begin(&written.stream_id)?;
        if self.counted.is_none() {
            self.counted = Some(gateway.sockets.begin(username).ok_or(Refusal::TooMany)?);
            self.waiting = None;
        }
        let permit = exchange.consume(authorised, deposit, epoch).await?;
        if let Some(connection) = connection {
            match forward::socket(&permit, connection, &exchange.id).await? {
                Switching::Switched(switched) => {
                    let (sink, source) = switched.into_socket(limits()).await.split();
                    *instance = Some(sink);
                    let _ = self.opened.take().map(|opened| opened.send(source)); // the relay lives as long as this
                }
                Switching::Answered(answer) => {
                    exchange.compare_verdicts(&answer);
                    return Ok(Sent::Answered(Box::new(answer.pass_on(Content::Json)?)));
                }
            }
        }
        let instance = instance.as_mut().ok_or(UpstreamFailure::Absent)?;
        forward::message(permit, written, instance).await?;
        stream.done();
        Ok(Sent::On)
    }

    /// Refuses, records, and ends the socket for the client's fault.
    async fn ended(&self, refusal: impl Into<Refusal>, stream_id: Option<&str>) -> End {
        let refusal = refusal.into();
        let (said, status, _) = response::refused_stream(&refusal, stream_id.unwrap_or_default());
        self.exchange().record_refusal(&refusal, Some(status));
        self.say(said).await;
        End::Policy
    }

    fn exchange(&self) -> Exchange<'w> {
        Exchange::on_socket(&self.rpc.gateway, self.client, &self.rpc.username)
    }

    async fn say(&self, text: String) {
        let _ = self.say.send(Message::Text(text.into())).await; // fails if the writing side has ended
    }
}
