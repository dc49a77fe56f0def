//! The behaviour of this Core with a user's signed request: the honest action or one of the attacks
//! that the page offers.

use std::collections::HashMap;

use countersign_portal::core::{Brings, JobDeed, applications};
use countersign_portal::session::{self, OPEN, Piece};
use countersign_portal::{
    Algorithm, Answer, BrowserKey, ConnectionPage, Core, Deed, Fault, Intent, IntentForwarding, malicious, now,
};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// The name that Core puts in place of the user's.
const TAKEN: &str = "taken-by-core";
/// What Core would like to run.
const EVIL_SCRIPT: &str = "touch ~/taken-by-core\n";
/// The number of a job that the user did not name.
const OTHER_JOB: &str = "4712999";

/// The behaviour of Core, chosen on the page.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum CoreBehaviour {
    /// Forwards the signed request.
    Honest,
    /// Forwards the request without the intent, which the browser deposits at the provider.
    Deposits,
    /// Sends the request twice.
    Replay,
    /// Sends another path.
    Path,
    /// Adds an item.
    Item,
    /// Signs with its own key.
    Key,
    /// Redeems one-time tokens itself.
    Token,
    /// Sends another script under the name of the application that the user chose.
    Application,
    /// Starts the user's job a second time, under another number.
    Number,
    /// Ends another job than the user named.
    Job,
    /// Its page asks the signer for something other than what it shows. Core itself forwards what
    /// was signed.
    Disguise,
}

/// The outcome of a user's request.
pub(super) struct Outcome {
    /// The response to the user.
    pub(super) answer: Answer,
    /// The attack that Core tried.
    pub(super) attempt: Option<Attempt>,
}

/// An attack of Core.
pub(super) struct Attempt {
    /// The attack, as the verb phrase of a sentence about Core.
    pub(super) what: String,
    /// The provider's response.
    pub(super) answer: Answer,
}

impl Attempt {
    /// The JSON for the page.
    pub(super) fn to_json(&self) -> Value {
        json!({"what": self.what, "refused": !self.answer.is_ok(), "answer": answer_json(&self.answer)})
    }
}

/// A response of the provider, as JSON for the page.
pub(super) fn answer_json(answer: &Answer) -> Value {
    json!({"status": answer.status, "requestId": answer.header("x-request-id"), "body": answer.json()})
}

/// Core in the name of one user, with a behaviour.
pub(super) struct SimulatedCore<'c> {
    pub(super) core: &'c Core,
    /// The same Core when it drops intents.
    pub(super) dropping: &'c Core,
    pub(super) username: &'c str,
    pub(super) behaviour: CoreBehaviour,
    /// The provider's origin, which every intent names.
    pub(super) origin: &'c str,
    /// Core's own keys, at most one for each user.
    pub(super) keys: &'c Mutex<HashMap<String, BrowserKey>>,
}

impl SimulatedCore<'_> {
    /// Performs a user's deed with this Core's behaviour. Reading stays honest, so that the page
    /// has something to show.
    pub(super) async fn perform(&self, deed: &Deed, intent: Option<&str>) -> Result<Outcome, Fault> {
        let honest = self.core.request(self.username, deed, intent)?;
        let is_reading = matches!(deed, Deed::Browse(_) | Deed::Retrieve(_));
        let changes_a_path = !is_reading && !target(deed).0.is_empty();
        match self.behaviour {
            CoreBehaviour::Deposits => {
                let answer = self.dropping.perform(self.username, deed, None).await?;
                Ok(Outcome { answer, attempt: None })
            }
            CoreBehaviour::Replay if !is_reading => {
                let answer = self.core.invoke(&honest).await?;
                let attempt = Attempt {
                    what: "sent your request a second time".to_owned(),
                    answer: self.core.invoke(&honest).await?,
                };
                Ok(Outcome { answer, attempt: Some(attempt) })
            }
            CoreBehaviour::Path if changes_a_path => {
                let (path, taken) = target(deed);
                let answer = self.core.invoke(&malicious::another_path(honest, &path, &taken)).await?;
                let attempt =
                    Attempt { what: format!("sent {taken} where you had said {path}"), answer: answer.clone() };
                Ok(Outcome { answer, attempt: Some(attempt) })
            }
            CoreBehaviour::Item if changes_a_path => {
                let (path, taken) = target(deed);
                let answer = self.core.invoke(&malicious::item_added(honest, &path, &taken)).await?;
                let attempt = Attempt { what: format!("added {taken} to your request"), answer: answer.clone() };
                Ok(Outcome { answer, attempt: Some(attempt) })
            }
            CoreBehaviour::Key if changes_a_path => {
                let answer = self.core.invoke(&honest).await?;
                Ok(Outcome { answer, attempt: Some(self.sign_itself(deed).await?) })
            }
            CoreBehaviour::Token if makes_a_token(deed) => {
                let answer = self.core.invoke(&honest).await?;
                let attempt = match token_in(&answer) {
                    Some(token) => Some(self.redeem(deed, &token).await?),
                    None => None,
                };
                Ok(Outcome { answer, attempt })
            }
            CoreBehaviour::Application if matches!(deed, Deed::StartJob { .. }) => {
                let application = honest.json().pointer("/items/0/status/resolvedApplication").cloned();
                let swapped = applications::swapped(&application.unwrap_or_default(), EVIL_SCRIPT);
                let answer = self.core.invoke(&malicious::another_application(honest, &swapped)).await?;
                let what = format!("sent the script `{}` under the name of your application", EVIL_SCRIPT.trim());
                Ok(Outcome { attempt: Some(Attempt { what, answer: answer.clone() }), answer })
            }
            CoreBehaviour::Number if matches!(deed, Deed::StartJob { .. }) => {
                let answer = self.core.invoke(&honest).await?;
                let again = malicious::another_job(honest, OTHER_JOB);
                let attempt = Attempt {
                    what: format!("started your job a second time, as job {OTHER_JOB}"),
                    answer: self.core.invoke(&again).await?,
                };
                Ok(Outcome { answer, attempt: Some(attempt) })
            }
            CoreBehaviour::Job if matches!(deed, Deed::Job(JobDeed::Terminate(_))) => {
                let answer = self.core.invoke(&malicious::another_job(honest, OTHER_JOB)).await?;
                let what = format!("named job {OTHER_JOB} where you had named yours");
                Ok(Outcome { attempt: Some(Attempt { what, answer: answer.clone() }), answer })
            }
            CoreBehaviour::Honest
            | CoreBehaviour::Disguise
            | CoreBehaviour::Application
            | CoreBehaviour::Number
            | CoreBehaviour::Job
            | CoreBehaviour::Replay
            | CoreBehaviour::Path
            | CoreBehaviour::Item
            | CoreBehaviour::Key
            | CoreBehaviour::Token => Ok(Outcome { answer: self.core.invoke(&honest).await?, attempt: None }),
        }
    }

    /// Begins a connection, and offers Core's own key if the behaviour says so. Returns the address
    /// for the browser.
    pub(super) async fn connect(&self) -> Result<(String, Option<Attempt>), Fault> {
        let redirect = self.core.connect(self.username).await?;
        if self.behaviour != CoreBehaviour::Key {
            return Ok((redirect, None));
        }
        let (_, answer) = self.offer_a_key(&redirect).await?;
        let what = "opened your connection page before you and offered a key of its own there".to_owned();
        Ok((redirect, Some(Attempt { what, answer })))
    }

    async fn sign_itself(&self, deed: &Deed) -> Result<Attempt, Fault> {
        let key = self.own_key().await?;
        let (path, taken) = target(deed);
        let deed = changed(deed, &path, &taken);
        let intent = Intent::of(self.origin, self.username, &deed, now())?.sign(&key)?;
        let request = self.core.request(self.username, &deed, Some(&intent))?;
        let what = format!("signed a request for {taken} in your name, with a key that it had made");
        Ok(Attempt { what, answer: self.core.invoke(&request).await? })
    }

    /// Redeems a token that went through Core, with a proof by Core's key. The user has not
    /// received the token yet.
    async fn redeem(&self, deed: &Deed, token: &str) -> Result<Attempt, Fault> {
        let key = self.own_key().await?;
        let piece = Piece { offset: 0, bytes: b"What Core likes.\n", total: 17 };
        let (is_file, is_terminal) =
            (matches!(deed, Deed::Upload(_, Brings::File, _)), matches!(deed, Deed::Terminal(_) | Deed::Job(_)));
        let proof = session::proof(self.origin, self.username, OPEN, token, is_file.then_some(&piece), now())?;
        let proof = proof.sign(&key)?;
        let (what, request) = if is_file {
            let request = http::Request::post(self.core.path("chunked/upload"))
                .header("chunked-upload-token", token)
                .header("chunked-upload-offset", piece.offset)
                .header("chunked-upload-total-size", piece.total)
                .header("content-digest", piece.content_digest())
                .header("ucloud-signed-intent", proof)
                .body(Full::from(piece.bytes));
            ("sent a file of its own with the token for yours", request)
        } else if matches!(deed, Deed::Download(_)) {
            let target = format!("{}?token={token}&intent={proof}", self.core.path("download"));
            ("opened your download with the token for it", http::Request::get(target).body(Full::default()))
        } else {
            let (below, name) = if is_terminal { ("websocket", "session") } else { ("upload", "token") };
            let target = format!("{}?{name}={token}&intent={proof}", self.core.path(below));
            let request = http::Request::get(target)
                .header("connection", "Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
                .body(Full::default());
            ("opened the connection itself, with the token for it", request)
        };
        let what = format!("{what}, and a proof by a key that it had made");
        Ok(Attempt { what, answer: self.core.send_http(request?).await? })
    }

    /// Core's key for this user. It is offered once, because the number of open connections is
    /// limited.
    async fn own_key(&self) -> Result<BrowserKey, Fault> {
        let mut keys = self.keys.lock().await;
        if let Some(key) = keys.get(self.username) {
            return Ok(key.clone());
        }
        let redirect = self.core.connect(self.username).await?;
        let (key, _) = self.offer_a_key(&redirect).await?;
        keys.insert(self.username.to_owned(), key.clone());
        Ok(key)
    }

    async fn offer_a_key(&self, redirect: &str) -> Result<(BrowserKey, Answer), Fault> {
        let page = ConnectionPage::open(redirect, self.core.endpoint().clone())?;
        let mut key = BrowserKey::make(Algorithm::Es256)?;
        let answer = page.offer(&key).await?;
        key.set_kid(&answer.text("kid"));
        Ok((key, answer))
    }
}

/// Whether the provider answers a deed with a one-time token.
const fn makes_a_token(deed: &Deed) -> bool {
    matches!(deed, Deed::Download(_) | Deed::Upload(..) | Deed::Terminal(_) | Deed::Job(JobDeed::Session(..)))
}

/// The token in a response, from any of its members.
fn token_in(answer: &Answer) -> Option<String> {
    let body = answer.json();
    let response = body.pointer("/responses/0")?;
    let text = |name: &str| response.get(name)?.as_str().map(str::to_owned);
    let in_endpoint = || Some(text("endpoint")?.split_once("token=")?.1.to_owned());
    text("token").or_else(|| text("sessionIdentifier")).or_else(in_endpoint)
}

/// The path of a deed, and the path that Core wants in its place.
fn target(deed: &Deed) -> (String, String) {
    let path = match deed {
        Deed::Browse(path) | Deed::Retrieve(path) => Some(path),
        Deed::CreateFolder(paths) | Deed::Trash(paths) | Deed::EmptyTrash(paths) => paths.first(),
        Deed::Move(pairs) | Deed::Copy(pairs) => pairs.first().map(|(_, to)| to),
        Deed::Download(path) | Deed::Upload(path, ..) | Deed::Terminal(path) => Some(path),
        // The page has no button for these.
        Deed::CreateDrive { .. }
        | Deed::DeleteDrives(_)
        | Deed::RenameDrive(..)
        | Deed::UploadKeys(_)
        | Deed::StartJob { .. }
        | Deed::Job(_)
        | Deed::Resource(_)
        | Deed::RelabelDrive(..)
        | Deed::PauseOrCancel(..) => None,
    };
    let path = path.cloned().unwrap_or_default();
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let taken = format!("{parent}/{TAKEN}");
    (path, taken)
}

fn changed(deed: &Deed, from: &str, to: &str) -> Deed {
    let change = |path: &String| if path == from { to.to_owned() } else { path.clone() };
    let all = |paths: &[String]| paths.iter().map(change).collect();
    let pairs = |pairs: &[(String, String)]| pairs.iter().map(|(old, new)| (old.clone(), change(new))).collect();
    match deed {
        Deed::Browse(path) => Deed::Browse(change(path)),
        Deed::Retrieve(path) => Deed::Retrieve(change(path)),
        Deed::CreateFolder(paths) => Deed::CreateFolder(all(paths)),
        Deed::Move(moved) => Deed::Move(pairs(moved)),
        Deed::Copy(copied) => Deed::Copy(pairs(copied)),
        Deed::Trash(paths) => Deed::Trash(all(paths)),
        Deed::EmptyTrash(paths) => Deed::EmptyTrash(all(paths)),
        Deed::Download(path) => Deed::Download(change(path)),
        Deed::Upload(path, brings, policy) => Deed::Upload(change(path), *brings, policy.clone()),
        Deed::Terminal(folder) => Deed::Terminal(change(folder)),
        Deed::CreateDrive { .. }
        | Deed::DeleteDrives(_)
        | Deed::RenameDrive(..)
        | Deed::UploadKeys(_)
        | Deed::StartJob { .. }
        | Deed::Job(_)
        | Deed::Resource(_)
        | Deed::RelabelDrive(..)
        | Deed::PauseOrCancel(..) => deed.clone(),
    }
}

/// Core when it drops intents; what the browser deposits has the same effect.
pub(super) fn dropping(core: Core) -> Core {
    core.with_forwarding(IntentForwarding::Dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_takes_another_path_beside_the_users() {
        let moved = Deed::move_("/home/a/x", "/home/a/y");
        let (path, taken) = target(&moved);
        assert_eq!((path.as_str(), taken.as_str()), ("/home/a/y", "/home/a/taken-by-core"));
        assert_eq!(changed(&moved, &path, &taken), Deed::move_("/home/a/x", "/home/a/taken-by-core"));
    }
}
