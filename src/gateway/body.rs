//! A request's body: read whole, within its length, in its time, and within what all bodies
//! together may take.
//!
//! Nothing is read of a body before its head has been judged as far as it can be (V55).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use countersign_keys::identity::Username;
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::limits::{Counted, InFlight};

/// What all bodies that are held at one time may take together, in bytes: 32 of the longest at the
/// default `gateway.body_max`.
const HELD_MAX: usize = 256 * 1024 * 1024;

/// The same of one user: a quarter, so that three others have room beside a user who sends the
/// longest bodies only. The longest `gateway.body_max` that can be configured.
const USER_MAX: usize = HELD_MAX / 4;

/// What the bodies of those who have shown nothing may take together, apart from the others' room.
const STRANGERS_MAX: usize = 64 * 1024 * 1024;

/// The same of one address: 64 of the longest.
const STRANGERS_EACH_MAX: usize = 16 * 1024 * 1024;

/// How long a request waits for room among them.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// Time that every body has, however short.
const GRACE: Duration = Duration::from_secs(5);

/// The slowest a body may come, in bytes a second. A modem does better.
const RATE_MIN: u64 = 16 * 1024;

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum BodyRejection {
    /// Longer than the call allows.
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
    /// Slower than [`RATE_MIN`].
    #[error("the body came too slowly")]
    TooSlow,
    /// It ended early, or its frames are malformed.
    #[error("the body broke off")]
    Broken,
    /// Fields after the body (V30).
    #[error("trailers after the body")]
    Trailers,
    /// The bodies of this user take what one user's may.
    #[error("no room for another body of this user")]
    UserFull,
    /// Not the sender's fault: all bodies together take too much.
    #[error("no room for another body")]
    NoRoom,
}

/// The room that bodies have.
#[derive(Debug)]
pub(super) struct BodyRoom {
    room: Semaphore,
    users: Arc<Counted<Username>>,
    strangers: Arc<Counted<IpAddr>>,
}

/// A body, and the room that it takes for as long as it is held.
#[derive(Debug, Default)]
pub(super) struct HeldBody<'r> {
    /// All of it.
    pub(super) bytes: Bytes,
    _room: Option<SemaphorePermit<'r>>,
    _user: Option<InFlight<Username>>,
    _share: Option<InFlight<IpAddr>>,
}

impl BodyRoom {
    /// All of it free.
    pub(super) fn new() -> Self {
        Self::of(HELD_MAX)
    }

    /// Room for that many bytes.
    pub(super) fn of(bytes: usize) -> Self {
        Self::of_each(bytes, USER_MAX)
    }

    /// The same, with room for that many bytes of one user.
    pub(super) fn of_each(bytes: usize, user_max: usize) -> Self {
        let users = Counted::new(usize::MAX, user_max);
        Self { room: Semaphore::new(bytes), users, strangers: Counted::new(STRANGERS_MAX, STRANGERS_EACH_MAX) }
    }

    /// Reads a body of at most `max` bytes.
    pub(super) async fn read(&self, head: &Parts, body: Incoming, max: usize) -> Result<HeldBody<'_>, BodyRejection> {
        if body.is_end_stream() {
            return Ok(HeldBody::default());
        }
        let length = promised(head, &body, max)?;
        let room = self.take(length).await?;
        Ok(HeldBody { bytes: in_time(body, length, max).await?, _room: Some(room), _user: None, _share: None })
    }

    /// The same of a user's call, within what this user may have.
    pub(super) async fn read_of_user(
        &self,
        head: &Parts,
        body: Incoming,
        max: usize,
        username: &Username,
    ) -> Result<HeldBody<'_>, BodyRejection> {
        if body.is_end_stream() {
            return Ok(HeldBody::default());
        }
        let size = usize::try_from(promised(head, &body, max)?).unwrap_or(usize::MAX);
        let share = self.users.begin_with(username, size).ok_or(BodyRejection::UserFull)?;
        Ok(HeldBody { _user: Some(share), ..self.read(head, body, max).await? })
    }

    /// The same of a sender who has shown nothing, in room of its own, which is shared by network.
    pub(super) async fn read_of_stranger(
        &self,
        head: &Parts,
        body: Incoming,
        max: usize,
        network: IpAddr,
    ) -> Result<HeldBody<'static>, BodyRejection> {
        if body.is_end_stream() {
            return Ok(HeldBody::default());
        }
        let length = promised(head, &body, max)?;
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        let share = self.strangers.begin_with(&network, size).ok_or(BodyRejection::NoRoom)?;
        Ok(HeldBody { bytes: in_time(body, length, max).await?, _room: None, _user: None, _share: Some(share) })
    }

    async fn take(&self, length: u32) -> Result<SemaphorePermit<'_>, BodyRejection> {
        if let Ok(room) = self.room.try_acquire_many(length) {
            return Ok(room);
        }
        match tokio::time::timeout(ROOM_WITHIN, self.room.acquire_many(length)).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) | Err(_) => Err(BodyRejection::NoRoom),
        }
    }
}

/// A body that is not held: whoever reads it passes each piece on before the next comes.
#[derive(Debug)]
pub(super) struct StreamedBody {
    body: Incoming,
    length: Option<u64>,
    until: Instant,
}

impl StreamedBody {
    /// A body whose head promises that many bytes; `None` where none may come.
    ///
    /// # Errors
    /// If a body comes where none may, or one of another length.
    pub(super) fn new(body: Incoming, length: Option<u64>) -> Result<Self, BodyRejection> {
        match (length, body.size_hint().exact()) {
            (None, Some(0)) | (None, None) if body.is_end_stream() => {}
            (None, _) => return Err(BodyRejection::TooLong(0)),
            (Some(promised), Some(length)) if promised == length => {}
            (Some(_), _) => return Err(BodyRejection::Broken),
        }
        let within = GRACE.saturating_add(Duration::from_secs(length.unwrap_or(0) / RATE_MIN));
        Ok(Self { body, length, until: Instant::now() + within })
    }

    /// How long it is; `None`: there is none.
    pub(super) const fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next piece; `None` at the end, when all of it has come.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BodyRejection> {
        let frame = tokio::time::timeout_at(self.until, self.body.frame()).await;
        match frame.map_err(|_elapsed| BodyRejection::TooSlow)? {
            None => Ok(None),
            Some(Err(_)) => Err(BodyRejection::Broken),
            Some(Ok(frame)) => frame.into_data().map(Some).map_err(|_trailers| BodyRejection::Trailers),
        }
    }
}

/// The length that the head promises; without one (HTTP/2), as much as there may be.
fn promised(head: &Parts, body: &Incoming, max: usize) -> Result<u32, BodyRejection> {
    let most = u32::try_from(max).unwrap_or(u32::MAX);
    let promised = match head.headers.get(http::header::CONTENT_LENGTH) {
        Some(_) => body.size_hint().exact(),
        None => None,
    };
    match promised {
        None => Ok(most),
        Some(length) => u32::try_from(length).ok().filter(|length| *length <= most).ok_or(BodyRejection::TooLong(max)),
    }
}

/// A body in the time that one of that length has.
async fn in_time(body: Incoming, length: u32, max: usize) -> Result<Bytes, BodyRejection> {
    let within = GRACE.saturating_add(Duration::from_secs(u64::from(length) / RATE_MIN));
    tokio::time::timeout(within, collect(body, max)).await.map_err(|_elapsed| BodyRejection::TooSlow)?
}

/// A body that came in one piece is not copied.
async fn collect(mut body: Incoming, max: usize) -> Result<Bytes, BodyRejection> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_error| BodyRejection::Broken)?.into_data() else {
            return Err(BodyRejection::Trailers);
        };
        let so_far = first.len().saturating_add(more.len());
        if so_far.saturating_add(piece.len()) > max {
            return Err(BodyRejection::TooLong(max));
        }
        if so_far == 0 {
            first = piece;
        } else {
            if more.is_empty() {
                more.reserve(so_far.saturating_add(piece.len()));
                more.extend_from_slice(&std::mem::take(&mut first));
            }
            more.extend_from_slice(&piece);
        }
    }
    Ok(if more.is_empty() { first } else { more.freeze() })
}
