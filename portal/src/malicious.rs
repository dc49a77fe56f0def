//! The attacks of a taken-over Core, of another provider, or of a stranger.
//!
//! Each attack is a function from an honest value to one that must be refused. The tables
//! ([`intents`], [`tokens`], [`offers`]) name theirs after the verifier's checklist: `v05_…` is its
//! line V05.

pub mod intents;
pub mod offers;
pub mod tokens;

use serde_json::{Value, json};

use crate::{Fault, Intent, Request, jws};

/// An altered JWS, JWK or request, with a name from the checklist.
#[derive(Clone, Debug)]
pub struct Altered<T> {
    /// For example `v05_claim_twice`.
    pub name: String,
    /// The value that must be refused.
    pub it: T,
}

impl<T> Altered<T> {
    pub(crate) fn new(name: impl Into<String>, it: T) -> Self {
        Self { name: name.into(), it }
    }
}

/// Replaces `from` by `to` in the body and keeps the signature.
#[must_use]
pub fn another_path(request: Request, from: &str, to: &str) -> Request {
    request.altered(|body| replace(body, from, to))
}

fn replace(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, from, to)),
        Value::Object(members) => members.values_mut().for_each(|member| replace(member, from, to)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Sends another application under the name that the user signed.
#[must_use]
pub fn another_application(request: Request, application: &Value) -> Request {
    request.altered(|body| {
        if let Some(place) = body.pointer_mut("/items/0/status/resolvedApplication") {
            place.clone_from(application);
        }
    })
}

/// Sends a job under another number of Core.
#[must_use]
pub fn another_job(request: Request, number: &str) -> Request {
    request.altered(|body| {
        for pointer in ["/items/0/id", "/items/0/job/id"] {
            if let Some(place) = body.pointer_mut(pointer) {
                *place = json!(number);
            }
        }
    })
}

/// Adds an item that the user did not sign: the first one, with `from` replaced by `to`.
#[must_use]
pub fn item_added(request: Request, from: &str, to: &str) -> Request {
    request.altered(|body| {
        if let Some(items) = body.get_mut("items").and_then(Value::as_array_mut)
            && let Some(mut added) = items.first().cloned()
        {
            replace(&mut added, from, to);
            items.push(added);
        }
    })
}

/// Repeats an item: one signed digest must not cover two items.
#[must_use]
pub fn item_repeated(request: Request) -> Request {
    item_added(request, "", "")
}

/// Adds a member that Core must not add.
#[must_use]
pub fn member_added(request: Request) -> Request {
    request.altered(|body| {
        let item = match body.get_mut("items").and_then(Value::as_array_mut) {
            Some(items) => items.first_mut(),
            None => Some(body),
        };
        if let Some(members) = item.and_then(Value::as_object_mut) {
            members.insert("recursive".to_owned(), json!(true));
        }
    })
}

/// Sends one user's intent in the name of another user.
#[must_use]
pub fn another_user(mut request: Request, username: &str) -> Request {
    request.username = Some(username.to_owned());
    request
}

/// Sends the request of a user without the user's intent.
#[must_use]
pub fn without_intent(mut request: Request) -> Request {
    request.intent = None;
    request
}

/// Sends the request with another intent.
#[must_use]
pub fn with_intent(mut request: Request, intent: &str) -> Request {
    request.intent = Some(intent.to_owned());
    request
}

/// Sends two intents in one request, equal or different.
#[must_use]
pub fn two_intents(request: Request, second: &str) -> Request {
    request.with_header("ucloud-signed-intent", second)
}

/// An intent that the user signed for another provider, which passes it on.
#[must_use]
pub fn for_another_provider(mut intent: Intent) -> Intent {
    "https://other.example.org".clone_into(&mut intent.aud);
    intent
}

/// An intent that the user signed, kept until it expired.
#[must_use]
pub fn expired(mut intent: Intent, now: i64) -> Intent {
    intent.iat = now.saturating_sub(32);
    intent.exp = now.saturating_sub(2);
    intent
}

/// An intent signed on a clock that is ahead, or stored for later use.
#[must_use]
pub fn from_the_future(mut intent: Intent, now: i64) -> Intent {
    intent.iat = now.saturating_add(3600);
    intent.exp = now.saturating_add(3630);
    intent
}

/// Changes a claim and keeps the old signature.
///
/// # Errors
/// [`Fault`] if `intent` is not a JWS with JSON.
pub fn claim_altered(intent: &str, claim: &str, value: Value) -> Result<String, Fault> {
    let (_, mut claims) = jws::read(intent)?;
    if let Some(members) = claims.as_object_mut() {
        members.insert(claim.to_owned(), value);
    }
    let mut parts: Vec<String> = intent.split('.').map(str::to_owned).collect();
    if let Some(payload) = parts.get_mut(1) {
        *payload = jws::base64url(claims.to_string().as_bytes());
    }
    Ok(parts.join("."))
}
