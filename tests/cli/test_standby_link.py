"""A primary and its standby in two networks: the link is cut in the middle, comes back, and the primary is killed."""

import contextlib
import os
import re
import signal
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_site_loss import IP, Network, imap, wait_port
from tests.cli.test_standby import Pair
from tests.live import PASSWORD, PORTS, Mailbox, free_number, network_of

from bulkhead.cli.standby_ship import MESSAGES

NEEDED = pytest.mark.skipif(
    os.geteuid() != 0 or IP is None, reason="two network namespaces take root, and iproute2's ip"
)


@pytest.fixture
def network() -> Iterator[Network]:
    number = free_number()
    made = Network(f"bh{number}s", 2 * (number % 120))
    try:
        yield made
    finally:
        for pid in subprocess.run(
            [str(IP), "netns", "pids", made.name], capture_output=True, check=False, text=True
        ).stdout.split():  # fmt: skip
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        made.remove()


class Sender(threading.Thread):
    """Sends one numbered message after another, and knows which had a 250."""

    def __init__(self, pair: Pair, mailbox: Mailbox) -> None:
        super().__init__(daemon=True)
        self._pair, self._mailbox = pair, mailbox
        self.answered: list[int] = []
        self.refused = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        endpoint, number = self._pair.endpoint, 0
        while not self.stopped.is_set():
            with contextlib.suppress(OSError, smtplib.SMTPServerDisconnected), smtplib.SMTP(
                endpoint.address, endpoint.mx, "client.example", timeout=20
            ) as client:  # fmt: skip
                while not self.stopped.is_set():
                    number += 1
                    text = f"Subject: number {number}\r\n\r\n{'x' * 3000}\r\n"
                    try:
                        client.sendmail("a@elsewhere.example", [self._mailbox.address], text)
                        self.answered.append(number)
                    except smtplib.SMTPResponseException:
                        self.refused += 1
                        time.sleep(0.1)


def wait_until(what: str, true: object, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]  # a function without arguments
        assert time.monotonic() < end, what
        time.sleep(0.1)


@pytest.mark.slow
@NEEDED
@pytest.mark.timeout(240)
def test_no_answered_message_is_lost_when_the_link_is_cut_and_then_the_primary_dies(
    network: Network, tmp_path: Path
) -> None:
    pair = Pair(tmp_path, "sync", address=f"{network.address}:4190", inside=network.inside)
    try:
        anna = pair.live.mailbox()
        time.sleep(7)  # a password of the last seconds before the end must be set again
        sender = Sender(pair, anna)
        sender.start()
        wait_until("some are answered", lambda: len(sender.answered) >= 20)
        link = network.name[:12]
        subprocess.run([str(IP), "link", "set", link, "down"], check=True)
        wait_until("without a lease and its standby none is", lambda: sender.refused > 3)
        before = len(sender.answered)
        refused = sender.refused
        wait_until("more are refused", lambda: sender.refused > refused + 5)
        assert len(sender.answered) == before
        subprocess.run([str(IP), "link", "set", link, "up"], check=True)
        wait_until("it goes on", lambda: len(sender.answered) > before + 20)
        for pid in pair.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        sender.stopped.set()
        sender.join(60)
        report = pair.promote(network.address, start=False)
        assert not report["handed_over"]
        assert (report["must_reset"], report["halves_apart"]) == (0, 0)
        with (tmp_path / "there.log").open("wb") as log:
            subprocess.Popen(
                network.inside(sys.executable, "-m", "bulkhead.cli.main", "run", "-C", str(pair.there)),
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_port(network.address, int(str(PORTS["listen.imaps"])))
        with smtplib.SMTP(network.address, int(str(PORTS["listen.mx"])), "client.example", timeout=30) as client:
            client.sendmail("a@elsewhere.example", [anna.address], "Subject: number 0\r\n\r\nat the new one\r\n")
        with imap(network.address, pair.there, anna.address) as mailbox:
            _, found = mailbox.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        there = {
            int(number) for part in found if isinstance(part, tuple) for number in re.findall(rb"number (\d+)", part[1])
        }
        assert set(sender.answered) - there == set()
        assert 0 in there
    finally:
        pair.close()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_cell_ships_through_a_link_that_a_killed_receiver_interrupts(tmp_path: Path) -> None:
    """Without root: the receiver is killed and comes back, and the same streams go on."""
    pair = Pair(tmp_path, "sync", address=f"{network_of(free_number())}.8:4190")
    try:
        anna = pair.live.mailbox()
        pair.deliver(anna, "before")
        before = {name: pair.progress(name).stream for name in MESSAGES}
        pair.end("serve", signal.SIGKILL)
        pair.serve()
        pair.wait_leased()
        pair.deliver(anna, "after")
        assert {name: pair.progress(name).stream for name in MESSAGES} == before
        assert PASSWORD not in (tmp_path / "serve.log").read_text()
    finally:
        pair.close()
