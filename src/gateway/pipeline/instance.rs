//! Connects to a user's instance.

use countersign_keys::identity::Username;

use crate::response::refusal::Refusal;
use crate::server_link::key_cache::Instance;
use crate::state::Gateway;
use crate::upstream::{Connection, UpstreamFailure};

impl Gateway {
    pub(crate) fn check_maintenance(&self, username: &Username) -> Result<(), Refusal> {
        if self.rules().maintenance.admits(username) { Ok(()) } else { Err(Refusal::Maintenance) }
    }

    /// Connects to the user's instance for one request and its answer.
    pub(crate) async fn connect_to_instance(&self, username: &Username) -> Result<Connection, Refusal> {
        self.connect_by(Reuse::Pooled, username).await
    }

    /// Connects to the user's instance. Every lane comes through here, so none evades maintenance.
    pub(crate) async fn connect_by(&self, reuse: Reuse, username: &Username) -> Result<Connection, Refusal> {
        self.check_maintenance(username)?;
        let address = match self.key_cache.instance(username).await? {
            Instance::Up(address) => address,
            Instance::Down => return Err(Refusal::NoInstance),
            Instance::Refused => return Err(Refusal::AccountRefused),
        };
        let connected = match reuse {
            Reuse::Pooled => self.upstreams.connect(&address).await,
            Reuse::Fresh => self.upstreams.connect_anew(&address).await,
        };
        match connected {
            Ok(connection) => Ok(connection),
            Err(UpstreamFailure::Absent) => {
                self.key_cache.forget_instance(username);
                Err(Refusal::NoInstance)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// Connects, and starts the instance if it is down: no Core would ask for it and repeat the
    /// request.
    pub(crate) async fn connect_or_start(&self, reuse: Reuse, username: &Username) -> Result<Connection, Refusal> {
        match self.connect_by(reuse, username).await {
            Err(Refusal::NoInstance) => {
                self.key_cache.launch(username).await?;
                self.connect_by(reuse, username).await
            }
            connected => connected,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reuse {
    /// A pooled connection, for a request and its answer.
    Pooled,
    /// A connection on which nothing was sent yet, for a socket that keeps it.
    Fresh,
}
