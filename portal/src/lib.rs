//! The test portal: everything that Countersign meets from outside, for the tests and `./demo`.
//!
//! [`core`] is UCloud's Core and [`site`] serves web pages. [`signer`], [`enrol`] and [`direct`] do
//! what a user's browser does. [`malicious`] has the attacks of a taken-over Core or of another
//! provider.
//!
//! Nothing here shares code with the product. Where both sides must agree on a byte, two
//! independent readings of the protocol meet, and a test fails if they differ.

pub mod authenticator;
pub mod certificate;
pub mod core;
pub mod direct;
pub mod enrol;
pub mod fault;
pub mod jws;
pub mod line;
pub mod malicious;
pub mod seal;
pub mod session;
pub mod signer;
pub mod site;

pub use crate::authenticator::Authenticator;
pub use crate::certificate::TestCertificate;
pub use crate::core::{Core, CoreKeys, Deed, Flavour, IntentForwarding, Request};
pub use crate::direct::DirectPage;
pub use crate::enrol::ConnectionPage;
pub use crate::fault::Fault;
pub use crate::line::{Answer, Endpoint};
pub use crate::seal::SealingKey;
pub use crate::signer::{Algorithm, BrowserKey, Draft, Intent};

/// The system's time in seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}
