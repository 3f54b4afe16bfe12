"""An mbox, cut into messages as it is read. PURE: octets in, events out.

A message begins at a line `From ` with a time in it, at the beginning or after an empty line. mboxrd: one `>` less
where `>`s and then `From ` begin a line; mboxo: where `>From ` does. Status, X-Status, X-Keywords, X-UID, X-IMAP and
X-IMAPbase say flags, UID and UIDVALIDITY, and are taken out of the header, as is Content-Length.
"""

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from bulkhead.imports.maildir import UID_MAX, keyword
from bulkhead.wire.imap.flags import SystemFlag

MESSAGE_MAX = 64 << 20  # octets
HEADER_LOOK_MAX = 1 << 20  # octets in which fields of ours are looked for
KEYWORDS_MAX = 64
_FROM = re.compile(rb"From [^\n]{0,900}\d\d:\d\d[^\n]{0,100}")
_BREAK = re.compile(rb"\n\r?\nFrom (?=[^\n]{0,900}\d\d:\d\d)")
_TIME = re.compile(rb"([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d)(?::(\d\d))? (?:[A-Z+][A-Z0-9]{2,4} )?(\d{4})")
_FIELD = re.compile(rb"(?i)(status|x-status|x-keywords|x-uid|x-imap|x-imapbase|content-length)[ \t]*:[ \t]*(.*)")
_MONTHS = {name.encode(): number for number, name in enumerate(calendar.month_abbr) if name}
_MARKS = {"A": SystemFlag.ANSWERED, "F": SystemFlag.FLAGGED, "T": SystemFlag.DRAFT, "D": SystemFlag.DELETED}


class Dialect(Enum):
    """How lines that look like a separator are quoted."""

    RD = re.compile(rb"(?m)^>(?=>*From )")
    O = re.compile(rb"(?m)^>(?=From )")  # noqa: E741  its name


@dataclass(frozen=True, slots=True)
class MboxLetter:
    """A message with the line ends it had. date: seconds since 1970, -1 unknown.

    uid_validity, uid_last: of the file, as its first message says; 0 unknown.
    """

    octets: bytes = field(repr=False)
    date: int = -1
    flags: int = 0
    keywords: tuple[str, ...] = ()
    uid: int = 0
    uid_validity: int = 0
    uid_last: int = 0


@dataclass(frozen=True, slots=True)
class TooLarge:
    """A message over MESSAGE_MAX, passed over."""


class MboxSplitter:
    """The messages of one file in order."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect, self._inbox, self._seen = dialect, bytearray(), 0
        self._is_skipping = False

    def receive(self, data: bytes) -> Iterator[MboxLetter | TooLarge]:
        """What is whole now."""
        self._inbox += data
        while (found := _BREAK.search(self._inbox, max(self._seen - 1200, 0))) is not None:
            end = found.start() + 1
            yield from self._cut(end)
            del self._inbox[: self._inbox.index(b"From ", 0)]
            self._seen = 0
        self._seen = len(self._inbox)
        if self._seen > MESSAGE_MAX + 4096:
            self._is_skipping = True
            del self._inbox[: self._seen - 2048]
            self._seen = len(self._inbox)

    def end(self) -> Iterator[MboxLetter | TooLarge]:
        """The last message."""
        if self._inbox.strip():
            text = bytes(self._inbox)
            self._inbox += b"" if text.endswith(b"\n") else b"\n"
            yield from self._cut(len(self._inbox), last=True)

    def _cut(self, end: int, *, last: bool = False) -> Iterator[MboxLetter | TooLarge]:
        text = bytes(self._inbox[:end])
        del self._inbox[:end]
        if self._is_skipping:
            self._is_skipping = False
            yield TooLarge()
            return
        if last and text.endswith((b"\n\n", b"\n\r\n")):
            text = text.removesuffix(b"\n").removesuffix(b"\r")
        head, _, rest = text.partition(b"\n")
        if not _FROM.fullmatch(head.removesuffix(b"\r")):
            head, rest = b"", text  # no mbox, or one without its first separator: one message
        if rest.strip():
            yield self._letter(head, rest)

    def _letter(self, head: bytes, text: bytes) -> MboxLetter:
        kept: list[bytes] = []
        marks = {"status": "", "x-status": "", "x-keywords": "", "x-uid": "", "x-imap": ""}
        at, limit, dropping = 0, min(len(text), HEADER_LOOK_MAX), False
        while at < limit:
            end = text.find(b"\n", at) + 1 or len(text)
            line = text[at:end]
            if not line.strip():
                break
            if not line.startswith((b" ", b"\t")):
                found = _FIELD.match(line[:4096].rstrip())
                dropping = found is not None
                if found is not None:
                    marks[found[1].decode().lower().replace("imapbase", "imap")] = found[2].decode("ascii", "replace")
            if not dropping:
                kept.append(line)
            at = end
        octets = self._dialect.value.sub(b"", b"".join((*kept, text[at:])))
        flags = SystemFlag.SEEN if "R" in marks["status"] else 0
        for letter in marks["x-status"]:
            flags |= _MARKS.get(letter, 0)
        words = (keyword(word.encode("ascii", "replace")) for word in marks["x-keywords"].split()[:KEYWORDS_MAX])
        validity, last = [*marks["x-imap"].split(), "", ""][:2]
        return MboxLetter(
            octets, _moment(head), int(flags), tuple(dict.fromkeys(word for word in words if word)),
            _number(marks["x-uid"]), _number(validity), _number(last),
        )  # fmt: skip


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= UID_MAX else 0


def _moment(head: bytes) -> int:
    """The time of a separator, as UTC; -1 where there is none."""
    found = _TIME.search(head)
    if found is None or found[1] not in _MONTHS:
        return -1
    day, hour, minute, second, year = (int(found[number] or 0) for number in (2, 3, 4, 5, 6))
    try:
        return max(calendar.timegm((year, _MONTHS[found[1]], day, hour, minute, second, 0, 0, 0)), -1)
    except (ValueError, OverflowError):
        return -1
