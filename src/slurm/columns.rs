//! Reads the lines of a program's table strictly. A line that does not fit is counted and changes
//! nothing.

/// Longest line, in bytes. A list of nodes of a job on a whole centre is the longest column.
const LINE_MAX: usize = 16 * 1024;

/// Most bytes of an unreadable line that are kept for the operator.
const SHOWN_MAX: usize = 200;

/// What stands between columns. No column that is asked for contains it, except possibly the last.
const SEPARATOR: char = '|';

/// The rows of a table, and how much of it cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listing<T> {
    pub rows: Vec<T>,
    /// Lines that cannot be read. If there are any, a job that is not among the rows may still
    /// exist.
    pub unreadable: usize,
    /// The beginning of the first of them, escaped.
    pub first_unreadable: Option<String>,
}

impl<T> Listing<T> {
    /// Reads lines of `N` columns. `read` returns `None` for a line that it cannot read.
    pub(crate) fn read<const N: usize>(text: &[u8], read: impl Fn([&str; N]) -> Option<T>) -> Self {
        let mut listing = Self { rows: Vec::new(), unreadable: 0, first_unreadable: None };
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        if text.is_empty() {
            return listing;
        }
        for line in text.split(|byte| *byte == b'\n') {
            match fields(line).and_then(&read) {
                Some(row) => listing.rows.push(row),
                None => listing.note_unreadable(line),
            }
        }
        listing
    }

    pub(crate) fn note_unreadable(&mut self, line: &[u8]) {
        self.unreadable = self.unreadable.saturating_add(1);
        let shown = line.get(..SHOWN_MAX).unwrap_or(line);
        self.first_unreadable.get_or_insert_with(|| shown.escape_ascii().to_string());
    }
}

/// Exactly `N` columns of plain text. The last may contain separators.
fn fields<const N: usize>(line: &[u8]) -> Option<[&str; N]> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.len() <= LINE_MAX)?;
    if line.chars().any(char::is_control) {
        return None;
    }
    let fields: Vec<&str> = line.splitn(N, SEPARATOR).collect();
    fields.try_into().ok()
}

/// A number in plain digits.
pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let is_plain = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// A time as seconds of Unix time, or one of Slurm's words for none. The outer `None`: unreadable.
#[allow(clippy::option_option, reason = "absent and unreadable differ, and the caller handles both at once")]
pub(crate) fn time(text: &str) -> Option<Option<i64>> {
    match text {
        "" | "N/A" | "Unknown" | "None" | "NONE" => Some(None),
        text => number(text).map(|time: i64| (time > 0).then_some(time)),
    }
}

/// A list of nodes, as Slurm abbreviates it (`n[1-2,7]`); empty for none.
pub(crate) fn nodes(text: &str) -> Option<String> {
    let is_list = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'[' | b']' | b','));
    match text {
        "None assigned" | "(null)" => Some(String::new()),
        text => is_list.then(|| text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[u8]) -> Listing<(u32, String)> {
        Listing::read(text, |[id, rest]: [&str; 2]| Some((number(id)?, rest.to_owned())))
    }

    #[test]
    fn a_line_that_does_not_fit_is_counted_and_changes_nothing() {
        let check = |text: &[u8], want: &[u32], unreadable: usize| {
            let listing = pairs(text);
            let ids: Vec<u32> = listing.rows.iter().map(|(id, _)| *id).collect();
            assert_eq!((ids.as_slice(), listing.unreadable), (want, unreadable), "{}", text.escape_ascii());
            assert_eq!(listing.first_unreadable.is_some(), unreadable > 0);
        };
        check(b"", &[], 0);
        check(b"\n", &[], 0);
        check(b"1|a\n2|b\n", &[1, 2], 0);
        check(b"1|a\n2|b", &[1, 2], 0);
        check(b"1|a|b\n", &[1], 0); // the last column may have a separator
        check(b"1|a\n\n2|b\n", &[1, 2], 1);
        check(b"1\n2|b\n", &[2], 1);
        check(b"x|a\n2|b\n", &[2], 1);
        check(b"+1|a\n", &[], 1);
        check(b" 1|a\n", &[], 1);
        check(b"1|a\0\n2|b\n", &[2], 1);
        check(b"1|a\r\n2|b\n", &[2], 1);
        check(b"1|\xff\n2|b\n", &[2], 1);
        check("1|\u{85}\n2|b\n".as_bytes(), &[2], 1);
        let huge = [b"1|".as_slice(), &[b'a'; LINE_MAX], b"\n2|b\n"].concat();
        check(&huge, &[2], 1);
        assert!(pairs(&huge).first_unreadable.unwrap().len() <= SHOWN_MAX * 4);
    }

    #[test]
    fn times_and_nodes_have_slurms_words_for_none() {
        assert_eq!(time("1795944150"), Some(Some(1_795_944_150)));
        for none in ["", "N/A", "Unknown", "None", "0"] {
            assert_eq!(time(none), Some(None), "{none}");
        }
        for bad in ["2026-11-28T07:19:38", "-1", "1.5", "now", "99999999999999999999"] {
            assert_eq!(time(bad), None, "{bad}");
        }
        assert_eq!(nodes("n[1-2,7]").as_deref(), Some("n[1-2,7]"));
        assert_eq!(nodes("None assigned").as_deref(), Some(""));
        assert_eq!(nodes("n1;reboot"), None);
    }
}
