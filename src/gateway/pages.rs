//! The pages at the provider's origin: connecting, the user's keys, the signer, the front page, and
//! the explanation of a refusal.
//!
//! All but the last are rendered at start-up. A page contains nothing of a request; a refusal's
//! page has the gateway's own text and request id. A page may run and load only the gateway's
//! scripts and styles, cannot be framed, and sends no referrer.

pub(crate) mod assets;
pub(crate) mod call_table;
pub(crate) mod document;

use askama::Template;
use bytes::Bytes;
use countersign_keys::identity::{Origin, ProviderId};
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, REFERRER_POLICY,
    X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method};

use crate::pages::assets::{Assets, of_image};
use crate::pages::document::Document;
use crate::response::request_id::RequestId;
use crate::response::{Answer, AnswerBody, CROSS_ORIGIN_RESOURCE_POLICY};
use countersign_config::{Brand, Logo, LogoKind, Provider};
use countersign_ipc::error_code::ErrorCode;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// The icon's path does not change with its content, so browsers keep it for a day only.
const FOR_A_DAY: HeaderValue = HeaderValue::from_static("public, max-age=86400");

/// The icon of a site without a logo.
const SHIELD: &[u8] = br##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path fill="#0b5cad" d="M12 2 4 5v6c0 5 3.4 9.3 8 11 4.6-1.7 8-6 8-11V5z"/><path fill="none" stroke="#fff" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" d="m8 12 3 3 5.5-6"/></svg>"##;

/// CSP of every page. No inline script or style, no `eval`, no string that becomes markup, no form,
/// no framing.
const MAY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'none'; \
     base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

/// Browser features that a page may use: passkeys, and writing to the clipboard when the user
/// presses a button.
const MAY_USE: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), autoplay=(), browsing-topics=(), camera=(), clipboard-read=(), \
     clipboard-write=(self), display-capture=(), encrypted-media=(), fullscreen=(), gamepad=(), geolocation=(), gyroscope=(), \
     hid=(), identity-credentials-get=(), idle-detection=(), local-fonts=(), magnetometer=(), microphone=(), midi=(), \
     otp-credentials=(), payment=(), picture-in-picture=(), publickey-credentials-create=(self), \
     publickey-credentials-get=(self), screen-wake-lock=(), serial=(), storage-access=(), usb=(), \
     window-management=(), xr-spatial-tracking=()",
);

/// Headers of every page.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (CONTENT_SECURITY_POLICY, MAY),
    (HeaderName::from_static("permissions-policy"), MAY_USE),
    (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // Revalidated each time, so that a newer program's page takes effect at once. Most answers are
    // 304.
    (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// Whether the window that opened a page keeps access to it.
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Declares a page's template. All have the same five fields, some more.
macro_rules! template {
    ($name:ident, $path:literal $(, $more:ident)*) => {
        #[derive(Template)]
        #[template(path = $path)]
        struct $name<'s> {
            provider: &'s str,
            origin: &'s str,
            core_origin: &'s str,
            brand: &'s Shown,
            /// The path in front of `js/…` and `css/…`.
            web: &'s str,
            $($more: &'s str,)*
        }
    };
}

template!(ConnectTemplate, "connect.html");
template!(KeysTemplate, "keys.html");
template!(SignerTemplate, "signer.html");
template!(InterfaceTemplate, "interface.html");
template!(FrontTemplate, "front.html");
template!(ProblemTemplate, "problem.html", heading, why, remedy, status, code, id);

/// The provider as pages show it.
#[derive(Clone, Debug)]
struct Shown {
    title: String,
    icon: String,
    /// The logo's path, if the site has one.
    logo: Option<String>,
    contact: Option<Link>,
}

#[derive(Clone, Debug)]
struct Link {
    link: String,
    text: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Page {
    /// Connects a user to an account.
    Connect,
    /// Shows a user's keys and passkeys.
    Keys,
    /// Signs for a page of Core's, which opened its window.
    Signer,
    /// Says what opens an interface of a job.
    Interface,
}

/// All pages, and their assets.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    connect: Document,
    keys: Document,
    signer: Document,
    interface: Document,
    front: Document,
    icon: Document,
    assets: Assets,
    provider: ProviderId,
    origin: Origin,
    core_origin: Origin,
    shown: Shown,
}

impl Pages {
    pub(crate) fn new(site: &Provider, core_origin: &Origin) -> Result<Self, askama::Error> {
        let Brand { title, logo, contact } = &site.brand;
        let shield = Logo { content: Bytes::from_static(SHIELD), kind: LogoKind::Svg };
        let icon = logo.as_ref().unwrap_or(&shield);
        let assets = Assets::new(&site.id, icon);
        let shown = Shown {
            title: title.clone(),
            icon: assets.icon().to_owned(),
            logo: logo.as_ref().map(|_| assets.icon().to_owned()),
            contact: contact.as_ref().map(|contact| Link { link: contact.link(), text: contact.text().to_owned() }),
        };
        let (provider, origin, core, brand) = (site.id.as_str(), site.origin.as_str(), core_origin.as_str(), &shown);
        let web = assets.folder();
        Ok(Self {
            connect: page(ConnectTemplate { provider, origin, core_origin: core, brand, web }.render()?),
            keys: page(KeysTemplate { provider, origin, core_origin: core, brand, web }.render()?),
            signer: page(SignerTemplate { provider, origin, core_origin: core, brand, web }.render()?),
            interface: page(InterfaceTemplate { provider, origin, core_origin: core, brand, web }.render()?),
            front: page(FrontTemplate { provider, origin, core_origin: core, brand, web }.render()?),
            icon: Document::from(icon),
            assets,
            provider: site.id.clone(),
            origin: site.origin.clone(),
            core_origin: core_origin.clone(),
            shown,
        })
    }

    /// The front page and the icon; `None` for other requests.
    pub(crate) fn front(&self, head: &Parts) -> Option<Answer> {
        if head.method != Method::GET || head.uri.query().is_some() {
            return None;
        }
        match head.uri.path() {
            "/" if wants_page(head) => Some(of_page(self.front.answer(&head.headers), "same-origin")),
            "/favicon.ico" => {
                let mut answer = self.icon.answer(&head.headers);
                of_image(answer.headers_mut(), &FOR_A_DAY);
                Some(answer)
            }
            _ => None,
        }
    }

    /// Turns the response to a refused request into a page, for a browser.
    pub(crate) fn explain(&self, answer: &mut Answer, told: ErrorCode, why: &str, id: &RequestId) {
        let (heading, remedy) = in_words(told);
        let rendered = ProblemTemplate {
            provider: self.provider.as_str(),
            origin: self.origin.as_str(),
            core_origin: self.core_origin.as_str(),
            brand: &self.shown,
            web: self.assets.folder(),
            heading,
            why: &sentence(why),
            remedy,
            status: &told.number().to_string(),
            code: told.code(),
            id: id.as_str(),
        };
        // A template of texts always renders; otherwise the JSON stays.
        if let Ok(rendered) = rendered.render() {
            *answer.body_mut() = AnswerBody::Whole(Bytes::from(rendered));
            let headers = answer.headers_mut();
            headers.extend(HEADERS);
            headers.insert(CONTENT_TYPE, HTML);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"));
        }
    }

    pub(crate) fn page(&self, page: Page, asked: &HeaderMap) -> Answer {
        // The signer talks to the window that opened it, which has another origin; the other pages
        // talk to none.
        let (document, opener_policy) = match page {
            Page::Connect => (&self.connect, "same-origin"),
            Page::Keys => (&self.keys, "same-origin"),
            Page::Signer => (&self.signer, "unsafe-none"),
            Page::Interface => (&self.interface, "same-origin"),
        };
        of_page(document.answer(asked), opener_policy)
    }

    /// An asset of the pages; `None` for other requests.
    pub(crate) fn asset(&self, method: &Method, target: &http::Uri, asked: &HeaderMap) -> Option<Answer> {
        self.assets.answer(method, target, asked)
    }
}

/// Whether a person sees the response: a browser that opens a page asks for HTML, and programs do
/// not. Frames do not count, because the gateway's pages are never framed.
pub(crate) fn wants_page(head: &Parts) -> bool {
    let is_html = |value: &HeaderValue| {
        let mut types = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        types
            .any(|one| one.split(|byte| *byte == b';').next().is_some_and(|one| one.eq_ignore_ascii_case(b"text/html")))
    };
    let is_document = head.headers.get_all("sec-fetch-dest").iter().all(|value| value == "document");
    is_document && head.method == Method::GET && head.headers.get_all(ACCEPT).iter().any(is_html)
}

fn page(rendered: String) -> Document {
    Document::new(rendered.into_bytes(), "text/html; charset=utf-8")
}

fn of_page(mut answer: Answer, opener_policy: &'static str) -> Answer {
    let headers = answer.headers_mut();
    headers.extend(HEADERS);
    headers.insert(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static(opener_policy));
    answer
}

/// The heading and the remedy of a refusal's page.
const fn in_words(told: ErrorCode) -> (&'static str, &'static str) {
    const AGAIN: &str = "Try again in a minute. If it stays like this, tell the computing centre's support.";
    const FROM_UCLOUD: &str = "Go back to UCloud and start again from there.";
    match told.number() {
        404 => ("Not found", "Check the address, or go back to UCloud."),
        401 | 482 => ("This link cannot be used", "Links are valid once, for a short time. Start again in UCloud."),
        403 => ("Not allowed", FROM_UCLOUD),
        429 => ("Too many requests", "Wait a moment, then reload this page."),
        449 | 500..=599 => ("Not available at the moment", AGAIN),
        _ => ("This request cannot be answered", FROM_UCLOUD),
    }
}

/// Adds a capital letter and a full stop.
fn sentence(why: &str) -> String {
    let mut letters = why.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}
