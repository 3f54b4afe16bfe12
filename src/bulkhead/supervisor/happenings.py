"""What the supervisor tells the ledger: that the cell started, what was restarted and why, which edges were broken.

The supervisor has no edge and writes no log: it says a fixed message on ledger's control channel, and says it again to
the next incarnation until that one answers that the entry is durable. What no ledger took before the supervisor itself
ended is lost; the next start is an entry. Holders note what they see themselves (`holder/outbox.py`). Standard
library only.
"""

import hashlib
import logging
import time
from collections.abc import Iterable
from pathlib import Path

from bulkhead.boundary.first_of_kind import FirstOfKind
from bulkhead.boundary.happenings import Happening, What
from bulkhead.supervisor import control
from bulkhead.supervisor.control import Op
from bulkhead.supervisor.edges import Send
from bulkhead.supervisor.lock import LockReport, Outcome
from bulkhead.supervisor.unit import Unit

WAITING_MAX = 128  # untold at a time, far below what a unit may say in a minute
LEDGER = "ledger"
_log = logging.getLogger("bulkhead.cell")


class Happenings:
    """send: sends a control message to a unit. units: the cell's own list."""

    def __init__(self, units: Iterable[Unit], send: Send) -> None:
        self._units, self._send = units, send
        self._number = time.time_ns() // 1_000_000 << 20  # greater than any of an earlier supervisor's
        self._waiting: dict[int, Happening] = {}
        self._restarts = FirstOfKind(self._restarted)
        self._violations = FirstOfKind(self._violated)
        self._began = False
        self._sent = 0  # newest number that a ledger was told: it may be in the log as it was told

    def began(self, units: Iterable[Unit]) -> None:
        """The cell is ready; only the first time counts."""
        if not self._began:
            self._began = True
            locks = [unit.report for unit in units if unit.report is not None]
            self._add(Happening(What.STARTED, _now(), why=lock_text(locks), count=len(locks), digest=code_digest()))

    def died(self, unit: Unit, status: int) -> None:
        """A process ended that is to be started again; status: as `waitpid` has it, negative: by that signal."""
        why = unit.why or (f"signal {-status}" if status < 0 else f"exit {status}")
        self._restarts.saw((unit.process.name, why), unit.worker)

    def reported(self, reporter: Unit, sender: str, worker: int) -> None:
        """A compartment without an outbox says that a peer broke a rule."""
        self._violations.saw((sender, reporter.process.name), worker)

    def tell(self, ledger: Unit) -> None:
        """ledger has started: all that waits."""
        for happening in list(self._waiting.values()):
            self._sent = max(self._sent, happening.number)
            self._send(ledger, Op.HAPPENED, control.pack_happening(happening))

    def taken(self, number: int) -> None:
        """It is in the ledger."""
        self._waiting.pop(number, None)

    def _restarted(self, kind: tuple[str, ...], worker: int, count: int) -> None:
        self._add(Happening(What.RESTARTED, _now(), 0, kind[0], worker, kind[-1], count))

    def _violated(self, kind: tuple[str, ...], worker: int, count: int) -> None:
        self._add(Happening(What.VIOLATION, _now(), 0, kind[0], worker, kind[-1], count))

    def _add(self, new: Happening) -> None:
        ledger = next(
            (u for u in self._units if u.process.name == LEDGER and u.state == "started" and not u.twin), None
        )
        if ledger is None:  # what waits long is counted together: the ledger may be away for days
            same = next(
                (old for old in self._waiting.values() if old.kind == new.kind and old.number > self._sent), None
            )
            if same is not None:
                self._waiting[same.number] = same.and_more(new.count)
                return
        if len(self._waiting) >= WAITING_MAX:
            _log.error("the ledger takes nothing; it will not know of %s", " ".join(new.kind))
            return
        self._number += 1
        numbered = self._waiting[self._number] = new.numbered(self._number)
        if ledger is not None:
            self._sent = self._number
            self._send(ledger, Op.HAPPENED, control.pack_happening(numbered))


def lock_text(locks: Iterable[LockReport]) -> str:
    """What the locks of these processes lack: `whole`, or `missing uid; partial landlock`."""
    found = {(step.outcome, step.mechanism.value) for lock in locks for step in lock.steps}
    texts = [
        f"{outcome.value} {', '.join(sorted(name for other, name in found if other is outcome))}"
        for outcome in (Outcome.MISSING, Outcome.PARTIAL)
        if any(other is outcome for other, _ in found)
    ]
    return "; ".join(texts)[: control.WHY_MAX] or "whole"


def code_digest() -> bytes:
    """SHA-256 over path and SHA-256 of every module of this package, in order: which code runs."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()


def _now() -> int:
    return time.time_ns() // 1_000_000
