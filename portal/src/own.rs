//! What the provider's page of keys does in the user's browser, over HTTP: calls of the user's own,
//! without Core.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::line::Line;
use crate::signer::{Projection, renewal_proof};
use crate::{Answer, BrowserKey, Endpoint, Fault, Intent, now};

/// The provider may have to start the user's instance first.
const PATIENCE: Duration = Duration::from_secs(30);

/// The page of keys, open in the browser of a user.
#[derive(Debug)]
pub struct OwnPage {
    line: Line,
    /// The provider's origin as the address bar has it.
    pub origin: String,
    /// The provider's id.
    pub provider: String,
    /// The UCloud user.
    pub username: String,
}

impl OwnPage {
    /// Opens it at the machine that `endpoint` names.
    #[must_use]
    pub fn open(endpoint: Endpoint, provider: &str, username: &str) -> Self {
        let origin = endpoint.origin();
        Self {
            line: Line::new(endpoint, PATIENCE),
            origin,
            provider: provider.to_owned(),
            username: username.to_owned(),
        }
    }

    /// The intent for a call with this one item, not yet signed.
    ///
    /// # Errors
    /// As [`Intent::new`].
    pub fn intent(&self, call: &str, item: &Value) -> Result<Intent, Fault> {
        let members = item.as_object().into_iter().flatten();
        let item = Projection(members.map(|(name, value)| (name.clone(), value.clone())).collect());
        Intent::new(&self.origin, &self.username, call, &[item], now())
    }

    /// Signs a call and makes it. The path is the call's name, with a slash for the dot.
    ///
    /// # Errors
    /// Where no answer comes, or nothing can be signed.
    pub async fn ask(&self, key: &BrowserKey, call: &str, item: &Value) -> Result<Answer, Fault> {
        let intent = self.intent(call, item)?.sign(key)?;
        let origin = self.origin.clone();
        self.ask_raw(call, &[("ucloud-signed-intent", &intent), ("origin", &origin)], item).await
    }

    /// Makes a call with any headers beside the content type.
    ///
    /// # Errors
    /// Where no answer comes.
    pub async fn ask_raw(&self, call: &str, headers: &[(&str, &str)], item: &Value) -> Result<Answer, Fault> {
        let mut request = http::Request::post(format!("/ucloud/{}/{}", self.provider, call.replace('.', "/")))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.line.send(request.body(Bytes::from(item.to_string()).into())?).await
    }

    /// The user's keys.
    ///
    /// # Errors
    /// As [`OwnPage::ask`].
    pub async fn list(&self, key: &BrowserKey) -> Result<Answer, Fault> {
        self.ask(key, "keys.list", &json!({})).await
    }

    /// What a renewal asks for: the new key, and its proof that it takes the place of `old`.
    ///
    /// # Errors
    /// Where the proof cannot be signed.
    pub fn renewal(&self, old: &BrowserKey, new: &BrowserKey, name: &str) -> Result<Value, Fault> {
        let proof = renewal_proof(new, &self.origin, &self.username, old.kid()).sign(new)?;
        Ok(json!({"jwk": new.public_jwk(), "alg": new.algorithm().name(), "name": name, "proof": proof}))
    }

    /// Has `old` vouch for `new`, which has its id when this is answered.
    ///
    /// # Errors
    /// As [`OwnPage::ask`].
    pub async fn renew(&self, old: &BrowserKey, new: &mut BrowserKey) -> Result<Answer, Fault> {
        let answer = self.ask(old, "keys.renew", &self.renewal(old, new, "renewed")?).await?;
        if answer.is_ok() {
            new.set_kid(&answer.text("kid"));
        }
        Ok(answer)
    }

    /// Removes the key of that id.
    ///
    /// # Errors
    /// As [`OwnPage::ask`].
    pub async fn remove(&self, key: &BrowserKey, kid: &str) -> Result<Answer, Fault> {
        self.ask(key, "keys.remove", &json!({"kid": kid})).await
    }
}
