"""Who of the staff may read the log, by what the log itself was told: no roster, no key and no file is needed for it.

A holder that opens a session, once it verified the officer's statement by its own roster, has StaffSessionOpened here
before the session lives. So a session that WITNESSES of them entered alike is one; a compromised console, or one holder
or two that lie, make none. It ends with its time, with the console's word, with the next roster that a holder takes
(whom it drops is not known here: staff opens another), and with this process.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bulkhead.boundary.messages.to_ledger import Event
from bulkhead.boundary.staff import EXECUTORS, STAFF_CALLS
from bulkhead.errors import Refused

WITNESSES = 3  # of the five holders with a roster
SESSIONS_MAX, ENDED_MAX = 256, 4096
Said = tuple[str, int]


def clock() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Heard:
    """What each holder said of one session: role, and until when."""

    said: dict[str, Said] = field(default_factory=dict)

    def agreed(self) -> Said | None:
        """What enough of them said."""
        words = list(self.said.values())
        return next((one for one in words if words.count(one) >= WITNESSES), None)


class Readers:
    """now: ms since 1970."""

    def __init__(self, now: Callable[[], int] = clock) -> None:
        self._now = now
        self._heard: OrderedDict[str, Heard] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()

    def learn(self, compartment: str, events: Sequence[Event]) -> None:
        """What a holder had entered, which is in the log by now."""
        if compartment not in EXECUTORS:
            return
        for event in events:
            if event.kind == "RosterInstalled":
                self._heard.clear()
            elif event.kind == "StaffSessionOpened":
                self._open(compartment, event)

    def _open(self, compartment: str, event: Event) -> None:
        session, role, expires = (event.details.get(name) for name in ("session", "role", "expires"))
        if not isinstance(session, str) or not isinstance(role, str) or not isinstance(expires, int):
            return  # of an installation's older half
        if session not in self._ended:
            self._heard.setdefault(session, Heard()).said[compartment] = (role, expires)
            if len(self._heard) > SESSIONS_MAX:
                self._heard.popitem(last=False)

    def require(self, token: bytes, message: str) -> None:
        """Passes who may ask this. Raises Refused: `no-session`, `role`."""
        heard = self._heard.get(session_name(hashlib.sha256(token).digest()))
        agreed = None if heard is None else heard.agreed()
        if agreed is None or self._now() >= agreed[1]:
            raise Refused("no session has this token, or too few holders opened it: open one", code="no-session")
        if agreed[0] not in STAFF_CALLS["ledger", message].roles:
            raise Refused(f"a {agreed[0]} may not ask for this", code="role")

    def end(self, token: bytes) -> None:
        """It is over, and no later entry begins it again."""
        session = session_name(hashlib.sha256(token).digest())
        if self._heard.pop(session, None) is not None:
            self._ended[session] = None
            if len(self._ended) > ENDED_MAX:
                self._ended.popitem(last=False)


def session_name(digest: bytes) -> str:
    """How an entry names a session, of the hash of its token."""
    return digest.hex()
