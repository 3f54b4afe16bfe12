"""Maildir++ names, flags and Dovecot's lists, for any mailbox name that a subscriber can make. PURE but for the writer.

Nothing of a name reaches the file system but what is safe there: what is not printable ASCII is in modified UTF-7 (RFC
3501 section 5.1.3), and what a file name or Maildir++ gives another meaning is `%` and two hexadecimal digits (Dovecot
reads it with `mailbox_list_storage_escape_char = %`).
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bulkhead.exports.sealed import open_new
from bulkhead.wire.imap.flags import SystemFlag
from bulkhead.wire.imap.mailbox_name import DELIMITER, encode_utf7

NAME_BYTES_MAX = 200  # of a directory; 255 is what most file systems have
KEYWORD_LETTERS = "abcdefghijklmnopqrstuvwxyz"
FLAG_LETTERS = (
    (SystemFlag.DRAFT, "D"),
    (SystemFlag.FLAGGED, "F"),
    (SystemFlag.ANSWERED, "R"),
    (SystemFlag.SEEN, "S"),
    (SystemFlag.DELETED, "T"),
)
_UNSAFE = re.compile(r"[%./\\:]")
_UNSAFE_IN_ADDRESS = re.compile(rb"[^A-Za-z0-9@._+=-]")
_OURS = re.compile(r"-?\d+\.U\d+E[0-9a-f]{32}\.bulkhead(?:,.*)?")


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02x}", text)


def _shortened(name: str, whole: str) -> str:
    """A name that fits; one that was cut has a digest of the whole, so that two stay two."""
    if len(name) <= NAME_BYTES_MAX:
        return name
    return f"{name[: NAME_BYTES_MAX - 18]}%~{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def folder_directory(name: str) -> str:
    """The directory of a mailbox other than INBOX: `.` before each level. One name, one directory."""
    levels = [_escaped(encode_utf7(level).decode("ascii")) or "%" for level in name.split(DELIMITER)]
    return _shortened("." + ".".join(levels), name)


def account_directory(address: str) -> str:
    """The directory of an account's mail: the address, with what is unsafe in a file name as % and two digits."""
    raw = _UNSAFE_IN_ADDRESS.sub(lambda found: b"%%%02x" % found[0][0], address.encode()).decode("ascii")
    return _shortened("%2e" + raw[1:] if raw.startswith(".") else raw, address)


def base_name(date: int, uid: int, email: bytes, size: int) -> str:
    """A message's file, without flags: its INTERNALDATE, UID and EmailId, and its octets as Dovecot reads them."""
    return f"{date}.U{uid}E{email.hex()}.bulkhead,S={size},W={size}"


def is_ours(name: str) -> bool:
    """Whether such a file may be one that an export wrote."""
    return _OURS.fullmatch(name.partition(":")[0]) is not None


def flag_letters(flags: int, keyword_bits: dict[int, str]) -> str:
    """The letters behind `:2,`, ascending. keyword_bits: letters by bit."""
    system = "".join(letter for flag, letter in FLAG_LETTERS if flags & flag)
    return system + "".join(sorted(letter for bit, letter in keyword_bits.items() if flags >> bit & 1))


def letters_for(bits: Iterable[int]) -> dict[int, str]:
    """Letters for the first 26 keywords; the others have none, and stand in `keywords.tsv` alone."""
    return dict(zip(bits, KEYWORD_LETTERS, strict=False))


class MaildirFolder:
    """One folder being written. What lies there of an earlier run is replaced, and removed where it is no more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("cur", "new", "tmp"):
            (path / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._before = {file.name for file in (path / "cur").iterdir() if is_ours(file.name)}
        for file in (path / "tmp").iterdir():
            if is_ours(file.name):
                file.unlink()

    def add(self, name: str, flags: str, date: int, pieces: Iterator[bytes], size: int) -> str:
        """One message of `size` octets, whole or not there: its SHA-256. Raises ValueError on another size."""
        waiting, digest, written = self.path / "tmp" / name, hashlib.sha256(), 0
        try:
            with open_new(waiting) as stream:
                for piece in pieces:
                    stream.write(piece)
                    digest.update(piece)
                    written += len(piece)
            if written != size:
                raise ValueError("the message is not as long as its row says")
            date = min(max(date, 0), 1 << 40)
            os.utime(waiting, (date, date))
            final = self.file_name(name, flags)
            waiting.replace(self.path / "cur" / final)
        except BaseException:
            waiting.unlink(missing_ok=True)
            raise
        self._before.discard(final)
        return digest.hexdigest()

    @staticmethod
    def file_name(name: str, flags: str) -> str:
        """As it stands in `cur`."""
        return f"{name}:2,{flags}"

    def finish(self) -> None:
        """Files of an earlier run that no message has any more go."""
        for name in self._before:
            (self.path / "cur" / name).unlink(missing_ok=True)
