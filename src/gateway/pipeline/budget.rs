//! The time budget of one user's request, counted from its arrival: Core gives up after 5 s.
//!
//! The wait for a deposit, the connection to the instance and the instance's work all take from it.
//! The gateway tells the instance what is left. If too little is left, it forwards nothing and
//! consumes nothing: Core repeats the request, and its deposit waits for it (P4).

use std::time::Duration;

use tokio::time::Instant;

use crate::response::refusal::{Failure, Refusal};
use countersign_ipc::within::ANSWERED_WITHIN;

/// Least time for the instance's work: listing an ordinary folder takes a tenth of it.
const WORK_MIN: Duration = Duration::from_millis(500);

/// How long after the instance's deadline the gateway still waits: the answer has to be written and
/// read.
const WAY_BACK: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    end: Instant,
}

impl Budget {
    pub(crate) fn from(arrival: Instant) -> Self {
        Self { end: arrival + ANSWERED_WITHIN }
    }

    /// Until when to wait for a deposit, at most `wait` from now. Leaves [`WORK_MIN`] for the work.
    pub(crate) fn for_deposit(self, wait: Duration) -> Instant {
        (Instant::now() + wait).min(self.last())
    }

    /// Awaits `making_ready`, if enough time is left then for the work. It must consume nothing
    /// before it is done.
    pub(crate) async fn make_ready<T>(
        self,
        making_ready: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let late = || Refusal::from(Failure::Late);
        if Instant::now() > self.last() {
            return Err(late());
        }
        tokio::time::timeout_at(self.last(), making_ready).await.map_err(|_elapsed| late())?
    }

    pub(crate) fn left(self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// The last moment at which the request may be forwarded.
    fn last(self) -> Instant {
        self.end.checked_sub(WORK_MIN).unwrap_or(self.end)
    }

    /// When the gateway gives up the instance's answer.
    pub(crate) fn given_up(self) -> Instant {
        self.end + WAY_BACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[tokio::test(start_paused = true)]
    async fn c08_all_that_a_request_waits_for_takes_from_one_budget() {
        let began = Instant::now();
        let budget = Budget::from(began);
        assert_eq!((budget.left(), budget.given_up()), (ms(4_500), began + ms(4_700)));
        assert_eq!(budget.for_deposit(ms(1_500)), began + ms(1_500));
        tokio::time::advance(ms(1_400)).await;
        assert_eq!(budget.for_deposit(ms(4_000)), began + ms(4_000), "some time stays for the work");
        let slow = async {
            tokio::time::sleep(ms(1_000)).await;
            Ok(())
        };
        assert!(budget.make_ready(slow).await.is_ok());
        assert_eq!(budget.left(), ms(2_100));
    }

    #[tokio::test(start_paused = true)]
    async fn c08_nothing_goes_out_for_which_too_little_time_is_left() {
        let budget = Budget::from(Instant::now());
        let is_late = |outcome: Result<(), Refusal>| matches!(outcome, Err(Refusal::Failure(Failure::Late)));
        assert!(is_late(budget.make_ready(std::future::pending()).await));
        assert_eq!(budget.left(), WORK_MIN);
        tokio::time::advance(ms(1)).await;
        assert!(is_late(budget.make_ready(async { panic!("it is not begun") }).await));
        tokio::time::advance(ms(10_000)).await;
        assert_eq!(budget.left(), Duration::ZERO);
    }
}
