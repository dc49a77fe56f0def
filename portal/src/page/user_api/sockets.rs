//! The WebSockets of UCloud's page to Core: a search, the log of a job, and the stream of tasks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_portal::site::Body;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Response, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Actor, Answered, Refused, UserApi, ok, text};

/// How often the stream of tasks looks for changes.
const LOOK_EVERY: Duration = Duration::from_millis(200);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

#[derive(Clone, Copy)]
enum Purpose {
    Search,
    Log,
    Tasks,
}

impl UserApi {
    /// Opens a WebSocket. Every page may open it; the first message has the token.
    pub(super) fn upgrade(self: &Arc<Self>, path: &str, request: &mut http::Request<Bytes>) -> Answered {
        let purpose = match path {
            "/api/files" => Purpose::Search,
            "/api/jobs" => Purpose::Log,
            "/api/tasks" => Purpose::Tasks,
            _ => return Err(Refused::not_found()),
        };
        let key = request.headers().get("sec-websocket-key").map(|key| derive_accept_key(key.as_bytes()));
        let upgrading = hyper::upgrade::on(request);
        let api = Arc::clone(self);
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrading.await {
                let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
                api.serve(purpose, &mut socket).await;
                let _page_may_have_gone = socket.close(None).await;
            }
        });
        let mut answer: Response<Body> = ok(&Value::Null);
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *answer.body_mut() = Body::default();
        *answer.headers_mut() = [
            ("connection", "upgrade".to_owned()),
            ("upgrade", "websocket".to_owned()),
            ("sec-websocket-accept", key.unwrap_or_default()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
        .collect();
        Ok(answer)
    }

    async fn serve(&self, purpose: Purpose, socket: &mut Socket) {
        let Some(first) = next_text(socket).await else { return };
        let first: Value = serde_json::from_str(&first).unwrap_or_default();
        let bearer = text(&first, "/bearer").unwrap_or_default();
        let Some(username) = self.held.user(&bearer) else { return };
        let actor = Actor { username, project: text(&first, "/project") };
        let stream = text(&first, "/streamId").unwrap_or_default();
        match purpose {
            Purpose::Search => _ = self.search(&actor, &stream, &first, socket).await,
            Purpose::Log => _ = self.follow(&actor, &stream, &first, socket).await,
            Purpose::Tasks => _ = self.tasks(&actor, &stream, socket).await,
        }
    }

    /// A search: Core resolves the drive, and forwards each batch.
    async fn search(&self, actor: &Actor, stream: &str, first: &Value, socket: &mut Socket) -> Option<()> {
        let folder = text(first, "/payload/currentFolder")?;
        let drive = self.resolved(actor, &folder).ok()?;
        let payload = json!({
            "query": text(first, "/payload/query")?.trim(), "owner": drive.get("owner"), "flags": {},
            "category": {"name": drive.pointer("/specification/product/category"), "provider": self.core.provider()},
            "currentFolder": folder,
        });
        let provider = self.core.search_socket(&actor.username).await.ok()?;
        self.relay("files", "streamingSearch", &payload, provider, stream, socket).await
    }

    /// A job: what it is, then its log from the provider, and each change of which Core is told.
    /// Ends when the provider ends the log.
    async fn follow(&self, actor: &Actor, stream: &str, first: &Value, socket: &mut Socket) -> Option<()> {
        let id = text(first, "/payload/id")?;
        let job = self.job(actor, &id).ok()?;
        let mut told = news_of(&job);
        say(socket, &message(stream, &json!({"initialJob": job}))).await?;
        let provider = self.core.follow_socket(&actor.username).await.ok()?;
        let mut provider = WebSocketStream::from_raw_socket(provider, Role::Client, None).await;
        let call = format!("jobs.provider.{}.follow", self.core.provider());
        let asked = json!({"call": call, "streamId": "0", "payload": {"type": "init", "job": job}});
        provider.send(Message::text(asked.to_string())).await.ok()?;
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut has_ended = false;
        while !has_ended {
            tokio::select! {
                answer = provider.next() => {
                    let answer = answer.and_then(Result::ok);
                    has_ended = answer.is_none();
                    let answer = answer.and_then(|answer| answer.to_text().ok().map(str::to_owned)).unwrap_or_default();
                    let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
                    if let Some(log) = answer.get("payload").filter(|payload| payload.get("rank").is_some()) {
                        say(socket, &message(stream, &json!({"log": [log]}))).await?;
                    }
                }
                _now = look.tick() => {}
                of_page = socket.next() => { of_page?.ok()?; }
            }
            let news = news_of(&self.job(actor, &id).ok()?);
            if news != told {
                say(socket, &message(stream, &news)).await?;
                told = news;
            }
        }
        Some(())
    }

    /// Sends one call to the provider, and passes on the payload of each answer until either side
    /// closes.
    async fn relay(
        &self,
        resource: &str,
        name: &str,
        payload: &Value,
        provider: Box<dyn countersign_portal::line::Stream>,
        stream: &str,
        socket: &mut Socket,
    ) -> Option<()> {
        let call = format!("{resource}.provider.{}.{name}", self.core.provider());
        let mut provider = WebSocketStream::from_raw_socket(provider, Role::Client, None).await;
        let asked = json!({"call": call, "streamId": "0", "payload": payload});
        provider.send(Message::text(asked.to_string())).await.ok()?;
        loop {
            tokio::select! {
                answer = provider.next() => {
                    let answer: Value = serde_json::from_str(answer?.ok()?.to_text().ok()?).unwrap_or_default();
                    let payload = answer.get("payload").cloned().unwrap_or_default();
                    say(socket, &message(stream, &payload)).await?;
                }
                of_page = socket.next() => { of_page?.ok()?; }
            }
        }
    }

    /// The stream of tasks: the page says that it is ready, and gets each task that changed.
    async fn tasks(&self, actor: &Actor, stream: &str, socket: &mut Socket) -> Option<()> {
        say(socket, &json!({"type": "response", "streamId": stream, "status": 200, "payload": {}})).await?;
        while next_text(socket).await? != "READY" {}
        let mut told: Vec<Value> = Vec::new();
        loop {
            let tasks = self.control.upgrade()?.tasks();
            let theirs = tasks.iter().filter(|task| task.user == actor.username).map(|task| {
                json!({
                    "taskId": task.id, "provider": self.core.provider(), "createdBy": task.user,
                    "status": {
                        "title": task.title, "body": task.body, "state": task.states.last(), "progress": task.progress,
                        "progressPercentage": task.percentage,
                    },
                    "specification": {"canPause": true, "canCancel": true},
                })
            });
            let theirs: Vec<Value> = theirs.collect();
            let news = theirs.iter().filter(|task| !told.contains(task));
            let news: Vec<Value> = news.map(|task| json!({"type": "TASK", "task": task})).collect();
            if !news.is_empty() {
                say(socket, &json!({"messages": news})).await?;
            }
            told = theirs;
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                of_page = socket.next() => { of_page?.ok()?; }
            }
        }
    }
}

/// What Core tells a page that follows a job, when it changes.
fn news_of(job: &Value) -> Value {
    json!({"newStatus": job.get("status"), "updates": job.get("updates")})
}

/// A message of Core to its page.
fn message(stream: &str, payload: &Value) -> Value {
    json!({"type": "message", "streamId": stream, "payload": payload})
}

async fn say(socket: &mut Socket, message: &Value) -> Option<()> {
    socket.send(Message::text(message.to_string())).await.ok()
}

async fn next_text(socket: &mut Socket) -> Option<String> {
    loop {
        if let Message::Text(text) = socket.next().await?.ok()? {
            return Some(text.to_string());
        }
    }
}
