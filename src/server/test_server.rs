//! A test server in its own directory, with test versions of browsers, users at the centre, Core
//! and a gateway.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_keys::call::ServiceCall;
use countersign_keys::core_token::CoreTokens;
use countersign_keys::identity::{KeyId, Uid, Username};
use countersign_keys::keyring::KeyState;
use countersign_keys::store::registry::Registry;
use countersign_keys::store::sealed_store::SealedStore;
use countersign_keys::store::sled_store::SledStore;
use countersign_portal::signer::{Projection, enrolment_proof};
use countersign_portal::{Algorithm, BrowserKey, CoreKeys, Intent};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::applications::pending_table::PendingTable;
use crate::audit::record::AuditedAction;
use crate::connections::{approval, offer};
use crate::core::service_calls;
use crate::core::task_table::TaskTable;
use crate::events::wallet_table::WalletTable;
use crate::gateway::invalidations::invalidations;
use crate::http::reply::Refusal;
use crate::instances::launch::Launcher;
use crate::instances::table::Instances;
use crate::jobs::choice_table::ChoiceTable;
use crate::jobs::table::JobTable;
use crate::metrics::ServerMetrics;
use crate::passkeys::ceremonies::PasskeyCeremonies;
use crate::projects::table::ProjectTable;
use crate::state::Server;
use crate::used_intents::UsedIntents;
use countersign_audit::DecisionLog;
use countersign_config::{Config, Reader, Role};
use countersign_home::accounts::{Account, Accounts};
use countersign_ipc::gateway_protocol::Ended;
use countersign_ipc::room;
use countersign_ipc::server_protocol::{Approve, Approved, Find, Offer};
use countersign_os::clock::Clock;
use countersign_os::limits::Counted;

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const ALICE: Uid = Uid(1100);
pub(crate) const BOB: Uid = Uid(1101);
/// The audit action of every test request.
pub(crate) const TEST: AuditedAction<'static> = AuditedAction::of("test", "test");
pub(crate) const ORIGIN: &str = "https://hpc.example.org";

pub(crate) struct TestServer {
    pub(crate) server: Arc<Server>,
    pub(crate) now: Arc<AtomicI64>,
    /// The invalidations that the gateway received.
    pub(crate) told: Arc<Mutex<Vec<Ended>>>,
    pub(crate) directory: tempfile::TempDir,
}

/// A browser with the ticket of a connection page.
pub(crate) struct Browser {
    pub(crate) key: BrowserKey,
    pub(crate) ticket: String,
}

pub(crate) fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

pub(crate) fn body(content: &Value) -> Bytes {
    Bytes::from(content.to_string())
}

pub(crate) fn instance_key() -> String {
    STANDARD.encode(BrowserKey::make(Algorithm::Es256).unwrap().public_spki().unwrap())
}

pub(crate) fn status<T: std::fmt::Debug>(outcome: Result<T, Refusal>) -> (u16, &'static str) {
    let refusal = outcome.unwrap_err();
    (refusal.told.number(), refusal.told.code())
}

impl TestServer {
    /// A server in its own directory; `more` is appended to its configuration.
    pub(crate) fn new(more: &str) -> Self {
        Self::with_core("https://cloud.example.org", &CoreKeys::generate("hpc").unwrap(), None, more)
    }

    /// The same, with the users alice#1 and bob#1.
    pub(crate) async fn with_users(more: &str) -> Self {
        let test = Self::new(more);
        for (uid, account) in [(ALICE, "alice"), (BOB, "bob")] {
            let mut browser = test.begun_at_core(&format!("{account}#1")).await;
            let offered = browser.offer(&test).await.unwrap();
            test.approve(uid, account, offered["code"].as_str().unwrap()).await.unwrap();
            browser.key.set_kid(offered["kid"].as_str().unwrap());
        }
        test
    }

    /// A server with Core at that origin, with that key pair and refresh token.
    pub(crate) fn with_core(core_origin: &str, core: &CoreKeys, refresh_token: Option<&str>, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, mode) in [("state", 0o700), ("run", 0o755)] {
            std::fs::DirBuilder::new().mode(mode).create(directory.path().join(name)).unwrap();
        }
        std::fs::write(directory.path().join("core.pem"), core.public_pem().unwrap()).unwrap();
        let mut refresh = "";
        if let Some(token) = refresh_token {
            let path = directory.path().join("refresh-token");
            let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).unwrap();
            std::io::Write::write_all(&mut file, token.as_bytes()).unwrap();
            refresh = "refresh_token = \"refresh-token\"";
        }
        let config = format!(
            "[provider]\nid = \"hpc\"\norigin = \"{ORIGIN}\"\n\
             [core]\norigin = \"{core_origin}\"\npublic_key = \"core.pem\"\n{refresh}\n\
             [gateway]\nlisten = [\"127.0.0.1:1\"]\n\
             [state]\ndirectory = \"state\"\n[ipc]\ndirectory = \"run\"\n{more}"
        );
        let file = directory.path().join("config.toml");
        std::fs::write(&file, config).unwrap();
        let config = Config::load_as(&file, Reader::own(Role::Server)).unwrap();
        let now = Arc::new(AtomicI64::new(NOW));
        let (invalidations, mut receiver) = invalidations();
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        tokio::spawn(async move {
            while let Some(invalidation) = receiver.recv().await {
                telling.lock().unwrap().push(invalidation.ended);
                invalidation.ack.send(()).unwrap();
            }
        });
        let accounts = [(ALICE, "alice"), (BOB, "bob")].map(|(uid, name)| Account { uid, name: name.to_owned() });
        // A fake instance: serves until told to stop, or fails at once if a file `broken` exists.
        let broken = directory.path().join("broken");
        let script =
            format!("if [ -e {} ]; then exit 1; fi; echo '{{\"say\":\"ready\"}}'; read -r stop <&1", broken.display());
        let (instances, _gone) = Instances::new(Launcher::stub(&script, directory.path()));
        let decisions = DecisionLog::to(File::create(directory.path().join("decisions.jsonl")).unwrap());
        let server = Arc::new(Server {
            decisions,
            metrics: ServerMetrics::begin(),
            alarms: Arc::default(),
            core_tokens: Mutex::new(CoreTokens::new(config.core.public_key.clone())),
            clock: Clock::Set(Arc::clone(&now)),
            accounts: Accounts::These(accounts.to_vec()),
            records: Arc::new(Registry::new(
                SealedStore::open(SledStore::open(&config.state.store()).unwrap(), &config.state.directory).unwrap(),
            )),
            instances,
            invalidations,
            used_intents: UsedIntents::new(&config.terms()),
            passkeys: PasskeyCeremonies::new(&config.provider.origin, &config.provider.id),
            pending_applications: PendingTable::default(),
            polls: Counted::new(room::PUBLIC, room::POLLS_EACH_TICKET),
            turns: Arc::default(),
            entries: Arc::default(),
            changes: watch::Sender::new(0),
            reloads: watch::Sender::new(0),
            stop: watch::Sender::new(false),
            tasks: TaskTable::default(),
            jobs: JobTable::default(),
            choices: ChoiceTable::default(),
            projects: ProjectTable::default(),
            wallets: WalletTable::default(),
            config,
        });
        Self { server, now, told, directory }
    }

    pub(crate) async fn core(&self, call: ServiceCall, username: &str) -> Result<Value, Refusal> {
        service_calls::call(&self.server, call, &body(&json!({ "username": username })), &TEST).await
    }

    /// Core begins, and the browser follows the redirect.
    pub(crate) async fn begun_at_core(&self, username: &str) -> Browser {
        let answer = self.core(ServiceCall::Connect, username).await.unwrap();
        Browser::at(answer["redirectTo"].as_str().unwrap())
    }

    pub(crate) async fn find(&self, uid: Uid, code: &str) -> Result<Offer, Refusal> {
        approval::find(&self.server, uid, Find { code: code.to_owned() }).await
    }

    pub(crate) async fn approve(&self, uid: Uid, account: &str, code: &str) -> Result<Approved, Refusal> {
        let approve = Approve { code: code.to_owned(), account: account.to_owned(), instance_key: instance_key() };
        approval::approve(&self.server, uid, approve).await
    }

    /// The whole flow for alice, begun at Core.
    pub(crate) async fn connected(&self) -> Browser {
        let mut browser = self.begun_at_core("alice#1").await;
        let offered = browser.offer(self).await.unwrap();
        self.approve(ALICE, "alice", offered["code"].as_str().unwrap()).await.unwrap();
        browser.key.set_kid(offered["kid"].as_str().unwrap());
        browser
    }

    pub(crate) fn key_state(&self, username: &str, kid: &str) -> Option<KeyState> {
        let key = self.server.records.key(&user(username), &KeyId::parse(kid).unwrap()).unwrap();
        key.map(|key| key.state)
    }
}

impl Browser {
    pub(crate) fn at(url: &str) -> Self {
        let (page, ticket) = url.split_once('#').unwrap();
        assert_eq!(page, "https://hpc.example.org/ucloud/hpc/connect");
        Self { key: BrowserKey::make(Algorithm::Es256).unwrap(), ticket: ticket.to_owned() }
    }

    pub(crate) async fn describe(&self, test: &TestServer) -> Result<Value, Refusal> {
        offer::describe(&test.server, &body(&json!({ "ticket": self.ticket }))).await
    }

    /// Presents the ticket that Core gave this browser for that user.
    pub(crate) async fn confirm(&self, test: &TestServer, at_core: &Self) -> Result<Value, Refusal> {
        let content = json!({ "ticket": self.ticket, "ucloudTicket": at_core.ticket });
        offer::confirm(&test.server, &body(&content), &TEST).await
    }

    pub(crate) async fn offer_body(&self, test: &TestServer) -> Value {
        let described = self.describe(test).await.unwrap();
        let (username, nonce) = (described["username"].as_str().unwrap(), described["nonce"].as_str().unwrap());
        let proof = enrolment_proof(&self.key, ORIGIN, &self.ticket, username, nonce).sign(&self.key).unwrap();
        json!({ "ticket": self.ticket, "jwk": self.key.public_jwk(), "alg": "ES256", "proof": proof, "name": "Firefox" })
    }

    pub(crate) async fn offer(&self, test: &TestServer) -> Result<Value, Refusal> {
        offer::offer(&test.server, &body(&self.offer_body(test).await), "192.0.2.7:4711".to_owned(), &TEST).await
    }

    pub(crate) async fn status(&self, test: &TestServer) -> Value {
        offer::status(&test.server, &body(&json!({ "ticket": self.ticket }))).await.unwrap()
    }

    pub(crate) fn probe(&self, test: &TestServer, call: &str, now: i64) -> Result<Value, Refusal> {
        let intent = Intent::new(ORIGIN, "alice#1", call, &[Projection::new([])], now).unwrap();
        let intent = intent.sign(&self.key).unwrap();
        offer::probe(&test.server, &body(&json!({ "ticket": self.ticket, "intent": intent })), &TEST)
    }
}
