//! The identity and time of this machine's present boot.
//!
//! The page cache survives a process but not the machine. So writes from before this boot may be
//! lost, and intents signed before it have to be refused (P4). Intents used before the boot were
//! not signed after it.

use std::io;

use countersign_keys::jws::sha256;
use countersign_keys::time::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// The kernel's id of the boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// How far the clocks of this process's time namespace differ from the machine's.
const TIME_OFFSETS: &str = "/proc/self/timens_offsets";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Boot {
    /// A digest of the kernel's id.
    pub id: [u8; 16],
    /// When it began, by the present clock; `None` if unknown.
    pub at: Option<Timestamp>,
}

impl Boot {
    /// The present boot. `wall` is the clock's reading.
    ///
    /// # Errors
    /// If the kernel does not name the boot.
    pub fn current(wall: Timestamp) -> io::Result<Self> {
        let text = std::fs::read(BOOT_ID)?;
        let id = *sha256(&[&text]).first_chunk().unwrap_or(&[0; 16]);
        // In a time namespace the clock may count from another machine's boot.
        let at = if has_own_boot_time(std::fs::read_to_string(TIME_OFFSETS).as_deref().unwrap_or("")) {
            None
        } else {
            clock_gettime(ClockId::CLOCK_BOOTTIME)
                .ok()
                .map(|up| wall.plus(up.tv_sec().saturating_add(1).saturating_neg()))
        };
        Ok(Self { id, at })
    }
}

/// Whether a time namespace shifts the clock that counts from the boot.
fn has_own_boot_time(offsets: &str) -> bool {
    let of_boot_time = offsets.lines().find_map(|line| line.strip_prefix("boottime"));
    of_boot_time.is_some_and(|offset| offset.split_whitespace().any(|number| number != "0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn the_boot_began_before_now_and_is_the_same_one_when_asked_again() {
        let now = Clock::System.now().unwrap();
        let boot = Boot::current(now).unwrap();
        assert_eq!(Boot::current(now).unwrap().id, boot.id);
        assert!(boot.at.is_none_or(|at| at < now));
    }

    #[test]
    fn a_time_namespace_with_another_boot_time_is_noticed() {
        assert!(!has_own_boot_time(""));
        assert!(!has_own_boot_time("monotonic           0         0\nboottime            0         0\n"));
        assert!(!has_own_boot_time("monotonic          70         0\nboottime            0         0\n"));
        assert!(has_own_boot_time("monotonic           0         0\nboottime         7200         0\n"));
        assert!(has_own_boot_time("monotonic           0         0\nboottime          -10         5\n"));
    }
}
