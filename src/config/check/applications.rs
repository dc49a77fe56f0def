//! Checks `[applications]`.

use std::collections::BTreeSet;

use toml::Spanned;

use crate::check::findings::{Findings, Site};
use crate::file::{AcceptWord, ApplicationsTable};
use crate::problem::Reason;
use crate::{APPLICATIONS_FOLDER, Accept, Applications};

pub(super) fn applications(
    table: ApplicationsTable,
    site: Site<'_>,
    findings: &mut Findings<'_>,
) -> Option<Applications> {
    // Readers check the folder itself: it may appear after the start, with the first approval.
    let folder = match &table.folder {
        None => Some(site.path(APPLICATIONS_FOLDER)),
        Some(typed) => {
            let is_named = !typed.get_ref().is_empty() && !typed.get_ref().contains('\0');
            let named = is_named.then(|| site.path(typed.get_ref())).ok_or(Reason::Folder);
            findings.accept("applications.folder", &typed.span(), named)
        }
    };
    let accept = match table.accept {
        None => Some(BTreeSet::from([Accept::Approved, Accept::Workflow])),
        Some(typed) => accept(typed, findings),
    };
    Some(Applications { folder: folder?, accept: accept? })
}

fn accept(typed: Spanned<Vec<Spanned<AcceptWord>>>, findings: &mut Findings<'_>) -> Option<BTreeSet<Accept>> {
    let span = typed.span();
    let mut accepted = BTreeSet::new();
    for (index, entry) in typed.into_inner().into_iter().enumerate() {
        let word = match entry.get_ref() {
            AcceptWord::Approved => Accept::Approved,
            AcceptWord::Workflow => Accept::Workflow,
        };
        let once = if accepted.insert(word) { Ok(()) } else { Err(Reason::Twice) };
        findings.accept(&format!("applications.accept[{index}]"), &entry.span(), once)?;
    }
    if accepted.is_empty() {
        let what = "it names what may start: \"approved\", \"workflow\" or both";
        findings.add("applications.accept", Some(span), Reason::Empty(what));
        return None;
    }
    Some(accepted)
}
