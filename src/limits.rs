//! Limits for what senders share: rates, counts in flight, and bounded room.
//!
//! Every limit has a key, the sender: an address, a user, a uid, a ticket. A sender that asks for
//! too much is refused, or loses what it holds; no sender can use up what the others need. Time is
//! an argument. What is refused here was not judged: these limits keep no promise of P1 to P7, and
//! protect availability (P8) and the size of the log (P9).

mod counted;
mod rate;
mod shares;

pub(crate) use self::counted::{Counted, InFlight};
pub(crate) use self::rate::{Bucket, Rate, RateLimiter, network_of};
pub(crate) use self::shares::{Shares, Ticket};
