"""Files of an export that only both recovery keys together open: streams in the form of a backup's (docs/formats.md).

Whoever has the directory reads sizes, account ids and how many messages there are; no address, flag, date or name.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bulkhead.errors import IntegrityError, Refused
from bulkhead.identifiers import TenantId, format_id
from bulkhead.records.backup import (
    LEAD_MAX,
    Head,
    PrivateKeys,
    Recipients,
    Sealed,
    StreamOpener,
    StreamSealer,
    read_lead,
)
from bulkhead.records.hpke import open_from
from bulkhead.records.record import Kind, read_header
from bulkhead.records.recovery_file import RecoveryPrivateKey

COMPARTMENT = "export"  # who sealed: the command, and none of the cell's compartments
HEAD, ROWS = "head", "rows"  # what a stream holds
PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class RecoveryKeys:
    """Both parties' private keys, with whose and of which version they are."""

    partner: RecoveryPrivateKey
    operator: RecoveryPrivateKey

    @property
    def private(self) -> PrivateKeys:
        """As streams are opened."""
        return PrivateKeys(self.partner.private_key, self.operator.private_key)


@dataclass(frozen=True, slots=True)
class Seals:
    """Seals for one tenant's two parties. created: ms, of this run."""

    tenant: TenantId
    recipients: Recipients
    created: int
    build: str = ""

    def stream(self, account: bytes, content: str) -> StreamSealer:
        """A stream of one account; content: HEAD or ROWS."""
        head = Head(self.tenant, COMPARTMENT, format_id("acc", account), content, self.created, self.build)
        return StreamSealer(head, self.recipients)


def sealed_file(sealer: StreamSealer, name: str, octets: bytes) -> bytes:
    """A whole stream with one file."""
    return b"".join((sealer.begin(), *sealer.file(name, len(octets)), *sealer.update(octets), *sealer.end()))


def open_stream(path: Path, tenant: TenantId, content: str, keys: RecoveryKeys, *, of: str = "") -> Iterator[bytes]:
    """The files of a stream, each whole. of: the id of the account that it must be of.

    Raises Refused (`wrong-key`) naming whose key does not fit, IntegrityError.
    """
    with path.open("rb") as stream:
        sealed = read_lead(stream.read(LEAD_MAX))
        head = sealed.head
        if (head.tenant, head.compartment, head.content, head.backup) != (tenant, COMPARTMENT, content, of):
            raise IntegrityError(f"{path} is a file of another place")
        require_keys(sealed, keys)
        stream.seek(sealed.length)
        opener = StreamOpener(sealed, keys.private)
        try:
            yield from whole_files(opener.files(iter(lambda: stream.read(PIECE), b"")))
        except IntegrityError as error:
            raise IntegrityError(f"{path}: {error.public}") from None


def whole_files(pieces: Iterable[tuple[str, int, bytes]]) -> Iterator[bytes]:
    """Files of a stream put together."""
    gathered: list[bytes] = []
    left = -1
    for _, size, piece in pieces:
        left = (size if left < 0 else left) - len(piece)
        gathered.append(piece)
        if not left:
            yield b"".join(gathered)
            gathered, left = [], -1


def require_keys(sealed: Sealed, keys: RecoveryKeys) -> None:
    """Raises Refused (`wrong-key`) where a share does not open with its party's key."""
    for share, owner in zip(sealed.shares, (keys.partner, keys.operator), strict=True):
        version, who = read_header(share, Kind.BACKUP_SHARE).key_version, owner.holder.name.lower()
        if version != owner.version:
            raise Refused(
                f"this is sealed to version {version} of the {who}'s recovery key, and the file is version "
                f"{owner.version}: give the other file",
                code="wrong-key",
            )
        try:
            open_from(share, Kind.BACKUP_SHARE, owner.private_key, (*sealed.head.bound(), bytes((owner.holder.value,))))
        except IntegrityError:
            raise Refused(
                f"the {who}'s recovery key does not open this export: it is another tenant's or another key",
                code="wrong-key",
            ) from None
