"""Files of accounts and addresses that officers signed, whole or in parts (docs/provisioning.md)."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U32, U63, AccountId, Digest32, Millis, Mutation, Name, Reply, Request
from bulkhead.boundary.messages.to_directory.values import PAGE_MAX, BindingRow

CHUNK_LINES_MAX = 500  # of a provisioning file (records/provision.py)
CHUNK_BYTES_MAX = 96 * 1024
CHUNK_HASHES_MAX = 32 * 6000


class ProvisionState(Reply, frozen=True):
    """How far a provisioning file has come. chunk: the next one. done, refused: lines."""

    root: Digest32
    lines: U32
    chunks: U32
    chunk: U32
    done: U32
    refused: U32
    begun: Millis
    changed: Millis


class BeginProvision(Mutation[ProvisionState], frozen=True, tag=80):
    """A provisioning file is to be carried out; one that is known goes on. hashes: SHA-256 of each chunk, in order.

    In the ledger before its first line. Refused: `other-root`, `too-large`, `full`, and without an order of officers
    where the policy asks for one `order-required`.
    """

    root: Digest32
    lines: U32
    hashes: Annotated[bytes, Meta(min_length=32, max_length=CHUNK_HASHES_MAX)]


class ProvisionChunk(Mutation[ProvisionState], frozen=True, tag=81):
    """Carry out the next chunk of a file; one that is done stays so. bindings: of the accounts that it makes.

    Lines that cannot be carried out are refused each for itself. Refused: `no-such-file`, `not-next`, `other-chunk`.
    """

    root: Digest32
    number: U32
    data: Annotated[bytes, Meta(min_length=1, max_length=CHUNK_BYTES_MAX)]
    bindings: Annotated[tuple[BindingRow, ...], Meta(max_length=CHUNK_LINES_MAX)] = ()


class ShowProvision(Request[ProvisionState], frozen=True, tag=82):
    """How far a file has come. Refused: `no-such-file`."""

    root: Digest32


class RefusedLine(Reply, frozen=True):
    """A line that was not carried out, and the short word for why."""

    line: U32
    code: Name


class RefusedLines(Reply, frozen=True):
    """Refused lines of a file, in order."""

    rows: Annotated[tuple[RefusedLine, ...], Meta(max_length=PAGE_MAX)]


class ListRefusedLines(Request[RefusedLines], frozen=True, tag=83):
    """The lines of a file after line `after` that were refused; the first 100,000 are kept."""

    root: Digest32
    after: U32 = 0


class UploadState(Reply, frozen=True):
    """A file that comes in parts. held: chunks that wait. missing: the first that is neither done nor here.

    expires: when the oldest that waits is forgotten, ms; 0: none waits.
    """

    state: ProvisionState
    held: U32
    missing: U32
    expires: Millis


class UploadChunk(Mutation[UploadState], frozen=True, tag=87):
    """Keep a chunk of a begun file until it is carried out. Refused: `no-such-file`, `other-chunk`, `upload-full`."""

    root: Digest32
    number: U32
    data: Annotated[bytes, Meta(min_length=1, max_length=CHUNK_BYTES_MAX)]


class ShowUpload(Request[UploadState], frozen=True, tag=88):
    """How far a file has come, and what of it waits. Refused: `no-such-file`."""

    root: Digest32


class AccountLimit(Reply, frozen=True):
    """An account and its quota, octets."""

    account: AccountId
    quota_bytes: U63


class ChunkPlan(Reply, frozen=True):
    """What comes before chunk `number`: accounts to make at keyring and store, and quotas to set at store."""

    number: U32
    makes: Annotated[tuple[AccountLimit, ...], Meta(max_length=CHUNK_LINES_MAX)]
    limits: Annotated[tuple[AccountLimit, ...], Meta(max_length=CHUNK_LINES_MAX)]


class PlanChunk(Request[ChunkPlan], frozen=True, tag=89):
    """What the next chunk of an uploaded file needs. Refused: `no-such-file`, `not-uploaded`."""

    root: Digest32


class CarryOutChunk(Mutation[UploadState], frozen=True, tag=90):
    """As ProvisionChunk, of the chunk that was uploaded; logins are ended and opened by no line of it.

    Refused: `no-such-file`, `not-next`, `not-uploaded`, and without an order where one is asked for `order-required`.
    """

    root: Digest32
    number: U32
    bindings: Annotated[tuple[BindingRow, ...], Meta(max_length=CHUNK_LINES_MAX)] = ()
