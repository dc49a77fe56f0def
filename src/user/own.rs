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
use crate::pin_file::PinFile;
use crate::user::account::OwnAccount;
use crate::user::files::drives::Drives;
use crate::user::own::drives::OwnDrives;
pub(crate) use crate::user::own::failure::NotDone;
use crate::user::own::keys::{OwnKeys, Terms};
use crate::user::own::server::AskServer;

/// What the user's own browser can ask.
#[derive(Debug)]
pub(crate) struct OwnCalls {
    keys: OwnKeys,
    drives: OwnDrives,
}

impl OwnCalls {
    /// The calls of that account, at a provider of that configuration.
    pub(crate) fn of(account: &OwnAccount, config: &Config, drives: &Arc<Drives>) -> Self {
        let pins = PinFile::of(account.home(), account.uid(), &config.provider.id);
        let terms = Terms { audience: config.provider.origin.clone(), lifetime_s: config.intent.key_lifetime_s };
        let keys = OwnKeys::new(pins, AskServer::at(config.ipc.socket()), terms);
        Self { keys, drives: OwnDrives::new(&config.drives, drives) }
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
