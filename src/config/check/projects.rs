//! Checks `[projects]`.

use toml::Spanned;

use crate::check::findings::{Findings, Site};
use crate::check::users::program;
use crate::file::ProjectsTable;
use crate::problem::Reason;
use crate::projects::{Groups, Projects, Removals};
use crate::quantity::{GIDS, REMOVALS_AN_HOUR, REMOVALS_AN_HOUR_IN_ALL};

const PREFIX: &str = "ucp-";

/// Longest prefix, in bytes: a group's name has at most 32, and a number ten.
const PREFIX_MAX: usize = 16;

/// `None` without the table; `Some(None)` if something in it is wrong.
pub(super) fn projects(
    table: Option<ProjectsTable>,
    site: Site<'_>,
    findings: &mut Findings<'_>,
) -> Option<Option<Projects>> {
    let table = table?;
    let each = findings.number("projects.removals_an_hour", table.removals_an_hour.as_ref(), REMOVALS_AN_HOUR);
    let key = "projects.removals_an_hour_in_all";
    let all = findings.number(key, table.removals_an_hour_in_all.as_ref(), REMOVALS_AN_HOUR_IN_ALL);
    let groups = groups(table, site, findings);
    let meant = || {
        let (each_hour, all_hour) = (usize::try_from(each?).ok()?, usize::try_from(all?).ok()?);
        Some(Projects { groups: groups?, removals: Removals { each_hour, all_hour } })
    };
    Some(meant())
}

/// `None` if it was reported; `Some(None)` without a program.
fn groups(table: ProjectsTable, site: Site<'_>, findings: &mut Findings<'_>) -> Option<Option<Groups>> {
    let ProjectsTable { prefix, gids, command, .. } = table;
    let Some(command) = command else {
        let idle = "projects.command names a program that makes the groups";
        let prefix = prefix.map(|typed| ("projects.prefix", typed.span()));
        let gids = gids.map(|typed| ("projects.gids", typed.span()));
        let mut is_idle = false;
        for (key, span) in prefix.into_iter().chain(gids) {
            findings.add(key, Some(span), Reason::Idle(idle));
            is_idle = true;
        }
        return if is_idle { None } else { Some(None) };
    };
    let what =
        "a program that makes groups, such as [\"/usr/bin/sudo\", \"-n\", \"/usr/bin/countersign-local-groups\"]";
    let command = program("projects.command", command, what, site, findings);
    let prefix = match prefix {
        None => Some(PREFIX.to_owned()),
        Some(typed) => {
            let made = if is_prefix(typed.get_ref()) { Ok(typed.get_ref().clone()) } else { Err(Reason::GroupPrefix) };
            findings.accept("projects.prefix", &typed.span(), made)
        }
    };
    let what = "the first and the last gid of groups of projects, such as [70000, 79999]";
    let gids = findings.required("projects.gids", gids, what).and_then(|typed| {
        let numbers: Vec<i64> = typed.get_ref().iter().map(|number: &Spanned<i64>| *number.get_ref()).collect();
        findings.accept("projects.gids", &typed.span(), range(&numbers).ok_or(Reason::Gids))
    });
    Some(Some(Groups { prefix: prefix?, gids: gids?, command: command? }))
}

fn is_prefix(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    text.len() <= PREFIX_MAX
        && text.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && text.bytes().all(is_plain)
        && !text.ends_with(|last: char| last.is_ascii_digit())
}

fn range(numbers: &[i64]) -> Option<(u32, u32)> {
    let [first, last] = numbers else { return None };
    let is_within = |number: &i64| (GIDS.min..=GIDS.max).contains(number);
    if !is_within(first) || !is_within(last) || first > last {
        return None;
    }
    Some((u32::try_from(*first).ok()?, u32::try_from(*last).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_makes_names_of_groups_that_are_nothing_else() {
        for (prefix, want) in [
            ("ucp-", true),
            ("p_", true),
            ("", false),
            ("-ucp", false),
            ("7p", false),
            ("Ucp-", false),
            ("ucp/", false),
            ("ucp:", false),
            ("ucp1", false),
            ("abcdefghijklmnopq", false),
        ] {
            assert_eq!(is_prefix(prefix), want, "{prefix}");
        }
    }

    #[test]
    fn gids_are_a_range_of_no_systems_groups() {
        assert_eq!(range(&[70_000, 79_999]), Some((70_000, 79_999)));
        assert_eq!(range(&[70_000, 70_000]), Some((70_000, 70_000)));
        for bad in [&[][..], &[70_000], &[70_000, 69_999], &[0, 70_000], &[999, 70_000], &[1_000, 1 << 32], &[1, 2, 3]]
        {
            assert_eq!(range(bad), None, "{bad:?}");
        }
    }
}
