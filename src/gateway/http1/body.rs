//! Reads a request's body within limits: its length, its time, and the memory of all bodies
//! together.
//!
//! Reads no byte before the head has been verified as far as it can be (V55).

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

use countersign_os::limits::{Counted, InFlight};

/// Memory of all bodies held at a time, in bytes: 32 of the longest at the default
/// `gateway.body_max`.
const HELD_MAX: usize = 256 * 1024 * 1024;

/// In bytes. A quarter, so that a user who sends only the longest bodies leaves room for three
/// others. Also the largest `gateway.body_max` that can be configured.
const USER_MAX: usize = HELD_MAX / 4;

/// Bodies of unauthenticated senders, in bytes. Separate from the others' room.
const STRANGERS_MAX: usize = 64 * 1024 * 1024;

/// Bodies of unauthenticated senders from one network, in bytes: 64 of the longest.
const STRANGERS_EACH_MAX: usize = 16 * 1024 * 1024;

/// How long a request waits for memory.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// Allowed for every body, however short.
const GRACE: Duration = Duration::from_secs(5);

/// Slowest rate of a body, in bytes a second. A modem is faster.
const RATE_MIN: u64 = 16 * 1024;

/// Why a body is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BodyRejection {
    /// Longer than the call allows, in bytes.
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
    /// Slower than [`RATE_MIN`].
    #[error("the body came too slowly")]
    TooSlow,
    /// The body ended early, or its frames are malformed.
    #[error("the body broke off")]
    Broken,
    /// Trailer fields after the body (V30).
    #[error("trailers after the body")]
    Trailers,
    /// The bodies of this user fill the user's share.
    #[error("no room for another body of this user")]
    UserFull,
    /// All bodies together fill the memory: not the sender's fault.
    #[error("no room for another body")]
    NoRoom,
}

/// The memory for bodies.
#[derive(Debug)]
pub(crate) struct BodyRoom {
    room: Semaphore,
    users: Arc<Counted<Username>>,
    strangers: Arc<Counted<IpAddr>>,
}

/// A body, and the memory that it reserves while it is held.
#[derive(Debug, Default)]
pub(crate) struct HeldBody<'r> {
    /// The whole body.
    pub(crate) bytes: Bytes,
    _room: Option<SemaphorePermit<'r>>,
    _user: Option<InFlight<Username>>,
    _share: Option<InFlight<IpAddr>>,
}

impl BodyRoom {
    pub(crate) fn new() -> Self {
        Self::of(HELD_MAX)
    }

    pub(crate) fn of(bytes: usize) -> Self {
        Self::of_each(bytes, USER_MAX)
    }

    /// With a limit for each user. Both are in bytes.
    pub(crate) fn of_each(bytes: usize, user_max: usize) -> Self {
        let users = Counted::new(usize::MAX, user_max);
        Self { room: Semaphore::new(bytes), users, strangers: Counted::new(STRANGERS_MAX, STRANGERS_EACH_MAX) }
    }

    /// Reads a body of at most `max` bytes.
    pub(crate) async fn read(&self, head: &Parts, body: Incoming, max: usize) -> Result<HeldBody<'_>, BodyRejection> {
        if body.is_end_stream() {
            return Ok(HeldBody::default());
        }
        let length = promised(head, &body, max)?;
        let room = self.take(length).await?;
        Ok(HeldBody { bytes: in_time(body, length, max).await?, _room: Some(room), _user: None, _share: None })
    }

    /// As [`BodyRoom::read`], within the user's share.
    pub(crate) async fn read_of_user(
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

    /// As [`BodyRoom::read`] for an unauthenticated sender, in separate memory that is shared by
    /// network.
    pub(crate) async fn read_of_stranger(
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

/// A body that is not held: its reader passes each piece on before it takes the next.
#[derive(Debug)]
pub(crate) struct StreamedBody {
    body: Incoming,
    length: Option<u64>,
    until: Instant,
}

impl StreamedBody {
    /// Expects a body of that many bytes, or none.
    ///
    /// # Errors
    /// If a body comes where none may, or the head promises another length.
    pub(crate) fn new(body: Incoming, length: Option<u64>) -> Result<Self, BodyRejection> {
        match (length, body.size_hint().exact()) {
            (None, Some(0)) | (None, None) if body.is_end_stream() => {}
            (None, _) => return Err(BodyRejection::TooLong(0)),
            (Some(promised), Some(length)) if promised == length => {}
            (Some(_), _) => return Err(BodyRejection::Broken),
        }
        let within = GRACE.saturating_add(Duration::from_secs(length.unwrap_or(0) / RATE_MIN));
        Ok(Self { body, length, until: Instant::now() + within })
    }

    /// In bytes; `None` without a body.
    pub(crate) const fn length(&self) -> Option<u64> {
        self.length
    }

    /// Returns the next piece, or `None` at the end of a complete body.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BodyRejection> {
        let frame = tokio::time::timeout_at(self.until, self.body.frame()).await;
        match frame.map_err(|_elapsed| BodyRejection::TooSlow)? {
            None => Ok(None),
            Some(Err(_)) => Err(BodyRejection::Broken),
            Some(Ok(frame)) => frame.into_data().map(Some).map_err(|_trailers| BodyRejection::Trailers),
        }
    }
}

/// The length that the head promises; without one (HTTP/2), the maximum.
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

/// Reads a body in the time that its length allows.
async fn in_time(body: Incoming, length: u32, max: usize) -> Result<Bytes, BodyRejection> {
    let within = GRACE.saturating_add(Duration::from_secs(u64::from(length) / RATE_MIN));
    tokio::time::timeout(within, collect(body, max)).await.map_err(|_elapsed| BodyRejection::TooSlow)?
}

/// Does not copy a body that came in one piece.
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
