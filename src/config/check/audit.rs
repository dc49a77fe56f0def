//! Checks `[audit]`.

use std::time::Duration;

use countersign_keys::identity::Origin;
use toml::Spanned;

use crate::check::findings::{Findings, Site, word};
use crate::file::{AuditTable, Typed};
use crate::problem::Reason;
use crate::{Audit, Keep, Names, Witness, quantity};

const GIB: u64 = 1024 * 1024 * 1024;

pub(super) fn audit(table: AuditTable, site: Site<'_>, findings: &mut Findings<'_>) -> Option<Audit> {
    let segment_max = match table.segment_max {
        None => Some(quantity::SEGMENT_DEFAULT),
        Some(typed) => {
            let size = match quantity::parse_size(typed.get_ref()) {
                None => Err(Reason::Size),
                Some(size) if (quantity::BODY_MIN..=quantity::BODY_MAX).contains(&size) => Ok(size),
                Some(_) => Err(Reason::SizeOutOfRange),
            };
            findings.accept("audit.segment_max", &typed.span(), size)
        }
    };
    let keep_days = findings.number("audit.keep_days", table.keep_days.as_ref(), quantity::KEEP_DAYS);
    let keep_gib = findings.number("audit.keep_gib", table.keep_gib.as_ref(), quantity::KEEP_GIB);
    let every_s = findings.number("audit.witness_every_s", table.witness_every_s.as_ref(), quantity::WITNESS_EVERY_S);
    let url = url(table.witness_url, findings);
    let keep = match (table.keep_gib.is_some(), u64::try_from(keep_gib?).ok()?) {
        (false, _) => Keep::Share,
        (true, 0) => Keep::All,
        (true, gib) => Keep::Bytes(gib.saturating_mul(GIB)),
    };
    Some(Audit {
        segment_max: segment_max?,
        keep_days: Some(keep_days?).filter(|days| *days > 0),
        keep,
        names: if word(table.pseudonyms.as_ref(), false) { Names::Pseudonyms } else { Names::Plain },
        witness: Witness {
            file: table.witness_file.map(|typed| site.path(typed.get_ref())),
            syslog: word(table.witness_syslog.as_ref(), false),
            url: url?,
            every: Duration::from_secs(u64::try_from(every_s?).ok()?),
        },
    })
}

/// An optional URL: an origin with a path.
fn url(typed: Typed<String>, findings: &mut Findings<'_>) -> Option<Option<String>> {
    let Some(typed) = typed else { return Some(None) };
    let url: &Spanned<String> = &typed;
    let text = url.get_ref().as_str();
    let authority = text.find("://").map_or(0, |scheme| scheme.saturating_add(3));
    let path =
        text.get(authority..).and_then(|rest| rest.find('/')).map_or(text.len(), |path| authority.saturating_add(path));
    let (origin, path) = text.split_at(path);
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let made = Origin::parse(origin)
        .map_err(Reason::from)
        .and_then(|_| if is_plain { Ok(text.to_owned()) } else { Err(Reason::Url) });
    findings.accept("audit.witness_url", &typed.span(), made).map(Some)
}
