"""SASL PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login-00), the server's side, for every mail protocol.

A mechanism takes the client's lines as the protocol carries them, in base64 (RFC 4954 section 4, RFC 9051
section 6.2.2, RFC 5034 section 4), and gives a Challenge to send or the Credentials. It checks no password,
and leaves none behind: the caller overwrites its line, and the password when it was checked.
Passwords are octets: what they mean is for whoever compares them. Base64 is strict (RFC 4648 section 3.5).
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol

from bulkhead.errors import LineTooLong, PeerError
from bulkhead.wipe import wipe

FIELD_MAX: Final = 512  # octets of authcid, authzid and password each
LINE_MAX: Final = 4 * ((3 * FIELD_MAX + 2 + 2) // 3)  # the base64 of the longest PLAIN message


class CancelledError(PeerError):
    """The client gave up with `*` (RFC 4954 section 4)."""

    code = "auth-cancelled"


@dataclass(frozen=True, slots=True)
class Challenge:
    """What to send the client, already in base64; may be empty."""

    base64: bytes


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the client claims. The password is not shown."""

    authcid: str
    authzid: str  # "" when the client wants to act as itself
    password: bytes = field(repr=False)


class Mechanism(Protocol):
    """One exchange. Both methods raise PeerError, after which the exchange is over."""

    def start(self, initial: bytes | None) -> Challenge | Credentials:
        """The first step: the initial response in base64, `=` for an empty one, None for none."""
        ...

    def respond(self, line: bytes) -> Challenge | Credentials:
        """The next step: the client's line in base64, without its CRLF; `*` raises CancelledError."""
        ...


class Plain:
    """PLAIN: one message of authzid NUL authcid NUL password (RFC 4616 section 2)."""

    def start(self, initial: bytes | None) -> Challenge | Credentials:
        """See Mechanism."""
        return Challenge(b"") if initial is None else _parse_plain(_decode_initial(initial))

    def respond(self, line: bytes) -> Challenge | Credentials:
        """See Mechanism."""
        return _parse_plain(_decode(line))


class Login:
    """LOGIN: asked for in two challenges, a user name and then a password. An initial response is the user name."""

    def __init__(self) -> None:
        self._authcid: str | None = None

    def start(self, initial: bytes | None) -> Challenge | Credentials:
        """See Mechanism."""
        if initial is None:
            return _USERNAME
        self._authcid = _parse_name(_decode_initial(initial), "user name")
        return _PASSWORD

    def respond(self, line: bytes) -> Challenge | Credentials:
        """See Mechanism."""
        octets = _decode(line)
        if self._authcid is None:
            self._authcid = _parse_name(octets, "user name")
            return _PASSWORD
        return _credentials(self._authcid, "", octets)


MECHANISMS: Final[Mapping[str, Callable[[], Mechanism]]] = MappingProxyType({"PLAIN": Plain, "LOGIN": Login})

_USERNAME: Final = Challenge(base64.b64encode(b"Username:"))
_PASSWORD: Final = Challenge(base64.b64encode(b"Password:"))


def _decode_initial(initial: bytes) -> bytes:
    return b"" if initial == b"=" else _decode(initial)


def _decode(line: bytes) -> bytes:
    """The octets of one line of base64: no white space, padding exact, unused bits zero."""
    if line == b"*":
        raise CancelledError("authentication cancelled")
    if len(line) > LINE_MAX:
        raise LineTooLong("authentication line too long")
    try:
        octets = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise PeerError("authentication line is not base64") from None
    again = base64.b64encode(octets)
    try:
        if again != line:
            raise PeerError("authentication line is not base64")
    finally:
        wipe(again)
    return octets


def _parse_plain(message: bytes) -> Credentials:
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise PeerError("PLAIN message is not authzid NUL authcid NUL password")
    authzid, authcid, password = parts
    wipe(message)  # its parts are octets of their own
    return _credentials(_parse_name(authcid, "user name"), _parse_name(authzid, "authzid") if authzid else "", password)


def _parse_name(octets: bytes, what: str) -> str:
    if not octets or len(octets) > FIELD_MAX:
        raise PeerError(f"{what} is empty or too long")
    try:
        name = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise PeerError(f"{what} is not UTF-8") from None
    if not name.isprintable():
        raise PeerError(f"{what} has control characters")
    return name


def _credentials(authcid: str, authzid: str, password: bytes) -> Credentials:
    if not password or len(password) > FIELD_MAX or b"\0" in password:
        raise PeerError("password is empty, too long or has a NUL")
    return Credentials(authcid, authzid, password)
