"""The kinds of a setting's value, and one parser for each: TOML in, a valid value out. Standard library only.

A parser gets what tomllib made and returns a `Value`; it raises ValueError whose text
says what is allowed, to stand after "must be". Every text and list has a limit.
"""

import base64
import ipaddress
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from bulkhead.errors import PeerError
from bulkhead.identifiers import parse_domain, parse_tenant_id

Value = bool | int | float | str | tuple[str, ...] | tuple[int, ...]

TEXT_MAX = 255  # characters
PATH_MAX = 4095  # octets: PATH_MAX of Linux less the final NUL
LIST_MAX = 1024  # elements
KEY_BYTES = 32  # an Ed25519 or X25519 public key


class Kind(Enum):
    """What a value is; the text is the word used in messages and in the reference page."""

    INTEGER = "integer"
    DECIMAL = "number"
    BOOLEAN = "true or false"
    TEXT = "text"
    CHOICE = "one of a list"
    CHOICES = "list of choices"
    TENANT = "tenant id"
    HOST = "host name"
    ADDRESS = "IP address"
    ADDRESSES = "list of IP addresses"
    NETWORKS = "list of networks"
    INTEGERS = "list of integers"
    PATH = "path"
    KEY = "base64 of 32 bytes"
    ROOTS = "list of keys and whose they are"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits that a row sets: numbers for INTEGER, DECIMAL and INTEGERS, words for CHOICE and CHOICES."""

    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


def range_text(bounds: Bounds) -> str:
    """The limits in words: "1 to 64", "1" where nothing else is allowed, or empty where there are none."""
    if bounds.minimum is None or bounds.maximum is None:
        return ""
    return str(bounds.minimum) if bounds.minimum == bounds.maximum else f"{bounds.minimum} to {bounds.maximum}"


def _within(number: float, bounds: Bounds) -> bool:
    return (bounds.minimum is None or number >= bounds.minimum) and (bounds.maximum is None or number <= bounds.maximum)


def _integer(raw: object, bounds: Bounds) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or not _within(raw, bounds):
        raise ValueError(f"an integer, {range_text(bounds)}")
    return raw


def _decimal(raw: object, bounds: Bounds) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError(f"a number, {range_text(bounds)}")
    if (isinstance(raw, float) and not math.isfinite(raw)) or not _within(raw, bounds):
        raise ValueError(f"a number, {range_text(bounds)}")
    return float(raw)


def _boolean(raw: object, bounds: Bounds) -> bool:
    if not isinstance(raw, bool):
        raise ValueError("true or false, without quotes")
    return raw


def _text(raw: object, bounds: Bounds) -> str:
    if not isinstance(raw, str) or len(raw) > TEXT_MAX or not raw.isprintable():
        raise ValueError(f'text in quotes on one line, at most {TEXT_MAX} characters: "..."')
    return raw


def _choice(raw: object, bounds: Bounds) -> str:
    if not isinstance(raw, str) or raw not in bounds.choices:
        raise ValueError("one of " + ", ".join(f'"{choice}"' for choice in bounds.choices))
    return raw


def _elements(raw: object, allowed: str) -> list[object]:
    if not isinstance(raw, list) or len(raw) > LIST_MAX:
        raise ValueError(f"a list, at most {LIST_MAX} long, of {allowed}")
    if any(raw.index(element) != place for place, element in enumerate(raw)):
        raise ValueError("a list without repetitions")
    return raw


def _choices(raw: object, bounds: Bounds) -> tuple[str, ...]:
    return tuple(_choice(element, bounds) for element in _elements(raw, "texts"))


def _integers(raw: object, bounds: Bounds) -> tuple[int, ...]:
    return tuple(_integer(element, bounds) for element in _elements(raw, "integers"))


def _tenant(raw: object, bounds: Bounds) -> str:
    try:
        return parse_tenant_id(_text(raw, bounds))
    except PeerError:
        raise ValueError("1 to 32 of a-z, 0-9 and inner '-', beginning with a letter") from None


def _host(raw: object, bounds: Bounds) -> str:
    allowed = 'a host name of at least two labels, such as "mx.kddi.example"'
    if raw == "":
        return ""
    if not isinstance(raw, str):
        raise ValueError(allowed)
    try:
        name = parse_domain(raw)
    except PeerError:
        raise ValueError(allowed) from None
    if "." not in name or name.rpartition(".")[2].isdigit():
        raise ValueError(allowed)
    return name


def _address(raw: object, bounds: Bounds) -> str:
    allowed = 'an IP address without port or scope, such as "192.0.2.1" or "2001:db8::1"'
    if not isinstance(raw, str) or "%" in raw:
        raise ValueError(allowed)
    try:
        address = ipaddress.ip_address(raw)
    except ValueError:
        raise ValueError(allowed) from None
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        raise ValueError(f'written as IPv4: "{mapped}"')
    if address.is_multicast:
        raise ValueError(f"{allowed}, not a multicast group")
    return str(address)


def _addresses(raw: object, bounds: Bounds) -> tuple[str, ...]:
    return tuple(_address(element, bounds) for element in _elements(raw, 'IP addresses, such as ["192.0.2.53"]'))


def _network(raw: object) -> str:
    allowed = 'a network with its prefix length and no host bits, such as "127.0.1.0/24"'
    if not isinstance(raw, str) or "/" not in raw or "%" in raw:
        raise ValueError(allowed)
    try:
        return str(ipaddress.ip_network(raw))
    except ValueError:
        raise ValueError(allowed) from None


def _networks(raw: object, bounds: Bounds) -> tuple[str, ...]:
    return tuple(_network(element) for element in _elements(raw, 'networks, such as ["127.0.1.0/24"]'))


def _path(raw: object, bounds: Bounds) -> str:
    if not isinstance(raw, str) or not raw.isprintable() or len(raw.encode(errors="surrogatepass")) > PATH_MAX:
        raise ValueError("a path in quotes; a relative one begins at the installation's directory")
    return raw


def _key(raw: object, bounds: Bounds) -> str:
    allowed = f"base64 of {KEY_BYTES} bytes (RFC 4648 section 4), as `bulkhead init` wrote it"
    if raw == "":
        return ""
    if not isinstance(raw, str) or not raw.isascii() or len(raw) > TEXT_MAX:
        raise ValueError(allowed)
    try:
        octets = base64.b64decode(raw, validate=True)
    except ValueError:
        raise ValueError(allowed) from None
    if len(octets) != KEY_BYTES or base64.b64encode(octets).decode("ascii") != raw:
        raise ValueError(allowed)
    return raw


def _roots(raw: object, bounds: Bounds) -> tuple[str, ...]:
    allowed = "texts partner:KEY or operator:KEY, KEY base64 of 32 bytes"
    found = _elements(raw, allowed)
    for element in found:
        whose, colon, key = element.partition(":") if isinstance(element, str) else ("", "", "")
        if whose not in ("partner", "operator") or not colon or not key:
            raise ValueError(f"a list of {allowed}")
        _key(key, bounds)
    return tuple(str(element) for element in found)


PARSERS: Mapping[Kind, Callable[[object, Bounds], Value]] = {
    Kind.INTEGER: _integer,
    Kind.DECIMAL: _decimal,
    Kind.BOOLEAN: _boolean,
    Kind.TEXT: _text,
    Kind.CHOICE: _choice,
    Kind.CHOICES: _choices,
    Kind.TENANT: _tenant,
    Kind.HOST: _host,
    Kind.ADDRESS: _address,
    Kind.ADDRESSES: _addresses,
    Kind.NETWORKS: _networks,
    Kind.INTEGERS: _integers,
    Kind.PATH: _path,
    Kind.KEY: _key,
    Kind.ROOTS: _roots,
}


def parse_value(kind: Kind, raw: object, bounds: Bounds) -> Value:
    """The valid value of what tomllib read. Raises ValueError: what the value must be."""
    return PARSERS[kind](raw, bounds)
