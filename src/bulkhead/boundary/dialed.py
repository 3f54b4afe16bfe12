"""What those who asked dialer for a connection check on the socket that it handed over."""

import ipaddress
import socket

from bulkhead.errors import TemporaryFailure

_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def require_connected_to(sock: socket.socket, kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    """The socket, which is connected to the place that was asked for; closed where it is not.

    The kernel says where, so a dialer that lies must have the connection itself led astray, afterwards or on its way.
    Raises TemporaryFailure (`elsewhere`).
    """
    try:
        if sock.family in _FAMILIES and sock.type == kind:
            peer = sock.getpeername()
            if _plain(peer[0]) == _plain(address) and peer[1] == port:
                return sock
    except (OSError, ValueError):  # not connected any more, or no address
        pass
    sock.close()
    raise TemporaryFailure("dialer handed over a socket that is connected elsewhere", code="elsewhere")


def _plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
