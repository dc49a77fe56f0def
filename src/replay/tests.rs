//! Tests of the journal over restarts, boots, clock steps and damage.

use countersign_keys::replay::IntentId;

use super::*;

const WINDOW: Window = Window { lifetime_max_s: 60, future_skew_s: 5 };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn used(id: u32, iat: i64) -> Use {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&id.to_be_bytes());
    Use { id: IntentId(bytes), iat: at(iat), exp: at(iat + 60) }
}

/// The boot recorded by `Journal::create`, an hour before these tests' times.
fn boot() -> Boot {
    Boot { at: Some(at(-2600)), ..Boot::current(at(0)).unwrap() }
}

/// A reboot at that time.
fn another(seconds: i64) -> Boot {
    let [first, ..] = seconds.to_be_bytes();
    let [.., last] = seconds.to_be_bytes();
    Boot { id: [first ^ last ^ 0x5a; 16], at: Some(at(seconds)) }
}

fn open(directory: &Path, wall: i64) -> Journal {
    open_in(boot(), directory, wall)
}

fn open_in(boot: Boot, directory: &Path, wall: i64) -> Journal {
    Journal::open_in(boot, directory, WINDOW, 100_000, at(wall)).unwrap()
}

fn made() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    Journal::create(directory.path()).unwrap();
    directory
}

#[test]
fn v39_a_used_intent_stays_used_over_restarts() {
    let directory = made();
    for restart in 0..5 {
        let journal = open(directory.path(), 1000);
        for earlier in 0..restart {
            assert_eq!(journal.check_and_insert(used(earlier, 1000), at(1000)), Err(ReplayError::Used));
        }
        assert_eq!(journal.check_and_insert(used(restart, 1000), at(1000)), Ok(()));
        assert_eq!(journal.check_and_insert(used(restart, 1000), at(1000)), Err(ReplayError::Used));
    }
}

#[test]
fn v39_without_its_files_everything_issued_until_then_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), 1000);
    assert_eq!(journal.check_and_insert(used(1, 1005), at(1001)), Err(ReplayError::BeforeFence));
    assert_eq!(journal.check_and_insert(used(1, 1006), at(1001)), Ok(()));
    drop(journal);
    std::fs::remove_file(directory.path().join("used-intents.b")).unwrap();
    let journal = open(directory.path(), 1010);
    assert_eq!(journal.check_and_insert(used(2, 1015), at(1011)), Err(ReplayError::BeforeFence));
    assert_eq!(journal.check_and_insert(used(1, 1006), at(1011)), Err(ReplayError::Used)); // from the other file
    assert_eq!(journal.check_and_insert(used(2, 1016), at(1011)), Ok(()));
}

#[test]
fn v39_after_another_boot_everything_issued_until_then_is_refused() {
    let directory = made();
    drop(open(directory.path(), 1000));
    // Booted within the minute by which the clock may be wrong.
    let journal = open_in(another(990), directory.path(), 1000);
    assert_eq!(journal.check_and_insert(used(1, 1005), at(1001)), Err(ReplayError::BeforeFence));
    drop(journal);
    // The files are of this boot now and no longer show that something was lost: the fence itself
    // has to be recorded.
    let journal = open_in(another(990), directory.path(), 1001);
    assert_eq!(journal.check_and_insert(used(1, 1005), at(1001)), Err(ReplayError::BeforeFence));
    assert_eq!(journal.check_and_insert(used(1, 1006), at(1001)), Ok(()));
}

#[test]
fn v40_the_latest_moment_survives_a_restart() {
    let directory = made();
    let journal = open(directory.path(), 1000);
    assert_eq!(journal.now(at(1050)), Ok(at(1050)));
    journal.check_and_insert(used(1, 1050), at(1050)).unwrap();
    drop(journal);
    let journal = open(directory.path(), 1000);
    assert_eq!(journal.now(at(1000)), Ok(at(1050)));
    assert_eq!(journal.check_and_insert(used(1, 1050), at(1050)), Err(ReplayError::Used));
}

#[test]
fn r05_a_call_after_the_boot_is_accepted_at_once_and_one_from_before_it_is_not() {
    let directory = made();
    let journal = open(directory.path(), 1000);
    journal.check_and_insert(used(1, 1000), at(1000)).unwrap();
    drop(journal);
    // The boot was at 1100; the user signs an hour later.
    let journal = open_in(another(1100), directory.path(), 4700);
    assert_eq!(journal.check_and_insert(used(2, 4700), at(4700)), Ok(()));
    assert_eq!(journal.check_and_insert(used(3, 1165), at(1165)), Err(ReplayError::BeforeFence));
    assert_eq!(journal.check_and_insert(used(3, 1166), at(1166)), Ok(()), "the boot, a minute and the skew");
    drop(journal);
    // If the time of the boot is unknown, the start of the process counts.
    let journal = open_in(Boot { at: None, ..another(5000) }, directory.path(), 6000);
    assert_eq!(journal.check_and_insert(used(4, 6005), at(6001)), Err(ReplayError::BeforeFence));
    assert_eq!(journal.check_and_insert(used(4, 6006), at(6001)), Ok(()));
}

#[test]
fn r05_a_boot_whose_moment_is_after_now_is_not_believed() {
    let directory = made();
    drop(open(directory.path(), 1000));
    let journal = open_in(another(9000), directory.path(), 1000);
    assert_eq!(journal.check_and_insert(used(1, 1005), at(1001)), Err(ReplayError::BeforeFence));
    assert_eq!(journal.check_and_insert(used(1, 1006), at(1001)), Ok(()));
}

#[test]
fn v40_r04_a_clock_that_is_put_back_ten_minutes_is_followed_and_nothing_is_accepted_again() {
    let directory = made();
    let mut journal = open(directory.path(), 10_000);
    for second in 0..600 {
        let now = at(10_000 + second);
        journal.check_and_insert(used(u32::try_from(second).unwrap(), now.seconds()), now).unwrap();
    }
    for restarted in [false, true] {
        if restarted {
            drop(journal);
            journal = open(directory.path(), 10_000);
        }
        assert_eq!(journal.now(at(10_000)), Ok(at(10_000)), "restarted: {restarted}");
        for second in 0..600 {
            let now = at(10_000 + second);
            let again = journal.check_and_insert(used(u32::try_from(second).unwrap(), now.seconds()), now);
            assert_eq!(again, Err(ReplayError::Used));
        }
        let fresh = 1_000 + u32::from(restarted);
        assert_eq!(journal.check_and_insert(used(fresh, 10_001), at(10_001)), Ok(()));
    }
}

#[test]
fn v40_r04_a_machine_that_was_two_days_ahead_serves_at_once_when_its_clock_is_right() {
    const AHEAD: i64 = 2 * 86_400;
    for boot_after in [boot(), another(1_020)] {
        let directory = made();
        let journal = open(directory.path(), 1_000);
        journal.check_and_insert(used(1, 1_000), at(1_000)).unwrap();
        journal.check_and_insert(used(2, 1_000 + AHEAD), at(1_000 + AHEAD)).unwrap();
        drop(journal);
        let journal = open_in(boot_after, directory.path(), 2_000);
        assert_eq!(Journal::refuses_until(directory.path(), WINDOW, at(2_000)).unwrap(), None);
        assert_eq!(journal.now(at(2_000)), Ok(at(2_000)));
        assert_eq!(journal.check_and_insert(used(3, 2_000), at(2_000)), Ok(()));
        let again = journal.check_and_insert(used(2, 1_000 + AHEAD), at(1_000 + AHEAD));
        assert_eq!(again, Err(ReplayError::Used), "two days later");
        // A use beside it that was lost with the power is refused too.
        let lost = journal.check_and_insert(used(4, 1_001 + AHEAD), at(1_001 + AHEAD));
        let want = if boot_after == boot() { Ok(()) } else { Err(ReplayError::BeforeFence) };
        assert_eq!(lost, want);
    }
}

#[test]
fn v40_r04_a_clock_that_reads_what_was_forgotten_is_refused_until_a_moment_that_is_said() {
    let directory = made();
    let mut header = Header { boot: boot().id, fence: at(0), lost: LostTimes::default() };
    header.lost.add(at(0), at(10_000));
    for (path, epoch) in paths(directory.path()).iter().zip([3, 2]) {
        fill(&OpenOptions::new().write(true).open(path).unwrap(), header, epoch, &[]).unwrap();
    }
    let until = at(10_000 + 1 - 70);
    assert_eq!(Journal::refuses_until(directory.path(), WINDOW, at(5_000)).unwrap(), Some(until));
    let journal = open(directory.path(), 5_000);
    assert_eq!(journal.now(at(5_000)), Err(ClockFailure { until }));
    assert_eq!(journal.check_and_insert(used(1, 5_000), at(5_000)), Err(ReplayError::BeforeFence));
    assert_eq!(journal.now(until), Ok(until));
    // Signed at that time with the longest lifetime and the greatest skew: the first intent that
    // can be judged.
    assert_eq!(journal.check_and_insert(used(1, until.seconds() + 5), until), Ok(()));
}

#[test]
fn what_the_files_take_turns_over_is_lost_and_refused_by_its_time() {
    let directory = made();
    let journal = open(directory.path(), 1000);
    let full = u32::try_from(BLOCKS_LAID_OUT).unwrap();
    for id in 0..3 * full {
        let second = 1000 + i64::from(id / full) * 1000;
        journal.check_and_insert(used(id, second), at(second)).unwrap();
    }
    drop(journal);
    let journal = open(directory.path(), 1000);
    let again: Vec<u32> = (0..full).filter(|id| journal.check_and_insert(used(*id, 1000), at(1000)).is_ok()).collect();
    assert_eq!(again, Vec::<u32>::new());
}

#[test]
fn files_of_format_2_are_carried_over() {
    let directory = tempfile::tempdir().unwrap();
    let old = Header { boot: boot().id, fence: at(500), lost: LostTimes::default() };
    let uses = [(used(1, 1000), at(1000)), (used(2, 1010), at(1010))];
    for (path, (epoch, uses)) in paths(directory.path()).iter().zip([(2, &uses[..]), (1, &[])]) {
        let mut bytes = old.to_bytes_2(epoch).to_vec();
        uses.iter().for_each(|(used, now)| bytes.extend_from_slice(&record(epoch, *used, *now)));
        bytes.resize(4096 * 64, 0);
        std::fs::write(path, bytes).unwrap();
    }
    for _ in 0..2 {
        let journal = open(directory.path(), 1020);
        assert_eq!(journal.check_and_insert(used(1, 1000), at(1020)), Err(ReplayError::Used));
        assert_eq!(journal.check_and_insert(used(2, 1010), at(1020)), Err(ReplayError::Used));
        assert_eq!(journal.check_and_insert(used(3, 500), at(501)), Err(ReplayError::BeforeFence));
        let before = Use { exp: at(990), ..used(3, 940) };
        assert_eq!(
            journal.check_and_insert(before, at(985)),
            Err(ReplayError::BeforeFence),
            "may have been overwritten"
        );
    }
    let journal = open(directory.path(), 1020);
    assert_eq!(journal.check_and_insert(used(4, 1020), at(1020)), Ok(()), "no fence for it");
}

#[test]
fn v74_a_raised_fence_refuses_what_was_signed_until_then_and_forgets_nothing() {
    let directory = made();
    let journal = open(directory.path(), 1000);
    journal.check_and_insert(used(1, 1010), at(1010)).unwrap();
    assert!(matches!(Journal::raise_fence(directory.path(), WINDOW, at(1020)), Err(JournalFailure::InUse { .. })));
    drop(journal);
    Journal::raise_fence(directory.path(), WINDOW, at(1020)).unwrap();
    let journal = open(directory.path(), 1021);
    assert_eq!(journal.check_and_insert(used(1, 1010), at(1021)), Err(ReplayError::Used));
    assert_eq!(journal.check_and_insert(used(2, 1025), at(1021)), Err(ReplayError::BeforeFence));
    assert_eq!(journal.check_and_insert(used(2, 1026), at(1021)), Ok(()));
}

#[test]
fn the_files_take_turns_and_lose_nothing_that_lives() {
    let directory = made();
    let mut journal = open(directory.path(), 1000);
    let mut id = 0;
    for second in (1000..2000).step_by(10) {
        for _ in 0..500 {
            id += 1;
            assert_eq!(journal.check_and_insert(used(id, second), at(second)), Ok(()));
        }
        if second % 70 == 0 {
            drop(journal);
            journal = open(directory.path(), second);
        }
        for earlier in [id, id.saturating_sub(499).max(1), id.saturating_sub(2999).max(1)] {
            let issued = 1000 + i64::from((earlier - 1) / 500) * 10;
            assert!(journal.check_and_insert(used(earlier, issued), at(second)).is_err());
        }
    }
    let bytes: u64 = paths(directory.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes < 2 * 1024 * 1024, "{bytes} bytes for 3,500 live intents");
}

#[test]
fn a_torn_record_ends_the_file_and_is_overwritten() {
    let directory = made();
    let journal = open(directory.path(), 1000);
    journal.check_and_insert(used(1, 1000), at(1000)).unwrap();
    journal.check_and_insert(used(2, 1000), at(1000)).unwrap();
    drop(journal);
    let file = OpenOptions::new().write(true).open(directory.path().join("used-intents.a")).unwrap();
    file.write_all_at(&[0xff; 32], 3 * 64 + 32).unwrap();
    let journal = open(directory.path(), 1000);
    assert_eq!(journal.check_and_insert(used(1, 1000), at(1000)), Err(ReplayError::Used));
    assert_eq!(journal.check_and_insert(used(3, 1000), at(1000)), Ok(()));
    drop(journal);
    let journal = open(directory.path(), 1000);
    assert_eq!(journal.check_and_insert(used(3, 1000), at(1000)), Err(ReplayError::Used));
}

#[test]
fn one_process_owns_it() {
    let directory = made();
    let first = open(directory.path(), 1000);
    let second = Journal::open_in(boot(), directory.path(), WINDOW, 10, at(1000));
    assert!(matches!(second, Err(JournalFailure::InUse { .. })));
    drop(first);
    open(directory.path(), 1000);
    assert!(matches!(Journal::create(directory.path()), Err(JournalFailure::File { .. })));
}

#[test]
fn v35_of_64_concurrent_copies_one_passes() {
    let directory = made();
    let journal = open(directory.path(), 1000);
    let barrier = std::sync::Barrier::new(64);
    let passed = std::thread::scope(|scope| {
        let copies: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    journal.check_and_insert(used(1, 1000), at(1000)).is_ok()
                })
            })
            .collect();
        copies.into_iter().map(|copy| copy.join().unwrap()).filter(|passed| *passed).count()
    });
    assert_eq!(passed, 1);
}

#[test]
fn v41_a_journal_that_cannot_be_written_refuses() {
    let directory = made();
    let journal = open(directory.path(), 1000);
    let read_only = directory.path().join("read-only");
    {
        let mut inner = journal.inner.lock().unwrap();
        std::fs::write(&read_only, b"").unwrap();
        inner.segments[0].file = LockedFile::take(std::fs::File::open(&read_only).unwrap()).unwrap();
    }
    assert_eq!(journal.check_and_insert(used(1, 1000), at(1000)), Err(ReplayError::Unwritable));
}

#[test]
fn r03_two_providers_that_share_a_home_have_a_journal_each_and_the_first_takes_the_old_one_over() {
    let home = made();
    let [first, second] = ["first", "second"].map(|provider| home.path().join(provider));
    let journal = open(home.path(), 1000);
    journal.check_and_insert(used(1, 1000), at(1000)).unwrap();
    for directory in [&first, &second] {
        std::fs::create_dir(directory).unwrap();
    }
    let in_use = Journal::take_over(home.path(), &first);
    assert!(matches!(in_use, Err(JournalFailure::InUse { .. })), "an instance of the earlier release runs");
    drop(journal);
    Journal::take_over(home.path(), &first).unwrap();
    Journal::take_over(home.path(), &second).unwrap();
    let journals = [open(&first, 1001), open(&second, 1001)];
    assert_eq!(journals[0].check_and_insert(used(1, 1000), at(1001)), Err(ReplayError::Used));
    assert_eq!(journals[1].check_and_insert(used(1, 1000), at(1001)), Err(ReplayError::BeforeFence));
    assert_eq!(journals[0].check_and_insert(used(2, 1001), at(1001)), Ok(()), "no fence for whoever took it over");
    assert_eq!(journals[1].check_and_insert(used(2, 1007), at(1002)), Ok(()));
}
