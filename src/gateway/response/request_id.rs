//! Request ids, for the audit log and the response.
//!
//! A random prefix drawn once, and a count: unique without random bytes for each request. Never
//! taken from a client.

use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;

use countersign_os::clock::{NoRandomness, random_bytes};

#[derive(Debug)]
pub(crate) struct RequestIds {
    beginning: String,
    count: AtomicU64,
}

#[derive(Clone, Debug)]
pub(crate) struct RequestId(String);

impl RequestIds {
    /// Draws a prefix that no other process has.
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        let beginning = u64::from_be_bytes(random_bytes::<8>()?);
        Ok(Self { beginning: format!("{beginning:016x}"), count: AtomicU64::new(0) })
    }

    pub(crate) fn next(&self) -> RequestId {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        RequestId(format!("{}-{count:x}", self.beginning))
    }
}

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn to_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or_else(|_never| HeaderValue::from_static("unknown"))
    }
}
