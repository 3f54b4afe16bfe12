"""Several workers of a gate in a real cell: shared listeners, full ones, fresh ones, dead ones, and their sessions."""

import contextlib
import imaplib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live import Live, Mailbox
from tests.supervisor.cells import alive

from bulkhead.config import set_value

Value = int | str


@contextlib.contextmanager
def cell(**settings: Value) -> Iterator[Live]:
    """A cell with these settings of access."""
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:  # short: a socket's path has 108 bytes
        live = Live(Path(directory) / "i", 1, {f"access.{key}": value for key, value in settings.items()})
        try:
            yield live
        finally:
            live.stop()


@pytest.fixture(scope="module")
def two() -> Iterator[Live]:
    """A cell with two workers of access and of mx."""
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:
        live = Live(Path(directory) / "i", 1, {"access.workers": 2, "mx.workers": 2})
        try:
            yield live
        finally:
            live.stop()


def gate(live: Live, name: str = "access") -> dict[str, Any]:
    """The gate's row of `status`."""
    (tenant,) = live.cells()
    return next(row for row in tenant["gates"] if row["gate"] == name)


def workers(live: Live, name: str = "access") -> list[dict[str, Any]]:
    """Its workers."""
    return [row for row in live.processes("t0") if row["compartment"] == name and not row["twin"]]


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.1)


class Client(imaplib.IMAP4_SSL):
    """A session that knows which worker it is with."""

    worker = -1

    def say(self, line: bytes) -> None:
        self.send(line + b"\r\n")

    def expect(self, part: bytes) -> list[bytes]:
        """Lines up to one with this in it."""
        lines = []
        while True:
            lines.append(self.readline())
            assert lines[-1], lines
            if part in lines[-1]:
                return lines


def connect(live: Live, mailbox: Mailbox) -> Client:
    endpoint = live.endpoints["t0"]
    client = Client(endpoint.address, endpoint.imaps, ssl_context=live.tls, timeout=20)
    client.login(mailbox.address, mailbox.password)
    client.select("INBOX")
    return client


def one_in_each(live: Live, mailbox: Mailbox) -> tuple[Client, Client]:
    """Two sessions of one mailbox, in two workers."""
    clients: dict[int, Client] = {}
    spare = []
    before = {row["worker"]: row["sessions_begun"] for row in workers(live)}
    while len(clients) < 2:
        assert len(spare) < 20, "all connections go to one worker"
        client = connect(live, mailbox)
        due = sum(before.values()) + 1
        begun = before
        while sum(begun.values()) < due:
            time.sleep(0.1)
            begun = {row["worker"]: row["sessions_begun"] for row in workers(live)}
        (worker,) = [number for number in begun if begun[number] != before[number]]
        client.worker = worker
        if clients.setdefault(worker, client) is not client:
            spare.append(client)
        before = begun
    for client in spare:
        client.logout()
    one, two = clients.values()
    return one, two


def test_workers_share_a_listener_and_each_gets_connections(two: Live) -> None:
    box = two.mailbox()
    clients = [connect(two, box) for _ in range(24)]
    until(lambda: gate(two)["sessions"] == 24)
    counts = [row["sessions"] for row in workers(two)]
    assert len(counts) == 2 and min(counts) >= 6
    for client in clients:
        client.logout()
    until(lambda: gate(two)["sessions"] == 0)


def test_a_session_that_idles_in_one_worker_hears_of_what_another_does(two: Live) -> None:
    box, other = two.mailbox(), two.mailbox()
    idling, acting = one_in_each(two, box)
    stranger = connect(two, other)
    for client in (idling, stranger):
        client.say(b"I IDLE")
        client.expect(b"+ idling")
    acting.append("INBOX", "", None, b"Subject: one\r\n\r\ntext\r\n")  # type: ignore[arg-type]
    assert idling.expect(b"EXISTS")
    acting.noop()
    acting.store("1", "+FLAGS", r"(\Flagged)")
    assert b"Flagged" in idling.expect(b"FETCH")[-1]
    acting.store("1", "+FLAGS", r"(\Deleted)")
    acting.expunge()
    assert idling.expect(b"1 EXPUNGE")
    for client in (idling, stranger):
        client.say(b"DONE")
    heard = stranger.expect(b"I OK")
    assert len(heard) == 1  # nobody tells it of another's mailbox
    idling.expect(b"I OK")
    for client in (idling, acting, stranger):
        client.logout()


def test_the_death_of_a_worker_ends_its_sessions_and_no_others(two: Live) -> None:
    box = two.mailbox()
    dying, living = one_in_each(two, box)
    pids = {row["worker"]: row["pid"] for row in workers(two)}
    incarnations = {row["worker"]: row["incarnation"] for row in workers(two)}
    os.kill(pids[dying.worker], signal.SIGKILL)
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        dying.noop()
    two.deliver(box, "after")
    living.noop()
    assert living.fetch("1", "(FLAGS)")[0] == "OK"
    two.wait_pid("t0", "access", pids[dying.worker], worker=dying.worker)
    until(lambda: gate(two)["accepting"] == 2)
    rows = {row["worker"]: row for row in workers(two)}
    assert rows[living.worker]["pid"] == pids[living.worker]
    assert rows[dying.worker]["incarnation"] == incarnations[dying.worker] + 1
    again = one_in_each(two, box)
    for client in (living, *again):
        client.logout()


def test_what_a_dead_worker_held_is_let_go(two: Live) -> None:
    box = two.mailbox()
    until(lambda: gate(two)["sessions"] == 0)  # those of the test before have been told of
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(OSError, EOFError))
        stack.enter_context(two.pop3(box))
        until(lambda: any(row["sessions"] for row in workers(two)))
        (held,) = [row for row in workers(two) if row["sessions"]]
        os.kill(held["pid"], signal.SIGKILL)
    two.wait_pid("t0", "access", held["pid"], worker=held["worker"])
    until(lambda: gate(two)["accepting"] == 2)
    begun = sum(row["sessions_begun"] for row in workers(two))
    with two.pop3(box) as client:
        assert client.stat() == (0, 0)
    until(lambda: sum(row["sessions_begun"] for row in workers(two)) > begun)  # the next test counts from here


OTHERS = ("store", "directory", "auth", "queue", "ledger", "courier", "resolver", "dialer", "mx", "submit")


@pytest.mark.parametrize("compartment", OTHERS)
def test_sessions_outlive_kill_9_of_every_compartment_but_keyring(two: Live, compartment: str) -> None:
    box = two.mailbox()
    idling, acting = one_in_each(two, box)
    idling.say(b"I IDLE")
    idling.expect(b"+ idling")
    pid = two.pid("t0", compartment)
    os.kill(pid, signal.SIGKILL)
    for _ in range(3):
        assert acting.noop()[0] in {"OK", "NO"}
    two.wait_pid("t0", compartment, pid)
    until(lambda: acting.append("INBOX", "", None, b"Subject: after\r\n\r\ntext\r\n")[0] == "OK")  # type: ignore[arg-type]
    assert idling.expect(b"EXISTS")
    idling.say(b"DONE")
    idling.expect(b"I OK")
    assert idling.fetch("1", "(BODY.PEEK[])")[0] == "OK"
    for client in (idling, acting):
        client.logout()


def test_the_death_of_keyring_ends_sessions_with_bye(two: Live) -> None:
    box = two.mailbox()
    clients = one_in_each(two, box)
    pid = two.pid("t0", "keyring")
    os.kill(pid, signal.SIGKILL)
    for client in clients:
        assert b"* BYE [UNAVAILABLE]" in client.expect(b"BYE")[-1]
    two.wait_pid("t0", "keyring", pid)
    connect(two, box).logout()


def test_a_full_worker_has_another_forked_and_at_the_limit_clients_wait() -> None:
    with cell(workers=1, workers_max=2, sessions_max=2) as live:
        box = live.mailbox()
        clients = [connect(live, box)]
        clients.append(connect(live, box))
        until(lambda: gate(live)["workers"] == 2 and gate(live)["accepting"] == 1)
        assert [row["sessions"] for row in workers(live)] == [2, 0]
        clients += [connect(live, box) for _ in range(2)]
        until(lambda: gate(live)["accepting"] == 0)
        assert gate(live)["workers"] == 2
        with pytest.raises(TimeoutError):
            imaplib.IMAP4_SSL(live.endpoints["t0"].address, live.endpoints["t0"].imaps, ssl_context=live.tls, timeout=1)
        clients.pop().logout()
        clients.append(connect(live, box))
        for client in clients:
            assert client.noop()[0] == "OK"
            client.logout()


def test_a_worker_that_began_its_number_of_sessions_makes_way_and_its_sessions_live_on() -> None:
    with cell(workers=1, recycle_sessions=3, drain_seconds=2) as live:
        box = live.mailbox()
        first = workers(live)[0]["pid"]
        clients = [connect(live, box) for _ in range(3)]
        until(lambda: gate(live)["recycled"] == 1)
        fresh = connect(live, box)
        assert clients[0].noop()[0] == "OK"
        until(lambda: gate(live)["retiring"] in {0, 1} and gate(live)["accepting"] == 1)
        assert b"* BYE" in clients[0].expect(b"BYE")[-1]  # after drain_seconds
        until(lambda: not alive(first))
        assert fresh.noop()[0] == "OK"
        until(lambda: gate(live)["workers"] == 1)
        fresh.logout()


def test_an_aged_worker_makes_way_without_a_moment_in_which_nobody_accepts() -> None:
    with cell(workers=1, recycle_seconds=1) as live:
        box = live.mailbox()
        staying = connect(live, box)
        first = workers(live)[0]["pid"]
        end = time.monotonic() + 8
        while gate(live)["recycled"] < 1 or time.monotonic() < end - 6:
            connect(live, box).logout()
            assert time.monotonic() < end + 10
        assert staying.noop()[0] == "OK" and alive(first)
        staying.logout()
        until(lambda: not alive(first))


def test_a_strict_worker_has_one_session_in_its_life() -> None:
    with cell(workers=1, workers_max=4, mode="strict") as live:
        boxes = [live.mailbox() for _ in range(3)]
        clients = [connect(live, box) for box in boxes]
        until(lambda: gate(live)["sessions"] == 3)
        rows = [row for row in workers(live) if row["sessions"]]
        assert [row["sessions"] for row in rows] == [1, 1, 1]
        assert len({row["pid"] for row in rows}) == 3
        for client in clients:
            assert client.noop()[0] == "OK"
            client.logout()
        until(lambda: not any(alive(row["pid"]) for row in rows))
        connect(live, boxes[0]).logout()


def test_a_reload_changes_the_number_of_workers_and_touches_no_session() -> None:
    with cell(workers=1) as live:
        box = live.mailbox()
        client = connect(live, box)
        set_value(live.directory, "tenants/t0.toml", "access.workers", 3)
        live.running.process.send_signal(signal.SIGHUP)
        until(lambda: gate(live)["accepting"] == 3)
        assert client.noop()[0] == "OK"
        client.logout()
