"""Clients that count together: a number in one message's keywords, raised only where nobody changed it meanwhile.

Each raise is a STORE with UNCHANGEDSINCE of what was read (RFC 7162 section 3.1.3). The number must be what was
acknowledged to all of them; more only by as many as had no reply.
"""

from dataclasses import dataclass, field
from threading import Lock

from tests.durability.imap_session import Ended, Imap, Literal, fetched
from tests.live import Live, Mailbox

FOLDER = b"tally"
PLACES = 5


def keywords_of(number: int) -> set[str]:
    """A number's digits, each as a keyword of its place."""
    return {f"p{place}d{digit}" for place, digit in enumerate(f"{number:0{PLACES}d}")}


def number_of(flags: frozenset[str]) -> int:
    """What the keywords say. Raises ValueError where they are no number: a change that is neither whole nor absent."""
    digits = sorted(flag for flag in flags if flag.startswith("p"))
    if [flag[:2] for flag in digits] != [f"p{place}" for place in range(PLACES)]:
        raise ValueError(f"no number: {sorted(flags)}")
    return int("".join(flag[3:] for flag in digits))


@dataclass(slots=True)
class Tally:
    """The message, and what its clients were told."""

    live: Live
    box: Mailbox
    acknowledged: int = 0
    modified: int = 0  # raises that another client was ahead of
    missing: int = 0  # replies
    faults: list[str] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def begin(self) -> None:
        """Make the mailbox and the message, at 0."""
        with Imap(self.live, self.box) as imap:
            assert imap.command(b"CREATE " + FOLDER).status == "OK"
            flags = " ".join(sorted(keywords_of(0))).encode()
            text = Literal(b"Subject: tally/0\r\n\r\n1\r\n")
            assert imap.command(b"APPEND " + FOLDER + b" (" + flags + b") ", text).status == "OK"

    def connect(self) -> Imap:
        """A session with the mailbox selected."""
        imap = Imap(self.live, self.box)
        if imap.command(b"SELECT " + FOLDER).status != "OK":
            imap.close()
            raise Ended("not selected")
        return imap

    def turn(self, imap: Imap) -> None:
        """Read, and raise by one."""
        number, modseq = self._read(imap)
        flags = " ".join(sorted(keywords_of(number + 1)))
        try:
            answer = imap.command(f"UID STORE 1 (UNCHANGEDSINCE {modseq}) FLAGS.SILENT ({flags})".encode())
        except Ended:
            with self._lock:
                self.missing += 1
            raise
        with self._lock:
            if answer.status != "OK":
                self.missing += 1
            elif answer.code("MODIFIED"):
                self.modified += 1
            else:
                self.acknowledged += 1

    def _read(self, imap: Imap) -> tuple[int, int]:
        answer = imap.command(b"UID FETCH 1 (FLAGS MODSEQ)")
        rows = [row for row in map(fetched, answer.lines) if row and row.modseq and row.flags is not None]
        if answer.status != "OK":
            raise Ended(answer.text.decode())
        return number_of(rows[-1].flags or frozenset()), rows[-1].modseq

    def finish(self) -> None:
        """Compare the number with what was told."""
        with self.connect() as imap:
            number, _ = self._read(imap)
        if not self.acknowledged <= number <= self.acknowledged + self.missing:
            self.faults.append(f"counted {number}: {self.acknowledged} acknowledged, {self.missing} without reply")
