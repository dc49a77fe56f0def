//! A shell's socket: relays messages between the user and the user's instance, once token and proof
//! are verified.
//!
//! UCloud's page can send a proof only in its first message. The instance learns of the socket only
//! after that message is verified.

use std::sync::Arc;

use countersign_keys::call::SessionEndpoint;
use countersign_keys::identity::{KeyId, Username};
use countersign_keys::secret::Secret;
use countersign_keys::session::{Piece, PresentedSession, SessionRejection};
use futures_util::stream::SplitStream;
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::close::{End, close_client, close_upstream};
use super::keepalive::{LastSeen, MESSAGES, UNSAID_MAX, limits, write};
use super::key_watch::KeyWatch;
use super::message::Written;
use super::rpc::FIRST_WITHIN;
use super::session::Opened;
use crate::exchange::Exchange;
use crate::http1::upgrade::Key;
use crate::limits::connections::ClientConnection;
use crate::pipeline::forward::{self, ToInstance};
use crate::response::refusal::{Refusal, SocketRejection};
use crate::response::{self, Afterwards};
use crate::shutdown::shutdown_requested;
use crate::state::Gateway;
use countersign_os::limits::Bucket;

pub(super) struct Shell {
    pub(super) gateway: Arc<Gateway>,
    pub(super) username: Username,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    /// The token is verified, which alone opens nothing.
    AwaitsProof(Secret<String>),
    /// The instance's side is open.
    Open(Opened),
}

/// The token in a shell's first message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Initialise {
    pub(super) session_identifier: Option<String>,
}

impl Shell {
    /// Serves the socket until it ends.
    pub(super) async fn run<S>(self, stream: S, mut stop: watch::Receiver<bool>, client: &Arc<ClientConnection>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { gateway, username, stage } = self;
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits())).await;
        let (opened, first) = match stage {
            Stage::Open(opened) => (Ok(opened), None),
            Stage::AwaitsProof(token) => {
                let waiting = Waiting { gateway: &gateway, username: &username, token: &token, client };
                let opening = tokio::time::timeout(FIRST_WITHIN, waiting.open(&mut socket));
                let opened = tokio::select! {
                    biased;
                    () = shutdown_requested(&mut stop) => Err(End::Stop),
                    opened = opening => match opened {
                        Ok(opened) => opened,
                        Err(_elapsed) => Err(waiting.ended(SocketRejection::Silent)),
                    },
                };
                match opened {
                    Ok((opened, first)) => (Ok(opened), Some(first)),
                    Err(end) => (Err(end), None),
                }
            }
        };
        let (say, unsaid) = mpsc::channel(UNSAID_MAX);
        match opened {
            Err(end) => {
                let (sink, source) = socket.split();
                close_client(&end, sink, source, None, unsaid).await;
            }
            Ok(opened) => relay(&gateway, client, opened, first, socket, (say, unsaid), stop).await,
        }
    }
}

/// A shell without a verified proof.
struct Waiting<'w> {
    gateway: &'w Arc<Gateway>,
    username: &'w Username,
    token: &'w Secret<String>,
    client: &'w Arc<ClientConnection>,
}

impl Waiting<'_> {
    /// Handles the client's messages until one has a valid proof; forwards that one first.
    async fn open<S>(&self, socket: &mut WebSocketStream<S>) -> Result<(Opened, Utf8Bytes), End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut pace = Bucket::default();
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(_))) if !pace.admits(&MESSAGES, Instant::now().into_std()) => {
                    return Err(self.ended(SocketRejection::TooFast));
                }
                Some(Ok(Message::Text(text))) => {
                    if let Some(opened) = self.hear(&text, socket).await? {
                        return Ok((opened, text));
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Binary(_))) => return Err(End::Protocol(CloseCode::Unsupported)),
                Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
                Some(Err(error)) => return Err(End::of(&error)),
            }
        }
    }

    async fn hear<S>(&self, text: &str, socket: &mut WebSocketStream<S>) -> Result<Option<Opened>, End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut exchange = self.exchange();
        let read = Written::read(text);
        let stream_id = read.as_ref().ok().and_then(Option::as_ref).map(|written| written.stream_id.clone());
        let opening = async {
            let Some(written) = read? else { return Ok(None) };
            let token = self.token.expose();
            let initialise: Initialise =
                serde_json::from_slice(written.payload()).map_err(|_| SocketRejection::Message("no payload"))?;
            if initialise.session_identifier.is_some_and(|named| named != *token) {
                return Err(Refusal::from(SocketRejection::Message("of another session")));
            }
            let proof = written.intent().ok_or(SessionRejection::NoProof)?;
            let piece = Piece::default();
            let presented = PresentedSession::parse(SessionEndpoint::ShellSocket, token, Some(proof), piece)?;
            let key = Key::new().map_err(crate::response::refusal::Failure::from)?;
            exchange.open_session_socket(presented, &key).await.map(Some)
        };
        let (said, end) = match opening.await {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(opened))) => return Ok(Some(opened)),
            Ok(Some(Err(answer))) => {
                (response::message_of(answer, stream_id.as_deref().unwrap_or_default()).await, Some(End::Policy))
            }
            Err(refusal) => {
                let stream_id = stream_id.as_deref().unwrap_or_default();
                let (said, status, afterwards) = response::refused_message(&refusal, stream_id);
                exchange.record_refusal(&refusal, Some(status));
                (said, (afterwards == Afterwards::Close).then_some(End::Policy))
            }
        };
        socket.send(Message::Text(said.into())).await.map_err(|error| End::of(&error))?;
        end.map_or(Ok(None), Err)
    }

    /// Records the refusal, and ends the socket for what the client did or omitted.
    fn ended(&self, rejection: SocketRejection) -> End {
        self.exchange().record_refusal(&rejection.into(), None);
        End::Policy
    }

    fn exchange(&self) -> Exchange<'_> {
        Exchange::on_socket(self.gateway, self.client, self.username)
    }
}

/// Relays messages in both directions until one side closes or the user's key ends.
async fn relay<S>(
    gateway: &Arc<Gateway>,
    client: &Arc<ClientConnection>,
    opened: Opened,
    first: Option<Utf8Bytes>,
    socket: WebSocketStream<S>,
    (say, mut unsaid): (mpsc::Sender<Message>, mpsc::Receiver<Message>),
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Opened { username, kid, instance } = opened;
    let (mut instance, from_instance) = instance.into_socket(limits()).await.split();
    let (mut sink, mut source) = socket.split();
    let key_watch = KeyWatch::new(gateway, &username);
    let (heard, mut in_hand) = (LastSeen::new(), None);
    let end = match (gateway.sockets.begin(&username), is_counted(&key_watch, kid)) {
        (Some(_counted), true) => tokio::select! {
            biased;
            () = shutdown_requested(&mut stop) => End::Stop,
            end = key_watch.ends() => end,
            end = from(from_instance, &say) => end,
            end = write(&mut sink, &mut unsaid, &mut in_hand, &heard) => end,
            end = to(first, &mut source, &mut instance, &heard) => end,
        },
        (None, _) | (_, false) => End::Policy,
    };
    if let End::KeyWatch(refusal) = &end {
        Exchange::of_session(gateway, client, &username, kid).record_refusal(refusal, None);
    }
    drop(say);
    close_upstream(&end, instance).await;
    close_client(&end, sink, source, in_hand, unsaid).await;
}

fn is_counted(key_watch: &KeyWatch<'_>, kid: Option<KeyId>) -> bool {
    kid.is_none_or(|kid| key_watch.add(kid).is_ok())
}

async fn from(mut instance: SplitStream<WebSocketStream<crate::upstream::Stream>>, say: &mpsc::Sender<Message>) -> End {
    loop {
        match instance.next().await {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if say.send(message).await.is_err() {
                    return std::future::pending().await; // the writing side has ended and reports why
                }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(frame))) => return End::Closed(frame),
            Some(Err(_)) | None => return End::Broken,
        }
    }
}

async fn to<S>(
    first: Option<Utf8Bytes>,
    source: &mut SplitStream<WebSocketStream<S>>,
    instance: &mut ToInstance,
    heard: &LastSeen,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut next = first.map(Message::Text);
    loop {
        let message = match next.take() {
            Some(first) => Some(Ok(first)),
            None => source.next().await,
        };
        heard.again();
        match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if forward::of_session(message, instance).await.is_err() {
                    return End::Broken;
                }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_))) | None => return End::Gone,
            Some(Err(error)) => return End::of(&error),
        }
    }
}
