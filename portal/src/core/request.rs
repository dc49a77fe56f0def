//! One request of Core to the provider, as a value that tests and attacks alter.

use bytes::Bytes;
use http_body_util::Full;
use serde_json::Value;

use crate::core::Flavour;
use crate::{Fault, jws};

/// The token in `Authorization`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Bearer {
    /// Core's current token.
    Core,
    /// This token.
    Given(String),
    /// No token.
    Absent,
}

/// A request before it is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// `GET`, `POST`, `DELETE`.
    pub method: String,
    /// The path, from `/ucloud/` on.
    pub path: String,
    /// The user for whom Core calls; `None` for a service call.
    pub username: Option<String>,
    /// The user's signed intent.
    pub intent: Option<String>,
    /// Core's token, or another.
    pub bearer: Bearer,
    /// The body.
    pub body: Option<Bytes>,
    /// Further header lines, in this order; a name may come twice.
    pub more_headers: Vec<(String, String)>,
}

impl Request {
    /// Makes a request with Core's token and without a user.
    #[must_use]
    pub fn new(method: &str, path: &str, body: Option<Bytes>) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            username: None,
            intent: None,
            bearer: Bearer::Core,
            body,
            more_headers: Vec::new(),
        }
    }

    /// Returns the request with another body.
    #[must_use]
    pub fn with_body(mut self, body: &Value) -> Self {
        self.body = Some(Bytes::from(body.to_string()));
        self
    }

    /// Returns the request with its body altered. A body that is not JSON stays as it is.
    #[must_use]
    pub fn altered(self, alter: impl FnOnce(&mut Value)) -> Self {
        let mut body = self.json();
        if body.is_null() {
            return self;
        }
        alter(&mut body);
        self.with_body(&body)
    }

    /// Returns the request with one more header line.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.more_headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The body as JSON, or null.
    #[must_use]
    pub fn json(&self) -> Value {
        self.body.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or(Value::Null)
    }

    /// The HTTP request as this Core writes it.
    pub(crate) fn to_http(
        &self,
        flavour: Flavour,
        bearer: Option<&str>,
        intent: Option<&str>,
    ) -> Result<http::Request<Full<Bytes>>, Fault> {
        let mut request = http::Request::builder().method(self.method.as_str()).uri(self.path.as_str());
        request = match flavour {
            // Go sends no `Content-Type`.
            Flavour::Core2 => request.header("user-agent", "Go-http-client/1.1"),
            Flavour::Core1 if self.body.is_some() => request.header("content-type", "application/json; charset=UTF-8"),
            Flavour::Core1 => request,
        };
        if let Some(token) = bearer {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(username) = &self.username {
            request = request.header("ucloud-username", username_header(username));
        }
        if let Some(intent) = intent {
            request = request.header("ucloud-signed-intent", intent);
        }
        for (name, value) in &self.more_headers {
            request = request.header(name, value);
        }
        if flavour == Flavour::Core2 {
            request = request.header("accept-encoding", "gzip");
        }
        Ok(request.body(Full::new(self.body.clone().unwrap_or_default()))?)
    }
}

/// A username as Core writes it in a header: standard base64 with padding.
#[must_use]
pub fn username_header(username: &str) -> String {
    jws::base64(username.as_bytes())
}
