//! The commands on the test server's input.

use std::process::Output;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_portal::CoreKeys;
use countersign_portal::core::{Control, ControlCall, Outage};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::demo_provider::{DemoProvider, Person};
use crate::program_error::{ErrorContext as _, ProgramError};
use crate::test_server::{new_core, wait_until_it_serves};

/// One line of input.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum ControlCommand {
    /// Runs `countersign connect approve CODE` in this account.
    Approve {
        /// The code on the connection page.
        code: String,
        /// `alice` or `bob`.
        r#as: String,
    },
    /// Runs `countersign connect start USERNAME` in this account. Answers with the page's address,
    /// and approves the key that is offered there.
    Start {
        /// The UCloud username.
        username: String,
        /// `alice` or `bob`.
        r#as: String,
    },
    /// Runs `countersign keys revoke KID` in this account.
    Revoke {
        /// The key id.
        kid: String,
        /// `alice` or `bob`.
        r#as: String,
    },
    /// Runs any command of `countersign` in this account.
    Run {
        /// Its arguments.
        arguments: Vec<String>,
        /// `alice` or `bob`.
        r#as: String,
    },
    /// Runs any command of `countersign` as the centre's administrator.
    Administer {
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// Answers with every job at Core, as the provider has told of it.
    Jobs,
    /// Sends Core's `integration/connect` for this user. Answers with the address for the browser.
    Connect {
        /// The UCloud username.
        username: String,
    },
    /// Answers with the users of whom the provider has told Core.
    Told,
    /// Answers with every record of the provider's log.
    Decisions,
    /// Stops a process.
    Stop {
        /// The process.
        what: Process,
    },
    /// Stops a process and starts it again.
    Restart {
        /// The process.
        what: Process,
    },
    /// Closes or opens Core's own endpoints.
    Core {
        /// Whether they are closed.
        down: bool,
    },
}

/// A process that can be stopped.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Process {
    /// IM/Server, and the gateway that it started.
    Server,
}

/// Executes the lines.
pub(super) struct CommandRunner {
    keys: Arc<CoreKeys>,
    control: Arc<Control>,
    demo_provider: Arc<DemoProvider>,
    /// Commands that wait for a browser. Dropping the value ends them.
    waiting: Mutex<Vec<Child>>,
}

impl CommandRunner {
    /// Nothing has been asked yet.
    pub(super) fn new(keys: Arc<CoreKeys>, control: Arc<Control>, demo_provider: Arc<DemoProvider>) -> Self {
        Self { keys, control, demo_provider, waiting: Mutex::new(Vec::new()) }
    }

    /// Executes one line and returns its answer.
    pub(super) async fn run(&self, command: ControlCommand) -> Result<Value, ProgramError> {
        match command {
            ControlCommand::Approve { code, r#as } => {
                let person = self.person(&r#as)?;
                let said = self.demo_provider.run_as(person, &["connect", "approve", &code, "--yes"]).await?;
                if said.status.success() {
                    self.demo_provider.start_instance(person)?;
                }
                Ok(outcome(&said))
            }
            ControlCommand::Start { username, r#as } => self.start(&username, self.person(&r#as)?).await,
            ControlCommand::Revoke { kid, r#as } => {
                Ok(outcome(&self.demo_provider.run_as(self.person(&r#as)?, &["keys", "revoke", &kid]).await?))
            }
            ControlCommand::Run { arguments, r#as } => {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                Ok(outcome(&self.demo_provider.run_as(self.person(&r#as)?, &arguments).await?))
            }
            ControlCommand::Administer { arguments } => {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                Ok(outcome(&self.demo_provider.run_as_administrator(&arguments).await?))
            }
            ControlCommand::Jobs => {
                let jobs = self.control.jobs().into_iter().map(|job| {
                    json!({
                        "id": job.id, "createdBy": job.created_by, "state": job.state, "states": job.states,
                        "timeAllocationMs": job.time_allocation_ms,
                    })
                });
                Ok(json!({"ok": true, "jobs": jobs.collect::<Vec<_>>()}))
            }
            ControlCommand::Connect { username } => {
                let redirect = new_core(&self.keys, &self.control, &self.demo_provider)?.connect(&username).await?;
                Ok(json!({"ok": true, "redirectTo": redirect}))
            }
            ControlCommand::Told => {
                let calls = self.control.calls();
                let approved = calls.iter().filter_map(|call| match call {
                    ControlCall::Approved(username) => Some(username.as_str()),
                    ControlCall::Cleared(_) | ControlCall::Registered(_) => None,
                });
                Ok(json!({"ok": true, "approved": approved.collect::<Vec<_>>()}))
            }
            ControlCommand::Decisions => Ok(json!({"ok": true, "decisions": self.demo_provider.journal().decisions()})),
            ControlCommand::Stop { what: Process::Server } => {
                self.demo_provider.stop("server").await;
                Ok(json!({"ok": true}))
            }
            ControlCommand::Restart { what: Process::Server } => {
                self.demo_provider.stop("server").await;
                self.demo_provider.start_server()?;
                wait_until_it_serves(&self.demo_provider, &new_core(&self.keys, &self.control, &self.demo_provider)?)
                    .await?;
                Ok(json!({"ok": true}))
            }
            ControlCommand::Core { down } => {
                self.control.set_outage(if down { Outage::Down } else { Outage::None });
                Ok(json!({"ok": true}))
            }
        }
    }

    async fn start(&self, username: &str, person: &Person) -> Result<Value, ProgramError> {
        let mut command = self.demo_provider.command_as(person, &["connect", "start", username, "--yes"]);
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("connect start")?;
        let stdout = child.stdout.take().ok_or_else(|| ProgramError::new("connect start: no output"))?;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await.context("connect start")? {
            if line.trim().starts_with(&self.demo_provider.origin()) {
                let (demo_provider, person) = (Arc::clone(&self.demo_provider), person.clone());
                tokio::spawn(async move {
                    // The command exits after a key was offered and approved. Only then can an
                    // instance start.
                    while let Ok(Some(_)) = lines.next_line().await {}
                    demo_provider.start_instance(&person)
                });
                return Ok(json!({"ok": true, "url": line.trim()}));
            }
        }
        Err(ProgramError::new("connect start: it has printed no address"))
    }

    fn person(&self, account: &str) -> Result<&Person, ProgramError> {
        let mut people = self.demo_provider.people().iter();
        people.find(|person| person.account == account).ok_or_else(|| ProgramError::new(format!("nobody is {account}")))
    }
}

fn outcome(output: &Output) -> Value {
    json!({
        "ok": output.status.success(),
        "status": output.status.code(),
        "stdout": String::from_utf8_lossy(&output.stdout),
        "stderr": String::from_utf8_lossy(&output.stderr),
    })
}
