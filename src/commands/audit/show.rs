//! `countersign audit show`: prints recorded decisions, and follows new ones.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use countersign_keys::identity::{Uid, Username};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::{Log, logs, record_of};
use crate::arguments::{AuditShow, DecisionWord};
use crate::commands::error::CommandError;
use crate::commands::terminal::{Width, show};
use countersign_audit::{Leaf, Pseudonyms, Records};
use countersign_config::{PSEUDONYM_KEY, SecretFile};
use countersign_os::quoted::{columns_of, cut, escaped, word};

/// How often to look for new records.
const PAUSE: Duration = Duration::from_millis(200);

const MOMENT: StaticFormatDescription = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// Selects records.
struct Filter {
    /// The user's name, and their pseudonym if its key can be read. Empty for all users.
    users: Vec<String>,
    call: Option<String>,
    decision: Option<&'static str>,
    request: Option<String>,
}

impl Filter {
    fn admits(&self, record: &Value) -> bool {
        let is = |name: &str, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| record.get(name).and_then(Value::as_str) == Some(wanted))
        };
        // "files." selects every call that begins with it.
        let call = self.call.as_deref().is_none_or(|wanted| {
            let call = record.get("call").and_then(Value::as_str).unwrap_or_default();
            call == wanted || wanted.ends_with('.') && call.starts_with(wanted)
        });
        let user = record.get("username").and_then(Value::as_str).unwrap_or_default();
        let user = self.users.is_empty() || self.users.iter().any(|wanted| wanted == user);
        call && user && is("decision", self.decision) && is("requestId", self.request.as_deref())
    }
}

pub(in crate::commands) fn print(arguments: AuditShow, config: &Path) -> Result<(), CommandError> {
    let AuditShow { directory, follow, user, call, decision, request, last, wide, output } = arguments;
    let logs = logs(directory, config)?;
    let users = user.map(|user| known_as(user, &logs)).unwrap_or_default();
    let filter = Filter { users, call, decision: decision.map(DecisionWord::as_str), request };
    let mut shown: Vec<(OffsetDateTime, Value)> = Vec::new();
    let mut followed = Vec::new();
    for log in &logs {
        let (records, rest) = latest(log, &filter, last)?;
        shown.extend(records);
        followed.push((log, rest));
    }
    shown.sort_by_key(|(time, _)| *time);
    let width = Width::from_flag(wide);
    let heads = ["TIME (UTC)", "BY", "DECISION", "STATUS", "USER", "CALL", "REQUEST", "WHY"].map(str::to_owned);
    if !output.json {
        show(&row(heads, width))?;
    }
    let tell = |record: &Value| show(&if output.json { record.to_string() } else { row(cells(record), width) });
    for (_, record) in shown.iter().skip(shown.len().saturating_sub(last)) {
        tell(record)?;
    }
    if !follow {
        return Ok(());
    }
    let mut leaf = Leaf::default();
    loop {
        for (log, records) in &mut followed {
            let unreadable = |source| CommandError::File { path: log.layout.directory().to_owned(), source };
            while records.next(&mut leaf).map_err(unreadable)? {
                let record = record_of(leaf.record());
                if filter.admits(&record) {
                    tell(&record)?;
                }
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// A user's name, and their pseudonym if the key is beside the logs.
fn known_as(user: String, logs: &[Log]) -> Vec<String> {
    let own = Uid(nix::unistd::geteuid().as_raw());
    let beside = |log: &Log| log.layout.directory().parent().map(|directory| directory.join(PSEUDONYM_KEY));
    let key = logs.iter().find_map(beside).and_then(|path| SecretFile::new(path, own).read().ok());
    let username = Username::parse(&user).ok();
    let pseudonym = key.zip(username).and_then(|(key, username)| Pseudonyms::new(&key).of(&username));
    std::iter::once(user).chain(pseudonym.map(|pseudonym| pseudonym.as_str().to_owned())).collect()
}

/// The latest selected records, and a reader positioned after the last record.
fn latest(log: &Log, filter: &Filter, last: usize) -> Result<(Vec<(OffsetDateTime, Value)>, Records), CommandError> {
    let unreadable = |source| CommandError::File { path: log.layout.directory().to_owned(), source };
    let segments = log.layout.segments().map_err(unreadable)?;
    let mut found: VecDeque<(OffsetDateTime, Value)> = VecDeque::new();
    let mut reader = None;
    let mut leaf = Leaf::default();
    // The newest file first; within a file, the oldest record first.
    for segment in segments.iter().rev() {
        let mut records = Records::from(log.layout.clone(), segment).map_err(unreadable)?;
        let mut here = VecDeque::new();
        while records.next_here(&mut leaf).map_err(unreadable)? {
            let record = record_of(leaf.record());
            if last > 0 && filter.admits(&record) {
                if here.len().saturating_add(found.len()) >= last {
                    here.pop_front();
                }
                here.push_back((time_of(&record), record));
            }
        }
        here.append(&mut found);
        found = here;
        reader.get_or_insert(records);
        if found.len() >= last {
            break;
        }
    }
    let reader = reader.unwrap_or_else(|| Records::from_the_oldest(log.layout.clone()));
    Ok((found.into(), reader))
}

fn text<'r>(record: &'r Value, name: &str) -> &'r str {
    record.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn time_of(record: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(text(record, "time"), &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn cells(record: &Value) -> [String; 8] {
    let status = record.get("status").and_then(Value::as_u64).map(|status| status.to_string()).unwrap_or_default();
    let of = |name: &str| Some(text(record, name)).filter(|text| !text.is_empty()).map(word).unwrap_or_default();
    let time = time_of(record).format(MOMENT).unwrap_or_default();
    let why = format!("{}{}", counted(record), escaped(text(record, "reason")));
    [time, of("process"), of("decision"), status, of("username"), of("call"), of("requestId"), why]
}

/// The prefix for a record that stands for several decisions: their number.
fn counted(record: &Value) -> String {
    let Some(counted) = record.get("counted") else { return String::new() };
    let number = |name: &str| counted.get(name).and_then(Value::as_u64).unwrap_or(0);
    let networks = match number("networks") {
        0 => String::new(),
        1 => " from 1 network".to_owned(),
        several => format!(" from {several} networks"),
    };
    let first =
        OffsetDateTime::parse(text(counted, "first"), &Rfc3339).ok().and_then(|first| first.format(MOMENT).ok());
    let since = first.map(|first| format!(" since {first}")).unwrap_or_default();
    format!("\u{d7}{}{networks}{since}: ", number("number"))
}

/// Least columns for the reason on the record's own line. With fewer it gets the next line.
const WHY_MIN: usize = 24;

/// One line of output. Columns have the usual width of their content, because later records are not
/// known yet. `--wide` adds the columns BY and REQUEST, and truncates nothing.
fn row(cells: [String; 8], width: Width) -> String {
    let [time, by, decision, status, user, call, request, why] = cells;
    if width == Width::Wide {
        let line =
            format!("{time:<19}  {by:<7}  {decision:<11}  {status:<6}  {user:<20}  {call:<22}  {request:<16}  {why}");
        return line.trim_end().to_owned();
    }
    let of = |cell: &str, columns: usize| {
        let cell = cut(cell, columns);
        let padding = columns.saturating_sub(columns_of(&cell));
        format!("{cell}{}  ", " ".repeat(padding))
    };
    let line = [of(&time, 19), of(&decision, 11), of(&status, 6), of(&user, 16), of(&call, 20)].concat();
    let columns = width.columns().unwrap_or(usize::MAX);
    let left = columns.saturating_sub(columns_of(&line));
    let line = if left >= WHY_MIN || why.is_empty() {
        format!("{line}{}", cut(&why, left))
    } else {
        format!("{}\n    {}", cut(line.trim_end(), columns), cut(&why, columns.saturating_sub(4)))
    };
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_count_says_how_many_from_where_and_since_when() {
        let counted = json!({
            "number": 63_463, "first": "2026-11-23T02:00:00Z", "last": "2026-11-23T02:00:09Z", "networks": 12,
        });
        let record = json!({ "time": "2026-11-23T02:00:10Z", "reason": "no such call", "counted": counted });
        let [.., why] = cells(&record);
        assert_eq!(why, "\u{d7}63463 from 12 networks since 2026-11-23 02:00:00: no such call");
        let [.., why] = cells(&json!({ "reason": "no such call" }));
        assert_eq!(why, "no such call");
    }
}
