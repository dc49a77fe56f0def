//! The centre's desk: a terminal for each user, as after SSH, and the gateway's decisions as they
//! appear. UCloud's page can show it in a frame and cannot read or control it.

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

use crate::demo_provider::DemoProvider;
use crate::journal::Follower;
use crate::page::console::Console;
use crate::page::{PageOrigins, assets, with_security_headers};
use crate::program_error::ProgramError;

/// The pause between two reads of the log.
const PAUSE: Duration = Duration::from_millis(100);
/// Maximum of event streams at a time.
const FOLLOWERS_MAX: usize = 32;
/// How many events a page may lag behind.
const BEHIND_MAX: usize = 256;

/// The page, at the centre's own origin.
pub(super) struct Desk {
    origin: String,
    portal: String,
    demo_provider: Arc<DemoProvider>,
    places: Arc<Semaphore>,
    console: Console,
}

/// A command typed into a terminal.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    r#as: String,
    line: String,
}

/// A line typed in answer to a command's question.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    command: u64,
    line: String,
}

impl Desk {
    /// Makes the desk of this centre. The origin `portal` may show it in a frame.
    pub(super) fn new(origin: String, portal: String, demo_provider: Arc<DemoProvider>) -> Self {
        let places = Arc::new(Semaphore::new(FOLLOWERS_MAX));
        Self { origin, portal, demo_provider, places, console: Console::default() }
    }

    /// Answers a browser's request.
    pub(super) async fn answer(&self, request: http::Request<Bytes>) -> Response<Body> {
        if !is_own(&request, &self.origin) {
            return reply(StatusCode::FORBIDDEN, &json!({"why": "this is for the page at its own origin"}));
        }
        let response = match (request.method(), request.uri().path()) {
            (&Method::GET, "/decisions") => self.decisions(),
            (&Method::GET, "/said") => self.said(request.uri().query().unwrap_or_default()),
            (&Method::GET, path) => {
                assets::of_desk(path).unwrap_or_else(|| reply(StatusCode::NOT_FOUND, &json!({"why": "Not found"})))
            }
            (&Method::POST, "/run") => self.run(request.body()),
            (&Method::POST, "/answer") => self.answer_command(request.body()).await,
            _ => reply(StatusCode::NOT_FOUND, &json!({"why": "Not found"})),
        };
        with_security_headers(
            response,
            &PageOrigins { asks: "", frames: "'none'", framed_by: &self.portal, styles: "'self'" },
        )
    }

    /// Sends every decision, past and future, as server-sent events.
    fn decisions(&self) -> Response<Body> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return reply(StatusCode::SERVICE_UNAVAILABLE, &json!({"why": "too many pages follow the log"}));
        };
        let (sender, receiver) = mpsc::channel(BEHIND_MAX);
        let follower = self.demo_provider.journal().follow();
        tokio::spawn(async move {
            follow(follower, &sender).await;
            drop(place);
        });
        stream(receiver)
    }

    /// Sends a command's output, from its beginning to its end, as server-sent events.
    fn said(&self, query: &str) -> Response<Body> {
        let number = query.strip_prefix("command=").and_then(|number| number.parse().ok());
        let said = number.and_then(|number| self.console.said(number).ok());
        let (Some(mut said), Ok(place)) = (said, Arc::clone(&self.places).try_acquire_owned()) else {
            return reply(StatusCode::NOT_FOUND, &json!({"why": "this command has ended"}));
        };
        let (sender, receiver) = mpsc::channel(BEHIND_MAX);
        tokio::spawn(async move {
            let _place = place;
            loop {
                let now = said.borrow_and_update().clone();
                let event = json!({"text": now.text, "status": now.status});
                let is_sent = sender.send(Bytes::from(format!("data: {event}\n\n"))).await.is_ok();
                if !is_sent || now.status.is_some() || said.changed().await.is_err() {
                    return;
                }
            }
        });
        stream(receiver)
    }

    /// Starts a command of `countersign` as the person of the terminal.
    fn run(&self, body: &[u8]) -> Response<Body> {
        let started = serde_json::from_slice(body)
            .map_err(|why| ProgramError::new(why.to_string()))
            .and_then(|typed| self.start(&typed));
        match started {
            Ok(number) => reply(StatusCode::OK, &json!({"command": number})),
            Err(error) => reply(StatusCode::BAD_REQUEST, &json!({"why": error.to_string()})),
        }
    }

    fn start(&self, typed: &Typed) -> Result<u64, ProgramError> {
        let mut people = self.demo_provider.people().iter();
        let person = people.find(|person| person.account == typed.r#as);
        let person = person.ok_or_else(|| ProgramError::new("there is no account of this name here"))?.clone();
        let words: Vec<&str> = typed.line.split_whitespace().collect();
        let Some((_, arguments)) = words.split_first().filter(|_| is_offered(&words)) else {
            return Err(ProgramError::new(format!("This terminal runs only: {}", OFFERED.join(", "))));
        };
        let command = self.demo_provider.command_as(&person, arguments);
        let (demo_provider, is_approval) = (Arc::clone(&self.demo_provider), words.get(2) == Some(&"approve"));
        self.console.start(&command, move |status| {
            if is_approval && status == 0 {
                // The page reports a failure itself: it waits for the instance.
                let _no_instance = demo_provider.start_instance(&person);
            }
        })
    }

    /// Types an answer into a command.
    async fn answer_command(&self, body: &[u8]) -> Response<Body> {
        let typed = match serde_json::from_slice::<Answered>(body) {
            Ok(Answered { command, line }) => self.console.type_in(command, &line).await,
            Err(why) => Err(ProgramError::new(why.to_string())),
        };
        match typed {
            Ok(()) => reply(StatusCode::OK, &json!({})),
            Err(error) => reply(StatusCode::BAD_REQUEST, &json!({"why": error.to_string()})),
        }
    }
}

/// The commands that the terminal runs. It is not a shell. With a shared account, a shell would
/// give every local account that finds the port the account that started the demo.
const OFFERED: [&str; 6] = [
    "countersign connect approve CODE",
    "countersign connect start USERNAME",
    "countersign connect list",
    "countersign connect remove",
    "countersign keys list",
    "countersign keys revoke KID",
];

fn is_offered(words: &[&str]) -> bool {
    let begins = |offered: &&str| offered.split(' ').take(3).eq(words.iter().take(3).copied());
    OFFERED.iter().any(begins)
}

/// A response with server-sent events.
fn stream(receiver: mpsc::Receiver<Bytes>) -> Response<Body> {
    let mut response = Response::new(Feed(receiver).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

/// Sends new decisions until the receiver is closed.
async fn follow(mut follower: Follower, sender: &mpsc::Sender<Bytes>) {
    // A first line tells the browser at once that it is connected.
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
