//! The open public links of this account, each for one job.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_ipc::web_connections::WebConnections;
use countersign_keys::identity::{CoreJobId, LinkName};
use countersign_keys::store::links::LINKS_MAX;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::web::Way;

/// Most links that are open at once: as many as a user can have.
const OPEN_MAX: usize = LINKS_MAX;

/// How long one may be unused. Its step of the job ends then, and the next request starts another.
const IDLE_MAX: Duration = Duration::from_secs(10 * 60);

/// How long the records are not looked at again.
const CHECKED_FOR: Duration = Duration::from_secs(10);

/// An open link of a job.
#[derive(Debug)]
pub(super) struct OpenLink {
    name: LinkName,
    job: CoreJobId,
    way: Mutex<Way>,
    /// To the application, closed when the link ends.
    connections: WebConnections<Incoming>,
    checked: Mutex<Instant>,
    used: Mutex<Instant>,
}

impl OpenLink {
    /// A link whose records were looked at just now.
    pub(super) fn new(name: LinkName, job: CoreJobId, way: Way) -> Self {
        let (now, connections) = (Instant::now(), WebConnections::default());
        Self { name, job, way: Mutex::new(way), connections, checked: Mutex::new(now), used: Mutex::new(now) }
    }

    pub(super) const fn name(&self) -> &LinkName {
        &self.name
    }

    pub(super) const fn job(&self) -> &CoreJobId {
        &self.job
    }

    pub(super) const fn connections(&self) -> &WebConnections<Incoming> {
        &self.connections
    }

    pub(super) fn way(&self) -> Way {
        self.way.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn go_by(&self, way: Way) {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = way;
    }

    /// Whether its records were looked at a short time ago.
    pub(super) fn is_checked(&self) -> bool {
        lock(&self.checked).elapsed() < CHECKED_FOR
    }

    pub(super) fn checked(&self) {
        *lock(&self.checked) = Instant::now();
    }

    /// It was used just now.
    pub(super) fn used(&self) {
        *lock(&self.used) = Instant::now();
    }

    fn is_over(&self) -> bool {
        lock(&self.used).elapsed() >= IDLE_MAX || self.connections.is_closed()
    }
}

fn lock(time: &Mutex<Instant>) -> MutexGuard<'_, Instant> {
    time.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The open links of this account, by name.
#[derive(Debug, Default)]
pub(super) struct OpenLinks(Mutex<HashMap<LinkName, Arc<OpenLink>>>);

impl OpenLinks {
    /// How many there are. Ends those that are over.
    pub(super) fn count(&self) -> usize {
        self.links().len()
    }

    /// Ends the link of that name, and its sockets.
    pub(super) fn close(&self, name: &LinkName) {
        if let Some(link) = self.links().remove(name) {
            link.connections.close();
        }
    }

    pub(super) fn end(&self, link: &Arc<OpenLink>) {
        link.connections.close();
        self.links().retain(|_, kept| !Arc::ptr_eq(kept, link));
    }

    pub(super) fn find(&self, name: &LinkName, job: &CoreJobId) -> Option<Arc<OpenLink>> {
        self.links().get(name).filter(|link| link.job == *job).cloned()
    }

    /// Keeps a link in the place of another job's of that name; whether there was room.
    pub(super) fn keep(&self, link: &Arc<OpenLink>) -> bool {
        let mut links = self.links();
        if links.len() >= OPEN_MAX && !links.contains_key(&link.name) {
            return false;
        }
        if let Some(before) = links.insert(link.name.clone(), Arc::clone(link)) {
            before.connections.close();
        }
        true
    }

    fn links(&self) -> MutexGuard<'_, HashMap<LinkName, Arc<OpenLink>>> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, link| {
            let is_over = link.is_over();
            if is_over {
                link.connections.close();
            }
            !is_over
        });
        links
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::relay::Relay;

    #[tokio::test(start_paused = true)]
    async fn j07_an_open_link_is_of_one_job_and_looked_up_again() {
        let (near, _far) = tokio::io::duplex(1024);
        let relay = Arc::new(Relay::over(near).await.unwrap());
        let id = |text: &str| CoreJobId::parse(text).unwrap();
        let open = |name: &str, job: &str| {
            let way = Way { relay: Arc::clone(&relay), port: 8080 };
            Arc::new(OpenLink::new(LinkName::parse(name).unwrap(), id(job), way))
        };
        let links = OpenLinks::default();
        let (paper, other) = (open("paper", "5"), open("other", "5"));
        assert!(links.keep(&paper) && links.keep(&other));
        assert!(links.find(paper.name(), &id("5")).is_some() && links.find(paper.name(), &id("6")).is_none());
        assert!(paper.is_checked());
        tokio::time::advance(CHECKED_FOR).await;
        assert!(!paper.is_checked());
        // The next job has the name.
        let next = open("paper", "6");
        assert!(links.keep(&next));
        paper.connections().until_closed().await;
        assert!(links.find(paper.name(), &id("5")).is_none() && links.count() == 2);
        // One that is not used ends, and with it its step of the job.
        tokio::time::advance(IDLE_MAX / 2).await;
        next.used();
        tokio::time::advance(IDLE_MAX / 2).await;
        assert_eq!(links.count(), 1);
        other.connections().until_closed().await;
        links.close(next.name());
        next.connections().until_closed().await;
        for number in 0..OPEN_MAX {
            assert!(links.keep(&open(&format!("l{number}"), "7")));
        }
        assert!(!links.keep(&open("one-more", "7")) && links.keep(&open("l0", "8")));
    }
}
