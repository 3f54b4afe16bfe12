"""Where dialer may connect to. PURE."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.errors import Refused

DNS_PORT = 53
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_ip(text: str) -> IpAddress:
    """The address; an IPv4-mapped IPv6 address as the IPv4 address it is. Raises Refused (`not-allowed`)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Refused("not an IP address", code="not-allowed") from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise Refused("an address with a zone is not dialled", code="not-allowed")
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
    return address


@dataclass(frozen=True, slots=True)
class Routes:
    """The rules of one cell. Every check raises Refused (`not-allowed`) or returns the address to dial."""

    smtp_port: int
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    nameservers: frozenset[IpAddress]
    dns_port: int = DNS_PORT

    @classmethod
    def configured(cls, smtp_port: int, networks: Sequence[str], nameservers: Sequence[str]) -> "Routes":
        """From the settings, which config has checked."""
        return cls(
            smtp_port,
            tuple(ipaddress.ip_network(network) for network in networks),
            frozenset(ipaddress.ip_address(server) for server in nameservers),
        )

    def for_mail(self, text: str, port: int) -> IpAddress:
        """A mail server: courier's port only; global, or in a network that the configuration allows."""
        address = parse_ip(text)
        if port != self.smtp_port:
            raise Refused(f"port {port} is not the port for mail", code="not-allowed")
        if any(address.version == network.version and address in network for network in self.networks):
            return address
        if not address.is_global or address.is_multicast or not _is_unicast(address) or _embeds_private(address):
            raise Refused(f"{address} is not a global address", code="not-allowed")
        return address

    def for_names(self, text: str, port: int) -> IpAddress:
        """A name server: those configured, on port 53 only."""
        address = parse_ip(text)
        if address not in self.nameservers or port != self.dns_port:
            raise Refused(f"{address} port {port} is no configured name server", code="not-allowed")
        return address


_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that IANA gives out as global unicast
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SIXTOFOUR = ipaddress.IPv6Network("2002::/16")  # given up (RFC 7526); `is_global` of it differs by Python's version


def _is_unicast(address: IpAddress) -> bool:
    """Whether an IPv6 address is of the space that is given out: `is_global` also holds for what is merely unassigned,
    such as IPv4-compatible ::127.0.0.1, site-local fec0::/10 and the local NAT64 prefix 64:ff9b:1::/48.
    """
    return address.version == 4 or (address in _UNICAST and address not in _SIXTOFOUR) or address in _NAT64


def _embeds_private(address: IpAddress) -> bool:
    """Whether an IPv6 address leads, by Teredo or NAT64 (RFC 6052), to an IPv4 address that is not global."""
    if not isinstance(address, ipaddress.IPv6Address):
        return False
    inner = [*(address.teredo or ())]
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return any(found is not None and not found.is_global for found in inner)
