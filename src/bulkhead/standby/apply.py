"""Applies a stream to a directory: what a holder changed, done again in its order.

What is applied is synced, then how far that is stands in the state's file, then the pieces go: cut anywhere, the pieces
since the state are there and are applied once more, with the same end. A new base is written beside the directory that
stands, and takes its place with the first piece that makes it whole.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bulkhead.durable import sync_folder
from bulkhead.errors import IntegrityError
from bulkhead.records.standby import (
    ENDED,
    WHOLE,
    Keep,
    Keys,
    Lead,
    Mark,
    Op,
    Pages,
    Remove,
    Rename,
    Truncate,
    Write,
    open_piece,
)
from bulkhead.standby.place import StreamFolder, make_folder, put, sync_file

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*(/[a-z0-9][a-z0-9.-]*)*")
_SEGMENT = re.compile(r"segments/(\d{10})\.seg")
FILE_MAX = 1 << 44  # octets of one file, which a stream might say ends anywhere
STEP_OCTETS = 64 << 20  # between two syncs


@dataclass(slots=True)
class Progress:
    """How far a stream was applied. mark: ms of the last whole state. ended: no more comes."""

    stream: str = ""
    number: int = 0
    digest: str = ""
    mark: int = 0
    whole: bool = False  # the base has taken its place
    ended: bool = False
    term: int = 0
    lineage: int = 0  # of store's segments
    lead: str = ""  # SHA-256 of it

    @classmethod
    def load(cls, path: Path) -> "Progress":
        """What the file says; the beginning, where there is none. Raises IntegrityError."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError):
            raise IntegrityError(f"{path} is damaged: remove it, and have the primary begin a new base") from None

    def save(self, path: Path) -> None:
        """Durable on return."""
        put(path, json.dumps(asdict(self), sort_keys=True).encode("ascii"))


@dataclass(slots=True)
class Applier:
    """One stream on its way into `home`. keep_keys: takes the sealed keys that are in it."""

    home: Path
    state: Path
    folder: StreamFolder
    lead: Lead
    key: bytes = field(repr=False)
    keep_keys: Callable[[bytes], None] = lambda _: None
    progress: Progress = field(default_factory=Progress)
    _touched: set[Path] = field(default_factory=set)
    _folders: set[Path] = field(default_factory=set)
    _closed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        standing, building = Progress.load(self.state), Progress.load(self._next)
        if building.stream and building.stream == standing.stream:  # cut while the base took its place
            if self._fresh.exists():
                self._take_place()
            self._next.unlink(missing_ok=True)
            building = Progress()
        name = self.folder.path.name
        if name in (standing.stream, building.stream):
            self.progress = standing if name == standing.stream else building
            return
        shutil.rmtree(self._fresh, ignore_errors=True)
        self._next.unlink(missing_ok=True)
        self._keys.unlink(missing_ok=True)
        notes, digest = self.lead.head.notes, self.lead.digest.hex()
        self.progress = Progress(
            name, digest=digest, term=notes.get("term", 0), lineage=notes.get("lineage", 0), lead=digest
        )

    @property
    def _fresh(self) -> Path:
        return self.home.with_name(self.home.name + ".new")

    @property
    def _next(self) -> Path:
        """How far a base is that has not taken its place."""
        return self.state.with_suffix(".next")

    @property
    def _keys(self) -> Path:
        """The keys of such a base."""
        return self.state.with_suffix(".keys")

    @property
    def root(self) -> Path:
        """Where it is applied: beside `home` until it is whole."""
        return self.home if self.progress.whole else self._fresh

    def run(self) -> int:
        """Apply what is there; the pieces applied. Raises IntegrityError; what was whole before stays."""
        progress, count, octets = self.progress, 0, 0
        whole, upto = progress.whole, self._whole_up_to() if progress.whole else 0
        for number, flags, digest, piece in self.folder.after(progress.number, bytes.fromhex(progress.digest)):
            if whole and number > upto:
                break  # of a group that is not all here nothing is applied; of a base all is
            self._apply(open_piece(self.key, self.lead.head, piece))
            progress.number, progress.digest = number, digest.hex()
            count, octets = count + 1, octets + len(piece)
            if flags & WHOLE:
                progress.ended |= bool(flags & ENDED)
                if not whole:
                    self._become_whole()
                    whole, upto = True, self._whole_up_to()
            if octets > STEP_OCTETS and (flags & WHOLE or not whole):
                self._save()
                octets = 0
        if count:
            self._save()
        return count

    def _whole_up_to(self) -> int:
        """The last piece that makes a group whole."""
        found = 0
        for number, flags, _, _ in self.folder.after(self.progress.number, bytes.fromhex(self.progress.digest)):
            if flags & WHOLE:
                found = number
        return found

    def _become_whole(self) -> None:
        self._sync()
        self.progress.save(self._next)
        self.progress.whole = True
        self.progress.save(self.state)
        self._take_place()
        if self._keys.exists():
            self.keep_keys(self._keys.read_bytes())
        self._keys.unlink(missing_ok=True)
        self._next.unlink()

    def _save(self) -> None:
        self._sync()
        self.progress.save(self.state if self.progress.whole else self._next)
        self.folder.forget(self.progress.number - 1)  # the last one tells the carrier where to go on

    def _take_place(self) -> None:
        old = self.home.with_name(self.home.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if self.home.exists():
            self.home.rename(old)
        self._fresh.rename(self.home)
        sync_folder(self.home.parent)
        shutil.rmtree(old, ignore_errors=True)

    def _sync(self) -> None:
        for path in self._touched:
            sync_file(path)
        for folder in self._folders:
            if folder.is_dir():
                sync_folder(folder)
        self._touched.clear()
        self._folders.clear()

    def _apply(self, ops: list[Op]) -> None:
        make_folder(self.root)
        for op in ops:
            match op:
                case Write():
                    self._write(op.path, op.offset, (op.data,))
                case Pages():
                    path, length = self._path(op.path), _length(op.total * op.size)
                    for number, page in op.pages:
                        self._write(op.path, (number - 1) * op.size, (page,))
                    os.truncate(path, length)
                case Remove():
                    self._path(op.path).unlink(missing_ok=True)
                case Rename():
                    old, new = self._path(op.old), self._path(op.new)
                    if old.exists():
                        self._touched.discard(old)
                        sync_file(old)
                        old.rename(new)
                case Truncate():
                    length = _length(op.length)
                    self._write(op.path, 0, ())
                    os.truncate(self._path(op.path), length)
                case Keep():
                    self._keep(op.path)
                case Keys() if self.progress.whole:
                    self.keep_keys(op.sealed)
                case Keys():
                    put(self._keys, op.sealed)
                case Mark():
                    self.progress.mark = op.at

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name) or len(name) > 255:
            raise IntegrityError("a file in the stream has a name that no holder gives")
        path = self.root / name
        self._folders.add(path.parent)
        return path

    def _write(self, name: str, offset: int, pieces: tuple[bytes, ...]) -> None:
        path = self._path(name)
        _length(offset + sum(map(len, pieces)), offset)
        if not path.parent.is_dir():
            make_folder(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    written = os.pwrite(descriptor, rest, offset)
                    rest, offset = rest[written:], offset + written
        finally:
            os.close(descriptor)
        self._touched.add(path)

    def _keep(self, name: str) -> None:
        path, there = self._path(name), self.home / name
        if path.exists():
            return
        if not there.is_file():
            raise IntegrityError(f"{name} is not here, though the standby said so: remove `have`, begin a new base")
        make_folder(path.parent)
        os.link(there, path)


def _length(end: int, begin: int = 0) -> int:
    """The length that a file is to have. Raises IntegrityError for one that no holder's has."""
    if not 0 <= begin <= end <= FILE_MAX:
        raise IntegrityError("a file in the stream has a length that no holder gives")
    return end


def segments_of(home: Path) -> list[int]:
    """The numbers of the segments in a store's directory, but for the newest, which may still grow."""
    folder = home / "segments"
    if not folder.is_dir():
        return []
    numbers = sorted(int(match[1]) for e in folder.iterdir() if (match := _SEGMENT.fullmatch(f"segments/{e.name}")))
    return numbers[:-1]
