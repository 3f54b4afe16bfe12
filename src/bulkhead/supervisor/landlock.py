"""Landlock: what of files, TCP and scopes a process may still reach, for ABI 1 to 7.

Source: linux/landlock.h and Documentation/userspace-api/landlock.rst. The kernel refuses a right it does not know, so
every request is masked to the ABI it reports; what the mask took away is told, never dropped in silence. Landlock
binds the calling thread only: apply it before the first thread. It does not see stat, UDP, MPTCP, TCP fast open,
vsock, netlink or path-name unix sockets: those are seccomp's and chroot's.
"""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.supervisor.syscalls import syscall

NEWEST_ABI = 7
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1

FS_WRITE_FILE, FS_READ_FILE, FS_READ_DIR, FS_REMOVE_DIR, FS_REMOVE_FILE = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
FS_MAKE_DIR, FS_MAKE_REG, FS_REFER, FS_TRUNCATE = 1 << 7, 1 << 8, 1 << 13, 1 << 14
READ = FS_READ_FILE | FS_READ_DIR
WRITE = FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_REFER | FS_TRUNCATE
NET_BIND_TCP, NET_CONNECT_TCP = 1, 2
SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL = 1, 2

# What each ABI adds, from its first number on; 7 adds only audit flags, which we leave at their default (log).
_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16, 7: 16}
_LACKS = (
    (2, "moving a file between directories is refused"),
    (3, "truncation is not restricted"),
    (4, "no TCP rules"),
    (5, "ioctl on devices is not restricted"),
    (6, "no scopes for signals and abstract unix sockets"),
)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """One masked request: rights to take away (`fs`, `net`, `scopes`) and rights to give back below the root."""

    abi: int
    fs: int
    net: int
    scopes: int
    below_root: int

    @property
    def lacking(self) -> tuple[str, ...]:
        """What this ABI cannot restrict and ABI 6 can, in words."""
        return tuple(words for since, words in _LACKS if self.abi < since)


def kernel_abi() -> int:
    """The kernel's Landlock ABI, 0 where there is none (not built, not enabled, or refused from outside)."""
    try:
        return syscall("landlock_create_ruleset", None, 0, CREATE_RULESET_VERSION)
    except (OSError, NotImplementedError):
        return 0


def plan(abi: int, *, read: bool, write: bool, dial: bool) -> Ruleset:
    """The strongest ruleset for `abi`.

    dial: TCP connect stays, since a rule names a port and never "all".   Raises ValueError on an ABI below 1.
    """
    if abi < 1:
        raise ValueError("no Landlock to plan for")
    abi = min(abi, NEWEST_ABI)
    handled = (1 << _FS_BITS[abi]) - 1
    net = 0 if abi < 4 else NET_BIND_TCP if dial else NET_BIND_TCP | NET_CONNECT_TCP
    scopes = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL if abi >= 6 else 0
    below = (READ if read else 0) | (WRITE if read and write else 0)
    return Ruleset(abi, handled, net, scopes, below & handled)


def apply(ruleset: Ruleset, root: int) -> None:
    """Bind the calling thread for good. root: an O_PATH descriptor of the directory below which rights remain.

    The caller has set NO_NEW_PRIVS. Raises OSError.
    """
    descriptor = _create(ruleset)
    try:
        if ruleset.below_root:
            rule = struct.pack("=Qi", ruleset.below_root, root)  # packed in the kernel's header too
            syscall("landlock_add_rule", descriptor, RULE_PATH_BENEATH, rule, 0)
        syscall("landlock_restrict_self", descriptor, 0)
    finally:
        os.close(descriptor)


def restrict(ruleset: Ruleset, rules: Sequence[tuple[int, int]]) -> None:
    """The same with several rules, each an O_PATH descriptor and the rights that remain at it and below."""
    descriptor = _create(ruleset)
    try:
        for path, rights in rules:
            rule = struct.pack("=Qi", rights & ruleset.fs, path)
            syscall("landlock_add_rule", descriptor, RULE_PATH_BENEATH, rule, 0)
        syscall("landlock_restrict_self", descriptor, 0)
    finally:
        os.close(descriptor)


def _create(ruleset: Ruleset) -> int:
    attributes = struct.pack("=Q", ruleset.fs)
    if ruleset.abi >= 4:
        attributes += struct.pack("=Q", ruleset.net)
    if ruleset.abi >= 6:
        attributes += struct.pack("=Q", ruleset.scopes)
    return syscall("landlock_create_ruleset", attributes, len(attributes), 0)
