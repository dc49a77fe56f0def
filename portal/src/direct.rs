//! The HTTP calls of the provider's page of keys in the user's browser, which do not go through
//! Core.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::line::Line;
use crate::signer::{Projection, renewal_proof};
use crate::{Answer, BrowserKey, Endpoint, Fault, Intent, now};

/// The provider may have to start the user's instance first.
const PATIENCE: Duration = Duration::from_secs(30);

/// The page of keys in a user's browser.
#[derive(Debug)]
pub struct DirectPage {
    line: Line,
    /// The provider's origin in the address bar.
    pub origin: String,
    /// The provider's id.
    pub provider: String,
    /// The UCloud user.
    pub username: String,
}

impl DirectPage {
    /// Opens the page on the machine of `endpoint`.
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

    /// Makes the unsigned intent for a call with this one item.
    ///
    /// # Errors
    /// As [`Intent::new`].
    pub fn intent(&self, call: &str, item: &Value) -> Result<Intent, Fault> {
        let members = item.as_object().into_iter().flatten();
        let item = Projection(members.map(|(name, value)| (name.clone(), value.clone())).collect());
        Intent::new(&self.origin, &self.username, call, &[item], now())
    }

    /// Signs a call and sends it. The path is the call's name with a slash for the dot.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives or signing fails.
    pub async fn ask(&self, key: &BrowserKey, call: &str, item: &Value) -> Result<Answer, Fault> {
        let intent = self.intent(call, item)?.sign(key)?;
        let origin = self.origin.clone();
        self.ask_raw(call, &[("ucloud-signed-intent", &intent), ("origin", &origin)], item).await
    }

    /// Sends a call with the given headers and the content type.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn ask_raw(&self, call: &str, headers: &[(&str, &str)], item: &Value) -> Result<Answer, Fault> {
        let mut request = http::Request::post(format!("/ucloud/{}/{}", self.provider, call.replace('.', "/")))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.line.send(request.body(Bytes::from(item.to_string()).into())?).await
    }

    /// Lists the user's keys.
    ///
    /// # Errors
    /// As [`DirectPage::ask`].
    pub async fn list(&self, key: &BrowserKey) -> Result<Answer, Fault> {
        self.ask(key, "keys.list", &json!({})).await
    }

    /// The item of a renewal: the new key, and its proof that it replaces `old`.
    ///
    /// # Errors
    /// [`Fault`] if the proof cannot be signed.
    pub fn renewal(&self, old: &BrowserKey, new: &BrowserKey, name: &str) -> Result<Value, Fault> {
        let proof = renewal_proof(new, &self.origin, &self.username, old.kid()).sign(new)?;
        Ok(json!({"jwk": new.public_jwk(), "alg": new.algorithm().name(), "name": name, "proof": proof}))
    }

    /// Renews `old` by `new`, which gets its id from the response.
    ///
    /// # Errors
    /// As [`DirectPage::ask`].
    pub async fn renew(&self, old: &BrowserKey, new: &mut BrowserKey) -> Result<Answer, Fault> {
        let answer = self.ask(old, "keys.renew", &self.renewal(old, new, "renewed")?).await?;
        if answer.is_ok() {
            new.set_kid(&answer.text("kid"));
        }
        Ok(answer)
    }

    /// Removes the key `kid`.
    ///
    /// # Errors
    /// As [`DirectPage::ask`].
    pub async fn remove(&self, key: &BrowserKey, kid: &str) -> Result<Answer, Fault> {
        self.ask(key, "keys.remove", &json!({"kid": kid})).await
    }
}
