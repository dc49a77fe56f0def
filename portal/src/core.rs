//! UCloud's Core as the provider sees it: a client that calls the provider as the Go or the Kotlin
//! Core does. [`control`] has the endpoints of Core that a provider calls.
//!
//! Core repeats requests after 449 and 503 as the real ones do. Its requests are honest unless a
//! test alters them. It ends where the real Core's process ends; a test that did not expect that
//! end fails.

pub mod applications;
pub mod bodies;
pub mod control;
mod deed;
pub mod events;
mod job_deed;
mod jobs;
mod keys;
mod polls;
mod process;
mod products;
mod request;
mod resource_deed;
mod resources;
pub mod rewriting;
mod socket;
mod tasks;
mod usage;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

pub use self::control::{Control, ControlCall, Outage};
pub use self::deed::{Brings, Deed};
pub use self::job_deed::JobDeed;
pub use self::jobs::ShownJob;
pub use self::keys::{
    CORE1_LIFETIME_S, CORE2_LIFETIME_S, CoreKeys, RENEW_BELOW_S, core1_claims, core2_claims, provider_claims,
    token_header,
};
pub use self::polls::{POLLED, Polled};
pub use self::request::{Bearer, Request, username_header};
pub use self::resource_deed::{Resource, ResourceDeed};
pub use self::resources::RegisteredDrive;
pub use self::tasks::ShownTask;
pub use self::usage::{BookedUsage, Usage};

use self::process::Process;
use crate::line::Line;
use crate::{Answer, Endpoint, Fault, now};

/// How long Core waits for a provider's response.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long the Go Core sleeps between `init` and the repeated request.
pub const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How often either Core repeats a request.
const RETRIES_MAX: u32 = 5;

/// Which of UCloud's Cores this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flavour {
    /// The Go Core of today.
    Core2,
    /// The Kotlin Core until 2026.
    Core1,
}

/// Which way the intent goes that the browser gave to Core.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IntentForwarding {
    /// Core forwards the header, as the Kotlin Core did.
    Header,
    /// Core drops the header, as the Go Core does; the browser deposits the intent at the provider.
    Dropped,
}

/// The client side of Core for one provider.
#[derive(Debug)]
pub struct Core {
    keys: Arc<CoreKeys>,
    line: Line,
    flavour: Flavour,
    forwarding: IntentForwarding,
    retry_pause: Duration,
    origin: String,
    /// The current token, and its expiry in seconds since 1970.
    token: Mutex<Option<(String, i64)>>,
    /// The time of the latest poll, in seconds since 1970.
    polled_at: Mutex<Option<i64>>,
    process: Arc<Process>,
}

impl Core {
    /// Makes a Go Core that forwards intents, for the provider of `keys` at `endpoint`.
    #[must_use]
    pub fn new(keys: Arc<CoreKeys>, endpoint: Endpoint) -> Self {
        Self {
            keys,
            line: Line::new(endpoint, PATIENCE),
            flavour: Flavour::Core2,
            forwarding: IntentForwarding::Header,
            retry_pause: RETRY_PAUSE,
            origin: "https://cloud.sdu.dk".to_owned(),
            token: Mutex::new(None),
            polled_at: Mutex::new(None),
            process: Arc::default(),
        }
    }

    /// Returns this Core as the Go or the Kotlin Core.
    #[must_use]
    pub fn with_flavour(mut self, flavour: Flavour) -> Self {
        self.flavour = flavour;
        self
    }

    /// Returns this Core with the given way of forwarding intents.
    #[must_use]
    pub fn with_forwarding(mut self, forwarding: IntentForwarding) -> Self {
        self.forwarding = forwarding;
        self
    }

    /// The way in which this Core forwards intents.
    #[must_use]
    pub fn forwarding(&self) -> IntentForwarding {
        self.forwarding
    }

    /// Returns this Core with another pause before it repeats a request, so that tests need not
    /// wait.
    #[must_use]
    pub fn with_retry_pause(mut self, pause: Duration) -> Self {
        self.retry_pause = pause;
        self
    }

    /// Returns this Core with another limit for a response.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.line = self.line.with_patience(patience);
        self
    }

    /// Returns this Core in one process with `control`: both share the origin of the portal page,
    /// the resources, and the end of the process.
    #[must_use]
    pub fn with_control(mut self, control: &Control) -> Self {
        self.process = control.process();
        self.with_origin(&control.origin())
    }

    /// Returns this Core with its portal page at `origin`.
    #[must_use]
    pub fn with_origin(mut self, origin: &str) -> Self {
        origin.clone_into(&mut self.origin);
        self
    }

    /// Core's keys for this provider.
    #[must_use]
    pub fn keys(&self) -> &CoreKeys {
        &self.keys
    }

    /// The provider's id.
    #[must_use]
    pub fn provider(&self) -> &str {
        self.keys.provider()
    }

    /// The address of the provider.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.line.endpoint()
    }

    // --- The service lane ---

    /// Begins a connection and returns `redirectTo`, whose fragment contains the ticket.
    ///
    /// # Errors
    /// [`Fault::Unexpected`] if the provider refuses.
    pub async fn connect(&self, username: &str) -> Result<String, Fault> {
        let answer = self.send(&self.service("POST", "integration/connect", Some(username))?).await?;
        match answer.text("redirectTo") {
            redirect if answer.is_ok() && !redirect.is_empty() => Ok(redirect),
            _ => Err(answer.unexpected("integration/connect")),
        }
    }

    /// Asks the provider to start the user's instance. The Go Core also names the user in a header.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn init(&self, username: &str) -> Result<Answer, Fault> {
        let mut request = self.service("POST", "integration/init", Some(username))?;
        if self.flavour == Flavour::Core2 {
            request.username = Some(username.to_owned());
        }
        self.send(&request).await
    }

    /// Asks for the provider's manifest.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn retrieve_manifest(&self) -> Result<Answer, Fault> {
        self.send(&self.service("GET", "integration/retrieveManifest", None)?).await
    }

    /// Tells the provider that the user has disconnected.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn unlinked(&self, username: &str) -> Result<Answer, Fault> {
        self.send(&self.service("POST", "integration/unlinked", Some(username))?).await
    }

    /// Asks for the products of one type of resource: `jobs`, `files/collections`, …
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn retrieve_products(&self, resource: &str) -> Result<Answer, Fault> {
        self.send(&self.service("GET", &format!("{resource}/retrieveProducts"), None)?).await
    }

    /// Makes a request of Core itself, without a user. `operation` is the path after
    /// `/ucloud/{provider}/`.
    ///
    /// # Errors
    /// [`Fault::Json`] if the body cannot be written.
    pub fn service(&self, method: &str, operation: &str, about: Option<&str>) -> Result<Request, Fault> {
        let body = match about {
            None => None,
            Some(username) => Some(Bytes::from(serde_json::to_vec(&bodies::Username { username })?)),
        };
        Ok(Request::new(method, &self.path(operation), body))
    }

    // --- The user lane ---

    /// Makes the request for a user's deed, with the intent that the browser sent along.
    ///
    /// # Errors
    /// [`Fault::Json`] if the body cannot be written.
    pub fn request(&self, username: &str, deed: &Deed, intent: Option<&str>) -> Result<Request, Fault> {
        let body = deed.body(username, self.provider(), self.flavour)?;
        let mut request = Request::new(deed.method(), &self.path(deed.operation()), Some(body));
        request.username = Some(username.to_owned());
        request.intent = intent.map(str::to_owned);
        Ok(request)
    }

    /// Sends the request for a user's deed as Core does: [`Core::request`], then [`Core::invoke`].
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn perform(&self, username: &str, deed: &Deed, intent: Option<&str>) -> Result<Answer, Fault> {
        self.invoke(&self.request(username, deed, intent)?).await
    }

    /// Sends any call once. `operation` is the path after `/ucloud/{provider}/`.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn call(
        &self,
        method: &str,
        operation: &str,
        username: Option<&str>,
        intent: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<Answer, Fault> {
        let mut request = Request::new(method, &self.path(operation), body.map(Bytes::copy_from_slice));
        request.username = username.map(str::to_owned);
        request.intent = intent.map(str::to_owned);
        self.send(&request).await
    }

    /// Sends a request. After 449 or 503 for a user, it calls `init` and repeats the request, as
    /// often and with the same pauses as this Core does.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives, or if the provider refuses the Kotlin Core's `init`.
    pub async fn invoke(&self, request: &Request) -> Result<Answer, Fault> {
        let mut answer = self.send(request).await?;
        let Some(username) = request.username.as_deref() else {
            return Ok(answer);
        };
        let repeats = match self.flavour {
            Flavour::Core2 => RETRIES_MAX,
            Flavour::Core1 => RETRIES_MAX.saturating_sub(1),
        };
        for attempt in 0..repeats {
            if !matches!(answer.status, 449 | 503) {
                break;
            }
            let initialised = self.init(username).await;
            match self.flavour {
                // The Go Core ignores the outcome of `init`.
                Flavour::Core2 => tokio::time::sleep(self.retry_pause).await,
                Flavour::Core1 => {
                    let initialised = initialised?;
                    if !initialised.is_ok() {
                        return Err(initialised.unexpected("integration/init"));
                    }
                    let pause = self.retry_pause.saturating_mul(2) / 5;
                    tokio::time::sleep(pause + self.retry_pause.saturating_mul(attempt)).await;
                }
            }
            answer = self.send(request).await?;
        }
        Ok(answer)
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn send(&self, request: &Request) -> Result<Answer, Fault> {
        self.check_alive()?;
        let bearer = match &request.bearer {
            Bearer::Core => Some(self.token()?),
            Bearer::Given(token) => Some(token.clone()),
            Bearer::Absent => None,
        };
        let intent = match self.forwarding {
            IntentForwarding::Header => request.intent.as_deref(),
            IntentForwarding::Dropped => None,
        };
        let answer = self.line.send(request.to_http(self.flavour, bearer.as_deref(), intent)?).await?;
        self.note_resources(request, &answer);
        Ok(answer)
    }

    /// Returns and clears the reason why Core's process ended. After that, dropping it does not
    /// panic.
    #[must_use]
    pub fn take_death(&self) -> Option<&'static str> {
        self.process.take_death()
    }

    fn check_alive(&self) -> Result<(), Fault> {
        self.process.death().map_or(Ok(()), |why| Err(Fault::Died(why)))
    }

    fn die(&self, why: &'static str) -> Fault {
        Fault::Died(self.process.end(why))
    }

    // --- What the browser does while Core's page is open ---

    /// Deposits an intent at the provider as the browser does when Core drops the header.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn deposit(&self, intent: &str) -> Result<Answer, Fault> {
        self.deposit_from(&self.origin, intent).await
    }

    /// As [`Core::deposit`], from a page of `origin`.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn deposit_from(&self, origin: &str, intent: &str) -> Result<Answer, Fault> {
        let request = http::Request::post(self.path("intents"))
            .header("content-type", "application/jwt")
            .header("origin", origin)
            .header("accept", "*/*")
            .body(Bytes::copy_from_slice(intent.as_bytes()).into())?;
        self.line.send(request).await
    }

    /// Sends a request that Core itself would not write: a browser's preflight, an attacker's
    /// request.
    ///
    /// # Errors
    /// [`Fault`] if no response arrives.
    pub async fn send_http(&self, request: http::Request<http_body_util::Full<Bytes>>) -> Result<Answer, Fault> {
        self.line.send(request).await
    }

    /// `/ucloud/{provider}/{operation}`.
    #[must_use]
    pub fn path(&self, operation: &str) -> String {
        format!("/ucloud/{}/{operation}", self.provider())
    }

    /// The current token. Core renews it when less than three minutes remain.
    ///
    /// # Errors
    /// [`Fault::Key`] if signing fails.
    pub fn token(&self) -> Result<String, Fault> {
        let now = now();
        let mut held = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, _)) = held.as_ref().filter(|(_, end)| end.saturating_sub(now) >= RENEW_BELOW_S) {
            return Ok(token.clone());
        }
        let (token, lifetime_s) = match self.flavour {
            Flavour::Core2 => (self.keys.core2_token(now)?, CORE2_LIFETIME_S),
            Flavour::Core1 => (self.keys.core1_token(now)?, CORE1_LIFETIME_S),
        };
        *held = Some((token.clone(), now.saturating_add(lifetime_s)));
        Ok(token)
    }
}

/// # Panics
/// If Core's process has ended and [`Core::take_death`] was not called.
impl Drop for Core {
    #[expect(clippy::panic, reason = "a test in which Core's process ended has failed, whatever else it saw")]
    fn drop(&mut self) {
        if let Some(why) = self.take_death().filter(|_| !std::thread::panicking()) {
            panic!("the provider ended Core's process: {why}");
        }
    }
}
