"""RETURN of SEARCH and SORT: which facts of the result are told, and what is kept as `$`.

Source: RFC 4731 section 3.1 (MIN, MAX, ALL, COUNT), RFC 5182 section 2.1 (SAVE), RFC 9394 section 3.1 (PARTIAL).
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bulkhead.wire.imap.grammar import NUMBER_MAX, CommandError, Scanner

_WINDOW: Final = re.compile(rb"(-?)([1-9][0-9]{0,9}):(-?)([1-9][0-9]{0,9})")


class ReturnOption(Enum):
    """What RETURN asks for."""

    MIN = b"MIN"
    MAX = b"MAX"
    ALL = b"ALL"
    COUNT = b"COUNT"
    PARTIAL = b"PARTIAL"
    SAVE = b"SAVE"


RETURN_OPTIONS: Final = {option.value: option for option in ReturnOption}


@dataclass(frozen=True, slots=True)
class Window:
    """Part of a result by place, from 1: counted from the first one found, or backwards from the last."""

    first: int
    last: int
    backwards: bool = False

    def of(self, count: int) -> range:
        """The indexes it names in a result of `count`."""
        low, high = sorted((self.first, self.last))
        if self.backwards:
            return range(max(0, count - high), max(0, count - low + 1))
        return range(min(low - 1, count), min(high, count))

    def __bytes__(self) -> bytes:
        """As the client wrote it."""
        return b"-%d:-%d" % (self.first, self.last) if self.backwards else b"%d:%d" % (self.first, self.last)


@dataclass(frozen=True, slots=True)
class Returns:
    """One RETURN. window: there with PARTIAL only."""

    options: frozenset[ReturnOption]
    window: Window | None = None

    @property
    def saves(self) -> bool:
        """Whether the result becomes `$`."""
        return ReturnOption.SAVE in self.options

    @property
    def told(self) -> frozenset[ReturnOption]:
        """What the response tells; nothing: there is no response (RFC 5182 section 2.1)."""
        return self.options - {ReturnOption.SAVE}

    def named(self, count: int) -> list[int]:
        """Indexes, ascending, of what MIN, MAX and PARTIAL name in a result of `count`, all with ALL, COUNT or none.

        These are what SAVE keeps (RFC 5182 section 2.1; RFC 9394 section 3.2), and whose highest MODSEQ is told (RFC
        4731 section 3.2).
        """
        if not count or not self.told or self.told & {ReturnOption.ALL, ReturnOption.COUNT}:
            return list(range(count))
        places = set(self.window.of(count)) if self.window is not None else set()
        if ReturnOption.MIN in self.told:
            places.add(0)
        if ReturnOption.MAX in self.told:
            places.add(count - 1)
        return sorted(places)


def parse_returns(scanner: Scanner) -> Returns:
    """The list after RETURN and its space; `()` means (ALL). Raises CommandError."""
    scanner.expect(b"(", "a list of return options")
    options: set[ReturnOption] = set()
    window = None
    while not scanner.accept(b")"):
        if options:
            scanner.space()
        option = RETURN_OPTIONS.get(scanner.word("a return option"))
        if option is None:
            raise CommandError("no such return option")
        if option is ReturnOption.PARTIAL:
            if window is not None:
                raise CommandError("PARTIAL may be asked for once")
            scanner.space()
            window = parse_window(scanner)
        options.add(option)
    if window is not None and ReturnOption.ALL in options:
        raise CommandError("PARTIAL and ALL exclude each other")
    return Returns(frozenset(options or (ReturnOption.ALL,)), window)


def parse_window(scanner: Scanner) -> Window:
    """`1:500` or `-1:-500` (RFC 9394 section 3.1, partial-range). Raises CommandError."""
    found = _WINDOW.match(scanner.data, scanner.pos)
    if found is None or found[1] != found[3] or max(int(found[2]), int(found[4])) > NUMBER_MAX:
        raise CommandError("expected a range of results such as 1:500 or -1:-500")
    scanner.pos = found.end()
    return Window(int(found[2]), int(found[4]), bool(found[1]))
