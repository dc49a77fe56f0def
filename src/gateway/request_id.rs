//! The name of one request, in the audit log and in its answer.
//!
//! A random beginning, drawn once, and a count: unique without a draw of random bytes for each
//! request. It is never taken from a client.

use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;

use crate::clock::{NoRandomness, random_bytes};

/// Makes request ids.
#[derive(Debug)]
pub(super) struct RequestIds {
    beginning: String,
    count: AtomicU64,
}

/// A request's id.
#[derive(Clone, Debug)]
pub(super) struct RequestId(String);

impl RequestIds {
    /// With a beginning that no other process has.
    pub(super) fn new() -> Result<Self, NoRandomness> {
        let beginning = u64::from_be_bytes(random_bytes::<8>()?);
        Ok(Self { beginning: format!("{beginning:016x}"), count: AtomicU64::new(0) })
    }

    /// The next.
    pub(super) fn next(&self) -> RequestId {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        RequestId(format!("{}-{count:x}", self.beginning))
    }
}

impl RequestId {
    /// As text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// As a header's value.
    pub(super) fn to_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or_else(|_never| HeaderValue::from_static("unknown"))
    }
}
