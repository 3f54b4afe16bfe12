"""The texts of a Maildir that another server, or our own export, wrote. PURE: octets in, values out, nothing trusted.

Names of folders (Maildir++: `.` before each level, modified UTF-7, `%` and two digits for what is escaped), flags in
file names, Dovecot's lists of UIDs and keywords, and subscriptions. What makes no sense is None or left out.
"""

import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bulkhead.errors import PeerError
from bulkhead.wire.imap.flags import SystemFlag, check_keyword
from bulkhead.wire.imap.grammar import CommandError
from bulkhead.wire.imap.mailbox_name import DELIMITER, INBOX, parse_mailbox_name

LINE_MAX = 4096  # octets of a line of a list
NAME_MAX = 255  # octets of a file's name
UID_MAX = 0xFFFFFFFF
FORWARDED = "$Forwarded"
_LETTERS = {
    "D": SystemFlag.DRAFT, "F": SystemFlag.FLAGGED, "R": SystemFlag.ANSWERED, "S": SystemFlag.SEEN,
    "T": SystemFlag.DELETED,
}  # fmt: skip
_ESCAPED = re.compile(rb"%([0-9a-fA-F]{2})")
_UIDL = re.compile(r"[!-~]{1,70}")


@dataclass(frozen=True, slots=True)
class UidLine:
    """A message of dovecot-uidlist. name: of its file, without flags."""

    uid: int
    name: bytes
    uidl: str


@dataclass(frozen=True, slots=True)
class UidHead:
    """The first line of dovecot-uidlist: 0 where it does not say."""

    uid_validity: int
    uid_next: int


def folder_name(directory: bytes) -> str | None:
    """The name of the mailbox in a directory of Maildir++, or of a line of subscriptions with `.` before it.

    `%` and two digits are the octet that stands for a character of the name itself; a separator that comes out of one
    is none: the name is then of no form that a mailbox here can have.
    """
    if directory.startswith(b"."):
        directory = directory[1:]
    levels = [_ESCAPED.sub(lambda found: bytes((int(found[1], 16),)), level) for level in directory.split(b".")]
    if any(not level or DELIMITER.encode() in level for level in levels):
        return None
    return wire_name(DELIMITER.encode().join(levels))


def wire_name(octets: bytes) -> str | None:
    """A name in modified UTF-7, or None where no mailbox can have it."""
    try:
        return parse_mailbox_name(octets, creating=True)
    except (CommandError, PeerError):
        try:  # as some servers write it
            return parse_mailbox_name(octets, utf8=True, creating=True)
        except (CommandError, PeerError):
            return None


def file_flags(name: bytes, keywords: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """Flags and keywords of a message by its file's name (`:2,` and letters). keywords: by letter from `a`."""
    _, found, letters = name.partition(b":2,")
    flags, words = 0, []
    for letter in letters.decode("ascii", "replace").partition(",")[0] if found else "":
        flags |= _LETTERS.get(letter, 0)
        at = string.ascii_lowercase.find(letter)
        if letter == "P":
            words.append(FORWARDED)
        elif 0 <= at < len(keywords) and keywords[at]:
            words.append(keywords[at])
    return flags, tuple(dict.fromkeys(words))


def read_keywords(text: bytes) -> tuple[str, ...]:
    """dovecot-keywords: a number and a name a line; the first 26 by their letters, empty where there is none."""
    names = [""] * 26
    for line in _lines(text):
        number, _, name = line.partition(b" ")
        if number.isdigit() and len(number) < 3 and int(number) < 26:
            names[int(number)] = keyword(name) or ""
    return tuple(names)


def keyword(name: bytes) -> str | None:
    """A keyword that IMAP can name."""
    try:
        return check_keyword(name).decode("ascii")
    except CommandError:
        return None


def read_subscriptions(text: bytes) -> tuple[str, ...]:
    """subscriptions: a folder a line, without the first `.`; Dovecot's newer form, with TAB between levels, too."""
    names = []
    for line in _lines(text):
        if line.startswith(b"V\t"):
            continue
        name = INBOX if line.upper() == b"INBOX" else folder_name(b"." + line.replace(b"\t", b"."))
        if name is not None:
            names.append(name)
    return tuple(dict.fromkeys(names))


def read_uidlist(text: bytes) -> Iterator[UidHead | UidLine]:
    """dovecot-uidlist: its head first, always; then its messages, each UID and name once, in the list's order.

    Version 3: `3 V<validity> N<next> ...`, then `<uid> [P<unique-id>] ... :<name>`; version 1: `1 <validity> <next>`.
    """
    lines = _lines(text)
    head = next(lines, b"").split(b" ")
    if head[0] == b"3":
        fields = {field[:1]: field[1:] for field in head[1:] if field}
        yield UidHead(_number(fields.get(b"V", b"")), _number(fields.get(b"N", b"")))
    elif head[0] == b"1" and len(head) >= 3:
        yield UidHead(_number(head[1]), _number(head[2]))
    else:
        yield UidHead(0, 0)
        return
    last = 0
    for line in lines:
        fields_, found, name = line.partition(b" :") if head[0] == b"3" else (*line.partition(b" ")[:2], b"")
        if not found:
            continue
        if head[0] == b"1":
            name = line.partition(b" ")[2]
        parts = fields_.split(b" ")
        uid = _number(parts[0])
        name = name.partition(b":")[0]
        if uid <= last or not 0 < len(name) <= NAME_MAX or b"/" in name:
            continue
        last = uid
        uidl = next((part[1:].decode("ascii", "replace") for part in parts[1:] if part.startswith(b"P")), "")
        yield UidLine(uid, name, uidl if _UIDL.fullmatch(uidl) else "")


def _number(digits: bytes) -> int:
    """A number of 32 bits; 0 for anything else."""
    if not digits.isdigit() or len(digits) > 10:
        return 0
    number = int(digits)
    return number if number <= UID_MAX else 0


def _lines(text: bytes) -> Iterator[bytes]:
    """Lines without their ends; one that is too long is left out."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", start)
        end = len(text) if end < 0 else end
        if end - start <= LINE_MAX:
            line = text[start:end].removesuffix(b"\r")
            if line:
                yield line
        start = end + 1
