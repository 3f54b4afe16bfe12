"""The text of a message that comes in chunks of announced size: BDAT (RFC 3030 section 2).

Chunks are framed by their size, so nothing in them can end a message early; yet a text is held to the rules of DATA:
lines end in CRLF, none is over the limit, no NUL. BINARYMIME is not offered, for a mailbox is read by lines and other
servers are sent to by DATA. A last line without its end gets one, so that both ways give one text.
"""

import re
from typing import Final

from bulkhead.wire import smtp_codes as codes
from bulkhead.wire.smtp_command import CommandError
from bulkhead.wire.smtp_text import Fault, lines_fit, newlines_are_pairs

COMMAND_COST: Final = 64  # octets that a refused BDAT counts beside its chunk

_BDAT = re.compile(r"([0-9]{1,20})(?: +([Ll][Aa][Ss][Tt]))?")


def parse_bdat(text: str) -> tuple[int, bool]:
    """Octets of the chunk, and whether it is the last.

    Raises CommandError: where the next command begins is unknown then, and nothing more may be read.
    """
    match = _BDAT.fullmatch(text)
    if match is None:
        raise CommandError(codes.CHUNK_SIZE)
    return int(match[1]), match[2] is not None


class ChunkReader:
    """Takes the chunks of one message out of an inbox, piece by piece; keeps none of them.

    message_bytes: limit on all chunks.   text_line: limit on a line with its CRLF.   After a fault all is dropped.
    """

    def __init__(self, *, message_bytes: int, text_line: int) -> None:
        self.size = 0  # octets of text handed over
        self.left = 0  # octets of the present chunk still to come
        self.last = False
        self.fault: Fault | None = None
        self._message_bytes, self._text_line = message_bytes, text_line
        self._line = 0  # octets of the line under way
        self._return = False  # the last octet was a CR

    def begin(self, octets: int, last: bool) -> None:
        """A chunk of so many octets follows."""
        self.left, self.last = octets, last
        if self.fault is None and self.size + octets > self._message_bytes:
            self.fault = Fault.TOO_BIG

    def read(self, inbox: bytearray) -> bytes:
        """What `inbox` holds of the chunk, removed from it; b"" when there is nothing or after a fault.

        The chunk is over when `left` is 0 and this gives nothing more.
        """
        text = bytes(inbox[: self.left])
        del inbox[: len(text)]
        self.left -= len(text)
        if text and self.fault is None:
            self._check(text)
        if self.last and not self.left:
            text += self._finish()
        if self.fault is not None:
            return b""
        self.size += len(text)
        return text

    def _finish(self) -> bytes:
        """The end that the last line lacks, given once."""
        if self._return and self.fault is None:
            self.fault = Fault.BARE_NEWLINE
        line, self._line = self._line, 0
        return b"\r\n" if line else b""

    def _check(self, text: bytes) -> None:
        whole = b"\r" + text if self._return else text
        self._return = whole.endswith(b"\r")
        if not newlines_are_pairs(whole[:-1] if self._return else whole):
            self.fault = Fault.BARE_NEWLINE
            return
        if b"\0" in text:
            self.fault = Fault.NUL
            return
        first = text.find(b"\n") + 1
        if self._line + (first or len(text)) > self._text_line or not lines_fit(text[first:], self._text_line):
            self.fault = Fault.LONG_LINE
        self._line = len(text) - text.rfind(b"\n") - 1 if first else self._line + len(text)
