"""Where backups lie: a directory of files that are only ever added, one folder a backup, its manifest written last.

    DIRECTORY/TENANT/BACKUP/<compartment>.stream    sealed to both recovery keys
    DIRECTORY/TENANT/BACKUP/tenant.toml             the tenant's settings, which hold no secret
    DIRECTORY/TENANT/BACKUP/manifest.json           names, sizes and hashes of all of it; a backup without one is none

Nothing is ever written over, so that storage whose files can only be added to will do. The keys of a restore elsewhere
lie apart, in ESCROW/TENANT/<compartment>.keys, as they must be destroyed with a rotation.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bulkhead.cli.secret_file import make_private_folder
from bulkhead.config import Installation
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.identifiers import TenantId

MANIFEST = "manifest.json"
SETTINGS = "tenant.toml"
SCHEMA = "bulkhead/backup-manifest/1"
MANIFEST_MAX = 8 << 20
PIECE = 1 << 20
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Stream:
    """One file of a backup. needs: version keys, by name, that its records are under."""

    compartment: str
    octets: int
    sha256: str
    needs: dict[str, tuple[int, ...]] = field(default_factory=dict)

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
             "needs": {name: list(versions) for name, versions in s.needs.items()}}
            for s in self.streams
        ]  # fmt: skip
        segments = [[number, *where] for number, where in sorted(self.segments.items())]
        document = {
            "schema": SCHEMA, "tenant": self.tenant, "backup": self.backup, "created": self.created,
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
        if manifest.encode() != octets or any(not _ID.fullmatch(where[0]) for where in segments.values()):
            raise IntegrityError("the manifest is not in its one form: this is no whole backup")
        return manifest

    def stream(self, compartment: str) -> Stream:
        """One stream. Raises IntegrityError where the backup has none."""
        for stream in self.streams:
            if stream.compartment == compartment:
                return stream
        raise IntegrityError(f"backup {self.backup} has no stream of {compartment}")


class Shelf:
    """The backups of one tenant in one directory."""

    def __init__(self, directory: Path, tenant: TenantId) -> None:
        self.tenant, self.path = tenant, directory / tenant

    def new(self, moment: datetime) -> str:
        """Make the folder of a new backup; its id, in the order of time: to the millisecond, and five random digits."""
        backup = f"{moment:%Y%m%dT%H%M%SZ}-{moment.microsecond // 1000:03}{secrets.token_hex(3)[1:]}"
        make_private_folder(self.path)
        (self.path / backup).mkdir(mode=0o700)
        _sync_folder(self.path)
        return backup

    def folder(self, backup: str) -> Path:
        """The folder of a backup. Raises ConfigError where the id is none."""
        if not _ID.fullmatch(backup):
            raise ConfigError(f"{backup!r} is no backup's id; see: bulkhead backup list {self.tenant}")
        return self.path / backup

    def ids(self) -> list[str]:
        """Every backup, whole or not, the oldest first."""
        if not self.path.is_dir():
            return []
        return sorted(entry.name for entry in self.path.iterdir() if _ID.fullmatch(entry.name))

    def manifest(self, backup: str) -> Manifest:
        """The manifest of a whole backup. Raises IntegrityError, ConfigError."""
        path = self.folder(backup) / MANIFEST
        try:
            with path.open("rb") as file:
                octets = file.read(MANIFEST_MAX)
        except FileNotFoundError:
            raise IntegrityError(f"{path.parent} has no manifest: this is no whole backup") from None
        try:
            manifest = Manifest.decode(octets)
        except IntegrityError as error:
            raise IntegrityError(f"{path}: {error.public}") from None
        if (manifest.tenant, manifest.backup) != (self.tenant, backup):
            raise IntegrityError(f"{path} is the manifest of another backup")
        return manifest

    def whole(self) -> list[Manifest]:
        """Manifests of whole backups, the oldest first."""
        found = []
        for backup in self.ids():
            with contextlib.suppress(IntegrityError):
                found.append(self.manifest(backup))
        return sorted(found, key=lambda manifest: manifest.created)

    def remove(self, backup: str) -> None:
        """Take a backup away, its manifest first. Raises OSError where the storage forbids that."""
        folder = self.folder(backup)
        (folder / MANIFEST).unlink(missing_ok=True)
        _sync_folder(folder)
        shutil.rmtree(folder)
        _sync_folder(self.path)


class NewFile:
    """A file that is made now, and whose octets are hashed as they come; durable after `done`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
        self._hash, self.octets = hashlib.sha256(), 0

    def write(self, piece: bytes) -> None:
        """Append. Raises OSError."""
        self._hash.update(piece)
        self.octets += len(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def done(self) -> str:
        """Sync it and its name; its SHA-256."""
        os.fsync(self._file)
        self.close()
        _sync_folder(self._path.parent)
        return self._hash.hexdigest()

    def close(self) -> None:
        """Let go of it as it is."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def write_new(path: Path, content: bytes) -> str:
    """A whole file; its SHA-256. Raises OSError where it exists."""
    file = NewFile(path)
    try:
        file.write(content)
        return file.done()
    finally:
        file.close()


def pieces_of(path: Path, offset: int = 0) -> Iterator[bytes]:
    """A file's octets from `offset` on."""
    with path.open("rb") as file:
        file.seek(offset)
        while piece := file.read(PIECE):
            yield piece


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    for piece in pieces_of(path):
        found.update(piece)
    return found.hexdigest()


def backup_directory(installation: Installation, given: str) -> Path:
    """Where backups lie. Raises ConfigError where nothing says it."""
    text = given or installation.settings.text("backup.directory")
    if not text:
        raise ConfigError("say where backups lie: set backup.directory in bulkhead.toml, or give the directory")
    if not given and not Path(text).is_absolute():
        raise ConfigError(f"backup.directory = {text!r}: must be an absolute path")
    return Path(text).absolute()


def escrow_folder(installation: Installation, tenant: TenantId, given: str = "") -> Path:
    """Where a tenant's sealed keys lie."""
    text = given or installation.settings.text("backup.escrow")
    return (Path(text) if text else installation.directory / "escrow").absolute() / tenant


def escrow_file(folder: Path, compartment: str) -> Path:
    """The sealed keys of one compartment."""
    return folder / f"{compartment}.keys"


def destroy_escrow(folder: Path, compartment: str) -> None:
    """Overwrite and unlink a compartment's sealed keys, where they are there. Raises OSError."""
    path = escrow_file(folder, compartment)
    with contextlib.suppress(FileNotFoundError):
        path.chmod(0o600)
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.write(descriptor, secrets.token_bytes(os.fstat(descriptor).st_size))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        path.unlink()
        _sync_folder(folder)


def replace_escrow(folder: Path, compartment: str, content: bytes) -> None:
    """Put a compartment's sealed keys in the place of the older ones, which are overwritten first."""
    make_private_folder(folder)
    path = escrow_file(folder, compartment)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    write_new(fresh, content)
    destroy_escrow(folder, compartment)
    fresh.rename(path)
    _sync_folder(folder)


def needed_versions(manifest: Manifest) -> Iterator[tuple[str, str, int]]:
    """(compartment, key name, version) of every version key that a backup needs."""
    for stream in manifest.streams:
        for name, versions in stream.needs.items():
            for version in versions:
                yield stream.compartment, name, version


def row_of(manifest: Manifest) -> dict[str, Any]:
    """For --json."""
    needs = [f"{compartment}/{name}/{version}" for compartment, name, version in needed_versions(manifest)]
    return {
        "backup": manifest.backup, "created": manifest.created, "octets": sum(s.octets for s in manifest.streams),
        "segments": len(manifest.segments), "needs": needs,
    }  # fmt: skip


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
