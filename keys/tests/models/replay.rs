//! No intent is accepted twice, whatever the clock does and however often the process restarts (P4,
//! V39, V40).
//!
//! A state is its history. The product's own code computes the log, the guard and the acceptances
//! from it.

use countersign_keys::freshness::Window;
use countersign_keys::replay::lost::LostTimes;
use countersign_keys::replay::{IntentId, Use, UsedIntents};
use countersign_keys::time::{ClockGuard, Timestamp};
use stateright::{Checker as _, Model, Property};

/// Small, so that a few steps cross every boundary.
const WINDOW: Window = Window { lifetime_max_s: 3, future_skew_s: 1 };

/// How far back the clock guard holds, as in the gateway.
const BEHIND_MAX_S: i64 = 1;

/// So small that a use is forgotten as soon as possible, and the lost times decide.
const CAPACITY: usize = 2;

/// Longest history.
const STEPS_MAX: usize = 7;

/// Signed intents, by `iat` and `exp`. The second may be forgotten while the first is still
/// acceptable.
const INTENTS: [(i64, i64); 2] = [(10, 13), (10, 11)];

const START: i64 = 10;

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Step {
    /// Core presents an intent.
    Present(usize),
    /// The clock advances, or is set.
    Clock(i64),
    /// The process is killed, and restarts from its journal.
    Restart,
    /// The machine fails and the journal is lost. The clock is not behind the time judged by.
    Loss,
}

/// The result of a history.
struct Outcome {
    wall: i64,
    accepted: [usize; INTENTS.len()],
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn outcome(history: &[Step]) -> Outcome {
    let mut wall = START;
    let mut accepted = [0; INTENTS.len()];
    let mut fence = at(0);
    let mut log = UsedIntents::new(WINDOW, CAPACITY, fence);
    let mut lost = LostTimes::default();
    let mut guard = ClockGuard::new(at(wall), BEHIND_MAX_S);
    let mut journal: Vec<(Use, Timestamp)> = Vec::new();
    for step in history {
        match *step {
            Step::Clock(by) => wall += by,
            Step::Present(which) => {
                let (iat, exp) = INTENTS[which];
                let now = guard.judge_by(at(wall));
                let used = Use { id: IntentId([u8::try_from(which).unwrap(); 32]), iat: at(iat), exp: at(exp) };
                if WINDOW.check(used.iat, used.exp, now).is_ok() && log.insert(used, now).is_ok() {
                    accepted[which] += 1;
                    journal.push((used, now));
                }
                // The journal's lost times, for uses that its two files do not have any more.
                lost.add_all(log.lost());
            }
            Step::Restart => {
                let latest = journal.iter().map(|(_, now)| *now).max();
                log = UsedIntents::new(WINDOW, CAPACITY, at(0));
                for (used, now) in &journal {
                    let _forgotten = log.insert(*used, *now);
                }
                log.raise_fence(fence);
                log.lose(&lost);
                guard = ClockGuard::new(latest.unwrap_or(at(wall)), BEHIND_MAX_S);
            }
            Step::Loss => {
                let latest = journal.iter().map(|(_, now)| now.seconds()).max().unwrap_or(wall);
                wall = wall.max(latest);
                journal.clear();
                fence = fence.max(at(wall + WINDOW.future_skew_s));
                log = UsedIntents::new(WINDOW, CAPACITY, fence);
                log.lose(&lost);
                guard = ClockGuard::new(at(wall), BEHIND_MAX_S);
            }
        }
    }
    Outcome { wall, accepted }
}

struct Replay;

impl Model for Replay {
    type State = Vec<Step>;
    type Action = Step;

    fn init_states(&self) -> Vec<Vec<Step>> {
        vec![Vec::new()]
    }

    fn actions(&self, history: &Vec<Step>, actions: &mut Vec<Step>) {
        if history.len() < STEPS_MAX {
            actions.extend((0..INTENTS.len()).map(Step::Present));
            actions.extend([Step::Clock(1), Step::Clock(3), Step::Clock(-4), Step::Restart, Step::Loss]);
        }
    }

    fn next_state(&self, history: &Vec<Step>, step: Step) -> Option<Vec<Step>> {
        // Two consecutive restarts count as one, and a restart at the beginning as none.
        if matches!((history.last(), step), (None | Some(Step::Restart | Step::Loss), Step::Restart | Step::Loss)) {
            return None;
        }
        Some(history.iter().copied().chain([step]).collect())
    }

    fn within_boundary(&self, history: &Vec<Step>) -> bool {
        (START - 4..START + 9).contains(&outcome(history).wall)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no intent is accepted twice", |_, history: &Vec<Step>| {
                outcome(history).accepted.iter().all(|times| *times <= 1)
            }),
            Property::sometimes("every intent can be accepted", |_, history: &Vec<Step>| {
                outcome(history).accepted.iter().all(|times| *times == 1)
            }),
        ]
    }
}

#[test]
fn p4_no_order_of_clock_restart_and_copies_accepts_an_intent_twice() {
    let checked = Replay.checker().threads(2).spawn_dfs().join();
    checked.assert_properties();
    assert!(checked.state_count() > 100_000, "only {} states", checked.state_count());
}
