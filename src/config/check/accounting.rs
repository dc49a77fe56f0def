//! Checks `[accounting]`.

use std::time::Duration;

use crate::accounting::UsageReports;
use crate::check::findings::Findings;
use crate::file::AccountingTable;
use crate::quantity::ACCOUNTING_EVERY_S;

/// `None` if it was reported; `Some(None)` if there is no such table.
pub(super) fn accounting(table: Option<AccountingTable>, findings: &mut Findings<'_>) -> Option<Option<UsageReports>> {
    let Some(AccountingTable { every_s }) = table else { return Some(None) };
    let every_s = findings.number("accounting.every_s", every_s.as_ref(), ACCOUNTING_EVERY_S)?;
    Some(Some(UsageReports { every: Duration::from_secs(u64::try_from(every_s).ok()?) }))
}
