"""Which blocks of a database were in which backup: a keyed hash of each, kept beside the database.

A list is written when a snapshot was copied, under the id of the backup that its stream is for. Whoever asks for the
blocks changed since that backup says by this that it is whole; a backup that was cut short is never named, and its list
goes with age. So no state is wrong at any kill: a list that is not there means a whole database, and one that is there
says what that backup's stream has, whoever names it. What was asked for is only ever less than the whole where the hash
of a block is the one that lies here.

    "BHBL" | version u8 | links u8 | block size u32 | size of the database u64 | key [32] | hashes [32] ...

links: backups from the last whole one to this. The key is drawn with a whole one and stays with those built on it:
nobody can make two blocks of one hash without it.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bulkhead.records.blocks import BLOCK_BYTES, BlocksLead, blocks_size, encode_number
from bulkhead.records.seed import new_secret

LISTS_MAX = 4  # backups whose blocks are known; others are those to other places, and what was cut short
LINKS_MAX = 64  # backups that one may rely on, one after another
LIST_BYTES_MAX = 1 << 27  # of a database of 256 GiB; a larger one is carried whole
MAGIC, VERSION = b"BHBL", 1
HASH_BYTES = 32
_LEAD = struct.Struct(">4sBBIQ32s")
_PREFIX, _SUFFIX = "backup-", ".blocks"


@dataclass(frozen=True, slots=True)
class BlockList:
    """The blocks of one backup. hashes: one after another. links: 0 for a whole one."""

    key: bytes
    size: int
    hashes: bytes
    links: int = 0

    def encode(self) -> bytes:
        """As it is kept."""
        return _LEAD.pack(MAGIC, VERSION, self.links, BLOCK_BYTES, self.size, self.key) + self.hashes

    @classmethod
    def decode(cls, octets: bytes) -> "BlockList | None":
        """The list; None for one that is damaged or of another version, after which a database is carried whole."""
        if not _LEAD.size <= len(octets) <= LIST_BYTES_MAX:
            return None
        magic, version, links, block, size, key = _LEAD.unpack_from(octets)
        count = -(-size // BLOCK_BYTES)
        if (magic, version, block, len(octets)) != (MAGIC, VERSION, BLOCK_BYTES, _LEAD.size + count * HASH_BYTES):
            return None
        return cls(key, size, octets[_LEAD.size :], links)


@dataclass(frozen=True, slots=True)
class Changed:
    """A database against an earlier backup of it."""

    lead: BlocksLead
    numbers: list[int]
    hashes: BlockList

    @property
    def octets(self) -> int:
        """Of the changed blocks in a stream."""
        return blocks_size(self.lead, self.numbers)

    def pieces(self, descriptor: int) -> Iterator[bytes]:
        """The changed blocks, from a copy of the database. Blocks."""
        yield self.lead.encode()
        for number in self.numbers:
            yield encode_number(number) + os.pread(descriptor, self.lead.length(number), number * self.lead.block)


def compare(descriptor: int, size: int, known: BlockList | None) -> Changed:
    """Read a copy of a database and say which of its blocks are not the known ones. Blocks; raises OSError."""
    key = new_secret() if known is None else known.key
    whole, hashes, numbers = hashlib.sha256(), bytearray(), []
    for number in range(-(-size // BLOCK_BYTES)):
        block = os.pread(descriptor, BLOCK_BYTES, number * BLOCK_BYTES)
        whole.update(block)
        found = hashlib.blake2b(block, digest_size=HASH_BYTES, key=key).digest()
        if known is None or known.hashes[len(hashes) : len(hashes) + HASH_BYTES] != found:
            numbers.append(number)
        hashes += found
    links = 0 if known is None else known.links + 1
    lead = BlocksLead(BLOCK_BYTES, size, whole.digest())
    return Changed(lead, numbers, BlockList(key, size, bytes(hashes), links))


def made_here(backup: str) -> bool:
    """Whether a stream for that backup was made from this database, and not from one that was restored since."""
    return bool(backup) and _path(backup).exists()


def read_list(backup: str) -> BlockList | None:
    """The blocks of a backup, where they are known and more may be put on it. Blocks."""
    path = _path(backup)
    if not made_here(backup):
        return None
    try:
        found = BlockList.decode(path.read_bytes()) if path.stat().st_size <= LIST_BYTES_MAX else None
    except OSError:
        return None
    return found if found is not None and found.links < LINKS_MAX else None


def keep_list(backup: str, found: BlockList, parent: str = "") -> None:
    """Make the list of a backup durable; the oldest beyond LISTS_MAX go, the parent's does not. Blocks; OSError.

    So what is cut short, one after another, does not push out the one that is whole.
    """
    octets, fresh = found.encode(), Path(f"{_PREFIX}{backup}.new")
    if len(octets) > LIST_BYTES_MAX:
        return
    remove_torn()
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(octets)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(_path(backup))
    lists = sorted(Path().glob(f"{_PREFIX}*{_SUFFIX}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in [path for path in lists if not parent or path != _path(parent)][LISTS_MAX - bool(parent) :]:
        path.unlink()


def remove_torn() -> None:
    """What a process that was killed left of a list."""
    for path in Path().glob(f"{_PREFIX}*.new"):
        with suppress(FileNotFoundError):
            path.unlink()


def _path(backup: str) -> Path:
    return Path(f"{_PREFIX}{backup}{_SUFFIX}")
