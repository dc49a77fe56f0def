//! The headers of web interfaces of jobs, as gateway and instance exchange them, and what neither
//! lets through.
//!
//! An application never sees the session's cookie or a header of Countersign's or UCloud's. It can
//! neither set nor shadow that cookie, and what it sets stays at its own host name.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::jws::sha256;
use countersign_keys::secret::Secret;
use http::header::{CONNECTION, COOKIE, HeaderMap, HeaderName, SET_COOKIE, UPGRADE};
use http::{HeaderValue, Method};
use serde::{Deserialize, Serialize};

/// The session's secret, from the gateway to the instance.
pub const WEB_SESSION: HeaderName = HeaderName::from_static("ucloud-web-session");

/// The interface that the request's host name says, from the gateway to the instance.
pub const WEB_PLACE: HeaderName = HeaderName::from_static(WEB_PLACE_TEXT);
pub const WEB_PLACE_TEXT: &str = "ucloud-web-place";

/// The public link that the request's host name says, from the gateway to the instance.
pub const WEB_LINK: HeaderName = HeaderName::from_static("ucloud-web-link");

/// The job that has the link, as the server says.
pub const WEB_JOB: HeaderName = HeaderName::from_static("ucloud-web-job");

/// How long an application may take to begin its answer: it may compute first.
pub const ANSWER_MAX: Duration = Duration::from_secs(15 * 60);

/// Marks an answer that is the instance's own, and not the application's.
pub const WEB_OUTCOME: HeaderName = HeaderName::from_static("ucloud-web-outcome");

/// The cookie with the session's secret. Browsers take a name with this prefix only with `Secure`,
/// without `Domain` and for the whole host (RFC 6265bis, section 4.1.3.2).
const COOKIE_NAME: &str = "__Host-countersign";

/// Bytes of a secret.
const SECRET_LENGTH: usize = 32;

/// Headers between two neighbours (RFC 9110, section 7.6.1), which are written for each hop.
const HOPS: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a proxy says of the client; written by the instance alone.
const OF_PROXIES: [&str; 5] = ["forwarded", "via", "x-client-address", "x-real-ip", "x-request-id"];

/// Headers of an answer that act beyond the interface's host name, or beyond this answer.
const BEYOND: [&str; 4] = ["alt-svc", "clear-site-data", "public-key-pins", "strict-transport-security"];

/// The secret of a web session. With it, and at the interface's host name, a client is its user.
pub struct WebSecret(Secret<[u8; SECRET_LENGTH]>);

/// What is kept of a secret.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct WebSecretHash([u8; 32]);

impl WebSecret {
    pub const fn new(random: [u8; SECRET_LENGTH]) -> Self {
        Self(Secret::new(random))
    }

    pub fn parse(text: &[u8]) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self::new)
    }

    pub fn hash(&self) -> WebSecretHash {
        WebSecretHash(sha256(&[b"web session", self.0.expose()]))
    }

    /// The text, for the two places that carry it: the cookie, and the header to the instance.
    pub fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.expose())
    }
}

impl fmt::Debug for WebSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The instance's answer to a token that opens a web session.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WebOpened {
    pub secret: String,
}

/// Why an instance answers in the application's place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WebOutcome {
    /// There is no such session, or its job has ended.
    Ended,
    /// Nothing listens at the application's port yet, or it breaks off.
    NotThere,
    /// Another account listens at the application's port.
    Foreign,
    /// The request is refused as it is.
    Refused,
}

impl WebOutcome {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Ended, "ended"), (Self::NotThere, "not-there"), (Self::Foreign, "foreign"), (Self::Refused, "refused")];

    pub fn to_header(self) -> HeaderValue {
        let word = Self::ALL.iter().find(|(known, _)| *known == self).map_or("refused", |(_, word)| word);
        HeaderValue::from_static(word)
    }

    /// `None` for an answer of the application.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let said = headers.get(WEB_OUTCOME)?;
        Some(Self::ALL.iter().find(|(_, word)| said == word).map_or(Self::Refused, |(known, _)| *known))
    }
}

/// The `Set-Cookie` value that gives a browser the secret. A page of another site does not send the
/// cookie, except by opening the interface in a window.
pub fn set_cookie(secret: &WebSecret) -> String {
    format!("{COOKIE_NAME}={}; Path=/; Secure; HttpOnly; SameSite=Lax", secret.expose())
}

/// The `Set-Cookie` value that takes the secret from a browser.
pub fn forget_cookie() -> HeaderValue {
    HeaderValue::from_static("__Host-countersign=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
}

/// The secret in the cookies of a request; `None` without one, and with two.
pub fn secret_of(headers: &HeaderMap) -> Option<WebSecret> {
    let mut ours =
        cookies(headers).filter_map(|cookie| cookie.strip_prefix(COOKIE_NAME.as_bytes())?.strip_prefix(b"="));
    let secret = WebSecret::parse(ours.next()?)?;
    ours.next().is_none().then_some(secret)
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let all = headers.get_all(COOKIE).iter();
    all.flat_map(|value| value.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii)
}

/// Whether a cookie's name is the session's, in any spelling that a browser or a server could take
/// for it.
fn is_our_name(name: &[u8]) -> bool {
    name.trim_ascii().eq_ignore_ascii_case(COOKIE_NAME.as_bytes())
}

/// Removes from a request what no application sees: the session's cookie, headers of Countersign
/// and UCloud, what proxies say, and headers of one hop.
pub fn strip_request(headers: &mut HeaderMap) {
    let mut kept: Vec<u8> = Vec::new();
    for cookie in cookies(headers).filter(|cookie| !cookie.is_empty()) {
        let name = cookie.split(|byte| *byte == b'=').next().unwrap_or_default();
        if !is_our_name(name) {
            kept.extend_from_slice(if kept.is_empty() { b"" } else { b"; " });
            kept.extend_from_slice(cookie);
        }
    }
    headers.remove(COOKIE);
    if let Some(kept) = HeaderValue::from_bytes(&kept).ok().filter(|kept| !kept.is_empty()) {
        headers.insert(COOKIE, kept);
    }
    remove(headers, |name| is_ours(name) || HOPS.contains(&name) || OF_PROXIES.contains(&name));
}

/// Removes from an application's answer what would act beyond its own host name: cookies for other
/// hosts become its own, and none has the session's name.
pub fn strip_response(headers: &mut HeaderMap) {
    let cookies: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().filter_map(own_cookie).collect();
    headers.remove(SET_COOKIE);
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
    }
    remove(headers, |name| is_ours(name) || HOPS.contains(&name) || BEYOND.contains(&name));
}

/// The cookie for this host alone; `None` for one of the session's name, or of no name, which
/// browsers send as if its value were a name.
fn own_cookie(cookie: &HeaderValue) -> Option<HeaderValue> {
    let mut parts = cookie.as_bytes().split(|byte| *byte == b';');
    let pair = parts.next()?;
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let (name, _) = pair.split_at_checked(at)?;
    if name.trim_ascii().is_empty() || is_our_name(name) {
        return None;
    }
    let mut kept = pair.to_vec();
    for part in parts {
        let attribute = part.split(|byte| *byte == b'=').next().unwrap_or_default();
        if !attribute.trim_ascii().eq_ignore_ascii_case(b"domain") {
            kept.push(b';');
            kept.extend_from_slice(part);
        }
    }
    HeaderValue::from_bytes(&kept).ok()
}

/// Names that only Countersign and UCloud use, toward providers and between processes.
fn is_ours(name: &str) -> bool {
    ["ucloud-", "chunked-upload-", "x-forwarded-", "x-answer-", "x-ucloud-"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Asks the next hop to switch to a WebSocket, or says that this one has switched.
pub fn set_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

fn remove(headers: &mut HeaderMap, is_removed: impl Fn(&str) -> bool) {
    let removed: Vec<HeaderName> = headers.keys().filter(|name| is_removed(name.as_str())).cloned().collect();
    for name in removed {
        headers.remove(name);
    }
}

/// Whether the page that a browser shows at `origin`, or the user by hand, made this request.
///
/// Interfaces of one centre are of one site, so `SameSite` does not keep them apart: a page of one
/// job could use the cookie of another, with a WebSocket too.
pub fn is_of_its_own_page(method: &Method, headers: &HeaderMap, origin: &str) -> bool {
    let every = |name: &'static str, is_good: &dyn Fn(&[u8]) -> bool| {
        headers.get_all(name).iter().all(|value| is_good(value.as_bytes()))
    };
    let is_own = |value: &[u8]| value == origin.as_bytes();
    let is_near = |value: &[u8]| matches!(value, b"same-origin" | b"none");
    let is_opened = method == Method::GET
        && headers.contains_key("sec-fetch-mode")
        && every("sec-fetch-mode", &|value| value == b"navigate")
        && every("sec-fetch-dest", &|value| value == b"document");
    every("origin", &is_own) && (every("sec-fetch-site", &is_near) || is_opened)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = given.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    }

    fn secret() -> WebSecret {
        WebSecret::new([7; 32])
    }

    #[test]
    fn j06_the_cookie_is_bound_to_its_host_and_kept_from_scripts() {
        let cookie = set_cookie(&secret());
        let (pair, attributes) = cookie.split_once(';').unwrap();
        assert!(pair.starts_with("__Host-") && !attributes.to_ascii_lowercase().contains("domain"));
        for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
            assert!(attributes.contains(attribute), "{attribute}");
        }
        assert!(!format!("{:?}", secret()).contains(&secret().expose()));
    }

    #[test]
    fn j06_one_cookie_of_the_session_is_read_and_no_other() {
        let ours = format!("__Host-countersign={}", secret().expose());
        let check = |cookies: &[&str], want: bool| {
            let given: Vec<_> = cookies.iter().map(|cookie| ("cookie", *cookie)).collect();
            assert_eq!(secret_of(&headers(&given)).is_some(), want, "{cookies:?}");
        };
        check(&[&ours], true);
        check(&[&format!("a=b; {ours} ;c=d")], true);
        check(&["a=b", &ours], true);
        check(&[&ours, &ours], false);
        check(&[&format!("{ours}; {ours}")], false);
        check(&[&format!("x{ours}")], false);
        check(&["__Host-countersign=", "__Host-countersign"], false);
        check(&[&format!("{ours}A")], false);
        check(&[], false);
    }

    #[test]
    fn j06_an_application_sees_none_of_our_cookies_and_headers() {
        let ours = format!("__Host-countersign={}", secret().expose());
        let mut given = headers(&[
            ("cookie", &format!("a=b; {ours}; c=\"d\"")),
            ("cookie", "__host-COUNTERSIGN=x"),
            ("ucloud-web-session", "x"),
            ("ucloud-username", "x"),
            ("x-forwarded-for", "x"),
            ("x-forwarded-host", "x"),
            ("forwarded", "x"),
            ("x-request-id", "x"),
            ("connection", "keep-alive"),
            ("te", "trailers"),
            ("authorization", "token of the application"),
            ("accept", "text/html"),
        ]);
        strip_request(&mut given);
        let want = headers(&[
            ("cookie", "a=b; c=\"d\""),
            ("authorization", "token of the application"),
            ("accept", "text/html"),
        ]);
        assert_eq!(given, want);
    }

    #[test]
    fn j06_an_application_reaches_no_other_host_and_not_the_session() {
        let check = |cookie: &str, want: Option<&str>| {
            let mut given = headers(&[("set-cookie", cookie)]);
            strip_response(&mut given);
            assert_eq!(given.get(SET_COOKIE).map(|value| value.to_str().unwrap()), want, "{cookie}");
        };
        check("a=b", Some("a=b"));
        check("a=b; Path=/; Domain=.example.org; HttpOnly", Some("a=b; Path=/; HttpOnly"));
        check("a=b;dOmAiN=x;domain", Some("a=b"));
        check("__Host-countersign=x; Path=/; Secure", None);
        check(" __host-Countersign =x", None);
        check("=__Host-countersign=x", None);
        check("__Host-countersign", None);
        let mut given = headers(&[
            ("alt-svc", "h3=\":443\""),
            ("clear-site-data", "\"cookies\""),
            ("strict-transport-security", "max-age=0"),
            ("ucloud-web-outcome", "ended"),
            ("content-type", "text/html"),
            ("location", "/tree"),
        ]);
        strip_response(&mut given);
        assert_eq!(given, headers(&[("content-type", "text/html"), ("location", "/tree")]));
    }

    #[test]
    fn j06_pages_of_other_interfaces_use_no_cookie() {
        let own = "https://app-1-0.example.org";
        let check = |method: &Method, given: &[(&'static str, &str)], want: bool| {
            assert_eq!(is_of_its_own_page(method, &headers(given), own), want, "{method} {given:?}");
        };
        let (site, mode, dest) = ("sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest");
        check(&Method::GET, &[], true);
        check(&Method::POST, &[("origin", own), (site, "same-origin")], true);
        check(&Method::GET, &[(site, "cross-site"), (mode, "navigate"), (dest, "document")], true);
        check(&Method::POST, &[(site, "cross-site"), (mode, "navigate"), (dest, "document")], false);
        check(&Method::GET, &[(site, "same-site"), (mode, "navigate"), (dest, "iframe")], false);
        check(&Method::GET, &[(site, "same-site"), (mode, "no-cors"), (dest, "script")], false);
        check(&Method::GET, &[(site, "same-site")], false);
        check(&Method::GET, &[("origin", "https://app-2-0.example.org")], false);
        check(&Method::GET, &[("origin", "null")], false);
        check(&Method::GET, &[("origin", own), ("origin", "https://hpc.example.org")], false);
    }
}
