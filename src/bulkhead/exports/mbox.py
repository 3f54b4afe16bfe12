"""A folder as one file in the form mboxrd: LF, a line `From ` before each message, `>` before lines that look like it.

What Maildir has in names is in the header fields that mbox programs know: Status, X-Status, X-Keywords, X-UID, X-IMAP
with UIDVALIDITY in the first message. Fields of these names that a message brought along are left out: its sender wrote
them.
"""

import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bulkhead.exports.sealed import open_new
from bulkhead.wire.imap.flags import SystemFlag

LINE_BYTES = 1 << 16  # of a line that is looked at at once; what is longer goes on as it is
_QUOTED = re.compile(rb">*From ")
_OURS = re.compile(rb"(?:status|x-status|x-keywords|x-uid|x-imap|x-imapbase|content-length)[ \t]*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MboxMessage:
    """One message: its file with CRLF, its place and its flags. date: seconds since 1970."""

    path: Path
    uid: int
    date: int
    flags: int
    keywords: tuple[str, ...]


def write_mbox(path: Path, uid_validity: int, uid_next: int, messages: Iterable[MboxMessage]) -> None:
    """The file, whole and on the disk, or as it was before."""
    new = path.with_name(path.name + ".new")
    with open_new(new) as out:
        for number, message in enumerate(messages):
            stamp = time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(min(max(message.date, 0), 1 << 36)))
            out.write(f"From MAILER-DAEMON {stamp}\n".encode("ascii"))
            with message.path.open("rb") as stream:
                _copy(stream, out, _fields(message, (uid_validity, uid_next) if number == 0 else ()))
        out.flush()
        os.fsync(out.fileno())
    new.replace(path)


def _fields(message: MboxMessage, base: Sequence[int]) -> bytes:
    seen = "R" if message.flags & SystemFlag.SEEN else ""
    marks = ((SystemFlag.ANSWERED, "A"), (SystemFlag.FLAGGED, "F"), (SystemFlag.DRAFT, "T"), (SystemFlag.DELETED, "D"))
    lines = [
        *([f"X-IMAP: {base[0]:010d} {base[1] - 1:010d}"] if base else ()),
        f"Status: {seen}O", f"X-Status: {''.join(letter for flag, letter in marks if message.flags & flag)}",
        f"X-Keywords: {' '.join(message.keywords)}", f"X-UID: {message.uid}",
    ]  # fmt: skip
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _copy(stream: IO[bytes], out: IO[bytes], fields: bytes) -> None:
    """The message with our fields at the end of its header, and an empty line behind it."""
    in_header, dropping, whole = True, False, True
    for line, begins in _lines(stream):
        whole = line.endswith(b"\n")
        if begins and in_header:
            if line == b"\n":
                in_header = False
                out.write(fields)
            elif not line.startswith((b" ", b"\t")):
                dropping = _OURS.match(line) is not None
        if in_header and dropping:
            continue
        if begins and _QUOTED.match(line):
            out.write(b">")
        out.write(line)
    if in_header:
        out.write((b"" if whole else b"\n") + fields)
        whole = True
    out.write(b"\n" if whole else b"\n\n")


def _lines(stream: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Lines with LF, in pieces where they are long, and whether a piece begins one."""
    begins, held = True, b""
    while piece := stream.readline(LINE_BYTES):
        piece, held = held + piece, b""
        if piece.endswith(b"\r\n"):
            piece = piece[:-2] + b"\n"
        elif piece.endswith(b"\r"):  # perhaps half of a CRLF
            piece, held = piece[:-1], b"\r"
        if piece:
            yield piece, begins
            begins = piece.endswith(b"\n")
    if held:
        yield held, begins
