//! The one place of this program that reads the system's clock, and the one that draws random
//! bytes.
//!
//! Everything else takes the moment and the bytes as arguments. A clock before 1970 cannot be
//! judged by, and randomness that fails is a failure, never a fixed value (P8).

use std::time::{SystemTime, UNIX_EPOCH};

use countersign_keys::time::Timestamp;

/// Tells the time.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// The system's.
    System,
    /// A moment that a test sets.
    #[cfg(test)]
    Set(std::sync::Arc<std::sync::atomic::AtomicI64>),
}

/// The system's clock cannot be judged by.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system's clock is before 1970")]
pub(crate) struct UnreadableClock;

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gave no random bytes")]
pub(crate) struct NoRandomness;

impl Clock {
    /// This moment, in whole seconds.
    pub(crate) fn now(&self) -> Result<Timestamp, UnreadableClock> {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_before| UnreadableClock)?;
                i64::try_from(since.as_secs()).map(Timestamp::from_seconds).map_err(|_late| UnreadableClock)
            }
            #[cfg(test)]
            Self::Set(seconds) => Ok(Timestamp::from_seconds(seconds.load(std::sync::atomic::Ordering::SeqCst))),
        }
    }
}

/// Random bytes for keys' ids, tickets and nonces.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_unspecified| NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
