//! The clock by which requests are verified, and the only source of random bytes.
//!
//! Other modules take both as arguments; records, HTTP dates and the expiry of accounts read the
//! system's clock directly. Refuses a clock before 1970, and reports failing randomness instead of
//! using a fixed value (P8).

use std::time::{SystemTime, UNIX_EPOCH};

use countersign_keys::time::Timestamp;

#[derive(Clone, Debug)]
pub enum Clock {
    System,
    /// A time set by a test.
    #[cfg(any(test, feature = "testing"))]
    Set(std::sync::Arc<std::sync::atomic::AtomicI64>),
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system's clock is before 1970")]
pub struct UnreadableClock;

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoRandomness;

impl Clock {
    /// The time, in whole seconds.
    pub fn now(&self) -> Result<Timestamp, UnreadableClock> {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_before| UnreadableClock)?;
                i64::try_from(since.as_secs()).map(Timestamp::from_seconds).map_err(|_late| UnreadableClock)
            }
            #[cfg(any(test, feature = "testing"))]
            Self::Set(seconds) => Ok(Timestamp::from_seconds(seconds.load(std::sync::atomic::Ordering::SeqCst))),
        }
    }
}

/// Random bytes for ids of keys, tickets and nonces.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_unspecified| NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_is_past_the_year_2020() {
        assert!(Clock::System.now().unwrap() > Timestamp::from_seconds(1_577_836_800));
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random_bytes::<32>().unwrap(), random_bytes::<32>().unwrap());
    }
}
