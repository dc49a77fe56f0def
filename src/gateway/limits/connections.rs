//! Limits the number of connections, and decides which one ends when there are too many.
//!
//! A connection is a stranger's until Core's token or a user's signature was valid on it. A
//! stranger's address may have half of all connections; beyond that, its own oldest ends. When
//! there is no room, the oldest connection of the address with the most ends, so that each
//! address's share shrinks to an equal part. Without strangers, the oldest of the user with the
//! most ends. Core's connections never end for another, so a flood keeps out neither Core nor
//! users.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_keys::identity::Username;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::limits::pace::{Pace, Strangers};
use countersign_os::limits::{Shares, Ticket, network_of};

/// A stranger's address may have one in so many of all connections.
const EACH_PART: usize = 2;

/// The connection table. Bounded by `connections_max`; a connection that was told to end may exceed
/// it until its task wakes.
#[derive(Debug)]
pub(crate) struct ConnectionTable {
    connections_max: usize,
    table: Mutex<Table>,
    /// Counts what unauthenticated connections have sent.
    strangers: Strangers,
    /// Connections that have not ended, whether told to or not.
    open: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Table {
    strangers: Shares<IpAddr, Arc<Notify>>,
    users: Shares<Username, Arc<Notify>>,
    of_core: usize,
}

/// Who a connection belongs to, and its place in the table.
#[derive(Debug)]
enum ConnectionState {
    /// Nothing valid was sent on it.
    Stranger(Ticket<IpAddr>),
    /// A user's signature was valid.
    User(Ticket<Username>),
    /// Core's token was valid.
    Core,
}

/// Whose credentials were valid on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Principal<'s> {
    /// Core's token.
    Core,
    /// The user's signature, or a token that the user's instance signed.
    User(&'s Username),
}

/// One client's connection. Its place in the table is freed with the last holder: the connection,
/// or the socket that it became.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    connections: Arc<ConnectionTable>,
    address: IpAddr,
    network: IpAddr,
    state: Mutex<ConnectionState>,
    ending: Arc<Notify>,
    finishing: Notify,
    pace: Mutex<Pace>,
    authenticated: Notify,
}

impl ConnectionTable {
    pub(crate) fn new(connections_max: usize) -> Arc<Self> {
        let (table, strangers, open) = (Mutex::default(), Strangers::default(), watch::Sender::new(0));
        Arc::new(Self { connections_max, table, strangers, open })
    }

    /// Returns when no connection is left.
    pub(crate) async fn all_left(&self) {
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await; // the sender is `self`
    }

    /// Takes a place for a connection from that address, and may tell another connection to end for
    /// it. `None` if every connection is Core's.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Arc<ClientConnection>> {
        let network = network_of(address);
        let ending = Arc::new(Notify::new());
        let mut table = self.table();
        let evicted = if table.strangers.count_of(&network) >= self.connections_max.div_ceil(EACH_PART) {
            table.strangers.evict_of(&network)
        } else if table.len() >= self.connections_max {
            Some(table.strangers.evict().or_else(|| table.users.evict())?)
        } else {
            None
        };
        let ticket = table.strangers.push(network, Arc::clone(&ending));
        drop(table);
        if let Some(evicted) = evicted {
            evicted.notify_one();
        }
        self.open.send_modify(|open| *open = open.saturating_add(1));
        let (connections, state) = (Arc::clone(self), Mutex::new(ConnectionState::Stranger(ticket)));
        let (finishing, pace, authenticated) = (Notify::new(), Mutex::default(), Notify::new());
        Some(Arc::new(ClientConnection {
            connections,
            address,
            network,
            state,
            ending,
            finishing,
            pace,
            authenticated,
        }))
    }

    /// The most connections.
    pub(crate) const fn most(&self) -> usize {
        self.connections_max
    }

    /// How many connections each kind of client has.
    pub(crate) fn counts(&self) -> [(&'static str, usize); 3] {
        let table = self.table();
        [("core", table.of_core), ("user", table.users.count()), ("stranger", table.strangers.count())]
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    const fn len(&self) -> usize {
        self.strangers.count().saturating_add(self.users.count()).saturating_add(self.of_core)
    }
}

impl ClientConnection {
    /// Notes whose credentials were valid on this connection. Core's token outranks a signature.
    /// Does not save a connection that was already told to end.
    pub(crate) fn authenticated_as(&self, principal: Principal<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*state, principal) {
            (ConnectionState::Core, _) | (ConnectionState::User(_), Principal::User(_)) => return,
            (ConnectionState::Stranger(_), _) | (ConnectionState::User(_), Principal::Core) => {}
        }
        let mut table = self.connections.table();
        let kept = match &*state {
            ConnectionState::Stranger(ticket) => table.strangers.remove(ticket),
            ConnectionState::User(ticket) => table.users.remove(ticket),
            ConnectionState::Core => None,
        };
        let Some(ending) = kept else { return };
        *state = match principal {
            Principal::Core => {
                table.of_core = table.of_core.saturating_add(1);
                ConnectionState::Core
            }
            Principal::User(username) => ConnectionState::User(table.users.push(username.clone(), ending)),
        };
        drop(table);
        self.connections.strangers.take_back_handshake(self.network);
        self.authenticated.notify_one();
    }

    /// Returns when the TLS handshake may begin: at once, unless the network has begun many others.
    pub(crate) async fn may_shake_hands(&self) {
        let wait = self.connections.strangers.begin_handshake(self.network, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Returns when the client has authenticated. Supports one waiter.
    pub(crate) async fn is_authenticated(&self) {
        self.authenticated.notified().await;
    }

    /// Counts a piece, or a request in one, that came before the client authenticated.
    pub(crate) fn has_sent(&self) {
        self.pace().count(&self.connections.strangers, self.network, Instant::now());
    }

    /// Until when the connection may not be read, if it is paced at `now`.
    pub(crate) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.pace().rests_until(now)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_strangers(&self) -> bool {
        matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), ConnectionState::Stranger(_))
    }

    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    /// The network of the client, which counts as one client.
    pub(crate) const fn network(&self) -> IpAddr {
        self.network
    }

    /// Tells the connection to take no further request, and to end after those under way.
    pub(crate) fn finish(&self) {
        self.finishing.notify_one();
    }

    /// Returns after [`ClientConnection::finish`].
    pub(crate) async fn is_finished(&self) {
        self.finishing.notified().await;
    }

    /// Returns when this connection has to end for another.
    pub(crate) async fn is_needed(&self) {
        self.ending.notified().await;
        // Wakes the next waiter too: the connection and its socket may both wait.
        self.ending.notify_one();
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut table = self.connections.table();
        match state {
            ConnectionState::Stranger(ticket) => drop(table.strangers.remove(ticket)),
            ConnectionState::User(ticket) => drop(table.users.remove(ticket)),
            ConnectionState::Core => table.of_core = table.of_core.saturating_sub(1),
        }
        drop(table);
        self.connections.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    fn address(number: usize) -> IpAddr {
        IpAddr::from(u32::try_from(0x7f00_0000 + number).unwrap().to_be_bytes())
    }

    fn has_to_end(client: &ClientConnection) -> bool {
        client.is_needed().now_or_never().is_some()
    }

    /// Connections that were not told to end.
    fn kept(connections: &[Arc<ClientConnection>]) -> usize {
        connections.iter().filter(|client| !has_to_end(client)).count()
    }

    fn user(name: &str) -> Username {
        Username::parse(name).unwrap()
    }

    #[test]
    fn one_address_has_half_of_all_and_loses_its_oldest_beyond() {
        let connections = ConnectionTable::new(8);
        let held: Vec<_> = (0..5).map(|_| connections.take(address(1)).unwrap()).collect();
        assert_eq!(
            held.iter().map(|client| has_to_end(client)).collect::<Vec<_>>(),
            [true, false, false, false, false]
        );
        assert!(connections.take(address(2)).is_some());
        assert_eq!(kept(&held), 4);
    }

    #[test]
    fn v73_s09_whatever_strangers_hold_there_is_room_for_another_address() {
        for addresses in [1, 2, 3, 12, 200, 1_000] {
            let connections = ConnectionTable::new(1_000);
            let mut held = Vec::new();
            for number in 0..4_000 {
                held.push(connections.take(address(number % addresses)).unwrap());
            }
            let honest = connections.take(address(5_000)).unwrap();
            assert!(!has_to_end(&honest) && kept(&held) <= 1_000, "{addresses} addresses");
            // The flood continues.
            for number in 0..2_000 {
                held.push(connections.take(address(number % addresses)).unwrap());
            }
            assert!(addresses >= 1_000 || !has_to_end(&honest), "{addresses} addresses");
        }
    }

    #[test]
    fn v73_s09_cores_connections_and_honest_users_outlast_every_stranger() {
        let connections = ConnectionTable::new(100);
        let core: Vec<_> = (0..60)
            .map(|_| connections.take(address(1)).unwrap())
            .inspect(|client| client.authenticated_as(Principal::Core))
            .collect();
        let alice = connections.take(address(1)).unwrap();
        alice.authenticated_as(Principal::User(&user("alice")));
        let strangers: Vec<_> = (0..1_000).map(|number| connections.take(address(number)).unwrap()).collect();
        assert_eq!((kept(&core), has_to_end(&alice)), (60, false));
        assert_eq!(kept(&strangers), 39);
    }

    #[test]
    fn v73_s09_a_user_who_floods_loses_their_own() {
        let connections = ConnectionTable::new(100);
        let alice = connections.take(address(1)).unwrap();
        alice.authenticated_as(Principal::User(&user("alice")));
        let flood: Vec<_> = (0..1_000)
            .map(|number| connections.take(address(number)).unwrap())
            .inspect(|client| client.authenticated_as(Principal::User(&user("mallory"))))
            .collect();
        assert!(!has_to_end(&alice));
        assert_eq!(kept(&flood), 99);
        assert!(connections.take(address(2)).is_some(), "and anybody can still connect");
    }

    /// Counts the handshakes that begin by `by`, of so many connections from one address.
    async fn handshakes(
        connections: &Arc<ConnectionTable>,
        count: usize,
        principal: Option<Principal<'_>>,
        by: Duration,
    ) -> usize {
        let mut begun = 0;
        let began = Instant::now();
        for _ in 0..count {
            let client = connections.take(address(1)).unwrap();
            if tokio::time::timeout_at(began + by, client.may_shake_hands()).await.is_ok() {
                begun += 1;
                principal.inspect(|principal| client.authenticated_as(*principal));
            }
        }
        begun
    }

    #[tokio::test(start_paused = true)]
    async fn v73_s09_a_network_that_has_begun_many_connections_waits_for_further_handshakes() {
        let connections = ConnectionTable::new(1_000);
        assert_eq!(handshakes(&connections, 1_000, None, Duration::ZERO).await, 1 + 64);
        let (neighbour, began) = (connections.take(address(2)).unwrap(), Instant::now());
        neighbour.may_shake_hands().await;
        assert_eq!(began.elapsed(), Duration::ZERO, "another network does not wait");
        let late = connections.take(address(1)).unwrap();
        late.may_shake_hands().await;
        assert_eq!(began.elapsed().as_secs(), 5, "nobody waits for longer");
    }

    #[tokio::test(start_paused = true)]
    async fn v73_s09_connections_that_show_something_do_not_make_others_wait() {
        let alice = user("alice");
        for principal in [Principal::Core, Principal::User(&alice)] {
            let connections = ConnectionTable::new(1_000);
            assert_eq!(handshakes(&connections, 500, Some(principal), Duration::ZERO).await, 500);
            assert_eq!(handshakes(&connections, 500, None, Duration::ZERO).await, 1 + 64);
        }
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let connections = ConnectionTable::new(8);
        let held: Vec<_> =
            (0..8).map(|number| connections.take(format!("2001:db8::{number}").parse().unwrap()).unwrap()).collect();
        assert_eq!(kept(&held), 4);
    }

    #[test]
    fn nothing_is_left_of_connections_that_ended() {
        let connections = ConnectionTable::new(4);
        let held: Vec<_> = (0..9).map(|number| connections.take(address(number)).unwrap()).collect();
        held[7].authenticated_as(Principal::Core);
        held[8].authenticated_as(Principal::User(&user("alice")));
        held[0].authenticated_as(Principal::Core); // it was told to end before this
        assert!(connections.all_left().now_or_never().is_none());
        drop(held);
        assert!(connections.all_left().now_or_never().is_some());
        assert_eq!(connections.table().len(), 0);
    }

    proptest! {
        /// Arrivals and departures in any order exceed no limit and end no connection of Core's.
        #[test]
        fn places_hold_their_bounds(steps in prop::collection::vec((0_usize..6, 0_u8..5), 1..300)) {
            let connections = ConnectionTable::new(16);
            let mut held: Vec<(Arc<ClientConnection>, bool)> = Vec::new();
            for (number, step) in steps {
                match step {
                    0..=2 => held.extend(connections.take(address(number)).map(|client| (client, false))),
                    3 if !held.is_empty() => drop(held.swap_remove(number % held.len())),
                    4 if !held.is_empty() => {
                        let at = number % held.len();
                        let (client, of_core) = &mut held[at];
                        if has_to_end(client) {
                            continue;
                        }
                        let is_core = number % 2 == 0;
                        let alice = user("alice");
                        client.authenticated_as(if is_core { Principal::Core } else { Principal::User(&alice) });
                        *of_core |= is_core;
                    }
                    _ => {}
                }
                prop_assert!(connections.table().len() <= 16);
                let living = held.iter().filter(|(client, _)| !has_to_end(client)).count();
                prop_assert_eq!(living, connections.table().len());
                prop_assert!(held.iter().all(|(client, of_core)| !(*of_core && has_to_end(client))));
            }
        }
    }
}
