//! Rate limiter: the generic cell rate algorithm (GCRA), in nanoseconds.
//!
//! A bucket is a point in time: when it will be full again. Each admitted event moves it by one
//! interval. An event that would move it too far into the future is refused and moves nothing. So
//! no fraction of an interval is lost, however often the limiter is asked.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

/// Bits of an IPv6 address that the client can choose.
const HOST_BITS: u32 = 64;

/// `burst` events at once, then one each `interval`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    interval: Duration,
    /// How far a bucket may be from full: `burst` intervals.
    tolerance: Duration,
}

impl Rate {
    /// `burst` events at once, then `per_second` events a second. Neither may be 0.
    pub const fn new(burst: u32, per_second: u32) -> Self {
        assert!(burst > 0, "a rate admits something");
        match Duration::from_secs(1).checked_div(per_second) {
            Some(interval) => Self { interval, tolerance: interval.saturating_mul(burst) },
            None => Self { interval: Duration::MAX, tolerance: Duration::MAX },
        }
    }
}

/// One sender's bucket, initially full.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// `None` if it is full.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Whether one more event is admitted at `now`; counts it if so.
    pub fn admits(&mut self, rate: &Rate, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)).checked_add(rate.interval);
        let is_admitted = full_at.is_some_and(|full_at| full_at.saturating_duration_since(now) <= rate.tolerance);
        if is_admitted {
            self.full_at = full_at;
        }
        is_admitted
    }

    /// Counts one more event, which has happened. Returns how long its sender has to wait before
    /// the next: at most `wait_max`, whatever else has happened meanwhile.
    pub fn wait(&mut self, rate: &Rate, wait_max: Duration, now: Instant) -> Duration {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)).checked_add(rate.interval);
        let latest = now.checked_add(rate.tolerance.saturating_add(wait_max));
        self.full_at = match (full_at, latest) {
            (Some(full_at), Some(latest)) => Some(full_at.min(latest)),
            (one, other) => one.or(other),
        };
        let until_full = self.full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now));
        until_full.saturating_sub(rate.tolerance)
    }

    /// Takes one event back.
    pub fn refund(&mut self, rate: &Rate) {
        self.full_at = self.full_at.and_then(|full_at| full_at.checked_sub(rate.interval));
    }
}

/// One bucket for each sender. Bounded: evicts the sender that was silent longest, which then has a
/// full bucket again.
#[derive(Debug)]
pub struct RateLimiter<K: Hash + Eq> {
    rate: Rate,
    buckets: Mutex<LruCache<K, Bucket>>,
}

impl<K: Hash + Eq> RateLimiter<K> {
    /// Remembers the buckets of at most `senders_max` senders.
    pub fn new(rate: Rate, senders_max: NonZeroUsize) -> Self {
        Self { rate, buckets: Mutex::new(LruCache::new(senders_max)) }
    }

    /// Whether one more event of that sender is admitted at `now`; counts it if so.
    pub fn admits(&self, sender: K, now: impl Into<Instant>) -> bool {
        self.buckets().get_or_insert_mut(sender, Bucket::default).admits(&self.rate, now.into())
    }

    /// Takes an event back, because its sender turned out to be known.
    pub fn refund(&self, sender: &K) {
        if let Some(bucket) = self.buckets().get_mut(sender) {
            bucket.refund(&self.rate);
        }
    }

    fn buckets(&self) -> MutexGuard<'_, LruCache<K, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network that counts as one client: an IPv4 address, or the /64 of an IPv6 address.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) >> HOST_BITS << HOST_BITS;
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate::new(120, 20);

    fn admitted(limiter: &RateLimiter<IpAddr>, address: &str, now: Instant) -> usize {
        let network = network_of(address.parse().unwrap());
        (0..1_000).filter(|_| limiter.admits(network, now)).count()
    }

    /// How many events are admitted if one comes every `step` for `span`.
    fn asked_every(step: Duration, span: Duration, rate: Rate) -> u64 {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        let mut count = 0;
        let mut at = Duration::ZERO;
        while at <= span {
            count += u64::from(bucket.admits(&rate, start + at));
            at += step;
        }
        count
    }

    #[test]
    fn admits_a_burst_and_then_the_rate() {
        let (limiter, now) = (RateLimiter::new(RATE, NonZeroUsize::MIN.saturating_add(9)), Instant::now());
        assert_eq!(admitted(&limiter, "192.0.2.1", now), 120);
        assert_eq!(admitted(&limiter, "192.0.2.1", now + Duration::from_millis(500)), 10);
        assert_eq!(admitted(&limiter, "192.0.2.2", now), 120, "each address has its own bucket");
        assert_eq!(admitted(&limiter, "192.0.2.1", now + Duration::from_secs(3600)), 120);
    }

    #[test]
    fn groups_ipv6_addresses_by_network() {
        let (limiter, now) = (RateLimiter::new(RATE, NonZeroUsize::MIN.saturating_add(9)), Instant::now());
        assert_eq!(admitted(&limiter, "2001:db8::1", now), 120);
        assert_eq!(admitted(&limiter, "2001:db8::ffff:1", now), 0);
        assert_eq!(admitted(&limiter, "2001:db8:0:1::1", now), 120);
        assert_eq!(admitted(&limiter, "192.0.2.1", now), 120);
        assert_eq!(admitted(&limiter, "::ffff:192.0.2.1", now), 0);
    }

    /// How many events have to be admitted if one comes every `step` for `span`; `step` is at most
    /// an interval.
    fn promised(step: Duration, span: Duration, rate: Rate) -> u64 {
        let asked = span.as_nanos() / step.as_nanos();
        let burst = rate.tolerance.as_nanos() / rate.interval.as_nanos();
        let by_then = burst + asked * step.as_nanos() / rate.interval.as_nanos();
        u64::try_from(by_then.min(asked + 1)).unwrap()
    }

    /// Asked every 999 µs, a limiter in whole milliseconds would admit nothing after the burst.
    #[test]
    fn s17_admits_what_is_promised_however_fast_it_is_asked() {
        let span = Duration::from_secs(10);
        for (step_us, want) in [(1, 320), (100, 320), (500, 320), (999, 319), (1_000, 320), (50_000, 201)] {
            let step = Duration::from_micros(step_us);
            assert_eq!(asked_every(step, span, RATE), want, "asked every {step_us} µs");
            assert_eq!(promised(step, span, RATE), want, "asked every {step_us} µs");
        }
    }

    #[test]
    fn v67_s03_what_is_over_the_rate_waits_for_its_turn_and_never_longer_than_it_may() {
        let rate = Rate::new(2, 10); // one each 100 ms
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        let wait_max = Duration::from_millis(250);
        let mut wait = |at_ms: u64| bucket.wait(&rate, wait_max, now + Duration::from_millis(at_ms)).as_millis();
        assert_eq!([wait(0), wait(0), wait(0), wait(0), wait(0), wait(0)], [0, 0, 100, 200, 250, 250]);
        assert_eq!([wait(250), wait(250), wait(250)], [100, 200, 250], "what waited is paid");
        assert_eq!([wait(5_000), wait(5_000), wait(5_000)], [0, 0, 100]);
    }

    /// A sender that waits as told, with one piece in flight, gets the rate to the nanosecond.
    #[test]
    fn v67_s03_a_sender_that_waits_gets_the_rate_and_no_more() {
        let (rate, start) = (Rate::new(10, 4), Instant::now());
        let (mut bucket, mut at, mut count) = (Bucket::default(), Duration::ZERO, 0_u32);
        while at < Duration::from_secs(10) {
            at += bucket.wait(&rate, Duration::MAX, start + at);
            count += 1;
        }
        assert_eq!(count, 10 + 40);
    }

    #[test]
    fn s17_a_clock_that_stands_still_or_goes_back_admits_no_more_than_the_burst() {
        let (mut bucket, now) = (Bucket::default(), Instant::now() + Duration::from_secs(10));
        let admitted =
            (0_u32..100_000).filter(|n| bucket.admits(&RATE, now - Duration::from_micros((*n).into()))).count();
        assert_eq!(admitted, 119, "one less: the bucket is that little further from full");
    }

    #[test]
    fn a_refund_is_worth_one_event() {
        let (limiter, now) = (RateLimiter::new(Rate::new(2, 1), NonZeroUsize::MIN), Instant::now());
        assert!(limiter.admits(1, now) && limiter.admits(1, now) && !limiter.admits(1, now));
        limiter.refund(&1);
        assert!(limiter.admits(1, now) && !limiter.admits(1, now));
        for _ in 0..10 {
            limiter.refund(&1);
        }
        assert_eq!((0..10).filter(|_| limiter.admits(1, now)).count(), 2, "a bucket holds no more than its burst");
    }

    #[test]
    fn forgets_the_sender_that_has_not_asked_for_longest() {
        let (limiter, now) = (RateLimiter::new(Rate::new(1, 1), NonZeroUsize::MIN.saturating_add(1)), Instant::now());
        assert!(limiter.admits(1, now) && limiter.admits(2, now) && !limiter.admits(1, now));
        assert!(limiter.admits(3, now), "which forgets 2");
        assert!(!limiter.admits(1, now) && limiter.admits(2, now));
    }

    fn rates() -> impl Strategy<Value = Rate> {
        (1_u32..300, 1_u32..2_000_000).prop_map(|(burst, per_second)| Rate::new(burst, per_second))
    }

    proptest! {
        /// In no window more than the burst and the rate times its length.
        #[test]
        fn s17_never_more_than_promised(rate in rates(), steps in prop::collection::vec(0_u64..3_000_000, 1..400)) {
            let (mut bucket, mut now) = (Bucket::default(), Instant::now());
            let mut times = Vec::new();
            for step in steps {
                now += Duration::from_nanos(step);
                if bucket.admits(&rate, now) {
                    times.push(now);
                }
            }
            let burst = rate.tolerance.as_nanos() / rate.interval.as_nanos();
            for (first, from) in times.iter().enumerate() {
                for (last, until) in times.iter().enumerate().skip(first) {
                    let span = until.duration_since(*from).as_nanos();
                    let most = burst + span / rate.interval.as_nanos();
                    prop_assert!(u128::try_from(last - first + 1).unwrap() <= most);
                }
            }
        }

        /// A sender that asks at least once an interval gets the whole rate. A burst of one cannot
        /// accumulate.
        #[test]
        fn s17_never_less_than_promised(rate in rates(), part in 1_u32..1_000, intervals in 1_u32..200) {
            prop_assume!(rate.tolerance > rate.interval);
            let step = (rate.interval / part).max(Duration::from_nanos(1));
            let span = rate.interval * intervals;
            prop_assert_eq!(asked_every(step, span, rate), promised(step, span, rate));
        }
    }
}
