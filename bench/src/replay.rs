//! The replay log as it grows: the memory of a live intent, and whether a lookup takes longer the
//! more there are.

use std::hint::black_box;
use std::time::{Duration, Instant};

use countersign_keys::freshness::Window;
use countersign_keys::replay::{IntentId, Use, UsedIntents};
use countersign_keys::time::Timestamp;
use nix::unistd::getpid;

use crate::arguments::ReplayOptions;
use crate::error::BenchError;
use crate::process;
use crate::report;

/// A provider's defaults.
const WINDOW: Window = Window { lifetime_max_s: 60, future_skew_s: 5 };
/// Uses over which the time of one is averaged.
const TIMED: u32 = 10_000;
/// An arbitrary time.
const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// The log at one size.
pub(crate) struct Size {
    pub(crate) live: usize,
    /// Mean time of a use that filled it up to here: lookup and insertion.
    pub(crate) insertion: Duration,
    /// Mean time of a lookup that finds its use.
    pub(crate) refusal: Duration,
    pub(crate) resident_bytes: u64,
}

pub(crate) fn run(options: &ReplayOptions) -> Result<(), BenchError> {
    let capacity = usize::try_from(options.intents).unwrap_or(usize::MAX);
    let before = process::resident_bytes(&[getpid()])?;
    let mut log = UsedIntents::new(WINDOW, capacity, Timestamp::from_seconds(0));
    let mut sizes = Vec::new();
    let mut number = 0;
    for size in sizes_up_to(options.intents) {
        while number < size.saturating_sub(TIMED) {
            log.insert(used(number)?, NOW).map_err(BenchError::Replay)?;
            number = number.saturating_add(1);
        }
        let timed = (number..size).map(used).collect::<Result<Vec<_>, _>>()?;
        let begun = Instant::now();
        for used in &timed {
            log.insert(black_box(*used), NOW).map_err(BenchError::Replay)?;
        }
        let insertion = begun.elapsed();
        let begun = Instant::now();
        if timed.iter().any(|used| black_box(log.insert(*used, NOW)).is_ok()) {
            return Err(BenchError::Keys("a used intent was accepted again"));
        }
        let refusal = begun.elapsed();
        let each = u32::try_from(timed.len()).unwrap_or(u32::MAX).max(1);
        number = size;
        sizes.push(Size {
            live: log.count(),
            insertion: insertion / each,
            refusal: refusal / each,
            resident_bytes: process::resident_bytes(&[getpid()])?.saturating_sub(before),
        });
    }
    report::replay(&sizes)
}

/// 10,000, 100,000, … and the last.
fn sizes_up_to(last: u32) -> Vec<u32> {
    let mut sizes: Vec<_> =
        std::iter::successors(Some(TIMED), |size| size.checked_mul(10)).take_while(|size| *size < last).collect();
    sizes.push(last);
    sizes
}

/// The n-th intent. The times are spread over the whole window in which intents live.
fn used(number: u32) -> Result<Use, BenchError> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &number.to_be_bytes());
    let id = digest.as_ref().try_into().map_err(|_| BenchError::Keys("a digest"))?;
    let age = i64::from(number) % WINDOW.lifetime_max_s;
    let iat = NOW.plus(-age);
    Ok(Use { id: IntentId(id), iat, exp: iat.plus(WINDOW.lifetime_max_s) })
}
