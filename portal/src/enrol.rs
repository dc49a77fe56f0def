//! The HTTP calls of the provider's connection page in the user's browser.
//!
//! The ticket arrives in the fragment of the address and is sent only in request bodies.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::line::Line;
use crate::signer::{Projection, enrolment_proof};
use crate::{Answer, BrowserKey, Endpoint, Fault, Intent, now};

/// A browser waits longer than Core: the provider answers a status request within 25 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// The connection page, opened with a ticket.
#[derive(Debug)]
pub struct ConnectionPage {
    line: Line,
    /// The provider's origin in the address bar.
    pub origin: String,
    /// `/ucloud/{provider}/connect`.
    pub path: String,
    /// The ticket.
    pub ticket: String,
}

impl ConnectionPage {
    /// Opens the page at Core's `redirectTo`, on the machine of `endpoint`.
    ///
    /// # Errors
    /// [`Fault::Unexpected`] if the address lacks host, path or ticket.
    pub fn open(redirect_to: &str, endpoint: Endpoint) -> Result<Self, Fault> {
        let wrong = || Fault::Unexpected { what: "redirectTo", status: 200, body: redirect_to.to_owned() };
        let (address, ticket) = redirect_to.split_once('#').ok_or_else(wrong)?;
        let (scheme, rest) = address.split_once("://").ok_or_else(wrong)?;
        let (authority, path) = rest.split_once('/').ok_or_else(wrong)?;
        Ok(Self {
            line: Line::new(endpoint, PATIENCE),
            origin: format!("{scheme}://{authority}"),
            path: format!("/{path}"),
            ticket: ticket.to_owned(),
        })
    }

    /// Asks for the description of the connection.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn describe(&self) -> Result<Answer, Fault> {
        self.post("describe", &json!({"ticket": self.ticket})).await
    }

    /// Offers a key, with the proof for the description of the connection.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives or the provider refuses the description.
    pub async fn offer(&self, key: &BrowserKey) -> Result<Answer, Fault> {
        let described = self.describe().await?;
        if !described.is_ok() {
            return Err(described.unexpected("connect/describe"));
        }
        let (username, nonce) = (described.text("username"), described.text("nonce"));
        let proof = enrolment_proof(key, &self.origin, &self.ticket, &username, &nonce).sign(key)?;
        self.offer_raw(&json!({
            "ticket": self.ticket, "jwk": key.public_jwk(), "alg": key.algorithm().name(), "proof": proof,
            "name": "Firefox on Linux",
        }))
        .await
    }

    /// Offers any body.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn offer_raw(&self, body: &Value) -> Result<Answer, Fault> {
        self.post("offer", body).await
    }

    /// Asks for the status of the connection.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn status(&self) -> Result<Answer, Fault> {
        self.post("status", &json!({"ticket": self.ticket})).await
    }

    /// Asks for the status, which the provider answers when it differs from `after`, or after 25 s.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn status_after(&self, after: &str) -> Result<Answer, Fault> {
        self.post("status", &json!({"ticket": self.ticket, "after": after})).await
    }

    /// Signs the probe with the new key and sends it, which is the page's last step.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn probe(&self, key: &BrowserKey, username: &str) -> Result<Answer, Fault> {
        let intent = Intent::new(&self.origin, username, "connect.probe", &[Projection::default()], now())?;
        self.probe_raw(&intent.sign(key)?).await
    }

    /// Sends any intent as the probe.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn probe_raw(&self, intent: &str) -> Result<Answer, Fault> {
        self.post("probe", &json!({"ticket": self.ticket, "intent": intent})).await
    }

    async fn post(&self, operation: &str, body: &Value) -> Result<Answer, Fault> {
        let request = http::Request::post(format!("{}/{operation}", self.path))
            .header("content-type", "application/json")
            .header("origin", &self.origin)
            .header("accept", "*/*")
            .body(Bytes::from(body.to_string()).into())?;
        self.line.send(request).await
    }
}
