//! The choices of a job that this account has, beside its application's parameters: its accounts at
//! Slurm and the site's modules.
//!
//! The server is told, because UCloud asks before the user has signed anything, and such a request
//! reaches no instance (decision 213). The account of a job is one that Slurm has named, and never
//! a text of the request.

use std::sync::{Arc, PoisonError};

use countersign_config::ACCOUNT_PARAMETER;
use countersign_ipc::server_protocol::{Empty, JOBS_CHOICES, JobChoices};
use countersign_keys::json::Json;
use countersign_os::log::Chain;
use tokio::time::{Duration, sleep};

use super::error::JobsError;
use super::{Site, modules};

/// How often the lists are looked up while this process runs.
const EVERY: Duration = Duration::from_secs(3_600);

/// Pause after the server did not take them.
const AGAIN: Duration = Duration::from_secs(60);

impl Site {
    /// Tells the server now, and every hour.
    pub(super) async fn keep_reporting_choices(self: Arc<Self>) {
        loop {
            let modules = if self.slurm.asks.modules { modules::of_site().await } else { Vec::new() };
            let accounts = if self.slurm.asks.account { self.accounts().await.unwrap_or_default() } else { Vec::new() };
            let choices = JobChoices { accounts, modules };
            let pause = match self.server.ask::<_, Empty>(JOBS_CHOICES, &choices).await {
                Ok(Empty {}) => EVERY,
                Err(failure) => {
                    tracing::warn!(cause = %Chain(&failure), "cannot tell the server what users may choose");
                    AGAIN
                }
            };
            sleep(pause).await;
        }
    }

    /// The accounts of this account at Slurm, which are remembered.
    async fn accounts(&self) -> Result<Vec<String>, JobsError> {
        let listing = self.commands.accounts(&self.own_name).await.inspect_err(|failure| {
            tracing::warn!(cause = %Chain(failure), "cannot look up the accounts at Slurm");
        })?;
        self.known_accounts.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&listing.rows);
        Ok(listing.rows)
    }

    /// The account at Slurm that the user signed, if the site asks for one.
    pub(super) async fn chosen_account(&self, specification: &Json<'_>) -> Result<Option<String>, JobsError> {
        let parameter = specification.member("parameters").and_then(|parameters| parameters.member(ACCOUNT_PARAMETER));
        let Some(signed) = parameter.filter(|parameter| **parameter != Json::Null) else { return Ok(None) };
        if !self.slurm.asks.account {
            return Err(JobsError::Specification("the account at Slurm cannot be chosen at this computing centre"));
        }
        let no_such = JobsError::Specification("you have no such account at Slurm");
        let signed = match signed.member("value") {
            None | Some(Json::Null) => return Ok(None),
            Some(value) => value.as_str().ok_or(no_such)?,
        };
        if signed.is_empty() {
            return Ok(None);
        }
        let known = self.known_accounts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let named = known.into_iter().find(|account| account == signed);
        let named = match named {
            Some(named) => Some(named),
            None => self.accounts().await?.into_iter().find(|account| account == signed),
        };
        named.map(Some).ok_or(JobsError::Specification("you have no such account at Slurm"))
    }
}
