//! Limits on resources that senders share: rates, counts in flight, and bounded room.
//!
//! Every limit has a key, the sender: an address, a user, a uid, a ticket. A sender that exceeds
//! its limit is refused, or loses what it holds, so that it cannot use up what others need. Time is
//! an argument. Requests refused here were not verified: these limits keep none of P1 to P7. They
//! protect availability (P8) and the size of the log (P9).

mod counted;
mod rate;
mod shares;

pub use self::counted::{Counted, InFlight};
pub use self::rate::{Bucket, Rate, RateLimiter, network_of};
pub use self::shares::{Shares, Ticket};
