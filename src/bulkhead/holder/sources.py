"""What a client's address is counted by: the host, its network, and the region that shares memory with it."""

import ipaddress
import socket
from dataclasses import dataclass

_MAPPED = bytes(10) + b"\xff\xff"  # an IPv4 address in IPv6 form


@dataclass(frozen=True, slots=True)
class Source:
    """host: an IPv4 address or an IPv6 /64 (what one subscriber has at the least, RFC 6177). network: /24 or /56.

    region: /16 or /32. All text that is no address is one source.
    """

    host: bytes
    network: bytes
    region: bytes

    @classmethod
    def of(cls, text: str) -> "Source":
        """The source of an address as text."""
        try:
            return _of_ipv4(socket.inet_pton(socket.AF_INET, text))
        except (OSError, ValueError):
            pass
        try:
            octets = socket.inet_pton(socket.AF_INET6, text)
        except (OSError, ValueError):
            return cls(b"", b"", b"")
        return _of_ipv4(octets[12:]) if octets.startswith(_MAPPED) else cls(octets[:8], octets[:7], octets[:4])


def _of_ipv4(octets: bytes) -> Source:
    return Source(octets, octets[:3], octets[:2])


def network_text(network: bytes) -> str:
    """A Source's network as text."""
    width = 4 if len(network) < 4 else 16
    return str(ipaddress.ip_network((network.ljust(width, b"\0"), 8 * len(network))))


def source_network(source: str) -> str:
    """The network of a source as text, no narrower than IPv4 /24 and IPv6 /48; empty for text that is no address."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(ipaddress.ip_network((address.packed, 24 if address.version == 4 else 48), strict=False))
