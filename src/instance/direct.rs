//! What the user's own browser asks of the instance: nothing of this is ever done for Core.
//!
//! A change of the keys takes both sides: the user's own file, which this process may write and the
//! server may not, and the server's store, which the server changes because it asks the kernel who
//! this process is.

mod drives;
mod failure;
mod keys;
mod server;

use std::sync::Arc;

use countersign_keys::own::OwnRequest;
use countersign_keys::policy::Permit;
use serde_json::Value;

use crate::config::Config;
use crate::instance::account::OwnAccount;
use crate::instance::direct::drives::DirectDrives;
pub(crate) use crate::instance::direct::failure::NotDone;
use crate::instance::direct::keys::{DirectKeys, Terms};
use crate::instance::direct::server::ServerClient;
use crate::instance::files::drives::Drives;
use crate::pin_file::PinFile;

/// What the user's own browser can ask.
#[derive(Debug)]
pub(crate) struct DirectCalls {
    keys: DirectKeys,
    drives: DirectDrives,
}

impl DirectCalls {
    /// The calls of that account, at a provider of that configuration.
    pub(crate) fn of(account: &OwnAccount, config: &Config, drives: &Arc<Drives>) -> Self {
        let pins = PinFile::of(account.home(), account.uid(), &config.provider.id);
        let terms = Terms { audience: config.provider.origin.clone(), lifetime_s: config.intent.key_lifetime_s };
        let keys = DirectKeys::new(pins, ServerClient::at(config.ipc.socket()), terms);
        Self { keys, drives: DirectDrives::new(&config.drives, drives) }
    }

    /// Does what is asked.
    pub(crate) async fn perform(&self, permit: &Permit<'_, '_, OwnRequest>) -> Result<Value, NotDone> {
        match permit.row().call().as_str() {
            "drives.list" => Ok(self.drives.list().await),
            "keys.list" => self.keys.list(permit).await,
            "keys.renew" => self.keys.renew(permit).await,
            "keys.remove" => self.keys.remove(permit).await,
            _ => Err(NotDone::NotOffered),
        }
    }
}
