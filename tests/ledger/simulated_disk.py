"""A disk that forgets what was not synced: bulkhead.ledger.files.Files in memory, for crash tests.

`operations` counts every call that changes something. With `cut=k` the k-th such call raises PowerCut before it takes
effect. `after_crash` gives a disk as a machine may find it: names and bytes that were synced, and of the rest what the
chosen survivor keeps: nothing, all, or a random subset with torn writes. `skip` sees the operations so far and says
whether the last, a sync, is to do nothing.
"""

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field


class PowerCut(BaseException):
    """The machine stopped here."""


@dataclass
class Inode:
    durable: bytes = b""
    pending: list[Callable[[bytearray, random.Random | None], None]] = field(default_factory=list)
    current: bytearray = field(default_factory=bytearray)

    def change(self, step: Callable[[bytearray, random.Random | None], None]) -> None:
        self.pending.append(step)
        step(self.current, None)

    def sync(self) -> None:
        self.durable, self.pending = bytes(self.current), []


def _write_step(offset: int, data: bytes) -> Callable[[bytearray, random.Random | None], None]:
    def step(target: bytearray, torn: random.Random | None) -> None:
        kept = data
        if torn is not None and data and torn.random() < 0.6:
            kept = data[: torn.randrange(len(data))]
            if torn.random() < 0.3:  # the length grew, the bytes did not arrive
                kept += bytes(len(data) - len(kept))
        if len(target) < offset:
            target += bytes(offset - len(target))
        target[offset : offset + len(kept)] = kept

    return step


def _truncate_step(length: int) -> Callable[[bytearray, random.Random | None], None]:
    def step(target: bytearray, torn: random.Random | None) -> None:
        del target[length:]

    return step


class SimulatedDisk:
    def __init__(self, *, cut: int | None = None, skip: Callable[[list[str]], bool] | None = None) -> None:
        self.operations: list[str] = []
        self.cut, self.skip = cut, skip
        self.names: dict[str, Inode | None] = {".": None}  # None: a directory
        self.durable_names: dict[str, Inode | None] = {".": None}
        self.pending_names: list[tuple[str, dict[str, Inode | None], set[str]]] = []  # directory, set, removed

    # what the log calls
    def read(self, path: str, *, limit: int) -> bytes:
        data = bytes(self._file(path).current)
        if len(data) > limit:
            raise OSError(errno.EFBIG, "file is larger than its limit", path)
        return data

    def read_at(self, path: str, offset: int, length: int) -> bytes:
        return bytes(self._file(path).current[offset : offset + length])

    def write(self, path: str, data: bytes) -> None:
        self._step(f"write {path}")
        if self.names.get(path) is None:
            self._name(path, {path: Inode()}, set())
        inode = self._file(path)
        inode.change(_truncate_step(0))
        inode.change(_write_step(0, data))

    def write_at(self, path: str, offset: int, data: bytes) -> None:
        self._step(f"write_at {path}")
        self._file(path).change(_write_step(offset, data))

    def truncate(self, path: str, length: int) -> None:
        self._step(f"truncate {path}")
        self._file(path).change(_truncate_step(length))

    def sync(self, path: str) -> None:
        if not self._step(f"sync {path}"):
            self._file(path).sync()

    def sync_directory(self, path: str) -> None:
        assert path in self.names, path
        if self._step(f"sync_directory {path}"):
            return
        for directory, added, removed in self.pending_names:
            if directory == path:
                self._apply(self.durable_names, added, removed)
        self.pending_names = [change for change in self.pending_names if change[0] != path]

    def rename(self, old: str, new: str) -> None:
        self._step(f"rename {old} {new}")
        assert _parent(old) == _parent(new)
        self._name(new, {new: self._file(old)}, {old})

    def make_directory(self, path: str) -> bool:
        if path in self.names:
            return False
        self._step(f"make_directory {path}")
        self._name(path, {path: None}, set())
        return True

    def lock(self) -> None:
        pass

    def close(self) -> None:
        pass

    # what the test calls
    def after_crash(self, survivor: str, seed: int = 0) -> "SimulatedDisk":
        """survivor: "nothing", "all" or "some" of what was not synced."""
        rng = random.Random(seed)
        names = dict(self.durable_names)
        for _, added, removed in self.pending_names:
            if survivor == "all" or (survivor == "some" and rng.random() < 0.5):
                self._apply(names, added, removed)
        disk = SimulatedDisk()
        twins: dict[int, Inode] = {}
        for path, inode in sorted(names.items()):
            if _parent(path) not in disk.names and path != ".":
                continue
            twin = inode and twins.setdefault(id(inode), _survive(inode, survivor, rng))
            disk.names[path] = disk.durable_names[path] = twin
        return disk

    def damage(self, path: str, offset: int, value: int) -> None:
        self._file(path).current[offset] ^= value
        self._file(path).sync()

    def lose(self, path: str) -> None:
        del self.names[path]

    def _step(self, operation: str) -> bool:
        if self.cut is not None and len(self.operations) == self.cut:
            raise PowerCut
        self.operations.append(operation)
        return bool(self.skip and self.skip(self.operations))

    def _file(self, path: str) -> Inode:
        inode = self.names.get(path)
        if inode is None:
            raise FileNotFoundError(path)
        return inode

    def _name(self, path: str, added: dict[str, Inode | None], removed: set[str]) -> None:
        assert _parent(path) in self.names, f"no directory for {path}"
        self.pending_names.append((_parent(path), added, removed))
        self._apply(self.names, added, removed)

    @staticmethod
    def _apply(names: dict[str, Inode | None], added: dict[str, Inode | None], removed: set[str]) -> None:
        for path in removed:
            names.pop(path, None)
        names.update(added)


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "."


def _survive(inode: Inode, survivor: str, rng: random.Random) -> Inode:
    data = bytearray(inode.durable)
    if survivor == "all":
        data = bytearray(inode.current)
    elif survivor == "some":
        for step in inode.pending:
            if rng.random() < 0.7:
                step(data, rng)
    return Inode(bytes(data), [], bytearray(data))
