//! Rows of the queue are read whole, or not at all.

use super::*;

/// As squeue 22.05 printed it.
const REAL: &str = include_str!("../samples/squeue-22.05.txt");

fn one(line: &str) -> Row {
    let listing = rows(line.as_bytes());
    assert_eq!(listing.unreadable, 0, "{line}");
    listing.rows.first().unwrap().clone()
}

#[test]
fn the_real_list_of_22_05_is_read() {
    let listing = rows(REAL.as_bytes());
    assert_eq!((listing.rows.len(), listing.unreadable), (6, 0), "{:?}", listing.first_unreadable);
    let row = |id: u32| listing.rows.iter().find(|row| row.id.get() == id).unwrap();
    assert_eq!(row(1).state, JobState::Failed);
    assert_eq!(row(1).exit, ExitCode { code: 3, signal: 0 });
    assert_eq!(row(3).exit, ExitCode { code: 0, signal: 11 });
    assert_eq!((row(5).state.clone(), row(5).reason.as_deref()), (JobState::Pending, Some("JobHeldUser")));
    assert_eq!((row(5).start, row(6).start), (None, Some(1_795_947_771)));
    assert_eq!((row(6).partition.as_str(), row(4).nodes.as_str()), ("normal,urgent", "n2"));
    assert_eq!((row(4).limit, row(4).used_s), (Limit::Seconds(300), Some(2)));
}

#[test]
fn limits_have_words_and_days() {
    let check = |limit: &str, want: Limit| {
        assert_eq!(one(&format!("4|1001|RUNNING|0|0|1|N/A|N/A|0:02|{limit}|7|normal|n2|None")).limit, want, "{limit}");
    };
    check("5:00", Limit::Seconds(300));
    check("1:00:00", Limit::Seconds(3_600));
    check("2-01:00:00", Limit::Seconds(2 * 86_400 + 3_600));
    check("UNLIMITED", Limit::Unlimited);
    check("INVALID", Limit::Unset);
}

#[test]
fn a_forged_row_is_not_read_or_contradicts_the_true_one() {
    let real = "62|1001|RUNNING|0|0|1|1795944150|1795944450|0:02|5:00|7|normal|n2|";
    // A reason with separators stays a reason.
    assert_eq!(one(&format!("{real}a|62|1002|COMPLETED")).reason.as_deref(), Some("a|62|1002|COMPLETED"));
    // A name in a column's place shifts the columns.
    let check = |line: &str| {
        let listing = rows(line.as_bytes());
        assert_eq!((listing.rows.len(), listing.unreadable), (0, 1), "{line}");
    };
    check("62|1001|a|b|RUNNING|0|0|1|1795944150|1795944450|0:02|5:00|7|normal|n2|None");
    check("999999|root|COMPLETED|0:0");
    check("0|1001|RUNNING|0|0|1|N/A|N/A|0:02|5:00|7|normal|n2|None");
    check("62|-1|RUNNING|0|0|1|N/A|N/A|0:02|5:00|7|normal|n2|None");
    check("62|1001|RUNNING|0|0|1|tomorrow|N/A|0:02|5:00|7|normal|n2|None");
    check("62|1001|RUNNING|0|0|1|N/A|N/A|0:02|soon|7|normal|n2|None");
    // Two rows of one job: neither counts.
    let listing = rows(
        format!("{real}None\n63{}\n62|1001|COMPLETED|0|0|1|N/A|N/A|0:02|5:00|7|normal|n2|None\n", &real[2..])
            .as_bytes(),
    );
    assert_eq!((listing.rows.len(), listing.unreadable), (1, 1));
    assert_eq!(listing.rows[0].id.get(), 63);
}
