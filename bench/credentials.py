"""Credentials at the size of a whole host: six tenants of very unequal size, every record there.

    make bench-credentials ACCOUNTS=14200000 [DIR=...] [OUTPUT=bench/results/credentials.json]
    .venv/bin/python -m bench.credentials build|measure|all --directory DIR [--only logins,census,...]

`build` writes the databases (bench/credentials_rows.py says what is synthesised), `measure` starts the real auth,
keyring and directory of each tenant in processes of their own, and plays gates, store, ledger and command line in one
more, which shares the processors with them:

logins      largest tenant: one at a time and 64 at once, each by another account. Argon2id at its least (8 KiB, one
            pass, some 0.02 ms) for what is stretched, so the times are those of all that is beside it
rotation    all tenants at once, two processes each, until every record was opened under its new key; logins meanwhile
            at a steady rate, so that a stall is met by all that come in it
census      the code of `bulkhead credentials audit`, two tenants at a time as the command has it; quick_census: --quick
backup      a fresh copy of every auth and keyring, by SQLite's own backup, synced
reset       largest tenant: the passwords of 100,000 accounts at once, with 16,384 sessions of theirs open
revocation  largest tenant: every credential at once, with 16,384 sessions open
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import sqlite3
import statistics
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from bench.credentials_rows import Accounts, fill_auth, fill_directory, fill_keyring, new_accounts
from bench.login_rate import ROOT_KEY, SETTINGS, Bench, Login, Rest, create_keys, stamp
from bench.machine import describe

from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.boundary.messages.fields import Reply, Request
from bulkhead.cli.census import Census, count_accounts, count_quickly
from bulkhead.cli.credentials import AT_ONCE
from bulkhead.cli.road import Road
from bulkhead.holder.rotation import VERIFYING
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.keyring.logins import NONCE_SECONDS
from bulkhead.records.keyfile import KeySet

# Of the six providers' accounts no shares were published; these are made up, and as unequal as such things are.
SHARES = {"north": 0.50, "west": 0.24, "east": 0.13, "south": 0.07, "isle": 0.04, "hill": 0.02}
LARGEST = TenantId("north")
PEOPLE_IN = 700  # one account in so many logs in
WHOLE = ("auth", "keyring", "directory")
HOLDERS = ("auth", "keyring")
MODULES: dict[str, Any] = {"auth": to_auth, "keyring": to_keyring}
LOGINS_A_SECOND = 100  # of all tenants together, while keys rotate
RESET_SET = 100_000
ALONE = 5_000  # logins one at a time
PARTS = ("logins", "rotation", "census", "quick_census", "backup", "reset", "revocation")


def accounts_of(tenant: str, total: int) -> Accounts:
    """Who is in a tenant of a host with so many."""
    count = max(100, round(total * SHARES[tenant]))
    return new_accounts(TenantId(tenant), count, people=max(50, count // PEOPLE_IN), seed=f"bench {tenant}".encode())


# --- build ------------------------------------------------------------------------------------------------------------


def build(root: Path, total: int) -> dict[str, Any]:
    """Every tenant's three databases, two at a time."""
    began = time.monotonic()
    jobs = []
    for tenant in SHARES:
        create_keys(root / tenant, TenantId(tenant))
        jobs += [(root, tenant, total, name) for name in ("keyring", "auth", "directory")]
    with multiprocessing.Pool(2) as pool:
        octets = list(pool.imap_unordered(_fill, jobs, chunksize=1))
    found: dict[str, Any] = {"accounts": {tenant: len(accounts_of(tenant, total)) for tenant in SHARES}}
    found["seconds"] = time.monotonic() - began
    found["gib"] = {
        name: sum(size for one, size in octets if one == name) / (1 << 30) for name in ("directory", "auth", "keyring")
    }
    found["octets_an_account"] = {name: gib * (1 << 30) / total for name, gib in found["gib"].items()}
    return found


def _fill(job: tuple[Path, str, int, str]) -> tuple[str, int]:
    root, tenant, total, name = job
    accounts, path = accounts_of(tenant, total), root / tenant / name / f"{name}.sqlite"
    if name == "directory":
        fill_directory(path, accounts)
    elif name == "auth":
        fill_auth(path, _keys(root, tenant, "auth"), _keys(root, tenant, "keyring").current("tight")[1], accounts)
    else:
        fill_keyring(path, _keys(root, tenant, "keyring"), accounts)
    return name, path.stat().st_size


def _keys(root: Path, tenant: str, name: str) -> KeySet:
    return KeySet.open((root / tenant / name / "keys.sealed").read_bytes(), TenantId(tenant), name, ROOT_KEY)


# --- measure ----------------------------------------------------------------------------------------------------------


def phase(rests: list[Rest], work: Callable[[], Coroutine[Any, Any, dict[str, Any]]]) -> dict[str, Any]:
    """What `work` finds while these run, with the load before and the processor seconds of each kind of process."""
    load = os.getloadavg()[0]
    for rest in rests:
        rest.fork()
    try:
        began, driver = time.monotonic(), sum(os.times()[:2])
        found = asyncio.run(work())
        found["wall_seconds"] = time.monotonic() - began
        found["cpu_seconds"] = {name: sum(rest.cpu(name) for rest in rests) for name in rests[0].holders}
        found["cpu_seconds"]["driver"] = sum(os.times()[:2]) - driver
    finally:
        for rest in rests:
            rest.stop()
    return {"load_before": load, **found}


def logins_of(accounts: Accounts) -> tuple[list[Login], list[Login]]:
    """Main and app passwords of all people of a tenant."""
    people = [accounts.person(number) for number in range(accounts.people)]
    main = [(person.account, person.password) for person in people]
    return main, [(person.account, person.app_password.text().encode()) for person in people]


def measure_logins(root: Path, total: int, _: list[str]) -> dict[str, Any]:
    """Of the largest tenant: not cached, then cached."""
    main, app = logins_of(accounts_of(LARGEST, total))
    found: dict[str, Any] = {"people": len(main)}
    for minutes in (0, 60):
        settings = SETTINGS | {"auth": SETTINGS["auth"] | {"cache_minutes": minutes}}
        rest = Rest(root / LARGEST, LARGEST, settings)
        name = "cached" if minutes else "not cached"
        found[name] = phase([rest], lambda rest=rest, name=name: _logins(rest, name, main, app))  # type: ignore[misc]  # mypy cannot infer defaults
    return found


async def _logins(rest: Rest, name: str, main: list[Login], app: list[Login]) -> dict[str, Any]:
    bench = Bench(rest, argparse.Namespace(seconds=4.0, at_once=64), main, app)
    began = time.monotonic()
    await bench.warm()
    found: dict[str, Any] = {"warm_seconds": time.monotonic() - began}
    if name == "cached":
        found["main, one at a time"] = await _alone(bench, main)
        await asyncio.sleep(NONCE_SECONDS)  # keyring keeps 65,536 checked logins that no gate has redeemed yet
        found["main, 64 at once"] = await bench.rate(main, bench.check)
        found["main, 64 at once, with session"] = await bench.rate(main, bench.whole)
    else:
        found["main, one at a time"] = await _alone(bench, main)
        found["app, one at a time"] = await _alone(bench, app)
        await asyncio.sleep(NONCE_SECONDS)
        found["app, 64 at once"] = await bench.rate(app, bench.check)
        found["app, 64 at once, with session"] = await bench.rate(app, bench.whole)
    return found


async def _alone(bench: Bench, logins: list[Login]) -> dict[str, float]:
    """The answer to Authenticate, and the whole way to a session."""
    checked, whole = [], []
    for number in range(ALONE):
        login = logins[number * 7 % len(logins)]
        began = time.perf_counter()
        await bench.check(login)
        checked.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        await bench.whole(login)
        whole.append((time.perf_counter() - began) * 1000)
    return {"checked": summary(checked), "with session and its end": summary(whole)}  # type: ignore[dict-item]  # nested


def summary(times: list[float]) -> dict[str, float]:
    """Of logins, in ms."""
    cuts = statistics.quantiles(times, n=1000)
    return {"logins": len(times), "p50": cuts[499], "p99": cuts[989], "p999": cuts[998], "max": max(times)}


class BenchRoad(Road):
    """The command line's edges to one tenant's holders, without supervisor."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def ask(self, compartment: str, request: Request[Any], *, timeout: float = 120.0) -> Reply:
        """As a Road."""
        return await self._bench.ask("cli", compartment, request)  # type: ignore[no-any-return]  # the request's reply


def measure_census(root: Path, total: int, tenants: list[str]) -> dict[str, Any]:
    """Every record matched with its account and its other half."""
    return _count(root, total, tenants, count_accounts)


def measure_quick_census(root: Path, total: int, tenants: list[str]) -> dict[str, Any]:
    """Every record opened, none matched."""
    return _count(root, total, tenants, count_quickly)


def _count(
    root: Path, total: int, tenants: list[str], count: Callable[[Road], Coroutine[Any, Any, Census]]
) -> dict[str, Any]:
    rests = [Rest(root / tenant, TenantId(tenant), holders=WHOLE) for tenant in tenants]
    found = phase(rests, lambda: _census(rests, count))
    found["accounts"] = accounts = sum(len(accounts_of(tenant, total)) for tenant in tenants)
    used = found["cpu_seconds"]
    found["cpu_us_an_account"] = {holder: seconds / accounts * 1e6 for holder, seconds in used.items()}
    return found


async def _census(rests: list[Rest], count: Callable[[Road], Coroutine[Any, Any, Census]]) -> dict[str, Any]:
    gate, found = asyncio.Semaphore(AT_ONCE), {}
    benches = {rest: Bench(rest, argparse.Namespace()) for rest in rests}

    async def of(rest: Rest) -> None:
        async with gate:
            began = time.monotonic()
            census = await count(BenchRoad(benches[rest]))
            found[str(rest.tenant)] = {
                "seconds": time.monotonic() - began,
                "accounts": {status: row.accounts for status, row in census.by_status.items()},
                "records": census.total("auth").records + census.total("keyring").records,
                "faults": census.total("auth").faults + census.total("keyring").faults,
                "mismatches": census.mismatches,
            }
            print(rest.tenant, found[str(rest.tenant)], flush=True)

    await asyncio.gather(*(of(rest) for rest in rests))
    return {"tenants": found}


def measure_rotation(root: Path, total: int, tenants: list[str]) -> dict[str, Any]:
    """Both keys of every tenant at the same time."""
    settings = SETTINGS | {"auth": SETTINGS["auth"] | {"cache_minutes": 0}}
    rests = [Rest(root / tenant, TenantId(tenant), settings) for tenant in tenants]
    found = phase(rests, lambda: _rotation(rests, total))
    whole = [accounts_of(tenant, total) for tenant in tenants]
    found["records"] = records = sum(3 * (len(one) + one.people) for one in whole)
    found["cpu_us_a_record"] = found["cpu_seconds_meanwhile"] / records * 1e6
    return found


async def _rotation(rests: list[Rest], total: int) -> dict[str, Any]:
    benches = {str(rest.tenant): Bench(rest, argparse.Namespace()) for rest in rests}
    logins = {tenant: logins_of(accounts_of(tenant, total)) for tenant in benches}
    found: dict[str, Any] = {}
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(10, over.set)
    found["logins_before_ms"] = summary(await _log_in_steadily(benches, logins, over))
    over, began = asyncio.Event(), time.monotonic()
    meanwhile = asyncio.create_task(_log_in_steadily(benches, logins, over))

    async def rotate(tenant: str, name: str) -> tuple[str, dict[str, float]]:
        await benches[tenant].ask("cli", name, MODULES[name].RotateKey(stamp(), False, 30 * 86_400))
        unreadable, walked = 0, 0.0
        while (report := await benches[tenant].ask("cli", name, MODULES[name].ReadRotation())).step:
            unreadable = max(unreadable, report.unreadable)
            if report.step == VERIFYING and not walked:
                walked = time.monotonic() - began
            await asyncio.sleep(0.25)
        return f"{tenant} {name}", {
            "sealed_anew_seconds": walked, "verified_seconds": time.monotonic() - began, "unreadable": unreadable
        }  # fmt: skip

    def used() -> float:
        return sum(rest.cpu(name) for rest in rests for name in HOLDERS)

    cpu = used()
    found["holders"] = dict(await asyncio.gather(*(rotate(tenant, name) for tenant in benches for name in HOLDERS)))
    found["seconds_until_all_are_verified"] = time.monotonic() - began
    found["cpu_seconds_meanwhile"] = used() - cpu
    over.set()
    found["logins_meanwhile_ms"] = summary(await meanwhile)
    return found


async def _log_in_steadily(
    benches: dict[str, Bench], logins: dict[str, tuple[list[Login], list[Login]]], until: asyncio.Event
) -> list[float]:
    times: list[float] = []

    async def one(bench: Bench, login: Login) -> None:
        began = time.perf_counter()
        await bench.whole(login)
        times.append((time.perf_counter() - began) * 1000)

    tasks, turn, names, next_at = set[asyncio.Task[None]](), 0, list(benches), time.perf_counter()
    while not until.is_set():
        tenant, kind = names[turn % len(names)], turn % 2
        chosen = logins[tenant][kind]
        task = asyncio.create_task(one(benches[tenant], chosen[turn * 7 % len(chosen)]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        turn, next_at = turn + 1, next_at + 1 / LOGINS_A_SECOND
        await asyncio.sleep(max(0.0, next_at - time.perf_counter()))
    await asyncio.gather(*tasks)
    return times


def measure_backup(root: Path, _: int, tenants: list[str]) -> dict[str, Any]:
    """One after the other."""
    load, began, octets = os.getloadavg()[0], time.monotonic(), 0
    for tenant in tenants:
        for name in HOLDERS:
            path = root / tenant / name / f"{name}.sqlite"
            copy = path.with_suffix(".backup")
            with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
                source.backup(target, pages=16_384)
            source.close(), target.close()
            descriptor = os.open(copy, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
            octets += copy.stat().st_size
            copy.unlink()
    return {"load_before": load, "seconds": time.monotonic() - began, "gib": octets / (1 << 30)}


def measure_reset(root: Path, total: int, _: list[str]) -> dict[str, Any]:
    """A set that everybody who logs in is in; somebody outside it logs in on."""
    accounts = accounts_of(LARGEST, total)
    main, app = logins_of(accounts)
    rest = Rest(root / LARGEST, LARGEST)
    inside, outside = (main[:-1], app[:-1]), (main[-1], app[-1])
    ids = {login[0] for login in inside[0]}
    for at in range(0, len(accounts.ids), 16):
        if len(ids) >= RESET_SET:
            break
        ids.add(AccountId(accounts.ids[at : at + 16]))
    ids.discard(outside[0][0])

    async def work() -> dict[str, Any]:
        bench = Bench(rest, argparse.Namespace(sessions=16_384), *inside)
        await bench.warm(list(main))
        found = await bench.reset(b"".join(sorted(ids)))
        refused = sum([not await bench.admits(login) for login in (*inside[0][:20], *inside[1][:20])])
        admitted = sum([await bench.admits(login) for login in outside])
        return found | {"refused_of_40_tried": refused, "admitted_of_2_outside": admitted}

    return phase([rest], work)


def measure_revocation(root: Path, total: int, _: list[str]) -> dict[str, Any]:
    """Last of all: nobody of the largest tenant logs in any more."""
    main, app = logins_of(accounts_of(LARGEST, total))
    rest = Rest(root / LARGEST, LARGEST)

    async def work() -> dict[str, Any]:
        bench = Bench(rest, argparse.Namespace(sessions=16_384), main, app)
        await bench.warm(main)
        found = await bench.revocation()
        refused = 0
        for login in (*main[:20], *app[:20]):
            refused += not await bench.admits(login)
        return found | {"credentials": len(accounts_of(LARGEST, total)) + len(app), "refused_of_40_tried": refused}

    return phase([rest], work)


MEASURES: dict[str, Callable[[Path, int, list[str]], dict[str, Any]]] = {
    "logins": measure_logins, "rotation": measure_rotation, "census": measure_census,
    "quick_census": measure_quick_census, "backup": measure_backup, "reset": measure_reset,
    "revocation": measure_revocation,
}  # fmt: skip


def main() -> None:
    """Build, measure or both; figures so far are in the output after each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("build", "measure", "all"))
    parser.add_argument("--directory", type=Path, required=True, help="made, and with `all` removed at the end")
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--tenants", default=",".join(SHARES), help="whom census, rotation and backup are of")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    root: Path = options.directory
    root.mkdir(parents=True, exist_ok=options.what == "measure")
    found: dict[str, Any] = {}
    if options.output and options.what == "measure" and options.output.exists():
        found = json.loads(options.output.read_text())
    found |= {"machine": describe(root), "total_accounts": options.accounts}

    def keep(part: str, figures: dict[str, Any]) -> None:
        found[part] = figures
        text = json.dumps(found, indent=1, default=lambda value: round(value, 3))
        print(json.dumps({part: figures}, indent=1), flush=True)
        if options.output:
            options.output.write_text(text + "\n")

    try:
        if options.what in ("build", "all"):
            keep("build", {"load_before": os.getloadavg()[0], **build(root, options.accounts)})
        if options.what in ("measure", "all"):
            for part in options.only.split(","):
                keep(part, MEASURES[part](root, options.accounts, options.tenants.split(",")))
    finally:
        if options.what == "all":
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
