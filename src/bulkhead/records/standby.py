"""What is shipped to a standby: a stream a holder, begun with a lead, followed by numbered pieces.

    lead   "BHSB" | version u8 | head length u16 | head | 3 times: length u16, sealed
    piece  number u64 | flags u8 | digest of what stands before it, 32 | sealed

The first two sealed parts of the lead are shares for the recovery keys of partner and operator, as a backup's are: both
together give the stream's key. The third, empty where the tenant has no standby key, is that key sealed to it. A piece
is bound to the head, to its number and to SHA-256 of the piece (or lead) before it: whoever holds no key can still see
that none is missing, moved or from another stream, and nobody without the stream's key can make one.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from bulkhead.errors import IntegrityError
from bulkhead.records.backup import HEAD_MAX, Head, PrivateKeys, Recipients
from bulkhead.records.derive import derive
from bulkhead.records.hpke import open_from, seal_to
from bulkhead.records.mailbox import Holder
from bulkhead.records.record import Kind, open_, seal
from bulkhead.records.seed import new_secret

MAGIC = b"BHSB"
VERSION = 1
STANDBY = "standby"  # what a head says is in it
KEY_VERSION = 1
PIECE_MAX = 8 << 20  # octets of a sealed piece
LEAD_MAX = 32_768
WHOLE = 1  # flag: after this piece the state is one that the holder had committed
ENDED = 2  # flag: the holder has laid down its lease and answers no change any more
_LEAD = struct.Struct(">4sBH")
_LENGTH = struct.Struct(">H")
_PIECE = struct.Struct(">QB32s")
PIECE_MIN = _PIECE.size + 1  # octets of one


class Write(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Octets of a file, which is made where it is not there."""

    path: str
    offset: int
    data: bytes


class Remove(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A file is gone."""

    path: str


class Rename(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A file has another name, and takes the place of what had it."""

    old: str
    new: str


class Truncate(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A file has so many octets."""

    path: str
    length: int


class Pages(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Pages of a database by number, from 1. total: pages it has afterwards."""

    path: str
    size: int
    total: int
    pages: tuple[tuple[int, bytes], ...]


class Keys(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The holder's key set from here on, sealed to both recovery keys (records/backup.py)."""

    sealed: bytes


class Keep(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """A file that the base has and does not carry, because the standby said that it has it."""

    path: str


class Mark(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """All that was committed until then, ms since 1970, has been said."""

    at: int


Op = Write | Remove | Rename | Truncate | Pages | Keys | Keep | Mark
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Op])


@dataclass(frozen=True, slots=True)
class Lead:
    """What a stream begins with. digest: what its first piece is bound to."""

    head: Head
    sealed: tuple[bytes, bytes, bytes] = field(repr=False)
    digest: bytes

    def key(self, keys: PrivateKeys) -> bytes:
        """The stream's key, by both recovery keys. Raises IntegrityError."""
        partner = open_from(self.sealed[0], Kind.STANDBY_SHARE, keys.partner, _held(self.head, Holder.PARTNER))
        operator = open_from(self.sealed[1], Kind.STANDBY_SHARE, keys.operator, _held(self.head, Holder.OPERATOR))
        return _key(self.head, partner, operator)

    def warm_key(self, key: X25519PrivateKey) -> bytes:
        """The stream's key, by the standby's own. Raises IntegrityError where it is not sealed to that."""
        return open_from(self.sealed[2], Kind.STANDBY_KEY, key, self.head.bound())


def begin_stream(head: Head, recipients: Recipients, standby: X25519PublicKey | None) -> tuple[bytes, bytes]:
    """(lead, key) of a new stream. Raises ValueError for a head that is too long."""
    octets, shares = head.encode(), (new_secret(), new_secret())
    if len(octets) > HEAD_MAX:
        raise ValueError(f"a head has at most {HEAD_MAX} octets")
    key = _key(head, *shares)
    sealed = [
        seal_to(Kind.STANDBY_SHARE, to.version, to.public_key, share, _held(head, holder))
        for holder, to, share in (
            (Holder.PARTNER, recipients.partner, shares[0]),
            (Holder.OPERATOR, recipients.operator, shares[1]),
        )
    ]
    sealed.append(b"" if standby is None else seal_to(Kind.STANDBY_KEY, KEY_VERSION, standby, key, head.bound()))
    parts = [_LEAD.pack(MAGIC, VERSION, len(octets)), octets]
    for one in sealed:
        parts += [_LENGTH.pack(len(one)), one]
    return b"".join(parts), key


def read_lead(octets: bytes) -> Lead:
    """The lead in these octets. Raises IntegrityError."""
    if not _LEAD.size <= len(octets) <= LEAD_MAX:
        raise IntegrityError("no stream to a standby begins here")
    magic, version, length = _LEAD.unpack_from(octets)
    if magic != MAGIC or version != VERSION or length > HEAD_MAX:
        raise IntegrityError("no stream to a standby begins here, or one of another version")
    at = _LEAD.size + length
    head, sealed = Head.decode(octets[_LEAD.size : at]), []
    for _ in range(3):
        if len(octets) < at + _LENGTH.size:
            raise IntegrityError("the lead of a stream is cut short")
        (size,) = _LENGTH.unpack_from(octets, at)
        at += _LENGTH.size + size
        sealed.append(octets[at - size : at])
    if at != len(octets):
        raise IntegrityError("the lead of a stream is cut short, or something follows it")
    if head.content != STANDBY:
        raise IntegrityError("this is a stream of another sort")
    return Lead(head, (sealed[0], sealed[1], sealed[2]), hashlib.sha256(octets).digest())


def seal_piece(key: bytes, head: Head, number: int, flags: int, before: bytes, ops: Sequence[Op]) -> bytes:
    """A piece. before: SHA-256 of the piece before it, or of the lead."""
    clear = _PIECE.pack(number, flags, before)
    return clear + seal(Kind.STANDBY_PIECE, 0, key, _ENCODER.encode(ops), (*head.bound(), clear))


def read_piece(octets: bytes) -> tuple[int, int, bytes]:
    """(number, flags, digest of what stands before it) as a piece says in clear. Raises IntegrityError."""
    if not _PIECE.size < len(octets) <= PIECE_MAX:
        raise IntegrityError("a piece is cut short")
    number, flags, before = _PIECE.unpack_from(octets)
    return number, flags, before


def open_piece(key: bytes, head: Head, octets: bytes) -> list[Op]:
    """What a piece says is to be done. Raises IntegrityError."""
    clear = octets[: _PIECE.size]
    plain = open_(octets[_PIECE.size :], Kind.STANDBY_PIECE, key, (*head.bound(), clear))
    try:
        return _DECODER.decode(plain)
    except msgspec.DecodeError:
        raise IntegrityError("a piece has a layout that this version does not know") from None


def _held(head: Head, holder: Holder) -> tuple[bytes, ...]:
    return (*head.bound(), bytes((holder.value,)))


def _key(head: Head, share_1: bytes, share_2: bytes) -> bytes:
    return derive(share_1 + share_2, "standby", *head.bound())
