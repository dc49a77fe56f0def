//! The commands on the stage's input.

use std::process::Output;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_portal::CoreKeys;
use countersign_portal::core::{Control, ControlCall, Outage};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::house::{House, Person};
use crate::stage::{new_core, wait_until_it_serves};
use crate::trouble::{Doing as _, Trouble};

/// One line of input.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Errand {
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
pub(super) struct Errands {
    keys: Arc<CoreKeys>,
    control: Arc<Control>,
    house: Arc<House>,
    /// Commands that wait for a browser. Dropping the value ends them.
    waiting: Mutex<Vec<Child>>,
}

impl Errands {
    /// Nothing has been asked yet.
    pub(super) fn new(keys: Arc<CoreKeys>, control: Arc<Control>, house: Arc<House>) -> Self {
        Self { keys, control, house, waiting: Mutex::new(Vec::new()) }
    }

    /// Executes one line and returns its answer.
    pub(super) async fn run(&self, errand: Errand) -> Result<Value, Trouble> {
        match errand {
            Errand::Approve { code, r#as } => {
                let person = self.person(&r#as)?;
                let said = self.house.run_as(person, &["connect", "approve", &code, "--yes"]).await?;
                if said.status.success() {
                    self.house.start_instance(person)?;
                }
                Ok(outcome(&said))
            }
            Errand::Start { username, r#as } => self.start(&username, self.person(&r#as)?).await,
            Errand::Revoke { kid, r#as } => {
                Ok(outcome(&self.house.run_as(self.person(&r#as)?, &["keys", "revoke", &kid]).await?))
            }
            Errand::Run { arguments, r#as } => {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                Ok(outcome(&self.house.run_as(self.person(&r#as)?, &arguments).await?))
            }
            Errand::Connect { username } => {
                let redirect = new_core(&self.keys, &self.control, &self.house)?.connect(&username).await?;
                Ok(json!({"ok": true, "redirectTo": redirect}))
            }
            Errand::Told => {
                let calls = self.control.calls();
                let approved = calls.iter().filter_map(|call| match call {
                    ControlCall::Approved(username) => Some(username.as_str()),
                    ControlCall::Cleared(_) | ControlCall::Registered(_) => None,
                });
                Ok(json!({"ok": true, "approved": approved.collect::<Vec<_>>()}))
            }
            Errand::Decisions => Ok(json!({"ok": true, "decisions": self.house.journal().decisions()})),
            Errand::Stop { what: Process::Server } => {
                self.house.stop("server").await;
                Ok(json!({"ok": true}))
            }
            Errand::Restart { what: Process::Server } => {
                self.house.stop("server").await;
                self.house.start_server()?;
                wait_until_it_serves(&self.house, &new_core(&self.keys, &self.control, &self.house)?).await?;
                Ok(json!({"ok": true}))
            }
            Errand::Core { down } => {
                self.control.set_outage(if down { Outage::Down } else { Outage::None });
                Ok(json!({"ok": true}))
            }
        }
    }

    async fn start(&self, username: &str, person: &Person) -> Result<Value, Trouble> {
        let mut command = self.house.command_as(person, &["connect", "start", username, "--yes"]);
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().doing("connect start")?;
        let stdout = child.stdout.take().ok_or_else(|| Trouble::new("connect start: no output"))?;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await.doing("connect start")? {
            if line.trim().starts_with(&self.house.origin()) {
                let (house, person) = (Arc::clone(&self.house), person.clone());
                tokio::spawn(async move {
                    // The command exits after a key was offered and approved. Only then can an
                    // instance start.
                    while let Ok(Some(_)) = lines.next_line().await {}
                    house.start_instance(&person)
                });
                return Ok(json!({"ok": true, "url": line.trim()}));
            }
        }
        Err(Trouble::new("connect start: it has printed no address"))
    }

    fn person(&self, account: &str) -> Result<&Person, Trouble> {
        let mut people = self.house.people().iter();
        people.find(|person| person.account == account).ok_or_else(|| Trouble::new(format!("nobody is {account}")))
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
