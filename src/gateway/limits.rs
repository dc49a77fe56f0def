//! What one client, and one user, may ask of the gateway.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use countersign_keys::identity::Username;

use crate::ipc::room;
use crate::limits::{Counted, Rate, RateLimiter};

/// Public calls of one address. A connection page makes five requests; a hospital or university may
/// have many users behind one address.
const PUBLIC_CALLS: Rate = Rate::new(120, 20);

/// Addresses whose rate is remembered: 2 MiB. An attacker that has more of them makes the gateway
/// forget others, which then have their whole burst again.
const ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// Requests of one user under way: a user whose instance answers nothing cannot hold all the room
/// for bodies and connections. A browser has six connections, and a user a few browsers.
const UNDER_WAY_EACH_MAX: usize = 64;

/// Refusals of one address that has shown neither Core's token nor a good signature. Apart from
/// public calls, so that a flood of junk leaves its neighbours behind the same address their pages.
const REFUSALS: Rate = Rate::new(1_024, 64);

/// How long an address that is refused more often waits for its answer, after which it has to
/// connect again: a flood costs a handshake a second for each connection, and hardly any records.
pub(super) const TOO_OFTEN_FOR: Duration = Duration::from_secs(1);

/// How long a refused client should wait.
pub(super) const COME_BACK_AFTER: Duration = Duration::from_secs(5);

/// Limits public calls by address.
pub(super) fn public_calls() -> RateLimiter<IpAddr> {
    RateLimiter::new(PUBLIC_CALLS, ADDRESSES_MAX)
}

/// Limits refusals by address.
pub(super) fn refusals() -> RateLimiter<IpAddr> {
    RateLimiter::new(REFUSALS, ADDRESSES_MAX)
}

/// Limits the public calls that the server answers: each holds a connection to it, and a page that
/// waits for its user holds one for half a minute.
pub(super) fn public_at_server() -> Arc<Counted<IpAddr>> {
    Counted::new(room::PUBLIC, room::PUBLIC_EACH)
}

/// Limits the calls of users' own browsers that the server answers.
pub(super) fn own_at_server() -> Arc<Counted<Username>> {
    Counted::new(room::OWN, room::OWN_EACH)
}

/// Limits the requests, or the sockets, of one user at a time. All together are bounded by the
/// number of connections.
pub(super) fn of_each_user() -> Arc<Counted<Username>> {
    Counted::new(usize::MAX, UNDER_WAY_EACH_MAX)
}
