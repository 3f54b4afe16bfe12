"""`bulkhead demo`: six tenants on loopback with subscribers and mail; says what runs where and what to try next."""

import argparse
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bulkhead.cli.init import make_installation, six_isps
from bulkhead.cli.output import print_table, say, size_text
from bulkhead.cli.status import status_rows
from bulkhead.config import Installation, load_installation
from bulkhead.config.schema import INSTALLATION_FILE
from bulkhead.demo import letters
from bulkhead.demo.endpoints import Endpoint, endpoints_of, trust
from bulkhead.demo.guide import print_guide
from bulkhead.demo.people import ACCOUNTS_FILE, ACTIVE, Subscriber, make_people, read_people, write_people
from bulkhead.demo.progress import Progress
from bulkhead.demo.running import Running
from bulkhead.demo.settle import count_messages, settle
from bulkhead.errors import ConfigError, TemporaryFailure

OPERATOR = "Demo Carrier"
SEED = 20260617
VISIBLE_SECONDS = 120.0
EXCHANGED = "demo-exchanged"  # there once mail has been exchanged


def run(options: argparse.Namespace) -> int:
    """Make what is missing, run it until Ctrl-C, and stop it in order."""
    directory = Path(options.directory).absolute()
    progress = Progress()
    print("Bulkhead demo: six ISPs, each in a cell of its own, on this machine's loopback addresses", flush=True)
    if options.fresh:
        _remove(directory)
    _make(directory, progress)
    installation = load_installation(directory)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    running = Running(directory)
    try:
        progress.begin("starting six cells")
        running.wait_ready()
        progress.end("every listener accepts")
        people = read_people(directory)
        endpoints = endpoints_of(installation)
        if not (directory / EXCHANGED).exists():
            _exchange(directory, endpoints, people, progress)
        _tell(installation, directory, endpoints, people)
        while running.alive:
            time.sleep(0.5)
        raise TemporaryFailure(f"the installation ended by itself; see {running.log}", code="not-running")
    except KeyboardInterrupt:
        say("\nstopping six cells")
        return 0
    finally:
        running.stop()


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _remove(directory: Path) -> None:
    """Remove an earlier demonstration, and nothing that is not one. Raises ConfigError."""
    if not directory.exists():
        return
    if any(directory.iterdir()) and not (directory / ACCOUNTS_FILE).exists():
        raise ConfigError(f"{directory} is no demonstration (no {ACCOUNTS_FILE}): remove it yourself")
    shutil.rmtree(directory)


def _make(directory: Path, progress: Progress) -> None:
    """The installation and its subscribers' names, unless they are there. Raises ConfigError."""
    if (directory / INSTALLATION_FILE).exists():
        if not (directory / ACCOUNTS_FILE).exists():
            raise ConfigError(f"{directory} is an installation but no demonstration; name another directory with -C")
        return
    progress.begin("making the installation")
    tenants = six_isps()
    make_installation(directory, OPERATOR, tenants)
    write_people(directory, make_people(tenant.id for tenant in tenants))
    progress.end("keys, certificates, settings for six tenants")


def _exchange(
    directory: Path, endpoints: Mapping[str, Endpoint], people: Sequence[Subscriber], progress: Progress
) -> None:
    """Accounts and mail, all of it over the real roads. Raises where a message is lost or changed."""
    active = [person for person in people if person.status == ACTIVE]
    progress.begin("making accounts")
    settle(directory, people, progress.at)
    progress.end(f"{len(active)} subscribers, {len(people) - len(active)} dormant or cancelled")
    tenants = list(endpoints)
    before = sum(count_messages(directory, tenants).values())
    batches = letters.plan(endpoints, people, SEED)
    wanted = before + letters.copies(batches).total()
    context = trust(directory)
    progress.begin("sending mail by SMTP over TLS")
    sent = letters.send_all(batches, context, progress.at)
    progress.end(f"{sent} messages accepted")
    progress.begin("waiting until it is visible")
    found = letters.wait_until(
        lambda: sum(count_messages(directory, tenants).values()), wanted, VISIBLE_SECONDS, progress.at
    )
    if found < wanted:
        raise TemporaryFailure(
            f"{wanted - found} of {wanted} messages are not there after {VISIBLE_SECONDS:.0f} s: "
            f"bulkhead queue TENANT list -C {directory}"
        )
    progress.end(f"{found} copies in {len(active)} mailboxes")
    progress.begin("reading some back by IMAP")
    readers = [next(person for person in active if person.tenant == tenant) for tenant in tenants]
    equal = letters.compare(batches, readers, endpoints, context)
    progress.end(f"{equal} messages of {len(readers)} subscribers compared, octet by octet")
    (directory / EXCHANGED).touch()


def _tell(
    installation: Installation, directory: Path, endpoints: Mapping[str, Endpoint], people: Sequence[Subscriber]
) -> None:
    tenants, processes = status_rows(installation)
    print()
    head = ("TENANT", "NAME", "ADDRESS", "SMTP", "SUBMISSION", "IMAP", "POP3", "PROCESSES", "MEMORY", "LEVEL")
    rows = []
    for row in tenants:
        end = endpoints[row["tenant"]]
        memory = "-" if row["memory_bytes"] is None else size_text(row["memory_bytes"])
        count = sum(process["tenant"] == row["tenant"] for process in processes)
        ports = (end.mx, f"{end.submissions} {end.submission}", end.imaps, end.pop3s)
        rows.append((end.tenant, end.title, end.address, *ports, count, memory, row["level"] or "-"))
    print_table(head, rows)
    sizes = [row["memory_bytes"] for row in tenants if row["memory_bytes"] is not None]
    total = (
        f"{size_text(sum(sizes))} of memory (PSS)" if len(sizes) == len(tenants) else "their memory is for root to read"
    )
    levels = sorted({row["level"] for row in tenants if row["level"]}, reverse=True)
    print(f"{len(processes)} processes in {len(tenants)} cells, {total}; sandbox level {levels[0] if levels else '-'}")
    reader = next(p for p in people if p.status == ACTIVE)
    print_guide(directory, endpoints[reader.tenant], reader)
