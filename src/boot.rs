//! Which boot of this machine it is, and when it began.
//!
//! What is in the page cache survives a process and not the machine. So what was written before
//! this boot may be lost, and what was signed before it must be refused (P4). Nothing that was used
//! before the boot was signed after it.

use std::io;

use countersign_keys::jws::sha256;
use countersign_keys::time::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Where the kernel says by how much the clocks of this process's time namespace differ from the
/// machine's.
const TIME_OFFSETS: &str = "/proc/self/timens_offsets";

/// This boot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Boot {
    /// A digest of the kernel's id of it.
    pub(crate) id: [u8; 16],
    /// When it began, by the clock as it is set now; `None` where that cannot be told.
    pub(crate) at: Option<Timestamp>,
}

impl Boot {
    /// The boot that this machine is in. `wall` is what the clock reads.
    ///
    /// # Errors
    /// The kernel does not say which it is.
    pub(crate) fn current(wall: Timestamp) -> io::Result<Self> {
        let text = std::fs::read(BOOT_ID)?;
        let id = *sha256(&[&text]).first_chunk().unwrap_or(&[0; 16]);
        // In a time namespace of its own the clock may count from another machine's boot.
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

/// Whether a time namespace moves the clock that counts from the boot.
fn has_own_boot_time(offsets: &str) -> bool {
    let of_boot_time = offsets.lines().find_map(|line| line.strip_prefix("boottime"));
    of_boot_time.is_some_and(|offset| offset.split_whitespace().any(|number| number != "0"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
