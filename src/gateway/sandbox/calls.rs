//! The allow-list: every system call of the serving gateway, in groups with a reason each. All
//! others fail with `EPERM`.
//!
//! Compiled from `strace` of each part, from the other tests, and from what the C library calls
//! instead on other versions and processors. Leaves out everything that the gateway does not do. It
//! starts no program or process (`execve`, `fork`), and inspects or signals none (`ptrace`,
//! `process_vm_readv`, `kill`). It does not bind, listen, pass descriptors on (`sendmsg`), or look
//! up, list, rename or remove names (`stat`, `getdents64`, `rename`, `unlink`). It mounts, loads,
//! traces and configures nothing (`mount`, `bpf`, `perf_event_open`, `io_uring_setup`, `unshare`,
//! `keyctl`, `userfaultfd`, …).

use nix::libc;

pub(super) type Call = i64;

#[derive(Debug)]
pub(super) struct List {
    /// With any arguments.
    pub(super) always: Vec<Call>,
    /// Only if all conditions hold. A call may have several entries, of which one has to match.
    pub(super) only_if: Vec<(Call, Vec<If>)>,
}

/// A condition on the lower 32 bits of an argument, which are all that the kernel uses for the
/// calls below.
#[derive(Clone, Copy, Debug)]
pub(super) enum If {
    /// This argument, counted from 0, has this value.
    Is(u8, u32),
    /// This argument, masked with the first number, has this value.
    Among(u8, u32, u32),
}

/// I/O on open descriptors: connections, the control channel, the logs, the journal.
const OPEN: &[Call] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    libc::SYS_close,
    // Cuts the log back to its last complete line after a partial write.
    libc::SYS_ftruncate,
    // Free space for the log.
    libc::SYS_fstatfs,
];

/// Connections: those accepted on inherited sockets, and those to instances. Landlock restricts
/// their addresses.
const CONNECTIONS: &[Call] = &[libc::SYS_accept4, libc::SYS_connect, libc::SYS_getsockname, libc::SYS_getpeername];

/// Waiting for descriptors and for time.
const WAITING: &[Call] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_create1,
    libc::SYS_eventfd2,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    // Issued by the kernel after an interrupted wait; otherwise useless to a program.
    libc::SYS_restart_syscall,
];

/// The clock, if the vDSO does not serve it, and random bytes.
const CLOCK_AND_CHANCE: &[Call] =
    &[libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_gettimeofday, libc::SYS_getrandom];

/// Memory. Making it executable is restricted below.
const MEMORY: &[Call] = &[libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk];

/// Threads of this process: locks, start, end, and their processors.
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

/// Signals to this process: termination, and the stack for fault reports.
const SIGNALS: &[Call] =
    &[libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack];

/// This account's uid, to compare with a socket's peer.
const ACCOUNT: &[Call] = &[libc::SYS_geteuid, libc::SYS_getuid];

/// Makes the list. `has_tcp` if instances have ports, so that TCP sockets are needed.
pub(super) fn list(has_tcp: bool) -> List {
    let mut always = [OPEN, CONNECTIONS, WAITING, CLOCK_AND_CHANCE, MEMORY, THREADS, SIGNALS, ACCOUNT].concat();
    let mut only_if = Vec::new();
    let mut only = |call: Call, conditions: &[If]| only_if.push((call, conditions.to_vec()));

    // Opens files only by creating them, so that no existing one can be read or written: for the
    // log's next file. Landlock restricts the directory. All other files are open already.
    let new = bits(libc::O_CREAT | libc::O_EXCL);
    only(libc::SYS_openat, &[If::Among(2, new, new)]);

    // Sockets to instances and the server: Unix streams, and TCP streams only if needed. No
    // datagrams, raw packets, netlink, or protocols that Landlock does not cover (MPTCP).
    let stream = If::Among(1, !bits(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK), bits(libc::SOCK_STREAM));
    only(libc::SYS_socket, &[If::Is(0, bits(libc::AF_UNIX)), stream, If::Is(2, 0)]);
    if has_tcp {
        only(libc::SYS_socket, &[If::Is(0, bits(libc::AF_INET)), stream, If::Is(2, 0)]);
        only(libc::SYS_socket, &[If::Is(0, bits(libc::AF_INET6)), stream, If::Is(2, 0)]);
        // Other flags could also connect (TCP fast open), which Landlock does not cover.
        only(libc::SYS_sendto, &[If::Is(3, bits(libc::MSG_NOSIGNAL))]);
    } else {
        always.push(libc::SYS_sendto);
    }
    // The runtime's socket pair for signals.
    only(libc::SYS_socketpair, &[If::Is(0, bits(libc::AF_UNIX))]);
    // Sets `TCP_NODELAY` and no other option. Reads socket options: whether connecting worked, and
    // the peer.
    only(libc::SYS_setsockopt, &[If::Is(1, bits(libc::IPPROTO_TCP)), If::Is(2, bits(libc::TCP_NODELAY))]);
    only(libc::SYS_getsockopt, &[If::Is(1, bits(libc::SOL_SOCKET))]);

    // A descriptor's flags and duplicates; not its signal owner, leases or locks.
    for command in [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_DUPFD_CLOEXEC] {
        only(libc::SYS_fcntl, &[If::Is(1, bits(command))]);
    }
    // Non-blocking mode and close-on-exec; no request to a terminal or device.
    for request in [FIONBIO, FIOCLEX] {
        only(libc::SYS_ioctl, &[If::Is(1, request)]);
    }

    // Memory is never writable and executable, and none becomes executable, not even for a library.
    let not_executable = If::Among(2, bits(libc::PROT_EXEC), 0);
    only(libc::SYS_mmap, &[not_executable]);
    only(libc::SYS_mprotect, &[not_executable]);

    // Creates threads, not processes, in the present namespaces.
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
    // A signal to this process, which is how it aborts.
    only(libc::SYS_tgkill, &[If::Is(0, std::process::id())]);

    List { always, only_if }
}

/// `asm-generic/ioctls.h`, the same on all processors that the filter supports.
const FIONBIO: u32 = 0x5421;
/// As above.
const FIOCLEX: u32 = 0x5451;

/// A C constant as the bits that the kernel sees.
const fn bits(constant: i32) -> u32 {
    constant.cast_unsigned()
}
