//! Queries to the server, and its answers, parsed once.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_keys::identity::{CallName, KeyId, LinkName, Username};
use countersign_keys::intent::{Consent, Fingerprint};
use countersign_keys::keyring::{Algorithm, EnrolledKey, KeyRecord, Protocol, VerificationKey};
use countersign_keys::time::Timestamp;

use countersign_ipc::gateway_protocol::{
    Answer, AssertionOutcome, Health, InstanceAddress, LinkTarget, Question, Signer, StepUp, Whereabouts,
};
use countersign_metrics::Snapshot;

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct KeyAt {
    pub(super) username: Username,
    pub(super) kid: KeyId,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Query {
    Key(KeyAt),
    KeysV1(Username),
    Instance(Username),
    Launch(Username),
    InstanceKey(Username),
    Signer(Username),
    Link(LinkName),
    StepUp { username: Username, call: CallName, consent: Consent, intent: Fingerprint, until: Timestamp },
    Assertion { username: Username, intent: Fingerprint, credential: String },
    Metrics,
    Health,
}

/// A parsed answer.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Key(Option<Arc<EnrolledKey>>),
    KeysV1(Arc<[Arc<EnrolledKey>]>),
    Instance(Instance),
    InstanceKey(Option<Arc<VerificationKey>>),
    Signer(Signer),
    Link(Option<LinkTarget>),
    StepUp(StepUp),
    Assertion(AssertionOutcome),
    Metrics(Arc<Snapshot>),
    Health(Health),
    Failed,
}

#[derive(Clone, Debug)]
pub(crate) enum Instance {
    Up(Arc<InstanceAddress>),
    Down,
    /// The user's account may not have an instance.
    Refused,
}

impl Query {
    /// The question to the server.
    pub(super) fn question(&self) -> Question {
        match self {
            Query::Key(at) => Question::Key { username: at.username.clone(), kid: at.kid },
            Query::KeysV1(username) => Question::KeysV1 { username: username.clone() },
            Query::Instance(username) => Question::Instance { username: username.clone() },
            Query::Launch(username) => Question::Launch { username: username.clone() },
            Query::InstanceKey(username) => Question::InstanceKey { username: username.clone() },
            Query::Signer(username) => Question::Signer { username: username.clone() },
            Query::Link(name) => Question::Link { name: name.clone() },
            Query::StepUp { username, call, consent, intent, until } => {
                let (username, call) = (username.clone(), call.clone());
                Question::StepUp { username, call, consent: *consent, intent: *intent, until: *until }
            }
            Query::Assertion { username, intent, credential } => {
                let (username, credential) = (username.clone(), credential.clone());
                Question::Assertion { username, intent: *intent, credential }
            }
            Query::Metrics => Question::Metrics,
            Query::Health => Question::Health,
        }
    }
}

/// Parses keys once, here. Refuses a key that cannot be parsed or was not asked for.
pub(super) fn make_ready(sought: &Query, answer: Answer) -> Entry {
    match (sought, answer) {
        (Query::Key(at), Answer::Keys { keys }) => match keys.as_slice() {
            [] => Entry::Key(None),
            [record] if record.owner == at.username && record.kid == at.kid => {
                parse(record).map_or(Entry::Failed, |key| Entry::Key(Some(key)))
            }
            _ => Entry::Failed,
        },
        (Query::KeysV1(username), Answer::Keys { keys }) => {
            let theirs = keys.iter().all(|record| record.owner == *username && record.protocol == Protocol::V1);
            let parsed: Option<Arc<[_]>> = keys.iter().map(parse).collect();
            match parsed {
                Some(parsed) if theirs => Entry::KeysV1(parsed),
                Some(_) | None => Entry::Failed,
            }
        }
        (Query::Instance(_) | Query::Launch(_), Answer::Instance { instance }) => Entry::Instance(match instance {
            Whereabouts::Up(address) => Instance::Up(Arc::new(address)),
            Whereabouts::Down => Instance::Down,
            Whereabouts::Refused => Instance::Refused,
        }),
        (Query::StepUp { .. }, Answer::StepUp { need }) => Entry::StepUp(need),
        (Query::Assertion { .. }, Answer::Assertion { outcome }) => Entry::Assertion(outcome),
        (Query::Signer(_), Answer::Signer { signer }) => Entry::Signer(signer),
        (Query::Link(_), Answer::Link { target }) => Entry::Link(target),
        (Query::Health, Answer::Health { health }) => Entry::Health(health),
        (Query::Metrics, Answer::Metrics { snapshot }) => Entry::Metrics(Arc::new(snapshot)),
        (Query::InstanceKey(_), Answer::InstanceKey { spki: None }) => Entry::InstanceKey(None),
        (Query::InstanceKey(_), Answer::InstanceKey { spki: Some(spki) }) => {
            let der = STANDARD.decode(spki).ok();
            let key = der.and_then(|der| VerificationKey::from_spki_der(&der, Algorithm::Es256).ok());
            key.map_or(Entry::Failed, |key| Entry::InstanceKey(Some(Arc::new(key))))
        }
        // The answer does not belong to the query.
        (
            Query::Key(_)
            | Query::KeysV1(_)
            | Query::Instance(_)
            | Query::Launch(_)
            | Query::InstanceKey(_)
            | Query::Signer(_)
            | Query::Link(_)
            | Query::StepUp { .. }
            | Query::Assertion { .. }
            | Query::Metrics
            | Query::Health,
            Answer::Keys { .. }
            | Answer::Instance { .. }
            | Answer::InstanceKey { .. }
            | Answer::Signer { .. }
            | Answer::Link { .. }
            | Answer::StepUp { .. }
            | Answer::Assertion { .. }
            | Answer::Metrics { .. }
            | Answer::Health { .. }
            | Answer::Failed,
        ) => Entry::Failed,
    }
}

fn parse(record: &KeyRecord) -> Option<Arc<EnrolledKey>> {
    match EnrolledKey::from_record(record) {
        Ok(key) => Some(Arc::new(key)),
        Err(error) => {
            tracing::error!(%error, username = %record.owner, kid = %record.kid, "rejected key from the server");
            None
        }
    }
}
