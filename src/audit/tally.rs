//! Counts decisions that need no record each, in bounded space and for a bounded time.
//!
//! Refusals of strangers are counted by kind: the first of a kind in a period has its own record.
//! One further record says how many followed, when, and from how many networks. Decisions that
//! change nothing, such as Core's polls and public pages, are only counted. A count that cannot be
//! written waits; counts are lost only if the process is killed.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use countersign_keys::identity::{CallName, Username};
use time::OffsetDateTime;

use super::decision::{Counted, Decision, Process, Verdict};

/// Kinds counted separately at a time. Further kinds share one count.
const KINDS_MAX: usize = 64;

/// Networks distinguished in one count, which beyond that says "at least".
const NETWORKS_MAX: usize = 64;

/// How long refusals are counted before their record is written.
const REFUSALS_FOR: Duration = Duration::from_secs(10);

/// How long decisions that change nothing are counted: 144 records a day for each of Core's polls.
const READS_FOR: Duration = Duration::from_secs(600);

/// The reason of decisions of further kinds.
const FURTHER_KINDS: &str = "further kinds, counted together";

/// Decisions that share a count.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Kind {
    username: Option<Username>,
    call: Option<CallName>,
    decision: Verdict,
    status: Option<u16>,
    reason: Option<String>,
}

#[derive(Debug)]
struct Count {
    process: Process,
    request_id: String,
    number: u64,
    first: OffsetDateTime,
    last: OffsetDateTime,
    networks: HashSet<IpAddr>,
    counting: Counting,
    until: Instant,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Counting {
    /// The first of its kind has its own record.
    AfterTheFirst,
    /// All are counted, for longer.
    All,
}

/// The counts. Bounded by [`KINDS_MAX`], one more for each verdict, the calls that change nothing,
/// and the users with open web interfaces.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: HashMap<Kind, Count>,
}

impl Tally {
    /// Counts a decision. Returns `true` if it is the first of its kind: then it is not counted,
    /// and needs its own record.
    pub(super) fn count(
        &mut self,
        decision: &Decision<'_>,
        network: Option<IpAddr>,
        counting: Counting,
        now: Instant,
    ) -> bool {
        let kind = Kind {
            username: decision.username.cloned(),
            call: decision.call.cloned(),
            decision: decision.decision,
            status: decision.status,
            reason: decision.reason.map(str::to_owned),
        };
        let is_new = !self.counts.contains_key(&kind);
        let is_further = is_new && counting == Counting::AfterTheFirst && self.refusals() >= KINDS_MAX;
        let kind = if is_further { further(decision.decision) } else { kind };
        let span = match counting {
            Counting::AfterTheFirst => REFUSALS_FOR,
            Counting::All => READS_FOR,
        };
        let count = self.counts.entry(kind).or_insert_with(|| Count {
            process: decision.process,
            request_id: decision.request_id.to_owned(),
            number: 0,
            first: decision.time,
            last: decision.time,
            networks: HashSet::new(),
            counting,
            until: now.checked_add(span).unwrap_or(now),
        });
        if is_new && !is_further && counting == Counting::AfterTheFirst {
            return true;
        }
        count.add(decision, network);
        false
    }

    fn refusals(&self) -> usize {
        self.counts.values().filter(|count| count.counting == Counting::AfterTheFirst).count()
    }

    /// Counts the first of a kind too, because its record could not be written.
    pub(super) fn count_the_first(&mut self, decision: &Decision<'_>, network: Option<IpAddr>, now: Instant) {
        if self.count(decision, network, Counting::AfterTheFirst, now) {
            self.count(decision, network, Counting::AfterTheFirst, now);
        }
    }

    /// Writes the counts that are due, or all. One that cannot be written stays.
    pub(super) fn settle(
        &mut self,
        over: impl Fn(Instant) -> bool,
        time: OffsetDateTime,
        mut write: impl FnMut(&Decision<'_>) -> bool,
    ) {
        self.counts
            .retain(|kind, count| !over(count.until) || (count.number > 0 && !write(&count.decision(kind, time))));
    }
}

impl Count {
    fn add(&mut self, decision: &Decision<'_>, network: Option<IpAddr>) {
        if self.number == 0 {
            self.first = decision.time;
            decision.request_id.clone_into(&mut self.request_id);
        }
        self.number = self.number.saturating_add(1);
        self.last = decision.time;
        if self.networks.len() < NETWORKS_MAX {
            self.networks.extend(network);
        }
    }

    fn decision<'d>(&'d self, kind: &'d Kind, time: OffsetDateTime) -> Decision<'d> {
        let Self { process, request_id, number, first, last, networks, .. } = self;
        Decision {
            time,
            request_id,
            process: *process,
            username: kind.username.as_ref(),
            call: kind.call.as_ref(),
            kid: None,
            decision: kind.decision,
            status: kind.status,
            reason: kind.reason.as_deref(),
            sealed: None,
            counted: Some(Counted { number: *number, first: *first, last: *last, networks: networks.len() }),
        }
    }
}

fn further(decision: Verdict) -> Kind {
    Kind { username: None, call: None, decision, status: None, reason: Some(FURTHER_KINDS.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(second).unwrap()
    }

    fn refusal(second: i64, reason: &str) -> Decision<'_> {
        Decision {
            time: at(second),
            request_id: "r",
            process: Process::Gateway,
            username: None,
            call: None,
            kid: None,
            decision: Verdict::Refuse,
            status: Some(404),
            reason: Some(reason),
            sealed: None,
            counted: None,
        }
    }

    fn network(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    /// The counts written at that moment, with their reasons.
    fn settled(tally: &mut Tally, now: Instant) -> Vec<(String, Counted)> {
        let mut written = Vec::new();
        tally.settle(
            |until| until <= now,
            at(99),
            |decision| {
                written.push((decision.reason.unwrap().to_owned(), decision.counted.unwrap()));
                true
            },
        );
        written.sort_by(|(one, _), (other, _)| one.cmp(other));
        written
    }

    #[test]
    fn v67_s03_the_first_is_a_record_and_what_follows_is_one_more() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        let firsts = (0..1_000).filter(|second| {
            let network = network(u8::try_from(second % 3).unwrap());
            tally.count(&refusal(*second, "no such call"), network, Counting::AfterTheFirst, now)
        });
        assert_eq!(firsts.count(), 1);
        assert!(settled(&mut tally, now + 9 * SECOND).is_empty());
        let written = settled(&mut tally, now + 10 * SECOND);
        let [(reason, counted)] = written.as_slice() else { panic!("{written:?}") };
        assert_eq!(reason, "no such call");
        assert_eq!((counted.number, counted.first, counted.last, counted.networks), (999, at(1), at(999), 3));
        assert!(tally.count(&refusal(1_000, "no such call"), network(1), Counting::AfterTheFirst, now + 10 * SECOND));
    }

    #[test]
    fn a_single_one_leaves_nothing_behind() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        assert!(tally.count(&refusal(0, "a"), None, Counting::AfterTheFirst, now));
        assert!(settled(&mut tally, now + 10 * SECOND).is_empty() && tally.counts.is_empty());
    }

    #[test]
    fn what_changes_nothing_is_counted_alone_and_for_longer() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        assert!(!tally.count(&refusal(0, "a"), None, Counting::All, now));
        assert!(settled(&mut tally, now + 599 * SECOND).is_empty());
        assert_eq!(settled(&mut tally, now + 600 * SECOND).len(), 1);
    }

    #[test]
    fn v67_s03_space_is_bounded_and_nothing_uncounted() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        let reasons: Vec<String> = (0..10_000).map(|number| format!("reason {number:05}")).collect();
        let mut records = 0;
        for (number, reason) in reasons.iter().enumerate() {
            let network = Some(IpAddr::from(u32::try_from(number).unwrap().to_be_bytes()));
            records += u64::from(tally.count(&refusal(0, reason), network, Counting::AfterTheFirst, now));
            tally.count(&refusal(0, reason), network, Counting::AfterTheFirst, now);
        }
        assert_eq!((records, tally.counts.len()), (64, 65));
        let written = settled(&mut tally, now + 10 * SECOND);
        assert_eq!(written[0].0, FURTHER_KINDS);
        assert_eq!(written[0].1.networks, NETWORKS_MAX);
        let counted: u64 = written.iter().map(|(_, counted)| counted.number).sum();
        assert_eq!(records + counted, 20_000);
    }

    #[test]
    fn a_count_that_cannot_be_written_waits() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        tally.count_the_first(&refusal(0, "a"), None, now);
        tally.settle(|_| true, at(1), |_| false);
        tally.count(&refusal(2, "a"), None, Counting::AfterTheFirst, now);
        assert_eq!(settled(&mut tally, now + 10 * SECOND)[0].1.number, 2);
    }
}
