"""What a disk holds after a power cut: a model of files and names, fed with traced system calls.

A write is volatile until its file is synced; a name (made or removed) until its directory is. At a cut the volatile
part is dropped whole, or a part of it at random survives, as a disk's cache may have it.

"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.durability.strace_log import Call, numbers


@dataclass(slots=True)
class File:
    """One file's bytes: synced, and operations since."""

    synced: bytearray = field(default_factory=bytearray)
    volatile: list[tuple[int, bytes | None, int]] = field(default_factory=list)  # offset and data or length, and when
    position: int = 0  # where `write` goes on

    def sync(self, begun: int) -> None:
        """Only what was written before the sync began is sure to be on the disk when it ends."""
        for operation in self.volatile:
            if operation[2] < begun:
                _apply(self.synced, operation)
        self.volatile = [operation for operation in self.volatile if operation[2] >= begun]

    def after_cut(self, chance: random.Random | None) -> bytes:
        content = bytearray(self.synced)
        for operation in self.volatile:
            if chance is not None and chance.random() < 0.5:
                _apply(content, operation)
        return bytes(content)


def _apply(content: bytearray, operation: tuple[int, bytes | None, int]) -> None:
    place, data, _ = operation
    if data is None:
        del content[place:]
        content.extend(bytes(max(0, place - len(content))))
        return
    content.extend(bytes(max(0, place - len(content))))
    content[place : place + len(data)] = data


class DiskModel:
    """Files by path, and which of their names are durable."""

    def __init__(self, root: Path) -> None:
        self._root = f"{root}/"
        self.files: dict[str, File] = {}
        self.names: dict[str, File] = {}  # durable
        self.directories: set[str] = set()
        self.durable_directories: set[str] = {"."}

    def take(self, call: Call) -> None:
        """Apply one call that succeeded."""
        path = call.path
        if call.result < 0 or path.endswith("-shm"):
            return
        if call.name == "openat" and path and "O_CREAT" in call.arguments:
            file = self.files.setdefault(path, File())
            file.position = 0
            if "O_TRUNC" in call.arguments and (file.synced or file.volatile):
                file.volatile.append((0, None, call.ended))
        elif call.name in {"mkdir", "mkdirat"} and call.strings:
            self.directories.add(call.strings[0].decode())
        elif call.name in {"unlink", "unlinkat"} and call.strings:
            self.files.pop(call.strings[0].decode().removeprefix(self._root), None)
        elif path in self.files:
            self._on_file(self.files[path], call)
        elif call.name in {"fsync", "fdatasync"} and path:
            self._sync_directory(path)

    def _on_file(self, file: File, call: Call) -> None:
        if call.name == "pwrite64":
            file.volatile.append((list(numbers(call))[-1], call.strings[0][: call.result], call.ended))
        elif call.name == "write":
            file.volatile.append((file.position, call.strings[0][: call.result], call.ended))
            file.position += call.result
        elif call.name == "ftruncate":
            file.volatile.append((list(numbers(call))[-1], None, call.ended))
        elif call.name in {"fsync", "fdatasync"}:
            file.sync(call.begun)

    def _sync_directory(self, path: str) -> None:
        prefix = "" if path == "." else f"{path}/"

        def inside(name: str) -> bool:
            return name.startswith(prefix) and "/" not in name[len(prefix) :]

        self.names = {name: file for name, file in self.names.items() if not inside(name)}
        self.names |= {name: file for name, file in self.files.items() if inside(name)}
        self.durable_directories |= {name for name in self.directories if inside(name)}

    def write_to(self, target: Path, chance: random.Random | None) -> None:
        """Lay out what a power cut now would leave. chance: None drops all that is volatile."""
        for directory in sorted(self.durable_directories):
            if (target / directory).parent.is_dir():  # a directory whose own name is not durable has lost what is in it
                (target / directory).mkdir(exist_ok=True)
        names = dict(self.names)
        if chance is not None:  # a name that was made or removed since may be there or not
            names = {name: file for name, file in names.items() if name in self.files or chance.random() < 0.5}
            names |= {name: file for name, file in self.files.items() if chance.random() < 0.5}
        for name, file in names.items():
            if (target / name).parent.is_dir():
                (target / name).write_bytes(file.after_cut(chance))


def disks(root: Path, calls: Sequence[Call], cuts: Iterable[int]) -> Iterator[tuple[int, DiskModel]]:
    """The disk at each cut, in order: calls that had ended by then have taken effect."""
    model, ordered = DiskModel(root), iter(sorted(calls, key=lambda call: call.ended))
    pending = next(ordered, None)
    for cut in cuts:
        while pending is not None and pending.ended < cut:
            model.take(pending)
            pending = next(ordered, None)
        yield cut, model


def cut_points(replies: Iterable[int], last: int, count: int, chance: random.Random) -> list[int]:
    """Right behind replies, and anywhere up to line `last`, `count` in all, half of each where there are enough."""
    behind = [line + 1 for line in sorted(set(replies))]
    behind = chance.sample(behind, min(len(behind), count // 2))
    return sorted(behind + [chance.randrange(1, last) for _ in range(count - len(behind))])
