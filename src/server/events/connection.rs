//! Keeps one connection to Core's events, and hands on what it says.
//!
//! Core neither numbers events nor waits for an acknowledgement, and drops some under load. So each
//! connection begins some minutes before the last event that was handled, and once a day with all
//! of them. A moment is recorded only when the events before it are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use countersign_keys::store::projects::EventMoments;
use countersign_keys::time::Timestamp;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Bytes, Message};

use super::frames::{Event, FRAME_MAX, FrameRejection, Frames};
use super::project::UnusableProject;
use crate::core::client::{CoreCalls, CoreFailure};
use crate::http::reply::{Refusal, blocking};
use crate::projects::membership;
use crate::state::Server;
use countersign_os::log::Chain;

/// Core's path of the events.
const EVENTS: &str = "/api/accounting/notifications";

/// How far before the last handled event a replay begins, in seconds: clocks differ.
const BEFORE_S: i64 = 300;

/// How often Core is asked for all events, in seconds.
const REPLAY_EVERY_S: i64 = 86_400;

/// The pauses of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between two pings.
    ping: Duration,
    /// Silence after which the connection is given up. Core answers pings.
    silence: Duration,
    /// A replay has ended when no event came for so long.
    quiet: Duration,
    /// Shortest pause before the next connection, doubled after each failure, and the longest.
    retry: (Duration, Duration),
}

/// The pace of a real server.
const PACE: Pace = Pace {
    ping: Duration::from_secs(10),
    silence: Duration::from_secs(60),
    quiet: Duration::from_secs(10),
    retry: (Duration::from_secs(5), Duration::from_secs(60)),
};

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Core(#[from] CoreFailure),
    #[error("the connection broke")]
    Broken(#[from] tungstenite::Error),
    #[error("Core closed the connection")]
    Closed,
    #[error("Core has said nothing for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("Core sent an unusable frame")]
    Frame(#[from] FrameRejection),
    #[error("Core sent a frame that is not binary")]
    Text,
    #[error("an event cannot be taken up: {0}")]
    Work(Refusal),
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Work(refusal)
    }
}

/// Listens until the server ends.
pub(crate) async fn run(server: Arc<Server>, core: Arc<CoreCalls>) {
    if server.config.projects.is_some() {
        run_at(&server, &core, PACE).await;
    }
}

async fn run_at(server: &Arc<Server>, core: &CoreCalls, pace: Pace) {
    let mut pause = pace.retry.0;
    loop {
        let mut link = Link::new(server, pace);
        match link.listen(core).await {
            Ok(()) => pause = Duration::ZERO,
            Err(ended) => {
                tracing::warn!(cause = %Chain(&ended), "the connection to Core's events has ended");
                if link.is_replayed {
                    pause = Duration::ZERO;
                }
            }
        }
        pause = pause.saturating_mul(2).clamp(pace.retry.0, pace.retry.1);
        tokio::time::sleep(pause).await;
    }
}

/// One connection.
struct Link<'s> {
    server: &'s Arc<Server>,
    pace: Pace,
    frames: Frames,
    /// Reasons for which a project was skipped, each logged once.
    said: BTreeSet<UnusableProject>,
    /// Whether the replay with which the connection began has ended.
    is_replayed: bool,
    /// When the last event was handled, if that is not recorded.
    handled: Option<Timestamp>,
}

impl<'s> Link<'s> {
    fn new(server: &'s Arc<Server>, pace: Pace) -> Self {
        Self { server, pace, frames: Frames::default(), said: BTreeSet::new(), is_replayed: false, handled: None }
    }

    /// Listens until all events are due again, or the connection fails.
    async fn listen(&mut self, core: &CoreCalls) -> Result<(), Ended> {
        let begun = self.server.clock.now().map_err(Refusal::from)?;
        let records = Arc::clone(&self.server.records);
        let mut moments = blocking(move || Ok(records.event_moments()?)).await?;
        let is_whole = begun.since(moments.replayed) >= REPLAY_EVERY_S;
        let from_s = if is_whole { 0 } else { moments.handled.plus(-BEFORE_S).seconds().max(0) };
        if is_whole {
            moments.replayed = begun;
        }
        let mut socket = self.open(core, from_s.saturating_mul(1_000), begun).await?;
        tracing::info!(from_s, "listening to Core's events");
        let mut ticks = tokio::time::interval(self.pace.ping);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut event) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                message = socket.next() => {
                    heard = Instant::now();
                    match message.ok_or(Ended::Closed)?? {
                        Message::Binary(frame) => {
                            self.handle(&frame).await?;
                            event = Instant::now();
                        }
                        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                        Message::Text(_) => return Err(Ended::Text),
                        Message::Close(_) => return Err(Ended::Closed),
                    }
                }
                _ = ticks.tick() => {
                    if heard.elapsed() >= self.pace.silence {
                        return Err(Ended::Silent(self.pace.silence));
                    }
                    socket.send(Message::Ping(Bytes::new())).await?;
                    if event.elapsed() >= self.pace.quiet {
                        self.note(&mut moments, begun).await?;
                    }
                    let now = self.server.clock.now().map_err(Refusal::from)?;
                    if self.is_replayed && now.since(moments.replayed) >= REPLAY_EVERY_S {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Opens the connection and sends the first frame. Core closes it if the token is not good.
    async fn open(
        &self,
        core: &CoreCalls,
        from_ms: i64,
        now: Timestamp,
    ) -> Result<WebSocketStream<TokioIo<Upgraded>>, Ended> {
        let (stream, token) = core.open_socket(EVENTS, now).await?;
        let limits = WebSocketConfig::default().max_message_size(Some(FRAME_MAX)).max_frame_size(Some(FRAME_MAX));
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(limits)).await;
        socket.send(Message::binary(Frames::first(from_ms, token.expose()))).await?;
        Ok(socket)
    }

    async fn handle(&mut self, frame: &[u8]) -> Result<(), Ended> {
        for event in self.frames.read(frame)? {
            match event {
                Event::Project(project) => membership::take_up(self.server, &project).await?,
                Event::Wallet(wallet) => {
                    let served = self.server.config.served();
                    let categories = served.products.iter().map(|product| product.category.as_str()).collect();
                    if self.server.wallets.take_up(wallet, &categories) {
                        tracing::debug!("took up a wallet");
                    }
                }
                Event::Unusable(reason) if self.said.insert(reason) => {
                    tracing::warn!(%reason, "skipped a project");
                }
                Event::Unusable(_) => {}
            }
        }
        self.handled = Some(self.server.clock.now().map_err(Refusal::from)?);
        Ok(())
    }

    /// Records how far events are handled. The replay, which comes first, has ended.
    async fn note(&mut self, moments: &mut EventMoments, begun: Timestamp) -> Result<(), Ended> {
        let is_first = !std::mem::replace(&mut self.is_replayed, true);
        let handled = match self.handled.take() {
            Some(handled) => handled,
            None if is_first => begun,
            None => return Ok(()),
        };
        if is_first {
            let (projects, wallets) = (self.server.projects.lock().len(), self.server.wallets.count());
            tracing::info!(projects, wallets, "Core has replayed its events");
        }
        moments.handled = handled;
        let (records, noted) = (Arc::clone(&self.server.records), *moments);
        Ok(blocking(move || Ok(records.note_event_moments(noted)?)).await?)
    }
}

#[cfg(test)]
mod tests;
