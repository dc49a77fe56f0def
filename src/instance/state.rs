//! The state that all requests of one user's instance share, and the work that no request asks for.

use std::path::PathBuf;
use std::time::Duration;

use crate::direct::DirectCalls;
use crate::drives::user_made::DriveMaker;
use crate::files::Files;
use crate::jobs::Jobs;
use crate::licences::Licences;
use crate::links::Links;
use crate::sessions::Sessions;
use crate::ssh_keys::SshKeys;
use crate::verifier::Verifier;
use crate::web::WebSessions;
use crate::websocket::sockets::Sockets;
use countersign_audit::DecisionLog;

/// How often expired sessions are looked for: until then, the part of an upload that has arrived
/// takes space.
const LOOK_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Instance {
    pub(super) verifier: Verifier,
    pub(super) files: Files,
    /// Creates and deletes drives, if the site lets users do that.
    pub(super) drive_maker: Option<DriveMaker>,
    pub(super) direct: DirectCalls,
    pub(super) jobs: Jobs,
    pub(super) licences: Licences,
    /// Public links of jobs.
    pub(super) links: Links,
    pub(super) ssh_keys: SshKeys,
    pub(super) sessions: Sessions,
    pub(super) sockets: Sockets,
    /// Web interfaces of jobs.
    pub(super) web: WebSessions,
    /// The home directory, for messages to the user that name files in it.
    pub(super) home: PathBuf,
    pub(super) log: DecisionLog,
}

impl Instance {
    /// Reports the drives to the server, and removes what a killed instance left unfinished. Then
    /// looks for expired sessions while the instance runs.
    pub(crate) async fn begin(&self) {
        self.files.drive_numbers().report().await;
        self.jobs.begin().await;
        self.files.clean_up().await;
        self.give_up_what_is_over().await;
    }

    /// Ends expired sessions even when no request arrives.
    async fn give_up_what_is_over(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let over = self.sessions.take_expired();
            let _open = (self.web.count(), self.links.count());
            if !over.is_empty() {
                let _ = tokio::task::spawn_blocking(move || drop(over)).await;
            }
        }
    }

    /// How many works run on after their request was answered.
    pub(crate) fn under_way(&self) -> usize {
        self.files.under_way().saturating_add(self.jobs.under_way())
    }

    /// How many transfers, terminals, web interfaces and public links are open.
    pub(crate) fn open_sessions(&self) -> usize {
        self.sessions.count_open().saturating_add(self.web.count()).saturating_add(self.links.count())
    }
}
