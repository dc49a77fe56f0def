//! Limits of the gateway for each client and each user.

pub(crate) mod connections;
pub(crate) mod pace;

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use countersign_keys::identity::Username;

use countersign_ipc::room;
use countersign_os::limits::{Counted, Rate, RateLimiter};

/// Consumed intents in the replay log, 64 MiB. With a lifetime of a minute, more than a machine
/// could verify.
pub(crate) const INTENTS_MAX: usize = 1_000_000;

/// By address. A connection page makes five requests, and a hospital or university may have many
/// users behind one address.
const PUBLIC_CALLS: Rate = Rate::new(120, 20);

/// Addresses in each rate limiter: 2 MiB. An attacker with more addresses makes the gateway forget
/// others, which then have their whole burst again.
const ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// Requests in flight by user, so that a user whose instance hangs cannot hold all memory for
/// bodies and all connections. A browser has six connections, and a user a few browsers.
const UNDER_WAY_EACH_MAX: usize = 64;

/// Requests of web interfaces in flight by user: those of four HTTP/2 connections.
const WEB_REQUESTS_EACH_MAX: usize = 512;

/// Requests for public links by address: a page of many modules, loaded by some people behind one
/// address at once.
const LINK_REQUESTS: Rate = Rate::new(2_048, 128);

/// Refusals by address, for senders that have shown neither Core's token nor a valid signature.
/// Separate from public calls, so that a flood leaves other users of the address their pages.
const REFUSALS: Rate = Rate::new(1_024, 64);

/// Delay of the response to an address over that rate; its connection then ends. A flood costs the
/// attacker a handshake a second for each connection, and leaves hardly any records.
pub(crate) const TOO_OFTEN_FOR: Duration = Duration::from_secs(1);

/// `Retry-After` of a refused client.
pub(crate) const COME_BACK_AFTER: Duration = Duration::from_secs(5);

pub(crate) fn public_calls() -> RateLimiter<IpAddr> {
    RateLimiter::new(PUBLIC_CALLS, ADDRESSES_MAX)
}

pub(crate) fn link_requests() -> RateLimiter<IpAddr> {
    RateLimiter::new(LINK_REQUESTS, ADDRESSES_MAX)
}

pub(crate) fn refusals() -> RateLimiter<IpAddr> {
    RateLimiter::new(REFUSALS, ADDRESSES_MAX)
}

/// Limits the public calls that the server answers. Each holds a connection to it; a page that
/// waits for its user holds one for half a minute.
pub(crate) fn public_at_server() -> Arc<Counted<IpAddr>> {
    Counted::new(room::PUBLIC, room::PUBLIC_EACH)
}

/// Limits the direct calls that the server answers.
pub(crate) fn direct_at_server() -> Arc<Counted<Username>> {
    Counted::new(room::DIRECT, room::DIRECT_EACH)
}

/// Limits the requests of web interfaces of one user at a time. A page of many modules asks for all
/// at once.
pub(crate) fn web_requests() -> Arc<Counted<Username>> {
    Counted::new(usize::MAX, WEB_REQUESTS_EACH_MAX)
}

/// Limits the requests, or the sockets, of one user at a time. The number of connections bounds
/// their sum.
pub(crate) fn of_each_user() -> Arc<Counted<Username>> {
    Counted::new(usize::MAX, UNDER_WAY_EACH_MAX)
}
