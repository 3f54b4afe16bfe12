"""What a fuzz target is: a function of octets that raises nothing, unless what it tests is wrong.

A check catches the errors that its parser declares and lets every other one through; it asserts what must hold of the
outcome. Streams are read whole, cut in two, and octet by octet: the events must be the same.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
OCTETWISE_MAX = 512  # octets of a stream that is also given octet by octet
Pieces = Sequence[bytes]


@dataclass(frozen=True)
class Harness:
    """One target. `check` takes the input; `streams` are read in pieces and compared."""

    name: str
    check: Callable[[bytes], None]
    stream: Callable[[Pieces], Any] | None = None

    def run(self, data: bytes) -> None:
        """Check one input; a stream at one place that the input itself chooses."""
        self.check(data)
        if self.stream is not None and data:
            self.compare(data, [1 + sum(data[:16]) * 31 % len(data)])

    def run_every_split(self, data: bytes) -> None:
        """Check one input, a stream cut at every place."""
        self.check(data)
        if self.stream is not None and data:
            self.compare(data, range(1, len(data)))

    def compare(self, data: bytes, places: Iterable[int]) -> None:
        """Raises AssertionError where the events depend on how the octets were cut."""
        if self.stream is None:
            return
        whole = self.stream([data])
        for place in places:
            cut = self.stream([data[:place], data[place:]])
            assert cut == whole, f"cut at {place}: {cut!r} instead of {whole!r}"
        if len(data) <= OCTETWISE_MAX:
            octets = self.stream([data[at : at + 1] for at in range(len(data))])
            assert octets == whole, f"octet by octet: {octets!r} instead of {whole!r}"

    def seeds(self) -> list[bytes]:
        """The inputs of the corpus, by name of their files."""
        return [path.read_bytes() for path in sorted((CORPUS / self.name).iterdir())]


def nothing(_: bytes) -> None:
    """The check of a target that is a stream alone."""
