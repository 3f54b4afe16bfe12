"""The process that reads mail of another server's files: locked before the first octet, with two pipes alone.

It is executed afresh by `import maildir` and `import mbox`. Of a Maildir the command opens each file and passes its
octets on; an mbox is its standard input. Here alone are lists, file names and messages parsed.

    python -I -m bulkhead.imports.mail_reader maildir|rd|o ROOT UID
"""

import os
import re
import sys
from collections.abc import Sequence

from bulkhead.gate.delivery import bounded
from bulkhead.imports.mail_rows import (
    ASK,
    LINES_MAX,
    Ask,
    Bad,
    Folder,
    Letter,
    MailEnd,
    Names,
    Said,
    UidLines,
    write_said,
)
from bulkhead.imports.maildir import (
    UidHead,
    UidLine,
    file_flags,
    folder_name,
    read_keywords,
    read_subscriptions,
    read_uidlist,
)
from bulkhead.imports.mbox import Dialect, MboxLetter, MboxSplitter, TooLarge
from bulkhead.imports.reader import said_of
from bulkhead.supervisor.lock import MIB, Lock
from bulkhead.supervisor.sandbox import lock_down
from bulkhead.wire.imap.mailbox_name import INBOX
from bulkhead.wire.summary import summarize

MODULE = "bulkhead.imports.mail_reader"
CHUNK = 1 << 20
MEMORY_BYTES = 1024 * MIB
DIALECTS = {"rd": Dialect.RD, "o": Dialect.O}
SUBSCRIPTIONS_MAX = 1000
_IN, _OUT, _ERRORS = 0, 1, 2
_BARE = re.compile(rb"(?<!\r)\n")


def main(arguments: Sequence[str]) -> None:
    """Lock, say so, answer until the pipe ends."""
    form, root, uid = arguments[0], arguments[1], int(arguments[2])
    letter_of(b"Subject: =?utf-8?q?x?=\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n", 0, ())
    folder_name(b".A&MEI-.b")
    user = uid if os.geteuid() == 0 else None
    lock = Lock(
        root=root, keep_fds=frozenset({_IN, _OUT, _ERRORS}), uid=user, gid=user, memory_bytes=MEMORY_BYTES,
        open_files=8, threads=1, file_bytes=0,
    )  # fmt: skip
    _send(said_of(lock_down(lock)))
    if form == "maildir":
        answer_maildir()
    else:
        read_mbox(DIALECTS[form])


def read_mbox(dialect: Dialect) -> None:
    """Every message of standard input."""
    splitter = MboxSplitter(dialect)
    while data := os.read(_IN, CHUNK):
        for found in splitter.receive(data):
            _tell(found)
    for found in splitter.end():
        _tell(found)
    _send(MailEnd())


def _tell(found: MboxLetter | TooLarge) -> None:
    if isinstance(found, TooLarge):
        _send(Bad("is larger than a message may be here"))
        return
    uids = (found.uid, found.uid_validity, found.uid_last)
    _send_letter(letter_of(found.octets, found.flags, found.keywords, found.date, uids))


def answer_maildir() -> None:
    """What is asked, in order."""
    words: tuple[str, ...] = ()
    while head := _read(ASK.size, may_end=True):
        kind, name_size, size = ASK.unpack(head)
        name, octets = _read(name_size), _read(size)
        if kind == Ask.FOLDER:
            _send(Folder(folder_name(name) or ""))
        elif kind == Ask.UIDS:
            _send_uids(octets)
        elif kind == Ask.KEYWORDS:
            words = read_keywords(octets)
            _send(Folder(INBOX))
        elif kind == Ask.SUBSCRIPTIONS:
            _send(Names(read_subscriptions(octets)[:SUBSCRIPTIONS_MAX]))
        else:
            flags, keywords = file_flags(name, words)
            _send_letter(letter_of(octets, flags, keywords))


def _send_uids(text: bytes) -> None:
    lines = read_uidlist(text)
    head = next(lines)
    if not isinstance(head, UidHead):
        raise ValueError("a list begins with its head")
    some: list[tuple[int, bytes, str]] = []
    for line in lines:
        if isinstance(line, UidLine):
            some.append((line.uid, line.name, line.uidl))
            if len(some) == LINES_MAX:
                _send(UidLines(head.uid_validity, head.uid_next, tuple(some)))
                some = []
    if some:
        _send(UidLines(head.uid_validity, head.uid_next, tuple(some)))
    _send(UidLines(head.uid_validity, head.uid_next, ()))


def letter_of(
    octets: bytes, flags: int, keywords: tuple[str, ...], date: int = -1, uids: tuple[int, int, int] = (0, 0, 0)
) -> tuple[Letter | Bad, bytes]:
    """A message as it is stored: each line ends with CRLF. What IMAP cannot carry is refused."""
    if b"\0" in octets:
        return Bad("has the octet NUL, which no mail program can be given"), b""
    message = _BARE.sub(b"\r\n", octets) if octets.count(b"\n") != octets.count(b"\r\n") else octets
    if not message.strip():
        return Bad("is empty"), b""
    summary = bounded(message, summarize(message))
    if date < 0 and summary.date is not None:
        date = max(min(int(summary.date), 1 << 40), -1)
    if summary.header_size > 16 << 20:
        return Bad("has a header that is too large"), b""
    return (
        Letter(
            len(message), summary.header_size, summary.encode(), flags, keywords[:64], date, *uids
        ),
        message,
    )  # fmt: skip


def _send_letter(letter: tuple[Letter | Bad, bytes]) -> None:
    said, octets = letter
    _send(said)
    _write(octets)


def _send(said: Said) -> None:
    _write(write_said(said))


def _write(octets: bytes) -> None:
    rest = memoryview(octets)
    while rest:
        rest = rest[os.write(_OUT, rest) :]


def _read(size: int, *, may_end: bool = False) -> bytes:
    pieces: list[bytes] = []
    left = size
    while left and (piece := os.read(_IN, min(left, CHUNK))):
        pieces.append(piece)
        left -= len(piece)
    if left and not (may_end and left == size):
        raise SystemExit(1)
    return b"".join(pieces)


if __name__ == "__main__":
    main(sys.argv[1:])
