//! Tests of the replay log with every interleaving of threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use countersign_keys::replay::IntentId;

use super::*;
use countersign_os::locks::scheduled::in_every_order;

const WINDOW: Window = Window { lifetime_max_s: 60, future_skew_s: 5 };
const NOW: Timestamp = Timestamp::from_seconds(1000);

fn used(order: u32) -> Use {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&order.to_be_bytes());
    Use { id: IntentId(id), iat: NOW, exp: NOW.plus(60) }
}

#[test]
fn v35_of_concurrent_copies_one_passes_in_every_order() {
    let directory = tempfile::tempdir().unwrap();
    Journal::create(directory.path()).unwrap();
    let journal = Arc::new(Journal::open(directory.path(), WINDOW, usize::MAX, NOW).unwrap());
    let order = AtomicU32::new(0);
    let orders = in_every_order(move || {
        // One journal for all interleavings, because creating one takes longer than a schedule.
        // Each interleaving has separate intents.
        let order = order.fetch_add(1, Ordering::Relaxed);
        let copies = [(); 3].map(|()| {
            let journal = Arc::clone(&journal);
            shuttle::thread::spawn(move || journal.check_and_insert(used(order), NOW))
        });
        let answers = copies.map(|copy| copy.join().unwrap());
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    });
    assert!(orders >= 6, "{orders} orders of three threads");
}
