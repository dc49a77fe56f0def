//! How often one address may ask what anybody may ask: a bucket of tokens an address.
//!
//! It protects the server from strangers; it decides nothing about who they are. An IPv6 client has a whole network of addresses,
//! so that is what is counted.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

/// Requests at once. A connection page makes five; a hospital or university may have many behind one address.
const BURST: u32 = 120;

/// Requests a second after that.
const RATE: u32 = 20;

/// Addresses remembered. More than this at once is an attack from everywhere, against which counting does not help.
const ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// Thousandths of a request.
const WHOLE: u32 = 1_000;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u32,
    filled: Instant,
}

/// Who has asked how often. Bounded; the address that has not asked for longest is forgotten first.
#[derive(Debug)]
pub(super) struct Crowd(Mutex<LruCache<IpAddr, Bucket>>);

impl Crowd {
    /// Nobody yet.
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(ADDRESSES_MAX)))
    }

    /// Whether that address may ask at that moment; if so, it has.
    pub(super) fn admits(&self, address: IpAddr, now: Instant) -> bool {
        let mut crowd = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Bucket { left: BURST * WHOLE, filled: now };
        let bucket = crowd.get_or_insert_mut(network_of(address), || full);
        let refill =
            u32::try_from(now.saturating_duration_since(bucket.filled).as_millis().saturating_mul(u128::from(RATE)));
        bucket.left = bucket.left.saturating_add(refill.unwrap_or(u32::MAX)).min(BURST * WHOLE);
        bucket.filled = now;
        match bucket.left.checked_sub(WHOLE) {
            Some(left) => {
                bucket.left = left;
                true
            }
            None => false,
        }
    }

    /// Takes back that an address has asked: whoever it was is no stranger.
    pub(super) fn forgive(&self, address: IpAddr) {
        let mut crowd = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = crowd.get_mut(&network_of(address)) {
            bucket.left = bucket.left.saturating_add(WHOLE).min(BURST * WHOLE);
        }
    }
}

/// The address, or the /64 that it is in.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

/// How long a refused client should wait.
pub(super) const COME_BACK_AFTER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;

    fn admitted(crowd: &Crowd, address: &str, now: Instant) -> usize {
        (0..1_000).filter(|_| crowd.admits(address.parse().unwrap(), now)).count()
    }

    #[test]
    fn a_burst_and_then_a_trickle() {
        let (crowd, now) = (Crowd::new(), Instant::now());
        assert_eq!(admitted(&crowd, "192.0.2.1", now), 120);
        assert_eq!(admitted(&crowd, "192.0.2.1", now + Duration::from_millis(500)), 10);
        assert_eq!(admitted(&crowd, "192.0.2.2", now), 120, "another address is another matter");
        assert_eq!(admitted(&crowd, "192.0.2.1", now + Duration::from_secs(3600)), 120);
    }

    #[test]
    fn a_network_of_addresses_is_one_client() {
        let (crowd, now) = (Crowd::new(), Instant::now());
        assert_eq!(admitted(&crowd, "2001:db8::1", now), 120);
        assert_eq!(admitted(&crowd, "2001:db8::ffff:1", now), 0);
        assert_eq!(admitted(&crowd, "2001:db8:0:1::1", now), 120);
        assert_eq!(admitted(&crowd, "192.0.2.1", now), 120);
        assert_eq!(admitted(&crowd, "::ffff:192.0.2.1", now), 0);
    }
}
