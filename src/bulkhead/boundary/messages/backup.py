"""What every holder is asked alike for a backup (docs/backup.md). What it answers is sealed to both recovery keys."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import U32, U63, Name, Reply, Request

STREAM_MAX = 1 << 44  # octets
SEGMENTS_MAX = 16_384
SEALED_KEYS_MAX = 200_000
BackupName = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[0-9A-Za-z-]+$")]
ParentName = Annotated[str, Meta(max_length=40, pattern=r"^[0-9A-Za-z-]*$")]
Segments = Annotated[tuple[U32, ...], Meta(max_length=SEGMENTS_MAX)]


class BackupBegun(Reply, frozen=True):
    """What the snapshot holds: about so many octets in this stream.

    segments: of store, all that the snapshot names.   carried: those in this stream.   final: those that never change.
    """

    octets: U63
    segments: Segments = ()
    carried: Segments = ()
    final: Segments = ()


class BeginBackupBase(Request[BackupBegun], frozen=True):
    """Take a snapshot, which waits to be read; one that waited before is dropped.

    parent: a whole backup. have: of store, final segments that it names. whole: the database is to be carried whole.
    Where the parent was not made here, the database and every segment is carried: what bears these numbers there may be
    of a time that a restore took back. keep: take none, and let the one of that backup wait on for its reader. Refused:
    `no-recovery-key`, `no-snapshot`. `busy` for a moment.
    """

    backup: BackupName
    have: Segments = ()
    parent: ParentName = ""
    whole: bool = False
    keep: bool = False


class BackupStream(Reply, frozen=True):
    """The stream follows as body."""


class ReadBackupBase(Request[BackupStream], frozen=True):
    """The snapshot of that backup as a sealed stream, once. Refused: `no-snapshot`. `barrier`: it came too late."""

    reply_body_max: ClassVar[int] = STREAM_MAX
    backup: BackupName


class SealedKeys(Reply, frozen=True):
    """The compartment's key set, sealed to both recovery keys: a stream with one file."""

    stream: Annotated[bytes, Meta(max_length=SEALED_KEYS_MAX)]


class EscrowKeysBase(Request[SealedKeys], frozen=True):
    """The keys that a restore elsewhere needs. Refused: `no-recovery-key`."""

    name: Name
