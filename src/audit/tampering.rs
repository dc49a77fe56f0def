//! Tests of a real log against an attacker who has its files: each change is found at random
//! places, and the record named.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use countersign_keys::secret::Secret;
use proptest::prelude::*;
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use super::checkpoint::Checkpoint;
use super::layout::LogLayout;
use super::note::SigningKey;
use super::proof::{self, ProofRejection};
use super::tree::Leaf;
use super::verify::{Finding, Report, Trust, verify};
use super::{Decision, DecisionLog, LogSigner, Process, SigningFailure, Verdict};

/// Some 130 records in a file, so that a log has several.
const SEGMENT: u64 = 16 * 1024;

/// Over two tiles of 256, and the start of one on the level above.
const RECORDS: usize = 700;

/// A log whose records are all signed, and each of its checkpoints.
struct Sample {
    directory: TempDir,
    notes: Vec<String>,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let notes = grow(directory.path(), RECORDS, 97);
    Sample { directory, notes }
});

fn key() -> SigningKey {
    SigningKey::from_seed("hpc.example.org/audit", &Secret::new([5; 32])).unwrap()
}

fn layout(directory: &Path) -> LogLayout {
    LogLayout::new(directory.to_owned())
}

/// Writes records as a process of the site does, signing them at that interval. Returns the
/// checkpoints.
fn grow(directory: &Path, records: usize, every: usize) -> Vec<String> {
    let mut signer = LogSigner::open(layout(directory), key()).unwrap();
    let log = DecisionLog::open(layout(directory), SEGMENT).unwrap();
    let mut notes = Vec::new();
    for number in 1..=records {
        write(&log, number);
        if number % every == 0 || number == records {
            assert!(signer.step().unwrap());
            notes.push(fs::read_to_string(layout(directory).checkpoint()).unwrap());
        }
    }
    notes
}

fn sample_lines() -> Vec<String> {
    let files = layout(SAMPLE.directory.path()).segments().unwrap();
    files
        .iter()
        .flat_map(|file| fs::read_to_string(&file.path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn write(log: &DecisionLog, number: usize) {
    log.append(&Decision {
        time: OffsetDateTime::UNIX_EPOCH + Duration::seconds(number as i64),
        request_id: &format!("r{number}"),
        process: Process::Gateway,
        username: None,
        call: None,
        kid: None,
        decision: Verdict::Forward,
        status: None,
        reason: None,
        sealed: None,
        counted: None,
    })
    .unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A copy of the sample to tamper with.
struct Victim(TempDir);

impl Victim {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy(SAMPLE.directory.path(), directory.path());
        Self(directory)
    }

    fn layout(&self) -> LogLayout {
        layout(self.0.path())
    }

    fn files(&self) -> Vec<PathBuf> {
        self.layout().segments().unwrap().into_iter().map(|segment| segment.path).collect()
    }

    /// Changes the records, and writes them back to the files of the original lines, as far as
    /// possible.
    fn tamper(&self, deed: impl FnOnce(&mut Vec<String>)) {
        let texts: Vec<String> = self.files().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        let mut lines: Vec<String> = texts.iter().flat_map(|text| text.lines().map(str::to_owned)).collect();
        deed(&mut lines);
        let mut rest = lines.as_slice();
        for (number, (file, text)) in (1..).zip(self.files().iter().zip(&texts)) {
            let count = if number == texts.len() { rest.len() } else { text.lines().count().min(rest.len()) };
            let (these, others) = rest.split_at(count);
            rest = others;
            fs::write(file, these.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        }
    }

    fn verify(&self) -> Report {
        self.verify_against(&[])
    }

    fn verify_against(&self, notes: &[String]) -> Report {
        let public = key().public().clone();
        let remembered = notes.iter().map(|note| Checkpoint::open(note, &public).unwrap()).collect();
        verify(&self.layout(), &Trust { key: public, remembered }).unwrap()
    }

    /// Checks that the first finding is this record.
    fn assert_record_found(&self, want: usize) {
        let report = self.verify();
        match report.findings.first() {
            Some(Finding::Record { index, file, line, .. }) => {
                assert_eq!(*index, want as u64, "{:?}", report.findings);
                let text = fs::read_to_string(file).unwrap();
                assert!(text.lines().count() >= *line as usize, "{file:?} line {line}");
            }
            other => panic!("{other:?} instead of record {want}"),
        }
    }

    /// Rebuilds the tiles for the present records, as an attacker without the key could.
    fn rebuild_tiles(&self) {
        let mut tree = super::tree::Tree::default();
        let layout = self.layout();
        fs::remove_dir_all(self.0.path().join("tile")).unwrap();
        for file in self.files() {
            for line in fs::read_to_string(file).unwrap().lines() {
                tree.push(Leaf::hash_of(line.as_bytes()), |tile| {
                    layout.write_tile(tile.level, tile.index, tile.hashes).unwrap();
                });
            }
        }
        let mut above = tree.size();
        for (level, hashes) in (0..).zip(tree.edge()) {
            above >>= 8;
            if !hashes.is_empty() {
                layout.write_tile(level, above, hashes).unwrap();
            }
        }
    }
}

#[test]
fn a_log_as_it_should_be_is_good() {
    let victim = Victim::new();
    assert!(victim.files().len() > 3);
    let report = victim.verify_against(&SAMPLE.notes);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.first, report.records, report.unsigned, report.is_torn), (0, RECORDS as u64, 0, false));
    assert_eq!((report.agreeing, report.too_old), (SAMPLE.notes.len(), 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn v60_an_edited_record_is_found(at in 0..RECORDS, byte in 0..100_usize, bit in 0..7_u8) {
        let victim = Victim::new();
        victim.tamper(|lines| {
            let mut bytes = lines[at].clone().into_bytes();
            let byte = byte % bytes.len();
            bytes[byte] ^= 1 << bit;
            if bytes[byte] == b'\n' {
                bytes[byte] = b'x';
            }
            lines[at] = String::from_utf8(bytes).unwrap();
        });
        victim.assert_record_found(at);
    }

    #[test]
    fn v60_a_removed_record_is_found(at in 0..RECORDS - 1, count in 1..5_usize) {
        let victim = Victim::new();
        let until = (at + count).min(RECORDS - 1);
        victim.tamper(|lines| drop(lines.drain(at..until)));
        victim.assert_record_found(at);
    }

    #[test]
    fn v60_an_inserted_record_is_found(at in 0..RECORDS, from in 0..RECORDS, is_copy: bool) {
        let victim = Victim::new();
        victim.tamper(|lines| {
            let line = if is_copy && from != at { lines[from].clone() } else { "{\"decision\":\"forward\"}".to_owned() };
            lines.insert(at, line);
        });
        victim.assert_record_found(at);
    }

    #[test]
    fn v60_reordered_records_are_found(one in 0..RECORDS, other in 0..RECORDS) {
        prop_assume!(one != other);
        let victim = Victim::new();
        victim.tamper(|lines| lines.swap(one, other));
        victim.assert_record_found(one.min(other));
    }

    #[test]
    fn v60_a_truncated_log_is_found(left in 0..RECORDS) {
        let victim = Victim::new();
        victim.tamper(|lines| lines.truncate(left));
        let report = victim.verify();
        let want = Finding::Missing { from: left as u64, to: RECORDS as u64 };
        prop_assert_eq!(format!("{:?}", report.findings), format!("[{want:?}]"));
    }

    #[test]
    fn v60_a_missing_file_is_found(which: prop::sample::Index) {
        let victim = Victim::new();
        let files = victim.files();
        fs::remove_file(&files[which.index(files.len())]).unwrap();
        prop_assert!(!victim.verify().findings.is_empty());
    }

    #[test]
    fn v60_an_edit_with_tiles_made_for_it_is_found(at in 0..RECORDS) {
        let victim = Victim::new();
        victim.tamper(|lines| lines[at] = lines[at].replace("forward", "refuse"));
        victim.rebuild_tiles();
        let report = victim.verify();
        match report.findings.first() {
            Some(Finding::Records { from, to, .. }) => prop_assert!((*from..*to).contains(&(at as u64)), "{from} to {to}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn v60_a_changed_checkpoint_is_found(at: prop::sample::Index, bit in 0..8_u8) {
        let victim = Victim::new();
        let mut note = fs::read(victim.layout().checkpoint()).unwrap();
        let at = at.index(note.len());
        note[at] ^= 1 << bit;
        fs::write(victim.layout().checkpoint(), &note).unwrap();
        if String::from_utf8(note).is_ok() {
            prop_assert!(!victim.verify().findings.is_empty());
        }
    }
}

#[test]
fn v60_a_log_that_was_rolled_back_is_found_by_whoever_kept_a_checkpoint() {
    for to in [0, 2, 6] {
        let earlier = tempfile::tempdir().unwrap();
        let kept = grow(earlier.path(), 97 * (to + 1), 97);
        // The same records: restoring a backup restores all of it.
        assert_eq!(kept.last(), SAMPLE.notes.get(to));
        let victim = Victim(earlier);
        assert!(victim.verify().findings.is_empty(), "nobody can tell by looking at it alone");
        let report = victim.verify_against(&SAMPLE.notes);
        let is_rolled_back = |finding: &Finding| matches!(finding, Finding::RolledBack { .. });
        assert!(report.findings.iter().any(is_rolled_back), "{:?}", report.findings);
    }
}

#[test]
fn v60_a_log_rewritten_with_its_key_is_found_by_whoever_kept_a_checkpoint() {
    let victim = Victim::new();
    victim.tamper(|lines| lines[300] = lines[300].replace("forward", "refuse"));
    victim.rebuild_tiles();
    let texts: Vec<String> = victim.files().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let mut tree = super::tree::Tree::default();
    for line in texts.iter().flat_map(|text| text.lines()) {
        tree.push(Leaf::hash_of(line.as_bytes()), |_| {});
    }
    let forged = Checkpoint { size: tree.size(), root: tree.root() }.sign(&key());
    fs::write(victim.layout().checkpoint(), forged).unwrap();
    fs::remove_file(victim.layout().checkpoints()).unwrap();
    assert!(victim.verify().findings.is_empty(), "nobody can tell by looking at it alone");
    let report = victim.verify_against(&SAMPLE.notes);
    assert!(matches!(report.findings.first(), Some(Finding::Rewritten { .. })), "{:?}", report.findings);
    assert_eq!(report.agreeing, 3, "the first 291 records are as they were");
}

#[test]
fn a_damaged_tile_is_not_taken_for_a_damaged_record() {
    let victim = Victim::new();
    let path = victim.layout().tile(0, 1, 256);
    let mut tile = fs::read(&path).unwrap();
    tile[40] ^= 1;
    fs::write(&path, tile).unwrap();
    let report = victim.verify();
    assert!(matches!(report.findings.as_slice(), [Finding::Tile { level: 0, index: 1 }]), "{:?}", report.findings);
}

#[test]
fn v60_a_tile_that_has_more_in_it_is_found() {
    for (level, index, width) in [(0, 1, 256), (0, 2, RECORDS % 256), (1, 0, 2)] {
        let victim = Victim::new();
        let path = victim.layout().tile(level, index, width);
        let tile = fs::read(&path).unwrap();
        fs::write(&path, [tile.as_slice(), &[7; 32]].concat()).unwrap();
        let found = victim.verify().findings;
        assert!(matches!(found.as_slice(), [Finding::Tile { .. }]), "{level} {index}: {found:?}");
    }
}

#[test]
fn v60_a_list_of_files_that_says_it_otherwise_is_found() {
    let list = fs::read_to_string(layout(SAMPLE.directory.path()).segment_list()).unwrap();
    let otherwise = [
        list.replace("1 0\n", "01 0\n"),
        list.replace("1 0\n", "1 +0\n"),
        list.replace("1 0\n", "1 0\r\n"),
        list.replace("1 0\n", "1 0\n1 0\n"),
        list.trim_end().to_owned(),
        format!("0 0\n{list}"),
        format!("{list}99 5000\n"),
    ];
    for text in otherwise {
        assert_ne!(text, list);
        let victim = Victim::new();
        fs::write(victim.layout().segment_list(), &text).unwrap();
        let found = victim.verify().findings;
        assert!(matches!(found.as_slice(), [Finding::List]), "{text:?}: {found:?}");
    }
}

#[test]
fn what_no_checkpoint_covers_yet_is_counted() {
    let victim = Victim::new();
    let log = DecisionLog::open(victim.layout(), SEGMENT).unwrap();
    (1..=400).for_each(|number| write(&log, number));
    let newest = victim.files().pop().unwrap();
    let text = fs::read_to_string(&newest).unwrap();
    fs::write(&newest, text.trim_end()).unwrap();
    let report = victim.verify();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.unsigned, report.is_torn), (399, true));
}

#[test]
fn the_wrong_key_is_not_believed() {
    let victim = Victim::new();
    let other = SigningKey::from_seed("hpc.example.org/audit", &Secret::new([6; 32])).unwrap();
    let trust = Trust { key: other.public().clone(), remembered: Vec::new() };
    let report = verify(&victim.layout(), &trust).unwrap();
    assert!(matches!(report.findings.first(), Some(Finding::Checkpoint { .. })), "{:?}", report.findings);
    assert!(report.checkpoint.is_none());
}

// Pruning.

#[test]
fn what_was_deleted_is_said_and_the_rest_stays_checkable() {
    let victim = Victim::new();
    let mut signer = LogSigner::open(victim.layout(), key()).unwrap();
    signer.prune(None, None).unwrap();
    let all = victim.files();
    signer.prune(None, Some(SEGMENT * 3)).unwrap();
    let left = victim.files();
    assert!(left.len() < all.len() && left.len() >= 2, "{left:?}");
    let report = victim.verify_against(&SAMPLE.notes);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(report.first > 256 && !victim.layout().tile(0, 0, 256).exists(), "a tile that nobody needs is gone");
    assert_eq!(report.records + report.first, RECORDS as u64);
    assert!(report.agreeing > 0 && report.too_old > 0);
    assert_eq!(report.agreeing + report.too_old, SAMPLE.notes.len());

    // The log continues after a restart too, and what is left has proofs as before.
    let log = DecisionLog::open(victim.layout(), SEGMENT).unwrap();
    (0..300).for_each(|number| write(&log, number));
    assert!(signer.step().unwrap());
    drop(signer);
    let signer = LogSigner::open(victim.layout(), key()).unwrap();
    assert!(victim.verify().findings.is_empty());
    let note = signer.note();
    let (index, line) = (report.first, fs::read_to_string(&left[0]).unwrap().lines().next().unwrap().to_owned());
    let path = proof::path(&victim.layout(), index, RECORDS as u64 + 300).unwrap();
    assert!(proof::check(&proof::to_text(line.as_bytes(), index, &path, &note), key().public()).is_ok());

    // An edit is found as before, and without the key no further deletion can be claimed.
    let text = fs::read_to_string(&left[1]).unwrap();
    fs::write(&left[1], text.replacen("forward", "refuse", 1)).unwrap();
    assert!(matches!(victim.verify().findings.first(), Some(Finding::Record { .. })), "{:?}", victim.verify().findings);
    fs::write(&left[1], text).unwrap();
    fs::remove_file(&left[0]).unwrap();
    assert!(
        matches!(victim.verify().findings.as_slice(), [Finding::Beginning { .. }]),
        "{:?}",
        victim.verify().findings
    );
}

#[test]
fn days_that_are_over_are_deleted_and_the_newest_file_never_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut signer = LogSigner::open(layout(directory.path()), key()).unwrap();
    let log = DecisionLog::open(layout(directory.path()), SEGMENT).unwrap();
    let day = 24 * 60 * 60;
    (0..5).for_each(|number| write(&log, number * day));
    signer.step().unwrap();
    let since = |days: i64| (OffsetDateTime::UNIX_EPOCH + Duration::days(days)).date();
    let files = || layout(directory.path()).segments().unwrap().len();
    assert_eq!(files(), 5);
    signer.prune(Some(since(0)), None).unwrap();
    assert_eq!(files(), 5);
    signer.prune(Some(since(3)), None).unwrap();
    assert_eq!(files(), 2);
    signer.prune(Some(since(30)), None).unwrap();
    assert_eq!(files(), 1);
    let trust = Trust { key: key().public().clone(), remembered: Vec::new() };
    let report = verify(&layout(directory.path()), &trust).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.first, report.records), (4, 1));
}

// Proofs.

#[test]
fn every_record_of_every_tree_is_proven_by_its_own_path_and_by_no_other() {
    let log = layout(SAMPLE.directory.path());
    for note in &SAMPLE.notes {
        let size = Checkpoint::open(note, key().public()).unwrap().size;
        for (index, line) in (0..size).zip(sample_lines()).filter(|(index, _)| index % 41 == 0 || index + 1 == size) {
            let path = proof::path(&log, index, size).unwrap();
            let text = proof::to_text(line.as_bytes(), index, &path, note);
            let proven = proof::check(&text, key().public()).unwrap();
            assert_eq!((proven.index, proven.record.as_slice()), (index, line.as_bytes()));
            let check = |text: &str| assert_eq!(proof::check(text, key().public()).unwrap_err(), ProofRejection::Root);
            check(&proof::to_text(b"{}", index, &path, note));
            check(&proof::to_text(line.as_bytes(), index + 1, &path, note));
            check(&proof::to_text(line.as_bytes(), index, &path[1..], note));
            check(&proof::to_text(line.as_bytes(), index, &[&path[..], &path[..1]].concat(), note));
        }
        assert!(proof::path(&log, size, size).is_err());
    }
}

#[test]
fn what_is_no_proof_is_said_to_be_none() {
    let log = layout(SAMPLE.directory.path());
    let (note, line) = (&SAMPLE.notes[0], sample_lines()[5].clone());
    let good = proof::to_text(line.as_bytes(), 5, &proof::path(&log, 5, 97).unwrap(), note);
    let check = |find: &str, replace: &str| {
        assert!(good.contains(find), "{find}");
        assert_eq!(
            proof::check(&good.replacen(find, replace, 1), key().public()).unwrap_err(),
            ProofRejection::Malformed
        );
    };
    check("@v1", "@v2");
    check("extra ", "extra");
    check("index 5", "index 05");
    check("index 5", "index -5");
    check("\n\n", "\n");
    check("index 5\n", "index 5\nAAAA\n");
    let other = SigningKey::from_seed("hpc.example.org/audit", &Secret::new([6; 32])).unwrap();
    assert!(matches!(proof::check(&good, other.public()), Err(ProofRejection::Checkpoint(_))));
}

// The signer.

#[test]
fn signing_goes_on_where_it_ended_whatever_was_left_undone() {
    let victim = Victim::new();
    let log = DecisionLog::open(victim.layout(), SEGMENT).unwrap();
    for round in 0..8 {
        // Killed before a last step; the latest tiles lost with the power.
        (0..150).for_each(|number| write(&log, round * 150 + number));
        if round % 2 == 0 {
            let mut signer = LogSigner::open(victim.layout(), key()).unwrap();
            signer.step().unwrap();
        }
        if round == 3 {
            let size = Checkpoint::open(&fs::read_to_string(victim.layout().checkpoint()).unwrap(), key().public())
                .unwrap()
                .size;
            let newest = victim.layout().tile(0, size >> 8, (size & 255) as usize);
            fs::write(newest, "").unwrap();
        }
    }
    LogSigner::open(victim.layout(), key()).unwrap().step().unwrap();
    let report = victim.verify_against(&SAMPLE.notes);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.records, report.unsigned), (RECORDS as u64 + 1200, 0));
}

#[test]
fn a_log_that_is_not_what_was_signed_is_not_signed_again() {
    let check = |what: &str, deed: &dyn Fn(&Victim)| {
        let victim = Victim::new();
        deed(&victim);
        let opened = LogSigner::open(victim.layout(), key());
        assert!(opened.as_ref().is_err_and(|failure| !failure.may_pass()), "{what}: {opened:?}");
    };
    check("edited", &|victim| victim.tamper(|lines| lines[RECORDS - 1] = "{}".to_owned()));
    check("truncated", &|victim| victim.tamper(|lines| lines.truncate(RECORDS - 1)));
    check("newest file gone", &|victim| fs::remove_file(victim.files().pop().unwrap()).unwrap());
    check("checkpoint gone", &|victim| fs::remove_file(victim.layout().checkpoint()).unwrap());
    check("list gone", &|victim| fs::remove_file(victim.layout().segment_list()).unwrap());
    check("checkpoint rolled back", &|victim| {
        let note = SAMPLE.notes[1].replace("audit\n194", "audit\n195");
        fs::write(victim.layout().checkpoint(), note).unwrap();
    });
}

#[test]
fn records_that_were_cut_off_while_it_ran_end_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut signer = LogSigner::open(layout(directory.path()), key()).unwrap();
    let log = DecisionLog::open(layout(directory.path()), SEGMENT).unwrap();
    (0..10).for_each(|number| write(&log, number));
    assert!(signer.step().unwrap());
    assert!(!signer.step().unwrap(), "nothing is new");
    let file = layout(directory.path()).segments().unwrap().pop().unwrap().path;
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text[..text.len() / 2]).unwrap();
    assert!(matches!(signer.step(), Err(SigningFailure::Diverged { .. })));
}

// Speed.

#[test]
#[ignore = "a figure: cargo test --release -p countersign --lib figures_of_a_million -- --ignored --nocapture"]
#[allow(clippy::print_stdout, reason = "the figures")]
fn figures_of_a_million_records() {
    const MILLION: usize = 1_000_000;
    let directory = tempfile::tempdir().unwrap();
    let mut signer = LogSigner::open(layout(directory.path()), key()).unwrap();
    let log = DecisionLog::open(layout(directory.path()), 64 * 1024 * 1024).unwrap();
    let username = countersign_keys::identity::Username::parse("alice#1234").unwrap();
    let call = countersign_keys::identity::CallName::parse("files.browse").unwrap();
    let lines = DecisionLog::to(fs::File::create(directory.path().join("lines")).unwrap());
    let figure = |what: &str, deed: &mut dyn FnMut()| {
        let begun = std::time::Instant::now();
        deed();
        println!("{what}: {:.2} s, {:.2} µs each", begun.elapsed().as_secs_f64(), begun.elapsed().as_secs_f64());
    };
    let fill = |log: &DecisionLog| {
        for number in 0..MILLION {
            log.append(&Decision {
                time: OffsetDateTime::from_unix_timestamp_nanos(1_795_400_000_123_456_789 + number as i128).unwrap(),
                request_id: "0123456789abcdef",
                process: Process::Gateway,
                username: Some(&username),
                call: Some(&call),
                kid: Some(countersign_keys::identity::KeyId::from_bytes([7; 16])),
                decision: Verdict::Forward,
                status: None,
                reason: None,
                sealed: None,
                counted: None,
            })
            .unwrap();
        }
    };
    for _ in 0..3 {
        figure("a million plain lines written", &mut || fill(&lines));
    }
    figure("a million records written", &mut || fill(&log));
    figure("read, hashed, signed, tiles written", &mut || assert!(signer.step().unwrap()));
    let victim = Victim(directory);
    figure("verified", &mut || {
        let report = victim.verify();
        assert!(report.findings.is_empty() && report.records == MILLION as u64);
        println!("{} bytes", report.bytes);
    });
}
