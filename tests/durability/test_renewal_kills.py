"""Mailbox keys are renewed while keyring, store, directory and access are killed: all mail reads as it was sent."""

import contextlib
import imaplib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live import Live, Mailbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROUNDS = 3
VICTIMS = ("keyring", "store", "access", "keyring", "directory", "store")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    running = Live(tmp_path_factory.mktemp("renewal"), tenants=1)
    yield running
    running.stop()


def read_all(live: Live, box: Mailbox) -> dict[str, int]:
    """How often each subject is in INBOX, its text checked against it."""
    found: dict[str, int] = {}
    with live.imap(box) as client:
        _, answer = client.uid("FETCH", "1:*", "(BODY.PEEK[])")
        for item in answer:
            if isinstance(item, tuple):
                head, _, body = bytes(item[1]).partition(b"\r\n\r\n")
                subject = next(line[9:] for line in head.split(b"\r\n") if line.startswith(b"Subject: ")).decode()
                assert body.strip() == f"text of {subject}".encode()
                found[subject] = found.get(subject, 0) + 1
    return found


def try_to_read(live: Live, box: Mailbox) -> None:
    """A login, and a listing that files and seals anew."""
    with contextlib.suppress(imaplib.IMAP4.error, OSError):
        read_all(live, box)


def persist(act: object, seconds: float = 60.0) -> object:
    """What the act gives once nothing of it is being restarted."""
    ends = time.monotonic() + seconds
    while True:
        try:
            return act()  # type: ignore[operator]
        except (imaplib.IMAP4.error, OSError, AssertionError):
            if time.monotonic() > ends:
                raise
            time.sleep(0.3)


def test_no_message_is_lost_or_unreadable_when_processes_die_during_renewals(live: Live, tmp_path: Path) -> None:
    box = live.mailbox("t0")
    sent: list[str] = []
    over = threading.Event()

    def send() -> None:
        """Mail before, during and after; what was answered with 250 counts, and nothing else."""
        number = 0
        while not over.is_set():
            number += 1
            with contextlib.suppress(OSError):
                live.deliver(box, f"m{number}", f"text of m{number}")
                sent.append(f"m{number}")
            time.sleep(0.1)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for round_ in range(ROUNDS):
            persist(lambda: read_all(live, box))
            persist(lambda n=round_: live.command("credentials", "renew-mailboxes", "t0", "--reason", f"round {n}"))
            for victim in VICTIMS[2 * round_ : 2 * round_ + 2]:
                pid = live.pid("t0", victim)
                reader = threading.Thread(target=try_to_read, args=(live, box))
                reader.start()
                time.sleep(random.random() * 0.5)  # a login takes about so long: before, in the middle, or after
                os.kill(pid, signal.SIGKILL)
                reader.join()
                live.wait_pid("t0", victim, pid)
    finally:
        over.set()
        sender.join()
    found = persist(lambda: read_all(live, box))
    assert isinstance(found, dict)
    assert len(sent) > 10
    assert {subject for subject in sent if subject not in found} == set()
    state = live.json("credentials", "renew-mailboxes", "t0", "--status")
    assert (state["order"], state["outstanding"]) == (ROUNDS, 0)

    def dropped() -> None:
        read_all(live, box)
        kinds = [entry["kind"] for entry in live.json("ledger", "t0", "list")["entries"]]
        assert kinds.count("MailboxKeyRenewed") == ROUNDS
        assert "MailboxKeyDestroyed" in kinds

    persist(dropped)
    assert persist(lambda: read_all(live, box)) == found
    live.command("fsck", "t0")
