//! WebSockets: which connection becomes one, and for what (protocol, section 8).
//!
//! Checks an upgrade before it answers: its form, the page's origin, and Core's token if there is
//! one. That grants no authority. Each message with a call is verified like a request, and the
//! instance sees no byte of a refused one (P1, P5, V52, V53). Opens a refused handshake of Core's
//! and sends the refusal on the socket, because Core crashes on another response (V76).

mod application;
mod close;
#[cfg(fuzzing)]
pub mod fuzzing;
mod keepalive;
mod key_watch;
mod link;
pub(crate) mod message;
mod refused;
mod rpc;
mod session;
mod shell;
mod switched;
mod tunnel;

use std::sync::Arc;

use countersign_keys::call::{Method, Route, SessionEndpoint};
use countersign_keys::request::{PresentedSocket, RequestRejection};
use countersign_keys::secret::Secret;
use countersign_keys::session::{PresentedSession, ProofNeed};
use countersign_keys::verify::Rejection;
use http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use self::refused::Refused;
use self::rpc::Rpc;
use self::shell::{Shell, Stage};
use self::tunnel::{Kind, Tunnel};
use crate::exchange::Exchange;
use crate::http1::head::{self, HeadRejection, Purpose};
use crate::http1::message_filter::Early;
use crate::http1::timeouts::Answering;
use crate::http1::upgrade::{self, Key, PendingUpgrade};
use crate::limits::connections::{ClientConnection, Principal};
use crate::metrics::Lane;
use crate::pipeline::fetch_metadata;
use crate::pipeline::session::Asked;
use crate::response::refusal::Refusal;
use crate::response::{self, Answer, Transport};

/// The only query member of an RPC socket: the user, if no header names them.
const USERNAME_HINT: &str = "usernameHint";

/// A socket that may be opened.
enum Admitted {
    Rpc(Rpc),
    Refused(Refused),
    Shell(Shell),
    Tunnel(Tunnel),
}

/// What follows from an upgrade that is not refused here.
enum Outcome {
    Admitted(Admitted),
    /// The instance answered with something other than 101.
    Answered(Answer),
}

impl Exchange<'_> {
    /// Answers an upgrade. If it is admitted, starts the socket's task.
    pub(crate) async fn upgrade(
        mut self,
        mut request: Request<Incoming>,
        pending: PendingUpgrade,
        answering: Answering,
        transport: Transport,
    ) -> Answer {
        let upgrading = hyper::upgrade::on(&mut request);
        let (mut head, _body) = request.into_parts();
        if self.gateway.web_host(&head).is_some() {
            return self.upgrade_web(head, upgrading, pending, answering, transport).await;
        }
        if self.gateway.is_for_link(&head) {
            return self.upgrade_link(head, upgrading, pending, answering, transport).await;
        }
        head::drop_unread(&mut head.headers);
        let mut answer = match self.admit_socket(&head, &pending).await {
            Ok((_, Outcome::Answered(answer))) => answer,
            Ok((key, Outcome::Admitted(socket))) => {
                let protocol = socket.protocol(&head);
                tokio::spawn(async move {
                    if let Ok(upgraded) = upgrading.await {
                        socket.run(upgraded, pending).await;
                    }
                    drop(answering); // until here the connection's idle timer was paused
                });
                response::switching(&key, protocol)
            }
            Err(refusal) => self.refuse(refusal, head.version).await.0,
        };
        response::finish(&mut answer, &self.id, transport);
        answer
    }

    async fn admit_socket(&mut self, head: &Parts, pending: &PendingUpgrade) -> Result<(Key, Outcome), Refusal> {
        self.lane = Lane::Socket;
        head::check(head, Purpose::Upgrade)?;
        let gateway = self.gateway;
        let calls = Arc::clone(&gateway.rules().calls);
        let route = Method::parse(head.method.as_str()).and_then(|method| calls.route(method, head.uri.path()));
        if let Some(route @ Route::Socket) = route {
            let key = upgrade::read(head)?;
            return Ok((key, Outcome::Admitted(self.admit_rpc(route, head, pending)?)));
        }
        fetch_metadata::refuse_service_worker(&head.headers)?;
        if let Some(route) = route {
            fetch_metadata::check(route, &head.headers)?;
        }
        let socket = match route {
            Some(Route::Session(
                endpoint @ (SessionEndpoint::ShellSocket | SessionEndpoint::UploadSocket | SessionEndpoint::VncSocket),
            )) => {
                let key = upgrade::read(head)?;
                gateway.cors.admitted(&head.headers)?;
                pending.check_last()?; // before anything is consumed
                let outcome = self.admit_session_socket(*endpoint, head, &key).await?;
                (key, outcome)
            }
            Some(Route::Public(_) | Route::Private(_) | Route::Direct(_)) => {
                return Err(HeadRejection::Framing(UPGRADE).into());
            }
            None | Some(Route::Session(_) | Route::Socket) => return Err(Rejection::NoSuchCall.into()),
        };
        pending.check_last()?;
        Ok(socket)
    }

    /// Verifies the upgrade of a session's socket. If the instance does not switch, passes its
    /// response on.
    async fn admit_session_socket(
        &mut self,
        endpoint: SessionEndpoint,
        head: &Parts,
        key: &Key,
    ) -> Result<Outcome, Refusal> {
        let asked = Asked::of(endpoint, head)?;
        let presented = PresentedSession::parse(endpoint, asked.token, asked.proof, asked.piece)?;
        let is_shell = endpoint == SessionEndpoint::ShellSocket;
        let gateway = Arc::clone(self.gateway);
        if is_shell && asked.proof.is_none() && gateway.rules().proof == ProofNeed::Required {
            let username = presented.claimed_username().clone();
            self.judge_token(presented).await?;
            let stage = Stage::AwaitsProof(Secret::new(asked.token.to_owned()));
            return Ok(Outcome::Admitted(Admitted::Shell(Shell { gateway, username, stage })));
        }
        let opened = match self.open_session_socket(presented, key).await? {
            Ok(opened) => opened,
            Err(answer) => return Ok(Outcome::Answered(answer)),
        };
        Ok(Outcome::Admitted(if is_shell {
            let username = opened.username.clone();
            Admitted::Shell(Shell { gateway, username, stage: Stage::Open(opened) })
        } else {
            let is_desktop = endpoint == SessionEndpoint::VncSocket;
            Admitted::Tunnel(Tunnel { gateway, opened, kind: if is_desktop { Kind::Desktop } else { Kind::Upload } })
        }))
    }

    /// Admits a socket for Core's calls: by Core's token, or provisionally until its first message,
    /// within a rate.
    ///
    /// The Go Core's process ends if the handshake of a search gets any response but 101. So a
    /// refusal of a handshake with a token of Core's is sent on the socket, which is then closed
    /// (V76). If a wrong clock makes that undecidable, the handshake is treated alike, within a
    /// rate.
    fn admit_rpc(&mut self, route: &Route, head: &Parts, pending: &PendingUpgrade) -> Result<Admitted, Refusal> {
        let token = PresentedSocket::token(headers(head))?;
        let doubt = match token.map(|token| self.gateway.check_token(token)) {
            Some(Ok(())) => {
                self.authenticated_as(Principal::Core);
                None
            }
            Some(Err(refusal)) if is_of_time(&refusal) => Some(refusal),
            Some(Err(refusal)) => return Err(refusal),
            None => None,
        };
        let is_cores = token.is_some() && doubt.is_none();
        if !is_cores {
            self.check_public_rate()?;
        }
        let judged = match doubt {
            Some(refusal) => Err(refusal),
            None => self.judge_rpc(route, head, pending, is_cores),
        };
        match judged {
            Ok(rpc) => Ok(Admitted::Rpc(rpc)),
            Err(refusal) if token.is_some() => {
                let (said, status, _) = response::refused_stream(&refusal, "");
                self.record_refusal(&refusal, Some(status));
                Ok(Admitted::Refused(Refused { said }))
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn judge_rpc(
        &mut self,
        route: &Route,
        head: &Parts,
        pending: &PendingUpgrade,
        is_cores: bool,
    ) -> Result<Rpc, Refusal> {
        fetch_metadata::refuse_service_worker(&head.headers)?;
        fetch_metadata::check(route, &head.headers)?;
        let gateway = self.gateway;
        gateway.cors.admitted(&head.headers)?;
        let hint = hint(head.uri.query())?;
        let presented = PresentedSocket::parse(headers(head), hint.as_deref())?;
        self.username.clone_from(&presented.username);
        let username = presented.username.ok_or(RequestRejection::NoUsername)?;
        pending.check_last()?;
        // By user, since all of Core's sockets come from one address. A name without a verified
        // token is not counted: a stranger could fill that user's share.
        let waiting = match is_cores {
            true => Some(gateway.waiting_sockets.begin(&username).ok_or(Refusal::TooMany)?),
            false => None,
        };
        let token = presented.token.map(|token| Secret::new(token.expose().to_owned()));
        Ok(Rpc { gateway: Arc::clone(gateway), path: head.uri.path().to_owned(), username, token, waiting })
    }
}

fn headers(head: &Parts) -> impl Iterator<Item = (&str, &[u8])> {
    head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// Whether the time of a token is the reason, or a clock that cannot be read.
fn is_of_time(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Rejection(Rejection::CoreToken(rejection)) if rejection.is_of_its_time())
        || matches!(refusal, Refusal::Failure(_))
}

impl Admitted {
    /// The subprotocol that is chosen. Viewers of desktops offer one, and browsers take no socket
    /// without it.
    fn protocol(&self, head: &Parts) -> Option<HeaderValue> {
        let Self::Tunnel(Tunnel { kind: Kind::Desktop, .. }) = self else { return None };
        let offered = head.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let mut offered = offered.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        offered.any(|one| one.trim_ascii() == b"binary").then(|| HeaderValue::from_static("binary"))
    }

    async fn run(self, upgraded: Upgraded, pending: PendingUpgrade) {
        let PendingUpgrade { passage, number, stop, client } = pending;
        if let Err(early) = passage.open(number) {
            return self.ended_early(early, &client);
        }
        let stream = TokioIo::new(upgraded);
        let running = async {
            match self {
                Self::Rpc(rpc) => rpc.run(stream, stop, &client).await,
                Self::Refused(refused) => refused.run(stream).await,
                Self::Shell(shell) => shell.run(stream, stop, &client).await,
                Self::Tunnel(tunnel) => tunnel.run(stream, stop, &client).await,
            }
        };
        tokio::select! {
            () = running => {}
            () = client.is_needed() => tracing::debug!("ended socket: its place is needed"),
        }
    }

    /// Records that bytes came before the socket was open.
    fn ended_early(self, early: Early, client: &Arc<ClientConnection>) {
        let (gateway, username) = match self {
            Self::Rpc(rpc) => (rpc.gateway, rpc.username),
            // The refusal is recorded already.
            Self::Refused(_) => return,
            Self::Shell(shell) => (shell.gateway, shell.username),
            Self::Tunnel(tunnel) => (tunnel.gateway, tunnel.opened.username),
        };
        Exchange::on_socket(&gateway, client, &username).record_refusal(&early.into(), None);
    }
}

/// The user that a query names. A query may have no other member, which no signature would cover.
fn hint(query: Option<&str>) -> Result<Option<String>, Rejection> {
    let Some(query) = query else { return Ok(None) };
    let value = query.strip_prefix(USERNAME_HINT).and_then(|rest| rest.strip_prefix('='));
    // A second member would leave `&` in the value, which neither alphabet has.
    value.map(decoded).ok_or(Rejection::NoSuchCall).map(Some)
}

/// Decodes a query's value of ASCII bytes. An invalid escape stays, and makes an invalid username.
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
