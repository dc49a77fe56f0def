//! The web pages of the test portal: UCloud's page ([`ucloud`]) at Core's origin, and the centre's
//! desk ([`desk`]) at another origin, so that UCloud's page cannot read or control it.

mod assets;
mod console;
mod core_behaviour;
mod desk;
mod ucloud;
mod user_api;

use std::sync::Arc;

use bytes::Bytes;
use countersign_portal::CoreKeys;
use countersign_portal::core::Control;
use countersign_portal::site::{Body, Site};
use http::{HeaderValue, Response};
use tokio::net::TcpListener;

use self::desk::Desk;
use self::ucloud::Ucloud;
use crate::demo_provider::DemoProvider;
use crate::program_error::ProgramError;

/// Both pages. Dropping the value ends the desk's page.
pub(crate) struct Pages {
    desk: Site,
}

impl Pages {
    /// Serves both pages; the desk uses this listener.
    pub(crate) async fn open(
        keys: &Arc<CoreKeys>,
        control: &Arc<Control>,
        demo_provider: &Arc<DemoProvider>,
        desk: TcpListener,
    ) -> Result<Self, ProgramError> {
        let listener = desk;
        let address = listener.local_addr().map_err(|why| ProgramError::with_causes("the desk's page", &why))?;
        let desk_origin = format!("http://{address}");
        let desk = Arc::new(Desk::new(desk_origin.clone(), control.origin(), Arc::clone(demo_provider)));
        let ucloud = Ucloud::new(Arc::clone(keys), control, Arc::clone(demo_provider), desk_origin)?;
        let ucloud = Arc::new(ucloud);
        control.serve(Arc::new(move |request: http::Request<Bytes>| {
            let ucloud = Arc::clone(&ucloud);
            Box::pin(async move { ucloud.answer(request).await })
        }));
        let pages = move |request: http::Request<Bytes>| -> countersign_portal::site::Answering {
            let desk = Arc::clone(&desk);
            Box::pin(async move { desk.answer(request).await })
        };
        Ok(Self { desk: Site::serve(listener, Arc::new(pages))? })
    }

    /// The origin of the desk's page.
    pub(crate) fn desk_origin(&self) -> String {
        self.desk.origin()
    }
}

/// The other origins that a page may work with.
struct PageOrigins<'a> {
    /// The origins that it may call.
    asks: &'a str,
    /// The origins that it may show in a frame.
    frames: &'a str,
    /// The origins that may show it in a frame.
    framed_by: &'a str,
    /// The sources of its styles.
    styles: &'static str,
}

/// Adds the security headers of a page: a content security policy with scripts only from its own
/// origin and with the origins of `knows`.
fn with_security_headers(mut response: Response<Body>, knows: &PageOrigins<'_>) -> Response<Body> {
    let PageOrigins { asks, frames, framed_by, styles } = knows;
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src {styles}; img-src 'self' data:; connect-src 'self' {asks}; \
         frame-src {frames}; form-action 'none'; base-uri 'none'; frame-ancestors {framed_by}; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert("content-security-policy", policy);
    }
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    response
}
