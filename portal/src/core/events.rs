//! The WebSocket on which Core sends a provider the events of projects and wallets
//! (docs/ucloud-wire.md, section 6.8).
//!
//! Events have no numbers and no acknowledgements. Core drops an event if a connection's queue
//! stays full.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::now;

/// The path at which providers open the WebSocket.
pub(super) const PATH: &str = "/api/accounting/notifications";
/// Length of a connection's two queues, one for projects and one for wallets.
pub const QUEUE_MAX: usize = 128;
/// How long an event waits for room in a queue before it is dropped.
pub const DROPPED_AFTER: Duration = Duration::from_millis(200);

const AUTH: u8 = 0;
const WALLET: u8 = 1;
const PROJECT: u8 = 2;
const CATEGORY: u8 = 3;
const USER: u8 = 4;

/// An event for providers.
#[derive(Clone, Debug)]
pub enum Event {
    /// The current state of a project, in Core's JSON.
    Project(Value),
    /// The current state of a wallet.
    Wallet(Wallet),
}

/// An owner's allowance in a category of products.
#[derive(Clone, Debug)]
pub struct Wallet {
    /// The owner of the wallet.
    pub owner: Owner,
    /// The category of products, in Core's JSON.
    pub category: Value,
    /// The combined quota, in the category's unit.
    pub quota: u64,
    /// The total usage, in the category's unit.
    pub used: u64,
    /// Whether the owner may use nothing more.
    pub is_locked: bool,
}

/// The owner of a wallet.
#[derive(Clone, Debug)]
pub enum Owner {
    /// A user, by name.
    User(String),
    /// A project, in Core's JSON.
    Project(Value),
}

/// All events so far, and the open connections. Their number is bounded by the test.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Each with its time in milliseconds since 1970.
    happened: Mutex<Vec<(i64, Event)>>,
    queues: Mutex<Vec<Queues>>,
}

#[derive(Clone, Debug)]
struct Queues {
    projects: mpsc::Sender<Event>,
    wallets: mpsc::Sender<Event>,
}

impl Queues {
    fn of(&self, event: &Event) -> &mpsc::Sender<Event> {
        match event {
            Event::Project(_) => &self.projects,
            Event::Wallet(_) => &self.wallets,
        }
    }
}

impl Events {
    /// Puts an event into every connection's queue. Returns the number of connections that lost it.
    pub(super) async fn push(&self, event: Event) -> usize {
        self.happened.lock().unwrap_or_else(PoisonError::into_inner).push((now().saturating_mul(1000), event.clone()));
        let queues = {
            let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            queues.retain(|queues| !queues.projects.is_closed());
            queues.clone()
        };
        let mut dropped = 0_usize;
        // One after the other, as Core does.
        for queues in &queues {
            let room = tokio::time::timeout(DROPPED_AFTER, queues.of(&event).send(event.clone())).await;
            dropped = dropped.saturating_add(usize::from(room.is_err()));
        }
        dropped
    }

    pub(super) fn listeners(&self) -> usize {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Serves one connection until it closes. The token is checked once, in the first frame.
    pub(super) async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin, is_known: impl Fn(&str) -> bool) {
        let (mut out, mut read) = WebSocketStream::from_raw_socket(stream, Role::Server, None).await.split();
        let Some(Ok(first)) = read.next().await else { return };
        let Some(replay_from) = authenticate(&first.into_data(), is_known) else { return };
        let (projects, mut of_projects) = mpsc::channel(QUEUE_MAX);
        let (wallets, mut of_wallets) = mpsc::channel(QUEUE_MAX);
        let queues = Queues { projects, wallets };
        // The queue is added first, so that no event is lost between this line and the replay.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).push(queues.clone());
        let replayed: Vec<Event> = {
            let happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
            happened.iter().filter(|(at, _)| *at >= replay_from.from_ms).map(|(_, event)| event.clone()).collect()
        };
        let replay = replay(queues, replayed);
        let write = async {
            let mut said = Said { with_retired: replay_from.with_retired, ..Said::default() };
            loop {
                let event = tokio::select! {
                    Some(wallet) = of_wallets.recv() => wallet,
                    Some(project) = of_projects.recv() => project,
                    else => return,
                };
                if out.send(Message::binary(said.frame(&event))).await.is_err() {
                    return;
                }
            }
        };
        // Core does not answer frames that ask again for a user's events.
        let read = async { while let Some(Ok(_)) = read.next().await {} };
        let replay_and_write = async { tokio::join!(replay, write) };
        tokio::select! {
            _ = replay_and_write => {}
            () = read => {}
        }
    }
}

/// Sends earlier events, wallets first. It waits for room in the queue and drops none.
async fn replay(queues: Queues, events: Vec<Event>) {
    let (wallets, projects): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| matches!(event, Event::Wallet(_)));
    for event in wallets.into_iter().chain(projects) {
        let _gone = queues.of(&event).send(event.clone()).await;
    }
}

/// The content of the first frame.
struct First {
    from_ms: i64,
    with_retired: bool,
}

/// Reads `u8 0, i64 replayFromMs, u64 flags, u32 length, token`. `None` if the frame has another
/// form or the token is not valid.
fn authenticate(frame: &[u8], is_known: impl Fn(&str) -> bool) -> Option<First> {
    let (&opcode, rest) = frame.split_first()?;
    let (from_ms, rest) = rest.split_first_chunk()?;
    let (flags, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let token = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let is_admitted = opcode == AUTH && is_known(std::str::from_utf8(token).ok()?);
    let with_retired = u64::from_be_bytes(*flags) & 1 == 1;
    is_admitted.then_some(First { from_ms: i64::from_be_bytes(*from_ms), with_retired })
}

/// The references that one connection has received.
#[derive(Debug, Default)]
struct Said {
    with_retired: bool,
    users: BTreeMap<String, u32>,
    projects: BTreeMap<String, u32>,
    categories: BTreeMap<String, u32>,
}

impl Said {
    /// The frame of one event: users, projects, categories and wallets, in this order. Users,
    /// projects and categories that the connection has received are omitted.
    fn frame(&mut self, event: &Event) -> Vec<u8> {
        let mut frame = Vec::new();
        match event {
            Event::Project(project) => {
                let (reference, _) = reference(&mut self.projects, id(project));
                put_project(&mut frame, reference, project);
            }
            Event::Wallet(wallet) => self.put_wallet(&mut frame, wallet),
        }
        frame
    }

    fn put_wallet(&mut self, frame: &mut Vec<u8>, wallet: &Wallet) {
        let (owner, is_project) = match &wallet.owner {
            Owner::User(name) => {
                let (reference, is_new) = reference(&mut self.users, name.clone());
                if is_new {
                    frame.push(USER);
                    frame.extend(reference.to_be_bytes());
                    put_text(frame, name);
                }
                (reference, false)
            }
            Owner::Project(project) => {
                let (reference, is_new) = reference(&mut self.projects, id(project));
                if is_new {
                    put_project(frame, reference, project);
                }
                (reference, true)
            }
        };
        let name = wallet.category.get("name").and_then(Value::as_str).unwrap_or_default();
        let (category, is_new) = reference(&mut self.categories, name.to_owned());
        if is_new {
            frame.push(CATEGORY);
            frame.extend(category.to_be_bytes());
            put_text(frame, &wallet.category.to_string());
        }
        frame.push(WALLET);
        frame.extend(owner.to_be_bytes());
        frame.extend(category.to_be_bytes());
        frame.extend(wallet.quota.to_be_bytes());
        frame.extend(wallet.used.to_be_bytes());
        frame.extend((u32::from(wallet.is_locked) | u32::from(is_project) << 1).to_be_bytes());
        frame.extend(now().saturating_mul(1000).to_be_bytes());
        if self.with_retired {
            frame.extend(0_u64.to_be_bytes());
        }
    }
}

fn id(project: &Value) -> String {
    project.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The reference number of an id on this connection, and whether it is new.
fn reference(known: &mut BTreeMap<String, u32>, id: String) -> (u32, bool) {
    let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
    let reference = *known.entry(id).or_insert(next);
    (reference, reference == next)
}

fn put_project(frame: &mut Vec<u8>, reference: u32, project: &Value) {
    frame.push(PROJECT);
    frame.extend(reference.to_be_bytes());
    frame.extend(project.get("modifiedAt").and_then(Value::as_i64).unwrap_or(0).to_be_bytes());
    put_text(frame, &project.to_string());
}

fn put_text(frame: &mut Vec<u8>, text: &str) {
    frame.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(text.as_bytes());
}
