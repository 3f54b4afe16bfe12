"""A message that waits to leave: like a stored one, but sealed to the tenant's queue key and bound to its QueueId.

Key box info = tenant, "queue", QueueId. Two parts, header and body; no summary, nothing lists it. The header's part
begins with the envelope, so that `queue`, which also keeps it in clear to schedule by, cannot have the message sent to
anyone but those it was submitted for.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import QueueId, TenantId
from bulkhead.records import chunks
from bulkhead.records.chunks import Buffer, ChunkOpener
from bulkhead.records.derive import derive, require_key
from bulkhead.records.hpke import open_from, seal_to
from bulkhead.records.mailbox import QUEUE_ACCOUNT, VerifiedBinding
from bulkhead.records.message import HEADER_MAX
from bulkhead.records.record import Kind, open_, seal

_LENGTH = struct.Struct("<I")
_VERSION = "\0002"  # no address has NUL


@dataclass(frozen=True, slots=True)
class QueuedWish:
    """What the sender wishes to be told of one recipient: NOTIFY as flags, ORCPT as written (RFC 3461)."""

    notify: int = 0
    original: str = ""


@dataclass(frozen=True, slots=True)
class QueuedEnvelope:
    """Who sends and to whom, in wire form without brackets; the reverse-path is empty for null.

    wishes: one a recipient, or none at all.   ret, envid: as MAIL had them, empty where it had not (RFC 3461).
    utf8: MAIL said SMTPUTF8 (RFC 6531).
    """

    reverse_path: str
    recipients: tuple[str, ...]
    wishes: tuple[QueuedWish, ...] = ()
    ret: str = ""
    envid: str = ""
    utf8: bool = False

    def wish(self, number: int) -> QueuedWish:
        """The wish for one recipient."""
        return self.wishes[number] if number < len(self.wishes) else _NO_WISH

    def join(self, header: bytes) -> bytes:
        """What is sealed as the header's part. Raises ValueError on a value with a separator in it: our bug."""
        rows = [(_VERSION, self.ret, self.envid, str(int(self.utf8))), (self.reverse_path,)]
        for number, address in enumerate(self.recipients):
            wish = self.wish(number)
            rows.append((address, str(wish.notify), wish.original))
        if any("\n" in value or "\t" in value for row in rows for value in row):
            raise ValueError("an envelope has no line end and no tab in its values")
        text = "\n".join("\t".join(row) for row in rows).encode()
        return _LENGTH.pack(len(text)) + text + header

    @classmethod
    def split(cls, part: bytes) -> "tuple[QueuedEnvelope, bytes]":
        """The envelope and the header in an opened part, of either version. Raises IntegrityError."""
        if len(part) < _LENGTH.size or (end := _LENGTH.size + _LENGTH.unpack_from(part)[0]) > len(part):
            raise IntegrityError("the queued message has no envelope")
        try:
            rows = [line.split("\t") for line in part[_LENGTH.size : end].decode().split("\n")]
            if rows[0][0] == _VERSION:
                (_, ret, envid, utf8), (reverse_path,) = rows[:2]
                wishes = tuple(QueuedWish(int(notify), original) for _, notify, original in rows[2:])
                envelope = cls(reverse_path, tuple(row[0] for row in rows[2:]), wishes, ret, envid, utf8 == "1")
            else:  # version 1: addresses alone
                (reverse_path,), recipients = rows[0], tuple(address for (address,) in rows[1:])
                envelope = cls(reverse_path, recipients)
        except ValueError:
            raise IntegrityError("the queued message has no envelope") from None
        return envelope, part[end:]

    def require(self, reverse_path: str, recipients: Iterable[tuple[int, str]]) -> None:
        """Passes the envelope that the message was sealed with, recipients by number. Raises IntegrityError."""
        places = len(self.recipients)
        if reverse_path != self.reverse_path or any(
            number >= places or self.recipients[number] != address for number, address in recipients
        ):
            raise IntegrityError("the queued message was submitted under another envelope")


_NO_WISH = QueuedWish()


def seal_queue_key_box(binding: VerifiedBinding, queue_id: QueueId, message_key: bytes) -> bytes:
    """The message key for `keyring`'s queue row: 87 bytes. Raises ValueError for a binding that is not the queue's."""
    if binding.account != QUEUE_ACCOUNT:
        raise ValueError("the binding is not the queue's")
    fields = (binding.tenant.encode("ascii"), QUEUE_ACCOUNT, queue_id)
    return seal_to(Kind.QUEUE_KEY_BOX, binding.generation, binding.public_key, require_key(message_key), fields)


def open_queue_key_box(record: bytes, private_key: X25519PrivateKey, tenant: TenantId, queue_id: QueueId) -> bytes:
    """The message key. Raises IntegrityError."""
    fields = (tenant.encode("ascii"), QUEUE_ACCOUNT, queue_id)
    key = open_from(record, Kind.QUEUE_KEY_BOX, private_key, fields)
    if len(key) != 32:
        raise IntegrityError("a message key has 32 bytes")
    return key


def _header_key(message_key: bytes) -> bytes:
    return derive(require_key(message_key), "queue/header")


def _body_key(message_key: bytes) -> bytes:
    return derive(require_key(message_key), "queue/body")


def _fields(queue_id: QueueId) -> tuple[bytes, bytes]:
    return QUEUE_ACCOUNT, queue_id


def seal_queue_header(key: bytes, queue_id: QueueId, header: bytes) -> bytes:
    """The header's record, once per message key. Raises ValueError over 16 MiB."""
    if len(header) > HEADER_MAX:
        raise ValueError("header is too large")
    return seal(Kind.QUEUE_HEADER, 0, _header_key(key), header, _fields(queue_id))


def open_queue_header(key: bytes, queue_id: QueueId, record: Buffer) -> bytes:
    """The header of a queued message. Raises IntegrityError."""
    return open_(record, Kind.QUEUE_HEADER, _header_key(key), _fields(queue_id))


def queue_body_opener(key: bytes, queue_id: QueueId) -> ChunkOpener:
    """Opens a body as it is read, header included."""
    return ChunkOpener(Kind.QUEUE_BODY, _body_key(key), _fields(queue_id))


def seal_queue_body_pieces(key: bytes, queue_id: QueueId, pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """The body's record in pieces of at most 65,552 bytes, header first."""
    return chunks.seal_chunks(Kind.QUEUE_BODY, _body_key(key), _fields(queue_id), pieces)


def open_queue_body_pieces(key: bytes, queue_id: QueueId, pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """The body in pieces. Raises IntegrityError, for a cut body only at its end."""
    return chunks.open_chunks(Kind.QUEUE_BODY, _body_key(key), _fields(queue_id), pieces)
