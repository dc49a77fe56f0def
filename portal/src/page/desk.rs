//! The centre's desk: a terminal for each user, as after SSH, and the gateway's decisions as they are made. UCloud's
//! page frames it and can do no more with it than show it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_portal::site::{Body, Feed, is_own, json as reply};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

use crate::house::House;
use crate::journal::Follower;
use crate::page::{Acquaintances, assets, guarded};
use crate::trouble::Trouble;

/// How often the log is looked at.
const PAUSE: Duration = Duration::from_millis(100);
/// How many pages may follow it at a time.
const FOLLOWERS_MAX: usize = 32;
/// Decisions that one page may be behind.
const BEHIND_MAX: usize = 256;

/// The page, at the centre's own origin.
pub(super) struct Desk {
    origin: String,
    portal: String,
    house: Arc<House>,
    places: Arc<Semaphore>,
}

/// A line typed into a terminal.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    r#as: String,
    line: String,
}

impl Desk {
    /// The desk of this centre; `portal` may frame it.
    pub(super) fn new(origin: String, portal: String, house: Arc<House>) -> Self {
        Self { origin, portal, house, places: Arc::new(Semaphore::new(FOLLOWERS_MAX)) }
    }

    /// Answers a browser.
    pub(super) async fn answer(&self, request: http::Request<Bytes>) -> Response<Body> {
        if !is_own(&request, &self.origin) {
            return reply(StatusCode::FORBIDDEN, &json!({"why": "this is for the page at its own origin"}));
        }
        let response = match (request.method(), request.uri().path()) {
            (&Method::GET, "/decisions") => self.decisions(),
            (&Method::GET, path) => {
                assets::of_desk(path).unwrap_or_else(|| reply(StatusCode::NOT_FOUND, &json!({"why": "Not found"})))
            }
            (&Method::POST, "/run") => self.run(request.body()).await,
            _ => reply(StatusCode::NOT_FOUND, &json!({"why": "Not found"})),
        };
        guarded(response, &Acquaintances { asks: "", frames: "'none'", framed_by: &self.portal, styles: "'self'" })
    }

    /// Every decision so far and from now on, as server-sent events.
    fn decisions(&self) -> Response<Body> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return reply(StatusCode::SERVICE_UNAVAILABLE, &json!({"why": "too many pages follow the log"}));
        };
        let (sender, receiver) = mpsc::channel(BEHIND_MAX);
        let follower = self.house.journal().follow();
        tokio::spawn(async move {
            follow(follower, &sender).await;
            drop(place);
        });
        let mut response = Response::new(Feed(receiver).boxed_unsync());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        response
    }

    /// Runs a command of `countersign` as the person whose terminal it is.
    async fn run(&self, body: &[u8]) -> Response<Body> {
        let typed: Typed = match serde_json::from_slice(body) {
            Ok(typed) => typed,
            Err(why) => return reply(StatusCode::BAD_REQUEST, &json!({"why": why.to_string()})),
        };
        match self.type_in(&typed).await {
            Ok((status, text)) => reply(StatusCode::OK, &json!({"status": status, "text": text})),
            Err(trouble) => reply(StatusCode::OK, &json!({"status": 1, "text": trouble.to_string()})),
        }
    }

    async fn type_in(&self, typed: &Typed) -> Result<(i32, String), Trouble> {
        let mut people = self.house.people().iter();
        let person = people.find(|person| person.account == typed.r#as);
        let person = person.ok_or_else(|| Trouble::new("nobody of that name has an account here"))?;
        let mut words: Vec<&str> = typed.line.split_whitespace().collect();
        match words.as_slice() {
            ["countersign", "connect", "approve", ..] => words.push("--yes"), // whoever typed it has said so
            ["countersign", "connect", "list" | "remove", ..] | ["countersign", "keys", "list" | "revoke", ..] => {}
            _ => {
                let why =
                    "this terminal knows: countersign connect approve CODE, connect list, keys list, keys revoke KID";
                return Err(Trouble::new(why));
            }
        }
        let is_approval = words.get(2) == Some(&"approve");
        let output = self.house.run_as(person, words.get(1..).unwrap_or_default()).await?;
        if is_approval && output.status.success() {
            self.house.start_instance(person)?;
        }
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code().unwrap_or(1), String::from_utf8_lossy(&said).trim_end().to_owned()))
    }
}

/// Sends news until nobody listens.
async fn follow(mut follower: Follower, sender: &mpsc::Sender<Bytes>) {
    // A first line, so that the browser knows at once that it is connected.
    let mut news = vec![Bytes::from_static(b": decisions\n\n")];
    loop {
        for event in news {
            if sender.send(event).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = sender.closed() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        news = follower.news().iter().map(|decision| Bytes::from(format!("data: {decision}\n\n"))).collect();
    }
}
