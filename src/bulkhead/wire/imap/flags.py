"""Flags as bits: system flags in bits 0 to 4, keywords in bits 5 to 63 (RFC 3501 section 2.3.2)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from bulkhead.wire.imap.grammar import CommandError, Condition, Scanner
from bulkhead.wire.imap.limits import FLAGS_MAX, KEYWORD_MAX

FIRST_KEYWORD_BIT: Final = 5
KEYWORDS_MAX: Final = 64 - FIRST_KEYWORD_BIT
RENDERED_MAX: Final = 4096  # masks whose text is kept

_KEYWORD: Final = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]{1,%d}" % KEYWORD_MAX)


class SystemFlag(IntFlag):
    """The bits that the store keeps; their values never change."""

    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16


SYSTEM_FLAGS: Final = {
    b"\\SEEN": SystemFlag.SEEN,
    b"\\ANSWERED": SystemFlag.ANSWERED,
    b"\\FLAGGED": SystemFlag.FLAGGED,
    b"\\DELETED": SystemFlag.DELETED,
    b"\\DRAFT": SystemFlag.DRAFT,
}
_RENDERED_SYSTEM: Final = tuple((flag, b"\\" + name[1:].capitalize()) for name, flag in SYSTEM_FLAGS.items())


@dataclass(frozen=True, slots=True)
class Flags:
    """Flags of one command: `system` is a mask of SystemFlag, `keywords` are named as the client wrote them."""

    system: int = 0
    keywords: tuple[bytes, ...] = ()


NO_FLAGS: Final = Flags()


def check_keyword(name: bytes) -> bytes:
    """`name` if it may be a keyword: an atom of 1 to 64 octets. Raises CommandError."""
    if _KEYWORD.fullmatch(name) is None:
        raise CommandError(f"a keyword is an atom of at most {KEYWORD_MAX} octets")
    return name


def parse_flag_list(scanner: Scanner, *, parentheses: bool = True) -> Flags:
    """Flags in parentheses, or without them as STORE allows. At most 64; each keyword once. Raises CommandError."""
    opened = scanner.accept(b"(")
    if parentheses and not opened:
        raise CommandError("expected a list of flags in parentheses")
    if opened and scanner.accept(b")"):
        return NO_FLAGS
    system, keywords, seen = 0, list[bytes](), 0
    while True:
        seen += 1
        if seen > FLAGS_MAX:
            raise CommandError("too many flags")
        if scanner.accept(b"\\"):
            bit = SYSTEM_FLAGS.get(b"\\" + scanner.word("a flag"))
            if bit is None:
                raise CommandError("no such system flag, or one that a client cannot set")
            system |= bit
        else:
            name = check_keyword(scanner.atom("a flag"))
            if name.lower() not in map(bytes.lower, keywords):
                keywords.append(name)
        if not scanner.accept(b" "):
            break
    if opened:
        scanner.expect(b")", "the end of the list of flags")
    return Flags(int(system), tuple(keywords))


class FlagNames:
    """Names of one mailbox's keyword bits, and the text of each mask.

    100,000 messages share few masks, so the text of up to 4096 of them is kept.
    """

    __slots__ = ("_bits", "_names", "_rendered")

    def __init__(self, keywords: Iterable[bytes] = ()) -> None:
        """keywords: names of bits 5, 6, ... in order."""
        self._names: list[bytes] = []
        self._bits: dict[bytes, int] = {}
        self._rendered: dict[int, bytes] = {}
        for name in keywords:
            self.add(name)

    @property
    def keywords(self) -> tuple[bytes, ...]:
        """Keyword names in the order of their bits, from bit 5."""
        return tuple(self._names)

    def bit(self, name: bytes) -> int:
        """The mask of one flag (`\\Seen` or a keyword), 0 if the mailbox does not know it."""
        key = name.upper()
        system = SYSTEM_FLAGS.get(key)
        return int(system) if system is not None else self._bits.get(key, 0)

    def add(self, name: bytes) -> int:
        """The mask of a keyword, given the next bit if it is new. Raises CommandError when all 59 are taken."""
        known = self._bits.get(check_keyword(name).upper())
        if known:
            return known
        if len(self._names) >= KEYWORDS_MAX:
            raise CommandError(
                f"a mailbox has at most {KEYWORDS_MAX} keywords", condition=Condition.NO, response_code=b"LIMIT"
            )
        mask = 1 << (FIRST_KEYWORD_BIT + len(self._names))
        self._names.append(name)
        self._bits[name.upper()] = mask
        return mask

    def unknown(self, flags: Flags) -> tuple[bytes, ...]:
        """Keywords of `flags` that have no bit yet."""
        return tuple(name for name in flags.keywords if name.upper() not in self._bits)

    def mask(self, flags: Flags) -> int:
        """The mask of `flags`; keywords without a bit count as 0."""
        mask = flags.system
        for name in flags.keywords:
            mask |= self._bits.get(name.upper(), 0)
        return mask

    def render(self, mask: int, *, recent: bool = False) -> bytes:
        """`(\\Seen $Forwarded)` for a mask, with \\Recent where asked; bits without a name are left out."""
        text = self._rendered.get(mask)
        if text is None:
            if len(self._rendered) >= RENDERED_MAX:
                self._rendered.clear()
            text = self._rendered[mask] = b"(%s)" % b" ".join(self._listed(mask))
        if recent:
            return b"(\\Recent " + text[1:] if mask and len(text) > 2 else b"(\\Recent)"
        return text

    def defined(self) -> bytes:
        """The list for the FLAGS response: the system flags and every keyword."""
        return b"(%s)" % b" ".join(self._listed(-1))

    def _listed(self, mask: int) -> list[bytes]:
        listed = [name for flag, name in _RENDERED_SYSTEM if mask & flag]
        listed += [name for index, name in enumerate(self._names) if mask >> (FIRST_KEYWORD_BIT + index) & 1]
        return listed
