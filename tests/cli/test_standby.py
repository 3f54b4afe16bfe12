"""A cell with a warm standby on another address: what it answers, what the standby has, and who answers after."""

import contextlib
import imaplib
import json
import os
import shutil
import signal
import smtplib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live import Live, Mailbox, free_number, network_of, uid_base_of

from bulkhead.cli.init import make_installation
from bulkhead.cli.standby_ship import MESSAGES
from bulkhead.config import load_installation, set_value
from bulkhead.demo.endpoints import Endpoint, endpoints_of, trust
from bulkhead.demo.running import Running
from bulkhead.standby.apply import Progress

pytestmark = [pytest.mark.timeout(240)]


class Pair:
    """A primary, and a host on which its standby follows; between them a directory, or a link to an address.

    inside: makes of a command one in the standby's network.
    """

    def __init__(
        self, base: Path, mode: str, seconds: int = 3, *, address: str = "",
        inside: Callable[..., list[str]] = lambda *words: list(words),
    ) -> None:  # fmt: skip
        self.base, self.place, self.there = base, base / "place", base / "there"
        self.address, self._inside = address, inside
        made = subprocess.run(
            [sys.executable, "-m", "bulkhead.cli.main", "standby", "key", "t0", "--out", str(base / "standby.key")],
            capture_output=True, check=True, text=True,
        ).stdout  # fmt: skip
        witness, opening = (line.split('"')[1] for line in made.splitlines()[1:])
        pinned = {"pinned.standby_witness": witness, "pinned.standby_key": opening}
        standby = {"standby.mode": mode, "standby.lease_seconds": seconds}
        self.live = Live(base / "here", tenants=1, settings={**pinned, **standby})
        make_installation(self.there, "Another carrier", [])
        shutil.copy(self.live.directory / "example.zone", self.there / "example.zone")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.promoted: Running | None = None
        self.follow()
        if address:
            self.make_link()
        self.ship()
        self.wait_leased()

    def make_link(self) -> None:
        for side in ("primary", "standby"):
            command = [sys.executable, "-m", "bulkhead.cli.main", "standby", "link-key", "t0"]
            made = subprocess.run([*command, "--out", str(self.base / f"{side}.link")], capture_output=True, check=True)
            (self.base / f"{side}.crt").write_bytes(made.stdout)
        self.serve()

    def serve(self) -> None:
        self.start("serve", "--at", self.address, "--place", str(self.place), *self._link("standby", "primary"))

    def _link(self, own: str, other: str) -> tuple[str, ...]:
        return "--identity", str(self.base / f"{own}.link"), "--peer", str(self.base / f"{other}.crt")

    def start(self, name: str, *words: str) -> None:
        log = (self.base / f"{name}.log").open("ab")
        command = [sys.executable, "-m", "bulkhead.cli.main", "standby", name, "t0", *words]
        command = self._inside(*command) if name == "serve" else command
        self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()

    def ship(self) -> None:
        way = (f"tls://{self.address}", *self._link("primary", "standby")) if self.address else (str(self.place),)
        self.start("ship", "--to", *way, "-C", str(self.live.directory))

    def follow(self) -> None:
        key = str(self.base / "standby.key")
        self.start("follow", "--from", str(self.place), "--key", key, "-C", str(self.there))

    def follow_again(self) -> "subprocess.CompletedProcess[bytes]":
        """Try to make a standby of what was promoted."""
        words = ["standby", "follow", "t0", "--from", str(self.place), "--key", str(self.base / "standby.key")]
        command = [sys.executable, "-m", "bulkhead.cli.main", *words, "-C", str(self.there)]
        return subprocess.run(command, capture_output=True, check=False, timeout=30)

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(60)

    def deliver(self, mailbox: Mailbox, text: str) -> None:
        with self.live.mx() as client:
            client.sendmail("a@elsewhere.example", [mailbox.address], f"Subject: {text}\r\n\r\n{text}\r\n")

    def wait_leased(self, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rows = self.live.json("standby", "status", "t0", check=False)["streams"]
            if all(row["lease"] and row["stream"] for row in rows):
                return
            time.sleep(0.2)
        raise AssertionError(f"no lease: {rows} {(self.base / 'ship.log').read_text()}")

    def progress(self, compartment: str) -> Progress:
        return Progress.load(self.there / "cells" / "t0" / "standby" / f"{compartment}.json")

    def messages(self) -> int:
        """Messages that the standby has."""
        path = self.there / "cells" / "t0" / "store" / "store.sqlite"
        if not path.exists():
            return 0
        with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM message").fetchone()[0])

    def pids(self) -> list[int]:
        """Every process of the primary, and its carrier."""
        cell = self.live.json("status", check=False)
        found = [int(row["pid"]) for row in cell["processes"] if row["pid"]]
        supervisor = int(cell["tenants"][0]["pid"])
        images = [int(pid) for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()]
        return [self.processes["ship"].pid, supervisor, *images, *found]

    def promote(self, network: str, *, start: bool = True) -> dict[str, Any]:
        """Promote the standby, and start it."""
        self.end("follow")
        keys = self.live.directory / "recovery" / "t0"
        words = ["standby", "promote", "t0", "--from", str(self.place), "--key", str(self.base / "standby.key")]
        words += ["--partner-key", str(keys / "partner.key"), "--operator-key", str(keys / "operator.key")]
        words += ["--address", network, "--json", "-C", str(self.there)]
        done = subprocess.run(
            [sys.executable, "-m", "bulkhead.cli.main", *words], capture_output=True, check=False, timeout=100
        )
        assert not done.returncode, done.stderr.decode()
        report: dict[str, Any] = json.loads(done.stdout)
        set_value(self.there, "bulkhead.toml", "uid_base", uid_base_of(free_number()))
        if start:
            self.promoted = Running(self.there)
            self.promoted.wait_ready()
        return report

    @property
    def endpoint(self) -> Endpoint:
        """The primary's."""
        return self.live.endpoints["t0"]

    def client(self) -> smtplib.SMTP:
        """A client of the promoted cell."""
        endpoint = endpoints_of(load_installation(self.there))["t0"]
        return smtplib.SMTP(endpoint.address, endpoint.mx, "client.example", timeout=30)

    def close(self) -> None:
        if self.promoted is not None:
            self.promoted.stop()
        for name in list(self.processes):
            self.end(name, signal.SIGKILL)
        self.live.running.stop()


@contextlib.contextmanager
def pair_of(base: Path, mode: str, *, link: bool = False) -> Iterator[Pair]:
    pair = Pair(base, mode, address=f"{network_of(free_number())}.8:4190" if link else "")
    try:
        yield pair
    finally:
        pair.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair_of(tmp_path_factory.mktemp("s"), "async", link=True) as pair:
        yield pair


def test_what_a_cell_answers_is_at_its_standby_soon_and_sealed_on_the_way(pair: Pair) -> None:
    anna = pair.live.mailbox()
    for number in range(5):
        pair.deliver(anna, f"letter {number}")
    ended = time.monotonic() + 60
    while time.monotonic() < ended and pair.messages() < 5:
        time.sleep(0.1)
    assert pair.messages() == 5
    for compartment in MESSAGES:
        assert pair.progress(compartment).whole
    findings = pair.live.json("doctor", check=False)["findings"]
    assert [row["state"] for row in findings if row["matter"] == "standby"] == ["ok"]
    for path in pair.place.rglob("*.piece"):
        assert anna.address.encode() not in path.read_bytes()
    assert not (pair.there / "cells" / "t0" / "keyring" / "keys.sealed").exists()


@pytest.mark.slow
def test_without_a_lease_nothing_is_answered_and_what_is_stored_can_be_read(pair: Pair) -> None:
    anna = pair.live.mailbox()
    pair.deliver(anna, "before")
    os.kill(pair.processes["follow"].pid, signal.SIGSTOP)
    try:
        time.sleep(4)
        findings = pair.live.json("doctor", check=False)["findings"]
        assert [row["state"] for row in findings if row["matter"] == "standby"] == ["bad"]
        with pytest.raises(smtplib.SMTPException) as refused:
            pair.deliver(anna, "meanwhile")
        assert "451" in str(refused.value) or "450" in str(refused.value)
        with pair.live.imap(anna) as client:
            _, (count,) = client.select("INBOX", readonly=True)
            assert int(count or b"0") >= 1
    finally:
        os.kill(pair.processes["follow"].pid, signal.SIGCONT)
    pair.wait_leased()
    pair.deliver(anna, "after")


@pytest.mark.slow
def test_a_primary_that_was_paused_answers_nothing_once_its_standby_took_over(pair: Pair) -> None:
    anna = pair.live.mailbox()
    for number in range(10):
        pair.deliver(anna, f"letter {number}")
    time.sleep(7)  # what was set in the last seconds must be set again, as nobody knows that the standby has it
    with contextlib.closing(smtplib.SMTP(pair.endpoint.address, pair.endpoint.mx, timeout=30)) as waiting:
        waiting.ehlo()
        waiting.mail("a@elsewhere.example")
        waiting.rcpt(anna.address)
        assert waiting.docmd("DATA")[0] == 354
        waiting.send(b"Subject: in between\r\n\r\nin between\r\n")
        pids = pair.pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            waiting.send(b".\r\n")
            report = pair.promote(network_of(free_number()) + ".9")
            assert report["term"] == 1
            assert not report["handed_over"]
            assert (report["must_reset"], report["halves_apart"]) == (0, 0)
            with pair.client() as client:
                client.sendmail("a@elsewhere.example", [anna.address], "Subject: later\r\n\r\nlater\r\n")
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        code, _ = waiting.getreply()
        assert 400 <= code < 500
    with pytest.raises(smtplib.SMTPException):
        pair.deliver(anna, "at the old one")
    assert pair.processes.pop("ship").wait(60) == 4
    assert (pair.live.directory / "cells" / "t0" / "superseded").exists()
    there = endpoints_of(load_installation(pair.there))["t0"]
    with imaplib.IMAP4_SSL(there.address, there.imaps, ssl_context=trust(pair.there), timeout=30) as client:
        client.login(anna.address, anna.password)
        _, (count,) = client.select("INBOX")
        assert int(count or b"0") == 11
    pair.live.running.stop()
    refused = pair.live.command("cell", "run", "t0", check=False)
    assert refused.returncode == 2
    assert b"took over" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("link", [False, True], ids=["directory", "link"])
def test_a_hand_over_loses_nothing_across_a_killed_holder_and_a_rotation(tmp_path: Path, *, link: bool) -> None:
    with pair_of(tmp_path, "sync", link=link) as pair:
        anna = pair.live.mailbox()
        for number in range(5):
            pair.deliver(anna, f"letter {number}")
        before = pair.progress("store").stream
        killed = pair.live.pid("t0", "store")
        os.kill(killed, signal.SIGKILL)
        pair.live.wait_pid("t0", "store", killed)
        pair.wait_leased()
        pair.deliver(anna, "on the new base")
        assert pair.progress("store").stream != before
        pair.live.command("credentials", "rotate", "t0", "--emergency")
        pair.wait_leased()
        pair.live.command("standby", "hand-over", "t0")
        assert pair.processes.pop("ship").wait(60) == 0
        with pytest.raises(smtplib.SMTPException):
            pair.deliver(anna, "too late")
        ended = time.monotonic() + 60
        while time.monotonic() < ended and not all(pair.progress(name).ended for name in MESSAGES):
            time.sleep(0.1)
        report = pair.promote(network_of(free_number()) + ".9")
        assert (report["handed_over"], report["halves_apart"], report["must_reset"]) == (True, 0, 0)
        assert report["waited"] < 1
        assert pair.messages() == 6
        there = endpoints_of(load_installation(pair.there))["t0"]
        with imaplib.IMAP4_SSL(there.address, there.imaps, ssl_context=trust(pair.there), timeout=30) as client:
            client.login(anna.address, anna.password)  # by keys that were made since the standby began
            _, (count,) = client.select("INBOX")
            assert int(count or b"0") == 6
        again = pair.follow_again()
        assert again.returncode == 2
        assert b"not empty" in again.stderr
