"""Rows of the table that play out in a bare cell: each in a forked process, thrown away with its files."""

import asyncio
import json
import logging
import os
import select
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bulkhead.drill.bare_cell import BareCell, opened
from bulkhead.drill.semantic import Column, Count, Reached, SemanticProbe
from bulkhead.errors import Error
from bulkhead.supervisor.parent import end_with_parent

if TYPE_CHECKING:
    from bulkhead.drill.range import Range

SECONDS = 60.0
_ANSWER_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Finding:
    """One probe's result. control: whether the same act succeeded where the check that it meets was taken away.

    reached: attempts that gave what success means, of those tried. note: figures for the reader, with their units.
    """

    reached: int
    tried: int
    control: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class SemanticAct:
    """A row before it is told where to play.

    known: attempts that are known to reach something; residue: why, and what bounds it. Anything above is a breach.
    """

    name: str
    compartment: str
    columns: tuple[Column, ...]
    attempts: str
    success_means: str
    control: str
    act: Callable[[BareCell], Awaitable[Finding]]
    known: int = 0
    residue: str = ""
    slow: bool = False


def probes_of(acts: Sequence[SemanticAct]) -> tuple[SemanticProbe, ...]:
    """The acts as rows of the table."""
    return tuple(
        SemanticProbe(
            act.name, act.compartment, act.columns, act.attempts, act.success_means, act.control, _runner(act),
            slow=act.slow,
        )
        for act in acts
    )  # fmt: skip


def play(act: SemanticAct, directory: Path) -> Finding:
    """One act in a bare cell below `directory`, in this process: it moves the working directory meanwhile."""

    async def whole() -> Finding:
        async with opened(directory / "cell") as cell:
            return await asyncio.wait_for(act.act(cell), SECONDS)

    return asyncio.run(whole())


def _runner(act: SemanticAct) -> Callable[["Range"], Reached]:
    def run(range_: "Range") -> Reached:
        return reached(act, play_apart(act, range_.scratch()))

    return run


def reached(act: SemanticAct, finding: Finding) -> Reached:
    """A finding as the matrix counts it: attempts are the canaries."""
    names = [f"{act.name}: attempt {number + 1}" for number in range(finding.tried)]
    count = Count(frozenset(names[: finding.reached]), frozenset(names))
    control = "" if finding.control else "the act does not succeed where the check is absent"
    note = "; ".join(text for text in (finding.note, f"known: {act.residue}" if act.residue else "") if text)
    return Reached(dict.fromkeys(act.columns, count), control, note)


def play_apart(act: SemanticAct, directory: Path) -> Finding:
    """The same in a forked process, which is ended after a minute. Raises Error with what went wrong there."""
    read_end, write_end = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        if not end_with_parent(parent, signal.SIGKILL):
            os._exit(1)
        _play_and_exit(act, directory, write_end)
    os.close(write_end)
    try:
        answer = _read(read_end)
    finally:
        os.close(read_end)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    try:
        document = json.loads(answer)
    except ValueError:
        raise Error(f"probe {act.name} gave no answer") from None
    if "error" in document:
        raise Error(f"probe {act.name}: {document['error']}")
    return Finding(**document)


def _read(descriptor: int) -> bytes:
    answer = b""
    while len(answer) < _ANSWER_MAX and select.select([descriptor], [], [], SECONDS + 10)[0]:
        data = os.read(descriptor, _ANSWER_MAX)
        if not data:
            break
        answer += data
    return answer


def _play_and_exit(act: SemanticAct, directory: Path, out: int) -> None:
    """In the child: whatever happens, it ends here."""
    try:
        logging.disable(logging.CRITICAL)  # what hostile code makes honest holders log is theirs to expect
        document = asdict(play(act, directory))
    except BaseException as error:
        document = {"error": f"{type(error).__name__}: {error}"[:500]}
    try:
        os.write(out, json.dumps(document).encode())
    finally:
        sys.stderr.flush()
        os._exit(0)
