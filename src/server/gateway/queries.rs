//! Answers the gateway's queries from the store and the table of running instances.
//!
//! A query without an answer gets [`Answer::Failed`], and the gateway refuses the request as
//! unavailable (P8). A query changes nothing but a passkey's counter. A launch only starts the
//! user's own process, as `init` does.

use std::sync::Arc;
use std::time::Instant;

use countersign_keys::identity::Username;
use countersign_keys::store::StoreFailure;
use countersign_keys::time::Timestamp;

use super::channel::QueryHandler;
use crate::audit::record::AuditedAction;
use crate::connections::expiry::Standing;
use crate::core::service_calls;
use crate::http::reply::Refusal;
use crate::passkeys;
use crate::reload;
use crate::state::{Server, log_failure};
use countersign_config::{Launch, Role, StaticAddress};
use countersign_ipc::alarm::Alarm;
use countersign_ipc::gateway_protocol::{
    Answer, Ended, Health, InstanceAddress, Question, SocketAddress, UsedKey, Whereabouts,
};

/// Granularity of a key's last use, in seconds, and so how often it is written at most. It tells
/// users which key is still needed.
const USE_GRAIN_S: i64 = 3600;

/// Answers queries from the state of the server.
pub(crate) struct StoreQueryHandler {
    server: Arc<Server>,
}

impl StoreQueryHandler {
    pub(crate) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    fn try_answer(&self, question: &Question) -> Result<Answer, Refusal> {
        let server = &self.server;
        Ok(match question {
            Question::Key { username, kid } => Answer::Keys { keys: server.key(username, kid)?.into_iter().collect() },
            Question::KeysV1 { username } => Answer::Keys { keys: server.keys_v1(username, server.clock.now()?)? },
            // For a launch, the launch is already complete.
            Question::Instance { username } | Question::Launch { username } => {
                Answer::Instance { instance: server.instance_of(username)? }
            }
            Question::InstanceKey { username } => Answer::InstanceKey {
                spki: match server.standing(username, server.clock.now()?)? {
                    Standing::InForce(connection) => Some(connection.instance_key),
                    Standing::None | Standing::Over(_) => None,
                },
            },
            Question::Signer { username } => Answer::Signer { signer: server.signer(username, server.clock.now()?)? },
            Question::Link { name } => Answer::Link { target: server.link_target(name)? },
            Question::StepUp { username, call, consent, intent, until } => {
                let need = passkeys::need(server, call, *consent);
                Answer::StepUp { need: passkeys::challenge(server, username, need, *intent, *until)? }
            }
            Question::Health => {
                // Any record: what counts is that the store can be read.
                let store = server.records.outbox_after(None, 1).is_ok();
                Answer::Health { health: Health { store, log: server.decisions.is_writable() } }
            }
            Question::Metrics => Answer::Metrics { snapshot: server.snapshot() },
            Question::Assertion { username, intent, credential } => {
                Answer::Assertion { outcome: passkeys::assert(server, username, *intent, credential)? }
            }
        })
    }

    /// Records the hour of use, once in that hour, for a key that exists.
    fn note_use(&self, UsedKey { username, kid }: &UsedKey, now: Timestamp) -> Result<(), StoreFailure> {
        let hour = Timestamp::from_seconds(now.seconds() - now.seconds().rem_euclid(USE_GRAIN_S));
        let records = &self.server.records;
        if records.key(username, kid)?.is_some() && records.last_use(username, kid)? != Some(hour) {
            records.note_use(username, kid, hour)?;
        }
        Ok(())
    }
}

impl QueryHandler for StoreQueryHandler {
    fn answer(&self, question: &Question) -> Answer {
        self.try_answer(question).unwrap_or(Answer::Failed)
    }

    fn launch(&self, username: &Username) -> impl Future<Output = ()> + Send + 'static {
        let (server, username) = (Arc::clone(&self.server), username.clone());
        async move {
            let action = AuditedAction::of("gateway", "instance.launch");
            if let Err(refusal) = service_calls::launch(&server, &action, username).await {
                // The cause is in the log already. The gateway finds that there is no instance.
                tracing::info!(%refusal, "cannot launch an instance for the user's own browser");
            }
        }
    }

    fn used(&self, keys: &[UsedKey]) {
        let Ok(now) = self.server.clock.now() else { return };
        for key in keys {
            if let Err(failure) = self.note_use(key, now) {
                log_failure("cannot record the use of a key", &failure);
                return;
            }
        }
    }

    fn alarmed(&self, alarm: Alarm, count: u64) {
        self.server.alarms.heard(alarm, count);
    }

    /// The gateway read the file when it started, which may have been edited since the last reload.
    fn gateway_is_ready(&self) -> Option<Ended> {
        tracing::info!("ready");
        let is_as_it_is_in_force = self.server.config.is_edited(Role::Server) == Some(false);
        if is_as_it_is_in_force { None } else { reload::rules(&self.server) }
    }
}

impl Server {
    /// The address of a user's instance: the configured one, or the ready one of the uid to which
    /// the user is mapped now (P7).
    pub(crate) fn instance_of(&self, username: &Username) -> Result<Whereabouts, Refusal> {
        match &self.config.instances.launch {
            Launch::Static(instances) => {
                let instance = instances.iter().find(|instance| instance.username == *username);
                Ok(instance.map_or(Whereabouts::Down, |instance| {
                    let socket = match &instance.address {
                        StaticAddress::Unix(path) => SocketAddress::Unix(path.clone()),
                        StaticAddress::Tcp(address) => SocketAddress::Tcp(*address),
                    };
                    Whereabouts::Up(InstanceAddress { uid: None, socket, key: None })
                }))
            }
            Launch::Sudo => Ok(match self.standing(username, self.clock.now()?)? {
                Standing::InForce(connection) => self.instances.whereabouts(connection.uid, Instant::now()),
                Standing::None | Standing::Over(_) => Whereabouts::Down,
            }),
        }
    }
}
