//! Shares of the connections from the gateway to the server's service endpoint.
//!
//! The gateway limits the calls of strangers and users, so that Core's calls always have room.

/// All connections.
pub const CONNECTIONS: usize = 2_048;

/// Public calls in flight. A waiting connection page holds one.
pub const PUBLIC: usize = 1_024;

/// Public calls in flight by address: a class in one room.
pub const PUBLIC_EACH: usize = 256;

/// Direct calls in flight.
pub const DIRECT: usize = 512;

/// Direct calls of one user in flight.
pub const DIRECT_EACH: usize = 16;

/// Waiting pages of one ticket: a few tabs.
pub const POLLS_EACH_TICKET: usize = 4;

/// The rest is for Core's own calls and for idle connections.
const _: () = assert!(PUBLIC + DIRECT + 256 <= CONNECTIONS, "Core's calls have room that no other sender can take");
