"""SEARCH, SORT and THREAD in one cell whose compartments share a process: processor and wall seconds of each command.

Run: .venv/bin/python -m bench.imap_search [MESSAGES]. The mail is that of mail_mix; the longest time that another
session's NOOP took meanwhile is printed as `other`, in milliseconds.
"""

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench.mail_mix import MailMix
from tests.access.cell import Cell, Raw

DELIVERED_AT_ONCE = 500
COMMANDS = (
    "SEARCH SUBJECT nothing-here",
    "SEARCH BODY nothing-here",
    "SEARCH BODY nothing-here",
    "SEARCH BODY harbour",
    "SEARCH TEXT nothing-here",
    "SORT (SUBJECT) UTF-8 ALL",
    "SORT (DATE) UTF-8 ALL",
    "SORT (ARRIVAL) UTF-8 ALL",
    "SORT (FROM REVERSE DATE) UTF-8 ALL",
    "THREAD REFERENCES UTF-8 ALL",
    "THREAD ORDEREDSUBJECT UTF-8 ALL",
    "FETCH 1:50 PREVIEW",
)


class Other:
    """A second session that asks for nothing, again and again."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._ended = False
        self.longest = 0.0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended:
            before = time.perf_counter()
            self._raw.command("NOOP")
            self.longest = max(self.longest, time.perf_counter() - before)
            time.sleep(0.002)

    def end(self) -> float:
        """Seconds that the slowest answer took."""
        self._ended = True
        self._thread.join()
        return self.longest


def main(messages: int) -> None:
    """Print one line of JSON for each command."""
    cell = Cell(Path(tempfile.mkdtemp(prefix="imap-search-")))
    mix = MailMix()
    account = cell.add_account(quota=0)
    for start in range(0, messages, DELIVERED_AT_ONCE):
        stop = min(messages, start + DELIVERED_AT_ONCE)
        cell.deliver(account, *(mix.message(number) for number in range(start, stop)))
    raw, other = cell.raw(account), cell.raw(account)
    raw.command("SELECT INBOX")
    while cell.arrived(account):
        raw.command("NOOP")
        time.sleep(0.2)
    for command in COMMANDS:
        watcher = Other(other)
        cpu, wall = time.process_time(), time.perf_counter()
        done = raw.command(command)[-1]
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        line = {"messages": messages, "command": command, "wall": round(wall, 3), "cpu": round(cpu, 3)}
        print(json.dumps(line | {"other": round(watcher.end() * 1000, 1), "ok": b" OK " in done}), flush=True)
    os.chdir("/")
    cell.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
