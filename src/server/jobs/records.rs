//! Changes of one job: the durable record first, then the table.

use std::sync::Arc;

use super::decide::Verdict;
use super::table::{Key, Tracked};
use crate::http::reply::blocking;
use crate::state::Server;

/// Changes a job. All changes go through here, one at a time, so that none overwrites another.
/// Returns what it is after the change; `None` if it is gone, or if the record cannot be written,
/// which changes nothing.
pub(crate) async fn update(
    server: &Arc<Server>,
    key: &Key,
    change: impl FnOnce(&mut Tracked) -> Verdict,
) -> Option<Tracked> {
    let _one_at_a_time = server.jobs.writing.lock().await;
    let mut tracked = server.jobs.one(key)?;
    let verdict = change(&mut tracked);
    let records = Arc::clone(&server.records);
    match verdict {
        Verdict::Same => {}
        Verdict::Changed => {
            let job = tracked.job.clone();
            // The cause is in the log.
            blocking(move || Ok(records.note_job(&job)?)).await.ok()?;
        }
        Verdict::Forget => {
            let (core_id, uid) = key.clone();
            if blocking(move || Ok(records.forget_job(&core_id, uid)?)).await.is_ok() {
                server.jobs.lock().remove(key);
            }
            return None;
        }
        Verdict::Told(at) => {
            let job = tracked.job.clone();
            if blocking(move || Ok(records.end_job(&job, at)?)).await.is_ok() {
                server.jobs.lock().remove(key);
            }
            return None;
        }
    }
    server.jobs.lock().insert(key.clone(), tracked.clone());
    Some(tracked)
}
