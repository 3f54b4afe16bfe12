"""What a backup is made of: files that are only ever added, one folder a backup, its manifest written last.

    TENANT/BACKUP/<compartment>.stream    sealed to both recovery keys
    TENANT/BACKUP/tenant.toml             the tenant's settings, which hold no secret
    TENANT/BACKUP/manifest.json           names, sizes and hashes of all of it; a backup without one is none

Nothing is ever written over, so that storage whose files can only be added to will do (backup_target.py). The keys of
a restore elsewhere lie apart, as they must be destroyed with a rotation (escrow.py).
"""

import contextlib
import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bulkhead.cli.backup_target import MISSING, NewObject, Target, write_object
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.holder.blocks import LINKS_MAX
from bulkhead.identifiers import TenantId

MANIFEST = "manifest.json"
SETTINGS = "tenant.toml"
SCHEMA = "bulkhead/backup-manifest/1"
SCHEMA_CHANGED = "bulkhead/backup-manifest/2"  # of a backup that has a stream of changed blocks
MANIFEST_MAX = 8 << 20
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Stream:
    """One file of a backup. needs: version keys, by name, that its records are under.

    parent: the backup on which its changed blocks are to be put; empty where its database is whole.
    """

    compartment: str
    octets: int
    sha256: str
    needs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    parent: str = ""

    @property
    def file(self) -> str:
        """Its name within the backup."""
        return f"{self.compartment}.stream"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is. segments: number to the backup that carries it, and whether that segment never changes."""

    tenant: TenantId
    backup: str
    created: int  # ms
    build: str
    streams: tuple[Stream, ...]
    segments: dict[int, tuple[str, bool]] = field(default_factory=dict)
    settings: str = ""  # SHA-256 of tenant.toml

    def encode(self) -> bytes:
        """JSON, keys in order, one line."""
        streams = [
            {"compartment": s.compartment, "octets": s.octets, "sha256": s.sha256,
             "needs": {name: list(versions) for name, versions in s.needs.items()},
             **({"parent": s.parent} if s.parent else {})}
            for s in self.streams
        ]  # fmt: skip
        segments = [[number, *where] for number, where in sorted(self.segments.items())]
        schema = SCHEMA_CHANGED if any(s.parent for s in self.streams) else SCHEMA
        document = {
            "schema": schema, "tenant": self.tenant, "backup": self.backup, "created": self.created,
            "build": self.build, "streams": streams, "segments": segments, "settings": self.settings,
        }  # fmt: skip
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"

    @classmethod
    def decode(cls, octets: bytes) -> "Manifest":
        """The manifest. Raises IntegrityError."""
        try:
            document = json.loads(octets)
            streams = tuple(
                Stream(
                    str(s["compartment"]), int(s["octets"]), str(s["sha256"]),
                    {str(name): tuple(int(v) for v in versions) for name, versions in s["needs"].items()},
                    str(s.get("parent", "")),
                )
                for s in document["streams"]
            )  # fmt: skip
            segments = {int(number): (str(backup), bool(final)) for number, backup, final in document["segments"]}
            manifest = cls(
                TenantId(str(document["tenant"])), str(document["backup"]), int(document["created"]),
                str(document["build"]), streams, segments, str(document["settings"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise IntegrityError("the manifest is cut short or damaged: this is no whole backup") from None
        named = [where[0] for where in segments.values()] + [stream.parent for stream in streams if stream.parent]
        if manifest.encode() != octets or not all(map(_ID.fullmatch, named)):
            raise IntegrityError("the manifest is not in its one form: this is no whole backup")
        return manifest

    def stream(self, compartment: str) -> Stream:
        """One stream. Raises IntegrityError where the backup has none."""
        for stream in self.streams:
            if stream.compartment == compartment:
                return stream
        raise IntegrityError(f"backup {self.backup} has no stream of {compartment}")


class Shelf:
    """The backups of one tenant at one target. A backup's objects are named by file; all of it blocks."""

    def __init__(self, target: Target, tenant: TenantId) -> None:
        self.target, self.tenant = target, tenant
        self.where = f"{target.where}/{tenant}"
        self._links: dict[str, Manifest] = {}

    def new(self, moment: datetime) -> str:
        """The id of a new backup, in the order of time: to the millisecond, and five random digits."""
        return f"{moment:%Y%m%dT%H%M%SZ}-{moment.microsecond // 1000:03}{secrets.token_hex(3)[1:]}"

    def name(self, backup: str, file: str = "") -> str:
        """What the target calls a backup, or a file in it. Raises ConfigError where the id is none."""
        if not _ID.fullmatch(backup):
            raise ConfigError(f"{backup!r} is no backup's id; see: bulkhead backup list {self.tenant}")
        return f"{self.tenant}/{backup}/{file}" if file else f"{self.tenant}/{backup}"

    def place(self, backup: str, file: str = "") -> str:
        """The same in words, for messages."""
        return f"{self.target.where}/{self.name(backup, file)}"

    def ids(self) -> list[str]:
        """Every backup, whole or not, the oldest first."""
        return [name for name in self.target.folders(self.tenant) if _ID.fullmatch(name)]

    def files(self, backup: str) -> dict[str, int]:
        """Octets by name of what lies there of a backup, whole or not."""
        return self.target.files(self.name(backup))

    def create(self, backup: str, file: str) -> NewObject:
        """A new file of a backup. Raises Refused (`exists`), TemporaryFailure."""
        return self.target.create(self.name(backup, file))

    def write(self, backup: str, file: str, content: bytes) -> str:
        """A whole new file of a backup; its SHA-256. Raises as create."""
        return write_object(self.target, self.name(backup, file), content)

    def pieces(self, backup: str, file: str, offset: int = 0, octets: int | None = None) -> Iterator[bytes]:
        """A file's octets from `offset` on, at most so many. Raises IntegrityError (`missing`), TemporaryFailure."""
        return self.target.pieces(self.name(backup, file), offset, octets)

    def read(self, backup: str, file: str, limit: int) -> bytes:
        """A file's first octets. Raises as pieces."""
        return b"".join(self.pieces(backup, file, 0, limit))

    def digest(self, backup: str, file: str) -> tuple[str, int]:
        """(SHA-256, octets) of a file, read whole. Raises as pieces."""
        found, octets = hashlib.sha256(), 0
        for piece in self.pieces(backup, file):
            found.update(piece)
            octets += len(piece)
        return found.hexdigest(), octets

    def manifest(self, backup: str) -> Manifest:
        """The manifest of a whole backup. Raises IntegrityError, ConfigError, TemporaryFailure."""
        place = self.place(backup, MANIFEST)
        try:
            octets = self.read(backup, MANIFEST, MANIFEST_MAX)
        except IntegrityError as error:
            if error.code != MISSING:
                raise
            raise IntegrityError(f"{self.place(backup)} has no manifest: this is no whole backup") from None
        try:
            manifest = Manifest.decode(octets)
        except IntegrityError as error:
            raise IntegrityError(f"{place}: {error.public}") from None
        if (manifest.tenant, manifest.backup) != (self.tenant, backup):
            raise IntegrityError(f"{place} is the manifest of another backup")
        return manifest

    def whole(self) -> list[Manifest]:
        """Manifests of whole backups, the oldest first."""
        found = []
        for backup in self.ids():
            with contextlib.suppress(IntegrityError):
                found.append(self.manifest(backup))
        return sorted(found, key=lambda manifest: manifest.created)

    def chain(self, manifest: Manifest, compartment: str) -> list[Manifest]:
        """From the backup that has a compartment's database whole to this one, each but the first changed blocks.

        Raises IntegrityError where one of them is not there, or they are too many.
        """
        links = [manifest]
        while parent := links[-1].stream(compartment).parent:
            if len(links) > LINKS_MAX or parent >= links[-1].backup:
                raise IntegrityError(f"backup {manifest.backup} relies on others that cannot be: take another one")
            if parent not in self._links:
                self._links[parent] = self.manifest(parent)
            links.append(self._links[parent])
        return links[::-1]

    def chosen(self, at: str) -> Manifest:
        """The whole backup of that id; the newest one begun at or before that time; or the newest of all.

        at: an id, a time as ISO 8601 has it (UTC where it names no zone), or nothing. Raises ConfigError.
        """
        if _ID.fullmatch(at):
            return self.manifest(at)
        whole, until = self.whole(), _moment(at) if at else None
        found = [manifest for manifest in whole if until is None or manifest.created <= until]
        if found:
            return found[-1]
        if whole:
            raise ConfigError(
                f"the oldest whole backup of {self.tenant} is {whole[0].backup}: none is from before {at}"
            )
        raise ConfigError(f"{self.where} has no whole backup of {self.tenant}; name the right place with --from")

    def remove(self, backup: str) -> None:
        """Take a backup away, its manifest first. Raises Refused (`held`) where the storage forbids that."""
        self.target.remove(self.name(backup), (MANIFEST,))

    def hold(self, backup: str) -> None:
        """Keep an earlier backup as long as one that is made now and relies on it, where the storage locks objects."""
        self.target.hold([self.name(backup, file) for file in self.files(backup)])


def _moment(text: str) -> int:
    """Milliseconds since 1970 of a time in ISO 8601. Raises ConfigError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is neither a backup's id nor a time such as 2026-11-22T09:30Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def needed_versions(manifest: Manifest) -> Iterator[tuple[str, str, int]]:
    """(compartment, key name, version) of every version key that a backup needs."""
    for stream in manifest.streams:
        for name, versions in stream.needs.items():
            for version in versions:
                yield stream.compartment, name, version


def relied_on(shelf: Shelf, manifest: Manifest) -> set[str]:
    """Every other backup that this one cannot be restored without. Raises IntegrityError where one is not there."""
    found = {where[0] for where in manifest.segments.values()}
    for stream in manifest.streams:
        found |= {link.backup for link in shelf.chain(manifest, stream.compartment)}
    return found - {manifest.backup}


def may_be_put_on(shelf: Shelf, last: Manifest, chain_max: int) -> set[str]:
    """Compartments of which the next backup may carry changed blocks only: all that the last relies on is there.

    chain_max: backups put on one another, at most.
    """
    found: set[str] = set()
    files: dict[str, dict[str, int]] = {}
    for stream in last.streams:
        with contextlib.suppress(IntegrityError):
            chain = shelf.chain(last, stream.compartment)
            for link in chain:
                if link.backup not in files:
                    files[link.backup] = shelf.files(link.backup)
            there = [files[link.backup].get(stream.file) == link.stream(stream.compartment).octets for link in chain]
            if len(chain) < chain_max and all(there):
                found.add(stream.compartment)
    return found


def segments_there(shelf: Shelf, last: Manifest) -> dict[int, tuple[str, bool]]:
    """Segments that the next backup need not carry: they never change, and what carries them is whole where it lies."""
    there = {last.backup: True}
    for backup in {where for where, final in last.segments.values() if final} - {last.backup}:
        there[backup] = False
        with contextlib.suppress(IntegrityError):
            stream = shelf.manifest(backup).stream("store")
            there[backup] = shelf.files(backup).get(stream.file) == stream.octets
    return {number: where for number, where in last.segments.items() if where[1] and there[where[0]]}


def row_of(manifest: Manifest) -> dict[str, Any]:
    """For --json."""
    needs = [f"{compartment}/{name}/{version}" for compartment, name, version in needed_versions(manifest)]
    return {
        "backup": manifest.backup, "created": manifest.created, "octets": sum(s.octets for s in manifest.streams),
        "segments": len(manifest.segments), "needs": needs,
        "changed_since": next((stream.parent for stream in manifest.streams if stream.parent), ""),
    }  # fmt: skip
