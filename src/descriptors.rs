//! File descriptors that the parent process left open for us: listening sockets and the control
//! line.
//!
//! The only file of this crate with `unsafe` in builds for use. It takes nothing that this process
//! opened itself, and nothing that is not the kind of socket asked for (P7: what an instance serves
//! is the socket that the server made).

#![allow(unsafe_code)]

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt};
use tokio::io::unix::AsyncFd;

/// Why a descriptor is not what it was said to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DescriptorFailure {
    /// No such descriptor is open, or `/proc` is not there to say so.
    #[error("descriptor {0} is not open")]
    Closed(RawFd),
    /// This process opened it, or took it before.
    #[error("descriptor {0} was not inherited")]
    NotInherited(RawFd),
    /// Open, but something else.
    #[error("descriptor {descriptor} is not a {wanted}")]
    Kind {
        /// Its number.
        descriptor: RawFd,
        /// What it should be.
        wanted: &'static str,
    },
    /// The kernel would not tell.
    #[error("descriptor {descriptor} cannot be examined")]
    System {
        /// Its number.
        descriptor: RawFd,
        /// The cause.
        source: nix::Error,
    },
}

/// A socket that is already bound and listening.
#[derive(Debug)]
pub(crate) enum Listener {
    /// On a path.
    Unix(UnixListener),
    /// On an address and port.
    Tcp(TcpListener),
}

/// Takes an inherited listening stream socket. It does not block, and no child inherits it.
pub(crate) fn take_listener(descriptor: RawFd) -> Result<Listener, DescriptorFailure> {
    let wanted = "listening stream socket";
    let (socket, family) = take_stream_socket(descriptor, wanted, true)?;
    match family {
        Some(AddressFamily::Unix) => Ok(Listener::Unix(UnixListener::from(socket))),
        Some(AddressFamily::Inet | AddressFamily::Inet6) => Ok(Listener::Tcp(TcpListener::from(socket))),
        _ => Err(DescriptorFailure::Kind { descriptor, wanted }),
    }
}

/// Takes an inherited, connected Unix stream socket: the control line. It does not block, and no
/// child inherits it.
pub(crate) fn take_unix_stream(descriptor: RawFd) -> Result<UnixStream, DescriptorFailure> {
    let wanted = "connected Unix stream socket";
    let (socket, family) = take_stream_socket(descriptor, wanted, false)?;
    if family == Some(AddressFamily::Unix) {
        Ok(UnixStream::from(socket))
    } else {
        Err(DescriptorFailure::Kind { descriptor, wanted })
    }
}

/// Takes an inherited, connected Unix stream socket that stands in the place of a standard stream,
/// and puts `/dev/null` there: nothing that this process starts or prints gets to the socket.
pub(crate) fn take_unix_stream_elsewhere(descriptor: RawFd) -> Result<UnixStream, DescriptorFailure> {
    let system = |source: nix::Error| DescriptorFailure::System { descriptor, source };
    let inherited = take_unix_stream(descriptor)?;
    let failed = |error: std::io::Error| system(nix::Error::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO)));
    // A copy has a number of its own, above the standard streams.
    let elsewhere = inherited.try_clone().map_err(failed)?;
    let nothing = std::fs::File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
    let mut place = OwnedFd::from(inherited);
    nix::unistd::dup2(&nothing, &mut place).map_err(system)?;
    // The place of a standard stream is closed by nobody.
    let _standard_stream = place.into_raw_fd();
    Ok(elsewhere)
}

/// Keeps whatever this process inherited beside its standard streams from the programs that it
/// starts, where a test cannot close it.
#[cfg(test)]
pub(crate) fn keep_inherited_from_children() -> Result<(), nix::Error> {
    let flags = nix::libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: with this flag the call closes nothing and reads no memory: it marks descriptors so
    // that `exec` closes them. std has no such call, and one descriptor after the other would need
    // as many unsafe borrows of numbers.
    let outcome = unsafe { nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, flags) };
    nix::errno::Errno::result(outcome).map(drop)
}

/// Closes whatever this process inherited beside its standard streams and these: whoever started it
/// may have left anything open. To be called before anything else was opened.
///
/// # Errors
/// If the kernel cannot (before Linux 5.9).
pub(crate) fn close_others(kept: &[RawFd]) -> Result<(), nix::Error> {
    let mut kept: Vec<u32> = kept.iter().filter_map(|descriptor| u32::try_from(*descriptor).ok()).collect();
    kept.sort_unstable();
    let mut from = 3;
    for next in kept.into_iter().filter(|next| *next >= 3).chain([u32::MAX]) {
        if from < next {
            let to = if next == u32::MAX { next } else { next.saturating_sub(1) };
            // SAFETY: the call reads no memory. What it closes came through exec: std has opened
            // nothing that it owns at this point, and what was taken of the inherited is left out.
            // There is no safe way to close what nobody owns.
            let outcome = unsafe { nix::libc::syscall(nix::libc::SYS_close_range, from, to, 0) };
            nix::errno::Errno::result(outcome)?;
        }
        from = next.saturating_add(1);
    }
    Ok(())
}

/// Another process, held so that its number cannot come to mean another one.
#[derive(Debug)]
pub(crate) struct Process(OwnedFd);

impl Process {
    /// The process that has this number now. It is for the caller to know that it is the one that
    /// is meant.
    ///
    /// # Errors
    /// If there is none, or the kernel cannot (before Linux 5.3).
    pub(crate) fn of(pid: i32) -> Result<Self, nix::Error> {
        // SAFETY: the call takes two numbers and gives a descriptor that nothing else owns. nix has
        // no such call.
        let outcome = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, pid, 0) };
        let descriptor = nix::errno::Errno::result(outcome)?;
        let descriptor = RawFd::try_from(descriptor).map_err(|_| nix::errno::Errno::EBADF)?;
        // SAFETY: as above; it is owned from here on, and by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Has the runtime watch it: readable is ended.
    ///
    /// # Errors
    /// If it cannot be watched.
    pub(crate) fn watched(self) -> std::io::Result<AsyncFd<Self>> {
        // SAFETY: the descriptor that `AsRawFd` names is this value's own, never changes, and is
        // closed only with it.
        unsafe { AsyncFd::register(self) }.map_err(std::io::Error::from)
    }

    /// Ends it.
    ///
    /// # Errors
    /// If it has ended, or is not ours to end.
    pub(crate) fn kill(&self) -> Result<(), nix::Error> {
        let (process, none) = (self.0.as_raw_fd(), std::ptr::null::<nix::libc::siginfo_t>());
        // SAFETY: the descriptor is open for as long as `self` is, and a null pointer is what the
        // call takes for no further information.
        let outcome =
            unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_send_signal, process, nix::libc::SIGKILL, none, 0) };
        nix::errno::Errno::result(outcome).map(drop)
    }
}

// tokio asks for both.
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

/// What lets a descriptor be ours alone: whatever Rust opens is close-on-exec, so a descriptor
/// without that flag came through `exec`, and the flag that is then set on it keeps it from being
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
    // SAFETY: the descriptor is open and came through exec, as just read, so nothing in this
    // process owns it: std owns none of 0, 1 and 2, and everything else that it opens is
    // close-on-exec. Both callers set that flag before they return, so it is taken once; should
    // they fail, it is closed. There is no safe way from a number to an owned descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;

    /// Makes a descriptor look inherited, and gives its number away.
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
