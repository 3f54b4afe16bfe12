"""Hostile acts on the network and on descriptors. Each returns on success and raises OSError when refused.

Landlock knows TCP bind and connect only; every other family here is a way round it that seccomp has to close.
"""

import array
import errno
import os
import socket

from bulkhead.drill.targets import Absent, Targets, Victim
from bulkhead.supervisor.syscalls import syscall

_TIMEOUT = 1.0
_CLONE_NEWUSER_NEWNET = 0x50000000
_NO_SUCH_FAMILY = {errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT}
_IPPROTO_MPTCP, _MSG_FASTOPEN = 262, 0x20000000
_AF_VSOCK, _AF_BLUETOOTH, _AF_ALG, _AF_XDP = 40, 31, 38, 44


def _socket(family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket with a time-out. Raises Absent where the kernel lacks the family."""
    try:
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Absent("the kernel lacks this protocol") if error.errno in _NO_SUCH_FAMILY else error
    made.settimeout(_TIMEOUT)
    return made


def _privileged_socket(family: int, kind: int, protocol: int = 0) -> socket.socket:
    """The same; where that needs a capability, in a network of its own: it reaches the kernel's code all the same."""
    try:
        return _socket(family, kind, protocol)
    except PermissionError:
        syscall("unshare", _CLONE_NEWUSER_NEWNET)
        return _socket(family, kind, protocol)


def connect_tcp(targets: Targets, victim: Victim) -> None:
    """Connect to the victim by TCP over IPv4."""
    with _socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.connect(victim.tcp)


def connect_tcp6(targets: Targets, victim: Victim) -> None:
    """Connect to the victim by TCP over IPv6."""
    if victim.tcp6 is None:
        raise Absent("no IPv6 on this host")
    with _socket(socket.AF_INET6, socket.SOCK_STREAM) as made:
        made.connect(victim.tcp6)


def connect_mptcp(targets: Targets, victim: Victim) -> None:
    """Connect by multipath TCP, which Landlock's TCP rules do not see."""
    with _socket(socket.AF_INET, socket.SOCK_STREAM, _IPPROTO_MPTCP) as made:
        made.connect(victim.tcp)


def fast_open(targets: Targets, victim: Victim) -> None:
    """Connect by sending: sendto with MSG_FASTOPEN, without connect()."""
    with _socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.settimeout(None)  # else it answers EINPROGRESS; to a listener on this host it does not wait
        made.sendto(b"x", _MSG_FASTOPEN, victim.tcp)


def send_udp(targets: Targets, victim: Victim) -> None:
    """Send the victim a datagram."""
    with _socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"x", victim.udp)


def bind_tcp(targets: Targets, victim: Victim) -> None:
    """Listen on a TCP port."""
    with _socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.bind(("127.0.0.1", 0))
        made.listen()


def bind_udp(targets: Targets, victim: Victim) -> None:
    """Bind a UDP port."""
    with _socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))


def open_sctp(targets: Targets, victim: Victim) -> None:
    """Open an SCTP socket."""
    _socket(socket.AF_INET, socket.SOCK_STREAM, 132).close()


def connect_unix_path(targets: Targets, victim: Victim) -> None:
    """Connect to the victim's unix socket by its path."""
    with _socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.connect(victim.unix_path)


def connect_unix_abstract(targets: Targets, victim: Victim) -> None:
    """Connect to the victim's abstract unix socket, which no directory guards."""
    with _socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.connect(victim.abstract)


def datagram_pair(targets: Targets, victim: Victim) -> None:
    """Get a unix datagram socket from socketpair(): it can be re-addressed to any named socket."""
    for made in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
        made.close()


def open_netlink(targets: Targets, victim: Victim) -> None:
    """Open a routing netlink socket."""
    with _socket(socket.AF_NETLINK, socket.SOCK_RAW) as made:
        made.bind((0, 0))


def open_vsock(targets: Targets, victim: Victim) -> None:
    """Open a socket to the hypervisor."""
    _socket(_AF_VSOCK, socket.SOCK_STREAM).close()


def open_packet(targets: Targets, victim: Victim) -> None:
    """Open a packet socket: every frame on the wire."""
    _privileged_socket(socket.AF_PACKET, socket.SOCK_RAW).close()


def open_raw(targets: Targets, victim: Victim) -> None:
    """Open a raw ICMP socket."""
    _privileged_socket(socket.AF_INET, socket.SOCK_RAW, 1).close()


def open_bluetooth(targets: Targets, victim: Victim) -> None:
    """Open a Bluetooth socket."""
    _privileged_socket(_AF_BLUETOOTH, socket.SOCK_RAW, 1).close()


def open_alg(targets: Targets, victim: Victim) -> None:
    """Open a socket of the kernel's crypto interface."""
    _socket(_AF_ALG, socket.SOCK_SEQPACKET).close()


def open_xdp(targets: Targets, victim: Victim) -> None:
    """Open an XDP socket."""
    _privileged_socket(_AF_XDP, socket.SOCK_RAW).close()


def force_socket_buffer(targets: Targets, victim: Victim) -> None:
    """Take kernel memory past the limit with SO_RCVBUFFORCE."""
    left, right = socket.socketpair()
    with left, right:
        left.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)


def read_inherited(targets: Targets, victim: Victim) -> None:
    """Read a secret through a descriptor that the fork passed on."""
    if os.pread(targets.inherited, 64, 0) != targets.other_cell.secret:
        raise OSError(errno.EBADF, "not that file")


def find_inherited(targets: Targets, victim: Victim) -> None:
    """Find any open regular file among the low descriptors."""
    os.lseek(targets.inherited, 0, os.SEEK_END)


def send_descriptor(targets: Targets, victim: Victim) -> None:
    """Pass a descriptor on with SCM_RIGHTS."""
    left, right = socket.socketpair()
    with left, right:
        rights = array.array("i", [left.fileno()])
        left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
