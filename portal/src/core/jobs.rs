//! Core's jobs, as a provider changes them: updates, and the questions whether and whose they are.
//!
//! Appends every update that applies, also a repeated one. One unknown id refuses a whole request.
//! After a final state only another final state is taken.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

/// The id of the first job. A real Core has given others before.
const FIRST: u64 = 54_112;

/// Jobs on a page if the provider does not say how many, and most of them.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 1_000;

/// The states after which only another of them is taken.
const FINAL: [&str; 3] = ["SUCCESS", "FAILURE", "EXPIRED"];

/// A job as its user sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShownJob {
    /// Core's id.
    pub id: String,
    /// The user who created it.
    pub created_by: String,
    /// The project in which it was created.
    pub project: Option<String>,
    /// The id under which the provider registered it, if it did.
    pub provider_generated_id: Option<String>,
    /// Its name, if the provider registered it.
    pub name: String,
    /// The present state.
    pub state: String,
    /// Every state that the provider gave it, in order, as often as it did.
    pub states: Vec<String>,
    /// Every sentence that the provider sent, in order.
    pub statuses: Vec<String>,
    /// The UCloud path of its folder.
    pub output_folder: Option<String>,
    /// The time that it has, in milliseconds, once the provider changed it.
    pub time_allocation_ms: Option<i64>,
    /// How many updates were stored.
    pub updates: usize,
}

/// The jobs. Their number is bounded by the test.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    all: Mutex<BTreeMap<String, ShownJob>>,
    /// How many ids were given. The id of a removed job is not given again.
    given: AtomicU64,
}

/// Why Core does not register a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NotRegistered {
    /// A product of another provider.
    Forbidden,
    /// The provider has used the id before. Earlier items of the request are registered.
    Exists,
    /// The request is not of its form.
    Malformed,
}

/// An id that Core does not have.
#[derive(Debug)]
pub(super) struct UnknownJob(pub(super) String);

impl Jobs {
    /// Every job.
    pub(super) fn all(&self) -> Vec<ShownJob> {
        self.lock().values().cloned().collect()
    }

    /// Creates a job, and returns its id.
    pub(super) fn insert(&self, created_by: &str, project: Option<&str>) -> String {
        let id = FIRST.saturating_add(self.given.fetch_add(1, Ordering::Relaxed)).to_string();
        self.put(&id, created_by, project);
        id
    }

    /// Creates a job with an id of the provider.
    pub(super) fn insert_as(&self, created_by: &str, provider_generated_id: &str) -> String {
        let id = self.insert(created_by, None);
        if let Some(job) = self.lock().get_mut(&id) {
            job.provider_generated_id = Some(provider_generated_id.to_owned());
        }
        id
    }

    /// Creates a job under this id.
    pub(super) fn put(&self, id: &str, created_by: &str, project: Option<&str>) {
        let job = ShownJob {
            id: id.to_owned(),
            created_by: created_by.to_owned(),
            project: project.map(str::to_owned),
            provider_generated_id: None,
            name: String::new(),
            state: "IN_QUEUE".to_owned(),
            states: Vec::new(),
            statuses: Vec::new(),
            output_folder: None,
            time_allocation_ms: None,
            updates: 0,
        };
        self.lock().insert(id.to_owned(), job);
    }

    /// Registers jobs that the provider has found. Checks neither users nor products' names.
    pub(super) fn register(&self, provider: &str, body: &Value) -> Result<Value, NotRegistered> {
        let items = body.get("items").and_then(Value::as_array).ok_or(NotRegistered::Malformed)?;
        let text = |item: &Value, path: &str| item.pointer(path).and_then(Value::as_str).map(str::to_owned);
        if items.iter().any(|item| text(item, "/spec/product/provider").as_deref() != Some(provider)) {
            return Err(NotRegistered::Forbidden);
        }
        let mut ids = Vec::new();
        for item in items {
            let id = text(item, "/providerGeneratedId");
            if id.is_some() && self.lock().values().any(|job| job.provider_generated_id == id) {
                return Err(NotRegistered::Exists);
            }
            let created_by = text(item, "/createdBy").unwrap_or_else(|| "_ucloud".to_owned());
            let project = text(item, "/project").filter(|project| !project.is_empty());
            let core_id = self.insert(&created_by, project.as_deref());
            if let Some(job) = self.lock().get_mut(&core_id) {
                job.provider_generated_id = id;
                job.name = text(item, "/spec/name").unwrap_or_default();
            }
            ids.push(json!({ "id": core_id }));
        }
        Ok(json!({ "responses": ids }))
    }

    /// Gives a job another state, of which its updates say nothing.
    pub(super) fn set_state(&self, id: &str, state: &str) {
        if let Some(job) = self.lock().get_mut(id) {
            state.clone_into(&mut job.state);
        }
    }

    /// Removes a job, as Core does when the provider's answer came too late.
    pub(super) fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Applies updates. Nothing is changed if one id is unknown.
    pub(super) fn update(&self, body: &Value) -> Result<(), UnknownJob> {
        let mut jobs = self.lock();
        let items = body.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        for item in &items {
            let id = item.get("id").and_then(Value::as_str).unwrap_or_default();
            if !jobs.contains_key(id) {
                return Err(UnknownJob(id.to_owned()));
            }
        }
        for item in &items {
            let job = item.get("id").and_then(Value::as_str).and_then(|id| jobs.get_mut(id));
            if let (Some(job), Some(update)) = (job, item.get("update")) {
                job.apply(update);
            }
        }
        Ok(())
    }

    /// Whether each of the resources exists.
    pub(super) fn check_existence(&self, body: &Value) -> Value {
        let jobs = self.lock();
        let items = body.get("items").and_then(Value::as_array).into_iter().flatten();
        let is_there = |item: &Value| {
            item.get("type").and_then(Value::as_str) == Some("job")
                && item.get("id").and_then(Value::as_str).is_some_and(|id| jobs.contains_key(id))
        };
        json!({ "responses": items.map(is_there).collect::<Vec<bool>>() })
    }

    /// A job by its id.
    pub(super) fn retrieve(&self, id: &str) -> Option<Value> {
        self.lock().get(id).map(ShownJob::to_json)
    }

    /// A page of jobs, the latest first: `itemsPerPage`, `next` and `filterState` of the query.
    /// `next` is the id of the page's last job.
    pub(super) fn browse(&self, query: &str) -> Value {
        let of = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let asked = of("itemsPerPage").and_then(|count| count.parse().ok()).filter(|count| *count > 0);
        let per_page: usize = asked.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
        let number = |id: &str| id.parse::<u64>().unwrap_or(0);
        let before = of("next").map_or(u64::MAX, number);
        let jobs = self.lock();
        if let Some(ids) = of("filterProviderIds") {
            let has = |job: &&ShownJob| {
                job.provider_generated_id.as_deref().is_some_and(|own| ids.split(',').any(|id| id == own))
            };
            let items: Vec<Value> = jobs.values().filter(has).map(ShownJob::to_json).collect();
            // Go writes an empty list that was never made as `null`.
            let items = if items.is_empty() { Value::Null } else { items.into() };
            return json!({ "itemsPerPage": PAGE_MAX, "items": items });
        }
        let mut listed: Vec<&ShownJob> = jobs.values().filter(|job| number(&job.id) < before).collect();
        listed.retain(|job| of("filterState").is_none_or(|state| job.state == state));
        listed.sort_by_key(|job| Reverse(number(&job.id)));
        let next = listed.get(per_page).and_then(|_| listed.get(per_page.saturating_sub(1))).map(|job| &job.id);
        let items: Vec<Value> = listed.iter().take(per_page).map(|job| job.to_json()).collect();
        json!({ "itemsPerPage": per_page, "items": items, "next": next })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ShownJob>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShownJob {
    /// Whether it has ended.
    #[must_use]
    pub fn is_final(&self) -> bool {
        FINAL.contains(&self.state.as_str())
    }

    fn apply(&mut self, update: &Value) {
        let text = |name: &str| update.get(name).and_then(Value::as_str);
        let state = text("state");
        let is_same = state == Some(self.state.as_str());
        let wants_other = update.get("expectedDifferentState").and_then(Value::as_bool) == Some(true);
        let wants_this = text("expectedState").is_some_and(|expected| expected != self.state);
        if (wants_other && is_same) || wants_this {
            return;
        }
        if self.is_final() && state.is_some_and(|state| !FINAL.contains(&state)) {
            return;
        }
        self.updates = self.updates.saturating_add(1);
        if let Some(state) = state {
            state.clone_into(&mut self.state);
            self.states.push(state.to_owned());
        }
        self.statuses.extend(text("status").map(str::to_owned));
        if let Some(folder) = text("outputFolder") {
            self.output_folder = Some(folder.to_owned());
        }
        if let Some(allocation) = update.get("newTimeAllocation").and_then(Value::as_i64) {
            self.time_allocation_ms = Some(allocation);
        }
    }

    fn to_json(&self) -> Value {
        let mut job = json!({
            "id": self.id,
            "createdAt": 1_700_000_000_000_i64,
            "owner": { "createdBy": self.created_by, "project": self.project },
            "updates": [],
            "status": { "state": self.state },
            "output": { "outputFolder": self.output_folder },
        });
        if let (Some(id), Some(members)) = (&self.provider_generated_id, job.as_object_mut()) {
            members.insert("providerGeneratedId".to_owned(), id.clone().into());
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(jobs: &Jobs, id: &str, update: Value) -> bool {
        jobs.update(&json!({ "items": [{ "id": id, "update": update }] })).is_ok()
    }

    #[test]
    fn updates_are_appended_unless_they_expect_otherwise() {
        let jobs = Jobs::default();
        let id = jobs.insert("alice#1", None);
        let running = json!({ "state": "RUNNING", "status": "it runs", "expectedDifferentState": true });
        assert!(update(&jobs, &id, running.clone()));
        assert!(update(&jobs, &id, running));
        assert!(update(&jobs, &id, json!({ "state": "RUNNING", "status": "again" })));
        assert!(update(&jobs, &id, json!({ "state": "SUCCESS", "expectedState": "IN_QUEUE" })));
        let job = jobs.all().remove(0);
        assert_eq!(job.states, ["RUNNING", "RUNNING"]);
        assert_eq!((job.statuses, job.updates), (vec!["it runs".to_owned(), "again".to_owned()], 2));
        // After a final state only another one is taken.
        assert!(update(&jobs, &id, json!({ "state": "FAILURE" })));
        assert!(update(&jobs, &id, json!({ "state": "RUNNING" })));
        assert_eq!(jobs.all().remove(0).state, "FAILURE");
        assert!(jobs.browse("filterState=RUNNING")["items"].as_array().is_some_and(Vec::is_empty));
        assert_eq!(jobs.browse("filterState=FAILURE")["items"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn jobs_are_listed_in_pages_the_latest_first() {
        let jobs = Jobs::default();
        let ids: Vec<String> = (0..5).map(|_| jobs.insert("alice#1", None)).collect();
        let page = |query: &str| {
            let page = jobs.browse(query);
            let listed = page["items"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned());
            (listed.collect::<Vec<_>>(), page["next"].as_str().map(str::to_owned))
        };
        let (first, next) = page("itemsPerPage=2");
        assert_eq!((first, &next), (vec![ids[4].clone(), ids[3].clone()], &Some(ids[3].clone())));
        let (second, next) = page(&format!("itemsPerPage=2&next={}", next.unwrap()));
        assert_eq!(second, [ids[2].clone(), ids[1].clone()]);
        assert_eq!(page(&format!("itemsPerPage=2&next={}", next.unwrap())), (vec![ids[0].clone()], None));
        assert_eq!(page("itemsPerPage=-1").0.len(), 5);
    }

    #[test]
    fn the_id_of_a_refused_job_is_not_given_again() {
        let jobs = Jobs::default();
        let refused = jobs.insert("alice#1", None);
        jobs.remove(&refused);
        assert_ne!(jobs.insert("alice#1", None), refused);
    }

    #[test]
    fn an_id_of_the_provider_is_registered_once_and_found_again() {
        let jobs = Jobs::default();
        let items = |id: &str, provider: &str| {
            let spec = json!({ "product": { "id": "small", "category": "small", "provider": provider }, "name": "n" });
            json!({ "items": [{ "spec": spec, "providerGeneratedId": id, "createdBy": "alice#1", "project": null }] })
        };
        assert_eq!(jobs.register("hpc", &items("a", "other")), Err(NotRegistered::Forbidden));
        let registered = jobs.register("hpc", &items("a", "hpc")).unwrap();
        assert_eq!(jobs.register("hpc", &items("a", "hpc")), Err(NotRegistered::Exists));
        let found = jobs.browse("itemsPerPage=10&filterProviderIds=b,a");
        assert_eq!(found["items"][0]["id"], registered["responses"][0]["id"]);
        assert_eq!(found["items"][0]["providerGeneratedId"], "a");
        assert_eq!(jobs.browse("filterProviderIds=c")["items"], Value::Null);
    }

    #[test]
    fn an_unknown_id_refuses_the_whole_request() {
        let jobs = Jobs::default();
        let id = jobs.insert("alice#1", None);
        let items = json!({ "items": [
            { "id": id, "update": { "state": "RUNNING" } }, { "id": "1", "update": { "state": "RUNNING" } },
        ] });
        assert_eq!(jobs.update(&items).unwrap_err().0, "1");
        assert_eq!(jobs.all().remove(0).state, "IN_QUEUE");
        let items = json!({ "items": [{ "type": "job", "id": id }, { "type": "job", "id": "1" }, { "type": "ingress", "id": id }] });
        assert_eq!(jobs.check_existence(&items), json!({ "responses": [true, false, false] }));
    }
}
