//! A gateway that does what a taken-over one would try, for `tests/sandbox.rs`; builds for use have
//! none of this (`debug_assertions`).
//!
//! It begins inside the sandbox, in a thread of its own. What is to be tried stands in `misbehave`
//! in the state directory, a line each, and what came of it goes to `misbehaved`, which is opened
//! before the sandbox closes. The only other file of this crate with `unsafe`: system calls with
//! plain numbers, as code in a foreign hand would make them.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

/// What is to be tried, and where to say what came of it.
#[derive(Debug)]
pub(crate) struct Plan {
    deeds: String,
    report: File,
}

/// Reads what is to be tried. Mostly there is nothing.
pub(crate) fn planned(state: &Path) -> Option<Plan> {
    let deeds = std::fs::read_to_string(state.join("misbehave")).ok()?;
    let report = File::create(state.join("misbehaved")).ok()?;
    Some(Plan { deeds, report })
}

impl Plan {
    /// Tries all of it, one after the other, and says `done` at the end.
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
        // The network.
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
            // Of what is not there: done is to have been let through to looking for it.
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
        // Any other call, with these arguments and others that mean nothing: done is to have been
        // let through to the kernel's own opinion.
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

/// Makes every call that is not on the list, with arguments that mean nothing.
fn sweep() -> io::Result<()> {
    let list = super::calls::list(false);
    let listed = |number: &i64| list.always.contains(number) || list.only_if.iter().any(|(call, _)| call == number);
    // The kernel asks no filter about its own probes' return (335, 336), and ends whoever calls
    // them from anywhere else.
    let listed = |number: &i64| listed(number) || [libc::SYS_clone3, 335, 336].contains(number);
    // The latest of them had number 470 when this was written.
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
    // SAFETY: the numbers and what they point at are those of this file, and outlive the call. It
    // is what a debug build does in a test.
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

/// Reads a byte of that process where this one has its own program.
fn peek(pid: i64) -> io::Result<()> {
    let mut byte = 0_u8;
    let place = [i64::try_from(std::ptr::from_mut(&mut byte).addr()).unwrap_or_default(), 1];
    match call(libc::SYS_process_vm_readv, [pid, address_of(&place), 1, address_of(&place), 1, 0]) {
        // Let in, and nothing there.
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
        outcome => outcome,
    }
}

/// Has another process get a signal when there is something to read.
fn owner_signal(pid: i64) -> io::Result<()> {
    let (stream, _other) = std::os::unix::net::UnixStream::pair()?;
    let descriptor = i64::from(std::os::fd::AsRawFd::as_raw_fd(&stream));
    call(libc::SYS_fcntl, [descriptor, i64::from(libc::F_SETOWN), pid, 0, 0, 0])
}

/// Makes a socket towards nowhere.
fn tcp_socket() -> io::Result<()> {
    let socket = result(libc::SYS_socket, [i64::from(libc::AF_INET), i64::from(libc::SOCK_STREAM), 0, 0, 0, 0])?;
    call(libc::SYS_close, [socket, 0, 0, 0, 0, 0])
}

/// Takes the first inherited socket for a connection of its own: the kernel lets a socket forget
/// what it was.
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
        // It does not wait.
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        outcome => outcome,
    }
}
