"""Memory of six cells, each after 1,000 deliveries and 60 logins: PSS per process, and in all.

Run: .venv/bin/python bench/bench_memory.py [DELIVERIES] [LOGINS]
"""

import collections
import concurrent.futures
import contextlib
import imaplib
import smtplib
import sys
import tempfile
import time
from pathlib import Path

from bulkhead.cli.init import make_installation, six_isps
from bulkhead.config import load_installation, set_value
from bulkhead.demo.corpus import messages
from bulkhead.demo.endpoints import Endpoint, endpoints_of, trust
from bulkhead.demo.running import Running

PASSWORD = "correct horse battery staple"
ACCOUNTS = 10
SETTLE_SECONDS = 5.0  # after the last client has gone


def pss_of(pid: int) -> int:
    """KiB of memory that this process accounts for."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def children_of(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += children_of(int(child))
    return found


def name_of(pid: int, rows: dict[int, str]) -> str:
    """What `status` calls a process."""
    return rows.get(pid, "bulkhead run")


def load(endpoint: Endpoint, directory: Path, deliveries: int, logins: int) -> None:
    """One cell's share: real SMTP, real TLS, real logins that list and read."""
    people = [f"user{number}@{endpoint.tenant}.example" for number in range(ACCOUNTS)]
    stranger = "someone@elsewhere.example"
    with smtplib.SMTP(endpoint.address, endpoint.mx, "elsewhere.example") as client:
        texts = messages(1, deliveries, stranger, people)
        for number, text in enumerate(texts):
            client.sendmail("someone@elsewhere.example", [people[number % ACCOUNTS]], text)
    context = trust(directory)
    for number in range(logins):
        client = imaplib.IMAP4_SSL(endpoint.address, endpoint.imaps, ssl_context=context)
        client.login(people[number % ACCOUNTS], PASSWORD)
        client.select("INBOX", readonly=True)
        client.fetch("1:*", "(FLAGS ENVELOPE)")
        client.fetch("1", "(BODY.PEEK[])")
        with contextlib.suppress(imaplib.IMAP4.error):
            client.logout()


def main(deliveries: int, logins: int) -> None:
    from tests.live import Live  # the command line's road, as tests use it

    with tempfile.TemporaryDirectory(prefix="bh-") as folder:
        directory = Path(folder) / "i"
        make_installation(directory, "Bench", six_isps())
        set_value(directory, "bulkhead.toml", "uid_base", 900_000)  # threads are counted per uid of the machine
        running = Running(directory)
        try:
            running.wait_ready()
            print(f"ready after {running.seconds:.2f} s")
            live = Live.__new__(Live)
            live.directory = directory
            endpoints = endpoints_of(load_installation(directory))
            for tenant in endpoints:
                live.add(tenant, [f"user{number}" for number in range(ACCOUNTS)])
            rows = {int(row["pid"]): row["compartment"] for row in live.processes() if row["pid"]}
            before = sum(pss_of(pid) for pid in children_of(running.process.pid))
            begun = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(6) as pool:
                list(pool.map(lambda one: load(one, directory, deliveries, logins), endpoints.values()))
            seconds = time.monotonic() - begun
            time.sleep(SETTLE_SECONDS)
            by_name: dict[str, list[int]] = collections.defaultdict(list)
            for pid in children_of(running.process.pid):
                by_name[name_of(pid, rows)].append(pss_of(pid))
            for name, sizes in sorted(by_name.items()):
                print(f"{name:14} {len(sizes):3} processes, {sum(sizes) / len(sizes) / 1024:6.1f} MiB each")
            total = sum(sum(sizes) for sizes in by_name.values()) / 1024
            print(f"{deliveries} deliveries and {logins} logins in each of 6 cells took {seconds:.1f} s")
            print(f"PSS of everything: {before / 1024:.0f} MiB before, {total:.0f} MiB after")
        finally:
            running.stop()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    given = [int(argument) for argument in sys.argv[1:]]
    main(*(given if len(given) == 2 else (1000, 60)))
