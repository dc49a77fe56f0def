//! The allow-list: every system call that the gateway may make once it serves, in groups, each with
//! its reason. All others fail with `EPERM`.
//!
//! It is what was seen with `strace` in tests of each part, what all the other tests turned out to
//! need, and what the C library does in its place on other versions and processors. What is not
//! here is not there for it: no program is run and no process made (`execve`, `fork`), none is
//! looked into or signalled (`ptrace`, `process_vm_readv`, `kill`), nothing is bound or listened
//! on, no name is looked up, listed, renamed or removed (`stat`, `getdents64`, `rename`, `unlink`),
//! no descriptor is passed on (`sendmsg`), and nothing is mounted, loaded, traced or configured
//! (`mount`, `bpf`, `perf_event_open`, `io_uring_setup`, `unshare`, `keyctl`, `userfaultfd`, …).

use nix::libc;

/// A system call's number.
pub(super) type Call = i64;

/// The whole list.
#[derive(Debug)]
pub(super) struct List {
    /// Whatever the arguments are.
    pub(super) always: Vec<Call>,
    /// Only if all of the conditions hold; a call that stands here more than once needs those of
    /// one place.
    pub(super) only_if: Vec<(Call, Vec<If>)>,
}

/// What an argument has to be: the lower 32 bits of it, which are all that the kernel looks at in
/// those below.
#[derive(Clone, Copy, Debug)]
pub(super) enum If {
    /// This argument, counted from 0, has this value.
    Is(u8, u32),
    /// Of this argument's bits, those of the mask (given first) have this value.
    Among(u8, u32, u32),
}

/// Reading and writing what is open already: connections, the line to the server, the logs, the
/// journal.
const OPEN: &[Call] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    libc::SYS_close,
    // The log is put back to its last whole line where half a line was written.
    libc::SYS_ftruncate,
    // How much room there is for it.
    libc::SYS_fstatfs,
];

/// Connections: those that come in by the inherited sockets, and those to instances, whose address
/// Landlock judges.
const CONNECTIONS: &[Call] = &[libc::SYS_accept4, libc::SYS_connect, libc::SYS_getsockname, libc::SYS_getpeername];

/// Waiting for any of them, and for time.
const WAITING: &[Call] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_create1,
    libc::SYS_eventfd2,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    // In place of a wait that a signal interrupted; the kernel makes it, and a program can do
    // nothing else with it.
    libc::SYS_restart_syscall,
];

/// The clock, where the kernel's page for it (vDSO) is no help, and random bytes.
const CLOCK_AND_CHANCE: &[Call] =
    &[libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_gettimeofday, libc::SYS_getrandom];

/// Memory, taken and given back. What could make it executable is below.
const MEMORY: &[Call] = &[libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk];

/// Threads of this process: their locks, their beginning and end, and which processors there are
/// for them.
const THREADS: &[Call] = &[
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Signals to this process: being told to stop, and the stack on which a fault is reported.
const SIGNALS: &[Call] =
    &[libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack];

/// Which account this is, to compare with the one at the other end of a socket.
const ACCOUNT: &[Call] = &[libc::SYS_geteuid, libc::SYS_getuid];

/// Makes the list. `has_tcp`: instances have ports, so that TCP sockets are made.
pub(super) fn list(has_tcp: bool) -> List {
    let mut always = [OPEN, CONNECTIONS, WAITING, CLOCK_AND_CHANCE, MEMORY, THREADS, SIGNALS, ACCOUNT].concat();
    let mut only_if = Vec::new();
    let mut only = |call: Call, conditions: &[If]| only_if.push((call, conditions.to_vec()));

    // A file is opened only by making it: none that is there already can be read or written. That
    // is the log's next file; Landlock says in which directory. Everything else was opened before.
    let new = bits(libc::O_CREAT | libc::O_EXCL);
    only(libc::SYS_openat, &[If::Among(2, new, new)]);

    // Sockets towards instances and the server: streams of the one family, and of the other only
    // where there is need. No datagrams, no raw packets, no netlink, no protocol that Landlock does
    // not see (MPTCP).
    let stream = If::Among(1, !bits(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK), bits(libc::SOCK_STREAM));
    only(libc::SYS_socket, &[If::Is(0, bits(libc::AF_UNIX)), stream, If::Is(2, 0)]);
    if has_tcp {
        only(libc::SYS_socket, &[If::Is(0, bits(libc::AF_INET)), stream, If::Is(2, 0)]);
        only(libc::SYS_socket, &[If::Is(0, bits(libc::AF_INET6)), stream, If::Is(2, 0)]);
        // With other flags it can connect as well (fast open), which Landlock does not see.
        only(libc::SYS_sendto, &[If::Is(3, bits(libc::MSG_NOSIGNAL))]);
    } else {
        always.push(libc::SYS_sendto);
    }
    // Two ends of one socket, with which the runtime hears of signals.
    only(libc::SYS_socketpair, &[If::Is(0, bits(libc::AF_UNIX))]);
    // No delay for small packets; everything else about a socket stays as it was. What is asked:
    // whether connecting worked, who is there.
    only(libc::SYS_setsockopt, &[If::Is(1, bits(libc::IPPROTO_TCP)), If::Is(2, bits(libc::TCP_NODELAY))]);
    only(libc::SYS_getsockopt, &[If::Is(1, bits(libc::SOL_SOCKET))]);

    // A descriptor's flags and its copies; not whom its signals go to, nor leases and locks.
    for command in [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_DUPFD_CLOEXEC] {
        only(libc::SYS_fcntl, &[If::Is(1, bits(command))]);
    }
    // Not to wait; nothing that a terminal or a device would understand.
    for request in [FIONBIO, FIOCLEX] {
        only(libc::SYS_ioctl, &[If::Is(1, request)]);
    }

    // Memory is never both written and run: nothing is made executable here, not even a library.
    let not_executable = If::Among(2, bits(libc::PROT_EXEC), 0);
    only(libc::SYS_mmap, &[not_executable]);
    only(libc::SYS_mprotect, &[not_executable]);

    // A thread, and no process; in the namespaces of this one.
    let thread = bits(libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD);
    let namespaces = bits(
        libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP,
    );
    only(libc::SYS_clone, &[If::Among(0, thread | namespaces, thread)]);
    // A thread's name.
    only(libc::SYS_prctl, &[If::Is(0, bits(libc::PR_SET_NAME))]);
    // A signal to this very process, which is how it aborts.
    only(libc::SYS_tgkill, &[If::Is(0, std::process::id())]);

    List { always, only_if }
}

/// `asm-generic/ioctls.h`, the same on all processors that the filter knows.
const FIONBIO: u32 = 0x5421;
/// As above.
const FIOCLEX: u32 = 0x5451;

/// A C constant as the bits that the kernel sees.
const fn bits(constant: i32) -> u32 {
    constant.cast_unsigned()
}
