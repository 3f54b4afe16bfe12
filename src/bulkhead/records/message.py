"""A stored message: its key in a box, and three parts under that key.

One random message key belongs to one message of one account. Each part has its own key from it, and each of those keys
seals one record, so summary and header may use a nonce of zeros. What is bound is the account and the EmailId, never a
mailbox or a UID: COPY and MOVE reseal nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import AccountId, EmailId, TenantId
from bulkhead.records import chunks
from bulkhead.records.chunks import Buffer, ChunkOpener, ChunkSealer, body_sealed_size, sealed_range
from bulkhead.records.derive import derive, require_key
from bulkhead.records.hpke import open_from, seal_to
from bulkhead.records.mailbox import VerifiedBinding
from bulkhead.records.record import SUITES, Kind, encode_header, open_, seal

__all__ = [
    "HEADER_MAX",
    "SUMMARY_MAX",
    "SealedParts",
    "body_header",
    "body_opener",
    "body_sealed_size",
    "body_sealer",
    "open_body",
    "open_body_pieces",
    "open_body_range",
    "open_header",
    "open_key_box",
    "open_summary",
    "part_key",
    "seal_body",
    "seal_body_pieces",
    "seal_head",
    "seal_key_box",
    "seal_parts",
    "sealed_range",
]

SUMMARY_MAX = 1 << 20  # octets
HEADER_MAX = 16 << 20  # octets

_PART_LABELS = {Kind.SUMMARY: "part/summary", Kind.HEADER: "part/header", Kind.BODY: "part/body"}


@dataclass(frozen=True, slots=True)
class SealedParts:
    """The three records of a message."""

    summary: bytes = field(repr=False)
    header: bytes = field(repr=False)
    body: bytes = field(repr=False)


def seal_key_box(binding: VerifiedBinding, email_id: EmailId, message_key: bytes) -> bytes:
    """The message key for the account of a verified binding: 87 bytes. About 55 us."""
    fields = (binding.tenant.encode("ascii"), binding.account, email_id)
    return seal_to(Kind.KEY_BOX, binding.generation, binding.public_key, require_key(message_key), fields)


def open_key_box(
    record: bytes, private_key: X25519PrivateKey, tenant: TenantId, account: AccountId, email_id: EmailId
) -> bytes:
    """The message key; the header's key version is the generation of the private key. Raises IntegrityError."""
    key = open_from(record, Kind.KEY_BOX, private_key, (tenant.encode("ascii"), account, email_id))
    if len(key) != 32:
        raise IntegrityError("a message key has 32 bytes")
    return key


def part_key(message_key: bytes, kind: Kind) -> bytes:
    """The key of one part: whoever holds only this opens only that part."""
    return derive(require_key(message_key), _PART_LABELS[kind])


def seal_parts(
    key: bytes, account: AccountId, email_id: EmailId, summary: bytes, header: bytes, body: Buffer
) -> SealedParts:
    """The three records under a message key that was never used before.

    Raises ValueError for a summary over 1 MiB, a header over 16 MiB or a key that has not 32 bytes.
    For large bodies use `body_sealer` or `seal_body_pieces`, which hold one chunk.
    """
    return SealedParts(
        *seal_head(key, account, email_id, summary, header), b"".join(seal_body(key, account, email_id, body))
    )


def seal_head(key: bytes, account: AccountId, email_id: EmailId, summary: bytes, header: bytes) -> tuple[bytes, bytes]:
    """The first two of them. Raises as seal_parts."""
    if len(summary) > SUMMARY_MAX or len(header) > HEADER_MAX:
        raise ValueError("summary or header is too large")
    place = (account, email_id)
    return (
        seal(Kind.SUMMARY, 0, part_key(key, Kind.SUMMARY), summary, place),
        seal(Kind.HEADER, 0, part_key(key, Kind.HEADER), header, place),
    )


def seal_body(key: bytes, account: AccountId, email_id: EmailId, body: Buffer) -> list[bytes]:
    """The third, of a body that is there as one, in pieces."""
    return chunks.seal_whole(Kind.BODY, part_key(key, Kind.BODY), (account, email_id), body)


def open_summary(key: bytes, account: AccountId, email_id: EmailId, record: Buffer) -> bytes:
    """The summary of a message. Raises IntegrityError."""
    return open_(record, Kind.SUMMARY, part_key(key, Kind.SUMMARY), (account, email_id))


def open_header(key: bytes, account: AccountId, email_id: EmailId, record: Buffer) -> bytes:
    """The complete header of a message. Raises IntegrityError."""
    return open_(record, Kind.HEADER, part_key(key, Kind.HEADER), (account, email_id))


def body_header() -> bytes:
    """The 7 bytes before the first piece that `body_sealer` gives."""
    return encode_header(Kind.BODY, SUITES[Kind.BODY][0], 0)


def body_sealer(key: bytes, account: AccountId, email_id: EmailId) -> ChunkSealer:
    """Seals a body as it arrives; write `body_header()` first. One sealer per message key, ever."""
    return ChunkSealer(Kind.BODY, part_key(key, Kind.BODY), (account, email_id))


def body_opener(key: bytes, account: AccountId, email_id: EmailId) -> ChunkOpener:
    """Opens a body as it is read, header included."""
    return ChunkOpener(Kind.BODY, part_key(key, Kind.BODY), (account, email_id))


def seal_body_pieces(key: bytes, account: AccountId, email_id: EmailId, pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """The body's record in pieces of at most 65,552 bytes, header first."""
    return chunks.seal_chunks(Kind.BODY, part_key(key, Kind.BODY), (account, email_id), pieces)


def open_body_pieces(key: bytes, account: AccountId, email_id: EmailId, pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """The body in pieces of at most 65,536 bytes. Raises IntegrityError, for a cut body only at its end."""
    return chunks.open_chunks(Kind.BODY, part_key(key, Kind.BODY), (account, email_id), pieces)


def open_body(key: bytes, account: AccountId, email_id: EmailId, record: Buffer) -> bytes:
    """The whole body. Raises IntegrityError."""
    view = memoryview(record)
    steps = range(0, len(view), chunks.SEALED_CHUNK_BYTES)
    return b"".join(
        open_body_pieces(key, account, email_id, (view[at : at + chunks.SEALED_CHUNK_BYTES] for at in steps))
    )


def open_body_range(
    key: bytes, account: AccountId, email_id: EmailId, sealed: Buffer, *, offset: int, length: int, plain_size: int
) -> bytes:
    """A range of the body from just the bytes that `sealed_range` named. Raises IntegrityError."""
    return chunks.open_range(
        Kind.BODY,
        part_key(key, Kind.BODY),
        (account, email_id),
        sealed,
        offset=offset,
        length=length,
        plain_size=plain_size,
    )
