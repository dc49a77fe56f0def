//! WebSockets: which connection becomes one, and what it may be used for (protocol, section 8).
//!
//! An upgrade is judged before it is answered: its form, the page that asks, Core's token if it brings one. That gives it no authority: each message
//! that carries a call is judged like a request, and of nothing refused does the instance see a byte (P1, P5, V52, V53).

mod end;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hands;
pub(super) mod message;
mod rpc;
mod session;
mod shell;
mod standing;
mod tunnel;

use std::sync::Arc;

use countersign_keys::call::{Method, Route, SessionEndpoint, Transport};
use countersign_keys::identity::Username;
use countersign_keys::request::{INTENT_MAX, Presented, PresentedSocket, RequestRejection};
use countersign_keys::secret::Secret;
use countersign_keys::verify::Rejection;
use http::Request;
use http::header::UPGRADE;
use http::request::Parts;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::Instant;

use self::rpc::Rpc;
use self::shell::Shell;
use self::tunnel::Tunnel;
use super::connections::{Place, Shown};
use super::fetch_metadata;
use super::gate::{Early, Passage};
use super::head::{self, HeadRejection, Purpose};
use super::ingress::{Client, Ingress, Known};
use super::patience::Answering;
use super::refusal::Refusal;
use super::request_id::RequestId;
use super::respond::{self, Answer};
use super::upgrade;

/// The query's one member on an RPC socket: the user, where no header names them.
const USERNAME_HINT: &str = "usernameHint";

/// Where a request stands that asks to become a socket.
pub(super) struct Spot {
    /// The connection's messages, of which this is the last.
    pub(super) passage: Passage,
    /// Which of them it is.
    pub(super) number: u64,
    /// Turns true when sockets are to end.
    pub(super) stop: watch::Receiver<bool>,
    /// The connection's place, which the socket keeps.
    pub(super) place: Arc<Place>,
}

/// A socket that may be opened.
enum Admitted {
    Rpc(Rpc),
    Shell(Shell),
    Tunnel(Tunnel),
}

/// What becomes of an upgrade that is not refused here.
enum Outcome {
    /// A socket.
    Admitted(Admitted),
    /// The instance has another opinion, and said so.
    Answered(Answer),
}

impl Ingress {
    /// Answers a request to become a socket; if it may, its task begins with the answer.
    pub(super) async fn upgrade(
        self: &Arc<Self>,
        client: Client,
        mut request: Request<Incoming>,
        spot: Spot,
        answering: Answering,
    ) -> Answer {
        let id = self.ids.next();
        let upgrading = hyper::upgrade::on(&mut request);
        let (mut head, _body) = request.into_parts();
        head::drop_unread(&mut head.headers);
        let mut known = Known::on(&spot.place);
        let mut answer = match self.admit_socket(&head, client, &spot, &id, &mut known).await {
            Ok((_, Outcome::Answered(answer))) => answer,
            Ok((key, Outcome::Admitted(socket))) => {
                tokio::spawn(async move {
                    if let Ok(upgraded) = upgrading.await {
                        socket.run(upgraded, spot).await;
                    }
                    drop(answering); // it was we who said how long it may be silent
                });
                respond::switching(&key)
            }
            Err(refusal) => self.refuse(refusal, head.version, &id, &known).await.0,
        };
        respond::finish(&mut answer, &id, client.transport);
        answer
    }

    async fn admit_socket(
        self: &Arc<Self>,
        head: &Parts,
        client: Client,
        spot: &Spot,
        id: &RequestId,
        known: &mut Known,
    ) -> Result<(upgrade::Key, Outcome), Refusal> {
        head::check(head, Purpose::Upgrade)?;
        fetch_metadata::refuse_service_worker(&head.headers)?;
        let route = Method::parse(head.method.as_str()).and_then(|method| self.calls.route(method, head.uri.path()));
        if let Some(route) = route {
            fetch_metadata::check(route, &head.headers)?;
        }
        let socket = match route {
            Some(Route::Socket) => {
                let key = upgrade::read(head)?;
                self.cors.admitted(&head.headers)?;
                (key, Outcome::Admitted(Admitted::Rpc(self.admit_rpc(head, client, known)?)))
            }
            Some(Route::Session(endpoint @ (SessionEndpoint::ShellSocket | SessionEndpoint::UploadSocket))) => {
                let key = upgrade::read(head)?;
                self.cors.admitted(&head.headers)?;
                spot.passage.check_last(spot.number)?; // before anything is used up
                let outcome = self.admit_session_socket(*endpoint, head, &key, client, id, known).await?;
                (key, outcome)
            }
            Some(Route::Public(_) | Route::Private(_) | Route::Own(_)) => {
                return Err(HeadRejection::Framing(UPGRADE).into());
            }
            None | Some(Route::Session(_)) => return Err(Rejection::NoSuchCall.into()),
        };
        spot.passage.check_last(spot.number)?;
        Ok(socket)
    }

    /// A socket for Core's calls: opened by Core's token, or on trust in its first message, but then only so often.
    fn admit_rpc(self: &Arc<Self>, head: &Parts, client: Client, known: &mut Known) -> Result<Rpc, Refusal> {
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let hint = hint(head.uri.query())?;
        let presented = PresentedSocket::parse(headers, hint.as_deref())?;
        known.username.clone_from(&presented.username);
        let username = presented.username.ok_or(RequestRejection::NoUsername)?;
        match presented.token {
            Some(token) => {
                self.check_token(token.expose(), &username)?;
                known.show(Shown::Core);
            }
            None if self.crowd.admits(client.network(), Instant::now()) => {}
            None => return Err(Refusal::TooMany),
        }
        let token = presented.token.map(|token| Secret::new(token.expose().to_owned()));
        Ok(Rpc { ingress: Arc::clone(self), path: head.uri.path().to_owned(), username, token })
    }
}

impl Ingress {
    /// Whether that is a token of Core's. It will be looked at again with each message.
    fn check_token(&self, token: &str, username: &Username) -> Result<(), Refusal> {
        let row = self.calls.rows().iter().find(|row| row.transport() == Transport::WebSocket);
        let row = row.and_then(|row| self.calls.core_row(row.call().as_str())).ok_or(Rejection::NoSuchCall)?;
        let presented = Presented::of_message(&row, token, username.clone(), None, INTENT_MAX)?;
        self.authenticate(presented, self.now()?)?;
        Ok(())
    }
}

impl Admitted {
    async fn run(self, upgraded: Upgraded, spot: Spot) {
        let Spot { passage, number, stop, place } = spot;
        if let Err(early) = passage.open(number) {
            return self.ended_early(early, &place);
        }
        let stream = TokioIo::new(upgraded);
        let running = async {
            match self {
                Self::Rpc(rpc) => rpc.run(stream, stop, &place).await,
                Self::Shell(shell) => shell.run(stream, stop, &place).await,
                Self::Tunnel(tunnel) => tunnel.run(stream, stop).await,
            }
        };
        tokio::select! {
            () = running => {}
            () = place.is_needed() => tracing::debug!("ended socket: its place is needed"),
        }
    }

    /// Writes down that bytes came before the socket was one.
    fn ended_early(self, early: Early, place: &Arc<Place>) {
        let (ingress, username) = match self {
            Self::Rpc(rpc) => (rpc.ingress, rpc.username),
            Self::Shell(shell) => (shell.ingress, shell.username),
            Self::Tunnel(tunnel) => (tunnel.ingress, tunnel.opened.username),
        };
        let known = Known::on_socket(place, &username);
        ingress.record_refusal(&early.into(), None, &ingress.ids.next(), &known);
    }
}

/// The user that a query names, which may have nothing else in it: no signature would cover it.
fn hint(query: Option<&str>) -> Result<Option<String>, Rejection> {
    let Some(query) = query else { return Ok(None) };
    let value = query.strip_prefix(USERNAME_HINT).and_then(|rest| rest.strip_prefix('='));
    // A second member would leave its sign in the value, which neither alphabet has.
    value.map(decoded).ok_or(Rejection::NoSuchCall).map(Some)
}

/// What a query's value says, its bytes being ASCII. What is no such encoding stays, and is no name then.
fn decoded(value: &str) -> String {
    let mut decoded = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii_graphic);
        match byte {
            Some(byte) => decoded.push(char::from(byte)),
            None => decoded.push('%'),
        }
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    decoded.push_str(rest);
    decoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;

    #[test]
    fn a_query_names_the_user_and_nothing_else() {
        let check = |query: &str, want: Option<&str>| {
            assert_eq!(hint(Some(query)).ok().flatten().as_deref(), want, "{query}");
        };
        assert_eq!(hint(None), Ok(None));
        check("usernameHint=YWxpY2U=", Some("YWxpY2U="));
        check("usernameHint=YWxpY2U%3D", Some("YWxpY2U="));
        check("usernameHint=a%2Bb%2fc", Some("a+b/c"));
        check("usernameHint=a%0ab%", Some("a%0ab%"));
        check("usernameHint=", Some(""));
        check("usernameHint=a&token=b", Some("a&token=b"));
        check("token=b&usernameHint=a", None);
        check("usernamehint=a", None);
        check("", None);
    }
}
