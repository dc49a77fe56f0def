//! The work of every proxy: a user browsing one folder, each time with a new intent. Requests are
//! rendered to bytes beforehand, so that during the measurement the load tool only copies and
//! compares.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::enrolled::Enrolled;
use crate::error::BenchError;
use crate::signer::{Algorithm, CoreSigner, UserSigner, Wish, digest_of, digest_of_strings};

pub(crate) const PROVIDER: &str = "hpc";
pub(crate) const ORIGIN: &str = "https://hpc.example.org";
pub(crate) const USERNAME: &str = "bench#0001";
pub(crate) const FOLDER: &str = "/home/docs";

/// Core, its request, and its users.
pub(crate) struct Workload {
    pub(crate) core: Rc<CoreSigner>,
    /// The user of all requests but those of [`Workload::requests`].
    pub(crate) first: Person,
    /// More users, who take turns with the first.
    pub(crate) others: Vec<Person>,
    /// How many requests of [`Workload::requests`] there were: the next is the next user's.
    taken: Cell<usize>,
    /// Core sends the same token with every request until it is about to expire.
    token: String,
    body: String,
    digest: String,
}

/// A user with a key in their browser.
pub(crate) struct Person {
    pub(crate) username: String,
    pub(crate) signer: UserSigner,
}

impl Person {
    pub(crate) fn generate(username: &str, algorithm: Algorithm) -> Result<Self, BenchError> {
        Ok(Self { username: username.to_owned(), signer: UserSigner::generate(algorithm)? })
    }

    /// The user's data at a provider.
    pub(crate) fn enrolled(&self) -> Result<Enrolled, BenchError> {
        Enrolled::new(&self.username, self.signer.key_id(), &self.signer.public_spki()?, self.signer.algorithm())
    }
}

/// A flaw of a request that every proxy must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    TokenSignature,
    IntentSignature,
    TokenAbsent,
    IntentAbsent,
}

impl Flaw {
    pub(crate) const ALL: [Self; 4] =
        [Self::TokenSignature, Self::IntentSignature, Self::TokenAbsent, Self::IntentAbsent];

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::TokenSignature => "a bad signature on Core's token",
            Self::IntentSignature => "a bad signature on the intent",
            Self::TokenAbsent => "no token of Core",
            Self::IntentAbsent => "no intent",
        }
    }
}

impl Workload {
    pub(crate) fn generate(username: &str, algorithm: Algorithm) -> Result<Self, BenchError> {
        Self::of_core(Rc::new(CoreSigner::generate()?), username, algorithm)
    }

    /// The work of that many users of the same Core.
    pub(crate) fn of_users(&self, users: usize, algorithm: Algorithm) -> Result<Self, BenchError> {
        let mut workload = Self::of_core(Rc::clone(&self.core), &self.first.username, algorithm)?;
        let others = (1..users).map(|number| Person::generate(&format!("bench{number}#0001"), algorithm));
        workload.others = others.collect::<Result<_, _>>()?;
        Ok(workload)
    }

    fn of_core(core: Rc<CoreSigner>, username: &str, algorithm: Algorithm) -> Result<Self, BenchError> {
        let token = core.token(now_s())?;
        Ok(Self {
            core,
            first: Person::generate(username, algorithm)?,
            others: Vec::new(),
            taken: Cell::new(0),
            token,
            body: browse_body().to_string(),
            digest: digest_of_strings(&BTreeMap::from([("path", Some(FOLDER))])),
        })
    }

    /// Renders this many good requests, of all users in turn from where the last ones ended, all
    /// with different intents, signed now.
    pub(crate) fn requests(&self, count: usize) -> Result<Vec<Vec<u8>>, BenchError> {
        let users = self.others.len().saturating_add(1);
        let next = self.taken.replace(self.taken.get().saturating_add(count)).checked_rem(users).unwrap_or(0);
        self.people().cycle().skip(next).take(count).map(|person| self.request_of(person)).collect()
    }

    /// All users.
    pub(crate) fn people(&self) -> impl Iterator<Item = &Person> + Clone {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// A good request, signed now.
    pub(crate) fn request_of(&self, person: &Person) -> Result<Vec<u8>, BenchError> {
        let intent = self.intent(person)?;
        Ok(self.browse(&person.username, Some(&self.token), Some(&intent)))
    }

    /// A request that is good apart from one flaw.
    pub(crate) fn flawed(&self, flaw: Flaw) -> Result<Vec<u8>, BenchError> {
        let intent = self.intent(&self.first)?;
        let (token, intent) = match flaw {
            Flaw::TokenSignature => (Some(tampered(&self.token)), Some(intent)),
            Flaw::IntentSignature => (Some(self.token.clone()), Some(tampered(&intent))),
            Flaw::TokenAbsent => (None, Some(intent)),
            Flaw::IntentAbsent => (Some(self.token.clone()), None),
        };
        Ok(self.browse(&self.first.username, token.as_deref(), intent.as_deref()))
    }

    /// Core's `init` for the first user, which starts their instance.
    pub(crate) fn init(&self) -> Vec<u8> {
        let body = json!({"username": self.first.username}).to_string();
        render("POST", "integration/init", &self.first.username, Some(&self.token), None, &body)
    }

    /// A request of the first user's for one item: what the user signs, and what Core makes of it.
    pub(crate) fn request_for(
        &self,
        call: &str,
        path: &str,
        bound: &Value,
        item: &Value,
    ) -> Result<Vec<u8>, BenchError> {
        let intent = self.sign(call, bound)?;
        let body = json!({"items": [item]}).to_string();
        Ok(render("POST", path, &self.first.username, Some(&self.token), Some(&intent), &body))
    }

    /// The first user's intent for one item of these bound parameters, signed now.
    pub(crate) fn sign(&self, call: &str, bound: &Value) -> Result<String, BenchError> {
        let (username, digest) = (&self.first.username, digest_of(bound));
        self.first.signer.intent(&Wish { audience: ORIGIN, username, call, digest: &digest }, now_s())
    }

    /// Core's token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The body of every request.
    pub(crate) fn body(&self) -> &str {
        &self.body
    }

    /// An intent for one such request, signed now.
    pub(crate) fn intent(&self, person: &Person) -> Result<String, BenchError> {
        let username = &person.username;
        let wish = Wish { audience: ORIGIN, username, call: "files.browse", digest: &self.digest };
        person.signer.intent(&wish, now_s())
    }

    /// Core's request for that user with any intent.
    pub(crate) fn with_intent(&self, username: &str, intent: &str) -> Vec<u8> {
        self.browse(username, Some(&self.token), Some(intent))
    }

    fn browse(&self, username: &str, token: Option<&str>, intent: Option<&str>) -> Vec<u8> {
        render("POST", "files/browse", username, token, intent, &self.body)
    }
}

/// A request without authentication: the table of calls.
pub(crate) fn calls() -> Vec<u8> {
    format!("GET /ucloud/{PROVIDER}/intent/calls.json HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// A stranger's deposit of an intent.
pub(crate) fn deposit(intent: &str) -> Vec<u8> {
    format!(
        "POST /ucloud/{PROVIDER}/intents HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/jwt\r\n\
         Content-Length: {}\r\n\r\n{intent}",
        intent.len()
    )
    .into_bytes()
}

/// A request as Go's client writes it.
fn render(method: &str, path: &str, username: &str, token: Option<&str>, intent: Option<&str>, body: &str) -> Vec<u8> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let intent = intent.map(|intent| format!("Ucloud-Signed-Intent: {intent}\r\n")).unwrap_or_default();
    let (length, username) = (body.len(), STANDARD.encode(username));
    format!(
        "{method} /ucloud/{PROVIDER}/{path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Go-http-client/1.1\r\n\
         Content-Length: {length}\r\nContent-Type: application/json\r\nUcloud-Username: {username}\r\n\
         {authorization}{intent}\r\n{body}"
    )
    .into_bytes()
}

/// Core's parameters for a folder that the user opened: one path, with the drive and paging that
/// Core adds.
fn browse_body() -> Value {
    json!({
        "resolvedCollection": {
            "createdAt": 1_700_000_000_000_i64, "owner": {"createdBy": "bench", "project": null}, "permissions": null,
            "specification": {
                "title": "Home", "product": {"id": "home", "category": "home", "provider": PROVIDER}, "labels": null,
            },
            "updates": null,
            "status": {"preferredDrive": false, "resolvedSupport": null, "resolvedProduct": null},
        },
        "Browse": {
            "flags": {
                "includeOthers": false, "includeUpdates": false, "includeSupport": false, "includeProduct": false,
                "filterLabels": null, "filterCreatedBy": null, "filterCreatedAfter": null, "filterCreatedBefore": null,
                "filterProvider": null, "filterProductId": null, "filterProductCategory": null,
                "hideProductId": null, "hideProductCategory": null, "hideProvider": null, "filterProviderIds": null,
                "filterIds": null, "sortBy": null, "sortDirection": null, "includePermissions": null,
                "includeTimestamps": null, "includeSizes": null, "includeUnixInfo": null, "includeMetadata": null,
                "filterByFileExtension": null, "path": FOLDER, "filterHiddenFiles": null,
            },
            "next": null, "sortBy": null, "sortDirection": null,
        },
    })
}

/// The same token with the first character of its signature changed. It remains well-formed.
pub(crate) fn tampered(token: &str) -> String {
    let Some((input, signature)) = token.rsplit_once('.') else { return String::new() };
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let rest: String = signature.chars().skip(1).collect();
    format!("{input}.{first}{rest}")
}

/// The wall clock, in whole seconds since 1970.
pub(crate) fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
