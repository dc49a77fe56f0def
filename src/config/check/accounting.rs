//! Checks `[accounting]`.

use std::time::Duration;

use crate::accounting::UsageReports;
use crate::check::findings::{Findings, Site};
use crate::check::users::program;
use crate::file::AccountingTable;
use crate::quantity::{ACCOUNTING_EVERY_S, JOB_MAX};

/// `None` if it was reported; `Some(None)` if there is no such table.
pub(super) fn accounting(
    table: Option<AccountingTable>,
    site: Site<'_>,
    findings: &mut Findings<'_>,
) -> Option<Option<UsageReports>> {
    let Some(AccountingTable { every_s, job_max, storage_command }) = table else { return Some(None) };
    let every_s = findings.number("accounting.every_s", every_s.as_ref(), ACCOUNTING_EVERY_S)?;
    let job_max = match job_max {
        None => Some(None),
        typed => findings.number("accounting.job_max", typed.as_ref(), JOB_MAX).map(|max| u64::try_from(max).ok()),
    };
    let storage_command = match storage_command {
        None => Some(None),
        Some(typed) => {
            let what = "a program and its arguments, such as [\"/usr/local/bin/drive-usage\"]";
            program("accounting.storage_command", typed, what, site, findings).map(Some)
        }
    };
    Some(Some(UsageReports {
        storage_command: storage_command?,
        job_max: job_max?,
        every: Duration::from_secs(u64::try_from(every_s).ok()?),
    }))
}
