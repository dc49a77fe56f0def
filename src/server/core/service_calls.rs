//! Calls for which Core's token is sufficient: `connect`, `init`, `unlinked`, and those whose
//! answer is the same for every user, or is what the site shows of the user's choices.
//!
//! None of them gives Core any access: a ticket activates no key (P2), `init` only starts the
//! user's own process, and `unlinked` only removes.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use countersign_keys::call::ServiceCall;
use countersign_keys::identity::Username;
use countersign_keys::store::records::Begun;
use countersign_keys::store::registry::Authority;
use serde::Deserialize;
use serde_json::{Value, json};

use super::products::retrieve_products;
use crate::audit::record::AuditedAction;
use crate::connections::expiry::Standing;
use crate::connections::tickets::{begin, page_url};
use crate::http::reply::{Refusal, blocking, message, not_changed};
use crate::instances::table::NoInstance;
use crate::jobs::choices;
use crate::state::{Server, log_failure};
use countersign_config::{Launch, Provider};
use countersign_home::accounts::AccountRejection;
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::gateway_protocol::Ended;

/// The body of Core's calls about a user. Further members are ignored.
#[derive(Deserialize)]
pub(crate) struct AboutUser {
    /// The user.
    pub(crate) username: Username,
}

/// Handles one of Core's calls.
pub(crate) async fn call(
    server: &Arc<Server>,
    call: ServiceCall,
    body: &Bytes,
    action: &AuditedAction<'_>,
) -> Result<Value, Refusal> {
    match call {
        ServiceCall::RetrieveManifest => Ok(manifest()),
        ServiceCall::RetrieveBranding => Ok(branding(&server.config.provider)),
        ServiceCall::RetrieveProducts(kind) => Ok(retrieve_products(server, kind)),
        ServiceCall::RequestDynamicParameters => {
            let asked = message::<AboutUser>(body).ok();
            Ok(choices::parameters(server, asked.as_ref().map(|asked| &asked.username)))
        }
        // The user who opened the page is not looked up, so the answer cannot depend on them.
        ServiceCall::RetrieveTokenOptions => Ok(json!({ "availablePermissions": [] })),
        ServiceCall::Connect => connect(server, action, message::<AboutUser>(body)?.username).await,
        ServiceCall::Init => launch(server, action, message::<AboutUser>(body)?.username).await.map(|()| json!({})),
        ServiceCall::Unlinked => unlinked(server, action, message::<AboutUser>(body)?.username).await,
    }
}

/// `expireAfterMs` is always null: the Go Core shows a connection with an expiry as not connected
/// until then. The server ends connections itself and tells Core. The older Core reads the last two
/// members: `requiresMessageSigning` would make it ask for a key that *it* enrols.
fn manifest() -> Value {
    json!({
        "enabled": true,
        "expireAfterMs": null,
        "requiresMessageSigning": false,
        "unmanagedConnections": false,
    })
}

/// The provider as Core shows it. Core reads a logo's path as one at the provider's origin.
fn branding(provider: &Provider) -> Value {
    let Provider { id, origin, brand } = provider;
    json!({
        "id": id.as_str(),
        "title": brand.title,
        "shortTitle": brand.title,
        "shortDescription": "",
        "description": "",
        "url": format!("{}/", origin.as_str()),
        "logo": brand.logo.as_ref().map(|_| "/favicon.ico"),
        "sections": [],
        "productDescription": [],
    })
}

async fn connect(server: &Arc<Server>, action: &AuditedAction<'_>, username: Username) -> Result<Value, Refusal> {
    let page = page_url(server);
    let ticket = begin(server, action, username, Begun::AtCore, None).await?;
    Ok(json!({ "redirectTo": format!("{page}#{}", ticket.text.expose()) }))
}

/// Starts the instance of a connected user: for Core with `init`, or for the gateway on behalf of
/// the user's own browser.
pub(crate) async fn launch(
    server: &Arc<Server>,
    action: &AuditedAction<'_>,
    username: Username,
) -> Result<(), Refusal> {
    let connection = match server.standing(&username, server.clock.now()?)? {
        Standing::InForce(connection) => connection,
        Standing::None => return Err(Refusal::bad_request("this user is not connected to this provider")),
        Standing::Over(_) => {
            return Err(Refusal::bad_request(
                "your connection to this provider has expired: connect to it again at UCloud",
            ));
        }
    };
    if !server.config.served().maintenance.admits(&username) {
        return Err(Refusal::new(ErrorCode::Maintenance, ErrorCode::Maintenance.why()));
    }
    server.record(&AuditedAction { username: Some(&username), ..*action })?;
    if matches!(server.config.instances.launch, Launch::Static(_)) {
        return Ok(());
    }
    let uid_min = server.config.served().uid_min;
    let accounts = server.accounts.clone();
    let checked = blocking(move || Ok(accounts.check(connection.uid, Some(&connection.account), uid_min))).await?;
    let account = checked.map_err(|rejection| {
        if matches!(rejection, AccountRejection::Database(_) | AccountRejection::Shells(_)) {
            return Refusal::failure(&rejection);
        }
        log_failure("refused an instance", &rejection);
        server.instances.refuse(connection.uid, Instant::now());
        Refusal::new(ErrorCode::AccountRefused, ErrorCode::AccountRefused.why())
    })?;
    server.instances.ensure(&account, Instant::now()).await.map_err(|no_instance| match no_instance {
        NoInstance::Refused(_) => Refusal::new(ErrorCode::AccountRefused, ErrorCode::AccountRefused.why()),
        NoInstance::Launch(_) | NoInstance::Died(_) | NoInstance::Slow(_) | NoInstance::Failing(_) => {
            Refusal::failure(&no_instance)
        }
    })
}

/// Ends the connection, because Core says that the user wants that. Succeeds for a user who is not
/// connected.
async fn unlinked(server: &Arc<Server>, action: &AuditedAction<'_>, username: Username) -> Result<Value, Refusal> {
    if server.records.user(&username)?.is_some_and(|user| user.connection.is_some()) {
        server.disconnect(Authority::Core, username, action).await?;
    }
    Ok(json!({}))
}

impl Server {
    /// Ends a connection in the store and at the gateway, and stops its instance. Returns when no
    /// gateway accepts its keys any more.
    pub(crate) async fn disconnect(
        &self,
        authority: Authority,
        username: Username,
        action: &AuditedAction<'_>,
    ) -> Result<(), Refusal> {
        self.record(&AuditedAction { username: Some(&username), ..*action })?;
        let (records, user) = (Arc::clone(&self.records), username.clone());
        let ended = self.blocking(authority, move || records.disconnect(authority, &user).map_err(not_changed)).await?;
        tracing::info!(%username, uid = %ended.uid, keys = ended.kids.len(), ?authority, "connection ended");
        self.invalidations.tell(Ended::User { username }).await;
        if self.records.usernames(ended.uid)?.is_empty() {
            self.instances.stop(ended.uid);
        }
        self.entries.notify_one();
        self.changed();
        Ok(())
    }
}
