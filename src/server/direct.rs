//! Direct calls to the server, on the direct channel.
//!
//! The gateway has verified the request. This module verifies it again, from head to first use,
//! with the keys of the store; only the resulting permit reaches the work (P3).

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use countersign_keys::bind::Items;
use countersign_keys::call::{DirectRow, names};
use countersign_keys::direct::DirectRequest;
use countersign_keys::identity::{KeyId, Username};
use countersign_keys::intent::{Fingerprint, KeyWanted, Terms, Version1};
use countersign_keys::keyring::EnrolledKey;
use countersign_keys::policy::{Permit, Policy, StepUp};
use countersign_keys::request::PresentedDirect;
use countersign_keys::verify::Rejection;
use http::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::audit::record::AuditedAction;
use crate::http::reply::{Refusal, answer as answer_with, message, rejected};
use crate::passkeys;
use crate::state::Server;
use crate::turns::Asker;
use countersign_ipc::error_code::Reply;
use countersign_ipc::server_protocol::Empty;

/// Why a request is refused: the sender is wrong, or the server cannot decide.
enum Denied {
    Rejected(Rejection),
    Failed(Refusal),
}

impl<R: Into<Rejection>> From<R> for Denied {
    fn from(rejection: R) -> Self {
        Self::Rejected(rejection.into())
    }
}

/// The facts known about a request so far, for the log.
#[derive(Default)]
struct Known {
    username: Option<Username>,
    kid: Option<KeyId>,
}

/// Verifies a request, performs it, and answers.
pub(crate) async fn answer(
    server: &Arc<Server>,
    row: &DirectRow,
    headers: &HeaderMap,
    body: &Bytes,
    request_id: &str,
) -> Reply {
    let mut known = Known::default();
    let outcome = judge(server, row, headers, body, &mut known);
    let call = row.row().call().as_str();
    let action = match &known.username {
        Some(username) => {
            AuditedAction { username: Some(username), kid: known.kid, ..AuditedAction::of(request_id, call) }
        }
        None => AuditedAction::of_stranger(request_id, call, None),
    };
    let permit = match outcome {
        Ok(permit) => permit,
        Err(Denied::Rejected(rejection)) => {
            return server.record_rejection(&action, &rejection, rejected(&rejection)).reply();
        }
        Err(Denied::Failed(refusal)) => return server.record_refusal(&action, refusal).reply(),
    };
    if let Err(refusal) = server.record(&action) {
        return refusal.reply();
    }
    answer_with(perform(server, permit).await.map_err(|refusal| server.record_refusal(&action, refusal)))
}

/// Verifies a request in full, as the gateway and an instance do.
fn judge<'r>(
    server: &Server,
    row: &DirectRow,
    headers: &'r HeaderMap,
    body: &'r Bytes,
    known: &mut Known,
) -> Result<Permit<'r, 'r, DirectRequest>, Denied> {
    let now = server.clock.now().map_err(|failure| Denied::Failed(failure.into()))?;
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let presented = PresentedDirect::parse(row, headers)?;
    let terms = Terms { version_1: Version1::Refused, ..server.config.terms() };
    let intent = presented.intent()?;
    let claimed = intent.claimed_username()?;
    let keys = match intent.key_wanted() {
        KeyWanted::Id(kid) => key_of(server, &claimed, kid).map_err(Denied::Failed)?,
        KeyWanted::Version1 => None,
    };
    let intent = intent.verify(&claimed, keys.as_slice(), &terms, now)?;
    known.username = Some(intent.username().clone());
    known.kid = Some(intent.kid());
    if !server.used_intents.calls.admits(intent.username().clone(), Instant::now()) {
        return Err(Denied::Failed(Refusal::too_many("too many calls: wait a moment")));
    }
    let items = Items::read(row.row(), body)?;
    let policy = Policy { terms, step_up: StepUp::default() };
    let authorised = policy.authorise(presented.intend(intent)?.bind(items)?)?;
    Ok(authorised.consume(&policy, &server.used_intents, now)?)
}

pub(crate) fn key_of(server: &Server, username: &Username, kid: KeyId) -> Result<Option<Arc<EnrolledKey>>, Refusal> {
    let record = server.key(username, &kid)?;
    let key = record.map(|record| EnrolledKey::from_record(&record).map(Arc::new)).transpose();
    key.map_err(|rejection| Refusal::failure(&rejection))
}

/// Performs a permitted call. Each row whose destination is the server has an arm here.
async fn perform(server: &Arc<Server>, permit: Permit<'_, '_, DirectRequest>) -> Result<Value, Refusal> {
    let asked = Asked {
        server: Arc::clone(server),
        username: permit.username().clone(),
        intent: permit.fingerprint(),
        body: Bytes::copy_from_slice(permit.items().bytes()),
    };
    match permit.row().call().as_str() {
        names::PASSKEYS_LIST => asked.blocking(|asked, _: Empty| passkeys::list(&asked.server, &asked.username)).await,
        names::PASSKEYS_BEGIN => {
            asked
                .blocking(|asked, begin: Begin| {
                    passkeys::begin(&asked.server, &asked.username, &begin.name, asked.intent)
                })
                .await
        }
        names::PASSKEYS_FINISH => {
            asked
                .blocking(|asked, finish: Finish| passkeys::finish(&asked.server, &asked.username, &finish.credential))
                .await
        }
        names::PASSKEYS_REMOVE => {
            asked
                .blocking(|asked, remove: Remove| {
                    passkeys::remove(&asked.server, &asked.username, &remove.id, asked.intent)
                })
                .await
        }
        call => Err(Refusal::not_found(format!("this provider does not offer {call}"))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Finish {
    credential: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remove {
    id: String,
}

/// The content of a permit, without its borrows.
struct Asked {
    server: Arc<Server>,
    username: Username,
    intent: Fingerprint,
    body: Bytes,
}

impl Asked {
    /// Runs the work on a thread for blocking calls. Verification ensured that no member of the
    /// body is repeated.
    async fn blocking<Q: DeserializeOwned>(
        self,
        work: impl FnOnce(&Self, Q) -> Result<Value, Refusal> + Send + 'static,
    ) -> Result<Value, Refusal> {
        let (server, asker) = (Arc::clone(&self.server), Asker::User(self.username.clone()));
        let work = move || {
            let nothing = Bytes::from_static(b"{}");
            let question = message(if self.body.is_empty() { &nothing } else { &self.body })?;
            work(&self, question)
        };
        server.blocking(asker, work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_server::{ALICE, NOW, ORIGIN, TestServer, user};
    use countersign_keys::call::{CallTable, Method, Route, RowSpec};
    use countersign_keys::store::registry::Authority;
    use countersign_portal::signer::Projection;
    use countersign_portal::{Algorithm, BrowserKey, Intent};
    use serde_json::json;
    use std::sync::atomic::Ordering;

    /// A row with the server as its destination and one bound parameter.
    fn row(test: &TestServer) -> DirectRow {
        let spec: RowSpec = serde_json::from_value(json!({
            "call": "test.own", "method": "POST", "path": "/ucloud/{p}/test/own", "from": "user", "to": "server",
            "items": "whole", "bound": [{"name": "id", "at": ["/id"]}], "class": "danger",
        }))
        .unwrap();
        let table = CallTable::new(&test.server.config.provider.id, &[spec]).unwrap();
        match table.route(Method::Post, "/ucloud/hpc/test/own") {
            Some(Route::Direct(row)) => row.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn intent(username: &str, call: &str, id: &str) -> Intent {
        Intent::new(ORIGIN, username, call, &[Projection::new([("id", json!(id))])], NOW).unwrap()
    }

    async fn ask(test: &TestServer, headers: &[(&'static str, &str)], body: &str) -> u16 {
        let pairs = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let headers: HeaderMap = pairs.collect();
        answer(&test.server, &row(test), &headers, &Bytes::from(body.to_owned()), "r1").await.status().as_u16()
    }

    /// The decision, its user and its reason, from the last line of the log.
    fn logged(test: &TestServer) -> (Value, Value, String) {
        let log = std::fs::read_to_string(test.directory.path().join("decisions.jsonl")).unwrap();
        let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        (line["decision"].clone(), line["username"].clone(), line["reason"].as_str().unwrap_or_default().to_owned())
    }

    #[tokio::test]
    async fn p3_the_server_judges_again_what_the_gateway_passes_on() {
        let test = TestServer::new("");
        let browser = test.connected().await;
        let key = &browser.key;
        let with = async |intent: &str, body: &str| ask(&test, &[("ucloud-signed-intent", intent)], body).await;
        let body = r#"{"id":"x"}"#;

        assert_eq!(ask(&test, &[], body).await, 482);
        assert!(logged(&test).2.contains("no intent"));
        let other_id = intent("alice#1", "test.own", "y").sign(key).unwrap();
        assert_eq!(with(&other_id, body).await, 482);
        assert_eq!(logged(&test).1, "alice#1");
        assert!(logged(&test).2.contains("parameters"));
        let other_call = intent("alice#1", "keys.list", "x").sign(key).unwrap();
        assert_eq!(with(&other_call, body).await, 482);
        let other_user = intent("bob#1", "test.own", "x").sign(key).unwrap();
        assert_eq!(with(&other_user, body).await, 482);
        let mut stranger = BrowserKey::make(Algorithm::Es256).unwrap();
        stranger.set_kid(key.kid());
        assert_eq!(with(&intent("alice#1", "test.own", "x").sign(&stranger).unwrap(), body).await, 482);
        let good = intent("alice#1", "test.own", "x").sign(key).unwrap();
        assert_eq!(with(&good, r#"{"id":"x","more":1}"#).await, 482);
        for (name, value) in [("authorization", "Bearer a.b.c"), ("ucloud-username", "YWxpY2UjMQ==")] {
            assert_eq!(ask(&test, &[("ucloud-signed-intent", &good), (name, value)], body).await, 400, "{name}");
        }

        assert_eq!(with(&good, body).await, 404, "all is in order, and nobody does this");
        assert_eq!(with(&good, body).await, 482, "once");
        assert!(logged(&test).2.contains("used"));
        test.now.store(NOW + 31, Ordering::SeqCst);
        assert_eq!(with(&intent("alice#1", "test.own", "x").sign(key).unwrap(), body).await, 482, "too late");
        test.now.store(NOW, Ordering::SeqCst);
        let kid = KeyId::parse(key.kid()).unwrap();
        test.server.records.revoke_key(Authority::Account(ALICE), &user("alice#1"), &kid).unwrap();
        assert_eq!(with(&intent("alice#1", "test.own", "x").sign(key).unwrap(), body).await, 482);
        assert!(logged(&test).2.contains("revoked"));
    }
}
