"""The files of a restore: streams opened into homes, keys from the escrow sealed under new root keys."""

import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bulkhead.cli.backup_store import MANIFEST_MAX, Manifest, Shelf, Stream
from bulkhead.cli.escrow import escrow_file
from bulkhead.cli.secret_file import make_private_folder, write_secret
from bulkhead.durable import sync_folder
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.holder.keys import KEY_FILE, ROOT_BYTES, KeyFile
from bulkhead.records.backup import KEYS, LEAD_MAX, STREAM, Head, PrivateKeys, Sealed, StreamOpener, read_lead
from bulkhead.records.blocks import SUFFIX, BlocksWriter, require_whole
from bulkhead.records.keyfile import KeySet
from bulkhead.supervisor.layout import Layout

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*(/[a-z0-9][a-z0-9.-]*)*")
_SEGMENT = re.compile(r"segments/(\d{10})\.seg")
ROOT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Source:
    """A backup and who opens it."""

    shelf: Shelf
    manifest: Manifest
    keys: PrivateKeys


def write_compartment(source: Source, compartment: str, home: Path) -> Head:
    """Open a compartment's stream into its home, on those it has changed blocks of, and earlier segments; its head.

    Raises IntegrityError where a stream is not the manifest's, or a segment is missing.
    """
    wanted: dict[str, set[int]] = {}
    for number, (backup, _) in source.manifest.segments.items() if compartment == "store" else ():
        wanted.setdefault(backup, set()).add(number)
    chain = source.shelf.chain(source.manifest, compartment)
    for link in chain[:-1]:  # the oldest first: the whole database, and on it what changed
        _write_stream(source, link.backup, compartment, home, _Part(wanted.pop(link.backup, set()), database=True))
    head = _write_stream(source, source.manifest.backup, compartment, home, _Part(database=True, last=True))
    for backup, numbers in wanted.items():
        if backup != source.manifest.backup:
            _write_stream(source, backup, compartment, home, _Part(numbers))
    _sync_tree(home)
    return head


def write_database(source: Source, compartment: str, home: Path) -> Head:
    """A compartment's database alone. Raises IntegrityError."""
    chain = source.shelf.chain(source.manifest, compartment)
    for link in chain[:-1]:
        _write_stream(source, link.backup, compartment, home, _Part(set(), database=True))
    head = _write_stream(source, chain[-1].backup, compartment, home, _Part(set(), database=True, last=True))
    _sync_tree(home)
    return head


def write_segments(source: Source, backup: str, numbers: set[int], home: Path) -> None:
    """Segments of store that lie in one backup. Raises IntegrityError where one is not there."""
    _write_stream(source, backup, "store", home, _Part(numbers))


def read_escrow(folder: Path, compartment: str, keys: PrivateKeys, layout: Layout) -> KeySet:
    """A compartment's keys. Raises IntegrityError, ConfigError where they are not there."""
    path = escrow_file(folder, compartment)
    try:
        with path.open("rb") as file:
            content = file.read(MANIFEST_MAX)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name the folder of the sealed keys with --keys") from None
    try:
        sealed = _lead(content, compartment, KEYS, layout)
        found = b"".join(piece for _, _, piece in StreamOpener(sealed, keys).files([content[sealed.length :]]))
        return msgspec.msgpack.decode(found, type=KeySet)
    except (IntegrityError, msgspec.DecodeError) as error:
        why = error.public if isinstance(error, IntegrityError) else "the layout inside is not known"
        raise IntegrityError(f"{path}: {why}") from None


def write_keys(layout: Layout, keys: Mapping[str, KeySet]) -> dict[str, KeyFile]:
    """Seal each set under a new root key, into its home and custody; the key files, open."""
    files = {}
    for compartment, found in keys.items():
        root = secrets.token_bytes(ROOT_BYTES)
        write_secret(layout.root_key(compartment), root)
        path = layout.home(compartment) / KEY_FILE
        write_secret(path, found.seal(layout.tenant, compartment, ROOT_VERSION, root), mode=0o600)
        files[compartment] = KeyFile(path, layout.tenant, compartment, found, ROOT_VERSION, root)
    return files


def require_versions(manifest: Manifest, keys: Mapping[str, KeySet]) -> None:
    """Raises IntegrityError where a version key that the backup needs was destroyed: it opens no more."""
    for stream in manifest.streams:
        for name, versions in stream.needs.items():
            gone = sorted(set(versions) - set(keys[stream.compartment].versions(name)))
            if gone:
                raise IntegrityError(
                    f"backup {manifest.backup} is dead: version {gone[0]} of {stream.compartment}'s key {name}, which "
                    "its records are sealed under, was destroyed; take a later backup"
                )


@dataclass(frozen=True, slots=True)
class _Part:
    """What of a stream is wanted. segments: None for every file beside the database. last: nothing is put on it."""

    segments: set[int] | None = None
    database: bool = False
    last: bool = False

    def has(self, name: str, segment: int) -> bool:
        """Whether a file is."""
        return self.database if "/" not in name else self.segments is None or segment in self.segments


def _write_stream(source: Source, backup: str, compartment: str, home: Path, part: _Part) -> Head:
    """Write that part of a stream."""
    manifest = source.manifest if backup == source.manifest.backup else source.shelf.manifest(backup)
    stream = manifest.stream(compartment)
    path = source.shelf.place(backup, stream.file)
    if source.shelf.digest(backup, stream.file)[0] != stream.sha256:  # anyone can seal a stream to public keys
        raise IntegrityError(f"{path} is not what the manifest says")
    sealed = read_lead(source.shelf.read(backup, stream.file, LEAD_MAX))
    head = sealed.head
    place = (head.tenant, head.compartment, head.backup, head.content, head.parent)
    if place != (source.shelf.tenant, compartment, backup, STREAM, stream.parent):
        raise IntegrityError(f"{path} is another stream")
    files = StreamOpener(sealed, source.keys).files(_checked(source.shelf, backup, stream, sealed.length))
    try:
        missing = set(part.segments or ()) - set(_write_files(files, home, part))
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error.public}") from None
    if missing:
        raise IntegrityError(f"{path}: segment {min(missing)} is not in it, though the manifest says so")
    return sealed.head


def _checked(shelf: Shelf, backup: str, stream: Stream, offset: int) -> Iterator[bytes]:
    """A stream's octets from `offset` on. Raises IntegrityError after the last where they were not the manifest's.

    They were read and hashed before; a target that gives other octets the second time is found here.
    """
    found, left = hashlib.sha256(), offset
    for piece in shelf.pieces(backup, stream.file):
        found.update(piece)
        if len(piece) > left:
            yield piece[left:]
        left = max(left - len(piece), 0)
    if found.hexdigest() != stream.sha256:
        raise IntegrityError("its octets changed while they were read: what keeps the backups is broken, or lies")


def _write_files(files: Iterator[tuple[str, int, bytes]], home: Path, part: _Part) -> Iterator[int]:
    """Write the files of a stream; the number of the segment, or 0, of each once it is whole."""
    target: _NewFile | _OldFile | None = None
    left = number = 0
    try:
        for name, size, piece in files:
            if not left:
                if not _NAME.fullmatch(name):
                    raise IntegrityError("a file in it has a name that no holder gives")
                match = _SEGMENT.fullmatch(name)
                left, number = size, int(match[1]) if match else 0
                if part.has(name, number):
                    target = _OldFile(home, name, last=part.last) if name.endswith(SUFFIX) else _NewFile(home, name)
            if target is not None:
                target.write(piece)
            left -= len(piece)
            if not left and target is not None:
                target.done()
                target.close()
                target = None
                yield number
    finally:
        if target is not None:
            target.close()


class _NewFile:
    """A file of a stream, as it is."""

    def __init__(self, home: Path, name: str) -> None:
        (home / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(home / name, flags, 0o600)

    def write(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def done(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class _OldFile:
    """The file that an earlier stream brought, under the blocks that changed since. last: none come after these."""

    def __init__(self, home: Path, name: str, *, last: bool) -> None:
        try:
            self._descriptor = os.open(home / name.removesuffix(SUFFIX), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise IntegrityError("it has changed blocks of a file that no earlier stream has") from None
        self._blocks, self._last = BlocksWriter(self._descriptor), last

    def write(self, piece: bytes) -> None:
        self._blocks.update(piece)

    def done(self) -> None:
        lead = self._blocks.finish()
        if self._last:
            require_whole(self._descriptor, lead)
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def _lead(content: bytes, compartment: str, kind: str, layout: Layout) -> Sealed:
    sealed = read_lead(content)
    if (sealed.head.tenant, sealed.head.compartment, sealed.head.content) != (layout.tenant, compartment, kind):
        raise IntegrityError("these are sealed keys of another compartment or tenant")
    return sealed


def make_home(layout: Layout, compartment: str) -> Path:
    """A compartment's empty directory."""
    home = layout.home(compartment)
    make_private_folder(home)
    return home


def _sync_tree(home: Path) -> None:
    for path, _, _ in os.walk(home):
        sync_folder(Path(path))
