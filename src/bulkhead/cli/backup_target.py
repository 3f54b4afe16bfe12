"""Where backups lie, behind one interface: names of two folders and a file, `TENANT/BACKUP/FILE`, that are only added.

An object is whole and durable when `done` has returned, or is not there; nothing is ever written over. What reads it
compares hashes: a target is not trusted with anything but keeping octets.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from bulkhead.cli.backup_bucket import SCHEME, CarriedBucket, bucket_of
from bulkhead.cli.secret_file import make_private_folder
from bulkhead.config import Installation
from bulkhead.durable import sync_folder
from bulkhead.errors import ConfigError, IntegrityError, Refused, TemporaryFailure

PIECE = 1 << 20
MISSING, EXISTS, HELD, STORAGE = "missing", "exists", "held", "storage"
"""Codes of what a target raises: IntegrityError, Refused, Refused, TemporaryFailure."""


class NewObject(Protocol):
    """An object that is made now, its octets hashed as they come."""

    octets: int

    def write(self, piece: bytes) -> None:
        """Append. Blocks; raises TemporaryFailure."""

    def done(self) -> str:
        """Make it durable under its name; its SHA-256. Raises Refused (`exists`), TemporaryFailure."""

    def close(self) -> None:
        """Let go of it; what was not `done` is no object. May be called twice."""


class Target(Protocol):
    """A place for backups. All of it blocks, and raises TemporaryFailure (`storage`) where it does not answer."""

    where: str
    """In words, for messages and for the command line."""

    def folders(self, under: str) -> list[str]:
        """Names of the folders in a folder, in order; none where it is missing."""

    def files(self, folder: str) -> dict[str, int]:
        """Octets by name of the objects in a folder; of a directory also of those that were cut short."""

    def create(self, name: str) -> NewObject:
        """A new object. Raises Refused (`exists`)."""

    def pieces(self, name: str, offset: int = 0, octets: int | None = None) -> Iterator[bytes]:
        """Its octets from `offset` on, at most so many. Raises IntegrityError (`missing`)."""

    def remove(self, folder: str, first: Sequence[str]) -> None:
        """Take a folder away, these of its objects before the others. Raises Refused (`held`): the place keeps it."""

    def hold(self, names: Sequence[str]) -> None:
        """Keep these as long as what is made now, where the place locks objects; where it does not, nothing.

        Raises Refused (`held`) where it does not let them be kept longer.
        """

    def sweep(self, under: str, days: int) -> int:
        """Remove what was begun so many days ago and never became an object; how many. Raises Refused (`held`)."""

    def close(self) -> None:
        """Let go of the place; it is opened again when it is next asked."""


class DirectoryTarget:
    """A directory, which may be one whose files can only be added to."""

    def __init__(self, path: Path) -> None:
        self.path, self.where = path, str(path)

    def folders(self, under: str) -> list[str]:
        """Target.folders."""
        with _translated(self.path / under), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return sorted(entry.name for entry in (self.path / under).iterdir() if entry.is_dir())
        return []

    def files(self, folder: str) -> dict[str, int]:
        """Target.files."""
        with _translated(self.path / folder), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            entries = sorted((self.path / folder).iterdir())
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        return {}

    def create(self, name: str) -> "NewFile":
        """Target.create."""
        path = self.path / name
        with _translated(path):
            make_private_folder(path.parent.parent)
            if not path.parent.exists():
                path.parent.mkdir(mode=0o700)
                sync_folder(path.parent.parent)
            return NewFile(path)

    def pieces(self, name: str, offset: int = 0, octets: int | None = None) -> Iterator[bytes]:
        """Target.pieces."""
        with _translated(self.path / name), (self.path / name).open("rb") as file:
            file.seek(offset)
            while piece := file.read(PIECE if octets is None else min(PIECE, octets)):
                octets = None if octets is None else octets - len(piece)
                yield piece

    def remove(self, folder: str, first: Sequence[str]) -> None:
        """Target.remove."""
        path = self.path / folder
        try:
            for name in first:
                (path / name).unlink(missing_ok=True)
            sync_folder(path)
            shutil.rmtree(path)
            sync_folder(path.parent)
        except PermissionError as error:  # EPERM of an append-only or immutable file, EACCES of another's
            raise Refused(f"{path} is kept by its storage: {error.strerror}", code=HELD) from None
        except OSError as error:
            raise TemporaryFailure(f"{path}: {error.strerror}", code=STORAGE) from None

    def hold(self, names: Sequence[str]) -> None:
        """Target.hold."""

    def sweep(self, under: str, days: int) -> int:
        """Target.sweep: a directory shows whatever was begun."""
        return 0

    def close(self) -> None:
        """Target.close."""


class NewFile:
    """A file that is made now, and whose octets are hashed as they come; durable after `done`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
        self._hash, self.octets = hashlib.sha256(), 0

    def write(self, piece: bytes) -> None:
        """NewObject.write."""
        self._hash.update(piece)
        self.octets += len(piece)
        rest = memoryview(piece)
        with _translated(self._path):
            while rest:
                rest = rest[os.write(self._file, rest) :]

    def done(self) -> str:
        """NewObject.done."""
        with _translated(self._path):
            os.fsync(self._file)
            self.close()
            sync_folder(self._path.parent)
        return self._hash.hexdigest()

    def close(self) -> None:
        """NewObject.close. The file stays, and is no part of a backup: a manifest that names it is never written."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def open_target(installation: Installation, given: str) -> Target:
    """Where backups lie: what the command was given, else what the settings name. Raises ConfigError."""
    directory, bucket = _places(installation)
    if directory and bucket and not given:
        raise ConfigError("backup.directory and backup.bucket are both set: one of them says where backups lie")
    text = given or bucket or directory
    if not text:
        raise ConfigError(
            "say where backups lie: set backup.directory or backup.bucket in bulkhead.toml, or give the place"
        )
    if text.startswith(SCHEME):
        return CarriedBucket(bucket_of(installation, text))
    if bucket and not given:
        raise ConfigError(f"backup.bucket = {bucket!r}: must be s3://BUCKET or s3://BUCKET/PREFIX")
    if not given and not Path(text).is_absolute():
        raise ConfigError(f"backup.directory = {text!r}: must be an absolute path")
    return DirectoryTarget(Path(text).absolute())


def has_target(installation: Installation) -> bool:
    """Whether the settings name a place for backups."""
    return any(_places(installation))


def _places(installation: Installation) -> tuple[str, str]:
    return installation.settings.text("backup.directory"), installation.settings.text("backup.bucket")


def write_object(target: Target, name: str, content: bytes) -> str:
    """A whole object; its SHA-256. Raises Refused where it exists."""
    made = target.create(name)
    try:
        made.write(content)
        return made.done()
    finally:
        made.close()


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """What the system says of a path, in the words of the error tree."""
    try:
        yield
    except FileExistsError:
        raise Refused(f"{path} exists already; nothing is written over", code=EXISTS) from None
    except FileNotFoundError:
        raise IntegrityError(f"{path}: No such file or directory", code=MISSING) from None
    except OSError as error:
        raise TemporaryFailure(f"{path}: {error.strerror}", code=STORAGE) from None
