"""`bulkhead drill --live`: the range on an installation that people use, for one of its tenants, only when asked.

Hostile twins are forked by its own cells, behind its own locks, on its own edges; what they go at is canaries alone:
three accounts that nobody has, a file in each holder's directory, processes of the drill. A note says what was planted
before it is, so that a drill that is killed is cleared up by the next one, or by `--clean`.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from bulkhead.boundary.messages.to_directory import ListDomains
from bulkhead.boundary.processes import PROCESSES, SLOTS_PER_CELL, Disk
from bulkhead.cli.account_steps import NewPassword, add_account, withdraw_account
from bulkhead.cli.road import open_road
from bulkhead.config import Installation, load_installation
from bulkhead.demo.booty import CANARY_FILE
from bulkhead.demo.people import ACTIVE
from bulkhead.drill.leftovers import remove_leftovers
from bulkhead.drill.range import OUTSIDE, Account, Letter, Range, letter_octets
from bulkhead.drill.semantic import SemanticProbe, load_semantic
from bulkhead.errors import ConfigError, Refused, TemporaryFailure
from bulkhead.identifiers import parse_address
from bulkhead.supervisor.layout import Layout

PEOPLE = 3  # two have a session in a hostile worker, one never has
LETTERS = 2
QUOTA_BYTES = 1 << 20
SETTLE_SECONDS = 30.0
NOTE_BYTES_MAX = 4096
_LOOKS_ONLY = ("-shares-uid", "-walls-stand")  # at live processes, from outside
_WITH_CANARIES = ("access-live-worker", "submit-live-worker", "access-live-strangers", "auth-guesses-halves")
_ALSO = ("-redeems-logins",)
WARNING = """\
This drill runs in the LIVE installation {directory}, in the cell of {tenant}.
  It forks hostile twins of every compartment of that cell, behind the same locks and on real edges, and has them try
  what a break-in would. They are aimed at canaries: {people} accounts made for it, a file in each holder's directory,
  processes of the drill. Nobody else's mail, password or key is read or changed; sessions go on.
  Afterwards the canaries are gone, but for their tombstones in directory (their addresses are never given again) and
  for entries in the ledger of {tenant}, the result's among them. Logins are a little slower for half a minute.
"""


def safe(probe: SemanticProbe) -> bool:
    """Whether a row touches nothing but canaries and only looks at what is not one."""
    return probe.name in _WITH_CANARIES or probe.name.endswith((*_LOOKS_ONLY, *_ALSO))


def safe_rows() -> list[SemanticProbe]:
    """Semantic rows for a live installation."""
    return [probe for probe in load_semantic().values() if safe(probe)]


def rows_left_out() -> list[str]:
    """Names of semantic rows that are for a scratch installation alone."""
    return sorted(probe.name for probe in load_semantic().values() if not safe(probe))


def choose_tenant(installation: Installation, name: str) -> str:
    """The tenant to drill. Raises ConfigError where several are there and none is named, or there is no such one."""
    there = [str(tenant.id) for tenant in installation.tenants.values() if not tenant.disabled]
    if name in there or (not name and len(there) == 1):
        return name or there[0]
    raise ConfigError(f"name the tenant to drill: --tenant {'|'.join(there)}")


def confirm(directory: Path, tenant: str) -> None:
    """Say what will be done, and have the tenant's name typed. Raises Refused on anything else."""
    print(WARNING.format(directory=directory, tenant=tenant, people=PEOPLE), file=sys.stderr)
    if not sys.stdin.isatty():
        raise Refused("nobody is there to confirm: --yes does, in a script")
    print(f"Type {tenant} to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != tenant:
        raise Refused("not confirmed; nothing was done")


def first_uid(installation: Installation) -> int:
    """User ids in the installation's range that no tenant has: for the processes that the drill forks itself."""
    taken = [tenant.slot for tenant in installation.tenants.values()]
    return installation.settings.integer("uid_base") + SLOTS_PER_CELL * (max(taken, default=0) + 1)


@contextlib.contextmanager
def live_range(directory: Path, tenant: str, say: Callable[[str], None]) -> Iterator[Range]:
    """The range in the tenant's running cell; its canaries are withdrawn at the end.

    Raises ConfigError while another drill runs there, TemporaryFailure where the cell does not run.
    """
    remove_leftovers()
    installation = load_installation(directory)
    (domain, *_) = asyncio.run(_domains(directory, tenant))
    with _note(installation, tenant, say) as note:
        mark = secrets.token_hex(4)
        accounts = [
            Account(tenant, f"drill-{mark}-{number}@{domain}", f"drill-{secrets.token_hex(12)}", ACTIVE)
            for number in range(PEOPLE)
        ]  # fmt: skip
        _write(note, [account.address for account in accounts])
        say(f"canaries: {PEOPLE} accounts of {tenant} named drill-{mark}-*, with mail")
        try:
            asyncio.run(_add(directory, tenant, accounts))
            range_ = _LiveRange(directory, tenant, accounts)
            range_ = _LiveRange(directory, tenant, _fill(range_))
            with contextlib.closing(range_):
                yield range_
        finally:
            _withdraw(installation, tenant, [account.address for account in accounts])
            _write(note, [])


def clean(directory: Path, tenant: str, say: Callable[[str], None]) -> None:
    """Withdraw what a drill that was killed left there. Raises ConfigError while one runs."""
    for path in remove_leftovers():
        say(f"removed {path}")
    with _note(load_installation(directory), tenant, say):
        pass


class _LiveRange(Range):
    """Only what runs, and nothing to write beside the installation."""

    def __init__(self, directory: Path, home: str, canaries: Sequence[Account]) -> None:
        # Certificates may be for names, not addresses; nothing but the canaries' passwords goes over it, to ourselves.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        super().__init__(directory, home, canaries, {home: (Letter(f"{home}/queue/1", ""),)}, tls)
        running = {row["tenant"] for row in self.processes()}
        self.tenants = tuple(tenant for tenant in self.tenants if tenant in running)
        self.endpoints = {tenant: end for tenant, end in self.endpoints.items() if tenant in running}

    def scratch(self) -> Path:
        raise ValueError("a row that writes files is not for a live installation")


async def _domains(directory: Path, tenant: str) -> tuple[str, ...]:
    async with open_road(str(directory), tenant) as road:
        found = tuple(row.domain for row in (await road.ask("directory", ListDomains())).rows)
    if not found:
        raise ConfigError(f"{tenant} has no domain for the canaries; add one: bulkhead domain add")
    return found


async def _add(directory: Path, tenant: str, accounts: Sequence[Account]) -> None:
    async with open_road(str(directory), tenant) as road:
        for account in accounts:
            await add_account(road, parse_address(account.address), NewPassword(account.password.encode()), QUOTA_BYTES)


def _fill(range_: Range) -> list[Account]:
    """Two letters to each canary account, by the MX port, and waited for. Raises TemporaryFailure."""
    full = []
    author = f"friend@{OUTSIDE}"
    with range_.mx(range_.home) as client:
        for account in range_.accounts():
            names = [f"{account.address}/{number + 1}" for number in range(LETTERS)]
            letters = tuple(Letter(name, secrets.token_hex(16)) for name in names)
            for letter in letters:
                client.sendmail(author, [account.address], letter_octets(author, account.address, letter.token))
            full.append(replace(account, letters=letters))
    deadline = time.monotonic() + SETTLE_SECONDS
    for account in full:
        while len(range_.intact(account)) < LETTERS:
            if time.monotonic() > deadline:
                raise TemporaryFailure(f"the canaries' mail did not come within {SETTLE_SECONDS:.0f} s")
            time.sleep(0.1)
    return full


# --- what is planted, and taken away again ----------------------------------------------------------------------------


def note_path(directory: Path, tenant: str) -> Path:
    """Where a live drill says what it planted; there only while one runs, or after one was killed."""
    return Layout(directory, load_installation(directory).tenant(tenant).id).socket.parent / f"drill-{tenant}.json"


@contextlib.contextmanager
def _note(installation: Installation, tenant: str, say: Callable[[str], None]) -> Iterator[BinaryIO]:
    """The note, empty and locked: what an earlier one says has been withdrawn. Removed at the end."""
    path = note_path(installation.directory, tenant)
    with path.open("ab+") as note:
        path.chmod(0o600)
        try:
            fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another drill runs in the cell of {tenant}; wait for its end") from None
        note.seek(0)
        if left := _read(note, path):
            say(f"a drill was killed: withdrawing its {len(left)} canary accounts")
            _withdraw(installation, tenant, left)
            _write(note, [])
        try:
            yield note
        finally:
            note.seek(0)
            if not _read(note, path):
                path.unlink(missing_ok=True)


def _read(note: BinaryIO, path: Path) -> list[str]:
    content = note.read(NOTE_BYTES_MAX)
    try:
        found = json.loads(content or b"[]")
    except ValueError:  # cut off while it was written: nothing had been planted then
        return []
    if not isinstance(found, list) or not all(str(address).startswith("drill-") for address in found):
        raise ConfigError(f"{path} is no note of a drill; look at it, and remove it")
    return [str(address) for address in found]


def _write(note: BinaryIO, addresses: Sequence[str]) -> None:
    note.seek(0)
    note.truncate()
    note.write(json.dumps(list(addresses)).encode())
    note.flush()
    os.fsync(note.fileno())


def _withdraw(installation: Installation, tenant: str, addresses: Sequence[str]) -> None:
    """Take away canary files and accounts, whichever of them are there. May be repeated."""
    for other in installation.tenants.values():
        for process in PROCESSES.values():
            if process.disk is Disk.DATA:
                home = Layout(installation.directory, other.id).home(process.name)
                (home / CANARY_FILE).unlink(missing_ok=True)

    async def work() -> None:
        async with open_road(str(installation.directory), tenant) as road:
            for address in addresses:
                await withdraw_account(road, parse_address(address), "a canary of the drill")

    asyncio.run(work())
