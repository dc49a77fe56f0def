//! Health checks of load balancers and monitoring: cheap, the same for everybody, and no decision
//! for the log.
//!
//! `/healthz` says that the process answers. `/readyz` says that it can judge requests, too: a
//! clock that it believes. Without the server's line there is no gateway, so that needs no
//! question. `HEAD` and `OPTIONS` of `/` are HAProxy's and others' own ideas of a check. A version
//! older than HTTP/1.1 is refused before this is asked.

use http::Method;
use http::request::Parts;

use super::ingress::Ingress;
use super::response::{self, Answer};

impl Ingress {
    /// The answer to a health check; `None` if the request is something else.
    pub(super) fn health(&self, head: &Parts) -> Option<Answer> {
        let is_check = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let is_plain = is_check && head.uri.query().is_none();
        match head.uri.path() {
            "/healthz" if is_plain => Some(response::health(true)),
            "/readyz" if is_plain => Some(response::health(self.now().is_ok())),
            "/" if is_plain && head.method != Method::GET => Some(response::health(true)),
            _ => None,
        }
    }
}
