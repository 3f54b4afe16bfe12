"""A backup's stream: what one compartment keeps, sealed so that only both recovery keys together open it.

    "BHBK" | version u8 | head length u16 | head | share length u16 | share | share length u16 | share | chunks ...

The head is clear: whose it is, of which backup, made when and by what, and the version keys that its records are still
sealed under. Each share (32 random bytes) is sealed to one party's recovery key; both together are the key of the
chunks, which are bound to the head, so that no stream passes for another's, or for one of another day.

Inside the chunks lie files, one after another: name length u16, name, size u64, content; a length of 0 ends them.
A stream of version 2 has, in place of a database, its blocks that changed since the backup `parent` (blocks.py).
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import TenantId
from bulkhead.records.chunks import ChunkOpener, ChunkSealer
from bulkhead.records.derive import derive
from bulkhead.records.hpke import open_from, seal_to
from bulkhead.records.mailbox import Holder, RecoveryKey
from bulkhead.records.record import SUITES, Kind, encode_header
from bulkhead.records.seed import new_secret

MAGIC = b"BHBK"
WHOLE, CHANGED = 1, 2  # versions: with every file whole; with blocks that changed since the head's `parent`
HEAD_MAX = 16_384  # octets
SHARE_MAX = 256
NAME_MAX = 255
STREAM, KEYS = "stream", "keys"  # what a head says is in it
_LEAD = struct.Struct(">4sBH")
_LENGTH = struct.Struct(">H")
_SIZE = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Head:
    """What is clear. created: ms since 1970. needs: versions of version keys by name. notes: numbers of its own.

    parent: the backup on which changed blocks are to be put; empty for a stream that has its files whole.
    """

    tenant: TenantId
    compartment: str
    backup: str
    content: str
    created: int
    build: str
    needs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    parent: str = ""

    @property
    def version(self) -> int:
        """The stream's."""
        return CHANGED if self.parent else WHOLE

    def encode(self) -> bytes:
        """JSON, keys in order, no spaces, ASCII."""
        fields: dict[str, Any] = {
            "backup": self.backup, "build": self.build, "compartment": self.compartment, "content": self.content,
            "created": self.created, "needs": {name: list(versions) for name, versions in self.needs.items()},
            "notes": dict(self.notes), "tenant": self.tenant,
        }  # fmt: skip
        if self.parent:
            fields["parent"] = self.parent
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def decode(cls, octets: bytes) -> "Head":
        """The head. Raises IntegrityError."""
        try:
            fields = json.loads(octets)
            needs = {str(name): tuple(int(v) for v in versions) for name, versions in fields["needs"].items()}
            notes = {str(name): int(number) for name, number in fields["notes"].items()}
            head = cls(
                TenantId(str(fields["tenant"])), str(fields["compartment"]), str(fields["backup"]),
                str(fields["content"]), int(fields["created"]), str(fields["build"]), needs, notes,
                str(fields.get("parent", "")),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise IntegrityError("a backup's head is not of a form that this version knows") from None
        if head.encode() != octets:
            raise IntegrityError("a backup's head is not in its one form")
        return head

    def bound(self) -> tuple[bytes, ...]:
        """The fields that shares and chunks are bound to."""
        octets = self.encode()
        place = (self.tenant.encode("ascii"), self.compartment.encode("ascii"), self.backup.encode("ascii"))
        return (*place, hashlib.sha256(octets).digest())


@dataclass(frozen=True, slots=True)
class Recipients:
    """Both parties' public recovery keys."""

    partner: RecoveryKey
    operator: RecoveryKey


@dataclass(frozen=True, slots=True)
class PrivateKeys:
    """Both parties' private recovery keys."""

    partner: X25519PrivateKey = field(repr=False)
    operator: X25519PrivateKey = field(repr=False)


class StreamSealer:
    """Plain files in, a stream out: `begin`, `file` and its pieces, `end`. shares: of 32 bytes, drawn if not given."""

    def __init__(self, head: Head, recipients: Recipients, *, shares: tuple[bytes, bytes] | None = None) -> None:
        self._head, self._recipients = head, recipients
        self._shares = shares or (new_secret(), new_secret())
        self._sealer = ChunkSealer(Kind.BACKUP_STREAM, _key(head, *self._shares), head.bound())

    def begin(self) -> bytes:
        """What stands before the chunks."""
        octets = self._head.encode()
        if len(octets) > HEAD_MAX:
            raise ValueError(f"a head has at most {HEAD_MAX} octets")
        parts = [_LEAD.pack(MAGIC, self._head.version, len(octets)), octets]
        keys = ((Holder.PARTNER, self._recipients.partner), (Holder.OPERATOR, self._recipients.operator))
        for (holder, key), share in zip(keys, self._shares, strict=True):
            sealed = seal_to(Kind.BACKUP_SHARE, key.version, key.public_key, share, _held(self._head, holder))
            parts += [_LENGTH.pack(len(sealed)), sealed]
        return b"".join([*parts, encode_header(Kind.BACKUP_STREAM, SUITES[Kind.BACKUP_STREAM][0], 0)])

    def file(self, name: str, size: int) -> list[bytes]:
        """Chunks complete by the announcement of a file, of which exactly `size` octets follow by `update`."""
        octets = name.encode("ascii")
        if not 0 < len(octets) <= NAME_MAX:
            raise ValueError(f"a file's name has 1 to {NAME_MAX} octets")
        return self._sealer.update(_LENGTH.pack(len(octets)) + octets + _SIZE.pack(size))

    def update(self, piece: bytes) -> list[bytes]:
        """Chunks that are now complete."""
        return self._sealer.update(piece)

    def end(self) -> list[bytes]:
        """The last chunks."""
        return [*self._sealer.update(_LENGTH.pack(0)), self._sealer.finish()]


@dataclass(frozen=True, slots=True)
class Sealed:
    """What stands before a stream's chunks."""

    head: Head
    shares: tuple[bytes, bytes] = field(repr=False)
    length: int  # octets up to the record of the chunks

    def key(self, keys: PrivateKeys) -> bytes:
        """The key of the chunks. Raises IntegrityError: another party's key, or changed bytes."""
        partner = open_from(self.shares[0], Kind.BACKUP_SHARE, keys.partner, _held(self.head, Holder.PARTNER))
        operator = open_from(self.shares[1], Kind.BACKUP_SHARE, keys.operator, _held(self.head, Holder.OPERATOR))
        return _key(self.head, partner, operator)


LEAD_MAX = _LEAD.size + HEAD_MAX + 2 * (_LENGTH.size + SHARE_MAX)


def read_lead(octets: bytes) -> Sealed:
    """What the first octets of a stream say; LEAD_MAX of them are enough. Raises IntegrityError."""
    if len(octets) < _LEAD.size:
        raise IntegrityError("no backup stream begins here")
    magic, version, length = _LEAD.unpack_from(octets)
    if magic != MAGIC or version not in (WHOLE, CHANGED) or length > HEAD_MAX:
        raise IntegrityError("no backup stream begins here, or one of another version")
    at = _LEAD.size + length
    head, shares = Head.decode(octets[_LEAD.size : at]), []
    if head.version != version:
        raise IntegrityError("a backup's head is not of its stream's version")
    for _ in range(2):
        if len(octets) < at + _LENGTH.size:
            raise IntegrityError("a backup stream is cut short")
        (size,) = _LENGTH.unpack_from(octets, at)
        shares.append(octets[at + _LENGTH.size : at + _LENGTH.size + size])
        at += _LENGTH.size + size
        if len(shares[-1]) != size or size > SHARE_MAX:
            raise IntegrityError("a backup stream is cut short")
    return Sealed(head, (shares[0], shares[1]), at)


class StreamOpener:
    """The files of a stream: pieces of its chunks in, (name, size, piece) out, at least one for each file.

    What was given is genuine, and the stream is whole only when `files` has ended without raising IntegrityError.
    """

    def __init__(self, sealed: Sealed, keys: PrivateKeys) -> None:
        self._opener = ChunkOpener(Kind.BACKUP_STREAM, sealed.key(keys), sealed.head.bound())

    def files(self, pieces: Iterable[bytes]) -> Iterator[tuple[str, int, bytes]]:
        """pieces: from the record of the chunks on."""
        plain = self._plain(pieces)
        kept = bytearray()

        def fill(count: int) -> None:
            while len(kept) < count:
                piece = next(plain, None)
                if piece is None:
                    raise IntegrityError("a backup stream ends within a file")
                kept.extend(piece)

        def take(count: int) -> bytes:
            fill(count)
            taken = bytes(kept[:count])
            del kept[:count]
            return taken

        while length := _LENGTH.unpack(take(_LENGTH.size))[0]:
            name = take(length).decode("ascii", "replace")
            (size,) = _SIZE.unpack(take(_SIZE.size))
            left = size
            while True:
                fill(min(left, 1))
                piece = bytes(kept[:left])
                del kept[: len(piece)]
                left -= len(piece)
                yield name, size, piece
                if not left:
                    break
        if kept or any(plain):
            raise IntegrityError("bytes follow the end of a backup stream")

    def _plain(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield from self._opener.update(piece)
        yield self._opener.finish()


def _held(head: Head, holder: Holder) -> tuple[bytes, ...]:
    return (*head.bound(), bytes((holder.value,)))


def _key(head: Head, share_1: bytes, share_2: bytes) -> bytes:
    return derive(share_1 + share_2, "backup", *head.bound())
