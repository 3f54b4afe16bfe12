"""What SEARCH reads of one message: its summary, then its header, then its text parts in slices.

A body is never whole in memory and never folded in one step: windows of decoded text are searched for all needles of
the program, and what was found stands for the body.
"""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta

from bulkhead.access.mail import Message
from bulkhead.access.output import Output
from bulkhead.identifiers import format_id
from bulkhead.wire.address_list import parse_address_list
from bulkhead.wire.charset import cut, decode
from bulkhead.wire.header import scan_fields, unfold
from bulkhead.wire.imap.search import And, InBody, InText, Not, Or, SearchKey
from bulkhead.wire.search_text import fold, header_text, part_octets
from bulkhead.wire.summary import Section, Summary

PART_OCTETS_MAX = 8 << 20  # octets of one text part, as it is stored, that are searched
WINDOW = 8 * 1024  # octets decoded and searched in one step
_ADDRESS_FIELDS = (b"FROM", b"TO", b"CC", b"BCC")  # searched as ENVELOPE has them (RFC 3501 section 6.4.4)
_DISGUISED = re.compile(rb'[("\\]|[ \t\r\n]@|@[ \t\r\n]|\n')
_FOLDS = re.compile(rb"\r?\n(?=[ \t])")
BETWEEN = "\0\n"  # between found texts; no needle that a client sends in a line has it


class ReadText:
    """One message as far as it was opened (`search_plan.MessageText`)."""

    def __init__(self, email: bytes, summary: Summary) -> None:
        self._email, self.summary = email, summary
        self._header: bytes | None = None
        self._body = ""

    def take_header(self, header: bytes) -> None:
        """The complete header is open."""
        self._header = header

    def take_body(self, text: str) -> None:
        """What was found in the body."""
        self._body = text

    def email_id(self) -> bytes:
        """Its EMAILID."""
        return format_id("eml", self._email).encode("ascii")

    def sent_day(self) -> date | None:
        """The day in the Date field, as written there."""
        if self.summary.date is None:
            return None
        local = timedelta(seconds=self.summary.date, minutes=self.summary.date_offset)
        try:
            return (datetime(1970, 1, 1, tzinfo=UTC) + local).date()
        except OverflowError:
            return None

    def field(self, name: bytes) -> Sequence[str] | None:
        """Values of a header field; None where the summary left it out and the header is closed."""
        if self._header is not None:
            return _values(self._header, name)
        return _values(self.summary.fields, name) if self.summary.holds_fields((name,)) else None

    def header_text(self) -> str:
        """Every field, decoded."""
        header = self._header or b""
        if header.isascii() and b"=?" not in header and b"\x1b" not in header:  # nothing to decode, and so in one step
            return _FOLDS.sub(b"", header).translate(None, b"\r\0").decode("ascii")
        fields = scan_fields(header, 0, len(header))
        return "\n".join(header_text(header[start:end]) for _, start, _, end in fields)

    def body_text(self) -> str:
        """The needles that stand in the body."""
        return self._body


def _values(header: bytes, name: bytes) -> list[str]:
    low = name.lower()
    raw = [header[value:end] for found, _, value, end in scan_fields(header, 0, len(header)) if found == low]
    values = [header_text(value) for value in raw]
    if name in _ADDRESS_FIELDS:
        values += [_addresses(value) for value in raw if _DISGUISED.search(value)]
    return values


def _addresses(value: bytes) -> str:
    """The addresses as ENVELOPE tells them: without the comments, quotes and spaces that a sender may put inside."""
    found = [
        b"%s@%s" % (local, domain) for _, _, local, domain in parse_address_list(unfold(value)) if local and domain
    ]
    return b", ".join(found).decode("utf-8", "replace")


def needles_of(key: SearchKey) -> set[str]:
    """The texts that a program looks for in bodies, folded."""
    match key:
        case And(keys) | Or(keys):
            return {needle for item in keys for needle in needles_of(item)}
        case Not(inner):
            return needles_of(inner)
        case InBody(wanted) | InText(wanted):
            return {fold(wanted)}
        case _:
            return set()


async def find_in_body(message: Message, summary: Summary, needles: set[str], output: Output) -> str:
    """Those of the needles that stand in the message's text parts, as one text."""
    missing = {needle for needle in needles if needle}
    found: list[str] = []
    overlap = max(map(len, missing), default=1) - 1
    for section in summary.sections:
        if not section.media.startswith("text/"):
            continue
        tail = ""
        async with aclosing(_windows(message, section)) as windows:
            async for window in windows:
                text = tail + fold(window)
                hits = {needle for needle in missing if needle in text}
                found += hits
                missing -= hits
                if not missing:
                    return BETWEEN.join(found)
                tail = text[-overlap:] if overlap else ""
                await output.breathe()
    return BETWEEN.join(found)


def find_in_small_body(body: bytes, start: int, summary: Summary, needles: set[str]) -> str:
    """As find_in_body, of a body of at most 64 KiB that is open. start: where it begins in the message."""
    missing = {needle for needle in needles if needle}
    found: list[str] = []
    for section in summary.sections:
        if not missing:
            break
        if not section.media.startswith("text/"):
            continue
        octets = part_octets(body[max(0, section.body - start) : max(0, section.end - start)], section.encoding)
        text = fold(decode(octets, section.charset))
        found += (hits := {needle for needle in missing if needle in text})
        missing -= hits
    return BETWEEN.join(found)


async def _windows(message: Message, section: Section) -> AsyncGenerator[str, None]:
    """The text of one part in windows that end at a line end where there is one."""
    stop = min(section.end, section.body + PART_OCTETS_MAX)
    octets = bytearray()
    encoded = bytearray()
    async with aclosing(message.pieces(section.body, stop)) as pieces:
        async for piece in pieces:
            encoded += piece
            while len(encoded) > WINDOW:
                at = _encoded_cut(encoded, section.encoding)
                octets += part_octets(bytes(encoded[:at]), section.encoding)
                del encoded[:at]
                while len(octets) > WINDOW:
                    at = cut(octets, WINDOW, section.charset)
                    yield decode(bytes(octets[:at]), section.charset)
                    del octets[:at]
    octets += part_octets(bytes(encoded), section.encoding)
    while octets:
        at = cut(octets, WINDOW, section.charset) if len(octets) > WINDOW else len(octets)
        yield decode(bytes(octets[:at]), section.charset)
        del octets[:at]


_CUTS_TRIED = 8  # past which the text is no base64 anyway
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]")


def _encoded_cut(data: bytearray, encoding: str) -> int:
    """Where transfer-encoded octets may be cut within the window, so that both sides decode alone."""
    line = data.rfind(b"\n", 0, WINDOW) + 1
    if encoding.strip().lower() != "base64":
        return line or WINDOW
    cut = line or WINDOW
    for _ in range(_CUTS_TRIED):
        if cut < 2 or (cut - len(_NOT_BASE64.findall(data[:cut]))) % 4 == 0:
            break
        cut -= 1
    return cut
