"""Clients that follow what others do: one that idles and resynchronises, and one that empties a maildrop by POP3."""

import poplib
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.durability.imap_session import Ended, Imap, Line, NotIn, fetched, vanished
from tests.live import Live, Mailbox

IDLE_SECONDS = 1.0
SETTLE_SECONDS = 1.0
TAKEN = 8  # messages of one POP3 session


@dataclass(slots=True)
class Watcher:
    """Follows one mailbox by IDLE, and by QRESYNC where its session died: its view must become what is there."""

    live: Live
    box: Mailbox
    folder: str
    told: int = 0  # changes, in answers to IDLE and SELECT
    resyncs: int = 0
    faults: list[str] = field(default_factory=list)
    view: dict[int, frozenset[str]] = field(default_factory=dict)
    _validity: int = 0
    _highest: int = 0
    _next: int = 1
    _imap: Imap | None = None

    def connect(self) -> Imap:
        """The session; another one where the last died."""
        imap = Imap(self.live, self.box)
        known = f" (QRESYNC ({self._validity} {self._highest}))" if self._validity else ""
        answer = imap.command(f"SELECT {self.folder}{known}".encode())
        if answer.status != "OK":
            imap.close()
            raise NotIn(answer.text.decode())
        validity = answer.number("UIDVALIDITY")
        if self._validity and validity != self._validity:
            self.faults.append(f"{self.box.address} {self.folder}: UIDVALIDITY {self._validity} to {validity}")
        self.resyncs += bool(self._validity)
        self._take(answer.lines)
        if not self._validity:
            self._take(imap.command(b"UID FETCH 1:* (UID FLAGS)").lines)
        self._validity, self._highest = validity, answer.number("HIGHESTMODSEQ")
        self._imap = imap
        return imap

    def _take(self, lines: list[Line]) -> bool:
        """Put what was told on the view; whether new messages were spoken of."""
        more = False
        for line in lines:
            for uid in vanished(line):
                self.view.pop(uid, None)
                self.told += 1
            more = more or line.text.endswith(b" EXISTS\r\n")
            found = fetched(line)
            if found is not None and found.flags is not None and found.uid:
                self.view[found.uid] = found.flags
                self.told += 1
                self._next = max(self._next, found.uid + 1)
        return more

    def turn(self, imap: Imap) -> None:
        """Listen for a while, and fetch what is new."""
        if self._take(imap.idle(IDLE_SECONDS)):
            self._fetch_new(imap)

    def _fetch_new(self, imap: Imap) -> None:
        answer = imap.command(b"UID FETCH %d:* (UID FLAGS)" % self._next)
        if answer.status != "OK":
            raise Ended(answer.text.decode())
        self._take(answer.lines)

    def finish(self) -> None:
        """Hear the last on the session that is held, and compare with a session of its own."""
        imap = self._imap
        assert imap is not None, f"{self.box.address} never came in"
        try:
            self._take(imap.command(b"NOOP").lines)
        except Ended:
            imap = self.connect()
        self._fetch_new(imap)
        with Imap(self.live, self.box) as fresh:
            fresh.command(f"SELECT {self.folder}".encode())
            answer = fresh.command(b"UID FETCH 1:* (UID FLAGS)")
        found = filter(None, map(fetched, answer.lines))
        full = {item.uid: item.flags for item in found if item.flags is not None}
        if full != self.view:
            self.faults.append(f"{self.box.address} {self.folder}: told otherwise {full.items() ^ self.view.items()}")
        imap.close()


@dataclass(slots=True)
class Drainer:
    """Empties a maildrop: what QUIT acknowledged stays away; what it did not is away whole or there whole."""

    live: Live
    box: Mailbox
    removed: Counter[str] = field(default_factory=Counter)  # subjects
    quits: int = 0
    undecided: int = 0
    faults: list[str] = field(default_factory=list)
    _gone: set[str] = field(default_factory=set)  # UIDLs
    _seen: dict[str, str] = field(default_factory=dict)  # UIDL to subject
    _pending: dict[str, str] = field(default_factory=dict)

    def connect(self) -> poplib.POP3_SSL:
        endpoint = self.live.endpoints[self.box.tenant]
        try:
            pop3 = poplib.POP3_SSL(endpoint.address, endpoint.pop3s, context=self.live.tls, timeout=30)
        except (poplib.error_proto, OSError) as error:
            raise NotIn(str(error)) from error
        try:
            pop3.user(self.box.address)
            pop3.pass_(self.box.password)
        except (poplib.error_proto, OSError) as error:
            pop3.close()
            raise NotIn(str(error)) from error
        return pop3

    def turn(self) -> None:
        """One session from its login to QUIT."""
        if self._pending:
            time.sleep(SETTLE_SECONDS)
        pop3 = self.connect()
        try:
            rows = [line.decode().split() for line in pop3.uidl()[1]]
            self._check({uidl for _, uidl in rows})
            asked = {uidl: self._read(pop3, int(number), uidl) for number, uidl in rows[:TAKEN]}
            for number, _ in rows[:TAKEN]:
                pop3.dele(int(number))
            self._pending = asked
            pop3.quit()
            self._settle()
        except poplib.error_proto as error:
            raise Ended(str(error)) from error
        finally:
            pop3.close()

    def _read(self, pop3: poplib.POP3_SSL, number: int, uidl: str) -> str:
        lines = pop3.retr(number)[1]
        subject = next(line.decode().partition(":")[2].strip() for line in lines if line.startswith(b"Subject:"))
        if self._seen.setdefault(uidl, subject) != subject:
            self.faults.append(f"{self.box.address}: UIDL {uidl} was {self._seen[uidl]} and is {subject}")
        return subject

    def _settle(self) -> None:
        self.quits += 1
        self._gone |= self._pending.keys()
        self.removed.update(self._pending.values())
        self._pending = {}

    def _check(self, there: set[str]) -> None:
        if back := there & self._gone:
            self.faults.append(f"{self.box.address}: came back: {back}")
        if self._pending:
            self.undecided += 1
            still = there & self._pending.keys()
            if not still:
                self._settle()
            elif still != self._pending.keys():
                self.faults.append(f"{self.box.address}: {still} of {self._pending} are left")
            self._pending = {}
