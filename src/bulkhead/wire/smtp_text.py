"""The text of a message between DATA and the final dot: read in large pieces, and written.

Only <CRLF>.<CRLF> ends a message (RFC 5321 section 4.1.1.4). A message with a CR or LF that stands alone, or
with a NUL, is refused whole (RFC 5321 section 2.3.8; RFC 5322 section 4 makes NUL obsolete), so that no two servers
can disagree on where it ends. Transparency: RFC 5321 section 4.5.2.
"""

import re
from enum import Enum
from typing import Final

END: Final = b"\r\n.\r\n"
_NEWLINE: Final = re.compile(rb"\r\n|\r|\n")
_NO_NEWLINE: Final = bytes(octet for octet in range(256) if octet not in END[:2])
_LONE_CR: Final = re.compile(rb"\r(?!\n)")
_SUSPECT: Final = re.compile(rb"\r(?!\n(?!\.))")  # a CR that stands alone, or a CRLF before a dot


class Fault(Enum):
    """Why a message is refused whole; where several hold, the first of this list is told."""

    BARE_NEWLINE = 0
    NUL = 1
    TOO_BIG = 2
    LONG_LINE = 3


class TextReader:
    """Takes the text of one message out of an inbox, piece by piece.

    message_bytes: limit on the text without transparency dots.   text_line: limit on a line with its CRLF.
    After a fault nothing is kept, and only the end is looked for. Memory: one line between calls.
    """

    def __init__(self, *, message_bytes: int, text_line: int) -> None:
        self.size = 0  # octets of text so far, transparency dots not counted (RFC 1870 section 3)
        self.discarded = 0  # octets dropped after a fault
        self.ended = False
        self.fault: Fault | None = None
        self._message_bytes, self._text_line = message_bytes, text_line
        self._before = b""  # the last four octets dropped, while discarding
        self._seen = 0  # octets at the head of the inbox that hold no LF

    def read(self, inbox: bytearray) -> bytes:
        """The whole lines that `inbox` holds, unstuffed and removed from it; b"" when there are none or after a fault.

        Sets `ended` when the final dot was among them; what follows it stays in `inbox`.
        """
        if self.fault is not None:
            self._discard(inbox)
            return b""
        if inbox.find(b"\n", self._seen) < 0 and len(inbox) <= self._text_line:
            self._seen = len(inbox)  # a long line is looked at once, in however many pieces it comes
            return b""
        self._seen = 0
        hit = _SUSPECT.search(inbox)
        suspect = len(inbox) if hit is None else hit.start()
        stop, after = self._whole_lines(inbox, suspect)
        if after == 0:
            if b"\n" in inbox:  # no CRLF is here
                self._fail(Fault.BARE_NEWLINE)
            elif len(inbox) > self._text_line:  # too long even with a transparency dot, since its CRLF is not here
                self._fail(Fault.LONG_LINE)
            if self.fault is not None:
                self._discard(inbox)
            return b""
        with memoryview(inbox) as view:  # a slice of a bytearray would be one more copy
            text = bytes(view[:stop])
        del inbox[:after]
        self._check_octets(text, suspect)
        if suspect + 2 < stop:
            text = text[:suspect] + text[suspect:].replace(b"\r\n.", b"\r\n")
        if text.startswith(b"."):
            text = text[1:]
        if self.fault is None and not lines_fit(text, self._text_line):
            self._fail(Fault.LONG_LINE)
        self.size += len(text)
        if self.size > self._message_bytes:
            self._fail(Fault.TOO_BIG)
        return text if self.fault is None else b""

    def _whole_lines(self, inbox: bytearray, suspect: int) -> tuple[int, int]:
        """Where the whole lines of text stop, and where what follows begins; no dot follows a CRLF before `suspect`."""
        if inbox.startswith(b".\r\n"):
            self.ended = True
            return 0, 3
        at = inbox.find(END, suspect)
        if at >= 0:
            self.ended = True
            return at + 2, at + len(END)
        at = inbox.rfind(b"\r\n")
        return (0, 0) if at < 0 else (at + 2, at + 2)

    def _check_octets(self, text: bytes, suspect: int = 0) -> None:
        """Note a CR or LF that stands alone, or a NUL. No CR stands alone before `suspect`.

        `text` neither begins after a CR nor ends in one.
        """
        if not newlines_are_pairs(text, suspect):
            self._fail(Fault.BARE_NEWLINE)
        if b"\0" in text:
            self._fail(Fault.NUL)

    def _fail(self, fault: Fault) -> None:
        if self.fault is None:
            self._before = b"\r\n"  # reading stands at the start of a line
            self.fault = fault
        elif fault.value < self.fault.value:
            self.fault = fault

    def _discard(self, inbox: bytearray) -> None:
        """Drop the inbox up to the end of the message, still looking for graver faults."""
        if self.ended:
            return
        held = len(self._before)
        data = self._before + inbox
        at = data.find(END)
        if at >= 0:
            self.ended = True
            stop, after = at + 2, at + len(END)
        else:
            stop, after = len(data) - data.endswith(b"\r"), len(data)
        dots = data.count(b"\r\n.", 0, after) - self._before.count(b"\r\n.")
        del inbox[: after - held]
        self.discarded += after - held
        self.size += after - held - dots - 2 * self.ended  # the CRLF of the final dot is not text
        if self.ended and self.size > self._message_bytes:
            self._fail(Fault.TOO_BIG)
        # A CR at the end waits in `_before` for what follows it; a CR before `fresh` was left so the last time.
        fresh = held - self._before.endswith(b"\r")
        self._check_octets(data[fresh:stop])
        self._before = data[-4:]


def newlines_are_pairs(text: bytes, suspect: int = 0) -> bool:
    """Whether every CR is followed by LF and every LF follows a CR; known of the CRs before `suspect`."""
    if _LONE_CR.search(text, suspect) is not None:
        return False
    newlines = text.translate(None, _NO_NEWLINE)  # no CR stands alone, so each has its LF, and more LFs show here
    return newlines == b"\r\n" * (len(newlines) // 2)


def lines_fit(text: bytes, limit: int) -> bool:
    """Whether every line of `text`, CRLF counted, has at most `limit` octets; jumps from line end to line end.

    Every LF in `text` must follow a CR.
    """
    at, size = 0, len(text)
    while size - at > limit:
        newline = text.rfind(b"\n", at, at + limit)
        if newline < 0:
            return False
        at = newline + 1
    return True


class TextWriter:
    """Makes the octets that follow DATA out of a message given in pieces: dots doubled, every newline a CRLF.

    A CR or LF that stands alone becomes CRLF: it must not leave this host (RFC 5321 section 2.3.8).
    """

    def __init__(self) -> None:
        self._line_start = True
        self._held = b""  # a CR whose LF may come with the next piece

    def write(self, piece: bytes) -> bytes:
        """The wire form of the next piece; a CR at its end is held back until its successor is known."""
        piece = self._held + piece
        self._held = b""
        if piece.endswith(b"\r"):
            self._held, piece = b"\r", piece[:-1]
        if not piece:
            return b""
        if not newlines_are_pairs(piece):
            piece = _NEWLINE.sub(b"\r\n", piece)
        dot = b"." if self._line_start and piece.startswith(b".") else b""
        self._line_start = piece.endswith(b"\r\n")
        if _SUSPECT.search(piece) is not None:
            piece = piece.replace(b"\r\n.", b"\r\n..")
        return dot + piece if dot else piece

    def end(self) -> bytes:
        """What ends the message: the CRLF that is missing, if any, and the final dot."""
        newline = b"" if self._line_start and not self._held else b"\r\n"
        self._held, self._line_start = b"", True
        return newline + b".\r\n"
