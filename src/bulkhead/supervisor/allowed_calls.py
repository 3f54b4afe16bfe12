"""Which system calls a locked compartment may make, from its duties; everything else is refused.

Each rule names the least that Python, glibc, asyncio, libuv, SQLite and OpenSSL need. Written as a list of what is
allowed: a call that a later kernel brings is refused without anyone having heard of it.
"""

import socket

from bulkhead.supervisor.seccomp import ALWAYS, Check, Rule, null, one_of, without_bits

# glibc takes clone where clone3 is unknown, libuv takes epoll where io_uring is; a filter cannot see clone3's flags.
UNKNOWN = frozenset({"clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"})

_PROT_EXEC = 4
_MAP_SHARED, _MAP_ANONYMOUS = 1, 0x20
# CLONE_VM FS FILES SIGHAND THREAD SYSVSEM SETTLS PARENT_SETTID CHILD_CLEARTID: what pthread_create asks for, exactly.
_CLONE_THREAD_OF_GLIBC = 0x3D0F00
_AT_EMPTY_PATH = 0x1000
_MSG_FASTOPEN = 0x20000000
# O_WRONLY O_RDWR O_CREAT O_TRUNC O_TMPFILE's own bit (asm-generic/fcntl.h; the same on x86_64 and aarch64).
_OPEN_WRITES = 0o1 | 0o2 | 0o100 | 0o1000 | 0o20000000
_SET_ID_BITS = 0o7000  # a set-uid file in its directory would lend its uid to any user of the host
_FCNTL = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    36,
    37,
    38,
    1030,
    1032,
    1034,
)  # dup, flags, locks, pipe size and seals read; no F_SETOWN
_IOCTL = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS FIONREAD FIONBIO FIONCLEX FIOCLEX
_PRCTL = (
    3,
    15,
    16,
    21,
    23,
    39,
    0x53564D41,
)  # get: dumpable, name, seccomp, bounding set, no_new_privs; set: name, vma name
_SOCKET_OPTIONS: Rule = (
    # SO_REUSEADDR SNDBUF RCVBUF KEEPALIVE LINGER RCVLOWAT RCVTIMEO SNDTIMEO
    (Check(1, (socket.SOL_SOCKET,)), Check(2, (2, 7, 8, 9, 13, 18, 20, 21))),
    # TCP_NODELAY CORK KEEPIDLE KEEPINTVL KEEPCNT QUICKACK USER_TIMEOUT NOTSENT_LOWAT
    (Check(1, (socket.IPPROTO_TCP,)), Check(2, (1, 3, 4, 5, 6, 12, 18, 25))),
    (Check(1, (socket.IPPROTO_IPV6,)), Check(2, (26,))),  # IPV6_V6ONLY
)
# A datagram pair could be re-addressed to any named socket; a stream pair cannot.
_SOCKETPAIR: Rule = ((Check(0, (socket.AF_UNIX,)), Check(1, (socket.SOCK_STREAM, socket.SOCK_SEQPACKET), 0xF)),)
# Protocol 0 or the plain one by number: 262 would be MPTCP, which Landlock does not see.
_DIALED_SOCKET: Rule = (
    (Check(0, (socket.AF_INET, socket.AF_INET6)), Check(1, (socket.SOCK_STREAM,), 0xF), Check(2, (0, 6))),
    (Check(0, (socket.AF_INET, socket.AF_INET6)), Check(1, (socket.SOCK_DGRAM,), 0xF), Check(2, (0, 17))),
)

# fmt: off
_FREE = (
    "futex", "read", "write", "epoll_wait", "epoll_pwait", "recvfrom", "recvmsg", "readv", "writev", "epoll_ctl",
    "close", "clock_gettime", "getpid", "gettid", "pread64", "lseek", "poll", "ppoll", "select", "pselect6",
    "epoll_pwait2", "epoll_create1", "eventfd2", "pipe2", "pipe", "dup", "dup2", "dup3", "close_range", "fstat",
    "getsockopt", "getsockname", "getpeername", "shutdown", "brk", "munmap", "mremap", "madvise", "membarrier",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "rt_sigsuspend",
    "sigaltstack", "restart_syscall", "set_robust_list", "rseq", "set_tid_address", "exit", "exit_group",
    "sched_yield", "getcpu", "getrandom", "uname", "sysinfo", "getrusage", "times", "getppid", "getuid",
    "geteuid", "getgid", "getegid", "getpgrp", "getrlimit", "capget", "clock_getres", "clock_nanosleep",
    "nanosleep", "gettimeofday", "time", "getcwd",
)
_READ_FILES = (
    "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getdents64",
    "fadvise64", "preadv", "flock",
)
_WRITE_FILES = (
    "pwrite64", "pwritev", "fsync", "fdatasync", "ftruncate", "fallocate", "rename", "renameat",
    "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "sync_file_range",
)
# fmt: on


def allowed_calls(
    pid: int, *, files: bool, writable: bool, dial: bool, accept: bool, send_descriptors: bool
) -> dict[str, Rule]:
    """The rules for process `pid`, frequent calls first.

    files: open and read below the root; writable: and write there; dial: make and connect TCP and UDP sockets;
    accept: take connections from inherited listeners; send_descriptors: sendmsg.
    """
    rules: dict[str, Rule] = dict.fromkeys(_FREE, ALWAYS)
    rules |= {
        "sendto": ((without_bits(3, _MSG_FASTOPEN), *null(4)),),  # send(): no address, so no datagram to a stranger
        # No executable memory, and no shared anonymous memory, which the limit on private memory does not count.
        "mmap": (
            (without_bits(2, _PROT_EXEC), Check(3, (0,), _MAP_ANONYMOUS)),
            (without_bits(2, _PROT_EXEC), Check(3, (0,), _MAP_SHARED)),
        ),
        "mprotect": ((without_bits(2, _PROT_EXEC),),),
        "clone": one_of(0, _CLONE_THREAD_OF_GLIBC),
        "fcntl": one_of(1, *_FCNTL),
        "ioctl": one_of(1, *_IOCTL),
        "prctl": one_of(0, *_PRCTL),
        "kill": one_of(0, pid),  # abort() and raise() need a road to oneself
        "tgkill": one_of(0, pid),
        "prlimit64": ((Check(0, (0, pid)), *null(2)),),  # read, never set
        "sched_getaffinity": one_of(0, 0, pid),
        "socketpair": _SOCKETPAIR,
        "setsockopt": _SOCKET_OPTIONS,
        # fstat() of glibc 2.33 to 2.38, with an empty path. A filter cannot see the path: chroot hides names.
        "newfstatat": ((Check(3, (_AT_EMPTY_PATH,), _AT_EMPTY_PATH),),),
    }
    if accept:
        # listen: asyncio and libuv repeat it on an inherited listener; without bind and socket it opens nothing new.
        rules |= dict.fromkeys(("accept4", "accept", "listen"), ALWAYS)
    if dial:
        rules |= {"socket": _DIALED_SOCKET, "connect": ALWAYS}
    if send_descriptors:
        rules["sendmsg"] = ALWAYS
    if files:
        rules |= dict.fromkeys(_READ_FILES, ALWAYS)
        rules["openat"] = ((without_bits(2, _OPEN_WRITES),),)
        if writable:
            rules |= dict.fromkeys(_WRITE_FILES, ALWAYS)
            rules["openat"] = ((without_bits(3, _SET_ID_BITS),),)
            rules["fchmod"] = ((without_bits(1, _SET_ID_BITS),),)  # SQLite gives a journal its database's mode
    return rules
