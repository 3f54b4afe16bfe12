"""What `auth` and `keyring` are asked alike: their version key, changed while they serve (docs/credentials.md)."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U16, U32, U63, Done, Key32, Mutation, Name, Reply, Request

RETIRED_MAX = 64


class RetiredKey(Reply, frozen=True):
    """A version that no record is under any more. destroy_after: seconds since 1970, 0: at once.

    unreadable: records that did not open when it was retired.
    """

    version: U32
    destroy_after: U63
    unreadable: U63


class RotationReport(Reply, frozen=True):
    """Where a rotation stands. step: 0 none is under way, 1 records are sealed anew, 2 they are all opened.

    version: that new records are sealed under. done: records of this step so far, about so many in 1000 of all;
    at step 0, of the last rotation since this process was started.
    """

    version: U32
    step: U8
    done: U63
    permille: U16
    unreadable: U63
    root_version: U32
    retired: Annotated[tuple[RetiredKey, ...], Meta(max_length=RETIRED_MAX)]


class RotateKeyBase(Mutation[RotationReport], frozen=True):
    """Make the next version of the key and seal every record under it, or go on with that.

    emergency: what is retired may be destroyed at once; otherwise after `keep_seconds`, for the sake of backups.
    """

    emergency: bool
    keep_seconds: U63


class ReadRotationBase(Request[RotationReport], frozen=True):
    """Where it stands."""


class DestroyKeyBase(Mutation[Done], frozen=True):
    """Destroy a retired version and seal the others under `root`; in the ledger first. Again: done already.

    custody: how the root key is kept, for the ledger. Refused: `not-retired`, `not-due`, `unreadable`, `busy`.
    """

    leased: ClassVar[bool] = False
    secrets: ClassVar[tuple[str, ...]] = ("root",)
    version: U32
    root: Key32
    custody: Name

    def __repr__(self) -> str:
        return "DestroyKey(...)"
