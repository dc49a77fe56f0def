//! One-time tokens, redeemed by the user's own browser or tool without Core (protocol, section 7).
//!
//! The user's instance signed the token, which says what may be done. The proof shows that the user
//! redeems it, and for which bytes. Verifies both before the instance sees a byte, and consumes
//! both immediately before the first byte goes out.

use countersign_keys::call::SessionEndpoint;
use countersign_keys::call::names::{SESSION_CONTINUE, SESSION_OPEN};
use countersign_keys::identity::CallName;
use countersign_keys::seal::EncapsulatedKey;
use countersign_keys::session::{
    AuthorisedSession, Piece, PresentedSession, SessionPermit, SessionRejection, Turn, VerifiedSession,
};
use http::header::RANGE;
use http::request::Parts;
use hyper::body::Incoming;

use crate::exchange::Exchange;
use crate::http1::body::StreamedBody;
use crate::limits::connections::Principal;
use crate::metrics::Lane;
use crate::pipeline::forward;
use crate::pipeline::instance::Reuse;
use crate::response::Answer;
use crate::response::instance_answer::Content;
use crate::response::refusal::Refusal;
use crate::server_link::key_cache::AsOf;
use crate::upstream::Connection;
use countersign_audit::Verdict;
use countersign_ipc::session_headers::{self, PROOF, TOKEN};

impl Exchange<'_> {
    /// Answers a session's request other than a WebSocket.
    pub(crate) async fn session(
        &mut self,
        endpoint: SessionEndpoint,
        head: &Parts,
        body: Incoming,
    ) -> Result<Answer, Refusal> {
        self.lane = Lane::Session;
        let gateway = self.gateway;
        self.varies = true;
        self.page = gateway.cors.admitted(&head.headers)?;
        let asked = Asked::of(endpoint, head)?;
        let length = asked.piece.size.and_then(|size| u64::try_from(size).ok());
        let body = StreamedBody::new(body, length)?;
        let presented = PresentedSession::parse(endpoint, asked.token, asked.proof, asked.piece)?;
        let authorised = self.judge_session(presented).await?;
        // Counted only now: otherwise a stranger could fill a user's share by naming the user.
        let _in_flight = gateway.in_flight.begin(authorised.session().username()).ok_or(Refusal::TooMany)?;
        let (permit, connection) = self.pass(authorised, Reuse::Pooled).await?;
        let sent =
            forward::session(permit, &gateway.provider, head, body, &gateway.upstreams, connection, &self.id).await?;
        let answer = self.record_answer(sent).await;
        let content = match endpoint {
            SessionEndpoint::Download => Content::File { range_asked: head.headers.contains_key(RANGE) },
            SessionEndpoint::ChunkedUpload
            | SessionEndpoint::UploadSocket
            | SessionEndpoint::ShellSocket
            | SessionEndpoint::Web
            | SessionEndpoint::VncSocket => Content::Json,
        };
        Ok(answer.pass_on(content)?)
    }

    /// Verifies that the user's own instance issued the token and the user signed this use of it.
    pub(crate) async fn judge_session<'h>(
        &mut self,
        presented: PresentedSession<'h>,
    ) -> Result<AuthorisedSession<'h>, Refusal> {
        let verified = self.verify_session(presented).await?;
        Ok(verified.authorise(
            &self.gateway.rules().calls,
            self.gateway.rules().proof,
            self.gateway.rules().seal,
            &self.gateway.rules().policy,
        )?)
    }

    /// Verifies that the user's own instance issued the token. Without a signed use it opens
    /// nothing.
    pub(crate) async fn judge_token(&mut self, presented: PresentedSession<'_>) -> Result<(), Refusal> {
        self.verify_session(presented).await.map(drop)
    }

    async fn verify_session<'h>(&mut self, presented: PresentedSession<'h>) -> Result<VerifiedSession<'h>, Refusal> {
        let gateway = self.gateway;
        // Strangers are rate-limited; the sender of a valid token is not one.
        self.check_public_rate()?;
        let username = presented.claimed_username().clone();
        let instance_key = gateway.key_cache.instance_key(&username).await?;
        let keys = match presented.key_wanted() {
            Some(wanted) => Some(gateway.keys(&username, wanted).await?),
            None => None,
        };
        let keys = keys.as_ref().map(AsRef::as_ref).unwrap_or_default();
        let verified =
            presented.verify(instance_key.as_deref(), keys, &gateway.rules().policy.terms, gateway.now()?)?;
        gateway.public_calls.refund(&self.network());
        self.authenticated_as(Principal::User(&username));
        self.username = Some(username);
        self.call = Some(verified.session().call().clone());
        Ok(verified)
    }

    /// Consumes token and proof, and writes the record. A session lives in the instance that issued
    /// its token: if none is up, the session is gone.
    pub(crate) async fn pass<'h>(
        &mut self,
        authorised: AuthorisedSession<'h>,
        reuse: Reuse,
    ) -> Result<(SessionPermit<'h>, Connection), Refusal> {
        let gateway = self.gateway;
        let username = authorised.session().username().clone();
        let connection = gateway.connect_by(reuse, &username).await?;
        self.kid = authorised.kid();
        if let Some(kid) = authorised.kid() {
            // Answered from the cache, unless something was revoked meanwhile (P6).
            gateway.key_cache.check_standing(&username, kid, AsOf::Earlier, gateway.now()?).await?;
        }
        let permit = authorised.consume(&gateway.rules().policy, &gateway.journal, gateway.now()?)?;
        if let Some(kid) = permit.kid() {
            gateway.uses.note(&username, kid);
        }
        let call = if permit.turn() == Turn::Open { SESSION_OPEN } else { SESSION_CONTINUE };
        self.call = CallName::parse(&format!("{call}.{}", permit.session().endpoint().path().replace('/', "."))).ok();
        self.sealed = permit.is_sealed();
        self.record(Verdict::Forward)?;
        Ok((permit, connection))
    }
}

/// What a request to a session's endpoint carries, read from the places of that endpoint.
pub(crate) struct Asked<'h> {
    pub(crate) token: &'h str,
    pub(crate) proof: Option<&'h str>,
    pub(crate) piece: Piece,
}

impl<'h> Asked<'h> {
    pub(crate) fn of(endpoint: SessionEndpoint, head: &'h Parts) -> Result<Self, Refusal> {
        let query = Query::read(head.uri.query().unwrap_or_default())?;
        let (from_query, piece) = match endpoint {
            SessionEndpoint::ChunkedUpload => (None, session_headers::piece(&head.headers)?),
            SessionEndpoint::Download
            | SessionEndpoint::UploadSocket
            | SessionEndpoint::Web
            | SessionEndpoint::VncSocket => (query.token, Piece::without_bytes(query.enc)),
            SessionEndpoint::ShellSocket => (query.session, Piece::without_bytes(query.enc)),
        };
        let is_chunk = endpoint == SessionEndpoint::ChunkedUpload;
        if is_chunk && head.uri.query().is_some() {
            return Err(SessionRejection::Piece("the query").into());
        }
        let from_head = session_headers::header(&head.headers, TOKEN)?.filter(|_| is_chunk);
        let proof = match (query.intent, session_headers::header(&head.headers, PROOF)?) {
            (Some(_), Some(_)) => return Err(SessionRejection::Piece("intent").into()),
            (from_query, from_head) => from_query.or(from_head),
        };
        let token = from_query.or(from_head).ok_or(SessionRejection::NoToken)?;
        Ok(Self { token, proof, piece })
    }
}

/// The members of a query. Tokens and proofs need no escaping.
#[derive(Default)]
struct Query<'h> {
    token: Option<&'h str>,
    session: Option<&'h str>,
    intent: Option<&'h str>,
    /// The encapsulated key of a sealed session.
    enc: Option<EncapsulatedKey>,
}

impl<'h> Query<'h> {
    fn read(query: &'h str) -> Result<Self, SessionRejection> {
        let mut read = Self::default();
        let (mut hint, mut enc) = (None, None);
        for member in query.split('&').filter(|member| !member.is_empty()) {
            let (name, value) = member.split_once('=').ok_or(SessionRejection::Piece("the query"))?;
            let slot = match name {
                "token" => &mut read.token,
                "session" => &mut read.session,
                "intent" => &mut read.intent,
                "enc" => &mut enc,
                // A routing hint without authority: the token names its user.
                "usernameHint" => &mut hint,
                _ => return Err(SessionRejection::Piece("the query")),
            };
            if slot.replace(value).is_some() {
                return Err(SessionRejection::Piece("the query"));
            }
        }
        let parse = |text| EncapsulatedKey::parse(text).ok_or(SessionRejection::Piece("enc"));
        read.enc = enc.map(parse).transpose()?;
        Ok(read)
    }
}
