//! CORS: Core's pages and the gateway's own may use it from a browser, without credentials (V48).
//!
//! Pages may deposit an intent, read the call table, download a file and upload a chunk. A
//! preflight allows exactly the method and headers that these need.
//!
//! Browser extensions (protocol, section 11) are treated like a client without a page: the browser
//! lets an extension send these requests only if its user permitted it to act at this origin. No
//! web page can have such an origin. An extension without the permission needs a preflight, which
//! is refused.

use countersign_keys::call::{PublicCall, Route, SessionEndpoint};
use countersign_keys::identity::Origin;
use http::HeaderValue;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, ORIGIN, VARY,
};

use crate::response::refusal::Refusal;

/// How long a browser may cache a preflight, in seconds.
const REMEMBERED_S: u64 = 600;

/// What pages may request across origins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ForPages {
    /// Depositing an intent.
    Deposit,
    Calls,
    /// Downloading a file.
    Download,
    /// Uploading a chunk of a file.
    Chunk,
}

impl ForPages {
    /// The cross-origin use of that route, if it has one.
    pub(crate) const fn of(route: &Route) -> Option<Self> {
        match route {
            Route::Public(PublicCall::DepositIntent) => Some(Self::Deposit),
            Route::Public(PublicCall::Calls) => Some(Self::Calls),
            Route::Session(SessionEndpoint::Download) => Some(Self::Download),
            Route::Session(SessionEndpoint::ChunkedUpload) => Some(Self::Chunk),
            // WebSockets have no preflight; their handshake checks the origin.
            Route::Session(
                SessionEndpoint::UploadSocket | SessionEndpoint::ShellSocket | SessionEndpoint::VncSocket,
            )
            | Route::Socket => None,
            // Opened by navigation, in a window of its own.
            Route::Session(SessionEndpoint::Web) => None,
            Route::Public(_) | Route::Private(_) | Route::Direct(_) => None,
        }
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Deposit | Self::Chunk => "POST",
            Self::Calls => "GET",
            Self::Download => "GET, HEAD",
        }
    }

    const fn headers(self) -> &'static str {
        match self {
            Self::Deposit => "content-type",
            Self::Calls => "if-none-match",
            Self::Download => "range, if-range, ucloud-signed-intent",
            Self::Chunk => {
                "content-type, content-digest, chunked-upload-token, chunked-upload-offset, chunked-upload-total-size, \
                 ucloud-username, ucloud-session-enc, ucloud-signed-intent"
            }
        }
    }
}

/// Response headers that a page may read.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("x-request-id, etag, content-disposition, content-range, accept-ranges, last-modified");

#[derive(Clone, Debug)]
pub(crate) struct Cors {
    core: Origin,
    own: Origin,
}

/// A page's origin, found to be allowed.
#[derive(Clone, Debug)]
pub(crate) struct Admitted(HeaderValue);

impl Cors {
    pub(crate) fn new(core: Origin, own: Origin) -> Self {
        Self { core, own }
    }

    /// Checks the `Origin` header; `None` without one, and for an extension.
    pub(crate) fn admitted(&self, headers: &HeaderMap) -> Result<Option<Admitted>, Refusal> {
        if is_extension(headers) { Ok(None) } else { self.one_of(&[&self.core, &self.own], headers) }
    }

    /// As [`Cors::admitted`], for the gateway's own pages and extensions alone. A foreign page
    /// could offer a key in a user's name.
    pub(crate) fn own(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if is_extension(headers) { Ok(()) } else { self.one_of(&[&self.own], headers).map(drop) }
    }

    /// Checks a preflight for that use.
    pub(crate) fn preflight(&self, wanted: ForPages, headers: &HeaderMap) -> Result<Admitted, Refusal> {
        let admitted = self.admitted(headers)?.ok_or(Refusal::CrossOrigin("a preflight without an origin"))?;
        let is_method =
            |asked: &HeaderValue| wanted.methods().split(", ").any(|known| asked.as_bytes() == known.as_bytes());
        if !headers.get(ACCESS_CONTROL_REQUEST_METHOD).is_some_and(is_method) {
            return Err(Refusal::CrossOrigin("another method than the call's"));
        }
        let asked = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).map_or(&b""[..], HeaderValue::as_bytes);
        let mut asked = asked.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
        let is_known =
            |name: &[u8]| wanted.headers().split(", ").any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if !asked.all(is_known) {
            return Err(Refusal::CrossOrigin("a header that no call needs"));
        }
        Ok(admitted)
    }

    fn one_of(&self, origins: &[&Origin], headers: &HeaderMap) -> Result<Option<Admitted>, Refusal> {
        match headers.get(ORIGIN) {
            None => Ok(None),
            Some(origin) if origins.iter().any(|ours| ours.as_str().as_bytes() == origin.as_bytes()) => {
                Ok(Some(Admitted(origin.clone())))
            }
            Some(_) => Err(Refusal::CrossOrigin("a page of another origin")),
        }
    }
}

/// Whether the origin is that of a browser extension, in the form of Chromium or Firefox.
fn is_extension(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let (Some(origin), None) = (origins.next().map(HeaderValue::as_bytes), origins.next()) else { return false };
    let is_chromium = |id: &[u8]| id.len() == 32 && id.iter().all(|byte| (b'a'..=b'p').contains(byte));
    let is_firefox = |id: &[u8]| {
        let mut groups = id.split(|byte| *byte == b'-');
        let lengths = [8, 4, 4, 4, 12];
        let is_hex = |group: &[u8]| group.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        lengths.into_iter().all(|length| groups.next().is_some_and(|group| group.len() == length && is_hex(group)))
            && groups.next().is_none()
    };
    origin.strip_prefix(b"chrome-extension://").is_some_and(is_chromium)
        || origin.strip_prefix(b"moz-extension://").is_some_and(is_firefox)
}

impl Admitted {
    /// Lets the page read the response.
    pub(crate) fn allow(&self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.0.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }

    /// Sets the preflight's own headers.
    pub(crate) fn allow_to_go_on(wanted: ForPages, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(wanted.methods()));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(wanted.headers()));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(REMEMBERED_S));
    }
}

/// Keeps shared caches from giving one page's response to another.
pub(crate) fn vary(headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors() -> Cors {
        let origin = |text| Origin::parse(text).unwrap();
        Cors::new(origin("https://cloud.sdu.dk"), origin("https://hpc.example.org"))
    }

    fn headers(given: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = given.iter().map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_static(value)));
        pairs.collect::<HeaderMap>()
    }

    #[test]
    fn v48_two_origins_are_admitted_and_no_other() {
        let check = |origin: &'static str, want: bool| {
            assert_eq!(cors().admitted(&headers(&[("origin", origin)])).is_ok(), want, "{origin}");
        };
        check("https://cloud.sdu.dk", true);
        check("https://hpc.example.org", true);
        check("https://cloud.sdu.dk.evil.example", false);
        check("http://cloud.sdu.dk", false);
        check("https://CLOUD.sdu.dk", false);
        check("https://cloud.sdu.dk:443", false);
        check("null", false);
        check("*", false);
        assert!(cors().admitted(&headers(&[])).unwrap().is_none(), "no page asks");
        assert!(cors().own(&headers(&[("origin", "https://cloud.sdu.dk")])).is_err());
        assert!(cors().own(&headers(&[("origin", "https://hpc.example.org")])).is_ok());
    }

    #[test]
    fn v48_an_extension_is_no_page_and_gets_no_preflight() {
        let preflight = |origin: &'static str| {
            let asked = [("origin", origin), ("access-control-request-method", "POST")];
            cors().preflight(ForPages::Deposit, &headers(&asked)).is_ok()
        };
        let check = |origin: &'static str, want: bool| {
            let given = headers(&[("origin", origin)]);
            assert_eq!(cors().own(&given).is_ok(), want, "{origin}");
            assert_eq!(cors().admitted(&given).is_ok_and(|page| page.is_none()), want, "{origin}");
            assert!(!preflight(origin), "{origin}");
        };
        check("chrome-extension://abcdefghijklmnopabcdefghijklmnop", true);
        check("moz-extension://0f8fad5b-d9cb-469f-a165-70867728950e", true);
        check("chrome-extension://abcdefghijklmnopabcdefghijklmno", false);
        check("chrome-extension://abcdefghijklmnopabcdefghijklmnoq", false);
        check("chrome-extension://abcdefghijklmnopabcdefghijklmnop/", false);
        check("moz-extension://0F8FAD5B-d9cb-469f-a165-70867728950e", false);
        check("moz-extension://0f8fad5b-d9cb-469f-a165-70867728950e-0", false);
        check("moz-extension://0f8fad5bd9cb469fa16570867728950e", false);
        check("safari-web-extension://0f8fad5b-d9cb-469f-a165-70867728950e", false);
        check("https://chrome-extension", false);
        let two = headers(&[("origin", "chrome-extension://abcdefghijklmnopabcdefghijklmnop"), ("origin", "null")]);
        assert!(cors().own(&two).is_err(), "two origins");
    }

    #[test]
    fn v48_a_preflight_is_exact() {
        let check = |call, given: &[(&'static str, &'static str)], want: bool| {
            assert_eq!(cors().preflight(call, &headers(given)).is_ok(), want, "{given:?}");
        };
        let origin = ("origin", "https://cloud.sdu.dk");
        let method = ("access-control-request-method", "POST");
        let asks = |value| ("access-control-request-headers", value);
        check(ForPages::Deposit, &[origin, method], true);
        check(ForPages::Deposit, &[origin, method, asks("content-type")], true);
        check(ForPages::Deposit, &[origin, method, asks("content-type,authorization")], false);
        check(ForPages::Deposit, &[origin, method, asks("ucloud-username")], false);
        check(ForPages::Deposit, &[origin, ("access-control-request-method", "PUT")], false);
        check(ForPages::Deposit, &[origin], false);
        check(ForPages::Deposit, &[method], false);
        check(ForPages::Deposit, &[("origin", "https://evil.example"), method], false);
        check(ForPages::Calls, &[origin, ("access-control-request-method", "GET")], true);
        check(ForPages::Calls, &[origin, method], false);
        check(ForPages::Download, &[origin, ("access-control-request-method", "HEAD"), asks("Range")], true);
        check(ForPages::Download, &[origin, method], false);
        check(ForPages::Chunk, &[origin, method, asks("chunked-upload-token, content-digest")], true);
        check(ForPages::Chunk, &[origin, method, asks("authorization")], false);
    }
}
