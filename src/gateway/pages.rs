//! The pages that browsers open at the provider's own origin: connecting, one's keys, the signer.
//!
//! They are rendered once, when the gateway starts: nothing of a request is ever written into a page. Each may run our own scripts
//! and load our own styles and nothing else, is shown in no frame, and tells nobody where its reader came from.

use askama::Template;
use countersign_keys::identity::{Origin, ProviderId};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, REFERRER_POLICY, X_FRAME_OPTIONS};
use http::{HeaderValue, Method};

use super::assets::Assets;
use super::document::Document;
use super::respond::Answer;

/// What a page may do. No inline script or style, no `eval`, no string that becomes markup, no form, nobody's frame.
const MAY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'none'; \
     base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

/// What of the browser it may use: passkeys, and to put a command on the clipboard when a button is pressed.
const MAY_USE: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), autoplay=(), browsing-topics=(), camera=(), clipboard-read=(), \
     clipboard-write=(self), display-capture=(), encrypted-media=(), fullscreen=(), gamepad=(), geolocation=(), gyroscope=(), \
     hid=(), identity-credentials-get=(), idle-detection=(), local-fonts=(), magnetometer=(), microphone=(), midi=(), \
     otp-credentials=(), payment=(), picture-in-picture=(), publickey-credentials-create=(self), \
     publickey-credentials-get=(self), screen-wake-lock=(), serial=(), storage-access=(), usb=(), \
     window-management=(), xr-spatial-tracking=()",
);

/// What every page is sent with.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (CONTENT_SECURITY_POLICY, MAY),
    (HeaderName::from_static("permissions-policy"), MAY_USE),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // Asked for anew each time, so that a newer program's page is known at once; the answer is mostly "unchanged".
    (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// Whether whoever opened a page's window keeps a hand on it.
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Declares a page's template: all of them are filled with the same four things.
macro_rules! template {
    ($name:ident, $path:literal) => {
        #[derive(Template)]
        #[template(path = $path)]
        struct $name<'s> {
            provider: &'s str,
            origin: &'s str,
            core_origin: &'s str,
            /// The path in front of `js/…` and `css/…`.
            web: &'s str,
        }
    };
}

template!(ConnectTemplate, "connect.html");
template!(KeysTemplate, "keys.html");
template!(SignerTemplate, "signer.html");

/// One of the pages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Page {
    /// Connects a user to an account.
    Connect,
    /// Shows a user's keys and passkeys.
    Keys,
    /// Signs for a page of Core's, which opened its window.
    Signer,
}

/// All pages, and what they load.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    connect: Document,
    keys: Document,
    signer: Document,
    assets: Assets,
}

impl Pages {
    /// Renders them.
    pub(super) fn new(provider: &ProviderId, origin: &Origin, core_origin: &Origin) -> Result<Self, askama::Error> {
        let assets = Assets::new(provider);
        let (provider, origin, core_origin) = (provider.as_str(), origin.as_str(), core_origin.as_str());
        let web = assets.folder();
        let page = |rendered: String| Document::new(rendered.into_bytes(), "text/html; charset=utf-8");
        Ok(Self {
            connect: page(ConnectTemplate { provider, origin, core_origin, web }.render()?),
            keys: page(KeysTemplate { provider, origin, core_origin, web }.render()?),
            signer: page(SignerTemplate { provider, origin, core_origin, web }.render()?),
            assets,
        })
    }

    /// A page.
    pub(super) fn page(&self, page: Page, asked: &HeaderMap) -> Answer {
        // The signer answers the window that opened it, which is of another origin; the others have nobody to talk to.
        let (document, opener_policy) = match page {
            Page::Connect => (&self.connect, "same-origin"),
            Page::Keys => (&self.keys, "same-origin"),
            Page::Signer => (&self.signer, "unsafe-none"),
        };
        let mut answer = document.answer(asked);
        let headers = answer.headers_mut();
        headers.extend(HEADERS);
        headers.insert(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static(opener_policy));
        answer
    }

    /// What the pages load; `None` if the request is for something else.
    pub(super) fn asset(&self, method: &Method, target: &http::Uri, asked: &HeaderMap) -> Option<Answer> {
        self.assets.answer(method, target, asked)
    }
}
