//! Decides when an intent may be accepted, and until when a used intent must be remembered.

use crate::time::Timestamp;

/// The lifetime of an intent, and the tolerance for a user's clock that is ahead.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// Longest `exp - iat`, in seconds.
    pub lifetime_max_s: i64,
    /// How far in the future `iat` may be, in seconds.
    pub future_skew_s: i64,
}

/// Why an intent's times are refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FreshnessRejection {
    /// `exp` is not after `iat`, or too long after it.
    #[error("exp is not after iat, or later than the longest lifetime allows")]
    Lifetime,
    /// `exp` has passed. Expiry has no tolerance.
    #[error("expired")]
    Expired,
    /// `iat` is further ahead than the clock tolerance allows.
    #[error("issued in the future")]
    FromTheFuture,
    /// `iat` is further back than the longest lifetime.
    #[error("issued too long ago")]
    TooOld,
}

impl Window {
    /// Whether an intent with these times is acceptable now.
    ///
    /// # Errors
    /// The rule that the times break.
    pub fn check(&self, iat: Timestamp, exp: Timestamp, now: Timestamp) -> Result<(), FreshnessRejection> {
        if exp <= iat || exp.since(iat) > self.lifetime_max_s {
            return Err(FreshnessRejection::Lifetime);
        }
        if now > exp {
            return Err(FreshnessRejection::Expired);
        }
        if iat > now.plus(self.future_skew_s) {
            return Err(FreshnessRejection::FromTheFuture);
        }
        if iat < now.plus(-self.lifetime_max_s) {
            return Err(FreshnessRejection::TooOld);
        }
        Ok(())
    }

    /// The last moment at which a used intent must be remembered. After it, no tolerated clock
    /// accepts the intent (V38). The only formula for retention.
    #[must_use]
    pub const fn retain_until(&self, exp: Timestamp) -> Timestamp {
        exp.plus(self.future_skew_s)
    }

    /// The largest distance from now to [`Window::retain_until`] of an acceptable intent, in
    /// seconds.
    #[must_use]
    pub const fn retention_max_s(&self) -> i64 {
        self.lifetime_max_s.saturating_add(self.future_skew_s).saturating_add(self.future_skew_s)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Window = Window { lifetime_max_s: 60, future_skew_s: 5 };

    fn check(iat: i64, exp: i64, want: Result<(), FreshnessRejection>) {
        let now = Timestamp::from_seconds(1000);
        assert_eq!(WINDOW.check(Timestamp::from_seconds(iat), Timestamp::from_seconds(exp), now), want, "{iat}..{exp}");
    }

    #[test]
    fn v32_the_lifetime_is_positive_and_bounded() {
        check(1000, 1060, Ok(()));
        check(1000, 1061, Err(FreshnessRejection::Lifetime));
        check(1000, 1000, Err(FreshnessRejection::Lifetime));
        check(1000, 999, Err(FreshnessRejection::Lifetime));
        check(i64::MIN, i64::MAX, Err(FreshnessRejection::Lifetime));
        check(i64::MAX, i64::MIN, Err(FreshnessRejection::Lifetime));
    }

    #[test]
    fn v34_expiry_has_no_tolerance_and_the_future_a_small_one() {
        check(990, 1000, Ok(()));
        check(990, 999, Err(FreshnessRejection::Expired));
        check(940, 1000, Ok(()));
        check(1005, 1010, Ok(()));
        check(1006, 1010, Err(FreshnessRejection::FromTheFuture));
        check(i64::MAX - 1, i64::MAX, Err(FreshnessRejection::FromTheFuture));
        check(-60, -1, Err(FreshnessRejection::Expired));
    }

    proptest! {
        #[test]
        fn v38_whatever_can_be_accepted_is_still_remembered(
            lifetime_max_s in 1_i64..600, future_skew_s in 0_i64..60,
            iat in 0_i64..2000, lifetime in 0_i64..700, before_exp in -2_i64..70,
        ) {
            let window = Window { lifetime_max_s, future_skew_s };
            let iat = Timestamp::from_seconds(iat);
            let exp = iat.plus(lifetime);
            // Near the end, where too short a retention would show.
            let now = exp.plus(-before_exp);
            if window.check(iat, exp, now).is_ok() {
                prop_assert!(now <= window.retain_until(exp));
                prop_assert!(window.retain_until(exp).since(now) <= window.retention_max_s());
            }
        }
    }
}
