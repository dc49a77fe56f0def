//! Health checks of load balancers and monitoring. Cheap, the same for every client, and not in the
//! decision log.
//!
//! `/healthz` reports that the process answers. `/readyz` also reports that it can serve users, as
//! [`crate::readiness`] found last. Neither asks the server, and neither gives a reason.
//! `HEAD` and `OPTIONS` of `/` are the default checks of HAProxy and others. Versions before
//! HTTP/1.1 are refused earlier.

use http::Method;
use http::request::Parts;

use crate::metrics::Lane;
use crate::response::{self, Answer};
use crate::state::Gateway;
use countersign_audit::Verdict;

impl Gateway {
    /// Answers a health check; `None` if the request is none.
    pub(crate) fn health(&self, head: &Parts) -> Option<Answer> {
        let is_check = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let is_plain = is_check && head.uri.query().is_none();
        let is_well = match head.uri.path() {
            "/healthz" if is_plain => true,
            "/readyz" if is_plain => self.is_ready(),
            "/" if is_plain && head.method != Method::GET => true,
            _ => return None,
        };
        self.metrics.admitted(Lane::Health, Verdict::Forward);
        Some(response::health(is_well))
    }
}
