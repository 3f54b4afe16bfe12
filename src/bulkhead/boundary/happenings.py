"""What goes wrong between processes, and how it is counted on its way to the ledger. Standard library only.

A hostile process can break rules as fast as it gets edges; so the first of a kind goes on at once, and of those that
follow only their number, once a minute.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum

MINUTE = 60.0
KINDS_MAX = 64  # told apart at a time; what goes beyond is counted together
OTHERS = ("others",)


class What(IntEnum):
    """What a supervisor saw; numbers cross control channels and are never reused."""

    STARTED = 1  # the cell is ready for the first time since its supervisor started
    RESTARTED = 2  # a process ended and is started again
    VIOLATION = 3  # a compartment that writes no ledger itself says that a peer broke a rule


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that the supervisor saw. at: ms since 1970.   number: unique among those of one tenant.

    compartment, worker: whom it is about; empty of the whole cell.   why: a word or two of our own, at most 80 bytes.
    count: how many of the kind.   digest: of the code that runs, where the cell started.
    """

    what: What
    at: int
    number: int = 0
    compartment: str = ""
    worker: int = 0
    why: str = ""
    count: int = 1
    digest: bytes = bytes(32)

    @property
    def kind(self) -> tuple[str, ...]:
        """What is counted together."""
        return self.what.name, self.compartment, self.why

    def numbered(self, number: int) -> "Happening":
        """The same under that number."""
        return replace(self, number=number)

    def and_more(self, count: int) -> "Happening":
        """The same, so many times more."""
        return replace(self, count=self.count + count)


@dataclass(slots=True)
class FirstOfKind:
    """Says the first of a kind at once, then how many more there were, once in `seconds`, until there are none.

    say: given the kind, the newest worker it was about, and the count. Within a running loop.
    """

    say: Callable[[tuple[str, ...], int, int], None]
    seconds: float = MINUTE
    _more: dict[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)

    def saw(self, kind: tuple[str, ...], worker: int) -> None:
        """One more."""
        if kind not in self._more and len(self._more) >= KINDS_MAX:
            kind = OTHERS
        if kind in self._more:
            self._more[kind] = worker, self._more[kind][1] + 1
            return
        self._more[kind] = worker, 0
        asyncio.get_running_loop().call_later(self.seconds, self._sum_up, kind)
        self.say(kind, worker, 1)

    def _sum_up(self, kind: tuple[str, ...]) -> None:
        worker, count = self._more.pop(kind)
        if not count:
            return
        self._more[kind] = worker, 0
        asyncio.get_running_loop().call_later(self.seconds, self._sum_up, kind)
        self.say(kind, worker, count)
