//! Drives, jobs, SSH keys, tokens and tasks of users. Core sends creations and deletions to the
//! provider one item at a time, and stops at the first that fails.

use std::sync::Arc;

use countersign_portal::core::Control;
use countersign_portal::core::bodies::Drive;
use countersign_portal::{Answer, Deed, Request};
use http::StatusCode;
use serde_json::{Value, json};

use super::held::{Kind, Resource};
use super::{Actor, Answered, Query, Refused, UserApi, items, ok, picked, text};

/// Milliseconds in a minute of a job's time.
const MS_PER_MINUTE: i64 = 60_000;

/// The permissions of an owner.
fn everything() -> Value {
    json!({"myself": ["ADMIN", "READ", "EDIT"], "others": []})
}

impl UserApi {
    pub(super) async fn resource(
        &self,
        actor: &Actor,
        method: &str,
        path: &str,
        query: &Query,
        body: &Value,
    ) -> Answered {
        match (method, path) {
            ("GET", "files/collections/browse") => Ok(page(&self.drives(actor))),
            ("GET", "files/collections/retrieve") => Ok(ok(&self.drive(actor, query.text("id")?)?)),
            ("GET", "files/collections/retrieveProducts") => self.products("files/collections").await,
            ("POST", "files/collections") => self.create_drives(actor, body).await,
            ("POST", "files/collections/rename") => self.rename_drives(actor, body).await,
            ("DELETE", "files/collections") => self.delete_drives(actor, body).await,
            ("GET", "jobs/browse") => Ok(page(&self.jobs_of(&actor.username))),
            ("GET", "jobs/retrieve") => Ok(ok(&self.job(actor, query.text("id")?)?)),
            ("GET", "jobs/retrieveProducts") => self.products("jobs").await,
            ("POST", "jobs") => self.create_jobs(actor, body).await,
            ("POST", "jobs/terminate") => {
                let jobs = items(body)?.iter().map(|item| self.job(actor, &id_of(item)?));
                let jobs = jobs.collect::<Result<Vec<_>, Refused>>()?;
                self.passed_on(&self.bulk(actor, "POST", path, &jobs).await?)
            }
            ("POST", "jobs/extend" | "jobs/suspend" | "jobs/unsuspend") => {
                let items = self.about_jobs(actor, body, &["requestedTime"])?;
                self.passed_on(&self.bulk(actor, "POST", path, &items).await?)
            }
            ("POST", "jobs/interactiveSession") => {
                let items = self.about_jobs(actor, body, &["rank", "sessionType", "target"])?;
                self.sessions(actor, path, items).await
            }
            ("POST", "jobs/requestDynamicParameters") => {
                let asked = json!({"application": body.get("application")}).to_string();
                let answer = self.core.call("POST", path, Some(&actor.username), None, Some(asked.as_bytes())).await?;
                let parameters = answer.json().get("parameters").cloned();
                Ok(ok(&json!({"parametersByProvider": {self.core.provider(): parameters}})))
            }
            ("GET", "tokens/retrieveOptions") => {
                let answer = self.core.call("GET", path, Some(&actor.username), None, None).await?;
                Ok(ok(&json!({"byProvider": {self.core.provider(): answer.json()}})))
            }
            ("GET", "ssh/browse") => {
                let keys = self.held.keys(&actor.username).into_iter().map(|key| {
                    json!({
                        "id": key.id, "owner": key.username, "createdAt": 1_700_000_000_000_i64,
                        "specification": {"title": key.title, "key": key.key},
                    })
                });
                Ok(page(&keys.collect::<Vec<_>>()))
            }
            ("POST", "ssh") => {
                let mut ids = Vec::new();
                for item in items(body)? {
                    let (title, key) = (text(item, "/title"), text(item, "/key"));
                    let key = key.ok_or_else(Refused::malformed)?;
                    ids.push(json!({"id": self.held.add_key(&actor.username, &title.unwrap_or_default(), &key)}));
                }
                self.tell_keys(actor).await;
                Ok(ok(&json!({"responses": ids})))
            }
            ("DELETE", "ssh") => {
                let ids = items(body)?.iter().map(id_of).collect::<Result<Vec<_>, _>>()?;
                self.held.remove_keys(&actor.username, &ids);
                self.tell_keys(actor).await;
                Ok(ok(&json!({})))
            }
            ("POST", "tasks/pauseOrCancel") => {
                let id = body.get("id").and_then(Value::as_i64).ok_or_else(Refused::malformed)?;
                let state = text(body, "/requestedState").ok_or_else(Refused::malformed)?;
                self.deed(actor, &Deed::PauseOrCancel(id, state)).await
            }
            // Core's own record of access.
            ("POST", "files/collections/updateAcl" | "jobs/updateAcl") => {
                Ok(ok(&json!({"responses": items(body)?.iter().map(|_| json!({})).collect::<Vec<_>>()})))
            }
            _ => Err(Refused::not_found()),
        }
    }

    /// The drive of a path, as Core adds it to a request. It may be the user's only.
    pub(super) fn resolved(&self, actor: &Actor, path: &str) -> Result<Value, Refused> {
        let id = path.split('/').find(|part| !part.is_empty()).unwrap_or_default();
        let shown = self.drive(actor, id)?;
        let mut drive = json!(Drive::of(path, &actor.username, self.core.provider()));
        for member in ["owner", "specification"] {
            if let (Some(drive), Some(value)) = (drive.as_object_mut(), shown.get(member)) {
                drive.insert(member.to_owned(), value.clone());
            }
        }
        Ok(drive)
    }

    /// The user's drives: those that the provider registered, and those that the user made.
    fn drives(&self, actor: &Actor) -> Vec<Value> {
        let registered = self.control.upgrade().map(|control| control.drives()).unwrap_or_default();
        let theirs = registered.into_iter().filter(|drive| drive.created_by == actor.username).map(|drive| {
            json!({
                "id": drive.id, "createdAt": 1_700_000_000_000_i64, "permissions": everything(),
                "owner": {"createdBy": drive.created_by, "project": null},
                "specification": {
                    "title": drive.title,
                    "product": {"id": drive.product, "category": drive.product, "provider": self.core.provider()},
                    "labels": {},
                },
                "providerGeneratedId": drive.provider_generated_id, "updates": [], "status": {},
            })
        });
        let made = self.held.of(&actor.username, Kind::Drive).into_iter().map(|drive| drive.whole);
        theirs.chain(made).collect()
    }

    fn drive(&self, actor: &Actor, id: &str) -> Result<Value, Refused> {
        let found = self.drives(actor).into_iter().find(|drive| text(drive, "/id").as_deref() == Some(id));
        found.ok_or_else(Refused::not_found)
    }

    async fn create_drives(&self, actor: &Actor, body: &Value) -> Answered {
        let mut made = Vec::new();
        for item in items(body)? {
            let title = text(item, "/title").ok_or_else(Refused::malformed)?;
            let product = text(item, "/product/id").ok_or_else(Refused::malformed)?;
            let provider = self.core.provider().to_owned();
            let number = self.control.upgrade().map(|control| control.number_drive()).unwrap_or_default();
            let deed = Deed::CreateDrive { title, product, provider, number: number.clone() };
            let request = self.core.request(&actor.username, &deed, None)?.altered(|body| in_project(body, actor));
            let answer = self.core.invoke(&request).await?;
            if !answer.is_ok() {
                return self.passed_on(&answer);
            }
            self.held.add(held(&actor.username, &number, Kind::Drive, &request.json()));
            made.push(json!({"id": number}));
        }
        Ok(ok(&json!({"responses": made})))
    }

    async fn rename_drives(&self, actor: &Actor, body: &Value) -> Answered {
        for item in items(body)? {
            let id = id_of(item)?;
            self.drive(actor, &id)?;
            let title = text(item, "/newTitle").ok_or_else(Refused::malformed)?;
            let answer =
                self.core.perform(&actor.username, &Deed::RenameDrive(id.clone(), title.clone()), None).await?;
            if !answer.is_ok() {
                return self.passed_on(&answer);
            }
            self.held.alter(&id, |drive| {
                if let Some(shown) = drive.pointer_mut("/specification/title") {
                    *shown = title.trim().into();
                }
            });
        }
        Ok(ok(&json!({})))
    }

    async fn delete_drives(&self, actor: &Actor, body: &Value) -> Answered {
        for item in items(body)? {
            let id = id_of(item)?;
            let drive = self.resolved(actor, &id)?;
            let answer = self.bulk(actor, "DELETE", "files/collections", &[drive]).await?;
            if !answer.is_ok() {
                return self.passed_on(&answer);
            }
            self.held.remove(&id);
        }
        Ok(ok(&json!({"responses": []})))
    }

    async fn create_jobs(&self, actor: &Actor, body: &Value) -> Answered {
        let mut made = Vec::new();
        for item in items(body)? {
            let control = self.control.upgrade();
            let add = |control: &Arc<Control>| control.add_job(&actor.username, actor.project.as_deref());
            // Core makes a job before it asks the provider.
            let number = control.as_ref().map(add).unwrap_or_default();
            let mut specification = item.clone();
            if let Some(members) = specification.as_object_mut() {
                let application = members.get("application").map(|given| picked(given, &["name", "version"]));
                members.insert("application".to_owned(), application.unwrap_or_default());
            }
            let deed = Deed::StartJob { number: number.clone(), specification, script: None };
            let request = self.core.request(&actor.username, &deed, None)?.altered(|body| in_project(body, actor));
            let answer = self.core.invoke(&request).await;
            if !answer.as_ref().is_ok_and(Answer::is_ok)
                && let Some(control) = control
            {
                control.remove_job(&number);
            }
            let answer = answer?;
            if !answer.is_ok() {
                return self.passed_on(&answer);
            }
            self.keep_job(&actor.username, &number, &request);
            made.push(json!({"id": number}));
        }
        Ok(ok(&json!({"responses": made})))
    }

    pub(super) fn job(&self, actor: &Actor, id: &str) -> Result<Value, Refused> {
        let found = self.held.of(&actor.username, Kind::Job).into_iter().find(|job| job.id == id);
        found.map(|job| self.current(job)).ok_or_else(Refused::not_found)
    }

    /// The jobs of a user, as Core has them.
    pub(in crate::page) fn jobs_of(&self, username: &str) -> Vec<Value> {
        self.held.of(username, Kind::Job).into_iter().map(|job| self.current(job)).collect()
    }

    /// Keeps a job that the provider has started, as Core sent it.
    pub(in crate::page) fn keep_job(&self, username: &str, id: &str, sent: &Request) {
        self.held.add(held(username, id, Kind::Job, &sent.json()));
    }

    /// A job as it was sent, with what the provider has told since.
    fn current(&self, Resource { id, mut whole, .. }: Resource) -> Value {
        let jobs = self.control.upgrade().map(|control| control.jobs()).unwrap_or_default();
        let Some(told) = jobs.into_iter().find(|told| told.id == id) else { return whole };
        let updates: Vec<Value> = told.statuses.iter().map(|status| json!({"status": status})).collect();
        let time = told.time_allocation_ms.map(|ms| json!({"hours": 0, "minutes": ms / MS_PER_MINUTE, "seconds": 0}));
        for (pointer, value) in [
            ("/status/state", Some(json!(told.state))),
            ("/output/outputFolder", told.output_folder.map(Value::from)),
            ("/updates", Some(json!(updates))),
            ("/specification/timeAllocation", time),
        ] {
            if let (Some(place), Some(value)) = (whole.pointer_mut(pointer), value) {
                *place = value;
            }
        }
        whole
    }

    /// Items about jobs: each with the job, and members that Core passes on.
    fn about_jobs(&self, actor: &Actor, body: &Value, members: &[&str]) -> Result<Vec<Value>, Refused> {
        let about = |item: &Value| {
            let mut made = picked(item, members);
            let id = text(item, "/id").or_else(|| text(item, "/jobId")).ok_or_else(Refused::malformed)?;
            if let Some(made) = made.as_object_mut() {
                made.insert("job".to_owned(), self.job(actor, &id)?);
            }
            Ok(made)
        };
        items(body)?.iter().map(about).collect()
    }

    /// Core tells every provider all keys after a change, and ignores what they answer.
    async fn tell_keys(&self, actor: &Actor) {
        let keys = self.held.keys(&actor.username).into_iter().map(|key| key.key).collect();
        let _ignored = self.core.perform(&actor.username, &Deed::UploadKeys(keys), None).await;
    }

    async fn products(&self, resource: &str) -> Answered {
        let answer = self.core.retrieve_products(resource).await?;
        let supports = answer.json().get("responses").cloned().unwrap_or_default();
        let supports = supports.as_array().into_iter().flatten();
        let products: Vec<Value> =
            supports.map(|support| json!({"product": support.get("product"), "support": support})).collect();
        Ok(ok(&json!({"productsByProvider": {self.core.provider(): products}})))
    }
}

/// A resource as Core sent it in a request to create it.
fn held(username: &str, id: &str, kind: Kind, sent: &Value) -> Resource {
    let whole = sent.pointer("/items/0").cloned().unwrap_or_default();
    Resource { id: id.to_owned(), username: username.to_owned(), kind, whole }
}

/// A creation belongs to the project that the user acts in.
fn in_project(body: &mut Value, actor: &Actor) {
    if let Some(project) = body.pointer_mut("/items/0/owner/project") {
        *project = json!(actor.project);
    }
}

fn page(items: &[Value]) -> http::Response<countersign_portal::site::Body> {
    ok(&json!({"items": items, "itemsPerPage": 250, "next": null}))
}

fn id_of(item: &Value) -> Result<String, Refused> {
    text(item, "/id").ok_or_else(|| Refused::new(StatusCode::BAD_REQUEST, "An item has no id"))
}
