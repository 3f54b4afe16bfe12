"""What a whole export has beside mail: what another installation needs to carry the tenant on.

    DIR/cell/directory.stream      domains, addresses, statuses, tombstones as digests, quotas, bindings
            /auth.stream           auth's halves of every credential, under its own keys
            /keyring.stream        keyring's halves and the mailbox keys, under its own keys
            /<holder>.keys         the keys that these are under, and the ledger's key of subjects
            /tenant.toml           the tenant's settings: names, addresses, public keys; no secret
            /dns.json              the DNS records that the tenant needs
            /ledger/               its log as C2SP tiles, and the checkpoint
            /sums                  SHA-256 of each but the tiles, which the checkpoint's root covers; written last

Streams and keys are sealed by their compartment itself, to both recovery keys (docs/formats.md, "Backup stream"): no
compartment sees another's, the command sees none.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bulkhead.errors import IntegrityError
from bulkhead.exports.sealed import CELL, JSON_MAX, SCHEMA, digest_of, read_limited, write_whole
from bulkhead.exports.sealing import RecoveryKeys, require_keys, whole_files
from bulkhead.identifiers import TenantId
from bulkhead.records.backup import KEYS, LEAD_MAX, STREAM, Sealed, StreamOpener, read_lead
from bulkhead.records.keyfile import KeySet

STREAMS = ("directory", "auth", "keyring")  # in the order of their snapshots: each account of it has its halves
SEALED_KEYS = ("directory", "auth", "keyring", "ledger")
SETTINGS, DNS, LEDGER = "tenant.toml", "dns.json", "ledger"
CHECKPOINT = f"{LEDGER}/checkpoint"
FILES = (*(f"{name}.stream" for name in STREAMS), *(f"{name}.keys" for name in SEALED_KEYS), SETTINGS, DNS, CHECKPOINT)
PIECE = 1 << 18


def write_sums(export: Path) -> str:
    """Name every file by its hash; the SHA-256 of that."""
    folder = export / CELL
    sums = {name: digest_of(folder / name)[1] for name in FILES}
    data = json.dumps({"schema": SCHEMA, "files": sums}, sort_keys=True).encode("ascii")
    write_whole(folder / "sums", data)
    return hashlib.sha256(data).hexdigest()


def check_cell(export: Path, digest: str) -> None:
    """Raises IntegrityError where a file is not the one that was exported."""
    folder = export / CELL
    data = read_limited(folder / "sums", JSON_MAX)
    if hashlib.sha256(data).hexdigest() != digest:
        raise IntegrityError(f"{folder / 'sums'} is not the one that the manifest names")
    try:
        files = dict(json.loads(data)["files"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise IntegrityError(f"{folder / 'sums'} is of no form that this version knows") from None
    for name in FILES:
        try:
            found = digest_of(folder / name)[1]
        except OSError:
            raise IntegrityError(f"{folder / name} is missing or cannot be read") from None
        if found != files.get(name):
            raise IntegrityError(f"{folder / name} is not what was exported")


@dataclass(frozen=True, slots=True)
class CellFiles:
    """The sealed files of a checked export, and who opens them."""

    folder: Path
    tenant: TenantId
    keys: RecoveryKeys

    def key_set(self, compartment: str) -> KeySet:
        """The keys that a compartment's records are under. Raises IntegrityError, Refused (`wrong-key`)."""
        path = self.folder / f"{compartment}.keys"
        (octets,) = whole_files(self._pieces(path, compartment, KEYS))
        try:
            return msgspec.msgpack.decode(octets, type=KeySet)
        except msgspec.DecodeError:
            raise IntegrityError(f"{path}: the layout inside is not known") from None

    def database(self, compartment: str) -> Iterator[bytes]:
        """The compartment's database in pieces: the only file of its stream. Raises as key_set."""
        names: set[str] = set()
        for name, _, piece in self._pieces(self.folder / f"{compartment}.stream", compartment, STREAM):
            names.add(name)
            if names != {f"{compartment}.sqlite"}:
                raise IntegrityError(f"{compartment}.stream has a file that this version does not know")
            yield piece

    def _pieces(self, path: Path, compartment: str, content: str) -> Iterable[tuple[str, int, bytes]]:
        with path.open("rb") as file:
            sealed = read_lead(file.read(LEAD_MAX))
            self._require(path, sealed, compartment, content)
            file.seek(sealed.length)
            yield from StreamOpener(sealed, self.keys.private).files(iter(lambda: file.read(PIECE), b""))

    def _require(self, path: Path, sealed: Sealed, compartment: str, content: str) -> None:
        head = sealed.head
        if (head.tenant, head.compartment, head.content) != (self.tenant, compartment, content):
            raise IntegrityError(f"{path} is another stream")
        require_keys(sealed, self.keys)
