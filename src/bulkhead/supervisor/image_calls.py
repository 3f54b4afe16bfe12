"""Which system calls an image may make: what its compartments may, and what importing, forking and locking take.

What a compartment's own filter refuses stays refused there, for filters only add. Nothing here executes a program,
mounts, traces, changes another process, a file's mode, owner or times, or makes a named socket.
"""

from collections.abc import Sequence

from bulkhead.supervisor.allowed_calls import allowed_calls
from bulkhead.supervisor.seccomp import ALWAYS, OWN_PID, Check, Rule, one_of, without_bits

CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000
_CLONE_THREAD_OF_GLIBC = 0x3D0F00
_CLONE_FORKS = (0x01200011, 0x11)  # fork() of glibc (CHILD_CLEARTID, CHILD_SETTID) and of musl, both with SIGCHLD
_SET_ID_BITS = 0o7000
_PRCTL_OF_THE_LOCK = (1, 4, 24, 38)  # PDEATHSIG, DUMPABLE, CAPBSET_DROP, NO_NEW_PRIVS: set
_PRCTL_READ = (3, 15, 16, 21, 23, 39, 0x53564D41)
_LOCKING = (
    "wait4", "setsid", "umask", "chdir", "chroot", "capset", "seccomp", "landlock_create_ruleset", "landlock_add_rule",
    "landlock_restrict_self", "getresuid", "getresgid", "getgroups", "getpgid", "stat", "lstat",
)  # fmt: skip


def image_calls(
    uids: Sequence[int], *, writable: bool, dial: bool, accept: bool, send_descriptors: bool
) -> dict[str, Rule]:
    """The rules for an image. uids: of its compartments in its cell, which it may become; empty as an ordinary user.

    The rest says whether one of its compartments has that duty, as in `allowed_calls`.
    """
    rules = allowed_calls(
        OWN_PID, files=True, writable=writable, dial=dial, accept=accept, send_descriptors=send_descriptors
    )
    rules.pop("fchmod", None)  # it owns the interpreter that all cells share; SQLite goes on without it
    rules |= dict.fromkeys(_LOCKING, ALWAYS)
    rules |= {
        "mmap": ALWAYS,  # libraries are loaded here; compartments map nothing executable
        "mprotect": ALWAYS,
        "openat": ((without_bits(3, _SET_ID_BITS),),),  # Landlock says which
        "clone": one_of(0, _CLONE_THREAD_OF_GLIBC, *_CLONE_FORKS),
        "kill": ALWAYS,  # Landlock's scope says whom: a child's number is not known here
        "tgkill": ALWAYS,
        "prctl": one_of(0, *_PRCTL_OF_THE_LOCK, *_PRCTL_READ),
        "prlimit64": one_of(0, 0),
        "sched_getaffinity": ALWAYS,
        "unshare": one_of(0, CLONE_NEWIPC, CLONE_NEWIPC | CLONE_NEWNET, *(() if uids else (CLONE_NEWUSER,))),
    }
    if uids:
        own = tuple(tuple(Check(argument, (uid,)) for argument in range(3)) for uid in uids)
        rules |= {"setresuid": own, "setresgid": own, "setgroups": one_of(0, 0)}
    return rules
