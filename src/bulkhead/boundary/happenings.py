"""What goes wrong between processes, as supervisors and ledgers say it. Standard library only, and no asyncio.

Images import this before they lock `ssl` out, which asyncio would import.
"""

from dataclasses import dataclass, replace
from enum import IntEnum


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
