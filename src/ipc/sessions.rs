//! What a session's request is called on its way from a browser to the gateway, and from the gateway to the instance.

use countersign_keys::request::SIGNED_INTENT;

/// The token, in the request of a piece of a file.
pub(crate) const TOKEN: &str = "chunked-upload-token";

/// Where a piece of a file belongs.
pub(crate) const OFFSET: &str = "chunked-upload-offset";

/// How long the whole file is.
pub(crate) const TOTAL: &str = "chunked-upload-total-size";

/// The digest of a body (RFC 9530).
pub(crate) const CONTENT_DIGEST: &str = "content-digest";

/// The user's proof.
pub(crate) const PROOF: &str = SIGNED_INTENT;

/// The token, from the gateway to the instance, whatever the endpoint.
pub(crate) const SESSION_TOKEN: &str = "ucloud-session-token";

/// Longest piece of a file, in bytes: what UCloud's own frontend sends at most.
pub(crate) const CHUNK_MAX: i64 = 32_000_000;
