//! Limits how fast unauthenticated connections are read, so that a flood waits and honest users do
//! not.
//!
//! Reads a stranger's connection in pieces: a request of HTTP/1.1, or a few frames. Between two
//! pieces all other connections have their turn. The sender waits on TCP's flow control, which
//! costs the gateway nothing. Refuses no request, and does not slow a connection's first piece or
//! an authenticated connection. Protects availability; keeps none of P1 to P7.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use countersign_os::limits::{Bucket, Rate};

/// A connection's own pieces: a page with its parts, then one a second.
const OF_A_CONNECTION: Rate = Rate::new(32, 1);

/// Further pieces by network: some dozens of people behind one address.
const OF_A_NETWORK: Rate = Rate::new(128, 16);

/// Pieces of all strangers before they rest. An optimised build answers that many in some
/// milliseconds.
const OF_ALL: Rate = Rate::new(64, 256);

/// Longest rest after a connection's own piece: a page in a flood takes some seconds.
const OWN_REST_MAX: Duration = Duration::from_millis(100);

/// Longest rest after a further piece. Shorter than the timeout of a head, so that a head in two
/// pieces arrives.
const REST_MAX: Duration = Duration::from_secs(5);

/// TLS handshakes of one network that never wait, for connections that have not authenticated: a
/// browser's. More would let many addresses begin hundreds at once.
const HANDSHAKES_OWN: Rate = Rate::new(1, 1);

/// Further handshakes of one network: a class that starts at once, or a TLS scanner.
const HANDSHAKES_OF_A_NETWORK: Rate = Rate::new(512, 64);

/// Further handshakes of all strangers. A debug build does that many in a tenth of a second.
const HANDSHAKES_OF_ALL: Rate = Rate::new(64, 64);

/// Networks with rates in memory. An attacker with more networks is limited by the rate of all.
const NETWORKS_MAX: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// What all strangers have sent. Bounded by [`NETWORKS_MAX`]; evicts the network that was silent
/// longest.
#[derive(Debug)]
pub(crate) struct Strangers(Mutex<Sent>);

#[derive(Debug)]
struct Sent {
    networks: LruCache<IpAddr, Network>,
    all: Bucket,
    all_handshakes: Bucket,
}

#[derive(Debug, Default)]
struct Network {
    pieces: Bucket,
    own_handshakes: Bucket,
    handshakes: Bucket,
}

impl Default for Strangers {
    fn default() -> Self {
        Self(Mutex::new(Sent {
            networks: LruCache::new(NETWORKS_MAX),
            all: Bucket::default(),
            all_handshakes: Bucket::default(),
        }))
    }
}

impl Strangers {
    /// Counts a handshake of that network, and returns how long it has to wait. Handshakes cost
    /// more than pieces: beyond its allowance a network waits while it, or all strangers together,
    /// exceed their rate.
    pub(crate) fn begin_handshake(&self, network: IpAddr, now: Instant) -> Duration {
        let now = now.into_std();
        let mut guard = self.sent();
        let sent = &mut *guard;
        let network = sent.networks.get_or_insert_mut(network, Network::default);
        if network.own_handshakes.admits(&HANDSHAKES_OWN, now) {
            return Duration::ZERO;
        }
        let for_network = network.handshakes.wait(&HANDSHAKES_OF_A_NETWORK, REST_MAX, now);
        for_network.max(sent.all_handshakes.wait(&HANDSHAKES_OF_ALL, REST_MAX, now))
    }

    /// Refunds a handshake of that network, because its connection has authenticated.
    pub(crate) fn take_back_handshake(&self, network: IpAddr) {
        if let Some(network) = self.sent().networks.get_mut(&network) {
            network.own_handshakes.refund(&HANDSHAKES_OWN);
        }
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a piece, and returns how long its connection rests. `further_of` is the network of a
    /// piece beyond the connection's own.
    fn count(&self, further_of: Option<IpAddr>, now: std::time::Instant) -> Duration {
        let mut sent = self.sent();
        let for_all = sent.all.wait(&OF_ALL, REST_MAX, now);
        match further_of {
            None => for_all.min(OWN_REST_MAX),
            Some(network) => {
                let network = sent.networks.get_or_insert_mut(network, Network::default);
                network.pieces.wait(&OF_A_NETWORK, REST_MAX, now).max(for_all)
            }
        }
    }
}

/// The pieces that one unauthenticated connection has sent. Some are its own, since its handshake
/// cost as much: after each it rests briefly while strangers together exceed their rate. Further
/// ones also count against its network, and it is not read until both rates allow.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    own: Bucket,
    /// Nothing is read before this moment.
    rests_until: Option<Instant>,
}

impl Pace {
    /// Counts a piece, or a request in one.
    pub(crate) fn count(&mut self, strangers: &Strangers, network: IpAddr, now: Instant) {
        let is_own = self.own.admits(&OF_A_CONNECTION, now.into_std());
        let rest = strangers.count((!is_own).then_some(network), now.into_std());
        if !rest.is_zero() {
            self.rests_until = self.rests_until.max(now.checked_add(rest));
        }
    }

    /// Until when the connection rests, if it rests at `now`.
    pub(crate) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.rests_until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + number).to_be_bytes())
    }

    /// Counts the pieces that connections of several networks get through in that time, if each
    /// sends as fast as it is read.
    fn pieces(networks: u32, connections: usize, for_s: u64) -> usize {
        let (strangers, start) = (Strangers::default(), Instant::now());
        let mut paces: Vec<(IpAddr, Pace)> = (0..networks)
            .flat_map(|number| (0..connections).map(move |_| (address(number), Pace::default())))
            .collect();
        let mut count = 0;
        for step in 0..for_s * 100 {
            let now = start + Duration::from_millis(step * 10);
            for (network, pace) in &mut paces {
                // A connection brings at most some hundred pieces in 10 ms.
                for _ in 0..100 {
                    if pace.rests_until(now).is_some() {
                        break;
                    }
                    pace.count(&strangers, *network, now);
                    count += 1;
                }
            }
        }
        count
    }

    #[test]
    fn v67_s03_what_strangers_send_is_bounded_for_a_connection_a_network_and_all() {
        for (networks, connections) in [(1, 1), (1, 100), (40, 1), (200, 1), (200, 4)] {
            let count = pieces(networks, connections, 60);
            let all = usize::try_from(networks).unwrap() * connections;
            // The connections' own pieces, then the lower of the rates of their networks and of
            // all, and the last piece of each before its first rest.
            let own = all * (32 + 60 + 1);
            let most = own + (usize::try_from(networks).unwrap() * (128 + 60 * 16)).min(64 + 60 * 256);
            assert!(count <= most, "{networks} networks, {connections} connections each: {count}, not {most}");
            assert!(count >= most / 4, "{networks} networks, {connections} connections each: {count} of {most}");
        }
    }

    #[test]
    fn v67_s03_a_connection_that_sends_little_rests_a_moment_at_most_whatever_its_neighbours_do() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        let (mut flood, mut page) = (Pace::default(), Pace::default());
        page.count(&strangers, address(1), start);
        assert_eq!(page.rests_until(start), None, "there is no flood");
        for second in 1..60 {
            let now = start + Duration::from_secs(second);
            for _ in 0..10_000 {
                flood.count(&strangers, address(1), now);
            }
            assert_eq!(flood.rests_until(now), Some(now + REST_MAX));
            page.count(&strangers, address(1), now);
            assert_eq!(page.rests_until(now), Some(now + OWN_REST_MAX), "behind the same address, after {second} s");
            assert_eq!(Pace::default().rests_until(now), None, "a new connection's first piece waits for nobody");
        }
    }
}
