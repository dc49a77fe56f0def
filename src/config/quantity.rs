//! Sizes in words, and the range of every number in the configuration with its reason.

/// The range and the default of a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) min: i64,
    pub(super) max: i64,
    pub(super) default: i64,
}

/// Ten minutes are too long for "this request"; UCloud's own frontend signed for 30 s.
pub(super) const LIFETIME_MAX_S: Range = Range { min: 5, max: 600, default: 60 };

/// A clock that is a minute off is broken; browsers' clocks are mostly within seconds.
pub(super) const FUTURE_SKEW_S: Range = Range { min: 0, max: 60, default: 5 };

/// Of the 4.5 s for a request, 1.5 s stay for the instance: Core gives up after 5 s.
pub(super) const DEPOSIT_WAIT_MS: Range = Range { min: 0, max: 3_000, default: 1_500 };

/// A forgotten browser should keep a key for three years at most.
pub(super) const KEY_LIFETIME_DAYS: Range = Range { min: 1, max: 1_095, default: 180 };

/// More threads than a gateway's machine has processors. Two serve 10,000 requests a second.
pub(super) const THREADS: Range = Range { min: 1, max: 256, default: 2 };

/// Two descriptors a connection, within the usual hard limit of 524,288, and buffers for a head and
/// a body each.
pub(super) const CONNECTIONS_MAX: Range = Range { min: 1, max: 200_000, default: 4_096 };

/// Unprivileged, with room for instances after it.
pub(super) const FIRST_PORT: Range = Range { min: 1_024, max: 65_000, default: 42_000 };

/// Never root. System accounts are below 1000 on every common distribution.
pub(super) const UID_MIN: Range = Range { min: 1, max: 4_294_967_293, default: 1_000 };

/// Below 10 s an instance would stop between two requests of one page; a week amounts to never.
pub(super) const IDLE_STOP_S: Range = Range { min: 10, max: 604_800, default: 1_800 };

/// Records are kept for a year by default; 0 keeps them for ever.
pub(super) const KEEP_DAYS: Range = Range { min: 0, max: 36_500, default: 365 };

/// By default a fraction of the file system, for which the default here stands; 0 means no limit.
pub(super) const KEEP_GIB: Range = Range { min: 0, max: 1_000_000, default: 0 };

/// An auditor needs some checkpoints a day, not one a second.
pub(super) const WITNESS_EVERY_S: Range = Range { min: 1, max: 86_400, default: 60 };

/// The server rereads one file of records at start-up, which takes some 0.2 s.
pub(super) const SEGMENT_DEFAULT: u64 = 64 * 1024 * 1024;

/// Bodies are held in memory until their request is answered. All together fit the gateway's memory
/// for bodies, and one user's fit a quarter of it.
pub(super) const BODY_MIN: u64 = 1024;
/// See [`BODY_MIN`]. Core itself sends at most a few MiB.
pub(super) const BODY_MAX: u64 = 64 * 1024 * 1024;
/// As many items as an intent covers. Core repeats the whole drive in each item, 2.1 KB, and twice
/// in a move or copy. So 1,000 items take 4.3 MB, and as much again for long paths, titles and
/// access lists.
pub const BODY_DEFAULT: u64 = 8 * 1024 * 1024;

/// Units of a category that one unit of a product costs. Core keeps 63 bits.
pub(super) const PRICE: Range = Range { min: 0, max: 1_000_000_000_000, default: 1 };

/// More processors than a machine has.
pub(super) const CPU: Range = Range { min: 0, max: 100_000, default: 0 };

/// In GB. More memory than a machine has.
pub(super) const MEMORY_GB: Range = Range { min: 0, max: 10_000_000, default: 0 };

/// More GPUs than a machine has.
pub(super) const GPU: Range = Range { min: 0, max: 10_000, default: 0 };

/// At least a second, so that Slurm is not flooded; users wait for news of their jobs this long.
pub(super) const POLL_S: Range = Range { min: 1, max: 600, default: 5 };

/// No group of the system's, and none of the numbers that mean none.
pub(super) const GIDS: Range = Range { min: 1_000, max: 4_294_967_293, default: 70_000 };

/// More members than leave a project in an hour; Core could remove all at once.
pub(super) const REMOVALS_AN_HOUR: Range = Range { min: 0, max: 10_000, default: 20 };

/// The same of all projects together.
pub(super) const REMOVALS_AN_HOUR_IN_ALL: Range = Range { min: 0, max: 100_000, default: 200 };

/// In hours: a week by default, a year at most.
pub(super) const TIME_MAX_H: Range = Range { min: 1, max: 8_760, default: 168 };

/// Each look asks slurmdbd for every job under way; users see at UCloud what they used this late.
pub(super) const ACCOUNTING_EVERY_S: Range = Range { min: 1, max: 86_400, default: 300 };

/// In units of the job's category, such as core-hours. More than a machine does in a century.
pub(super) const JOB_MAX: Range = Range { min: 1, max: 1_000_000_000_000_000, default: 1_000_000_000_000_000 };

/// Parses a size: a whole number and its unit, such as `1 MiB`.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = text.split_once(' ')?;
    let factor = match unit {
        "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        "GiB" => 1024 * 1024 * 1024,
        _ => return None,
    };
    if number.starts_with('+') {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// From a second, for trials, to ten years. Without the key a connection does not expire.
pub(super) const EXPIRES_AFTER_S: std::ops::RangeInclusive<i64> = 1..=3_650 * 86_400;

/// Parses a time: a whole number and its unit, such as `90 days`. Returns seconds.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    let (number, unit) = text.split_once(' ')?;
    let factor = match unit {
        "s" => 1,
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3_600,
        "day" | "days" => 86_400,
        _ => return None,
    };
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    number.parse::<i64>().ok().filter(|_| is_number)?.checked_mul(factor)
}

/// A size in the largest unit that is exact.
pub fn show_size(bytes: usize) -> String {
    let mib = 1024 * 1024;
    match bytes {
        bytes if bytes % mib == 0 => format!("{} MiB", bytes / mib),
        bytes if bytes % 1024 == 0 => format!("{} KiB", bytes / 1024),
        bytes => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_number_and_a_unit() {
        let check = |text: &str, want: Option<u64>| assert_eq!(parse_size(text), want, "{text}");
        check("1 MiB", Some(1_048_576));
        check("512 KiB", Some(524_288));
        check("7 B", Some(7));
        check("1 GiB", Some(1_073_741_824));
        check("1MiB", None);
        check("1  MiB", None);
        check("1 MB", None);
        check("1.5 MiB", None);
        check("-1 MiB", None);
        check("+1 MiB", None);
        check("1048576", None);
        check("99999999999999 GiB", None);
        check("", None);
    }

    #[test]
    fn sizes_are_shown_in_the_largest_exact_unit() {
        let check = |bytes: usize, want: &str| assert_eq!(show_size(bytes), want);
        check(1_048_576, "1 MiB");
        check(1_536, "1536 B");
        check(2_048, "2 KiB");
    }
}
