//! Memory and descriptors of processes, from `/proc` (`proc(5)`).

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

/// Resident memory of this process, or of another of this account, in bytes.
pub(super) fn resident_bytes(pid: Option<i32>) -> Option<u64> {
    let of = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let text = std::fs::read_to_string(format!("/proc/{of}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    let page = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
    Some(pages.saturating_mul(page))
}

/// Open descriptors of this process, without the one that lists them.
pub(super) fn open_files() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

pub(super) fn open_files_max() -> Option<u64> {
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w01_a_process_has_memory_and_descriptors() {
        let own = resident_bytes(None).unwrap();
        assert!(own > 1024 * 1024, "{own}");
        assert!(resident_bytes(Some(i32::try_from(std::process::id()).unwrap())).unwrap() > 1024 * 1024);
        assert_eq!(resident_bytes(Some(i32::MAX)), None);
        let before = open_files().unwrap();
        let _open = std::fs::File::open("/dev/null").unwrap();
        // Other tests of this process open and close theirs.
        assert!(open_files().unwrap() >= 3 && before >= 3 && open_files_max().unwrap() > 3);
    }
}
