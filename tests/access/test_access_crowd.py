"""Several sessions change one mailbox at once; what each was told adds up to what the store has."""

import random
import re
import threading
from collections.abc import Callable

import pytest
from tests.access.cell import Account, Cell, Raw, message
from tests.access.deflated import Deflated

SESSIONS = 8
STEPS = 120
FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft")  # in the order of their bits
_FETCH = re.compile(rb"\* (\d+) FETCH \(.*?UID (\d+)(?:.*?FLAGS \(([^)]*)\))?", re.DOTALL)


class View:
    """What a client believes, from the responses alone: the UID at each number where it is known, and flags by UID."""

    def __init__(self, raw: Raw, seed: int, enable: str) -> None:
        self.raw, self.random = raw, random.Random(seed)
        self.uids: list[int | None] = []
        self.flags: dict[int, set[str]] = {}
        self.vanishes = enable == "QRESYNC"
        if enable:
            self.command(f"ENABLE {enable}")
        self.command("SELECT INBOX")
        self.command("UID FETCH 1:* (UID FLAGS)")

    def command(self, text: str, literal: bytes | None = None) -> list[bytes]:
        """Every command must end well: a mailbox that others change is no error."""
        if literal is None:
            lines = self.raw.command(text)
        else:
            self.raw.send(f"L {text} {{{len(literal)}+}}\r\n".encode() + literal + b"\r\n")
            lines = self.raw.until(b"L ")
        for line in lines[:-1]:
            self.take(line)
        assert b" OK " in lines[-1][:10], (text, lines[-1])
        return lines

    def take(self, line: bytes) -> None:
        if found := re.match(rb"\* (\d+) EXISTS", line):
            assert int(found[1]) >= len(self.uids), "EXISTS took messages away"
            self.uids += [None] * (int(found[1]) - len(self.uids))
        elif found := re.match(rb"\* (\d+) EXPUNGE", line):
            assert not self.vanishes
            self.forget(self.uids.pop(int(found[1]) - 1))
        elif found := re.match(rb"\* VANISHED ([\d:,]+)", line):
            assert self.vanishes
            for part in found[1].decode().split(","):
                first, _, last = part.partition(":")
                for uid in range(int(first), int(last or first) + 1):
                    del self.uids[self.place(uid)]
                    self.forget(uid)
        elif found := _FETCH.match(line):
            at, uid = int(found[1]) - 1, int(found[2])
            assert self.uids[at] in (None, uid), "a number means another message"
            self.uids[at] = uid
            if found[3] is not None:
                self.flags[uid] = set(found[3].decode().split()) - {"\\Recent"}

    def place(self, uid: int) -> int:
        """Where a UID is, or where it must be among those that are known."""
        if uid in self.uids:
            return self.uids.index(uid)
        below = [at for at, known in enumerate(self.uids) if known is not None and known < uid]
        at = below[-1] + 1 if below else 0
        assert self.uids[at] is None, "what vanished was never told"
        return at

    def forget(self, uid: int | None) -> None:
        if uid is not None:
            self.flags.pop(uid, None)

    def step(self) -> None:
        """One act of a client that never waits for the others."""
        acts: list[Callable[[], object]] = [
            self.append, self.append, self.store, self.store, self.store, self.fetch, self.fetch, self.remove,
            self.silent, lambda: self.command("NOOP"), lambda: self.command("SEARCH SEEN"), self.copy, self.read,
            lambda: self.command("CHECK"), self.move,
        ]  # fmt: skip
        self.random.choice(acts)()

    def some(self) -> str:
        """A few message numbers."""
        first = self.random.randint(1, len(self.uids))
        return f"{first}:{min(len(self.uids), first + self.random.randint(0, 3))}"

    def append(self) -> None:
        self.command("APPEND INBOX (\\Flagged)", message())

    def store(self) -> None:
        if self.uids:
            mode = self.random.choice(("+", "-", ""))
            self.command(f"STORE {self.some()} {mode}FLAGS ({self.random.choice(FLAGS)})")

    def silent(self) -> None:
        if known := sorted(self.flags):
            uid, flag = self.random.choice(known), self.random.choice(FLAGS[:3])
            self.flags[uid].add(flag)  # as RFC 3501 section 6.4.6 lets a client assume
            self.command(f"UID STORE {uid} +FLAGS.SILENT ({flag})")

    def fetch(self) -> None:
        if self.uids:
            self.command(f"FETCH {self.some()} (UID FLAGS)")

    def read(self) -> None:
        if self.uids:
            self.command(f"FETCH {self.some()} (UID BODY[TEXT])")

    def copy(self) -> None:
        if self.uids:
            self.command(f"COPY {self.random.randint(1, len(self.uids))} INBOX")

    def move(self) -> None:
        if self.uids:
            self.command(f"MOVE {self.random.randint(1, len(self.uids))} Trash")

    def remove(self) -> None:
        self.command(self.random.choice(("EXPUNGE", "UID EXPUNGE 1:20")))


def truth(cell: Cell, account: Account) -> dict[int, set[str]]:
    """UIDs and flags of INBOX as the store has them."""
    rows = cell.rows(
        "SELECT m.uid, m.flags FROM message m JOIN mailbox b ON b.seq = m.mailbox JOIN account a ON a.seq = b.account"
        " WHERE a.account = ? AND b.role = 1 ORDER BY m.uid",
        account.id,
    )
    return {uid: {flag for bit, flag in enumerate(FLAGS) if mask >> bit & 1} for uid, mask in rows}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_sessions_are_told_adds_up_to_what_the_store_has(cell: Cell, account: Account, seed: int) -> None:
    cell.deliver(account, *(message(str(n)) for n in range(10)))
    views: list[View] = []
    for number in range(SESSIONS):
        raw = cell.raw(account)
        if number % 4 == 3:
            raw = Deflated(raw)
        views.append(View(raw, seed * 100 + number, ("", "QRESYNC", "IMAP4rev2", "CONDSTORE")[number % 4]))
    failures: list[BaseException] = []

    def work(view: View) -> None:
        try:
            for _ in range(STEPS):
                view.step()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(view,)) for view in views]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    expected = truth(cell, account)
    for view in views:
        view.command("NOOP")
        told = dict(view.flags)
        view.command("UID FETCH 1:* (UID)")
        assert view.uids == list(expected)
        assert told == {uid: expected[uid] for uid in told}
    cell.check()
