//! Formats moments and spans of time, and prints remarks on standard error.

use std::io::{self, Write as _};

use countersign_keys::time::Timestamp;
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

const MOMENT: StaticFormatDescription = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");

/// A moment, formatted for people.
pub(super) fn moment(at: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp(at.seconds())
        .ok()
        .and_then(|moment| moment.format(MOMENT).ok())
        .unwrap_or_else(|| format!("{} s", at.seconds()))
}

/// A span of time in its largest unit: `3 days`, `5 hours`.
pub(super) fn span(seconds: i64) -> String {
    let (count, unit) = match seconds {
        ..60 => return "less than a minute".to_owned(),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        86_400.. => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// Prints a remark on standard error, apart from the output.
pub(super) fn remark(text: &str) {
    // If standard error is closed, there is no place to report that.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_words() {
        assert_eq!(moment(Timestamp::from_seconds(0)), "1970-01-01 00:00 UTC");
        assert_eq!(moment(Timestamp::from_seconds(i64::MAX)), "9223372036854775807 s");
        let check = |seconds: i64, want: &str| assert_eq!(span(seconds), want);
        check(-5, "less than a minute");
        check(59, "less than a minute");
        check(60, "1 minute");
        check(7_200, "2 hours");
        check(86_399, "23 hours");
        check(180 * 86_400, "180 days");
    }
}
