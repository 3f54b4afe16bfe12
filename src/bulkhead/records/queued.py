"""A message that waits to leave: like a stored one, but sealed to the tenant's queue key and bound to its QueueId.

Key box info = tenant, "queue", QueueId. Two parts, header and body; no summary, nothing lists it.
"""

from collections.abc import Iterable, Iterator

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import QueueId, TenantId
from bulkhead.records import chunks
from bulkhead.records.chunks import Buffer, ChunkOpener, ChunkSealer
from bulkhead.records.derive import derive, require_key
from bulkhead.records.hpke import open_from, seal_to
from bulkhead.records.mailbox import QUEUE_ACCOUNT, VerifiedBinding
from bulkhead.records.message import HEADER_MAX
from bulkhead.records.record import SUITES, Kind, encode_header, open_, seal


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


def queue_body_header() -> bytes:
    """The 7 bytes before the first piece that `queue_body_sealer` gives."""
    return encode_header(Kind.QUEUE_BODY, SUITES[Kind.QUEUE_BODY][0], 0)


def queue_body_sealer(key: bytes, queue_id: QueueId) -> ChunkSealer:
    """Seals a body as it arrives; write `queue_body_header()` first. One sealer per message key, ever."""
    return ChunkSealer(Kind.QUEUE_BODY, _body_key(key), _fields(queue_id))


def queue_body_opener(key: bytes, queue_id: QueueId) -> ChunkOpener:
    """Opens a body as it is read, header included."""
    return ChunkOpener(Kind.QUEUE_BODY, _body_key(key), _fields(queue_id))


def seal_queue_body_pieces(key: bytes, queue_id: QueueId, pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """The body's record in pieces of at most 65,552 bytes, header first."""
    return chunks.seal_chunks(Kind.QUEUE_BODY, _body_key(key), _fields(queue_id), pieces)


def open_queue_body_pieces(key: bytes, queue_id: QueueId, pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """The body in pieces. Raises IntegrityError, for a cut body only at its end."""
    return chunks.open_chunks(Kind.QUEUE_BODY, _body_key(key), _fields(queue_id), pieces)
