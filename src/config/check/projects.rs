//! Checks `[projects]`.

use crate::check::findings::Findings;
use crate::file::ProjectsTable;
use crate::projects::{Projects, Removals};
use crate::quantity::{REMOVALS_AN_HOUR, REMOVALS_AN_HOUR_IN_ALL};

/// `None` without the table; `Some(None)` if something in it is wrong.
pub(super) fn projects(table: Option<ProjectsTable>, findings: &mut Findings<'_>) -> Option<Option<Projects>> {
    let ProjectsTable { removals_an_hour, removals_an_hour_in_all } = table?;
    let each = findings.number("projects.removals_an_hour", removals_an_hour.as_ref(), REMOVALS_AN_HOUR);
    let key = "projects.removals_an_hour_in_all";
    let all = findings.number(key, removals_an_hour_in_all.as_ref(), REMOVALS_AN_HOUR_IN_ALL);
    let meant = || {
        let (each_hour, all_hour) = (usize::try_from(each?).ok()?, usize::try_from(all?).ok()?);
        Some(Projects { removals: Removals { each_hour, all_hour } })
    };
    Some(meant())
}
