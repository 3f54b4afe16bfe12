"""What holders of credentials are asked of a provisioning file alike (docs/provisioning.md)."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U32, Digest32, Mutation, Name, Nonce, Reply

CHUNK_BYTES_MAX = 96 * 1024
CHUNK_LINES_MAX = 500
CHUNK_HASHES_MAX = 32 * 6000


class FirstPassword(Reply, frozen=True):
    """A digest that plays a first password, as SetPassword takes it; nonce: of the name by which the file knows it."""

    nonce: Nonce
    scheme: Name
    salt: Annotated[bytes, Meta(max_length=192)]
    digest: Annotated[bytes, Meta(min_length=12, max_length=64)]

    def __repr__(self) -> str:
        return "FirstPassword(...)"


class FileState(Reply, frozen=True):
    """How far a file has come in one holder. chunk: the next one."""

    root: Digest32
    lines: U32
    chunks: U32
    chunk: U32


class BeginFileBase(Mutation[FileState], frozen=True):
    """A provisioning file is to come; one that is known goes on. hashes: SHA-256 of each chunk, in order.

    In the ledger before its first line. Refused: `other-root`, `full`, and without an order of officers where the
    policy asks for one `order-required`.
    """

    root: Digest32
    lines: U32
    hashes: Annotated[bytes, Meta(min_length=32, max_length=CHUNK_HASHES_MAX)]


class FileChunkBase(Mutation[FileState], frozen=True):
    """Do this holder's part of the next chunk; of one that is done nothing. held: lines that are left out.

    Refused: `no-such-file`, `not-next`, `other-chunk`, `other-tenant`, `bad-line`.
    """

    root: Digest32
    number: U32
    data: Annotated[bytes, Meta(min_length=1, max_length=CHUNK_BYTES_MAX)]
    held: Annotated[tuple[U32, ...], Meta(max_length=CHUNK_LINES_MAX)] = ()
