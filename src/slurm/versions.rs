//! The answers of Slurm 22.05 to 25.05, in samples that have the version in their names.
//!
//! Those of 22.05 were printed by a running Slurm. The others are written after that version's
//! sources and release notes: the same columns, JSON of its default `data_parser`.

use crate::columns::Listing;
use crate::outcome::{Outcome, Standing};
use crate::program::Program;
use crate::sacct::{ExitCode, Record, records};
use crate::sinfo::partitions;
use crate::squeue::{Limit, Row, rows};
use crate::state::JobState;
use crate::tag::in_answer;

const TAG: &str = "00112233445566778899aabbccddeeff";

/// A version, and its answers.
struct Sample {
    version: &'static str,
    squeue: &'static str,
    sacct: &'static str,
    sinfo: &'static str,
    squeue_json: &'static str,
    sacct_json: &'static str,
}

macro_rules! sample {
    ($version:literal) => {
        Sample {
            version: $version,
            squeue: include_str!(concat!("samples/squeue-", $version, ".txt")),
            sacct: include_str!(concat!("samples/sacct-", $version, ".txt")),
            sinfo: include_str!(concat!("samples/sinfo-", $version, ".txt")),
            squeue_json: include_str!(concat!("samples/squeue-", $version, ".json")),
            sacct_json: include_str!(concat!("samples/sacct-", $version, ".json")),
        }
    };
}

const SAMPLES: [Sample; 3] = [sample!("23.11"), sample!("24.05"), sample!("25.05")];

fn whole<T>(listing: Listing<T>, version: &str) -> Vec<T> {
    assert_eq!(listing.first_unreadable, None, "{version}");
    listing.rows
}

#[test]
fn the_queue_of_every_version_is_read() {
    for Sample { version, squeue, .. } in SAMPLES {
        let rows = whole(rows(squeue.as_bytes()), version);
        let row = |id: u32| -> &Row { rows.iter().find(|row| row.id.get() == id).unwrap() };
        assert_eq!(row(1).exit, ExitCode { code: 3, signal: 0 }, "{version}");
        assert_eq!(row(3).exit, ExitCode { code: 0, signal: 11 }, "{version}");
        // 23.11 prints nothing for an exit code that is not set.
        assert_eq!((row(7).exit, row(7).limit), (ExitCode::default(), Limit::Unset), "{version}");
        assert_eq!((row(5).limit, row(8).limit), (Limit::Unlimited, Limit::Seconds(86_400)), "{version}");
        assert_eq!((row(9).nodes.as_str(), row(9).used_s), ("n[1-2]", Some(302)), "{version}");
        let standing = |id| Outcome::of_row(row(id)).map(|outcome| outcome.standing);
        for (id, want) in [
            (4, Standing::Succeeded),
            (1, Standing::Failed),
            (5, Standing::Waiting),
            (8, Standing::Waiting),
            (9, Standing::Running),
            (10, Standing::Succeeded),
        ] {
            assert_eq!(standing(id), Some(want), "{version} {id}");
        }
        // A state that this squeue does not know itself.
        assert_eq!((standing(11), row(11).has_ended()), (None, false), "{version}");
    }
}

#[test]
fn the_records_of_every_version_are_read() {
    for Sample { version, sacct, .. } in SAMPLES {
        let records = whole(records(sacct.as_bytes()), version);
        let record = |id: u32| -> &Record { records.iter().rfind(|record| record.id.get() == id).unwrap() };
        assert_eq!(record(13).state, JobState::Cancelled { by: Some(0) }, "{version}");
        assert_eq!((record(54).exit.signal, record(54).memory.as_deref()), (125, Some("100M")), "{version}");
        assert_eq!(record(28).memory.as_deref(), Some("1.50G"), "{version}");
        let words = |id| Outcome::of_record(record(id)).map(|outcome| outcome.words);
        assert_eq!(words(28).unwrap(), "The job has completed; a step of it failed (exit code 7).", "{version}");
        assert_eq!(words(54).unwrap(), "The job was ended: it used more memory than it had (100M).", "{version}");
        for live in [62, 63] {
            assert_eq!(words(live), None, "{version} {live}");
        }
    }
}

#[test]
fn the_partitions_of_every_version_are_read() {
    for Sample { version, sinfo, .. } in SAMPLES {
        let partitions = whole(partitions(sinfo.as_bytes()), version);
        let read: Vec<_> = partitions.iter().map(|at| (at.name.as_str(), at.is_up, at.idle_cpus)).collect();
        assert_eq!(read, [("normal", true, 3), ("urgent", false, 0), ("gpu", false, 0)], "{version}");
    }
}

/// Numbers as objects, several states of one job, exit codes as objects, nodes as objects.
#[test]
fn a_job_is_found_by_its_tag_in_the_json_of_every_version() {
    for Sample { version, squeue_json, sacct_json, .. } in SAMPLES {
        for (program, json) in [(Program::Squeue, squeue_json), (Program::Sacct, sacct_json)] {
            let found = |tag: &str| in_answer(program, json.as_bytes(), 1001, &[tag].into()).unwrap();
            assert_eq!(found(TAG).get(TAG).map(|id| id.get()), Some(62), "{version} {program:?}");
            assert!(found("nothing").is_empty(), "{version}");
        }
        let others = in_answer(Program::Squeue, squeue_json.as_bytes(), 1002, &[TAG].into()).unwrap();
        assert_eq!(others.get(TAG).map(|id| id.get()), Some(61), "{version}");
    }
}

#[test]
fn an_answer_that_names_an_error_says_nothing_of_any_job() {
    for Sample { version, squeue_json, .. } in SAMPLES {
        let error = r#""errors": [{"description": "Unable to contact slurm controller", "error_number": 1800}]"#;
        let json = squeue_json.replace("\"errors\": []", error);
        assert_ne!(json, squeue_json, "{version}");
        assert!(in_answer(Program::Squeue, json.as_bytes(), 1001, &["nothing"].into()).is_err(), "{version}");
    }
}

/// A header, a half line and a line of a program that prints other columns.
#[test]
fn what_is_not_a_row_makes_the_list_incomplete() {
    for Sample { version, squeue, sacct, .. } in SAMPLES {
        let count = rows(squeue.as_bytes()).rows.len();
        let header = "JOBID|UID|STATE|EXIT_CODE|RESTARTS|NODES|START_TIME|END_TIME|TIME|TIME_LIMIT|PRIORITY|PARTITION|NODELIST|REASON\n";
        for extra in [
            header,
            "slurm_load_jobs: warning\n",
            "12|1001|RUN\n",
            "12_[1-9]|1001|PENDING|0:0|0|1|N/A|N/A|0:00|5:00|1|normal||None\n",
        ] {
            for text in [format!("{extra}{squeue}"), format!("{squeue}{extra}")] {
                let listing = rows(text.as_bytes());
                assert_eq!((listing.rows.len(), listing.unreadable), (count, 1), "{version} {extra}");
            }
        }
        // Cut short, at any byte within the last line but its last column.
        let (before, last) = sacct.trim_end().rsplit_once('\n').unwrap();
        let whole = records(before.as_bytes()).rows.len();
        for end in 1..last.rfind('|').unwrap() {
            let listing = records(format!("{before}\n{}", &last[..end]).as_bytes());
            assert_eq!((listing.rows.len(), listing.unreadable), (whole, 1), "{version} {end}");
        }
        assert!(rows(b"").rows.is_empty() && records(b"").rows.is_empty());
    }
}
