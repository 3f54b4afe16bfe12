"""What goes wrong, counted on its way to the ledger. Standard library only.

A hostile process can break rules as fast as it gets edges; so the first of a kind goes on at once, and of those that
follow only their number, once a minute.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

MINUTE = 60.0
KINDS_MAX = 64  # told apart at a time; what goes beyond is counted together
OTHERS = ("others",)


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
