//! Tests of the queues: long work delays no other request, is answered in time and then continues.

use std::time::{Duration, Instant};

use super::*;

/// Runs `then` while both places of the long queue are taken, so that a copy waits as long as the
/// test likes.
fn with_long_queue_taken(desk: &Desk, then: impl AsyncFnOnce(&Files)) {
    desk.runtime.block_on(async {
        let turns = desk.files.queues.long.clone().acquire_many_owned(2).await.unwrap();
        then(&desk.files).await;
        drop(turns);
        while desk.files.under_way() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn long_work_does_not_block_a_browse() {
    let desk = Desk::new("a=1 b=2");
    with_long_queue_taken(&desk, async |files| {
        // The waiting copy is answered, and quick requests are served meanwhile.
        let answer = files.answering_within(Duration::from_millis(1)).perform(copy("a", "c", "")).await.unwrap();
        assert_eq!(serde_json::to_value(answer).unwrap(), serde_json::json!({"responses": [{}]}));
        assert_eq!(files.under_way(), 1);
        assert!(files.perform(FilesRequest::Browse(browse(""))).await.is_ok());
        assert!(files.perform(retrieve("a")).await.is_ok());
        assert!(!desk.drive().join("c").exists());
    });
    assert_eq!(desk.tree(), entries("a=1 b=2 c=1"));
}

#[test]
fn c08_an_answer_comes_within_what_is_left_whatever_it_waits_for() {
    let desk = Desk::new("a=1");
    let left = Duration::from_millis(50);
    with_long_queue_taken(&desk, async |files| {
        let files = files.answering_within(left);
        let began = Instant::now();
        assert!(files.perform(copy("a", "c", "")).await.is_ok(), "it goes on as a task");
        let turns = files.queues.quick.clone().acquire_many_owned(16).await.unwrap();
        for request in [retrieve("a"), FilesRequest::Browse(browse(""))] {
            let error = files.perform(request).await.unwrap_err();
            assert_eq!((error.error_code().number(), error.trouble), (500, FilesError::Slow));
        }
        assert!(began.elapsed() >= left, "{:?}", began.elapsed());
        drop(turns);
        assert!(files.answering_within(left * 2).perform(retrieve("a")).await.is_ok());
        assert_eq!(files.answering_within(left * 2).answer_after, left, "never more than before");
    });
}

#[test]
fn quick_changes_do_not_wait_for_long_ones() {
    let desk = Desk::new("a=1 b=2");
    with_long_queue_taken(&desk, async |files| {
        files.perform(move_("a", "c", "")).await.unwrap();
        files.perform(trash("b")).await.unwrap();
        files.perform(folder("f", "")).await.unwrap();
    });
    assert_eq!(desk.tree(), entries("c=1 Trash/b=2 f/"));
}

#[test]
fn work_goes_on_when_nobody_waits_any_more() {
    let desk = Desk::new("a=1");
    with_long_queue_taken(&desk, async |files| {
        let request = files.perform(copy("a", "c", ""));
        assert!(tokio::time::timeout(Duration::from_millis(20), request).await.is_err());
        assert_eq!(files.under_way(), 1);
    });
    assert_eq!(desk.tree(), entries("a=1 c=1"));
}

#[test]
fn too_much_under_way() {
    let desk = Desk::new("a=1");
    with_long_queue_taken(&desk, async |files| {
        let hurried = files.answering_within(Duration::from_millis(1));
        for _ in 0..64 {
            hurried.perform(copy("a", "c", "RENAME")).await.unwrap();
        }
        let error = files.perform(copy("a", "c", "RENAME")).await.unwrap_err();
        assert_eq!((error.error_code().number(), error.trouble), (429, FilesError::Busy));
        assert!(files.perform(FilesRequest::Browse(browse(""))).await.is_ok());
    });
    assert_eq!(desk.tree().len(), 65);
    desk.ask(copy("a", "z", "REJECT")).unwrap();
}

/// 100,000 files: in release, the first page takes no more than 150 ms. `cargo test --release --
/// --ignored`.
#[test]
#[ignore = "a measurement, meaningful in release only"]
fn first_page_of_100_000_files() {
    let desk = Desk::new("");
    for number in 0..100_000 {
        std::fs::write(desk.drive().join(format!("file-{:06}.dat", number * 7919 % 100_000)), "").unwrap();
    }
    for (by, most) in [("PATH", 150), ("MODIFIED_AT", 1500), ("SIZE", 1500)] {
        let request = Browse { sort_by: by.to_owned(), ..browse("") };
        let mut times: Vec<Duration> = (0..9)
            .map(|_| {
                let start = Instant::now();
                let page = desk.ask(FilesRequest::Browse(request.clone())).unwrap();
                assert_eq!(page["items"].as_array().unwrap().len(), 50);
                start.elapsed()
            })
            .collect();
        let first = times[0];
        times.sort();
        assert!(first.as_millis() <= most, "{by}: first {first:?}, of nine {times:?}");
        let line = format!("{by}: first {first:?}, median {:?}, slowest {:?}\n", times[4], times[8]);
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    }
}
