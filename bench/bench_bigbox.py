"""One big mailbox: what each operation on all of it costs, what memory it takes, and what a neighbour feels of it.

Real mail is delivered over SMTP and doubled with IMAP COPY until the INBOX has `--messages`; copies share their sealed
parts and count as messages everywhere else. A second account meanwhile asks STATUS and stores a flag by turns, on its
own connection; its slowest answers are what "neighbour" says. Memory is sampled every 50 ms.

Run: python -m bench.bench_bigbox [--messages 1000000] [--output FILE]          figures: docs/performance.md
"""

import argparse
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `make bench` runs this as a file

from bench.bulkhead_cell import BulkheadCell
from bench.figures import wait_for_rest
from bench.imap_client import ImapClient, Refusal
from bench.machine import describe
from bench.mail_mix import MailMix
from bench.process_cpu import by_name, tree_usage
from bench.server import DOMAIN, PASSWORD, USERS, loopback_network
from bench.smtp_load import SmtpLoad

SCHEMA = "bulkhead-bench/bigbox/1"
UID_BASE = 730_000
OWNER, NEIGHBOUR = USERS[0], USERS[1]
SAMPLE_SECONDS = 0.05
FILL_CONNECTIONS = 8


@dataclass
class Memory:
    """The largest resident set of each compartment while it is watched, MiB."""

    pids: dict[int, str]
    peak: dict[str, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Until stop()."""
        while not self._stop.wait(SAMPLE_SECONDS):
            for pid, name in self.pids.items():
                with suppress(OSError, StopIteration):
                    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                    size = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))
                    self.peak[name] = max(self.peak.get(name, 0.0), size)

    def stop(self) -> None:
        """No more samples."""
        self._stop.set()


@dataclass
class Watch:
    """A neighbour's answers: seconds each took, reads and writes apart."""

    address: str
    port: int
    reads: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until stop()."""
        client = ImapClient(self.address, self.port)
        client.login(f"{NEIGHBOUR}@{DOMAIN}", PASSWORD)
        client.ask("SELECT INBOX")
        turn = 0
        while not self._stop.wait(0.01):
            turn += 1
            for taken, command in (
                (self.reads, "STATUS INBOX (MESSAGES UNSEEN)"),
                (self.writes, f"STORE 1 {'+-'[turn % 2]}FLAGS.SILENT (\\Flagged)"),
            ):
                begun = time.perf_counter()
                client.ask(command)
                taken.append(time.perf_counter() - begun)
        client.leave()

    def stop(self) -> None:
        """No more questions."""
        self._stop.set()


def worst(taken: list[float]) -> tuple[float, float]:
    """p99 and maximum, ms."""
    ordered = sorted(taken) or [0.0]
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000, 1), round(ordered[-1] * 1000, 1)


class BigBox:
    """The cell, the owner's connection, and what was measured."""

    def __init__(self, cell: BulkheadCell, messages: int) -> None:
        self.cell, self.messages = cell, messages
        self.rows: list[dict[str, Any]] = []
        self.client = self._connect()

    def _connect(self) -> ImapClient:
        client = ImapClient(self.cell.address, self.cell.imaps)
        client.login(f"{OWNER}@{DOMAIN}", PASSWORD)
        return client

    def fill(self) -> None:
        """Deliver, file, and double."""
        base = self.messages
        while base > 4000:
            base = -(-base // 2)
        mix = MailMix(shares=(1, 0, 0))
        for user, count in ((OWNER, base), (NEIGHBOUR, 10)):
            load = SmtpLoad(mix.message, lambda _, user=user: f"{user}@{DOMAIN}", range(count), b"EHLO")
            uvloop.run(load.run(self.cell.address, self.cell.smtp, FILL_CONNECTIONS))
            if load.refusals:
                raise OSError(f"refused: {load.refusals[0]}")
        self.client.ask("SELECT INBOX")
        wait_for_rest(self.cell)
        have = base
        while have < self.messages:
            more = min(have, self.messages - have)
            if have + more < self.messages:
                self.client.ask(f"COPY 1:{more} INBOX")
            else:
                self.row(f"COPY 1:{more}", more, lambda more=more: self.client.ask(f"COPY 1:{more} INBOX"))
            self.client.ask("NOOP")
            have += more

    def row(self, name: str, units: int, work: Callable[[], object]) -> None:
        """Measure one operation, with a neighbour and the memory watched."""
        names = {pid: name for pid, name in self.cell.names().items() if name in ("access", "store", "keyring")}
        memory, neighbour = Memory(names), Watch(self.cell.address, self.cell.imaps)
        threads = [threading.Thread(target=watch) for watch in (memory.watch, neighbour.run)]
        refused = ""

        def guarded() -> None:
            nonlocal refused
            try:
                work()
            except Refusal as error:
                refused = str(error)

        for thread in threads:
            thread.start()
        time.sleep(0.5)
        neighbour.reads.clear()
        neighbour.writes.clear()
        roots = self.cell.roots()
        before = {root: tree_usage(root) for root in roots}
        begun = time.perf_counter()
        guarded()
        wall = time.perf_counter() - begun
        used = [by_name(before[root], tree_usage(root), names) for root in roots]
        cpu = {name: round(sum(one.get(name, 0.0) for one in used), 3) for name in names.values()}
        reads, writes = worst(neighbour.reads), worst(neighbour.writes)
        neighbour.stop()
        threads[1].join()
        wait_for_rest(self.cell)
        memory.stop()
        threads[0].join()
        self.rows.append({
            "row": name, "units": units, "wall_s": round(wall, 3),
            "rss_mib": {compartment: round(size, 1) for compartment, size in memory.peak.items()},
            "neighbour_read_ms": reads, "neighbour_write_ms": writes, "cpu_s": cpu, "refused": refused,
        })  # fmt: skip
        say(json.dumps(self.rows[-1]))

    def run(self) -> None:
        """Every operation."""
        count, client = self.messages, self.client
        client.ask("UNSELECT")
        self.row("SELECT, first", count, lambda: client.ask("SELECT INBOX"))
        client.ask("UNSELECT")
        self.row("SELECT", count, lambda: client.ask("SELECT INBOX"))
        state = client.text("STATUS INBOX (UIDVALIDITY HIGHESTMODSEQ)")
        validity, modseq = (int(re.findall(word + rb" (\d+)", state)[-1]) for word in (b"UIDVALIDITY", b"MODSEQ"))
        for number in range(1, 11):
            client.ask(f"STORE {number * count // 11} +FLAGS (\\Flagged)")
        other = self._connect()
        other.ask("ENABLE QRESYNC")
        self.row(
            "SELECT QRESYNC after 10 changes", 10, lambda: other.ask(f"SELECT INBOX (QRESYNC ({validity} {modseq}))")
        )
        other.leave()
        self.row("FETCH 1:* FLAGS", count, lambda: client.ask("FETCH 1:* (FLAGS)"))
        self.row("FETCH 1:* UID RFC822.SIZE", count, lambda: client.ask("FETCH 1:* (UID RFC822.SIZE)"))
        self.row("FETCH 1:* ENVELOPE", count, lambda: client.ask("FETCH 1:* (ENVELOPE)"))
        self.row("STORE 1:* +FLAGS.SILENT", count, lambda: client.ask("STORE 1:* +FLAGS.SILENT (\\Seen)"))
        self.row("STORE 1:* +FLAGS", count, lambda: client.ask("STORE 1:* +FLAGS (\\Answered)"))
        client.ask("CREATE Half")
        self.row("MOVE of a tenth", count // 10, lambda: client.ask(f"MOVE 1:{count // 10} Half"))
        client.ask("NOOP")
        half = f"1:{count // 2}"
        self.row("STORE \\Deleted on half", count // 2, lambda: client.ask(f"STORE {half} +FLAGS.SILENT (\\Deleted)"))
        self.row("EXPUNGE of half", count // 2, lambda: client.ask("EXPUNGE"))
        client.leave()


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| operation | messages | wall, s | store CPU, s | access CPU, s | access RSS, MiB | store RSS, MiB "
             "| neighbour reads p99 / max, ms "
             "| neighbour writes p99 / max, ms |", "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for row in rows:
        memory, reads, writes = row["rss_mib"], row["neighbour_read_ms"], row["neighbour_write_ms"]
        refused = " (refused)" if row["refused"] else ""
        lines.append(
            f"| {row['row']}{refused} | {row['units']} | {row['wall_s']:.2f} |"
            f" {row['cpu_s']['store']:.2f} | {row['cpu_s']['access']:.2f} | {memory.get('access', 0):.0f} |"
            f" {memory.get('store', 0):.0f} | {reads[0]:g} / {reads[1]:g} | {writes[0]:g} / {writes[1]:g} |"
        )
    return "\n".join(lines)


def say(text: str) -> None:
    """Progress."""
    print(f"bench-bigbox: {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print the table, write the raw figures."""
    parser = argparse.ArgumentParser(prog="bench-bigbox")
    parser.add_argument("--messages", type=int, default=50_000, help="messages of the mailbox (default: 50000)")
    parser.add_argument("--directory", default=None, help="where the cell keeps its mail (default: /tmp)")
    parser.add_argument("--output", type=Path, default=None, help="a file for the raw figures, JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.directory) as name:
        directory = Path(name)
        directory.chmod(0o755)
        machine = describe(directory)
        cell = BulkheadCell(directory / "cell", f"{loopback_network(os.getpid())}.1", UID_BASE, quota_bytes=1 << 40)
        try:
            box = BigBox(cell, options.messages)
            box.fill()
            box.run()
        finally:
            cell.stop()
    print(table(box.rows))
    if options.output:
        result = {"schema": SCHEMA, "taken": time.strftime("%Y-%m-%d"), "machine": machine, "server": cell.name,
                  "messages": options.messages, "rows": box.rows}  # fmt: skip
        options.output.write_text(json.dumps(result, indent=1) + "\n")
        say(f"wrote {options.output}")


if __name__ == "__main__":
    main()
