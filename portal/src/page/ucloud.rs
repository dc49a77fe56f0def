//! UCloud's page: its files, and its calls to Core. The page has switches for the logged-in user
//! and the behaviour of Core; every request carries both.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use countersign_portal::core::{Brings, Control, ControlCall, JobDeed, applications};
use countersign_portal::site::{Body, is_own, json as reply};
use countersign_portal::{Answer, BrowserKey, Core, CoreKeys, Deed, Fault};
use http::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::demo_provider::DemoProvider;
use crate::page::core_behaviour::{Attempt, CoreBehaviour, SimulatedCore, answer_json, dropping};
use crate::page::user_api::UserApi;
use crate::page::{PageOrigins, assets, with_security_headers};
use crate::program_error::ProgramError;
use crate::test_server::new_core;

/// The page, at Core's origin.
pub(super) struct Ucloud {
    origin: String,
    desk: String,
    core: Core,
    dropping: Core,
    /// Weak: the pages belong to the control endpoints, not the reverse.
    control: Weak<Control>,
    demo_provider: Arc<DemoProvider>,
    /// Core's own keys.
    keys: Mutex<HashMap<String, BrowserKey>>,
    /// The calls of the page that knows nothing of Countersign.
    user_api: Arc<UserApi>,
}

/// A request of the page: the user, the behaviour of Core, and the call.
#[derive(Deserialize)]
struct Asked {
    r#as: String,
    core: CoreBehaviour,
    #[serde(flatten)]
    what: What,
}

/// A user's call to Core.
#[derive(Deserialize)]
#[serde(tag = "call")]
enum What {
    /// Connects the user to the provider.
    #[serde(rename = "connect")]
    Connect,
    #[serde(rename = "files.browse")]
    Browse { path: String },
    #[serde(rename = "files.createFolder")]
    CreateFolder { items: Vec<Id> },
    #[serde(rename = "files.move")]
    Move { items: Vec<Pair> },
    #[serde(rename = "files.copy")]
    Copy { items: Vec<Pair> },
    #[serde(rename = "files.trash")]
    Trash { items: Vec<Id> },
    #[serde(rename = "files.createDownload")]
    Download { items: [Id; 1] },
    #[serde(rename = "files.createUpload")]
    Upload { items: [Arrival; 1] },
    #[serde(rename = "jobs.openTerminalInFolder")]
    Terminal { items: [Folder; 1] },
    #[serde(rename = "jobs.create")]
    StartJob { items: [NewJob; 1] },
    #[serde(rename = "jobs.terminate")]
    Terminate { items: [Id; 1] },
    #[serde(rename = "jobs.extend")]
    Extend { items: [More; 1] },
    #[serde(rename = "jobs.openInteractiveSession")]
    JobSession { items: [Session; 1] },
    #[serde(rename = "tasks.pauseOrCancel", rename_all = "camelCase")]
    PauseOrCancel { id: i64, requested_state: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arrival {
    id: String,
    r#type: Kind,
    conflict_policy: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Kind {
    File,
    Folder,
}

#[derive(Deserialize)]
struct NewJob {
    specification: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct More {
    job_id: String,
    requested_time: RequestedTime,
}

#[derive(Deserialize)]
struct RequestedTime {
    minutes: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    id: String,
    rank: i64,
    session_type: String,
}

#[derive(Deserialize)]
struct Folder {
    folder: String,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pair {
    old_id: String,
    new_id: String,
}

impl What {
    /// `number` makes Core's number of a new job.
    fn deed(self, number: impl FnOnce() -> String) -> Option<Deed> {
        let ids = |items: Vec<Id>| items.into_iter().map(|item| item.id).collect();
        let pairs = |items: Vec<Pair>| items.into_iter().map(|item| (item.old_id, item.new_id)).collect();
        Some(match self {
            Self::Connect => return None,
            Self::Browse { path } => Deed::Browse(path),
            Self::CreateFolder { items } => Deed::CreateFolder(ids(items)),
            Self::Move { items } => Deed::Move(pairs(items)),
            Self::Copy { items } => Deed::Copy(pairs(items)),
            Self::Trash { items } => Deed::Trash(ids(items)),
            Self::Download { items: [Id { id }] } => Deed::Download(id),
            Self::Upload { items: [Arrival { id, r#type, conflict_policy }] } => {
                let brings = match r#type {
                    Kind::File => Brings::File,
                    Kind::Folder => Brings::Folder,
                };
                Deed::Upload(id, brings, conflict_policy)
            }
            Self::Terminal { items: [Folder { folder }] } => Deed::Terminal(folder),
            Self::StartJob { items: [NewJob { specification }] } => {
                Deed::StartJob { number: number(), specification, script: None }
            }
            Self::Terminate { items: [Id { id }] } => Deed::Job(JobDeed::Terminate(id)),
            Self::Extend { items: [More { job_id, requested_time }] } => {
                Deed::Job(JobDeed::Extend(job_id, requested_time.minutes))
            }
            Self::JobSession { items: [Session { id, rank, session_type }] } => {
                Deed::Job(JobDeed::Session(id, rank, session_type))
            }
            Self::PauseOrCancel { id, requested_state } => Deed::PauseOrCancel(id, requested_state),
        })
    }
}

impl Ucloud {
    /// Makes the page of this Core.
    pub(super) fn new(
        keys: Arc<CoreKeys>,
        control: &Arc<Control>,
        demo_provider: Arc<DemoProvider>,
        desk: String,
    ) -> Result<Self, ProgramError> {
        let usernames = demo_provider.people().iter().map(|person| person.username).collect();
        let user_api = Arc::new(UserApi::new(
            new_core(&keys, control, &demo_provider)?,
            Arc::clone(&keys),
            Arc::downgrade(control),
            demo_provider.origin(),
            usernames,
        ));
        Ok(Self {
            user_api,
            origin: control.origin(),
            desk,
            core: new_core(&keys, control, &demo_provider)?,
            dropping: dropping(new_core(&keys, control, &demo_provider)?),
            control: Arc::downgrade(control),
            demo_provider,
            keys: Mutex::default(),
        })
    }

    /// Answers a browser's request.
    pub(super) async fn answer(&self, request: http::Request<Bytes>) -> Response<Body> {
        if !is_own(&request, &self.origin) {
            return reply(StatusCode::FORBIDDEN, &json!({"why": "this is for the page at its own origin"}));
        }
        if UserApi::has(request.uri().path()) {
            return self.user_api.answer(request).await;
        }
        let response = match (request.method(), request.uri().path()) {
            (&Method::GET, "/site.json") => self.site(),
            (&Method::GET, "/jobs.json") => self.jobs(request.uri().query().unwrap_or_default()),
            (&Method::GET, "/tasks.json") => self.tasks(request.uri().query().unwrap_or_default()),
            (&Method::GET, path) => {
                assets::of_ucloud(path).unwrap_or_else(|| reply(StatusCode::NOT_FOUND, &json!({"why": "Not found"})))
            }
            (&Method::POST, "/call") => self.call(&request).await,
            _ => reply(StatusCode::NOT_FOUND, &json!({"why": "Not found"})),
        };
        // The page transfers files with the provider. The refusal of a download appears in a frame.
        let provider = self.demo_provider.origin();
        with_security_headers(
            response,
            &PageOrigins {
                asks: &format!("{provider} {}", provider.replacen("http", "ws", 1)),
                frames: &format!("{} {provider}", self.desk),
                framed_by: "'none'",
                // The terminal emulator makes inline styles.
                styles: "'self' 'unsafe-inline'",
            },
        )
    }

    /// The provider's parameters and the connected users, for the page.
    fn site(&self) -> Response<Body> {
        let calls = self.control.upgrade().map(|control| control.calls()).unwrap_or_default();
        let is_connected = |username: &str| {
            let last = calls.iter().rev().find_map(|call| match call {
                ControlCall::Approved(its) if its == username => Some(true),
                ControlCall::Cleared(its) if its == username => Some(false),
                ControlCall::Approved(_) | ControlCall::Cleared(_) | ControlCall::Registered(_) => None,
            });
            last.unwrap_or(false)
        };
        let people = self.demo_provider.people().iter();
        let users = people.map(|person| {
            json!({
                "username": person.username, "account": person.account, "connected": is_connected(person.username),
            })
        });
        reply(
            StatusCode::OK,
            &json!({
                "provider": {"id": self.core.provider(), "origin": self.demo_provider.origin()},
                "desk": self.desk,
                "users": users.collect::<Vec<_>>(),
                "jobs": self.demo_provider.slurm().is_some(),
                "applications": applications::CATALOGUE
                    .map(|(name, version, title)| json!({"name": name, "version": version, "title": title})),
            }),
        )
    }

    /// The tasks of one user. Every client of the page may read them.
    fn tasks(&self, query: &str) -> Response<Body> {
        let tasks = self.control.upgrade().map(|control| control.tasks()).unwrap_or_default();
        let is_theirs = |user: &str| query.strip_prefix("as=").is_some_and(|asked| asked.replace("%23", "#") == user);
        let theirs = tasks.iter().filter(|task| is_theirs(&task.user)).map(|task| {
            json!({
                "id": task.id, "title": task.title, "body": task.body, "state": task.states.last(),
                "progress": task.progress, "percentage": task.percentage, "isComplete": task.is_complete,
            })
        });
        reply(StatusCode::OK, &json!(theirs.collect::<Vec<_>>()))
    }

    /// Keeps a new job that the provider has started, and forgets any other.
    fn note_job(&self, username: &str, deed: &Deed, answer: &Answer) -> Result<(), Fault> {
        let Deed::StartJob { number, .. } = deed else { return Ok(()) };
        if answer.is_ok() {
            self.user_api.keep_job(username, number, &self.core.request(username, deed, None)?);
        } else if let Some(control) = self.control.upgrade() {
            control.remove_job(number);
        }
        Ok(())
    }

    /// The jobs of one user, as Core knows them. Every client of the page may read them.
    fn jobs(&self, query: &str) -> Response<Body> {
        let asked = query.strip_prefix("as=").map(|asked| asked.replace("%23", "#"));
        let shown = |job: Value| {
            let part = |pointer: &str| job.pointer(pointer).cloned();
            json!({
                "id": part("/id"), "application": part("/specification/application"), "state": part("/status/state"),
                "type": part("/status/resolvedApplication/invocation/applicationType"),
                "updates": part("/updates"), "timeAllocation": part("/specification/timeAllocation"),
            })
        };
        let theirs = self.user_api.jobs_of(&asked.unwrap_or_default()).into_iter().map(shown);
        reply(StatusCode::OK, &theirs.collect())
    }

    async fn call(&self, request: &http::Request<Bytes>) -> Response<Body> {
        let asked: Asked = match serde_json::from_slice(request.body()) {
            Ok(asked) => asked,
            Err(why) => return reply(StatusCode::BAD_REQUEST, &json!({"why": why.to_string()})),
        };
        let intent = request.headers().get("ucloud-signed-intent").and_then(|value| value.to_str().ok());
        match self.perform(asked, intent).await {
            Ok(response) => response,
            Err(fault) => reply(
                StatusCode::BAD_GATEWAY,
                &json!({"why": ProgramError::with_causes("the provider does not answer", &fault).to_string()}),
            ),
        }
    }

    async fn perform(&self, asked: Asked, intent: Option<&str>) -> Result<Response<Body>, Fault> {
        let core = SimulatedCore {
            core: &self.core,
            dropping: &self.dropping,
            username: &asked.r#as,
            behaviour: asked.core,
            origin: &self.demo_provider.origin(),
            keys: &self.keys,
        };
        // Core makes a job before it asks the provider.
        let username = &asked.r#as;
        let number = || self.control.upgrade().map(|control| control.add_job(username, None)).unwrap_or_default();
        let (answer, attempt) = match asked.what.deed(number) {
            None => {
                let (redirect, attempt) = core.connect().await?;
                (json!({"status": 200, "body": {"redirectTo": redirect}}), attempt)
            }
            Some(deed) => {
                let outcome = core.perform(&deed, intent).await?;
                self.note_job(username, &deed, &outcome.answer)?;
                (answer_json(&outcome.answer), outcome.attempt)
            }
        };
        Ok(reply(StatusCode::OK, &json!({"answer": answer, "attempt": attempt.as_ref().map(Attempt::to_json)})))
    }
}
