//! Parses the head of a request: well-formed and bounded, not verified.
//!
//! Refuses ambiguity: a repeated header (V02), a header that `Connection` names (V31), a value that
//! is too long (V07). Reads only the headers named here; no other header has authority.

use std::sync::Arc;

use crate::call::{CoreRow, DirectRow, Lane, Row, ServiceCall};
use crate::identity::{IdentityRejection, Username};

/// Core's token.
pub const AUTHORIZATION: &str = "authorization";
/// The user on whose behalf Core asks.
pub const USERNAME: &str = "ucloud-username";
/// The user's intent.
pub const SIGNED_INTENT: &str = "ucloud-signed-intent";

/// Longest `Authorization` accepted, in bytes. Core's tokens have 600.
pub const TOKEN_MAX: usize = 8 * 1024;

/// Longest intent accepted in a client's header, in bytes (protocol, section 2).
pub const INTENT_MAX: usize = 16 * 1024;

/// Longest body of a direct call, in bytes. A passkey's registration with a
/// chain of certificates has 10 KiB.
pub const DIRECT_BODY_MAX: usize = 64 * 1024;

/// Longest intent accepted from a deposit, and so between gateway and instance, in bytes (protocol,
/// section 5).
pub const DEPOSIT_MAX: usize = 256 * 1024;

/// Why a head is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestRejection {
    /// A security header is repeated.
    #[error("the header {0} stands more than once")]
    Repeated(&'static str),
    /// `Connection` names a security header (RFC 9110 section 7.6.1).
    #[error("the header Connection names {0}")]
    TakenBack(&'static str),
    /// A security header is longer than its limit.
    #[error("the header {0} is too long")]
    TooLong(&'static str),
    /// A security header has bytes that it must not have.
    #[error("the header {0} is malformed")]
    Malformed(&'static str),
    /// `UCloud-Username` is not a username.
    #[error("the header ucloud-username is not a username: {0}")]
    Username(IdentityRejection),
    /// A user's call that names no user.
    #[error("a user's call without the header ucloud-username")]
    NoUsername,
    /// No token of Core.
    #[error("no bearer token")]
    NoToken,
    /// A security header in a request in which it has no meaning.
    #[error("the header {0} has no place in this request")]
    OutOfPlace(&'static str),
    /// The header and `usernameHint` name different users.
    #[error("ucloud-username and usernameHint name two users")]
    TwoUsers,
}

/// Core's token as received. Prints as `<secret>`: its holder can act as Core until it expires.
#[derive(Clone, Copy)]
pub struct BearerToken<'h>(&'h str);

impl<'h> BearerToken<'h> {
    /// The token, for the one call that needs it.
    #[must_use]
    pub const fn expose(&self) -> &'h str {
        self.0
    }
}

impl std::fmt::Debug for BearerToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

/// A request made for a user: by Core ([`crate::core_token::UserRequest`]), or by the user's
/// browser ([`crate::direct::DirectRequest`]). The later stages treat both the same, and their
/// types still tell which it was.
pub trait UserRequestKind: sealed::Sealed {
    /// The call.
    fn row(&self) -> &Arc<Row>;
    /// The user.
    fn username(&self) -> &Username;
}

pub(crate) mod sealed {
    /// Only this crate implements it.
    pub trait Sealed {}
}

/// A request with Core's token, parsed and not verified.
#[derive(Debug)]
pub struct Presented<'h> {
    pub(crate) token: BearerToken<'h>,
    pub(crate) lane: PresentedLane<'h>,
}

#[derive(Debug)]
pub(crate) enum PresentedLane<'h> {
    Service(ServiceCall),
    User { row: Arc<Row>, username: Username, intent: Option<&'h str> },
}

impl<'h> Presented<'h> {
    /// Parses the head of a request on a lane. `headers` are all headers, in any case and order.
    /// `intent_max` is [`INTENT_MAX`] towards clients and [`DEPOSIT_MAX`] behind the gateway.
    ///
    /// # Errors
    /// The rule that the head breaks.
    pub fn parse(
        lane: &Lane,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        intent_max: usize,
    ) -> Result<Self, RequestRejection> {
        let SecurityHeaders { token, username, intent } = SecurityHeaders::read(headers)?;
        let username =
            username.map(|value| Username::from_header(value).map_err(RequestRejection::Username)).transpose()?;
        let intent = intent.map(|value| visible(SIGNED_INTENT, value, intent_max)).transpose()?;
        let lane = match lane {
            Lane::Service(call) => PresentedLane::Service(*call),
            Lane::User(row) => {
                let username = username.ok_or(RequestRejection::NoUsername)?;
                PresentedLane::User { row: Arc::clone(row.row()), username, intent }
            }
        };
        let token = bearer(visible(AUTHORIZATION, token.ok_or(RequestRejection::NoToken)?, TOKEN_MAX)?)?;
        Ok(Self { token, lane })
    }
}

/// A direct call, parsed and not verified. It carries an intent and nothing of
/// Core's.
#[derive(Debug)]
pub struct PresentedDirect<'h> {
    pub(crate) row: Arc<Row>,
    pub(crate) intent: Option<&'h str>,
}

impl<'h> PresentedDirect<'h> {
    /// Parses the head of a request on that row. `headers` are all headers, in any case and order.
    /// Deposits do not apply to this lane, so an intent has at most [`INTENT_MAX`] bytes
    /// everywhere.
    ///
    /// # Errors
    /// The rule that the head breaks. Headers of Core's lane are refused and not ignored, because
    /// their sender mistakes this lane for Core's.
    pub fn parse(
        row: &DirectRow,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    ) -> Result<Self, RequestRejection> {
        let SecurityHeaders { token, username, intent } = SecurityHeaders::read(headers)?;
        if token.is_some() {
            return Err(RequestRejection::OutOfPlace(AUTHORIZATION));
        }
        if username.is_some() {
            return Err(RequestRejection::OutOfPlace(USERNAME));
        }
        let intent = intent.map(|value| visible(SIGNED_INTENT, value, INTENT_MAX)).transpose()?;
        Ok(Self { row: Arc::clone(row.row()), intent })
    }
}

impl<'h> PresentedDirect<'h> {
    /// The request of a session: the proof that came with the token.
    pub(crate) fn of_session(row: &Arc<Row>, intent: &'h str) -> Result<Self, RequestRejection> {
        let intent = visible(SIGNED_INTENT, intent.as_bytes(), INTENT_MAX)?;
        Ok(Self { row: Arc::clone(row), intent: Some(intent) })
    }
}

impl<'h> Presented<'h> {
    /// The request of a WebSocket message. Its fields stand for the headers of a request: Core's
    /// token, from the message or from the socket's head, and the user's intent.
    ///
    /// # Errors
    /// A field is too long or has bytes that it must not have.
    pub fn of_message(
        row: &CoreRow,
        token: &'h str,
        username: Username,
        intent: Option<&'h str>,
        intent_max: usize,
    ) -> Result<Self, RequestRejection> {
        let token = visible(AUTHORIZATION, token.as_bytes(), TOKEN_MAX)?;
        if token.contains(' ') {
            return Err(RequestRejection::NoToken);
        }
        let intent = intent.map(|text| visible(SIGNED_INTENT, text.as_bytes(), intent_max)).transpose()?;
        let lane = PresentedLane::User { row: Arc::clone(row.row()), username, intent };
        Ok(Self { token: BearerToken(token), lane })
    }
}

/// The head of a WebSocket request, parsed and not verified. Its token and user apply to every
/// message that names none.
#[derive(Debug)]
pub struct PresentedSocket<'h> {
    /// Core's token, if it is in the head.
    pub token: Option<BearerToken<'h>>,
    /// The user, from the header or the hint.
    pub username: Option<Username>,
}

impl<'h> PresentedSocket<'h> {
    /// Parses the head. `headers` are all headers; `hint` is the `usernameHint` of the query.
    ///
    /// # Errors
    /// The rule that the head breaks. An intent is refused, and header and hint must name the same
    /// user.
    pub fn parse(
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        hint: Option<&str>,
    ) -> Result<Self, RequestRejection> {
        let SecurityHeaders { token, username, intent } = SecurityHeaders::read(headers)?;
        if intent.is_some() {
            return Err(RequestRejection::OutOfPlace(SIGNED_INTENT));
        }
        let named = username.map(Username::from_header).transpose().map_err(RequestRejection::Username)?;
        let hinted = hint.map(Username::from_hint).transpose().map_err(RequestRejection::Username)?;
        let username = match (named, hinted) {
            (Some(named), Some(hinted)) if named != hinted => return Err(RequestRejection::TwoUsers),
            (named, hinted) => named.or(hinted),
        };
        let token = token.map(|token| bearer(visible(AUTHORIZATION, token, TOKEN_MAX)?)).transpose()?;
        Ok(Self { token, username })
    }

    /// Core's token alone. Other errors of the head are ignored.
    ///
    /// # Errors
    /// A security header is repeated or named by `Connection`, or this header is not a bearer
    /// token.
    pub fn token(
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    ) -> Result<Option<BearerToken<'h>>, RequestRejection> {
        let token = SecurityHeaders::read(headers)?.token;
        token.map(|token| bearer(visible(AUTHORIZATION, token, TOKEN_MAX)?)).transpose()
    }
}

/// The security headers, each of which occurs at most once.
struct SecurityHeaders<'h> {
    token: Option<&'h [u8]>,
    username: Option<&'h [u8]>,
    intent: Option<&'h [u8]>,
}

impl<'h> SecurityHeaders<'h> {
    fn read(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Result<Self, RequestRejection> {
        let (mut token, mut username, mut intent) = (None, None, None);
        for (name, value) in headers {
            if let Some((slot, name)) = match () {
                () if name.eq_ignore_ascii_case(AUTHORIZATION) => Some((&mut token, AUTHORIZATION)),
                () if name.eq_ignore_ascii_case(USERNAME) => Some((&mut username, USERNAME)),
                () if name.eq_ignore_ascii_case(SIGNED_INTENT) => Some((&mut intent, SIGNED_INTENT)),
                () => None,
            } {
                if slot.replace(value).is_some() {
                    return Err(RequestRejection::Repeated(name));
                }
            } else if name.eq_ignore_ascii_case("connection") {
                refuse_taken_back(value)?;
            }
        }
        Ok(Self { token, username, intent })
    }
}

/// The token of a `Bearer` header (RFC 6750 section 2.1): one space, then a token without spaces.
fn bearer(value: &str) -> Result<BearerToken<'_>, RequestRejection> {
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ') => {
            Ok(BearerToken(token))
        }
        _ => Err(RequestRejection::NoToken),
    }
}

fn visible<'h>(name: &'static str, value: &'h [u8], length_max: usize) -> Result<&'h str, RequestRejection> {
    if value.len() > length_max {
        return Err(RequestRejection::TooLong(name));
    }
    // Without an early exit, so that the compiler checks many bytes at once.
    let is_visible = value.iter().fold(!value.is_empty(), |is_visible, byte| is_visible & (0x20..0x7f).contains(byte));
    match std::str::from_utf8(value) {
        Ok(text) if is_visible => Ok(text),
        _ => Err(RequestRejection::Malformed(name)),
    }
}

/// `Connection` may remove hop-by-hop headers (RFC 9110 section 7.6.1). No security header is one.
fn refuse_taken_back(value: &[u8]) -> Result<(), RequestRejection> {
    const DECIDING: [&str; 7] =
        [AUTHORIZATION, USERNAME, SIGNED_INTENT, "host", "content-length", "content-type", "transfer-encoding"];
    let named = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    for option in named {
        if let Some(name) = DECIDING.iter().find(|name| option.eq_ignore_ascii_case(name.as_bytes())) {
            return Err(RequestRejection::TakenBack(name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{CallTable, Method, Route};
    use crate::identity::ProviderId;

    fn lane(method: Method, path: &str) -> Lane {
        let table = CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap();
        match table.route(method, path).unwrap() {
            Route::Private(lane) => lane.clone(),
            Route::Public(_) | Route::Direct(_) | Route::Session(_) | Route::Socket => {
                panic!("{path} is not behind Core's token")
            }
        }
    }

    fn check(headers: &[(&str, &str)], want: Result<(), RequestRejection>) {
        let lane = lane(Method::Post, "/ucloud/hpc/files/move");
        let headers_bytes = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        assert_eq!(Presented::parse(&lane, headers_bytes, 64).map(|_| ()), want, "{headers:?}");
    }

    const GOOD: [(&str, &str); 3] =
        [("Authorization", "Bearer a.b.c"), ("Ucloud-Username", "dXNlcg=="), ("UCloud-Signed-Intent", "x.y.z")];

    fn good_and(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
        [&GOOD[..], &[(name, value)]].concat()
    }

    #[test]
    fn v02_a_header_that_decides_stands_once() {
        check(&GOOD, Ok(()));
        check(&good_and("ucloud-signed-intent", "x.y.z"), Err(RequestRejection::Repeated(SIGNED_INTENT)));
        check(&good_and("AUTHORIZATION", "Bearer a.b.c"), Err(RequestRejection::Repeated(AUTHORIZATION)));
        check(&good_and("ucloud-username", "dXNlcg=="), Err(RequestRejection::Repeated(USERNAME)));
    }

    #[test]
    fn v31_connection_takes_back_nothing_that_decides() {
        check(&good_and("Connection", "keep-alive"), Ok(()));
        check(&good_and("Connection", "close, X-Other"), Ok(()));
        check(&good_and("Connection", "close , UCloud-Signed-Intent"), Err(RequestRejection::TakenBack(SIGNED_INTENT)));
        check(&good_and("connection", "authorization"), Err(RequestRejection::TakenBack(AUTHORIZATION)));
        check(&good_and("connection", "Content-Length"), Err(RequestRejection::TakenBack("content-length")));
    }

    #[test]
    fn v07_a_long_or_malformed_header_is_refused_unread() {
        let long = "x".repeat(65);
        let with_intent = |value: &'static str| [GOOD[0], GOOD[1], ("ucloud-signed-intent", value)];
        check(&[GOOD[0], GOOD[1], ("ucloud-signed-intent", &long)], Err(RequestRejection::TooLong(SIGNED_INTENT)));
        check(&with_intent("a\tb"), Err(RequestRejection::Malformed(SIGNED_INTENT)));
        check(&with_intent("æ"), Err(RequestRejection::Malformed(SIGNED_INTENT)));
        check(&with_intent(""), Err(RequestRejection::Malformed(SIGNED_INTENT)));
    }

    #[test]
    fn a_head_without_token_or_user_is_refused() {
        check(&GOOD[1..], Err(RequestRejection::NoToken));
        let with_token = |value: &'static str| [("authorization", value), GOOD[1]];
        check(&with_token("Basic a.b.c"), Err(RequestRejection::NoToken));
        check(&with_token("Bearer"), Err(RequestRejection::NoToken));
        check(&with_token("Bearer  a.b.c"), Err(RequestRejection::NoToken));
        check(&with_token("Bearer a b"), Err(RequestRejection::NoToken));
        check(&[GOOD[0]], Err(RequestRejection::NoUsername));
        check(
            &[GOOD[0], ("ucloud-username", "dXNlcg")],
            Err(RequestRejection::Username(IdentityRejection::UsernameEncoding)),
        );
    }

    #[test]
    fn a_call_of_the_users_own_browser_has_nothing_of_cores() {
        let table = CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap();
        let Some(Route::Direct(row)) = table.route(Method::Post, "/ucloud/hpc/keys/list") else {
            panic!("a direct row")
        };
        let check = |headers: &[(&str, &str)], want: Result<Option<&str>, RequestRejection>| {
            let bytes = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
            assert_eq!(PresentedDirect::parse(row, bytes).map(|own| own.intent), want, "{headers:?}");
        };
        let intent = GOOD[2];
        check(&[intent, ("origin", "https://hpc.example.org")], Ok(Some("x.y.z")));
        check(&[], Ok(None));
        check(&GOOD, Err(RequestRejection::OutOfPlace(AUTHORIZATION)));
        check(&[intent, GOOD[1]], Err(RequestRejection::OutOfPlace(USERNAME)));
        check(&[intent, ("authorization", "")], Err(RequestRejection::OutOfPlace(AUTHORIZATION)));
        check(&[intent, intent], Err(RequestRejection::Repeated(SIGNED_INTENT)));
        check(&[intent, ("connection", "ucloud-signed-intent")], Err(RequestRejection::TakenBack(SIGNED_INTENT)));
        check(&[("ucloud-signed-intent", "")], Err(RequestRejection::Malformed(SIGNED_INTENT)));
        check(&[("ucloud-signed-intent", &"x".repeat(INTENT_MAX + 1))], Err(RequestRejection::TooLong(SIGNED_INTENT)));
    }

    #[test]
    fn a_service_call_needs_no_user_and_may_name_one() {
        let lane = lane(Method::Post, "/ucloud/hpc/integration/init");
        let head = |headers: &[(&'static str, &'static str)]| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            Presented::parse(&lane, headers, 64).map(|_| ())
        };
        assert_eq!(head(&GOOD[..1]), Ok(()));
        assert_eq!(head(&GOOD[..2]), Ok(()));
        assert_eq!(head(&[]), Err(RequestRejection::NoToken));
    }

    #[test]
    fn v23_a_socket_is_one_users_by_header_and_by_hint() {
        let parse = |headers: &[(&str, &str)], hint: Option<&str>| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            let presented = PresentedSocket::parse(headers, hint)?;
            Ok((presented.token.map(|token| token.expose().to_owned()), presented.username.map(String::from)))
        };
        let (token, user) = (Some("a.b.c".to_owned()), Some("user".to_owned()));
        assert_eq!(parse(&GOOD[..2], None), Ok((token.clone(), user.clone())));
        assert_eq!(parse(&GOOD[..2], Some("dXNlcg==")), Ok((token.clone(), user.clone())));
        assert_eq!(parse(&GOOD[..1], Some("dXNlcg==")), Ok((token.clone(), user)));
        assert_eq!(parse(&GOOD[..1], None), Ok((token, None)));
        assert_eq!(parse(&[], None), Ok((None, None)));
        assert_eq!(parse(&GOOD[..2], Some("b3RoZXI=")), Err(RequestRejection::TwoUsers));
        assert_eq!(parse(&GOOD, None), Err(RequestRejection::OutOfPlace(SIGNED_INTENT)));
    }

    /// The limits of protocol, section 2, and the figures beside each constant.
    #[test]
    fn v07_the_limits_are_these() {
        assert_eq!([TOKEN_MAX, INTENT_MAX, DIRECT_BODY_MAX, DEPOSIT_MAX], [8_192, 16_384, 65_536, 262_144]);
        let just_fits = "x".repeat(64);
        check(&[GOOD[0], GOOD[1], ("ucloud-signed-intent", &just_fits)], Ok(()));
        let token = |length: usize| format!("Bearer {}", "x".repeat(length - "Bearer ".len()));
        check(&[("authorization", &token(TOKEN_MAX)), GOOD[1]], Ok(()));
        check(&[("authorization", &token(TOKEN_MAX + 1)), GOOD[1]], Err(RequestRejection::TooLong(AUTHORIZATION)));
    }

    #[test]
    fn a_token_is_in_no_log() {
        assert_eq!(format!("{:?}", BearerToken("a.b.c")), "<secret>");
    }
}
