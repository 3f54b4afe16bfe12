"""Mailbox names: modified UTF-7, the INBOX rule, limits, and LIST patterns (RFC 3501 sections 5.1 and 6.3.8).

Inside Bulkhead a name is a str with `/` between levels; the first level INBOX is always in upper case.
"""

import binascii
import codecs
import re
from collections.abc import Iterable
from typing import Final

from bulkhead.wire.imap.grammar import CommandError, Condition
from bulkhead.wire.imap.limits import NAME_LEVELS_MAX, NAME_MAX

DELIMITER: Final = "/"
INBOX: Final = "INBOX"

_SHIFTED: Final = re.compile(rb"&([A-Za-z0-9+,]*)-")
_PLAIN: Final = re.compile(rb"[\x20-\x25\x27-\x7e]*")
_TO_ENCODE: Final = re.compile(r"&|[^\x20-\x7e]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def encode_utf7(name: str) -> bytes:
    """Modified UTF-7 of a name (RFC 3501 section 5.1.3). Raises ValueError on a lone surrogate: our bug."""
    return _TO_ENCODE.sub(_shift, name).encode("ascii")


def _shift(found: re.Match[str]) -> str:
    if found[0] == "&":
        return "&-"
    packed = binascii.b2a_base64(codecs.utf_16_be_encode(found[0])[0], newline=False)
    return "&" + packed.rstrip(b"=").replace(b"/", b",").decode("ascii") + "-"


def decode_utf7(octets: bytes) -> str:
    """The name in modified UTF-7, strictly: 8-bit octets, open or needless shifts and loose bits raise CommandError."""
    if _NO_NAME.search(octets):
        raise CommandError("mailbox name is not in modified UTF-7")
    parts, pos = [], 0
    while pos < len(octets):
        plain = _PLAIN.match(octets, pos)
        if plain is not None and plain[0]:
            parts.append(plain[0].decode("ascii"))
            pos = plain.end()
            continue
        shifted = _SHIFTED.match(octets, pos)
        if shifted is None:
            raise _not_utf7()
        parts.append(_unshift(shifted[1]))
        pos = shifted.end()
    name = "".join(parts)
    if encode_utf7(name) != octets:  # one name has one form: else two names on the wire meet one mailbox
        raise _not_utf7()
    return name


_NO_NAME = re.compile(rb"[^\x20-\x7e]")


def _not_utf7() -> CommandError:
    """NO and not BAD: the grammar has nothing against such a name, there only is no mailbox that has it."""
    return CommandError("mailbox name is not in modified UTF-7", condition=Condition.NO, response_code=b"CANNOT")


def _unshift(packed: bytes) -> str:
    if not packed:
        return "&"
    try:
        units = binascii.a2b_base64(packed.replace(b",", b"/") + b"=" * (-len(packed) % 4))
        # by its function, since a locked-down process cannot import the codec of that name
        return codecs.utf_16_be_decode(units, "strict", True)[0]
    except (binascii.Error, UnicodeDecodeError):
        raise _not_utf7() from None


def _decode(octets: bytes, *, utf8: bool) -> str:
    if len(octets) > NAME_MAX:
        raise CommandError(f"mailbox name is longer than {NAME_MAX} octets")
    if not utf8:
        return decode_utf7(octets)
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise CommandError("mailbox name is not in UTF-8") from None


def parse_mailbox_name(octets: bytes, *, utf8: bool = False, creating: bool = False) -> str:
    """The mailbox that a client named: at most 1000 octets, 20 levels, no control character, no empty level.

    creating: for CREATE and the target of RENAME, where one trailing delimiter is dropped (RFC 3501 section 6.3.3) and
    the wildcards `%` and `*` are refused. Raises CommandError: BAD if it is not a name, NO [CANNOT] if it may not be.
    """
    name = _decode(octets, utf8=utf8)
    if creating:
        name = name.removesuffix(DELIMITER)
    if not name:
        raise CommandError("mailbox name is empty")
    levels = name.split(DELIMITER)
    if _CONTROL.search(name) or "" in levels or (creating and not {"%", "*"}.isdisjoint(name)):
        raise CommandError("mailbox name is not allowed", condition=Condition.NO, response_code=b"CANNOT")
    if len(levels) > NAME_LEVELS_MAX:
        raise CommandError(
            f"a mailbox name has at most {NAME_LEVELS_MAX} levels", condition=Condition.NO, response_code=b"CANNOT"
        )
    if levels[0].upper() == INBOX:
        levels[0] = INBOX
    return DELIMITER.join(levels)


def is_usable(name: str) -> bool:
    """Whether a client can name it: RENAME may make names of children longer and deeper than CREATE does."""
    return name.count(DELIMITER) < NAME_LEVELS_MAX and len(encode_utf7(name)) <= NAME_MAX


def names_above(names: Iterable[str]) -> set[str]:
    """Every name that one of `names` lies below."""
    above: set[str] = set()
    for name in names:
        at = name.rfind(DELIMITER)
        while at > 0 and name[:at] not in above:
            above.add(name[:at])
            at = name.rfind(DELIMITER, 0, at)
    return above


def parse_list_pattern(octets: bytes, *, utf8: bool = False) -> str:
    """The text of a reference or pattern of LIST, wildcards kept. At most 1000 octets. Raises CommandError.

    One that is not in modified UTF-7 is taken as it stands: LIST of what cannot exist is no error.
    """
    try:
        return _decode(octets, utf8=utf8)
    except CommandError:
        if utf8 or len(octets) > NAME_MAX:
            raise
        return octets.decode("ascii", "replace")


class ListPattern:
    """A LIST pattern ready to match many names, each in time linear in the name.

    `*` stands for anything, `%` for anything without a delimiter. The pattern is a set of positions kept as the bits
    of one int, so that no pattern, however many wildcards it has, makes a match go back.
    """

    __slots__ = ("_accept", "_delimiter_step", "_literals", "_start", "_wild")

    def __init__(self, pattern: str) -> None:
        """pattern: reference and mailbox pattern joined, at most 1000 octets on the wire."""
        tokens = re.findall(r"[%*]+|[^%*]", pattern)
        self._literals: dict[str, int] = {}
        self._wild = stars = 0
        for index, token in enumerate(tokens):
            if token[0] in "%*":
                self._wild |= 1 << index
                stars |= (1 << index) if "*" in token else 0
            else:
                self._literals[token] = self._literals.get(token, 0) | 1 << index
        self._delimiter_step = stars
        self._accept = 1 << len(tokens)
        self._start = self._closed(1)

    def _closed(self, positions: int) -> int:
        return positions | (positions & self._wild) << 1  # runs of wildcards are one token, so one step is enough

    def matches(self, name: str) -> bool:
        """True if `name` matches; the first level INBOX in any case (RFC 3501 section 5.1)."""
        positions, literals = self._start, self._literals
        folded = len(INBOX) if name == INBOX or name.startswith(INBOX + DELIMITER) else 0
        for index, character in enumerate(name):
            wanted = literals.get(character, 0)
            if index < folded:
                wanted |= literals.get(character.lower(), 0)
            stay = self._delimiter_step if character == DELIMITER else self._wild
            positions = self._closed((positions & wanted) << 1 | positions & stay)
            if not positions:
                return False
        return bool(positions & self._accept)
