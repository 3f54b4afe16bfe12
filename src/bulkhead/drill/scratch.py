"""Makes the range: six tenants in a temporary directory, on a loopback network and uids that nobody else has."""

import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bulkhead.cli.init import EXAMPLE_PORTS, EXAMPLE_SIX, EXAMPLE_WORKERS, ZONE_FILE, make_installation
from bulkhead.cli.make_tenant import NewTenant
from bulkhead.config import set_value
from bulkhead.demo.people import ACTIVE, CANCELLED, DORMANT
from bulkhead.demo.running import Running
from bulkhead.demo.settle import count_messages, settle
from bulkhead.drill.leftovers import marked_directory, remove_leftovers
from bulkhead.drill.range import OUTSIDE, Account, Letter, Range, letter_octets
from bulkhead.errors import ConfigError, TemporaryFailure
from bulkhead.identifiers import DomainName, TenantId

SILENT = "silent.example"  # no mail host of it accepts a connection: mail to it stays queued
LOCAL_PARTS = ("ayame", "botan", "kaede", "momiji")  # active, in every tenant
AWAY = {"sumire": DORMANT, "tsubaki": CANCELLED}
LETTERS = 3  # to each active account
QUEUED = 2  # of each tenant
SETTLE_SECONDS = 30.0
POLL_SECONDS = 0.05
CONNECTIONS = 6  # at once
NETWORKS = 5_000
UID_FIRST, UIDS = 40_000_000, 1024
_TRIES = 20


@contextlib.contextmanager
def scratch_range(say: Callable[[str], None] = lambda _: None) -> Iterator[Range]:
    """The range, up and full of canaries, with live sessions at every gate; all of it is gone at the end.

    say: told what is being done, in words. Raises ConfigError, TemporaryFailure where it does not come up.
    """
    for path in remove_leftovers():
        say(f"removed {path}, left by a drill that was killed")
    with marked_directory("bh-") as (base, held):  # short: a socket's path has 108 bytes
        base.chmod(0o711)
        directory = base / "i"
        say("making a scratch installation of six tenants")
        _make(directory)
        say("starting six cells")
        running = Running(directory, held)
        try:
            running.wait_ready()
            say("accounts, mail, queued mail")
            accounts = _accounts(tenant for tenant, _ in EXAMPLE_SIX)
            settle(directory, [account.subscriber for account in accounts], lambda *_: None)
            full, queued = _fill(Range(directory, EXAMPLE_SIX[0][0], accounts, {}))
            range_ = Range(directory, EXAMPLE_SIX[0][0], full, queued)
            with contextlib.closing(range_), live_sessions(range_):
                yield range_
        finally:
            running.stop()


def _make(directory: Path) -> None:
    number, network = _free_network()
    tenants = [
        NewTenant(
            TenantId(name), slot, DomainName(f"{name}.example"), f"{network}.{slot + 1}", title,
            {**EXAMPLE_PORTS, **EXAMPLE_WORKERS, "courier.allow_networks": (f"{network}.0/24",),
             "resolver.zone_file": ZONE_FILE, "auth.failure_seconds": 0.2, "queue.retry_first_seconds": 600},
        )
        for slot, (name, title) in enumerate(EXAMPLE_SIX)
    ]  # fmt: skip
    make_installation(directory, "Drill", tenants)
    set_value(directory, "bulkhead.toml", "uid_base", UID_FIRST + number * UIDS)
    with (directory / ZONE_FILE).open("a", encoding="ascii") as zone:
        zone.write(f"{SILENT}. IN MX 10 mx.{SILENT}.\nmx.{SILENT}. IN A {network}.250\n")


def _free_network() -> tuple[int, str]:
    """A number and its loopback network, on which nobody listens. Raises ConfigError."""
    for _ in range(_TRIES):
        number = secrets.randbelow(NETWORKS)
        network = f"127.{220 + number // 250}.{number % 250 + 2}"
        with socket.socket() as trial:
            try:
                trial.bind((f"{network}.1", EXAMPLE_PORTS["listen.mx"]))
            except OSError:
                continue
            return number, network
    raise ConfigError("no free loopback network for the drill")


def _accounts(tenants: Iterable[str]) -> list[Account]:
    statuses = {**dict.fromkeys(LOCAL_PARTS, ACTIVE), **AWAY}
    return [
        Account(tenant, f"{name}@{tenant}.example", f"drill-{secrets.token_hex(8)}", status)
        for tenant in tenants
        for name, status in statuses.items()
    ]


def _fill(range_: Range) -> tuple[list[Account], dict[str, list[Letter]]]:
    """Mail for every active account, and mail in every queue. Raises TemporaryFailure where it does not come."""
    full = [
        replace(account, letters=tuple(_letter(account.address, n) for n in range(LETTERS)))
        if account.status == ACTIVE else account
        for account in range_.accounts(status="")
    ]  # fmt: skip
    queued = {tenant: [_letter(f"{tenant}/queue", n) for n in range(QUEUED)] for tenant in range_.tenants}
    active = [account for account in full if account.status == ACTIVE]

    def send(tenant: str) -> None:
        author = f"friend@{OUTSIDE}"
        with range_.mx(tenant) as client:
            for account in active:
                for letter in account.letters if account.tenant == tenant else ():
                    client.sendmail(author, [account.address], letter_octets(author, account.address, letter.token))
        sender = next(account for account in active if account.tenant == tenant)
        with range_.submission(sender) as client:
            for letter in queued[tenant]:
                to = f"reader@{SILENT}"
                client.sendmail(sender.address, [to], letter_octets(sender.address, to, letter.token))

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(send, range_.tenants))
    wanted = len(active) * LETTERS
    _wait(lambda: sum(count_messages(range_.directory, range_.tenants).values()) >= wanted, "mail")
    return full, queued


def _letter(where: str, number: int) -> Letter:
    return Letter(f"{where}/{number + 1}", secrets.token_hex(16))


def _wait(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            raise TemporaryFailure(f"the drill's {what} did not come within {SETTLE_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def live_sessions(range_: Range) -> Iterator[None]:
    """An honest client at every gate of every tenant, logged in or in the middle of a message, until the end."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(CONNECTIONS) as pool:
        for client in pool.map(lambda tenant: _open_sessions(range_, tenant), range_.tenants):
            stack.enter_context(client)
        yield


def _open_sessions(range_: Range, tenant: str) -> contextlib.ExitStack:
    account = range_.accounts(tenant)[0]
    stack = contextlib.ExitStack()
    stack.enter_context(range_.imap(account))
    stack.enter_context(range_.pop3(account))
    stack.enter_context(range_.submission(account))
    client = stack.enter_context(range_.mx(tenant))
    client.ehlo()
    client.mail(f"friend@{OUTSIDE}")
    client.rcpt(account.address)
    return stack
