//! The user side of the stand-in Core: the calls of UCloud's real page at `/api` and `/auth`, and
//! how Core turns each request into requests to the provider. It reads no intent, as the unmodified
//! Core: a browser that signs has to deposit.

mod held;
mod resources;
mod sockets;

use std::sync::{Arc, Weak};

use bytes::Bytes;
use countersign_portal::core::Control;
use countersign_portal::site::{Body, json as reply};
use countersign_portal::{Answer, Core, CoreKeys, Deed, Fault, Request};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};

use self::held::Held;
use crate::page::core_behaviour::dropping;
use crate::program_error::ProgramError;

/// The content type of Core's answers.
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// The user API.
pub(super) struct UserApi {
    core: Core,
    control: Weak<Control>,
    keys: Arc<CoreKeys>,
    provider_origin: String,
    usernames: Vec<&'static str>,
    held: Held,
}

/// The user of a request, and the project that the user acts in.
struct Actor {
    username: String,
    project: Option<String>,
}

/// Core refuses a request by itself.
struct Refused(StatusCode, String);

/// The parameters of a query, the first of each name.
struct Query(Map<String, Value>);

type Answered = Result<Response<Body>, Refused>;

impl Refused {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self(status, why.into())
    }

    fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found")
    }

    fn malformed() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "The request is malformed")
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        let why = ProgramError::with_causes("the provider does not answer", &fault);
        Self::new(StatusCode::BAD_GATEWAY, why.to_string())
    }
}

impl Query {
    fn parse(query: &str) -> Self {
        let mut members = Map::new();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            members.entry(name).or_insert_with(|| decoded(value).into());
        }
        Self(members)
    }

    fn text(&self, name: &str) -> Result<&str, Refused> {
        self.0.get(name).and_then(Value::as_str).ok_or_else(Refused::malformed)
    }
}

impl UserApi {
    /// The API of this Core, for these users.
    pub(super) fn new(
        core: Core,
        keys: Arc<CoreKeys>,
        control: Weak<Control>,
        provider_origin: String,
        usernames: Vec<&'static str>,
    ) -> Self {
        Self { core: dropping(core), control, keys, provider_origin, usernames, held: Held::default() }
    }

    /// Whether a path belongs to the API.
    pub(super) fn has(path: &str) -> bool {
        path.starts_with("/api/") || path.starts_with("/auth/")
    }

    /// Answers a request of the page.
    pub(super) async fn answer(self: &Arc<Self>, mut request: http::Request<Bytes>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let answered = match path.strip_prefix("/auth/") {
            Some(path) => self.authenticate(path, &request),
            None if request.headers().contains_key("sec-websocket-key") => self.upgrade(&path, &mut request),
            None => match self.actor(request.headers()) {
                Some(actor) => self.call(&actor, &request).await,
                None => Err(Refused::new(StatusCode::UNAUTHORIZED, "Unauthorized")),
            },
        };
        let mut response = answered.unwrap_or_else(|Refused(status, why)| reply(status, &json!({ "why": why })));
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(http::header::CONTENT_TYPE, JSON);
        }
        response
    }

    /// The login of the stand-in, and the refresh that UCloud's page calls before a token ends.
    fn authenticate(&self, path: &str, request: &http::Request<Bytes>) -> Answered {
        let username = match path {
            "login" => text(&body_of(request), "/username"),
            // The real page has a cookie too.
            "refresh/web" => request.headers().get("x-csrftoken").and_then(|value| value.to_str().ok()).map(decoded),
            _ => return Err(Refused::not_found()),
        };
        let known = username.filter(|name| self.usernames.contains(&name.as_str()));
        let username = known.ok_or_else(|| Refused::new(StatusCode::UNAUTHORIZED, "Unauthorized"))?;
        let token = self.held.login(&self.keys, &username)?;
        Ok(ok(&json!({"accessToken": token, "csrfToken": username})))
    }

    fn actor(&self, headers: &HeaderMap) -> Option<Actor> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let username = self.held.user(header("authorization")?.strip_prefix("Bearer ")?)?;
        Some(Actor { username, project: header("project").map(str::to_owned) })
    }

    async fn call(&self, actor: &Actor, request: &http::Request<Bytes>) -> Answered {
        let body = body_of(request);
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let path = request.uri().path().strip_prefix("/api/").unwrap_or_default();
        match (request.method().as_str(), path) {
            ("GET", "files/browse") => {
                let path = query.text("path")?;
                self.resolved(actor, path)?;
                self.deed(actor, &Deed::browse(path)).await
            }
            ("GET", "files/retrieve") => {
                let id = query.text("id")?;
                self.resolved(actor, id)?;
                self.deed(actor, &Deed::retrieve(id)).await
            }
            ("POST", "files/folder") => self.files(actor, path, &body, &["id", "conflictPolicy"]).await,
            ("POST", "files/move" | "files/copy") => {
                self.files(actor, path, &body, &["oldId", "newId", "conflictPolicy"]).await
            }
            ("POST", "files/trash" | "files/emptyTrash" | "files/download") => {
                self.files(actor, path, &body, &["id"]).await
            }
            ("POST", "files/upload") => {
                self.files(actor, path, &body, &["id", "type", "supportedProtocols", "conflictPolicy"]).await
            }
            ("POST", "jobs/openTerminalInFolder") => {
                let items = items(&body)?.iter().map(|item| picked(item, &["folder"]));
                self.sessions(actor, path, items.collect()).await
            }
            ("GET", "providers/integration/browse") => Ok(ok(&json!({"items": [{
                "provider": self.core.provider(), "providerTitle": self.core.provider(),
                "connected": self.is_connected(actor), "requiresMessageSigning": false,
            }], "itemsPerPage": 250, "next": null}))),
            ("POST", "providers/integration/connect") => self.connect(actor, &body).await,
            ("POST", "providers/integration/clearConnection") => {
                self.passed_on(&self.core.unlinked(&actor.username).await?)
            }
            (method, path) => self.resource(actor, method, path, &query, &body).await,
        }
    }

    async fn connect(&self, actor: &Actor, body: &Value) -> Answered {
        if text(body, "/provider").as_deref() != Some(self.core.provider()) {
            return Err(Refused::not_found());
        }
        if self.is_connected(actor) {
            return Err(Refused::new(StatusCode::FORBIDDEN, "You are already connected to this provider"));
        }
        Ok(ok(&json!({"redirectTo": self.core.connect(&actor.username).await?})))
    }

    /// A bulk request about files: Core groups the items by provider, and this stand-in has one.
    async fn files(&self, actor: &Actor, operation: &str, body: &Value, members: &[&str]) -> Answered {
        let whole = |item: &Value| {
            let mut made = picked(item, members);
            for (member, resolved) in
                [("id", "resolvedCollection"), ("oldId", "resolvedOldCollection"), ("newId", "resolvedNewCollection")]
            {
                if members.contains(&member) {
                    let path = text(item, &format!("/{member}")).ok_or_else(Refused::malformed)?;
                    if let Some(made) = made.as_object_mut() {
                        made.insert(resolved.to_owned(), self.resolved(actor, &path)?);
                    }
                }
            }
            Ok(made)
        };
        let items = items(body)?.iter().map(whole).collect::<Result<Vec<_>, Refused>>()?;
        self.passed_on(&self.bulk(actor, "POST", operation, &items).await?)
    }

    /// A bulk request for sessions, whose answers Core wraps.
    async fn sessions(&self, actor: &Actor, operation: &str, items: Vec<Value>) -> Answered {
        let answer = self.bulk(actor, "POST", operation, &items).await?;
        if !answer.is_ok() {
            return self.passed_on(&answer);
        }
        let answered = answer.json();
        let wrapped = answered.pointer("/responses").and_then(Value::as_array).into_iter().flatten().map(|session| {
            let named = text(session, "/domainOverride").filter(|domain| !domain.is_empty());
            let domain = named.unwrap_or_else(|| self.provider_origin.clone());
            json!({"providerDomain": domain, "providerId": self.core.provider(), "session": session})
        });
        Ok(ok(&json!({"responses": wrapped.collect::<Vec<_>>()})))
    }

    async fn bulk(&self, actor: &Actor, method: &str, operation: &str, items: &[Value]) -> Result<Answer, Fault> {
        let mut request = Request::new(method, &self.core.path(operation), None).with_body(&json!({"items": items}));
        request.username = Some(actor.username.clone());
        self.core.invoke(&request).await
    }

    async fn deed(&self, actor: &Actor, deed: &Deed) -> Answered {
        self.passed_on(&self.core.perform(&actor.username, deed, None).await?)
    }

    /// The provider's answer, as Core passes it on.
    #[expect(clippy::unused_self, reason = "the other answers are made by methods too")]
    fn passed_on(&self, answer: &Answer) -> Answered {
        let status = StatusCode::from_u16(answer.status).map_err(|_| Refused::malformed())?;
        Ok(reply(status, &answer.json()))
    }

    fn is_connected(&self, actor: &Actor) -> bool {
        self.control.upgrade().is_some_and(|control| control.is_connected(&actor.username))
    }
}

/// The members of an item that Core passes on.
fn picked(item: &Value, members: &[&str]) -> Value {
    members.iter().filter_map(|name| Some(((*name).to_owned(), item.get(name)?.clone()))).collect::<Map<_, _>>().into()
}

fn items(body: &Value) -> Result<&Vec<Value>, Refused> {
    body.get("items").and_then(Value::as_array).ok_or_else(Refused::malformed)
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn body_of(request: &http::Request<Bytes>) -> Value {
    serde_json::from_slice(request.body()).unwrap_or(Value::Null)
}

fn ok(body: &Value) -> Response<Body> {
    reply(StatusCode::OK, body)
}

/// A value of a query: `+` and percent-encoding.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&hex, 16).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
