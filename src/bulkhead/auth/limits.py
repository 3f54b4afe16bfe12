"""Attempts in the running minute, by account and by source. In memory: keyring has the durable limit."""

import ipaddress
import time
from collections.abc import Callable

from bulkhead.errors import TemporaryFailure

KEYS_MAX = 1 << 18  # accounts, or sources, of one minute
IPV6_PREFIX = 64  # bits that one subscriber has at the least (RFC 6177)


class MinuteCount:
    """Counts by key, forgotten when the minute is over."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self._clock = limit, clock
        self._minute = 0
        self._counts: dict[bytes, int] = {}

    def exceeded(self, key: bytes) -> bool:
        """Count one attempt; whether it is over the limit. Raises TemporaryFailure over 262,144 keys a minute."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute, self._counts = minute, {}
        count = self._counts.get(key, 0) + 1
        if count == 1 and len(self._counts) >= KEYS_MAX:
            raise TemporaryFailure("too many logins this minute", code="busy")
        self._counts[key] = count
        return count > self.limit


def source_network(source: str) -> str:
    """The network of a source as text, no narrower than IPv4 /24 and IPv6 /48; empty for text that is no address."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(ipaddress.ip_network((address.packed, 24 if address.version == 4 else 48), strict=False))


def source_key(source: str) -> bytes:
    """What a source is counted by: its IPv4 address or its IPv6 /64; all text that is neither is one source."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return b""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.packed if address.version == 4 else address.packed[: IPV6_PREFIX // 8]
