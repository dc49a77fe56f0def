//! Refuses requests whose response a browser would execute (Fetch Metadata; P1, V63, V64).
//!
//! Refuses service workers everywhere. For responses of instances and of the server, allows only
//! `fetch` and the navigation to a download. Browsers set these headers and pages cannot. A client
//! without them is an old browser or none; the response's own headers then keep a browser from
//! executing it.

use countersign_keys::call::{PublicCall, Route, SessionEndpoint};
use http::HeaderMap;
use http::header::HeaderName;

use crate::response::refusal::Refusal;

/// What the browser will do with the response.
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Sent by a browser that loads a service worker's script. The gateway's pages register none.
const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");

/// The navigation of a download: in a window, or in a frame that a page hides.
const DOWNLOAD: &[&str] = &["document", "iframe", "empty"];

/// The navigation of a window.
const DOCUMENT: &[&str] = &["document"];

/// `fetch` and `XMLHttpRequest` alone.
const FETCH: &[&str] = &["empty"];

/// WebSockets. Browsers that send a destination send one of these.
const SOCKET: &[&str] = &["websocket", "empty"];

/// Refuses a service worker's script: the worker would see every later request to this origin.
pub(crate) fn refuse_service_worker(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_worker = headers.get_all(SEC_FETCH_DEST).iter().any(|value| value == "serviceworker");
    if is_worker || headers.contains_key(SERVICE_WORKER) {
        return Err(Refusal::Destination("a service worker"));
    }
    Ok(())
}

/// Refuses a destination that the route does not allow.
pub(crate) fn check(route: &Route, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(allowed) = allowed(route) else { return Ok(()) };
    let is_allowed = |value: &http::HeaderValue| allowed.iter().any(|known| value == known);
    if headers.get_all(SEC_FETCH_DEST).iter().all(is_allowed) {
        Ok(())
    } else {
        Err(Refusal::Destination("another use of the answer than to read or keep it"))
    }
}

/// Destinations that a route allows; `None` for the gateway's own pages.
const fn allowed(route: &Route) -> Option<&'static [&'static str]> {
    match route {
        Route::Public(
            PublicCall::ConnectPage | PublicCall::KeysPage | PublicCall::SignerPage | PublicCall::InterfacePage,
        ) => None,
        Route::Session(SessionEndpoint::Download) => Some(DOWNLOAD),
        Route::Session(SessionEndpoint::Web) => Some(DOCUMENT),
        Route::Socket
        | Route::Session(SessionEndpoint::UploadSocket | SessionEndpoint::ShellSocket | SessionEndpoint::VncSocket) => {
            Some(SOCKET)
        }
        Route::Public(_) | Route::Private(_) | Route::Direct(_) | Route::Session(SessionEndpoint::ChunkedUpload) => {
            Some(FETCH)
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign_keys::call::{CallTable, Method};
    use countersign_keys::identity::ProviderId;

    use super::*;

    fn with(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), http::HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn v64_s01_a_service_workers_script_is_refused_wherever_it_is_asked_for() {
        assert!(refuse_service_worker(&HeaderMap::new()).is_ok());
        assert!(refuse_service_worker(&with(SEC_FETCH_DEST, &["script"])).is_ok());
        for headers in [
            with(SERVICE_WORKER, &["script"]),
            with(SERVICE_WORKER, &[""]),
            with(SEC_FETCH_DEST, &["serviceworker"]),
            with(SEC_FETCH_DEST, &["empty", "serviceworker"]),
        ] {
            assert!(matches!(refuse_service_worker(&headers), Err(Refusal::Destination(_))), "{headers:?}");
        }
    }

    #[test]
    fn v63_s01_an_instances_answer_is_read_or_kept_and_never_run() {
        let provider = ProviderId::parse("hpc").unwrap();
        let calls = CallTable::new(&provider, &[]).unwrap();
        let takes = |method: Method, path: &str, values: &[&'static str]| {
            check(calls.route(method, path).unwrap(), &with(SEC_FETCH_DEST, values)).is_ok()
        };
        let download = |values: &[&'static str]| takes(Method::Get, "/ucloud/hpc/download", values);
        let chunk = |values: &[&'static str]| takes(Method::Post, "/ucloud/hpc/chunked/upload", values);
        let page = |values: &[&'static str]| takes(Method::Get, "/ucloud/hpc/connect", values);
        assert!(download(&[]) && download(&["document"]) && download(&["iframe"]) && download(&["empty"]));
        assert!(chunk(&[]) && chunk(&["empty"]) && page(&["document"]));
        for run in ["script", "style", "worker", "sharedworker", "serviceworker", "object", "embed", "xslt", "manifest"]
        {
            assert!(!download(&[run]) && !chunk(&[run]), "{run}");
        }
        for shown in ["image", "video", "audio", "track", "font", "frame", "json", "", "Document", "document, empty"] {
            assert!(!download(&[shown]) && !chunk(&[shown]), "{shown}");
        }
        assert!(!download(&["document", "script"]) && !chunk(&["document"]));
    }
}
