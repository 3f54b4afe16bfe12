"""Clients that load an installation and write down what became of every transaction, and loops that time a neighbour.

One thread a client, over held connections; a client whose connection died says so and connects again.
"""

import imaplib
import smtplib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import count, pairwise

from tests.live import Live, Mailbox

PAUSE = 0.05  # seconds between transactions of one client
LOOP_SECONDS = 0.1  # of a neighbour's loop
LARGE = 1_500_000  # octets: above what store gathers in memory
_ENDED = (smtplib.SMTPException, imaplib.IMAP4.error, OSError)


@dataclass(slots=True)
class Fate:
    """What became of one message for one mailbox, over all times that it was handed over."""

    handed: int = 0
    accepted: int = 0
    died: int = 0  # the connection ended between the final dot and the reply
    refused: list[str] = field(default_factory=list)  # 4yz, 5yz or NO behind the final dot


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way by one road into one mailbox. local: nothing but this cell's processes lies between."""

    name: str
    road: str
    address: str
    local: bool


class Book:
    """What all clients did. Fates by letter, flags that were acknowledged, connections that ended, and every no."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.fates: dict[Letter, Fate] = {}
        self.flagged: set[str] = set()
        self.order: list[tuple[str, list[str]]] = []  # mailbox, names in the order in which one client had their yes
        self.ended: list[tuple[float, str, str]] = []  # when, which client, why
        self.refusals: list[tuple[float, str, str]] = []
        self.faults: list[str] = []  # clients that stopped for another reason than the end of a connection

    def hand(self, letters: Sequence[Letter]) -> None:
        with self._lock:
            for letter in letters:
                self.fates.setdefault(letter, Fate()).handed += 1

    def accept(self, letters: Sequence[Letter]) -> None:
        for letter in letters:
            self.fates[letter].accepted += 1

    def die(self, letters: Sequence[Letter]) -> None:
        for letter in letters:
            self.fates[letter].died += 1

    def refuse(self, letters: Sequence[Letter], why: str) -> None:
        for letter in letters:
            self.fates[letter].refused.append(why)


class Storm:
    """The threads. `start` them, `stop` them; what they did is in `book`."""

    def __init__(self, live: Live) -> None:
        self.live, self.book = live, Book()
        self.stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._names = count()

    def start(
        self,
        name: str,
        connect: Callable[[], AbstractContextManager[object]],
        turn: Callable[..., None],
        pause: float = PAUSE,
    ) -> None:
        """A client: turn(connection) again and again, on a new connection where the old one died."""

        def run() -> None:
            while not self.stopping.is_set():
                try:
                    with connect() as connection:
                        while not self.stopping.is_set():
                            turn(connection)
                            self.stopping.wait(pause)
                except _ENDED as error:
                    if not self.stopping.is_set():
                        self.book.ended.append((time.monotonic(), name, f"{type(error).__name__}: {error}"))
                        self.stopping.wait(PAUSE)
                except Exception as error:
                    self.book.faults.append(f"{name}: {type(error).__name__}: {error}")
                    raise

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), f"{thread.name} hangs"

    def new_name(self, client: str) -> str:
        """A message's own subject."""
        return f"{client}-{next(self._names)}"

    # --- clients ------------------------------------------------------------------------------------------------------

    def deliver(self, client: str, to: Sequence[Mailbox], *, chunked: bool = False) -> None:
        """Deliveries to a tenant's MX; every one to all of `to`. What died is handed over once more."""
        sender = _Sender(self, client, "a@elsewhere.example", [(box, "mx", True) for box in to], chunked)
        self.start(client, lambda: self.live.mx(to[0].tenant), sender.turn)

    def submit(self, client: str, author: Mailbox, to: Sequence[Mailbox], *, chunked: bool = False) -> None:
        """Submissions to own and other cells."""
        roads = [(box, "submit", box.tenant == author.tenant) for box in to]
        sender = _Sender(self, client, author.address, roads, chunked)
        self.start(client, lambda: self.live.submission(author), sender.turn)

    def append(self, client: str, box: Mailbox) -> None:
        """APPEND, then STORE on what was appended."""
        self.start(client, lambda: self.live.imap(box), lambda imap: self._append(imap, client, box))

    def _append(self, imap: imaplib.IMAP4_SSL, client: str, box: Mailbox) -> None:
        name = self.new_name(client)
        letter = Letter(name, "append", box.address, True)
        self.book.hand([letter])
        try:
            answer, data = imap.append("INBOX", "", "", _text(name, "a@elsewhere.example", 300))
        except imaplib.IMAP4.abort:
            self.book.die([letter])
            raise
        if answer != "OK":
            self.book.refuse([letter], repr(data))
            self.book.refusals.append((time.monotonic(), client, repr(data)))
            return
        self.book.accept([letter])
        uid = bytes(data[0]).split(b"]")[0].split()[-1].decode()
        answer, data = imap.uid("STORE", uid, "+FLAGS.SILENT", "(\\Flagged)")
        if answer == "OK":
            self.book.flagged.add(name)
        else:
            self.book.refusals.append((time.monotonic(), client, repr(data)))

    def read(self, client: str, box: Mailbox) -> None:
        """A held session that looks and reads."""

        def turn(imap: imaplib.IMAP4_SSL) -> None:
            # by UID: in a mailbox that no message has reached yet, `*` is no message number
            for answer, data in (imap.noop(), imap.uid("FETCH", "*", "(FLAGS BODY.PEEK[HEADER])")):
                if answer != "OK":
                    self.book.refusals.append((time.monotonic(), client, repr(data)))

        self.start(client, lambda: self.live.imap(box), turn)


class _Sender:
    """One SMTP client's transactions. chunked: by BDAT, in two pieces."""

    def __init__(
        self, storm: Storm, client: str, author: str, roads: Sequence[tuple[Mailbox, str, bool]], chunked: bool
    ) -> None:
        self._storm, self._client, self._author, self._roads, self._chunked = storm, client, author, roads, chunked
        self._again: list[Letter] = []
        self._accepted: list[str] = []
        storm.book.order += [(box.address, self._accepted) for box, _, local in roads if local]

    def turn(self, smtp: smtplib.SMTP) -> None:
        """Hand over one message: one that died, or a new one."""
        book = self._storm.book
        name = self._storm.new_name(self._client)
        letters = self._again or [Letter(name, road, box.address, local) for box, road, local in self._roads]
        name = letters[0].name
        smtp.ehlo_or_helo_if_needed()
        smtp.rset()
        text = _text(name, self._author, LARGE if name.endswith("77") else 300)
        last = text + b".\r\n"
        replies = [smtp.mail(self._author), *(smtp.rcpt(letter.address) for letter in letters)]
        if self._chunked:
            first, rest = text[: len(text) // 3], text[len(text) // 3 :]
            smtp.send(b"BDAT %d\r\n" % len(first) + first)
            replies.append(smtp.getreply())
            last = b"BDAT %d LAST\r\n" % len(rest) + rest
        else:
            replies.append(smtp.docmd("DATA"))
        for code, why in replies:
            if code >= 400:
                book.refusals.append((time.monotonic(), self._client, f"{code} {why!r}"))
                if code == 421:
                    raise smtplib.SMTPServerDisconnected(why.decode())
                return
        self._again = letters
        book.hand(letters)
        try:
            smtp.send(last)
            code, why = smtp.getreply()
        except (smtplib.SMTPException, OSError):
            book.die(letters)
            raise
        self._again = []
        if code == 250:
            book.accept(letters)
            self._accepted.append(name)
        else:
            book.refuse(letters, f"{code} {why!r}")
            book.refusals.append((time.monotonic(), self._client, f"{code} {why!r}"))


def _text(name: str, author: str, size: int) -> bytes:
    line = b"0123456789abcdef" * 4 + b"\r\n"
    head = f"From: {author}\r\nSubject: {name}\r\nMessage-ID: <{name}@storm.example>\r\n\r\n".encode()
    return head + line * (size // len(line) + 1)


class Neighbour:
    """A client loop in another cell: a delivery and a read per 100 ms over held connections; when each was done."""

    def __init__(self, live: Live, box: Mailbox) -> None:
        self.box, self.errors, self.done = box, list[str](), [time.monotonic()]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(live,), name=f"neighbour {box.tenant}", daemon=True)
        self._thread.start()

    def _run(self, live: Live) -> None:
        try:
            with live.mx(self.box.tenant) as smtp, live.imap(self.box) as imap:
                self.done.append(time.monotonic())
                for number in count():
                    if self._stopping.wait(max(0.0, self.done[-1] + LOOP_SECONDS - time.monotonic())):
                        return
                    self._turn(smtp, imap, f"round {number}")
                    self.done.append(time.monotonic())
        except Exception as error:
            self.errors.append(f"{self.box.tenant}: {type(error).__name__}: {error}")

    def _turn(self, smtp: smtplib.SMTP, imap: imaplib.IMAP4_SSL, name: str) -> None:
        smtp.sendmail("a@elsewhere.example", [self.box.address], _text(name, "a@elsewhere.example", 300))
        imap.noop()
        _, data = imap.fetch("*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        if f"Subject: {name}\r\n".encode() not in bytes(data[0][1]):
            raise AssertionError(f"read {data!r}, not {name}")

    def gap(self, start: float, end: float) -> float:
        """The longest time between two rounds done in that span, in seconds."""
        inside = [start, *(moment for moment in self.done if start < moment < end), end]
        return max(after - before for before, after in pairwise(inside))

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(60)
