"""The directory at the size of a whole host: look-ups over edges, searches, pages, counts, its check; and provisioning.

    .venv/bin/python -m bench.credentials build --directory DIR           the databases, 14.2 million accounts
    .venv/bin/python -m bench.directory migrate|lookups|check|provision|passwords --directory DIR [--output FILE]

`migrate` brings a database of an older schema up to date; `lookups` starts the real directory of each tenant in a
process of its own, and asks from one more, which plays the gates: one request at a time, then 16 at once, of accounts
drawn from all tenants alike by their size. `check` is the largest tenant's CheckDirectory, with look-ups meanwhile.
`provision` makes a whole new cell, with every process and its locks, and gives `bulkhead provision apply` a file of
--accounts lines; FindLogin is asked for 100 times a second meanwhile.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.bulkhead_cell import TENANT, BulkheadCell
from bench.credentials import LARGEST, SHARES
from bench.login_rate import SETTINGS, Rest, many
from bench.machine import describe
from bench.server import DOMAIN, loopback_network

from bulkhead.boundary.messages import to_directory as m
from bulkhead.cli.road import open_road
from bulkhead.directory.schema import DATABASE, MIGRATIONS
from bulkhead.holder.database import Database
from bulkhead.identifiers import TenantId

OPEN = SETTINGS | {"directory": SETTINGS["directory"] | {"unknown_per_worker_minute": 100_000_000}}
TIMES = 20_000  # requests of each kind one at a time, and as many at once
AT_ONCE = 16
UID_BASE = 940_000
PROBE_SECONDS = 0.01


def spread(times: list[float]) -> dict[str, float]:
    """Milliseconds."""
    ordered = sorted(times)
    at = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}
    found = {name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) for name, share in at.items()}
    return {"requests": len(times), "mean_ms": round(statistics.fmean(times), 3), **found}


def sizes(root: Path) -> dict[str, int]:
    """Octets of each tenant's database."""
    return {tenant: (root / tenant / "directory" / DATABASE).stat().st_size for tenant in SHARES}


def into_memory(root: Path) -> None:
    """Read every database once, as a host has done that runs for a while: 5 GiB for 14.2 million accounts."""
    for tenant in SHARES:
        with (root / tenant / "directory" / DATABASE).open("rb") as file:
            while file.read(1 << 22):
                pass


def migrate(root: Path) -> dict[str, Any]:
    """Seconds until each database is open under today's schema."""

    async def one(path: Path) -> float:
        begin = time.perf_counter()
        database = Database(path, MIGRATIONS, secure_delete=True)
        took = time.perf_counter() - begin
        await database.close()
        return round(took, 3)

    took = {tenant: asyncio.run(one(root / tenant / "directory" / DATABASE)) for tenant in SHARES}
    return {"load_before": os.getloadavg()[0], "seconds": took, "schema": len(MIGRATIONS)}


class Host:
    """The directories of all tenants, and whoever asks them."""

    def __init__(self, root: Path) -> None:
        self.rests = {tenant: Rest(root / tenant, TenantId(tenant), OPEN, ("directory",)) for tenant in SHARES}
        self.accounts: dict[str, int] = {}
        self._random = random.Random(7)  # noqa: S311  # which accounts are asked for
        for rest in self.rests.values():
            rest.fork()

    def connect(self) -> None:
        """Edges of the gates."""
        self._to = {tenant: rest.connect() for tenant, rest in self.rests.items()}

    async def ask(self, tenant: str, who: str, request: Any) -> Any:
        return await self._to[tenant][who].to("directory").call(request, timeout=600.0)

    async def count(self) -> None:
        """How many accounts each has."""
        for tenant in self.rests:
            self.accounts[tenant] = (await self.ask(tenant, "cli", m.CountAccounts())).addresses

    def someone(self) -> tuple[str, str]:
        """A tenant and an address of it."""
        (tenant,) = self._random.choices(list(self.accounts), list(self.accounts.values()))
        return tenant, f"u{self._random.randint(1, self.accounts[tenant]):08}@{tenant}.example"

    def nobody(self) -> tuple[str, str]:
        """A tenant, and an address that nobody has there."""
        tenant, address = self.someone()
        return tenant, address.replace("u", "n", 1)

    async def times(self, who: str, at_once: int, count: int, make: Callable[[], tuple[str, Any]]) -> dict[str, float]:
        """How long requests take."""
        found: list[float] = []

        async def one(_: int) -> None:
            tenant, request = make()
            begin = time.perf_counter()
            await self.ask(tenant, who, request)
            found.append((time.perf_counter() - begin) * 1000)

        begin = time.perf_counter()
        await many(count, at_once, one)
        return spread(found) | {"a_second": round(count / (time.perf_counter() - begin))}

    def memory(self) -> dict[str, int]:
        """MiB that each process has to itself or shares."""
        found = {}
        for tenant, rest in self.rests.items():
            status = Path(f"/proc/{rest.pids['directory']}/status").read_text().splitlines()
            line = next(line for line in status if line.startswith("VmRSS"))
            found[tenant] = int(line.split()[1]) >> 10
        return found

    def stop(self) -> None:
        for rest in self.rests.values():
            rest.stop()


def _kinds(host: Host) -> dict[str, tuple[str, Callable[[], tuple[str, Any]]]]:
    def of(kind: Callable[[str], Any], who: Callable[[], tuple[str, str]]) -> Callable[[], tuple[str, Any]]:
        def make() -> tuple[str, Any]:
            tenant, address = who()
            return tenant, kind(address)

        return make

    def searched() -> tuple[str, Any]:
        tenant, address = host.someone()
        return tenant, m.SearchAccounts(address[: host._random.randint(1, 9)])

    def page() -> tuple[str, Any]:
        tenant, address = host.someone()
        return tenant, m.ListAccounts("", address)

    return {
        "ResolveRecipient, known": ("submit", of(m.ResolveRecipient, host.someone)),
        "ResolveRecipient, unknown": ("submit", of(m.ResolveRecipient, host.nobody)),
        "FindLogin, known": ("access0", of(m.FindLogin, host.someone)),
        "FindLogin, unknown": ("access0", of(m.FindLogin, host.nobody)),
        "ShowAccount": ("cli", of(m.ShowAccount, host.someone)),
        "SearchAccounts, 100 rows": ("cli", searched),
        "ListAccounts, 1,000 rows": ("cli", page),
        "CountAccounts": ("cli", of(lambda _: m.CountAccounts(), host.someone)),
    }


async def lookups(host: Host) -> dict[str, Any]:
    """Every kind of request."""
    host.connect()
    await host.count()
    kinds = _kinds(host)
    who, make = kinds["ResolveRecipient, known"]
    first = await host.times(who, 1, 2000, make)  # pages of the files come into memory
    found: dict[str, Any] = {"accounts": sum(host.accounts.values()), "first 2,000 known recipients": first}
    for at_once in (1, AT_ONCE):
        rows = found["one at a time" if at_once == 1 else f"{at_once} at once"] = {}
        for name, (who, make) in kinds.items():
            rows[name] = await host.times(who, at_once, TIMES if "rows" not in name else TIMES // 10, make)
    found["memory_mib"] = host.memory()
    return found


async def check(host: Host) -> dict[str, Any]:
    """CheckDirectory of the largest, with look-ups of it meanwhile."""
    host.connect()
    await host.count()
    host.accounts = {LARGEST: host.accounts[LARGEST]}
    begin = time.perf_counter()
    checking = asyncio.create_task(host.ask(LARGEST, "cli", m.CheckDirectory()))
    found: list[float] = []
    while not checking.done():
        tenant, address = host.someone()
        sent = time.perf_counter()
        await host.ask(tenant, "access0", m.FindLogin(address))
        found.append((time.perf_counter() - sent) * 1000)
        await asyncio.sleep(PROBE_SECONDS)
    report = checking.result()
    return {
        "accounts": report.accounts, "problems": len(report.problems),
        "seconds": round(time.perf_counter() - begin, 1), "FindLogin meanwhile": spread(found),
        "memory_mib": host.memory()[LARGEST],
    }  # fmt: skip


def provision(count: int, *, passwords: bool = False) -> dict[str, Any]:
    """A file of so many accounts, through a whole cell. passwords: with random first ones, which are made before."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        cell = BulkheadCell(directory / "cell", f"{loopback_network(os.getpid())}.1", UID_BASE)
        try:
            path, home = directory / "file", directory / "cell" / "cells" / TENANT
            with path.open("w") as file:
                file.write(json.dumps({"do": "provision", "tenant": TENANT, "name": "bench"}) + "\n")
                for number in range(count):
                    file.write(json.dumps({"do": "add-account", "address": f"p{number:07}@{DOMAIN}"}) + "\n")
            more: list[str] = []
            made = time.perf_counter()
            if passwords:
                path, more = _with_passwords(path, directory / "cell")
            made = time.perf_counter() - made
            before = _octets(home)
            load = os.getloadavg()[0]
            command = [
                sys.executable,
                "-m",
                "bulkhead.cli.main",
                "provision",
                "apply",
                TENANT,
                str(path),
                *more,
                "--json",
            ]
            begin = time.perf_counter()
            with subprocess.Popen([*command, "-C", str(directory / "cell")], stdout=subprocess.PIPE) as child:
                meanwhile = asyncio.run(_probe(directory / "cell", child))
                state = json.loads(child.stdout.read() if child.stdout else b"")
            seconds = time.perf_counter() - begin
            after = _octets(home)
            return {
                "load_before": load, "lines": state["lines"], "refused": state["refused"], "seconds": round(seconds, 1),
                "accounts_a_second": round(count / seconds), "FindLogin meanwhile": meanwhile,
                **({"made_a_second": round(count / made)} if passwords else {}),
                "octets_an_account": {key: round((after[key] - before[key]) / count) for key in after},
            }  # fmt: skip
        finally:
            cell.stop()


def _with_passwords(path: Path, cell: Path) -> tuple[Path, list[str]]:
    """The file with first passwords, and what `apply` needs besides."""
    partner = tomllib.loads((cell / "tenants" / f"{TENANT}.toml").read_text())["pinned"]["recovery_partner"]
    file, secrets, letters = (path.with_name(name) for name in ("signed", "secrets", "letters"))
    words = ["--to", str(file), "--secrets", str(secrets), "--letters", str(letters), "--partner", partner]
    command = [sys.executable, "-m", "bulkhead.cli.main", "provision", "passwords", TENANT, str(path), *words]
    subprocess.run(command, check=True)
    return file, ["--passwords", str(secrets)]


async def _probe(directory: Path, child: "subprocess.Popen[bytes]") -> dict[str, float]:
    found: list[float] = []
    async with open_road(str(directory), TENANT) as road:
        while child.poll() is None:
            begin = time.perf_counter()
            await road.ask("directory", m.FindLogin(f"p0000000@{DOMAIN}"))
            found.append((time.perf_counter() - begin) * 1000)
            await asyncio.sleep(PROBE_SECONDS)
    return spread(found)


def _octets(home: Path) -> dict[str, int]:
    found = {}
    for name in ("directory", "keyring", "store", "auth"):
        found[name] = sum(file.stat().st_size for file in (home / name).rglob("*.sqlite*") if file.is_file())
    return found


def with_host(root: Path, work: Callable[[Host], Any]) -> dict[str, Any]:
    """What `work` finds while all directories run."""
    load = os.getloadavg()[0]
    host = Host(root)
    try:
        return {"load_before": load, **asyncio.run(work(host))}
    finally:
        host.stop()


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=("migrate", "lookups", "check", "provision", "passwords"))
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    if options.output and options.output.exists():
        found = json.loads(options.output.read_text())
    for part in options.parts:
        found["machine"] = describe(options.directory)
        match part:
            case "migrate":
                found[part] = {"octets_before": sizes(options.directory), **migrate(options.directory)}
                found[part]["octets_after"] = sizes(options.directory)
            case "lookups":
                into_memory(options.directory)
                found[part] = with_host(options.directory, lookups)
            case "check":
                found[part] = with_host(options.directory, check)
            case "provision":
                found[part] = provision(options.accounts)
            case "passwords":
                found[part] = provision(options.accounts, passwords=True)
        text = json.dumps(found, indent=1)
        print(text)
        with contextlib.suppress(AttributeError):
            options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
