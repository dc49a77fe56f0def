//! Client for Core's API: refresh token → access token → `control/approveConnection` and
//! `control/clearConnection`; and the WebSocket of its events.
//!
//! Tells Core who is connected, and the ids and titles of their drives; never a key, uid, account
//! name or path. Uses TLS, or plain HTTP on this machine (an [`Origin`] allows nothing else).
//! Follows no redirects.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use countersign_keys::identity::{Origin, Username};
use countersign_keys::secret::Secret;
use countersign_keys::time::Timestamp;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use hyper::upgrade::Upgraded;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use countersign_config::SecretFile;
use countersign_ipc::body::{BodyError, read_body};
use countersign_os::clock::random_bytes;

/// Timeout of a whole call. Core's own calls to the provider have 5 s, and Core may be busy.
const CALL_MAX: Duration = Duration::from_secs(15);

/// Longest response read unless a call says more, in bytes. An access token has 600.
const ANSWER_MAX: usize = 64 * 1024;

/// How long before its expiry an access token is replaced, in seconds. Core's live 10 minutes.
const RENEW_BEFORE_S: i64 = 60;

/// Assumed lifetime of an access token that names none, in seconds.
const LIFETIME_UNKNOWN_S: i64 = 60;

const REFRESH: &str = "/auth/providers/refresh";
const APPROVE: &str = "/api/providers/integration/control/approveConnection";
const CLEAR: &str = "/api/providers/integration/control/clearConnection";

/// Why a call to Core failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CoreFailure {
    /// The refresh token cannot be read.
    #[error("the refresh token cannot be read")]
    RefreshToken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A token has characters that a header cannot carry.
    #[error("the access token has characters that a header cannot carry")]
    AccessToken,
    /// The request cannot be made.
    #[error("the request cannot be made")]
    Request(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Core cannot be reached.
    #[error("Core cannot be reached")]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    /// Core took too long.
    #[error("Core took longer than {} s", CALL_MAX.as_secs())]
    Slow,
    /// Core refused the call.
    #[error("Core answered {call} with status {status}")]
    Status {
        /// The call's path.
        call: &'static str,
        /// The status.
        status: StatusCode,
    },
    /// Core's response broke off or is too long.
    #[error("Core's answer broke off or is too long")]
    Answer(#[from] BodyError),
    /// Core's response does not have the expected form.
    #[error("Core's answer to {call} is not of its form")]
    Form {
        /// The call's path.
        call: &'static str,
    },
    /// Core does not switch to WebSocket.
    #[error("Core does not open {call} as a WebSocket")]
    Switch {
        /// The path.
        call: &'static str,
    },
    /// Core's response has no access token.
    #[error("Core's answer to {REFRESH} has no access token")]
    NoToken,
}

impl CoreFailure {
    /// Whether another user's call would fail in the same way now.
    pub(crate) const fn is_general(&self) -> bool {
        match self {
            Self::RefreshToken(_) | Self::AccessToken | Self::Unreachable(_) | Self::Slow | Self::NoToken => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 401 | 403 | 429),
            Self::Request(_) | Self::Answer(_) | Self::Form { .. } | Self::Switch { .. } => false,
        }
    }
}

/// The message to Core about a user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Told {
    /// Connected.
    Connected,
    /// Not connected.
    Disconnected,
}

/// Core, as an API that the server calls.
pub(crate) struct CoreCalls {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    origin: Origin,
    refresh_token: SecretFile,
    access: Mutex<Option<AccessToken>>,
}

struct AccessToken {
    token: Secret<String>,
    until: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefreshRequest<'r> {
    items: [RefreshItem<'r>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefreshItem<'r> {
    refresh_token: &'r str,
}

#[derive(Deserialize)]
struct RefreshAnswer {
    responses: Vec<RefreshedToken>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefreshedToken {
    access_token: String,
}

#[derive(Serialize)]
struct ByUser<'r> {
    username: &'r Username,
}

/// One call to Core.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    name: &'static str,
    query: String,
    /// `None` for a `GET`.
    body: Option<Bytes>,
    answer_max: usize,
}

impl Call {
    /// A `POST` with this content as JSON.
    pub(crate) fn post(name: &'static str, content: &impl Serialize) -> Result<Self, CoreFailure> {
        let body = serde_json::to_vec(content).map_err(|error| CoreFailure::Request(error.into()))?;
        Ok(Self { name, query: String::new(), body: Some(body.into()), answer_max: ANSWER_MAX })
    }

    /// A `GET` with these parameters.
    pub(crate) fn get(name: &'static str, parameters: &[(&str, &str)]) -> Self {
        let mut query = String::new();
        for (index, (parameter, value)) in parameters.iter().enumerate() {
            query.push(if index == 0 { '?' } else { '&' });
            query.push_str(parameter);
            query.push('=');
            for byte in value.bytes() {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                    query.push(char::from(byte));
                } else {
                    query.push_str(&format!("%{byte:02X}"));
                }
            }
        }
        Self { name, query, body: None, answer_max: ANSWER_MAX }
    }

    /// A call whose answer may have so many bytes.
    pub(crate) fn with_answer_max(self, answer_max: usize) -> Self {
        Self { answer_max, ..self }
    }
}

impl CoreCalls {
    /// A client for Core at its origin. Trusts the system's certificate authorities, or only
    /// `authorities` if there are any.
    pub(crate) fn new(
        origin: Origin,
        refresh_token: SecretFile,
        authorities: &[CertificateDer<'static>],
    ) -> Result<Self, CoreFailure> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = if authorities.is_empty() {
            HttpsConnectorBuilder::new()
                .with_provider_and_native_roots(provider)
                .map_err(|error| CoreFailure::Request(error.into()))?
        } else {
            let mut roots = rustls::RootCertStore::empty();
            for authority in authorities {
                roots.add(authority.clone()).map_err(|error| CoreFailure::Request(error.into()))?;
            }
            let tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| CoreFailure::Request(error.into()))?
                .with_root_certificates(roots)
                .with_no_client_auth();
            HttpsConnectorBuilder::new().with_tls_config(tls)
        };
        let connector = if origin.is_https() { tls.https_only() } else { tls.https_or_http() }.enable_http1().build();
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(1)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { client, origin, refresh_token, access: Mutex::new(None) })
    }

    /// Tells Core about a user. Renews a token that Core rejects, once.
    pub(crate) async fn tell(&self, told: Told, username: &Username, now: Timestamp) -> Result<(), CoreFailure> {
        let call = match told {
            Told::Connected => APPROVE,
            Told::Disconnected => CLEAR,
        };
        self.ask(&Call::post(call, &ByUser { username })?, now).await.map(|_body| ())
    }

    /// Makes a call. Renews a token that Core rejects, once.
    pub(crate) async fn ask(&self, call: &Call, now: Timestamp) -> Result<Bytes, CoreFailure> {
        let bearer = self.bearer(now).await?;
        let first = self.send(call, Some(bearer)).await;
        if !matches!(first, Err(CoreFailure::Status { status: StatusCode::UNAUTHORIZED, .. })) {
            return first;
        }
        *self.access.lock().await = None;
        let bearer = self.bearer(now).await?;
        self.send(call, Some(bearer)).await
    }

    /// Opens a WebSocket (RFC 6455, section 4.1), and returns the access token that its first frame
    /// needs. The token is new: Core tells of an expired one only by closing.
    pub(crate) async fn open_socket(
        &self,
        path: &'static str,
        now: Timestamp,
    ) -> Result<(TokioIo<Upgraded>, Secret<String>), CoreFailure> {
        let token = self.refreshed(now).await?.token;
        let nonce: [u8; 16] = random_bytes().map_err(|error| CoreFailure::Request(error.into()))?;
        let key = STANDARD.encode(nonce);
        let request = Request::get(format!("{}{path}", self.origin.as_str()))
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key)
            .body(Full::default())
            .map_err(|error| CoreFailure::Request(error.into()))?;
        let opened = async {
            let answer = self.client.request(request).await?;
            let accept = derive_accept_key(key.as_bytes());
            let is_accepted = answer.headers().get(SEC_WEBSOCKET_ACCEPT).is_some_and(|value| value == accept.as_str());
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS || !is_accepted {
                return Err(CoreFailure::Switch { call: path });
            }
            let stream = hyper::upgrade::on(answer).await.map_err(|error| CoreFailure::Request(error.into()))?;
            Ok((TokioIo::new(stream), token))
        };
        tokio::time::timeout(CALL_MAX, opened).await.map_err(|_elapsed| CoreFailure::Slow)?
    }

    /// The header for a call, with the cached access token or a new one.
    async fn bearer(&self, now: Timestamp) -> Result<HeaderValue, CoreFailure> {
        let mut access = self.access.lock().await;
        let token = match access.take().filter(|access| now < access.until) {
            Some(token) => token,
            None => self.refreshed(now).await?,
        };
        let header = bearer_header(&token.token);
        *access = Some(token);
        header
    }

    async fn refreshed(&self, now: Timestamp) -> Result<AccessToken, CoreFailure> {
        let refresh_token = self.refresh_token.read_token().map_err(|error| CoreFailure::RefreshToken(error.into()))?;
        let request = RefreshRequest { items: [RefreshItem { refresh_token: refresh_token.expose() }] };
        let body = self.send(&Call::post(REFRESH, &request)?, None).await?;
        let answer: RefreshAnswer = serde_json::from_slice(&body).map_err(|_error| CoreFailure::NoToken)?;
        let token = answer.responses.into_iter().next().ok_or(CoreFailure::NoToken)?.access_token;
        let until = expiry(&token).unwrap_or(now.plus(LIFETIME_UNKNOWN_S)).plus(-RENEW_BEFORE_S);
        Ok(AccessToken { token: Secret::new(token), until })
    }

    async fn send(&self, call: &Call, bearer: Option<HeaderValue>) -> Result<Bytes, CoreFailure> {
        let Call { name, query, body, answer_max } = call;
        let mut request = Request::builder().uri(format!("{}{name}{query}", self.origin.as_str()));
        request = match body {
            Some(_) => request.method(Method::POST).header(CONTENT_TYPE, "application/json"),
            None => request.method(Method::GET),
        };
        let mut request = request
            .body(Full::new(body.clone().unwrap_or_default()))
            .map_err(|error| CoreFailure::Request(error.into()))?;
        if let Some(bearer) = bearer {
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let answered = async {
            let answer = self.client.request(request).await?;
            let status = answer.status();
            let body = read_body(answer.into_body(), *answer_max).await?;
            if status.is_success() { Ok(body) } else { Err(CoreFailure::Status { call: name, status }) }
        };
        tokio::time::timeout(CALL_MAX, answered).await.map_err(|_elapsed| CoreFailure::Slow)?
    }
}

fn bearer_header(token: &Secret<String>) -> Result<HeaderValue, CoreFailure> {
    let mut header =
        HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_error| CoreFailure::AccessToken)?;
    header.set_sensitive(true);
    Ok(header)
}

/// The expiry that a token names. The token is Core's, for Core: nothing is verified, and the value
/// only decides when the next token is fetched.
fn expiry(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: Timestamp,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.exp)
}
