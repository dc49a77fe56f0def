//! A gateway that does what a compromised one would try, for `tests/sandbox.rs`. Exists in debug
//! builds only (`debug_assertions`).
//!
//! Starts inside the sandbox, in a separate thread. Reads its attempts from `misbehave` in the
//! state directory, one a line. Writes the results to `misbehaved`, which it opens before it enters
//! the sandbox. The only other file of this crate with `unsafe`: it makes raw system calls, as
//! injected code would.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

/// The attempts, and the file for their results.
#[derive(Debug)]
pub(crate) struct Plan {
    deeds: String,
    report: File,
}

/// Reads the attempts. Usually there are none.
pub(crate) fn planned(state: &Path) -> Option<Plan> {
    let deeds = std::fs::read_to_string(state.join("misbehave")).ok()?;
    let report = File::create(state.join("misbehaved")).ok()?;
    Some(Plan { deeds, report })
}

impl Plan {
    /// Makes all attempts in order, and reports `done` at the end.
    pub(crate) fn begin(mut self) {
        std::thread::spawn(move || {
            for line in self.deeds.lines() {
                let outcome = match perform(line) {
                    Ok(()) => "done".to_owned(),
                    Err(error) => error.raw_os_error().map_or_else(|| error.to_string(), errno),
                };
                let _ = writeln!(self.report, "{line}: {outcome}");
            }
            let _ = writeln!(self.report, "end");
        });
    }
}

fn errno(number: i32) -> String {
    format!("{:?}", Errno::from_raw(number))
}

fn perform(line: &str) -> io::Result<()> {
    let (deed, rest) = line.split_once(' ').unwrap_or((line, ""));
    let number = || rest.parse::<i64>().map_err(io::Error::other);
    let path = || CString::new(rest).map_err(io::Error::other);
    match deed {
        // Files.
        "read" => File::open(rest).map(drop),
        "write" => File::options().write(true).open(rest).map(drop),
        "make" => File::options().append(true).create_new(true).open(rest).map(drop),
        "list" => std::fs::read_dir(rest).map(drop),
        "look" => std::fs::metadata(rest).map(drop),
        "remove" => std::fs::remove_file(rest),
        "rename" => std::fs::rename(rest, format!("{rest}.elsewhere")),
        "mode" => std::fs::set_permissions(rest, std::os::unix::fs::PermissionsExt::from_mode(0o777)),
        "truncate" => call(libc::SYS_truncate, [address(&path()?), 0, 0, 0, 0, 0]),
        "directory" => std::fs::create_dir(rest),
        "socket" => std::os::unix::net::UnixListener::bind(rest).map(drop),
        // Network.
        "connect" => std::net::TcpStream::connect(rest).map(drop),
        "listen" => std::net::TcpListener::bind(rest).map(drop),
        "datagram" => std::net::UdpSocket::bind(rest).map(drop),
        "reconnect" => reconnect(rest),
        "tcp" => tcp_socket(),
        "abstract" => {
            use std::os::linux::net::SocketAddrExt as _;
            let name = std::os::unix::net::SocketAddr::from_abstract_name(rest)?;
            std::os::unix::net::UnixStream::connect_addr(&name).map(drop)
        }
        // Programs and processes.
        "spawn" => std::process::Command::new(rest).status().map(drop),
        "exec" => {
            // The program does not exist: `done` means that the call passed the sandbox.
            let error = std::os::unix::process::CommandExt::exec(&mut std::process::Command::new(rest));
            if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
        }
        "fork" => fork(),
        "namespace" => call(libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), 0, 0, 0, 0, 0]),
        "signal" => call(libc::SYS_kill, [number()?, i64::from(libc::SIGURG), 0, 0, 0, 0]),
        "thread-signal" => call(libc::SYS_tgkill, [number()?, number()?, i64::from(libc::SIGURG), 0, 0, 0]),
        "owner-signal" => owner_signal(number()?),
        "attach" => {
            call(libc::SYS_ptrace, [i64::from(libc::PTRACE_ATTACH), number()?, 0, 0, 0, 0])?;
            call(libc::SYS_wait4, [number()?, 0, 0, 0, 0, 0])?;
            call(libc::SYS_ptrace, [i64::from(libc::PTRACE_DETACH), number()?, 0, 0, 0, 0])
        }
        "peek" => peek(number()?),
        // Memory.
        "map" => map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC).map(drop),
        "protect" => {
            let page = map(libc::PROT_READ | libc::PROT_WRITE)?;
            call(libc::SYS_mprotect, [page, 4096, i64::from(libc::PROT_READ | libc::PROT_EXEC), 0, 0, 0])
        }
        // Any call, with these arguments and meaningless others: `done` means that it passed the
        // sandbox and reached the kernel.
        "call" => {
            let numbers = rest.split(' ').map(str::parse).collect::<Result<Vec<i64>, _>>().map_err(io::Error::other)?;
            let (number, known) = numbers.split_first().ok_or(io::ErrorKind::InvalidInput)?;
            let mut arguments = [-1; 6];
            arguments.iter_mut().zip(known).for_each(|(argument, known)| *argument = *known);
            let outcome = call(*number, arguments);
            match &outcome {
                Err(error) if error.raw_os_error() != Some(libc::EPERM) => Ok(()),
                Ok(()) | Err(_) => outcome,
            }
        }
        "sweep" => sweep(),
        _ => Err(io::Error::other("no such deed")),
    }
}

/// Makes every call that is not on the list, with meaningless arguments.
fn sweep() -> io::Result<()> {
    let list = super::calls::list(false);
    let listed = |number: &i64| list.always.contains(number) || list.only_if.iter().any(|(call, _)| call == number);
    // The kernel exempts the return of its own probes (335, 336) from filters, and kills a process
    // that calls them elsewhere.
    let listed = |number: &i64| listed(number) || [libc::SYS_clone3, 335, 336].contains(number);
    // The latest call had number 470 when this was written.
    let let_through: Vec<i64> = (0..600)
        .filter(|number| !listed(number))
        .filter(|number| call(*number, [-1; 6]).map_err(|error| error.raw_os_error()) != Err(Some(libc::EPERM)))
        .collect();
    if let_through.is_empty() { Ok(()) } else { Err(io::Error::other(format!("let through {let_through:?}"))) }
}

fn call(number: i64, [a, b, c, d, e, f]: [i64; 6]) -> io::Result<()> {
    result(number, [a, b, c, d, e, f]).map(drop)
}

fn result(number: i64, [a, b, c, d, e, f]: [i64; 6]) -> io::Result<i64> {
    // SAFETY: the numbers, and the memory that they point to, are from this file and outlive the
    // call. Runs only in debug builds, for tests.
    let outcome = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    Errno::result(outcome).map_err(io::Error::from)
}

fn address(text: &CString) -> i64 {
    i64::try_from(text.as_ptr().addr()).unwrap_or_default()
}

fn address_of<T>(value: &T) -> i64 {
    i64::try_from(std::ptr::from_ref(value).addr()).unwrap_or_default()
}

fn map(protection: i32) -> io::Result<i64> {
    let private = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    result(libc::SYS_mmap, [0, 4096, i64::from(protection), private, -1, 0])
}

fn fork() -> io::Result<()> {
    let child = result(libc::SYS_clone, [i64::from(libc::SIGCHLD), 0, 0, 0, 0, 0])?;
    if child == 0 {
        let _never_returns = result(libc::SYS_exit_group, [0; 6]);
    }
    Ok(())
}

/// Reads a byte of that process at an address of this one's.
fn peek(pid: i64) -> io::Result<()> {
    let mut byte = 0_u8;
    let place = [i64::try_from(std::ptr::from_mut(&mut byte).addr()).unwrap_or_default(), 1];
    match call(libc::SYS_process_vm_readv, [pid, address_of(&place), 1, address_of(&place), 1, 0]) {
        // Permitted, but that address is not mapped.
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
        outcome => outcome,
    }
}

/// Directs a socket's signals to another process.
fn owner_signal(pid: i64) -> io::Result<()> {
    let (stream, _other) = std::os::unix::net::UnixStream::pair()?;
    let descriptor = i64::from(std::os::fd::AsRawFd::as_raw_fd(&stream));
    call(libc::SYS_fcntl, [descriptor, i64::from(libc::F_SETOWN), pid, 0, 0, 0])
}

/// Makes an unconnected socket.
fn tcp_socket() -> io::Result<()> {
    let socket = result(libc::SYS_socket, [i64::from(libc::AF_INET), i64::from(libc::SOCK_STREAM), 0, 0, 0, 0])?;
    call(libc::SYS_close, [socket, 0, 0, 0, 0, 0])
}

/// Reuses the first inherited socket for a connection: the kernel lets a socket reset its state.
fn reconnect(to: &str) -> io::Result<()> {
    let std::net::SocketAddr::V4(to) = to.parse().map_err(io::Error::other)? else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let forget = [0_u8; 16];
    call(libc::SYS_connect, [3, address_of(&forget), 16, 0, 0, 0])?;
    let mut other = [0_u8; 16];
    let family = u16::try_from(libc::AF_INET).unwrap_or_default().to_ne_bytes();
    let known = family.into_iter().chain(to.port().to_be_bytes()).chain(to.ip().octets());
    other.iter_mut().zip(known).for_each(|(byte, known)| *byte = known);
    match call(libc::SYS_connect, [3, address_of(&other), 16, 0, 0, 0]) {
        // The socket is non-blocking.
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        outcome => outcome,
    }
}
