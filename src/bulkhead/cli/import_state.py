"""How far an import has come: two small files beside the imported one, without a secret.

    FILE.state    JSON: which file of which tenant, how far it is done, counts
    FILE.errors   one line for each line that was not imported, or not wholly: `line 17: why`

The file is told by its size and time of change and not by a hash of it: with few accounts in it, that would be
something to try guesses on, and cheaper than the records. A line is done once its account stands, or it was refused
for good and that is in FILE.errors. What was done after the state was last written is done again, and finds itself
done: until then the note of each account (pending.py) stays.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bulkhead.cli.pending import PendingAccount, clear_note
from bulkhead.durable import sync_folder
from bulkhead.errors import ConfigError
from bulkhead.supervisor.layout import Layout

STATE_MAX = 1 << 20  # octets
LEFT_MAX = 1000  # lines that wait for another run
SCHEMA = 1
_MODE = 0o600


@dataclass(slots=True)
class Counts:
    """Lines, by what became of them."""

    imported: int = 0
    refused: int = 0
    noted: int = 0


@dataclass(slots=True)
class ImportState:
    """done: every line up to it is done, but for those in `left`; beyond: lines after it that are done too."""

    tenant: str
    size: int
    changed: int  # ns since 1970
    done: int = 0
    beyond: set[int] = field(default_factory=set)
    left: set[int] = field(default_factory=set)
    complete: bool = False
    counts: Counts = field(default_factory=Counts)

    def wants(self, line: int) -> bool:
        """Whether that line is still to be done."""
        return line in self.left or (line > self.done and line not in self.beyond)


class ImportNotes:
    """Both files. Use as a context."""

    def __init__(self, layout: Layout, state_file: Path, errors_file: Path) -> None:
        self._layout, self.state_file, self.errors_file = layout, state_file, errors_file
        self._errors: IO[str] | None = None
        self._pending: list[PendingAccount] = []

    def __enter__(self) -> "ImportNotes":
        return self

    def __exit__(self, *_: object) -> None:
        if self._errors is not None:
            self._errors.close()

    def read(self, file: os.stat_result) -> ImportState:
        """What an earlier run left, or a new state. Raises ConfigError where it is another file's."""
        fresh = ImportState(self._layout.tenant, file.st_size, file.st_mtime_ns)
        try:
            with self.state_file.open("rb") as stream:
                content = stream.read(STATE_MAX + 1)
        except FileNotFoundError:
            return fresh
        try:
            found = json.loads(content[:STATE_MAX])
            counts = Counts(**{name: int(found["counts"][name]) for name in Counts.__slots__})
            read = ImportState(
                str(found["tenant"]), int(found["size"]), int(found["changed"]), int(found["done"]),
                {int(line) for line in found["beyond"]}, {int(line) for line in found["left"]},
                found["complete"] is True, counts,
            )  # fmt: skip
            if found["schema"] != SCHEMA:
                raise ValueError("another schema")
            superfluous = [str(name) for name in found["notes"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ConfigError(f"{self.state_file} is no state of an import; remove it to begin anew") from None
        if (read.tenant, read.size, read.changed) != (fresh.tenant, fresh.size, fresh.changed):
            raise ConfigError(
                f"{self.state_file} is of another import: tenant, size or time of the file differ; "
                "remove it to begin anew (accounts that are there stay as they are)"
            )
        for name in superfluous:
            clear_note(self._layout, name)
        return read

    def tell(self, line: int, reason: str) -> None:
        """A line for FILE.errors; durable with the next `write`."""
        if self._errors is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._errors = os.fdopen(os.open(self.errors_file, flags, _MODE), "w", encoding="utf-8")
        self._errors.write(f"line {line}: {reason}\n")

    def made(self, pending: PendingAccount) -> None:
        """An account stands: its note goes with the next `write`."""
        self._pending.append(pending)

    def write(self, state: ImportState, *, last: bool = False) -> None:
        """Both files durable, then the notes of accounts that they make superfluous are removed.

        The state names those notes, for a run that was cut off before it removed them. last: and then no more.
        """
        superfluous, self._pending = self._pending, []
        self._store(state, [pending.name for pending in superfluous])
        for pending in superfluous:
            pending.clear()
        if last and superfluous:
            self._store(state, [])

    def _store(self, state: ImportState, notes: list[str]) -> None:
        if self._errors is not None:
            self._errors.flush()
            os.fsync(self._errors.fileno())
        document = {
            "schema": SCHEMA, "tenant": state.tenant, "size": state.size, "changed": state.changed,
            "done": state.done, "beyond": sorted(state.beyond), "left": sorted(state.left),
            "complete": state.complete, "notes": notes,
            "counts": {name: getattr(state.counts, name) for name in Counts.__slots__},
        }  # fmt: skip
        new = self.state_file.with_name(self.state_file.name + ".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(new, flags, _MODE), "w", encoding="ascii") as stream:
            json.dump(document, stream)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(self.state_file)
        sync_folder(self.state_file.parent)
