//! Descriptors inherited from the parent process: listening sockets and the control channel.
//!
//! The only file of this crate with `unsafe` in release builds. Refuses descriptors that this
//! process opened, and other kinds of socket than requested (P7: an instance serves the socket that
//! the server made).

#![allow(unsafe_code)]

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt};
use tokio::io::unix::AsyncFd;

#[derive(Debug, thiserror::Error)]
pub enum DescriptorFailure {
    /// Not open, or `/proc` is missing.
    #[error("descriptor {0} is not open")]
    Closed(RawFd),
    /// Opened by this process, or taken before.
    #[error("descriptor {0} was not inherited")]
    NotInherited(RawFd),
    /// Another kind of descriptor.
    #[error("descriptor {descriptor} is not a {wanted}")]
    Kind {
        descriptor: RawFd,
        /// The requested kind.
        wanted: &'static str,
    },
    /// The kernel does not describe it.
    #[error("descriptor {descriptor} cannot be examined")]
    System {
        descriptor: RawFd,
        /// The cause.
        source: nix::Error,
    },
}

/// A bound and listening socket.
#[derive(Debug)]
pub enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Takes an inherited listening stream socket, and makes it non-blocking and close-on-exec.
pub fn take_listener(descriptor: RawFd) -> Result<Listener, DescriptorFailure> {
    let wanted = "listening stream socket";
    let (socket, family) = take_stream_socket(descriptor, wanted, true)?;
    match family {
        Some(AddressFamily::Unix) => Ok(Listener::Unix(UnixListener::from(socket))),
        Some(AddressFamily::Inet | AddressFamily::Inet6) => Ok(Listener::Tcp(TcpListener::from(socket))),
        _ => Err(DescriptorFailure::Kind { descriptor, wanted }),
    }
}

/// Takes an inherited, connected Unix stream socket (the control channel), and makes it
/// non-blocking and close-on-exec.
pub fn take_unix_stream(descriptor: RawFd) -> Result<UnixStream, DescriptorFailure> {
    let wanted = "connected Unix stream socket";
    let (socket, family) = take_stream_socket(descriptor, wanted, false)?;
    if family == Some(AddressFamily::Unix) {
        Ok(UnixStream::from(socket))
    } else {
        Err(DescriptorFailure::Kind { descriptor, wanted })
    }
}

/// Takes an inherited, connected Unix stream socket that occupies a standard stream, and puts
/// `/dev/null` in its place. So neither children nor output reach the socket.
pub fn take_unix_stream_elsewhere(descriptor: RawFd) -> Result<UnixStream, DescriptorFailure> {
    let system = |source: nix::Error| DescriptorFailure::System { descriptor, source };
    let inherited = take_unix_stream(descriptor)?;
    let failed = |error: std::io::Error| system(nix::Error::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO)));
    // The duplicate has a number above the standard streams.
    let elsewhere = inherited.try_clone().map_err(failed)?;
    let nothing = std::fs::File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
    let mut place = OwnedFd::from(inherited);
    nix::unistd::dup2(&nothing, &mut place).map_err(system)?;
    // Standard streams stay open.
    let _standard_stream = place.into_raw_fd();
    Ok(elsewhere)
}

/// Keeps inherited descriptors except the standard streams from child programs, for tests that
/// cannot close them.
#[cfg(any(test, feature = "testing"))]
pub fn keep_inherited_from_children() -> Result<(), nix::Error> {
    let flags = nix::libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: with this flag the call closes nothing and reads no memory: it marks descriptors as
    // close-on-exec. Without it, marking descriptors one by one would need as many unsafe borrows
    // of numbers, since std has no such call.
    let outcome = unsafe { nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, flags) };
    nix::errno::Errno::result(outcome).map(drop)
}

/// Closes inherited descriptors except the standard streams and `kept`: the parent may have left
/// any open. Has to be called before anything else is opened.
///
/// # Errors
/// If the kernel does not support it (before Linux 5.9).
pub fn close_others(kept: &[RawFd]) -> Result<(), nix::Error> {
    let mut kept: Vec<u32> = kept.iter().filter_map(|descriptor| u32::try_from(*descriptor).ok()).collect();
    kept.sort_unstable();
    let mut from = 3;
    for next in kept.into_iter().filter(|next| *next >= 3).chain([u32::MAX]) {
        if from < next {
            let to = if next == u32::MAX { next } else { next.saturating_sub(1) };
            // SAFETY: the call reads no memory. The closed descriptors came through exec: std has
            // opened none that it owns at this point, and those already taken are in `kept`. There
            // is no safe way to close a descriptor without an owner.
            let outcome = unsafe { nix::libc::syscall(nix::libc::SYS_close_range, from, to, 0) };
            nix::errno::Errno::result(outcome)?;
        }
        from = next.saturating_add(1);
    }
    Ok(())
}

/// A handle on another process (pidfd), which never refers to another process, even if the id is
/// reused.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// The process that has this id now. The caller has to know that it is the intended one.
    ///
    /// # Errors
    /// If there is none, or the kernel does not support it (before Linux 5.3).
    pub fn of(pid: i32) -> Result<Self, nix::Error> {
        // SAFETY: the call takes two numbers and returns a descriptor without another owner. nix
        // has no such call.
        let outcome = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, pid, 0) };
        let descriptor = nix::errno::Errno::result(outcome)?;
        let descriptor = RawFd::try_from(descriptor).map_err(|_| nix::errno::Errno::EBADF)?;
        // SAFETY: as above; this value becomes its only owner.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Registers the handle with the runtime: it becomes readable when the process ends.
    ///
    /// # Errors
    /// If it cannot be watched.
    pub fn watched(self) -> std::io::Result<AsyncFd<Self>> {
        // SAFETY: the descriptor that `AsRawFd` names belongs to this value, never changes, and is
        // closed only with it.
        unsafe { AsyncFd::register(self) }.map_err(std::io::Error::from)
    }

    /// Kills the process.
    ///
    /// # Errors
    /// If it has ended, or this account may not kill it.
    pub fn kill(&self) -> Result<(), nix::Error> {
        let (process, none) = (self.0.as_raw_fd(), std::ptr::null::<nix::libc::siginfo_t>());
        // SAFETY: the descriptor is open as long as `self` lives, and the call accepts a null
        // pointer for no further information.
        let outcome =
            unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_send_signal, process, nix::libc::SIGKILL, none, 0) };
        nix::errno::Errno::result(outcome).map(drop)
    }
}

// tokio requires both.
impl AsRawFd for Process {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn take_stream_socket(
    descriptor: RawFd,
    wanted: &'static str,
    listens: bool,
) -> Result<(OwnedFd, Option<AddressFamily>), DescriptorFailure> {
    let system = |source| DescriptorFailure::System { descriptor, source };
    let socket = take_inherited(descriptor, wanted)?;
    let stream = getsockopt(&socket, sockopt::SockType).map_err(system)? == SockType::Stream;
    if !stream || getsockopt(&socket, sockopt::AcceptConn).map_err(system)? != listens {
        return Err(DescriptorFailure::Kind { descriptor, wanted });
    }
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(system)?;
    let flags = fcntl(&socket, FcntlArg::F_GETFL).map_err(system)?;
    let flags = nix::fcntl::OFlag::from_bits_retain(flags) | nix::fcntl::OFlag::O_NONBLOCK;
    fcntl(&socket, FcntlArg::F_SETFL(flags)).map_err(system)?;
    let name: SockaddrStorage = getsockname(socket.as_raw_fd()).map_err(system)?;
    Ok((socket, name.family()))
}

/// Takes ownership of an inherited descriptor. Rust opens every descriptor with close-on-exec, so
/// one without that flag came through `exec`. The callers then set the flag, so that it cannot be
/// taken again.
fn take_inherited(descriptor: RawFd, wanted: &'static str) -> Result<OwnedFd, DescriptorFailure> {
    let link = std::fs::read_link(format!("/proc/self/fd/{descriptor}"))
        .map_err(|_error| DescriptorFailure::Closed(descriptor))?;
    if !link.to_string_lossy().starts_with("socket:") {
        return Err(DescriptorFailure::Kind { descriptor, wanted });
    }
    let state = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}"))
        .map_err(|_error| DescriptorFailure::Closed(descriptor))?;
    let flags = state.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok());
    match flags {
        Some(flags) if flags & nix::libc::O_CLOEXEC == 0 => {}
        _ => return Err(DescriptorFailure::NotInherited(descriptor)),
    }
    // SAFETY: the descriptor is open and came through exec, as just checked, so it has no owner in
    // this process. For std owns none of 0, 1 and 2, and opens all others with close-on-exec. Both
    // callers set that flag before they return, so it is taken once; if they fail, it is closed.
    // There is no safe conversion of a number to an owned descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a descriptor look inherited, and releases it.
    fn leave_open(socket: impl Into<OwnedFd>) -> RawFd {
        let socket = socket.into();
        fcntl(&socket, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        socket.into_raw_fd()
    }

    #[test]
    fn an_inherited_listener_is_taken_once() {
        let descriptor = leave_open(TcpListener::bind("127.0.0.1:0").unwrap());
        let taken = take_listener(descriptor).unwrap();
        assert!(matches!(taken, Listener::Tcp(_)));
        assert!(matches!(take_listener(descriptor), Err(DescriptorFailure::NotInherited(_))));
    }

    #[test]
    fn an_inherited_unix_listener_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let descriptor = leave_open(UnixListener::bind(directory.path().join("l.sock")).unwrap());
        assert!(matches!(take_listener(descriptor).unwrap(), Listener::Unix(_)));
    }

    #[test]
    fn a_connected_socket_is_no_listener_and_a_listener_no_stream() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(matches!(take_listener(leave_open(ours)), Err(DescriptorFailure::Kind { .. })));
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(take_unix_stream(leave_open(ours)).is_ok());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(matches!(take_unix_stream(leave_open(listener)), Err(DescriptorFailure::Kind { .. })));
    }

    #[test]
    fn what_this_process_opened_is_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let refused = take_listener(listener.as_raw_fd());
        assert!(matches!(refused, Err(DescriptorFailure::NotInherited(_))));
    }

    #[test]
    fn files_and_closed_descriptors_are_refused() {
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(take_listener(file.as_raw_fd()), Err(DescriptorFailure::Kind { .. })));
        assert!(matches!(take_listener(1_000_000), Err(DescriptorFailure::Closed(_))));
    }
}
