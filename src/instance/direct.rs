//! Serves the direct channel: requests of the user's browser. None of them is ever done for
//! Core.
//!
//! A change of keys takes two parties. The instance may write the user's pin file, and the server
//! may not. The server changes its store, because the kernel tells it which account asks.

mod drives;
pub(crate) mod failure;

pub(crate) mod server_client;

use std::sync::Arc;

use countersign_keys::direct::DirectRequest;
use countersign_keys::policy::Permit;
use serde_json::Value;

use crate::account::OwnAccount;
use crate::call::DirectCall;
use crate::direct::drives::DirectDrives;
pub(crate) use crate::direct::failure::DirectError;
use crate::direct::server_client::ServerClient;
use crate::drives::table::Drives;
use crate::jobs::Jobs;
use crate::keys::key_calls::{DirectKeys, Terms};
use countersign_config::Config;
use countersign_home::pin_file::PinFile;

/// The calls of the direct channel.
#[derive(Debug)]
pub(crate) struct DirectCalls {
    keys: DirectKeys,
    drives: DirectDrives,
    jobs: Jobs,
}

impl DirectCalls {
    /// The calls of an account, for a provider with this configuration.
    pub(crate) fn of(account: &OwnAccount, config: &Config, drives: &Arc<Drives>, jobs: &Jobs) -> Self {
        let pins = PinFile::of(account.home(), account.uid(), &config.provider.id);
        let terms =
            Terms { audience: config.provider.origin.clone(), lifetime_s: config.served().intent.key_lifetime_s };
        let keys = DirectKeys::new(pins, ServerClient::at(config.ipc.socket()), terms);
        Self { keys, drives: DirectDrives::new(&config.served().drives, drives), jobs: jobs.clone() }
    }

    pub(crate) async fn perform(&self, permit: &Permit<'_, '_, DirectRequest>) -> Result<Value, DirectError> {
        match DirectCall::of(permit) {
            DirectCall::ListDrives => Ok(self.drives.list().await),
            DirectCall::PreviewJob => match permit.items().projections() {
                [item] => Ok(self.jobs.preview(permit.username(), item).await?),
                _ => Err(DirectError::Missing("the job")),
            },
            DirectCall::ListKeys => self.keys.list(permit).await,
            DirectCall::RenewKey => self.keys.renew(permit).await,
            DirectCall::RemoveKey => self.keys.remove(permit).await,
            DirectCall::NotOffered => Err(DirectError::NotOffered),
        }
    }
}
