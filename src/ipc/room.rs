//! The connections between gateway and server's service endpoint, divided by who asks.
//!
//! The gateway keeps to its parts, so that what strangers and users ask leaves room for Core's
//! calls.

/// All of them.
pub(crate) const CONNECTIONS: usize = 2_048;

/// Public calls under way: connection pages, of which each waits in one.
pub(crate) const PUBLIC: usize = 1_024;

/// Public calls of one address under way: a course in one room.
pub(crate) const PUBLIC_EACH: usize = 256;

/// Calls of users' own browsers under way.
pub(crate) const OWN: usize = 512;

/// The same of one user.
pub(crate) const OWN_EACH: usize = 16;

/// Pages of one ticket that wait at a time: a few tabs.
pub(crate) const POLLS_EACH_TICKET: usize = 4;

/// What is left for Core's own calls, and for connections that are kept.
const _: () = assert!(PUBLIC + OWN + 256 <= CONNECTIONS, "Core's calls have room that nobody else can take");
