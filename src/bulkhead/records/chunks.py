"""Bodies in chunks of 64 KiB, so that a range opens alone and 50 MB never lie in memory twice.

    header 7 | chunk 0: up to 65,536 bytes and tag 16 | chunk 1 ... | last chunk

Every chunk but the last is full; an empty body is one empty last chunk. nonce = chunk number (11 bytes, big-endian)
and last flag (1 byte): a chunk cannot be moved, and no prefix is a whole body (the STREAM construction). The key seals
one body only.
"""

from collections.abc import Iterable, Iterator, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bulkhead.errors import IntegrityError
from bulkhead.records.derive import require_key
from bulkhead.records.record import HEADER_BYTES, SUITES, TAG_BYTES, Kind, bind, encode_header, read_header

CHUNK_BYTES = 65536
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES

Buffer = bytes | bytearray | memoryview


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def chunk_count(plain_size: int) -> int:
    """Chunks of a body of `plain_size` bytes: at least one. Raises ValueError for a negative size."""
    if plain_size < 0:
        raise ValueError("a size is not negative")
    return max(1, -(-plain_size // CHUNK_BYTES))


def body_sealed_size(plain_size: int) -> int:
    """Bytes of the record of a body of `plain_size` bytes, header included."""
    return HEADER_BYTES + plain_size + TAG_BYTES * chunk_count(plain_size)


def sealed_range(offset: int, length: int, plain_size: int) -> tuple[int, int, int]:
    """(offset in the record, bytes to read there, number of the first chunk) that hold a range of the body.

    The range is cut at the body's end; one that holds nothing gives length 0. Raises ValueError for negative numbers.
    """
    if offset < 0 or length < 0:
        raise ValueError("a range is not negative")
    end = min(offset + length, plain_size)
    first = offset // CHUNK_BYTES
    start = HEADER_BYTES + first * SEALED_CHUNK_BYTES
    if offset >= end:
        return start, 0, first
    after = min(((end - 1) // CHUNK_BYTES + 1) * SEALED_CHUNK_BYTES + HEADER_BYTES, body_sealed_size(plain_size))
    return start, after - start, first


class ChunkSealer:
    """Plain pieces in, record pieces out: `update` for each, `finish` once. Holds at most one chunk."""

    __slots__ = ("_aad", "_cipher", "_kept", "_number", "_open")

    def __init__(self, kind: Kind, key: bytes, fields: Sequence[bytes]) -> None:
        """key: used for this body and nothing else. Raises ValueError unless it has 32 bytes."""
        suite = SUITES[kind][0]
        self._cipher = AESGCM(require_key(key))
        self._aad = bind(kind, suite, 0, fields)
        self._kept = bytearray()
        self._number = 0
        self._open = True

    def _seal(self, chunk: Buffer, last: bool) -> bytes:
        sealed = self._cipher.encrypt(_nonce(self._number, last), chunk, self._aad)
        self._number += 1
        return sealed

    def update(self, piece: Buffer) -> list[bytes]:
        """Sealed chunks that are now complete; a full chunk waits until a later byte shows that it is not the last."""
        if not self._open:
            raise ValueError("the body is finished")
        view, out = memoryview(piece), []
        if self._kept and len(self._kept) + len(view) > CHUNK_BYTES:
            need = CHUNK_BYTES - len(self._kept)
            self._kept += view[:need]
            view = view[need:]
            out.append(self._seal(self._kept, False))
            self._kept = bytearray()
        while len(view) > CHUNK_BYTES:
            out.append(self._seal(view[:CHUNK_BYTES], False))
            view = view[CHUNK_BYTES:]
        self._kept += view
        return out

    def finish(self) -> bytes:
        """The last chunk. Raises ValueError when called twice: the nonce would repeat."""
        if not self._open:
            raise ValueError("the body is finished")
        self._open = False
        return self._seal(self._kept, True)


def seal_whole(kind: Kind, key: bytes, fields: Sequence[bytes], body: Buffer) -> list[bytes]:
    """The record of a body that is there as one, in pieces: the same octets as ChunkSealer's, without its copies."""
    suite = SUITES[kind][0]
    cipher, aad = AESGCM(require_key(key)), bind(kind, suite, 0, fields)
    view, final = memoryview(body), chunk_count(len(body)) - 1
    sealed = [encode_header(kind, suite, 0)]
    for number in range(final + 1):
        chunk = view[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
        sealed.append(cipher.encrypt(_nonce(number, number == final), chunk, aad))
    return sealed


class ChunkOpener:
    """Record pieces in, plain pieces out. What `update` gave is genuine but the body is whole only after `finish`."""

    __slots__ = ("_aad", "_cipher", "_fields", "_kept", "_kind", "_number", "_open")

    def __init__(self, kind: Kind, key: bytes, fields: Sequence[bytes]) -> None:
        self._kind, self._fields = kind, fields
        self._cipher = AESGCM(require_key(key))
        self._aad = b""  # until the header was read
        self._kept = bytearray()
        self._number = 0
        self._open = True

    def update(self, piece: Buffer) -> list[bytes]:
        """Plain chunks that are now complete. Raises IntegrityError."""
        if not self._open:
            raise ValueError("the body is finished")
        self._kept += piece
        at, out = 0, []
        if not self._aad:
            if len(self._kept) < HEADER_BYTES:
                return []
            header = read_header(self._kept, self._kind)
            self._aad = bind(self._kind, header.suite, header.key_version, self._fields)
            at = HEADER_BYTES
        with memoryview(self._kept) as view:
            while len(view) - at > SEALED_CHUNK_BYTES:
                out.append(self._open_chunk(view[at : at + SEALED_CHUNK_BYTES], False))
                at += SEALED_CHUNK_BYTES
        del self._kept[:at]
        return out

    def _open_chunk(self, chunk: Buffer, last: bool) -> bytes:
        plain = _decrypt(self._cipher, self._aad, self._kind, self._number, chunk, last)
        self._number += 1
        return plain

    def finish(self) -> bytes:
        """The last chunk's plaintext. Raises IntegrityError where the record was cut or something follows it."""
        if not self._open or not self._aad:
            raise IntegrityError(f"{self._kind.name} record is too short")
        self._open = False
        last = self._open_chunk(self._kept, True)
        if not last and self._number > 1:
            raise IntegrityError(f"{self._kind.name} record ends in an empty chunk")
        return last


def _decrypt(cipher: AESGCM, aad: bytes, kind: Kind, number: int, chunk: Buffer, last: bool) -> bytes:
    try:
        return cipher.decrypt(_nonce(number, last), chunk, aad)
    except InvalidTag:
        raise IntegrityError(f"{kind.name} record: chunk {number} does not open") from None


def seal_chunks(kind: Kind, key: bytes, fields: Sequence[bytes], pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """The record of a body given in pieces, in pieces of at most 65,552 bytes, the header first."""
    yield encode_header(kind, SUITES[kind][0], 0)
    sealer = ChunkSealer(kind, key, fields)
    for piece in pieces:
        yield from sealer.update(piece)
    yield sealer.finish()


def open_chunks(kind: Kind, key: bytes, fields: Sequence[bytes], pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """The body of a record given in pieces. Raises IntegrityError, where it was cut at the very end."""
    opener = ChunkOpener(kind, key, fields)
    for piece in pieces:
        yield from opener.update(piece)
    yield opener.finish()


def open_range(
    kind: Kind, key: bytes, fields: Sequence[bytes], sealed: Buffer, *, offset: int, length: int, plain_size: int
) -> bytes:
    """Bytes offset to offset + length of the body, from just the bytes that `sealed_range` named.

    plain_size: the body's size from the summary. No header is read: a body of another version does not open.
    Raises IntegrityError.
    """
    _, sealed_length, first = sealed_range(offset, length, plain_size)
    if len(sealed) != sealed_length:
        raise IntegrityError(f"{kind.name} record: the range has the wrong length")
    if not sealed_length:
        return b""
    cipher = AESGCM(require_key(key))
    aad = bind(kind, SUITES[kind][0], 0, fields)
    final = chunk_count(plain_size) - 1
    out, view = [], memoryview(sealed)
    for step, at in enumerate(range(0, sealed_length, SEALED_CHUNK_BYTES)):
        number = first + step
        out.append(_decrypt(cipher, aad, kind, number, view[at : at + SEALED_CHUNK_BYTES], number == final))
    skip = offset - first * CHUNK_BYTES
    plain = out[0] if len(out) == 1 else b"".join(out)
    return plain[skip : skip + length]
