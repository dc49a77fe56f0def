//! Properties of every reader: no text makes one panic, and no text of a user changes a row that
//! stands beside it.

use proptest::prelude::*;

use crate::outcome::Outcome;
use crate::program::Program;
use crate::{accounts, failure, sacct, sinfo, squeue, tag, usage};

/// Bytes that are often almost a table.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let almost = "[0-9A-Z_a-z|:,/*\\[\\]{}\" \n\t-]{0,300}".prop_map(String::into_bytes);
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..300), almost]
}

/// A row that is whole but for the fields that the property chooses.
fn row(id: u32, uid: u32, state: &str, reason: &str) -> String {
    format!("{id}|{uid}|{state}|0|0|1|1795944150|1795944450|0:02|5:00|7|normal|n2|{reason}")
}

proptest! {
    #[test]
    fn no_text_panics(text in text(), uid in any::<u32>()) {
        for row in squeue::rows(&text).rows {
            let _outcome = Outcome::of_row(&row);
        }
        for record in sacct::records(&text).rows {
            let _outcome = Outcome::of_record(&record);
        }
        let _runs = usage::runs(&text);
        let _partitions = sinfo::partitions(&text);
        let _accounts = accounts::accounts(&text);
        let _job = tag::in_answer(Program::Squeue, &text, uid, &["tag"].into());
        prop_assert!(failure::cleaned(Program::Sbatch, &text).len() < 2_000);
    }

    #[test]
    fn json_of_any_shape_panics_nobody(job in "[\\[\\]{}:,0-9a-z\"_.-]{0,80}") {
        let json = format!("{{\"jobs\":[{{\"job_id\":{job},\"user_id\":1001,\"comment\":\"tag\"}}]}}");
        let _job = tag::in_answer(Program::Squeue, json.as_bytes(), 1001, &["tag"].into());
    }

    /// Whatever stands in the last column, or on lines of its own, the other rows stay what they
    /// are, or do not count at all.
    #[test]
    fn a_users_text_changes_no_other_row(text in text(), at in 0_usize..3) {
        let mine = row(62, 1001, "RUNNING", "None");
        let mut lines: Vec<Vec<u8>> = vec![mine.clone().into_bytes(), row(63, 1002, "PENDING", "Priority").into_bytes()];
        lines.insert(at.min(lines.len()), text);
        let listing = squeue::rows(&lines.join(&b"\n"[..]));
        let want = squeue::rows(mine.as_bytes()).rows.remove(0);
        for row in listing.rows.iter().filter(|row| row.id.get() == 62) {
            prop_assert_eq!(row, &want);
        }
    }
}
