"""What a sender wishes to be told of: the parameters RET, ENVID, NOTIFY and ORCPT (RFC 3461 section 4).

Values are checked once and kept as they were written, because the next server gets them so.
"""

import re
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import Final

from bulkhead.errors import PeerError

ENVID_MAX: Final = 100  # characters, RFC 3461 section 4.4
ORCPT_MAX: Final = 500  # characters, RFC 3461 section 4.2

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_HEX = re.compile(r"\+([0-9A-F]{2})")
_TYPE = re.compile(r"[A-Za-z0-9!#$%&'*/=?^_`{|}~.-]+")
_POINT = r"\\x\{(?:[0-9A-F]{2}|[1-9A-F][0-9A-F]{2,4}|10[0-9A-F]{4})\}"
_UTF8_XTEXT = re.compile(rf"(?:[!-*,-<>-\[\]-~]|{_POINT})+")  # RFC 6533 section 3, utf-8-addr-xtext
_UTF8_UNITEXT = re.compile(rf"(?:[!-*,-<>-\[\]-~\u0080-\U0010ffff]|{_POINT})+")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")


class Return(Enum):
    """How much of a message a failure notification returns (RFC 3461 section 4.3)."""

    FULL = "FULL"
    HEADERS = "HDRS"


class Notify(IntFlag):
    """When a recipient's sender is told (RFC 3461 section 4.1). UNSAID: failures, and delays as we like."""

    UNSAID = 0
    SUCCESS = 1
    FAILURE = 2
    DELAY = 4
    NEVER = 8

    def wants(self, event: "Notify") -> bool:
        """Whether `event` (SUCCESS, FAILURE or DELAY) is told."""
        return bool(self & event) if self else event is not Notify.SUCCESS

    def render(self) -> str:
        """The value of the parameter; "" for UNSAID."""
        return ",".join(name for name, flag in _KEYWORDS.items() if self & flag)


_KEYWORDS: Final = {
    "NEVER": Notify.NEVER,
    "SUCCESS": Notify.SUCCESS,
    "FAILURE": Notify.FAILURE,
    "DELAY": Notify.DELAY,
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What was said of one recipient."""

    notify: Notify = Notify.UNSAID
    original: str = ""  # ORCPT as written: type, semicolon, encoded address


NO_WISH: Final = Wish()


def parse_notify(text: str) -> Notify:
    """The value of NOTIFY: NEVER alone, or a list of the others (RFC 3461 section 4.1). Raises PeerError."""
    found = Notify.UNSAID
    for word in text.upper().split(","):
        if word not in _KEYWORDS or found & _KEYWORDS[word]:
            raise PeerError("NOTIFY is not valid")
        found |= _KEYWORDS[word]
    if found & Notify.NEVER and found is not Notify.NEVER:
        raise PeerError("NOTIFY has NEVER beside others")
    return found


def check_envid(text: str) -> str:
    """The value of ENVID: xtext of printable US-ASCII, at most 100 characters. Raises PeerError."""
    if len(text) > ENVID_MAX or not _XTEXT.fullmatch(text) or not _printable(xtext(text)):
        raise PeerError("ENVID is not valid")
    return text


def check_original(text: str, *, utf8: bool) -> str:
    """The value of ORCPT: an address type and an address encoded as that type says. Raises PeerError.

    utf8: the transaction said SMTPUTF8, so that the address of type utf-8 may be UTF-8 (RFC 6533 section 3).
    """
    kind, semicolon, value = text.partition(";")
    if len(text.encode()) > ORCPT_MAX or not semicolon or not _TYPE.fullmatch(kind):
        raise PeerError("ORCPT is not valid")
    if kind.lower() == "utf-8":
        if not (_UTF8_UNITEXT if utf8 else _UTF8_XTEXT).fullmatch(value) or not _decodes(value):
            raise PeerError("ORCPT is not valid")
    elif not _XTEXT.fullmatch(value) or not _printable(xtext(value)):
        raise PeerError("ORCPT is not valid")
    return text


def xtext(text: str) -> str:
    """What xtext stands for (RFC 3461 section 4): `+` and two hexadecimal digits are one octet."""
    return _HEX.sub(lambda match: chr(int(match[1], 16)), text)


def original_recipient(text: str) -> tuple[str, str]:
    """Type and address of an ORCPT that check_original passed, decoded; the address may be UTF-8."""
    kind, _, value = text.partition(";")
    if kind.lower() == "utf-8":
        return "utf-8", _EMBEDDED.sub(lambda match: chr(int(match[1], 16)), value)
    return kind.lower(), xtext(value)


def seven_bit(original: str) -> str:
    """An ORCPT as a server without SMTPUTF8 takes it: UTF-8 as embedded code points (RFC 6533 section 3)."""
    return "".join(c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in original)


def _printable(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _decodes(value: str) -> bool:
    """Whether the code points are characters that may be shown."""
    points = [int(match[1], 16) for match in _EMBEDDED.finditer(value)]
    return all(not 0xD800 <= point < 0xE000 and chr(point).isprintable() for point in points)
