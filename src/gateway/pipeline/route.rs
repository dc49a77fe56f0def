//! Chooses the lane of a request, and answers what needs no verification: health checks, pages and
//! preflights (design, section 3).

use std::sync::Arc;

use countersign_keys::call::{CallTable, Method, Route, SessionEndpoint};
use countersign_keys::verify::Rejection;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::exchange::Exchange;
use crate::http1::head::{self, Purpose};
use crate::pipeline::budget::Budget;
use crate::pipeline::fetch_metadata;
use crate::response::Answer;
use crate::response::refusal::Refusal;

impl<'g> Exchange<'g> {
    /// Verifies a request, then forwards or refuses it.
    pub(crate) async fn admit(&mut self, head: &Parts, body: Incoming) -> Result<Answer, Refusal> {
        let (gateway, budget) = (self.gateway, Budget::from(Instant::now()));
        head::check(head, Purpose::Request)?;
        fetch_metadata::refuse_service_worker(&head.headers)?;
        if let Some(answer) = gateway.health(head) {
            return Ok(answer);
        }
        if let Some(answer) = gateway.pages.front(head) {
            return Ok(answer);
        }
        if head.method == http::Method::OPTIONS {
            return self.preflight(head);
        }
        // Assets are public, so this is no decision that the log has to keep.
        if let Some(asset) = gateway.pages.asset(&head.method, &head.uri, &head.headers) {
            return Ok(asset);
        }
        let calls = Arc::clone(&gateway.rules().calls);
        let route = route(&calls, head)?;
        fetch_metadata::check(route, &head.headers)?;
        match route {
            Route::Public(call) => self.public(*call, head, body).await,
            Route::Private(lane) => self.core(lane, head, body, budget).await,
            Route::Direct(row) => self.direct(row, head, body).await,
            Route::Session(endpoint @ (SessionEndpoint::Download | SessionEndpoint::ChunkedUpload)) => {
                self.session(*endpoint, head, body).await
            }
            Route::Session(_) | Route::Socket => Err(Rejection::NoSuchCall.into()),
        }
    }
}

/// Refuses a path that no table lists (V01), and a query, which no signature would cover.
fn route<'c>(calls: &'c CallTable, head: &Parts) -> Result<&'c Route, Rejection> {
    if head.method == http::Method::HEAD {
        let route = calls.route(Method::Get, head.uri.path());
        return route
            .filter(|route| matches!(route, Route::Session(SessionEndpoint::Download)))
            .ok_or(Rejection::NoSuchCall);
    }
    let method = Method::parse(head.method.as_str()).ok_or(Rejection::NoSuchCall)?;
    let route = calls.route(method, head.uri.path()).filter(|route| match route {
        // Their queries hold only what is verified.
        Route::Session(_) | Route::Socket => true,
        Route::Public(_) | Route::Private(_) | Route::Direct(_) => head.uri.query().is_none(),
    });
    route.ok_or(Rejection::NoSuchCall)
}
