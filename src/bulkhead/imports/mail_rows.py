"""What the command and the locked reader of mail files say to each other.

To the reader, of a Maildir: u8 kind, u16 length of a name, u64 length of octets, name, octets. Of an mbox: the file
itself, as its standard input. From it: u32 length and one message of a closed list, each field with its limit; behind a
Letter its octets. The command trusts the reader no more than it would the files.
"""

import struct
from enum import IntEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from bulkhead.errors import PeerError
from bulkhead.imports.mbox import MESSAGE_MAX
from bulkhead.imports.rows import ReaderLock

SUMMARY_MAX = 600_000
FRAME_MAX = 1 << 20  # octets
LINES_MAX = 500  # of one UidLines
LISTS_MAX = 256 << 20  # octets of a list of UIDs
TEXT_MAX = 1 << 20  # octets of the other lists
ASK = struct.Struct(">BHQ")
LENGTH = struct.Struct(">I")
_U32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
_Name = Annotated[str, Meta(max_length=1024)]
_Word = Annotated[str, Meta(max_length=64)]
Words = Annotated[tuple[_Word, ...], Meta(max_length=64)]
Uidl = Annotated[str, Meta(max_length=70, pattern=r"^[!-~]*\Z")]


class Ask(IntEnum):
    """What the reader of a Maildir is given. FOLDER: the name of a directory, answered by Folder."""

    FOLDER = 1
    UIDS = 2  # answered by UidLines, the last without lines
    KEYWORDS = 3  # of the folder, for the messages that follow; answered by Folder
    SUBSCRIPTIONS = 4  # answered by Names
    MESSAGE = 5  # name: of its file; answered by Letter or Bad


class _Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class Folder(_Frame, frozen=True, tag=11):
    """A folder's name; empty where no mailbox here can have it."""

    name: _Name


class UidLines(_Frame, frozen=True, tag=12):
    """Some of the messages in the list: UID, file's name without flags, unique-id."""

    uid_validity: _U32
    uid_next: _U32
    lines: Annotated[tuple[tuple[_U32, Annotated[bytes, Meta(max_length=255)], Uidl], ...], Meta(max_length=LINES_MAX)]


class Names(_Frame, frozen=True, tag=13):
    """Subscriptions."""

    names: Annotated[tuple[_Name, ...], Meta(max_length=1000)]


class Letter(_Frame, frozen=True, tag=14):
    """A message with CRLF; its `size` octets follow. date: -1 where nothing says; uid, uid_validity: 0 likewise.

    summary: as store keeps it, of a message whose header has `header_size` octets.
    """

    size: Annotated[int, Meta(ge=1, le=MESSAGE_MAX * 2)]
    header_size: Annotated[int, Meta(ge=0, le=16 << 20)]
    summary: Annotated[bytes, Meta(max_length=SUMMARY_MAX)]
    flags: Annotated[int, Meta(ge=0, le=31)]
    keywords: Words
    date: Annotated[int, Meta(ge=-1, le=1 << 40)]
    uid: _U32 = 0
    uid_validity: _U32 = 0
    uid_last: _U32 = 0

    def __repr__(self) -> str:
        return f"Letter({self.size} octets)"


class Bad(_Frame, frozen=True, tag=15):
    """What cannot be taken in, and why; nothing of its content."""

    reason: Annotated[str, Meta(max_length=256)]


class MailEnd(_Frame, frozen=True, tag=16):
    """The last."""


Said = ReaderLock | Folder | UidLines | Names | Letter | Bad | MailEnd
_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)


def write_said(said: Said) -> bytes:
    """One frame. Raises ValueError for one that is too long: our bug."""
    body = _ENCODER.encode(said)
    if len(body) > FRAME_MAX:
        raise ValueError("a frame of the import is too long")
    return LENGTH.pack(len(body)) + body


def parse_said(body: bytes) -> Said:
    """A frame without its length. Raises PeerError."""
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise PeerError("the reader of the files sent what is no message") from None
