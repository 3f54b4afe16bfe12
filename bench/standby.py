"""A warm standby: what deliveries cost, what is lost when the primary dies under load, how soon the other one serves.

    python -m bench.standby [--seconds 8] [--clients 4] [--accounts 200] [--rounds 5] [--output FILE]

Real cells on loopback addresses; the place is a directory of the same disk, mounted or behind a link (`_link`) of the
loopback, so no network's time is in it. `off`, `async` and `sync` are each a cell of its own under the same load: every
client sends one message after another to mx and counts 250s. Then every process of the primary is killed under load, at
once, and its standby is promoted; a message is lost that had its 250 and is not there. The wait for the lease is told
apart: it is what `standby.lease_seconds` says.
"""

import argparse
import contextlib
import json
import os
import signal
import smtplib
import sqlite3
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.cli.test_standby import Pair, pair_of
from tests.live import Live, Mailbox, free_number, network_of

from bulkhead.demo.endpoints import Endpoint

BODY = "x" * 70 + "\r\n"


class Load:
    """Clients that send to one mailbox until they are stopped, or the connection dies."""

    def __init__(self, endpoint: Endpoint, mailbox: Mailbox, clients: int) -> None:
        self._endpoint, self._address = endpoint, mailbox.address
        self.answered: list[float] = []  # when each 250 came
        self.took: list[float] = []
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(clients)]

    def run(self, seconds: float) -> None:
        """Send for so long."""
        self.start()
        time.sleep(seconds)
        self.stop()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    def _send(self) -> None:
        text = f"Subject: a letter\r\n\r\n{BODY * 40}"
        with contextlib.suppress(OSError, smtplib.SMTPException):
            client = smtplib.SMTP(self._endpoint.address, self._endpoint.mx, "client.example", timeout=20)
            while not self._stopped.is_set():
                began = time.monotonic()
                client.sendmail("a@elsewhere.example", [self._address], text)
                self.answered.append(time.time())
                self.took.append(time.monotonic() - began)


def rate_of(load: Load, seconds: float) -> dict[str, float]:
    times = sorted(load.took)
    return {
        "messages_per_second": round(len(times) / seconds, 1),
        "median_ms": round(statistics.median(times) * 1000, 2),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 2),
    }


def measure(live: Live, clients: int, seconds: float) -> dict[str, float]:
    mailbox = live.mailbox()
    Load(live.endpoints["t0"], mailbox, clients).run(1.0)  # warm
    load = Load(live.endpoints["t0"], mailbox, clients)
    load.run(seconds)
    return rate_of(load, seconds)


def side_by_side(base: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Both transports in `sync`, by turns, so that what else the machine does meets both; the medians."""
    (base / "d").mkdir()
    (base / "l").mkdir()
    rounds: dict[str, list[dict[str, float]]] = {"directory": [], "link": []}
    with pair_of(base / "d", "sync") as directory, pair_of(base / "l", "sync", link=True) as link:
        loads = [os.getloadavg()[0]]
        for _ in range(options.rounds):
            for name, pair in (("directory", directory), ("link", link)):
                rounds[name].append(measure(pair.live, options.clients, options.seconds / 2))
            loads.append(os.getloadavg()[0])
    medians = {
        name: {key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]}
        for name, rows in rounds.items()
    }
    return {"rounds": options.rounds, "load": [min(loads), max(loads)], **medians}


def lose(pair: Pair, clients: int, seconds: float) -> dict[str, Any]:
    """Kill the primary under load, promote, and count."""
    mailbox = pair.live.mailbox()
    time.sleep(6)
    before = _messages(pair.there)
    load = Load(pair.live.endpoints["t0"], mailbox, clients)
    load.start()
    time.sleep(seconds)
    pids = pair.pids()
    killed = time.time()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    load.stop()
    acknowledged = len(load.answered)
    began = time.monotonic()
    report = pair.promote(network_of(free_number()) + ".9")
    ready = time.monotonic() - began
    with pair.client() as client:
        client.sendmail("a@elsewhere.example", [mailbox.address], "Subject: first\r\n\r\nfirst\r\n")
    served = time.monotonic() - began
    there = _messages(pair.there) - before - 1
    return {
        "acknowledged": acknowledged, "there": there, "lost": max(0, acknowledged - there),
        "loss_window_ms": round(killed * 1000 - report["mark"], 1), "waited_for_lease_s": report["waited"],
        "applied_s": report["applied"], "promote_s": report["seconds"], "cell_started_s": round(ready, 2),
        "first_250_s": round(served, 2), "without_lease_s": round(served - report["waited"], 2),
        "accounts": report["accounts"], "must_reset": report["must_reset"],
    }  # fmt: skip


def _messages(directory: Path) -> int:
    path = directory / "cells" / "t0" / "store" / "store.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM message").fetchone()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    figures: dict[str, Any] = {"clients": options.clients, "load": os.getloadavg()[0], "cpus": os.cpu_count()}
    with tempfile.TemporaryDirectory() as base:
        live = Live(Path(base) / "off", tenants=1)
        figures["off"] = measure(live, options.clients, options.seconds)
        live.running.stop()
        for name in ("async", "async_link", "sync", "sync_link"):
            (Path(base) / name).mkdir()
            mode, _, link = name.partition("_")
            with pair_of(Path(base) / name, mode, link=bool(link)) as pair:
                pair.live.add("t0", [f"more{number}" for number in range(options.accounts)])
                load = os.getloadavg()[0]
                figures[name] = {**measure(pair.live, options.clients, options.seconds), "load": load}
                figures[f"{name}_killed"] = lose(pair, options.clients, 3.0)
            ratio = figures[name]["messages_per_second"] / figures["off"]["messages_per_second"]
            figures[name]["of_off"] = round(ratio, 3)
        figures["side_by_side"] = side_by_side(Path(base), options)
    text = json.dumps(figures, indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
