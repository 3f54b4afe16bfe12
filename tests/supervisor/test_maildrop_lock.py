"""POP3 over the workers of a real cell: one session holds a maildrop, and a killed worker loses it at once."""

import os
import poplib
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live import Live, Mailbox

LISTENERS = {"listen.imap": 4143, "listen.pop3": 4110}
SECONDS = 20.0


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:
        live = Live(Path(directory) / "i", 1, {"access.workers": 2, **LISTENERS})
        try:
            yield live
        finally:
            live.stop()


def log_in(live: Live, box: Mailbox) -> poplib.POP3:
    """Over the listener that begins in clear."""
    client = poplib.POP3(live.endpoints["t0"].address, LISTENERS["listen.pop3"], timeout=SECONDS)
    client.stls(live.tls)
    client.user(box.address)
    client.pass_(box.password)
    return client


def test_all_workers_know_of_one_lock_and_a_killed_one_loses_it(live: Live) -> None:
    box = live.mailbox()
    holder = log_in(live, box)
    refused = 0
    for _ in range(12):  # over both workers, as the kernel shares them out
        with pytest.raises(poplib.error_proto, match="IN-USE"):
            log_in(live, box)
        refused += 1
    assert refused == 12
    with live.imap(box) as imap:
        assert imap.noop()[0] == "OK"
    for row in live.processes("t0"):
        if row["compartment"] == "access" and not row["twin"]:
            os.kill(row["pid"], signal.SIGKILL)
    ends = time.monotonic() + SECONDS
    while True:
        try:
            log_in(live, box).quit()
            break
        except (poplib.error_proto, OSError):
            assert time.monotonic() < ends, "the lock was not given back"
            time.sleep(0.2)
    holder.close()
